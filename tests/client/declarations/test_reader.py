"""Declarations in WCO DEC 3.6: what becomes of their elements, and which are refused."""

import io

import pytest

from libs.client.filing import files
from libs.client.filing.declarations.reader import BYTES_MAX, DEPTH_MAX
from libs.client.row_errors import RowError
from tests.support.declarations import DECLARATION, ITEM, NAMESPACE, changed, converted, flat, outcome, refused

SHIPMENT = "Declaration/GoodsShipment"
GOODS = f"{SHIPMENT}/GovernmentAgencyGoodsItem"


def test_a_declaration_becomes_a_consignment() -> None:
    assert flat(converted(DECLARATION).message) == {
        "local_reference": "DEC-1",
        "transport.mode": "TRANSPORT_MODE_AIR",
        "declarant.identifier": "GB603202734852",
        "declarant.identifier_type": "IDENTIFIER_TYPE_EORI",
        "consignor.name": "Meadow Lane Trading Ltd",
        "consignor.address.country": "CN",
        "importer.identifier": "GB553202734852",
        "importer.identifier_type": "IDENTIFIER_TYPE_EORI",
        "consignee.identifier": "GB553202734852",
        "consignee.identifier_type": "IDENTIFIER_TYPE_EORI",
        "nature": "NATURE_SALE",
        "procedure": "4000",
        "gross_mass_mg": 420_000,
        "items[0].number": 1,
        "items[0].description": "Woven cotton blouse",
        "items[0].commodity_code": "6206300010",
        "items[0].gross_mass_mg": 420_000,
        "items[0].price.minor": 1999,
        "items[0].price.currency": "GBP",
        "items[0].additional_procedures[0]": "C07",
    }


