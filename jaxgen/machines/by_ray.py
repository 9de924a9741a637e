"""Workers of a Ray cluster: a part is a task of Ray's, which asks for an accelerator, or for the cores of a node.

Ray knows which workers there are and which are free, and says when one has died; what becomes of its part, the head says.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxgen.fields import UserError, quoted
from jaxgen.machines import parts as dealing
from jaxgen.machines.head import Done
from jaxgen.machines.parts import Order, Part
from jaxgen.runs import Interrupted
from jaxgen.storage.claim import PARTS
from jaxgen.storage.facts import CONFIG
from jaxgen.storage.files import CannotWrite, remove, sha256
from jaxgen.storage.lock import Held
from jaxgen.training import begin

GRACE = 60.0  # seconds for workers to save, after which they are ended
MISSING = "Ray is not installed, which --ray needs; install it with: pip install 'jaxgen[ray]'"


class RayPool:
    """A cluster, joined or started, for one run.

    Args:
      order: what a worker is told of a part that is to be trained in a folder.
      address: of a cluster. "auto": the one that RAY_ADDRESS names or that runs here, or else one of this machine alone, which
        ends with this process.
      cache: keep compiled programs and measured plans, on each worker's machine.

    Raises:
      UserError: if Ray is not installed, or there is no such cluster.
    """

    def __init__(self, order: Callable[[Part, Path], Order], address: str = "auto", cache: bool = True) -> None:
        ray = _installed()
        self._ray, self._order, self._cache = ray, order, cache
        self._running: dict[Any, tuple[Part, Path]] = {}
        self._stop: Path | None = None
        _join(ray, address)
        self._asks = asked([node["Resources"] for node in ray.nodes() if node["Alive"]])
        cores = self._asks["num_cpus"]
        environment = {"env_vars": {"JAX_NUM_CPU_DEVICES": str(int(cores))}} if cores else {}
        # A worker keeps what it has compiled and is used again; whether a part is tried again, the head says.
        asks = {**self._asks, "resources": {name: count for name, count in self._asks["resources"].items() if count}}
        self._task = ray.remote(max_retries=0, max_calls=0, runtime_env=environment, **asks)(_trained)

    def give(self, part: Part, folder: Path) -> None:
        """Hands out a part (`head.Pool`)."""
        told = self._order(part, folder)
        self._stop = told.run / PARTS / f"stop-{os.getpid()}"
        ref = self._task.remote(told, sha256(told.run / CONFIG), self._stop, self._cache)
        self._running[ref] = part, folder

    def ended(self, seconds: float) -> Sequence[Done]:
        """The parts that came back (`head.Pool`)."""
        if not self._running:
            return []
        ready, _ = self._ray.wait([*self._running], num_returns=1, timeout=seconds)
        more, _ = self._ray.wait([*self._running], num_returns=len(self._running), timeout=0)
        return [self._done(ref, *self._running.pop(ref)) for ref in {*ready, *more}]

    def _done(self, ref: Any, part: Part, folder: Path) -> Done:
        try:
            died, failed, archive = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:  # not one of our errors: it would be raised again
            return Done(part, failed=str(error).strip().splitlines()[-1])
        except self._ray.exceptions.RayError as error:
            return Done(part, died=type(error).__name__)
        if archive is not None:
            unpacked(archive, folder)
        return Done(part, died, failed)

    def workers(self) -> str:
        """Who there is (`head.Pool`)."""
        count = sum(node["Alive"] for node in self._ray.nodes())
        each = [
            f"{self._asks['num_cpus']:g} cores",
            f"{self._asks['num_gpus']:g} GPU",
            f"{self._asks['resources']['TPU']:g} TPU",
        ]
        return f"{count} node{'s' * (count > 1)} of Ray, {', '.join(one for one in each if one[0] != '0')} a part"

    def stop(self) -> None:
        """Lets every worker save and end (`head.Pool`)."""
        if self._stop is not None and self._running:
            with contextlib.suppress(OSError):
                self._stop.touch()
            self._ray.wait([*self._running], num_returns=len(self._running), timeout=GRACE)

    def close(self) -> None:
        """Leaves the cluster; one that was started ends."""
        self._ray.shutdown()
        if self._stop is not None:
            with contextlib.suppress(OSError):
                self._stop.unlink()


def _installed() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise UserError(MISSING) from None


def count(address: str) -> int:
    """How many parts a cluster trains at the same time.

    Raises:
      UserError: as `RayPool`.
    """
    ray = _installed()
    _join(ray, address)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    asks = asked(nodes)
    wanted = {"GPU": asks["num_gpus"], "CPU": asks["num_cpus"], **asks["resources"]}
    return max(1, sum(min(int(node.get(name, 0) // each) for name, each in wanted.items() if each) for node in nodes))


def _join(ray: Any, address: str) -> None:
    """Raises UserError where there is no cluster."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if ray.is_initialized():
        return
    try:
        ray.init(address=address, **quiet)
        return
    except ConnectionError as error:
        if address != "auto":
            raise UserError(
                f"there is no Ray cluster at {quoted(address)} ({str(error).splitlines()[0]}); see `ray status`"
            ) from None
    except ValueError as error:
        raise UserError(f"--ray is {quoted(address)}, which is no address of Ray's ({str(error).splitlines()[0]})") from None
    ray.init(include_dashboard=False, **quiet)


