"""Failures of calls: the sandbox refuses the call itself, or sends another one in the place of a filing that the service refuses."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from luxor.consignment.v1.consignment_pb2 import Consignment, Item
from luxor.ingestion.v1 import ingestion_pb2

SLOW_SECONDS_MAX: Final = 60.0
BATCH_MAX: Final = 1_000
ITEMS_MAX: Final = 10_000
ITEM_NUMBER_MAX: Final = 999
REQUEST_ID_CHARACTERS_MAX: Final = 64
MESSAGE_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of the services: consignments, items, items of one consignment, characters of the request_id, and bytes of a call."""
_PADDING: Final = b"\xfa\x3f\x81\x80\x80\x04"
"""How a field that no contract has begins, with MESSAGE_BYTES_MAX + 1 bytes."""


class CallFailure(enum.StrEnum):
    """What goes wrong with the first call that has a reference. Later calls with it pass."""

    DOWN = "DOWN"
    """UNAVAILABLE, and nothing was filed."""
    BUSY = "BUSY"
    """RESOURCE_EXHAUSTED with RetryInfo, until its time is over; nothing was filed."""
    FAIL = "FAIL"
    """INTERNAL, and nothing was filed."""
    SLOW = "SLOW"
    """No answer before the deadline of the call, and nothing was filed."""
    LOST = "LOST"
    """The consignments are filed, and the answer is lost: UNAVAILABLE."""
    BEHIND = "BEHIND"
    SHARE = "SHARE"
    FULL = "FULL"
    STORE = "STORE"
    STARTING = "STARTING"
    PARTNER = "PARTNER"
    TIMEOUT = "TIMEOUT"
    RECEIVED = "RECEIVED"
    NOBODY = "NOBODY"
    FOREIGN = "FOREIGN"
    NAMELESS = "NAMELESS"
    REVOKED = "REVOKED"
    ROLE = "ROLE"
    METHOD = "UNKNOWN"
    EMPTY = "EMPTY"
    LARGE = "LARGE"
    ITEMS = "ITEMS"
    NOID = "NOID"
    LONGID = "LONGID"
    GARBLED = "GARBLED"
    BYTES = "BYTES"
    USED = "USED"
    """The request_id was used for other content, so the call is sent with a new one."""


@dataclass(frozen=True, slots=True)
class Failure:
    """How a call fails."""

    reason: str
    """Of the catalogue; of SLOW that of the client's own deadline."""
    meaning: str
    """What happens, as a clause."""
    waits: bool = False
    """Whether the answer has RetryInfo, and calls fail until its time is over."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the sentence of the catalogue needs."""
    call: Callable[[str], bytes] | None = None
    """Returns, for the request_id of the account's call, the call of SubmitConsignments that the service refuses in its place."""

    @property
    def is_of_filings(self) -> bool:
        """Whether only calls that file consignments can fail so."""
        return self.call is not None or self.reason in ("REQUEST_REUSED", "DECISIONS_BEHIND")

    @property
    def renews(self) -> bool:
        """Whether the call must be sent with another request_id."""
        return self.reason == "REQUEST_REUSED"


def _call(request_id: str, *rows: Consignment) -> bytes:
    return ingestion_pb2.SubmitConsignmentsRequest(request_id=request_id, consignments=rows).SerializeToString()


def _of_many(request_id: str) -> bytes:
    return _call(request_id, *(Consignment(local_reference=f"{place}") for place in range(BATCH_MAX + 1)))


