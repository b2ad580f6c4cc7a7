"""Random law: rulebooks whose limits, conditions, reliefs and schemes are drawn, and consignments that meet them."""

from datetime import date
from typing import Any

import yaml
from hypothesis import strategies as st

from libs.customs.identifiers import mrn
from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.program.program import Program
from services.revenue.law.source.reader import read_rulebook
from tests.revenue.law.lawbooks import RATES, reviewed
from tests.revenue.law.oracle_charges import Consignment, Item

YEARLY = """\
format: 1
table: yearly
name: Yearly rates for tests of limits
currency: EUR
references:
  act: {law: Act of Utopia, article: yearly rates, address: "https://law.example/4", verified: false}
periods:
  - {from: 2021-01-01, to: 2022-12-31, reference: act, rates: {USD: "1.25", JPY: "140"}}
  - {from: 2023-01-01, to: 2023-12-31, reference: act, rates: {USD: "1.1"}}
"""
EXCHANGE = ExchangeTables([*read_exchange("rates/utopia.yaml", RATES), *read_exchange("rates/yearly.yaml", YEARLY)])
FIRST, LAST = date(2020, 1, 1), date(2025, 12, 31)
CODES = ["", "2203", "22042100", "240220", "33030010", "610910", "6109100010", "8517130000", "950300"]
HEADS = [["22"], ["2203", "24", "3303"], ["6109100010"], ["85", "95"]]
TESTS = ["consignment", "item", "order", "person_year", "person_day", "recipient_day", "importer_craft"]
REGISTER = {
    "ioss": {
        "IM2760000014": (date(2021, 7, 1), date(2023, 6, 30)),
        "IM2500000017": (date(2020, 1, 1), date(9999, 12, 31)),
    },
    "gst_lvg": {},
}
NUMBERS = {
    "ioss": ["IM2760000014", "IM2500000017-EU123456789", "IM3720000019", "IM9990000019", "IM27600000", ""],
    "gst_lvg": ["12345678901", "1234", ""],
    "voec": ["1234567", "12345", ""],
}
ON_ROWS: list[dict[str, Any]] = [
    {"dispatch": ["US", "CN"]},
    {"dispatch": ["GB"], "mode": ["air", "post"]},
    {"mode": ["sea"]},
    {"service": ["post"]},
    {"declarant_role": ["deemed_importer"]},
    {"declarant_role": ["importer", "carrier"], "mode": ["air"]},
    {"service": ["express", "cargo"], "consignor": "legal"},
    {"nature": ["gift"], "consignor": "natural"},
    {"nature": ["sale", "return"]},
    {"consignee": "natural"},
    {"region": ["ON", "QC"]},
    {"scheme": ["voec"]},
    {"scheme": ["ioss", "none"]},
    {"scheme": ["none"]},
    {"articles": "one"},
    {"articles": "several", "mode": ["air", "post"]},
]
ON_ITEMS: list[dict[str, Any]] = [
    {"nature": ["gift"], "consignor": "natural"},
    {"nature": ["gift", "sample"]},
    {"origin": ["CN", "US"], "service": ["post"]},
    {"origin_except": ["DE"]},
    {"goods": ["61", "2204"]},
    {"goods_except": ["61"], "preference": ["2", "30"]},
    {"additional_procedure": ["F15", "C08"], "nature": ["gift", "sale"]},
]
FIRST_MRNS = [
    "",
    "22XA1234567890123A",  # with a wrong check digit
    *(
        f"{head}{mrn.check_digit(head)}"
        for head in (
            "20XA123456789012A", "22XBABC456789012B", "19USABC456789012A", "22XA123456789012R", "20US000600000000R",
            "22CN633650000000S", "21US640010000000R", "23USABCDEFGHIJKLR", "24GB123660000000R", "22US123456789012T",
        )
    ),
]  # fmt: skip
"""Exports, arrivals with a day, with a year, and others, from countries of the law and from abroad."""
ON_RETURNS: list[dict[str, Any]] = [{}, {}, {"origin": ["CN", "US"]}, {"additional_procedure": ["F15"]}]
DATES = ["acceptance", "sale", "export", "direct_shipment"]


