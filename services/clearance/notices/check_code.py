"""The check code of a notice: a short text that only customs can make for an MRN. Pure.

15 characters of Crockford's base32, shown in groups of five: one for the key, 13 for the first 65 bits of an HMAC-SHA256 of the MRN, and a check
character by which a mistyped code is recognised. See docs/decisions/notices.md.
"""

import hmac
from typing import Final, NamedTuple

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's digits; I, L and O are read as 1, 1 and 0, and U is none."""
KEYS: Final = len(ALPHABET)
"""Keys that a code distinguishes: those whose numbers have another remainder."""
CHARACTERS: Final = 15
TYPED_CHARACTERS_MAX: Final = 32
"""Largest number of characters that are read as a code, with spaces and hyphens."""
_MAC_CHARACTERS: Final = 13
_GROUP: Final = 5
_READ: Final = str.maketrans("OIL", "011", " -")
_POLYNOMIAL: Final = 0b100101
"""x^5 + x^2 + 1, in which x generates the field of 32 elements."""


class Code(NamedTuple):
    """A code as it was read."""

    key: int
    """Remainder of the number of its key by KEYS."""
    mac: str


def code_text(key_number: int, key: bytes, mrn: str) -> str:
    """Return the code of an MRN, in groups.

    >>> code_text(3, b"k" * 32, "26DE07329000001XR8")
    '35VWC-4HD7R-RGW0P'
    """
    body = ALPHABET[key_number % KEYS] + mac_of(key, mrn)
    code = body + ALPHABET[_checksum(body)]
    return "-".join(code[place : place + _GROUP] for place in range(0, CHARACTERS, _GROUP))


def mac_of(key: bytes, mrn: str) -> str:
    """Return the 13 characters that authenticate an MRN."""
    bits = int.from_bytes(hmac.digest(key, mrn.encode(), "sha256")[:9], "big") >> (72 - 5 * _MAC_CHARACTERS)
    return "".join(ALPHABET[bits >> 5 * place & 31] for place in reversed(range(_MAC_CHARACTERS)))


def read_code(text: str) -> Code | None:
    """Read a code as a person types it, or return None if it is not one, because of a mistyped character for instance."""
    if len(text) > TYPED_CHARACTERS_MAX or not text.isascii():
        return None
    code = text.upper().translate(_READ)
    if len(code) != CHARACTERS or any(each not in ALPHABET for each in code):
        return None
    if ALPHABET.index(code[-1]) != _checksum(code[:-1]):
        return None
    return Code(ALPHABET.index(code[0]), code[1:-1])


def _checksum(body: str) -> int:
    """Return the sum of the digits, each times another power of x in the field of 32 elements.

    It differs for any two codes that differ in one character, or in which two different characters are exchanged.
    """
    total = 0
    for character in body:
        total = (total ^ ALPHABET.index(character)) << 1
        if total > 31:
            total ^= _POLYNOMIAL
    return total
