"""Payments: booked once by the bank's id, matched by their reference, and taken back where the bank takes them back.

A payment names an MRN, or an account. By an MRN it pays what is open of that consignment. By the account of a declarant
who pays at once it pays that account's open consignments, oldest first, but for those that somebody else owes a part of.
By any other account it is booked on that account. What names nothing known is booked as unmatched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np

from libs.customs import mrn as mrns_of
from libs.customs.partitions import PARTITIONS
from libs.store.database import Transaction
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger.accounts import (
    PAYABLE,
    bank,
    partition_of_account,
    partition_of_mrn,
    prefix_of,
    unmatched,
)
from services.revenue.ledger.charged import Page
from services.revenue.ledger.entries import Entries
from services.revenue.ledger.lines import OPEN, Lines
from services.revenue.ledger.matching import Match, credited, match, moved, oldest_first
from services.revenue.ledger.position import settled
from services.revenue.store import positions
from services.revenue.store.balances import Holding, balances_at
from services.revenue.store.entries import Heads
from services.revenue.store.ledger import PAID_MAX, Ledger

PAYMENTS_MAX: Final = 1_000
OPEN_ITEMS_MAX: Final = 1_000
"""Consignments that one payment of a declarant's account settles; what is left of it stays to the account's credit."""
_SHARED: Final = "declarant"
_Key: TypeAlias = tuple[str, str]
_Row: TypeAlias = dict[str, Any]
_KNOWN: Final = """
select kept.* from unnest($1::text[], $2::text[]) as given(jurisdiction, id)
join ledger_payment kept on kept.jurisdiction = given.jurisdiction and kept.id = given.id
"""
_OPEN: Final = """
select mrn from ledger_open where account = $1 and currency = $2 order by day, mrn limit $3
"""
_OWN: Final = "select name, currency, account from ledger_holding where name = any($1::text[])"
_OPENED: Final = "select name from ledger_account where name = any($1::text[])"
_KEEP: Final = """
insert into ledger_payment (jurisdiction, id, reference, currency, amount, account, outcome, matched, over, still_owed,
    booked_at, booked_by, takes_back, taken_back_by, mrns, amounts)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
"""
_TAKEN: Final = """
update ledger_payment kept set taken_back_by = given.by
from unnest($1::text[], $2::text[], $3::text[]) as given(jurisdiction, id, by)
where kept.jurisdiction = given.jurisdiction and kept.id = given.id
"""


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that came in, or that was taken back; amounts in minor units, more than nothing."""

    id: str
    reference: str
    jurisdiction: str
    currency: str
    amount: int
    takes_back: str = ""


@dataclass(slots=True)
class Result:
    """What became of a payment."""

    outcome: int = pb.PAYMENT_OUTCOME_REFUSED
    account: str = ""
    matched: int = 0
    over: int = 0
    still_owed: int = 0
    reason: str = ""
    """Why it was refused: PAYMENT_REUSED (the id was booked with other content), PAYMENT_UNKNOWN, PAYMENT_TAKEN_BACK (already), PAYMENT_DIFFERS
    (what is taken back has another amount or currency), AMOUNT_OUT_OF_BOUNDS."""
    parts: list[tuple[str, int]] = field(default_factory=list)
    """Which consignments got how much; an empty MRN for what is on the account alone."""


class Payments:
    """Books payments."""

    def __init__(self, ledger: Ledger) -> None:
        """Book in a ledger."""
        self._ledger = ledger

    async def record(self, tx: Transaction, payments: Sequence[Payment], by: str) -> list[Result]:
        """Book payments in their order, in the caller's transaction; gives what became of each.

        Whoever calls has checked that texts are within their limits, and that amounts are 1 to 10^16. At most
        PAYMENTS_MAX. The heads of the partitions concerned are taken, of all where an account of a declarant is named.
        """
        if len(payments) > PAYMENTS_MAX:
            raise ValueError(f"{len(payments)} payments in one transaction; at most {PAYMENTS_MAX} are booked")
        # A payment that is taken back is looked up twice: what it paid tells which heads to take.
        heads = await self._ledger.book.lock(tx, _partitions(payments, await self._known(tx, payments)))
        known = await self._known(tx, payments)
        work = _Work(self._ledger, tx, heads, by)
        await work.load(payments, known)
        results = [work.book(payment, known) for payment in payments]
        await work.write()
        return results

    async def _known(self, tx: Transaction, payments: Sequence[Payment]) -> dict[_Key, _Row]:
        keys = {(each.jurisdiction, each.id) for each in payments}
        keys |= {(each.jurisdiction, each.takes_back) for each in payments if each.takes_back}
        columns = [list(column) for column in zip(*sorted(keys), strict=True)] or [[], []]
        return {(row["jurisdiction"], row["id"]): dict(row) for row in await tx.raw.fetch(_KNOWN, *columns)}


