"""Each clause by which a charge is refused, by itself, and what is just not refused by it."""

from datetime import date

import pytest

from tests.revenue.law.charge_law import ERIADOR
from tests.revenue.law.lawbooks import UTOPIA
from tests.revenue.law.refusals import ABSENT, Changes, check

DAY = date(2020, 1, 1)
SUMMED = "charges.simple.rounding.1"
"""The rounding of an amount whose base is summed."""


def rate(text: str, **more: object) -> dict[str, object]:
    start = more.pop("start", DAY)
    return {"from": start, "rate": text, "reference": "act"} | more


def way(**more: object) -> dict[str, object]:
    plain = {"from": DAY, "scheme": "none", "collector": "customs", "debtor": "declarant", "reference": "act"}
    return plain | more


def rounding(**more: object) -> dict[str, object]:
    return {"from": DAY, "mode": "up", "unit": "0.01 EUR", "reference": "act"} | more


OF_UTOPIA: list[tuple[Changes, str, str]] = [
    # Days and areas.
    ({"charges.vat.to": date(2019, 12, 31)}, "charges[vat]", "ends on 2019-12-31 before it begins on 2020-01-01"),
    ({"charges.vat.to": DAY}, "", ""),
    ({"charges.vat.from": date(2019, 12, 31)}, "charges[vat]", "outside the rulebook's period"),
    ({"period.to": date(2026, 12, 31), "charges.vat.to": date(2027, 1, 1)}, "charges[vat]", "outside the rulebook's period"),
    ({"period.to": date(2026, 12, 31), "charges.vat.to": date(2026, 12, 31)}, "", ""),
    ({"charges.levy.areas": ["XB", "XC"]}, "charges[levy].areas[1]", "'XC' is not an area of this rulebook"),
    ({"charges.stamp.when": [{"limit": "import_limit", "position": "within"}, {"limit": "lost", "position": "over"}]},
     "charges[stamp].when.limit", "'lost' is not one of the rulebook's limits"),
    # Preferences.
    ({"charges.duty.unless.reference": "acd"}, "charges[duty].unless.reference", "'acd' is not described"),
    ({"charges.duty.unless.without_scheme": "ioss"}, "charges[duty].unless.without_scheme", "'ioss' is not described under 'schemes'"),
    ({"charges.duty.unless.without_scheme": "none"}, "", ""),
    ({"charges.duty.unless.preference": ["0", "9"]}, "", ""),
    ({"charges.duty.unless.preference": ["2", "x"]}, "charges[duty].unless.preference[1]", "'x' is not one digit"),
    ({"charges.duty.unless.preference": ["23"]}, "charges[duty].unless.preference[0]", "'23' is not one digit"),
    ({"charges.duty.unless.preference": [""]}, "charges[duty].unless.preference[0]", "'' is not one digit"),
    ({"charges.flat.also_when_unless_of": "lost"}, "charges[flat].also_when_unless_of", "names no charge of this rulebook"),
    ({"charges.flat.also_when_unless_of": "stamp"}, "charges[flat].also_when_unless_of", "that has an 'unless'"),
    # Tariff lines and tariffs.
    ({"charges.flat.tariff_line.reference": "acd"}, "charges[flat].tariff_line.reference", "'acd' is not described"),
    ({"charges.flat.tariff_line.digits_under": {"voec": 4, "ioss": 4}}, "charges[flat].tariff_line.digits_under.ioss",
     "'ioss' is not described under 'schemes'"),
    ({"charges.flat.tariff_line": ABSENT}, "charges[flat]", "has no 'tariff_line'"),
    ({"charges.duty.tariff": ABSENT}, "charges[duty]", "has the rate 'tariff' and names no 'tariff'"),
    # Rates of one level.
    ({"charges.stamp.rates.1.rate": "1.11 EUR per tariff_line"}, "charges[stamp].rates", "mixes rates per consignment"),
    ({"charges.stamp.rates.1.rate": "1.11 EUR per kilogram"}, "charges[stamp]", "has no 'rounding'"),
    ({"charges.stamp.rates.1.rate": "1.11 EUR per kg"}, "charges[stamp].rates", "mixes rates per consignment"),
    ({"charges.piece.rates.0.rate": "0.33 EUR per piece"}, "charges[piece]", "has no 'rounding'"),
    ({"charges.levy.only": {"goods": ["61"]}}, "charges[levy].only", "asks of items, and the charge is on the consignment"),
    ({"charges.levy.only": {"mode": ["air"]}}, "", ""),
    ({"charges.levy.rates.0.only": {"goods": ["61"]}}, "charges[levy].rates[0].only", "asks of items"),
    ({"charges.levy.mass": "net", "charges.levy.only": {"goods": ["61"]}}, "", ""),
    # Rates that never hold.
    ({"charges.stamp.rates.1.areas": ["XC"]}, "charges[stamp].rates[1].areas[0]", "'XC' is not an area of this rule"),
    ({"charges.levy.rates.0.areas": ["XA"]}, "charges[levy].rates[0].areas[0]", "'XA' is not an area of this rule"),
    ({"charges.stamp.rates.+": rate("2.00 EUR per consignment", areas=["XA"], only={"mode": ["air"]}, start=date(2021, 5, 5))},
     "charges[stamp].rates[2]", "is never reached from 2021-05-05 on: the rate from 2020-01-01 before it fits always"),
    ({"charges.stamp.rates.+": rate("2.00 EUR per consignment", areas=["XB"], only={"mode": ["air"]})}, "", ""),
    ({"charges.stamp.rates.+": rate("2.00 EUR per consignment", areas=["XA", "XB"], only={"mode": ["air"]})}, "", ""),
    ({"charges.stamp.rates.+": rate("2.00 EUR per consignment", only={"mode": ["air"]})}, "", ""),
    ({"charges.stamp.rates.1.only": {"mode": ["sea"]},
      "charges.stamp.rates.+": rate("2.00 EUR per consignment", areas=["XA"], only={"mode": ["air"]})}, "", ""),
    ({"charges.stamp.rates.1.to": date(2021, 5, 4),
      "charges.stamp.rates.+": rate("2.00 EUR per consignment", areas=["XA"], only={"mode": ["air"]}, start=date(2021, 5, 5))}, "", ""),
    ({"charges.stamp.rates.1.to": date(2021, 5, 5),
      "charges.stamp.rates.+": rate("2.00 EUR per consignment", areas=["XA"], only={"mode": ["air"]}, start=date(2021, 5, 5))},
     "charges[stamp].rates[2]", "is never reached from 2021-05-05 on"),
    ({"charges.stamp.rates.0.to": date(2022, 12, 31)}, "charges[stamp].rates", "has a gap: no entry holds for XB on 2023-01-01"),
    ({"charges.stamp.rates.0.to": date(2022, 12, 31), "charges.stamp.to": date(2022, 12, 31)}, "", ""),
    ({"charges.stamp.rates.0.to": date(2022, 12, 31), "charges.stamp.to": date(2023, 1, 1)}, "charges[stamp].rates", "has a gap"),
    # Bases.
    ({"charges.duty.base": ["customs_value", "tax"]}, "charges[duty].base[1]", "no tax is charged before this charge"),
    ({"charges.duty.base": ["customs_value", "duty"]}, "charges[duty].base[1]", "no duty is charged before this charge"),
    ({"charges.levy.base": ["fee"]}, "charges[levy].base[0]", "no fee is charged before this charge"),
    ({"charges.duty.base": ["customs_value", "fee"]}, "", ""),
    ({"charges.duty.base": ABSENT}, "charges[duty]", "has no 'base'"),
    ({"charges.levy.mass": "net", "charges.levy.rates.0.rate": "1 % + 1.28 EUR per kg"}, "charges[levy]", "has no 'base'"),
    ({"charges.levy.mass": "net", "charges.levy.rates.0.rate": "1.28 EUR per kg min 1 %"}, "charges[levy]", "has no 'base'"),
    ({"charges.levy.mass": "net", "charges.levy.rates.0.rate": "1.28 EUR per kg"}, "", ""),
    ({"charges.vat.base": ABSENT, "charges.vat.uplift": {"percent": "10 %", "of": ["goods"], "reference": "act"}}, "", ""),
    ({"charges.vat.uplift": {"percent": "100 %", "of": ["goods"], "reference": "act"}}, "", ""),
    ({"charges.vat.uplift": {"percent": "100.0001 %", "of": ["goods"], "reference": "act"}}, "charges[vat].uplift.percent", "is no share"),
    ({"charges.vat.uplift": {"percent": "10 %", "of": [], "reference": "act"}}, "charges[vat].uplift.of", "names nothing"),
    ({"charges.vat.uplift": {"percent": "10 %", "of": ["goods"], "reference": "acd"}}, "charges[vat].uplift.reference", "'acd'"),
    ({"charges.piece.share": "50 %"}, "charges[piece].share", "is for percentages and sums"),
    ({"charges.piece.uplift": {"percent": "1 %", "of": ["goods"], "reference": "act"}}, "charges[piece].uplift", "is for percentages"),
    ({"charges.piece.inside": ["vat"]}, "charges[piece].inside", "is for percentages and sums"),
    ({"charges.piece.over_only": "import_limit"}, "charges[piece].over_only", "is for percentages and sums"),
    ({"charges.levy.share": "50 %"}, "charges[levy].share", "is for percentages and sums"),
    ({"charges.levy.mass": "net", "charges.levy.share": "50 %"}, "", ""),
    ({"charges.vat.share": "100 %"}, "", ""),
    ({"charges.vat.share": "0 %"}, "charges[vat].share", "is no share"),
    # Rounding.
    ({"charges.vat.rounding": ABSENT}, "charges[vat]", "has no 'rounding'"),
    ({"charges.duty.rounding": ABSENT}, "charges[duty]", "has no 'rounding'"),
    ({"charges.levy.rounding": ABSENT}, "charges[levy]", "has no 'rounding'"),
    ({"charges.vat.rounding.0.from": date(2020, 1, 2)}, "charges[vat].rounding", "has a gap: no entry holds for XA on 2020-01-01"),
    ({"charges.vat.rounding.1.schemes": ["ovr", "ioss"]}, "charges[vat].rounding[1].schemes[1]", "'ioss' is not described"),
    ({"charges.vat.rounding.1.unit": "0.00 EUR"}, "charges[vat].rounding[1].unit", "must be more than nothing"),
    ({"charges.duty.rounding.1.base_unit": "0.00 EUR"}, "charges[duty].rounding[1].base_unit", "must be more than nothing"),
    ({"charges.duty.rounding.1.base_unit": "1.00 USD"}, "charges[duty].rounding[1].base_unit", "the rulebook's currency"),
    ({"charges.duty.rounding.1.total_unit": "1.00 USD"}, "charges[duty].rounding[1].total_unit", "the rulebook's currency"),
    ({"charges.duty.rounding.1.base_of": "sum"}, "", ""),
    ({"charges.duty.rounding.0.base_of": "sum"}, "charges[duty].rounding[0].base_of", "'sum' is for a 'base_unit' of percentages"),
    ({"charges.duty.rounding.1.base_of": "sum", "charges.duty.inside": ["vat"]}, "charges[duty].rounding[1].base_of", "'sum' is for"),
    ({"charges.duty.rounding.1.base_of": "sum", "charges.duty.rates.0.rate": "1 % + 1.00 EUR per kg"},
     "charges[duty].rounding[1].base_of", "'sum' is for"),
    ({"charges.levy.rounding.0.total_unit": "0.05 EUR"}, "charges[levy].rounding[0].total_unit", "write it as the 'unit'"),
    ({"charges.levy.mass": "net", "charges.levy.rounding.0.total_unit": "0.05 EUR"}, "", ""),
    ({"charges.stamp.rounding": [rounding(total_unit="0.05 EUR")]}, "charges[stamp].rounding[0].total_unit", "is for charges on items"),
    ({"charges.stamp.rounding": [rounding()]}, "", ""),
    # Minima.
    ({"charges.duty.minimum.0.amount": "5.00"}, "charges[duty].minimum[0].amount", "is no amount"),
    ({"charges.duty.minimum.0.amount": "0.00 USD"}, "", ""),
    ({"charges.duty.minimum.0.reference": "acd"}, "charges[duty].minimum[0].reference", "'acd' is not described"),
    ({"charges.duty.minimum.+": {"from": DAY, "amount": "1.00 EUR", "collected": "from", "reference": "act"}},
     "charges[duty].minimum[1]", "overlaps the entry from 2020-01-01"),
    ({"charges.duty.minimum.0.areas": ["XC"]}, "charges[duty].minimum[0].areas[0]", "'XC' is not an area of this rule"),
    ({"charges.duty.minimum.0.together_with": ["levy", "stamp"]}, "", ""),
    ({"charges.duty.minimum.0.together_with": ["levy", "duty"]}, "charges[duty].minimum[0].together_with[1]", "no charge before this one"),
    ({"charges.duty.minimum.0.together_with": ["flat"]}, "charges[duty].minimum[0].together_with[0]", "no charge before this one"),
    # Collection.
    ({"charges.vat.collection.1.when.limit": "lost"}, "charges[vat].collection[1].when.limit", "'lost' is not one of"),
    ({"charges.vat.collection.1.only": {"goods": ["61"]}}, "charges[vat].collection[1].only", "a consignment is collected as a whole"),
    ({"charges.vat.collection.1.only": {"service": ["post"]}}, "", ""),
    ({"charges.vat.collection.0.scheme": "ioss"}, "charges[vat].collection[0].scheme", "'ioss' is not described under 'schemes'"),
    ({"charges.vat.collection.+": way()}, "charges[vat].collection[3]", "overlaps the entry from 2020-01-01"),
    ({"charges.vat.collection.+": way(only={"service": ["post"]})}, "", ""),
    ({"charges.vat.collection.1.reference": "acd"}, "charges[vat].collection[1].reference", "'acd' is not described"),
    ({"charges.vat.collection.2.when": {"limit": "import_limit", "position": "over"}}, "charges[vat].collection", "has no entry with the scheme"),
    ({"charges.vat.collection.2.only": {"service": ["post"]}}, "charges[vat].collection", "has no entry with the scheme 'none'"),
    ({"charges.vat.collection.2.from": date(2020, 1, 2)}, "charges[vat].collection", "has a gap: no entry holds on 2020-01-01"),
    ({"charges.vat.collection.2.to": date(2020, 1, 2)}, "charges[vat].collection", "has a gap: no entry holds on 2020-01-03"),
]  # fmt: skip
OF_ERIADOR: list[tuple[Changes, str, str]] = [
    # The net mass is of items, and of rates per kilogram alone.
    ({"charges.weight.rates.+": rate("0.40 EUR per kg", only={"origin": ["CN"]})}, "", ""),
    ({"charges.weight.rates.+": rate("3 %", only={"origin": ["CN"]}), "charges.weight.base": ["goods"]}, "charges[weight].mass",
     "is for rates per kilogram alone"),
    ({"charges.weight.rates.0.rate": "1.00 EUR per item"}, "charges[weight].mass", "is for rates per kilogram alone"),
    ({"charges.weight.rates.0.rate": "1.00 EUR per consignment"}, "charges[weight].mass", "is for rates per kilogram alone"),
    ({"charges.weight.relieved_by": ["gift"]}, "", ""),
    ({"charges.weight.mass": "gross", "charges.weight.only": ABSENT, "charges.weight.relieved_by": ["gift"]}, "charges[weight].relieved_by",
     "asks of items, and the charge is on the consignment"),
    ({"charges.weight.mass": "gross"}, "charges[weight].only", "asks of items, and the charge is on the consignment"),
    ({"charges.stamp.relieved_by": ["gift"]}, "charges[stamp].relieved_by", "asks of items, and the charge is on the consignment"),
    ({"charges.stamp.rates.0.only": {"goods": ["61"]}}, "charges[stamp].rates[0].only", "asks of items"),
    # What is taken off.
    ({"charges.simple.rates.0.less": "0.00 USD"}, "charges[simple].rates[0].less", "must be more than nothing"),
    ({"charges.simple.rates.0.less": "0.01 EUR"}, "", ""),
    ({"charges.simple.rates.0.only": ABSENT, "charges.simple.rates.1": rate("20 %", areas=["XC"])}, "", ""),
    # The base without what is not charged.
    ({"charges.simple.base": ["customs_value", "tax"]}, "", ""),
    ({"limits.low.0.test": "order"}, "charges[simple].over_only", "is tested on more or less than the consignment"),
    ({"limits.low.0.exchange_table": "eriador"}, "charges[simple].over_only", "by another exchange table"),
    ({"limits.low.0.amount": "150.00 USD"}, "charges[simple].over_only", "'low' is not in EUR"),
    ({"limits.low.0.to": date(2022, 12, 31), "limits.low.+": {"from": date(2023, 1, 1), "amount": "none", "reference": "act"}}, "", ""),
    ({"limits.low.0.to": date(2022, 12, 31), "limits.low.+": {"from": date(2023, 1, 1), "amount": "1.00 GBP", "reference": "act"}},
     "charges[simple].over_only", "'low' is not in EUR"),
    ({"charges.sugar.uplift.percent": "0 %"}, "charges[sugar].uplift.percent", "is no share"),
    ({"charges.sugar.rates.1.rate": "92.3 %"}, "charges[sugar].inside", "the percentages sum to 100 %"),
    ({"charges.sugar.rates.1.rate": "92.2999 %"}, "", ""),
    ({"charges.sugar.rates.0.rate": "92.3 % from 01-05 to 31-10; 7.25 % from 01-11 to 30-04"}, "charges[sugar].inside", "sum to 100 %"),
    ({"charges.sugar.rates.0.rate": "92.2 % from 01-05 to 31-10; 7.25 % from 01-11 to 30-04"}, "", ""),
    ({"charges.sugar.inside": ["vat", "sugar", "vat"]}, "charges[sugar].inside[2]", "'vat' stands twice"),
    ({"charges.sugar.inside": ["late"]}, "charges[sugar].inside[0]", "'late' has rates that are no percentages"),
    ({"charges.sugar.inside": ["stamp"]}, "charges[sugar].inside[0]", "'stamp' has rates that are no percentages"),
    ({"charges.vat.rates.1.rate": "7.7 percent"}, "charges[vat].rates[1].rate", "is no rate"),
    # Sums of bases.
    ({f"{SUMMED}.base_unit": ABSENT}, "charges[simple].rounding[1].base_of", "'sum' is for a 'base_unit'"),
    ({"charges.late.rounding": ABSENT}, "charges[late]", "has no 'rounding'"),
    ({"charges.weight.rounding.0.total_unit": "0.05 EUR"}, "", ""),
    ({"charges.stamp.rounding": [rounding(total_unit="0.05 EUR")]}, "charges[stamp].rounding[0].total_unit", "write it as the 'unit'"),
    ({"charges.vat.minimum.0.to": date(2019, 12, 31)}, "charges[vat].minimum[0]", "ends on 2019-12-31 before it begins"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "where", "why"), OF_UTOPIA, ids=range(len(OF_UTOPIA)))
def test_each_clause_refuses_a_charge_by_itself(changes: Changes, where: str, why: str) -> None:
    check(UTOPIA, changes, where, why)


@pytest.mark.parametrize(("changes", "where", "why"), OF_ERIADOR, ids=range(len(OF_ERIADOR)))
def test_each_clause_refuses_a_charge_of_the_other_law_by_itself(changes: Changes, where: str, why: str) -> None:
    check(ERIADOR, changes, where, why)
