"""The ablations of curve, in the order of the course's questions."""

from __future__ import annotations

from . import curve_fits, polynomial_degree

GROUPS = {"Other tasks": (polynomial_degree, curve_fits)}  # by the headings of docs/guide.md
MODULES = tuple(module for group in GROUPS.values() for module in group)
