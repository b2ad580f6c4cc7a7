"""Frames of a batch and what every node of a compiled condition is.

A frame is the set of rows that a node's value varies over: the consignments of the batch, or the elements of a list
below them while a macro walks it. A node belongs to the outermost frame it can, so what does not depend on an item is
computed once per consignment. Nodes are shared: two conditions with a part in common hold the same node, and a batch
computes each node once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Final, Protocol

import numpy as np

from services.risk.conditions.evaluation.vectors import IntArray, Segments, Vec


class ColumnSource(Protocol):
    """Where a batch's columns come from. A path names a table: "" the consignments, "items" their items,
    "items/packages" and so on.
    """

    rows: int

    def column(self, path: str, name: str) -> Vec:
        """Give a column over the rows of the table at `path`; a list or child table as Segments."""
        ...


class Spec:
    """A frame in the abstract: the elements of `range`, walked for every row of the parent frame. The outermost frame
    has neither.
    """

    __slots__ = ("depth", "parent", "range")

    def __init__(self, parent: Spec | None = None, over: Node | None = None) -> None:
        self.parent = parent
        self.range = over
        self.depth: int = 0 if parent is None else parent.depth + 1


ROOT: Final = Spec()


class Frame:
    """A frame of one batch: how many rows, and for each its row in the parent frame and its element's place in what is
    walked.
    """

    __slots__ = ("base", "elements", "offsets", "parents", "rows")

    def __init__(self, segments: Segments) -> None:
        counts = segments.counts
        self.offsets: IntArray = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=self.offsets[1:])
        self.rows = int(self.offsets[-1])
        self.parents: IntArray = np.repeat(np.arange(len(counts)), counts)
        self.elements: IntArray = np.arange(self.rows) + (segments.starts - self.offsets[:-1])[self.parents]
        self.base = segments.base


class Taken:
    """Some rows of a source, in rising order. The tables below them stay whole: rows point into them."""

    def __init__(self, source: ColumnSource, index: IntArray) -> None:
        self.source, self.index, self.rows = source, index, len(index)

    def column(self, path: str, name: str) -> Vec:
        """A column over these rows, or the whole column of a table below."""
        vec = self.source.column(path, name)
        return vec if path else vec.take(self.index)


class ColumnNode(Protocol):
    """A node that reads a column."""

    path: str
    name: str

    def read(self, source: ColumnSource) -> Vec:
        """The column over all rows of its table."""
        ...


class Batch:
    """The evaluation of one batch: remembers every column, every node's vector and every frame. With `whole` it is a
    part of that batch, the consignments of `index`.
    """

    def __init__(self, source: ColumnSource, whole: Batch | None = None, index: IntArray | None = None) -> None:
        self.source = source
        self.whole, self.index = whole, index
        #: What others remember of this batch, by keys of their own.
        self.memo: dict[Hashable, Any] = {}
        self._columns: dict[tuple[str, str], Vec] = {}
        self._values: dict[Node, Vec] = {}
        self._lifted: dict[tuple[Node, Spec], Vec] = {}
        self._frames: dict[Spec, Frame] = {}
        self._indices: dict[tuple[Spec, Spec | None], IntArray] = {}

    def part(self, index: IntArray) -> Batch:
        """The evaluation of some consignments of this batch alone."""
        return Batch(Taken(self.source, index), self, index)

    def column(self, node: ColumnNode) -> Vec:
        """A column over all rows of its table; those of the consignments over the rows of this batch."""
        vec = self._columns.get((node.path, node.name))
        if vec is None:
            if self.whole is None or self.index is None:
                vec = node.read(self.source)
            else:
                vec = self.whole.column(node)
                vec = vec if node.path else vec.take(self.index)
            self._columns[node.path, node.name] = vec
        return vec

    def frame(self, spec: Spec) -> Frame:
        """The frame of this batch; `spec` is not the outermost."""
        frame = self._frames.get(spec)
        if frame is None:
            assert spec.range is not None
            assert spec.parent is not None
            frame = self._frames[spec] = Frame(self.at(spec.range, spec.parent).data)
        return frame

    def rows(self, spec: Spec | None) -> int:
        """How many rows a frame has; what is the same for every row has one."""
        if spec is None:
            return 1
        return self.source.rows if spec.parent is None else self.frame(spec).rows

    def at(self, node: Node, spec: Spec | None) -> Vec:
        """A node's vector over the rows of `spec`, which is the node's own frame or one inside it."""
        own = node.spec
        if own is spec or own is None:
            value = self._values.get(node)
            if value is None:
                value = self._values[node] = node.compute(self)
            return value
        assert spec is not None
        lifted = self._lifted.get((node, spec))
        if lifted is None:
            lifted = self._lifted[node, spec] = self.at(node, own).take(self.ancestors(spec, own))
        return lifted

    def ancestors(self, spec: Spec, outer: Spec | None) -> IntArray:
        """Per row of `spec`, its row in the frame `outer` around it."""
        index = self._indices.get((spec, outer))
        if index is None:
            index = self.frame(spec).parents
            assert spec.parent is not None
            if spec.parent is not outer:
                index = self.ancestors(spec.parent, outer)[index]
            self._indices[spec, outer] = index
        return index


class Node:
    """Part of a condition; `spec` is None for what is the same for every row of every batch."""

    __slots__ = ("spec",)
    spec: Spec | None

    def compute(self, batch: Batch) -> Vec:
        raise NotImplementedError


def innermost(nodes: Iterable[Node]) -> Spec | None:
    """The innermost frame that nodes depend on; frames that meet in one expression always lie inside each other."""
    return max((n.spec for n in nodes if n.spec is not None), key=lambda spec: spec.depth, default=None)
