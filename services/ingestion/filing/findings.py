"""What is wrong or doubtful in the consignments of a batch, with its place: errors refuse a consignment, warnings do not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Ragged, Table
from libs.columns.arrays import BoolArray
from services.ingestion.filing import elements
from services.ingestion.filing.paths import Place, element_path, entry_place

ERRORS_MAX: Final = 50
"""Errors, and as many warnings, of one consignment that are described; the others are counted."""
_OPEN = ("_address_country", "_person_type", "_identifier_type")
_PERSONAL = frozenset(
    name
    for name in elements.CONSIGNMENT
    if name.startswith(tuple(f"{party}_" for party in elements.PARTIES)) and not name.endswith(_OPEN)
) | {"payment_payer"}


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

    def __init__(self, rows: int) -> None:
        """Begin without any, for so many consignments."""
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

    def add(self, owner: int, error: ElementError) -> None:
        """Add an error or a warning of a consignment."""
        if error.warns:
            self.count(error.reason, np.array([owner]))
        if not self.is_full(owner, error.warns):
            (self._warnings if error.warns else self._errors).setdefault(owner, []).append(error)

    def mark(
        self,
        level: Level,
        column: str,
        rows: npt.NDArray[np.integer],
        reason: str,
        *,
        warns: bool = False,
        shown: bool = True,
        **facts: object,
    ) -> None:
        """Add the same error for rows of a level, with its value if it may be shown."""
        if not len(rows):
            return
        if warns:
            self.count(reason, level.owners[rows])
        values = level.table.column(column)
        visible = shown and column not in _PERSONAL
        described = self._warnings if warns else self._errors
        for row, owner in zip(rows.tolist(), level.owners[rows].tolist(), strict=True):
            # A path and a value for each of some hundred thousand would take longer than all else.
            if self.is_full(owner, warns):
                continue
            value = values[row] if visible and not isinstance(values, Ragged) else ""
            text = "" if value is None else str(value)
            error = ElementError(reason, level.path(row, column), text, warns, facts)
            described.setdefault(owner, []).append(error)

    def sorted(self) -> dict[int, list[ElementError]]:
        """Return what is described by consignment, errors first."""
        rows = sorted({*self._errors, *self._warnings})
        return {row: [*self._errors.get(row, ()), *self._warnings.get(row, ())] for row in rows}
