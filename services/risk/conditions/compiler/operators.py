"""CEL's operators and functions by name, as kernels over vectors or as functions of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from services.risk.conditions.evaluation import vectors

NUMERIC: Final[dict[tuple[str, str], Callable[..., vectors.Computed]]] = {
    ("_+_", "int"): vectors.add_int,
    ("_-_", "int"): vectors.sub_int,
    ("_*_", "int"): vectors.mul_int,
    ("_/_", "int"): vectors.div_int,
    ("_%_", "int"): vectors.mod_int,
    ("-_", "int"): vectors.neg_int,
    ("_+_", "double"): vectors.quiet(np.add),
    ("_-_", "double"): vectors.quiet(np.subtract),
    ("_*_", "double"): vectors.quiet(np.multiply),
    ("_/_", "double"): vectors.quiet(np.divide),
    ("-_", "double"): vectors.quiet(np.negative),
    ("double", "int"): vectors.double_of_int,
    ("int", "double"): vectors.int_of_double,
}
NOT: Final = vectors.never_fails(np.logical_not)
ORDER: Final = {"_<_": np.less, "_<=_": np.less_equal, "_>_": np.greater, "_>=_": np.greater_equal}
KERNELS: Final = {name: vectors.never_fails(ufunc) for name, ufunc in ORDER.items()}
TEXT_ORDER: Final[dict[str, Callable[[str, str], bool]]] = {
    "_<_": lambda a, b: a < b,
    "_<=_": lambda a, b: a <= b,
    "_>_": lambda a, b: a > b,
    "_>=_": lambda a, b: a >= b,
}
TEXTUAL: Final[dict[str, Callable[..., Any]]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": str.__contains__,
}
RESULT_TYPES: Final[dict[str, type | None]] = {
    "bool": np.bool_,
    "int": np.int64,
    "double": np.float64,
    "string": None,
    "list": None,
}
