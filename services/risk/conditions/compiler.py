"""Compiles a checked CEL expression to nodes over numpy columns.

What CEL allows and this cannot do is refused with its place: evaluating one form quietly by other rules would be worse
than not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from libs.columns import Kind as ColumnKind
from services.risk.conditions import nodes, vectors
from services.risk.conditions.checked import Call, Checked, Expr, ListOf, Literal, Loop, Name, Select
from services.risk.conditions.frames import ROOT, Node, Spec, innermost
from services.risk.conditions.macros import UnsupportedError, macro_of, names
from services.risk.conditions.nodes import Const
from services.risk.conditions.operators import KERNELS, NOT, NUMERIC, ORDER, RESULT_TYPES, TEXT_ORDER, TEXTUAL
from services.risk.conditions.textual import Textual
from services.risk.conditions.vocabulary import Shape, Vocabulary

#: A macro over a list written out is unrolled; longer lists belong into the profile's data.
UNROLLED_MAX: Final = 64


@dataclass(frozen=True)
class Row:
    """A consignment, an item or a row of another child table, of the frame `spec`."""

    spec: Spec
    path: str
    shape: Shape


@dataclass(frozen=True)
class Rows:
    """A child table of a row, that a macro can walk."""

    segments: Node
    path: str
    shape: Shape


@dataclass(frozen=True)
class Constants:
    """A list of constants or a table of the profile's data."""

    values: tuple[Any, ...] | Mapping[str, Any]


@dataclass(frozen=True)
class Filtered:
    """What `filter` gave; only its size can be asked for."""

    inner: Spec
    body: Node


Value = Node | Row | Rows | Constants | Filtered


class Compiler:
    """Compiles the conditions of one profile; what they have in common is one node."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._nodes: dict[Any, Node] = {}
        self._contains: dict[frozenset[str], Callable[[str], bool]] = {}
        self._specs: dict[tuple[Node, Spec], Spec] = {}
        items = self.shared(nodes.Column, ROOT, "", "items")
        self.items = self.walked(items, ROOT)

    def shared(self, make: type[Node], *parts: Any) -> Node:
        """The one node of this kind and parts; constants among the operands are computed at once."""
        key = (make, *(_key(part) for part in parts))
        node = self._nodes.get(key)
        if node is None:
            with np.errstate(all="ignore"):
                node = self._nodes[key] = nodes.fold(make(*parts))
        return node

    def contains(self, members: frozenset[str]) -> Callable[[str], bool]:
        """Membership of a set; the same function for the same set."""
        return self._contains.setdefault(members, members.__contains__)

    def walked(self, segments: Node, parent: Spec) -> Spec:
        """The one frame of a list's elements inside a frame."""
        key = (segments, parent)
        if key not in self._specs:
            self._specs[key] = Spec(parent, segments)
        return self._specs[key]

    def compile(self, tree: Checked) -> Node:
        """The node of a checked condition. Raises UnsupportedError."""
        scope: dict[str, Value] = {
            "consignment": Row(ROOT, "", self.vocabulary.shape),
            "item": Row(self.items, "items", self.vocabulary.item),
        }
        for name, value in self.vocabulary.data.items():
            scope[f"data.{name}"] = Constants(value if isinstance(value, Mapping) else tuple(value))
        return _Translation(self, tree).node(tree.expr, scope)


def _key(part: Any) -> Any:
    if isinstance(part, Node | Spec):
        return part
    # 1, 1.0 and True are equal to Python, and so are 0.0 and -0.0.
    return type(part), repr(part) if isinstance(part, float) else part


Scope = dict[str, Value]


