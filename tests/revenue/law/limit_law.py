"""An invented law of limits: every way to test one, every condition, reliefs, schemes and gaps, each with a charge that shows it."""

from datetime import date
from functools import cache

from libs.customs.countries import COUNTRIES
from libs.customs.time import day_of_date
from services.revenue.law.assess.eligibility.scheme_register import Register
from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.program.program import SCHEMES, Program
from services.revenue.law.source.reader import read_rulebook
from tests.revenue.law.lawbooks import LIMITED, RATES
from tests.revenue.law.random_law import YEARLY
from tests.revenue.law.refusals import changed

START, DAY = date(2020, 1, 1), date(2022, 5, 5)
REGISTERED = {"ioss": {"IM2760000014": (date(2022, 5, 1), date(2022, 5, 31))}, "gst_lvg": {}}
REGISTER = Register(
    {(SCHEMES.index("ioss"), number): tuple(map(day_of_date, days)) for number, days in REGISTERED["ioss"].items()}  # type: ignore[misc]
)


def entry(amount: str, **more: object) -> dict[str, object]:
    return {"from": START, "amount": amount, "reference": "act"} | more


LIMITS: dict[str, list[dict[str, object]]] = {
    "first": [entry("150.00 EUR", to=date(2022, 5, 4)), entry("none", **{"from": date(2022, 5, 5), "to": date(2022, 5, 5)}),
              entry("150.00 EUR", **{"from": date(2022, 5, 6)}, at_the_limit="over")],
    "dollars": [entry("100.00 USD", measure=["customs_value", "insurance"]),],
    "strict": [entry("100.00 USD", at_the_limit="over", exchange_table="yearly", only={"mode": ["sea"]}), entry("100.00 USD", at_the_limit="over")],
    "item": [entry("80.00 EUR", test="item", excluded=["22", "2403"], only={"mode": ["air"]}), entry("80.00 USD", test="item", at_the_limit="over")],
    "goods": [entry("200.00 EUR", excluded=["24"], only={"dispatch": ["CN"]}), entry("all", only={"nature": ["gift"]}), entry("200.00 EUR",
        excluded=["22"])],
    "order": [entry("300.00 EUR", test="order", excluded=["24"])],
    "year": [entry("500.00 USD", test="person_year", measure=["goods", "freight"], only={"consignee": "natural"}), entry("none")],
    "first by name": [entry("90.00 AUD", at_the_limit="over", measure=["goods", "insurance"])],
    "craft": [entry("50.00 EUR", test="importer_craft", measure=["clearance_fee"])],
}  # fmt: skip
RELIEFS = {
    "gifts": [entry("47.25 AUD", only={"nature": ["gift"], "goods_except": ["22"]}, excluded=["24"])],
    "samples": [entry("0.00 EUR", only={"nature": ["sample"], "consignor": "legal"}), entry("20.00 AUD", only={"nature": ["sample"],
        "origin": ["CN", "US"]})],
}  # fmt: skip


def fee(name: str, **more: object) -> dict[str, object]:
    collection = [{"from": START, "scheme": "none", "collector": "customs", "debtor": "consignee", "reference": "act"}]
    rates = [{"from": START, "rate": "1.00 EUR per item", "reference": "act"}]
    return {"id": name, "kind": "fee", "name": name, "from": START, "rates": rates, "collection": collection} | more


def side(limit: str, position: str) -> dict[str, str]:
    return {"limit": limit, "position": position}


CONDITIONS: list[dict[str, object]] = [
    {"mode": ["air", "post"]}, {"service": ["express"]}, {"nature": ["gift"]}, {"nature": ["document"], "articles": "one"},
    {"consignor": "natural", "consignee": "legal"},
    {"dispatch": ["CN", "US"]}, {"region": ["ON", "Minas Gerais"]}, {"scheme": ["ioss"]}, {"scheme": ["none"]}, {"scheme": ["voec", "none"]},
    {"articles": "several"},
    {"origin": ["CN"]}, {"origin_except": ["CN", "US"]}, {"goods": ["61", "2203"]}, {"goods_except": ["61"]}, {"goods": ["61"],
    "goods_except": ["6109"]},
    {"preference": ["2", "30"]}, {"additional_procedure": ["F15", "C07"]}, {"nature": ["gift"], "goods": ["61"], "mode": ["air"]},
    {"origin": ["CN"], "mode": ["sea"]},
]  # fmt: skip


