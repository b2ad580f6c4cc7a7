"""Duty rates by commodity code: dated tables of prefixes, the longest one wins; by origin and preference; a default.

A tariff is written whole in its YAML file, or names a file of lines beside it with the columns code, rate, from, to and
reference, of which code and rate are needed. Rates are any that `services.revenue.law.source.rates` reads, but `tariff`.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

import msgspec

from services.revenue.law.source.rates import CONSIGNMENT_LEVEL, ParsedRate, parse_rate
from services.revenue.law.source.rulebook import Dated, Reference
from services.revenue.law.source.yaml_source import LawFileError, Path, Source

COLUMNS = ("code", "rate", "from", "to", "reference")
LINES_MAX = 200_000
_CUTS_MAX = 400
_KNOWN_MAX = 200_000
_DAY = timedelta(days=1)


class Preference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rates for goods of some origins, where a preference is claimed or whatever is claimed."""

    origins: tuple[str, ...] = ()
    """Countries of origin, alpha-2, or names of the file's `origin_groups`; none = any."""
    preference: tuple[str, ...] = ()
    """Beginnings of preference codes, one of which must be claimed; none = the origin alone suffices."""
    reference: str
    verified: bool = False
    note: str = ""
    rates: dict[str, str] = {}
    lines: str = ""


class TariffVersion(Dated, frozen=True, kw_only=True):
    """The rates that hold from one day to another, by prefix of the commodity code."""

    default: str = ""
    """Rate of what no prefix names, which assessments note. Example: "2.7 %". Where it is absent such goods cannot be
    assessed."""
    rates: dict[str, str] = msgspec.field(default_factory=dict)
    """Rate by prefix, 2 to 10 digits. Example: {"61": "12 %"}."""
    lines: str = ""
    """Name of a CSV file beside this one that holds more of them."""
    preferences: tuple[Preference, ...] = ()
    """The first that fits and names a rate goes before the ordinary rate."""


class TariffFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One tariff as written."""

    format: Literal[1]
    tariff: str
    name: str
    references: dict[str, Reference]
    origin_groups: dict[str, tuple[str, ...]] = {}
    versions: tuple[TariffVersion, ...]


@dataclass(frozen=True, slots=True)
class TariffRate:
    """One distinct rate of a table."""

    text: str
    rate: ParsedRate
    reference: str
    verified: bool
    assumed: bool = False
    """It is the default."""
    preferential: bool = False


@dataclass(frozen=True, slots=True)
class PreferenceTable:
    """Rates by prefix for some origins and preference codes."""

    origins: frozenset[str]
    preference: tuple[str, ...]
    prefixes: dict[str, int]

    def fits(self, origin: str, preference: str) -> bool:
        """Return whether these rates apply to goods of the origin with the claimed preference code."""
        return (not self.origins or origin in self.origins) and (
            not self.preference or preference.startswith(self.preference)
        )


@dataclass(slots=True)
class RateTable:
    """The rates of one tariff in a time in which none of them changes, ready for look-up."""

    tariff: str
    start: date
    to: date | None
    reference: str
    verified: bool
    rates: list[TariffRate]
    prefixes: dict[str, int]
    """Place in `rates` by prefix."""
    default: int
    """Place of the default; -1 where there is none."""
    preferences: tuple[PreferenceTable, ...]
    _widths: tuple[int, ...] = ()
    _rows: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find the lengths of prefix that occur, the longest first."""
        held = [self.prefixes, *(each.prefixes for each in self.preferences)]
        self._widths = tuple(sorted({len(prefix) for prefixes in held for prefix in prefixes}, reverse=True))

    @property
    def lines(self) -> int:
        """Rates by prefix, preferential ones too, without the default."""
        return len(self.prefixes) + sum(len(each.prefixes) for each in self.preferences)

    def find(self, code: str, origin: str = "", preference: str = "") -> int:
        """Return the place in `rates` of what goods pay; -1 where no prefix names them and there is no default."""
        if not self.preferences:
            origin = preference = ""
        key = code, origin, preference
        known = self._rows.get(key)
        if known is None:
            if len(self._rows) >= _KNOWN_MAX:
                self._rows.clear()
            known = self._rows[key] = self._find(code, origin, preference)
        return known

    def _find(self, code: str, origin: str, preference: str) -> int:
        for each in self.preferences:
            if each.fits(origin, preference) and (found := self._longest(each.prefixes, code)) is not None:
                return found
        found = self._longest(self.prefixes, code)
        return self.default if found is None else found

    def _longest(self, prefixes: dict[str, int], code: str) -> int | None:
        for width in self._widths:
            if len(code) >= width and (found := prefixes.get(code[:width])) is not None:
                return found
        return None


