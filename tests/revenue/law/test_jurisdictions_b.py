"""The edges of the law of the United States, Canada, Australia, New Zealand and Brazil: days, limits, and who collects."""

import pytest

from services.revenue.law.assess.assessment import assess
from services.revenue.law.batch.reasons import Reason
from services.revenue.law.source.overlay import overlay
from services.revenue.law.text.explanation import explain
from services.revenue.store.law_files import law_files, program_of
from tests.revenue.law.batches import assessed, filings
from tests.revenue.law.edges import assessment, collected, law, owed, parcel
from tests.revenue.law.oracle_charges import Consignment

TOY, DRESS, BOOK, WINE = "950300", "620442", "490199", "220421"
CUSTOMS, VENDOR, CARRIER, POST = (
    ("customs", "declarant"),
    ("vendor", "vendor"),
    ("carrier", "carrier"),
    ("postal_operator", "carrier"),
)
ADDRESSEE = ("postal_operator", "consignee")


def us(on: str, price: int = 10_000, code: str = DRESS, **more: object) -> Consignment:
    return parcel("US", on, price, "USD", code, **more)


def test_united_states_one_person_imports_eight_hundred_dollars_a_day_free() -> None:
    assert owed(us("2024-06-03", 80_000)) == {}
    assert owed(us("2024-06-03", 80_001)) == {"customs_duty": 12_800}
    assert owed(us("2024-06-03", 40_000), {"section_321": 40_000}) == {}
    assert owed(us("2024-06-03", 40_000), {"section_321": 40_001}) == {"customs_duty": 6_400}


def test_united_states_the_exemption_ends_for_products_of_china_on_the_second_of_may_2025() -> None:
    assert owed(us("2025-05-01", origin="CN")) == {}
    assert owed(us("2025-05-02", origin="CN")) == {
        "customs_duty_china": 1_600,
        "additional_duty_china": 14_500,
        "section_301_duty_china": 750,
    }
    assert owed(us("2025-05-14", origin="HK")) == {"customs_duty_china": 1_600, "additional_duty_china": 3_000}
    assert owed(us("2025-05-02", origin="VN")) == {}
    assert owed(us("2025-05-02", origin="CN", service="post")) == {"postal_duty_china": 12_000}
    assert collected(us("2025-05-02", origin="CN", service="post")) == {POST}


def test_united_states_the_exemption_ends_for_all_on_the_twenty_ninth_of_august_2025() -> None:
    assert owed(us("2025-08-28", origin="VN")) == {}
    assert owed(us("2025-08-29", origin="VN")) == {"customs_duty": 1_600, "additional_duty": 2_000}
    assert collected(us("2025-08-29", origin="VN")) == {CUSTOMS}


def test_united_states_fifteen_per_cent_hold_the_general_rate_where_that_was_agreed() -> None:
    def additional(on: str, origin: str) -> int:
        return owed(us(on, origin=origin)).get("additional_duty", 0)

    assert [additional("2025-11-13", origin) for origin in ("DE", "CH", "KR", "LI")] == [0, 3_900, 1_500, 1_500]
    # The general rate of the dress is 16 per cent: nothing is added to it.
    assert [additional("2025-11-14", origin) for origin in ("DE", "CH", "KR", "LI")] == [0, 0, 0, 0]
    assert owed(us("2025-11-14", code="640299", origin="CH")) == {"customs_duty": 1_200, "additional_duty": 300}


