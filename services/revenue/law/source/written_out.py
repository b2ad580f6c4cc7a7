"""Entries that stand for several, written out: those that name parameters, and rates in bands of another charge's rate."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final, TypeVar

import msgspec

from services.revenue.law.source.checks import FOREVER, last_day, overlapping
from services.revenue.law.source.rates import ParsedRate, parse_rate
from services.revenue.law.source.rulebook import LARGEST_RATE_PPM, Charge, Dated, Rate, Rulebook
from services.revenue.law.source.yaml_source import LawFileError, Path, Source

_NAME: Final = re.compile("<([a-z][a-z0-9_]*)>")
_NOT_OF_LAW: Final = ("reference", "note", "text")
_DAY: Final = timedelta(days=1)
D = TypeVar("D", bound=Dated)


def with_parameters(source: Source, book: Rulebook) -> Rulebook:
    """Return the rulebook with each entry that names parameters (`<low_value>`) replaced by one for each time in which their values hold.

    Such an entry is verified if it and the value are. Errors are those of the source.
    """
    write = _Parameters(source, book)
    written = msgspec.structs.replace(
        book,
        defaults={name: write.entries(("defaults", name), each) for name, each in book.defaults.items()},
        limits={name: write.entries(("limits", name), each) for name, each in book.limits.items()},
        reliefs={name: write.entries(("reliefs", name), each) for name, each in book.reliefs.items()},
        charges=tuple(
            msgspec.structs.replace(
                charge,
                rates=write.entries(("charges", place, "rates"), charge.rates),
                minimum=write.entries(("charges", place, "minimum"), charge.minimum),
            )
            for place, charge in enumerate(book.charges)
        ),
    )
    for name in book.parameters.keys() - write.used:
        source.refuse(
            ("parameters", name), f"is used nowhere; write <{name}> where its amount applies, or leave it out"
        )
    return written


@dataclass(frozen=True, slots=True)
class _Parameters:
    source: Source
    book: Rulebook
    used: set[str] = field(default_factory=set)

    def entries(self, path: Path, entries: tuple[D, ...]) -> tuple[D, ...]:
        written, places = list[D](), list[int]()
        for place, entry in enumerate(entries):
            each = [entry]
            with self.source:
                each = list(self._written((*path, place), entry))
            written += each
            places += [place] * len(each)
        self.source.write_out(path, places)
        return tuple(written)

    def _written(self, path: Path, entry: D) -> Iterator[D]:
        at, name = next(_names(entry), ((), ""))
        if not name:
            yield entry
            return
        self.used.add(name)
        if name not in self.book.parameters:
            names = ", ".join(self.book.parameters) or "there is none"
            raise self.source.error((*path, *at), f"<{name}> is not one of the rulebook's parameters ({names})")
        values = sorted(self.book.parameters[name], key=lambda value: value.start)
        day = entry.start
        for value in values:
            if overlapping(entry, value) and day < value.start:
                break
            day = max(day, last_day(value) + _DAY) if last_day(value) < FOREVER else FOREVER
        if day <= last_day(entry) and day < FOREVER:
            raise self.source.error((*path, *at), f"parameter {name!r} has no value on {day}, a day of this entry")
        for value in values:
            if overlapping(entry, value):
                last = min(last_day(entry), last_day(value))
                changes = {
                    "start": max(entry.start, value.start),
                    "to": None if last == FOREVER else last,
                    "verified": entry.verified and not self.book.doubted(value),
                }
                yield from self._written(path, msgspec.structs.replace(_replaced(entry, name, value.value), **changes))


def _names(part: msgspec.Struct) -> Iterator[tuple[Path, str]]:
    """Return the names of parameters in the texts of an entry, and where they are."""
    for name, encoded in zip(part.__struct_fields__, part.__struct_encode_fields__, strict=True):
        value = getattr(part, name)
        if isinstance(value, str) and name not in _NOT_OF_LAW:
            yield from (((encoded,), match[1]) for match in _NAME.finditer(value))
        elif isinstance(value, tuple):
            for place, each in enumerate(value):
                if isinstance(each, msgspec.Struct):
                    yield from (((encoded, place, *path), found) for path, found in _names(each))


def _replaced(part: Any, name: str, text: str) -> Any:
    """Return the entry with a parameter's value in place of its name."""
    if isinstance(part, str):
        return part.replace(f"<{name}>", text)
    if isinstance(part, tuple):
        return tuple(_replaced(each, name, text) for each in part)
    if not isinstance(part, msgspec.Struct):
        return part
    fields = [each for each in part.__struct_fields__ if each not in _NOT_OF_LAW]
    return msgspec.structs.replace(part, **{each: _replaced(getattr(part, each), name, text) for each in fields})


