"""What callers send, checked: sizes, ids, references, arrivals, officers' acts. A part of the edge."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from libs.customs.identifiers import mrn as mrns
from libs.server.errors import Refusal, item_error
from libs.server.identity import Identity, Role, is_id
from libs.server.requests import page_size_of
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api.queries import FORMS, PAGE_DEFAULT, ROWS_MAX, Query
from services.clearance.carriage.binding import Arrival
from services.clearance.commands.act import Acted
from services.clearance.consignment.inspection import Inspection, Result

BATCH_MAX: Final = 1_000
PAGE_MAX: Final = 1_000
NOTE_CHARACTERS_MAX: Final = 512
ITEMS_MAX: Final = 999
_CHARACTERS_MAX: Final = {"mrn": 18, "local_reference": 22, "house_document_number": 70, "master_document_number": 70}
_CONVEYANCE_CHARACTERS_MAX: Final = 17
_REASON: Final = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
_PLACE: Final = re.compile(r"[A-Z]{2}[A-Z0-9]{3}")
_FIRST_MICROS: Final = 946_684_800_000_000  # 2000-01-01
_AHEAD_MICROS_MAX: Final = 3_600_000_000
_METHODS: Final = frozenset(pb.InspectionMethod.values()) - {0}
_VIOLATIONS: Final = frozenset(pb.Violation.values()) - {0}
_ASKED_BY_CARRIERS: Final = frozenset({"house_document_number", "master_document_number"})


def check_size(count: int) -> None:
    """Raise Refusal unless a batch has 1 to 1,000 items."""
    if count == 0:
        raise Refusal("BATCH_EMPTY", count_max=BATCH_MAX)
    if count > BATCH_MAX:
        raise Refusal("BATCH_TOO_LARGE", count=count, count_max=BATCH_MAX)


def digest(method: str, request: Any) -> bytes:
    """Stand for a request's content: the request_id is the key, so it is left out; the method is a part of it."""
    content = type(request)()
    content.CopyFrom(request)
    content.ClearField("request_id")
    return sha256(method.encode() + b"\0" + content.SerializeToString(deterministic=True)).digest()


def check_act(reason: str, note: str) -> None:
    """Raise Refusal unless an officer gives a stable reason and a note that is not too long."""
    if _REASON.fullmatch(reason) is None:
        raise Refusal("REASON_MALFORMED", path="reason", value=reason)
    if len(note) > NOTE_CHARACTERS_MAX or not is_plain(note):
        raise Refusal("NOTE_TOO_LONG", path="note")


