"""What the text of a compiled program says: its loops, its kernels, and the bytes that each of them moves.

The text is XLA's own: HLO after all optimizations, in which a fusion, a copy or a call of a library is a kernel. Text in,
numbers out; nothing of devices.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

# Of each type of number the bytes.
SIZES = {"pred": 1, "s4": 1, "u4": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2, "s32": 4, "u32": 4, "f32": 4}
SIZES |= {"s64": 8, "u64": 8, "f64": 8, "c64": 8}
# What computes nothing by itself.
FREE = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "opt-barrier", "partition-id", "iota"}
FREE |= {"while", "conditional", "call", "async-start", "async-done", "async-update", "fusion-done", "copy-done", "slice-done"}
READERS = {"gather", "dynamic-slice", "slice"}  # of what they are given first, they read as much as they give

ARRAY = re.compile(r"(\w+)\[([\d,]*)\](?:\{([^{}]*)\})?")
COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
NAME = re.compile(r"(?:ROOT )?%?([\w.\-]+) = ")
OPCODE = re.compile(r"([a-z][\w\-]*)\(")
TILE = re.compile(r"T\(([\d,]+)\)")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


@dataclass(frozen=True)
class Op:
    """One line of a computation."""

    name: str
    kind: str
    type: str
    """Of what it gives: f32[126,100]{1,0}, or several in brackets."""
    operands: tuple[str, ...]
    rest: str
    """All that stands behind the operands."""

    def called(self, key: str) -> str:
        """The computation that it names: `body`, `calls`, `condition`, `to_apply`."""
        found = re.search(rf"\b{key}=%?([\w.\-]+)", self.rest)
        return found[1] if found else ""

    @property
    def branches(self) -> list[str]:
        """Of a conditional."""
        found = re.search(r"branch_computations=\{([^}]*)\}", self.rest)
        names = found[1] if found else ", ".join(self.called(f"{side}_computation") for side in ("true", "false"))
        return [name.strip().lstrip("%") for name in names.split(",")]

    @property
    def trips(self) -> int | None:
        """Of a loop, where the compiler knows how often it goes round."""
        found = TRIPS.search(self.rest)
        return int(found[1]) if found else None


@dataclass(frozen=True)
class Kernel:
    """What a device starts once."""

    name: str
    kind: str
    read: float
    """Bytes."""
    written: float
    times: int = 1
    """How often, each time that its computation is gone through."""

    @property
    def moved(self) -> float:
        """Bytes, all times together."""
        return self.times * (self.read + self.written)


@dataclass(frozen=True)
class Program:
    """A compiled program's computations, by name."""

    computations: Mapping[str, tuple[Op, ...]]
    entry: str

    def loops(self, name: str, above: tuple[Op, ...] = ()) -> Iterator[tuple[Op, ...]]:
        """Every loop below a computation, each behind those that it lies in."""
        for op in self.computations[name]:
            if op.kind == "while":
                yield (*above, op)
                yield from self.loops(op.called("body"), (*above, op))
            for inner in _inner(op):
                yield from self.loops(inner, above)

    def steps(self) -> tuple[Op, ...]:
        """The loop over steps behind those that it lies in: a loop without a known end in another one without.

        Raises:
          ValueError: where there is none.
        """
        for nested in self.loops(self.entry):
            if len([op for op in nested if op.trips is None]) == 2 and nested[-1].trips is None:
                return nested
        raise ValueError("the program has no loop over steps")

    def kernels(self, name: str, times: int = 1, but: str = "") -> list[Kernel]:
        """What is started as a computation is gone through once: loops as often as they go round, of branches the dearest.

        Args:
          but: a loop's body that is left out.
        """
        ops, found = {op.name: op for op in self.computations[name]}, list[Kernel]()
        for op in ops.values():
            if op.kind == "while" and op.called("body") != but:
                for part in (op.called("body"), op.called("condition")):
                    found += self.kernels(part, times * (op.trips or 1), but)
            elif op.kind == "conditional":
                branches = (self.kernels(branch, times, but) for branch in op.branches)
                found += max(branches, key=lambda kernels: sum(one.moved for one in kernels), default=[])
            elif op.kind in ("call", "async-start"):
                found += [kernel for inner in _inner(op) for kernel in self.kernels(inner, times, but)]
            elif op.kind not in FREE:
                found.append(self._kernel(op, ops, times))
        return found

    def _kernel(self, op: Op, ops: Mapping[str, Op], times: int) -> Kernel:
        types = [ops[name].type if name in ops else "" for name in op.operands]
        inside = self.computations.get(op.called("calls"))
        if inside is None:
            read, written = sum(map(size, types)), size(op.type)
            if op.kind == "dynamic-update-slice":  # in place
                read = written = size(types[1])
            return Kernel(op.name, op.kind, read, written, times)
        kind = op.called("kind") or op.kind
        return Kernel(op.name, kind, _read(inside, types), _written(inside, op.type), times)


def _inner(op: Op) -> Sequence[str]:
    """The computations that are gone through once with an operation."""
    if op.kind == "conditional":
        return op.branches
    if op.kind == "call":
        return [op.called("to_apply")]
    return [op.called("calls")] if op.kind == "async-start" else []


def _read(inside: Sequence[Op], types: Sequence[str]) -> float:
    """Bytes that a fusion reads of its operands: a part where that is all that is looked at, none of what it writes into."""
    read = 0.0
    for op in inside:
        if op.kind != "parameter":
            continue
        users = [user for user in inside if op.name in user.operands]
        place = int(op.operands[0])
        if users and all(user.kind in READERS and user.operands[0] == op.name for user in users):
            read += sum(size(user.type) for user in users)
        elif not all(user.kind == "dynamic-update-slice" and user.operands[0] == op.name for user in users):
            read += size(types[place]) if place < len(types) else 0
    return read


