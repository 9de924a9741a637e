"""What people run: python -m experiments.sweep | train | sample | report."""
