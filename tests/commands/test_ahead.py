"""What compiled programs say of themselves: read from what XLA makes here, beside what is known of it; and the command."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from processes import Commands

from jaxgen.benchmark import compiled
from jaxgen.benchmark.ahead import TARGETS

N = 1000


def program(function: Any, *given: Any) -> compiled.Program:
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in map(jnp.asarray, given)]
    text = jax.jit(function).lower(*shapes).compile().as_text()
    assert text is not None
    return compiled.read(text)


def kernels(function: Any, *given: Any) -> list[compiled.Kernel]:
    made = program(function, *given)
    return made.kernels(made.entry)


def test_a_kernel_reads_what_it_is_given_and_writes_what_it_gives() -> None:
    (one,) = kernels(lambda x, y: jnp.sin(x) * y + 1, jnp.zeros(N), jnp.zeros(N))
    assert (one.read, one.written, one.times) == (8 * N, 4 * N, 1)


def test_of_what_is_only_sliced_a_part_is_read() -> None:
    (one,) = kernels(lambda x, i: jax.lax.dynamic_slice(x, (i,), (10,)) * 2, jnp.zeros(N), 3)
    assert (one.read, one.written) == (4 * 10 + 4, 4 * 10)


def test_what_is_changed_in_place_is_written_where_it_changes() -> None:
    def fill(x: Any) -> Any:  # the compiler writes into the loop's own array
        return jax.lax.fori_loop(0, 5, lambda i, x: jax.lax.dynamic_update_slice(x, jnp.sin(x[:10] + i), (i,)), x)

    (one,) = (one for one in kernels(fill, jnp.zeros(N)) if "update" in one.name)
    assert (one.written, one.times) == (4 * 10, 5)
    assert one.read <= 4 * 10 + 8  # what it writes, and where


def test_loops_whose_ends_are_known_count_as_often_as_they_go_round() -> None:
    def body(x: Any, _: Any) -> Any:
        return jax.lax.sort(jnp.sin(x)), None

    once = kernels(lambda x: body(x, None)[0], jnp.zeros(N))
    often = kernels(lambda x: jax.lax.scan(body, x, length=7)[0], jnp.zeros(N))
    assert sum(one.times for one in often if one.times == 7) >= 7 * len(once)


def test_the_loop_over_steps_is_the_one_in_a_loop_without_a_known_end() -> None:
    def segment(x: Any, goal: Any) -> Any:
        def going(carry: Any) -> Any:
            return carry[1] < goal

        def stride(carry: Any) -> Any:
            x, done = carry
            x = jax.lax.fori_loop(0, done + 3, lambda i, x: jnp.sin(x) + i, x)
            return jax.lax.scan(lambda x, _: (jnp.cos(x), None), x, length=4)[0], done + 1

        return jax.lax.while_loop(going, stride, (x, 0))[0]

    made = program(segment, jnp.zeros(N), 5)
    outer, steps = made.steps()
    assert (outer.trips, steps.trips) == (None, None)
    assert any("sine" in op.kind for _, ops in made.computations.items() for op in ops)
    assert sum(one.moved for one in made.kernels(steps.called("body"))) >= 8 * N
    within = made.kernels(outer.called("body"), but=steps.called("body"))
    assert sum(one.times for one in within if one.times == 4) >= 4  # of the other loop, and nothing of the steps
    with pytest.raises(ValueError, match="no loop over steps"):
        program(jnp.sin, jnp.zeros(N)).steps()


def test_of_two_branches_the_dearer_counts() -> None:
    def either(x: Any, which: Any) -> Any:
        return jax.lax.cond(which, lambda: jax.lax.sort(jnp.sin(x)), lambda: x)

    assert sum(one.moved for one in kernels(either, jnp.zeros(N), True)) >= 8 * N


@pytest.mark.parametrize(
    ("type", "padded", "plain"),
    [
        ("f32[126,100]{1,0}", 4 * 126 * 100, 4 * 126 * 100),
        ("f32[126,100]{1,0:T(8,128)}", 4 * 128 * 128, 4 * 126 * 100),
        ("f32[126,100]{0,1:T(8,128)}", 4 * 104 * 128, 4 * 126 * 100),  # the first axis lies side by side
        ("f32[3,126,100]{2,1,0:T(8,128)}", 3 * 4 * 128 * 128, 3 * 4 * 126 * 100),
        ("bf16[126]{0:T(1024)}", 2 * 1024, 2 * 126),
        ("s32[]", 4, 4),
        ("pred[7]{0:T(8,128)S(1)}", 0, 7),  # on the chip
        ("(f32[2]{0}, u8[3]{0}, /*index=2*/s64[])", 19, 19),
        ("token[]", 0, 0),
    ],
)
def test_what_a_type_takes(type: str, padded: int, plain: int) -> None:
    assert (compiled.size(type), compiled.unpadded(type)) == (padded, plain)


BY_THE_HOST = """000: kCommandBuffer [source       | next=001 (1)]
001: kWhile         [prev=000 (1) | sink        ]
condition:
  002: kCustomKernel [source | sink] compare_fusion grid: [1, 1, 1]
    body:
    003: kWhile         [prev=002 (1) | sink ]
