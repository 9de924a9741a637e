"""One trial, as pure functions."""
