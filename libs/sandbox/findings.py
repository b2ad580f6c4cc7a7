"""What the sandbox changes in a filing so that the services find it wrong: a change of a valid consignment for each reason.

A finding is that of the real services: the sandbox only puts in the defect that the client under test did not make. Every change states fixed
values, so that a call that is sent again is the same call.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from luxor.consignment.v1 import consignment_pb2 as pb
from luxor.consignment.v1.consignment_pb2 import Consignment

Change = Callable[[Any], object]
"""Changes a message in place."""

STRANGER: Final = "DE999999999999991"
"""Identifier of a declarant that the sandbox registers, and that no account represents."""
UNKNOWN_REFERENCE: Final = "NEVER-FILED"
_UNKNOWN_FIELD: Final = b"\xfa\x3f\x00"
"""The field 1023 with no bytes, which no contract has."""
_HEAVY_MG: Final = 1_000_000_000_000
"""1,000 tonnes: more than the items of any test."""
_PAST_SECONDS: Final = 1_577_836_800
"""2020-01-01 UTC."""
FUTURE_SECONDS: Final = 4_070_908_800
"""2099-01-01 UTC."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason that a client reads, and how the sandbox provokes it."""

    name: str
    """Of its case."""
    reason: str
    """Of the catalogue."""
    path: str
    """Element path from the message of the batch; "" is the message itself."""
    defect: str
    """What is wrong, as a clause."""
    change: Change
    warns: bool = False
    """Whether the message is accepted all the same."""
    amends: bool = False
    """Whether the client's amendment is changed, and not its new filing."""
    prior: Change | None = None
    """Makes of a copy of the message what the sandbox files for the account just before it; the message itself then stays as it is."""
    is_written: bool = False
    """Whether the sandbox writes the reason into the answer, because no message of an account provokes it; the service refuses it for another one."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Of a reason that is written: what its sentence needs."""
    is_final: bool = False
    """Whether the same reference is never accepted afterwards."""
    notices: tuple[str, ...] = ("DECIDED",)
    """What the filer of an accepted filing reads."""
    state: str = "AWAITING_ARRIVAL"
    steps: tuple[str, ...] = ()
    """Acts of customs and of other parties after the decision, without arguments: names of methods of Script."""


def unchanged(_row: Any) -> None:
    """Change nothing."""


def first_of(rows: Any) -> Any:
    """Return the first message of a list, a new one if it is empty."""
    return rows[0] if rows else rows.add()


def set_element(path: str, value: object) -> Change:
    """Return a change that sets an element: "freight.minor", or of the first entry of a list "items[0].gtin"."""
    *parents, last = path.split(".")

    def change(row: Any) -> None:
        for parent in parents:
            name, _, place = parent.partition("[")
            row = getattr(row, name)
            if place:
                row = first_of(row)
        setattr(row, last, value)

    return change


def in_turn(*changes: Change) -> Change:
    def change(row: Any) -> None:
        for each in changes:
            each(row)

    return change


def clear(*names: str) -> Change:
    def change(row: Any) -> None:
        for name in names:
            row.ClearField(name)

    return change


def _clear_of_items(*names: str) -> Change:
    def change(row: Any) -> None:
        for item in row.items:
            for name in names:
                item.ClearField(name)

    return change


def _priced(minor: int, currency: str = "EUR") -> Change:
    return in_turn(set_element("items[0].price.minor", minor), set_element("items[0].price.currency", currency))


def _packed(row: Consignment) -> None:
    if not row.packages:
        row.packages.add(count=1, type="CT")


def schemes(*schemes: "pb.Scheme.ValueType", number: str) -> Change:
    def change(row: Consignment) -> None:
        del row.fiscal_references[:]
        for scheme in schemes:
            row.fiscal_references.add(scheme=scheme, number=number)

    return change


def _many_receptacles(row: Consignment) -> None:
    row.receptacles.extend(f"R{place}" for place in range(100))


def _documents(destination: str) -> Change:
    """Return a change that declares documents without a code and a price."""
    return in_turn(
        set_element("nature", pb.NATURE_DOCUMENT),
        set_element("destination_country", destination),
        clear("order", "payment", "fiscal_references", "insurance", "invoice_total", "freight"),
        _clear_of_items(
            "price", "tax_charged", "commodity_code", "gtin", "imeis", "merchant_product_id", "manufacturer_product_id"
        ),
    )


def _of_another_name(row: Consignment) -> None:
    row.consignor.name = row.consignee.name


def _heavy(row: Consignment) -> None:
    row.gross_mass_mg = 1_000_000
    first_of(row.items).net_mass_mg = 2_000_000


