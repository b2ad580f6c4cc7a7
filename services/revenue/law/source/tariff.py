"""Duty rates by commodity code: dated tables of prefixes, the longest one wins; by origin and preference; a default.

A tariff is written whole in its YAML file, or names a file of lines beside it (see `services.revenue.law.source.tariff_lines`).
Rates are any that `services.revenue.law.source.rates` reads, but `tariff`.
"""

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

import msgspec
import numpy as np

from services.revenue.law.source.rates import CONSIGNMENT_LEVEL, ParsedRate, parse_rate
from services.revenue.law.source.rulebook import Dated, Reference
from services.revenue.law.source.tariff_lines import PREFIX, Clause, LineColumns, read_lines
from services.revenue.law.source.yaml_source import Path, Source

_CODE_OF_PREFERENCE = r"[0-9]{1,3}|[A-Z][0-9A-Z+*]{0,2}"
_CUTS_MAX = 400
_KNOWN_MAX = 200_000
_NO_RATE = -1
"""Place of the rate of a line whose rate is unknown, and of goods that no line names."""
_ORDINARY = -1
"""Group of ordinary rates, beside the places of preferences."""
_SUBHEADING = 6
"""Digits of the shortest code whose lines below it are all its goods."""
_DAY = timedelta(days=1)
_UNREADABLE = ParsedRate("percent")
"""Stands for a rate that was refused, until all of the file is read."""


class Preference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rates for goods of some origins, where a preference is claimed or whatever is claimed."""

    id: str = ""
    """Name by which the lines of the version refer to it; needed only there."""
    origins: tuple[str, ...] = ()
    """Countries of origin, alpha-2, or names of the file's `origin_groups`; none = any."""
    preference: tuple[str, ...] = ()
    """Beginnings of preference codes in digits, or whole codes in letters, one of which must be claimed; none = the
    origin alone suffices. Example: ["3", "KR"]."""
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
    defaults: dict[str, str] = msgspec.field(default_factory=dict)
    """Rate by prefix of what neither `rates` nor `lines` name, before `default`; assessments note it too."""
    default_reference: str = ""
    """Reference of `default` and `defaults`; absent = that of the version."""
    source: str = ""
    """Publisher and file of the rates. Example: "USITC, Harmonized Tariff Schedule 2025, basic edition"."""
    edition: date | None = None
    """Day of the edition that the rates show; None = unknown."""
    licence: str = ""
    """Terms under which the source may be used. Example: "Open Government Licence v3.0"."""


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
    """It is a default: no line names the goods."""
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
            not self.preference
            or preference in self.preference
            or (preference.isdigit() and preference.startswith(self.preference))
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
    """Place in `rates` by prefix; -1 for a line whose rate is unknown."""
    default: int
    """Place of the default; -1 where there is none."""
    preferences: tuple[PreferenceTable, ...]
    defaults: dict[str, int] = field(default_factory=dict)
    """Place in `rates` by prefix of what no other prefix names, before the default."""
    source: str = ""
    """Publisher and file of the rates; empty where the law does not state it."""
    edition: date | None = None
    """Day of the edition that the rates show; None = unknown."""
    licence: str = ""
    _widths: tuple[int, ...] = ()
    _rows: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _ordered: dict[int, list[str]] = field(default_factory=dict)
    """Sorted prefixes by group: the place of a preference in `preferences`, or -1 for ordinary rates."""

    def __post_init__(self) -> None:
        """Find the lengths of prefix that occur, the longest first."""
        held = [self.prefixes, self.defaults, *(each.prefixes for each in self.preferences)]
        self._widths = tuple(sorted({len(prefix) for prefixes in held for prefix in prefixes}, reverse=True))

    @property
    def lines(self) -> int:
        """Rates by prefix, preferential ones too, without the defaults."""
        return sum(place != _NO_RATE for place in self.prefixes.values()) + sum(
            len(each.prefixes) for each in self.preferences
        )

    def find(self, code: str, origin: str = "", preference: str = "") -> int:
        """Return the place in `rates` of what goods pay; -1 where no prefix names them and there is no default.

        A code of 6 digits or more that is shorter than the lines below it has their rate if all of them have the same.
        """
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
        groups = [place for place, each in enumerate(self.preferences) if each.fits(origin, preference)] + [_ORDINARY]
        place = self._line(code, groups)
        if len(code) >= _SUBHEADING and code not in self.prefixes:
            below = {self._line(line, groups) for group in groups for line in self._below(group, code)}
            # A shorter line has the goods that no line below the code names.
            rates = below | {place} - {_NO_RATE} if below else below
            if _NO_RATE in below:
                place = _NO_RATE
            elif len({self.rates[each].rate for each in rates}) == 1:
                return min(rates, key=self._doubt)
        if place == _NO_RATE:
            place = self.default if (typical := self._longest(self.defaults, code)) is None else typical
        return place

    def _line(self, code: str, groups: list[int]) -> int:
        """Return the place of the rate of the longest prefix in the first group that names the code."""
        for group in groups:
            if (place := self._longest(self._prefixes(group), code)) is not None:
                return place
        return _NO_RATE

    def _below(self, group: int, code: str) -> list[str]:
        """Return the longer prefixes of a group that begin with a code."""
        ordered = self._ordered.get(group)
        if ordered is None:
            ordered = self._ordered[group] = sorted(self._prefixes(group))
        return ordered[bisect_right(ordered, code) : bisect_left(ordered, f"{code}:")]

    def _prefixes(self, group: int) -> dict[str, int]:
        return self.prefixes if group == _ORDINARY else self.preferences[group].prefixes

    def _doubt(self, place: int) -> tuple[bool, bool, int]:
        rate = self.rates[place]
        return rate.verified, rate.preferential, place

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


