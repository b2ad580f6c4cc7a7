"""The W3C trace context as a text: `00-<trace id>-<span id>-<flags>`, 55 characters.

The other functions are for a text that `valid_traceparent` has let pass, or that this system wrote itself; of an empty
one they give "" and False.

Source: W3C Trace Context, `traceparent` version 00.
"""

import re
from typing import Final

NO_TRACE: Final = "0" * 32
NO_SPAN: Final = "0" * 16
_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_TRACE: Final = slice(3, 35)
_SPAN: Final = slice(36, 52)
_FLAGS: Final = slice(53, 55)
_SAMPLED: Final = 1


def valid_traceparent(text: str) -> bool:
    """Return whether the text is a traceparent that may be passed on."""
    found = _TRACEPARENT.fullmatch(text)
    return found is not None and found[1] != NO_TRACE and found[2] != NO_SPAN


def trace_of(header: str) -> str:
    """Return the id of the trace, 32 hexadecimal digits."""
    return header[_TRACE]


def span_of(header: str) -> str:
    """Return the id of the span, 16 hexadecimal digits."""
    return header[_SPAN]


def flags_of(header: str) -> int:
    """Return the flags, 0 to 255."""
    return int(header[_FLAGS] or "0", 16)


def is_sampled(header: str) -> bool:
    """Return whether the trace is sampled."""
    return bool(flags_of(header) & _SAMPLED)