condition:
      004: kCustomKernel [source | sink] less_fusion grid: [1, 1, 1]
      body:
      000: kCommandBuffer [source | next=006 (1)]
        005: kCopy         [source | sink] kCopy
      006: kCustomKernel [source | sink] gemm_fusion_1 grid: [1, 1, 1]
"""
IN_A_GRAPH = """000: kCommandBuffer [source       | sink]
    001: kWhile         [prev=000 (1) | sink        ]
condition:
      002: kCustomKernel [source | sink] compare_fusion grid: [1, 1, 1]
      body:
        003: kWhile         [prev=002 (1) | sink ]
condition:
          004: kCustomKernel [source | sink] less_fusion grid: [1, 1, 1]
          body:
          006: kCustomKernel [source | sink] gemm_fusion_1 grid: [1, 1, 1]
"""


@pytest.mark.parametrize(("thunks", "expected"), [(BY_THE_HOST, (1, 2, 1)), (IN_A_GRAPH, (2, 0, 0))])
def test_the_host_waits_at_each_step_unless_its_loop_lies_in_a_graph(thunks: str, expected: tuple[int, ...]) -> None:
    """In the words of XLA's own list."""
    found = compiled.started(thunks, [compiled.Kernel("gemm_fusion.1", "kCustom", 0, 0)])
    assert (found.in_graphs, found.outside, found.round_trips) == expected


def test_wrong_input_and_packages_that_lack(commands: Commands, tmp_path: Path) -> None:
    for flags, said in (
        (("--ahead", "h100"), "expected one of cuda:a100, cuda:h100"),
        (("--ahead", "cuda:h100", "--families", "mlp,ngram"), "expected some of bigram, mlp"),
    ):
        running = commands.start("benchmark", *flags, "--out", tmp_path / "out")
        assert running.wait() == 2
        assert said in running.err
    if importlib.util.find_spec("jax_cuda13_plugin") is None:
        running = commands.start("benchmark", "--ahead", "cuda:h100", "--out", tmp_path / "out")
        assert running.wait() == 2
        assert f"pip install jax-cuda13-plugin=={jax.__version__}" in running.err
    assert not (tmp_path / "out").exists()


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
def test_no_step_waits_for_the_host(target: str, commands: Commands, tmp_path: Path) -> None:
    """Of what is compiled for a device that is not here: so no change brings the host back into the loop."""
    running = commands.start("benchmark", "--ahead", target, "--widths", "126", "--out", tmp_path)
    if running.wait() == 2 and "needs more packages" in running.err:
        pytest.skip(running.err)  # half a gigabyte, and no part of what the tests need
    (one,) = json.loads((tmp_path / "ahead.json").read_text())
    assert one["bytes"] < 3.2e6
    assert one["temporary"] < 2e6
    if not target.startswith("tpu"):  # whose programs have no host in them
        assert one["kernels"] <= 77
        assert (one["graphs"]["outside"], one["graphs"]["round_trips"]) == (0, 0)
