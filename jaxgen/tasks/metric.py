"""What trials are told apart by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A number by which trials are told apart: a weighted mean over rows, or of a whole split.

    Examples:
      >>> accuracy = jaxgen.Metric("accuracy", higher_is_better=True)
      >>> within = jaxgen.Metric("within 1", higher_is_better=True, what="share of rows that are less than 1 off")
      >>> def close(outputs, targets):
      ...     return abs(outputs - targets) < 1.0
      >>> own = jaxgen.supervised(Net, (x, y), loss="squared_error", metrics=[(within, close)], select="within 1")
      >>> own.metrics[0].name
      'within 1'
    """

    name: str = "loss"
    unit: str = ""
    """What a difference is in, such as nats."""
    per: str = ""
    """What it is for each of, such as "a character"."""
    higher_is_better: bool = False
    what: str = ""
    """What it is, in words: mean cross-entropy, the boundary included."""

    @property
    def sign(self) -> int:
        """Times this, less is better."""
        return -1 if self.higher_is_better else 1

    @property
    def measured_in(self) -> str:
        """The unit with what it is for each of: nats a character."""
        return f"{self.unit} {self.per}".strip()
