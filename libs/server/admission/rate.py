"""Rates: how often something may be done for each key, such as a caller. In the memory of this process, so each replica has the whole rate."""

from collections.abc import Callable, Hashable
from time import monotonic


class RateLimit:
    """For each key at most `burst` at once, and then one in every `seconds`.

    The generic cell rate algorithm (ITU-T I.371, annex A): a time for each key. The least recently used keys beyond `keys_max` are forgotten.
    """

    def __init__(self, seconds: float, burst: int, keys_max: int, *, clock: Callable[[], float] = monotonic) -> None:
        """Take the limits."""
        self._seconds = seconds
        self._ahead_max = seconds * (burst - 1)
        self._keys_max = keys_max
        self._clock = clock
        self._due: dict[Hashable, float] = {}

    def wait(self, key: Hashable) -> float:
        """Count one for a key and return 0; if there is no room, count nothing and return the seconds until there is."""
        now = self._clock()
        due = max(self._due.get(key, now), now)
        # Clocks are floats: what was counted at exactly the permitted time is in time.
        late = due - now - self._ahead_max
        if late > 1e-9 * max(1.0, now):
            return late
        self._due.pop(key, None)
        self._due[key] = due + self._seconds
        if len(self._due) > self._keys_max:
            del self._due[next(iter(self._due))]
        return 0.0
