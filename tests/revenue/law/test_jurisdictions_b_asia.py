"""The edges of the law of Singapore, China, Korea, Japan and Indonesia: days, limits, sums, rounding, and who collects."""

from typing import Any

import pytest

from services.revenue.law.text.explanation import explain
from tests.revenue.law.edges import assessment, collected, owed, parcel
from tests.revenue.law.oracle_charges import Consignment

TOY, DRESS, KNIT, PERFUME, WINE = "950300", "620442", "611020", "330300", "220421"
CUSTOMS, ADDRESSEE = ("customs", "declarant"), ("postal_operator", "consignee")


def sg(on: str, price: int, code: str = TOY, **more: object) -> Consignment:
    return parcel("SG", on, price, "SGD", code, **{"mode": "air", **more})


def test_singapore_relieves_what_costs_four_hundred_dollars_with_transport_by_air_or_post() -> None:
    assert owed(sg("2024-06-03", 38_000, freight=(2_000, "SGD"))) == {}
    assert owed(sg("2024-06-03", 38_000, freight=(2_001, "SGD"))) == {"gst_not_charged_at_sale": 3_600}
    assert owed(sg("2024-06-03", 40_001)) == {"gst": 3_600}
    assert owed(sg("2024-06-03", 10_000, mode="sea")) == {"gst": 900}
    assert owed(sg("2024-06-03", 10_000, WINE)) == {"gst": 900}


@pytest.mark.parametrize(
    ("on", "tax"), [("2022-12-31", 3_500), ("2023-01-01", 4_000), ("2023-12-31", 4_000), ("2024-01-01", 4_500)]
)
def test_singapore_raised_its_rate_twice(on: str, tax: int) -> None:
    assert owed(sg(on, 50_000)) == {"gst": tax}


def test_singapore_tests_the_price_at_the_sale_and_the_cost_with_transport_at_import() -> None:
    # 390 at the sale, 425 at import: the registered vendor taxes it, and it is not taxed again.
    both: dict[str, Any] = {"freight": (3_500, "SGD")}
    registered = sg("2024-06-03", 39_000, schemes=[("ovr", "M12345678X")], **both)
    assert (owed(registered), collected(registered)) == ({"gst_at_sale": 3_825}, {("vendor", "vendor")})
    unregistered = sg("2024-06-03", 39_000, service="express", **both)
    assert owed(unregistered) == {"gst_not_charged_at_sale": 3_825}
    assert collected(unregistered) == {("carrier", "consignee")}
    assert collected(sg("2024-06-03", 39_000, service="post", **both)) == {ADDRESSEE}
    assert collected(sg("2024-06-03", 40_001, schemes=[("ovr", "M12345678X")])) == {CUSTOMS}


def test_singapore_vendors_collect_from_the_first_of_january_2023() -> None:
    number = [("ovr", "M12345678X")]
    assert owed(sg("2022-12-31", 10_000, schemes=number)) == {}
    assert owed(sg("2023-01-01", 10_000, schemes=number)) == {"gst_at_sale": 800}
    assert owed(sg("2023-01-01", 10_000, schemes=[("ovr", "nonsense")])) == {}


CBEC: dict[str, Any] = {"schemes": [("cbec", "1100060ABC")]}


def cn(price: int, code: str = TOY, **more: object) -> Consignment:
    return parcel("CN", "2024-06-03", price, "CNY", code, **more)


def test_china_takes_seventy_per_cent_of_the_taxes_within_order_and_year() -> None:
    assert owed(cn(500_000, **CBEC)) == {"cbec_vat": 45_500}
    assert owed(cn(499_999, freight=(1, "CNY"), **CBEC)) == {"cbec_vat": 45_500}
    assert owed(cn(500_000, **CBEC), {"year": 2_100_000}) == {"cbec_vat": 45_500}
    assert collected(cn(500_000, **CBEC)) == {("vendor", "platform")}


