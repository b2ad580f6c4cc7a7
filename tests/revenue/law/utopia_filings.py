"""Consignments to Utopia, drawn at random."""

from datetime import date

from hypothesis import strategies as st

from tests.revenue.law.oracle_charges import Consignment, Item

CODES = ["", "61", "6109", "611020", "61102099", "6110209900", "620630", "8517130000", "851713", "960810", "9999"]
PRICES = st.one_of(
    st.integers(0, 40_000),
    st.sampled_from([0, 1, 9_999, 10_000, 13_500, 13_501, 15_000, 15_001, 100_000, 100_001, 10**12, 10**12 + 1, -1]),
    st.integers(0, 10**12),
)


def items(currencies: list[str]) -> st.SearchStrategy[Item]:
    return st.builds(
        Item,
        price=st.one_of(PRICES, PRICES, PRICES, st.none()),
        currency=st.sampled_from(currencies),
        code=st.sampled_from(CODES),
        preference=st.sampled_from(["", "", "", "100", "200", "300", "400", "x"]),
        tax_charged=st.one_of(st.none(), st.integers(0, 2_000)),
        tax_rate_ppm=st.one_of(st.none(), st.sampled_from([0, 100_000, 190_000])),
    )


def consignments(areas: list[str], currencies: list[str], first: date) -> st.SearchStrategy[Consignment]:
    money = st.one_of(st.none(), st.tuples(st.integers(0, 5_000), st.sampled_from(currencies)))
    numbers = ["IM2760000014", "IM1", "", "GB123456789", "12345678901", "1234567", "M12345678X", "DE999"]
    return st.builds(
        Consignment,
        destination=st.sampled_from(areas),
        accepted=st.dates(first, date(2028, 12, 31)),
        items=st.lists(items(currencies), min_size=0, max_size=5),
        exported=st.one_of(st.none(), st.dates(first, date(2027, 12, 31))),
        freight=money,
        insurance=money,
        includes_tax=st.sampled_from([None, False, True]),
        mass_mg=st.one_of(st.none(), st.integers(1, 30_000_000)),
        schemes=st.lists(
            st.tuples(
                st.sampled_from(["ioss", "special_arrangements", "uk_supply_vat", "gst_lvg", "voec", "ovr"]),
                st.sampled_from(numbers),
            ),
            max_size=2,
            unique_by=lambda pair: pair[0],
        ),
    )


UTOPIA = consignments(["XA", "XB"], ["EUR", "USD", "JPY", "KWD"], date(2019, 12, 1))
