"""The IOSS number: `IM`, the identifying member state (ISO 3166-1 numeric; 900 Northern Ireland), seven digits.

The last digit is a check digit whose method is not published, so it is not checked; whether a number is in force only
the Union's register tells. Some platforms append a reference of the sale (`IM2760000017-EU123456789`) so that a stolen
number can be told: `split` takes it off.

Source: VAT Directive title XII chapter 6 section 4 for the scheme; the structure as python-stdnum has it (eu.oss).
"""

from stdnum.eu.oss import ISO_3166_1_MEMBER_STATES

LENGTH = 12
MEMBER_STATES: frozenset[str] = frozenset(ISO_3166_1_MEMBER_STATES)
"""Numeric codes of those who identify sellers: the 27 member states, and 900."""


class IossError(ValueError):
    """The text is no IOSS number; the message says why."""


def split(text: str) -> tuple[str, str]:
    """Return the number and the reference of the sale that the platform appended ("" where there is none)."""
    number, _, reference = text.partition("-")
    return number, reference


def check(number: str) -> None:
    """Raise IossError unless the text has the form of an IOSS number (without an appended reference)."""
    if number.startswith("IN"):
        raise IossError(
            f"{number!r} is an intermediary's number; a consignment names the seller's, which starts with IM"
        )
    digits = number[2:]
    if len(number) != LENGTH or number[:2] != "IM" or not (digits.isascii() and digits.isdigit()):
        raise IossError(f"{number!r} is no IOSS number: it is IM followed by ten digits")
    if digits[:3] not in MEMBER_STATES:
        raise IossError(f"{number!r} names {digits[:3]} as its member state, which is none (276 is Germany)")


def is_valid(number: str) -> bool:
    """Return whether the text has the form of an IOSS number."""
    try:
        check(number)
    except IossError:
        return False
    return True
