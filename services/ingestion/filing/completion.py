"""Which earlier versions of a filing a later one completes: it has all of their elements unchanged, and further ones. Pure; whole batches.

Law: what is filed before the declaration is no declaration, which may follow until the goods have a customs procedure (UCC, articles 127 and 158).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table
from libs.columns.arrays import BoolArray
from services.ingestion.filing.amendment import Content
from services.ingestion.filing.stages import before_declaration
from services.ingestion.filing.validation import ENVELOPE

VERSIONS_MAX: Final = 20
"""How many versions before the newest one are compared with a new version, beside the first."""
_NAMES_OF_FILING: Final = frozenset({"local_reference", "function", "amended_mrn", "amended_version"})
_ITEMS: Final = "items"


def incomplete(contents: Sequence[Content]) -> list[bool]:
    """Return which versions lack a required part, or were filed before the declaration."""
    if not contents:
        return []
    table = _rows_of(contents)
    lacks = before_declaration(table) | (table.ragged("missing_roles").lengths > 0)
    return [bool(each) and not content.is_withdrawn() for each, content in zip(lacks, contents, strict=True)]


def declares(pairs: Sequence[tuple[Content, Content]]) -> list[bool]:
    """Return of each earlier and later version whether the earlier one was filed before the declaration, and the later one is the declaration."""
    if not pairs:
        return []
    earlier, later = (before_declaration(_rows_of([pair[side] for pair in pairs])) for side in (0, 1))
    declared = zip(earlier & ~later, pairs, strict=True)
    return [bool(each) and not pair[1].is_withdrawn() for each, pair in declared]


def completes(pairs: Sequence[tuple[Content, Content]]) -> list[bool]:
    """Return of each earlier and later version whether the later one has all elements of the earlier one, unchanged.

    The items are the same in the same order, and may have further elements. Other lists are elements as a whole.
    """
    if not pairs:
        return []
    earlier, later = (_rows_of([pair[side] for pair in pairs]) for side in (0, 1))
    return [bool(each) for each in _contained(earlier, later)]


def _rows_of(contents: Sequence[Content]) -> Table:
    """Return the versions as the rows of one table, in their order."""
    places: dict[int, list[int]] = {}
    for place, each in enumerate(contents):
        places.setdefault(id(each.table), []).append(place)
    parts = [
        contents[some[0]].table.take(np.array([contents[place].row for place in some], np.int64))
        for some in places.values()
    ]
    order = np.concatenate([np.array(some, np.int64) for some in places.values()])
    return Table.concat(parts).take(np.argsort(order))


def _contained(earlier: Table, later: Table) -> BoolArray:
    """Return in which rows each value of the earlier table is also that of the later one, shape (n,)."""
    found = np.ones(earlier.rows, np.bool_)
    for name, column in earlier.columns.items():
        if name not in ENVELOPE and name not in _NAMES_OF_FILING:
            found &= ~column.present | _same(column, later.column(name), may_add=name == _ITEMS)
    return found


def _same(earlier: Column, later: Column, *, may_add: bool = False) -> BoolArray:
    """Return in which rows two columns have the same value; with `may_add`, the elements of a list may have further values."""
    if isinstance(earlier, Ragged):
        assert isinstance(later, Ragged)
        return _same_lists(earlier, later, may_add=may_add)
    if isinstance(earlier, Strings):
        assert isinstance(later, Strings)
        return np.array([one == other for one, other in zip(earlier.tolist(), later.tolist(), strict=True)], np.bool_)
    assert isinstance(earlier, Ints | Bools)
    assert isinstance(later, Ints | Bools)
    same: BoolArray = (earlier.valid == later.valid) & (~earlier.valid | (earlier.values == later.values))
    return same


def _same_lists(earlier: Ragged, later: Ragged, *, may_add: bool) -> BoolArray:
    same: BoolArray = earlier.lengths == later.lengths
    rows = np.flatnonzero(same)
    one, other = earlier.take(rows), later.take(rows)
    if isinstance(one.values, Table):
        assert isinstance(other.values, Table)
        fits = _contained(one.values, other.values)
        if not may_add:
            fits &= _contained(other.values, one.values)
    else:
        assert isinstance(one.values, Strings | Ints)
        assert isinstance(other.values, Strings | Ints)
        fits = _same(one.values, other.values)
    same[rows[one.owners()[~fits]]] = False
    return same
