"""Bands of value: how consignments are grouped by what their goods are worth, in the currency of their law."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from libs.customs.currencies import minor_units

BOUNDS_MAX: Final = 20
LARGEST: Final = 10**12
#: Around the limits that laws set: 22 and 150 EUR, 135 GBP, 800 USD, 1,000 AUD, 10,000 JPY, 150 USD in KRW and so on.
DEFAULT: Final = (
    "22 45 150 500 1000; GBP 15 39 135 500 1000; USD 50 200 800 2500; CAD 20 40 150 500 1000; AUD 50 150 1000 2000; "
    "NZD 50 150 1000 2000; NOK 350 3000 10000; CHF 5 62 150 1000; SGD 50 150 400 1000; CNY 50 500 2000 5000; "
    "KRW 50000 150000 200000 1000000; BRL 50 250 500 3000; ZAR 100 500 3000 10000; JPY 1000 10000 16666 200000; "
    "IDR 50000 150000 1500000 24000000; SEK 250 500 1700 5000; DKK 160 340 1150 5000; PLN 100 200 650 2000"
)
_PART: Final = re.compile(r"(?:([A-Z]{3})\s+)?(\d+(?:\s+\d+)*)")


class BandsMalformed(ValueError):
    """A text that tells no bands; the message says why."""


@dataclass(frozen=True)
class Bands:
    """Upper ends of bands in whole units, rising, by currency; those of "" hold where a currency has none of its own."""

    bounds: Mapping[str, Sequence[int]]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "22 45 150; JPY 1000 10000". Raises BandsMalformed.

        >>> Bands.of("22 150; JPY 1000").name("JPY", 1)
        'over 1000 JPY'
        """
        bounds: dict[str, Sequence[int]] = {}
        for part in text.split(";"):
            match = _PART.fullmatch(part.strip())
            if match is None:
                raise BandsMalformed(
                    f"has {part.strip()!r}, which is no list of amounts such as '22 150' or 'JPY 1000 10000'"
                )
            currency, amounts = match[1] or "", [int(amount) for amount in match[2].split()]
            if currency:
                try:
                    minor_units(currency)
                except ValueError:
                    raise BandsMalformed(f"has {currency}, which is no ISO 4217 code") from None
            if currency in bounds:
                raise BandsMalformed(f"has bands of {currency or 'all other currencies'} twice")
            if (
                len(amounts) > BOUNDS_MAX
                or not amounts[0] > 0
                or amounts[-1] > LARGEST
                or sorted(set(amounts)) != amounts
            ):
                raise BandsMalformed(
                    f"has {part.strip()!r}: amounts rise, from 1 to {LARGEST}, and there are at most {BOUNDS_MAX}"
                )
            bounds[currency] = amounts
        if "" not in bounds:
            raise BandsMalformed("has no amounts for other currencies; begin with them: '22 150; JPY 1000'")
        return cls(bounds)

    def find(self, currency: str, minor: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the number of each amount's band, from 0; an upper end belongs to the band below it."""
        scale = 10 ** minor_units(currency)
        ends = np.array([bound * scale for bound in self._limits(currency)], np.int64)
        return np.searchsorted(ends, minor, side="left")

    def name(self, currency: str, band: int) -> str:
        """Return the name of a band. Example: "22-150 EUR"."""
        bounds = self._limits(currency)
        if band >= len(bounds):
            return f"over {bounds[-1]} {currency}"
        return f"{bounds[band - 1] if band else 0}-{bounds[band]} {currency}"

    def _limits(self, currency: str) -> Sequence[int]:
        return self.bounds.get(currency, self.bounds[""])
