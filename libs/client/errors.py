"""One exception for everything that a call can fail with."""

import grpc
from google.rpc import error_details_pb2

from libs.server import catalogue
from libs.server.errors import Refusal, cut, details_of, retry_after, status_of
from libs.server.transport.channel import LuxorChannel, explain_unavailable

UNREACHABLE = frozenset(
    {"TARGET_UNREACHABLE", "TLS_REFUSED", "NOT_READY", "SHUTTING_DOWN", "STORE_UNAVAILABLE", "STORE_FULL"}
)
"""Reasons that say nothing about the request."""


class LuxorError(Exception):
    """A call that was refused or failed: `reason` for programs, `sentence` and `hint` for users, `path` of the element.

    `code` is gRPC's name (INVALID_ARGUMENT). A reason that the server's release knows and ours does not is kept as it is.
    """

    def __init__(
        self,
        reason: str,
        sentence: str,
        hint: str = "",
        *,
        path: str = "",
        value: str = "",
        code: str = "UNKNOWN",
        retry_after_seconds: float | None = None,
    ) -> None:
        """Take the parts; the exception's text is `REASON: sentence hint`. `retry_after_seconds` is that of RetryInfo."""
        self.reason = reason
        self.sentence = sentence
        self.hint = hint
        self.path = path
        self.value = value
        self.code = code
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{reason}: {sentence}{' ' if hint else ''}{hint}")

    @classmethod
    def from_reason(cls, reason: str, *, path: str = "", value: object = "", **facts: object) -> "LuxorError":
        """Make one from the catalogue; raise CatalogueError for a reason that is not in it."""
        entry = catalogue.reason(reason)
        shown = cut(value)
        sentence, hint = entry.say({**facts, "path": path, "value": shown})
        return cls(reason, sentence, hint, path=path, value=shown, code=entry.code.name)

    @classmethod
    def from_refusal(cls, refusal: Refusal) -> "LuxorError":
        """Take over a refusal that was made on this side."""
        return cls(
            refusal.reason, refusal.sentence, refusal.hint,
            path=refusal.path, value=refusal.value, code=refusal.code.name,
        )  # fmt: skip

    @property
    def unreachable(self) -> bool:
        """Whether the service could not be reached or is not ready: the same request may succeed later."""
        return self.reason in UNREACHABLE or self.code == "UNAVAILABLE"


async def from_rpc(error: grpc.aio.AioRpcError, channel: grpc.aio.Channel | None = None) -> LuxorError:
    """Return the error of a failed call; if there was no answer, one connection is tried to find the reason."""
    status = status_of(error)
    info = details_of(status, error_details_pb2.ErrorInfo)
    code = error.code().name
    if info is None or status is None:
        if error.code() is grpc.StatusCode.UNAVAILABLE and isinstance(channel, LuxorChannel):
            found = await explain_unavailable(channel.target, channel.credentials)
            if found is not None:
                return LuxorError.from_refusal(found)
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            entry = catalogue.reason("CLIENT_DEADLINE")
            return LuxorError("CLIENT_DEADLINE", entry.sentence, entry.hint, code=code)
        return LuxorError(code, error.details() or "The call failed without a word.", code=code)
    hint = info.metadata.get("hint", "")
    sentence = status.message.removesuffix(hint).strip() or status.message
    request = details_of(status, error_details_pb2.BadRequest)
    path = request.field_violations[0].field if request is not None and request.field_violations else ""
    return LuxorError(
        info.reason, sentence, hint, path=path, value=info.metadata.get("value", ""), code=code,
        retry_after_seconds=retry_after(error),
    )  # fmt: skip
