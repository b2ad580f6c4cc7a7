"""The converter against the standard itself: its schemas state each element with its WCO id, its messages are real declarations.

What is expected follows from the meaning of the ids in the data model, read here with means of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from libs.client.filing.declarations.mapping import dec_rules
from libs.client.filing.files import Read
from tests.support.declarations import DATA, DECLARATION, NAMESPACE, flat, outcome

pytestmark = pytest.mark.skipif(
    not DATA.exists(), reason="the schemas and messages (../shared/data/wco_xml) are not here"
)

XS = "{http://www.w3.org/2001/XMLSchema}"
N = f"{{{NAMESPACE}}}"
MODES = {"1": "SEA", "2": "RAIL", "3": "ROAD", "4": "AIR", "5": "POST"}
"""UN/ECE recommendation 19."""
IMPLIED = re.compile(
    r"SequenceNumeric|IdentificationTypeCode|GoodsItemQuantity|RoleCode|(Communication|Origin)/TypeCode|Declaration/(Function|Type)Code$"
)
"""Elements that say which other element is meant, or in which order, or what kind of message this is."""


def _schema() -> dict[str, tuple[str, str]]:
    """The WCO id and the type of each element below Declaration, by its path."""
    root = ElementTree.parse(DATA / "xsd/wco/declaration/WCO_DEC_2_DMS.xsd").getroot()
    found: dict[str, tuple[str, str]] = {}

    def walk(node: Element, path: str) -> None:
        for each in node:
            if each.tag == f"{XS}element":
                here = f"{path}/{each.get('name')}".removeprefix("/")
                ids = [text.text or "" for text in each.iter() if text.tag.endswith("WCOID")]
                found[here] = (ids[0] if ids else "", each.get("type", ""))
                inline = each.find(f"{XS}complexType")
                if inline is not None:
                    walk(inline, here)
            elif each.tag in (f"{XS}sequence", f"{XS}choice"):
                walk(each, path)

    for kind in root.iter(f"{XS}complexType"):
        if kind.get("name") == "Declaration":
            walk(kind, "")
    return found


def _imports() -> Iterator[tuple[Path, Element]]:
    for path in sorted((DATA / "examples").rglob("*.xml")):
        for declaration in ElementTree.parse(path).getroot().iter(f"{N}Declaration"):
            kind, function = declaration.findtext(f"{N}TypeCode", ""), declaration.findtext(f"{N}FunctionCode", "")
            if kind.startswith("IM") and function == "9":
                yield path, declaration


def test_each_element_of_the_schema_has_a_rule_with_its_id() -> None:
    rules = dec_rules()
    schema = _schema()
    assert len(schema) > 400
    # Parties have the same rules, though not all of them have contacts.
    optional = re.compile(r"/(Contact|Communication/\w+|Address/TypeCode)$")
    assert all(path in schema or optional.search(path) for path in rules.by_path), "the standard has no such element"
    for path, rule in rules.by_path.items():
        if path not in schema:
            continue
        assert schema[path][0] == rule.id, path
    for path, (_, kind) in schema.items():
        above = [path[:at] for at, sign in enumerate(path) if sign == "/"]
        covered = path in rules.by_path or any(
            each in rules.by_path and rules.by_path[each].takes_no_value for each in above
        )
        assert covered or (not kind and path in rules.groups), path


def test_the_elements_that_may_be_repeated_are_those_of_the_schema() -> None:
    rules = dec_rules()
    root = ElementTree.parse(DATA / "xsd/wco/declaration/WCO_DEC_2_DMS.xsd").getroot()
    several: set[str] = set()

    def walk(node: Element, path: str) -> None:
        for each in node:
            here = f"{path}/{each.get('name')}".removeprefix("/") if each.tag == f"{XS}element" else path
            if each.tag == f"{XS}element" and each.get("maxOccurs", "1") != "1":
                several.add(here)
            walk(each, here)

    walk(next(each for each in root.iter(f"{XS}complexType") if each.get("name") == "Declaration"), "")
    left_out = {path for path, rule in rules.by_path.items() if rule.takes_no_value}
    taken = {path for path in several if not any(f"{path}/".startswith(f"{each}/") for each in left_out)}
    assert rules.repeated == taken | {"GoodsShipment/Invoice"}, "of which the standard itself has several"


def _leaves() -> list[str]:
    return [path for path, (_, kind) in _schema().items() if kind]


def test_no_element_of_the_schema_is_dropped_in_silence() -> None:
    """Each element alone in a small declaration becomes a value, a note or an error, which name it."""
    for path in _leaves():
        found = outcome(_with(path))
        if isinstance(found, Read):
            named = {each.element for each in found.notes}
            assert found.element_of is not None
            named |= {found.element_of(each) for each in flat(found.message)}
        else:
            named = {each.element for each in (found, *found.further)}
        plain = {re.sub(r"\[\d+\]", "", each) for each in named}
        shown = f"Declaration/{path}"
        assert IMPLIED.search(shown) or any(shown == each or shown.startswith(f"{each}/") for each in plain), (
            path,
            plain,
        )


def _with(path: str) -> str:
    """The small declaration with one element more, in the elements around it that are there."""
    root = ElementTree.fromstring(DECLARATION)
    element = next(root.iter(f"{N}Declaration"))
    *groups, name = path.split("/")
    if "TransactionNatureCode" in path:
        for shipment in _all(element, "GoodsShipment"):  # otherwise the item repeats it
            shipment.remove(_all(shipment, name)[0])
    for group in groups:
        below = element.find(f"{N}{group}")
        # Lists and groups with a type of their own get an entry of their own.
        if below is None or group in ("Classification", "GovernmentProcedure"):
            below = ElementTree.SubElement(element, f"{N}{group}")
        element = below
    old = element.find(f"{N}{name}")
    leaf = old if old is not None else ElementTree.SubElement(element, f"{N}{name}")
    if name.endswith("DateTime"):
        leaf = ElementTree.SubElement(leaf, f"{N}DateTimeString", {"formatCode": "102"})
        leaf.text = "20260701"
    elif old is None:
        leaf.text = {"CountryCode": "DE", "RoutingCountryCode": "DE", "ModeCode": "4"}.get(name, "1")
        leaf.set("currencyID", "EUR")
    return ElementTree.tostring(root, encoding="unicode")


def test_each_value_of_a_real_declaration_is_where_its_id_says() -> None:
    converted = 0
    for path, declaration in _imports():
        found = outcome(path.read_bytes())
        if isinstance(found, Read):
            converted += 1
            assert flat(found.message) == _expected(declaration), path
            continue
        for error in (found, *found.further):
            steps = error.element.partition("/@")[0].removeprefix("Declaration/").split("/")
            assert declaration.find("/".join(f"{N}{each}" for each in steps)) is not None, (path, error)
    assert converted >= 25


def _texts(element: Element, path: str) -> list[str]:
    return [text for each in _all(element, path) if (text := (each.text or "").strip())]


def _text(element: Element, path: str) -> str:
    return next(iter(_texts(element, path)), "")


def _all(element: Element, path: str) -> list[Element]:
    return element.findall("/".join(f"{N}{step}" for step in path.split("/")))


def _expected(declaration: Element) -> dict[str, Any]:
    """What the ids of the data model say, as paths and values of a consignment."""
    shipment = _all(declaration, "GoodsShipment")[0]
    goods = _all(shipment, "GovernmentAgencyGoodsItem")
    found: dict[str, Any] = {
        "local_reference": _text(declaration, "FunctionalReferenceID"),  # D026
        "transport.mode": MODES[_text(declaration, "BorderTransportMeans/ModeCode")],  # T022
        "representation": {"": "", "2": "DIRECT", "3": "INDIRECT"}[_text(declaration, "Agent/FunctionCode")],  # 102
        "presentation_office": _text(declaration, "PresentationOffice/ID"),  # G015
        "destination_country": _first(_text(shipment, "Destination/CountryCode"), goods, "Destination/CountryCode"),  # 465
        "dispatch_country": _first(_text(shipment, "ExportCountry/ID"), goods, "ExportCountry/ID"),  # 062
        "incoterm": _text(shipment, "TradeTerms/ConditionCode"),  # 090
        "incoterm_place": _text(shipment, "TradeTerms/LocationID") or _text(shipment, "TradeTerms/LocationName"),  # L002, L001
        "unique_consignment_reference": _text(shipment, "UCR/ID") or _text(shipment, "UCR/TraderAssignedReferenceID"),  # 016, 009
        "goods_location": _text(shipment, "Consignment/GoodsLocation/ID") or _text(shipment, "Consignment/GoodsLocation/Name"),  # L017, L016
        "payment_method": _first("", goods, "Commodity/DutyTaxFee/Payment/MethodCode"),  # 107
        "procedure": next((_text(each, "CurrentCode") + _text(each, "PreviousCode")  # 166, 161
                           for item in goods for each in _all(item, "GovernmentProcedure") if _text(each, "PreviousCode")), ""),
    }  # fmt: skip
    nature = _first(_text(shipment, "TransactionNatureCode"), goods, "TransactionNatureCode")  # 103
    found["nature"] = nature and {"1": "SALE", "21": "RETURN"}.get(nature[:1] if nature[:1] == "1" else nature, "OTHER")
    for name, prefix in (
        ("transport.mode", "TRANSPORT_MODE_"),
        ("representation", "REPRESENTATION_"),
        ("nature", "NATURE_"),
    ):
        found[name] = found[name] and prefix + found[name]
    for party, element in (
        ("declarant", f"{N}Declarant"), ("consignor", f"{N}Exporter"), ("importer", f"{N}GoodsShipment/{N}Importer"),
        ("consignee", f"{N}GoodsShipment/{N}Importer"),
    ):  # fmt: skip
        for each in declaration.findall(element):
            found |= {f"{party}.{name}": value for name, value in _party(each).items()}
    if _text(declaration, "TotalPackageQuantity"):
        found["packages[0].count"] = int(_text(declaration, "TotalPackageQuantity"))  # 146
    for amount, path in (
        ("invoice_total", "InvoiceAmount"),
        ("freight", "GoodsShipment/CustomsValuation/FreightChargeAmount"),
    ):
        for each in _all(declaration, path):
            found |= _money(amount, each)  # 109, 117
    for place, each in enumerate(_all(declaration, "ObligationGuarantee")):
        found[f"guarantees[{place}].type"] = _text(each, "SecurityDetailsCode")  # 101
        found[f"guarantees[{place}].reference"] = _text(each, "ReferenceID") or _text(each, "ID")  # 100, D014
    for place, each in enumerate(_all(shipment, "DomesticDutyTaxParty")):  # R119, R005
        found[f"fiscal_references[{place}].scheme"] = {"FR5": "SCHEME_IOSS"}[_text(each, "RoleCode")]
        found[f"fiscal_references[{place}].number"] = _text(each, "ID")
    found |= _documents("supporting_documents", _all(declaration, "AdditionalDocument"))
    previous = [each for item in goods for each in _all(item, "PreviousDocument")] + _all(shipment, "PreviousDocument")
    found |= _documents("previous_documents", previous)
    for place, item in enumerate(goods):
        found |= {f"items[{place}].{name}": value for name, value in _item(item).items()}
    masses = [
        found[f"items[{place}].gross_mass_mg"]
        for place in range(len(goods))
        if f"items[{place}].gross_mass_mg" in found
    ]
    if len(masses) == len(goods):
        found["gross_mass_mg"] = sum(masses)  # 131 is absent in all of them: the total of 126
    for name, value in list(found.items()):
        if value in (
            "N740",
            "N750",
        ):  # the transport documents in them, UN/EDIFACT 1001: air waybill, despatch note of a post parcel
            found["house_document.type"] = value
            found["house_document.number"] = found[name.replace(".type", ".reference")]
    return {name: value for name, value in found.items() if value != ""}


def _first(own: str, goods: list[Element], path: str) -> str:
    return own or next((each for item in goods for each in _texts(item, path)), "")


def _party(element: Element) -> dict[str, Any]:
    found = {"name": _text(element, "Name"), "identifier": _text(element, "ID")}
    for name, path in (
        ("street", "Line"),
        ("postcode", "PostcodeID"),
        ("city", "CityName"),
        ("country", "CountryCode"),
    ):
        found[f"address.{name}"] = _text(element, f"Address/{path}")  # 239, 245, 241, 242
    if found["identifier"]:
        found["identifier_type"] = "IDENTIFIER_TYPE_EORI"
    return found


def _money(name: str, element: Element) -> dict[str, Any]:
    assert element.get("currencyID") == "GBP", "the messages have pounds of 100 pence alone"
    return {f"{name}.minor": int(Decimal(element.text or "") * 100), f"{name}.currency": "GBP"}


def _documents(name: str, elements: list[Element]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for place, each in enumerate(elements):
        found[f"{name}[{place}].type"] = _text(each, "CategoryCode") + _text(each, "TypeCode")  # D031, D006 or D019
        found[f"{name}[{place}].reference"] = _text(each, "ID")  # D005 or D018
        if _text(each, "LineNumeric"):
            found[f"{name}[{place}].item_number"] = int(_text(each, "LineNumeric"))  # 171
    return found


def _item(item: Element) -> dict[str, Any]:
    codes = {
        _text(each, "IdentificationTypeCode"): _text(each, "ID") for each in _all(item, "Commodity/Classification")
    }
    found: dict[str, Any] = {
        "number": int(_text(item, "SequenceNumeric")),  # 006
        "description": _text(item, "Commodity/Description"),  # 137
        "commodity_code": codes.get("TSP", "") + codes.get("TRC", ""),  # 145
        "origin_country": _text(item, "Origin/CountryCode"),  # 063
        "valuation_method": _text(item, "CustomsValuation/MethodCode"),  # 122
        "preference": _text(item, "Commodity/DutyTaxFee/DutyRegimeCode"),  # 164
    }
    extra = [
        _text(each, "CurrentCode") for each in _all(item, "GovernmentProcedure") if not _text(each, "PreviousCode")
    ]
    found |= {f"additional_procedures[{place}]": code for place, code in enumerate(extra)}
    found |= {
        f"additional_information[{place}]": code
        for place, code in enumerate(_texts(item, "AdditionalInformation/StatementCode"))
    }  # 226
    for name, path in (("gross_mass_mg", "GrossMassMeasure"), ("net_mass_mg", "NetNetWeightMeasure")):
        if _text(item, f"Commodity/GoodsMeasure/{path}"):
            found[name] = int(Decimal(_text(item, f"Commodity/GoodsMeasure/{path}")) * 1_000_000)  # 126, 128, kilograms
    for each in _all(item, "Commodity/GoodsMeasure/TariffQuantity"):
        found["supplementary_quantity_milli"] = int(Decimal(each.text or "") * 1000)  # 130
    intrinsic = _all(item, "CustomsValueAmount") if {"C07", "C08"} & set(extra) else []  # 108, D.E. 14 14
    for each in _all(item, "Commodity/InvoiceLine/ItemChargeAmount") or intrinsic:
        found |= _money("price", each)  # 112
    for place, each in enumerate(_all(item, "Packaging")):
        found[f"packages[{place}].type"] = _text(each, "TypeCode")  # 141
        found[f"packages[{place}].marks"] = _text(each, "MarksNumbersID")  # 142
        if _text(each, "QuantityQuantity"):
            found[f"packages[{place}].count"] = int(_text(each, "QuantityQuantity"))  # 144
    return found | _documents("supporting_documents", _all(item, "AdditionalDocument"))
