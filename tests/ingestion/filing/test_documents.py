"""Correspondence and documents are filed with the elements of their destination's data set; goods under this nature need all elements.

The rows of the law are written here; that of the European Union, which is included, needs neither code nor price (docs/release-categories.md).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from libs.columns import Table
from libs.release_law.law import ReleaseLaw, included, read_all
from libs.server import catalogue
from luxor.consignment.v1 import consignment_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.ingestion.filing import validation
from tests.ingestion.consignments import consignment

LAW = """
format: 1
jurisdiction: XX
name: Nowhere
version: "1"
currency: EUR
areas: [DE]
references: {act: {law: Act}}
data_sets:
  priced: {elements: [items.description, items.price_minor], reference: act}
  full_names: {elements: [declarant_name, items.description, items.origin_country], reference: act}
categories:
  documents:
    - {from: 2026-01-01, to: 2026-06-30, only: {nature: [document], service: [post]}, formality: {declaration: none}, data_set: priced,
       reference: act}
    - {from: 2026-01-01, to: 2026-06-30, only: {nature: [document], gross_mass_max_kg: 2}, excluded: ["4907"], formality: {declaration: none},
       data_set: full_names, reference: act}
    - {from: 2026-07-01, to: 2026-07-31, formality: {declaration: none}, reference: act}
    - {from: 2026-08-01, to: 2026-08-31, certain: false, formality: {declaration: none}, data_set: priced, reference: act}
    - {from: 2026-09-01, to: 2026-09-30, amount: none, reference: act}
"""
JUNE = date(2026, 6, 30)
NO_SET, GOODS, MISSING = "DOCUMENTS_WITHOUT_DATA_SET", "DOCUMENTS_WITH_GOODS", "ELEMENT_MISSING"
CODE, PRICE = "items[0].commodity_code", "items[0].price.minor"


def letter(number: int = 0, items: int = 1) -> Consignment:
    """A letter as the Guidelines' first category describes it: no code, no price, no order."""
    row = consignment(number)
    row.nature = pb.NATURE_DOCUMENT
    for name in ("order", "fiscal_references", "additional_procedures"):
        row.ClearField(name)
    del row.items[:]
    for _ in range(items):
        row.items.add(description="Letters", origin_country="CN")
    row.declarant.name = "Broker"
    return row


def found(*rows: Consignment, law: ReleaseLaw | None = None, on: date = JUNE) -> list[tuple[str, str]]:
    table = Table.from_messages(rows, ConsignmentColumns, Consignment)
    checked = validation.check(table, law=law, day=(on - date(1970, 1, 1)).days)
    errors = [(each.reason, each.path) for row in checked.errors.values() for each in row]
    assert {row for row, each in checked.errors.items() if each} == {
        row for row, refused in enumerate(checked.refused.tolist()) if refused
    }
    assert all(reason in catalogue.reasons() for reason, _ in errors)
    return errors


def only(*rows: Consignment, law: ReleaseLaw | None = None, on: date = JUNE) -> list[tuple[str, str]]:
    return [(reason, path.partition("].")[2]) for reason, path in found(*rows, law=law, on=on)]


def nowhere(text: str = LAW) -> ReleaseLaw:
    return read_all({"xx.yaml": text})


def test_the_union_takes_letters_without_code_and_price() -> None:
    assert found(letter(0), consignment(1), letter(2, items=3), law=included()) == []


@pytest.mark.parametrize("country", ["GB", "US", "AU", "CA", "NZ", "CH", "JP"])
def test_destinations_whose_law_states_no_documents_demand_all_elements_and_say_so(country: str) -> None:
    row = letter()
    row.destination_country = country
    assert only(row, law=included()) == [(NO_SET, CODE), (NO_SET, PRICE)]
    row.items[0].commodity_code = "490199"
    row.items[0].price.minor, row.items[0].price.currency = 0, "EUR"
    assert only(row, law=included()) == [], "as before"


def test_the_country_of_the_consignee_counts_where_no_destination_is_filed() -> None:
    row = letter()
    row.ClearField("destination_country")
    assert only(row, law=included()) == []
    row.consignee.address.country = "US"
    assert only(row, law=included()) == [(NO_SET, CODE), (NO_SET, PRICE)]


