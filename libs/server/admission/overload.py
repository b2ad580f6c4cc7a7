"""Refusals for lack of room, ready to be sent, and what beside a full server can be a reason for them."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, Protocol

from libs.server.errors import Refusal


class Brake(Protocol):
    """A further limit of admission: work after the call that is too far delayed."""

    reason: str
    """The reason of refusals, in the catalogue."""

    def room(self, running: int, *, spare: bool) -> bool:
        """Return whether a call may run beside `running` bytes of others; `spare` for a caller below its fair share."""
        ...

    def seconds(self) -> float:
        """Return after how many seconds there should be room."""
        ...

    def on_room(self, admit: Callable[[], None]) -> None:
        """Call `admit` whenever there is room again."""
        ...


class Overload(Exception):
    """A call that is refused since there is no room; `refused` is ready to be sent."""

    def __init__(self, refused: "Refused") -> None:
        """Take what the client receives."""
        super().__init__(refused.reason)
        self.refused = refused


class Refused(NamedTuple):
    """A refusal in the form in which it is sent; made once for many calls."""

    reason: str
    code: str
    message: str
    status: bytes
    """The google.rpc.Status, serialised."""
    seconds: float
    """When to come back, as in its RetryInfo."""


@lru_cache(maxsize=4096)
def refused(reason: str, centiseconds: int, count: int) -> Refused:
    """Return the refusal for a reason of the catalogue, with RetryInfo of so many hundredths of a second."""
    seconds = centiseconds / 100
    refusal = Refusal(reason, retry_after_seconds=seconds, in_flight=count, waiting=count, seconds=f"{seconds:g}")
    status = refusal.status()
    return Refused(reason, refusal.code.name, status.message, status.SerializeToString(), seconds)