@pytest.mark.parametrize(
    ("before", "after", "element", "reason"),
    [
        ("<FunctionCode>9<", "<FunctionCode>13<", "Declaration/FunctionCode", "ELEMENT_WITHOUT_COUNTERPART"),
        ("<FunctionCode>9</FunctionCode>", "", "Declaration/FunctionCode", "ELEMENT_MISSING"),
        (">IMA<", ">EXZ<", "Declaration/TypeCode", "ELEMENT_WITHOUT_COUNTERPART"),
        (">IMA<", ">IMY<", "Declaration/TypeCode", "ELEMENT_WITHOUT_COUNTERPART"),
        ("<TypeCode>IMA</TypeCode>", "", "Declaration/TypeCode", "ELEMENT_MISSING"),
        ("<FunctionalReferenceID>DEC-1</FunctionalReferenceID>", "", "Declaration/FunctionalReferenceID", "ELEMENT_MISSING"),
        (">DEC-1<", f">{'D' * 23}<", "Declaration/FunctionalReferenceID", "TEXT_TOO_LONG"),
        (ITEM, "", GOODS, "ELEMENT_MISSING"),
        ("Quantity>1</Goods", "Quantity>2</Goods", "Declaration/GoodsItemQuantity", "VALUES_DIFFER"),
        (">4</ModeCode>", ">9</ModeCode>", "Declaration/BorderTransportMeans/ModeCode", "CHOICE_MISNAMED"),
        ("<CountryCode>CN<", "<CountryCode>ZU<", "Declaration/Exporter/Address/CountryCode", "COUNTRY_UNKNOWN"),
        ('currencyID="GBP"', "", f"{GOODS}/Commodity/InvoiceLine/ItemChargeAmount", "CURRENCY_MISSING"),
        ('"GBP"', '"XXX"', f"{GOODS}/Commodity/InvoiceLine/ItemChargeAmount/@currencyID", "CURRENCY_UNKNOWN"),
        (">19.99<", ">19.999<", f"{GOODS}/Commodity/InvoiceLine/ItemChargeAmount", "AMOUNT_TOO_FINE"),
        (">19.99<", ">1e3<", f"{GOODS}/Commodity/InvoiceLine/ItemChargeAmount", "AMOUNT_MALFORMED"),
        (">0.42<", ">0.0000001<", f"{GOODS}/Commodity/GoodsMeasure/GrossMassMeasure", "AMOUNT_TOO_FINE"),
        (">62063000<", ">620630<", f"{GOODS}/Commodity/Classification[1]/ID", "COMMODITY_CODE_MALFORMED"),
        (">10<", ">1<", f"{GOODS}/Commodity/Classification[2]/ID", "CODE_MALFORMED"),
        ("<PreviousCode>00</PreviousCode>", "", f"{GOODS}/GovernmentProcedure[1]/CurrentCode", "CODE_MALFORMED"),
        ("<CurrentCode>40</CurrentCode>", "", f"{GOODS}/GovernmentProcedure[1]/PreviousCode", "CODE_MALFORMED"),
        (">40</CurrentCode><PreviousCode>00<", ">4</CurrentCode><PreviousCode>000<", f"{GOODS}/GovernmentProcedure[1]/CurrentCode", "CODE_MALFORMED"),
        (">C07<", ">C7<", f"{GOODS}/GovernmentProcedure[2]/CurrentCode", "CODE_MALFORMED"),
        (">1</TransactionNatureCode>", ">sale</TransactionNatureCode>", f"{SHIPMENT}/TransactionNatureCode", "CHOICE_MISNAMED"),
        (">1</TransactionNatureCode>", ">341</TransactionNatureCode>", f"{SHIPMENT}/TransactionNatureCode", "CHOICE_MISNAMED"),
        ("<TypeCode>IMA", "<TypeCode>IMD</TypeCode><TypeCode>IMA", "Declaration/TypeCode[2]", "FIELD_UNKNOWN"),
        ("<Importer>", "<Importer><Name>Other</Name></Importer><Importer>", f"{SHIPMENT}/Importer[2]", "FIELD_UNKNOWN"),
        ("</GoodsShipment>", "</GoodsShipment><GoodsShipment><Buyer><Name>B</Name></Buyer></GoodsShipment>", f"{SHIPMENT}[2]", "FIELD_UNKNOWN"),
        ("<Importer>", "<Importer>Other", f"{SHIPMENT}/Importer/text()", "FIELD_UNKNOWN"),
        ("</Importer>", "</Importer>Other", f"{SHIPMENT}/text()", "FIELD_UNKNOWN"),
        ("<Importer>", "<DomesticDutyTaxParty><RoleCode>FR2</RoleCode></DomesticDutyTaxParty><Importer>",
         f"{SHIPMENT}/DomesticDutyTaxParty/RoleCode", "ELEMENT_WITHOUT_COUNTERPART"),
        (">TRC<", ">TRA<", f"{GOODS}/Commodity/Classification[2]/ID", "ELEMENT_WITHOUT_COUNTERPART"),
        ("<Importer>", "<Payer><Name>P</Name></Payer><Importer>", f"{SHIPMENT}/Payer", "ELEMENT_WITHOUT_COUNTERPART"),
        ("<Importer>", "<Buyers/><Importer>", f"{SHIPMENT}/Buyers", "FIELD_UNKNOWN"),
        ("<Importer>", '<Buyer xmlns="urn:example"/><Importer>', f"{SHIPMENT}/Buyer", "FIELD_UNKNOWN"),
        ("DEC-1", "<b>DEC-1</b>", "Declaration/FunctionalReferenceID/b", "FIELD_UNKNOWN"),
    ],
)  # fmt: skip
def test_what_is_refused_names_the_element_with_its_path(before: str, after: str, element: str, reason: str) -> None:
    found = refused(changed((before, after)))
    assert [(each.element, each.reason) for each in found] == [(element, reason)], found
    assert found[0].sentence
    assert found[0].hint
    assert "{" not in found[0].sentence + found[0].hint


def test_a_code_without_the_digits_of_taric_stays_as_it_is() -> None:
    for code in ("62063000", "620630"):
        found = flat(converted(changed((">10<", "><"), (">62063000<", f">{code}<"))).message)
        assert found["items[0].commodity_code"] == code


def test_the_digits_of_taric_are_two() -> None:
    found = {(each.element, each.reason) for each in refused(changed((">10<", ">100<")))}
    assert (f"{GOODS}/Commodity/Classification[2]/ID", "CODE_MALFORMED") in found


def test_all_errors_are_reported_at_once() -> None:
    found = refused(changed((">IMA<", ">EXZ<"), (">4</ModeCode>", ">9</ModeCode>"), (">19.99<", ">x<")))
    assert [each.reason for each in found] == ["ELEMENT_WITHOUT_COUNTERPART", "CHOICE_MISNAMED", "AMOUNT_MALFORMED"]
    assert {each.reference for each in found} == {"DEC-1"}


