"""Other calls than filings in which a reference selects a case: sales and parts of filers; arrivals, reversals and departures of carriers."""

import enum
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from libs.sandbox.findings import (
    FUTURE_SECONDS,
    Finding,
    clear,
    first_of,
    in_turn,
    schemes,
    set_element,
    set_time,
    unchanged,
)
from libs.server.errors import item_error
from libs.server.identity import Role
from luxor.clearance.v1 import carriers_pb2, clearance_pb2, returns_pb2
from luxor.consignment.v1 import consignment_pb2
from luxor.errors.v1.errors_pb2 import SEVERITY_ERROR, ItemError
from luxor.ingestion.v1 import parts_pb2
from luxor.revenue.v1 import sales_pb2


class Subject(enum.StrEnum):
    """What a reference that selects a case belongs to."""

    CONSIGNMENT = "consignment"
    SALE = "sale"
    PART = "part"
    ARRIVAL = "arrival"
    REVERSAL = "reversal of an arrival"
    DEPARTURE = "departure"


@dataclass(frozen=True, slots=True)
class Call:
    """A call with a list of messages, of which each has a result of its own."""

    subject: Subject
    method: str
    role: Role
    """Who makes it."""
    rows: str
    """The field of the request that has the messages."""
    reference: str
    """The element of a message that selects its case."""
    request_class: Any
    response_class: Any

    @property
    def name(self) -> str:
        """The method without its service."""
        return self.method.rpartition("/")[2]

    @property
    def area(self) -> str:
        """The service that answers it, as its store is named."""
        return self.method.removeprefix("/luxor.").partition(".")[0]


CALLS: Final = (
    Call(
        Subject.SALE, "/luxor.revenue.v1.SaleService/FileSales", Role.FILER, "sales", "order_number", sales_pb2.FileSalesRequest,
        sales_pb2.FileSalesResponse,
    ),
    Call(
        Subject.PART, "/luxor.ingestion.v1.PartService/FileParts", Role.FILER, "parts", "reference", parts_pb2.FilePartsRequest,
        parts_pb2.FilePartsResponse,
    ),
    Call(
        Subject.ARRIVAL, "/luxor.clearance.v1.ClearanceService/RecordArrivals", Role.CARRIER, "arrivals", "master_document_number",
        clearance_pb2.RecordArrivalsRequest, clearance_pb2.RecordArrivalsResponse,
    ),
    Call(
        Subject.REVERSAL, "/luxor.clearance.v1.CarrierService/ReverseArrivals", Role.CARRIER, "arrivals", "master_document_number",
        carriers_pb2.ReverseArrivalsRequest, carriers_pb2.ReverseArrivalsResponse,
    ),
    Call(
        Subject.DEPARTURE, "/luxor.clearance.v1.ReturnService/RecordDepartures", Role.CARRIER, "departures", "transport_document_number",
        returns_pb2.RecordDeparturesRequest, returns_pb2.RecordDeparturesResponse,
    ),
)  # fmt: skip
BY_METHOD: Final[Mapping[str, Call]] = {each.method: each for each in CALLS}
BY_SUBJECT: Final[Mapping[Subject, Call]] = {each.subject: each for each in CALLS}
ROLE_OF: Final[Mapping[Subject, Role]] = {Subject.CONSIGNMENT: Role.FILER} | {each.subject: each.role for each in CALLS}
"""Who makes the calls about a subject."""


BOUND_ELSEWHERE: Final = "SANDBOX-UNBOUND"
"""A master document that the sandbox binds to its own carrier."""


def _linked_by_document(part: parts_pb2.FilingPart) -> None:
    part.role = parts_pb2.PARTY_ROLE_CARRIER
    part.house_document.carrier_identifier, part.house_document.number = "SANDBOX", "SANDBOX-1"
    part.consignment_filer = "sandbox-declarant"
    part.consignment.Clear()
    part.consignment.gross_mass_mg = 1_000_000


