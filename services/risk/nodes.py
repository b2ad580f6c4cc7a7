"""Nodes of a compiled condition: each computes one vector per batch, over the rows of its frame.

A frame is the set of rows that a node's value varies over: the consignments of the batch, or the elements of a list
below them while a macro walks it. A node belongs to the outermost frame it can, so what does not depend on an item is
computed once per consignment. Nodes are shared: two conditions with a part in common hold the same node, and a batch
computes each node once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import numpy as np

from services.risk import vectors
from services.risk.vectors import BoolArray, IntArray, Interned, Segments, Vec, either, some

#: Results kept per function and distinct text, so that the goods of yesterday's batches cost a look-up today.
CACHE_ENTRIES_MAX = 16_384
#: What a look-up returns when there is nothing: an error on that row.
MISSING: Final = object()


class Source(Protocol):
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


class Batch:
    """The evaluation of one batch: remembers every node's vector and every frame."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._values: dict[Node, Vec] = {}
        self._lifted: dict[tuple[Node, Spec], Vec] = {}
        self._frames: dict[Spec, Frame] = {}
        self._indices: dict[tuple[Spec, Spec | None], IntArray] = {}

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

    __slots__ = ("name", "path")

    def __init__(self, spec: Spec, path: str, name: str) -> None:
        self.spec, self.path, self.name = spec, path, name

    def compute(self, batch: Batch) -> Vec:
        assert self.spec is not None
        vec = batch.source.column(self.path, self.name)
        return vec if self.spec.parent is None else vec.take(batch.frame(self.spec).elements)


class Element(Node):
    """The element itself, while a macro walks a list of strings or numbers."""

    __slots__ = ()

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def compute(self, batch: Batch) -> Vec:
        assert self.spec is not None
        frame = batch.frame(self.spec)
        base: Vec = frame.base
        return base.take(frame.elements)


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
        return Vec(np.True_, batch.at(self.arg, self.spec).err)


class NullAsFiller(Node):
    """A string whose nulls count as "", which no list of the profile's data holds: `in` a list is false for a null, not
    an error.
    """

    __slots__ = ("arg",)

    def __init__(self, arg: Node) -> None:
        self.arg, self.spec = arg, arg.spec

    def compute(self, batch: Batch) -> Vec:
        vec = batch.at(self.arg, self.spec)
        return Vec(vec.data, vec.err)


class Strict(Node):
    """An operator that fails where an operand failed or is null, and where its kernel says so."""

    __slots__ = ("args", "kernel")

    def __init__(self, kernel: Callable[..., vectors.Computed], *args: Node) -> None:
        self.kernel, self.args, self.spec = kernel, args, innermost(args)

    def compute(self, batch: Batch) -> Vec:
        operands = [batch.at(arg, self.spec) for arg in self.args]
        data, err = self.kernel(*(operand.data for operand in operands))
        for operand in operands:
            err = either(err, operand.unusable())
        return Vec(data, err)


class And(Node):
    """`&&` of two or more; stops as soon as every row is false."""

    __slots__ = ("args",)

    def __init__(self, *args: Node) -> None:
        self.args, self.spec = args, innermost(args)

    def compute(self, batch: Batch) -> Vec:
        total = batch.at(self.args[0], self.spec)
        for arg in self.args[1:]:
            if total.err is None and total.null is None and not total.data.any():
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
            if total.err is None and total.null is None and total.data.all():
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
        return vectors.choose(Vec(picked, condition.err, condition.null), yes, no)


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
        return Vec(np.zeros(batch.rows(self.spec), bool) if vec.null is None else vec.null, vec.err)


class Within(Node):
    """`in` a list of constants, where a null is in none, or among the keys of a constant map, where a null is an error."""

    __slots__ = ("arg", "members", "null_fails", "numbers")

    def __init__(self, arg: Node, members: frozenset[Any], null_fails: bool) -> None:
        self.arg, self.members, self.null_fails, self.spec = arg, members, null_fails, arg.spec
        self.numbers = np.array(sorted(members)) if all(type(m) in (int, float) for m in members) else None

    def compute(self, batch: Batch) -> Vec:
        vec = batch.at(self.arg, self.spec)
        found = self._found(vec.data)
        if vec.null is None:
            return Vec(found, vec.err)
        return Vec(found, vec.unusable()) if self.null_fails else Vec(found & ~vec.null, vec.err)

    def _found(self, data: Any) -> Any:
        if isinstance(data, Interned):
            return np.fromiter(map(self.members.__contains__, data.entries), bool, len(data.entries))[data.indices]
        if self.numbers is None or len(self.numbers) == 0:
            hits = [np.equal(data, member) for member in self.members]
            return np.logical_or.reduce(hits) if hits else np.zeros(np.shape(data), bool)
        return np.isin(data, self.numbers)