def test_united_states_telephones_and_medicines_bear_no_reciprocal_duty_and_no_surcharge() -> None:
    def added(on: str, origin: str, code: str = "85171300") -> int:
        due = owed(us(on, 90_000, code, origin=origin))
        return sum(due.get(name, 0) for name in ("additional_duty", "additional_duty_china", "import_surcharge"))

    assert [added("2025-04-04", origin) for origin in ("VN", "CN")] == [0, 18_000]
    assert [added("2025-04-05", origin) for origin in ("VN", "CN")] == [0, 18_000]
    assert [added("2025-11-10", origin) for origin in ("VN", "CN", "DE", "IN", "BR", "CA")] == [
        0,
        9_000,
        0,
        0,
        36_000,
        31_500,
    ]
    assert [added("2026-03-02", origin) for origin in ("VN", "CN")] == [0, 0]
    assert (added("2025-11-10", "VN", "300490"), added("2025-11-10", "VN", TOY)) == (0, 18_000)
    assert added("2026-03-02", "VN", TOY) == 9_000
    # Under the exemption, which products of China lost before all others.
    assert owed(us("2025-05-02", 10_000, "85171300", origin="CN")).get("additional_duty_china") == 2_000


def test_united_states_brazil_owes_its_forty_per_cent_a_day_before_the_reciprocal_rates() -> None:
    dear = [us(on, 90_000, origin="BR") for on in ("2025-08-05", "2025-08-06")]
    assert [owed(filed)["additional_duty"] for filed in dear] == [9_000, 45_000]
    assert owed(us("2025-08-06", 90_000, origin="VN"))["additional_duty"] == 9_000


def test_united_states_a_bundle_in_one_day_owes_no_less_than_one_parcel_of_china() -> None:
    together = owed(us("2025-06-02", 50_000, origin="CN"), {"section_321": 50_000})
    assert together == {"customs_duty": 8_000, "additional_duty": 15_000, "section_301_duty": 3_750}


def test_united_states_the_post_owes_by_the_item_or_by_value_where_a_qualified_party_is_named() -> None:
    by_item = us("2025-08-29", origin="VN", service="post")
    by_value = us("2025-08-29", origin="VN", service="post", schemes=[("qualified_party", "QP-1234")])
    assert (owed(by_item), collected(by_item)) == ({"postal_specific_duty": 16_000}, {POST})
    assert (owed(by_value), collected(by_value)) == ({"postal_duty": 2_000}, {CARRIER})


def test_united_states_what_is_too_dear_for_the_post_owes_as_all_else() -> None:
    assert owed(us("2025-08-29", 80_000, origin="VN", service="post")) == {"postal_specific_duty": 16_000}
    over = us("2025-08-29", 80_001, origin="VN", service="post")
    assert owed(over) == {"customs_duty": 12_800, "additional_duty": 16_000}


def test_united_states_china_changes_its_step_by_post_with_its_rate() -> None:
    assert owed(us("2025-11-09", origin="CN", service="post")) == {"postal_specific_duty": 20_000}
    assert owed(us("2025-11-10", origin="CN", service="post")) == {"postal_specific_duty": 16_000}


def test_united_states_goods_of_the_union_pay_fifteen_per_cent_in_all() -> None:
    assert owed(us("2025-10-01", code=TOY, origin="DE")) == {"additional_duty": 1_500}
    assert owed(us("2025-10-01", code="610910", origin="DE")) == {"customs_duty": 1_650}


def test_united_states_the_surcharge_follows_the_additional_duties_for_a_hundred_and_fifty_days() -> None:
    assert owed(us("2026-02-23", origin="VN")) == {"customs_duty": 1_600, "additional_duty": 2_000}
    assert owed(us("2026-02-24", origin="VN")) == {"customs_duty": 1_600, "import_surcharge": 1_000}
    assert owed(us("2026-07-23", origin="VN")) == {"customs_duty": 1_600, "import_surcharge": 1_000}
    assert owed(us("2026-07-24", origin="VN")) == {"customs_duty": 1_600}


def test_united_states_the_post_owes_the_surcharge_alone_until_the_rules_of_june_2026() -> None:
    assert owed(us("2026-02-23", service="post")) == {"postal_specific_duty": 8_000}
    assert owed(us("2026-02-24", service="post")) == {"import_surcharge": 1_000}
    assert collected(us("2026-02-24", service="post")) == {POST}
    assert collected(us("2026-02-24", service="post", schemes=[("qualified_party", "QP-1234")])) == {CARRIER}
    assert owed(us("2026-06-23", service="post")) == {"import_surcharge": 1_000}
    assert owed(us("2026-06-24", service="post")) == {"customs_duty": 1_600, "import_surcharge": 1_000}


