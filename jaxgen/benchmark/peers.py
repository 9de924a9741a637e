"""What jaxgen is measured against: the same network and Adam in PyTorch and in plain JAX, as a good user writes them by hand.

Each peer is a `Subject`: something that trains a few steps whenever it is asked. PyTorch is imported only where it is
installed; it is no dependency.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgen.tasks.names import models
from jaxgen.tasks.names.config import Config, RegularizerConfig
from jaxgen.tasks.names.data import Windows
from jaxgen.train.trial import Stream, stream

RATE = 3e-3  # Adam's, of every peer
EPS = 1e-5  # BatchNorm's
KEEP = 0.9  # the share of BatchNorm's running statistics that a step keeps


# Training mode without anything that acts in training alone.
NOTHING: Any = RegularizerConfig(**dict.fromkeys((part.name for part in dataclasses.fields(RegularizerConfig)), None))  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Subject:
    """What is measured: `burst()` trains `trials` trials `steps` steps each and returns when that is done."""

    name: str
    trials: int
    steps: int
    burst: Callable[[], None]
    note: str = ""


def jax_step(config: Config, vocabulary: int) -> Callable[[Any, Any], tuple[Any, jax.Array]]:
    """((params, stats, Adam's state), batch) -> (the same after one step, loss), with flax and optax and nothing else."""
    module = models.build(config.model, vocabulary)

    def loss_of(params: Any, stats: Any, batch: Any) -> tuple[jax.Array, Any]:
        variables = {"params": params, "batch_stats": stats}
        logits, changed = module.apply(
            variables, batch.ids, NOTHING, rngs={"noise": jax.random.key(0)}, mutable=["batch_stats"]
        )
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets).mean(), changed["batch_stats"]

    def step(state: Any, batch: Any) -> tuple[Any, jax.Array]:
        params, stats, opened = state
        (loss, stats), grads = jax.value_and_grad(loss_of, has_aux=True)(params, stats, batch)
        updates, opened = optax.adam(RATE).update(grads, opened, params)
        return (optax.apply_updates(params, updates), stats, opened), loss

    return step


@functools.partial(jax.jit, static_argnums=(0, 1))
def jax_start(config: Config, vocabulary: int, seed: jax.typing.ArrayLike) -> Any:
    """(params, stats, Adam's state), from the same random numbers as jaxgen's own trial of that seed."""
    ids = jnp.zeros((1, config.model.context), jnp.int32)
    variables = models.build(config.model, vocabulary).init(stream(seed, Stream.START), ids)
    return variables["params"], variables["batch_stats"], optax.adam(RATE).init(variables["params"])


def jax_one(config: Config, vocabulary: int, train: Windows, steps: int) -> Subject:
    """One trial, a jitted step called from Python."""
    data = jax.device_put(jax.tree.map(jnp.asarray, train), jax.devices()[0])
    step = jax_step(config, vocabulary)

    @functools.partial(jax.jit, donate_argnums=0)
    def go(state: Any, key: jax.Array, data: Any) -> tuple[Any, jax.Array, jax.Array]:
        key, draw = jax.random.split(key)
        rows = jax.random.randint(draw, (config.train.batch_size,), 0, len(data.targets))
        state, loss = step(state, jax.tree.map(lambda x: x[rows], data))
        return state, key, loss

    held = [jax.device_put((jax_start(config, vocabulary, 0), jax.random.key(0)), jax.devices()[0])]

    def burst() -> None:
        state, key = held.pop()
        for _ in range(steps):
            state, key, _ = go(state, key, data)
        held.append(jax.block_until_ready((state, key)))

    return Subject("JAX, one trial", 1, steps, burst, "jitted step called from Python")


def vmap_scan(config: Config, vocabulary: int, train: Windows, trials: int, steps: int) -> Subject:
    """`trials` trials in one vmap over a scan of plain steps, on one device; each draws its batches before it scans."""
    data = jax.device_put(jax.tree.map(jnp.asarray, train), jax.devices()[0])
    step = jax_step(config, vocabulary)

    def scan(state: Any, key: jax.Array, data: Any) -> tuple[Any, jax.Array]:
        rows = jax.random.randint(key, (steps, config.train.batch_size), 0, len(data.targets))
        return jax.lax.scan(lambda state, row: step(state, jax.tree.map(lambda x: x[row], data)), state, rows)

    go = jax.jit(jax.vmap(scan, in_axes=(0, 0, None)), donate_argnums=0)
    starts = jax.vmap(functools.partial(jax_start, config, vocabulary))(jnp.arange(trials))
    held = [jax.device_put(starts, jax.devices()[0])]
    keys = jax.device_put(jax.random.split(jax.random.key(0), trials), jax.devices()[0])

    def burst() -> None:
        state, _ = go(held.pop(), keys, data)
        held.append(jax.block_until_ready(state))

    return Subject(f"JAX vmap(scan), {trials} trials", trials, steps, burst, "one device")


def has_torch() -> bool:
    """Whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def _torch() -> Any:
    return importlib.import_module("torch")


def torch_device() -> str:
    """Where PyTorch's rows are measured: on the GPU on which JAX's are, as PyTorch calls it, else on the CPU."""
    return "cuda" if jax.default_backend() == "gpu" and _torch().cuda.is_available() else "cpu"


def tensor(array: Any) -> Any:
    """An array as a tensor there."""
    return _torch().from_numpy(np.array(array)).to(torch_device())


def layers(params: Any) -> list[str]:
    """The linear layers' names, in the order in which they are applied."""
    return [*sorted((name for name in params if name.startswith("hidden_")), key=lambda name: int(name[7:])), "output"]


def torch_params(params: Any) -> dict[str, Any]:
    """flax's parameters as tensors by short names; kernels stay (in, out), and further first axes stay too."""
    flat = {"embedding": params["embedding"]["embedding"]}
    for name in layers(params):
        flat[f"{name}.kernel"] = params[name]["linear"]["kernel"]
        flat |= {f"{name}.{part}": params[name]["norm"][part] for part in ("scale", "bias")}
    return {name: tensor(value) for name, value in flat.items()}


def torch_module(params: Any) -> Any:
    """DL-101's network as PyTorch's users write it, with one trial's parameters."""
    torch, tensors = _torch(), torch_params(params)
    parts = [torch.nn.Embedding.from_pretrained(tensors["embedding"], freeze=False), torch.nn.Flatten()]
    for name in layers(params):
        kernel = tensors[f"{name}.kernel"]
        linear, norm = torch.nn.Linear(*kernel.shape, bias=False), torch.nn.BatchNorm1d(kernel.shape[1], eps=EPS)
        linear, norm = linear.to(kernel.device), norm.to(kernel.device)
        for parameter, value in ((linear.weight, kernel.T), (norm.weight, "scale"), (norm.bias, "bias")):
            parameter.data.copy_(tensors[f"{name}.{value}"] if isinstance(value, str) else value)
        parts += [linear, norm, *([torch.nn.Tanh()] if name != "output" else [])]
    return torch.nn.Sequential(*parts)


def fastest(burst: Callable[[], None]) -> tuple[Callable[[], None], str]:
    """`burst` as it is fastest here: on a CPU with one or all cores as PyTorch's threads; and a note of how."""
    torch, times = _torch(), {}
    if torch_device() == "cuda":

        def waited() -> None:
            burst()
            torch.cuda.synchronize()

        return waited, f"on {torch.cuda.get_device_name()}"
    cores = torch.get_num_threads()
    for threads in (1, cores):
        torch.set_num_threads(threads)
        burst()
        start = time.perf_counter()
        burst()
        times[threads] = time.perf_counter() - start
    torch.set_num_threads(cores)
    best = min(times, key=lambda threads: times[threads])

    def chosen() -> None:
        torch.set_num_threads(best)
        burst()
        torch.set_num_threads(cores)

    return chosen, f"{best} thread{'s' * (best > 1)}, the faster of 1 and all"


def torch_eager(config: Config, vocabulary: int, train: Windows, steps: int) -> Subject:
    """One trial: module, loss.backward(), torch.optim.Adam."""
    torch = _torch()
    module = torch_module(jax.device_get(jax_start(config, vocabulary, 0)[0]))
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    ids, targets = (tensor(x.astype(np.int64)) for x in train)

    def burst() -> None:
        for _ in range(steps):
            rows = torch.randint(len(targets), (config.train.batch_size,), device=targets.device)
            loss = torch.nn.functional.cross_entropy(module(ids[rows]), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    chosen, note = fastest(burst)
    return Subject("PyTorch eager, one trial", 1, steps, chosen, note)


def torch_forward(names: list[str], params: Any, stats: Any, ids: Any) -> tuple[Any, Any]:
    """Logits (B, V) and the new running statistics, in training mode, nothing in place: what torch.func can differentiate."""
    torch, new = _torch(), {}
    x = params["embedding"][ids].flatten(1)
    for name in names:
        x = x @ params[f"{name}.kernel"]
        mean, var = x.mean(0), x.var(0, unbiased=False)
        for key, value in ((f"{name}.mean", mean), (f"{name}.var", var)):
            new[key] = KEEP * stats[key] + (1 - KEEP) * value.detach()
        x = (x - mean) * torch.rsqrt(var + EPS) * params[f"{name}.scale"] + params[f"{name}.bias"]
        x = x if name == "output" else torch.tanh(x)
    return x, new


def torch_func(config: Config, vocabulary: int, train: Windows, trials: int, steps: int) -> Subject:
    """`trials` trials in one torch.func.vmap of a gradient, and Adam as tensor operations on all of them at once."""
    torch = _torch()
    starts = [jax.device_get(jax_start(config, vocabulary, seed)[0]) for seed in range(trials)]
    names = layers(starts[0])
    params = torch_params(jax.tree.map(lambda *leaves: np.stack(leaves), *starts))
    stats = {f"{n}.mean": torch.zeros_like(params[f"{n}.bias"]) for n in names}
    held = [stats | {f"{n}.var": torch.ones_like(params[f"{n}.bias"]) for n in names}]
    first, second = ({name: torch.zeros_like(p) for name, p in params.items()} for _ in range(2))
    ids, targets = (tensor(x.astype(np.int64)) for x in train)
    count = [0]

    def loss_of(params: Any, stats: Any, ids: Any, targets: Any) -> tuple[Any, Any]:
        logits, new = torch_forward(names, params, stats, ids)
        return torch.nn.functional.cross_entropy(logits, targets), new

    gradient = torch.func.vmap(torch.func.grad(loss_of, has_aux=True))

    def burst() -> None:
        for _ in range(steps):
            rows = torch.randint(len(targets), (trials, config.train.batch_size), device=targets.device)
            grads, held[0] = gradient(params, held[0], ids[rows], targets[rows])
            count[0] += 1
            shrink, root = 1 - 0.9 ** count[0], (1 - 0.999 ** count[0]) ** 0.5
            for name, g in grads.items():
                m, v = first[name].lerp_(g, 0.1), second[name].mul_(0.999).addcmul_(g, g, value=0.001)
                params[name].addcdiv_(m, (v.sqrt() / root).add_(1e-8), value=-RATE / shrink)

    chosen, note = fastest(burst)
    return Subject(f"PyTorch torch.func, {trials} trials", trials, steps, chosen, note)