def test_items_that_contradict_each_other_about_the_consignment_are_refused() -> None:
    second = ITEM.replace("<SequenceNumeric>1<", "<SequenceNumeric>2<")
    both = (("Quantity>1</Goods", "Quantity>2</Goods"), (ITEM, ITEM + second))
    assert len(converted(changed(*both)).message.items) == 2
    [error] = refused(changed(both[0], (ITEM, ITEM + second.replace(">40<", ">42<"))))
    assert (error.element, error.reason) == (f"{GOODS}[2]/GovernmentProcedure[1]/CurrentCode", "VALUES_DIFFER")
    assert f"{GOODS}[1]/GovernmentProcedure[1]/CurrentCode has 40" in error.sentence


def _two(first: str, second: str, shipment: str = "") -> str:
    """The declaration with two items that end with these elements."""
    end = "</GovernmentAgencyGoodsItem>"
    other = ITEM.replace("<SequenceNumeric>1<", "<SequenceNumeric>2<")
    items = ITEM.replace(end, first + end) + other.replace(end, second + end)
    return changed(("Quantity>1</Goods", "Quantity>2.0</Goods"), (ITEM, items), ("<Importer>", shipment + "<Importer>"))


@pytest.mark.parametrize(
    ("first", "second", "shipment", "differing"),
    [
        ("<Seller><Name>A</Name></Seller>", "<Seller><ID>GB1</ID></Seller>", "", ["[1]/Seller/Name", "[2]/Seller/ID"]),
        ("<Seller><Name>A</Name><ID>GB1</ID></Seller>", "<Seller><ID>GB1</ID></Seller>", "", []),
        ("<Seller><Name>A</Name></Seller>", "<Seller><Name>A</Name></Seller>", "", []),
        ("<Seller><Name>A</Name></Seller>", "<Seller><Name>B</Name></Seller>", "", ["[2]/Seller/Name"]),
        ("<Seller><ID>GB1</ID></Seller>", "<Seller><ID>GB1</ID></Seller>", "<Seller><Name>A</Name></Seller>",
         ["[1]/Seller/ID", "/Seller/Name"]),
        ("<Seller><Name>A</Name></Seller>", "", "", []),
        ("<Destination><CountryCode>DE</CountryCode></Destination>", "", "", ["[1]/Destination/CountryCode"]),
        ("<Destination><CountryCode>DE</CountryCode></Destination>", "", "<Destination><CountryCode>DE</CountryCode></Destination>", []),
        ("", "<ExportCountry><ID>CN</ID></ExportCountry>", "", ["[2]/ExportCountry/ID"]),
        ("<ExportCountry><ID>CN</ID></ExportCountry>", "<ExportCountry><ID>CN</ID></ExportCountry>", "", []),
        ("<DomesticDutyTaxParty><ID>IM2760000014</ID><RoleCode>FR5</RoleCode></DomesticDutyTaxParty>", "", "", ["[1]/DomesticDutyTaxParty/ID"]),
        ("<DomesticDutyTaxParty><ID>IM2760000014</ID><RoleCode>FR5</RoleCode></DomesticDutyTaxParty>",
         "<DomesticDutyTaxParty><ID>DE1</ID><RoleCode>FR1</RoleCode></DomesticDutyTaxParty>", "",
         ["[2]/DomesticDutyTaxParty/ID", "[1]/DomesticDutyTaxParty/ID"]),
        ("<DomesticDutyTaxParty><ID>IM2760000014</ID><RoleCode>FR5</RoleCode></DomesticDutyTaxParty>", "",
         "<DomesticDutyTaxParty><ID>IM2760000014</ID><RoleCode>FR5</RoleCode></DomesticDutyTaxParty>", []),
    ],
)  # fmt: skip
def test_values_of_the_consignment_at_items_are_those_of_all_items(
    first: str, second: str, shipment: str, differing: list[str]
) -> None:
    found = outcome(_two(first, second, shipment))
    errors = [found, *found.further] if isinstance(found, RowError) else []
    assert {each.reason for each in errors} <= {"VALUES_DIFFER"}
    assert {each.element.removeprefix(GOODS).removeprefix(SHIPMENT) for each in errors} == set(differing), errors


