"""Quantities of goods as filings tell them: units of UN/ECE recommendation 20, reckoned in smallest parts, and their bounds."""

import numpy as np
import pytest

from services.revenue.law.batch.units import FILED_UNITS, MASSES, REPORTED, Measure, Quantities
from tests.revenue.law.batches import filings
from tests.revenue.law.edges import parcel
from tests.revenue.law.oracle_charges import Consignment, Item

# Smallest parts of one unit: milligrams, thousandths of a piece or pair, microlitres, micrometres, thousandths of a square metre.
UNITS = [
    ("GRM", Measure.NET_MASS, 10**3), ("KGM", Measure.NET_MASS, 10**6), ("DTN", Measure.NET_MASS, 10**8), ("TNE", Measure.NET_MASS, 10**9),
    ("H87", Measure.PIECES, 1000), ("C62", Measure.PIECES, 1000), ("EA", Measure.PIECES, 1000), ("PCE", Measure.PIECES, 1000),
    ("NAR", Measure.PIECES, 1000), ("NMB", Measure.PIECES, 1000), ("DZN", Measure.PIECES, 12_000), ("CEN", Measure.PIECES, 100_000),
    ("MIL", Measure.PIECES, 10**6), ("PR", Measure.PAIRS, 1000), ("NPR", Measure.PAIRS, 1000), ("MLT", Measure.VOLUME, 10**3),
    ("CLT", Measure.VOLUME, 10**4), ("LTR", Measure.VOLUME, 10**6), ("HLT", Measure.VOLUME, 10**8), ("MTQ", Measure.VOLUME, 10**9),
    ("LPA", Measure.ALCOHOL, 10**6), ("MMT", Measure.LENGTH, 10**3), ("CMT", Measure.LENGTH, 10**4), ("MTR", Measure.LENGTH, 10**6),
    ("HMT", Measure.LENGTH, 10**8), ("MTK", Measure.AREA, 10**3), ("GRT", Measure.GROSS_MASS, 10**9),
    ("KGMA", Measure.TOTAL_ALCOHOL, 10**6), ("DTNE", Measure.DRAINED, 10**8), ("TNEG", Measure.GROSS_MASS, 10**9),
    ("KGMG", Measure.GROSS_MASS, 10**6),
    ("DTNM", Measure.DRY_MATTER, 10**8), ("KGMP", Measure.LACTIC_MATTER, 10**6), ("DTNR", Measure.STANDARD_QUALITY, 10**8),
    ("KGMT", Measure.DRY_LACTIC_MATTER, 10**6), ("DTNZ", Measure.SUCROSE, 10**6),
]  # fmt: skip


def told(measure: Measure, *items: Item) -> list[tuple[int, bool, bool]]:
    """Parts, whether they are told, and whether the unit was assumed, of each item."""
    batch = [Consignment("XA", parcel("XA", "2023-05-05", 1, "EUR", "").accepted, [item]) for item in items]
    found = Quantities(filings(batch)).measured(measure)
    return list(zip(found.parts.tolist(), found.declared.tolist(), found.assumed.tolist(), strict=True))


