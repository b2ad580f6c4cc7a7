"""International bank account numbers, ISO 13616."""

import re
from typing import Final

FORM: Final = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
"""Country, two check digits, and an account number; 15 to 34 characters."""


def is_iban(text: str) -> bool:
    """Return whether a text in capitals without blanks has the form of an IBAN and its check digits (ISO 7064, MOD 97-10).

    Lengths by country are not compared.
    """
    if not FORM.fullmatch(text) or not 2 <= int(text[2:4]) <= 98:
        return False
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1
