"""One address in the form in which it is compared: the plain version of what libs.columns.party_keys does to columns."""

import re

from libs.customs.parties import plain

_STREETS = {
    **{"street": "st", "str": "st", "strasse": "st", "road": "rd", "avenue": "ave", "av": "ave", "lane": "ln"},
    **{"boulevard": "blvd", "drive": "dr", "square": "sq", "court": "ct", "apartment": "apt", "flat": "apt"},
    **{"floor": "fl", "building": "bldg", "number": "no", "nr": "no", "room": "rm", "suite": "ste"},
}
_ATTACHED_STREET = re.compile(r"^([a-z]{3,})(?:strasse|str)$")


def postcode_key(postcode: str) -> str:
    """Return a postal code for comparing: letters and digits only. "SW1A 1AA" -> "sw1a1aa"."""
    return plain(postcode).replace(" ", "")


def address_key(street: str, city: str, postcode: str, country: str) -> str:
    """Return an address for comparing: the parts joined by "|", street words shortened and in alphabetical order.

    "12 Main Street" and "Main St. 12" are equal; "Hauptstraße 5" and "Hauptstr. 5" are too.
    """
    words: list[str] = []
    for word in plain(street).split():
        attached = _ATTACHED_STREET.match(word)
        words += [attached.group(1), "st"] if attached else [_STREETS.get(word, word)]
    return "|".join((" ".join(sorted(words)), plain(city), postcode_key(postcode), country.lower()))
