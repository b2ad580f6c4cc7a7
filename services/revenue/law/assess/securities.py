"""Securing: which deferred account or guarantee stands for what a consignment owes to customs.

One that was opened stands for what its filers file, as far as its limit goes: first the declarant's deferred account, then the
guarantees that the filing names, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from libs.columns import Strings
from services.revenue.law.assess.assessment import Assessment
from services.revenue.law.batch.arithmetic import FITS, Flags, Int64, every
from services.revenue.law.program.program import COLLECTORS

UNNAMED = "unnamed"
"""Id of the account of somebody whom the filing does not name: what stands on it must be asked for by hand."""
DEFERRED, GUARANTEE = "deferred:", "guarantee:"
_CUSTOMS = COLLECTORS.index("customs")


@dataclass(frozen=True, slots=True)
class Room:
    """What an account with a limit may still secure, by its last known balance."""

    currency: str
    """Of the limit; a debt in another currency is not secured."""
    minor: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A deferred account or guarantee that an officer opened."""

    filers: frozenset[str] = frozenset()
    """Ids of the filers that may draw on it beside its holder."""
    usable: bool = True
    """Whether it is not closed and has room."""
    room: Room | None = None
    """None without limit."""


@dataclass(frozen=True, slots=True)
class Securities:
    """Which deferred accounts and guarantees may be used, and by whom."""

    everyone: bool = False
    """Every declarant has a deferred account without limit; nothing else is read. For trials."""
    opened: Mapping[str, Opened] = field(default_factory=dict)
    """By name. Example: {"deferred:importer-1": Opened(frozenset({"broker-7"}))}."""

    def may_draw(self, filer: str, name: str) -> bool:
        """Return whether an account may secure a filer's charges: the filer is listed, or the account is named for it."""
        account = self.opened.get(name)
        return account is not None and (filer in account.filers or name == DEFERRED + filer)


EVERYONE = Securities(everyone=True)
NOBODY = Securities()
"""No account was opened, so that nobody has credit."""


class AccountNames:
    """Names of accounts, each once, by number; 0 is none."""

    def __init__(self) -> None:
        """Begin with no account."""
        self.names: dict[str, int] = {"": 0}

    def number(self, name: str) -> int:
        """Return the number of an account."""
        return self.names.setdefault(name, len(self.names))

    def numbers(self, ids: Sequence[str], prefix: str) -> Int64:
        """Return the number of each id's account."""
        names = self.names
        return np.array([names.setdefault(prefix + (each or UNNAMED), len(names)) for each in ids], dtype=np.int64)

    def column(self, ids: Strings, prefix: str) -> Int64:
        """Return the number of each row's account."""
        column: Int64 = self.numbers(ids.dictionary, prefix)[ids.indices]
        return column


@dataclass(frozen=True, slots=True)
class Secured:
    """Who stands for what each of n consignments owes to customs."""

    account: Int64
    """Number of the account; 0 for none. (n,)"""
    refused: Flags
    """Whether it owes something, and an account that it names was passed over because its filer may not draw on it. (n,)"""


def secured_by(
    assessment: Assessment, owner: Strings, filer: Strings, securities: Securities, book: AccountNames
) -> Secured:
    """Find what secures each consignment of a batch; `owner` is whose deferred account is asked for, by row."""
    table = assessment.filings.table
    rows = assessment.filings.rows
    if securities.everyone:
        return Secured(book.column(owner, DEFERRED), np.zeros(rows, dtype=np.bool_))
    debts = assessment.by_collector[_CUSTOMS]
    deferred = _account_use(owner, filer, DEFERRED, securities, book)
    # A filing names its declarant and no account: nothing is refused where that one has none.
    refused = deferred.opened & ~deferred.allowed
    offered = _Offered(np.arange(rows), deferred.account)
    guarantees = table.child("guarantees")
    if guarantees.rows:
        owners = table.ragged("guarantees").owners()
        references = guarantees.strings("reference")
        given = _account_use(references, Strings(filer.dictionary, filer.indices[owners]), GUARANTEE, securities, book)
        # Whether another's guarantee was opened is nothing to a stranger.
        refused[owners[~given.allowed & references.present]] = True
        offered = _Offered(np.concatenate([offered.row, owners]), np.concatenate([offered.account, given.account]))
    chosen = offered.first(rows)
    _within_limits(assessment, debts, chosen, offered, securities, book)
    return Secured(chosen, refused & (debts > 0))