@pytest.mark.parametrize(("code", "measure", "parts"), UNITS)
def test_a_unit_is_reckoned_in_smallest_parts(code: str, measure: Measure, parts: int) -> None:
    as_quantity = (
        Item(quantity_milli=2_500, unit=code)
        if len(code) <= 3
        else Item(supplementary_milli=2_500, supplementary_unit=code)
    )
    as_supplementary = Item(supplementary_milli=2_500, supplementary_unit=code)
    assert told(measure, as_quantity, as_supplementary) == [(5 * parts // 2, True, False)] * 2
    for other in Measure:
        if other is not measure:
            assert told(other, as_quantity, as_supplementary) == [(0, False, False)] * 2


def test_every_unit_of_mass_has_its_qualified_forms() -> None:
    assert set(FILED_UNITS) >= {unit + qualifier for unit in ("KGM", "DTN", "TNE") for qualifier in "AEGMPRT"}
    assert {FILED_UNITS["KGM" + each][1] for each in "AEGMPRT"} == {1000}
    assert {FILED_UNITS["DTN" + each][1] for each in "AEGMPRT"} == {100_000}
    assert {FILED_UNITS["TNE" + each][1] for each in "AEGMPRT"} == {1_000_000}


def test_masses_are_reported_in_kilograms() -> None:
    assert sorted(MASSES) == [0, 1, 8, 9, 10, 11, 12, 13, 14]
    assert [REPORTED[measure] for measure in Measure][:8] == [
        "kilogram", "kilogram gross", "piece", "pair", "millilitre", "millilitre of pure alcohol", "millimetre", "square metre",
    ]  # fmt: skip
    assert [int(each) for each in Measure] == list(range(15))


@pytest.mark.parametrize(
    ("measure", "item", "expected"),
    [
        # The mass field, else the supplementary quantity, else the quantity.
        (Measure.NET_MASS, Item(net_mass_mg=7, quantity_milli=1, unit="KGM"), (7, True, False)),
        (Measure.NET_MASS, Item(net_mass_mg=None, supplementary_milli=3, supplementary_unit="GRM", quantity_milli=1, unit="KGM"), (3, True, False)),
        (Measure.NET_MASS, Item(net_mass_mg=0, quantity_milli=1, unit="KGM"), (1000, True, False)),
        (Measure.NET_MASS, Item(net_mass_mg=-1, quantity_milli=1, unit="KGM"), (1000, True, False)),
        (Measure.NET_MASS, Item(net_mass_mg=1), (1, True, False)),
        (Measure.NET_MASS, Item(net_mass_mg=10**14), (10**14, True, False)),
        (Measure.NET_MASS, Item(net_mass_mg=10**14 + 1), (0, False, False)),
        (Measure.NET_MASS, Item(quantity_milli=5, unit=""), (0, False, False)),
        (Measure.GROSS_MASS, Item(net_mass_mg=7), (0, False, False)),
        (Measure.PIECES, Item(supplementary_milli=4, supplementary_unit="NAR", quantity_milli=1, unit="DZN"), (4, True, False)),
        (Measure.PIECES, Item(supplementary_milli=4, supplementary_unit="NPR", quantity_milli=1, unit="DZN"), (12, True, False)),
        (Measure.PAIRS, Item(supplementary_milli=4, supplementary_unit="NPR", quantity_milli=1, unit="DZN"), (4, True, False)),
        # A quantity without a unit is taken for pieces; a supplementary quantity without one is not.
        (Measure.PIECES, Item(quantity_milli=5), (5, True, True)),
        (Measure.PIECES, Item(supplementary_milli=5), (0, False, False)),
        (Measure.PIECES, Item(supplementary_milli=4, supplementary_unit="H87", quantity_milli=5), (4, True, False)),
        (Measure.PAIRS, Item(quantity_milli=5), (0, False, False)),
        (Measure.PIECES, Item(quantity_milli=5, unit="XXX"), (0, False, False)),
        # From one to a million million.
        (Measure.PIECES, Item(quantity_milli=1), (1, True, True)),
        (Measure.PIECES, Item(quantity_milli=0), (0, False, False)),
        (Measure.PIECES, Item(quantity_milli=-1), (0, False, False)),
        (Measure.PIECES, Item(quantity_milli=10**12), (10**12, True, True)),
        (Measure.PIECES, Item(quantity_milli=10**12 + 1), (0, False, False)),
        (Measure.PIECES, Item(quantity_milli=10**12, unit="DZN"), (12 * 10**12, True, False)),
        (Measure.PIECES, Item(quantity_milli=10**12 + 1, unit="DZN"), (0, False, False)),
        (Measure.PIECES, Item(quantity_milli=0, unit="DZN"), (0, False, False)),
        (Measure.PIECES, Item(quantity_milli=None, unit="DZN"), (0, False, False)),
    ],
)  # fmt: skip
def test_what_counts_of_what_an_item_tells(measure: Measure, item: Item, expected: tuple[int, bool, bool]) -> None:
    # Beside an item that tells nothing, and one of pieces.
    assert told(measure, Item(), item, Item(quantity_milli=1, unit="H87"))[:2] == [(0, False, False), expected]


def test_a_measure_is_read_once() -> None:
    quantities = Quantities(filings([parcel("XA", "2023-05-05", 1, "EUR", "")]))
    assert quantities.measured(Measure.AREA) is quantities.measured(Measure.AREA)
    assert quantities.measured(Measure.AREA).parts.dtype == np.int64
