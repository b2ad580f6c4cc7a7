"""Compiles checked CEL expressions to nodes over numpy columns."""

from __future__ import annotations

from collections.abc import Mapping

from services.risk.conditions.cel.macros import UnsupportedError
from services.risk.conditions.cel.syntax_tree import Checked
from services.risk.conditions.cel.vocabulary import Vocabulary
from services.risk.conditions.compiler.shared_nodes import SharedNodes
from services.risk.conditions.compiler.translation import Translation
from services.risk.conditions.compiler.values import Constants, Row, Scope
from services.risk.conditions.evaluation.frames import ROOT, Node, Spec


class Compiler:
    """Compiles the conditions of one profile; what they have in common is one node."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._nodes = SharedNodes(vocabulary)

    @property
    def items(self) -> Spec:
        """The frame of the items."""
        return self._nodes.items

    def compile(self, tree: Checked) -> tuple[Node, tuple[UnsupportedError, ...]]:
        """The node of a checked condition, and what in it is not compiled: that is an error in every row, so whoever
        evaluates the node asks the library about the rows that it leaves without a value. Raises MacroError.
        """
        scope: Scope = {
            "consignment": Row(ROOT, "", self._nodes.vocabulary.shape),
            "item": Row(self._nodes.items, "items", self._nodes.vocabulary.item),
        }
        for name, value in self._nodes.vocabulary.data.items():
            scope[f"data.{name}"] = Constants(value if isinstance(value, Mapping) else tuple(value))
        translation = Translation(self._nodes, tree)
        return translation.node(tree.expr, scope), tuple(translation.left_out)
