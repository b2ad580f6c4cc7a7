"""What an import returns: lines of a tariff as law writes them, lines that were not imported with their reasons, or errors of the file."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import cache

from services.revenue.law.source.rates import parse_rate
from services.revenue.law.source.rulebook import PPM
from services.revenue.law.source.tariff_lines import PREFIX


class TariffFileError(ValueError):
    """A file of which nothing is imported; each of `errors` names file, line, value, reason and remedy."""

    def __init__(self, errors: Iterable[str]) -> None:
        """Take the errors of the file."""
        self.errors = tuple(errors)
        super().__init__("\n".join(self.errors))


class UnreadableRate(ValueError):
    """A printed rate that cannot be computed; `reason` is the word by which it is counted."""

    def __init__(self, reason: str, message: str) -> None:
        """Take the reason and a sentence."""
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ImportedLine:
    """One rate of one commodity code, as law writes it."""

    line: int
    """Line of the file, from 1."""
    code: str
    rate: str
    start: date | None = None
    """First day; None = that of the version."""
    to: date | None = None
    """Last day; None = that of the version."""
    preferences: tuple[str, ...] = ()
    """Ids of the preferences that have this rate; none = the ordinary rate."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A coded line, or a rate on it, that is not imported."""

    line: int
    code: str
    text: str
    """The value of the file."""
    reason: str
    """Word by which it is counted."""
    detail: str


@dataclass(slots=True)
class Imported:
    """The content of a file: each coded line has its ordinary rate in `lines` or is in `refused`."""

    coded: int = 0
    """Lines of the file with a commodity code."""
    lines: list[ImportedLine] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    """Lines of which nothing is imported."""
    refused_preferences: list[Refusal] = field(default_factory=list)
    """Preferential rates that are not imported, of lines whose ordinary rate may be."""
    inherited: int = 0
    """Coded lines without a rate of their own, whose rate is that of a line above them that is imported."""

    whole: bool = True
    """The file has all lines of the tariff: a refused line has a rate, which is unknown."""

    @property
    def without_rate(self) -> set[str]:
        """Return the codes of the tariff of which no ordinary rate is imported."""
        codes = {each.code for each in self.refused if is_code(each.code)} if self.whole else set()
        return codes - {line.code for line in self.ordinary}

    @property
    def ordinary(self) -> list[ImportedLine]:
        """Return the lines with ordinary rates."""
        return [line for line in self.lines if not line.preferences]

    @property
    def compound(self) -> int:
        """Return the number of imported ordinary rates that are not a plain percentage."""
        return sum(parsed(line.rate).method != "percent" for line in self.ordinary)

    @property
    def reasons(self) -> dict[str, int]:
        """Return the number of refused lines and preferential rates, by reason."""
        return dict(sorted(Counter(each.reason for each in (*self.refused, *self.refused_preferences)).items()))


def is_code(code: str) -> bool:
    """Return whether a text is a commodity code, or a prefix of one."""
    return re.fullmatch(PREFIX, code) is not None


parsed = cache(parse_rate)
"""Returns what the text of a rate says; texts repeat and are parsed once."""


@cache
def largest_percent(rate: str) -> int:
    """Return the largest percentage that a rate names, in parts per million."""
    percents = [0]
    for leaf in parsed(rate).leaves:
        sums = leaf.expression.totals if leaf.expression else ()
        percents += [leaf.ppm, *(each.ppm for each in sums if each)]
    return max(percents)


def read_once(read: Callable[[str], str], printed: str) -> str:
    """Return a printed rate as law writes it; texts repeat and are read once. UnreadableRate if it cannot be computed."""
    rate, reason = _read(read, printed)
    if reason:
        raise UnreadableRate(reason, rate)
    return rate


@cache
def _read(read: Callable[[str], str], printed: str) -> tuple[str, str]:
    try:
        return read(printed), ""
    except UnreadableRate as error:
        return str(error), error.reason


def check_plausible(file: str, imported: Imported, rate_max_percent: int) -> None:
    """Raise TariffFileError for percentages above the bound and for codes with different duties on one day."""
    bound = rate_max_percent * (PPM // 100)
    errors = [
        f"{file}:{line.line}: {line.code}: {line.rate!r} is more than {rate_max_percent} %, which is not plausible; "
        "correct the line, or raise the bound if the law says so"
        for line in imported.lines
        if largest_percent(line.rate) > bound
    ]
    seen: dict[tuple[str, str], list[ImportedLine]] = {}
    for line in imported.lines:
        for preference in line.preferences or ("",):
            earlier = seen.setdefault((line.code, preference), [])
            errors += [
                f"{file}:{line.line}: {line.code}: {line.rate!r} and, on line {other.line}, {other.rate!r} hold on the same day; "
                "correct the file: a code has one duty"
                for other in earlier
                if _overlap(line, other)
            ]
            earlier.append(line)
    if errors:
        raise TariffFileError(errors)


def _overlap(one: ImportedLine, other: ImportedLine) -> bool:
    return (one.start or date.min) <= (other.to or date.max) and (other.start or date.min) <= (one.to or date.max)


def without_repetitions(imported: Imported) -> None:
    """Report lines that repeat a code with the same rate and days, and drop them."""
    seen: dict[tuple[object, ...], int] = {}
    lines = []
    for line in imported.lines:
        key = line.code, parsed(line.rate), line.start, line.to, line.preferences
        first = seen.setdefault(key, line.line)
        if first == line.line:
            lines.append(line)
        else:
            detail = f"{line.code} has the same rate on line {first}"
            place = imported.refused_preferences if line.preferences else imported.refused
            place.append(Refusal(line.line, line.code, line.rate, "code_twice", detail))
    imported.lines = lines
