"""Translates one checked expression to nodes.

What CEL allows and this cannot do is left to the CEL library, row by row; it is told with its place, since it costs some
hundred times as much.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.columns import Kind as ColumnKind
from services.risk.conditions.cel.macros import MacroError, UnsupportedError
from services.risk.conditions.cel.syntax_tree import Call, Expr, ListOf, Literal, Loop, Name, Select
from services.risk.conditions.compiler import loops, membership
from services.risk.conditions.compiler.operators import KERNELS, NOT, NUMERIC, ORDER, RESULT_TYPES, TEXT_ORDER, TEXTUAL
from services.risk.conditions.compiler.translator import Translator
from services.risk.conditions.compiler.values import ChildTable, Constants, Row, Scope, Value
from services.risk.conditions.evaluation import nodes, vectors
from services.risk.conditions.evaluation.frames import Node
from services.risk.conditions.evaluation.nodes import Const
from services.risk.conditions.evaluation.prefilter import needs_of
from services.risk.conditions.evaluation.text_nodes import Textual


class Translation(Translator):
    """The translation of one expression."""

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
            return loops.loop(self, expr, scope)
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
        pool = self.nodes.pool(row.path, expr.field)
        column = self.shared(nodes.Column, row.spec, row.path, expr.field, pool)
        if expr.test_only:
            return self.shared(nodes.Present, column)
        if row.shape.elements[expr.field] is ColumnKind.CHILD:
            return ChildTable(
                column, f"{row.path}/{expr.field}" if row.path else expr.field, row.shape.children[expr.field]
            )
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
            return membership.within(self, expr, scope)
        if function == "_[_]":
            return membership.index(self, expr, scope)
        if function == "size":
            return membership.size(self, expr, scope)
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
                self.nodes.vocabulary.patterns.matcher(self.pattern(expr, operands[1])),
                np.bool_,
                operands[0],
            )
        own = self.nodes.vocabulary.functions.get(name)
        if own is None:
            raise UnsupportedError(expr.id, f"{name.strip('_@')}() of {kind} is not supported")
        if any(
            self.kind(arg) == "list" and isinstance(node, nodes.Column)
            for arg, node in zip(expr.args, operands, strict=True)
        ):
            raise UnsupportedError(
                expr.id, f"{name}() takes a list of constants or of the profile's data, not a list of the consignment"
            )
        constant = operands[-1]
        if own.prepare is not None and isinstance(constant, Const) and constant.vec.err is None:
            prepared = self.nodes.prepared(own.prepare, constant.vec.data)
            return self.shared(Textual, prepared, RESULT_TYPES[own.result], operands[0])
        return self.shared(Textual, own.implementation, RESULT_TYPES[own.result], *operands)

    def pattern(self, expr: Call, node: Node) -> str:
        if not isinstance(node, Const) or node.vec.err is not None:
            raise UnsupportedError(expr.args[1].id, "the pattern of matches() is not a constant")
        pattern = str(node.vec.data)
        error = self.nodes.vocabulary.patterns.error(pattern)
        if error:
            raise MacroError(expr.args[1].id, f"the pattern of matches() cannot be used: {error}")
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
        if function == "_||_":
            return self.shared(nodes.Or, *operands)
        # What asks a column for one of few values comes first: often no row is left for the rest. The order changes no
        # result, since false wins over unknown and unknown over an error wherever they stand.
        return self.shared(nodes.And, *sorted(operands, key=lambda node: not needs_of(node)))

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
