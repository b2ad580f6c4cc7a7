"""Charges of every form come out of the columns as out of the scalar law, whole and in parts, and never wrap."""

from datetime import date
from functools import cache

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.revenue.law.assess.assessment import assess
from services.revenue.law.program.program import Program
from tests.revenue.law.batches import assessed, filings
from tests.revenue.law.charge_law import eriador
from tests.revenue.law.oracle import Scalar
from tests.revenue.law.oracle_charges import LARGEST, Consignment, Item

CODES = [
    "",
    "61",
    "611020",
    "0805100000",
    "080510",
    "2203001000",
    "2203",
    "240220",
    "3303",
    "4901",
    "8517",
    "9004",
    "900300",
    "9999",
]
MONEY = st.one_of(
    st.integers(0, 40_000),
    st.sampled_from([0, 1, 7_999, 8_000, 8_001, 15_000, 15_001, 300_001]),
    st.integers(0, 10**12),
)
UNITS = ["", "H87", "DZN", "NPR", "LTR", "LPA", "KGM", "XXX"]
AMOUNTS = st.one_of(st.none(), st.integers(1, 50_000), st.integers(1, 10**12))
ITEMS = st.builds(
    Item,
    price=MONEY,
    currency=st.sampled_from(["EUR", "EUR", "USD", "JPY", "IDR"]),
    code=st.sampled_from(CODES),
    preference=st.sampled_from(["", "", "100", "200", "210", "300", "P", "PA"]),
    origin=st.sampled_from(["", "CN", "KE", "NO", "CH", "US"]),
    gift=st.sampled_from([None, None, True]),
    net_mass_mg=st.one_of(st.none(), st.integers(1, 5_000_000), st.integers(1, 10**14)),
    quantity_milli=AMOUNTS,
    unit=st.sampled_from(UNITS),
    supplementary_milli=AMOUNTS,
    supplementary_unit=st.sampled_from(UNITS),
)
FILED = st.builds(
    Consignment,
    destination=st.sampled_from(["XC", "XD"]),
    accepted=st.dates(date(2020, 1, 1), date(2025, 12, 31)),
    items=st.lists(ITEMS, min_size=1, max_size=4),
    freight=st.one_of(st.none(), st.tuples(st.integers(0, 5_000), st.sampled_from(["EUR", "USD"]))),
    nature=st.sampled_from(["", "sale", "gift"]),
    mode=st.sampled_from(["", "air", "sea", "post"]),
    service=st.sampled_from(["", "post", "express"]),
)
RELAXED = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def law() -> Program:
    return eriador()


@given(batch=st.lists(FILED, min_size=1, max_size=6))
@RELAXED
def test_charges_of_every_form_equal_the_scalar_law(batch: list[Consignment]) -> None:
    scalar = Scalar(law())
    for filed, columns in zip(batch, assessed(law(), batch), strict=True):
        alone = scalar.assess(filed)
        # With two faults the order of the work decides which is told.
        assert (columns.problem == "NONE") == (alone.problem == "NONE"), (filed, columns, alone)
        if alone.problem == "NONE":
            assert columns == alone, filed


@given(batch=st.lists(FILED, min_size=2, max_size=6), data=st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_batch_in_parts_gives_what_the_whole_gives(batch: list[Consignment], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(batch) - 1))
    assert assessed(law(), batch) == assessed(law(), batch[:cut]) + assessed(law(), batch[cut:])


@given(batch=st.lists(FILED, min_size=1, max_size=6))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_charges_sum_to_the_totals_and_none_is_negative(batch: list[Consignment]) -> None:
    done = assess(law(), filings(batch))
    sums = [int(done.lines.amount[done.offsets[row] : done.offsets[row + 1]].sum()) for row in range(len(batch))]
    assert sums == done.total.tolist()
    assert (done.lines.amount >= 0).all()
    assert (done.lines.amount <= LARGEST).all()