def _pick(draw: st.DrawFn, pool: list[Any], most: int) -> list[Any]:
    return [pool[at] for at in draw(st.lists(st.integers(0, len(pool) - 1), max_size=most, unique=True))]


def _amount(draw: st.DrawFn) -> str:
    currency, text = draw(
        st.sampled_from([("EUR", ".00"), ("EUR", ".25"), ("USD", ".00"), ("JPY", ""), ("KWD", ".125")])
    )
    return f"{draw(st.integers(0, 300))}{text} {currency}"


def _reference(draw: st.DrawFn) -> str:
    return draw(st.sampled_from(["act", "act", "act", "doubt"]))


def _limit(draw: st.DrawFn, start: date, to: date | None, only: dict[str, Any] | None) -> dict[str, Any]:
    none = draw(st.integers(0, 7)) == 0
    entry: dict[str, Any] = {"from": start, "amount": "none" if none else _amount(draw), "reference": _reference(draw)}
    entry |= {"to": to} if to else {}
    entry |= {"only": only} if only else {}
    entry["test"] = draw(st.sampled_from(TESTS))
    entry["at_the_limit"] = draw(st.sampled_from(["within", "over"]))
    entry["measure"] = draw(
        st.sampled_from([["goods"], ["goods", "freight"], ["customs_value"], ["customs_value", "insurance"]])
    )
    if draw(st.booleans()):
        entry["excluded"] = draw(st.sampled_from(HEADS))
    if draw(st.integers(0, 3)) == 0:
        entry["exchange_table"] = "yearly"
    return entry


def _limits(draw: st.DrawFn) -> list[dict[str, Any]]:
    days = st.dates(FIRST, LAST)
    entries = []
    for only in _pick(draw, ON_ROWS, 3):
        start, to = sorted([draw(days), draw(days)])
        entries.append(_limit(draw, start, draw(st.sampled_from([None, to])), only))
    if draw(st.booleans()):
        cut = draw(st.dates(date(2020, 1, 2), date(2024, 12, 31)))
        entries.append(_limit(draw, FIRST, date.fromordinal(cut.toordinal() - 1), None))
        return [*entries, _limit(draw, cut, None, None)]
    return [*entries, _limit(draw, FIRST, None, None)]


def _reliefs(draw: st.DrawFn) -> list[dict[str, Any]]:
    entries = []
    for only in _pick(draw, ON_ITEMS, 3) or [ON_ITEMS[0]]:
        entry: dict[str, Any] = {"from": draw(st.dates(FIRST, date(2022, 12, 31))), "only": only}
        entry["reference"] = _reference(draw)
        entry["amount"] = f"{draw(st.integers(1, 200))}.50 {draw(st.sampled_from(['EUR', 'EUR', 'USD']))}"
        entry["measure"] = draw(st.sampled_from([["goods"], ["goods", "freight"]]))
        if draw(st.booleans()):
            entry["excluded"] = draw(st.sampled_from(HEADS))
        entries.append(entry)
    return entries


