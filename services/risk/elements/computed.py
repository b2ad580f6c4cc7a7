"""Computed elements: what conditions ask for often and no filer states, such as the price per kilogram.

Each is computed over whole columns. A value that cannot be computed, since something it needs is absent, is absent.
Amounts are in euro cents by the profile's own rough table of rates (`data.eur_cents_ppm`), which serves comparison
only and never a debt.

The columns of history (services/risk/history) are computed elements too; they are unknown where no history was read. So is what the
model of codes says (services/risk/codes/declared_codes.py), which is stored beside them, because a later model would say something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Final

import numpy as np

from libs.columns import Bools, Ints, Kind, Ragged, Strings, Table
from libs.columns.arrays import BoolArray, IntArray
from libs.customs.time import days_of
from libs.filing_stages.direction import exports
from services.risk.codes import declared_codes
from services.risk.history.columns import DESCRIBED
from services.risk.history.columns import HistoryColumns as HistoryColumns

#: The profile's table that amounts are converted by: currency → millionths of a euro cent for one minor unit.
RATES: Final = "eur_cents_ppm"
#: A rate above this is a mistake; with amounts of at most 10^12 minor units no product leaves int64.
RATE_MAX: Final = 5_000_000
AMOUNT_MAX: Final = 10**12
PPM: Final = 1_000_000
MILLIGRAMS_PER_KILOGRAM: Final = 1_000_000
#: Units in which a quantity counts pieces (UN/ECE recommendation 20: piece, one, each, number of articles; and none
#: told).
PIECES: Final = frozenset({"H87", "C62", "EA", "NAR", "PCE", ""})


class Facts:
    """The computed elements of one batch; each is computed when first asked for."""

    def __init__(self, table: Table, rates: Mapping[str, int]) -> None:
        self.table = table
        self.rates = rates
        #: What history knows of the batch; set once it was read.
        self.history: HistoryColumns | None = None
        self.lines: Ragged = table.ragged("items")
        self.items: Table = table.child("items")

    @cached_property
    def owners(self) -> IntArray:
        """Per item the row of its consignment."""
        return self.lines.owners()

    @cached_property
    def destination(self) -> Strings:
        """Country the goods are bound for: as declared, else that of the consignee's address."""
        declared, address = self.table.strings("destination_country"), self.table.strings("consignee_address_country")
        dictionary = [*declared.dictionary, *address.dictionary]
        indices = np.where(declared.present, declared.indices, address.indices + len(declared.dictionary))
        return Strings(dictionary, indices.astype(np.int32)).translate(str)

    @cached_property
    def exports(self) -> BoolArray:
        """Which consignments are exports, shape (n,); all others are imports."""
        return exports(self.table)

    @cached_property
    def item_numbers(self) -> IntArray:
        """Per item its number: as declared, else its place in the consignment."""
        declared = self.items.ints("number")
        position = np.arange(self.items.rows) - self.lines.offsets[self.owners] + 1
        numbers: IntArray = np.where(declared.valid, declared.values, position)
        return numbers

    @cached_property
    def acceptance_day(self) -> Ints:
        """Day of acceptance, days since 1970-01-01 UTC."""
        accepted = self.table.ints("accepted_at")
        return Ints.of(days_of(accepted.values), accepted.valid)

    @cached_property
    def chapter(self) -> Strings:
        """Chapter of the item's commodity code: its first two digits."""
        return self.items.strings("commodity_code").translate(lambda code: code[:2])

    @cached_property
    def heading(self) -> Strings:
        """Heading of the item's commodity code: its first four digits."""
        return self.items.strings("commodity_code").translate(lambda code: code[:4])

    @cached_property
    def price_eur_cents(self) -> Ints:
        """Price of the whole line in euro cents, rounded down; absent where the profile has no rate."""
        return self._eur_cents(self.items.ints("price_minor"), self.items.strings("price_currency"))

    @cached_property
    def payment_eur_cents(self) -> Ints:
        """What was paid for the order in euro cents, rounded down; absent where the profile has no rate."""
        return self._eur_cents(self.table.ints("payment_amount_minor"), self.table.strings("payment_amount_currency"))

    def _eur_cents(self, amount: Ints, currency: Strings) -> Ints:
        rate = currency.map(lambda code: self.rates.get(code, -1), np.int64)
        known = amount.valid & (rate >= 0) & (amount.values <= AMOUNT_MAX) & (amount.values >= -AMOUNT_MAX)
        return Ints.of(np.where(known, amount.values, 0) * np.where(known, rate, 0) // PPM, known)

    @cached_property
    def mass_mg(self) -> Ints:
        """Net mass of the line, else its gross mass, else that of a consignment whose only line it is; milligrams."""
        net, gross = self.items.ints("net_mass_mg"), self.items.ints("gross_mass_mg")
        whole = self.table.ints("gross_mass_mg").take(self.owners)
        alone = (self.lines.lengths == 1)[self.owners] & whole.valid
        values = np.where(net.valid, net.values, np.where(gross.valid, gross.values, whole.values))
        return Ints.of(values, net.valid | gross.valid | alone)

    @cached_property
    def price_eur_cents_per_kg(self) -> Ints:
        """Price per kilogram in euro cents, rounded down; absent above what 10^12 cents a line can have."""
        price, mass = self.price_eur_cents, self.mass_mg
        known = price.valid & mass.valid & (mass.values > 0) & (np.abs(price.values) <= AMOUNT_MAX)
        return Ints.of(_divided(price.values * MILLIGRAMS_PER_KILOGRAM, mass.values, known), known)

    @cached_property
    def pieces(self) -> Ints:
        """Number of pieces, where the quantity counts pieces; parts of one count as one."""
        quantity = self.items.ints("quantity_milli")
        known = quantity.valid & (quantity.values > 0) & self.items.strings("quantity_unit").isin(PIECES)
        return Ints.of((quantity.values + 999) // 1000, known)

    @cached_property
    def piece_price_eur_cents(self) -> Ints:
        """Price of one piece in euro cents, rounded down."""
        return _ratio(self.price_eur_cents, self.pieces)

    @cached_property
    def piece_mass_mg(self) -> Ints:
        """Mass of one piece, milligrams, rounded down."""
        return _ratio(self.mass_mg, self.pieces)

    @cached_property
    def value_eur_cents(self) -> Ints:
        """Price of all lines together in euro cents; absent where one of them is."""
        price = self.price_eur_cents
        known = self._per_consignment(~price.valid) == 0
        # Lines have at most 5 * 10^12 cents each and a consignment 999 of them.
        return Ints.of(self._per_consignment(price.values), known & (self.lines.lengths > 0))

    @cached_property
    def net_mass_mg(self) -> Ints:
        """Net mass of all lines together, milligrams; absent where one of them is."""
        net = self.items.ints("net_mass_mg")
        known = self._per_consignment(~net.valid) == 0
        return Ints.of(self._per_consignment(net.values), known & (self.lines.lengths > 0))

    @cached_property
    def total_pieces(self) -> Ints:
        """Pieces of all lines together; absent where a line does not count pieces."""
        known = self._per_consignment(~self.pieces.valid) == 0
        return Ints.of(self._per_consignment(self.pieces.values), known & (self.lines.lengths > 0))

    def _per_consignment(self, values: IntArray | BoolArray) -> IntArray:
        running = np.zeros(len(values) + 1, np.int64)
        np.cumsum(values, out=running[1:])
        sums: IntArray = running[self.lines.offsets[1:]] - running[self.lines.offsets[:-1]]
        return sums

    def computed(self, path: str, name: str) -> Strings | Ints | Bools | None:
        """A computed element by the path of its table ("" or "items") and its name; None for an element that filers
        state.
        """
        if name in DESCRIBED.get(path, ()) or (path == "items" and name in declared_codes.DESCRIBED):
            known = None if self.history is None else self.history.column(path, name)
            return Ints.absent(self.items.rows if path == "items" else self.table.rows) if known is None else known
        if name not in ELEMENTS.get(path, ()):
            return None
        column: Strings | Ints | Bools = getattr(self, name)
        return column


def _divided(dividend: IntArray, divisor: IntArray, valid: BoolArray) -> IntArray:
    quotient: IntArray = dividend // np.where(valid, divisor, 1)
    return quotient


def _ratio(whole: Ints, parts: Ints) -> Ints:
    known = whole.valid & parts.valid
    return Ints.of(_divided(whole.values, parts.values, known), known)


#: The computed elements by the path of their table; names are those of Facts, then those of history.
ELEMENTS: Final[Mapping[str, Mapping[str, Kind]]] = {
    "": {
        "destination": Kind.STRINGS,
        "acceptance_day": Kind.INTS,
        "value_eur_cents": Kind.INTS,
        "payment_eur_cents": Kind.INTS,
        "net_mass_mg": Kind.INTS,
        "total_pieces": Kind.INTS,
        **dict.fromkeys(DESCRIBED[""], Kind.INTS),
    },
    "items": {
        "chapter": Kind.STRINGS,
        "heading": Kind.STRINGS,
        "price_eur_cents": Kind.INTS,
        "mass_mg": Kind.INTS,
        "price_eur_cents_per_kg": Kind.INTS,
        "pieces": Kind.INTS,
        "piece_price_eur_cents": Kind.INTS,
        "piece_mass_mg": Kind.INTS,
        **dict.fromkeys(declared_codes.DESCRIBED, Kind.INTS),
        **dict.fromkeys(DESCRIBED["items"], Kind.INTS),
    },
}


def describe() -> dict[str, dict[str, str]]:
    """What each computed element means, by path and name, for people who write rules."""
    described: dict[str, dict[str, str]] = {}
    for path, names in ELEMENTS.items():
        past = {**DESCRIBED[path], **declared_codes.DESCRIBED}
        described[path] = {name: past[name] if name in past else str(getattr(Facts, name).__doc__) for name in names}
    return described