def test_united_states_gifts_up_to_a_hundred_dollars_and_books_stay_free() -> None:
    gift = {"nature": "gift", "consignor": "natural"}
    assert owed(us("2026-03-02", 10_000, **gift)) == {}
    assert owed(us("2026-03-02", 10_001, **gift)) == {"customs_duty": 1_600, "import_surcharge": 1_000}
    assert owed(us("2026-03-02", 10_000, nature="gift", consignor="legal")) == {
        "customs_duty": 1_600,
        "import_surcharge": 1_000,
    }
    assert owed(us("2026-03-02", code=BOOK)) == {}


def ca(on: str, price: int, **more: object) -> Consignment:
    return parcel("CA", on, price, "CAD", DRESS, **{"service": "express", "dispatch": "US", **more})


def test_canada_the_thresholds_of_the_continent_begin_on_the_first_of_july_2020() -> None:
    assert owed(ca("2020-06-30", 2_000)) == {}
    assert owed(ca("2020-06-30", 4_000)) == {"customs_duty": 680, "gst": 234}
    assert owed(ca("2020-07-01", 4_000)) == {}
    assert owed(ca("2020-07-01", 15_000)) == {"gst": 750}
    assert owed(ca("2020-07-01", 15_001)) == {"customs_duty": 2_550, "gst": 878}


def test_brazil_tells_of_no_limit_by_a_law_that_is_younger() -> None:
    def told(on: str) -> str:
        return " ".join(explain(assessment(br(on, 1_000)), 0).results)

    def laws(on: str) -> set[str]:
        return {name for name in ("BR:prc-2023", "BR:prc-2024") if name in told(on)}

    assert (laws("2024-07-31"), laws("2024-08-01")) == ({"BR:prc-2023"}, {"BR:prc-2024"})


def test_canada_takes_no_gst_or_hst_of_books_and_toys_in_the_winter_of_2024() -> None:
    def tax(on: str, code: str = TOY) -> int:
        return owed(parcel("CA", on, 10_000, "CAD", code, service="express", dispatch="US", region="ON")).get("gst", 0)

    assert [tax(on) for on in ("2024-12-13", "2024-12-14", "2025-02-15", "2025-02-16")] == [1_300, 0, 0, 1_300]
    assert tax("2025-01-02", BOOK) == 0
    assert tax("2025-01-02", DRESS) == 1_300


def test_canada_goes_by_the_place_of_direct_shipment_and_mail_keeps_twenty_dollars() -> None:
    assert owed(ca("2024-06-03", 4_000, service="post")) == {"customs_duty": 680, "gst": 234}
    assert owed(ca("2024-06-03", 4_000, dispatch="CN")) == {"customs_duty": 680, "gst": 234}
    assert owed(ca("2024-06-03", 4_000, dispatch="CN", direct_shipment_place="USJFK")) == {}
    assert owed(ca("2024-06-03", 4_000, dispatch="US", direct_shipment_place="CNSHA")) == {
        "customs_duty": 680,
        "gst": 234,
    }


def test_canada_leaves_freight_out_of_limit_duty_and_tax() -> None:
    assert owed(ca("2024-06-03", 2_000, dispatch="CN", freight=(3_000, "CAD"))) == {}
    assert owed(ca("2024-06-03", 4_000, dispatch="CN", freight=(3_000, "CAD"))) == {"customs_duty": 680, "gst": 234}


def test_canada_converts_at_the_day_of_direct_shipment_and_says_where_it_is_not_told() -> None:
    rates = {
        "2023": owed(parcel("CA", "2023-12-29", 10_000, "USD", DRESS)),
        "2024": owed(parcel("CA", "2024-01-02", 10_000, "USD", DRESS)),
    }
    assert rates["2023"] != rates["2024"]


