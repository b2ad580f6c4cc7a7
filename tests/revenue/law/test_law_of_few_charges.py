"""Laws of one charge or two: each feature stands alone, at the first place of its list, and decides what is owed."""

from datetime import date
from itertools import combinations
from string import ascii_uppercase

import pytest

from services.revenue.law.batch.arithmetic import LARGEST
from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.program.program import Program
from services.revenue.law.source.reader import read_rulebook
from tests.revenue.law.batches import assessed
from tests.revenue.law.lawbooks import UTOPIA_HEAD
from tests.revenue.law.oracle import Scalar
from tests.revenue.law.oracle_charges import Consignment, Item
from tests.revenue.law.refusals import Changes, changed

DAY = date(2022, 5, 5)
LAW = (
    UTOPIA_HEAD
    + """\
references: {act: {law: Act, address: "https://law.example"}}
customs_value: [{from: 2020-01-01, base: [goods], reference: act}]
limits: {}
schemes: {}
charges:
  - id: tax
    kind: tax
    name: tax
    from: 2020-01-01
    base: [goods]
    rates: [{from: 2020-01-01, rate: 10 %, reference: act}]
    rounding: [{from: 2020-01-01, mode: half_up, unit: 0.01 EUR, reference: act}]
    collection: [{from: 2020-01-01, scheme: none, collector: customs, debtor: declarant, reference: act}]
"""
)
DUTY = """\
  - id: duty
    kind: duty
    name: duty
    from: 2020-01-01
    base: [goods]
    rates: [{from: 2020-01-01, rate: 100 %, reference: act}]
    rounding: [{from: 2020-01-01, mode: down, unit: 0.01 EUR, reference: act}]
    collection: [{from: 2020-01-01, scheme: none, collector: customs, debtor: declarant, reference: act}]
"""
# The Australian dollar is the first currency of the only table. A cent of a US dollar is ten euros.
RATES = """\
format: 1
table: utopia
name: Rates of Utopia
currency: EUR
references: {act: {law: Act, address: "https://law.example"}}
periods:
  - {from: 2020-01-01, to: 2026-12-31, reference: act, rates: {AUD: "1.6", USD: "0.001"}}
"""


def rate(text: str, **more: object) -> dict[str, object]:
    return {"from": date(2020, 1, 1), "rate": text, "reference": "act"} | more


def law(*laws: Changes, text: str = LAW) -> Program:
    """Compile the law with some values changed; each law after the first is that of a country of its own, XB and so on."""
    books = []
    for changes, letter in zip(laws, ascii_uppercase, strict=False):
        written = changed(text, {"jurisdiction": f"X{letter}", "areas": [f"X{letter}"]} | changes)
        books.append(read_rulebook(f"x{letter.lower()}/rulebook.yaml", written))
    return compile_program(books, [], ExchangeTables(read_exchange("rates/utopia.yaml", RATES)))


def parcel(*items: Item, **more: object) -> Consignment:
    return Consignment("XA", DAY, list(items), **more)  # type: ignore[arg-type]


def owed(changes: Changes, *items: Item, **more: object) -> list[int]:
    """Assess a consignment alone, by columns and by the scalar law; give its amounts."""
    program, filed = law(changes), parcel(*items, **more)
    (result,) = assessed(program, [filed])
    assert result == Scalar(program).assess(filed)
    assert result.problem == "NONE"
    return [line.amount for line in result.charges]


