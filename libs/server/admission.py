"""Admission: how many calls run at once, shared fairly among callers; load is refused early, before it hurts."""

from libs.server.errors import Refusal
from libs.server.identity import Identity

RETRY_SECONDS_MIN = 0.02
RETRY_SECONDS_MAX = 2.0


class Gate:
    """Counts the calls in flight, in all and by caller.

    A caller may have `per_caller_max` in flight. From half of `in_flight_max` on it may have no more than an equal
    share among those who call now and one more to come: so a caller who fills the server up always leaves room for the
    next.
    """

    def __init__(self, in_flight_max: int, per_caller_max: int, over: str = "OVERLOADED") -> None:
        """Take the limits and the reason to refuse with when the whole is full."""
        self._max = in_flight_max
        self._per_caller_max = per_caller_max
        self._over = over
        self._by_caller: dict[Identity, int] = {}
        self._mean_seconds = 0.1
        self.in_flight = 0

    @property
    def callers(self) -> int:
        """Return how many callers have calls in flight."""
        return len(self._by_caller)

    def enter(self, caller: Identity) -> None:
        """Take a place; raise Refusal with RetryInfo where there is none. Whoever entered must leave."""
        held = self._by_caller.get(caller, 0)
        if self.in_flight >= self._max:
            raise self._refusal(self._over)
        share = self._per_caller_max
        if self.in_flight * 2 >= self._max:
            share = min(share, max(1, self._max // (len(self._by_caller) + (1 if held else 2))))
        if held >= share:
            raise self._refusal("CALLER_OVER_SHARE" if self._over == "OVERLOADED" else self._over, held)
        self._by_caller[caller] = held + 1
        self.in_flight += 1

    def leave(self, caller: Identity, seconds: float) -> None:
        """Give the place back; `seconds` is how long the call took, by which waiting is estimated."""
        self.in_flight -= 1
        held = self._by_caller[caller] - 1
        if held:
            self._by_caller[caller] = held
        else:
            del self._by_caller[caller]
        self._mean_seconds += (seconds - self._mean_seconds) * 0.05

    def _refusal(self, reason: str, held: int | None = None) -> Refusal:
        count = self.in_flight if held is None else held
        # A place comes free after a mean call's time divided by the calls that run; those who wait are told a little
        # more.
        wait = min(max(self._mean_seconds, RETRY_SECONDS_MIN), RETRY_SECONDS_MAX)
        return Refusal(reason, retry_after_seconds=wait, in_flight=count, waiting=count)
