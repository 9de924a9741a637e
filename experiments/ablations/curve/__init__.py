"""The ablations of curve, in the order of the course's questions."""

from __future__ import annotations

from . import curve_fits, overfitting_curve, polynomial_degree, regression_losses, second_order

GROUPS = {  # by the headings of docs/guide.md
    "Curves": (polynomial_degree, curve_fits, overfitting_curve, regression_losses, second_order)
}
MODULES = tuple(module for group in GROUPS.values() for module in group)
