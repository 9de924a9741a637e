"""Measures jaxgen on this machine beside PyTorch and hand-written JAX: prints a table, writes JSON and a picture."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from jaxgen.commands.ahead import FAMILIES, WIDTHS, show, trained
from jaxgen.commands.cli import Signals, parse
from jaxgen.fields import UserError

if TYPE_CHECKING:  # heavy
    from rich.table import Table

    from jaxgen.benchmark.figures import Report

MINUTES, QUICK_MINUTES = 9.0, 4.0
# Families that `benchmark.sequences` and `rooms` write in PyTorch.
PEERS = ("gru", "transformer", "digits_mlp", "digits_cnn", "ratings_dot")


@dataclass(frozen=True)
class Flags:
    """Measures jaxgen on this machine, in at most 10 minutes, beside PyTorch (where it is installed) and hand-written JAX."""

    out: str = "runs/benchmark"
    """The folder for benchmark.json and benchmark.png."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Fewer rounds, widths and trials: at most 4 minutes, and rougher."""
    profile: str | None = None
    """A folder for a JAX trace of some of the engine's segments."""
    minutes: float | None = None
    """Time for measuring: 9 by itself, 4 with --quick; what does not fit in it is left out, and a line says so."""
    families: str | None = None
    """Families to measure too, of gru, transformer, digits_mlp, digits_cnn and ratings_dot; with --ahead any of names, mlp by
    itself."""
    widths: str | None = None
    """Lanes to measure, such as 1,8,32,128,512."""
    ahead: str | None = None
    """A device that need not be here, such as cuda:h100 or tpu:v5e: what the programs come to there, and nothing else."""
    growth: str | None = None
    """What a save, going on, a report and loading take in made-up runs of so many trials, and nothing else: 100,1000."""


def widths_of(text: str) -> tuple[int, ...]:
    """The widths that a flag lists.

    Raises:
      UserError: if it is no list of whole numbers above 0.
    """
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise UserError(f"--widths is {text!r}, expected whole numbers above 0, for instance 1,8,32,128")
    return tuple(sorted(set(found)))


def trials_of(text: str) -> tuple[int, ...]:
    """The numbers of trials that a flag lists.

    Raises:
      UserError: if it is no list of even numbers of 4 to a million, or the machine does not tell what is written.
    """
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 4 or max(found) > 1_000_000 or any(trials % 2 for trials in found):
        raise UserError(f"--growth is {text!r}, expected even numbers of 4 to 1000000, for instance 100,1000,10000")
    if not Path("/proc/self/io").exists():
        raise UserError("--growth is given, and only Linux tells how much a process has written; leave it out")
    return found


def grow(trials: Sequence[int], out: Path) -> Table:
    """Measures runs of so many trials, which are made up below `out` and removed again; writes growth.json as it goes."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from jaxgen.benchmark.growth import grown
    from jaxgen.storage import files

    with files.writing(out):
        out.mkdir(parents=True, exist_ok=True)
    table, found = Table(box=SIMPLE_HEAD, padding=(0, 1)), []
    heads = ("trials", "KB a save", "s a save", "s going on", "s a report", "s loading", "MB of the page")
    for head in (*heads, *(f"peak MB {what}" for what in ("going on", "report", "loading"))):
        table.add_column(head, justify="right")
    for count in trials:
        with tempfile.TemporaryDirectory(dir=out) as made:
            one = grown(Path(made) / "run", count)
        found.append(asdict(one))
        files.write(out / "growth.json", json.dumps(found, indent=1) + "\n")
        seconds = (one.save_seconds, one.resume_seconds, one.report_seconds, one.load_seconds)
        peaks = (one.resume_peak, one.report_peak, one.load_peak)
        sizes = [f"{size / 2**20:,.0f}" for size in peaks]
        page = f"{one.page_bytes / 2**20:.1f}"
        table.add_row(f"{count:,}", f"{one.save_bytes / 2**10:,.0f}", *(f"{s:.2g}" for s in seconds), page, *sizes)
    return table


def families_of(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """The families that a flag lists.

    Raises:
      UserError: if one of them is none of the known ones.
    """
    found = tuple(dict.fromkeys(text.split(",")))
    if not {*found} <= {*known}:
        raise UserError(f"--families is {text!r}, expected some of {', '.join(known)}, with commas between")
    return found


def shown(value: float | None) -> str:
    """A number as people read it."""
    return "-" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def tables(report: Report) -> tuple[str, Table, Table]:
    """What was measured on, the rates, and the figures."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    machine, rate = report.machine, report.matmul_flop_per_second
    versions = ", ".join(f"{name} {value or 'not installed'}" for name, value in machine["versions"].items())
    load = shown(machine["load_at_start_processes"])
    title = (
        f"{', '.join(machine['devices'])}; {machine['cores_count']} cores, load at the start {load}\n{versions}\n"
        f"matmul {shown(rate and rate / 1e9)} GFLOP/s; {report.flop_per_trial_step / 1e6:.1f} MFLOP a trial-step; batch 32"
    )
    rates = Table(box=SIMPLE_HEAD, padding=(0, 1))
    rates.add_column("", no_wrap=True)
    heads = ("trial-steps/s", "us", "x eager", "x func", "x one", "x vmap", "% matmul", "compile s", "bursts")
    rows = {
        key: [
            *map(shown, (speed, 1e6 / speed, *report.ratios(key).values(), report.share(key))),
            "-" if row.compile_seconds is None else f"{row.compile_seconds:.1f}",
            str(row.bursts),
        ]
        for key, row in report.rates.items()
        if (speed := row.trial_steps_per_second)
    }
    found = [
        place for place in range(len(heads)) if any(row[place] != "-" for row in rows.values())
    ]  # of peers that were measured
    for place in found:
        rates.add_column(heads[place], justify="right", no_wrap=True)
    noted = any(report.rates[key].note for key in rows)
    if noted:
        rates.add_column("note")
    for key, cells in rows.items():
        row = report.rates[key]
        rates.add_row(row.name, *(cells[place] for place in found), *([row.note] if noted else []))
    figures = Table(box=SIMPLE_HEAD, padding=(0, 1))
    figures.add_column("")
    figures.add_column("figure", justify="right", no_wrap=True)
    figures.add_column("note")
    for figure in report.figures:
        if figure.value is not None:
            figures.add_row(figure.says, shown(figure.value), figure.note)
    return title, rates, figures


