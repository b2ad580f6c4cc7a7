"""What filings lack for each stage, element by element and at both ends of the days and conditions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pytest

from libs.columns import Table
from libs.customs.time import day_of_date
from libs.filing_stages.completeness import additions, before_declaration, gaps, lacks, required_parts
from libs.filing_stages.law import Stage, included
from luxor.consignment.v1 import consignment_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from tests.ingestion.consignments import clear, consignment, put

Change = Callable[[pb.Consignment], object]
EARLY = ("nature", "items[0].price", "items[0].commodity_code")
"""What the minimum set does not have."""


def table(*rows: pb.Consignment) -> Table:
    return Table.from_messages(rows, ConsignmentColumns, pb.Consignment)


def changed(*changes: Change) -> pb.Consignment:
    row = consignment(1)
    for change in changes:
        change(row)
    return row


def early(*changes: Change) -> pb.Consignment:
    row = consignment(1)
    for path in EARLY:
        clear(row, path)
    for change in changes:
        change(row)
    return row


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (early(), True),
        (early(lambda row: setattr(row.items[0], "commodity_code", "620630")), True),
        (early(lambda row: setattr(row.transport, "mode", pb.TRANSPORT_MODE_POST)), True),
        (early(lambda row: setattr(row.transport, "mode", pb.TRANSPORT_MODE_SEA)), False),
        (early(lambda row: row.transport.ClearField("mode")), False),
        (early(lambda row: setattr(row, "nature", pb.NATURE_SALE)), False),
        (early(lambda row: setattr(row.items[0].price, "minor", 0)), False),
        (early(lambda row: setattr(row.items[0].price, "currency", "EUR")), False),
        (early(lambda row: setattr(row.items.add().price, "minor", 5)), False),
        (consignment(1), False),
    ],
)  # fmt: skip
def test_a_filing_without_nature_and_price_by_air_or_post_is_made_before_the_declaration(
    row: pb.Consignment, expected: bool
) -> None:
    assert before_declaration(table(consignment(0), row), included()).tolist() == [False, expected]


@pytest.mark.parametrize(
    ("element", "change", "expected"),
    [
        ("gross_mass_mg", lambda row: None, False),
        ("gross_mass_mg", lambda row: row.ClearField("gross_mass_mg"), True),
        ("items.description", lambda row: None, False),
        ("items.description", lambda row: row.items.add(), True),
        ("items.description", lambda row: row.ClearField("items"), True),
        ("packages.count|items.packages.count", lambda row: row.packages[0].ClearField("count"), True),
        ("packages.count|items.packages.count", lambda row: setattr(row.packages[0], "count", 0), False),
        ("packages.count|items.packages.count", lambda row: (row.ClearField("packages"), row.items.add().packages.add(count=1)), False),
        ("consignee_address_street|consignee_address_city", lambda row: row.consignee.address.ClearField("city"), False),
        ("consignee_address_street|consignee_address_city", lambda row: row.consignee.address.ClearField("street"), False),
        ("consignee_address_street|consignee_address_city", lambda row: row.consignee.ClearField("address"), True),
        ("buyer_identifier:PERSONAL_CUSTOMS_CODE", lambda row: put(put(row, "buyer.identifier", "P1"), "buyer.identifier_type", 5), False),
        ("buyer_identifier:PERSONAL_CUSTOMS_CODE", lambda row: put(put(row, "buyer.identifier", "P1"), "buyer.identifier_type", 6), True),
        ("buyer_identifier:PERSONAL_CUSTOMS_CODE", lambda row: setattr(row.buyer, "identifier_type", 5), True),
        ("fiscal_references", lambda row: None, False),
        ("fiscal_references", lambda row: row.ClearField("fiscal_references"), True),
    ],
)  # fmt: skip
def test_an_element_is_lacking_without_any_of_its_alternatives(element: str, change: Change, expected: bool) -> None:
    assert lacks(table(consignment(0), changed(change)), element).tolist() == [
        bool(lacks(table(consignment(0)), element)[0]),
        expected,
    ]


def test_the_gaps_of_a_minimum_set_name_code_price_and_nature_at_the_stages_that_need_them() -> None:
    found = {stage: set(names) for stage, names in gaps(table(early()), included(), np.array([20_788]))[0]}
    assert Stage.PRE_LOADING not in found
    assert {"items.commodity_code", "nature", "items.price_minor"} & found[Stage.PRE_ARRIVAL] == {
        "items.commodity_code"
    }
    for stage in (Stage.SIMPLIFIED, Stage.FULL):
        assert {"items.commodity_code", "nature", "items.price_minor"} <= found[stage]
    assert "items.valuation_method" in found[Stage.FULL] - found[Stage.SIMPLIFIED]
    # Product identifiers are those of sales, and nothing says that this is one.
    assert "items.merchant_product_id" not in found[Stage.SIMPLIFIED]


def test_rows_do_not_depend_on_each_other_and_what_lacks_nothing_has_no_gaps() -> None:
    rows = [early(), early(lambda row: row.ClearField("packages")), consignment(0)]
    days = np.full(3, 20_788)
    together = gaps(table(*rows), included(), days)
    assert together == [gaps(table(row), included(), days[:1])[0] for row in rows]
    assert (Stage.PRE_LOADING, ("packages.count|items.packages.count",)) in together[1]
    complete = consignment(0)
    for element in included().elements:
        assert not element.always or "m" in element.stages
    assert Stage.PRE_LOADING not in dict(gaps(table(complete), included(), days[:1])[0])


def added(row: pb.Consignment, day: date, stage: Stage = Stage.SIMPLIFIED) -> list[tuple[str, str]]:
    """Return what jurisdictions add and a filing of a day lacks, whether the day is one of all rows or that of each."""
    found = [
        [(jurisdiction, each.element) for jurisdiction, each, rows in additions(table(row), included(), stage, days)]
        for days in (day_of_date(day), np.array([day_of_date(day)]))
    ]
    assert found[0] == found[1]
    return found[0]


def sale(country: str, *changes: Change) -> pb.Consignment:
    return changed(lambda row: setattr(row, "destination_country", country), *changes)


IDENTIFIERS = [("EU", "items.merchant_product_id"), ("EU", "items.manufacturer_product_id")]


def _without_identifiers(row: pb.Consignment) -> None:
    row.items[0].ClearField("merchant_product_id")
    row.items[0].ClearField("manufacturer_product_id")


def test_product_identifiers_are_mandatory_for_sales_to_the_union_from_november_2026() -> None:
    first, before = date(2026, 11, 1), date(2026, 10, 31)
    for country, day, expected in (("DE", first, IDENTIFIERS), ("DE", before, []), ("NZ", first, [])):
        assert added(sale(country, _without_identifiers), day) == expected
    assert added(sale("DE", _without_identifiers), first, Stage.FULL) == IDENTIFIERS
    assert added(sale("DE", _without_identifiers), first, Stage.PRE_ARRIVAL) == []
    assert added(sale("DE", _without_identifiers, lambda row: setattr(row, "nature", pb.NATURE_GIFT)), first) == []
    assert added(sale("", _without_identifiers), first) == IDENTIFIERS, "the consignee's country"
    assert added(sale("DE"), first) == []


@pytest.mark.parametrize(
    ("country", "first"),
    [("DE", date(2021, 7, 1)), ("GB", date(2021, 1, 1)), ("NO", date(2024, 1, 1)), ("CH", date(2025, 1, 1)),
     ("AU", date(2018, 7, 1)), ("NZ", date(2019, 12, 1)), ("SG", date(2023, 1, 1))],
)  # fmt: skip
def test_a_scheme_number_is_mandatory_where_tax_was_charged_at_sale(country: str, first: date) -> None:
    def untold(row: pb.Consignment) -> None:
        row.ClearField("fiscal_references")

    def charged(amount: int) -> Change:
        return lambda row: setattr(row.items[0].tax_charged, "minor", amount)

    before = date.fromordinal(first.toordinal() - 1)
    for day, expected in ((first, ["fiscal_references"]), (before, [])):
        assert [name for _, name in added(sale(country, untold, charged(1)), day)] == expected
        including = sale(country, untold, lambda row: setattr(row, "prices_include_tax", True))
        assert [name for _, name in added(including, day)] == expected
    assert added(sale(country, untold, charged(0)), first) == []
    assert added(sale(country, charged(1)), first) == []


def test_korea_asks_natural_persons_for_the_personal_customs_code() -> None:
    element = "buyer_identifier:PERSONAL_CUSTOMS_CODE|consignee_identifier:PERSONAL_CUSTOMS_CODE"

    def of(kind: int) -> Change:
        return lambda row: setattr(row.consignee, "person_type", kind)

    def code(row: pb.Consignment) -> None:
        row.consignee.identifier = "P123456789012"
        row.consignee.identifier_type = pb.IDENTIFIER_TYPE_PERSONAL_CUSTOMS_CODE

    first = date(2020, 12, 1)
    assert added(sale("KR", of(pb.PERSON_TYPE_NATURAL)), first) == [("KR", element)]
    assert added(sale("KR", of(pb.PERSON_TYPE_NATURAL)), date(2020, 11, 30)) == []
    assert added(sale("KR", of(pb.PERSON_TYPE_LEGAL)), first) == []
    assert added(sale("KR", of(pb.PERSON_TYPE_NATURAL), code), first) == []


def test_china_asks_for_order_payment_and_transport_document_under_its_scheme() -> None:
    def scheme(row: pb.Consignment) -> None:
        row.fiscal_references[0].scheme = pb.SCHEME_CBEC

    def bare(row: pb.Consignment) -> None:
        for name in ("order", "house_document"):
            row.ClearField(name)

    day = date(2019, 1, 1)
    missing = [
        "order_platform", "order_number", "payment_reference", "payment_payer", "payment_amount_minor", "house_document_number",
        "buyer_identifier|consignee_identifier",
    ]  # fmt: skip
    assert [name for _, name in added(sale("CN", scheme, bare), day)] == missing
    assert added(sale("CN", bare), day) == []
    assert added(sale("CN", scheme, bare), date(2018, 12, 31)) == []


@pytest.mark.parametrize(
    ("country", "scheme", "day", "is_required"),
    [
        ("CN", pb.SCHEME_CBEC, date(2019, 1, 1), True),
        ("CN", pb.SCHEME_CBEC, date(2018, 12, 31), False),
        ("CN", pb.SCHEME_IOSS, date(2026, 1, 1), False),
        ("DE", pb.SCHEME_CBEC, date(2026, 1, 1), False),
    ],
)
def test_china_requires_three_parts_under_its_scheme(
    country: str, scheme: pb.Scheme.ValueType, day: date, is_required: bool
) -> None:
    row = consignment(0)
    row.destination_country, row.fiscal_references[0].scheme = country, scheme
    expected = ("PLATFORM", "PAYMENT_PROVIDER", "CARRIER") if is_required else ()
    other = sale("DE")
    assert required_parts(table(other, row), included(), day_of_date(day)) == [(), expected]


def test_the_identifier_of_a_firm_in_the_union_belongs_to_the_stages_before_arrival() -> None:
    firm = sale("DE", lambda row: setattr(row.consignee, "person_type", pb.PERSON_TYPE_LEGAL))
    person = sale("DE", lambda row: setattr(row.consignee, "person_type", pb.PERSON_TYPE_NATURAL))
    day = date(2021, 3, 15)
    for stage in (Stage.PRE_LOADING, Stage.PRE_ARRIVAL):
        assert added(firm, day, stage) == [("EU", "consignee_identifier")]
        assert added(person, day, stage) == []
        assert added(firm, date(2021, 3, 14), stage) == []


@pytest.mark.parametrize(
    ("element", "change"),
    [
        ("returned_document_number|returned_mrn", lambda row: setattr(row, "nature", pb.NATURE_RETURN)),
        ("receptacles", lambda row: clear(put(row, "transport.service", pb.TRANSPORT_SERVICE_POST), "receptacles")),
        ("items.tax_charged_minor", lambda row: setattr(row, "prices_include_tax", True)),
    ],
)  # fmt: skip
def test_a_conditional_element_is_lacking_only_where_its_condition_is_met(element: str, change: Change) -> None:
    def without_receptacles(row: pb.Consignment) -> None:
        row.ClearField("receptacles")

    def lacked(row: pb.Consignment) -> bool:
        return any(element in names for _, names in gaps(table(row), included(), np.array([20_788]))[0])

    assert lacked(changed(change))
    assert not lacked(changed(without_receptacles))