def queries(asked: Sequence[pb.StatusQuery], identity: Identity) -> tuple[list[Query | None], dict[int, ItemError]]:
    """Read queries; those that cannot be asked have an error by place."""
    share = max(1, ROWS_MAX // len(asked))
    read: list[Query | None] = []
    errors: dict[int, ItemError] = {}
    for place, query in enumerate(asked):
        found = _query(query, identity, f"queries[{place}]", share)
        if isinstance(found, Query):
            read.append(found)
        else:
            read.append(None)
            errors[place] = found
    return read, errors


def _query(query: pb.StatusQuery, identity: Identity, path: str, share: int) -> Query | ItemError:
    kind = query.WhichOneof("reference")
    if kind is None or (identity.role is Role.CARRIER and kind not in _ASKED_BY_CARRIERS):
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
    """Say that nothing is known under a query's reference."""
    kind = query.WhichOneof("reference") or "reference"
    return item_error("CONSIGNMENT_UNKNOWN", f"queries[{place}].{kind}", getattr(query, kind, ""))


def arrivals(told: Sequence[pb.Arrival], carrier: str, now: int) -> tuple[list[Arrival | None], list[list[ItemError]]]:
    """Read arrivals; None and errors for those that are refused."""
    read: list[Arrival | None] = []
    errors: list[list[ItemError]] = []
    for place, arrival in enumerate(told):
        faults = _arrival_faults(arrival, f"arrivals[{place}]", now)
        errors.append(faults)
        read.append(
            None
            if faults
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


def _arrival_faults(arrival: pb.Arrival, path: str, now: int) -> list[ItemError]:
    faults = []
    number = arrival.master_document_number
    if not 0 < len(number) <= _CHARACTERS_MAX["master_document_number"] or not is_plain(number):
        faults.append(item_error("MASTER_DOCUMENT_MALFORMED", f"{path}.master_document_number", number))
    conveyance = arrival.conveyance_reference
    if len(conveyance) > _CONVEYANCE_CHARACTERS_MAX or not is_plain(conveyance):
        faults.append(item_error("CONVEYANCE_MALFORMED", f"{path}.conveyance_reference", conveyance))
    if arrival.place and _PLACE.fullmatch(arrival.place) is None:
        faults.append(item_error("ARRIVAL_PLACE_MALFORMED", f"{path}.place", arrival.place))
    if not arrival.HasField("arrived_at"):
        faults.append(item_error("ARRIVAL_TIME_MISSING", f"{path}.arrived_at"))
    else:
        micros = arrival.arrived_at.seconds * 1_000_000 + arrival.arrived_at.nanos // 1_000
        if not _FIRST_MICROS <= micros <= now + _AHEAD_MICROS_MAX:
            faults.append(item_error("ARRIVAL_TIME_OUT_OF_BOUNDS", f"{path}.arrived_at"))
    return faults


def refs(
    wanted: Sequence[pb.ConsignmentRef], where: str = "consignments[{}].mrn"
) -> tuple[list[int], dict[int, ItemError]]:
    """Give the places of consignments that can be acted on, and the errors of the others by place; `where` is the path of an MRN by its place."""
    places: list[int] = []
    errors: dict[int, ItemError] = {}
    seen: set[str] = set()
    for place, ref in enumerate(wanted):
        path = where.format(place)
        if not mrns.is_valid(ref.mrn):
            errors[place] = item_error("MRN_MALFORMED", path, ref.mrn)
        elif ref.mrn in seen:
            errors[place] = item_error("CONSIGNMENT_REPEATED", path, ref.mrn)
        elif not _is_ours(ref.mrn):
            errors[place] = item_error("CONSIGNMENT_UNKNOWN", path, ref.mrn)
        else:
            places.append(place)
        seen.add(ref.mrn)
    return places, errors


def act_error(path: str, acted: Acted) -> ItemError:
    """Say why an act had no effect on the consignment whose MRN is at `path`."""
    return item_error(acted.refusal, path, acted.mrn, version=acted.version)


def _acted(path: str, acted: Acted | None, fault: ItemError | None, mrn: str) -> pb.OfficerResult:
    if acted is None:
        return pb.OfficerResult(mrn=mrn, error=fault)
    error = act_error(path, acted) if acted.refusal else None
    return pb.OfficerResult(mrn=mrn, state=acted.state, version=acted.version, error=error)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Answering:
    """A request that acts on consignments, and how each of them is answered."""

    refs: Sequence[pb.ConsignmentRef]
    faults: Mapping[int, ItemError]
    answer: Any
    where: str

    @property
    def wanted(self) -> list[tuple[str, int | None]]:
        """The MRNs that can be acted on, each with the version that the caller saw."""
        return [
            (ref.mrn, ref.expected_version if ref.HasField("expected_version") else None)
            for place, ref in enumerate(self.refs)
            if place not in self.faults
        ]

    def encode(self, results: Sequence[Acted]) -> bytes:
        """Write the answer, with the results of those that were acted on in their order."""
        told = iter(results)
        out = [
            _acted(
                self.where.format(place), None if place in self.faults else next(told), self.faults.get(place), ref.mrn
            )
            for place, ref in enumerate(self.refs)
        ]
        payload: bytes = self.answer(results=out).SerializeToString()
        return payload


def inspections(told: Sequence[pb.Inspection]) -> tuple[dict[str, Inspection], dict[int, ItemError]]:
    """Read inspections by MRN, and the errors of those that cannot be recorded by place."""
    read: dict[str, Inspection] = {}
    places, errors = refs([each.consignment for each in told], "inspections[{}].consignment.mrn")
    for place in places:
        found = _inspection(told[place], f"inspections[{place}]")
        if isinstance(found, Inspection):
            read[told[place].consignment.mrn] = found
        else:
            errors[place] = found
    return read, errors


def _inspection(told: pb.Inspection, path: str) -> Inspection | ItemError:
    if told.method not in _METHODS:
        return item_error("INSPECTION_METHOD_MISSING", f"{path}.method", told.method)
    if len(told.note) > NOTE_CHARACTERS_MAX or not is_plain(told.note):
        return item_error("NOTE_TOO_LONG", f"{path}.note")
    if len(told.items) > ITEMS_MAX:
        return item_error("INSPECTION_ITEMS_TOO_MANY", f"{path}.items", len(told.items), items_max=ITEMS_MAX)
    items: dict[int, tuple[Result, int]] = {}
    for place, item in enumerate(told.items):
        here = f"{path}.items[{place}]"
        if item.number in items:
            return item_error("INSPECTION_ITEM_REPEATED", f"{here}.number", item.number)
        fault = _result_fault(item.result, item.violation, here)
        if fault is not None:
            return fault
        items[item.number] = (Result(item.result), item.violation)
    whole: Result | None = None
    if not items:
        fault = _result_fault(told.result, told.violation, path)
        if fault is not None:
            return fault
        whole = Result(told.result)
    gravest = whole or max(result for result, _ in items.values())
    if items and (told.violation or told.result not in (pb.INSPECTION_RESULT_UNSPECIFIED, gravest)):
        return item_error("INSPECTION_CONTRADICTS", f"{path}.result", told.result)
    return Inspection(told.method, gravest, whole, told.violation, items, told.note)


def _result_fault(result: int, violation: int, path: str) -> ItemError | None:
    if result not in tuple(Result):
        return item_error("INSPECTION_RESULT_MISSING", f"{path}.result", result)
    if (result == Result.VIOLATION) != (violation in _VIOLATIONS):
        return item_error("INSPECTION_VIOLATION_UNCLEAR", f"{path}.violation", violation)
    return None


def _is_ours(number: str) -> bool:
    try:
        mrns.parse(number)
    except mrns.MrnError:
        return False
    return True


def is_plain(text: str) -> bool:
    """Whether a text has no control characters (a NUL has no place in the store either)."""
    return not any(character < " " or character == "\x7f" for character in text)
