"""Translates `in`, the indexing of tables and `size()`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from services.risk.conditions.cel.macros import UnsupportedError
from services.risk.conditions.cel.syntax_tree import Call
from services.risk.conditions.compiler.operators import RESULT_TYPES
from services.risk.conditions.compiler.values import Constants, Filtered, Rows, Scope
from services.risk.conditions.evaluation import nodes, vectors
from services.risk.conditions.evaluation.frames import ROOT, Node, innermost
from services.risk.conditions.evaluation.nodes import Const
from services.risk.conditions.evaluation.text_nodes import Textual

if TYPE_CHECKING:
    from services.risk.conditions.compiler.translation import Translation


def within(translation: Translation, expr: Call, scope: Scope) -> Node:
    needle = translation.node(expr.args[0], scope)
    haystack = expr.args[1]
    hay = translation.value(haystack, scope)
    if isinstance(hay, Const) and hay.vec.err is None:
        hay = Constants(hay.vec.data)
    if isinstance(hay, Constants):
        if translation.kind(expr.args[0]) not in ("bool", "int", "double", "string"):
            raise UnsupportedError(expr.id, "in looks for truth values, numbers or strings")
        return among(translation, needle, hay, translation.kind(expr.args[0]))
    if isinstance(hay, Textual | Const):
        return translation.shared(Textual, _is_in, np.bool_, translation.shared(nodes.NullAsFiller, needle), hay)
    if not isinstance(hay, nodes.Column):
        raise UnsupportedError(
            expr.id, "in looks into a list of constants, a list of the consignment or a table of the profile"
        )
    parent = innermost((needle, hay)) or ROOT
    inner = translation.compiler.walked(hay, parent)
    same = vectors.same_interned if translation.kind(expr.args[0]) == "string" else np.equal
    found = translation.shared(
        nodes.Walk,
        "exists",
        inner,
        translation.shared(nodes.Equal, same, needle, translation.shared(nodes.Element, inner)),
    )
    return translation.shared(nodes.Strict, _first, found, translation.shared(nodes.Failing, needle))


def among(translation: Translation, needle: Node, hay: Constants, kind: str) -> Node:
    """Whether a value is one of constants: null is in no list, and is an error to look for among a table's keys."""
    members = frozenset(hay.values)
    if kind != "string":
        return translation.shared(nodes.Within, needle, members)
    contains = translation.compiler.contains(members)
    if isinstance(hay.values, Mapping):
        return translation.shared(Textual, contains, np.bool_, needle)
    found = translation.shared(Textual, contains, np.bool_, translation.shared(nodes.NullAsFiller, needle))
    return (
        found if "" not in members else translation.shared(nodes.And, translation.shared(nodes.Present, needle), found)
    )


def index(translation: Translation, expr: Call, scope: Scope) -> Node:
    table = translation.value(expr.args[0], scope)
    if not isinstance(table, Constants) or not isinstance(table.values, Mapping):
        raise UnsupportedError(
            expr.id, "only a table of the profile's data can be indexed; walk a list by exists or all"
        )
    values = translation.kinds[expr.args[0].id].element
    assert values is not None
    get = translation.compiler.vocabulary.getter(table.values)
    return translation.shared(Textual, get, RESULT_TYPES[values.name], translation.node(expr.args[1], scope))


def size(translation: Translation, expr: Call, scope: Scope) -> Node:
    arg = expr.args[0]
    value = translation.value(arg, scope)
    if isinstance(value, Filtered):
        return translation.shared(nodes.Walk, "count", value.inner, value.body)
    if isinstance(value, Rows):
        return translation.shared(nodes.Size, value.segments)
    if isinstance(value, Constants):
        return translation.shared(Const, len(value.values))
    if translation.kind(arg) == "list" and isinstance(value, nodes.Column):
        return translation.shared(nodes.Size, value)
    if not isinstance(value, Node):
        raise UnsupportedError(expr.id, "size() of this is not supported")
    return translation.shared(Textual, len, np.int64, value)


def _is_in(value: str, values: tuple[str, ...]) -> bool:
    return value in values


def _first(value: Any, _other: Any) -> vectors.Computed:
    return value, None
