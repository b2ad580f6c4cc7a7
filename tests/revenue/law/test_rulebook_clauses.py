"""Each clause by which a rulebook is refused outside of its charges, by itself, and what is just not refused by it."""

import hashlib
from datetime import date

import pytest

from services.revenue.law.source.checks import FOREVER, active_entry, applies, last_day
from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.rulebook import (
    Condition,
    Minimum,
    Position,
    Rate,
    RoundingRule,
    asks_of_items,
    positions,
)
from tests.revenue.law.lawbooks import LIMITED, UTOPIA
from tests.revenue.law.refusals import ABSENT, Changes, check

DAY = date(2020, 1, 1)


def limit(amount: str, **more: object) -> dict[str, object]:
    return {"from": DAY, "amount": amount, "reference": "act"} | more


def gap(**more: object) -> dict[str, object]:
    return {"from": DAY, "what": "excise duty", "goods": ["22"], "reference": "act"} | more


def refund(**more: object) -> dict[str, object]:
    return {"from": DAY, "charges": ["tax"], "because": ["refused"], "reference": "act"} | more


def only(**asked: object) -> Changes:
    return {"reliefs.gifts.0.only": asked}


ONLY = "reliefs.gifts[0].only"
VALUE = "limits.value"
BOOK: list[tuple[Changes, str, str]] = [
    ({"areas": []}, "areas", "names no country"),
    ({"areas": ["XA", "XBC"]}, "areas[1]", "'XBC' is no country's two letters"),
    ({"areas": ["xa"]}, "areas[0]", "'xa' is no country's two letters"),
    ({"areas": ["XA", "XB", "XA"]}, "areas[2]", "'XA' is no country's two letters, or stands twice"),
    ({"areas": ["XA", "XB"]}, "", ""),
    ({"currency": "EUX"}, "currency", "unknown unit 'EUX'"),
    ({"period.to": date(2019, 12, 31)}, "period", "ends on 2019-12-31 before it begins on 2020-01-01"),
    ({"law_date_reference": "acd"}, "law_date_reference", "'acd' is not described"),
    ({"exchange.reference": "acd"}, "exchange.reference", "'acd' is not described"),
    ({"exchange.unit": "0.00 EUR"}, "exchange.unit", "must be more than nothing"),
    ({"exchange.unit": "0.01 USD"}, "exchange.unit", "is not in EUR"),
    ({"customs_value.0.base": ["goods", "customs_value"]}, "customs_value[0].base", "cannot be made of itself"),
    ({"customs_value.0.from": date(2020, 1, 2)}, "customs_value", "has a gap: no entry holds on 2020-01-01"),
    ({"customs_value.0.to": date(2025, 12, 31)}, "customs_value", "has a gap: no entry holds on 2026-01-01"),
    ({"customs_value.0.to": date(2025, 12, 31), "period.to": date(2025, 12, 31)}, "", ""),
    ({"customs_value.0.to": FOREVER}, "", ""),
    ({"customs_value.0.reference": "acd"}, "customs_value[0].reference", "'acd' is not described"),
    # Limits are named by charges, their collection or what is not covered.
    ({"limits.lost": [limit("1.00 EUR")]}, "limits.lost", "decides nothing"),
    ({"limits.lost": [limit("1.00 EUR")], "charges.tax.over_only": "lost"}, "", ""),
    ({"limits.lost": [limit("1.00 EUR")], "charges.tax.when": [{"limit": name, "position": "over"} for name in ("value", "lost")]}, "", ""),
    ({"limits.lost": [limit("1.00 EUR")], "charges.tax.collection.+": {"from": DAY, "scheme": "voec", "collector": "vendor",
      "debtor": "vendor", "when": {"limit": "lost", "position": "within"}, "reference": "act"}}, "", ""),
    ({"limits.lost": [limit("1.00 EUR")], "not_covered": [gap(when={"limit": "lost", "position": "over"})]}, "", ""),
    ({"limits.value.2.amount": "0.00 EUR"}, "", ""),
    ({"limits.value.2.amount": "none"}, "", ""),
    ({"limits.value.2.amount": "all"}, "", ""),
    ({"limits.value.2.amount": "nothing"}, f"{VALUE}[2].amount", "is no amount"),
    ({"limits.value.2.measure": []}, f"{VALUE}[2].measure", "names nothing"),
    ({"limits.value.2.measure": ["goods", "tax"]}, f"{VALUE}[2].measure[1]", "'tax' is not known yet"),
    ({"limits.value.2.measure": ["fee"]}, f"{VALUE}[2].measure[0]", "'fee' is not known yet"),
    ({"limits.value.2.measure": ["goods", "freight", "insurance", "clearance_fee", "customs_value"]}, "", ""),
    ({"limits.value.2.excluded": ["221"]}, "", ""),
    ({"limits.value.2.excluded": ["2"]}, f"{VALUE}[2].excluded[0]", "'2' begins no commodity code"),
    ({"limits.value.2.excluded": ["2" * 10]}, "", ""),
    ({"limits.value.2.excluded": ["2" * 11]}, f"{VALUE}[2].excluded[0]", "it has 2 to 10 digits"),
    ({"limits.value.2.excluded": ["2204", "22"]}, f"{VALUE}[2].excluded[1]", "'22' and '2204' name the same goods"),
    ({"limits.value.2.excluded": ["2204", "2205"]}, "", ""),
    ({"limits.value.+": limit("1.00 EUR", only={"mode": ["sea"]})}, f"{VALUE}[3]", "is never reached from 2020-01-01 on"),
    ({"limits.value.2.to": date(2022, 12, 31), "limits.value.+": limit("1.00 EUR", **{"from": date(2023, 1, 1)})}, "", ""),
    ({"limits.value.2.to": date(2022, 12, 31), "limits.value.+": limit("1.00 EUR", **{"from": date(2023, 1, 2)})}, VALUE,
     "has a gap: no entry without 'only' holds on 2023-01-01"),
    ({"limits.value.2.to": date(2022, 12, 31), "limits.value.+": limit("1.00 EUR", **{"from": date(2022, 12, 31)})}, f"{VALUE}[3]",
     "on 2022-12-31 both would apply"),
    # Of two, the second is never reached only where it has a condition and both hold on a day.
    ({"limits.value.2.to": date(2022, 12, 31), "limits.value.+": limit("1.00 EUR", **{"from": date(2023, 1, 1)}),
      "limits.value.0": limit("9.00 EUR", only={"mode": ["sea"]})}, "", ""),
    ({"limits.value.2.to": date(2022, 12, 31), "limits.value.+": limit("1.00 EUR", only={"mode": ["sea"]}, **{"from": date(2023, 1, 1)}),
      "period.to": date(2022, 12, 31)}, "", ""),
    ({"limits.value.2.to": date(2022, 12, 31), "limits.value.+": limit("1.00 EUR", only={"mode": ["sea"]}, **{"from": date(2022, 12, 31)}),
      "period.to": date(2022, 12, 31)}, f"{VALUE}[3]", "is never reached from 2022-12-31 on: the entry from 2020-01-01"),
    # Reliefs.
    ({"reliefs.gifts": []}, "reliefs.gifts", "has no entry"),
    ({"reliefs.gifts.0.amount": "45.00 USD"}, "", ""),
    ({"reliefs.gifts.0.amount": "45.00 USX"}, "reliefs.gifts[0].amount", "no ISO 4217 code"),
    ({"reliefs.gifts.0.measure": []}, "reliefs.gifts[0].measure", "names nothing"),
    ({"reliefs.gifts.0.measure": ["duty"]}, "reliefs.gifts[0].measure[0]", "'duty' is not known yet"),
    ({"reliefs.gifts.0.excluded": ["2x"]}, "reliefs.gifts[0].excluded[0]", "'2x' begins no commodity code"),
    ({"reliefs.gifts.0.reference": "acd"}, "reliefs.gifts[0].reference", "'acd' is not described"),
    ({"reliefs.gifts.+": limit("5.00 EUR", only={"nature": ["sample"]})}, "", ""),
    ({"reliefs.gifts.0.amount": "0.00 EUR", "reliefs.gifts.+": limit("5.00 EUR", only={"nature": ["sample"]})}, "", ""),
    ({"reliefs.gifts.+": limit("0.00 EUR", only={"nature": ["sample"]})}, "reliefs.gifts[1].amount", "must be more than nothing"),
    ({"reliefs.gifts.+": limit("5.00 EUR", only={"nature": ["gift"], "goods_except": ["22"]})}, "reliefs.gifts[1]", "overlaps"),
    # Schemes.
    ({"schemes.voec.reference": "acd"}, "schemes.voec.reference", "'acd' is not described"),
    ({"schemes.voec.number": "[A-Z"}, "schemes.voec.number", "is no regular expression"),
    # What charges ask.
    ({"charges.tax.only": {}}, "charges[tax].only", "asks nothing"),
    ({"charges.tax.only": {"origin": ["ZZ"]}}, "charges[tax].only.origin[0]", "'ZZ' is no country of origin"),
    ({"charges.tax.collection.0.only": {"dispatch": ["ZZ"]}, "charges.tax.collection.+":
      {"from": DAY, "scheme": "none", "collector": "customs", "debtor": "consignee", "reference": "act"}},
     "charges[tax].collection[0].only.dispatch[0]", "'ZZ' is no country"),
    # Refunds.
    ({"refunds.0.to": date(2019, 12, 31)}, "refunds[0]", "ends on 2019-12-31 before it begins"),
    ({"refunds.0.charges": []}, "refunds[0].charges", "names nothing; say what is paid back and why"),
    ({"refunds.0.within_days": 0}, "", ""),
    ({"refunds.0.share": "0 %"}, "refunds[0].share", "is no share"),
    ({"refunds.+": refund()}, "", ""),
    ({"refunds.0.to": date(2022, 12, 31), "refunds.+": refund(because=["withdrawn"], **{"from": date(2023, 1, 1)})}, "", ""),
    ({"refunds.0.to": date(2022, 12, 31), "refunds.+": refund(because=["withdrawn"], **{"from": date(2022, 12, 31)})}, "refunds[2]",
     "overlaps the entry from 2020-01-01: both say what is paid back of tax that is withdrawn"),
    # What is not covered.
    ({"not_covered": [gap()]}, "", ""),
    ({"not_covered": [gap(to=date(2019, 12, 31))]}, "not_covered[0]", "ends on 2019-12-31 before it begins"),
    ({"not_covered": [gap(reference="acd")]}, "not_covered[0].reference", "'acd' is not described"),
    ({"not_covered": [gap(what="")]}, "not_covered[0].what", "names nothing"),
    ({"not_covered": [gap(goods=[])]}, "not_covered[0]", "names neither goods nor areas, 'only' or 'when'"),
    ({"not_covered": [gap(goods=[], areas=["XA"])]}, "", ""),
    ({"not_covered": [gap(goods=[], only={"origin": ["CN"]})]}, "", ""),
    ({"not_covered": [gap(goods=[], when={"limit": "value", "position": "over"})]}, "", ""),
    ({"not_covered": [gap(goods=["2"])]}, "not_covered[0].goods[0]", "begins no commodity code"),
    ({"not_covered": [gap(only={})]}, "not_covered[0].only", "asks nothing"),
    ({"not_covered": [gap(areas=["XA", "XB"])]}, "not_covered[0].areas[1]", "'XB' is not an area of this rulebook"),
    ({"not_covered": [gap(when=[{"limit": "value", "position": "over"}, {"limit": "lost", "position": "over"}])]},
     "not_covered[0].when.limit", "'lost' is not one of the rulebook's limits"),
    # Conditions.
    (only(origin=["CN", "ZZ"]), f"{ONLY}.origin[1]", "'ZZ' is no country of origin"),
    (only(origin_except=["CN", "ZZ"]), f"{ONLY}.origin_except[1]", "'ZZ' is no country of origin"),
    (only(dispatch=["CN", "ZZ"]), f"{ONLY}.dispatch[1]", "'ZZ' is no country; it takes the two letters"),
    (only(origin=["CN"], origin_except=["US"], dispatch=["US"]), "", ""),
    (only(goods=["6"]), f"{ONLY}.goods[0]", "'6' begins no commodity code"),
    (only(goods_except=["6x"]), f"{ONLY}.goods_except[0]", "'6x' begins no commodity code"),
    (only(preference=["2", "20", "200"]), "", ""),
    (only(preference=["2", ""]), f"{ONLY}.preference[1]", "begins no preference code"),
    (only(preference=["2000"]), f"{ONLY}.preference[0]", "'2000' begins no preference code; it has 1 to 3 digits"),
    (only(preference=["2a"]), f"{ONLY}.preference[0]", "'2a' begins no preference code"),
    (only(additional_procedure=["F15", "C07", "000"]), "", ""),
    (only(additional_procedure=["F1"]), f"{ONLY}.additional_procedure[0]", "it has three letters or digits"),
    (only(additional_procedure=["F15", "F150"]), f"{ONLY}.additional_procedure[1]", "'F150' is no additional procedure"),
    (only(additional_procedure=["f15"]), f"{ONLY}.additional_procedure[0]", "'f15' is no additional procedure"),
    (only(scheme=["voec", "none"]), "", ""),
    (only(scheme=["voec", "ioss"]), f"{ONLY}.scheme[1]", "'ioss' is not described under 'schemes'"),
    (only(region=["ON", "QC", "Minas Gerais", "Île-de-France"]), "", ""),
    (only(region=["ON", "QC", "12"]), f"{ONLY}.region[2]", "'12' is written otherwise than the rulebook's other codes of regions"),
    (only(region=["ON", "12"]), f"{ONLY}.region[0]", "'ON' is written otherwise"),
    (only(region=["ON", "QC", "O1"]), f"{ONLY}.region[2]", "'O1' is written otherwise"),
    (only(region=["O", "ONT"]), f"{ONLY}.region[0]", "'O' is written otherwise"),
    (only(region=["1", "2", "3"]), "", ""),
    (only(region=["ab"]), f"{ONLY}.region[0]", "'ab' is no region"),
    (only(region=["1Ontario"]), f"{ONLY}.region[0]", "'1Ontario' is no region"),
    (only(region=["ABCD"]), "", ""),
    (only(region=["O-1-2"]), f"{ONLY}.region[0]", "'O-1-2' is no region"),
    (only(region=["ON", "QC"]) | {"charges.tax.rates.+": {"from": DAY, "rate": "1 %", "only": {"region": ["12"]}, "reference": "act"}},
     "charges[tax].rates[1].only.region[0]", "'12' is written otherwise"),
    (only(region=["ON", "QC"]) | {"charges.tax.only": {"region": ["12"]}}, "charges[tax].only.region[0]", "'12' is written otherwise"),
    (only(region=["ON", "QC"]) | {"limits.value.0.only": {"region": ["12"]}}, f"{VALUE}[0].only.region[0]", "'12' is written otherwise"),
    ({"limits.value.0.only": {"region": ["12", "13"]}} | only(region=["ON"]), f"{ONLY}.region[0]", "'ON' is written otherwise"),
    ({"limits.value.0.only": {"region": ["12", "12"]}} | only(region=["12"]), "", ""),
]  # fmt: skip
OF_UTOPIA: list[tuple[Changes, str, str]] = [
    ({"prices_with_tax.reference": "acd"}, "prices_with_tax.reference", "'acd' is not described"),
    ({"prices_with_tax": ABSENT}, "", ""),
    ({"prices_with_tax.parts": ["freight"]}, "prices_with_tax.parts", "leaves out the goods"),
    ({"charges.stamp.id": "levy"}, "charges[levy]", "the id stands twice"),
    # Entries that name areas or schemes stand beside the general one.
    ({"charges.duty.rounding.1.areas": ["XA", "XB"]}, "", ""),
    ({"charges.duty.rounding.0.areas": ["XA"], "charges.duty.rounding.1.areas": ["XB"]}, "", ""),
    ({"charges.duty.rounding.0.areas": ["XA", "XB"]}, "charges[duty].rounding[1]", "overlaps the entry from 2020-01-01"),
    ({"charges.duty.rounding.0.areas": ["XA"]}, "", ""),
    ({"charges.duty.rounding.1.areas": ["XA"], "charges.duty.rounding.0.areas": ["XA"]}, "charges[duty].rounding[1]", "overlaps"),
    ({"charges.duty.rounding.0.areas": ["XA"], "charges.duty.rounding.1": ABSENT}, "charges[duty].rounding",
     "has a gap: no entry holds for XB on 2020-01-01"),
    ({"charges.vat.rounding.0.schemes": ["voec"]}, "charges[vat].rounding", "has a gap"),
    ({"charges.vat.rounding.0.schemes": ["voec", "none"]}, "", ""),
    ({"charges.vat.rounding.0.schemes": ["voec", "none", "ovr"]}, "charges[vat].rounding[1]", "overlaps"),
    ({"charges.vat.collection.+": {"from": DAY, "scheme": "ovr", "collector": "customs", "debtor": "consignee", "reference": "act"}}, "", ""),
    ({"charges.vat.collection.+": {"from": DAY, "scheme": "ovr", "collector": "customs", "debtor": "consignee", "reference": "act",
      "when": {"limit": "import_limit", "position": "within"}}}, "charges[vat].collection[3]", "overlaps"),
    ({"charges.vat.collection.0.when.limit": "import_limit", "limits.item_limit": ABSENT}, "charges[duty].when.limit", "'item_limit'"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "where", "why"), BOOK, ids=range(len(BOOK)))
