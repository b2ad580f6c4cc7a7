"""Units of quantity: what rates are per, in which units items tell it, and how one is reckoned in the other exactly."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from services.revenue.law.batch.arithmetic import Flags, Int64
from services.revenue.law.batch.filings import Filings


class Measure(IntEnum):
    """What can be measured of an item; quantities are whole numbers of its smallest part."""

    NET_MASS = 0
    GROSS_MASS = 1
    PIECES = 2
    PAIRS = 3
    VOLUME = 4
    ALCOHOL = 5
    LENGTH = 6
    AREA = 7
    DRAINED = 8
    DRY_MATTER = 9
    LACTIC_MATTER = 10
    DRY_LACTIC_MATTER = 11
    STANDARD_QUALITY = 12
    SUCROSE = 13
    TOTAL_ALCOHOL = 14


REPORTED: dict[Measure, str] = {
    Measure.NET_MASS: "kilogram",
    Measure.GROSS_MASS: "kilogram gross",
    Measure.PIECES: "piece",
    Measure.PAIRS: "pair",
    Measure.VOLUME: "millilitre",
    Measure.ALCOHOL: "millilitre of pure alcohol",
    Measure.LENGTH: "millimetre",
    Measure.AREA: "square metre",
    Measure.DRAINED: "kilogram drained",
    Measure.DRY_MATTER: "kilogram of dry matter",
    Measure.LACTIC_MATTER: "kilogram of lactic matter",
    Measure.DRY_LACTIC_MATTER: "kilogram of dry lactic matter",
    Measure.STANDARD_QUALITY: "kilogram of standard quality",
    Measure.SUCROSE: "kilogram of sucrose",
    Measure.TOTAL_ALCOHOL: "kilogram of total alcohol",
}
"""Unit in which a quantity is told: thousandths of it, for masses milligrams."""

MASSES = frozenset(measure for measure, unit in REPORTED.items() if unit.startswith("kilogram"))

_KG, _LITRE = 1_000_000, 1_000_000
# Milligrams, thousandths of a piece or pair, microlitres, micrometres, thousandths of a square metre.
LAW_UNITS: dict[str, tuple[Measure, int]] = {
    "kg": (Measure.NET_MASS, _KG),
    "kilogram": (Measure.NET_MASS, _KG),
    "tonne": (Measure.NET_MASS, 1000 * _KG),
    "kg gross": (Measure.GROSS_MASS, _KG),
    "piece": (Measure.PIECES, 1000),
    "pieces": (Measure.PIECES, 1000),
    "items": (Measure.PIECES, 1000),
    "pair": (Measure.PAIRS, 1000),
    "pairs": (Measure.PAIRS, 1000),
    "litre": (Measure.VOLUME, _LITRE),
    "hl": (Measure.VOLUME, 100 * _LITRE),
    "m3": (Measure.VOLUME, 1000 * _LITRE),
    # One per cent by volume of one hectolitre is one litre of pure alcohol.
    "% vol per hl": (Measure.ALCOHOL, _LITRE),
    "litre of pure alcohol": (Measure.ALCOHOL, _LITRE),
    "m": (Measure.LENGTH, 1_000_000),
    "m2": (Measure.AREA, 1000),
    "kg drained": (Measure.DRAINED, _KG),
    "kg dry matter": (Measure.DRY_MATTER, _KG),
    "kg lactic matter": (Measure.LACTIC_MATTER, _KG),
    "kg dry lactic matter": (Measure.DRY_LACTIC_MATTER, _KG),
    "kg standard quality": (Measure.STANDARD_QUALITY, _KG),
    # One per cent of sucrose of 100 kg is one kilogram of sucrose.
    "% sucrose per 100 kg": (Measure.SUCROSE, _KG),
    "kg total alcohol": (Measure.TOTAL_ALCOHOL, _KG),
}
"""Units as rates name them: what is measured, and how many smallest parts one has."""

_MG_OF = {"GRM": 1, "KGM": 1000, "DTN": 100_000, "TNE": 1_000_000}
FILED_UNITS: dict[str, tuple[Measure, int]] = {
    **{code: (Measure.NET_MASS, parts) for code, parts in _MG_OF.items()},
    **dict.fromkeys(("H87", "C62", "EA", "PCE", "NAR", "NMB"), (Measure.PIECES, 1)),
    "DZN": (Measure.PIECES, 12),
    "CEN": (Measure.PIECES, 100),
    "MIL": (Measure.PIECES, 1000),
    "PR": (Measure.PAIRS, 1),
    "NPR": (Measure.PAIRS, 1),
    "MLT": (Measure.VOLUME, 1),
    "CLT": (Measure.VOLUME, 10),
    "LTR": (Measure.VOLUME, 1000),
    "HLT": (Measure.VOLUME, 100_000),
    "MTQ": (Measure.VOLUME, 1_000_000),
    "LPA": (Measure.ALCOHOL, 1000),
    "MMT": (Measure.LENGTH, 1),
    "CMT": (Measure.LENGTH, 10),
    "MTR": (Measure.LENGTH, 1000),
    "HMT": (Measure.LENGTH, 100_000),
    "MTK": (Measure.AREA, 1),
    "GRT": (Measure.GROSS_MASS, 1_000_000),
}
"""Units as items tell them (UN/ECE recommendation 20, supplementary units of tariffs): smallest parts of a thousandth."""
for _qualifier, _measure in (
    ("A", Measure.TOTAL_ALCOHOL),
    ("E", Measure.DRAINED),
    ("G", Measure.GROSS_MASS),
    ("M", Measure.DRY_MATTER),
    ("P", Measure.LACTIC_MATTER),
    ("R", Measure.STANDARD_QUALITY),
    ("T", Measure.DRY_LACTIC_MATTER),
):
    # The tariff's unit with its qualifier behind it, as in DTNE: 100 kg of net drained mass.
    for _code in ("KGM", "DTN", "TNE"):
        FILED_UNITS[_code + _qualifier] = (_measure, _MG_OF[_code])
FILED_UNITS["DTNZ"] = (Measure.SUCROSE, 1000)

_QUANTITY_MAX, _MASS_MAX = 10**12, 10**14


@dataclass(frozen=True, slots=True)
class Measured:
    """One measure of each item of a batch."""

    parts: Int64
    """Smallest parts; 0 where it is not told."""
    declared: Flags
    assumed: Flags
    """A quantity without a unit was taken for pieces."""


class Quantities:
    """What the items of one batch tell of their quantities; each measure is read when first needed."""

    def __init__(self, filings: Filings) -> None:
        """Take the batch."""
        self._filings = filings
        self._measured: dict[Measure, Measured] = {}

    def measured(self, measure: Measure) -> Measured:
        """Return a measure of every item: the mass field, else the supplementary quantity, else the quantity."""
        known = self._measured.get(measure)
        if known is None:
            known = self._measured[measure] = self._read(measure)
        return known

    def _read(self, measure: Measure) -> Measured:
        goods = self._filings.goods
        parts = np.zeros(self._filings.items, dtype=np.int64)
        told = np.zeros(self._filings.items, dtype=np.bool_)
        assumed = told.copy()
        if measure in (Measure.NET_MASS, Measure.GROSS_MASS):
            mass = goods.ints("net_mass_mg" if measure is Measure.NET_MASS else "gross_mass_mg")
            told = mass.valid & (mass.values > 0) & (mass.values <= _MASS_MAX)
            parts = np.where(told, mass.values, 0)
        factors = {code: factor for code, (of, factor) in FILED_UNITS.items() if of is measure}
        for quantity, unit in (
            ("supplementary_quantity_milli", "supplementary_unit"),
            ("quantity_milli", "quantity_unit"),
        ):
            column, units = goods.ints(quantity), goods.strings(unit)
            factor = units.map(lambda code: factors.get(code, 0), np.int64)
            if measure is Measure.PIECES and quantity == "quantity_milli":
                nameless = ~units.present
                assumed = nameless & ~told & column.valid & (column.values > 0) & (column.values <= _QUANTITY_MAX)
                factor = np.where(nameless, 1, factor)
            new = ~told & (factor > 0) & column.valid & (column.values > 0) & (column.values <= _QUANTITY_MAX)
            parts = np.where(new, column.values * factor, parts)
            told = told | new
        return Measured(parts, told, assumed)
