"""A rulebook that cannot be law is refused with its file, its line, its rule and what is wrong."""

import pytest

from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.program.program import ProgramError
from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.tariff import read_tariff
from services.revenue.law.source.yaml_source import LawFileError
from tests.revenue.law.lawbooks import RATES, TARIFF, UTOPIA

MISTAKES = {
    "a gap": (
        "{from: 2022-01-01, base: [goods, freight], reference: act}",
        "{from: 2022-02-01, base: [goods, freight], reference: act}",
        "customs_value: has a gap: no entry holds on 2022-01-01",
    ),
    "an overlap": (
        "{from: 2022-01-01, base: [goods, freight], reference: act}",
        "{from: 2021-12-31, base: [goods, freight], reference: act}",
        "customs_value[1]: overlaps the entry from 2020-01-01: on 2021-12-31 both would apply",
    ),
    "a gap for one area": (
        "- {from: 2020-01-01, rate: 7.7 %, reference: act}",
        "- {from: 2020-01-01, areas: [XA], rate: 7.7 %, reference: act}",
        "charges[vat].rates: has a gap: no entry holds for XB on 2024-01-01",
    ),
    "an overlap of one area": (
        "- {from: 2020-01-01, to: 2023-12-31, areas: [XB], rate: 25.5 %, reference: act}",
        "- {from: 2020-01-01, to: 2023-12-31, areas: [XB], rate: 25.5 %, reference: act}\n"
        "      - {from: 2023-12-31, areas: [XB], rate: 25 %, reference: act}",
        "charges[vat].rates[2]: overlaps the entry from 2020-01-01: on 2023-12-31",
    ),
    "an unknown unit of a rate": (
        "7.00 USD per consignment",
        "7.00 USD per parcel",
        "charges[stamp].rates[0].rate: rate '7.00 USD per parcel': unknown unit 'parcel'",
    ),
    "an unknown currency": ("7.00 USD per", "7.00 XYZ per", "unknown unit 'XYZ'; it is no ISO 4217 code"),
    "an amount of another currency": (
        "unit: 0.10 EUR",
        "unit: 0.10 USD",
        "is not in EUR, the rulebook's currency",
    ),
    "too many decimals": (
        "amount: 100.00 EUR",
        "amount: 100.001 EUR",
        "limits.item_limit[0].amount: amount '100.001 EUR'",
    ),
    "a rate without a reference": (
        "rate: 0.33 EUR per item, reference: act",
        "rate: 0.33 EUR per item",
        "charges[piece].rates[0]: has no 'reference'; every entry needs it",
    ),
    "a reference that is not described": (
        "rate: 0.33 EUR per item, reference: act",
        "rate: 0.33 EUR per item, reference: acd",
        "charges[piece].rates[0].reference: 'acd' is not described under 'references'",
    ),
    "a missing rounding": (
        "    rounding: [{from: 2021-01-01, mode: up, unit: 0.01 EUR, reference: act}]\n",
        "",
        "charges[levy]: has no 'rounding'; a computed amount needs a rule with its reference",
    ),
    "an unknown way of rounding": (
        "mode: up, unit: 0.01 EUR, reference: act}]",
        "mode: sideways, unit: 0.01 EUR, reference: act}]",
        "charges[levy].rounding[0].mode: 'sideways' is not one of down, half_up, half_even, up",
    ),
    "a rounding to nothing": (
        "mode: half_even, unit: 0.01 EUR",
        "mode: half_even, unit: 0.00 EUR",
        "must be more than nothing",
    ),
    "a percentage of nothing": ("    base: [customs_value, insurance, duty, fee]\n", "", "charges[vat]: has no 'base'"),
    "an unknown limit": (
        "when: {limit: item_limit, position: over}",
        "when: {limit: itm_limit, position: over}",
        "charges[duty].when.limit: 'itm_limit' is not one of the rulebook's limits",
    ),
    "an unknown area": (
        "areas: [XB]\n    mass",
        "areas: [XC]\n    mass",
        "charges[levy].areas[0]: 'XC' is not an area",
    ),
    "a country that YAML takes for a no": (
        "areas: [XA, XB]",
        "areas: [XA, NO]",
        "areas[1]: is read as false; write a text in quotation marks, such as 'NO'",
    ),
    "an unknown key": (
        "    name: stamp",
        "    nmae: stamp\n    name: stamp",
        "charges[stamp]: 'nmae' is not known here",
    ),
    "a key that stands twice": (
        "    name: stamp",
        "    name: stamp\n    name: stamp",
        "the key 'name' stands here twice",
    ),
    "no fallback to the border": (
        "- {from: 2020-01-01, scheme: none, collector: customs, debtor: consignee, reference: act}",
        "",
        "charges[vat].collection: has no entry with the scheme 'none'",
    ),
    "a scheme that is not described": ("scheme: ovr\n", "scheme: prc\n", "'prc' is not described under 'schemes'"),
    "a form that is no expression": ("[A-Z]'", "[A-Z'", "schemes.ovr.number: is no regular expression"),
    "an end before the beginning": (
        "{from: 2020-01-01, to: 2021-12-31, base",
        "{from: 2020-01-01, to: 2019-12-31, base",
        "ends on 2019-12-31 before it begins on 2020-01-01",
    ),
    "a day that does not exist": (
        "from: 2022-01-01, base",
        "from: 2022-02-30, base",
        "2022-02-30 is no day of the calendar",
    ),
    "a rate beyond reason": ("rate: 7.7 %", "rate: 70000 %", "are at most 10000"),
    "a charge that stands twice": ("  - id: piece", "  - id: stamp", "the id stands twice"),
    "prices with tax that leave out the goods": (
        "parts: [goods, insurance]",
        "parts: [insurance]",
        "prices_with_tax.parts: leaves out the goods",
    ),
    "prices with tax by a reference that is not described": (
        "parts: [goods, insurance], reference: act",
        "parts: [goods, insurance], reference: acd",
        "prices_with_tax.reference: 'acd' is not described",
    ),
    "an additional procedure that is none": (
        "rate: 0.33 EUR per item, reference: act",
        "only: {additional_procedure: [F1]}, rate: 0.33 EUR per item, reference: act",
        "charges[piece].rates[0].only.additional_procedure[0]: 'F1' is no additional procedure",
    ),
    "a mixture of levels": (
        "- {from: 2020-01-01, areas: [XA], rate: 1.11 EUR per consignment, reference: act}",
        "- {from: 2020-01-01, areas: [XA], rate: 1.11 EUR per item, reference: act}",
        "charges[stamp].rates: mixes rates per consignment with rates per item",
    ),
}