def _cheap(row: Consignment) -> None:
    _priced(2)(row)
    row.items[0].net_mass_mg = 1_000_000
    row.gross_mass_mg = _HEAVY_MG


def _strange_device(row: Consignment) -> None:
    first_of(row.items).imeis.insert(0, "490154203237519")


def _export(destination: str) -> Change:
    return in_turn(
        set_element("direction", pb.DIRECTION_EXPORT),
        set_element("dispatch_country", "DE"),
        set_element("destination_country", destination),
        _packed,
    )


def _not_returned(row: Consignment) -> None:
    if row.nature == pb.NATURE_RETURN:
        row.nature = pb.NATURE_SALE


def set_time(path: str, seconds: int) -> Change:
    *parents, last = path.split(".")

    def change(row: Any) -> None:
        for parent in parents:
            row = getattr(row, parent)
        getattr(row, last).FromSeconds(seconds)

    return change


def _refused(name: str, reason: str, path: str, defect: str, change: Change, **kind: Any) -> Finding:
    return Finding(name, reason, path, defect, change, **kind)


def _warned(name: str, reason: str, path: str, defect: str, change: Change, **kind: Any) -> Finding:
    return Finding(name, reason, path, defect, change, warns=True, **kind)


def _amended(name: str, reason: str, path: str, defect: str, change: Change, **kind: Any) -> Finding:
    return Finding(name, reason, path, defect, change, amends=True, notices=("DECIDED", "DECIDED"), **kind)


REFUSED: Final = (
    _refused(
        "REFUSED", "ELEMENT_MISSING", "items[0].description", "the description of the first item is empty",
        set_element("items[0].description", ""),
    ),
    _refused("LONG", "TEXT_TOO_LONG", "consignor.phone", "a text is longer than its element", set_element("consignor.phone", "0" * 51)),
    _refused("BREAK", "TEXT_UNPRINTABLE", "consignor.phone", "a text has a line break", set_element("consignor.phone", "1\n2")),
    _refused("CHOICE", "CHOICE_UNKNOWN", "nature", "a choice is none of the contract", set_element("nature", 99)),
    _refused("FORM", "CODE_MALFORMED", "incoterm", "a code does not have its form", set_element("incoterm", "D")),
    _refused(
        "URL", "URL_MALFORMED", "items[0].picture_url", "the address of a picture is none of https",
        set_element("items[0].picture_url", "ftp://shop.example/1"),
    ),
    _refused(
        "NEGATIVE", "NUMBER_NEGATIVE", "freight.minor", "the freight is negative",
        in_turn(set_element("freight.minor", -1), set_element("freight.currency", "EUR")),
    ),
    _refused("SMALL", "NUMBER_TOO_SMALL", "gross_mass_mg", "the gross mass is 0", set_element("gross_mass_mg", 0)),
    _refused(
        "HIGH", "NUMBER_TOO_LARGE", "freight.minor", "the freight is above its bound",
        in_turn(set_element("freight.minor", 10**12 + 1), set_element("freight.currency", "EUR")),
    ),
    _refused("TIME", "TIME_OUT_OF_BOUNDS", "order.time", "the order is of 1970", set_time("order.time", 1)),
    _refused("LIST", "LIST_TOO_LONG", "receptacles", "there are more than 99 receptacles", _many_receptacles),
    _refused("COUNTRY", "COUNTRY_UNKNOWN", "dispatch_country", "the country of dispatch does not exist", set_element("dispatch_country", "QQ")),
    _refused(
        "CURRENCY", "CURRENCY_UNKNOWN", "freight.currency", "the currency of the freight does not exist",
        in_turn(set_element("freight.minor", 100), set_element("freight.currency", "ZZZ")),
    ),
    _refused(
        "UNITLESS", "CURRENCY_MISSING", "freight.currency", "the freight has no currency",
        in_turn(set_element("freight.minor", 100), set_element("freight.currency", "")),
    ),
    _refused(
        "HSFORM", "COMMODITY_CODE_MALFORMED", "items[0].commodity_code", "a commodity code has two digits",
        set_element("items[0].commodity_code", "62"),
    ),
    _refused(
        "HSNONE", "COMMODITY_CODE_UNKNOWN", "items[0].commodity_code", "a commodity code does not exist",
        set_element("items[0].commodity_code", "999999"),
    ),
    _refused(
        "HSOLD", "COMMODITY_CODE_WITHDRAWN", "items[0].commodity_code", "a commodity code was withdrawn in 2022",
        set_element("items[0].commodity_code", "851712"),
    ),
    _refused(
        "MRN", "MRN_MALFORMED", "previous_part_mrn", "the MRN of a former share has a wrong check digit",
        set_element("previous_part_mrn", "22ITZXBZYUTJFLJXK7"),
    ),
    _refused(
        "NEXTYEAR", "RETURNED_MRN_IN_FUTURE", "returned_mrn", "the goods are a return of a year that has not begun",
        in_turn(set_element("nature", pb.NATURE_RETURN), set_element("returned_mrn", "98ITZXBZYUTJFLJXK3")),
    ),
    _refused("INLAND", "EXPORT_WITHIN_COUNTRY", "destination_country", "an export has its own country as destination", _export("DE")),
    _refused(
        "SITEM", "S10_MALFORMED", "master_document.number", "a postal identifier has a wrong check digit",
        set_element("master_document.number", "RR123456780DE"),
    ),
    _refused("GTIN", "GTIN_MALFORMED", "items[0].gtin", "a trade item number has a wrong check digit", set_element("items[0].gtin", "12345678")),
    _refused(
        "METHOD", "VALUATION_METHOD_UNKNOWN", "items[0].valuation_method", "a valuation method is none of 1 to 6",
        set_element("items[0].valuation_method", "9"),
    ),
    _refused("NUMBER", "ITEM_NUMBER_WRONG", "items[0].number", "the first item has the number 7", set_element("items[0].number", 7)),
    _refused(
        "TWICE", "SCHEME_REPEATED", "fiscal_references", "a scheme is named twice",
        schemes(pb.SCHEME_IOSS, pb.SCHEME_IOSS, number="IM2760000014"),
    ),
    _refused(
        "PAPERS", "DOCUMENTS_WITHOUT_DATA_SET", "items[0].commodity_code",
        "documents without code and price go to NZ, whose law as loaded has no data set for them", _documents("NZ"),
    ),
    _refused(
        "PAPERBUY", "DOCUMENTS_WITH_GOODS", "items[0].commodity_code", "documents without a code have a price",
        in_turn(_documents("DE"), _priced(1000)),
    ),
    _refused(
        "SUSPEND", "FILER_SUSPENDED", "", "the administration suspended the filer", set_element("items[0].description", ""),
        is_written=True, facts={"cause": "A case of the sandbox."},
    ),
    _refused("STRANGER", "FILER_NOT_REGISTERED", "", "the filer is not registered", set_element("items[0].description", ""), is_written=True),
    _refused(
        "REUSED", "REFERENCE_REUSED", "local_reference", "the account filed other goods under the reference before",
        unchanged, prior=set_element("items[0].description", "Cotton shirt of another order"), is_final=True,
    ),
)  # fmt: skip
"""New filings that are refused."""