def test_an_exporter_and_a_consignor_of_items_are_not_made_one_party() -> None:
    place = "<GovernmentProcedure><CurrentCode>40"
    found = refused(changed((place, f"<Consignor><ID>CN9</ID></Consignor>{place}")))
    assert {each.element for each in found} == {
        "Declaration/Exporter/Name",
        "Declaration/Exporter/Address/CountryCode",
        f"{GOODS}/Consignor/ID",
    }
    assert {each.reason for each in found} == {"VALUES_DIFFER"}


def test_elements_that_have_nothing_state_nothing() -> None:
    empty = "<Consignor><Name/><Address><Line> </Line></Address></Consignor><Invoice><ID/></Invoice>"
    found = converted(changed(("<Importer>", f"{empty}<Importer>")))
    assert found.message == converted(DECLARATION).message
    date = (
        "<Invoice><IssueDateTime><DateTimeString formatCode='102'>20260701</DateTimeString></IssueDateTime></Invoice>"
    )
    found = converted(changed(("<Importer>", f"{date}<Importer>")))
    assert found.message == converted(DECLARATION).message, "no invoice without its number"
    assert [each.element for each in found.notes] == [f"{SHIPMENT}/Invoice/IssueDateTime"]


def test_what_only_says_what_another_element_means_is_reported_without_that_element() -> None:
    flight = "<BorderTransportMeans><IdentificationTypeCode>40</IdentificationTypeCode><ModeCode>4"
    found = converted(changed(("<BorderTransportMeans><ModeCode>4", flight)))
    assert [each.element for each in found.notes] == ["Declaration/BorderTransportMeans/IdentificationTypeCode"]


