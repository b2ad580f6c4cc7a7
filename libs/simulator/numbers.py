"""Identifiers that the simulator makes up, in the form and with the check digits of real ones."""

import numpy as np
from numpy.typing import NDArray
from stdnum.au import abn


class AirWaybillError(ValueError):
    """The parts make no master air waybill number; the message says why."""


def air_waybill(prefix: str, serial: int) -> str:
    """Return a master air waybill number: airline prefix (3 digits), serial (7), check digit (serial modulo 7).

    Raises AirWaybillError where a part is out of bounds. Source: IATA Resolution 600a as carriers print it.
    """
    if len(prefix) != 3 or not prefix.isdigit() or not 0 <= serial <= 9_999_999:
        raise AirWaybillError(
            f"a master air waybill has a prefix of 3 digits and a serial of 7; got {prefix!r}, {serial}"
        )
    return f"{prefix}{serial:07d}{serial % 7}"


def gtin13(body: int) -> str:
    """Return a GTIN-13 over 12 digits that start with 2, the range for use inside a company (GS1 General Specifications)."""
    digits = f"2{body:011d}"
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return f"{digits}{-total % 10}"


def uk_vat_number(body: int) -> str:
    """Return `GB` and 9 digits: 7 digits and 2 check digits (weights 8 to 2, subtract 97 until negative)."""
    digits = f"{body:07d}"
    total = sum(int(digit) * weight for digit, weight in zip(digits, range(8, 1, -1), strict=True))
    return f"GB{digits}{-total % 97 or 97:02d}"


def australian_business_number(body: int) -> str:
    """Return the 11 digits of an Australian business number over 9 digits (modulus 89)."""
    digits = f"{body:09d}"
    return f"{abn.calc_check_digits(digits)}{digits}"


def ioss_number(state: str, body: int) -> str:
    """Return `IM`, the numeric code of the member state of identification, 7 digits (the check digit is not published)."""
    return f"IM{state}{body:07d}"


def mix(values: NDArray[np.uint64], salt: int) -> NDArray[np.uint64]:
    """Return well-spread 64-bit numbers, always the same for the same value and salt (the finaliser of SplitMix64)."""
    with np.errstate(over="ignore"):
        mixed = values + np.uint64((salt * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & (1 << 64) - 1)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
