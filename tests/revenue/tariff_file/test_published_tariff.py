"""A published tariff loads: every line is read exactly or told with its reason, and what is read is levied as written."""

import random
from datetime import date
from functools import cache
from pathlib import Path

import pytest

from services.revenue.law.batch.units import Measure
from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.source.rates import parse_rate
from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.tariff import read_tariff
from services.revenue.tariff_file.files import Edition, report_text, written
from services.revenue.tariff_file.imported import Imported, UnreadableRate
from services.revenue.tariff_file.plain import UKGT, Columns, read_plain
from services.revenue.tariff_file.printed import rate_of
from tests.revenue.law.batches import assessed
from tests.revenue.law.charge_law import RATES
from tests.revenue.law.oracle import Scalar
from tests.revenue.law.oracle_charges import Consignment, Item

FILE = Path(__file__).parents[4] / "shared/data/tariff/uk_global_tariff_2021.csv"
needs_file = pytest.mark.skipif(not FILE.exists(), reason=f"the published tariff {FILE.name} is not at hand")
BOOK = """\
format: 1
jurisdiction: XZ
name: Harad, an invented country
version: "1"
currency: {currency}
areas: [XE]
period: {{from: 2021-01-01}}
law_date: acceptance
law_date_reference: act
exchange: {{table: eriador, date: acceptance, mode: half_up, unit: 0.01 {currency}, reference: act}}
references:
  act: {{law: Act of Harad, address: "https://law.example/1"}}
customs_value: [{{from: 2021-01-01, base: [goods], reference: act}}]
limits: {{}}
charges:
  - id: duty
    kind: duty
    name: duty
    from: 2021-01-01
    base: [customs_value]
    tariff: published
    rates: [{{from: 2021-01-01, rate: tariff, reference: act}}]
    rounding: [{{from: 2021-01-01, mode: half_up, unit: 0.01 {currency}, reference: act}}]
    collection: [{{from: 2021-01-01, scheme: none, collector: customs, debtor: declarant, reference: act}}]
"""
UNIT_OF = {
    Measure.PIECES: "NAR", Measure.VOLUME: "HLT", Measure.ALCOHOL: "LPA", Measure.LENGTH: "MTR", Measure.AREA: "MTK",
    Measure.DRAINED: "DTNE", Measure.DRY_MATTER: "DTNM", Measure.LACTIC_MATTER: "KGMP",
    Measure.DRY_LACTIC_MATTER: "KGMT", Measure.STANDARD_QUALITY: "DTNR", Measure.SUCROSE: "DTNZ",
    Measure.TOTAL_ALCOHOL: "KGMA", Measure.GROSS_MASS: "KGMG",
}  # fmt: skip
DAY = date(2021, 1, 1)
EDITION = Edition("published", "Published", DAY, "A law", "https://law.example/2", "Gazette", DAY, "OGL v3.0")


@cache
def published(column: str) -> Imported:
    return read_plain(FILE.name, FILE.read_bytes(), Columns(UKGT.code, column))


@needs_file
def test_every_line_of_the_united_kingdoms_rates_is_read() -> None:
    loaded = published("ukgt_duty_rate")
    assert (len(loaded.lines), loaded.compound, loaded.reasons) == (11_830, 1_125, {})
    assert sum(parse_rate(line.rate).method != "percent" for line in loaded.lines) == 1_125
    assert loaded.coded == 11_830


@needs_file
def test_the_unions_rates_are_read_but_for_what_the_file_does_not_hold() -> None:
    loaded = published("cet_duty_rate")
    assert (len(loaded.lines), len(loaded.refused), loaded.coded) == (11_728, 102, 11_830)
    assert loaded.reasons == {
        "agricultural_component": 59,
        "bare_number": 10,
        "entry_price": 29,
        "season_untold": 1,
        "season_wrong": 3,
    }
    refused = next(each for each in loaded.refused if each.code == "08044000")
    assert (refused.line, refused.detail.rpartition(": ")[2]) == (1161, "no season holds on 01-04")
    assert "\n1161,08044000," in report_text(loaded)