def test_canada_couriers_collect_up_to_their_ceiling_and_the_post_from_the_addressee() -> None:
    number = [("clvs", "1ABC")]
    assert collected(ca("2024-06-03", 330_000, schemes=number)) == {CARRIER}
    assert collected(ca("2024-06-03", 330_001, schemes=number)) == {CUSTOMS}
    assert collected(ca("2020-06-30", 250_001, schemes=number)) == {CUSTOMS}
    assert collected(ca("2024-06-03", 10_000, schemes=[("clvs", "?")])) == {CUSTOMS}
    assert collected(ca("2024-06-03", 10_000, service="post")) == {ADDRESSEE}


@pytest.mark.parametrize(
    ("region", "on", "consignee", "taxes"),
    [
        ("ON", "2024-06-03", "natural", {"gst": 1_300}),
        ("ON", "2024-06-03", "legal", {"gst": 500}),
        ("AB", "2024-06-03", "natural", {"gst": 500}),
        ("NS", "2025-03-31", "natural", {"gst": 1_500}),
        ("NS", "2025-04-01", "natural", {"gst": 1_400}),
        ("Quebec", "2024-06-03", "natural", {"gst": 500, "provincial_sales_tax": 998}),
        ("QC", "2024-06-03", "legal", {"gst": 500}),
        ("MB", "2019-06-30", "natural", {"customs_duty": 1_700, "gst": 585, "provincial_sales_tax": 936}),
        ("MB", "2019-07-01", "natural", {"customs_duty": 1_700, "gst": 585, "provincial_sales_tax": 819}),
    ],
)
def test_canada_private_persons_pay_the_tax_of_their_province(
    region: str, on: str, consignee: str, taxes: dict[str, int]
) -> None:
    assert owed(ca(on, 10_000, region=region, consignee=consignee)) == taxes


def test_canada_charges_what_a_gift_is_worth_over_sixty_dollars() -> None:
    gift = {"nature": "gift", "consignor": "natural", "dispatch": "CN", "service": "post"}
    assert owed(ca("2024-06-03", 6_000, **gift)) == {}
    assert owed(ca("2024-06-03", 16_000, **gift)) == {"customs_duty": 1_700, "gst": 585}


def au(price: int, code: str = DRESS, **more: object) -> Consignment:
    return parcel("AU", "2026-08-03", price, "AUD", code, **more)


def test_australia_a_registered_vendor_collects_up_to_a_thousand_dollars() -> None:
    number = [("gst_lvg", "12345678901")]
    assert owed(au(100_000, schemes=number, freight=(500, "AUD"))) == {"gst_low_value": 10_050}
    assert collected(au(100_000, schemes=number)) == {VENDOR}
    assert owed(au(100_001, schemes=number)) == {"customs_duty": 5_000, "gst": 10_500}
    assert collected(au(100_001, schemes=number)) == {CUSTOMS}


def test_australia_without_a_registered_vendor_a_self_assessed_parcel_owes_nothing() -> None:
    assert owed(au(100_000)) == {}
    assert owed(au(100_000, schemes=[("gst_lvg", "12")])) == {}


def test_australia_alcohol_is_never_of_low_value() -> None:
    assert set(owed(au(2_000, WINE))) == {"customs_duty", "gst"}
    assert set(owed(au(2_000, WINE, schemes=[("gst_lvg", "12345678901")]))) == {"customs_duty", "gst"}


def nz(on: str, prices: int | list[int], code: str = TOY, **more: object) -> Consignment:
    return parcel("NZ", on, prices, "NZD", code, **more)


def test_new_zealand_waived_less_than_sixty_dollars_of_duty_and_tax_together_until_november_2019() -> None:
    assert owed(nz("2019-11-30", 39_990)) == {}
    assert owed(nz("2019-11-30", 40_000)) == {"gst": 6_000}
    assert owed(nz("2019-11-30", 22_600, "620442")) == {}
    assert owed(nz("2019-11-30", 22_700, "620442")) == {"customs_duty": 2_270, "gst": 3_746}