FEATURES: list[tuple[Changes, list[int]]] = [
    ({}, [1_000]),
    # Its base holds the tax itself, the first charge of the law: 100.00 / (1 - 20 %) * 20 %.
    ({"charges.tax.inside": ["tax"], "charges.tax.rates.0.rate": "20 %"}, [2_500]),
    # A share of one part in two, of two in five, and the whole of it.
    ({"charges.tax.share": "50 %"}, [500]),
    ({"charges.tax.share": "40 %"}, [400]),
    ({"charges.tax.share": "100 %"}, [1_000]),
    # An uplift of goods, the first of the components: 10 % of 100.00 + 50 %, and + 100 %.
    ({"charges.tax.uplift": {"percent": "50 %", "of": ["goods"], "reference": "act"}}, [1_500]),
    ({"charges.tax.uplift": {"percent": "100 %", "of": ["goods"], "reference": "act"}}, [2_000]),
    ({"charges.tax.uplift": {"percent": "50 %", "of": ["goods"], "reference": "act"}, "charges.tax.inside": ["tax"],
        "charges.tax.rates.0.rate": "20 %"}, [3_750]),
    # One cent is taken off.
    ({"charges.tax.rates.0.less": "0.01 EUR"}, [999]),
    # Sums of 10.00 and bases of 100.00, rounded to the unit of two cents and to another.
    ({"charges.tax.rounding.0.total_unit": "0.02 EUR"}, [1_000]),
    ({"charges.tax.rounding.0.total_unit": "0.03 EUR"}, [999]),
    ({"charges.tax.rounding.0.base_unit": "0.30 EUR"}, [999]),
    ({"charges.tax.rounding.0.base_unit": "0.30 EUR", "charges.tax.rounding.0.base_of": "sum"}, [999]),
    # In a sum of several parts a foreign currency is converted exactly: 1.00 AUD is 0.625 EUR, 3 of them 1.875.
    ({"charges.tax.rates.0.rate": "1 % + 1.00 AUD per piece"}, [288]),
    # Alone it is converted and rounded first.
    ({"charges.tax.rates.0.rate": "1.00 AUD per item"}, [63]),
    ({"charges.tax.rates.0.rate": "1.00 AUD per consignment", "charges.tax.minimum": [
        {"from": date(2020, 1, 1), "amount": "1.00 AUD", "collected": "from", "reference": "act"}]}, [63]),
    # A base of two cents' multiples, 100.01 rounded half up; one that is a fraction, 133.3333, and is not rounded.
    ({"charges.tax.uplift": {"percent": "0.01 %", "of": ["goods"], "reference": "act"}, "charges.tax.rates.0.rate": "100 %",
        "charges.tax.rounding.0.base_unit": "0.02 EUR"}, [10_002]),
    ({"charges.tax.uplift": {"percent": "33.3333 %", "of": ["goods"], "reference": "act"}, "charges.tax.rates.0.rate": "1000 %"}, [133_333]),
    # The net mass alone is rounded up, by 500 g, and not the number of pieces; without that rule not by a milligram.
    ({"charges.tax.mass": "net", "charges.tax.mass_unit_grams": 500, "charges.tax.rates.0.rate": "0.50 EUR per kg + 0.10 EUR per piece"},
        [80]),
    ({"charges.tax.rates.0.rate": "99999.99 EUR per kg"}, [7_000_009]),
    # A minimum of one cent is kept by what is more.
    ({"charges.tax.minimum": [{"from": date(2020, 1, 1), "amount": "0.01 EUR", "collected": "above", "reference": "act"}]}, [1_000]),
    ({"charges.tax.rates.0.rate": "0.01 EUR per item", "charges.tax.minimum": [
        {"from": date(2020, 1, 1), "amount": "0.01 EUR", "collected": "above", "reference": "act"}]}, [0]),
    ({"charges.tax.rates.0.rate": "0.01 EUR per item", "charges.tax.minimum": [
        {"from": date(2020, 1, 1), "amount": "0.01 EUR", "collected": "from", "reference": "act"}]}, [1]),
    ({"charges.tax.rates.0.rate": "0.01 EUR per item", "charges.tax.minimum": [
        {"from": date(2020, 1, 1), "amount": "0.02 EUR", "collected": "from", "reference": "act"}]}, [0]),
]  # fmt: skip
GOODS = Item(10_000, code="61", quantity_milli=3_000, unit="H87", net_mass_mg=700_001)


@pytest.mark.parametrize(("changes", "amounts"), FEATURES)
def test_a_feature_that_stands_alone_in_the_law_decides_what_is_owed(changes: Changes, amounts: list[int]) -> None:
    assert owed(changes, GOODS) == amounts


def test_features_of_several_countries_in_one_batch_decide_nothing_of_one_another() -> None:
    program = law(*(changes for changes, _ in FEATURES))
    filed = [Consignment(area, DAY, [GOODS]) for area in program.areas]
    amounts = [amount for _, amount in FEATURES]
    whole = assessed(program, filed)
    assert [[line.amount for line in each.charges] for each in whole] == amounts
    for one, other in combinations(range(len(filed)), 2):
        assert assessed(program, [filed[one], filed[other]]) == [whole[one], whole[other]]


def test_each_rate_is_taken_by_the_goods_that_it_names() -> None:
    rates = [rate(f"{place} %", only={"goods": [head]}) for place, head in enumerate(("61", "62", "63"), start=1)]
    changes = {"charges.tax.rates": [*rates, rate("10 %")]}
    for code, amount in (("6101", 100), ("6201", 200), ("6301", 300), ("6401", 1_000)):
        assert owed(changes, Item(10_000, code=code)) == [amount]
    assert owed(changes, *(Item(10_000, code=code) for code in ("63", "64", "61", "62"))) == [300, 1_000, 100, 200]


def test_a_preference_that_begins_with_0_excepts_goods_as_any_other() -> None:
    changes = {"charges.tax.unless": {"preference": ["0"], "without_scheme": "none", "reference": "act"}}
    assert owed(changes, Item(10_000), Item(5_000, preference="000"), Item(3_000, preference="100")) == [1_000, 300]


