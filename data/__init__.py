"""Bundled data, which the package carries as `jaxgen.bundled`; each file with its source and licence in README.md."""
