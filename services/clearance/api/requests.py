"""Checks of requests: sizes, ids, references, arrivals, commands of officers. A part of the edge."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, TypeVar

from libs.customs.identifiers import mrn as mrns
from libs.server import call
from libs.server.errors import Refusal, item_error
from libs.server.identity import Identity, Role, is_id
from libs.server.requests import page_size_of
from libs.store.tables.requests import RequestReused
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api.queries import FORMS, PAGE_DEFAULT, ROWS_MAX, Query
from services.clearance.carriage.binding import Arrival
from services.clearance.commands.act import Acted, Request
from services.clearance.consignment.inspection import Inspection, Result

Valid = TypeVar("Valid")

BATCH_MAX: Final = 1_000
PAGE_MAX: Final = 1_000
DOCUMENT_CHARACTERS_MAX: Final = 70
NOTE_CHARACTERS_MAX: Final = 512
ITEMS_MAX: Final = 999
_CHARACTERS_MAX: Final = {"mrn": 18, "local_reference": 22, "house_document_number": 70, "master_document_number": 70}
_CONVEYANCE_CHARACTERS_MAX: Final = 17
_REASON: Final = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
_PLACE: Final = re.compile(r"[A-Z]{2}[A-Z0-9]{3}")
FIRST_MICROS: Final = 946_684_800_000_000  # 2000-01-01
AHEAD_MICROS_MAX: Final = 3_600_000_000
_METHODS: Final = frozenset(pb.InspectionMethod.values()) - {0}
_VIOLATIONS: Final = frozenset(pb.Violation.values()) - {0}
_ASKED_BY: Final = {
    Role.CARRIER: frozenset({"house_document_number", "master_document_number"}),
    Role.AGENCY: frozenset({"mrn", "house_document_number", "master_document_number"}),
}
"""The references by which carriers and agencies ask; by others they could confirm what they do not read, such as the filer."""


def check_size(count: int) -> None:
    """Raise Refusal unless a batch has 1 to 1,000 items."""
    if count == 0:
        raise Refusal("BATCH_EMPTY", count_max=BATCH_MAX)
    if count > BATCH_MAX:
        raise Refusal("BATCH_TOO_LARGE", count=count, count_max=BATCH_MAX)


def check_master_document(number: str) -> None:
    """Raise Refusal unless a text can be the number of a master document."""
    if not 0 < len(number) <= DOCUMENT_CHARACTERS_MAX or not is_plain(number):
        raise Refusal("MASTER_DOCUMENT_MALFORMED", path="master_document_number")


def digest(method: str, request: Any) -> bytes:
    """Stand for a request's content: the request_id is the key, so it is left out; the method is a part of it."""
    content = type(request)()
    content.CopyFrom(request)
    content.ClearField("request_id")
    return sha256(method.encode() + b"\0" + content.SerializeToString(deterministic=True)).digest()


def command_request(request: Any, method: str) -> Request:
    """Return the identity of the current call's request, which makes its command idempotent."""
    current = call.current()
    return Request(str(current.identity), request.request_id, digest(method, request), current.trace)


async def unreused(request_id: str, work: Awaitable[bytes]) -> bytes:
    """Return what a command answered. Raise Refusal REQUEST_REUSED if its id was used for another request."""
    try:
        return await work
    except RequestReused:
        raise Refusal("REQUEST_REUSED", path="request_id", value=request_id) from None


def check_act(reason: str, note: str) -> None:
    """Raise Refusal unless an officer gives a stable reason and a note that is not too long."""
    if not is_reason(reason):
        raise Refusal("REASON_MALFORMED", path="reason", value=reason)
    if len(note) > NOTE_CHARACTERS_MAX or not is_plain(note):
        raise Refusal("NOTE_TOO_LONG", path="note")


