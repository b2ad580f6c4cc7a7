"""The numbers under which goods travel: that of their master document, and those of the receptacles that contain them. Pure.

The functions read filings as well as states. One number is one thing, whether filings name it as their master document or as their receptacle.
"""

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Strings, Table

LEADING_MAX: Final = 9
"""Receptacles of one consignment that lead to it, the first ones. A page of filings with 99 each would last longer than a transaction may."""


def numbers_of(table: Table) -> set[str]:
    """Return the numbers under which any of these goods travel."""
    found = set(table.strings("master_document_number").dictionary)
    if table.may_have("receptacles"):
        found.update(_leading(table)[1].dictionary)
    return found - {""}


def travels_under(table: Table, numbers: Collection[str]) -> NDArray[np.bool_]:
    """Return which goods travel under one of these numbers, shape (n,)."""
    found = table.strings("master_document_number").isin(numbers)
    if table.may_have("receptacles"):
        owners, values = _leading(table)
        found = found.copy()
        found[owners[values.isin(numbers)]] = True
    return found


def travels_under_each(table: Table, numbers: Sequence[str]) -> NDArray[np.bool_]:
    """Return which goods travel under the number at their place, shape (n,)."""
    masters = table.strings("master_document_number").tolist()
    found = np.array([master == number for master, number in zip(masters, numbers, strict=True)], np.bool_)
    if table.may_have("receptacles"):
        owners, values = _leading(table)
        for row, receptacle in zip(owners.tolist(), values.tolist(), strict=True):
            found[row] |= receptacle == numbers[row]
    return found


def only_receptacle(table: Table) -> Strings:
    """Return the receptacle that contains all goods of each consignment, absent where there is none or several.

    Its arrival is that of the goods. Of goods in several receptacles none is.
    """
    if not table.may_have("receptacles"):
        return Strings.absent(table.rows)
    owners, values = _lists(table)
    if not len(values):
        return Strings.absent(table.rows)
    dictionary = [*values.dictionary] if "" in values.dictionary else [*values.dictionary, ""]
    first = np.full(table.rows, dictionary.index(""), np.int32)
    # The value that is written last is the first one of its row.
    first[owners[::-1]] = values.indices[::-1]
    first[owners[values.indices != first[owners]]] = dictionary.index("")
    return Strings(dictionary, first).compact()


def carriage(table: Table) -> tuple[Strings, Strings, Strings]:
    """Return the columns that bindings depend on: the master document, the carrier that the filing names, and the receptacle of all of its goods."""
    return table.strings("master_document_number"), table.strings("carrier_identifier"), only_receptacle(table)


def partly_in(table: Table, rows: NDArray[np.bool_], numbers: Collection[str]) -> set[str]:
    """Return those of some numbers that are receptacles of goods in several ones, among some rows: their arrivals have no effect on these goods."""
    if not table.may_have("receptacles"):
        return set()
    owners, values = _leading(table)
    partly = values.isin(numbers) & (rows & ~only_receptacle(table).present)[owners]
    return set(values.take(np.flatnonzero(partly)).tolist())


def added_receptacles(table: Table, former: Table | None = None) -> list[tuple[str, int]]:
    """Return the receptacles that lead to consignments, each with the row, unless they led to the `former` states of these."""
    if not table.may_have("receptacles"):
        return []
    owners, values = _leading(table)
    pairs = dict.fromkeys(zip(values.tolist(), owners.tolist(), strict=True))
    masters = table.strings("master_document_number").tolist()
    before = set[tuple[str, int]]()
    if former is not None:
        before = {(number, row) for row, number in enumerate(former.strings("master_document_number").tolist())}
        before |= dict.fromkeys(added_receptacles(former)).keys()
    return [(number, row) for number, row in pairs if number not in ("", masters[row]) and (number, row) not in before]


def _leading(table: Table) -> tuple[NDArray[np.int64], Strings]:
    """Return the receptacles that lead to goods, each with the row that names it."""
    owners, values = _lists(table)
    leading = np.arange(len(owners)) - table.ragged("receptacles").offsets[owners] < LEADING_MAX
    return (owners, values) if leading.all() else (owners[leading], values.take(np.flatnonzero(leading)))


def _lists(table: Table) -> tuple[NDArray[np.int64], Strings]:
    """Return all receptacles, each with the row that names it."""
    lists = table.ragged("receptacles")
    assert isinstance(lists.values, Strings)
    return lists.owners(), lists.values
