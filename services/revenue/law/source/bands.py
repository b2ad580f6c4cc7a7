"""Rates in bands: what is levied by the rate of another charge, written out as the rates that it comes to."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import msgspec

from services.revenue.law.source.checks import last_day, overlapping
from services.revenue.law.source.rates import ParsedRate, parse_rate
from services.revenue.law.source.rulebook import LARGEST_RATE_PPM, Charge, Rate, Rulebook
from services.revenue.law.source.yaml_source import LawFileError, Path, Source


def with_bands(source: Source, book: Rulebook) -> Rulebook:
    """Return the rulebook with each rate that depends on another charge (`by_rate_of`) replaced by one for each rate of that charge.

    The source is told where the rates stand in the text, so that it names the entry that was written. Raises
    LawFileError where a band cannot be applied.
    """
    charges, written = list(book.charges), dict[Path, list[int]]()
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
        written[("charges", place, "rates")] = stands
        charges[place] = msgspec.structs.replace(charge, rates=tuple(rates))
    source.written_out = written
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