@pytest.mark.parametrize("nature", [n for n in pb.Nature.values() if n not in (0, pb.NATURE_DOCUMENT)])
def test_goods_of_another_nature_need_code_and_price(nature: int) -> None:
    row = letter()
    row.nature = nature
    assert [each for each in only(row, law=included()) if each[0] != "RETURN_WITHOUT_REFERENCE"] == [
        (MISSING, CODE),
        (MISSING, PRICE),
    ]


def priced(row: Consignment, minor: int, place: int = 0) -> None:
    row.items[place].price.minor, row.items[place].price.currency = minor, "EUR"


MIXED: dict[str, Callable[[Consignment], object]] = {
    "another item has a price": lambda row: priced(row, 1, 1),
    "another item is stated as worth nothing": lambda row: priced(row, 0, 1),
    "another item has the code of goods": lambda row: setattr(row.items[1], "commodity_code", "851713"),
    "an item has the identifier of a product": lambda row: setattr(row.items[1], "gtin", "4006381333931"),
    "an item is dangerous": lambda row: setattr(row.items[1], "un_number", "1266"),
    "a telephone": lambda row: row.items[1].imeis.append("490154203237518"),
    "a chemical": lambda row: setattr(row.items[1], "cas_number", "50-00-0"),
    "a currency without an amount": lambda row: setattr(row.items[0].price, "currency", "EUR"),
    "a payment": lambda row: row.payment.amount.MergeFrom(pb.Money(minor=1, currency="EUR")),
    "a total": lambda row: row.invoice_total.MergeFrom(pb.Money(minor=1, currency="EUR")),
    "insurance": lambda row: row.insurance.MergeFrom(pb.Money(minor=1, currency="EUR")),
    "an order at a platform": lambda row: setattr(row.order, "platform", "shop.example"),
    "the number of an order": lambda row: setattr(row.order, "number", "O-1"),
    "the reference of a payment": lambda row: setattr(row.payment, "reference", "P-1"),
    "a number of the import scheme": lambda row: row.fiscal_references.add(
        scheme=pb.SCHEME_IOSS, number="IM2760000017"
    ),
    "a merchant's identifier": lambda row: setattr(row.items[1], "merchant_product_id", "M-1"),
    "a manufacturer's identifier": lambda row: setattr(row.items[1], "manufacturer_product_id", "F-1"),
    "tax was charged": lambda row: row.items[1].tax_charged.MergeFrom(pb.Money(minor=1, currency="EUR")),
}


@pytest.mark.parametrize("case", MIXED)
def test_goods_among_documents_need_code_and_price_of_every_item(case: str) -> None:
    row = letter(items=2)
    MIXED[case](row)
    wanted = [
        (GOODS, f"items[{place}].{name}")
        for name, lacks in (
            ("commodity_code", lambda item: not item.commodity_code),
            ("price.minor", lambda item: not item.price.HasField("minor")),
        )
        for place, item in enumerate(row.items)
        if lacks(item)
    ]
    assert [each for each in only(row, law=included()) if each[0] != MISSING or "price" in each[1]] == wanted
    # Complete, it is accepted as it ever was.
    for item in row.items:
        item.commodity_code = item.commodity_code or "490199"
        item.price.minor, item.price.currency = item.price.minor, "EUR"
    assert only(row, law=included()) == []


@pytest.mark.parametrize("code", ["490600", "491110", "491199"])
def test_manuscripts_plans_and_printed_papers_may_have_their_code_and_no_price(code: str) -> None:
    row = letter(items=2)
    row.items[1].commodity_code = code
    assert only(row, law=included()) == []