def _of_another_role(part: parts_pb2.FilingPart) -> None:
    part.role = parts_pb2.PARTY_ROLE_PAYMENT_PROVIDER
    part.consignment.gross_mass_mg = 1_000_000


def _other_part(part: parts_pb2.FilingPart) -> None:
    part.role = parts_pb2.PARTY_ROLE_PAYMENT_PROVIDER
    part.linking_key = f"sandbox-other-part-{part.reference}"
    part.consignment_filer = ""
    part.consignment.Clear()
    part.consignment.payment.reference = "SANDBOX-OTHER"


def _two_schemes(sale: sales_pb2.Sale) -> None:
    number = "IM2760000014"
    schemes(consignment_pb2.SCHEME_IOSS, consignment_pb2.SCHEME_IOSS, number=number)(sale)


def _under_house_document(sale: sales_pb2.Sale) -> None:
    # Of the order, so that accounts and cases have different ones.
    del sale.house_documents[:]
    sale.house_documents.add(carrier_identifier="SANDBOX", number=f"HD{_digest(sale.order_number)}")


def _other_order(sale: sales_pb2.Sale) -> None:
    _under_house_document(sale)
    sale.order_number = f"sandbox-{_digest(sale.order_number)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20].upper()


def _unpriced(sale: sales_pb2.Sale) -> None:
    first_of(sale.items).ClearField("price")


