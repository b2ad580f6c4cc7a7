"""Countries as customs codes them: ISO 3166-1 alpha-2, and the few codes beside it that real filings carry.

- XK (Kosovo) is a country here: ISO keeps it for users, and the European Union's nomenclature of countries uses it.
- XI (Northern Ireland) is no country here: it issues EORI and VAT numbers, and goods come from and go to GB in ISO's terms.
- EU is an origin (goods of Union origin) and nothing else.
- ZZ, and everything else that ISO leaves to users, says "unknown". Unknown is an absent value, so ZZ is refused.

Source: ISO 3166-1 (pycountry); the EU's nomenclature of countries and territories for XK, XI and EU.
"""

import pycountry

KOSOVO = "XK"
UNION = "EU"

ISO_COUNTRIES: frozenset[str] = frozenset(country.alpha_2 for country in pycountry.countries)
"""The 249 codes of ISO 3166-1."""

COUNTRIES: frozenset[str] = ISO_COUNTRIES | {KOSOVO}
"""Where goods are sent from and to, and where parties live."""

ORIGINS: frozenset[str] = COUNTRIES | {UNION}
"""Where goods originate in."""

EU_MEMBERS: frozenset[str] = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split()  # noqa: SIM905 - a list would take 27 lines
)
"""The 27 member states of the European Union since 2020-02-01."""


def is_country(code: str) -> bool:
    """Return whether goods can be sent from or to `code` and parties can live there."""
    return code in COUNTRIES


def is_origin(code: str) -> bool:
    """Return whether goods can originate in `code`."""
    return code in ORIGINS