class Textual(Node):
    """A function of strings (and lists of strings), computed once per distinct value or distinct combination of values.

    `dtype` is the type of its results, or None for strings and lists, which stay interned. Where `function` returns
    MISSING the row fails.
    """

    __slots__ = ("args", "cache", "dtype", "function")

    def __init__(self, function: Callable[..., Any], dtype: type | None, cached: bool, *args: Node) -> None:
        self.function, self.dtype, self.args, self.spec = function, dtype, args, innermost(args)
        self.cache: dict[Any, Any] | None = {} if cached else None

    def compute(self, batch: Batch) -> Vec:
        operands = [batch.at(arg, self.spec) for arg in self.args]
        err = None
        for operand in operands:
            err = either(err, operand.unusable())
        varying = [place for place, operand in enumerate(operands) if isinstance(operand.data, Interned)]
        constants = [operand.data for operand in operands]
        if len(varying) == 1:
            column = operands[varying[0]].data
            keys, rows = column.entries, column.indices
        else:
            keys, rows = _combinations([operands[place].data for place in varying])
        results = self._results(keys, varying, constants)
        failed = None
        if MISSING in results:
            missing = np.fromiter((result is MISSING for result in results), bool, len(results))
            failed = some(missing[rows])
            filler = next(
                (result for result in results if result is not MISSING), "" if self.dtype is None else self.dtype()
            )
            results = [filler if result is MISSING else result for result in results]
        if self.dtype is None:
            return Vec(Interned(results, rows), either(err, failed))
        return Vec(np.array(results, self.dtype)[rows], either(err, failed))

    def _results(self, keys: Any, varying: list[int], constants: list[Any]) -> list[Any]:
        cache = self.cache
        if cache is None or len(keys) > CACHE_ENTRIES_MAX:
            return self._apply(keys, varying, constants)
        unknown = [key for key in keys if key not in cache]
        if unknown:
            if len(cache) + len(unknown) > CACHE_ENTRIES_MAX:
                cache.clear()
                unknown = list(keys)
            cache.update(zip(unknown, self._apply(unknown, varying, constants), strict=True))
        return [cache[key] for key in keys]

    def _apply(self, keys: Any, varying: list[int], constants: list[Any]) -> list[Any]:
        function = self.function
        if len(varying) == 1:
            place = varying[0]
            before, after = constants[:place], constants[place + 1 :]
            return [function(*before, key, *after) for key in keys]
        results = []
        for key in keys:
            arguments = list(constants)
            for place, value in zip(varying, key, strict=True):
                arguments[place] = value
            results.append(function(*arguments))
        return results


def _combinations(columns: list[Interned]) -> tuple[list[tuple[Any, ...]], IntArray]:
    """The distinct combinations of values that rows have, and per row which."""
    code = np.zeros((), np.int64)
    for column in columns:
        code = code * len(column.entries) + column.indices
    distinct, rows = np.unique(code, return_inverse=True)
    keys = []
    for value in distinct.tolist():
        combination = []
        for column in reversed(columns):
            value, place = divmod(value, len(column.entries))
            combination.append(column.entries[place])
        keys.append(tuple(reversed(combination)))
    return keys, rows.reshape(code.shape)


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
        bad = vec.unusable()
        data: BoolArray = np.broadcast_to(vec.data, frame.rows)
        certain = data if bad is None else data & ~bad
        failed = None if bad is None else vectors.per_segment(np.broadcast_to(bad, frame.rows), frame.offsets) > 0
        hits = vectors.per_segment(certain, frame.offsets)
        if self.kind == "exists":
            return Vec(hits > 0, None if failed is None else some(failed & (hits == 0)))
        if self.kind == "all":
            misses = vectors.per_segment(~data if bad is None else ~data & ~bad, frame.offsets)
            return Vec(misses == 0, None if failed is None else some(failed & (misses == 0)))
        return Vec(hits == 1 if self.kind == "exists_one" else hits, None if failed is None else some(failed))


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


def lookup(mapping: Mapping[Any, Any]) -> Callable[[Any], Any]:
    """Index into a constant map: MISSING, an error, where the key is not in it."""

    def get(key: Any) -> Any:
        return mapping.get(key, MISSING)

    return get