def test_the_route_follows_the_numbers_of_its_countries() -> None:
    route = "".join(
        f"<Itinerary><SequenceNumeric>{number}</SequenceNumeric><RoutingCountryCode>{country}</RoutingCountryCode></Itinerary>"
        for number, country in ((10, "GB"), (2, "DE"), (1, "CN"))
    )
    found = converted(changed(("<Declarant>", f"<Consignment>{route}</Consignment><Declarant>")))
    assert list(found.message.transport.route_countries) == ["CN", "DE", "GB"]
    assert found.row_error("X", "consignments[0].transport.route_countries[2]", "", "", "").element == (
        "Declaration/Consignment/Itinerary[1]/RoutingCountryCode"
    )


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("102", "20260230"), ("102", "20260701103000Z"), ("304", "20260701"), ("203", "20260701"), ("304", "20260701103000"),
        ("304", "20260701256000Z"), ("304", "20260701103000+99"), ("304", "20260701103000+0200"),
    ],
)  # fmt: skip
def test_times_that_are_none_or_not_of_their_format_are_refused_with_their_element(code: str, text: str) -> None:
    time = f"<ExitDateTime><DateTimeString formatCode='{code}'>{text}</DateTimeString></ExitDateTime>"
    [error] = refused(changed(("<Importer>", f"{time}<Importer>")))
    assert (error.element, error.reason) == (f"{SHIPMENT}/ExitDateTime", "TIME_MALFORMED")


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("<Origin><CountryCode>CN</CountryCode><TypeCode>2</TypeCode></Origin>", {"origin_country": "CN"}),
        ("<Origin><CountryCode>CN</CountryCode></Origin>", {"origin_country": "CN"}),
        ("<CustomsValuation><MethodCode>1</MethodCode></CustomsValuation>", {"valuation_method": "1"}),
        ("<DangerousGoods><UNDGID>3481</UNDGID></DangerousGoods>", {"un_number": "3481"}),
        ("<DutyTaxFee><DutyRegimeCode>300</DutyRegimeCode></DutyTaxFee>", {"preference": "300"}),
        ('<TariffQuantity unitCode="NAR">2</TariffQuantity>',
         {"supplementary_quantity_milli": 2000, "supplementary_unit": "NAR"}),
        ('<NetNetWeightMeasure unitCode="GRM">350.5</NetNetWeightMeasure>', {"net_mass_mg": 350_500}),
        ('<NetNetWeightMeasure unitCode="TNE">1</NetNetWeightMeasure>', {"net_mass_mg": 10**9}),
        ("<Packaging><MarksNumbersID>M</MarksNumbersID><QuantityQuantity>2</QuantityQuantity><TypeCode>CT</TypeCode></Packaging>",
         {"packages[0].marks": "M", "packages[0].count": 2, "packages[0].type": "CT"}),
        ("<AdditionalDocument><TypeCode>935</TypeCode><ID>INV 7</ID><CategoryCode>N</CategoryCode></AdditionalDocument>",
         {"supporting_documents[0].type": "N935", "supporting_documents[0].reference": "INV 7"}),
        ("<AdditionalInformation><StatementCode>00500</StatementCode></AdditionalInformation>", {"additional_information[0]": "00500"}),
    ],
)  # fmt: skip
def test_elements_of_an_item(added: str, expected: dict[str, object]) -> None:
    place = "<GovernmentProcedure><CurrentCode>40"
    if added.startswith(("<DangerousGoods", "<DutyTaxFee")):
        place = "<InvoiceLine>"
    elif added.startswith(("<NetNet", "<Tariff")):
        place = "<GrossMassMeasure>"
    found = flat(converted(changed((place, added + place))).message)
    for path, value in expected.items():
        assert found[f"items[0].{path}"] == value


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("<Seller><Name>S</Name><Communication><ID>s@x.example</ID><TypeCode>EM</TypeCode></Communication></Seller>",
         {"seller.name": "S", "seller.email": "s@x.example"}),
        ("<Buyer><ID>123</ID><Communication><ID>+44</ID><TypeCode>TE</TypeCode></Communication></Buyer>",
         {"buyer.identifier": "123", "buyer.phone": "+44"}),
        ("<TradeTerms><ConditionCode>DAP</ConditionCode><LocationName>London</LocationName></TradeTerms>",
         {"incoterm": "DAP", "incoterm_place": "London"}),
        ("<TradeTerms><LocationID>GBLON</LocationID></TradeTerms>", {"incoterm_place": "GBLON"}),
        ("<UCR><TraderAssignedReferenceID>T</TraderAssignedReferenceID></UCR>", {"unique_consignment_reference": "T"}),
        ("<Invoice><ID>INV 7</ID></Invoice>", {"supporting_documents[0].type": "N380", "supporting_documents[0].reference": "INV 7"}),
        ("<DomesticDutyTaxParty><ID>IM2760000014</ID><RoleCode>FR5</RoleCode></DomesticDutyTaxParty>",
         {"fiscal_references[0].scheme": "SCHEME_IOSS", "fiscal_references[0].number": "IM2760000014"}),
        ("<DomesticDutyTaxParty><ID>DE1</ID><RoleCode>FR7</RoleCode></DomesticDutyTaxParty>",
         {"fiscal_references[0].scheme": "SCHEME_SPECIAL_ARRANGEMENTS"}),
        ("<ExitDateTime><DateTimeString formatCode='304'>20260701103000+02</DateTimeString></ExitDateTime>",
         {"export_time": "2026-07-01T08:30:00Z"}),
        ("<ExitDateTime><DateTimeString formatCode='102'>20260701</DateTimeString></ExitDateTime>", {"export_time": "2026-07-01T00:00:00Z"}),
        ('<CustomsValuation><FreightChargeAmount currencyID="JPY">300</FreightChargeAmount></CustomsValuation>',
         {"freight.minor": 300, "freight.currency": "JPY"}),
        ("<PreviousDocument><CategoryCode>Z</CategoryCode><ID>26GB1</ID><TypeCode>355</TypeCode><LineNumeric>2</LineNumeric></PreviousDocument>",
         {"previous_documents[0].type": "Z355", "previous_documents[0].reference": "26GB1", "previous_documents[0].item_number": 2}),
        ("<Consignee><Name>Erika Beispiel</Name></Consignee>", {"consignee.name": "Erika Beispiel", "importer.identifier": "GB553202734852"}),
        ("<Consignor><Name>Factory</Name></Consignor>", {"consignor.name": "Factory"}),
    ],
)  # fmt: skip
def test_elements_of_the_consignment(added: str, expected: dict[str, object]) -> None:
    found = flat(converted(changed(("<Importer>", f"{added}<Importer>"))).message)
    assert {path: found.get(path) for path in expected} == expected


def test_a_consignor_has_the_place_of_the_exporter_who_becomes_a_note() -> None:
    found = converted(changed(("<Importer>", "<Consignor><Name>Factory</Name></Consignor><Importer>")))
    assert not found.message.consignor.HasField("address"), "half of one party and half of the other"
    assert [each.element for each in found.notes] == [
        "Declaration/Exporter/Name",
        "Declaration/Exporter/Address/CountryCode",
    ]


