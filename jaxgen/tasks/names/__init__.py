"""The names task: learn a file of names character by character, and make up new ones."""
