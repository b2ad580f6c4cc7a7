"""The names of history's columns, what they mean, and the columns of one batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from libs.columns import Ints
from services.risk.history.record import KeyKind
from services.risk.history.tables.event_chains import VALUE_MAX as VALUE_MAX
from services.risk.history.tables.hash_table import BoolArray, IntArray
from services.risk.history.tables.time_windows import LEVELS, SPLIT_LEVELS

#: Kinds that split what they buy.
SPLIT_KINDS: Final = (KeyKind.CONSIGNEE, KeyKind.ADDRESS)
ADDRESS_CONSIGNEES: Final = "address_consignees_30d"
_WINDOWS: Final = {"1h": "the last hour", "24h": "the last 24 hours", "30d": "the last 30 days"}
_KINDS: Final = {
    KeyKind.CONSIGNEE: "this consignee",
    KeyKind.ADDRESS: "the consignee's address",
    KeyKind.SELLER: "this seller",
    KeyKind.PLATFORM: "this platform",
    KeyKind.CARRIER: "this carrier",
}


def name(kind: KeyKind, suffix: str) -> str:
    """The name of a column of a kind of key: "consignee_count_1h"."""
    return f"{kind.name.lower()}_{suffix}"


def _described() -> dict[str, dict[str, str]]:
    consignment: dict[str, str] = {}
    for kind, who in _KINDS.items():
        for level in LEVELS:
            window = _WINDOWS[level.name]
            consignment[name(kind, f"count_{level.name}")] = f"Consignments of {who} in {window}, with this one."
            consignment[name(kind, f"value_eur_cents_{level.name}")] = (
                f"Value of the consignments of {who} in {window}, with this one, euro cents; unknown values count 0."
            )
        if kind in SPLIT_KINDS:
            for level in SPLIT_LEVELS:
                window = _WINDOWS[level.name]
                consignment[name(kind, f"low_count_{level.name}")] = (
                    f"Those consignments of {who} in {window} whose value is known and under the threshold, with this one."
                )
                consignment[name(kind, f"low_value_eur_cents_{level.name}")] = (
                    f"Value of those consignments of {who} in {window} that are under the threshold, euro cents."
                )
        consignment[name(kind, "known_days")] = (
            f"Days since {who} was first seen within the last 30 days, 0 to 29; 0 for a new one. Absent until the log is 30 days old."
        )
        consignment[name(kind, "inspected")] = (
            f"Inspections of consignments of {who} in the last 30 days. Absent until the log is 30 days old."
        )
        consignment[name(kind, "hit_permille")] = (
            f"Thousandths of those inspections of {who} that found a violation; absent where there was none."
        )
    consignment[ADDRESS_CONSIGNEES] = (
        "Different consignees at the consignee's address in the last 30 days, with this one."
    )
    return {
        "": consignment,
        "items": {
            "price_permille": "Where the price per kilogram lies among those of the same HS6 and origin, in thousandths from the lowest; "
            "absent where fewer than 30 are known.",
            "price_count": "How many prices of the same HS6 and origin are known.",
        },
    }


#: What each column means, by the path of its table ("" the consignments, "items") and its name. All are whole numbers.
DESCRIBED: Final[Mapping[str, Mapping[str, str]]] = _described()


@dataclass(frozen=True, slots=True)
class HistoryColumns:
    """The columns of one batch: those of consignments and those of items, by name."""

    consignments: Mapping[str, Ints]
    items: Mapping[str, Ints]

    def without(self, rows: BoolArray, owners: IntArray) -> HistoryColumns:
        """Return the columns with nothing of some consignments, shape (n,), and of their items: history counts imports alone."""
        if not rows.any():
            return self
        imports, of_items = ~rows, ~rows[owners]
        return HistoryColumns(
            {name: Ints.of(each.values, each.valid & imports) for name, each in self.consignments.items()},
            {name: Ints.of(each.values, each.valid & of_items) for name, each in self.items.items()},
        )

    def column(self, path: str, name: str) -> Ints | None:
        """A column by the path of its table and its name; None where history has none of that name."""
        return (self.items if path == "items" else self.consignments).get(name) if path in DESCRIBED else None

    def with_items(self, columns: Mapping[str, Ints]) -> HistoryColumns:
        """Return them with further columns of items, which are stored and read with them."""
        return HistoryColumns(self.consignments, {**self.items, **columns})