def left_out(report: Report) -> list[str]:
    """What was not measured, a line for each reason."""
    each = [(rate.name, rate.note) for rate in report.rates.values() if not rate.trial_steps_per_second]
    each += [(figure.says, figure.note) for figure in report.figures if figure.value is None]
    reasons = dict.fromkeys(note for _, note in each)
    return [f"{note} ({'; '.join(name for name, why in each if why == note)})" for note in reasons]


def last_word(report: Report) -> str:
    """What all of it comes to, in a sentence; "" where too little was measured to say."""
    speeds = {key: rate.trial_steps_per_second for key, rate in report.rates.items() if rate.trial_steps_per_second}
    widths = {int(key[6:]): speed for key, speed in speeds.items() if key.startswith("width_")}
    alone, several = widths.pop(1, None), max(widths, key=lambda width: widths[width], default=0)
    if not alone or not several:
        return ""
    return f"{several} networks side by side train {widths[several] / alone:.1f} times as fast as one after the other"


def write(report: Report, out: Path) -> None:
    """benchmark.json and benchmark.png."""
    from jaxgen.report.benchmark import draw
    from jaxgen.report.pictures import png
    from jaxgen.storage import files

    with files.writing(out):
        out.mkdir(parents=True, exist_ok=True)
    files.write(out / "benchmark.json", report.as_json() + "\n")
    speeds = {key: rate.trial_steps_per_second for key, rate in report.rates.items() if rate.trial_steps_per_second}
    bars = {report.rates[key].name: speed for key, speed in speeds.items() if not key.startswith(("hidden", "family"))}
    own = [report.rates[key].name for key in speeds if key.startswith(("width", "sweep"))]
    widths = {int(key[6:]): 1e6 / speed for key, speed in speeds.items() if key.startswith("width_")}
    hidden = {int(key[7:]): 1e6 / speed for key, speed in speeds.items() if key.startswith("hidden_")}
    if "width_8" in speeds:
        hidden[100] = 1e6 / speeds["width_8"]  # the default network
    png(draw(bars, own, widths, dict(sorted(hidden.items()))), out / "benchmark.png")


def profile(folder: str) -> None:
    """Writes a JAX trace of two of the engine's segments, compiled before."""
    import jax

    from jaxgen.benchmark import measure
    from jaxgen.engine.plan import choose

    subject = measure.lanes(measure.setting(), choose(8), {"train.eval_every": 100}, 5, "profiled")
    subject.burst()
    with jax.profiler.trace(folder):
        subject.burst()
        subject.burst()


def command(signals: Signals) -> None:
    flags = parse(Flags, "benchmark")
    start = time.monotonic()
    widths = None if flags.widths is None else widths_of(flags.widths)
    families = () if flags.families is None else families_of(flags.families, PEERS if flags.ahead is None else trained())
    minutes = (QUICK_MINUTES if flags.quick else MINUTES) if flags.minutes is None else flags.minutes
    if not minutes > 0:
        raise UserError(f"--minutes is {flags.minutes}, expected more than 0")
    out = Path(flags.out)
    if out.exists() and not out.is_dir():
        raise UserError(f"--out is {flags.out!r}, which is not a folder; give another one")
    trials = None if flags.growth is None else trials_of(flags.growth)
    from rich.console import Console

    if trials is not None:
        Console().print(grow(trials, out))
        return
    if flags.ahead is not None:
        wide = Console()
        wide.width = wide.width if wide.is_terminal else 170
        wide.print(show(flags.ahead, families or FAMILIES, widths or WIDTHS, out))
        return
    import jax

    from jaxgen.engine.plan import use_every_core

    use_every_core()
    jax.config.update("jax_enable_compilation_cache", False)  # compilation is measured
    from jaxgen.benchmark.figures import measured
    from jaxgen.benchmark.measure import FULL, QUICK, Clock

    def say(message: str) -> None:
        print(f"{time.monotonic() - start:5.0f} s  {message}", file=sys.stderr, flush=True)

    scale = QUICK if flags.quick else FULL
    report = measured(replace(scale, widths=widths or scale.widths, families=families), Clock(start + 60 * minutes), say)
    write(report, out)
    console = Console()
    if not console.is_terminal:
        console.width = 170  # a log has no width of its own
    for part in tables(report):
        console.print(part, markup=False, highlight=False)
    for line in left_out(report):
        console.print(line, markup=False, style="dim")
    console.print(f"{time.monotonic() - start:.0f} s in all; written: {out}/benchmark.json, {out}/benchmark.png", markup=False)
    if word := last_word(report):
        console.print(word, markup=False, style="bold")
    if flags.profile is not None:
        profile(flags.profile)
        console.print(f"a trace of two segments: {flags.profile} (open it in Perfetto or XProf)", markup=False)
