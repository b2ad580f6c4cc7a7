"""Requests that arrive slowly: few at once, since the received part of one cannot be measured.

The transport stores what has come of a request and does not report it. A slow request may therefore take as much memory as
the transport takes of one message, for as long as it may take to come.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

SLOW_MAX: Final = 8
"""Slow requests of all senders at once: with the largest messages that the transport takes, 128 MiB."""
SLOW_PER_SENDER_MAX: Final = 4


@dataclass(slots=True)
class _Slow:
    sender: Hashable
    end: Callable[[], None] | None
    """Ends the receiving; None once the request has come and waits for a place."""


class SlowRequests:
    """Bounds the slow requests of several gates together, and of each sender."""

    def __init__(self, requests_max: int = SLOW_MAX, per_sender_max: int = SLOW_PER_SENDER_MAX) -> None:
        """Take the bounds."""
        self._max = requests_max
        self._per_sender_max = per_sender_max
        self._requests: dict[Hashable, _Slow] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._requests)

    def add(self, request: Hashable, sender: Hashable, end: Callable[[], None]) -> None:
        """Add a request; where it is one too many, `end` one: the slowest of the sender that has the most."""
        self._requests[request] = _Slow(sender, end)
        counts = Counter(each.sender for each in self._requests.values())
        if counts[sender] > self._per_sender_max:
            self._end(request)
        elif len(self._requests) > self._max:
            coming = [name for name, each in self._requests.items() if each.end is not None]
            self._end(max(coming, key=lambda name: counts[self._requests[name].sender]))

    def received(self, request: Hashable) -> None:
        """Record that a request has come: it takes memory until it has a place, and is not ended any more."""
        if request in self._requests:
            self._requests[request].end = None

    def discard(self, request: Hashable) -> None:
        """Forget a request that has ended or has a place."""
        self._requests.pop(request, None)

    def _end(self, request: Hashable) -> None:
        end = self._requests.pop(request).end
        assert end is not None
        end()
