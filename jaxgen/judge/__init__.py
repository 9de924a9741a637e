"""What a run has found, and what that answers."""
