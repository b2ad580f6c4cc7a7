"""Accounts: on whose account each charge stands, and which account secures what a consignment owes at the border.

Vendors and carriers owe what they collect. What customs collects stands on a deferred account or a guarantee of the declarant
where one may be used; else on the declarant's own account, or on that of the buyers of the country, who pay by the MRN.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from libs.columns import Strings, Table
from services.revenue.law.arithmetic import Flags, Int64, every, some
from services.revenue.law.assess import Assessment
from services.revenue.law.filings import first_present
from services.revenue.law.program import COLLECTORS, DEBTORS, SCHEMES
from services.revenue.law.schemes import registered_number

UNNAMED = "unnamed"
"""Id of the account of somebody whom the filing does not name: what stands on it must be asked for by hand."""
SECURING = ("deferred:", "guarantee:")
_VENDOR, _CUSTOMS = COLLECTORS.index("vendor"), COLLECTORS.index("customs")
_CONSIGNEE = DEBTORS.index("consignee")


@dataclass(frozen=True, slots=True)
class Room:
    """What an account with a limit may still secure, by its last known balance."""

    currency: str
    """Of the limit; a debt in another currency is not secured."""
    minor: int


@dataclass(frozen=True, slots=True)
class Securities:
    """Which deferred accounts and guarantees may be used."""

    everyone: bool = True
    """Every declarant has a deferred account; then nothing else is looked at."""
    usable: Collection[str] = field(default_factory=frozenset)
    """Names of the accounts that were opened, are not closed and have room. Example: {"deferred:broker-7"}."""
    rooms: Mapping[str, Room] = field(default_factory=dict)
    """Of those of them that have a limit."""


EVERYONE = Securities()


@dataclass(frozen=True, slots=True)
class Accounts:
    """Accounts by name."""

    charges: Strings
    """Of each charge."""
    rows: Strings
    """Of each consignment the one that secures what the vendor does not collect; absent where nothing is to be secured, or by
    none."""


def accounts_of(assessment: Assessment, declarant: Strings, filer: Strings, securities: Securities) -> Accounts:
    """Find the accounts of a batch's charges; `declarant` and `filer` are ids by row."""
    program, lines, filings = assessment.program, assessment.lines, assessment.filings
    book = _Book()
    owner = first_present(declarant, filer)
    collector = program.outcomes.collector[lines.outcome]
    border = _at_border(filings.table, owner, securities, book)
    if securities.rooms:
        _within_limits(assessment, border, owner, securities, book)
    charges = border[lines.row]
    if not securities.everyone:
        buyers = (program.outcomes.debtor[lines.outcome] == _CONSIGNEE) & ~book.are(SECURING)[charges]
        if some(buyers):
            charges = np.where(buyers, book.column(filings.destination, "border:")[lines.row], charges)
    customs = collector == _CUSTOMS
    if not every(customs):
        carriers = book.column(first_present(filings.table.strings("carrier_identifier"), filer), "carrier:")
        platforms = book.column(filings.table.strings("order_platform"), "vendor:")
        vendor = collector == _VENDOR
        named = np.where(vendor, platforms[lines.row], carriers[lines.row])
        number = _numbers(assessment)
        for prefix, mine in (("vendor:", vendor), ("carrier:", ~vendor)):
            column = book.dictionary(filings.reference_number.dictionary, prefix)
            named = np.where(mine & (number >= 0), column[np.maximum(number, 0)], named)
        charges = np.where(customs, charges, named)
    names = list(book.names)
    return Accounts(Strings(names, charges.astype(np.int32)), _rows(assessment, charges, customs, book))


class _Book:
    """Names of accounts, each once."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {"": 0}

    def number(self, name: str) -> int:
        return self.names.setdefault(name, len(self.names))

    def dictionary(self, ids: Sequence[str], prefix: str) -> Int64:
        """The number of each id's account."""
        return np.array([self.number(prefix + (registered_number(each) or UNNAMED)) for each in ids], dtype=np.int64)

    def column(self, ids: Strings, prefix: str) -> Int64:
        """The number of each row's account."""
        known = np.array([self.number(prefix + (each or UNNAMED)) for each in ids.dictionary], dtype=np.int64)
        column: Int64 = known[ids.indices]
        return column

    def are(self, prefixes: tuple[str, ...]) -> Flags:
        """Whether each account is of one of some kinds."""
        return np.array([name.startswith(prefixes) for name in self.names], dtype=np.bool_)