def queries(
    status_queries: Sequence[pb.StatusQuery], identity: Identity
) -> tuple[list[Query | None], dict[int, ItemError]]:
    """Return the queries as they are read, None where one is refused, and the errors of those by place."""
    share = max(1, ROWS_MAX // len(status_queries))
    read: list[Query | None] = []
    errors: dict[int, ItemError] = {}
    for place, query in enumerate(status_queries):
        found = _query(query, identity, f"queries[{place}]", share)
        if isinstance(found, Query):
            read.append(found)
        else:
            read.append(None)
            errors[place] = found
    return read, errors


def _query(query: pb.StatusQuery, identity: Identity, path: str, share: int) -> Query | ItemError:
    kind = query.WhichOneof("reference")
    if kind is None or kind not in _ASKED_BY.get(identity.role, (kind,)):
        return item_error("QUERY_MALFORMED", path)
    value: str = getattr(query, kind)
    limit = _CHARACTERS_MAX[kind]
    if kind == "mrn" and not mrns.is_valid(value):
        return item_error("MRN_MALFORMED", f"{path}.mrn", value)
    if not 0 < len(value) <= limit or not is_plain(value):
        return item_error("REFERENCE_MALFORMED", f"{path}.{kind}", value, characters_max=limit)
    if query.page_size < 0:
        return item_error("NUMBER_NEGATIVE", f"{path}.page_size", query.page_size)
    if query.page_token and kind not in FORMS:
        return item_error("PAGE_TOKEN_MALFORMED", f"{path}.page_token")
    filer = query.filer
    if kind == "local_reference":
        if identity.role is Role.FILER:
            if filer not in ("", identity.id):
                return item_error("FILER_FOREIGN", f"{path}.filer")
            filer = identity.id
        elif not is_id(filer):
            return item_error("FILER_MISSING", f"{path}.filer")
    return Query(kind, value, filer, min(page_size_of(query.page_size, PAGE_DEFAULT, PAGE_MAX), share))


def unknown(place: int, query: pb.StatusQuery) -> ItemError:
    """Return the error of a query whose reference is unknown."""
    kind = query.WhichOneof("reference") or "reference"
    return item_error("CONSIGNMENT_UNKNOWN", f"queries[{place}].{kind}", getattr(query, kind, ""))


def arrivals(
    messages: Sequence[pb.Arrival], carrier: str, now: int
) -> tuple[list[Arrival | None], list[list[ItemError]]]:
    """Read arrivals; None and errors for those that are refused."""
    read: list[Arrival | None] = []
    errors: list[list[ItemError]] = []
    for place, arrival in enumerate(messages):
        found = _arrival_errors(arrival, f"arrivals[{place}]", now)
        errors.append(found)
        read.append(
            None
            if found
            else Arrival(
                arrival.master_document_number,
                carrier,
                arrival.conveyance_reference,
                arrival.arrived_at.seconds * 1_000_000 + arrival.arrived_at.nanos // 1_000,
                arrival.place,
                now,
            )
        )
    return read, errors


def _arrival_errors(arrival: pb.Arrival, path: str, now: int) -> list[ItemError]:
    errors = []
    number = arrival.master_document_number
    if not 0 < len(number) <= _CHARACTERS_MAX["master_document_number"] or not is_plain(number):
        errors.append(item_error("MASTER_DOCUMENT_MALFORMED", f"{path}.master_document_number", number))
    conveyance = arrival.conveyance_reference
    if len(conveyance) > _CONVEYANCE_CHARACTERS_MAX or not is_plain(conveyance):
        errors.append(item_error("CONVEYANCE_MALFORMED", f"{path}.conveyance_reference", conveyance))
    if arrival.place and _PLACE.fullmatch(arrival.place) is None:
        errors.append(item_error("ARRIVAL_PLACE_MALFORMED", f"{path}.place", arrival.place))
    if not arrival.HasField("arrived_at"):
        errors.append(item_error("ARRIVAL_TIME_MISSING", f"{path}.arrived_at"))
    else:
        micros = arrival.arrived_at.seconds * 1_000_000 + arrival.arrived_at.nanos // 1_000
        if not FIRST_MICROS <= micros <= now + AHEAD_MICROS_MAX:
            errors.append(item_error("ARRIVAL_TIME_OUT_OF_BOUNDS", f"{path}.arrived_at"))
    return errors


def refs(
    consignments: Sequence[pb.ConsignmentRef], where: str = "consignments[{}].mrn"
) -> tuple[list[int], dict[int, ItemError]]:
    """Return the places of valid consignments, and the errors of the others by place; `where` returns the path of the MRN at a place."""
    places: list[int] = []
    errors: dict[int, ItemError] = {}
    seen: set[str] = set()
    for place, ref in enumerate(consignments):
        path = where.format(place)
        if not mrns.is_valid(ref.mrn):
            errors[place] = item_error("MRN_MALFORMED", path, ref.mrn)
        elif ref.mrn in seen:
            errors[place] = item_error("CONSIGNMENT_REPEATED", path, ref.mrn)
        elif not _is_own_mrn(ref.mrn):
            errors[place] = item_error("CONSIGNMENT_UNKNOWN", path, ref.mrn)
        else:
            places.append(place)
        seen.add(ref.mrn)
    return places, errors


def valid_by_mrn(
    messages: Sequence[Any], field: str, read: Callable[[Any, str], Valid | ItemError]
) -> tuple[dict[str, Valid], dict[int, ItemError]]:
    """Return what `read` returns of each message and its path, by MRN, and the errors of the others by place."""
    valid: dict[str, Valid] = {}
    places, errors = refs([each.consignment for each in messages], f"{field}[{{}}].consignment.mrn")
    for place in places:
        found = read(messages[place], f"{field}[{place}]")
        if isinstance(found, ItemError):
            errors[place] = found
        else:
            valid[messages[place].consignment.mrn] = found
    return valid, errors


def act_error(path: str, acted: Acted) -> ItemError:
    """Return the error of a command that had no effect on the consignment whose MRN is at `path`."""
    return item_error(acted.refusal, path, acted.mrn, version=acted.version)


def act_result(path: str, acted: Acted) -> pb.OfficerResult:
    """Return the result of a command on the consignment whose MRN is at `path`."""
    error = act_error(path, acted) if acted.refusal else None
    result = pb.OfficerResult(mrn=acted.mrn, state=acted.state, version=acted.version, error=error)  # type: ignore[arg-type]
    result.awaits_second_person = acted.proposed
    return result


@dataclass(frozen=True, slots=True)
class Answering:
    """A request with commands on consignments, and how each of them is answered."""

    refs: Sequence[pb.ConsignmentRef]
    errors: Mapping[int, ItemError]
    answer: Any
    where: str

    @property
    def expected_versions(self) -> list[tuple[str, int | None]]:
        """The MRNs without errors, each with the version that the caller expects."""
        return [
            (ref.mrn, ref.expected_version if ref.HasField("expected_version") else None)
            for place, ref in enumerate(self.refs)
            if place not in self.errors
        ]

    def encode(self, results: Sequence[Acted]) -> bytes:
        """Return the encoded answer, with the results of the consignments without errors in their order."""
        outcomes = iter(results)
        out = [
            pb.OfficerResult(mrn=ref.mrn, error=self.errors[place])
            if place in self.errors
            else act_result(self.where.format(place), next(outcomes))
            for place, ref in enumerate(self.refs)
        ]
        payload: bytes = self.answer(results=out).SerializeToString()
        return payload


def inspections(messages: Sequence[pb.Inspection]) -> tuple[dict[str, Inspection], dict[int, ItemError]]:
    """Read inspections by MRN, and the errors of those that cannot be recorded by place."""
    return valid_by_mrn(messages, "inspections", _inspection)


def _inspection(message: pb.Inspection, path: str) -> Inspection | ItemError:
    if message.method not in _METHODS:
        return item_error("INSPECTION_METHOD_MISSING", f"{path}.method", message.method)
    if len(message.note) > NOTE_CHARACTERS_MAX or not is_plain(message.note):
        return item_error("NOTE_TOO_LONG", f"{path}.note")
    if len(message.items) > ITEMS_MAX:
        return item_error("INSPECTION_ITEMS_TOO_MANY", f"{path}.items", len(message.items), items_max=ITEMS_MAX)
    items: dict[int, tuple[Result, int]] = {}
    for place, item in enumerate(message.items):
        here = f"{path}.items[{place}]"
        if item.number in items:
            return item_error("INSPECTION_ITEM_REPEATED", f"{here}.number", item.number)
        error = _result_error(item.result, item.violation, here)
        if error is not None:
            return error
        items[item.number] = (Result(item.result), item.violation)
    whole: Result | None = None
    if not items:
        error = _result_error(message.result, message.violation, path)
        if error is not None:
            return error
        whole = Result(message.result)
    gravest = whole or max(result for result, _ in items.values())
    if items and (message.violation or message.result not in (pb.INSPECTION_RESULT_UNSPECIFIED, gravest)):
        return item_error("INSPECTION_CONTRADICTS", f"{path}.result", message.result)
    return Inspection(message.method, gravest, whole, message.violation, items, message.note)


def _result_error(result: int, violation: int, path: str) -> ItemError | None:
    if result not in tuple(Result):
        return item_error("INSPECTION_RESULT_MISSING", f"{path}.result", result)
    if (result == Result.VIOLATION) != (violation in _VIOLATIONS):
        return item_error("INSPECTION_VIOLATION_UNCLEAR", f"{path}.violation", violation)
    return None


def _is_own_mrn(number: str) -> bool:
    try:
        mrns.parse(number)
    except mrns.MrnError:
        return False
    return True


def is_reason(text: str) -> bool:
    """Return whether a text is a stable reason, UPPER_SNAKE_CASE."""
    return _REASON.fullmatch(text) is not None


def is_document(number: str) -> bool:
    """Whether a text can be the number of a transport document: not blank, at most 70 characters, and none of them a control character."""
    return 0 < len(number) <= DOCUMENT_CHARACTERS_MAX and is_plain(number) and not number.isspace()


def is_plain(text: str) -> bool:
    """Whether a text has no control characters (a NUL has no place in the store either)."""
    return not any(character < " " or character == "\x7f" for character in text)
