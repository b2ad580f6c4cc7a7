"""Which rows a condition can matter for at all: what it needs of one column, found in its compiled form.

Most rules speak of goods of one chapter, of one country, of one nature. Such a rule needs a column to have one of few
values, and a batch in which no row has one of them, or few have, need not be asked the rest. A need is exact: in a row
that does not meet it the condition is false, and neither an error nor unknown, since `false && x` is false whatever x
is. So it makes no difference to any result whether rules were grouped.

- `column == c`, `column in [c, …]`: false unless the column has such a value, an absent one included;
- `column.startsWith(c)` and `column in data.table`: the same, but unknown for an absent value, which meets the need;
- `a && b` needs what a needs and what b needs; `a || b` needs of a column what a or b need, where both need something
  of it; `list.exists(x, a)` needs what a needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from services.risk.conditions.evaluation.frames import Batch, Node
from services.risk.conditions.evaluation.nodes import And, Column, Const, Equal, NullAsFiller, Or, Walk, Within
from services.risk.conditions.evaluation.text_nodes import Textual
from services.risk.conditions.evaluation.vectors import BoolArray, Interned, Vec, per_segment

#: Batches of fewer consignments are judged whole: numpy takes as long for a few rows as for some thousand.
PART_ROWS_MIN: Final = 2_000
#: A part is worth its own evaluation where it is at most this share of the batch.
PART_SHARE: Final = 4
#: Whole numbers up to this are codes, and looked up as such.
_CODE_MAX: Final = 255


@dataclass(frozen=True, slots=True)
class Need:
    """What a column must hold so that a condition can be anything but false."""

    column: Column
    members: frozenset[Any]
    prefixes: tuple[str, ...] = ()
    absent: bool = False
    """Whether rows without a value matter too."""

    @property
    def key(self) -> tuple[str, str]:
        """The column's table and name."""
        return self.column.key

    def joined(self, other: Need) -> Need:
        """What is needed where one of two needs suffices."""
        prefixes = tuple(dict.fromkeys((*self.prefixes, *other.prefixes)))
        return Need(self.column, self.members | other.members, prefixes, self.absent or other.absent)


def needs_of(node: Node) -> tuple[Need, ...]:
    """What a condition needs of columns; at most one need a column."""
    return tuple(_needs(node).values())


def _needs(node: Node) -> dict[tuple[str, str], Need]:
    if isinstance(node, And):
        found: dict[tuple[str, str], Need] = {}
        for arg in node.args:
            for key, need in _needs(arg).items():
                found.setdefault(key, need)
        return found
    if isinstance(node, Or):
        if not (branches := [arg for arg in node.args if not _is_false(arg)]):
            return {}
        first, *others = map(_needs, branches)
        for other in others:
            first = {key: need.joined(other[key]) for key, need in first.items() if key in other}
        return first
    if isinstance(node, Walk):
        return _needs(node.body) if node.kind == "exists" else {}
    atom = _atom(node)
    return {} if atom is None else {atom.key: atom}


def _atom(node: Node) -> Need | None:
    if isinstance(node, Textual):
        return _textual(node)
    if isinstance(node, Within) and isinstance(node.arg, Column):
        return Need(node.arg, frozenset(node.members.tolist()))
    if isinstance(node, Equal):
        for column, constant in ((node.left, node.right), (node.right, node.left)):
            if isinstance(column, Column) and _is_constant(constant, int):
                return Need(column, frozenset([constant.vec.data]))  # type: ignore[attr-defined]
    return None


def _is_false(node: Node) -> bool:
    return isinstance(node, Const) and node.vec.err is None and not node.vec.data


def _is_constant(node: Node, kind: type) -> bool:
    return isinstance(node, Const) and node.vec.err is None and type(node.vec.data) is kind


