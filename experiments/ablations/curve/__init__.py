"""The ablations of curve, in the order of the course's questions."""

from __future__ import annotations

from . import curve_fits, polynomial_degree

MODULES = (polynomial_degree, curve_fits)