@dataclass(frozen=True, slots=True)
class _Offered:
    """What consignments offer as security, each one's in the order in which it is tried."""

    row: Int64
    account: Int64
    """0 where it may not be used."""

    def first(self, rows: int) -> Int64:
        """Return the first account that each row offers."""
        chosen = np.zeros(rows, dtype=np.int64)
        good = np.flatnonzero(self.account)[::-1]
        # Of several values for a row the last one stays.
        chosen[self.row[good]] = self.account[good]
        return chosen

    def references_of(self, rows: Int64) -> dict[int, list[int]]:
        """Return the accounts that some rows offer, by row."""
        wanted = np.zeros(int(self.row.max(initial=0)) + 1, dtype=np.bool_)
        wanted[rows] = True
        good = np.flatnonzero((self.account > 0) & wanted[self.row])
        found: dict[int, list[int]] = {}
        for row, account in zip(self.row[good].tolist(), self.account[good].tolist(), strict=True):
            found.setdefault(row, []).append(account)
        return found


@dataclass(frozen=True, slots=True)
class _AccountUse:
    account: Int64
    """0 where it may not be used now, or not by this filer."""
    opened: Flags
    allowed: Flags


def _account_use(ids: Strings, filers: Strings, prefix: str, securities: Securities, book: AccountNames) -> _AccountUse:
    """Look up accounts by id, each for a filer: once for each pair of an id that has an account and a filer."""
    known = np.array([prefix + each in securities.opened for each in ids.dictionary], dtype=np.bool_)
    opened = known[ids.indices] if len(ids) else np.zeros(0, dtype=np.bool_)
    account, allowed = np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=np.bool_)
    at = np.flatnonzero(opened)
    if len(at):
        width = len(filers.dictionary)
        keys = ids.indices[at].astype(np.int64) * width + filers.indices[at]
        pairs, place = np.unique(keys, return_inverse=True)
        numbers = np.zeros(len(pairs), dtype=np.int64)
        may = np.zeros(len(pairs), dtype=np.bool_)
        for number, pair in enumerate(pairs.tolist()):
            ident, filer = divmod(pair, width)
            name = prefix + ids.dictionary[ident]
            if securities.may_draw(filers.dictionary[filer], name):
                may[number] = True
                numbers[number] = book.number(name) if securities.opened[name].usable else 0
        account[at], allowed[at] = numbers[place], may[place]
    return _AccountUse(account, opened, allowed)


def _within_limits(
    assessment: Assessment, debts: Int64, chosen: Int64, offered: _Offered, securities: Securities, book: AccountNames
) -> None:
    """Secure charges by accounts with a limit, row after row; what one has no room for, the next one that is offered
    secures, or none. Changes `chosen`.
    """
    rooms = {
        number: room
        for name, number in book.names.items()
        if number and (room := securities.opened[name].room) is not None
    }
    if not rooms:
        return
    limited = np.zeros(len(book.names), dtype=np.bool_)
    limited[list(rooms)] = True
    mine = np.flatnonzero(limited[chosen])
    if not len(mine):
        return
    program = assessment.program
    codes = {read.rulebook.currency: place for place, read in enumerate(program.books)}
    jurisdiction = program.regimes.jurisdiction[assessment.regime[mine]]
    currency = np.array([codes[read.rulebook.currency] for read in program.books], dtype=np.int64)[jurisdiction]
    if _all_fit(chosen[mine], debts[mine], currency, codes, rooms, len(limited)):
        return
    left = {number: room.minor for number, room in rooms.items()}
    offers = offered.references_of(mine)
    for row, debt, code in zip(mine.tolist(), debts[mine].tolist(), currency.tolist(), strict=True):
        chosen[row] = 0
        for number in offers[row]:
            room = rooms.get(number)
            if room is None or not debt or (codes.get(room.currency) == code and debt <= left[number]):
                chosen[row] = number
                if room is not None:
                    left[number] -= debt
                break


def _all_fit(
    chosen: Int64, debts: Int64, currency: Int64, codes: Mapping[str, int], rooms: Mapping[int, Room], accounts: int
) -> bool:
    """Return whether each account has room for all requests, so that their order does not matter."""
    minor, code = np.zeros(accounts, dtype=np.int64), np.full(accounts, -1, dtype=np.int64)
    for number, room in rooms.items():
        minor[number], code[number] = room.minor, codes.get(room.currency, -1)
    if int(np.maximum.reduce(debts)) * len(debts) >= FITS:
        return False
    asked = np.zeros(accounts, dtype=np.int64)
    np.add.at(asked, chosen, debts)
    return every(asked <= minor) and every((debts == 0) | (currency == code[chosen]))