def test_china_grosses_the_consumption_tax_up_before_it_takes_its_share() -> None:
    assert owed(cn(100_000, PERFUME, **CBEC)) == {"cbec_consumption_tax": 12_353, "cbec_vat": 10_706}


def test_china_charges_in_full_over_the_order_and_the_platform_still_withholds() -> None:
    over = cn(500_001, DRESS, **CBEC)
    assert owed(over) == {"customs_duty": 35_000, "vat": 69_550}
    assert collected(over) == {("vendor", "platform")}
    assert owed(cn(300_000, DRESS, **CBEC), {"order": 200_001}) == {"customs_duty": 21_000, "vat": 41_730}


def test_china_charges_as_trade_what_goes_over_the_year_of_a_person() -> None:
    over = cn(500_000, DRESS, **CBEC)
    assert owed(over, {"year": 2_100_001}) == {"customs_duty_over_year": 35_000, "vat_over_year": 69_550}
    assert collected(over, {"year": 2_100_001}) == {CUSTOMS}
    dear = cn(500_001, DRESS, **CBEC)
    assert collected(dear, {"year": 2_100_001}) == {CUSTOMS}


def test_china_taxes_articles_for_own_use_and_levies_nothing_up_to_fifty_yuan() -> None:
    assert owed(cn(25_000, DRESS)) == {}
    assert owed(cn(25_005, DRESS)) == {"personal_articles_tax": 5_001}
    assert owed(cn(100_000, DRESS)) == {"personal_articles_tax": 20_000}
    assert owed(cn(100_001, DRESS)) == {"customs_duty": 7_000, "vat": 13_910}
    assert owed(cn(80_000, DRESS, dispatch="HK")) == {"personal_articles_tax": 16_000}
    assert set(owed(cn(80_001, DRESS, dispatch="HK"))) == {"customs_duty", "vat"}
    assert collected(cn(100_000, DRESS, service="post")) == {ADDRESSEE}


def test_china_lowered_value_added_tax_in_april_2019() -> None:
    before = parcel("CN", "2019-03-31", 50_000, "CNY", TOY, **CBEC)
    since = parcel("CN", "2019-04-01", 50_000, "CNY", TOY, **CBEC)
    assert (owed(before), owed(since)) == ({"cbec_vat": 5_600}, {"cbec_vat": 4_550})


def kr(price: int, code: str = DRESS, **more: object) -> Consignment:
    return parcel("KR", "2026-06-01", price, "USD", code, **{"dispatch": "CN", **more})


def test_korea_frees_a_hundred_and_fifty_dollars_and_two_hundred_sent_from_the_united_states() -> None:
    assert owed(kr(15_000)) == {}
    assert set(owed(kr(15_001))) == {"customs_duty", "vat"}
    assert owed(kr(20_000, dispatch="US")) == {}
    assert set(owed(kr(20_001, dispatch="US"))) == {"customs_duty", "vat"}
    assert owed(kr(15_000, origin="US")) == {}
    assert set(owed(kr(15_001, origin="US"))) == {"customs_duty", "vat"}


def test_korea_goods_that_list_clearance_leaves_out_keep_the_lower_limit_from_anywhere() -> None:
    assert owed(kr(15_000, "210690", dispatch="US")) == {}
    assert set(owed(kr(15_001, "210690", dispatch="US"))) == {"customs_duty", "vat"}


def test_korea_leaves_freight_out_of_the_limit_and_takes_it_into_the_value() -> None:
    assert owed(kr(15_000, freight=(9_000, "USD"))) == {}
    dear, plain = owed(kr(16_000, freight=(4_000, "USD"))), owed(kr(20_000))
    assert dear == plain


def test_korea_takes_the_parcels_of_one_recipient_on_one_day_together_and_taxes_the_whole() -> None:
    of_a_dollar = owed(kr(15_001))["customs_duty"] / 15_001
    alone = kr(10_000)
    counted = {"low_value": 200_000, "general_clearance": 200_000}
    assert owed(alone) == {}
    bundled = owed(alone, counted)
    assert bundled["customs_duty"] / 10_000 == pytest.approx(of_a_dollar, rel=0.001)


