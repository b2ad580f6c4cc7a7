"""Rules of law by country and day: what a jurist writes in YAML, read and checked when a service starts."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import chain, combinations, pairwise
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from libs.columns import Strings
from libs.customs.countries import COUNTRIES
from libs.customs.time import day_of_date
from libs.files.yaml_file import YamlError, YamlFile


class DatedRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule of a jurisdiction from one day to another, both included; without `to`, until further notice."""

    jurisdiction: str
    areas: Annotated[frozenset[str], msgspec.Meta(min_length=1)]
    """Countries of destination, alpha-2."""
    start: date = msgspec.field(name="from")
    to: date | None = None
    law: str
    article: str
    address: str
    verified: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for days in the wrong order and for a code that is no country."""
        if self.last < self.start:
            raise ValueError(f"to: {self.to} is before {self.start}")
        if unknown := sorted(self.areas - COUNTRIES):
            raise ValueError(f"areas: {unknown[0]} is no country")

    @property
    def last(self) -> date:
        """The last day."""
        return self.to or date.max


R = TypeVar("R", bound=DatedRule)


class _File(msgspec.Struct, Generic[R], forbid_unknown_fields=True):
    format: Literal[1]
    rules: tuple[R, ...]


def applicable(
    rules: Sequence[R], countries: Strings, days: NDArray[np.int64] | int
) -> Iterator[tuple[R, NDArray[np.bool_]]]:
    """Return each rule with the rows to which it applies, shape (n,), by country and day since 1970-01-01; no row has two."""
    for rule in rules:
        on_day = np.logical_and(days >= day_of_date(rule.start), days <= day_of_date(rule.last))
        if on_day.any():
            yield rule, countries.isin(rule.areas) & on_day


def read(path: Path, kind: type[R], *, gaps: bool = True) -> tuple[R, ...]:
    """Read and check the rules of a file. Raises YamlError, also where a country has two rules on a day, or, unless `gaps`, none between two."""
    file = YamlFile(path)
    rules = file.convert(_File[kind]).rules  # type: ignore[valid-type]
    for place, message in chain(_overlaps(rules), () if gaps else _gaps(rules)):
        where = f"$.rules[{place}]"
        raise YamlError(file.name, file.position(where)[0], where, f"{message} (at {where.removeprefix('$.')})")
    return rules


def _overlaps(rules: Sequence[DatedRule]) -> Iterator[tuple[int, str]]:
    for (_, rule), (place, later) in combinations(enumerate(rules), 2):
        common = sorted(rule.areas & later.areas)
        if common and rule.start <= later.last and later.start <= rule.last:
            yield place, f"areas: {common[0]} has two rules on {max(rule.start, later.start)}"


def _gaps(rules: Sequence[DatedRule]) -> Iterator[tuple[int, str]]:
    for country in sorted(frozenset().union(*(rule.areas for rule in rules))):
        of_country = sorted((rule.start, rule.last, place) for place, rule in enumerate(rules) if country in rule.areas)
        for (_, last, _), (start, _, place) in pairwise(of_country):
            if last + timedelta(days=1) < start:
                yield place, f"from: {country} has no rule on {last + timedelta(days=1)}"