def test_reliefs_with_and_without_excluded_goods_are_told_apart_in_one_batch() -> None:
    relief = {"from": date(2020, 1, 1), "amount": "45.00 EUR", "reference": "act"}
    entries = [
        relief | {"only": {"nature": ["gift"]}, "excluded": ["24"]},
        relief | {"only": {"nature": ["sample"]}},
        relief | {"only": {"nature": ["return"]}, "excluded": ["22"]},
    ]
    program = law({"reliefs": {"small": entries}, "charges.tax.relieved_by": ["small"]})
    goods = [Item(1_000, code="24"), Item(1_000, code="22"), Item(1_000, code="61")]
    batch = [parcel(*goods, nature=nature) for nature in ("gift", "sample", "return", "sale")]
    charged = [[line.item for line in each.charges] for each in assessed(program, batch)]
    assert charged == [[0], [], [1], [0, 1, 2]]
    assert assessed(program, batch) == [Scalar(program).assess(each) for each in batch]


PATHS: list[Changes] = [
    {},
    {"charges.tax.rounding.0.total_unit": "0.02 EUR"},
    {"charges.tax.rates.0.less": "0.02 EUR"},
    {"charges.tax.share": "50 %", "charges.tax.rates.0.rate": "400 %"},
    {"charges.tax.rounding.0.base_unit": "0.01 EUR", "charges.tax.rounding.0.base_of": "sum"},
    {"charges.tax.rates.0.rate": "200 % min 0.01 EUR per piece"},
]


@pytest.mark.parametrize("path", PATHS)
def test_a_charge_of_the_largest_amount_is_levied_and_one_of_more_refused(path: Changes) -> None:
    program = law({"charges.tax.rates.0.rate": "200 %"} | path)
    quarter = Item(LARGEST // 4_000, "USD", quantity_milli=1_000, unit="H87")
    cent = Item(1, "EUR", quantity_milli=1_000, unit="H87")
    whole, more = parcel(quarter, quarter), parcel(quarter, quarter, cent)
    done = assessed(program, [whole, more, whole])
    assert [each.problem for each in done] == ["NONE", "AMOUNT_OUT_OF_BOUNDS", "NONE"]
    assert sum(line.amount for line in done[0].charges) == LARGEST - (2 if "charges.tax.rates.0.less" in path else 0)
    assert done[0] == done[2] == Scalar(program).assess(whole)
    assert Scalar(program).assess(more).problem == "AMOUNT_OUT_OF_BOUNDS"


@pytest.mark.parametrize("amount", ["10000000000.00 USD", "10000000000000.00 EUR"])
@pytest.mark.parametrize(("collected", "waived"), [("above", True), ("from", False)])
def test_a_minimum_of_the_largest_amount_is_tested_on_charges_of_that_amount(
    amount: str, collected: str, waived: bool
) -> None:
    minimum = {"from": date(2020, 1, 1), "amount": amount, "collected": collected, "reference": "act"}
    program = law({"charges.tax.rates.0.rate": "100 %", "charges.tax.minimum": [minimum]})
    whole, less = parcel(Item(LARGEST // 1_000, "USD")), parcel(Item(LARGEST // 1_000 - 1, "USD"), Item(999))
    done = assessed(program, [whole, less])
    assert [[line.waived for line in each.charges] for each in done] == [[waived], [True, True]]
    assert done == [Scalar(program).assess(each) for each in (whole, less)]


BASES: list[Changes] = [
    {},
    {"charges.tax.rates.0.rate": "10 % + 0.01 EUR per piece"},
    {"charges.tax.rates.0.rate": "10 % min 0.01 EUR per piece"},
    {"charges.tax.share": "50 %"},
    {"charges.tax.uplift": {"percent": "1 %", "of": ["freight"], "reference": "act"}},
    {"charges.tax.inside": ["tax"], "charges.tax.rates.0.rate": "free"},
    {"charges.tax.rounding.0.base_unit": "0.01 EUR"},
    {"charges.tax.rounding.0.base_unit": "0.01 EUR", "charges.tax.rounding.0.base_of": "sum"},
    {"charges.tax.rounding.0.total_unit": "0.01 EUR"},
]


@pytest.mark.parametrize("form", BASES)
def test_a_base_of_the_largest_amount_is_charged_and_one_of_more_refused(form: Changes) -> None:
    # Goods and as much duty are the base.
    program = law({"charges.tax.base": ["goods", "duty"]} | form, text=LAW.replace("charges:\n", f"charges:\n{DUTY}"))
    half, dear = (Item(LARGEST // 2_000 + more, "USD", quantity_milli=1_000, unit="H87") for more in (0, 1))
    batch = [parcel(half), parcel(dear), parcel(Item(1, quantity_milli=1_000, unit="H87"), dear), parcel(half)]
    done = assessed(program, batch)
    assert [each.problem for each in done] == ["NONE", "AMOUNT_OUT_OF_BOUNDS", "AMOUNT_OUT_OF_BOUNDS", "NONE"]
    assert [line.basis for line in done[0].charges] == [LARGEST // 2, LARGEST]
    assert [each.problem for each in map(Scalar(program).assess, batch)] == [each.problem for each in done]
    assert done[0] == done[3] == Scalar(program).assess(batch[0])
