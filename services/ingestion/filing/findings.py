"""What is found in the consignments of a batch, with its place: errors refuse a consignment, warnings do not.

Places are element paths as filers know them: consignments[3].items[0].price.minor is a value of the column price_minor of the items.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from libs.columns import Ragged, Table
from libs.columns.arrays import BoolArray
from services.ingestion.filing import elements

ERRORS_MAX: Final = 50
"""Errors, and as many warnings, of one consignment that are described; the others are counted."""
_OPEN = ("_address_country", "_person_type", "_identifier_type")
_PERSONAL = frozenset(
    name
    for name in elements.CONSIGNMENT
    if name.startswith(tuple(f"{party}_" for party in elements.PARTIES)) and not name.endswith(_OPEN)
) | {"payment_payer"}


Place: TypeAlias = Callable[[int], str]
"""Returns the path of a row of a table."""

_PATHS: Final = elements.paths()
_CHILD_PATHS: Final = {"price_minor": "price.minor", "price_currency": "price.currency",
                       "tax_charged_minor": "tax_charged.minor", "tax_charged_currency": "tax_charged.currency",
                       "amount_minor": "amount.minor", "amount_currency": "amount.currency"}  # fmt: skip


def consignment_place(row: int) -> str:
    """Return the path of a consignment."""
    return f"consignments[{row}]"


def entry_place(above: Place, name: str, offsets: npt.NDArray[Any]) -> Place:
    """Return the paths of the entries of lists: `name` is the column of the lists in the table with the rows `above`."""

    starts: list[int] = []

    def place(row: int) -> str:
        if not starts:
            starts.extend(offsets.tolist())
        # The last list that begins at the entry or before it: those before it that begin there too are empty.
        owner = bisect_right(starts, row) - 1
        return f"{above(owner)}.{name}[{row - starts[owner]}]"

    return place


def element_path(place: Place, row: int, column: str, root: bool) -> str:
    """Return the path of an element; `root` for the columns of a consignment, not of a table below it."""
    names = _PATHS if root else _CHILD_PATHS
    return f"{place(row)}.{names.get(column, column)}"


@dataclass(frozen=True, slots=True)
class ElementError:
    """One error or warning of a consignment."""

    reason: str
    """Of the catalogue."""
    path: str
    """Element path from the request's root."""
    value: str = ""
    """The refused value; empty where it is missing or personal."""
    warns: bool = False
    """Whether it is only a warning: the consignment is accepted."""
    facts: dict[str, object] = field(default_factory=dict)
    """Values for the message of the catalogue."""


class Level:
    """A table of the batch with the way back to its consignments and to the paths that their filer knows."""

    def __init__(self, table: Table, owners: npt.NDArray[np.int64], place: Place, root: bool) -> None:
        """Take a table of consignments (`root`) or of what they have; `owners` are the rows of the consignments, shape (n,)."""
        self.table = table
        self.owners = owners
        self.place = place
        self.root = root

    def path(self, row: int, column: str) -> str:
        """Return the path of a column in a row."""
        return element_path(self.place, row, column, self.root)

    def below(self, name: str) -> Level:
        """Return the level of a table that a column holds."""
        ragged = self.table.ragged(name)
        owners = self.owners[ragged.owners()]
        return Level(self.table.child(name), owners, entry_place(self.place, name, ragged.offsets), False)


class Findings:
    """What was found in the consignments of a batch."""

    def __init__(self, rows: int, levels: Mapping[str, str]) -> None:
        """Begin without any, for so many consignments; `levels` by reason are none, warn or reject. A reason without level refuses."""
        self._levels = levels
        self.refused: BoolArray = np.zeros(rows, np.bool_)
        self._errors: dict[int, list[ElementError]] = {}
        self._warnings: dict[int, list[ElementError]] = {}
        self.left_out: dict[int, int] = {}
        """By consignment, how many are not described."""
        self.owners: dict[str, list[npt.NDArray[np.int64]]] = {}
        """By reason of a warning, the consignments that have it, each any number of times."""

    def count(self, reason: str, owners: npt.NDArray[np.int64]) -> None:
        """Count a warning for the quality of these consignments."""
        self.owners.setdefault(reason, []).append(owners)

    def is_full(self, owner: int, warns: bool) -> bool:
        """Count an error or a warning, and return whether so many are described that this one is not."""
        if not warns:
            self.refused[owner] = True
        described = self._warnings if warns else self._errors
        if len(described.get(owner, ())) < ERRORS_MAX:
            return False
        self.left_out[owner] = self.left_out.get(owner, 0) + 1
        return True

    def warns(self, reason: str) -> bool | None:
        """Return whether a reason warns (True) or refuses (False), by its level; None: it is not checked."""
        level = self._levels.get(reason, "reject")
        return None if level == "none" else level == "warn"

    def add(
        self, owner: int, reason: str, path: str, value: str = "", facts: Mapping[str, object] = MappingProxyType({})
    ) -> None:
        """Add an error or a warning of a consignment, by the level of its reason."""
        warns = self.warns(reason)
        if warns is None:
            return
        if warns:
            self.count(reason, np.array([owner]))
        if not self.is_full(owner, warns):
            self.describe(owner, ElementError(reason, path, value, warns, dict(facts)))

    def describe(self, owner: int, error: ElementError) -> None:
        """Add an error or a warning that is counted already, where there is room for it."""
        (self._warnings if error.warns else self._errors).setdefault(owner, []).append(error)

    def mark(
        self,
        level: Level,
        column: str,
        rows: npt.NDArray[np.integer],
        reason: str,
        *,
        warns: bool | None = None,
        shown: bool = True,
        **facts: object,
    ) -> None:
        """Add the same error for rows of a level, with its value if it may be shown. `warns` None: by the level of the reason."""
        if warns is None:
            warns = self.warns(reason)
        if warns is None or not len(rows):
            return
        if warns:
            self.count(reason, level.owners[rows])
        values = level.table.column(column)
        visible = shown and column not in _PERSONAL
        for row, owner in zip(rows.tolist(), level.owners[rows].tolist(), strict=True):
            # A path and a value for each of some hundred thousand would take longer than all else.
            if self.is_full(owner, warns):
                continue
            value = values[row] if visible and not isinstance(values, Ragged) else ""
            text = "" if value is None else str(value)
            self.describe(owner, ElementError(reason, level.path(row, column), text, warns, facts))

    def sorted(self) -> dict[int, list[ElementError]]:
        """Return what is described by consignment, errors first."""
        rows = sorted({*self._errors, *self._warnings})
        return {row: [*self._errors.get(row, ()), *self._warnings.get(row, ())] for row in rows}