@cache
def law(more_conditions: int = 0) -> Program:
    """Compile it; with 30 conditions more, answers to all that it asks have no room in one key."""
    more = [
        fee(f"from-{country.lower()}", only={"dispatch": [country]}) for country in sorted(COUNTRIES)[:more_conditions]
    ]
    book = changed(LIMITED, {
        "limits": LIMITS, "reliefs": RELIEFS,
        "schemes": {"voec": {"number": r"\d{7}", "name": "VOEC", "reference": "act"},
                    "ioss": {"number": r"IM\d{10}(-.*)?", "name": "IOSS", "check": "eu_oss", "registered": True, "reference": "act"},
                    "gst_lvg": {"number": r"\d{11}", "name": "GST", "registered": True, "reference": "act"}},
        "not_covered": [
            {"from": START, "to": date(2022, 5, 5), "what": "excise", "goods": ["22"], "reference": "act"},
            {"from": START, "what": "sugar tax", "areas": ["XA"], "only": {"origin": ["CN"], "mode": ["sea"]}, "reference": "act"},
            {"from": START, "what": "levy", "when": [side("goods", "over"), side("item", "within")], "only": {"origin": ["US"]}, "reference": "act"},
        ],
        "areas": ["XA", "XB"], "refunds": [],
        "charges": [fee(f"{name}-{position}", when=side(name, position)) for name in LIMITS for position in ("within", "over")]
        + [fee(f"by-condition-{place}", only=only) for place, only in enumerate(CONDITIONS)]
        + [fee("both", when=[side("goods", "within"), side("item", "over"), side("order", "within")]), fee("none-of-both",
            when=[side("goods", "over"), side("item", "over")]),
           fee("gift-free", relieved_by=["gifts"]), fee("in dollars", rates=[{"from": START, "rate": "2.10 AUD per item", "reference": "act"}],
            minimum=[entry("4.20 AUD", collected="above")]), fee("sample-free", relieved_by=["gifts", "samples"], only={"goods_except": ["99"]})]
        + [fee(f"unless-{digit}", when=side("goods", "within"), unless={"preference": list(digit), "without_scheme": scheme, "reference": "act"})
           for digit, scheme in (("2", "voec"), ("34", "ioss"), ("9", "none"))]
        + [fee("also", when=side("goods", "over"), also_when_unless_of="unless-34"), *more]
        + [fee("by goods", rates=[{"from": START, "rate": f"{number}.00 EUR per item", "only": {"goods": [head]}, "reference": "act"}
            for number, head in enumerate(("33", "85", "95", "6404"), 2)] + [{"from": START, "rate": "9.00 EUR per item", "reference": "act"}])]
        + [fee("collected", collection=[
            {"from": START, "scheme": "ioss", "collector": "vendor", "debtor": "vendor", "when": side("goods", "within"), "reference": "act"},
            {"from": START, "scheme": "none", "collector": "carrier", "debtor": "consignee", "only": {"service": ["post"]}, "reference": "act"},
            {"from": START, "scheme": "voec", "collector": "vendor", "debtor": "vendor", "only": {"mode": ["air"]}, "reference": "act"},
            {"from": START, "scheme": "none", "collector": "customs", "debtor": "declarant", "when": side("item", "over"), "reference": "act"},
            {"from": START, "scheme": "none", "collector": "customs", "debtor": "consignee", "reference": "act"}])],
    })  # fmt: skip
    # The number of the Australian dollar is the first of all currencies.
    rates = RATES.replace("rates: {", 'rates: {AUD: "1.05", ')
    tables = ExchangeTables([*read_exchange("rates/utopia.yaml", rates), *read_exchange("rates/yearly.yaml", YEARLY)])
    return compile_program([read_rulebook("xx/rulebook.yaml", book)], [], tables)
