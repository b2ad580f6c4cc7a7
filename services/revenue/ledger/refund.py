"""What the law pays back when goods go back: the entries `refunds` of rulebooks, applied to returned items.

What an entry gives is a right; what is paid back of it is bounded by what was paid or secured for that charge
(`position.settled`), and the rest of it is remitted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Table
from luxor.clearance.v1.clearance_pb2 import ReturnReason
from services.revenue.law.source.rates import parse_share
from services.revenue.law.source.rulebook import PPM, Refund, Rulebook

Int64 = npt.NDArray[np.int64]

REASONS: Final[dict[int, str]] = {
    int(number): name.removeprefix("RETURN_REASON_").lower() for name, number in ReturnReason.items() if number
}
"""Names of luxor.clearance.v1.ReturnReason as rulebooks write them."""
_EPOCH: Final = date(1970, 1, 1)
_MICROS_A_DAY: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Return:
    """How goods went back."""

    reason: int
    """luxor.clearance.v1.ReturnReason."""
    day: int
    """Days since 1970-01-01 UTC."""
    released_day: int | None
    """When they were released; None where they never were, so that no time for going back ran."""


class RefundRules:
    """The entries of all rulebooks."""

    def __init__(self, books: Iterable[Rulebook]) -> None:
        """Take rulebooks; several of one jurisdiction apply in their own periods."""
        self._books: dict[str, list[Rulebook]] = {}
        for book in books:
            if book.refunds:
                self._books.setdefault(book.jurisdiction, []).append(book)
        self._shares: dict[tuple[str, Return], int] = {}

    def share_ppm(self, code: str, returned: Return) -> int:
        """Return the share of a charge that is refunded, parts per million; 0 if no rule names it.

        `code` is jurisdiction and charge, as ChargeColumns.charge: `EU.flat_duty`.
        """
        key = (code, returned)
        found = self._shares.get(key)
        if found is None:
            if len(self._shares) > 100_000:  # a day more makes new keys: an old process must not keep them all
                self._shares.clear()
            found = self._shares[key] = self._share(code, returned)
        return found

    def _share(self, code: str, returned: Return) -> int:
        jurisdiction, _, charge = code.partition(".")
        reason, day = REASONS.get(returned.reason), _EPOCH + timedelta(days=returned.day)
        for book in self._books.get(jurisdiction, ()):
            if not _applies(book.period.start, book.period.to, day):
                continue
            for entry in book.refunds:
                if _applies(entry.start, entry.to, day) and charge in entry.charges and reason in entry.because:
                    return _in_time(entry, returned) * parse_share(entry.share)
        return 0


def _applies(start: date, to: date | None, day: date) -> bool:
    return start <= day and (to is None or day <= to)


def _in_time(entry: Refund, returned: Return) -> bool:
    return (
        not entry.within_days
        or returned.released_day is None
        or returned.day - returned.released_day <= entry.within_days
    )


def entitled(rules: RefundRules, states: Table, rows: Int64, amounts: Int64) -> Int64:
    """Return for each charge of states (ClearanceColumns) the refund by law, minor units, never more than the charge.

    `rows` (m,) has the state of each charge, `amounts` (m,) the charges. A charge on an item is paid back with its
    item; one on the whole consignment only where all of it went back. Parts of a minor unit are not paid back.
    """
    result = np.zeros(len(rows), np.int64)
    returned_at = states.ints("returned_at")
    if not returned_at.valid.any():
        return result
    charges, items = states.child("charges"), states.ragged("items")
    goods = states.child("items")
    back, reasons, since = goods.bools("returned"), goods.ints("return_reason"), goods.ints("returned_at")
    numbers, places = goods.ints("number"), items.offsets
    codes, on_item = charges.strings("charge"), charges.ints("item_number")
    reason, released = states.ints("return_reason").values, states.ints("released_at")
    for row in np.flatnonzero(returned_at.valid).tolist():
        own = slice(int(places[row]), int(places[row + 1]))
        gone = back.values[own]
        named = numbers.values[own] if numbers.valid[own].all() else np.arange(1, len(gone) + 1)
        released_day = int(released.values[row]) // _MICROS_A_DAY if released.valid[row] else None
        last = Return(int(reason[row]), int(returned_at.values[row]) // _MICROS_A_DAY, released_day)
        # What goes back in parts has a reason and a day for each item: a later part takes no right from an earlier one.
        why = np.where(reasons.valid[own], reasons.values[own], last.reason)
        days = np.where(since.valid[own], since.values[own] // _MICROS_A_DAY, last.day)
        went = {
            number: Return(because, day, released_day)
            for number, because, day in zip(named[gone].tolist(), why[gone].tolist(), days[gone].tolist(), strict=True)
        }
        everything = bool(gone.all()) if len(gone) else False
        for place in np.flatnonzero(rows == row).tolist():
            number = int(on_item.values[place]) if on_item.valid[place] else None
            how = (last if everything else None) if number is None else went.get(number)
            if how is not None:
                # Python's numbers, so that nothing wraps.
                result[place] = int(amounts[place]) * rules.share_ppm(codes[place], how) // PPM
    return result
