"""Translates macros: walks over child tables, lists of the consignment and lists of constants."""

from __future__ import annotations

from typing import Final

from services.risk.conditions.cel.macros import UnsupportedError, macro_of, names
from services.risk.conditions.cel.syntax_tree import Expr, Loop
from services.risk.conditions.compiler.translator import Translator
from services.risk.conditions.compiler.values import ChildTable, Constants, Filtered, Row, Scope, Value
from services.risk.conditions.evaluation import nodes
from services.risk.conditions.evaluation.frames import ROOT, Node, Spec
from services.risk.conditions.evaluation.nodes import Const

#: A macro over a list written out is unrolled; longer lists are walked by the library.
UNROLLED_MAX: Final = 64


def loop(translator: Translator, expr: Loop, scope: Scope) -> Value:
    macro, predicate = macro_of(expr)
    ranged = translator.value(expr.range, scope)
    if isinstance(ranged, Constants):
        return _unrolled(translator, expr, macro, predicate, ranged, scope)
    segments = ranged.segments if isinstance(ranged, ChildTable) else ranged
    if not isinstance(segments, nodes.Column):
        raise UnsupportedError(
            expr.id, f"{macro} walks child tables and lists of the consignment, or a list of constants"
        )
    inner = translator.nodes.walked(segments, _around(segments, predicate, expr.variable, scope))
    element = translator.shared(nodes.Element, inner)
    variable: Value = Row(inner, ranged.path, ranged.shape) if isinstance(ranged, ChildTable) else element
    body = translator.node(predicate, {**scope, expr.variable: variable})
    return Filtered(inner, body) if macro == "filter" else translator.shared(nodes.Walk, macro, inner, body)


def _around(segments: Node, predicate: Expr, variable: str, scope: Scope) -> Spec:
    """The frame that a macro's elements are walked in: the innermost that its list or its predicate depends on."""
    specs = [segments.spec or ROOT]
    for name in names(predicate) - {variable}:
        value = scope.get(name)
        if isinstance(value, Row | Node) and value.spec is not None:
            specs.append(value.spec)
    return max(specs, key=lambda spec: spec.depth)


def _unrolled(translator: Translator, expr: Loop, macro: str, predicate: Expr, ranged: Constants, scope: Scope) -> Node:
    values = tuple(ranged.values)
    if len(values) > UNROLLED_MAX:
        raise UnsupportedError(
            expr.id, f"{macro} over {len(values)} constants; at most {UNROLLED_MAX} are walked, use in or hasWord"
        )
    bodies = [translator.node(predicate, {**scope, expr.variable: translator.shared(Const, value)}) for value in values]
    if macro not in ("exists", "all"):
        raise UnsupportedError(expr.id, f"{macro} over a list of constants is not supported; use exists or all")
    if not bodies:
        return translator.shared(Const, macro == "all")
    # CEL's fold starts from a constant, so that one null predicate is an error and not a null.
    return translator.shared(
        nodes.Or if macro == "exists" else nodes.And, translator.shared(Const, macro == "all"), *bodies
    )