def test_each_clause_refuses_a_rulebook_by_itself(changes: Changes, where: str, why: str) -> None:
    check(LIMITED, changes, where, why)


@pytest.mark.parametrize(("changes", "where", "why"), OF_UTOPIA, ids=range(len(OF_UTOPIA)))
def test_entries_stand_side_by_side_where_it_is_clear_which_is_taken(changes: Changes, where: str, why: str) -> None:
    check(UTOPIA, changes, where, why)


def test_a_rulebook_that_was_read_knows_its_version_and_where_its_charges_stand() -> None:
    read = read_rulebook("xx/rulebook.yaml", LIMITED)
    digest = hashlib.sha256(LIMITED.encode()).hexdigest()
    assert read.version == f"XX/1/{digest[:8]}"
    line = next(number for number, text in enumerate(LIMITED.splitlines(), 1) if "- id: tax" in text)
    assert read.where("tax") == f"xx/rulebook.yaml:{line}: charges[tax]"
    assert read.where("lost") == "xx/rulebook.yaml:0: charges[lost]"
    assert read.rulebook.charge("tax").kind == "tax"
    with pytest.raises(KeyError, match="lost"):
        read.rulebook.charge("lost")


def minimum(amount: str, start: date = DAY, to: date | None = None, *areas: str) -> Minimum:
    return Minimum(start=start, to=to, amount=amount, collected="from", reference="act", areas=areas)


