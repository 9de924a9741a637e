"""The ablations of digits, in the order of the course's questions."""

from __future__ import annotations

from . import vanilla_cnn

MODULES = (vanilla_cnn,)
