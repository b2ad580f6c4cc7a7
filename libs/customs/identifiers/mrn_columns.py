"""MRNs of whole batches. Apart from `mrn`, so that a command that reads one MRN starts without numpy."""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from libs.customs.identifiers.mrn import DIGITS, EPOCH, LENGTH, MAX_SEQUENCE, VALUES, Procedure, is_country, parse
from libs.customs.partitions import PARTITIONS

_VALUES = np.full(256, -1, dtype=np.int64)
_VALUES[[ord(character) for character in VALUES]] = list(VALUES.values())
_WEIGHTS = np.left_shift(np.int64(1), np.arange(LENGTH - 1, dtype=np.int64))
_BASE36 = np.frombuffer(DIGITS.encode(), dtype=np.uint8)
# 36 to the power p for the sequence.
_POWERS36 = 36 ** np.arange(6, -1, -1, dtype=np.int64)
_VALUES36 = np.full(256, -1, dtype=np.int64)
_VALUES36[_BASE36] = np.arange(36)
_VALUES10 = np.where(_VALUES36 < 10, _VALUES36, -1)
_PROCEDURES = [ord(each) for each in Procedure]
_FIRST_DAYS = np.asarray([(date(year, 1, 1) - EPOCH).days for year in range(2000, 2100)], dtype=np.int64)


def make_mrns(
    countries: Sequence[str],
    partitions: Sequence[int] | NDArray[np.int64],
    day: int,
    first_serial: int | NDArray[np.int64],
    procedure: Procedure = Procedure.IMPORT,
    exported: NDArray[np.bool_] | None = None,
) -> list[str]:
    """Return an MRN for each row of a batch.

    `countries` (n two-letter codes) and `partitions` (n numbers 0..63) are parallel; `day` is the day of acceptance as
    days since 1970-01-01. `first_serial` is the first of n consecutive sequence numbers, or the n numbers themselves.
    The rows that `exported` marks (n) have the procedure of exports instead of `procedure`.
    Raises ValueError where lengths differ or a value is out of bounds.
    """
    rows = len(countries)
    parts = np.asarray(partitions, dtype=np.int64)
    accepted = EPOCH + timedelta(days=day)
    if np.ndim(first_serial):
        serials = np.asarray(first_serial, dtype=np.int64)
    else:
        serials = np.arange(rows, dtype=np.int64) + np.int64(first_serial)
    _check_columns(countries, parts, serials, accepted)
    if rows == 0:
        return []
    text = np.empty((rows, LENGTH), dtype=np.uint8)
    head = f"{accepted.year % 100:02d}".encode()
    text[:, 0], text[:, 1] = head
    text[:, 2:4] = np.frombuffer("".join(countries).encode("ascii"), dtype=np.uint8).reshape(rows, 2)
    text[:, 4] = parts // 10 + 48
    text[:, 5] = parts % 10 + 48
    text[:, 6:9] = np.frombuffer(f"{accepted.timetuple().tm_yday:03d}".encode(), dtype=np.uint8)
    text[:, 9:16] = _BASE36[serials[:, None] // _POWERS36 % 36]
    text[:, 16] = ord(procedure.value)
    if exported is not None:
        text[exported, 16] = ord(Procedure.EXPORT.value)
    # At most 38 * (2^17 - 1), so int64 is far from its end.
    text[:, 17] = (_VALUES[text[:, :17]] @ _WEIGHTS) % 11 % 10 + 48
    joined = text.tobytes().decode("ascii")
    return [joined[start : start + LENGTH] for start in range(0, rows * LENGTH, LENGTH)]


def days_of_mrns(mrns: Sequence[str]) -> list[int]:
    """Return the day of acceptance in each MRN, days since 1970-01-01; raise MrnError for one that is not of Luxor."""
    joined = "".join(mrns)
    if not joined.isascii() or any(len(each) != LENGTH for each in mrns):
        return [parse(each).day for each in mrns]
    text = np.frombuffer(joined.encode("ascii"), np.uint8).reshape(len(mrns), LENGTH)
    values = _VALUES[text]
    is_digit, is_letter = (values >= 0) & (values < 10), values >= 10
    good = is_digit[:, [0, 1, 4, 5, 6, 7, 8, 17]].all(1) & is_letter[:, [2, 3]].all(1) & (values >= 0).all(1)
    good &= np.isin(text[:, 16], _PROCEDURES)
    good &= (values[:, :17] @ _WEIGHTS) % 11 % 10 == values[:, 17]
    partitions, days = values[:, 4] * 10 + values[:, 5], values[:, 6] * 100 + values[:, 7] * 10 + values[:, 8]
    # The last day of a leap year is left to the slow way, as all that is wrong.
    good &= (partitions < PARTITIONS) & (days >= 1) & (days <= 365)
    years = np.where(good, values[:, 0] * 10 + values[:, 1], 0)
    found: list[int] = (_FIRST_DAYS[years] + days - 1).tolist()
    for row in np.flatnonzero(~good).tolist():
        found[row] = parse(mrns[row]).day
    return found


def serials_of_mrns(mrns: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return of each MRN a number of its day, 366 * year + day of year, and its serial; -1 and -1 for one of another form.

    The numbers follow the calendar. Check digit, country and partition are not looked at: two MRNs may have the same numbers.
    """
    days, serials = np.full(len(mrns), -1, np.int64), np.full(len(mrns), -1, np.int64)
    text = "".join(mrns)
    if text.isascii() and set(map(len, mrns)) == {LENGTH}:
        rows = np.arange(len(mrns))
    else:
        rows = np.array([row for row, mrn in enumerate(mrns) if len(mrn) == LENGTH and mrn.isascii()], np.int64)
        text = "".join([mrns[row] for row in rows.tolist()])
    # A row for each place, so that each step handles a place of all MRNs.
    places = np.frombuffer(text.encode("ascii"), np.uint8).reshape(len(rows), LENGTH).T
    dates, numbers = _VALUES10[places[[0, 1, 6, 7, 8]]], _VALUES36[places[9:16]]
    good = np.flatnonzero((dates.min(0, initial=0) >= 0) & (numbers.min(0, initial=0) >= 0))
    days[rows[good]] = sum(dates[place][good] * weight for place, weight in enumerate((3_660, 366, 100, 10, 1)))
    serials[rows[good]] = sum(numbers[place][good] * weight for place, weight in enumerate(_POWERS36.tolist()))
    return days, serials


def _check_columns(
    countries: Sequence[str], partitions: NDArray[np.int64], serials: NDArray[np.int64], accepted: date
) -> None:
    rows = len(countries)
    if len(partitions) != rows or len(serials) != rows:
        raise ValueError(
            f"columns differ in length: {rows} countries, {len(partitions)} partitions, {len(serials)} serials"
        )
    if not 2000 <= accepted.year <= 2099:
        raise ValueError(f"{accepted} is outside 2000 to 2099, the years that an MRN can state with two digits")
    wrong = {country for country in set(countries) if not is_country(country)}
    if wrong:
        raise ValueError(f"no two-letter country codes: {sorted(wrong)}")
    if rows and (partitions.min() < 0 or partitions.max() >= PARTITIONS):
        raise ValueError(f"partitions run from 0 to {PARTITIONS - 1}; got {partitions.min()} to {partitions.max()}")
    if rows and (serials.min() < 0 or serials.max() > MAX_SEQUENCE):
        raise ValueError(f"sequence numbers run from 0 to {MAX_SEQUENCE}; got {serials.min()} to {serials.max()}")