def test_the_intrinsic_value_is_the_price_of_a_super_reduced_declaration_only() -> None:
    value = '<CustomsValueAmount currencyID="GBP">103.33</CustomsValueAmount><SequenceNumeric>1'
    line = '<InvoiceLine><ItemChargeAmount currencyID="GBP">19.99</ItemChargeAmount></InvoiceLine>'
    only = (("<SequenceNumeric>1", value), (line, ""))
    assert flat(converted(changed(*only)).message)["items[0].price.minor"] == 10_333
    both = converted(changed(only[0]))
    assert flat(both.message)["items[0].price.minor"] == 1999
    other = converted(changed(*only, (">C07<", ">F48<")))
    assert not other.message.items[0].HasField("price")
    for found in (both, other):
        assert [each.element for each in found.notes] == [f"{GOODS}/CustomsValueAmount"]


def test_what_is_left_out_is_reported_with_its_path_and_why() -> None:
    holder = "<AuthorisationHolder><ID>GB1</ID><CategoryCode>DPO</CategoryCode></AuthorisationHolder>"
    found = converted(changed(("<Declarant>", f"{holder}<Declarant>")))
    [note] = found.notes
    assert (note.element, note.reason) == ("Declaration/AuthorisationHolder", "ELEMENT_NOT_CONVERTED")
    assert "registers" in note.sentence


def test_the_gross_mass_is_the_total_that_is_stated_or_the_sum_of_all_items() -> None:
    second = ITEM.replace("<SequenceNumeric>1<", "<SequenceNumeric>2<")
    both = (("Quantity>1</Goods", "Quantity>2</Goods"), (ITEM, ITEM + second.replace("0.42", "0.08")))
    assert converted(changed(*both)).message.gross_mass_mg == 500_000
    total = ("<BorderTransportMeans>", "<TotalGrossMassMeasure>0.6</TotalGrossMassMeasure><BorderTransportMeans>")
    assert converted(changed(*both, total)).message.gross_mass_mg == 600_000
    without = second.replace("<GrossMassMeasure>0.42</GrossMassMeasure>", "")
    found = converted(changed(both[0], (ITEM, ITEM + without)))
    assert not found.message.HasField("gross_mass_mg"), "unknown of one item is unknown of all"


@pytest.mark.parametrize(
    ("documents", "house", "master"),
    [
        ("Z703 H-1", "N703 H-1", ""),
        ("N740 A-1, N741 M-1", "N740 A-1", "N741 M-1"),
        ("N740 A-1, N703 H-1", "N703 H-1", ""),
        ("N703 H-1, Z703 H-1", "N703 H-1", ""),
        ("N703 H-1, N703 H-2", "", ""),
        ("N703 H-1, N703 H-2, N740 A-1", "", ""),
        ("Z355 E-1, N380 I-1", "", ""),
        ("N704 M-1, N704 M-2", "", ""),
    ],
)
def test_transport_documents_are_found_by_their_types(documents: str, house: str, master: str) -> None:
    added = "".join(
        f"<PreviousDocument><CategoryCode>{each[0]}</CategoryCode><ID>{each[5:]}</ID><TypeCode>{each[1:4]}</TypeCode></PreviousDocument>"
        for each in documents.split(", ")
    )
    found = converted(changed(("<Importer>", f"{added}<Importer>")))
    shown = [
        f"{each.type} {each.number}".strip() for each in (found.message.house_document, found.message.master_document)
    ]
    assert shown == [house, master]
    assert len(found.message.previous_documents) == len(documents.split(", ")), "they stay where they are"
    error = found.row_error("R", "consignments[0].house_document.number", "", "", "")
    assert error.element.startswith(f"{SHIPMENT}/PreviousDocument") == bool(house)


def test_a_transport_document_of_an_item_counts_too() -> None:
    added = (
        "<AdditionalDocument><CategoryCode>N</CategoryCode><ID>H-1</ID><TypeCode>703</TypeCode></AdditionalDocument>"
    )
    found = converted(changed(("<GovernmentProcedure><CurrentCode>40", f"{added}<GovernmentProcedure><CurrentCode>40")))
    assert (found.message.house_document.number, found.message.house_document.type) == ("H-1", "N703")