def asked(nodes: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """What a part asks Ray for: a GPU, the TPUs of a host (which serve one process at a time), or the cores of a node, as many
    as the smallest has.

    Args:
      nodes: what each node has.
    """
    some: dict[str, Any] = {"num_cpus": 0, "num_gpus": 0, "resources": {"TPU": 0}}
    if any(node.get("GPU", 0) >= 1 for node in nodes):
        return {**some, "num_gpus": 1}
    if tpus := [node["TPU"] for node in nodes if node.get("TPU", 0) >= 1]:
        return {**some, "resources": {"TPU": min(tpus)}}
    return {**some, "num_cpus": min((node["CPU"] for node in nodes if node.get("CPU", 0) >= 1), default=1)}


def _trained(told: Order, said: str, stop: Path, cache: bool) -> tuple[str, str, bytes | None]:
    """Trains a part, on a worker.

    Args:
      said: the sum of the run's `config.json`, by which a worker knows whether it sees the run's folder.
      stop: a file; where it is, the worker saves and ends.

    Returns:
      why it ended early and may be tried again; why it was refused; and, where the folder is not seen, all that it holds.
    """
    seen = (told.run / CONFIG).is_file() and sha256(told.run / CONFIG) == said
    told = told if seen else alone(told, said)
    if stop.exists():
        return "stopped", "", None
    kept, _ = begin(cache)
    try:
        dealing.train(told, cache=kept, stop=stop.exists)
    except (CannotWrite, Held) as error:
        return str(error), "", None
    except Interrupted:
        return "stopped", "", None
    except UserError as error:
        return "", str(error), None
    return "", "", None if seen else packed(told.folder)


def alone(told: Order, said: str) -> Order:
    """A part where the run's folder is not seen: in a folder of this machine's own, in which it can be gone on with."""
    own = Path(tempfile.gettempdir()) / f"jaxgen-{os.getuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    if own.lstat().st_uid != os.getuid() or own.is_symlink():
        raise UserError(f"{str(own)!r} is another user's; remove it, or let all workers see the folder of the run")
    run = own / hashlib.sha256(said.encode()).hexdigest()[:16]
    return replace(told, run=run, folder=run / PARTS / told.folder.name)


def packed(folder: Path) -> bytes:
    """A folder's files, which are removed."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(folder, arcname=".")
    remove(folder)
    return content.getvalue()


def unpacked(content: bytes, folder: Path) -> None:
    """Puts what `packed` made in its place in one step; what was there is a worker's that died, and goes."""
    new = folder.with_name(f"{folder.name}.new")
    for old in (new, folder):
        if old.exists():
            remove(old)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(new, filter="data")
    os.replace(new, folder)
