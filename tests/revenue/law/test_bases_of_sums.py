"""Bases that the law rounds as a sum: it does not matter into how many lines of goods a consignment is told."""

from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.revenue.law.batches import assessed
from tests.revenue.law.oracle import Scalar
from tests.revenue.law.oracle_charges import Consignment, Item, Result
from tests.revenue.law.published import shipped_law

DAY = date(2026, 8, 3)


def swiss(*prices: int, code: str = "620630") -> Consignment:
    return Consignment("CH", DAY, [Item(price, "CHF", code) for price in prices])


def owed(result: Result, charge: str) -> int:
    assert result.problem == "NONE"
    return sum(line.amount for line in result.charges if line.charge == charge)


def test_the_francs_of_a_consignment_are_rounded_together() -> None:
    two, one = assessed(shipped_law(), [swiss(3_145, 3_145), swiss(6_290)])
    assert owed(two, "CH.vat") == owed(one, "CH.vat") == 510
    assert [sum(line.basis for line in each.charges if line.charge == "CH.vat") for each in (two, one)] == [6_300] * 2


def test_lines_at_another_rate_are_rounded_apart() -> None:
    mixed = Consignment("CH", DAY, [Item(9_040, "CHF", "620630"), Item(30_040, "CHF", "490199")])
    (result,) = assessed(shipped_law(), [mixed])
    assert [line.basis for line in result.charges if line.charge == "CH.vat"] == [9_000, 30_000]


@settings(deadline=None)
@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=5), st.sampled_from(["620630", "490199"]))
def test_splitting_a_line_changes_no_tax(prices: list[int], code: str) -> None:
    law = shipped_law()
    whole, parts = assessed(law, [swiss(sum(prices), code=code), swiss(*prices, code=code)])
    assert owed(whole, "CH.vat") == owed(parts, "CH.vat")
    assert parts == Scalar(law).assess(swiss(*prices, code=code))


@settings(deadline=None)
@given(st.lists(st.integers(1, 90_000), min_size=1, max_size=4), st.booleans())
def test_the_yen_of_a_consignment_are_rounded_together(prices: list[int], personal: bool) -> None:
    law = shipped_law()
    told = {"nature": "sale", "consignee": "natural"} if personal else {}
    filed = Consignment("JP", DAY, [Item(price, "JPY", "620630", origin="CN") for price in prices], **told)
    whole = Consignment("JP", DAY, [Item(sum(prices), "JPY", "620630", origin="CN")], **told)
    one, parts = assessed(law, [whole, filed])
    assert sum(line.amount for line in one.charges) == sum(line.amount for line in parts.charges)
    assert parts == Scalar(law).assess(filed)
