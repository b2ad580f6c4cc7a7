"""What the conditions of one profile have in common: each node, frame, function and numbering of texts once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from services.risk.conditions.cel.vocabulary import Vocabulary
from services.risk.conditions.evaluation import nodes
from services.risk.conditions.evaluation.frames import ROOT, Node, Spec
from services.risk.conditions.evaluation.text_nodes import TextPool


class SharedNodes:
    """The nodes, frames and functions of the conditions of one profile: what is equal is one object."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._nodes: dict[Any, Node] = {}
        self._contains: dict[frozenset[str], Callable[[str], bool]] = {}
        self._specs: dict[tuple[Node, Spec], Spec] = {}
        self._prepared: dict[Any, Callable[[str], Any]] = {}
        self._pools: dict[tuple[str, str], TextPool] = {}
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

    def pool(self, path: str, name: str) -> TextPool:
        """The one numbering of a column's texts."""
        return self._pools.setdefault((path, name), TextPool())


def _key(part: Any) -> Any:
    if isinstance(part, Node | Spec | TextPool):
        return part
    # 1, 1.0 and True are equal to Python, and so are 0.0 and -0.0.
    return type(part), repr(part) if isinstance(part, float) else part
