"""The edges of the law of the European Union, the United Kingdom, Switzerland, Norway and South Africa: schemes, gifts, fees."""

from datetime import date

import numpy as np
import pytest

from luxor.clearance.v1.clearance_pb2 import ReturnReason
from services.revenue.law.assess.assessment import assess
from services.revenue.law.batch.reasons import Note
from services.revenue.law.source.checks import active_entry, applies
from services.revenue.ledger.refund import RefundRules, Return
from tests.revenue.law.batches import assessed, filings
from tests.revenue.law.edges import assessment, collected, law, owed
from tests.revenue.law.oracle_charges import Consignment, Item

DRESS, TOY, WINE, TOMATO = "6204430000", "9503000000", "2204210000", "0702000000"
IOSS, CARRIED = [("ioss", "IM2760000014")], [("special_arrangements", "DE123456")]
MAIL_ORDER = [("ch_mail_order", "CHE-123.456.789 MWST")]
GIFT = {"nature": "gift", "consignor": "natural"}
SINCE, BEFORE = "2026-07-15", "2024-06-03"


def parcel(to: str, on: str, price: int, currency: str = "EUR", code: str = DRESS, **more: object) -> Consignment:
    item = Item(price, currency, code, preference=str(more.pop("preference", "")), origin=str(more.pop("origin", "")))
    return Consignment(to, date.fromisoformat(on), [item], **more)  # type: ignore[arg-type]


def noted(filed: Consignment) -> bool:
    """Whether the answer says that a preference was claimed and not applied."""
    return bool(assessment(filed).notes[0] & int(Note.PREFERENCE_NOT_APPLIED))


def test_union_the_carriers_fee_is_taxed_at_the_border_and_not_at_the_sale() -> None:
    more = {"freight": (1_000, "EUR"), "clearance_fee": (600, "EUR")}
    at_sale = parcel("DE", SINCE, 10_000, schemes=IOSS, **more)
    assert owed(at_sale) == {"flat_duty": 300, "vat_at_sale": 2_147}  # 19 % of 113.00
    assert owed(parcel("DE", SINCE, 10_000, **more)) == {"flat_duty": 300, "vat_low_value": 2_261}  # of 119.00
    assert owed(parcel("DE", SINCE, 10_000, schemes=CARRIED, **more)) == {"flat_duty": 300, "vat_low_value": 2_261}


def test_union_a_number_of_the_import_scheme_counts_only_for_what_is_open_to_it() -> None:
    assert owed(parcel("DE", BEFORE, 15_000, schemes=IOSS)) == {"vat_at_sale": 2_850}
    over, wine = (
        parcel("DE", BEFORE, 15_001, code=TOY, schemes=IOSS),
        parcel("DE", BEFORE, 5_000, code=WINE, schemes=IOSS),
    )
    assert owed(over) == {"vat": 2_850}
    assert owed(wine) == {"vat": 950}
    assert owed(parcel("DE", BEFORE, 10_000, schemes=IOSS, **GIFT)) == {"vat_low_value": 1_900}
    both = parcel("DE", BEFORE, 10_000, schemes=IOSS + CARRIED)
    assert owed(both) == {"vat_at_sale": 1_900}
    assert collected(both) == {("vendor", "vendor")}


def test_union_the_rounding_that_only_finland_publishes_is_verified_of_finland_alone() -> None:
    book = next(read.rulebook for read in law().books if read.rulebook.jurisdiction == "EU")
    charge = book.charge("vat")
    assert charge is not None
    told = {area: active_entry(charge.rounding, date.fromisoformat(SINCE), area) for area in book.areas}
    assert {area for area, rounding in told.items() if rounding and rounding.verified} == {"FI", "NL"}


@pytest.mark.parametrize("nature", ["return", "sample", "document"])
def test_union_what_nobody_bought_bears_no_flat_duty_of_distance_sales(nature: str) -> None:
    assert owed(parcel("DE", SINCE, 10_000, nature=nature)) == {"customs_duty": 1_200, "vat": 2_128}
    assert owed(parcel("DE", SINCE, 10_000, nature="other"))["flat_duty"] == 300
    assert owed(parcel("DE", BEFORE, 10_000, nature=nature)) == {"vat_low_value": 1_900}


