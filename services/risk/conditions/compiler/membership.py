"""Translates `in`, the indexing of tables and `size()`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.risk.conditions.cel.macros import UnsupportedError
from services.risk.conditions.cel.syntax_tree import Call
from services.risk.conditions.compiler.operators import RESULT_TYPES
from services.risk.conditions.compiler.translator import Translator
from services.risk.conditions.compiler.values import ChildTable, Constants, Filtered, Scope
from services.risk.conditions.evaluation import nodes, vectors
from services.risk.conditions.evaluation.frames import ROOT, Node, innermost
from services.risk.conditions.evaluation.nodes import Const
from services.risk.conditions.evaluation.text_nodes import Textual


def within(translator: Translator, expr: Call, scope: Scope) -> Node:
    needle = translator.node(expr.args[0], scope)
    haystack = expr.args[1]
    hay = translator.value(haystack, scope)
    if isinstance(hay, Const) and hay.vec.err is None:
        hay = Constants(hay.vec.data)
    if isinstance(hay, Constants):
        if translator.kind(expr.args[0]) not in ("bool", "int", "double", "string"):
            raise UnsupportedError(expr.id, "in looks for truth values, numbers or strings")
        return among(translator, needle, hay, translator.kind(expr.args[0]))
    if isinstance(hay, Textual | Const):
        return translator.shared(Textual, _is_in, np.bool_, translator.shared(nodes.NullAsFiller, needle), hay)
    if not isinstance(hay, nodes.Column):
        raise UnsupportedError(
            expr.id, "in looks into a list of constants, a list of the consignment or a table of the profile"
        )
    parent = innermost((needle, hay)) or ROOT
    inner = translator.nodes.walked(hay, parent)
    same = vectors.same_interned if translator.kind(expr.args[0]) == "string" else np.equal
    found = translator.shared(
        nodes.Walk,
        "exists",
        inner,
        translator.shared(nodes.Equal, same, needle, translator.shared(nodes.Element, inner)),
    )
    return translator.shared(nodes.Strict, _first, found, translator.shared(nodes.Failing, needle))


def among(translator: Translator, needle: Node, hay: Constants, kind: str) -> Node:
    """Whether a value is one of constants: null is in no list, and is an error to look for among a table's keys."""
    members = frozenset(hay.values)
    if kind != "string":
        return translator.shared(nodes.Within, needle, members)
    contains = translator.nodes.contains(members)
    if isinstance(hay.values, Mapping):
        return translator.shared(Textual, contains, np.bool_, needle)
    found = translator.shared(Textual, contains, np.bool_, translator.shared(nodes.NullAsFiller, needle))
    return found if "" not in members else translator.shared(nodes.And, translator.shared(nodes.Present, needle), found)


def index(translator: Translator, expr: Call, scope: Scope) -> Node:
    table = translator.value(expr.args[0], scope)
    if not isinstance(table, Constants) or not isinstance(table.values, Mapping):
        raise UnsupportedError(
            expr.id, "only a table of the profile's data can be indexed; walk a list by exists or all"
        )
    values = translator.kinds[expr.args[0].id].element
    assert values is not None
    get = translator.nodes.vocabulary.getter(table.values)
    return translator.shared(Textual, get, RESULT_TYPES[values.name], translator.node(expr.args[1], scope))


def size(translator: Translator, expr: Call, scope: Scope) -> Node:
    arg = expr.args[0]
    value = translator.value(arg, scope)
    if isinstance(value, Filtered):
        return translator.shared(nodes.Walk, "count", value.inner, value.body)
    if isinstance(value, ChildTable):
        return translator.shared(nodes.Size, value.segments)
    if isinstance(value, Constants):
        return translator.shared(Const, len(value.values))
    if translator.kind(arg) == "list" and isinstance(value, nodes.Column):
        return translator.shared(nodes.Size, value)
    if not isinstance(value, Node):
        raise UnsupportedError(expr.id, "size() of this is not supported")
    return translator.shared(Textual, len, np.int64, value)


def _is_in(value: str, values: tuple[str, ...]) -> bool:
    return value in values


def _first(value: Any, _other: Any) -> vectors.Computed:
    return value, None
