"""Duty rates by commodity code: a dated table of prefixes, the longest one wins, with a default for all else."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

import msgspec

from services.revenue.law.rulebook import Dated, Reference, parse_rate
from services.revenue.law.yaml_source import Source


class TariffVersion(Dated, frozen=True, kw_only=True):
    """The rates that hold from one day to another; per cent by prefix of the commodity code."""

    default: str
    """Rate of what no prefix names. Example: "2.7 %"."""
    rates: dict[str, str]
    """Rate by chapter (2 digits), heading (4) or subheading (6). Example: {"61": "12 %"}."""


class TariffFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One tariff as written."""

    format: Literal[1]
    tariff: str
    name: str
    references: dict[str, Reference]
    versions: tuple[TariffVersion, ...]


@dataclass(frozen=True, slots=True)
class RateTable:
    """The rates of one version of a tariff, ready for look-up."""

    tariff: str
    start: date
    to: date | None
    reference: str
    verified: bool
    default_ppm: int
    ppm: dict[str, int]

    def find(self, code: str) -> tuple[int, bool]:
        """Return the rate of a commodity code in parts per million, and whether a prefix names it."""
        for length in (10, 8, 6, 4, 2):
            if len(code) >= length and (rate := self.ppm.get(code[:length])) is not None:
                return rate, True
        return self.default_ppm, False


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


def read_tariff(file: str, text: str) -> Tariff:
    """Read and check a tariff; LawFileError names the file, the line and the entry that cannot be applied."""
    source = Source(file, text)
    written = source.convert(TariffFile)
    tables: list[RateTable] = []
    for place, version in enumerate(written.versions):
        here = ("versions", place)
        if version.reference not in written.references:
            raise source.error((*here, "reference"), f"{version.reference!r} is not described under 'references'")
        if tables and (tables[-1].to is None or version.start.toordinal() != tables[-1].to.toordinal() + 1):
            raise source.error(here, "does not begin on the day after the version before it ends: a gap or an overlap")
        rates: dict[str, int] = {}
        for prefix, rate in version.rates.items():
            if len(prefix) not in (2, 4, 6, 8, 10) or not prefix.isdigit():
                raise source.error((*here, "rates", prefix), f"{prefix!r} is no prefix of 2, 4, 6, 8 or 10 digits")
            rates[prefix] = _ppm(source, (*here, "rates", prefix), rate)
        default = _ppm(source, (*here, "default"), version.default)
        tables.append(
            RateTable(written.tariff, version.start, version.to, version.reference, version.verified, default, rates)
        )
    return Tariff(written.tariff, written.references, tuple(tables))


def _ppm(source: Source, path: tuple[str | int, ...], text: str) -> int:
    try:
        rate = parse_rate(text)
    except ValueError as error:
        raise source.error(path, str(error)) from None
    if rate.method != "percent":
        raise source.error(path, f"{text!r}: a tariff holds rates in per cent")
    return rate.ppm