def test_union_since_july_2028_who_sells_to_a_private_person_outside_the_import_scheme_owes_the_tax() -> None:
    def debtors(on: str, **more: object) -> dict[str, str]:
        (columns,) = assessed(law(), [parcel("DE", on, 10_000, **more)])
        return {charge.charge: charge.debtor for charge in columns.charges}

    sold = {"nature": "sale", "consignee": "natural"}
    assert debtors("2028-06-30", **sold)["EU.vat_low_value"] == "declarant"
    assert debtors("2028-07-01", **sold) == {"EU.customs_duty": "declarant", "EU.vat": "vendor"}
    assert debtors("2028-07-01")["EU.vat"] == "declarant"
    assert debtors("2028-07-01", **sold, schemes=IOSS) == {"EU.customs_duty": "platform", "EU.vat_at_sale": "vendor"}


def test_union_a_customs_union_is_free_of_duty_where_no_scheme_is_used() -> None:
    turkish = {"origin": "TR", "preference": "400"}
    assert owed(parcel("DE", SINCE, 10_000, **turkish)) == {"vat_low_value": 1_900}
    assert owed(parcel("DE", BEFORE, 20_000, **turkish)) == {"vat": 3_800}
    assert not noted(parcel("DE", SINCE, 10_000, **turkish))
    assert owed(parcel("DE", SINCE, 10_000, schemes=IOSS, **turkish))["flat_duty"] == 300
    assert owed(parcel("DE", SINCE, 10_000, schemes=CARRIED, **turkish))["flat_duty"] == 300
    # Agricultural goods are in San Marino's customs union, not in Turkey's.
    assert owed(parcel("DE", SINCE, 10_000, code=TOMATO, **turkish))["flat_duty"] == 300
    assert "flat_duty" not in owed(parcel("DE", SINCE, 10_000, code=TOMATO, origin="SM", preference="400"))
    # Without a code nobody knows whether the goods are of the customs union.
    assert owed(parcel("DE", SINCE, 10_000, code="", **turkish))["flat_duty"] == 300


@pytest.mark.parametrize("schemes", [[], IOSS, CARRIED])
def test_union_a_preference_of_which_no_rate_is_loaded_costs_no_more_than_none(schemes: list[tuple[str, str]]) -> None:
    korean = {"origin": "KR", "preference": "300"}
    filed = parcel("DE", SINCE, 10_000, schemes=schemes, **korean)
    assert owed(filed) == owed(parcel("DE", SINCE, 10_000, schemes=schemes))
    assert owed(filed)["flat_duty"] == 300
    assert noted(filed)
    assert not noted(parcel("DE", SINCE, 10_000, schemes=schemes, preference="100"))


def test_union_an_ordinary_rate_stands_where_no_preferential_one_is_loaded() -> None:
    korean = parcel("DE", BEFORE, 20_000, origin="KR", preference="300")
    assert owed(korean) == owed(parcel("DE", BEFORE, 20_000))
    assert noted(korean)


def test_union_france_rounds_to_the_euro_only_what_is_declared_in_the_small_data_set() -> None:
    assert owed(parcel("FR", "2021-06-30", 3_030)) == {"vat_low_value": 606}
    assert owed(parcel("FR", "2021-07-01", 3_030)) == {"vat_low_value": 600}
    assert owed(parcel("FR", "2026-06-30", 1_030)) == {"vat_low_value": 200, "fee_fr": 200}
    assert owed(parcel("FR", SINCE, 1_030)) == {"flat_duty": 300, "vat_low_value": 266, "fee_fr": 200}
    assert owed(parcel("FR", SINCE, 1_030, schemes=CARRIED)) == {"flat_duty": 300, "vat_low_value": 300, "fee_fr": 200}
    assert owed(parcel("FR", SINCE, 1_030, schemes=IOSS)) == {"flat_duty": 300, "vat_at_sale": 266, "fee_fr": 200}


def test_union_the_netherlands_round_down_what_customs_assess() -> None:
    assert owed(parcel("NL", BEFORE, 999)) == {"vat_low_value": 209}  # 2.0979
    assert owed(parcel("NL", BEFORE, 999, schemes=CARRIED)) == {"vat_low_value": 209}
    assert owed(parcel("NL", BEFORE, 999, schemes=IOSS)) == {"vat_at_sale": 210}


def test_union_national_fees_are_of_gifts_and_of_parcels_for_businesses_too() -> None:
    assert owed(parcel("FR", SINCE, 4_000, **GIFT)) == {"fee_fr": 200}
    assert owed(parcel("FR", SINCE, 10_000, consignee="legal"))["fee_fr"] == 200
    assert owed(parcel("IT", SINCE, 15_000, consignee="legal"))["fee_it"] == 200
    assert "fee_it" not in owed(parcel("IT", SINCE, 15_001, consignee="legal"))