@needs_file
@pytest.mark.parametrize(("column", "currency"), [("ukgt_duty_rate", "EUR"), ("cet_duty_rate", "EUR")])
def test_what_is_not_a_plain_percentage_is_levied_as_the_scalar_law_does(column: str, currency: str) -> None:
    loaded = published(column)
    files = written(loaded, EDITION)
    # The pounds of the one table are foreign here, the euros of the other are not.
    program = compile_program(
        [read_rulebook("xz/rulebook.yaml", BOOK.format(currency=currency))],
        [read_tariff("xz/tariff.yaml", files["tariff.yaml"], files.get)],
        ExchangeTables(read_exchange("rates/eriador.yaml", RATES)),
    )
    rng = random.Random(20210101)
    compound = [(line.code, line.rate) for line in loaded.lines if parse_rate(line.rate).method != "percent"]
    batch = [
        Consignment("XE", date(2021, 1, 1 + place % 28), [_item(rng, code, rate)])
        for place, (code, rate) in enumerate(compound)
    ]
    done, scalar = assessed(program, batch), Scalar(program)
    for filed, columns in zip(batch, done, strict=True):
        assert columns == scalar.assess(filed), filed
    assert sum(each.problem == "NONE" for each in done) > len(done) // 2


def _item(rng: random.Random, code: str, rate: str) -> Item:
    """Goods that tell the first measure of their rate beside the net mass."""
    expressions = [leaf.expression for leaf in parse_rate(rate).leaves if leaf.expression]
    terms = [term for one in expressions for each in one.totals if each for term in each.terms]
    unit = next((UNIT_OF[term.measure] for term in terms if term.measure is not Measure.NET_MASS), "")
    second = next((UNIT_OF[t.measure] for t in terms if UNIT_OF.get(t.measure, unit) not in (unit, "")), "KGM")
    return Item(
        rng.randint(0, 200_000), code=code, net_mass_mg=rng.randint(1, 9_000_000),
        supplementary_milli=rng.randint(1, 90_000), supplementary_unit=unit,
        quantity_milli=rng.randint(1, 90_000), unit=second,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("printed", "rate"),
    [
        ("0.0%", "0.0 %"),
        ("10.00% + 77.00 GBP/100kg", "10.00 % + 77.00 GBP per 100 kg"),
        ("1.40 GBP / % vol / hl", "1.40 GBP per % vol per hl"),
        ("52.00 EUR / 1,000 items", "52.00 EUR per 1000 pieces"),
        ("4.50% MIN 0.30 EUR / item MAX 0.80 EUR / item", "4.50 % min 0.30 EUR per piece max 0.80 EUR per piece"),
        (
            "14.00% (01 JUL - 31 JAN), 0.00% (01 FEB - 30 JUN)",
            "14.00 % from 01-07 to 31-01; 0.00 % from 01-02 to 30-06",
        ),
        ("1,024.00 EUR / tonne", "1024.00 EUR per tonne"),
    ],
)
def test_rates_as_printed_are_written_as_law(printed: str, rate: str) -> None:
    assert rate_of(printed) == rate


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        ("9.00% +  EA MAX 18.70%  + ADSZ", "agricultural_component"),
        ("Entry Price", "entry_price"),
        ("7.2 MIN 0.36 EUR/100 kg", "bare_number"),
        ("3.00 EUR / bushel", "unknown_unit"),
        ("8.00% (01 JAN-31 APR), 2.00% (01 MAY-31 DEC)", "season_wrong"),
        ("8.00% (spring), 2.00% (autumn)", "season_untold"),
        ("see note 3", "not_a_rate"),
        ("", "not_a_rate"),
    ],
)
def test_what_cannot_be_read_is_refused_by_reason(printed: str, reason: str) -> None:
    with pytest.raises(UnreadableRate) as refused:
        rate_of(printed)
    assert refused.value.reason == reason
