"""The licences that controls of goods require for the items of consignments, as values and as a column of their states. Pure.

Goods with such controls are rare, so their needs are worked on one by one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table, among, schema_of
from luxor.clearance.v1.clearance_columns_pb2 import LicenceColumns
from services.clearance.consignment.columns import item_numbers
from services.clearance.consignment.state.times import never_released
from services.clearance.consignment.transitions import FINAL


class NeedOutcome(IntEnum):
    """What became of a need; the numbers are those of luxor.clearance.v1.LicenceOutcome, 0 stands for not decided yet."""

    WRITTEN_OFF = 1
    CHECKED = 2
    RESTORED = 3
    NOT_CITED = 4
    UNKNOWN = 5
    NOT_VALID = 6
    OTHER_GOODS = 7
    QUANTITY_UNKNOWN = 8
    USED_UP = 9


Key = tuple[str, str, str]
"""Authority, type and number of a licence."""
MET: Final = (NeedOutcome.WRITTEN_OFF, NeedOutcome.CHECKED, NeedOutcome.RESTORED)
"""Outcomes of needs for which nothing holds the goods."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One need; its fields are those of luxor.clearance.v1.LicenceNeed."""

    item_number: int
    authority: str
    type: str
    jurisdiction: str
    holder: str = ""
    number: str = ""
    quantity_millionths: int | None = None
    unit: str = ""
    outcome: int = 0
    checked_only: bool = False
    restored_on_return: bool = False

    @property
    def key(self) -> Key:
        """The licence."""
        return self.authority, self.type, self.number

    @property
    def place(self) -> tuple[int, str, str]:
        """Item, authority and type: what the need is for, whatever licence meets it."""
        return self.item_number, self.authority, self.type

    @property
    def is_used(self) -> bool:
        """Whether the list of uses has it, not restored."""
        return self.outcome in (NeedOutcome.WRITTEN_OFF, NeedOutcome.CHECKED)

    @property
    def is_met(self) -> bool:
        """Whether nothing holds the goods for it."""
        return self.outcome in MET


_SCHEMA: Final = schema_of(LicenceColumns)
_TEXTS: Final = ("authority", "type", "jurisdiction", "holder", "number", "unit")
_FLAGS: Final = ("checked_only", "restored_on_return")


def has_needs(states: Table) -> bool:
    """Return whether any of the states needs a licence."""
    return states.may_have("licences") and states.child("licences").rows > 0


def needs_of(states: Table) -> list[list[Need]]:
    """Return the needs of each state, by item."""
    if not has_needs(states):
        return [[] for _ in range(states.rows)]
    lists, table = states.ragged("licences"), states.child("licences")
    columns: dict[str, list[Any]] = {name: table.strings(name).tolist() for name in _TEXTS}
    columns |= {name: table.bools(name).values.tolist() for name in _FLAGS}
    columns |= {name: table.ints(name).filled(0).tolist() for name in ("item_number", "outcome")}
    columns["quantity_millionths"] = table.ints("quantity_millionths").tolist()
    found = [Need(**{name: values[row] for name, values in columns.items()}) for row in range(table.rows)]
    return [found[lists.span(row)] for row in range(states.rows)]


def column_of(lists: Sequence[Sequence[Need]]) -> Ragged:
    """Return the column `licences` of states with these needs."""
    flat = [need for each in lists for need in each]
    columns: dict[str, Column] = {name: Strings.of([getattr(each, name) for each in flat]) for name in _TEXTS}
    for name in _FLAGS:
        flags = np.array([getattr(each, name) for each in flat], np.bool_)
        columns[name] = Bools.of(flags, flags)
    columns["item_number"] = Ints.of(np.array([each.item_number for each in flat], np.int64))
    columns["outcome"] = _ints([each.outcome or None for each in flat])
    columns["quantity_millionths"] = _ints([each.quantity_millionths for each in flat])
    return Ragged.of_lengths([len(each) for each in lists], Table(_SCHEMA, len(flat), columns))


def with_needs(states: Table, lists: Sequence[Sequence[Need]]) -> Table:
    """Return states with these needs."""
    return states.with_columns({"licences": column_of(lists)})


def restorable(states: Table) -> list[list[Need]]:
    """Return the needs of each state whose uses end with it: of goods that ended without a release, and of returned items if their law says so."""
    needs = needs_of(states)
    ended = among(states.ints("state").values, list(FINAL)) & never_released(states)
    items = states.ragged("items")
    returned, numbers = states.child("items").bools("returned").values, item_numbers(states).tolist()
    returned_items = [
        {numbers[place] for place in range(*items.span(row).indices(len(numbers))) if returned[place]}
        for row in range(states.rows)
    ]
    return [
        [each for each in own if each.is_used and (over or (each.restored_on_return and each.item_number in back))]
        for own, over, back in zip(needs, ended.tolist(), returned_items, strict=True)
    ]


def unmet(needs: Iterable[Need]) -> list[Need]:
    """Return the needs that hold the goods."""
    return [each for each in needs if not each.is_met]


def _ints(values: Sequence[int | None]) -> Ints:
    return Ints.of(
        np.array([value or 0 for value in values], np.int64),
        np.array([value is not None for value in values], np.bool_),
    )