def _partitions(payments: Sequence[Payment], known: Mapping[_Key, _Row]) -> set[int]:
    found: set[int] = set()
    for payment in payments:
        if prefix_of(payment.reference) == _SHARED:
            return set(range(PARTITIONS))
        found |= {_home(payment.reference), partition_of_account(unmatched(payment.jurisdiction))}
        before = known.get((payment.jurisdiction, payment.takes_back))
        if before:
            found |= {_home(mrn or before["account"]) for mrn in before["mrns"]}
    # The earlier payment of this very request, or one that another transaction books just now: all, to be sure.
    if any(each.takes_back and (each.jurisdiction, each.takes_back) not in known for each in payments):
        return set(range(PARTITIONS))
    return found


def _home(reference: str) -> int:
    return partition_of_account(reference) if ":" in reference else partition_of_mrn(reference)


@dataclass(slots=True)
class _Consignment:
    """A consignment that payments concern, and what is paid by it so far."""

    row: int
    lines: Lines
    currency: str
    paid: int

    def owed(self) -> int:
        """What is open of it with what is paid so far."""
        _, still = settled(self.lines, np.array([0, len(self.lines)]), np.array([self.paid]))
        return int(still[0])

    def owes_alone(self, account: int) -> bool:
        """Whether nobody else owes a part of what is paid at once."""
        own = self.lines[self.lines["how"] == OPEN]
        return bool(len(own)) and bool((own["debtor"] == account).all())


