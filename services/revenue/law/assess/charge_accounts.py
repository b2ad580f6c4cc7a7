"""Accounts: on whose account each charge stands, and which account secures what a consignment owes at the border.

Vendors and carriers owe what they collect. What customs collects stands on a deferred account or a guarantee where one may be
used; else on the declarant's own account, or on that of the buyers of the country, who pay by the MRN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from libs.columns import Strings
from services.revenue.law.assess.assessment import Assessment
from services.revenue.law.assess.securities import AccountNames, Securities, secured_by
from services.revenue.law.batch.arithmetic import Flags, Int64, every, some
from services.revenue.law.batch.filings import first_present
from services.revenue.law.program.program import COLLECTORS, DEBTORS, SCHEMES
from services.revenue.law.program.scheme_numbers import registered_number

_VENDOR, _CUSTOMS = COLLECTORS.index("vendor"), COLLECTORS.index("customs")
_CONSIGNEE = DEBTORS.index("consignee")


@dataclass(frozen=True, slots=True)
class NamedAccounts:
    """NamedAccounts by name."""

    charges: Strings
    """Of each charge."""
    rows: Strings
    """Of each consignment the one that secures what the vendor does not collect; absent where nothing is to be secured, or by
    none."""
    refused: Flags
    """Whether a consignment owes something and names an account that its filer may not draw on."""


def accounts_of(assessment: Assessment, declarant: Strings, filer: Strings, securities: Securities) -> NamedAccounts:
    """Find the accounts of a batch's charges; `declarant` and `filer` are ids by row, the filer's as its certificate told it."""
    program, lines, filings = assessment.program, assessment.lines, assessment.filings
    book = AccountNames()
    owner = first_present(declarant, filer)
    secured = secured_by(assessment, owner, filer, securities, book)
    charges = secured.account[lines.row]
    bare = np.flatnonzero(charges == 0)
    if len(bare):
        charges[bare] = book.column(owner, "declarant:")[lines.row[bare]]
        buyers = bare[program.outcomes.debtor[lines.outcome[bare]] == _CONSIGNEE]
        if len(buyers):
            charges[buyers] = book.column(filings.destination, "border:")[lines.row[buyers]]
    collector = program.outcomes.collector[lines.outcome]
    customs = collector == _CUSTOMS
    rows = np.zeros(filings.rows, dtype=np.int64)
    if not every(customs):
        vendor = collector == _VENDOR
        carrier = ~(customs | vendor)
        number = _numbers(assessment)
        _collect(
            assessment,
            np.flatnonzero(vendor),
            number,
            "vendor:",
            filings.table.strings("order_platform"),
            book,
            charges,
        )
        if some(carrier):
            carried = np.flatnonzero(carrier)
            named = first_present(filings.table.strings("carrier_identifier"), filer)
            _collect(assessment, carried, number, "carrier:", named, book, charges)
            # A carrier owes what it collects.
            counted = carried[lines.amount[carried] > 0]
            rows[lines.row[counted]] = charges[counted]
    # What customs collects counts before that.
    rows = np.where(assessment.by_collector[_CUSTOMS] > 0, secured.account, rows)
    names = list(book.names)
    return NamedAccounts(
        Strings(names, charges.astype(np.int32)), Strings(names, rows.astype(np.int32)).compact(), secured.refused
    )


def _collect(
    assessment: Assessment, at: Int64, number: Int64, prefix: str, fallback: Strings, book: AccountNames, charges: Int64
) -> None:
    """Assign charges to the account of the number that they are collected under, else to the account in `fallback`.

    Changes `charges` at the places `at`; `number` is as of `_numbers`.
    """
    registered = number[at] >= 0
    numbered, bare = at[registered], at[~registered]
    if len(numbered):
        written = assessment.filings.reference_number.dictionary
        charges[numbered] = book.numbers([registered_number(each) for each in written], prefix)[number[numbered]]
    if len(bare):
        charges[bare] = book.column(fallback, prefix)[assessment.lines.row[bare]]


def _numbers(assessment: Assessment) -> Int64:
    """Per charge which of the dictionary of reference numbers it is collected under; -1 at the border. Of several numbers of a
    scheme the first that is written as the scheme's numbers are.
    """
    program, lines, filings = assessment.program, assessment.lines, assessment.filings
    told, schemes = len(filings.reference_row), len(SCHEMES)
    if not told:
        return np.full(len(lines.row), -1, dtype=np.int64)
    jurisdiction = program.regimes.jurisdiction[assessment.regime[filings.reference_row]]
    place = jurisdiction * schemes + filings.reference_scheme
    there = set(place.tolist())
    fits = np.zeros(told, dtype=np.bool_)
    for at, forms in enumerate(program.schemes):
        for form in forms:
            if at * schemes + form.scheme in there:
                mine = (jurisdiction == at) & (filings.reference_scheme == form.scheme)
                fits |= mine & filings.reference_number.map(form.fits, np.bool_)
    # From the last to the first: of several values for one place the last one stays.
    kept = np.flatnonzero(fits)[::-1]
    found = np.full(filings.rows * schemes, -1, dtype=np.int64)
    found[filings.reference_row[kept] * schemes + filings.reference_scheme[kept]] = filings.reference_number.indices[
        kept
    ]
    scheme = program.outcomes.scheme[lines.outcome]
    return np.where(scheme > 0, found[lines.row * schemes + scheme], -1)
