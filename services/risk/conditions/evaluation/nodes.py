"""Nodes of a compiled condition: each computes one vector per batch, over the rows of its frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from services.risk.conditions.evaluation import vectors
from services.risk.conditions.evaluation.frames import Batch, ColumnSource, Frame, Node, Spec, innermost
from services.risk.conditions.evaluation.text_nodes import TextPool, numbered
from services.risk.conditions.evaluation.vectors import BoolArray, Interned, Mask, Segments, Vec, some


class Const(Node):
    """The same value for every row; `err` makes it an error."""

    __slots__ = ("vec",)

    def __init__(self, data: Any, err: bool = False) -> None:
        self.spec = None
        self.vec = Vec(np.bool_(data) if isinstance(data, bool) else data, np.bool_(True) if err else None)  # type: ignore[arg-type]

    def compute(self, batch: Batch) -> Vec:
        return self.vec


class Column(Node):
    """An element of a consignment, an item or another row of a child table."""

    __slots__ = ("key", "name", "path", "pool")

    def __init__(self, spec: Spec, path: str, name: str, pool: TextPool) -> None:
        self.spec, self.path, self.name, self.pool = spec, path, name, pool
        self.key = path, name

    def read(self, source: ColumnSource) -> Vec:
        """The column over all rows of its table."""
        return numbered(source.column(self.path, self.name), self.pool)

    def compute(self, batch: Batch) -> Vec:
        assert self.spec is not None
        vec = batch.column(self)
        return vec if self.spec.parent is None else vec.take(batch.frame(self.spec).elements)


class Element(Node):
    """The element itself, while a macro walks a list of strings or numbers."""

    __slots__ = ("pool",)

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.pool = TextPool()

    def compute(self, batch: Batch) -> Vec:
        assert self.spec is not None
        frame = batch.frame(self.spec)
        base: Vec = frame.base
        return numbered(base, self.pool).take(frame.elements)


class Present(Node):
    """`has(…)`: whether an element has a value."""

    __slots__ = ("arg",)

    def __init__(self, arg: Node) -> None:
        self.arg, self.spec = arg, arg.spec

    def compute(self, batch: Batch) -> Vec:
        vec = batch.at(self.arg, self.spec)
        if isinstance(vec.data, Segments):
            return Vec(vec.data.counts > 0)
        return Vec(np.ones(batch.rows(self.spec), bool) if vec.null is None else ~vec.null)


class Failing(Node):
    """True where the operand did not fail: carries the failures of what is otherwise looked at element by element."""

    __slots__ = ("arg",)

    def __init__(self, arg: Node) -> None:
        self.arg, self.spec = arg, arg.spec

    def compute(self, batch: Batch) -> Vec:
        vec = batch.at(self.arg, self.spec)
        return Vec(np.True_, vec.err, None, vec.unk)


class NullAsFiller(Node):
    """A string whose nulls count as "", which no list of the profile's data holds: `in` a list is false for a null, not
    unknown.
    """

    __slots__ = ("arg",)

    def __init__(self, arg: Node) -> None:
        self.arg, self.spec = arg, arg.spec

    def compute(self, batch: Batch) -> Vec:
        vec = batch.at(self.arg, self.spec)
        return Vec(vec.data, vec.err, None, vec.unk)


class Strict(Node):
    """An operator that needs the value of every operand, and fails where its kernel says so."""

    __slots__ = ("args", "kernel")

    def __init__(self, kernel: Callable[..., vectors.Computed], *args: Node) -> None:
        self.kernel, self.args, self.spec = kernel, args, innermost(args)

    def compute(self, batch: Batch) -> Vec:
        operands = [batch.at(arg, self.spec) for arg in self.args]
        data, err = self.kernel(*(operand.data for operand in operands))
        return vectors.strictly(data, err, operands)


class And(Node):
    """`&&` of two or more; stops as soon as every row is false."""

    __slots__ = ("args",)

    def __init__(self, *args: Node) -> None:
        self.args, self.spec = args, innermost(args)

    def compute(self, batch: Batch) -> Vec:
        total = batch.at(self.args[0], self.spec)
        for arg in self.args[1:]:
            if total.certain and not np.count_nonzero(total.data):
                return total
            total = vectors.conjunction(total, batch.at(arg, self.spec))
        return total


class Or(Node):
    """`||` of two or more; stops as soon as every row is true."""

    __slots__ = ("args",)

    def __init__(self, *args: Node) -> None:
        self.args, self.spec = args, innermost(args)

    def compute(self, batch: Batch) -> Vec:
        total = batch.at(self.args[0], self.spec)
        for arg in self.args[1:]:
            if total.certain and np.count_nonzero(total.data) == np.size(total.data):
                return total
            total = vectors.disjunction(total, batch.at(arg, self.spec))
        return total


class Choose(Node):
    """The ternary: each row takes the value, or the error, of its own branch."""

    __slots__ = ("condition", "no", "yes")

    def __init__(self, condition: Node, yes: Node, no: Node) -> None:
        self.condition, self.yes, self.no = condition, yes, no
        self.spec = innermost((condition, yes, no))

    def compute(self, batch: Batch) -> Vec:
        condition, yes, no = (batch.at(arg, self.spec) for arg in (self.condition, self.yes, self.no))
        picked = np.broadcast_to(condition.data, batch.rows(self.spec))
        return vectors.choose(Vec(picked, condition.err, condition.null, condition.unk), yes, no)


class Equal(Node):
    """`==`; null equals null alone."""

    __slots__ = ("left", "right", "same")

    def __init__(self, same: Callable[[Any, Any], Any], left: Node, right: Node) -> None:
        self.same, self.left, self.right = same, left, right
        self.spec = innermost((left, right))

    def compute(self, batch: Batch) -> Vec:
        return vectors.equality(batch.at(self.left, self.spec), batch.at(self.right, self.spec), self.same)


class IsNull(Node):
    """`== null`."""

    __slots__ = ("arg",)

    def __init__(self, arg: Node) -> None:
        self.arg, self.spec = arg, arg.spec

    def compute(self, batch: Batch) -> Vec:
        vec = batch.at(self.arg, self.spec)
        return Vec(np.zeros(batch.rows(self.spec), bool) if vec.null is None else vec.null, vec.err, None, vec.unk)


class Within(Node):
    """`in` a list of constant numbers or truth values; null is in none."""

    __slots__ = ("arg", "members")

    def __init__(self, arg: Node, members: frozenset[Any]) -> None:
        self.arg, self.members, self.spec = arg, np.array(sorted(members)), arg.spec

    def compute(self, batch: Batch) -> Vec:
        vec = batch.at(self.arg, self.spec)
        if len(self.members) == 0:
            return Vec(np.zeros(batch.rows(self.spec), bool), vec.err, None, vec.unk)
        if len(self.members) <= 4:
            found = vec.data == self.members[0]
            for member in self.members[1:]:
                found = found | (vec.data == member)
        else:
            found = np.isin(vec.data, self.members)
        return Vec(found if vec.null is None else found & ~vec.null, vec.err, None, vec.unk)


class Size(Node):
    """`size()` of a list."""

    __slots__ = ("arg",)

    def __init__(self, arg: Node) -> None:
        self.arg, self.spec = arg, arg.spec

    def compute(self, batch: Batch) -> Vec:
        return Vec(batch.at(self.arg, self.spec).data.counts)


class Walk(Node):
    """A macro over a list: `exists`, `all`, `exists_one` or `count` (the size of a `filter`), over the rows of `inner`
    for each row of its parent.
    """

    __slots__ = ("body", "inner", "kind")

    def __init__(self, kind: str, inner: Spec, body: Node) -> None:
        self.kind, self.inner, self.body, self.spec = kind, inner, body, inner.parent

    def compute(self, batch: Batch) -> Vec:
        frame = batch.frame(self.inner)
        vec = batch.at(self.body, self.inner)
        data: BoolArray = np.broadcast_to(vec.data, frame.rows)
        bad = vec.unusable()
        if bad is None:
            hits = vectors.per_segment(data, frame.offsets)
            return Vec(self._quantify(hits, frame.offsets))
        bad = np.broadcast_to(bad, frame.rows)
        hits = vectors.per_segment(data & ~bad, frame.offsets)
        if self.kind == "all":
            decided = vectors.per_segment(~data & ~bad, frame.offsets) > 0
            return self._folded(~decided, decided, vec, frame)
        if self.kind == "exists":
            return self._folded(hits > 0, hits > 0, vec, frame)
        # These two are folds of a ternary: the last element that has no value decides whether it is error or unknown.
        failed, last = vectors.last_of(bad, frame.offsets)
        unknown = vec.unknown()
        if unknown is None:
            return Vec(self._quantify(hits, frame.offsets), some(failed))
        unk = some(failed & np.broadcast_to(unknown, frame.rows)[last]) if frame.rows else None
        return Vec(self._quantify(hits, frame.offsets), vectors.without(some(failed), unk), None, unk)

    def _quantify(self, counts: vectors.IntArray, offsets: vectors.IntArray) -> Any:
        if self.kind == "all":
            return counts == offsets[1:] - offsets[:-1]
        return counts if self.kind == "count" else counts == 1 if self.kind == "exists_one" else counts > 0

    def _folded(self, data: BoolArray, decided: BoolArray, vec: Vec, frame: Frame) -> Vec:
        """`exists` and `all` fold by `||` and `&&`: where no element decides, an unknown one wins over an error."""

        def undecided(mask: Mask) -> Mask:
            if mask is None:
                return None
            return some((vectors.per_segment(np.broadcast_to(mask, frame.rows), frame.offsets) > 0) & ~decided)

        unk = undecided(vec.unknown())
        return Vec(data, vectors.without(undecided(vec.err), unk), None, unk)


def fold(node: Node) -> Node:
    """Compute a node whose operands are all constants, once and for all."""
    if node.spec is not None or isinstance(node, Const):
        return node
    vec = node.compute(_OneRow())
    failed = vec.err is not None and bool(np.any(vec.err))
    data = vec.data
    if isinstance(data, Interned):
        return Const(data.entries[int(np.ravel(data.indices)[0])], failed)
    value = np.ravel(data)[0].item()
    return Const(value, failed)


class _OneRow(Batch):
    """A batch of one row that only constants live in."""

    def __init__(self) -> None:
        """No columns are needed."""

    def at(self, node: Node, spec: Spec | None) -> Vec:
        assert isinstance(node, Const)
        data, err = node.vec.data, node.vec.err
        one_row = Interned([data], np.zeros(1, np.int64)) if isinstance(data, str | tuple) else np.array([data])
        return Vec(one_row, None if err is None else np.ones(1, bool))