OF_CALLS: Final[Mapping[Subject, Sequence[Finding]]] = {
    Subject.SALE: (
        Finding("NOGOODS", "ELEMENT_MISSING", "items", "it has no items", clear("items")),
        Finding("UNPAID", "TIME_IN_FUTURE", "paid_at", "it was paid in 2099", set_time("paid_at", FUTURE_SECONDS)),
        Finding("PLATFORM", "PLATFORM_NOT_OWN", "platform", "it names another platform", set_element("platform", "sandbox-platform")),
        Finding("SCHEMES", "SCHEME_REPEATED", "fiscal_references", "it names a scheme twice", _two_schemes),
        Finding(
            "SALEROLE", "CHOICE_UNKNOWN", "declarant_role", "the role of the declarant is none of the contract",
            set_element("declarant_role", 99),
        ),
        Finding(
            "SALEHS", "COMMODITY_CODE_UNKNOWN", "items[0].commodity_code", "a commodity code does not exist",
            set_element("items[0].commodity_code", "999999"),
        ),
        Finding("NOSALE", "AMENDED_SALE_UNKNOWN", "amended_version", "it amends an order that was never filed", set_element("amended_version", 1)),
        Finding("NOLAW", "NO_RULEBOOK", "", "no law of its destination is loaded", set_element("destination_country", "AQ")),
        Finding("NOPRICE", "UNVALUED", "", "an item has no price", _unpriced),
        Finding(
            "NORATE", "NO_EXCHANGE_RATE", "", "no exchange rate of its currency is loaded",
            in_turn(set_element("items[0].price.minor", 100), set_element("items[0].price.currency", "KPW")),
        ),
        Finding(
            "ORDER", "ORDER_REUSED", "order_number", "the account filed another sale of the order before", unchanged,
            prior=set_element("items[0].description", "Cotton shirt of another sale"), is_final=True,
        ),
        Finding(
            "HOUSEDOC", "HOUSE_DOCUMENT_REUSED", "house_documents[0].number", "its house document belongs to another sale of the account",
            _under_house_document, prior=_other_order,
        ),
    ),
    Subject.PART: (
        Finding("PARTNONE", "ELEMENT_MISSING", "consignment", "it states nothing", clear("consignment")),
        Finding("PARTROLE", "PARTY_ROLE_NOT_REGISTERED", "role", "it is of a role for which the account is not registered", _linked_by_document),
        Finding("PARTELEM", "PART_ELEMENT_NOT_OF_ROLE", "consignment.gross_mass_mg", "a payment provider states a mass", _of_another_role),
        Finding("PARTKEY", "LINKING_KEY_MALFORMED", "linking_key", "its linking key is too short", set_element("linking_key", "short")),
        Finding("PARTFOR", "FILER_MALFORMED", "consignment_filer", "the id of the filer is none", set_element("consignment_filer", "!")),
        Finding(
            "PARTREF", "PART_REFERENCE_REUSED", "reference", "the account filed another part under the reference before", unchanged,
            prior=_other_part, is_final=True,
        ),
    ),
    Subject.ARRIVAL: (
        Finding("DOCUMENT", "MASTER_DOCUMENT_MALFORMED", "master_document_number", "it names no document", set_element("master_document_number", "")),
        Finding(
            "FLIGHT", "CONVEYANCE_MALFORMED", "conveyance_reference", "its conveyance reference is too long",
            set_element("conveyance_reference", "X" * 18),
        ),
        Finding("PLACE", "ARRIVAL_PLACE_MALFORMED", "place", "its place is no UN/LOCODE", set_element("place", "de-1")),
        Finding("NOTIME", "ARRIVAL_TIME_MISSING", "arrived_at", "it has no time", clear("arrived_at")),
        Finding("AHEAD", "ARRIVAL_TIME_OUT_OF_BOUNDS", "arrived_at", "its time is of 2099", set_time("arrived_at", FUTURE_SECONDS)),
        Finding(
            "UNBOUND", "ARRIVAL_CARRIER_UNBOUND", "master_document_number", "the document is bound to another carrier",
            set_element("master_document_number", BOUND_ELSEWHERE),
        ),
        Finding(
            "UNDOING", "ARRIVAL_BEING_REVERSED", "master_document_number", "a former arrival is still being reversed",
            set_element("master_document_number", BOUND_ELSEWHERE), is_written=True,
        ),
    ),
    Subject.REVERSAL: (
        Finding(
            "NOARRIVE", "ARRIVAL_UNKNOWN", "master_document_number", "the carrier recorded no arrival of the document",
            set_element("master_document_number", "SANDBOX-NONE"),
        ),
        Finding(
            "FREED", "ARRIVAL_HAS_RELEASED", "master_document_number", "the arrival released goods",
            set_element("master_document_number", "SANDBOX-NONE"), is_written=True, facts={"released": 1},
        ),
        Finding(
            "SHOWN", "ARRIVAL_PRESENTED", "master_document_number", "goods were presented",
            set_element("master_document_number", "SANDBOX-NONE"), is_written=True, facts={"presented": 1},
        ),
    ),
    Subject.DEPARTURE: (
        Finding(
            "LEFTDOC", "RETURN_DOCUMENT_MALFORMED", "transport_document_number", "it names no document",
            set_element("transport_document_number", ""),
        ),
        Finding("LEFTTIME", "DEPARTURE_TIME_OUT_OF_BOUNDS", "departed_at", "its time is of 2099", set_time("departed_at", FUTURE_SECONDS)),
        Finding("LEFTMRN", "MRN_MALFORMED", "mrns[0]", "it names a malformed MRN", lambda row: row.mrns.insert(0, "22ITZXBZYUTJFLJXK7")),
    ),
}  # fmt: skip
"""The findings of other calls than filings. All of them refuse the message."""


def errors_of(result: Any) -> list[ItemError]:
    """Return the errors and warnings of a message's result, whatever the call."""
    if "errors" in result.DESCRIPTOR.fields_by_name:
        return list(result.errors)
    return [result.error] if result.HasField("error") else []


def is_accepted(result: Any) -> bool:
    """Return whether a result has no error."""
    return not any(error.severity == SEVERITY_ERROR for error in errors_of(result))


def write_reason(result: Any, finding: Finding, path: str, value: str) -> None:
    """Put the reason of a finding in the place of the errors of a refused message; `path` is that of the message."""
    where = f"{path}.{finding.path}" if finding.path else path
    error = item_error(finding.reason, where, value, **finding.facts)
    if "errors" in result.DESCRIPTOR.fields_by_name:
        del result.errors[:]
        result.errors.append(error)
    else:
        result.error.CopyFrom(error)