def test_an_entry_holds_on_its_first_and_its_last_day_and_on_none_outside() -> None:
    entry = minimum("1.00 EUR", date(2023, 3, 1), date(2023, 3, 2))
    days = [date(2023, 2, 28), date(2023, 3, 1), date(2023, 3, 2), date(2023, 3, 3)]
    assert [applies(entry, day) for day in days] == [False, True, True, False]
    assert (last_day(entry), last_day(minimum("1.00 EUR"))) == (date(2023, 3, 2), date(9999, 12, 31))


def test_what_names_the_area_goes_before_what_names_the_scheme_and_that_before_the_general_entry() -> None:
    def rule(unit: str, areas: tuple[str, ...] = (), schemes: tuple[str, ...] = ()) -> RoundingRule:
        return RoundingRule(start=DAY, mode="up", unit=unit, areas=areas, schemes=schemes, reference="act")  # type: ignore[arg-type]

    general, area, scheme = rule("1.00 EUR"), rule("2.00 EUR", ("XA",)), rule("3.00 EUR", (), ("ioss",))
    both = rule("4.00 EUR", ("XA",), ("ioss",))
    for entries in ([general, area, scheme, both], [both, scheme, area, general]):
        found = {
            (where, under): active_entry(entries, DAY, where, under)
            for where in ("XA", "XB")
            for under in ("none", "ioss")
        }
        assert found == {("XA", "none"): area, ("XA", "ioss"): both, ("XB", "none"): general, ("XB", "ioss"): scheme}
    assert active_entry([area, scheme], DAY, "XA", "ioss") is area
    assert active_entry([area, scheme], DAY, "XB", "none") is None
    assert active_entry([general], date(2019, 12, 31)) is None
    # Of equals the first is taken.
    first, second = minimum("1.00 EUR"), minimum("2.00 EUR")
    assert active_entry([first, second], DAY) is first