def _written(inside: Sequence[Op], type: str) -> float:
    """Bytes that a fusion writes: of what it changes in place, the part that it changes."""
    ops = {op.name: op for op in inside}
    root = inside[-1]
    results = [ops[name] for name in root.operands if name in ops] if root.kind == "tuple" else [root]
    if all(op.kind != "dynamic-update-slice" for op in results):
        return size(type)
    changed = (ops[op.operands[1]] if op.kind == "dynamic-update-slice" else op for op in results)
    return sum(size(op.type) for op in changed)


@functools.lru_cache(maxsize=1 << 14)
def size(type: str) -> float:
    """Bytes in a device's memory of what has a type, with what its tiles are filled up by; none of what lies on the chip.

    A layout such as 1,0:T(8,128)S(1) names the axes from the one whose numbers lie side by side on, and tiles, which round
    up the last of the axes as they lie; S(1) is the chip's own memory.
    """
    found = 0.0
    for kind, dims, layout in ARRAY.findall(type):
        if "S(1)" in layout:
            continue
        axes, order, tile = _numbers(dims), _numbers(layout.split(":")[0]), TILE.search(layout)
        lying = [axes[axis] for axis in reversed(order)] if len(order) == len(axes) else axes
        tiles = _numbers(tile[1]) if tile else []
        for place, least in zip(range(len(lying) - 1, -1, -1), reversed(tiles), strict=False):  # a tile may have more axes
            lying[place] = math.ceil(lying[place] / least) * least
        found += SIZES.get(kind, 0) * math.prod(lying)
    return found


def unpadded(type: str) -> float:
    """The same without tiles, wherever it lies."""
    return float(sum(SIZES.get(kind, 0) * math.prod(_numbers(dims)) for kind, dims, _ in ARRAY.findall(type)))


def _numbers(text: str) -> list[int]:
    return [int(n) for n in text.split(",") if n]


def read(text: str) -> Program:
    """A program from its text."""
    computations: dict[str, tuple[Op, ...]] = {}
    entry, name, ops = "", "", list[Op]()
    for line in text.splitlines():
        if opened := COMPUTATION.match(line):
            name, ops = opened[2], []
            entry = name if opened[1] else entry
        elif line.startswith("}"):
            computations[name] = tuple(ops)
        elif (op := _op(line.strip())) is not None:
            ops.append(op)
    return Program(computations, entry)


def _op(line: str) -> Op | None:
    named = NAME.match(line)
    if not named:
        return None
    rest = line[named.end() :]
    end = _closed(rest, 0) if rest[0] == "(" else rest.index(" ")
    type, rest = rest[:end], rest[end:].lstrip()
    opcode = OPCODE.match(rest)
    if not opcode:
        return None
    end = _closed(rest, opcode.end() - 1)
    inside = rest[opcode.end() : end - 1]
    operands = re.findall(r"%([\w.\-]+)", inside) if opcode[1] != "parameter" else [inside]
    return Op(named[1], opcode[1], type, tuple(operands), rest[end:])


def _closed(text: str, start: int) -> int:
    """Behind the bracket that closes the one at `start`."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if depth == 0:
            return place + 1
    raise ValueError(f"no bracket closes {text[start : start + 80]!r}")


@dataclass(frozen=True)
class Started:
    """How a GPU is told to run a loop."""

    in_graphs: int
    """Kernels that lie in a graph of the device, which is started as one; of a loop in the loop each is counted once."""
    outside: int
    round_trips: int
    """Times that the host waits for the device, each time round."""


THUNK = re.compile(r"^( *)\d+: k(\w+)")
LAUNCHED = re.compile(r"Kernel|Copy|Gemm|Cublas|Cudnn|Sort|Memset|Memzero|CustomCall|DynamicSliceFusion")


def started(thunks: str, body: Sequence[Kernel]) -> Started:
    """From XLA's list of what the host starts (thunk_sequence_after_thunk_passes), of the loop that has these kernels.

    A loop whose end the device alone knows makes the host wait each time round, unless the loop lies in a graph.
    """
    names = {kernel.name.replace(".", "_").replace("-", "_") for kernel in body}
    open_ones: list[tuple[int, str, int]] = []  # indent, kind, which loop
    loops: list[tuple[bool, list[tuple[str, bool]]]] = []  # whether in a graph; its own kernels, each with whether in a graph
    for line in thunks.splitlines():
        if not (found := THUNK.match(line)):
            continue
        indent, kind = len(found[1]), found[2]
        open_ones = [one for one in open_ones if one[0] < indent]
        in_graph = any(one[1] == "CommandBuffer" for one in open_ones)
        if LAUNCHED.search(kind):
            for _, above, loop in open_ones:
                if above == "While":
                    loops[loop][1].append((line, in_graph))
        if kind == "While":
            loops.append((in_graph, []))
        open_ones.append((indent, kind, len(loops) - 1))
    if not loops:
        raise ValueError("the host starts no loop")
    words = [{word for line, _ in kernels for word in re.findall(r"\w+", line)} for _, kernels in loops]
    place = max(range(len(loops)), key=lambda i: (len(words[i] & names), -len(words[i])))  # those around it have more
    in_graph, kernels = loops[place]
    inside = sum(inside for _, inside in kernels)
    return Started(inside, len(kernels) - inside, 0 if in_graph else 1)