@pytest.mark.parametrize(
    ("code", "reason", "days", "ppm"),
    [
        ("EU.vat_at_sale", ReturnReason.RETURN_REASON_WITHDRAWN, 91, 1_000_000),
        ("EU.vat_low_value", ReturnReason.RETURN_REASON_WITHDRAWN, 91, 0),
        ("EU.vat_low_value", ReturnReason.RETURN_REASON_WITHDRAWN, 90, 1_000_000),
        ("CH.vat_at_sale", ReturnReason.RETURN_REASON_WITHDRAWN, 2_000, 1_000_000),
        ("ID.pph", ReturnReason.RETURN_REASON_REFUSED, 10, 1_000_000),
    ],
)
def test_what_was_taxed_at_the_sale_is_given_back_whenever_the_goods_go_back(
    code: str, reason: int, days: int, ppm: int
) -> None:
    released = (date(2026, 7, 15) - date(1970, 1, 1)).days
    rules = RefundRules(read.rulebook for read in law().books)
    assert rules.share_ppm(code, Return(reason, released + days, released)) == ppm


@pytest.mark.parametrize(
    ("to", "on", "price", "currency"),
    [("DE", BEFORE, 4_500, "EUR"), ("GB", "2024-06-03", 3_900, "GBP"), ("GB", "2015-06-01", 3_600, "GBP"),
     ("CH", BEFORE, 10_000, "CHF"), ("NO", BEFORE, 100_000, "NOK"), ("ZA", BEFORE, 140_000, "ZAR"),
     ("US", "2026-03-02", 10_000, "USD"), ("CA", BEFORE, 6_000, "CAD")],
)  # fmt: skip
def test_a_gift_is_free_only_from_one_private_person_to_another(to: str, on: str, price: int, currency: str) -> None:
    def gift(consignee: str) -> Consignment:
        return parcel(to, on, price, currency, DRESS, consignee=consignee, **GIFT)

    assert owed(gift("natural")) == {}
    assert owed(gift("")) == {}  # who is not told is taken as a private person
    assert owed(gift("legal")) != {}


def test_gifts_to_a_business_bear_the_ordinary_duty_and_not_that_of_gifts() -> None:
    assert "gift_duty" in owed(parcel("DE", BEFORE, 20_000, **GIFT))
    assert "customs_duty" in owed(parcel("DE", BEFORE, 20_000, consignee="legal", **GIFT))
    assert "customs_duty" in owed(parcel("GB", BEFORE, 20_000, "GBP", consignee="legal", **GIFT))
    # Before 2021 only gifts between private persons were left out of the 15 GBP.
    assert owed(parcel("GB", "2015-06-01", 1_500, "GBP", consignee="legal", **GIFT)) == {}


def test_an_item_marked_as_a_gift_is_none_in_a_parcel_for_a_business() -> None:
    items = [Item(2_000, "EUR", DRESS, gift=True), Item(2_000, "EUR", DRESS)]
    natural = Consignment("DE", date(2024, 6, 3), items, consignor="natural", consignee="natural")
    legal = Consignment("DE", date(2024, 6, 3), items, consignor="natural", consignee="legal")
    assert owed(natural) == {"vat_low_value": 380}
    assert owed(legal) == {"vat_low_value": 760}


def test_switzerland_a_registered_seller_taxes_every_parcel_to_the_centime() -> None:
    registered = parcel("CH", BEFORE, 4_000, "CHF", schemes=MAIL_ORDER)
    assert owed(registered) == {"vat_at_sale": 324}
    assert ("vendor", "vendor") in collected(registered)
    assert ("vendor", "platform") in collected(parcel("CH", "2025-01-01", 4_000, "CHF", schemes=MAIL_ORDER))
    assert owed(parcel("CH", BEFORE, 4_000, "CHF")) == {}
    with_fee = {"clearance_fee": (2_000, "CHF")}
    assert owed(parcel("CH", BEFORE, 10_000, "CHF", schemes=MAIL_ORDER, **with_fee)) == {"vat_at_sale": 810}
    assert owed(parcel("CH", BEFORE, 10_000, "CHF", **with_fee)) == {"vat": 970}  # 8.1 % of 120.00 is 9.72


