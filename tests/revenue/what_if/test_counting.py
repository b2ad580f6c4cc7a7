"""What a draft changes is counted by columns as it is by hand, however the period is cut."""

from datetime import date
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.columns import Table
from luxor.revenue.v1.revenue_pb2 import AssessmentColumns
from services.revenue.law.assess.assessment import assess
from services.revenue.law.batch.filings import Filings
from services.revenue.law.program.compiler.drafts import Draft, apply_draft
from services.revenue.law.program.program import Program
from services.revenue.law.text.assessment_columns import answer_of
from services.revenue.what_if.bands import Bands, BandsMalformed
from services.revenue.what_if.behaviour import ElasticityMalformed, elasticity_of, quantities
from services.revenue.what_if.counting import count_part, exact_totals
from services.revenue.what_if.progress import LARGEST, Progress, SumTooLarge
from services.revenue.what_if.result import result_of
from tests.revenue.law.batches import filings
from tests.revenue.law.lawbooks import RATES, TARIFF, UTOPIA, utopia
from tests.revenue.law.oracle import Scalar
from tests.revenue.law.oracle_charges import Consignment
from tests.revenue.law.utopia_filings import UTOPIA as FILED
from tests.revenue.what_if.scalar_what_if import Count, by_item

LAW = {"xx/rulebook.yaml": UTOPIA, "xx/tariff.yaml": TARIFF, "rates/utopia.yaml": RATES}
BANDS = Bands.parse("22 150 1000")
BOOK = "xx/rulebook.yaml:"
DRAFTS = {
    "flat duty of 5 EUR": [(f"{BOOK}charges[flat].rates[0].rate", "5.00 EUR per tariff_line")],
    "no stamp, from EUR for all": [(f"{BOOK}charges[stamp].rates[0].rate", "0.50 EUR per consignment")],
    "limit of 10 EUR": [(f"{BOOK}limits.item_limit[0].amount", "10.00 EUR")],
    "another kind": [(f"{BOOK}charges[piece].kind", "duty")],
    "the carrier collects": [(f"{BOOK}charges[vat].collection[2].collector", "carrier")],
    "another debtor": [(f"{BOOK}charges[vat].collection[2].debtor", "carrier")],
    "duty is halved, tax raised": [("xx/tariff.yaml:versions[1].rates.61", "5 %"), (f"{BOOK}charges[vat].rates[0].rate", "9.1 %")],
    "law ends": [(f"{BOOK}period.to", "2024-12-31")],
    "nothing": [],
}  # fmt: skip


@cache
def draft(name: str) -> Program:
    return apply_draft(LAW, Draft(changes=DRAFTS[name])).program


@cache
def law() -> Program:
    return utopia()


def answers_of(program: Program, filed: Filings) -> Table:
    """The answers as they would be stored."""
    table = filed.table
    told = answer_of(assess(program, filed), table.strings("declarant_identifier"), table.strings("filer"))
    return Table.parse(AssessmentColumns, told.serialize(AssessmentColumns))


def counted(
    batch: list[Consignment], name: str, kept: list[bool] | None = None, state: Progress | None = None
) -> Progress:
    state = state or Progress(0, 0)
    filed = filings(batch)
    rows = np.array(kept if kept is not None else [True] * len(batch), np.bool_)
    count_part(state, assess(draft(name), filed), answers_of(law(), filed), rows, BANDS)
    return state


def by_hand(batch: list[Consignment], name: str, before: str = "nothing") -> Count:
    count = Count()
    then, now = Scalar(draft(before)), Scalar(draft(name))
    kinds: list[dict[str, str]] = [
        {f"XX.{charge.id}": charge.kind for charge in program.books[0].rulebook.charges}
        for program in (draft(before), draft(name))
    ]
    filed = filings(batch)
    goods = assess(law(), filed).goods
    for row, each in enumerate(batch):
        worth = goods[filed.offsets[row] : filed.offsets[row + 1]].tolist()
        results = then.assess(each), now.assess(each)
        if kinds[0] != kinds[1]:
            for result, own in zip(results, kinds, strict=True):
                for charge in result.charges:
                    charge.charge = own[charge.charge]
            names = {kind: kind for kind in ("duty", "tax", "fee")}
        else:
            names = kinds[0]
        count.add(each, *results, worth, names, ("XX", "EUR"), [22, 150, 1000])
    return count


