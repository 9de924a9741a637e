"""More than one machine: a run dealt into parts, each trained by whoever takes it, and joined to the run that one machine would
have made."""
