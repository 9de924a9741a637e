"""Products of matrices mean the same on every device."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax

F = TypeVar("F", bound=Callable[..., Any])
FULL = "highest"


def chosen() -> str:
    """At which precision an accelerator multiplies float32 numbers: in full, unless JAX was told otherwise."""
    return str(jax.config.jax_default_matmul_precision or FULL)  # pyright: ignore[reportAttributeAccessIssue]


def multiply(precision: str) -> None:
    """Tells JAX, for this process, at which precision accelerators multiply: highest, high or default."""
    jax.config.update("jax_default_matmul_precision", precision)


def precisely(function: F, platform: str | None = None) -> F:
    """The function, whose products are traced at the `chosen` precision.

    By itself JAX multiplies in TF32 on an H100, of 10 bits, and in one pass of bfloat16 on a TPU, of 8: losses would be off
    those of a CPU by 1e-3 in place of 1e-6. On a CPU nothing changes, the text of its programs included.

    Args:
      platform: that it is traced for. None: this process's own.
    """

    @functools.wraps(function)
    def traced(*args: Any, **kwargs: Any) -> Any:
        if (platform or jax.default_backend()) == "cpu":
            return function(*args, **kwargs)
        with jax.default_matmul_precision(chosen()):
            return function(*args, **kwargs)

    return cast(F, traced)
