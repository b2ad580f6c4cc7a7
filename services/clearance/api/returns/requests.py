"""Checks of requests about return orders and departures."""

import re
from collections.abc import Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from libs.customs.identifiers import mrn as mrns
from libs.customs.time import MICROS_PER_DAY
from libs.server.errors import item_error
from luxor.clearance.v1 import clearance_pb2
from luxor.clearance.v1 import returns_pb2 as pb
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api.requests import BATCH_MAX, NOTE_CHARACTERS_MAX, is_document, is_plain, refs, valid_by_mrn
from services.clearance.commands.returns.order_returns import NUMBER_MAX, Left, OrderTerms

REASONS: Final = frozenset(clearance_pb2.ReturnReason.values()) - {0, clearance_pb2.RETURN_REASON_DESTROYED}
"""Why goods leave; destroyed ones do not."""
VALIDITY_MICROS_MAX: Final = 366 * MICROS_PER_DAY
_FIRST_MICROS: Final = 946_684_800_000_000  # 2000-01-01
_AHEAD_MICROS_MAX: Final = 3_600_000_000
_ID: Final = re.compile(r"RO-([0-9A-Z]{18})-([1-9][0-9]?)")


def orders(messages: Sequence[pb.NewReturnOrder], now: int) -> tuple[dict[str, OrderTerms], dict[int, ItemError]]:
    """Return the valid orders by MRN, and the errors of the others by place."""
    return valid_by_mrn(messages, "orders", lambda message, path: _order(message, path, now))


def _order(message: pb.NewReturnOrder, path: str, now: int) -> OrderTerms | ItemError:
    if message.reason not in REASONS:
        return item_error("RETURN_REASON_MISSING", f"{path}.reason", message.reason)
    document = message.transport_document_number
    if document and not is_document(document):
        return item_error("RETURN_DOCUMENT_MALFORMED", f"{path}.transport_document_number", document)
    until = _micros(message.valid_until) if message.HasField("valid_until") else 0
    if not now < until <= now + VALIDITY_MICROS_MAX:
        return item_error("RETURN_VALIDITY_OUT_OF_BOUNDS", f"{path}.valid_until")
    if len(message.note) > NOTE_CHARACTERS_MAX or not is_plain(message.note):
        return item_error("NOTE_TOO_LONG", f"{path}.note")
    return OrderTerms(message.reason, document, until, message.note)


def key_of(order_id: str) -> tuple[str, int] | None:
    """Return MRN and number of an order by its id; None where it is the id of none."""
    found = _ID.fullmatch(order_id)
    if found is None or refs([clearance_pb2.ConsignmentRef(mrn=found[1])])[1]:
        return None
    return (found[1], int(found[2])) if int(found[2]) <= NUMBER_MAX else None


def departures(messages: Sequence[pb.Departure], now: int) -> list[Left | ItemError]:
    """Return each departure as it was reported, or its error."""
    read: list[Left | ItemError] = []
    seen: set[str] = set()
    for place, message in enumerate(messages):
        found = _departure(message, f"departures[{place}]", now)
        if isinstance(found, Left) and found.document in seen:
            path = f"departures[{place}].transport_document_number"
            found = item_error("RETURN_DOCUMENT_MALFORMED", path, found.document)
        elif isinstance(found, Left):
            seen.add(found.document)
        read.append(found)
    return read


def _departure(message: pb.Departure, path: str, now: int) -> Left | ItemError:
    document = message.transport_document_number
    if not is_document(document):
        return item_error("RETURN_DOCUMENT_MALFORMED", f"{path}.transport_document_number", document)
    at = _micros(message.departed_at) if message.HasField("departed_at") else 0
    if not _FIRST_MICROS <= at <= now + _AHEAD_MICROS_MAX:
        return item_error("DEPARTURE_TIME_OUT_OF_BOUNDS", f"{path}.departed_at")
    if len(message.mrns) > BATCH_MAX:
        return item_error("ITEMS_NAMED_TOO_MANY", f"{path}.mrns", len(message.mrns), items_max=BATCH_MAX)
    for place, number in enumerate(message.mrns):
        if not mrns.is_valid(number) or refs([clearance_pb2.ConsignmentRef(mrn=number)])[1]:
            return item_error("MRN_MALFORMED", f"{path}.mrns[{place}]", number)
    return Left(document, at, frozenset(message.mrns))


def _micros(instant: Timestamp) -> int:
    return instant.seconds * 1_000_000 + instant.nanos // 1_000
