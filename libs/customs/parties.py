"""Names in the form in which they are compared: what differs only in writing becomes equal.

For equality of parties within and between filings (splitting, repeat offenders, same consignee). Screening against
lists of names has its own, fuzzier measure.
"""

import re

from anyascii import anyascii

_OUTSIDE = re.compile(r"[^a-z0-9]+")
_DOTTED = re.compile(r"\b(?:[a-z]\.){2,}")

# Legal forms by their spelled-out and short ways of writing; one form for each, so that "Ltd" equals "Limited".
_FORMS = {
    "limited": "ltd",
    "incorporated": "inc",
    "corporation": "corp",
    "company": "co",
    "gesellschaft mit beschrankter haftung": "gmbh",
    "aktiengesellschaft": "ag",
    "societe anonyme": "sa",
    "societe a responsabilite limitee": "sarl",
    "sociedad limitada": "sl",
    "sociedad anonima": "sa",
    "spolka z ograniczona odpowiedzialnoscia": "spzoo",
    "sp z o o": "spzoo",
    "sp z oo": "spzoo",
    "private": "pvt",
    "proprietary": "pty",
}
LEGAL_FORMS: frozenset[str] = frozenset(_FORMS.values()) | {
    *("llc", "llp", "plc", "bv", "nv", "srl", "spa", "oy", "ab", "as", "aps", "kft", "doo", "kk", "pte", "ug", "kg")
}

_FORM_PATTERN = re.compile(r"\b(" + "|".join(sorted(map(re.escape, _FORMS), key=len, reverse=True)) + r")\b")


def plain(text: str) -> str:
    """Return the text in ASCII lower case, with every run of other characters as one space.

    "Zoë's  Löwe" gives "zoe s lowe".
    """
    lowered = anyascii(text).lower()
    # "s.a.r.l." and "u.s.a." are words, not four letters.
    joined = _DOTTED.sub(lambda match: match.group().replace(".", ""), lowered)
    return _OUTSIDE.sub(" ", joined).strip()


def name_key(name: str) -> str:
    """Return a name for comparing: plain, one form for each legal form, words in alphabetical order.

    "LIMITED, Shenzhen Bright Trading Co." and "Shenzhen Bright Trading Co Ltd" are equal, and so are given name and
    family name in either order. "" stays "".
    """
    words = _FORM_PATTERN.sub(lambda match: _FORMS[match.group()], plain(name)).split()
    return " ".join(sorted(words))
