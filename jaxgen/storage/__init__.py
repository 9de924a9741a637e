"""What is on disk: written so that it is whole, read without trust."""