def same(state: Progress, count: Count) -> None:
    told = result_of(state, BANDS)
    for name in (
        "consignments",
        "items",
        "consignments_changed",
        "items_changed",
        "unassessed_by_draft",
        "unassessed_before",
    ):
        assert getattr(told, name) == getattr(count, name), name
    revenue = {
        (each.jurisdiction, each.kind, each.collector, each.currency): [
            each.before_minor,
            each.after_minor,
            each.unassessed_minor,
        ]
        for each in told.revenue
    }
    assert revenue == dict(count.revenue)
    groups = {
        (each.by, each.key, each.currency): [each.items, each.winners, each.losers, each.before_minor, each.after_minor]
        for each in told.groups
    }
    assert groups == dict(count.groups)


@pytest.mark.parametrize("name", DRAFTS)
@given(batch=st.lists(FILED, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_columns_count_what_is_counted_by_hand(name: str, batch: list[Consignment]) -> None:
    same(counted(batch, name), by_hand(batch, name))


@pytest.mark.parametrize("name", ["flat duty of 5 EUR", "limit of 10 EUR"])
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_it_does_not_matter_how_the_period_is_cut_or_interrupted(name: str, data: st.DataObject) -> None:
    batch = data.draw(st.lists(FILED, min_size=2, max_size=8))
    cut = data.draw(st.integers(1, len(batch) - 1))
    kept = Progress.from_bytes(counted(batch[:cut], name).to_bytes())
    parts = counted(batch[cut:], name, state=kept)
    assert result_of(parts, BANDS).SerializeToString() == result_of(counted(batch, name), BANDS).SerializeToString()


@given(batch=st.lists(st.tuples(FILED, st.booleans()), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_does_not_count_changes_nothing(batch: list[tuple[Consignment, bool]]) -> None:
    filed, kept = [each for each, _ in batch], [there for _, there in batch]
    only = [each for each, there in batch if there]
    found = counted(filed, "flat duty of 5 EUR", kept)
    assert result_of(found, BANDS) == (
        result_of(counted(only, "flat duty of 5 EUR"), BANDS) if only else result_of(Progress(0, 0), BANDS)
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [("flat duty of 5 EUR", "limit of 10 EUR"), ("law ends", "another kind"), ("another debtor", "law ends")],
)
@given(batch=st.lists(FILED, min_size=1, max_size=8))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_two_drafts_are_compared_as_by_hand(one: str, other: str, batch: list[Consignment]) -> None:
    state, filed = Progress(0, 0), filings(batch)
    first, second = assess(draft(one), filed), assess(draft(other), filed)
    # The stored answers, by the law of then, say nothing in this result.
    count_part(state, second, answers_of(law(), filed), np.ones(len(batch), np.bool_), BANDS, first)
    same(state, by_hand(batch, other, one))


ELASTICITIES: list[tuple[str, str, str]] = [("hs_chapter", "61", "-1.5"), ("origin", "CN", "-0.37"), ("", "", "-2")]


def in_millionths(amount: Fraction) -> int:
    """Round half to even, as Python does with fractions."""
    return round(amount * 1_000_000)


@pytest.mark.parametrize("name", ["flat duty of 5 EUR", "limit of 10 EUR", "no stamp, from EUR for all", "law ends"])
@pytest.mark.parametrize("stated", [ELASTICITIES, ELASTICITIES[:2]])
@given(batch=st.lists(FILED, min_size=1, max_size=6))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_quantities_follow_prices_by_the_first_elasticity_that_applies(
    name: str, stated: list[tuple[str, str, str]], batch: list[Consignment]
) -> None:
    state, filed = Progress(0, 0), filings(batch)
    now = assess(draft(name), filed)
    elasticities = [elasticity_of(*each) for each in stated]
    count_part(state, now, answers_of(law(), filed), np.ones(len(batch), np.bool_), BANDS, None, elasticities)
    same(state, by_hand(batch, name))  # what is computed without behaviour stays
    revenue: dict[int, int] = {}
    by_origin: dict[str, list[int]] = {}
    scalars = Scalar(law()), Scalar(draft(name))
    for row, each in enumerate(batch):
        then, after = (scalar.assess(each) for scalar in scalars)
        worth = now.goods[filed.offsets[row] : filed.offsets[row + 1]].tolist()
        quantity = [1_000_000] * len(each.items)
        both = then.problem == after.problem == "NONE"
        if both:
            paid = [[sum(parts) for parts in zip(*by_item(result, worth), strict=True)] for result in (then, after)]
            for at, item in enumerate(each.items):
                applies = (
                    Fraction(number) for by, key, number in stated
                    if not by or key == (item.origin if by == "origin" else item.code[:2])
                )  # fmt: skip
                price = worth[at] + paid[0][at]
                if price:
                    change = next(applies, Fraction(0)) * Fraction(paid[1][at] - paid[0][at], price)
                    quantity[at] = max(0, 1_000_000 + in_millionths(change))
        weights = [value if sum(worth) else 1 for value in worth]
        whole = (
            round(Fraction(sum(w * q for w, q in zip(weights, quantity, strict=True)), sum(weights)))
            if weights
            else 1_000_000
        )
        owed = [
            round(Fraction(charge.amount * (whole if charge.item is None else quantity[charge.item]), 1_000_000))
            for charge in after.charges
        ]
        for charge, amount in zip(after.charges, owed, strict=True):
            kind = ["", "duty", "tax", "fee"].index(
                {f"XX.{c.id}": c.kind for c in law().books[0].rulebook.charges}[charge.charge]
            )
            revenue[kind] = revenue.get(kind, 0) + amount
        if both:
            for at, item in enumerate(each.items):
                sums = by_origin.setdefault(item.origin, [0, 0])
                sums[0] += quantity[at]
    result = result_of(state, BANDS)
    found: dict[int, int] = {}
    for line in result.revenue:
        found[line.kind] = found.get(line.kind, 0) + line.after_with_behaviour_minor
    assert {kind: minor for kind, minor in found.items() if minor} == {
        kind: minor for kind, minor in revenue.items() if minor
    }
    assert {each.key: each.quantity_ppm for each in result.groups if each.by == "origin"} == {
        key: sums[0] for key, sums in by_origin.items()
    }
    for by in ("hs_chapter", "value_band"):
        assert sum(each.quantity_ppm for each in result.groups if each.by == by) == sum(
            sums[0] for sums in by_origin.values()
        )
        assert sum(each.after_with_behaviour_minor for each in result.groups if each.by == by) == sum(
            each.after_with_behaviour_minor for each in result.groups if each.by == "origin"
        )


def test_an_elasticity_by_hand() -> None:
    # Goods of 100.00 with charges of 20.00, then of 26.00: the price rises by 5 %. By -1.2 the quantity falls by 6 %.
    numbers = (np.array([each], np.int64) for each in (1_200_000, 10_000, 2_000, 2_600))
    assert quantities(*numbers).tolist() == [940_000]
    # The price falls by 5 %: 6 % more are bought. A price that doubles and more leaves nothing at -1, never less. No price: as before.
    cases = [(1_200_000, 10_000, 2_000, 1_400, 1_060_000), (1_000_000, 10_000, 0, 10_000, 0), (1_000_000, 10_000, 0, 10_001, 0),
             (1_000_000, 10_000, 0, 9_999, 100), (1_000_000, 0, 0, 500, 1_000_000), (10_000_000, 1, 0, 10**15, 0)]  # fmt: skip
    columns = [np.array(column, np.int64) for column in zip(*cases, strict=True)]
    assert quantities(*columns[:4]).tolist() == columns[4].tolist()


@pytest.mark.parametrize(("by", "key", "text"), [
    ("", "", "0"), ("", "", "-10"), ("origin", "CN", "-0.0001"), ("hs_chapter", "61", "-9.9999"),
])  # fmt: skip
def test_elasticities_within_the_bounds_are_read_exactly(by: str, key: str, text: str) -> None:
    assert elasticity_of(by, key, text) == (by, key, int(-Fraction(text) * 1_000_000))


@pytest.mark.parametrize(("by", "key", "text"), [
    ("", "", "0.0001"), ("", "", "-10.0001"), ("", "", "-1.00001"), ("", "", "-1e0"), ("", "", ""), ("", "", "nan"), ("", "", "-٣"),
    ("origin", "cn", "-1"), ("origin", "CHN", "-1"), ("hs_chapter", "6", "-1"), ("hs_chapter", "610", "-1"), ("platform", "x", "-1"),
    ("", "CN", "-1"),
])  # fmt: skip
def test_other_elasticities_are_refused(by: str, key: str, text: str) -> None:
    with pytest.raises(ElasticityMalformed, match="write"):
        elasticity_of(by, key, text)


@given(batch=st.lists(FILED, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_draft_that_changes_nothing_touches_nothing_and_before_is_after(batch: list[Consignment]) -> None:
    told = result_of(counted(batch, "nothing"), BANDS)
    assert (told.consignments_changed, told.items_changed, told.unassessed_by_draft, told.unassessed_before) == (
        0,
        0,
        0,
        0,
    )
    assert all(each.before_minor == each.after_minor for each in told.revenue)
    assert not any(each.winners or each.losers for each in told.groups)


@given(batch=st.lists(FILED, min_size=1, max_size=8), name=st.sampled_from(sorted(DRAFTS)))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_before_is_the_sum_of_the_answers(batch: list[Consignment], name: str) -> None:
    told = result_of(counted(batch, name), BANDS)
    answers = answers_of(law(), filings(batch))
    for kind, column in ((1, "duty"), (2, "tax"), (3, "fee")):
        assert sum(each.before_minor for each in told.revenue if each.kind == kind) == int(
            answers.ints(column).values.sum()
        )


def test_items_with_numbers_of_their_own_are_found_by_them() -> None:
    one = filings([next_filed()])
    numbers = np.array([7, 3, 7], np.int64)
    other = Filings(**{name: getattr(one, name) for name in Filings.__slots__} | {"item_number": numbers})
    states = []
    for filed in (one, other):
        state = Progress(0, 0)
        count_part(
            state, assess(draft("flat duty of 5 EUR"), filed), answers_of(law(), filed), np.ones(1, np.bool_), BANDS
        )
        states.append(state)
    assert states[0].consignments_touched == states[1].consignments_touched == 1
    # The first and the third item cannot be told apart: what they owe together counts for the first.
    assert (states[0].items_touched, states[1].items_touched) == (3, 2)
    assert states[0].revenue == states[1].revenue


def next_filed() -> Consignment:
    from tests.revenue.law.oracle_charges import Item

    items = [Item(price=1_000, code=code) for code in ("61091000", "62063000", "85171300")]
    return Consignment("XA", date(2024, 5, 5), items)


def test_sums_are_exact_beyond_floats_and_beyond_64_bits() -> None:
    groups = np.repeat(np.array([2, 0], np.int64), [5_000, 3])
    amounts = np.concatenate([np.full(5_000, 10**16 - 1, np.int64), np.array([1, 2**53, 0], np.int64)])
    assert exact_totals(groups, amounts, 4) == {0: 2**53 + 1, 2: 5_000 * (10**16 - 1)}


def test_a_sum_that_would_overflow_is_refused_and_never_wrapped() -> None:
    state = Progress(0, 0)
    state.add_revenue(("XX", 1, 1, "EUR"), 0, LARGEST)
    with pytest.raises(SumTooLarge, match="XX 1 1 EUR"):
        state.add_revenue(("XX", 1, 1, "EUR"), 0, 1)


def test_bands_take_their_upper_end_in_and_are_named_by_the_currency() -> None:
    bands = Bands.parse("22 150; JPY 1000 10000")
    assert bands.find("EUR", np.array([0, 2_200, 2_201, 15_000, 15_001], np.int64)).tolist() == [0, 0, 1, 1, 2]
    assert bands.find("JPY", np.array([1_000, 1_001, 10_001], np.int64)).tolist() == [0, 1, 2]
    assert [bands.name("EUR", band) for band in range(3)] == ["0-22 EUR", "22-150 EUR", "over 150 EUR"]


@pytest.mark.parametrize("text", ["", "22 x", "150 22", "22; 45", "JPY 100", "22; XXQ 5", "0 5", "22; JPY 5; JPY 6"])
def test_bands_that_tell_nothing_sensible_are_refused(text: str) -> None:
    with pytest.raises(BandsMalformed):
        Bands.parse(text)