def with_bands(source: Source, book: Rulebook) -> Rulebook:
    """Return the rulebook with each rate that depends on another charge (`by_rate_of`) replaced by one for each rate of that charge.

    The source is told where the rates stand in the text, so that it names the entry that was written. Raises
    LawFileError where a band cannot be applied.
    """
    charges = list(book.charges)
    for place, charge in enumerate(book.charges):
        rates: list[Rate] = []
        stands: list[int] = []
        for at, rate in enumerate(charge.rates):
            here = ("charges", place, "rates", at)
            expanded = [rate]
            with source:
                if rate.by_rate_of:
                    expanded = list(_Bands(source, book, here, rate).written())
                elif rate.bands:
                    raise source.error((*here, "bands"), "say by the rate of which charge: 'by_rate_of'")
            rates += expanded
            stands += [at] * (len(rates) - len(stands))
        source.write_out(("charges", place, "rates"), stands)
        charges[place] = msgspec.structs.replace(charge, rates=tuple(rates))
    return msgspec.structs.replace(book, charges=tuple(charges))


@dataclass(frozen=True, slots=True)
class _Bands:
    source: Source
    book: Rulebook
    path: Path
    rate: Rate

    def written(self) -> Iterator[Rate]:
        """Write the rate out by the rates of the other charge, in their order."""
        rate, other = self.rate, self._other()
        if rate.condition or rate.areas:
            raise self._error("by_rate_of", "goes by the conditions and areas of the other charge's rates; it has none")
        tops = self._tops()
        for at, text in (
            (("rate",), rate.rate),
            *((("bands", n, "rate"), band.rate) for n, band in enumerate(rate.bands)),
        ):
            self._read(text, at)
        for place, each in enumerate(other.rates):
            if not overlapping(rate, each):
                continue
            ppm = self._percent(each.rate, ("by_rate_of",), f"rate {place} of {other.id}").ppm
            text = next((band.rate for band, (top, within) in zip(rate.bands, tops, strict=True)
                         if ppm < top or (within and ppm == top)), rate.rate)  # fmt: skip
            last = min(last_day(rate), last_day(each))
            yield msgspec.structs.replace(
                rate,
                start=max(rate.start, each.start),
                to=None if last == date.max else last,
                rate=text,
                condition=each.condition,
                areas=each.areas,
                verified=rate.verified and not self.book.doubted(each),
            )

    def _other(self) -> Charge:
        for charge in self.book.charges:
            if charge.id == self.rate.by_rate_of and all(not each.by_rate_of for each in charge.rates):
                return charge
        raise self._error("by_rate_of", f"{self.rate.by_rate_of!r} is no charge of this rulebook with rates of its own")

    def _tops(self) -> list[tuple[int, bool]]:
        """Return the top of each band in parts per million, and whether the top itself is in it."""
        tops: list[tuple[int, bool]] = []
        for place, band in enumerate(self.rate.bands):
            if bool(band.under) == bool(band.up_to):
                raise self._error(("bands", place), "says 'under' or 'up_to', one of the two")
            name = "up_to" if band.up_to else "under"
            top = (self._percent(band.up_to or band.under, ("bands", place, name), name).ppm, bool(band.up_to))
            if top == (0, False):
                raise self._error(("bands", place, name), "holds no rate: none is under nothing")
            if tops and top <= tops[-1]:
                raise self._error(("bands", place, name), "is not over the band before it; write the lowest band first")
            tops.append(top)
        if not tops:
            raise self._error("by_rate_of", "has no 'bands' that say which rate comes to what")
        return tops

    def _read(self, text: str, path: Path) -> ParsedRate:
        try:
            return parse_rate(text)
        except ValueError as error:
            raise self._error(path, str(error)) from None

    def _percent(self, text: str, path: Path, subject: str) -> ParsedRate:
        parsed = self._read(text, path)
        if parsed.method != "percent" or parsed.ppm > LARGEST_RATE_PPM:
            raise self._error(path, f"{subject} is {text!r}; a band needs per cent")
        return parsed

    def _error(self, place: str | Path, message: str) -> LawFileError:
        return self.source.error((*self.path, *((place,) if isinstance(place, str) else place)), message)
