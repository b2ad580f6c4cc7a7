"""What every part of a translation needs of the whole: shared nodes, the kinds of expressions, and nodes of operands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

from services.risk.conditions.cel.macros import UnsupportedError
from services.risk.conditions.cel.syntax_tree import Checked, Expr
from services.risk.conditions.compiler.shared_nodes import SharedNodes
from services.risk.conditions.compiler.values import ChildTable, Constants, Filtered, Row, Scope, Value
from services.risk.conditions.evaluation.frames import Node
from services.risk.conditions.evaluation.nodes import Const

#: What stands for a part that is not compiled, by its kind.
_FILLERS: Final[dict[str, Any]] = {"bool": False, "int": 0, "double": 0.0, "string": ""}


class Translator(ABC):
    """The translation of one expression, as those see it that translate a part of it and need the translation of its operands."""

    def __init__(self, nodes: SharedNodes, tree: Checked) -> None:
        self.nodes = nodes
        self.shared = nodes.shared
        self.kinds = tree.kinds
        #: What was not compiled, and why.
        self.left_out: list[UnsupportedError] = []

    def kind(self, expr: Expr) -> str:
        kind = self.kinds.get(expr.id)
        return "dyn" if kind is None else kind.name

    def node(self, expr: Expr, scope: Scope) -> Node:
        """An expression of a value per row; the smallest part of it that cannot be compiled is an error in every row."""
        try:
            return self.whole_node(expr, scope)
        except UnsupportedError as error:
            filler = _FILLERS.get(self.kind(expr))
            if filler is None:
                raise
            self.left_out.append(error)
            return self.shared(Const, filler, True)

    def whole_node(self, expr: Expr, scope: Scope) -> Node:
        """An expression of a value per row. Raises UnsupportedError."""
        value = self.value(expr, scope)
        if isinstance(value, Node):
            return value
        if isinstance(value, Constants) and isinstance(value.values, tuple):
            return self.shared(Const, value.values)
        what = {
            Row: "a whole row",
            ChildTable: "a whole child table",
            Filtered: "a filtered list",
            Constants: "a whole table",
        }[type(value)]
        raise UnsupportedError(expr.id, f"{what} cannot be used as a value here")

    @abstractmethod
    def value(self, expr: Expr, scope: Scope) -> Value:
        """What an expression is: a node, a row, a child table or constants. Raises UnsupportedError."""
