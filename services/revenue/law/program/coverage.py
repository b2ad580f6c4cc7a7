"""Coverage: what a rulebook says that it does not cover, and which regions its rules know."""

from dataclasses import dataclass, field

from services.revenue.law.program.conditions import Prefixes, region_of

_CODES_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Gap:
    """What may be owed on goods and is not computed."""

    goods: Prefixes | None
    """None = all goods."""
    start: int
    end: int
    name: str
    areas: frozenset[str]
    """Destinations; none = all."""
    condition: int
    """Number of the condition; -1 for none."""
    of_any_origin: int
    """Number of the condition without the country of origin, for goods that do not declare it; as `only` where it asks for none."""
    sides: tuple[tuple[int, bool], ...]
    """Limits by their places in the rulebook, and whether they are kept."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What one rulebook says of its own bounds."""

    book: int
    """Place in Program.books."""
    gaps: tuple[Gap, ...]
    regions: frozenset[str]
    """Regions that any rule of the charges names; none where no rule asks."""
    _codes: dict[str, int] = field(default_factory=dict)

    def knows(self, region: str) -> bool:
        """Return whether a rule names the region, in any spelling."""
        return region_of(region) in self.regions

    def gaps_of(self, code: str) -> int:
        """Return the gaps that may concern goods of a code: bit g is set for the gap g."""
        known = self._codes.get(code)
        if known is None:
            if len(self._codes) >= _CODES_MAX:
                self._codes.clear()
            known = self._codes[code] = sum(
                1 << place for place, gap in enumerate(self.gaps) if gap.goods is None or gap.goods.match(code)
            )
        return known
