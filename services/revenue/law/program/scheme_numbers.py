"""Numbers of schemes: how they are written, and in which states a consignment can be with a scheme."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from libs.customs.identifiers import ioss
from services.revenue.law.source.rulebook import SchemeRule

ABSENT, NUMBER_MISSING, NUMBER_MALFORMED, NUMBER_UNKNOWN, NUMBER_EXPIRED, USABLE = range(6)
"""How a consignment stands with a scheme; of several numbers the best counts."""
_NUMBERS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class SchemeForm:
    """How the numbers of a scheme are tested in one jurisdiction."""

    scheme: int
    fits: Callable[[str], bool]
    """Whether a number is written as the scheme's numbers are."""
    registered: bool
    """Whether it must stand in the register."""
    of_sales: bool = False
    """Whether returns may not use it."""

    def state(self, number: str) -> int:
        """Return whether a number is absent, malformed or usable."""
        return (USABLE if self.fits(number) else NUMBER_MALFORMED) if number else NUMBER_MISSING


def form_of(scheme: int, rule: SchemeRule) -> SchemeForm:
    """Compile a rulebook's rule of the numbers of a scheme, by its place in `program.SCHEMES`."""
    pattern = re.compile(rule.number)

    @lru_cache(_NUMBERS_MAX)
    def fits(number: str) -> bool:
        return pattern.fullmatch(number) is not None and (
            rule.check != "eu_oss" or ioss.is_valid(registered_number(number))
        )

    return SchemeForm(scheme, fits, rule.registered, rule.of_sales)


def registered_number(number: str) -> str:
    """Return the number as in the register: without the reference of the sale that some platforms append."""
    return ioss.split(number)[0] if number.startswith("IM") else number