def test_errors_of_ingestion_name_the_element_of_the_declaration() -> None:
    found = converted(DECLARATION)

    def element(path: str) -> str:
        return found.row_error("ELEMENT_MISSING", f"consignments[3].{path}", "", "", "").element

    assert element("items[0].commodity_code") == f"{GOODS}/Commodity/Classification[1]/ID"
    assert element("items[0].price.minor") == f"{GOODS}/Commodity/InvoiceLine/ItemChargeAmount"
    assert element("consignee.identifier") == f"{SHIPMENT}/Importer/ID", "the importer became the consignee"
    assert element("consignee.address.city") == f"{SHIPMENT}/Consignee/Address/CityName", (
        "missing, and would stand here"
    )
    assert element("items[0].packages[0].count") == f"{GOODS}/Packaging/QuantityQuantity"
    assert element("transport.service") == "transport.service", "no element of a declaration"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (DECLARATION.replace("<md:MetaData", '<!DOCTYPE x [<!ENTITY a "b">]><md:MetaData', 1), "document type"),
        (DECLARATION.replace("UTF-8", "UTF-7", 1), "encoding"),
        (DECLARATION[:300], "not XML"),
        ("", "not XML"),
        (f"<Declaration xmlns='{NAMESPACE}'>" + "<a>" * DEPTH_MAX + "</a>" * DEPTH_MAX + "</Declaration>", "deeper"),
        (DECLARATION + " " * BYTES_MAX, "bytes"),
        (DECLARATION.replace("DEC-1", "&undefined;"), "not XML"),
    ],
)  # fmt: skip
def test_hostile_and_broken_files_are_refused(content: str, why: str) -> None:
    [error] = refused(content)
    assert error.reason == "DECLARATION_MALFORMED"
    assert why in error.sentence


def test_numbers_and_texts_are_those_of_xml_schema() -> None:
    texts = (("Woven cotton", "Woven\n\t   cotton"), (">19.99<", "> +19.990 <"), (">0.42<", ">+.42<"))
    assert converted(changed(*texts)).message == converted(DECLARATION).message
    [error] = refused(changed((">0.42<", ">-0.42<")))
    assert (error.element, error.reason) == (f"{GOODS}/Commodity/GoodsMeasure/GrossMassMeasure", "NUMBER_TOO_SMALL")


@pytest.mark.parametrize("encoding", ["UTF-16", "ISO-8859-1"])
def test_the_encodings_of_xml_are_read(encoding: str) -> None:
    text = changed(("Woven cotton", "Wöven cotton")).replace("UTF-8", encoding)
    assert flat(converted(text.encode(encoding)).message)["items[0].description"] == "Wöven cotton blouse"


def test_a_file_has_one_declaration_of_the_version() -> None:
    for text in (
        DECLARATION.replace("DEC-DMS:2", "RES-DMS:2"),
        DECLARATION.replace("<Declaration>", "<Declaration/><Declaration>"),
    ):
        assert [each.reason for each in refused(text)] == ["DECLARATION_NOT_FOUND"]
    assert refused(changed((">3.6<", ">3.7<")))[0].element == "MetaData/WCODataModelVersionCode"
    bare = DECLARATION[DECLARATION.index("<Declaration>") : DECLARATION.index("</md:MetaData>")]
    assert (
        converted(bare.replace("<Declaration>", f"<Declaration xmlns='{NAMESPACE}'>")).message
        == converted(DECLARATION).message
    )


def test_any_change_of_a_byte_gives_one_answer() -> None:
    content = DECLARATION.encode()
    for place in range(0, len(content), 7):
        for byte in (b"\x00", b"<", b"\xff", b"&", b"9"):
            outcome(content[:place] + byte + content[place + 1 :])


def test_what_was_converted_is_the_same_after_csv_and_json_lines() -> None:
    message = converted(DECLARATION).message
    table, lines = io.StringIO(), io.BytesIO()
    files.write_csv(table, [message])
    files.write_jsonl(lines, [message])
    for found in (
        files.read_csv(io.BytesIO(table.getvalue().encode())),
        files.read_jsonl(io.BytesIO(lines.getvalue())),
    ):
        assert [each.message for each in found if isinstance(each, files.Read)] == [message]