def test_the_rulebook_that_the_mistakes_are_made_in_is_good() -> None:
    read = read_rulebook("xx/rulebook.yaml", UTOPIA)
    assert read.version.startswith("XX/1/")


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_refused_with_file_line_and_rule(name: str) -> None:
    good, bad, message = MISTAKES[name]
    assert UTOPIA.count(good) >= 1, f"{good!r} is not in the rulebook"
    text = UTOPIA.replace(good, bad, 1)
    with pytest.raises(LawFileError) as refused:
        read_rulebook("xx/rulebook.yaml", text)
    told = str(refused.value)
    assert message in told
    assert told.startswith("xx/rulebook.yaml:"), told
    assert refused.value.line > 0


def test_the_line_is_the_one_where_the_mistake_stands() -> None:
    text = UTOPIA.replace("rate: 0.33 EUR per item", "rate: 0.33 EUR per parcel")
    with pytest.raises(LawFileError) as refused:
        read_rulebook("xx/rulebook.yaml", text)
    assert "0.33 EUR per parcel" in text.splitlines()[refused.value.line - 1]


@pytest.mark.parametrize(
    ("good", "bad", "line", "message"),
    [
        ("currency: EUR\n", "curency: EUR\n", "curency", "'curency' is not known here"),
        ("currency: EUR\n", "", "format: 1", "has no 'currency'"),
        ("    rounding:", "    ruonding:", "    ruonding", "'ruonding' is not known here"),
    ],
)
def test_a_slip_in_a_key_is_told_with_its_own_line(good: str, bad: str, line: str, message: str) -> None:
    text = UTOPIA.replace(good, bad, 1)
    assert text != UTOPIA
    with pytest.raises(LawFileError, match=message) as refused:
        read_rulebook("xx/rulebook.yaml", text)
    assert text.splitlines()[refused.value.line - 1].startswith(line)


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ('"611020": 2.5 %', '"6110a": 2.5 %', "'6110a' is no prefix"),
        ("{from: 2021-07-01,", "{from: 2021-08-01,", "a gap or an overlap"),
        ("default: 5 %", "default: 5.00 EUR per item", "a tariff holds rates of goods"),
        ("reference: act, default: 5 %", "reference: acd, default: 5 %", "'acd' is not described"),
    ],
)
def test_a_bad_tariff_is_refused(good: str, bad: str, message: str) -> None:
    assert good in TARIFF
    with pytest.raises(LawFileError, match=message):
        read_tariff("xx/tariff.yaml", TARIFF.replace(good, bad, 1))


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ('USD: "1.05"', 'USD: "0"', "a rate is more than nothing"),
        ('USD: "1.05"', 'USX: "1.05"', "'USX' no ISO 4217 code"),
        ('USD: "1.05"', "USD: 1.05", "is a number and not a text; write it in quotation marks"),
        ('USD: "1.05"', 'USD: "1.0512345678912"', "too many digits"),
        ("{from: 2022-03-01,", "{from: 2021-12-31,", "overlaps the period before it"),
        ("to: 2026-12-31, ", "", "rates are never open-ended"),
        ("2026-12-31, reference: act", "2026-12-31, reference: acd", "'acd' is not described"),
    ],
)
def test_a_bad_table_of_exchange_rates_is_refused(good: str, bad: str, message: str) -> None:
    assert good in RATES
    with pytest.raises(LawFileError, match=message):
        read_exchange("rates/utopia.yaml", RATES.replace(good, bad, 1))


