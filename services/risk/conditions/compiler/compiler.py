"""Compiles checked CEL expressions to nodes over numpy columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from services.risk.conditions.cel.macros import UnsupportedError
from services.risk.conditions.cel.syntax_tree import Checked
from services.risk.conditions.cel.vocabulary import Vocabulary
from services.risk.conditions.compiler.translation import Translation
from services.risk.conditions.compiler.values import Constants, Row, Scope
from services.risk.conditions.evaluation import nodes
from services.risk.conditions.evaluation.frames import ROOT, Node, Spec
from services.risk.conditions.evaluation.text_nodes import Pool


class Compiler:
    """Compiles the conditions of one profile; what they have in common is one node."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._nodes: dict[Any, Node] = {}
        self._contains: dict[frozenset[str], Callable[[str], bool]] = {}
        self._specs: dict[tuple[Node, Spec], Spec] = {}
        self._prepared: dict[Any, Callable[[str], Any]] = {}
        self._pools: dict[tuple[str, str], Pool] = {}
        items = self.shared(nodes.Column, ROOT, "", "items", self.pool("", "items"))
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

    def prepared(self, prepare: Callable[[Any], Callable[[str], Any]], constant: Any) -> Callable[[str], Any]:
        """A function of text for a constant argument; the same function for the same argument."""
        key = (prepare, constant)
        if key not in self._prepared:
            self._prepared[key] = prepare(constant)
        return self._prepared[key]

    def walked(self, segments: Node, parent: Spec) -> Spec:
        """The one frame of a list's elements inside a frame."""
        key = (segments, parent)
        if key not in self._specs:
            self._specs[key] = Spec(parent, segments)
        return self._specs[key]

    def pool(self, path: str, name: str) -> Pool:
        """The one numbering of a column's texts."""
        return self._pools.setdefault((path, name), Pool())

    def compile(self, tree: Checked) -> tuple[Node, tuple[UnsupportedError, ...]]:
        """The node of a checked condition, and what in it is not compiled: that is an error in every row, so whoever
        evaluates the node asks the library about the rows that it leaves without a value. Raises MistakeError.
        """
        scope: Scope = {
            "consignment": Row(ROOT, "", self.vocabulary.shape),
            "item": Row(self.items, "items", self.vocabulary.item),
        }
        for name, value in self.vocabulary.data.items():
            scope[f"data.{name}"] = Constants(value if isinstance(value, Mapping) else tuple(value))
        translation = Translation(self, tree)
        return translation.node(tree.expr, scope), tuple(translation.left_out)


def _key(part: Any) -> Any:
    if isinstance(part, Node | Spec | Pool):
        return part
    # 1, 1.0 and True are equal to Python, and so are 0.0 and -0.0.
    return type(part), repr(part) if isinstance(part, float) else part
