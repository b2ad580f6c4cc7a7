"""A law file with several errors is refused with all of them at once, in the words of the format."""

import random

import pytest

from services.revenue.law.program.compiler.law_files import read_law
from services.revenue.law.program.exchange import read_exchange
from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.tariff import read_tariff
from services.revenue.law.source.tariff_lines import read_lines
from services.revenue.law.source.yaml_source import ERRORS_MAX, LawFileError
from tests.revenue.law.lawbooks import RATES, TARIFF, UTOPIA

# Each at another entry of the rulebook, and nothing else refers to what is changed.
MISTAKES = {
    (
        "7.00 USD per consignment",
        "7.00 USD per parcel",
    ): "charges[stamp].rates[0].rate: rate '7.00 USD per parcel': unknown unit 'parcel'",
    ("amount: 100.00 EUR", "amount: 100"): "limits.item_limit[0].amount: 100 is not an amount; write 100.00 EUR",
    ("- {from: 2020-01-01, rate: 7.7 %, reference: act}", "- {from: 2020-01-01, rate: 7.7, reference: act}"): (
        "charges[vat].rates[0].rate: 7.7 is not a rate; write 7.7 %"
    ),
    (
        "mode: up, unit: 0.01 EUR, reference: act}]",
        "mode: up, unit: 0.01 USD, reference: act}]",
    ): "is not in EUR, the rulebook's currency",
    ("[A-Z]'", "[A-Z'"): "schemes.ovr.number: is no regular expression",
    ("rate: 0.33 EUR per item, reference: act", "rate: 0.33 EUR per item, reference: acd"): (
        "charges[piece].rates[0].reference: 'acd' is not described under 'references'"
    ),
    ("    name: stamp", "    nmae: stamp"): "charges[stamp]: 'nmae' is not known here; write 'name'",
    (
        "when: {limit: item_limit, position: over}",
        "when: {limit: itm_limit, position: over}",
    ): "'itm_limit' is not one of the rulebook's limits",
}


def errors_of(text: str) -> list[str]:
    with pytest.raises(LawFileError) as refused:
        read_rulebook("xx/rulebook.yaml", text)
    assert str(refused.value) == "\n".join(str(each) for each in refused.value.errors)
    return [str(each) for each in refused.value.errors]


@pytest.mark.parametrize("seed", range(12))
def test_the_errors_of_a_rulebook_are_reported_together_by_line(seed: int) -> None:
    text, chosen = UTOPIA, random.Random(seed).sample(list(MISTAKES), 2 + seed % 6)
    for good, bad in chosen:
        assert good in text
        text = text.replace(good, bad, 1)
    errors = errors_of(text)
    assert all(sum(MISTAKES[each] in error for error in errors) == 1 for each in chosen), errors
    assert len(errors) == len(chosen), errors
    lines = [int(each.split(":")[1]) for each in errors]
    assert lines == sorted(lines)


def test_values_of_other_types_do_not_hide_errors_of_content_nor_cause_further_ones() -> None:
    text = UTOPIA.replace("7.00 USD per consignment", "7", 1).replace("7.00 USD", "7.00 XYZ")
    assert errors_of(text) == [error for error in errors_of(text) if "charges[stamp]" in error]
    assert "7 is not a rate; write 7 %" in errors_of(text)[0]


def test_a_missing_key_is_reported_with_the_missing_keys_of_other_entries() -> None:
    text = UTOPIA.replace("rate: 0.33 EUR per item, reference: act", "rate: 0.33 EUR per item", 1).replace(
        "currency: EUR\n", "", 1
    )
    assert [each.split(": ", 1)[1] for each in errors_of(text)] == [
        "has no 'currency'; every entry needs it",
        "charges[piece].rates[0]: has no 'reference'; every entry needs it",
    ]


def test_the_errors_of_a_tariff_are_reported_together() -> None:
    text = TARIFF.replace('"611020": 2.5 %', '"6110a": 2.5 %, "6205": 4, "64": 5.00 EUR per item', 1)
    with pytest.raises(LawFileError) as refused:
        read_tariff("xx/tariff.yaml", text)
    assert [each.message.split(";")[0] for each in refused.value.errors] == [
        "4 is not a rate", "'6110a' is no prefix of 2 to 10 digits",
        "'5.00 EUR per item': a tariff holds rates of goods: per cent, or per a unit of quantity as 'kg'",
    ]  # fmt: skip


def test_each_line_of_a_file_of_lines_with_an_error_is_reported() -> None:
    def clauses_of(values: dict[str, str]) -> list[tuple[int, int]]:
        raise ValueError(f"{values['rate']} is not a rate")

    with pytest.raises(LawFileError) as refused:
        read_lines("xx/tariff_lines.csv", "# note\ncode,rate\n61,5\n6a,5\n62,7\n63,5\n", clauses_of)  # type: ignore[arg-type]
    assert [(each.line, each.where, each.message) for each in refused.value.errors] == [
        (3, "61", "5 is not a rate"),
        (4, "code", "'6a' is no prefix of 2 to 10 digits"),
        (4, "6a", "5 is not a rate"),
        (5, "62", "7 is not a rate"),
        (6, "63", "5 is not a rate"),
    ]


def test_each_line_with_too_few_or_too_many_values_is_reported() -> None:
    with pytest.raises(LawFileError) as refused:
        read_lines("xx/tariff_lines.csv", "code,rate\n61\n62,5 %\n63,5 %,x\n", lambda _values: [])
    assert [(each.line, each.where) for each in refused.value.errors] == [(2, "61"), (4, "63")]


def test_the_errors_of_an_exchange_table_are_reported_together() -> None:
    text = RATES.replace('USD: "1.05"', 'USD: "0", USX: "1.05", CHF: 1.02', 1)
    assert text != RATES
    with pytest.raises(LawFileError) as refused:
        read_exchange("rates/utopia.yaml", text)
    assert {each.where for each in refused.value.errors} == {
        f"periods[1].rates.{code}" for code in ("USD", "USX", "CHF")
    }


def test_the_errors_of_several_files_are_reported_together() -> None:
    law = read_law(
        {
            "xx/rulebook.yaml": UTOPIA.replace("amount: 100.00 EUR", "amount: 100", 1),
            "xx/tariff.yaml": TARIFF,
            "xx/notes.txt": "",
        }
    )
    assert [each.file for each in law.errors] == ["xx/rulebook.yaml", "xx/notes.txt"]


def test_at_most_so_many_errors_of_a_file_are_reported() -> None:
    areas = ", ".join(f"x{number}" for number in range(ERRORS_MAX + 50))
    with pytest.raises(LawFileError) as refused:
        read_rulebook("xx/rulebook.yaml", UTOPIA.replace("areas: [XA, XB]", f"areas: [XA, XB, {areas}]", 1))
    assert len(refused.value.errors) == ERRORS_MAX