def test_a_batch_of_all_these_is_assessed_as_each_alone() -> None:
    filed = [
        parcel("DE", SINCE, 10_000, schemes=IOSS),
        parcel("DE", SINCE, 10_000, origin="KR", preference="300"),
        parcel("DE", SINCE, 10_000, origin="TR", preference="400"),
        parcel("CH", BEFORE, 4_000, "CHF", schemes=MAIL_ORDER),
        parcel("ID", "2026-03-02", 10_000, "USD", preference="300"),
        parcel("NO", BEFORE, 100_000, "NOK", preference="300"),
    ]
    alone = np.concatenate([assess(law(), filings([each])).notes for each in filed])
    assert assess(law(), filings(filed)).notes.tolist() == alone.tolist()


@pytest.mark.parametrize(
    "to", ["DE", "GB", "SG", "AU", "NZ", "CA", "US", "NO", "CH", "ZA", "JP", "KR", "BR", "ID", "CN"]
)
def test_what_is_owed_on_spirits_and_not_computed_is_told(to: str) -> None:
    # Days before what every parcel owes that is not computed: processing fees of the United States, Brazil's reform.
    day = {"US": "2025-03-03", "BR": "2025-06-02"}.get(to, "2026-03-02")
    spirits, toy = (assess(law(), filings([parcel(to, day, 2_000, code=code)])) for code in ("2208300000", TOY))
    assert spirits.notes[0] & int(Note.NOT_COVERED)
    assert not toy.notes[0] & int(Note.NOT_COVERED)


@pytest.mark.parametrize(
    ("to", "on", "code", "reported"),
    [
        ("NL", "2024-01-02", "2202100000", True),  # consumption tax on drinks without alcohol
        ("NL", "2024-01-02", "2009890000", True),
        ("FI", "2024-01-02", "2202100000", True),
        ("FI", "2024-01-02", "2009890000", True),
        ("RO", "2023-12-31", "2202100000", False),  # excise on sugared drinks since 2024
        ("RO", "2024-01-01", "2202100000", True),
        ("RO", "2024-01-01", "2009890000", True),
        ("SK", "2024-12-31", "2202100000", False),  # tax on sweetened drinks since 2025
        ("SK", "2025-01-01", "2202100000", True),
        ("SK", "2025-01-01", "2009890000", True),
        ("SK", "2024-12-31", "2106902000", False),
        ("SK", "2025-01-01", "2106902000", True),
        ("BE", "2024-01-02", "2106902000", True),
        ("NL", "2023-12-31", "2201101900", True),  # waters are free since 2024
        ("NL", "2024-01-01", "2201101900", False),
        ("LT", "2025-12-31", "2202100000", False),
        ("LT", "2026-01-01", "2202100000", True),
        ("IT", "2026-12-31", "2202100000", False),
        ("IT", "2027-01-01", "2202100000", True),
        ("FR", "2024-01-02", "2009890000", True),
        ("IE", "2024-01-02", "2009890000", True),
        ("DE", "2024-01-02", "2202100000", False),
        ("DE", "2024-01-02", "2009890000", False),
        ("DE", "2024-01-02", "2710198100", True),  # energy tax: article 2 of Directive 2003/96/EC
        ("IT", "2021-01-01", "2710198100", True),
        ("DE", "2024-01-02", "2711130000", True),
        ("DE", "2024-01-02", "3403199000", True),
        ("DE", "2024-01-02", "3811210000", True),
        ("DE", "2024-01-02", "3826001000", True),
        ("DE", "2024-01-02", "2703000000", False),  # peat, which the directive leaves out
        ("DE", "2024-01-02", "3402900000", False),
    ],
)
def test_union_what_drinks_and_fuels_may_owe_and_is_not_computed_is_reported(
    to: str, on: str, code: str, reported: bool
) -> None:
    filed = assess(law(), filings([parcel(to, on, 2_000, code=code)]))
    assert bool(filed.notes[0] & int(Note.NOT_COVERED)) is reported


@pytest.mark.parametrize(("on", "verified"), [("2022-12-31", False), ("2023-01-01", True)])
def test_norway_the_amount_of_gifts_is_verified_from_the_year_in_which_the_page_has_it(on: str, verified: bool) -> None:
    book = next(read.rulebook for read in law().books if read.rulebook.jurisdiction == "NO")
    amount = next(
        each for each in book.limits["gift_free"] if each.amount != "none" and applies(each, date.fromisoformat(on))
    )
    assert (amount.amount, amount.verified) == ("1000.00 NOK", verified)