def test_korea_cuts_to_ten_won_and_the_consignee_owes() -> None:
    told = owed(kr(15_037))
    assert all(amount % 10 == 0 for amount in told.values())
    assert collected(kr(15_037)) == {("customs", "consignee")}


def jp(price: int, code: str = TOY, on: str = "2026-06-01", **more: object) -> Consignment:
    return parcel("JP", on, price, "JPY", code, **more)


OWN = {"nature": "sale", "consignee": "natural"}
GIFT = {"nature": "gift", "consignee": "natural"}


def test_japan_frees_ten_thousand_yen_with_freight() -> None:
    assert owed(jp(9_000, freight=(1_000, "JPY"))) == {}
    assert owed(jp(9_000, freight=(1_001, "JPY"))) == {"customs_duty": 300, "consumption_tax": 1_000}


def test_japan_values_personal_imports_at_sixty_per_cent_of_their_price() -> None:
    assert owed(jp(16_666, **OWN)) == {}
    assert owed(jp(16_667, **OWN)) == {"customs_duty_personal": 300, "consumption_tax_personal": 1_000}
    assert owed(jp(16_667, consignee="legal", nature="sale")) == {"customs_duty": 400, "consumption_tax": 1_700}


def test_japan_names_the_rule_of_personal_imports_and_no_limit_that_its_law_does_not_have() -> None:
    filed = parcel("JP", "2024-06-03", 20_000, "JPY", "950300", nature="sale", consignee="natural")
    told = [sentence for sentence in explain(assessment(filed), 0).results if "JP:personal" in sentence]
    assert told == ["Whatever it is worth, it comes under a rule of its own in Japan (JP:personal)."]
    dearest = parcel("JP", "2024-06-03", 1_000_000_001, "JPY", "950300", nature="sale", consignee="natural")
    assert set(owed(dearest)) >= {"consumption_tax_personal"}


def test_japan_cuts_the_base_to_a_thousand_yen_and_the_tax_to_a_hundred() -> None:
    # 60 % of 21,500 are 12,900, cut to 12,000; 3 % of it are 360, cut to 300; 12,900 + 300 are cut to 13,000.
    assert owed(jp(21_500, **OWN)) == {"customs_duty_personal": 300, "consumption_tax_personal": 1_300}
    assert owed(jp(20_999)) == {"customs_duty": 600, "consumption_tax": 2_100}


def test_japan_never_frees_knitwear_but_as_a_gift() -> None:
    assert owed(jp(5_000, KNIT)) == {"customs_duty": 500, "consumption_tax": 500}
    assert owed(jp(5_000, KNIT, **OWN)) == {"customs_duty_personal": 300, "consumption_tax_personal": 300}
    assert owed(jp(16_666, KNIT, **GIFT)) == {}
    assert owed(jp(16_667, KNIT, **GIFT)) != {}


def test_japan_raised_the_consumption_tax_in_october_2019_but_on_food() -> None:
    assert owed(jp(20_000, on="2019-09-30"))["consumption_tax"] == 1_600
    assert owed(jp(20_000, on="2019-10-01"))["consumption_tax"] == 2_000
    assert owed(jp(20_000, "190531", on="2019-10-01"))["consumption_tax"] == 1_600


def test_japan_the_post_collects_from_the_addressee() -> None:
    assert collected(jp(20_000, service="post")) == {ADDRESSEE}
    assert collected(jp(20_000)) == {CUSTOMS}


def test_indonesia_rounds_every_charge_up_to_the_rupiah() -> None:
    # 1,000,001 rupiah: duty 7.5 % = 75,000.075; tax 11 % of 1,075,002 = 118,250.22.
    assert owed(parcel("ID", "2026-03-02", 1_000_001_00, "IDR", TOY)) == {"customs_duty": 75_001_00, "ppn": 118_251_00}
