"""One error model: refusals with a reason of the catalogue, returned as google.rpc.Status or as ItemError in a body.

Source: google.rpc.Status with ErrorInfo, BadRequest, RetryInfo and RequestInfo (AIP-193).
"""

import secrets
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import grpc
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2, status_pb2

from libs.server import catalogue
from luxor.errors.v1 import errors_pb2

DOMAIN = "luxor"
STATUS_KEY = "grpc-status-details-bin"
"""Trailer of the serialised google.rpc.Status, as grpc-status and every other gRPC library read it."""

VALUE_CHARACTERS_MAX = 64

VIOLATIONS_BYTES_MAX = 4096
"""gRPC gives all trailers 8 KiB: what is beyond is left out and counted in the metadata `violations_left_out`."""

ERROR = errors_pb2.SEVERITY_ERROR
WARNING = errors_pb2.SEVERITY_WARNING


class Violation(NamedTuple):
    """One element that is at fault: its path, the catalogue's reason and the sentence."""

    path: str
    reason: str
    message: str


class Refusal(Exception):  # the word of the field: a call is refused
    """A call that is refused for a reason of the catalogue.

    `path` and `value` name the element at fault, in the request's own terms; `violations` name several. The other
    keywords are the facts that the sentence needs; they go out as metadata of ErrorInfo too. No personal data in facts.
    Raise CatalogueError for a reason that is not in the catalogue.
    """

    def __init__(
        self,
        reason: str,
        /,
        *,
        path: str = "",
        value: object = "",
        violations: Sequence[Violation] = (),
        retry_after_seconds: float | None = None,
        **facts: object,
    ) -> None:
        """Look the reason up and make its sentence."""
        entry = catalogue.reason(reason)
        shown = cut(value)
        told = {**facts, "path": path, "value": shown} if path or shown else facts
        self.reason = reason
        self.code = entry.code
        self.sentence, self.hint = entry.say(told)
        self.path = path
        self.value = shown
        self.facts = facts
        self.violations = tuple(violations) or ((Violation(path, reason, self.sentence),) if path else ())
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{reason}: {self.sentence}")

    def status(self, request_id: str = "") -> status_pb2.Status:
        """Return the google.rpc.Status: ErrorInfo, then BadRequest, RetryInfo and RequestInfo where they apply."""
        metadata = {name: cut(fact) for name, fact in self.facts.items()}
        metadata["hint"] = self.hint
        if self.value:
            metadata["value"] = self.value
        details: list[message.Message] = []
        if self.violations:
            told, left_out = _bad_request(self.violations)
            details.append(told)
            if left_out:
                metadata["violations_left_out"] = str(left_out)
        if self.retry_after_seconds is not None:
            details.append(error_details_pb2.RetryInfo(retry_delay=_duration(self.retry_after_seconds)))
        details.insert(0, error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=metadata))
        if request_id:
            details.append(error_details_pb2.RequestInfo(request_id=request_id))
        return status_pb2.Status(
            code=self.code.value[0], message=f"{self.sentence} {self.hint}", details=map(_any, details)
        )


def request_info(request_id: str) -> bytes:
    """Return a serialised google.rpc.Status that has RequestInfo alone, to be appended to another one."""
    detail = _any(error_details_pb2.RequestInfo(request_id=request_id))
    return bytes(status_pb2.Status(details=(detail,)).SerializeToString())


def item_error(
    reason: str, path: str, value: object = "", severity: "errors_pb2.Severity.ValueType" = ERROR, **facts: object
) -> errors_pb2.ItemError:
    """Return the error of one item of a batch, for the answer's body.

    `value` is cut to 64 characters; leave it empty where the element is personal. Raise CatalogueError for an unknown
    reason.
    """
    shown = cut(value)
    sentence, hint = catalogue.reason(reason).say({**facts, "path": path, "value": shown})
    return errors_pb2.ItemError(reason=reason, path=path, value=shown, message=sentence, hint=hint, severity=severity)


def cut(value: object) -> str:
    """Return the value as text of at most 64 characters, an ellipsis in place of what is left out."""
    text = str(value)
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[: VALUE_CHARACTERS_MAX - 1] + "…"


Detail = TypeVar("Detail", bound=message.Message)

_Mapper = Callable[[BaseException], Refusal]
_MAPPED: list[tuple[type[BaseException], _Mapper]] = []


def map_exception(kind: type[BaseException], mapper: _Mapper) -> None:
    """Register how an exception of another library becomes a refusal; later entries take precedence."""
    _MAPPED.insert(0, (kind, mapper))


def refusal_of(error: BaseException) -> Refusal:
    """Return the refusal that a client sees for any exception.

    Refusals stay as they are; what is mapped is mapped; a neighbour's UNAVAILABLE, RESOURCE_EXHAUSTED and
    DEADLINE_EXCEEDED keep their meaning; all else is INTERNAL with an error id, which the log has beside the exception,
    and nothing else leaks.
    """
    if isinstance(error, Refusal):
        return error
    for kind, mapper in _MAPPED:
        if isinstance(error, kind):
            return mapper(error)
    if isinstance(error, grpc.RpcError):
        code = error.code() if hasattr(error, "code") else None
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED):
            return Refusal("NEIGHBOUR_UNAVAILABLE", retry_after_seconds=retry_after(error) or 0.5)
    return Refusal("INTERNAL", error_id=secrets.token_hex(8))


def status_of(error: grpc.RpcError) -> status_pb2.Status | None:
    """Return the google.rpc.Status that an error of a call carries, or None (client side)."""
    trailers: Any = error.trailing_metadata() if hasattr(error, "trailing_metadata") else None
    for key, value in trailers or ():
        if key == STATUS_KEY:
            return status_pb2.Status.FromString(value)
    return None


def details_of(status: status_pb2.Status | None, kind: type[Detail]) -> Detail | None:
    """Return the first detail of a kind, or None."""
    for detail in status.details if status is not None else ():
        if detail.Is(kind.DESCRIPTOR):
            unpacked = kind()
            detail.Unpack(unpacked)
            return unpacked
    return None


def reason_of(error: grpc.RpcError) -> str:
    """Return the catalogue's reason of a failed call, or "" where it has none (client side)."""
    info = details_of(status_of(error), error_details_pb2.ErrorInfo)
    return info.reason if info is not None and info.domain == DOMAIN else ""


def retry_after(error: grpc.RpcError) -> float | None:
    """Return the seconds of RetryInfo, or None (client side)."""
    info = details_of(status_of(error), error_details_pb2.RetryInfo)
    return None if info is None else info.retry_delay.seconds + info.retry_delay.nanos / 1e9


def _bad_request(violations: Sequence[Violation]) -> tuple[error_details_pb2.BadRequest, int]:
    """Return as many violations as fit, the first at least, and how many are left out."""
    told = error_details_pb2.BadRequest()
    for each in violations:
        told.field_violations.add(field=each.path, description=each.message, reason=each.reason)
        if told.ByteSize() > VIOLATIONS_BYTES_MAX and len(told.field_violations) > 1:
            del told.field_violations[-1]
            break
    return told, len(violations) - len(told.field_violations)


def _duration(seconds: float) -> duration_pb2.Duration:
    nanos = round(seconds * 1e9)
    return duration_pb2.Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)


def _any(detail: message.Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