@dataclass(frozen=True, slots=True)
class Tariff:
    """A tariff that passed all checks."""

    id: str
    references: dict[str, Reference]
    tables: tuple[RateTable, ...]

    def on(self, day: date) -> RateTable | None:
        """Return the rates that hold on the day."""
        for table in self.tables:
            if table.start <= day and (table.to is None or day <= table.to):
                return table
        return None


@dataclass(frozen=True, slots=True)
class _Line:
    """One rate of one prefix and its time; `group` is the place of its preference, -1 for ordinary rates."""

    group: int
    code: str
    rate: str
    start: date
    to: date
    reference: str
    verified: bool


def read_tariff(file: str, text: str, csv_text: Callable[[str], str | None] = lambda _name: None) -> Tariff:
    """Read and check a tariff; LawFileError names the file, the line and the entry that cannot be applied.

    `csv_text` gives the text of a file of lines in the same directory by its name, None where there is none.
    """
    return _Reader(Source(file, text), file, csv_text).read()


class _Reader:
    def __init__(self, source: Source, file: str, csv_text: Callable[[str], str | None]) -> None:
        self.source, self.file, self.csv_text = source, file, csv_text
        self.written = source.convert(TariffFile)
        self.parsed: dict[str, ParsedRate] = {}

    def read(self) -> Tariff:
        written, tables = self.written, list[RateTable]()
        for name, members in written.origin_groups.items():
            self._countries(("origin_groups", name), members)
        for place, version in enumerate(written.versions):
            here = ("versions", place)
            self._reference((*here, "reference"), version.reference)
            if tables and (tables[-1].to is None or version.start != tables[-1].to + _DAY):
                raise self.source.error(
                    here, "does not begin on the day after the version before it ends: a gap or an overlap"
                )
            if version.to and version.to < version.start:
                raise self.source.error(here, f"ends on {version.to} before it begins on {version.start}")
            if version.default:
                self._rate((*here, "default"), version.default)
            tables += self._tables(here, version)
        return Tariff(written.tariff, written.references, tuple(tables))

    def _tables(self, path: Path, version: TariffVersion) -> Iterator[RateTable]:
        """Cut a version at each day on which one of its lines changes."""
        lines = list(self._lines(path, -1, version.rates, version.lines, version, version.reference, version.verified))
        for place, each in enumerate(version.preferences):
            at = (*path, "preferences", place)
            self._reference((*at, "reference"), each.reference)
            self._countries((*at, "origins"), tuple(o for o in each.origins if o not in self.written.origin_groups))
            for digit in each.preference:
                if not re.fullmatch(r"\d{1,3}", digit):
                    raise self.source.error((*at, "preference"), f"{digit!r} does not begin a preference code")
            lines += self._lines(at, place, each.rates, each.lines, version, each.reference, each.verified)
        last = version.to or date.max
        days = {version.start} | {line.start for line in lines}
        days |= {line.to + _DAY for line in lines if line.to < last}
        cuts = sorted(days)
        if len(cuts) > _CUTS_MAX:
            raise self.source.error(
                path, f"its lines change on {len(cuts)} days; at most {_CUTS_MAX}: write several versions"
            )
        for start, end in zip(cuts, [*(day - _DAY for day in cuts[1:]), last], strict=True):
            yield self._table(path, version, lines, start, end)

    def _table(self, path: Path, version: TariffVersion, lines: list[_Line], start: date, end: date) -> RateTable:
        numbers: dict[TariffRate, int] = {}
        prefixes: list[dict[str, int]] = [{} for _ in range(len(version.preferences) + 1)]
        for line in lines:
            if line.start <= start and end <= line.to:
                rate = TariffRate(
                    line.rate, self.parsed[line.rate], line.reference, line.verified, preferential=line.group >= 0
                )
                # The group -1 of ordinary rates is the last.
                if line.code in prefixes[line.group]:
                    raise self.source.error(path, f"two rates of {line.code} hold on {start}; keep one")
                prefixes[line.group][line.code] = numbers.setdefault(rate, len(numbers))
        default = -1
        if version.default:
            verified = version.verified and self.written.references[version.reference].verified
            rate = TariffRate(version.default, self.parsed[version.default], version.reference, verified, assumed=True)
            default = numbers.setdefault(rate, len(numbers))
        return RateTable(
            self.written.tariff,
            start,
            None if end == date.max else end,
            version.reference,
            version.verified and self.written.references[version.reference].verified,
            list(numbers),
            prefixes[-1],
            default,
            tuple(
                PreferenceTable(self._origins(each), each.preference, prefixes[place])
                for place, each in enumerate(version.preferences)
            ),
        )

    def _lines(
        self, path: Path, group: int, rates: dict[str, str], file: str, version: TariffVersion,
        reference: str, verified: bool,
    ) -> Iterator[_Line]:  # fmt: skip
        last = version.to or date.max
        doubted = not (verified and self.written.references[reference].verified)
        for code, text in rates.items():
            at = (*path, "rates", code)
            if not re.fullmatch(r"\d{2,10}", code):
                raise self.source.error(at, f"{code!r} is no prefix of 2 to 10 digits")
            self._rate(at, text)
            yield _Line(group, code, text, version.start, last, reference, not doubted)
        if file:
            yield from self._filed((*path, "lines"), group, file, version, reference, doubted)

    def _filed(
        self, at: Path, group: int, file: str, version: TariffVersion, reference: str, doubted: bool
    ) -> Iterator[_Line]:
        text = self.csv_text(file)
        if text is None:
            raise self.source.error(at, f"{file!r} is no tariff*.csv beside this file")
        name = f"{self.file.rpartition('/')[0]}/{file}".lstrip("/")
        rows = csv.DictReader(io.StringIO(text))
        known = list(rows.fieldnames or ())
        if not {"code", "rate"} <= set(known) <= set(COLUMNS):
            raise LawFileError(name, 1, "", f"has the columns {known}; code and rate are needed, of {COLUMNS}")
        for count, row in enumerate(rows, start=1):
            line, code = rows.line_num, (row["code"] or "").strip()
            if count > LINES_MAX:
                raise LawFileError(name, line, "", f"holds more than {LINES_MAX} lines; divide the tariff")
            if None in row or None in row.values():
                raise LawFileError(name, line, code, f"has not {len(known)} values, as the header has")
            if not re.fullmatch(r"\d{2,10}", code):
                raise LawFileError(name, line, "code", f"{code!r} is no prefix of 2 to 10 digits")
            try:
                start, end = (_day(row.get("from")) or version.start), (_day(row.get("to")) or version.to or date.max)
                self._parse(row["rate"])
            except ValueError as error:
                raise LawFileError(name, line, code, str(error)) from None
            if end < start or start < version.start or end > (version.to or date.max):
                raise LawFileError(name, line, code, "its days are in the wrong order, or outside the version's")
            named = row.get("reference") or reference
            if named not in self.written.references:
                raise LawFileError(name, line, code, f"{named!r} is not described under 'references' of {self.file}")
            verified = not doubted and self.written.references[named].verified
            yield _Line(group, code, row["rate"], start, end, named, verified)

    def _origins(self, preference: Preference) -> frozenset[str]:
        groups = self.written.origin_groups
        named = [groups.get(name, (name,)) for name in preference.origins]
        return frozenset(country for members in named for country in members)

    def _countries(self, path: Path, names: tuple[str, ...]) -> None:
        for place, name in enumerate(names):
            if not re.fullmatch("[A-Z]{2}", name):
                raise self.source.error((*path, place), f"{name!r} is no country's two letters")

    def _reference(self, path: Path, name: str) -> None:
        if name not in self.written.references:
            raise self.source.error(path, f"{name!r} is not described under 'references'")

    def _rate(self, path: Path, text: str) -> None:
        try:
            self._parse(text)
        except ValueError as error:
            raise self.source.error(path, str(error)) from None

    def _parse(self, text: str) -> None:
        if text in self.parsed:
            return
        rate = parse_rate(text)
        for leaf in rate.leaves:
            if leaf.method in CONSIGNMENT_LEVEL or leaf.method in ("tariff", "tariff_line", "item"):
                raise ValueError(
                    f"{text!r}: a tariff holds rates of goods: per cent, or per a unit of quantity as 'kg'"
                )
        self.parsed[text] = rate


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
