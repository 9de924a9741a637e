"""The ablations of points, in the order of the course's questions."""

from __future__ import annotations

from . import binary_losses, input_scaling, perceptron, shallow_deep

GROUPS = {"Points": (perceptron, binary_losses, input_scaling, shallow_deep)}  # by the headings of docs/guide.md
MODULES = tuple(module for group in GROUPS.values() for module in group)
