"""Where trials come from."""
