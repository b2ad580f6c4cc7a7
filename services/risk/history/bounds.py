"""How large history may grow in the memory that a process has."""

from __future__ import annotations

from typing import Final

from services.risk.history.history import Bounds
from services.risk.history.tables.hash_table import CAPACITY_MIN

#: Share of the memory that a process may use which history is given; the rest is for lists, models, batches and the program.
SHARE: Final = 0.4
PLACES_MIN: Final = 1 << 16
PLACES_MAX: Final = 1 << 31
#: Places for keys to one row of buckets, of those with and of those without splitting each; and to one pair of HS6 and origin.
_PLACES_A_ROW: Final = 128
_PLACES_A_PAIR: Final = 64
_ROWS_MIN: Final = 64
_PAIRS_MIN: Final = 1 << 14
_PAIRS_MAX: Final = 1 << 18
#: Bytes for each place of keys with all that goes with it: 34 the key, 32 an event, 38 of rows, 18 of pairs, and half as much again,
#: since the old arrays stand beside the new ones while one doubles.
PLACE_BYTES: Final = 183


def places_for(memory_bytes: int) -> int:
    """How many keys, and as many events, history has room for in a process with so much memory: a power of two.

    >>> [places_for(size << 20) for size in (512, 1024, 32 * 1024)]
    [1048576, 2097152, 67108864]
    """
    places = int(SHARE * memory_bytes / PLACE_BYTES)
    return min(max(_power_of_two(places), PLACES_MIN), PLACES_MAX)


def bounds_for(keys_max: int, events_max: int, keys: int = PLACES_MIN) -> Bounds:
    """The bounds of a history with room for so many keys and events, each taken as the power of two below; it begins with
    room for `keys` and as many events.
    """
    keys_max, events_max = _power_of_two(keys_max), _power_of_two(events_max)
    keys = min(_power_of_two(keys), keys_max)
    rows_max, rows = (max(each // _PLACES_A_ROW, _ROWS_MIN) for each in (keys_max, keys))
    return Bounds(
        keys=keys,
        keys_max=keys_max,
        events=min(keys, events_max),
        events_max=events_max,
        rows=rows,
        rows_max=rows_max,
        pairs=min(max(keys // _PLACES_A_PAIR, CAPACITY_MIN), _PAIRS_MAX),
        pairs_max=min(max(keys_max // _PLACES_A_PAIR, _PAIRS_MIN), _PAIRS_MAX),
    )


def _power_of_two(number: int) -> int:
    """The greatest power of two that is not above a number, at least 1."""
    return 1 << max(number, 1).bit_length() - 1