class _Translation:
    """The translation of one expression."""

    def __init__(self, compiler: Compiler, tree: Checked) -> None:
        self.compiler = compiler
        self.shared = compiler.shared
        self.kinds = tree.kinds

    def kind(self, expr: Expr) -> str:
        kind = self.kinds.get(expr.id)
        return "dyn" if kind is None else kind.name

    def node(self, expr: Expr, scope: Scope) -> Node:
        """An expression of a value per row."""
        value = self.value(expr, scope)
        if isinstance(value, Node):
            return value
        if isinstance(value, Constants) and isinstance(value.values, tuple):
            return self.shared(Const, value.values)
        what = {
            Row: "a whole row",
            Rows: "a whole child table",
            Filtered: "a filtered list",
            Constants: "a whole table",
        }[type(value)]
        raise UnsupportedError(expr.id, f"{what} cannot be used as a value here")

    def value(self, expr: Expr, scope: Scope) -> Value:
        if isinstance(expr, Literal):
            if expr.value is None:
                raise UnsupportedError(expr.id, "null can only be compared by == and !=")
            return self.shared(Const, expr.value)
        if isinstance(expr, Name):
            return scope[expr.name]
        if isinstance(expr, Select):
            return self.select(expr, scope)
        if isinstance(expr, Call):
            return self.call(expr, scope)
        if isinstance(expr, ListOf):
            return Constants(tuple(self.constant(element, scope) for element in expr.elements))
        if isinstance(expr, Loop):
            return self.loop(expr, scope)
        raise UnsupportedError(expr.id, f"{expr.form} is not supported")

    def constant(self, expr: Expr, scope: Scope) -> Any:
        node = self.node(expr, scope)
        if not isinstance(node, Const) or node.vec.err is not None:
            raise UnsupportedError(
                expr.id, "a list can only hold constants; write several comparisons joined by || instead"
            )
        data = node.vec.data
        return bool(data) if isinstance(data, np.bool_) else data

    def select(self, expr: Select, scope: Scope) -> Value:
        row = self.value(expr.operand, scope)
        if not isinstance(row, Row):
            raise UnsupportedError(
                expr.id,
                f"only elements of a row can be selected; for a table of the profile write table['{expr.field}']",
            )
        column = self.shared(nodes.Column, row.spec, row.path, expr.field)
        if expr.test_only:
            return self.shared(nodes.Present, column)
        if row.shape.elements[expr.field] is ColumnKind.CHILD:
            return Rows(column, f"{row.path}/{expr.field}" if row.path else expr.field, row.shape.children[expr.field])
        return column

    # --- calls --------------------------------------------------------------------------------------------------------

    def call(self, expr: Call, scope: Scope) -> Value:
        function, args = expr.function, expr.args
        if function in ("_&&_", "_||_"):
            return self.logic(function, expr, scope)
        if function in ("_==_", "_!=_"):
            equal = self.equality(expr, scope)
            return equal if function == "_==_" else self.shared(nodes.Strict, NOT, equal)
        if function == "@in":
            return self.within(expr, scope)
        if function == "_[_]":
            return self.index(expr, scope)
        if function == "size":
            return self.size(expr, scope)
        operands = [self.node(arg, scope) for arg in args]
        if function == "!_":
            return self.shared(nodes.Strict, NOT, *operands)
        if function == "_?_:_":
            if self.kind(expr) not in ("bool", "int", "double", "string"):
                raise UnsupportedError(expr.id, "both branches of ?: must be truth values, numbers or strings")
            return self.shared(nodes.Choose, *operands)
        kind = self.kind(args[0])
        if function in ORDER and kind == "string":
            return self.shared(Textual, TEXT_ORDER[function], np.bool_, *operands)
        if function in ORDER and kind == self.kind(args[1]) and kind in ("int", "double", "bool"):
            return self.shared(nodes.Strict, KERNELS[function], *operands)
        kernel = NUMERIC.get((function, kind))
        if kernel is not None:
            return self.shared(nodes.Strict, kernel, *operands)
        return self.textual(expr, kind, operands)

    def textual(self, expr: Call, kind: str, operands: list[Node]) -> Node:
        name = expr.function
        if name == "_+_" and kind == "string":
            return self.shared(Textual, str.__add__, None, *operands)
        if name in TEXTUAL:
            return self.shared(Textual, TEXTUAL[name], np.bool_, *operands)
        if name == "matches":
            return self.shared(
                Textual,
                self.compiler.vocabulary.matcher(self.pattern(expr, operands[1])),
                np.bool_,
                operands[0],
            )
        own = self.compiler.vocabulary.functions.get(name)
        if own is None:
            raise UnsupportedError(expr.id, f"{name.strip('_@')}() of {kind} is not supported")
        if any(
            self.kind(arg) == "list" and isinstance(node, nodes.Column)
            for arg, node in zip(expr.args, operands, strict=True)
        ):
            raise UnsupportedError(
                expr.id, f"{name}() takes a list of constants or of the profile's data, not a list of the consignment"
            )
        return self.shared(Textual, own.implementation, RESULT_TYPES[own.result], *operands)

    def pattern(self, expr: Call, node: Node) -> str:
        if not isinstance(node, Const):
            raise UnsupportedError(expr.args[1].id, "the pattern of matches() must be a constant")
        pattern = str(node.vec.data)
        error = self.compiler.vocabulary.pattern_error(pattern)
        if error:
            raise UnsupportedError(expr.args[1].id, f"the pattern of matches() cannot be used: {error}")
        return pattern

    def logic(self, function: str, expr: Call, scope: Scope) -> Node:
        operands: list[Node] = []
        pending = [*expr.args]
        while pending:
            arg = pending.pop(0)
            if isinstance(arg, Call) and arg.function == function:
                pending = [*arg.args, *pending]
            else:
                operands.append(self.node(arg, scope))
        return self.shared(nodes.And if function == "_&&_" else nodes.Or, *operands)

    def equality(self, expr: Call, scope: Scope) -> Node:
        for arg, other in (expr.args, expr.args[::-1]):
            if isinstance(arg, Literal) and arg.value is None:
                return self.shared(nodes.IsNull, self.node(other, scope))
        kinds = {self.kind(arg) for arg in expr.args}
        if len(kinds) != 1 or not kinds <= {"bool", "int", "double", "string", "list"}:
            raise UnsupportedError(expr.id, f"== between {' and '.join(sorted(kinds))} is not supported")
        operands = [self.node(arg, scope) for arg in expr.args]
        if kinds == {"list"} and any(isinstance(node, nodes.Column) for node in operands):
            raise UnsupportedError(
                expr.id, "a list of the consignment cannot be compared whole; use size(), in, exists or all"
            )
        if kinds == {"string"}:
            for side, constant in enumerate(operands):
                if isinstance(constant, Const) and constant.vec.err is None and constant.vec.data != "":
                    subject = self.shared(nodes.NullAsFiller, operands[1 - side])
                    return self.shared(Textual, str.__eq__, np.bool_, subject, constant)
        return self.shared(nodes.Equal, vectors.same_interned if kinds <= {"string", "list"} else np.equal, *operands)

    def within(self, expr: Call, scope: Scope) -> Node:
        needle = self.node(expr.args[0], scope)
        haystack = expr.args[1]
        hay = self.value(haystack, scope)
        if isinstance(hay, Const) and hay.vec.err is None:
            hay = Constants(hay.vec.data)
        if isinstance(hay, Constants):
            if self.kind(expr.args[0]) not in ("bool", "int", "double", "string"):
                raise UnsupportedError(expr.id, "in looks for truth values, numbers or strings")
            return self.among(needle, hay, self.kind(expr.args[0]))
        if isinstance(hay, Textual | Const):
            return self.shared(Textual, _is_in, np.bool_, self.shared(nodes.NullAsFiller, needle), hay)
        if not isinstance(hay, nodes.Column):
            raise UnsupportedError(
                expr.id, "in looks into a list of constants, a list of the consignment or a table of the profile"
            )
        parent = innermost((needle, hay)) or ROOT
        inner = self.compiler.walked(hay, parent)
        same = vectors.same_interned if self.kind(expr.args[0]) == "string" else np.equal
        found = self.shared(
            nodes.Walk, "exists", inner, self.shared(nodes.Equal, same, needle, self.shared(nodes.Element, inner))
        )
        return self.shared(nodes.Strict, _first, found, self.shared(nodes.Failing, needle))

    def among(self, needle: Node, hay: Constants, kind: str) -> Node:
        """Whether a value is one of constants: null is in no list, and is an error to look for among a table's keys."""
        members = frozenset(hay.values)
        if kind != "string":
            return self.shared(nodes.Within, needle, members)
        contains = self.compiler.contains(members)
        if isinstance(hay.values, Mapping):
            return self.shared(Textual, contains, np.bool_, needle)
        found = self.shared(Textual, contains, np.bool_, self.shared(nodes.NullAsFiller, needle))
        return found if "" not in members else self.shared(nodes.And, self.shared(nodes.Present, needle), found)

    def index(self, expr: Call, scope: Scope) -> Node:
        table = self.value(expr.args[0], scope)
        if not isinstance(table, Constants) or not isinstance(table.values, Mapping):
            raise UnsupportedError(
                expr.id, "only a table of the profile's data can be indexed; walk a list by exists or all"
            )
        values = self.kinds[expr.args[0].id].element
        assert values is not None
        get = self.compiler.vocabulary.getter(table.values)
        return self.shared(Textual, get, RESULT_TYPES[values.name], self.node(expr.args[1], scope))

    def size(self, expr: Call, scope: Scope) -> Node:
        arg = expr.args[0]
        value = self.value(arg, scope)
        if isinstance(value, Filtered):
            return self.shared(nodes.Walk, "count", value.inner, value.body)
        if isinstance(value, Rows):
            return self.shared(nodes.Size, value.segments)
        if isinstance(value, Constants):
            return self.shared(Const, len(value.values))
        if self.kind(arg) == "list" and isinstance(value, nodes.Column):
            return self.shared(nodes.Size, value)
        if not isinstance(value, Node):
            raise UnsupportedError(expr.id, "size() of this is not supported")
        return self.shared(Textual, len, np.int64, value)

    # --- macros -------------------------------------------------------------------------------------------------------

    def loop(self, expr: Loop, scope: Scope) -> Value:
        macro, predicate = macro_of(expr)
        ranged = self.value(expr.range, scope)
        if isinstance(ranged, Constants):
            return self.unrolled(expr, macro, predicate, ranged, scope)
        segments = ranged.segments if isinstance(ranged, Rows) else ranged
        if not isinstance(segments, nodes.Column):
            raise UnsupportedError(
                expr.id, f"{macro} walks child tables and lists of the consignment, or a list of constants"
            )
        inner = self.compiler.walked(segments, self.around(segments, predicate, expr.variable, scope))
        element = self.shared(nodes.Element, inner)
        variable: Value = Row(inner, ranged.path, ranged.shape) if isinstance(ranged, Rows) else element
        body = self.node(predicate, {**scope, expr.variable: variable})
        return Filtered(inner, body) if macro == "filter" else self.shared(nodes.Walk, macro, inner, body)

    def around(self, segments: Node, predicate: Expr, variable: str, scope: Scope) -> Spec:
        """The frame that a macro's elements are walked in: the innermost that its list or its predicate depends on."""
        specs = [segments.spec or ROOT]
        for name in names(predicate) - {variable}:
            value = scope.get(name)
            if isinstance(value, Row | Node) and value.spec is not None:
                specs.append(value.spec)
        return max(specs, key=lambda spec: spec.depth)

    def unrolled(self, expr: Loop, macro: str, predicate: Expr, ranged: Constants, scope: Scope) -> Node:
        values = tuple(ranged.values)
        if len(values) > UNROLLED_MAX:
            raise UnsupportedError(
                expr.id, f"{macro} over {len(values)} constants; at most {UNROLLED_MAX} are walked, use in or hasWord"
            )
        bodies = [self.node(predicate, {**scope, expr.variable: self.shared(Const, value)}) for value in values]
        if macro not in ("exists", "all"):
            raise UnsupportedError(expr.id, f"{macro} over a list of constants is not supported; use exists or all")
        if not bodies:
            return self.shared(Const, macro == "all")
        # CEL's fold starts from a constant, so that one null predicate is an error and not a null.
        return self.shared(nodes.Or if macro == "exists" else nodes.And, self.shared(Const, macro == "all"), *bodies)


def _is_in(value: str, values: tuple[str, ...]) -> bool:
    return value in values


def _first(value: Any, _other: Any) -> vectors.Computed:
    return value, None