class _Work:
    """One request's payments: read at once, booked in their order in memory, written at once."""

    def __init__(self, ledger: Ledger, tx: Transaction, heads: Heads, by: str) -> None:
        self._ledger, self._tx, self._heads, self._by = ledger, tx, heads, by
        self._consignments: dict[str, _Consignment] = {}
        self._touched: dict[str, _Consignment] = {}
        self._items: dict[tuple[str, str], list[str]] = {}
        self._balances: dict[tuple[str, str], int] = {}
        self._accounts: set[str] = set()
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._done: dict[tuple[str, str], tuple[Payment, Result]] = {}
        self._taken: dict[tuple[str, str], str] = {}
        self._entries: list[tuple[Payment, str, int, list[tuple[int, int]]]] = []
        self._mrns: list[str] = []

    async def load(self, payments: Sequence[Payment], known: Mapping[_Key, _Row]) -> None:
        """Read what the payments may concern."""
        tx, names = self._tx, self._ledger.names
        told = {each.reference for each in payments}
        wanted = {each for each in told if ":" not in each and mrns_of.is_valid(each)}
        wanted |= {mrn for before in known.values() for mrn in before["mrns"] if mrn}
        accounts = {each for each in told if prefix_of(each) in PAYABLE}
        accounts |= {before["account"] for before in known.values()}
        holdings = [Holding(**dict(row)) for row in await tx.raw.fetch(_OWN, sorted(accounts))]
        opened = {row["name"] for row in await tx.raw.fetch(_OPENED, sorted(accounts))}
        self._accounts = {each.name for each in holdings} | opened
        needed = {name for each in payments for name in (bank(each.jurisdiction), unmatched(each.jurisdiction))}
        self._ids = await names.ids(needed | self._accounts)
        for each in await balances_at(tx, holdings):
            self._balances[each.name, each.currency] = each.minor
        for holding in holdings:
            if prefix_of(holding.name) == _SHARED and holding.name in told:
                rows = await tx.raw.fetch(_OPEN, holding.account, holding.currency, OPEN_ITEMS_MAX)
                self._items[holding.name, holding.currency] = [row["mrn"] for row in rows]
                wanted |= {row["mrn"] for row in rows}
        self._mrns = sorted(wanted)
        self._held = held = await positions.read(tx, self._mrns)
        for row in np.flatnonzero(held.known).tolist():
            lines = held.lines[held.offsets[row] : held.offsets[row + 1]]
            self._consignments[self._mrns[row]] = _Consignment(row, lines, held.currency[row], int(held.paid[row]))
        self._names = await names.of(tx, np.unique(held.lines["debtor"]).tolist())

    def book(self, payment: Payment, known: Mapping[_Key, _Row]) -> Result:
        """Book one payment in memory."""
        key = (payment.jurisdiction, payment.id)
        if key in self._done:
            return _again(payment, *self._done[key])
        if key in known:
            return _again(payment, *_of_row(known[key]))
        result = self._take_back(payment, known) if payment.takes_back else self._pay(payment)
        if result.outcome != pb.PAYMENT_OUTCOME_REFUSED:
            self._done[key] = (payment, result)
        return result

    def _pay(self, payment: Payment) -> Result:
        consignment = self._consignments.get(payment.reference)
        if consignment is not None and consignment.currency == payment.currency:
            own = consignment.lines[consignment.lines["how"] == OPEN]
            if len(own):
                if consignment.paid + payment.amount > PAID_MAX:
                    return Result(reason="AMOUNT_OUT_OF_BOUNDS")
                found = match(payment.amount, consignment.owed())
                self._credit(payment, payment.reference, consignment, payment.amount)
                return _result(found, self._names[int(own["debtor"][0])], [(payment.reference, payment.amount)])
        if payment.reference in self._accounts:
            return self._pay_account(payment)
        name = unmatched(payment.jurisdiction)
        self._entry(payment, "", payment.amount, [(self._ids[name], -payment.amount)])
        return Result(pb.PAYMENT_OUTCOME_UNMATCHED, name, over=payment.amount, parts=[("", payment.amount)])

    def _pay_account(self, payment: Payment) -> Result:
        key = (payment.reference, payment.currency)
        owed, account = self._balances.get(key, 0), self._ids[payment.reference]
        items = [(mrn, self._consignments[mrn]) for mrn in self._items.get(key, ())]
        items = [(mrn, consignment) for mrn, consignment in items if consignment.owes_alone(account)]
        shares = oldest_first(payment.amount, [consignment.owed() for _, consignment in items])
        parts = [(mrn, share) for (mrn, _), share in zip(items, shares, strict=True) if share]
        for mrn, share in parts:
            self._credit(payment, mrn, self._consignments[mrn], share)
        left = payment.amount - sum(shares)
        if left:
            self._entry(payment, "", left, [(account, -left)])
            parts.append(("", left))
        self._balances[key] = owed - payment.amount
        return _result(match(payment.amount, owed), payment.reference, parts)

    def _take_back(self, payment: Payment, known: Mapping[_Key, _Row]) -> Result:
        key = (payment.jurisdiction, payment.takes_back)
        if key not in self._done and key not in known:
            return Result(reason="PAYMENT_UNKNOWN")
        first, before = self._done[key] if key in self._done else _of_row(known[key])
        if key in self._taken or (key in known and known[key]["taken_back_by"]):
            return Result(reason="PAYMENT_TAKEN_BACK")
        if (first.amount, first.currency, first.takes_back) != (payment.amount, payment.currency, ""):
            return Result(reason="PAYMENT_DIFFERS")
        self._taken[key] = payment.id
        for mrn, amount in before.parts:
            if mrn:
                self._credit(payment, mrn, self._consignments[mrn], -amount)
            else:
                self._entry(payment, "", -amount, [(self._ids[before.account], amount)])
        balance = (before.account, payment.currency)
        self._balances[balance] = self._balances.get(balance, 0) + payment.amount
        still = sum(self._consignments[mrn].owed() for mrn, _ in before.parts if mrn)
        return Result(pb.PAYMENT_OUTCOME_TAKEN_BACK, before.account, still_owed=still, parts=before.parts)

    def _credit(self, payment: Payment, mrn: str, consignment: _Consignment, amount: int) -> None:
        """Pay a consignment, or take a payment back from it."""
        before = credited(consignment.lines, consignment.paid)
        consignment.paid += amount
        self._touched[mrn] = consignment
        self._entry(payment, mrn, amount, moved(before, credited(consignment.lines, consignment.paid)))

    def _entry(self, payment: Payment, mrn: str, amount: int, credits_: list[tuple[int, int]]) -> None:
        self._entries.append((payment, mrn, amount, credits_))

    async def write(self) -> None:
        """Write what was booked: entries, what follows for the consignments, and the payments."""
        if not self._done:
            return
        more = self._columns()
        if self._touched:
            rows = np.array([each.row for each in self._touched.values()], np.int64)
            held = self._held.take(rows)
            mrns = list(self._touched)
            page = Page(
                mrns,
                np.array([partition_of_mrn(mrn) for mrn in mrns], np.int64),
                held.version,
                held.filing_version,
                held.day,
                held.destination,
                held.currency,
                held.jurisdiction,
                held.basis,
                held.offsets,
                held.lines,
            )
            paid = np.array([each.paid for each in self._touched.values()], np.int64)
            await self._ledger.bring(self._tx, self._heads, page, held, paid, more)
        else:
            await self._ledger.book.post(self._tx, self._heads, more)
        await self._keep()

    def _columns(self) -> Entries:
        entries = self._entries
        backs = np.array([amount < 0 for _, _, amount, _ in entries], np.bool_)
        postings = [
            ((self._ids[bank(payment.jurisdiction)], amount), *credits_) for payment, _, amount, credits_ in entries
        ]
        homes = [
            partition_of_mrn(mrn) if mrn else partition_of_account(self._home(payment))
            for payment, mrn, _, _ in entries
        ]
        flat = [posting for each in postings for posting in each]
        where = [self._consignments[mrn].row if mrn else -1 for _, mrn, _, _ in entries]
        return Entries(
            np.array(homes, np.int64),
            np.where(backs, pb.ENTRY_KIND_REVERSED, pb.ENTRY_KIND_PAID).astype(np.int64),
            np.where(backs, pb.ENTRY_KIND_PAID, 0).astype(np.int64),
            [mrn for _, mrn, _, _ in entries],
            np.zeros(len(entries), np.int64),
            [payment.id for payment, _, _, _ in entries],
            [payment.currency for payment, _, _, _ in entries],
            [self._held.destination[row] if row >= 0 else "" for row in where],
            np.concatenate([np.zeros(1, np.int64), np.cumsum([len(each) for each in postings])]).astype(np.int64),
            np.array([account for account, _ in flat], np.int64),
            np.zeros(len(flat), np.int64),
            np.array([amount for _, amount in flat], np.int64),
        )

    def _home(self, payment: Payment) -> str:
        """The account in whose partition an entry without a consignment is booked."""
        return self._done[payment.jurisdiction, payment.id][1].account

    async def _keep(self) -> None:
        done = list(self._done.values())
        booked_at = max(self._heads.booked_at.values())
        await self._tx.raw.executemany(
            _KEEP,
            [
                (
                    payment.jurisdiction, payment.id, payment.reference, payment.currency, payment.amount, result.account,
                    result.outcome, result.matched, result.over, result.still_owed, booked_at, self._by,
                    payment.takes_back, self._taken.get((payment.jurisdiction, payment.id), ""),
                    [mrn for mrn, _ in result.parts], [amount for _, amount in result.parts],
                )
                for payment, result in done
            ],
        )  # fmt: skip
        if self._taken:
            keys = list(self._taken)
            await self._tx.raw.execute(
                _TAKEN, [key[0] for key in keys], [key[1] for key in keys], list(self._taken.values())
            )


def _result(found: Match, account: str, parts: list[tuple[str, int]]) -> Result:
    return Result(found.outcome, account, found.matched, found.over, found.still_owed, parts=parts)


def _of_row(row: _Row) -> tuple[Payment, Result]:
    payment = Payment(
        row["id"], row["reference"], row["jurisdiction"], row["currency"], row["amount"], row["takes_back"]
    )
    parts = list(zip(row["mrns"], row["amounts"], strict=True))
    return payment, Result(row["outcome"], row["account"], row["matched"], row["over"], row["still_owed"], parts=parts)


def _again(payment: Payment, first: Payment, before: Result) -> Result:
    """What is answered for a payment that was booked before: nothing is booked again."""
    if payment != first:
        return Result(reason="PAYMENT_REUSED")
    return Result(pb.PAYMENT_OUTCOME_KNOWN, before.account, before.matched, before.over, before.still_owed)