def test_an_entry_with_a_condition_is_never_the_one_in_force() -> None:
    asked = Rate(start=DAY, rate="1 %", condition=Condition(mode=("sea",)), reference="act")
    plain = Rate(start=DAY, rate="2 %", reference="act")
    assert active_entry([asked, plain], DAY) is plain
    assert active_entry([asked], DAY) is None


@pytest.mark.parametrize(
    ("condition", "of_items"),
    [
        (Condition(origin=("CN",)), True),
        (Condition(origin_except=("CN",)), True),
        (Condition(goods=("61",)), True),
        (Condition(goods_except=("61",)), True),
        (Condition(preference=("2",)), True),
        (Condition(additional_procedure=("F15",)), True),
        (Condition(nature=("gift",), articles="one", region=("ON",), scheme=("ioss",), dispatch=("CN",), mode=("sea",)), False),
    ],
)  # fmt: skip
def test_a_condition_asks_of_items_by_each_part_that_is_of_items(condition: Condition, of_items: bool) -> None:
    assert asks_of_items(condition) is of_items


def test_one_position_and_several_are_read_alike() -> None:
    one, other = Position(limit="low", position="over"), Position(limit="high", position="within")
    assert positions(one) == (one,)
    assert positions((one, other)) == (one, other)
    assert positions(()) == ()
