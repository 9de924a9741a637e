"""What a run that stays in memory has in place of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxgen.engine.lanes import Position
from jaxgen.engine.plan import Planned
from jaxgen.fields import UserError
from jaxgen.judge.results import Results
from jaxgen.storage.checkpoint import brief


class Memory:
    """Keeps the states of the trials that ended; all else of `folder.Folder` is nothing here."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.plans: list[Planned] = []
        self.lost: dict[int, str] = {}
        self._states: dict[int, Any] = {}

    def open(self, facts: dict[str, Any], results: Results) -> None:
        """There is nothing to take up."""

    def keep(self, group: int, planned: Planned) -> None:
        """A plan is needed again on resume only."""

    def position(self, order: Sequence[tuple[int, ...]], state_shape: Any) -> None:
        """A run in memory stands at its start."""

    def save(self, position: Position, results: Results, ended: dict[int, Any], lasts: dict[int, Any], now: bool) -> bool:
        """Keeps the best states of trials that ended."""
        self._states |= ended
        return True

    def going_on(self, trials: Sequence[int], lane: Any) -> Any:
        """A run in memory is not gone on with."""
        raise AssertionError(trials)

    def arrange(self, results: Results) -> None:
        """There is no table."""

    def trial(self, trial: int, shape: Any) -> Any:
        """The params and stats of a trial that ended.

        Raises:
          UserError: if it has not.
        """
        if trial not in self._states:
            raise UserError(f"trial {trial} is not among the ended ones ({brief(sorted(self._states))}); give one of those")
        return self._states[trial]

    def forget(self) -> None:
        """Nothing has been written."""

    def close(self) -> None:
        """Nothing is held."""
