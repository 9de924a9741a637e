"""Workers of a Ray cluster: a part is a task of Ray's, which asks for an accelerator, or for the cores of a node.

Ray knows which workers there are and which are free, and says when one has died; what becomes of its part, the head says.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import os
import signal
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxgen.fields import UserError, quoted
from jaxgen.machines import parts as dealing
from jaxgen.machines.head import Done
from jaxgen.machines.orders import Order, agreed, train
from jaxgen.machines.parts import Part
from jaxgen.runs import Interrupted
from jaxgen.storage.claim import PARTS
from jaxgen.storage.facts import read_config
from jaxgen.storage.files import CannotWrite, remove
from jaxgen.storage.lock import Held
from jaxgen.training import begin

GRACE = 60.0  # seconds for workers to save, after which they are ended
AHEAD = 2  # parts that Ray knows of, for each that is trained
AVOIDED = 30.0  # seconds for which a node gets no part after it failed at one, twice as long each time
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
        self._ray, self._order, self._cache = _installed(), order, cache
        _join(self._ray, address)
        self._waiting: list[tuple[Part, Path]] = []
        self._running: dict[Any, Order] = {}
        self._stop: Path | None = None
        self._bad: dict[str, tuple[int, float]] = {}  # node -> how often it failed in a row, and until when it is avoided
        self._asks = asked(_nodes(self._ray))
        cores, accelerated = self._asks["num_cpus"], self._asks["num_gpus"] or self._asks["resources"]["TPU"]
        environment = {"env_vars": {"JAX_NUM_CPU_DEVICES": str(int(cores))}} if cores else {}
        asks = {**self._asks, "resources": {name: count for name, count in self._asks["resources"].items() if count}}
        # A worker on cores keeps what it has compiled, and is used again; one on an accelerator holds that as long as it lives.
        # Whether a part is tried again, the head says.
        calls = 1 if accelerated else 0
        self._task = self._ray.remote(max_retries=0, max_calls=calls, runtime_env=environment, **asks)(_trained)

    def give(self, part: Part, folder: Path) -> None:
        """Hands out a part (`head.Pool`)."""
        self._waiting.append((part, folder))
        self._fill()

    def _fill(self) -> None:
        """Gives Ray as many parts as there are workers, and as many more, which wait for one: who fails at once does not get
        all of them."""
        most = AHEAD * fitting(_nodes(self._ray), self._asks)
        while self._waiting and len(self._running) < most:
            part, folder = self._waiting.pop(0)
            told = self._order(part, folder)
            if told.chunk is None:
                told = replace(told, chunk=agreed(told.run, part.group)(None))
            if self._stop is None:
                self._stop = told.run / PARTS / f"stop-{os.urandom(8).hex()}"
            avoided = [node for node, (_, until) in self._bad.items() if until > time.monotonic()]
            others = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]} - {*avoided}
            where = {"label_selector": {"ray.io/node-id": f"!in({','.join(avoided)})"}} if avoided and others else {}
            ref = self._task.options(**where).remote(told, dealing.token(told.run), self._stop, self._cache)
            self._running[ref] = told

    def ended(self, seconds: float) -> Sequence[Done]:
        """The parts that came back (`head.Pool`)."""
        self._fill()
        if not self._running:
            time.sleep(seconds)
            return []
        ready, _ = self._ray.wait([*self._running], num_returns=1, timeout=seconds)
        more, _ = self._ray.wait([*self._running], num_returns=len(self._running), timeout=0)
        found = [self._done(ref, self._running.pop(ref)) for ref in {*ready, *more}]
        self._fill()
        return found

    def _done(self, ref: Any, told: Order) -> Done:
        try:
            died, failed, node, archive = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:  # not one of our errors
            return Done(told.part, died=str(error).strip().splitlines()[-1])
        except self._ray.exceptions.RayError as error:
            return Done(told.part, died=type(error).__name__)
        count, _ = self._bad.pop(node, (0, 0.0))
        if died:
            self._bad[node] = (count + 1, time.monotonic() + AVOIDED * 2**count)
        if archive is not None:
            unpacked(archive, told.folder)
            for plan in read_config(told.folder)["plan"]:
                agreed(told.run, told.part.group)(plan["lanes"]["chunk"])
        return Done(told.part, died, failed)

    def workers(self) -> str:
        """Who there is (`head.Pool`)."""
        count = len(_nodes(self._ray))
        each = [
            f"{self._asks['num_cpus']:g} cores",
            f"{self._asks['num_gpus']:g} GPU",
            f"{self._asks['resources']['TPU']:g} TPU",
        ]
        return f"{count} node{'s' * (count > 1)} of Ray, {', '.join(one for one in each if one[0] != '0')} a part"

    def stop(self) -> None:
        """Lets every worker save and end (`head.Pool`); what had ended by then is taken in."""
        self._waiting.clear()
        if self._stop is not None and self._running:
            with contextlib.suppress(OSError):
                self._stop.touch()
            ready, _ = self._ray.wait([*self._running], num_returns=len(self._running), timeout=GRACE)
            for ref in ready:
                self._done(ref, self._running.pop(ref))

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
    nodes = _nodes(ray)
    return fitting(nodes, asked(nodes))


def _nodes(ray: Any) -> list[Mapping[str, float]]:
    """What each node that is there has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def fitting(nodes: Sequence[Mapping[str, float]], asks: Mapping[str, Any]) -> int:
    """How many parts some nodes train at the same time; at least 1."""
    wanted = {"GPU": asks["num_gpus"], "CPU": asks["num_cpus"], **asks["resources"]}
    return max(1, sum(min(int(node.get(name, 0) // each) for name, each in wanted.items() if each) for node in nodes))


def _join(ray: Any, address: str) -> None:
    """Raises UserError where there is no cluster."""
    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}  # Ray sets one that exits
    try:
        try:
            ray.init(address=address, **quiet)
        except ConnectionError:
            if address != "auto":
                raise
            ray.init(address="local", include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, ValueError, ImportError, TimeoutError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"Ray cannot join or start a cluster, --ray is {quoted(address)} ({why}); see `ray status`") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


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


def _trained(told: Order, token: str, stop: Path, cache: bool) -> tuple[str, str, str, bytes | None]:
    """Trains a part, on a worker.

    Args:
      token: the run's, by which a worker knows whether it sees the run's folder.
      stop: a file; where it is, the worker saves and ends.

    Returns:
      why it ended early and may be tried again; why it was refused; on which node; and, where the run's folder is not seen, all
      that the part's folder holds.
    """
    node = _installed().get_runtime_context().get_node_id()
    if stop.exists():
        return "stopped", "", node, None
    try:
        with contextlib.suppress(UserError):
            if dealing.token(told.run) == token:
                token = ""
        told = alone(told, token) if token else told
        with contextlib.chdir(told.cwd) if os.path.isdir(told.cwd) else contextlib.nullcontext():
            kept, _ = begin(cache)
            train(told, cache=kept, stop=stop.exists)
    except Interrupted:
        return "stopped", "", node, None
    except (CannotWrite, Held, OSError) as error:
        return str(error), "", node, None
    except UserError as error:
        return "", str(error), node, None
    return "", "", node, packed(told.folder) if token else None


def alone(told: Order, token: str) -> Order:
    """A part where the run's folder is not seen: in a folder of this machine's own, in which it can be gone on with."""
    own = Path(tempfile.gettempdir()) / f"jaxgen-{os.getuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    if own.lstat().st_uid != os.getuid() or own.is_symlink():
        raise UserError(f"{str(own)!r} is another user's; remove it, or let all workers see the folder of the run")
    run = own / hashlib.sha256(token.encode()).hexdigest()[:16]
    return replace(told, run=run, folder=run / PARTS / told.folder.name)


def packed(folder: Path) -> bytes:
    """A folder's files, which stay: whoever they are sent to may be gone."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(folder, arcname=".")
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
