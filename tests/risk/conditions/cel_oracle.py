"""CEL as its language definition has it, one row at a time and as plainly as can be: the oracle for what the compiled
conditions say, errors and unknown values told apart, which the CEL library's Python form does not do.

An absent element is null. It can be compared and looked for in lists; any other use of it is unknown. An operation on an
unknown value is unknown, else on an error an error.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

from cel_expr_python import cel

from services.risk.conditions.cel.functions import FUNCTIONS
from services.risk.conditions.cel.syntax_tree import Call, Expr, ListOf, Literal, Loop, Name, Select


class Failure(Enum):
    """Why there is no value."""

    ERROR = "error"
    UNKNOWN = "unknown"


ERROR, UNKNOWN = Failure.ERROR, Failure.UNKNOWN
NULL: Final = None
Scope = Mapping[str, Any]


def evaluate(expr: Expr, scope: Scope) -> Any:
    """The value of a checked expression, ERROR, UNKNOWN, or None for null."""
    if isinstance(expr, Literal):
        return expr.value
    if isinstance(expr, Name):
        return scope[expr.name]
    if isinstance(expr, Select):
        return _select(evaluate(expr.operand, scope), expr)
    if isinstance(expr, ListOf):
        elements = [evaluate(element, scope) for element in expr.elements]
        return _worst(elements, null=False) or elements
    if isinstance(expr, Loop):
        return _fold(expr, scope)
    assert isinstance(expr, Call), expr
    return _call(expr, scope)


def _select(row: Any, expr: Select) -> Any:
    if isinstance(row, Failure):
        return row
    repeated = row.DESCRIPTOR.fields_by_name[expr.field].is_repeated
    if expr.test_only:
        return len(getattr(row, expr.field)) > 0 if repeated else row.HasField(expr.field)
    if repeated:
        return list(getattr(row, expr.field))
    return getattr(row, expr.field).value if row.HasField(expr.field) else NULL


def _fold(expr: Loop, scope: Scope) -> Any:
    ranged = evaluate(expr.range, scope)
    if isinstance(ranged, Failure):
        return ranged
    total = evaluate(expr.initial, scope)
    for element in ranged:
        total = evaluate(expr.step, {**scope, expr.variable: element, expr.accumulator: total})
    return evaluate(expr.result, {**scope, expr.accumulator: total})


def _worst(values: list[Any], null: bool = True) -> Failure | None:
    """Unknown before error; a null is unknown to an operation."""
    if any(value is UNKNOWN or (null and value is NULL) for value in values):
        return UNKNOWN
    return ERROR if ERROR in values else None


def _call(expr: Call, scope: Scope) -> Any:
    name = expr.function
    values = [evaluate(arg, scope) for arg in expr.args]
    if name in ("_&&_", "_||_"):
        decisive = name == "_||_"
        if any(value is decisive for value in values):
            return decisive
        return _worst(values) or (not decisive)
    if name == "_?_:_":
        failure = _worst(values[:1])
        return failure or (values[1] if values[0] else values[2])
    if name in ("_==_", "_!=_", "@in") and not (name == "@in" and isinstance(values[1], Mapping)):
        failure = _worst(values, null=False)
        if failure:
            return failure
        if name == "@in":
            return any(_same(values[0], each) for each in values[1])
        return _same(*values) is (name == "_==_")
    return _worst(values) or _OPERATIONS[name](*values)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and bool(a == b)


def _bounded(value: Any) -> Any:
    if type(value) is int:
        return value if -(2**63) <= value < 2**63 else ERROR
    return value


def _divided(a: Any, b: Any) -> Any:
    if isinstance(a, int):
        return ERROR if b == 0 else _bounded(abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1))
    if b != 0:
        return a / b
    return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)


def _product(a: Any, b: Any) -> Any:
    return _bounded(a * b)


def _remainder(a: int, b: int) -> Any:
    # CEL computes the quotient, and its overflow is the remainder's too.
    return ERROR if b == 0 or (a == -(2**63) and b == -1) else a - _divided(a, b) * b


def _to_int(a: float) -> Any:
    return int(a) if -(2.0**63) < a < 2.0**63 else ERROR


def _indexed(values: Any, key: Any) -> Any:
    if isinstance(values, Mapping):
        return values.get(key, ERROR)
    return values[key] if 0 <= key < len(values) else ERROR


def _sum(a: Any, b: Any) -> Any:
    return [*a, *b] if isinstance(a, list) else _bounded(a + b)


_MATCHES: Final = cel.NewEnv(variables={"text": cel.Type.STRING, "pattern": cel.Type.STRING}).compile(
    "text.matches(pattern)"
)


def _matched(text: str, pattern: str) -> Any:
    found = _MATCHES.eval(data={"text": text, "pattern": pattern})
    return found.value() if found.type() == cel.Type.BOOL else ERROR


_OPERATIONS: Final[dict[str, Callable[..., Any]]] = {
    "_+_": _sum,
    "_-_": lambda a, b: _bounded(a - b),
    "_*_": _product,
    "_/_": _divided,
    "_%_": _remainder,
    "-_": lambda a: _bounded(-a),
    "!_": operator.not_,
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
    "@in": lambda key, table: key in table,
    "_[_]": _indexed,
    "size": len,
    "int": _to_int,
    "double": float,
    "string": str,
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": str.__contains__,
    "matches": lambda text, pattern: _matched(text, pattern),
    **{function.name: function.implementation for function in FUNCTIONS},
}
