"""Parameters: an amount that entries use by name stands in each of them with its days and its verification, and mistakes are refused."""

from datetime import date

import pytest

from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.program.value_counts import counts_of
from services.revenue.law.source.overlay import overlay
from services.revenue.law.source.reader import ReadRulebook, read_rulebook
from tests.revenue.law.lawbooks import RATES, reviewed
from tests.revenue.law.refusals import ABSENT, Changes, check

LAW = """\
format: 1
jurisdiction: XX
name: Utopia
version: "1"
currency: EUR
areas: [XA]
period: {from: 2020-01-01}
law_date: acceptance
law_date_reference: act
exchange: {table: utopia, date: acceptance, mode: half_up, unit: 0.01 EUR, reference: act}
references:
  act: {law: Act of Utopia, address: "https://law.example/1"}
  bill: {law: Bill of Utopia, address: "https://law.example/2", verified: false}
parameters:
  low_value:
    - {from: 2024-01-01, value: 150.00 EUR, reference: bill}
    - {from: 2020-01-01, to: 2023-12-31, value: 100.00 EUR, reference: act}
  fee:
    - {from: 2020-01-01, to: 2021-12-31, value: 2.00 EUR, reference: act, verified: false}
    - {from: 2022-01-01, value: 3.00 EUR, reference: act}
  cap:
    - {from: 2020-01-01, to: 2022-12-31, value: 9.00 EUR, reference: act}
    - {from: 2023-01-01, value: 8.00 EUR, reference: act}
  cost:
    - {from: 2020-01-01, value: 20 %, reference: act}
customs_value: [{from: 2020-01-01, base: [goods, freight], reference: act}]
defaults:
  freight: [{from: 2020-01-01, percent: <cost>, of: [goods], reference: act}]
limits:
  low:
    - {from: 2020-01-01, amount: <low_value>, reference: act}
  lower:
    - {from: 2020-01-01, to: 2024-01-01, amount: <low_value>, reference: act}
    - {from: 2024-01-02, amount: none, reference: act}
reliefs:
  gifts:
    - {from: 2020-01-01, amount: <low_value>, only: {nature: [gift]}, reference: act}
charges:
  - id: parcel
    kind: fee
    name: fee on parcels
    from: 2020-01-01
    when: [{limit: low, position: over}, {limit: lower, position: over}]
    relieved_by: [gifts]
    rates: [{from: 2020-01-01, rate: <fee> per piece min <fee> per piece max <cap> per piece, reference: act}]
    rounding: [{from: 2020-01-01, mode: down, unit: 0.01 EUR, reference: act}]
    minimum: [{from: 2020-01-01, amount: <fee>, collected: from, reference: act}]
    collection: [{from: 2020-01-01, scheme: none, collector: customs, debtor: consignee, reference: act}]
  - id: tax
    kind: tax
    name: tax
    from: 2020-01-01
    base: [customs_value]
    rates:
      - {from: 2020-01-01, rate: 10 %, only: {origin: [CN]}, reference: act}
      - {from: 2020-01-01, rate: 20 %, reference: act}
    rounding: [{from: 2020-01-01, mode: down, unit: 0.01 EUR, reference: act}]
    collection: [{from: 2020-01-01, scheme: none, collector: customs, debtor: consignee, reference: act}]
  - id: banded
    kind: fee
    name: fee by the tax
    from: 2020-01-01
    rates: [{from: 2020-01-01, rate: <fee> per item, by_rate_of: tax, bands: [{under: 15 %, rate: <cap> per item}], reference: act}]
    collection: [{from: 2020-01-01, scheme: none, collector: customs, debtor: consignee, reference: act}]
"""
SPARE = {"from": date(2020, 1, 1), "value": "1.00 EUR", "reference": "act"}
FIRST, CHANGED = date(2020, 1, 1), (date(2022, 1, 1), date(2023, 1, 1), date(2024, 1, 1))


def read(text: str = LAW) -> ReadRulebook:
    return read_rulebook("xx/rulebook.yaml", reviewed(text))


def test_an_entry_has_the_values_of_its_parameter_each_on_its_days_within_those_of_the_entry() -> None:
    book = read().rulebook
    shared = [(FIRST, date(2023, 12, 31), "100.00 EUR", True)]
    assert [(each.start, each.to, each.amount, each.verified) for each in book.limits["low"]] == [
        *shared, (date(2024, 1, 1), None, "150.00 EUR", False)
    ], "a value is verified if its reference is as well"  # fmt: skip
    assert [(each.start, each.to, each.amount, each.verified) for each in book.limits["lower"]] == [
        *shared, (date(2024, 1, 1), date(2024, 1, 1), "150.00 EUR", False), (date(2024, 1, 2), None, "none", True)
    ]  # fmt: skip
    assert [(each.start, each.amount) for each in book.reliefs["gifts"]] == [
        (FIRST, "100.00 EUR"),
        (CHANGED[2], "150.00 EUR"),
    ]
    assert [(each.start, each.to, each.percent) for each in book.defaults["freight"]] == [(FIRST, None, "20 %")]