def test_new_zealand_the_vendor_collects_from_december_2019_and_the_border_only_over_a_thousand_dollars() -> None:
    number = [("gst_lvg", "123456789")]
    assert owed(nz("2019-12-01", 100_000, schemes=number)) == {"gst_at_sale": 15_000}
    assert collected(nz("2019-12-01", 100_000, schemes=number)) == {VENDOR}
    assert owed(nz("2019-12-01", 100_000)) == {}
    assert owed(nz("2019-12-01", 100_001, schemes=number)) == {"gst": 15_000}
    assert collected(nz("2019-12-01", 100_001, schemes=number)) == {CUSTOMS}


def test_new_zealand_what_was_taxed_at_the_sale_is_not_taxed_again_where_goods_together_are_over() -> None:
    pair = [70_000, 70_000]
    assert owed(nz("2024-06-03", pair, DRESS, schemes=[("gst_lvg", "123456789")])) == {
        "customs_duty": 14_000,
        "gst_at_sale": 21_000,
    }
    assert owed(nz("2024-06-03", pair, DRESS)) == {"customs_duty": 14_000, "gst_not_charged_at_sale": 23_100}


def test_new_zealand_takes_one_importers_goods_on_one_craft_together() -> None:
    assert owed(nz("2024-06-03", 60_000), {"low_value": 40_000}) == {}
    assert owed(nz("2024-06-03", 60_000), {"low_value": 40_001}) == {"gst_not_charged_at_sale": 9_000}


def test_new_zealand_levies_each_low_value_consignment_from_april_2026_by_the_way_it_came() -> None:
    assert owed(nz("2026-03-31", 5_000, mode="air")) == {}
    assert owed(nz("2026-04-01", 5_000, mode="air")) == {"goods_levy": 221, "goods_levy_gst": 33}
    assert owed(nz("2026-04-01", 5_000, mode="sea")) == {"goods_levy": 209, "goods_levy_gst": 31}
    by_post = nz("2026-04-01", 5_000, mode="air", service="post", mass_mg=2_000_000)
    assert owed(by_post) == {"mail_levy": 256, "mail_levy_gst": 38}
    assert collected(by_post) == {POST}
    assert owed(nz("2026-04-01", 100_001, mode="air")) == {"gst": 15_000}
    assert owed(nz("2026-04-01", 60_000, mode="air"), {"low_value": 60_000})["goods_levy"] == 221


def test_new_zealand_taxes_the_levy_once_whatever_the_lines_and_whatever_its_amount() -> None:
    ten = parcel("NZ", "2026-04-01", [1_000] * 10, "NZD", DRESS, mode="air")
    assert owed(ten) == {"goods_levy": 221, "goods_levy_gst": 33}
    path = "nz/rulebook.yaml: charges.goods_levy.rates[1].rate"
    dearer = program_of(overlay(law_files(), [(path, "4.40 NZD per consignment")]))
    levied = assessed(dearer, [ten])[0].charges
    sums = {
        name: sum(each.amount for each in levied if each.charge == name)
        for name in ("NZ.goods_levy", "NZ.goods_levy_gst")
    }
    assert sums == {"NZ.goods_levy": 440, "NZ.goods_levy_gst": 66}


def br(on: str, price: int, **more: object) -> Consignment:
    return parcel("BR", on, price, "BRL", DRESS, **more)


def test_brazil_quotes_nothing_over_three_thousand_dollars_as_if_it_were_simplified() -> None:
    # At the example rate of 0.1849 USD to the real 16,224.98 BRL are 2,999.99 USD.
    within = br("2026-03-02", 1_622_498, schemes=[("prc", "12345678000195")])
    assert owed(within) == {"import_tax": 962_682, "icms": 529_495}
    for scheme in ([], [("prc", "12345678000195")]):
        refused = assess(law(), filings([br("2026-03-02", 1_622_499, schemes=scheme)]))
        assert refused.reason.tolist() == [Reason.NO_DUTY_RATE]
