"""The EORI number: who an economic operator is, in the European Union and the United Kingdom.

Two letters of the issuing country, then up to 15 letters and digits. Only what the issuers publish is checked: no check
digit is common to all, and the national forms that secondary sources list contradict each other. Whether a number was
really given can only be asked of the issuer.

Source: an..17 in the EU customs data model; GB and XI followed by 12 or 15 digits as HMRC's own services check it.
"""

import re

from libs.customs.countries import EU_MEMBERS, NORTHERN_IRELAND

ISSUERS: frozenset[str] = EU_MEMBERS | {"GB", NORTHERN_IRELAND}
MAX_LENGTH = 17

_NATIONAL = re.compile(r"[A-Z0-9]{1,15}")
_UNITED_KINGDOM = re.compile(r"[0-9]{12}([0-9]{3})?")


class EoriError(ValueError):
    """The text is no EORI number; the message says why."""


def check(text: str) -> None:
    """Raise EoriError unless the text has the form of an EORI number."""
    issuer, national = text[:2], text[2:]
    if issuer not in ISSUERS:
        raise EoriError(f"{text!r} starts with {issuer!r}; EORI numbers are given by EU member states, GB and XI")
    if issuer in ("GB", NORTHERN_IRELAND):
        if not _UNITED_KINGDOM.fullmatch(national):
            raise EoriError(f"{text!r} is no EORI number of {issuer}: after the letters come 12 or 15 digits")
    elif not _NATIONAL.fullmatch(national):
        raise EoriError(f"{text!r} is no EORI number: after the issuer come 1 to 15 capital letters and digits")


def is_valid(text: str) -> bool:
    """Say whether the text has the form of an EORI number."""
    try:
        check(text)
    except EoriError:
        return False
    return True