def test_several_parameters_of_one_entry_divide_its_days() -> None:
    charge = read().rulebook.charge("parcel")
    assert [(each.start, each.to, each.rate, each.verified) for each in charge.rates] == [
        (FIRST, date(2021, 12, 31), "2.00 EUR per piece min 2.00 EUR per piece max 9.00 EUR per piece", False),
        (CHANGED[0], date(2022, 12, 31), "3.00 EUR per piece min 3.00 EUR per piece max 9.00 EUR per piece", True),
        (CHANGED[1], None, "3.00 EUR per piece min 3.00 EUR per piece max 8.00 EUR per piece", True),
    ]
    assert [(each.start, each.amount) for each in charge.minimum] == [(FIRST, "2.00 EUR"), (CHANGED[0], "3.00 EUR")]


def test_bands_name_parameters_too() -> None:
    assert {
        (each.start, each.rate, each.condition is not None) for each in read().rulebook.charge("banded").rates
    } == {
        (FIRST, "9.00 EUR per item", True), (CHANGED[0], "9.00 EUR per item", True), (CHANGED[1], "8.00 EUR per item", True),
        (FIRST, "2.00 EUR per item", False), (CHANGED[0], "3.00 EUR per item", False), (CHANGED[1], "3.00 EUR per item", False),
    }  # fmt: skip


def test_values_are_counted_as_they_are_written() -> None:
    # Of parameters 2 + 2 + 2 + 1, one customs value, one default, limits 1 + 2, one relief; of the charges 4, 4 and 2.
    program = compile_program([read()], [], ExchangeTables(read_exchange("rates/utopia.yaml", RATES)))
    counts = counts_of(program, read())
    assert (counts.values, counts.unverified_values) == (23, 2)


def test_one_change_of_a_parameter_changes_all_that_name_it() -> None:
    files = overlay({"xx/rulebook.yaml": LAW}, [("xx/rulebook.yaml: parameters.low_value[0].value", "160.00 EUR")])
    book = read(files["xx/rulebook.yaml"]).rulebook
    assert {entries[1].amount for entries in (book.limits["low"], book.limits["lower"], book.reliefs["gifts"])} == {
        "160.00 EUR"
    }


@pytest.mark.parametrize(
    ("changes", "where", "why"),
    [
        ({"limits.low.0.amount": "<lowvalue>"}, "limits.low[0].amount", "<lowvalue> is not one of the rulebook's parameters (low_value, fee,"),
        ({"parameters.low_value.1.to": date(2023, 12, 30)}, "limits.low[0].amount", "'low_value' has no value on 2023-12-31, a day of this entry"),
        ({"parameters.low_value.1.from": date(2020, 1, 2)}, "reliefs.gifts[0].amount", "parameter 'low_value' has no value on 2020-01-01"),
        ({"parameters.low_value.0.to": date(2030, 12, 31)}, "limits.low[0].amount", "parameter 'low_value' has no value on 2031-01-01"),
        ({"parameters.low_value.0.from": date(2023, 12, 31)}, "parameters.low_value[1]", "overlaps the entry from 2023-12-31"),
        ({"parameters.low_value.0.value": "150 EUR"}, "", ""),
        ({"parameters.low_value.0.value": "150.001 EUR"}, "parameters.low_value[0].value", "amount '150.001 EUR'"),
        ({"parameters.low_value.0.value": "none"}, "parameters.low_value[0].value", "amount 'none' is no amount"),
        ({"parameters.cost.0.value": "101 %"}, "parameters.cost[0].value", "share '101 %' is no share"),
        ({"parameters.cost.0.value": "100 %"}, "", ""),
        ({"parameters.low_value.0.reference": "acts"}, "parameters.low_value[0].reference", "'acts' is not described"),
        ({"parameters.spare": [SPARE]}, "parameters.spare", "is used nowhere; write <spare>"),
        ({"parameters.Spare": [SPARE]}, "parameters.Spare", "is no name of a parameter"),
        ({"parameters.cost": ABSENT}, "defaults.freight[0].percent", "<cost> is not one of the rulebook's parameters (low_value, fee, cap)"),
        ({"charges.banded.rates.0.bands.0.rate": "<tax> per item"}, "charges[banded].rates[0].bands[0].rate", "<tax> is not one of"),
        ({"charges.parcel.rates.0.rate": "<fee> per parcel"}, "charges[parcel].rates[0].rate", "unknown unit 'parcel'"),
        ({"charges.parcel.minimum.0.amount": "<cost>"}, "charges[parcel].minimum[0].amount", "amount '20 %' is no amount"),
        ({"limits.lower.1.amount": "20"}, "limits.lower[1].amount", "amount '20' is no amount"),
    ],
)  # fmt: skip
def test_mistakes_are_refused_where_they_are(changes: Changes, where: str, why: str) -> None:
    check(LAW, changes, where, why)
