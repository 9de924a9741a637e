"""The ablations of digits, in the order of the course's questions."""

from __future__ import annotations

from . import vanilla_cnn

GROUPS = {"Other tasks": (vanilla_cnn,)}  # by the headings of docs/guide.md
MODULES = tuple(module for group in GROUPS.values() for module in group)
