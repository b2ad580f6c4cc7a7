"""A charge that cannot be levied as it is written does not load; the error names file, line and rule."""

import pytest

from services.revenue.law.program.program import ProgramError
from services.revenue.law.source.rates import parse_rate
from services.revenue.law.source.yaml_source import LawFileError
from tests.revenue.law.charge_law import ERIADOR, LINES, TARIFF, eriador

BAD = [
    ("rate: 0.37 EUR per kilogram", "rate: 0.37 EUR per bushel", "charges[weight].rates[0].rate", "unknown unit 'bushel'"),
    ("rate: 17 %", "rate: 17 percent", "charges[sugar].rates[1].rate", "is no rate"),
    ("rate: 17 %", "rate: 1 EUR per kg + 1.00 USD per kg", "charges[sugar].rates[1].rate", "one rate has one currency"),
    ("30-04, reference", "29-04, reference", "charges[sugar].rates[0].rate", "no season holds on 30-04"),
    ("to 31-10; 7.25", "to 31-11; 7.25", "charges[sugar].rates[0].rate", "31-11 is no day of the year"),
    ("{from: 2020-01-01, rate: 17 %, reference: act}", "{from: 2020-01-01, rate: 17 %}", "charges[sugar].rates[1]",
     "has no 'reference'"),
    ("rate: 17 %, reference: act", "rate: 17 %, reference: acd", "charges[sugar].rates[1].reference", "'acd' is not described"),
    ("    rounding: [{from: 2020-01-01, mode: up, unit: 0.01 EUR, reference: act}]\n", "", "charges[weight]",
     "has no 'rounding'"),
    ("inside: [sugar, vat]", "inside: [sugar, tea]", "charges[sugar].inside[1]", "'tea' is no charge"),
    ("inside: [sugar, vat]", "inside: [sugar, sugar]", "charges[sugar].inside[1]", "stands twice"),
    ("inside: [sugar, vat]", "inside: [weight]", "charges[sugar].inside[0]", "no percentages"),
    ("rate: 7.7 %", "rate: 83 %", "charges[sugar].inside", "sum to 100 %"),
    ("share: 70 %", "share: 170 %", "charges[sugar].share", "at most '100 %'"),
    ("percent: 12.5 %", "percent: most", "charges[sugar].uplift.percent", "is no share"),
    ("rate: 60 %, less", "rate: 60 % + 1.00 EUR per kg, less", "charges[simple].rates[0].less", "percentages only"),
    ("{mode: [sea]}, rate: 60 %", "{origin: [CN]}, rate: 60 %", "charges[simple].rates[0].less", "asks of items"),
    ("less: 20.00 USD", "less: 20 thousand", "charges[simple].rates[0].less", "is no amount"),
    ("over_only: low", "over_only: dear", "charges[simple].over_only", "more or less than the consignment"),
    ("over_only: low", "over_only: lost", "charges[simple].over_only", "not one of the rulebook's limits"),
    ("[stamp, duty, simple]", "[stamp, late]", "charges[vat].minimum[0].together_with[1]", "no charge before this one"),
    ("{from: 2020-01-01, rate: 17 %, reference: act}", "{from: 2021-01-01, rate: 17 %, reference: act}",
     "charges[sugar].rates", "has a gap: no entry holds for XC on 2020-01-01"),
    ("{from: 2020-01-01, rate: 17 %, reference: act}",
     "{from: 2020-01-01, rate: 17 %, reference: act}\n      - {from: 2022-01-01, rate: 18 %, reference: act}",
     "charges[sugar].rates[2]", "overlaps"),
    ("only: {goods: [\"49\"]}, rate: free, reference: act}\n      - {from: 2020-01-01, rate: 7.7 %, reference: act}",
     "only: {goods: [\"49\"]}, rate: free, reference: act}", "charges[vat].rates", "no rate without 'only'"),
    ("rate: 20 %, reference", "rate: 3.00 EUR per item, reference", "charges[simple].over_only", "percentages and sums"),
    ("    only: {mode: [air, sea]}", "    only: {goods: [\"61\"]}", "charges[stamp].only", "consignment as a whole"),
    ("total_unit: 0.05 EUR", "total_unit: 0.00 EUR", "charges[duty].rounding[0].total_unit", "more than nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("good", "bad", "where", "why"), BAD, ids=range(len(BAD)))
def test_an_unlawful_charge_is_refused(good: str, bad: str, where: str, why: str) -> None:
    assert good in ERIADOR
    law = ERIADOR.replace(good, bad, 1)
    with pytest.raises(LawFileError) as refused:
        eriador(law, as_written=True)
    error = refused.value
    assert error.file == "xy/rulebook.yaml"
    assert error.where == where
    assert why in str(error)
    # The line is that of the rule: no more than the change away from where it stands.
    changed = ERIADOR[: ERIADOR.index(good)].count("\n") + 1
    assert 0 < error.line <= changed + bad.count("\n") + 1


def test_a_base_cannot_hold_what_its_tariff_does_not_give_as_a_percentage() -> None:
    simple = ERIADOR.replace(
        "only: {origin: [CN]}, rate: 9 % + 1.20 USD per kg max 30 %", "only: {origin: [CN]}, rate: 9 %"
    )
    with pytest.raises(ProgramError, match=r"XY\.sugar: its base holds XY\.duty, whose tariff"):
        eriador(simple.replace("inside: [sugar, vat]", "inside: [sugar, duty]"))


@pytest.mark.parametrize(
    ("good", "bad", "why"),
    [
        ("61,11 %,,,", "61a,11 %,,,", "xy/tariff_lines.csv:3: code: '61a' is no prefix"),
        ("61,11 %,,,", "61,11 percent,,,", "xy/tariff_lines.csv:3: 61: rate '11 percent' is no rate"),
        ("61,11 %,,,", "61,11 %,,", "xy/tariff_lines.csv:3: 61: has not 6 values"),
        (
            "61,11 %,,,",
            "61,11 %,2022-01-01,,",
            "xy/tariff_lines.csv:3: 61: its days are in the wrong order, or outside",
        ),
        ("61,11 %,,,", "61,11 %,,,trade", "'trade' is not described"),
        ("61,11 %,,,", "61,11 %,,,,\n61,12 %,,,", "two rates of 61 hold on 2023-01-01"),
        ("61,11 %,,,", "61,3.00 EUR per item,,,", "a tariff holds rates of goods"),
        ("code,rate,from,to,reference", "code,rate,from,to,source", "has the columns"),
    ],
)
def test_a_bad_line_of_a_tariff_is_refused(good: str, bad: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert good in LINES
    monkeypatch.setattr("tests.revenue.law.charge_law.LINES", LINES.replace(good, bad, 1))
    with pytest.raises(LawFileError) as refused:
        eriador()
    assert why in str(refused.value)


def test_a_tariff_names_a_file_beside_it_and_known_origins() -> None:
    with pytest.raises(LawFileError, match=r"'lost\.csv' is no tariff"):
        eriador(tariff=TARIFF.replace("tariff_lines.csv", "lost.csv"))
    with pytest.raises(LawFileError, match="'west' is no country's two letters"):
        eriador(tariff=TARIFF.replace("origins: [south]", "origins: [west]"))


@pytest.mark.parametrize("text", ["", "%", "-3 %", "10001 %", "0.00001 %", "5 % max", "1.00 EUR per 0 kg", "1.00 EUR per",
                                  "1.00 XXY per kg", "5 % from 01-01 to 30-02; 3 % from 01-03 to 31-12", "9" * 301])  # fmt: skip
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate '|is longer"):
        parse_rate(text)
