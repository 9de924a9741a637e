"""The names task: learn a file of names character by character, and make up new ones."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from jaxgen.called import called
from jaxgen.fields import UserError, override
from jaxgen.tasks import BUILT_IN
from jaxgen.tasks.base import Origin, Reads, Section, Task
from jaxgen.tasks.metric import Metric
from jaxgen.tasks.names.config import Config, DataConfig, ModelConfig, RegularizerConfig, TrainConfig
from jaxgen.tasks.names.presets import PRESETS

CENSUS = "U.S. Census Bureau, frequently occurring names of the 1990 census"
BUNDLED = {  # by the SHA-256 of their files
    "ecab48c0264a0bc68eb85b7f07f9ae2d4e2a5a285dd75aea94050e5545435ea6": "surnames",
    "79f2e5714c608475ede1402458c483737403e81a0a41af3e3ddb36cd8c7288d6": "first names",
}
METRICS = (Metric("loss", "nats", "a character", what="mean cross-entropy, the boundary included"),)


class CorpusFacts(TypedDict, total=False):
    """What a run's folder says of its corpus, and what of it is relied on."""

    path: str
    column: str | None
    names: int
    different: int
    windows: int
    vocabulary: int
    characters: str
    longest: int
    sha256: str
    source: str | None


class Names(Task):
    """Next-character prediction on the names of a file: on a corpus, on what is known of one, or on nothing yet."""

    name, place, probed = "names", BUILT_IN, False  # its config's own checks say all that a user can get wrong
    Data, Model, Regularizer, Train = DataConfig, ModelConfig, RegularizerConfig, TrainConfig
    metrics, presets = METRICS, PRESETS

    def __init__(
        self, corpus: Any = None, source: Any = None, vocabulary: Any = None, longest: int = 0, begins: str | None = None
    ) -> None:
        """`source`: what is trained on first, or `begins`: the file that holds it, which is read when it is asked for."""
        self.corpus, self._source, self._begins = corpus, source, begins
        self.vocabulary = vocabulary if corpus is None else corpus.vocabulary
        self.longest = longest if corpus is None else max(map(len, corpus.names))

    @property
    def Config(self) -> type:
        return Config

    # What is read. --------------------------------------------------------------------------------------------------------

    def opened(self, data: Any) -> Names:
        from jaxgen.tasks.names.data import load_corpus

        if self.corpus is not None:
            return self
        return Names(load_corpus(data.path, data.column), begins=data.source)

    @property
    def source(self) -> Any:
        """The corpus that is trained on first; None where there is none."""
        from jaxgen.tasks.names.data import load_corpus

        if self._source is None and self._begins is not None:
            self._source = load_corpus(self._begins)
        return self._source

    def of(self, given: Any) -> Names | None:
        from jaxgen.tasks.names.data import Corpus, load_corpus

        names = isinstance(given, list | tuple) and all(isinstance(name, str) for name in given)
        if names or isinstance(given, str | Path):
            return Names(load_corpus(given))
        return Names(given) if isinstance(given, Corpus) else None

    def begun_on(self, source: Any) -> Names:
        return Names(self.corpus, source)

    def reopened(self, facts: Mapping[str, Any]) -> Names:
        from jaxgen.storage.files import checked
        from jaxgen.tasks.names.data import Vocabulary

        if self.corpus is not None:
            return self
        try:
            checked(dict(facts), CorpusFacts)
            vocabulary, longest = Vocabulary.of(facts["characters"]), facts["longest"]
            if not 1 <= longest <= LONGEST:
                raise ValueError(f"longest {longest}")
        except (ValueError, KeyError) as error:
            raise UserError(f"what is said of its names is damaged ({error})") from None
        return Names(None, None, vocabulary, longest)

    @property
    def remembered(self) -> dict[str, Any]:
        return {"characters": self.vocabulary.characters, "longest": self.longest}

    def facts(self, data: Any) -> dict[str, Any]:
        corpus = self.corpus
        return {
            "path": corpus.path,
            "column": corpus.column,
            "names": len(corpus.names),
            "different": len(set(corpus.names)),
            "windows": corpus.windows,
            "vocabulary": len(corpus.vocabulary),
            "characters": corpus.vocabulary.characters,
            "longest": self.longest,
            "sha256": corpus.sha256,
            "source": None if self._source is None else self._source.sha256,  # where it has been read
        }

    def headline(self, facts: Mapping[str, Any]) -> str:
        counts = f"{facts['names']} names, {facts['windows']} windows, vocabulary {facts['vocabulary']}"
        return f"{facts['path']} ({counts})"

    def about(self, facts: Mapping[str, Any]) -> str:
        counts = f"{facts['different']:,} different, {facts['windows']:,} windows, vocabulary {facts['vocabulary']}"
        return f"{facts['names']:,} names ({counts}) of {facts['path']}"

    def origin(self, facts: Mapping[str, Any]) -> Origin:
        path, column = facts.get("path"), facts.get("column")
        name = f"{Path(str(path)).name if path else 'a file of names'}{f', column {column}' if column else ''}"
        if (what := BUNDLED.get(facts.get("sha256", ""))) is None:
            return Origin(name)
        licence = "works of the United States government, in the public domain"
        return Origin(f"{name} ({what})", CENSUS, licence, "public-domain")

    @functools.cached_property
    def material(self) -> Any:
        """What its groups read."""
        from jaxgen.tasks.names.material import Material

        return Material(self.corpus, self.source)

    # What a run is made of. -----------------------------------------------------------------------------------------------

    def functions(self) -> Any:
        from jaxgen.tasks.names.loss import next_character

        return next_character(len(self.vocabulary))

    def checked(self, sweep: Any) -> Any:
        fixed = [key for key in ("data.path", "data.column", "data.source") if key in sweep.keys]
        if fixed:
            raise UserError(f"{fixed[0]} is varied, but a run has one corpus; start a run for each file")
        _ = self.source  # refuses a file that cannot be read
        asked = any(point.get("train.pretrain", sweep.base.train.pretrain) for point in sweep.points)
        if asked and any(config.train.pretrain for config in sweep):
            _ = self.material.other  # refuses that there are none
        where = {"data.path": self.corpus.path, "data.column": self.corpus.column}
        return dataclasses.replace(sweep, base=override(sweep.base, where))

    def notices(self, config: Any) -> list[str]:
        from jaxgen.nn import ALONE

        alone = config.train.batch_size == 1 and config.model.family == "mlp" and config.model.normalization == "batchnorm"
        return [ALONE] if alone else []

    def rows(self, config: Any) -> int:
        return self.material.rows(config)

    def reads(self, config: Any) -> Reads:
        from jaxgen.tasks.names.models.on_counts import COUNTS

        splits, tables = self.material.reads(config)
        if tables is None:
            return Reads(splits)
        return Reads(splits, lambda ended: dataclasses.replace(ended, stats={**ended.stats, COUNTS: tables}))

    def trains(self, config: Any) -> bool:
        from jaxgen.tasks.names.models import FAMILIES

        return FAMILIES[config.model.family].trained

    def solve(self, data: Any, group: Any) -> Iterator[Any]:
        from jaxgen.tasks.names.counting import count

        return count(data, len(self.vocabulary), group)

    def restored(self, config: Any, trial: int, state: Callable[[Any], Any]) -> tuple[Any, Any]:
        from jaxgen.tasks.names.counting import restored

        return restored(config, trial, self.vocabulary, state)

    # What people see. -----------------------------------------------------------------------------------------------------

    @property
    def verdicts(self) -> Mapping[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        from jaxgen.tasks.names.answers import ensembles, overfitting

        return {"ensembles": ensembles, "overfitting": overfitting}

    def measured(self, config: Any, states: Mapping[int, Any]) -> dict[int, dict[str, float]]:
        from jaxgen.tasks.names.generate import draw
        from jaxgen.tasks.names.quality import LONGEST

        if not config.train.names:
            return {}
        reference = _reference(self.corpus.names)
        longest = min(max(map(len, reference.names)), LONGEST)
        drawn = draw(config.model, self.vocabulary, list(states.values()), config.train.names, longest)
        return {trial: reference.measure(names) for trial, names in zip(states, drawn, strict=True)}

    def standings(self, results: Any) -> list[str]:
        from jaxgen.tasks.names.standing import standings

        return list(map(str, standings(results, self.corpus)))

    def sample(self, trained: Sequence[Any], count: int, seed: int, **how: Any) -> list[str]:
        from jaxgen.tasks.names.generate import sample

        return sample(trained, count, seed=seed, **how)

    def show(self, found: Any) -> list[Section]:
        from jaxgen.tasks.names.show import sections

        return sections(self, found)

    def reference(self, results: Any) -> tuple[str, Mapping[str, float]] | None:
        from jaxgen.tasks.names.standing import standings

        found = [] if self.corpus is None else [one for one in standings(results, self.corpus) if one.networks]
        if len(found) != 1:
            return None
        floor = found[0].floor
        return str(floor), {"val_loss": floor.val_loss, "test_loss": floor.test_loss}

    def closing(self, results: Any) -> list[str]:
        from jaxgen.tasks.names.show import closing

        return closing(self, results)

    def glimpse(self, trained: Any) -> str:
        from jaxgen.tasks.names.show import glimpse

        return glimpse(self, trained)

    def further(self, out: str) -> list[str]:
        return [f"more names: {called(f'sample {out}')}"]


LONGEST = 10_000_000  # characters of a corpus's longest name, in a file that is not trusted


@functools.lru_cache(maxsize=2)
def _reference(names: tuple[str, ...]) -> Any:
    from jaxgen.tasks.names.quality import Reference

    return Reference(names)


NAMES = Names()
