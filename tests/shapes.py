"""Shapes that stand in types are checked at each call in the tests, of what people build on; imported before the package is."""

from __future__ import annotations

from jaxtyping import install_import_hook

CHECKED = (
    "jaxgen.nn",
    "jaxgen.train.functions",
    "jaxgen.train.order",
    "jaxgen.train.trial",
    "jaxgen.tasks.measures",
    "jaxgen.tasks.names.loss",
)
install_import_hook(CHECKED, "beartype.beartype")