def _defaults(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what stands in for costs that are not declared, in about half of the rulebooks."""
    drawn: dict[str, Any] = {}
    for name, parts in (("freight", [["goods"]]), ("insurance", [["goods"], ["goods", "freight"], ["freight"]])):
        entries = []
        for only in [*_pick(draw, ON_ROWS, 2), *draw(st.sampled_from([[], [None]]))]:
            entry: dict[str, Any] = {"from": draw(st.dates(FIRST, date(2022, 12, 31))), "reference": _reference(draw)}
            entry |= {
                "percent": draw(st.sampled_from(["20 %", "1.125 %", "100 %"])),
                "of": draw(st.sampled_from(parts)),
            }
            entries.append(entry | ({"only": only} if only else {}))
        drawn |= {name: entries} if entries and draw(st.booleans()) else {}
    return drawn


def _returned(draw: st.DrawFn) -> list[dict[str, Any]]:
    entries = []
    for only in _pick(draw, ON_RETURNS, 2) or [{}]:
        asked: dict[str, Any] = {"proof": draw(st.sampled_from([["export"], ["arrival"], ["export", "arrival"]]))}
        asked["within_years"] = draw(st.sampled_from([0, 1, 2, 3]))
        asked["transit_days"] = draw(st.sampled_from([0, 30]))
        entry: dict[str, Any] = {"from": draw(st.dates(FIRST, date(2022, 12, 31))), "amount": "all"}
        entry["only"] = {"nature": ["return"], "returned": asked, **only}
        entry["reference"] = _reference(draw)
        if draw(st.booleans()):
            entry["excluded"] = draw(st.sampled_from(HEADS))
        entries.append(entry)
    return entries


def _charge(number: int, when: dict[str, Any] | None, reliefs: list[str]) -> dict[str, Any]:
    plain = {"from": FIRST, "scheme": "none", "collector": "customs", "debtor": "consignee", "reference": "act"}
    vendor = {"from": FIRST, "scheme": "ioss", "collector": "vendor", "debtor": "vendor", "reference": "act"}
    return {
        "id": f"c{number}",
        "kind": "tax",
        "name": f"charge {number}",
        "from": FIRST,
        "base": ["customs_value"],
        "rates": [{"from": FIRST, "rate": "10 %", "reference": "act"}],
        "rounding": [{"from": FIRST, "mode": "down", "unit": "0.01 EUR", "reference": "act"}],
        "collection": [vendor, plain],
        **({"when": when} if when else {}),
        **({"relieved_by": reliefs} if reliefs else {}),
    }


@st.composite
def rulebooks(draw: st.DrawFn) -> str:
    """Draw the text of a rulebook that loads."""
    limits = {f"limit_{place}": _limits(draw) for place in range(draw(st.integers(1, 3)))}
    reliefs = {f"relief_{place}": _reliefs(draw) for place in range(draw(st.integers(0, 2)))}
    reliefs |= {f"returned_{place}": _returned(draw) for place in range(draw(st.integers(0, 2)))}
    exchange = {
        "table": "utopia",
        "date": draw(st.sampled_from(DATES)),
        "mode": draw(st.sampled_from(["down", "half_up", "half_even", "up"])),
        "unit": draw(st.sampled_from(["0.01 EUR", "1.00 EUR"])),
        "reference": "act",
    }
    return text_of(limits, reliefs, exchange, law_date=draw(st.sampled_from(DATES)), defaults=_defaults(draw))


EXCHANGED = {"table": "utopia", "date": "acceptance", "mode": "down", "unit": "0.01 EUR", "reference": "act"}


def text_of(
    limits: dict[str, list[dict[str, Any]]],
    reliefs: dict[str, list[dict[str, Any]]] | None = None,
    exchange: dict[str, Any] = EXCHANGED,
    **more: Any,
) -> str:
    """Write a rulebook with a charge for each side of each limit and one for each relief, under the names c0, c1, and so on."""
    reliefs = reliefs or {}
    whens = [{"limit": name, "position": side} for name in limits for side in ("within", "over")]
    charges = [_charge(number, when, []) for number, when in enumerate(whens)]
    charges += [_charge(len(whens) + place, None, [name]) for place, name in enumerate(reliefs)]
    book = {
        "format": 1,
        "jurisdiction": "XX",
        "name": "A drawn country",
        "version": "1",
        "currency": "EUR",
        "areas": ["XA", "XB"],
        "period": {"from": FIRST},
        "law_date": "acceptance",
        "law_date_reference": "act",
        "exchange": exchange,
        "references": {
            "act": {"law": "Act", "address": "https://law.example/5"},
            "doubt": {"law": "Act", "address": "https://law.example/6", "verified": False},
        },
        "customs_value": [
            {"from": FIRST, "to": date(2021, 12, 31), "base": ["goods"], "reference": "act"},
            {"from": date(2022, 1, 1), "base": ["goods", "freight"], "reference": "act"},
        ],
        "limits": limits,
        "reliefs": reliefs,
        "schemes": {
            "ioss": {
                "number": r"IM\d{10}(-[A-Z0-9]+)?",
                "name": "IOSS",
                "check": "eu_oss",
                "registered": True,
                "reference": "act",
            },
            "gst_lvg": {"number": r"\d{11}", "name": "GST", "registered": True, "of_sales": True, "reference": "act"},
            "voec": {"number": r"\d{7}", "name": "VOEC", "reference": "act"},
        },
        "charges": charges,
    }
    return yaml.safe_dump(book | more, sort_keys=False)


def program_of(text: str) -> Program:
    """Compile a drawn rulebook."""
    return compile_program([read_rulebook("xx/rulebook.yaml", reviewed(text))], [], EXCHANGE)


def _items() -> st.SearchStrategy[Item]:
    return st.builds(
        Item,
        price=st.one_of(st.integers(0, 30_000), st.integers(0, 3_000), st.just(10**12)),
        currency=st.sampled_from(["EUR", "EUR", "USD", "JPY", "KWD"]),
        code=st.sampled_from(CODES),
        preference=st.sampled_from(["", "200", "300", "310"]),
        origin=st.sampled_from(["", "CN", "US", "DE"]),
        gift=st.sampled_from([None, False, True]),
        quantity_milli=st.sampled_from([None, None, 1_000, 1_001, 2_000]),
        unit=st.sampled_from(["", "H87", "KGM", "DZN"]),
        procedures=st.sampled_from([(), (), ("F15",), ("C07", "C08")]),
    )


def consignments() -> st.SearchStrategy[Consignment]:
    """Draw consignments that meet the conditions of drawn rulebooks about half the time."""
    money = st.one_of(st.none(), st.tuples(st.integers(0, 3_000), st.sampled_from(["EUR", "USD", "KWD"])))
    numbers = [(scheme, number) for scheme, told in NUMBERS.items() for number in told]
    return st.builds(
        Consignment,
        destination=st.sampled_from(["XA", "XB"]),
        accepted=st.dates(FIRST, LAST),
        items=st.lists(_items(), min_size=1, max_size=6),
        sold=st.one_of(st.none(), st.dates(FIRST, LAST)),
        exported=st.one_of(st.none(), st.dates(FIRST, LAST)),
        shipped=st.one_of(st.none(), st.dates(FIRST, LAST)),
        freight=money,
        insurance=money,
        includes_tax=st.sampled_from([None, False, True]),
        schemes=st.lists(st.sampled_from(numbers), max_size=3, unique_by=lambda pair: pair[0]),
        dispatch=st.sampled_from(["", "US", "CN", "GB"]),
        direct_shipment_place=st.sampled_from(["", "", "USLAX", "GBLHR"]),
        mode=st.sampled_from(["", "sea", "air", "post"]),
        service=st.sampled_from(["", "post", "express", "cargo"]),
        declarant_role=st.sampled_from(["", "importer", "deemed_importer", "representative", "carrier"]),
        nature=st.sampled_from(["", "sale", "gift", "gift", "sample", "return", "return"]),
        first_mrn=st.sampled_from(FIRST_MRNS),
        consignor=st.sampled_from(["", "natural", "natural", "legal", "association"]),
        consignee=st.sampled_from(["", "natural", "legal"]),
        region=st.sampled_from(["", "ON", "BC"]),
        procedures=st.sampled_from([(), (), (), ("F15",)]),
    )
