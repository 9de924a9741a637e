"""`benchmark --ahead`: what programs come to on a device that is not here, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # heavy
    from rich.table import Table

    from jaxgen.benchmark.ahead import Ahead

WIDTHS = (126, 1024)
FAMILIES = ("mlp",)

HEADS = {
    "family": "",
    "lanes": "networks that are trained side by side",
    "kernels": "a step starts so many",
    "waits": "how often the host waits for the device, a step",
    "MB a step": "moved between chip and memory, a network",
    "MB state": "of a network, with its config",
    "MB beside": "what the program needs beside that, a network",
    "GB in all": "of all lanes together",
    "padding": "what the state takes in tiles, by what is in it",
    "evaluation": "share of what is moved that is no step's",
    "us a step": "a network's, an estimate: by bytes and starts alone",
    "compiling s": "here, on this machine's cores",
}


def trained() -> list[str]:
    """The families that can be looked at: those that learn by steps."""
    from jaxgen.tasks.names.models import FAMILIES as KNOWN

    return [name for name, family in KNOWN.items() if family.trained]


def show(target: str, families: Sequence[str], widths: Sequence[int], out: Path) -> Table:
    """Compiles and reads every family at every width; writes ahead.json as it goes.

    Raises:
      UserError: for a target that is not known, or a package that lacks.
    """
    import jax

    jax.config.update("jax_platforms", "cpu")  # nothing is run; and a GPU that is here is left alone
    from jaxgen.benchmark.ahead import device, looked
    from jaxgen.storage import files

    device(target)  # before anything is written
    with files.writing(out):
        out.mkdir(parents=True, exist_ok=True)
    table, found = table_of(target), list[dict[str, Any]]()
    for one in looked(target, families, widths):
        table.add_row(*row(one))
        found.append(asdict(one) | {"share": one.share, "step": one.step, "fits": one.fits})
        files.write(out / "ahead.json", json.dumps(found, indent=1) + "\n")
    return table


def table_of(target: str) -> Table:
    """The heads, and below them what they mean."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    said = "; ".join(f"{name}: {what}" for name, what in HEADS.items() if what)
    title = f"compiled for {target}, and not run: kernels and bytes are the program's, sizes of tiles are guesses\n"
    table = Table(title=title, caption=said, title_justify="left", caption_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for name in HEADS:
        table.add_column(name, justify="left" if name == "family" else "right", no_wrap=True)
    return table


def row(one: Ahead) -> list[str]:
    """The cells of one program."""
    low, high = (1e6 * seconds for seconds in one.step)
    return [
        one.family,
        f"{one.width:,}",
        f"{one.kernels:,}",
        "-" if one.graphs is None else str(one.graphs.round_trips),
        f"{one.bytes / 1e6:.2f}",
        f"{one.state / 1e6:.2f}",
        f"{one.temporary / 1e6:.2f}",
        f"{one.memory / 1e9:,.1f}{'' if one.fits else ', too much'}",
        f"{one.padding:.2f}",
        f"{one.share:.0%}",
        f"{low:.3g} to {high:.3g}" if one.graphs is not None else f"{low:.3g} or more",
        f"{one.seconds:.0f}",
    ]
