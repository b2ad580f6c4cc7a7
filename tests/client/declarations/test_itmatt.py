"""Tables with the attributes of ITMATT and the boxes of CN 22 and CN 23: each where it belongs, what is left out, and errors by their headers."""

import io
from typing import Any

import pytest

from libs.client.errors import LuxorError
from libs.client.filing.declarations.tables import itmatt, read_itmatt
from libs.client.filing.files import Read
from libs.client.row_errors import RowError
from libs.customs.identifiers import s10
from tests.support.declarations import flat, table_of

ITEM = "LX123456785ES"
BASE = {
    "item_id": ITEM,
    "Detailed description of contents": "Wooden toy train",
    "Value": "24.00",
    "Value currency": "EUR",
}


def table(*rows: dict[str, str]) -> list[Read | RowError]:
    """What a table of rows yields that are complete but for what each says."""
    return list(read_itmatt(io.BytesIO(table_of(rows, BASE).encode())))


def read(*rows: dict[str, str]) -> Read:
    [found] = table(*rows)
    assert isinstance(found, Read), found
    return found


def added(row: dict[str, str]) -> dict[str, Any]:
    """Return what a row adds to the least one."""
    least = flat(read({}).message)
    return {name: value for name, value in flat(read(row).message).items() if name not in least}


def test_the_number_of_an_item_is_its_reference_and_document_and_says_that_it_travels_by_post() -> None:
    assert s10.is_valid(ITEM)
    assert flat(read({}).message) == {
        "local_reference": ITEM,
        "house_document.number": ITEM,
        "house_document.type": "N750",
        "transport.mode": "TRANSPORT_MODE_POST",
        "transport.service": "TRANSPORT_SERVICE_POST",
        "packages[0].count": 1,
        "items[0].description": "Wooden toy train",
        "items[0].price.minor": 2400,
        "items[0].price.currency": "EUR",
    }


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"receptacle_id": "ESMADADEFRAAAUN60001001000010"}, {"receptacles[0]": "ESMADADEFRAAAUN60001001000010"}),
        ({"Sender name": "Ana", "Sender business": "Toys SL"}, {"consignor.name": "Ana, Toys SL"}),
        ({"Sender business": "Toys SL"}, {"consignor.name": "Toys SL"}),
        ({"sender-street": "Calle 1", "sender-street-2": "2B"}, {"consignor.address.street": "Calle 1", "consignor.address.street_additional": "2B"}),
        ({"SENDER_COUNTRY": "ES"}, {"consignor.address.country": "ES", "dispatch_country": "ES"}),
        ({"addressee_country": "NL"}, {"consignee.address.country": "NL", "destination_country": "NL"}),
        ({"addressee_name": "Jan", "addressee_city": "Den Haag"}, {"consignee.name": "Jan", "consignee.address.city": "Den Haag"}),
        ({"addressee_telephone": "+3170"}, {"consignee.phone": "+3170"}),
        ({"importer_reference": "NL123456789"}, {"consignee.identifier": "NL123456789", "consignee.identifier_type": "IDENTIFIER_TYPE_EORI"}),
        ({"importer_reference": "8-1"}, {"consignee.identifier": "8-1"}),
        ({"sender_ioss_number": "IM2760000014"}, {"fiscal_references[0].scheme": "SCHEME_IOSS", "fiscal_references[0].number": "IM2760000014"}),
        ({"quantity": "2"}, {"items[0].quantity_milli": 2000, "items[0].quantity_unit": "H87"}),
        ({"net_weight_kg": "0.2", "total_gross_weight_kg": "0.25"}, {"items[0].net_mass_mg": 200_000, "gross_mass_mg": 250_000}),
        ({"total_value": "30", "total_value_currency": "EUR"}, {"invoice_total.minor": 3000, "invoice_total.currency": "EUR"}),
        ({"hs_tariff_number": "9503.00"}, {"items[0].commodity_code": "9503.00"}),
        ({"country_of_origin": "ES"}, {"items[0].origin_country": "ES"}),
        ({"postal_charges": "10.05", "postal_charges_currency": "EUR"}, {"freight.minor": 1005, "freight.currency": "EUR"}),
        ({"invoice_number": "F-7"}, {"supporting_documents[0].reference": "F-7", "supporting_documents[0].type": "N380"}),
        *(
            ({"category_of_item": cell}, {"nature": f"NATURE_{nature}"})
            for cell, nature in (
                ("sale of goods", "SALE"), ("11", "SALE"), ("Gift", "GIFT"), ("31", "GIFT"), ("returned goods", "RETURN"), ("21", "RETURN"),
                ("Commercial sample", "SAMPLE"), ("32", "SAMPLE"),
                ("Documents", "DOCUMENT"), ("91", "DOCUMENT"), ("other", "OTHER"), ("999", "OTHER"),
            )
        ),
    ],
)  # fmt: skip
def test_each_attribute_goes_where_it_belongs(row: dict[str, str], expected: dict[str, Any]) -> None:
    assert added(row) == expected


def test_the_content_pieces_of_an_item_are_items_of_one_consignment() -> None:
    found = read({"sender_name": "Ana"}, {"Detailed description of contents": "Rails", "Value": "6"}).message
    assert [item.description for item in found.items] == ["Wooden toy train", "Rails"]
    assert (found.consignor.name, found.items[1].price.minor) == ("Ana", 600)


def test_columns_of_a_csv_may_stand_beside_the_attributes_and_count_before_what_the_post_says() -> None:
    assert flat(read({"transport_mode": "AIR", "goods_location": "NLAMS"}).message).items() >= {
        "transport.mode": "TRANSPORT_MODE_AIR", "transport.service": "TRANSPORT_SERVICE_POST", "goods_location": "NLAMS"
    }.items()  # fmt: skip


@pytest.mark.parametrize("name", [name for name, column in itmatt().columns.items() if column.note])
def test_what_no_consignment_has_is_reported_with_its_value(name: str) -> None:
    found = read({name: "X-1"})
    assert [(each.reason, each.element, each.value) for each in found.notes] == [("ELEMENT_NOT_CONVERTED", name, "X-1")]


def test_errors_name_the_headers_of_the_file() -> None:
    [error] = table({"category_of_item": "5"})
    assert isinstance(error, RowError)
    assert (error.element, error.value) == ("category_of_item", "5")
    [error] = table({"Value": "24,00"})
    assert isinstance(error, RowError)
    assert (error.reason, error.element) == ("AMOUNT_MALFORMED", "Value")
    with pytest.raises(LuxorError, match="sender_shoe"):
        table({"sender_shoe": "43"})
    with pytest.raises(LuxorError, match="column sender_name twice"):
        table({"sender_name": "Ana", "Sender name": "Ana"})