def test_files_that_do_not_fit_together_are_refused() -> None:
    book, tariff = read_rulebook("xx/rulebook.yaml", UTOPIA), read_tariff("xx/tariff.yaml", TARIFF)
    exchange = ExchangeTables(read_exchange("rates/utopia.yaml", RATES))
    with pytest.raises(ProgramError, match="tariff 'xx' is not there"):
        compile_program([book], [], exchange)
    with pytest.raises(ProgramError, match="area XA belongs to another rulebook too"):
        compile_program([book, book], [tariff], exchange)
    with pytest.raises(ProgramError, match="exchange table 'utopia' is not there"):
        compile_program(
            [book], [tariff], ExchangeTables(read_exchange("r", RATES.replace("table: utopia", "table: other")))
        )


WHOLE = "{from: 2021-01-01, kinds: [duty], parts: [{to: destination, share: 25 %}, {to: XX}], reference: act}"


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ("", "", ""),
        ("reference: act", "reference: acd", "beneficiaries[0].reference: 'acd' is not described"),
        ("kinds: [duty]", "kinds: []", "beneficiaries[0].kinds: names nothing"),
        ("kinds: [duty]", "kinds: [customs]", "beneficiaries[0].kinds"),
        ("[{to: destination, share: 25 %}, {to: XX}]", "[]", "beneficiaries[0].parts: names nothing"),
        ("{to: XX}", "{to: X}", "beneficiaries[0].parts[1].to: is neither 'destination' nor a code"),
        ("{to: XX}", "{to: ABCDEFGHIJ}", ""),
        ("{to: XX}", "{to: ABCDEFGHIJK}", "beneficiaries[0].parts[1].to: is neither 'destination' nor a code"),
        ("{to: XX}", "{to: destination}", "beneficiaries[0].parts[1].to: 'destination' stands twice"),
        ("{to: XX}", "{to: XX, share: 75 %}", "beneficiaries[0].parts[1].share: the last part is the rest"),
        (", share: 25 %", "", "beneficiaries[0].parts[0].share: the last part is the rest, and no other is"),
        ("25 %", "0 %", "beneficiaries[0].parts[0].share: share '0 %' is no share"),
        ("25 %", "99.9999 %", ""),
        ("25 %", "100 %", "beneficiaries[0].parts: leaves nothing to the last part"),
        ("from: 2021-01-01", "from: 2021-01-01, to: 2020-12-31", "beneficiaries[0]"),
        (WHOLE, WHOLE + "\n  - {from: 2022-01-01, kinds: [tax, duty], parts: [{to: XX}], reference: act}", "overlaps the entry from 2021-01-01"),
        (WHOLE, WHOLE + "\n  - {from: 2022-01-01, kinds: [tax], parts: [{to: XX}], reference: act}", ""),
        (
            WHOLE.replace("2021-01-01", "2021-01-01, to: 2021-12-31"),
            WHOLE + "\n  - {from: 2022-01-01, kinds: [duty], parts: [{to: XX}], reference: act}",
            "",
        ),
    ],
)  # fmt: skip
def test_whose_revenue_it_is_is_refused_by_each_clause_alone(good: str, bad: str, message: str) -> None:
    entry = (
        WHOLE.replace(good, bad)
        if good in WHOLE
        else bad.replace("from: 2021-01-01,", "from: 2021-01-01, to: 2021-12-31,", 1)
    )
    text = UTOPIA.replace("\ncharges:\n", f"\nbeneficiaries:\n  - {entry}\ncharges:\n", 1)
    if not message:
        assert read_rulebook("xx/rulebook.yaml", text).rulebook.beneficiaries
        return
    with pytest.raises(LawFileError) as refused:
        read_rulebook("xx/rulebook.yaml", text)
    assert message in str(refused.value)