def read_tariff(file: str, text: str, csv_text: Callable[[str], str | None] = lambda _name: None) -> Tariff:
    """Read and check a tariff; LawFileError has the file, the line and the entry of everything that cannot be applied.

    `csv_text` gives the text of a file of lines in the same directory by its name, None where there is none.
    """
    return _Reader(Source(file, text), file, csv_text).read()


class _Reader:
    def __init__(self, source: Source, file: str, csv_text: Callable[[str], str | None]) -> None:
        self.source, self.file, self.csv_text = source, file, csv_text
        self.written = source.convert(TariffFile)
        self.parsed: dict[str, ParsedRate] = {}
        self.rates: dict[TariffRate, int] = {}

    def read(self) -> Tariff:
        written, tables = self.written, list[RateTable]()
        for name, members in written.origin_groups.items():
            self._countries(("origin_groups", name), members)
        for place, version in enumerate(written.versions):
            here = ("versions", place)
            self._reference((*here, "reference"), version.reference)
            if version.default_reference:
                self._reference((*here, "default_reference"), version.default_reference)
            if tables and (tables[-1].to is None or version.start != tables[-1].to + _DAY):
                self.source.refuse(
                    here, "does not begin on the day after the version before it ends: a gap or an overlap"
                )
            if version.to and version.to < version.start:
                self.source.refuse(here, f"ends on {version.to} before it begins on {version.start}")
                continue
            with self.source:
                tables += self._tables(here, version)
        self.source.finish()
        return Tariff(written.tariff, written.references, tuple(tables))

    def _tables(self, path: Path, version: TariffVersion) -> Iterator[RateTable]:
        """Cut a version at each day on which one of its lines changes."""
        places = {each.id: place for place, each in enumerate(version.preferences) if each.id}
        for place, each in enumerate(version.preferences):
            at = (*path, "preferences", place)
            if each.id and places[each.id] != place:
                self.source.refuse((*at, "id"), f"{each.id!r} is the id of two preferences; give each its own")
            self._reference((*at, "reference"), each.reference)
            self._countries((*at, "origins"), tuple(o for o in each.origins if o not in self.written.origin_groups))
            for code in each.preference:
                if not re.fullmatch(_CODE_OF_PREFERENCE, code):
                    self.source.refuse(
                        (*at, "preference"),
                        f"{code!r} does not begin a preference code in digits, and is no code in letters",
                    )
        parts = list(self._group(path, _ORDINARY, version, version, places))
        for place, each in enumerate(version.preferences):
            parts += self._group((*path, "preferences", place), place, each, version, {})
        lines = LineColumns.joined(parts)
        last = version.to or date.max
        days = {version.start.toordinal(), *np.unique(lines.start).tolist()}
        days |= {day + 1 for day in np.unique(lines.to).tolist() if day < last.toordinal()}
        cuts = [date.fromordinal(day) for day in sorted(days)]
        if len(cuts) > _CUTS_MAX:
            raise self.source.error(
                path, f"its lines change on {len(cuts)} days; at most {_CUTS_MAX}: write several versions"
            )
        for start, end in zip(cuts, [*(day - _DAY for day in cuts[1:]), last], strict=True):
            yield self._table(path, version, lines.on_days(start, end), start, end)

    def _table(self, path: Path, version: TariffVersion, lines: LineColumns, start: date, end: date) -> RateTable:
        named = np.unique(lines.rate[lines.rate != _NO_RATE])
        place = np.where(lines.rate == _NO_RATE, _NO_RATE, np.searchsorted(named, lines.rate))
        known = list(self.rates)
        rates = [known[number] for number in named.tolist()]
        prefixes = list[dict[str, int]]()
        for group in [*range(len(version.preferences)), _ORDINARY]:
            at = lines.group == group
            codes = lines.code[at].tolist()
            prefixes.append(dict(zip(codes, place[at].tolist(), strict=True)))
            if len(prefixes[-1]) < len(codes):
                twice = next(code for code, count in Counter(codes).items() if count > 1)
                self.source.refuse(path, f"two rates of {twice} hold on {start}; keep one")
        reference = version.default_reference or version.reference
        defaults = dict[str, int]()
        for code, text in (version.defaults | ({"": version.default} if version.default else {})).items():
            at_text = (*path, "defaults", code) if code else (*path, "default")
            if code and not re.fullmatch(PREFIX, code):
                self.source.refuse(at_text, f"{code!r} is no prefix of 2 to 10 digits")
            self._rate(at_text, text)
            verified = self._verified(version.verified, reference)
            rates.append(TariffRate(text, self.parsed[text], reference, verified, assumed=True))
            defaults[code] = len(rates) - 1
        return RateTable(
            self.written.tariff,
            start,
            None if end == date.max else end,
            version.reference,
            self._verified(version.verified, version.reference),
            rates,
            prefixes[-1],
            defaults.pop("", -1),
            tuple(
                PreferenceTable(self._origins(each), each.preference, prefixes[place])
                for place, each in enumerate(version.preferences)
            ),
            defaults,
            version.source,
            version.edition,
            version.licence,
        )

    def _group(
        self, path: Path, group: int, entry: TariffVersion | Preference, version: TariffVersion, places: dict[str, int]
    ) -> Iterator[LineColumns]:
        """Yield the lines of a version or of one of its preferences: those of the file itself, and those of its file of lines."""
        last = version.to or date.max
        codes, clauses = [], []
        for code, text in entry.rates.items():
            at = (*path, "rates", code)
            if not re.fullmatch(PREFIX, code):
                self.source.refuse(at, f"{code!r} is no prefix of 2 to 10 digits")
                continue
            self._rate(at, text)
            codes.append(code)
            clauses.append(
                [Clause(group, self._number(text, entry.reference, entry.verified, group), version.start, last)]
            )
        yield LineColumns.of_clauses(codes, np.arange(len(clauses)), clauses)
        if not entry.lines:
            return
        csv_text = self.csv_text(entry.lines)
        if csv_text is None:
            raise self.source.error((*path, "lines"), f"{entry.lines!r} is no tariff*.csv beside this file")

        def clauses_of(values: dict[str, str]) -> list[Clause]:
            if values["rate"]:
                self._parse(values["rate"])
            elif values.get("preferences") or group != _ORDINARY:
                raise ValueError("has no rate; a line of a preference needs one")
            start, end = (_day(values.get("from")) or version.start), (_day(values.get("to")) or last)
            if end < start or start < version.start or end > last:
                raise ValueError("its days are in the wrong order, or outside the version's")
            found = []
            for name in (values.get("preferences") or "").split() or [""]:
                if name and name not in places:
                    raise ValueError(f"{name!r} is the id of no preference of the version")
                owner: TariffVersion | Preference = version.preferences[places[name]] if name else entry
                reference = values.get("reference") or owner.reference
                if reference not in self.written.references:
                    raise ValueError(f"{reference!r} is not described under 'references' of {self.file}")
                of_group = places[name] if name else group
                # A reference of the line's own does not lift the doubt about that of its group.
                verified = self._verified(owner.verified, owner.reference)
                number = self._number(values["rate"], reference, verified, of_group) if values["rate"] else _NO_RATE
                found.append(Clause(of_group, number, start, end))
            return found

        name = f"{self.file.rpartition('/')[0]}/{entry.lines}".lstrip("/")
        yield read_lines(name, csv_text, clauses_of)

    def _number(self, text: str, reference: str, verified: bool, group: int) -> int:
        rate = TariffRate(
            text, self.parsed[text], reference, self._verified(verified, reference), preferential=group != _ORDINARY
        )
        return self.rates.setdefault(rate, len(self.rates))

    def _verified(self, verified: bool, reference: str) -> bool:
        return verified and reference in self.written.references and self.written.references[reference].verified

    def _origins(self, preference: Preference) -> frozenset[str]:
        groups = self.written.origin_groups
        named = [groups.get(name, (name,)) for name in preference.origins]
        return frozenset(country for members in named for country in members)

    def _countries(self, path: Path, names: tuple[str, ...]) -> None:
        for place, name in enumerate(names):
            if not re.fullmatch("[A-Z]{2}", name):
                self.source.refuse((*path, place), f"{name!r} is no country's two letters")

    def _reference(self, path: Path, name: str) -> None:
        if name not in self.written.references:
            self.source.refuse(path, f"{name!r} is not described under 'references'")

    def _rate(self, path: Path, text: str) -> None:
        try:
            self._parse(text)
        except ValueError as error:
            self.source.refuse(path, str(error))
            self.parsed[text] = _UNREADABLE

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
