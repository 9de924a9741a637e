"""The head of a run that others train: it hands out parts, sees to those whose workers died, and shows the run as one.

Who the workers are is nothing to it (`Pool`). What it knows of a part, the part's folder says: so it can be killed and started
again at any moment, and what has ended is not handed out again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from jaxgen.fields import UserError
from jaxgen.judge.results import Results
from jaxgen.machines import parts as dealing
from jaxgen.machines.parts import Dealt, Part
from jaxgen.machines.view import View
from jaxgen.runs import Interrupted, Notice

DEATHS = 5  # of a part's workers one after the other, between which it has saved nothing more, until it is given up
LOOK = 1.0  # seconds between two looks
SHOWN = 5  # parts that an error names


@dataclass(frozen=True)
class Done:
    """What became of a part that was handed out."""

    part: Part
    died: str = ""
    """What is known of its worker's death."""
    failed: str = ""
    """What the part's run said as it was refused: it would be so again."""


class Pool(Protocol):
    """Workers, however many there are at the time."""

    def give(self, part: Part, folder: Path) -> None:
        """Hands out a part: some worker trains it in a folder, once it is free."""
        ...

    def ended(self, seconds: float) -> Sequence[Done]:
        """The parts that came back since this was asked last; waits so long for one."""
        ...

    def workers(self) -> str:
        """Who there is, in a few words."""
        ...

    def stop(self) -> None:
        """Lets every worker save and end, and takes back what none has begun."""
        ...


def lead(
    run: Dealt,
    pool: Pool,
    listener: Callable[[Any, Results], None] = lambda event, results: None,
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
    looks: bool = True,
) -> None:
    """Has every part of a run trained that has not ended.

    Args:
      listener: is told of the whole run what `runs.run` tells of one, as far as the parts' folders say it.
      stop: asked again and again; true lets the workers save, and raises.
      looks: whether the parts' folders are looked into while they are trained.

    Raises:
      UserError: where a part cannot be trained: the others have been, then.
      Interrupted: after `stop` said so.
    """
    view = View(run, listener)
    left = {part.number: part for part in run.parts if not dealing.ended(run.path, part)}
    if looks:
        view.begin()
    for line in run.notices:
        view.say(Notice(line))
    whole = len(run.parts) - len(left)
    before = f"; {whole} {'has' if whole == 1 else 'have'} ended before" if whole else ""
    view.say(Notice(f"{len(run.parts)} parts{before}; {pool.workers()}"))
    lives = {number: _Lives() for number in left}
    failed: list[str] = []
    for part in left.values():
        _give(run, pool, part)
    seen = clock()
    while left:
        for done in pool.ended(LOOK):
            part, life = done.part, lives[done.part.number]
            if looks:
                view.look([part])
            if done.failed:
                failed.append(f"part {part.number}: {done.failed}")
            elif done.died and life.over(dealing.saves(run.path, part)):
                failed.append(f"part {part.number}: {DEATHS} workers died in a row without a further save: {done.died}")
            elif done.died:
                beside = _give(run, pool, part)
                then = "it begins anew beside one who may train on" if beside else "it goes on from its last save"
                view.say(Notice(f"the worker of part {part.number} died ({done.died}); {then}"))
                continue
            del left[part.number]
        if looks and clock() - seen >= LOOK:
            view.look([*left.values()])
            seen = clock()
        if left and stop():
            pool.stop()
            raise Interrupted
    if failed:
        raise UserError(f"{len(failed)} of {len(run.parts)} parts could not be trained: {'; '.join(failed[:SHOWN])}")


def _give(run: Dealt, pool: Pool, part: Part) -> bool:
    """Hands out a part; whether in another folder than its own, since someone holds that."""
    own = dealing.place(run.path, part.number)
    folder = dealing.free(run.path, part) or own
    pool.give(part, folder)
    return folder != own


class _Lives:
    """How many workers of a part have died one after the other."""

    def __init__(self) -> None:
        self._saves, self._deaths = 0, 0

    def over(self, saves: int) -> bool:
        """Takes in a death; whether it was one too many.

        Args:
          saves: how many the part has.
        """
        self._deaths = self._deaths + 1 if saves <= self._saves else 1
        self._saves = max(saves, self._saves)
        return self._deaths >= DEATHS
