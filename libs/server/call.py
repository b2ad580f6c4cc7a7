"""The call that is being served, as handlers see it."""

import asyncio
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple

from libs.server.identity import Identity


class Finding(NamedTuple):
    """An unknown protobuf field: the message's path in the request ("" at the top) and the field's number."""

    path: str
    field_number: int


@dataclass(slots=True)
class Call:
    """One call: who, under which id and trace, until when (`ends_at`, of `time.monotonic`), and what was noticed."""

    identity: Identity
    method: str
    request_id: str
    trace: str
    ends_at: float
    size: int = 0
    """Bytes of the request."""
    findings: list[Finding] = field(default_factory=list)
    reason: str = ""
    """The reason or purpose that the request states, for the audit trail."""
    drain: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the server takes no new calls: a call that only waits for something to happen ends its wait."""

    @property
    def deadline(self) -> float:
        """Return the seconds that are left, never below zero: what calls to neighbours may take."""
        return max(0.0, self.ends_at - time.monotonic())


_current: ContextVar[Call] = ContextVar("luxor_call")


def current() -> Call:
    """Return the call being served; raise LookupError outside of one."""
    return _current.get()


def current_or_none() -> Call | None:
    """Return the call being served, or None outside of one."""
    return _current.get(None)


def enter(call: Call) -> None:
    """Make a call the current one for the rest of this task (for the chain and for tests of handlers)."""
    _current.set(call)