@pytest.mark.parametrize("code", ["490199", "490300", "490700", "490900", "491000", "491191"])
def test_what_is_sold_of_chapter_49_needs_code_and_price(code: str) -> None:
    row = letter(items=2)
    row.items[1].commodity_code = code
    assert only(row, law=included()) == [
        (GOODS, CODE), (GOODS, PRICE), (GOODS, "items[1].price.minor"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        lambda row: setattr(row.items[0], "commodity_code", "851713"),
        lambda row: setattr(row.items[1], "gtin", "4006381333931"),
        lambda row: setattr(row.order, "platform", "shop.example"),
    ],
)
def test_the_price_zero_does_not_make_documents_of_goods(change: Callable[[Consignment], object]) -> None:
    row = letter(items=2)
    for place in (0, 1):
        priced(row, 0, place)
    assert only(row, law=included()) == []
    change(row)
    lacking = [place for place in (0, 1) if not row.items[place].commodity_code]
    assert only(row, law=included()) == [(GOODS, f"items[{place}].commodity_code") for place in lacking]


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row.insurance.MergeFrom(pb.Money(minor=0, currency="EUR")),
        lambda row: row.freight.MergeFrom(pb.Money(minor=900, currency="EUR")),
        lambda row: row.fiscal_references.add(scheme=pb.SCHEME_SPECIAL_ARRANGEMENTS, number="DE123456789"),
    ],
)
def test_what_carriers_state_of_all_consignments_makes_no_goods_of_letters(
    change: Callable[[Consignment], object],
) -> None:
    row = letter()
    change(row)
    assert only(row, law=included()) == []


def test_one_filing_does_not_change_what_another_needs() -> None:
    mixed = letter(1, items=2)
    priced(mixed, 5)
    elsewhere = letter(2)
    elsewhere.destination_country = "US"
    sale = consignment(3)
    sale.items[0].ClearField("commodity_code")
    assert found(letter(0), mixed, elsewhere, sale, law=included()) == [
        (GOODS, "consignments[1].items[0].commodity_code"),
        (GOODS, "consignments[1].items[1].commodity_code"),
        (GOODS, "consignments[1].items[1].price.minor"),
        (NO_SET, "consignments[2].items[0].commodity_code"),
        (NO_SET, "consignments[2].items[0].price.minor"),
        (MISSING, "consignments[3].items[0].commodity_code"),
    ]


def test_the_data_set_of_the_first_entry_that_applies_is_required_and_nothing_else() -> None:
    express, post = letter(0), letter(1)
    post.transport.service = pb.TRANSPORT_SERVICE_POST
    assert only(express, law=nowhere()) == []
    assert only(post, law=nowhere()) == [(MISSING, PRICE)]
    express.ClearField("declarant")
    express.items[0].ClearField("origin_country")
    assert only(express, law=nowhere()) == [(MISSING, "declarant.name"), (MISSING, "items[0].origin_country")]
    # With code and price nothing of the data set is demanded, as before.
    express.items[0].commodity_code = "490199"
    priced(express, 0)
    assert only(express, law=nowhere()) == []


@pytest.mark.parametrize(("mass_mg", "reasons"), [(2_000_000, set()), (2_000_001, {NO_SET})])
def test_documents_above_the_mass_of_the_law_need_all_elements(mass_mg: int, reasons: set[str]) -> None:
    row = letter()
    row.gross_mass_mg = mass_mg
    assert {reason for reason, _ in only(row, law=nowhere())} == reasons


def test_codes_that_the_law_excludes_are_goods() -> None:
    row = letter(items=2)
    row.items[0].commodity_code = "490700"
    assert only(row, law=nowhere()) == [
        (GOODS, "items[1].commodity_code"),
        (GOODS, PRICE),
        (GOODS, "items[1].price.minor"),
    ]


@pytest.mark.parametrize(
    ("on", "reasons"),
    [
        (date(2025, 12, 31), {NO_SET}),
        (date(2026, 1, 1), set()),
        (date(2026, 6, 30), set()),
        # No data set; not certain; not in the law; no entry.
        (date(2026, 7, 1), {NO_SET}),
        (date(2026, 8, 31), {NO_SET}),
        (date(2026, 9, 1), {NO_SET}),
        (date(2026, 10, 1), {NO_SET}),
    ],
)
def test_the_law_of_the_day_counts(on: date, reasons: set[str]) -> None:
    assert {reason for reason, _ in only(letter(), law=nowhere(), on=on)} == reasons


def test_without_any_law_all_elements_are_required() -> None:
    assert only(letter()) == [(NO_SET, CODE), (NO_SET, PRICE)]


def test_a_description_is_always_required() -> None:
    row = letter()
    row.items[0].ClearField("description")
    assert only(row, law=included()) == [(MISSING, "items[0].description")]
