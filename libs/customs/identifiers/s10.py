"""The postal item identifier of UPU standard S10: two letters, eight digits, a check digit, the issuer's country.

Source: UPU S10 as postal operators use it: weights 8 6 4 2 3 5 9 7, 11 minus the sum modulo 11, where 10 becomes 0 and
11 becomes 5; verified against the public numbers RR123456785TR and RR473124829GB.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

import numpy as np
from numpy.typing import NDArray

from libs.customs.countries import is_country

LENGTH = 13
MAX_SERIAL = 99_999_999
_WEIGHTS = (8, 6, 4, 2, 3, 5, 9, 7)
_CHECK_DIGITS = (5, 0, 9, 8, 7, 6, 5, 4, 3, 2, 1)
"""By the weighted sum modulo 11."""


class S10Error(ValueError):
    """The text is no S10 identifier; the message says at which place and why."""


@dataclass(frozen=True, slots=True)
class S10:
    """What an S10 identifier says."""

    service: str
    """Service indicator, two letters. RA..RZ registered, EA..EZ express, CA..CZ parcels, LA..LZ tracked letters."""
    serial: int
    """0..99,999,999; an issuer does not use one again within 12 months."""
    country: str
    """ISO 3166-1 alpha-2 code of the issuing postal operator's country."""


def check_digit(serial: int) -> int:
    """Return the check digit (0..9) of a serial. Raises S10Error where the serial is not in 0..99,999,999."""
    if not 0 <= serial <= MAX_SERIAL:
        raise S10Error(f"serial {serial} does not fit the eight digits of an S10 identifier")
    return _check_digit(f"{serial:08d}")


def _check_digit(digits: str) -> int:
    return _CHECK_DIGITS[sum(map(mul, map(int, digits), _WEIGHTS)) % 11]


def resembles(text: str) -> bool:
    """Return whether a text has the form of an S10 identifier, be its check digit and country right or not."""
    return len(text) == LENGTH and text[:2].isalpha() and text[2:11].isdigit() and text[11:].isalpha()


def is_valid(text: str) -> bool:
    """Return whether the text is an S10 identifier with the right check digit."""
    try:
        parse(text)
    except S10Error:
        return False
    return True


def parse(text: str) -> S10:
    """Read an S10 identifier. Raises S10Error where form, country or check digit is wrong."""
    if len(text) != LENGTH or not text.isascii():
        raise S10Error(f"{text!r} has {len(text)} characters; an S10 identifier has {LENGTH}, such as RR123456785TR")
    service, digits, country = text[:2], text[2:11], text[11:]
    if not (service.isalpha() and service.isupper()):
        raise S10Error(f"{text!r} starts with {service!r}; an S10 identifier starts with two capital letters")
    if not digits.isdigit():
        raise S10Error(f"{text!r} has {digits!r} at places 3 to 11; there an S10 identifier has nine digits")
    if not is_country(country):
        raise S10Error(f"{text!r} ends in {country!r}, which is no ISO 3166-1 country")
    expected = _check_digit(digits[:8])
    if int(digits[8]) != expected:
        raise S10Error(
            f"{text!r} has the check digit {digits[8]}; for {digits[:8]} it is {expected}. A digit is mistyped"
        )
    return S10(service, int(digits[:8]), country)


def make_s10s(services: Sequence[str], serials: NDArray[np.int64], countries: Sequence[str]) -> list[str]:
    """Return an S10 identifier for each row of three columns of equal length (two letters, 0..99,999,999, two letters).

    Raises S10Error where lengths differ, a serial is out of bounds or a code is not two capital letters.
    """
    rows = len(services)
    if len(serials) != rows or len(countries) != rows:
        raise S10Error(f"columns differ in length: {rows} services, {len(serials)} serials, {len(countries)} countries")
    if rows == 0:
        return []
    if serials.min() < 0 or serials.max() > MAX_SERIAL:
        raise S10Error(f"serials run from 0 to {MAX_SERIAL}; got {serials.min()} to {serials.max()}")
    wrong = {code for code in {*services, *countries} if not (len(code) == 2 and code.isascii() and code.isalpha())}
    if wrong:
        raise S10Error(f"services and countries are two letters each; got {sorted(wrong)}")
    digits = serials[:, None] // 10 ** np.arange(7, -1, -1, dtype=np.int64) % 10
    checks = 11 - digits @ np.array(_WEIGHTS, dtype=np.int64) % 11
    checks[checks == 10] = 0
    checks[checks == 11] = 5
    rows_of = zip(services, serials.tolist(), checks.tolist(), countries, strict=True)
    return [f"{service}{serial:08d}{check}{country}" for service, serial, check, country in rows_of]
