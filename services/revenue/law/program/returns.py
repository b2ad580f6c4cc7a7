"""Returned goods: what the MRN under which goods went first proves of their return, and whether they are back within a term.

An MRN states its year and country; one that Luxor gave states the day too. Luxor gives MRNs to imports alone, and numbers of other
administrations may look like its own, so that the day is read only in MRNs of imports. The export is known to lie between two days;
a term has to hold for both of them, because the claimant has to prove it.
"""

from collections.abc import Mapping
from datetime import date
from enum import IntEnum

import numpy as np

from libs.customs.identifiers import mrn
from libs.customs.time import MICROS_PER_DAY, day_of_date
from services.revenue.law.batch.arithmetic import Flags, Int64
from services.revenue.law.batch.filings import Filings
from services.revenue.law.source.rulebook import Returned

EXPORT_LETTERS, IMPORT_LETTERS = ("A", "B"), ("R", "S")
"""Letters at place 17 of an MRN: exports (A, B with an exit summary), imports (R, S with an entry summary). Source: Implementing
Regulation (EU) 2015/2447, annex B, data element MRN."""


class Proof(IntEnum):
    """What a first MRN proves; a greater number is nearer to a relief."""

    NONE = 0
    """There is none, or it does not prove that the goods left."""
    TERM_ENDED = 1
    TERM_UNKNOWN = 2
    """The term holds or not, by the day of the export, which is not known."""
    WITHIN = 3


class FirstMrns:
    """The first MRNs of the returns of a batch: k rows of n."""

    def __init__(self, filings: Filings, returns: Int64, countries: Mapping[str, int]) -> None:
        """Take the batch, its rows that are returns, and the rulebook of each country."""
        self._rows, self._returns = filings.rows, returns
        written, table = filings.table.strings("returned_mrn").take(returns), filings.table
        read = [_read(text) for text in written.dictionary]
        letter, country, self._first, self._last = (
            np.array(column)[written.indices] for column in zip(*read, strict=True)
        )
        home = filings.destination.take(returns).map(lambda code: countries.get(code, -1), np.int64)
        of_home = written.map(lambda text: countries.get(text[2:4], -2), np.int64) == home
        dispatch = table.strings("dispatch_country").take(returns).map(str, "U2")
        self._exports: Flags = np.isin(letter, EXPORT_LETTERS) & of_home
        self._arrivals: Flags = np.isin(letter, IMPORT_LETTERS) & ~of_home & (country == dispatch)
        accepted = filings.acceptance
        self._day: Int64 = np.where(accepted.valid, accepted.values // MICROS_PER_DAY, 0)[returns]
        self._proofs: dict[Returned, Int64] = {}

    def proof(self, returned: Returned) -> Int64:
        """Return what each row's first MRN proves, a number of `Proof`; (n,)."""
        found = self._proofs.get(returned)
        if found is None:
            found = self._proofs[returned] = np.full(self._rows, int(Proof.NONE))
            found[self._returns] = self._of_returns(returned)
        return found

    def _of_returns(self, returned: Returned) -> Int64:
        proven = np.zeros(len(self._returns), dtype=np.bool_)
        if "export" in returned.proof:
            proven |= self._exports
        if "arrival" in returned.proof:
            proven |= self._arrivals
        # No declaration proves anything that was accepted after the return.
        proven &= self._first <= self._day
        transit = np.where(self._arrivals, returned.transit_days, 0)
        first, last = self._first - transit, self._last + transit
        if not returned.within_years:
            return np.where(proven, int(Proof.WITHIN), int(Proof.NONE))
        certain = self._day <= years_after(first, returned.within_years)
        possible = self._day <= years_after(last, returned.within_years)
        state = np.where(possible, int(Proof.TERM_UNKNOWN), int(Proof.TERM_ENDED))
        return np.where(proven, np.where(certain, int(Proof.WITHIN), state), int(Proof.NONE))


def years_after(days: Int64, years: int) -> Int64:
    """Return the last day of a term of years from each day: the same date, or the last day of its month where it does not exist.

    The day itself does not count. Source: Regulation (EEC, Euratom) No 1182/71, article 3(1) and (2)(c).
    """
    start = days.astype("datetime64[D]")
    month = start.astype("datetime64[M]")
    target = month + 12 * years
    length = (target + 1).astype("datetime64[D]") - target.astype("datetime64[D]")
    place = np.minimum(start - month.astype("datetime64[D]"), length - np.timedelta64(1, "D"))
    ends: Int64 = (target.astype("datetime64[D]") + place).astype(np.int64)
    return ends


def _read(text: str) -> tuple[str, str, int, int]:
    """Return the letter and the country of an MRN, with the first and the last day on which it may have been given; no letter for
    what is no MRN.
    """
    if not mrn.is_valid(text):
        return "", "", 0, 0
    if text[16] in IMPORT_LETTERS:
        try:
            day = mrn.parse(text).day
        except mrn.MrnError:
            pass
        else:
            return text[16], text[2:4], day, day
    year = 2000 + int(text[:2])
    return text[16], text[2:4], day_of_date(date(year, 1, 1)), day_of_date(date(year, 12, 31))