def _of_many_items(request_id: str) -> bytes:
    count = ITEM_NUMBER_MAX
    row = Consignment(items=[Item(number=number) for number in range(1, count + 1)])
    return _call(request_id, *(row for _ in range(ITEMS_MAX // count + 1)))


def other_call(request_id: str) -> bytes:
    """Return a call that files nothing valid; afterwards its request_id belongs to other content."""
    return _call(request_id, Consignment())


_DOWN: Final = "the first call fails with UNAVAILABLE"
_BUSY: Final = "calls fail with RESOURCE_EXHAUSTED"
_BAD: Final = "the first call fails with INVALID_ARGUMENT"
_UNAUTHENTICATED: Final = "the first call fails with UNAUTHENTICATED"

FAILURES: Final[Mapping[CallFailure, Failure]] = {
    CallFailure.DOWN: Failure("SHUTTING_DOWN", f"{_DOWN}, as if the service stopped"),
    CallFailure.BUSY: Failure("OVERLOADED", f"{_BUSY}, as if too many calls ran", waits=True, facts={"in_flight": 200}),
    CallFailure.FAIL: Failure("INTERNAL", "the first call fails with INTERNAL", facts={"error_id": "sandbox"}),
    CallFailure.SLOW: Failure("CLIENT_DEADLINE", "the first call has no answer before its deadline"),
    CallFailure.LOST: Failure("SHUTTING_DOWN", "the first call files the goods, and its answer is lost (UNAVAILABLE)"),
    CallFailure.BEHIND: Failure("DECISIONS_BEHIND", f"{_BUSY}, as if too many filings waited for their decision", True, {"seconds": "1"}),
    CallFailure.SHARE: Failure("CALLER_OVER_SHARE", f"{_BUSY}, as if the account had too many calls in flight", True, {"in_flight": 50}),
    CallFailure.FULL: Failure("STORE_FULL", f"{_BUSY}, as if the disk of the store were full", True, {"store": "ingestion"}),
    CallFailure.STORE: Failure("STORE_UNAVAILABLE", "calls fail with UNAVAILABLE, as if the store did not answer", True),
    CallFailure.STARTING: Failure("NOT_READY", "calls fail with UNAVAILABLE, as if the service were starting", True, {"missing": "store"}),
    CallFailure.PARTNER: Failure("NEIGHBOUR_UNAVAILABLE", "calls fail with UNAVAILABLE, as if another service did not answer", True),
    CallFailure.TIMEOUT: Failure("DEADLINE_EXCEEDED", "the first call fails with DEADLINE_EXCEEDED of the server", facts={"seconds": "20"}),
    CallFailure.RECEIVED: Failure("REQUEST_NOT_RECEIVED", "the first call fails as if it had not arrived whole in time", facts={"seconds": "10"}),
    CallFailure.NOBODY: Failure("IDENTITY_MISSING", f"{_UNAUTHENTICATED}, as if the certificate had no SPIFFE id"),
    CallFailure.FOREIGN: Failure(
        "IDENTITY_FOREIGN", f"{_UNAUTHENTICATED}, as if the certificate were one of another deployment",
        facts={"found": "luxor", "deployment": "luxor-sandbox"},
    ),
    CallFailure.NAMELESS: Failure(
        "IDENTITY_MALFORMED", f"{_UNAUTHENTICATED}, as if the certificate named no role",
        facts={"identity": "acme", "roles": "filer, carrier", "form": "letters and digits"},
    ),
    CallFailure.REVOKED: Failure("CERTIFICATE_REVOKED", f"{_UNAUTHENTICATED}, as if the certificate were revoked", facts={"serial_number": "00"}),
    CallFailure.ROLE: Failure(
        "ROLE_NOT_ALLOWED", "the first call fails with PERMISSION_DENIED, as if the certificate had another role",
        facts={"role": "carrier", "method": "SubmitConsignments", "roles": "filer"},
    ),
    CallFailure.METHOD: Failure(
        "METHOD_UNKNOWN", "the first call fails with UNIMPLEMENTED, as if the service did not have the method",
        facts={"method": "SubmitConsignments"},
    ),
    CallFailure.EMPTY: Failure("BATCH_EMPTY", f"{_BAD}, as if it had no consignments", call=_call),
    CallFailure.LARGE: Failure("BATCH_TOO_LARGE", f"{_BAD}, as if it had 1,001 consignments", call=_of_many),
    CallFailure.ITEMS: Failure("BATCH_ITEMS_TOO_MANY", f"{_BAD}, as if it had more than 10,000 items", call=_of_many_items),
    CallFailure.NOID: Failure("REQUEST_ID_MISSING", f"{_BAD}, as if it had no request_id", call=lambda _: _call("", Consignment())),
    CallFailure.LONGID: Failure(
        "REQUEST_ID_MALFORMED", f"{_BAD}, as if its request_id had 65 characters",
        call=lambda _: _call("x" * (REQUEST_ID_CHARACTERS_MAX + 1), Consignment()),
    ),
    CallFailure.GARBLED: Failure("UNDECODABLE", f"{_BAD}, as if its bytes were damaged", call=lambda _: b"\xff"),
    CallFailure.BYTES: Failure("MESSAGE_TOO_LARGE", f"{_BAD}, as if it had more than 8 MiB", call=lambda _: _PADDING + bytes(MESSAGE_BYTES_MAX + 1)),
    CallFailure.USED: Failure("REQUEST_REUSED", "the first call fails with ALREADY_EXISTS: its request_id was used for other content"),
}  # fmt: skip
"""How the call fails, by failure."""