def _textual(node: Textual) -> Need | None:
    subject, *others = node.args
    # NullAsFiller makes an absent text false, as in `==` and `in` a list; without it, it is unknown.
    absent = not isinstance(subject, NullAsFiller)
    column = subject.arg if isinstance(subject, NullAsFiller) else subject
    if not isinstance(column, Column):
        return None
    if len(others) == 1 and _is_constant(others[0], str):
        text: str = others[0].vec.data  # type: ignore[attr-defined]
        if node.function is str.__eq__:
            return Need(column, frozenset([text]), absent=absent)
        return Need(column, frozenset(), (text,), absent) if node.function is str.startswith else None
    members = getattr(node.function, "__self__", None)
    if not others and isinstance(members, frozenset):
        return Need(column, members, absent=absent)
    return None


class _Presence:
    """The values that a column has in a batch; those that it might have do no harm."""

    def __init__(self, vec: Vec) -> None:
        self.absent = vec.null is not None
        self.values: set[Any] | None = None
        self._prefixes: dict[int, set[str]] = {}
        if isinstance(vec.data, Interned):
            self.values = set(vec.data.entries)
        elif isinstance(vec.data, np.ndarray) and vec.data.dtype == np.int64:
            if len(vec.data) == 0:
                self.values = set()
            elif vec.data.min() >= 0 and vec.data.max() <= _CODE_MAX:
                self.values = set(np.flatnonzero(np.bincount(vec.data)).tolist())

    def prefixes(self, length: int) -> set[str]:
        """The beginnings of so many characters that its texts have."""
        if length not in self._prefixes:
            self._prefixes[length] = {text[:length] for text in self.values or ()}
        return self._prefixes[length]

    def meets(self, need: Need) -> bool:
        """Whether some row may meet a need."""
        if self.values is None or (need.absent and self.absent) or not need.members.isdisjoint(self.values):
            return True
        return any(prefix in self.prefixes(len(prefix)) for prefix in need.prefixes)


def can_matter(needs: tuple[Need, ...], batch: Batch) -> bool:
    """Whether a condition of such needs can be anything but false in some row of a batch."""
    for need in needs:
        key = need.column.key
        presence = batch.memo.get(key)
        if presence is None:
            presence = batch.memo[key] = _Presence(batch.column(need.column))
        if not presence.meets(need):
            return False
    return True


class RowNeeds:
    """The consignments of a large batch that meet a need, and the evaluation of them alone."""

    def __init__(self, need: Need, batch: Batch) -> None:
        self._batch = batch
        mask = _meeting(need, batch.column(need.column))
        self.mask = mask if need.column.path == "" else _owning(need.column.path, mask, batch)
        self.count = self._batch.source.rows if self.mask is None else int(np.count_nonzero(self.mask))

    @cached_property
    def part(self) -> Batch:
        """The evaluation of these consignments alone, which all conditions of the same need share."""
        assert self.mask is not None
        return self._batch.part(np.flatnonzero(self.mask))


def _meeting(need: Need, vec: Vec) -> BoolArray:
    if isinstance(vec.data, Interned):
        entries = vec.data.entries
        meets = np.fromiter(map(need.members.__contains__, entries), bool, len(entries))
        if need.prefixes:
            meets |= np.fromiter((text.startswith(need.prefixes) for text in entries), bool, len(entries))
        found: BoolArray = meets[vec.data.indices]
    else:
        found = np.isin(vec.data, list(need.members))
    if vec.null is None:
        return found
    return found | vec.null if need.absent else found & ~vec.null


def _owning(path: str, mask: BoolArray, batch: Batch) -> BoolArray | None:
    """The consignments that a row of a table below them belongs to; None for tables further down."""
    if "/" in path:
        return None
    segments = batch.source.column("", path).data
    offsets = np.append(segments.starts, len(mask))
    return per_segment(mask, offsets) > 0


def narrowed(needs: tuple[Need, ...], batch: Batch) -> Batch:
    """The part of a large batch that a condition need be evaluated in, or the batch itself."""
    rows = batch.source.rows
    if not needs or rows < PART_ROWS_MIN or batch.whole is not None:
        return batch
    best: RowNeeds | None = None
    for need in needs:
        key = ("rows", need.key, need.members, need.prefixes, need.absent)
        found = batch.memo.get(key)
        if found is None:
            found = batch.memo[key] = RowNeeds(need, batch)
        if best is None or found.count < best.count:
            best = found
    assert best is not None
    return best.part if best.count * PART_SHARE <= rows else batch