WARNED: Final = (
    _warned("VAGUE", "DESCRIPTION_VAGUE", "items[0].description", "a description names no goods", set_element("items[0].description", "gift")),
    _warned("NOMINAL", "PRICE_NOMINAL", "items[0].price.minor", "a price is 0", _priced(0)),
    _warned("SAMENAME", "CONSIGNOR_IS_CONSIGNEE", "consignee.name", "consignor and consignee have one name", _of_another_name),
    _warned(
        "EORI", "EORI_MALFORMED", "importer.identifier", "an EORI number begins with no country",
        in_turn(set_element("importer.identifier", "QQ1"), set_element("importer.identifier_type", pb.IDENTIFIER_TYPE_EORI)),
    ),
    _warned("STREET", "ADDRESS_WITHOUT_LETTERS", "consignor.address.city", "a city has no letter", set_element("consignor.address.city", "123")),
    _warned(
        "POSTCODE", "POSTCODE_MALFORMED", "consignor.address.postcode", "a postal code does not have the form of its country",
        in_turn(set_element("consignor.address.country", "CN"), set_element("consignor.address.postcode", "12")),
    ),
    _warned(
        "LOCODE", "LOCODE_MALFORMED", "transport.loading_place", "a place does not have the form of UN/LOCODE",
        set_element("transport.loading_place", "CN111"),
    ),
    _warned("NETMASS", "NET_MASS_ABOVE_GROSS", "gross_mass_mg", "the items are heavier than the consignment", _heavy),
    _warned("PERKG", "PRICE_PER_KG_IMPLAUSIBLE", "items[0].net_mass_mg", "a kilogram costs 2 cents", _cheap),
    _warned("FUTURE", "TIME_IN_FUTURE", "order.time", "the order is of 2099", set_time("order.time", FUTURE_SECONDS)),
    _warned("PAST", "TIME_LONG_PAST", "order.time", "the order is of 2020", set_time("order.time", _PAST_SECONDS)),
    _warned(
        "ENTRUST", "DECLARANT_NOT_ENTRUSTED", "declarant.identifier", "the declarant is registered, and the account does not represent it",
        set_element("declarant.identifier", STRANGER),
    ),
    _warned(
        "STAGE", "STAGE_ELEMENT_MISSING", "items[0].merchant_product_id", "goods sold to DE lack the merchant's identifier",
        in_turn(set_element("destination_country", "DE"), set_element("nature", pb.NATURE_SALE), _clear_of_items("merchant_product_id")),
    ),
    _warned(
        "LATE", "FILED_LATE", "transport.arrival_time", "goods by road to DE arrived in 2020",
        in_turn(
            set_element("destination_country", "DE"), set_element("transport.mode", pb.TRANSPORT_MODE_ROAD),
            set_time("transport.arrival_time", _PAST_SECONDS),
        ),
    ),
    _warned("IOSS", "SCHEME_NUMBER_MALFORMED", "fiscal_references[0].number", "an IOSS number is too short", schemes(pb.SCHEME_IOSS, number="IM12")),
    _warned(
        "IMEI", "IMEI_MALFORMED", "items[0].imeis[0]", "the number of a device has a wrong check digit",
        _strange_device,
    ),
    _warned(
        "UNIT", "UNIT_UNKNOWN", "items[0].quantity_unit", "a unit is unknown",
        in_turn(set_element("items[0].quantity_milli", 1000), set_element("items[0].quantity_unit", "QQQ")),
    ),
    _warned(
        "PACKAGE", "PACKAGE_TYPE_UNKNOWN", "packages[0].type", "a type of package is unknown",
        in_turn(_packed, set_element("packages[0].type", "??")),
    ),
    _warned(
        "FIRSTREF", "RETURN_REFERENCE_UNUSED", "returned_document.number", "goods that are no return name a first document",
        in_turn(_not_returned, set_element("returned_document.number", "SANDBOX-FIRST")),
    ),
    _warned(
        "EXPORT", "IMPORT_ELEMENT_UNUSED", "prices_include_tax",
        "an export, which arrives at its office of exit and leaves, states whether its prices include tax",
        in_turn(_export("US"), set_element("prices_include_tax", False)),
        notices=("DECIDED", "RELEASED", "EXITED"), state="EXITED", steps=("arrive", "depart"),
    ),
    _warned(
        "BACKDOC", "RETURN_DOCUMENT_UNUSED", "return_document.number", "a new filing names the document of a return",
        set_element("return_document.number", "SANDBOX-RETURN"),
    ),
    _warned(
        "BACK", "RETURN_WITHOUT_REFERENCE", "returned_mrn", "a return names no first consignment",
        in_turn(set_element("nature", pb.NATURE_RETURN), clear("returned_mrn", "returned_document")),
    ),
    _warned(
        "MINIMUM", "STAGE_INCOMPLETE", "", "the filing has the minimum set before loading",
        in_turn(set_element("transport.mode", pb.TRANSPORT_MODE_AIR), _packed, clear("nature", "direction"), _clear_of_items("price")),
        notices=("HELD",), state="HELD",
    ),
    _warned(
        "PARTS", "PARTS_REQUIRED", "", "goods of the scheme CBEC go to CN, which requires parts of other parties",
        in_turn(set_element("destination_country", "CN"), schemes(pb.SCHEME_CBEC, number="SANDBOX-1")), notices=("HELD",), state="HELD",
    ),
    _warned(
        "NEWFIELD", "UNKNOWN_FIELD", "", "the filing has a field that the release does not know",
        lambda row: row.MergeFromString(_UNKNOWN_FIELD),
    ),
)  # fmt: skip
"""New filings that are accepted with a warning."""

AMENDED: Final = (
    _amended(
        "NEVER", "ELEMENT_NEVER_AMENDED", "house_document.number", "the amendment states another house document",
        set_element("house_document.number", "SANDBOX-OTHER"),
    ),
    _amended("VERSION", "AMENDED_VERSION_UNKNOWN", "amended_version", "the amendment replaces version 99", set_element("amended_version", 99)),
    _amended(
        "NOFILING", "AMENDED_FILING_UNKNOWN", "local_reference", "the amendment names a reference that was never filed",
        in_turn(clear("amended_mrn"), set_element("local_reference", UNKNOWN_REFERENCE)),
    ),
    Finding(
        "REPLACED", "VERSION_REPLACED", "amended_version", "another amendment of the account replaced version 1 a moment before",
        unchanged, amends=True, prior=set_element("items[0].description", "Cotton shirt of another amendment"),
        notices=("DECIDED", "DECIDED", "DECIDED"),
    ),
)  # fmt: skip
"""Amendments that are refused."""

FINDINGS: Final = (*REFUSED, *WARNED, *AMENDED)
"""All findings of filings."""