def _at_border(table: Table, owner: Strings, securities: Securities, book: _Book) -> Int64:
    """The account of each row for what customs collects."""
    if securities.everyone:
        return book.column(owner, "deferred:")
    ids = owner.dictionary
    known = np.array(
        [
            book.number(
                f"deferred:{each}" if f"deferred:{each}" in securities.usable else f"declarant:{each or UNNAMED}"
            )
            for each in ids
        ],
        dtype=np.int64,
    )
    accounts: Int64 = known[owner.indices]
    guarantees = table.child("guarantees")
    if guarantees.rows:
        deferred = book.are(("deferred:",))[accounts]
        rows = table.ragged("guarantees").owners()
        # The first that may be used stands last here, and so counts.
        for at in range(guarantees.rows - 1, -1, -1):
            name = f"guarantee:{guarantees.strings('reference')[at]}"
            if name in securities.usable and not deferred[rows[at]]:
                accounts[rows[at]] = book.number(name)
    return accounts


def _within_limits(
    assessment: Assessment, accounts: Int64, owner: Strings, securities: Securities, book: _Book
) -> None:
    """Let accounts with a limit secure what they have room for, row after row; what they have not, the next one that may be used
    secures, or none.
    """
    program, lines = assessment.program, assessment.lines
    limited = np.zeros(len(book.names), dtype=np.bool_)
    limited[[number for name, number in book.names.items() if name in securities.rooms]] = True
    mine = np.flatnonzero(limited[accounts]).tolist()
    if not mine:
        return
    customs = program.outcomes.collector[lines.outcome] == _CUSTOMS
    debts = np.zeros(len(accounts), dtype=np.int64)
    np.add.at(debts, lines.row[customs], lines.amount[customs])
    jurisdictions = program.regimes.jurisdiction[assessment.regime].tolist()
    given = _guarantees(assessment.filings.table)
    left = {name: room.minor for name, room in securities.rooms.items()}
    for row in mine:
        ident, debt = owner.dictionary[owner.indices[row]], int(debts[row])
        currency = program.books[jurisdictions[row]].rulebook.currency if debt else ""
        chosen = f"declarant:{ident or UNNAMED}"
        for name in (f"deferred:{ident}", *given.get(row, ())):
            room = securities.rooms.get(name)
            if name in securities.usable and (
                not room or not debt or (room.currency == currency and debt <= left[name])
            ):
                chosen = name
                left[name] = left.get(name, 0) - debt
                break
        accounts[row] = book.number(chosen)


def _guarantees(table: Table) -> dict[int, list[str]]:
    """The accounts of each row's guarantees, in their order."""
    guarantees = table.child("guarantees")
    found: dict[int, list[str]] = {}
    if guarantees.rows:
        references = guarantees.strings("reference")
        for at, row in enumerate(table.ragged("guarantees").owners().tolist()):
            found.setdefault(row, []).append(f"guarantee:{references[at]}")
    return found


def _numbers(assessment: Assessment) -> Int64:
    """Per charge which of the dictionary of reference numbers it is collected under; -1 at the border. Of several numbers of a
    scheme the first that is written as the scheme's numbers are.
    """
    program, lines, filings = assessment.program, assessment.lines, assessment.filings
    scheme = program.outcomes.scheme[lines.outcome]
    found = np.full(len(lines.row), -1, dtype=np.int64)
    if not len(filings.reference_row):
        return found
    jurisdiction = program.regimes.jurisdiction[assessment.regime[filings.reference_row]]
    fits = np.zeros(len(filings.reference_row), dtype=np.bool_)
    for place, forms in enumerate(program.schemes):
        for form in forms:
            mine = (jurisdiction == place) & (filings.reference_scheme == form.scheme)
            if some(mine):
                fits |= mine & filings.reference_number.map(form.fits, np.bool_)
    kept = np.flatnonzero(fits)
    key = filings.reference_row[kept] * len(SCHEMES) + filings.reference_scheme[kept]
    keys, first = np.unique(key, return_index=True)
    if len(keys):
        wanted = lines.row * len(SCHEMES) + scheme
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        there = (keys[at] == wanted) & (scheme > 0)
        found[there] = filings.reference_number.indices[kept[first[at[there]]]]
    return found


def _rows(assessment: Assessment, charges: Int64, customs: Flags, book: _Book) -> Strings:
    """What secures each row: the account of what customs collects, else the carrier's, who owes what he collects."""
    lines = assessment.lines
    vendor = assessment.program.outcomes.collector[lines.outcome] == _VENDOR
    counted = (lines.amount > 0) & ~vendor
    rows = np.zeros(assessment.filings.rows, dtype=np.int32)
    for mine in (counted & ~customs, counted & customs):
        # What customs collects comes last, and so counts.
        rows[lines.row[mine]] = charges[mine]
    stands = book.are((*SECURING, "carrier:"))[rows]
    return Strings(list(book.names), np.where(stands, rows, 0).astype(np.int32)).compact()
