"""Posts several payments in one transaction: reads what they need at once, applies them in order in memory, and writes the result at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from libs.store.database import Transaction
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.commands.apply_credit import PAID_MAX, unchanged_page
from services.revenue.commands.rebalance import Ledger
from services.revenue.ledger.account import (
    PAYABLE,
    bank,
    is_mrn,
    partition_of_account,
    partition_of_mrn,
    prefix_of,
    unmatched,
)
from services.revenue.ledger.allocation import Booking, Match, credit_postings, credited, entries_of, match, owes_alone
from services.revenue.ledger.line import Lines
from services.revenue.ledger.position import PaidOut, debtors_of, settled
from services.revenue.ledger.rebalance import Target
from services.revenue.store.ledger import accounts as accounts_of
from services.revenue.store.ledger import credit
from services.revenue.store.ledger.balances import balances_at, holdings_of
from services.revenue.store.ledger.credit import Key
from services.revenue.store.ledger.entries import Heads
from services.revenue.store.ledger.freed_credit import BankReference, holders
from services.revenue.store.payments import payments as payments_of
from services.revenue.store.payments import waiting
from services.revenue.store.payments.payments import (
    JURISDICTION_DIFFERS,
    Ident,
    Payment,
    PaymentResult,
    Recorded,
    Row,
    ident_of,
    of_row,
)
from services.revenue.store.payments.waiting import WaitingPayment
from services.revenue.store.positions import positions
from services.revenue.store.positions.stored import Positions

_BORDER: Final = "border"


@dataclass(slots=True)
class PaymentConsignment:
    """A consignment that payments concern, and what is paid by it so far."""

    row: int
    lines: Lines
    currency: str
    destination: str
    jurisdiction: str
    paid: int
    paid_out: PaidOut

    def owed(self) -> int:
        """Return the open amount."""
        _, still = settled(self.lines, np.array([0, len(self.lines)]), np.array([self.paid]), self.paid_out)
        return int(still[0])

    def debtors(self) -> list[int]:
        """Return the debtors of the lines that are paid at once, in the order of the lines."""
        return debtors_of(self.lines)


@dataclass(slots=True)
class CreditAccount:
    """A declarant's account in a currency: what its credit may pay, what is open of it in all, and the credit."""

    payable_by_credit: int
    open: int
    credit: int
    change: int = 0
    """Change of the credit."""


class PaymentBatch:
    """Some payments of one transaction."""

    def __init__(self, ledger: Ledger, tx: Transaction, heads: Heads, by: str, request: str) -> None:
        """Post in a transaction that has locked the heads of the partitions concerned, for a caller's request."""
        self._ledger, self._tx, self._heads, self._by, self._request = ledger, tx, heads, by, request
        self.consignments: dict[str, PaymentConsignment] = {}
        self.owners: dict[BankReference, list[int]] = {}
        self.touched: dict[str, PaymentConsignment] = {}
        self.balances: dict[tuple[str, str], int] = {}
        self.credit_accounts: dict[Key, CreditAccount] = {}
        self.accounts: set[str] = set()
        self.ids: dict[str, int] = {}
        self.names: dict[int, str] = {}
        self.done: dict[Ident, tuple[Payment, PaymentResult]] = {}
        self._answered: set[Ident] = set()
        self.reversed: dict[Ident, str] = {}
        self.waiting: dict[Ident, Payment] = {}
        self.waits_no_more: dict[Ident, str] = {}
        self.bookings: list[Booking] = []
        self._mrns: list[str] = []

    @property
    def credits(self) -> Iterable[Key]:
        """Accounts whose credit changed."""
        return [key for key, credit_account in self.credit_accounts.items() if credit_account.change]

    async def load(self, payments: Sequence[Payment], records: Mapping[Ident, Row], names: set[str]) -> None:
        """Read the data that the payments may concern; all `names` have numbers already."""
        tx = self._tx
        told = {each.reference for each in payments}
        wanted = {each for each in told if is_mrn(each)}
        wanted |= {mrn for before in records.values() for mrn in before["mrns"] if mrn}
        self._mrns = sorted(wanted)
        self._positions = held = await positions.read(tx, self._mrns)
        for row in np.flatnonzero(held.exists).tolist():
            lines = held.lines[held.offsets[row] : held.offsets[row + 1]]
            self.consignments[self._mrns[row]] = PaymentConsignment(
                row,
                lines,
                held.currency[row],
                held.destination[row],
                held.jurisdiction[row],
                int(held.paid[row]),
                held.paid_out.take(np.array([row])),
            )
        self.owners = await holders(tx, _reversed_references(payments, records), pb.ENTRY_KIND_PAID)
        ids = {*np.unique(held.lines["debtor"]).tolist(), *(each for found in self.owners.values() for each in found)}
        self.names = dict(await self._ledger.names.texts(tx, ids))
        accounts = {each for each in told if prefix_of(each) in PAYABLE}
        accounts |= {before["account"] for before in records.values()}
        accounts |= {self.names[each] for found in self.owners.values() for each in found}
        holdings = await holdings_of(tx, sorted(accounts))
        opened = await accounts_of.opened(tx, sorted(accounts))
        self.accounts = {each.name for each in holdings} | opened
        self.ids = await self._ledger.names.ids(tx, names | self.accounts)
        self.names |= {number: name for name, number in self.ids.items()}
        for each in await balances_at(tx, holdings):
            self.balances[each.name, each.currency] = each.minor
        currencies = {each.currency for each in payments}
        own = [
            (each.account, each.currency)
            for each in holdings
            if prefix_of(each.name) == credit.HOLDER and each.currency in currencies
        ]
        # Lock also the accounts that may receive credit from these consignments, all in one order, to prevent deadlocks.
        stands = await credit.lock(tx, {*own, *self._possible_credit_accounts(held)})
        for key, sums in zip(own, await credit.open_totals(tx, own), strict=True):
            self.credit_accounts[key] = CreditAccount(*sums, stands.get(key, 0))

    def _possible_credit_accounts(self, stored: Positions) -> set[Key]:
        """Return the accounts that may receive credit from these consignments."""
        rows = np.repeat(np.arange(len(stored.version)), np.diff(stored.offsets)).tolist()
        pairs = {
            (account, stored.currency[row]) for account, row in zip(stored.lines["debtor"].tolist(), rows, strict=True)
        }
        return {key for key in pairs if prefix_of(self.names[key[0]]) == credit.HOLDER}

    def book(self, payment: Payment, records: Mapping[Ident, Row], earlier: set[Ident]) -> PaymentResult:
        """Post one payment in memory; `earlier` are the ids of the earlier payments of the request."""
        ident = ident_of(payment)
        if ident in self.done:
            return _repeated(payment, *self.done[ident])
        if ident in records:
            row = records[ident]
            first, before = of_row(row)
            # The request was interrupted before: it gets its original answer.
            own = bool(self._request) and (row["request"], row["booked_by"]) == (self._request, self._by)
            first_time = ident not in earlier and ident not in self._answered
            self._answered.add(ident)
            if before.outcome == pb.PAYMENT_OUTCOME_UNMATCHED:
                before = replace(before, reason=self._mismatch(first))
            return before if own and first_time and payment == first else _repeated(payment, first, before)
        result = self._reverse(payment, records) if payment.reverses_id else self._pay(payment)
        if result.outcome != pb.PAYMENT_OUTCOME_REFUSED:
            self.done[ident] = (payment, result)
        return result

    def _pay(self, payment: Payment) -> PaymentResult:
        if prefix_of(payment.reference) == _BORDER:
            return PaymentResult(reason="PAYMENT_REFERENCE_SHARED")
        consignment = self.consignments.get(payment.reference)
        elsewhere = self._mismatch(payment)
        if not elsewhere and consignment and consignment.currency == payment.currency and consignment.debtors():
            if consignment.paid + payment.amount > PAID_MAX:
                return PaymentResult(reason="AMOUNT_OUT_OF_BOUNDS")
            found = match(payment.amount, consignment.owed())
            account = self.names[consignment.debtors()[0]]
            self._credit(payment, payment.reference, consignment, payment.amount)
            return _result(found, account, [(payment.reference, payment.amount)])
        if payment.reference in self.accounts:
            return self._pay_account(payment)
        name = unmatched(payment.jurisdiction)
        home = partition_of_account(name)
        if is_mrn(payment.reference):
            home = partition_of_mrn(payment.reference)
            self.waiting[ident_of(payment)] = payment
        self._on_account(payment, name, payment.amount, home)
        parts = [("", payment.amount)]
        return PaymentResult(pb.PAYMENT_OUTCOME_UNMATCHED, name, over=payment.amount, reason=elsewhere, parts=parts)

    def _mismatch(self, payment: Payment) -> str:
        """Return the reason if another jurisdiction's bank account received a payment for a consignment, else ""."""
        consignment = self.consignments.get(payment.reference)
        return JURISDICTION_DIFFERS if consignment and consignment.jurisdiction != payment.jurisdiction else ""

    def _pay_account(self, payment: Payment) -> PaymentResult:
        name = payment.reference
        credit_account = self._credit_account(name, payment.currency)
        owed = self.balances.get((name, payment.currency), 0)
        found = match(
            payment.amount, owed if credit_account is None else credit_account.payable_by_credit - credit_account.credit
        )
        self._on_account(payment, name, payment.amount, partition_of_account(name))
        if credit_account is not None:
            found = Match(
                outcome_of(found, credit_account),
                found.matched,
                found.over,
                max(0, credit_account.open - credit_account.credit),
            )
        return _result(found, name, [("", payment.amount)])

    def _credit_account(self, name: str, currency: str) -> CreditAccount | None:
        if prefix_of(name) != credit.HOLDER:
            return None
        return self.credit_accounts.setdefault((self.ids[name], currency), CreditAccount(0, 0, 0))

    def _reverse(self, payment: Payment, records: Mapping[Ident, Row]) -> PaymentResult:
        ident = (payment.jurisdiction, payment.reverses_id)
        if ident not in self.done and ident not in records:
            return PaymentResult(reason="PAYMENT_UNKNOWN")
        first, before = self.done[ident] if ident in self.done else of_row(records[ident])
        if ident in self.reversed or (ident in records and records[ident]["reversed_by"]):
            return PaymentResult(reason="PAYMENT_ALREADY_REVERSED")
        if (first.amount, first.currency, first.reverses_id) != (payment.amount, payment.currency, ""):
            return PaymentResult(reason="PAYMENT_DIFFERS")
        self.reversed[ident] = payment.id
        self.waiting.pop(ident, None)
        if is_mrn(first.reference):
            self.waits_no_more[ident] = first.reference
        still = 0
        for mrn, amount in before.parts:
            gone = self.owners.get((mrn, first.id), [])
            still += self._reverse_amount(payment, before.account, mrn, amount, first.reference, gone)
        return PaymentResult(pb.PAYMENT_OUTCOME_REVERSED, before.account, still_owed=still, parts=before.parts)

    def _reverse_amount(
        self, payment: Payment, account: str, mrn: str, amount: int, reference: str, freed_owners: Sequence[int]
    ) -> int:
        """Reverse an amount paid to a consignment, and on the account the part that the consignment no longer has; return the amount owed afterwards.

        Where the debt lost the currency since, it is the credit of an account in `freed_owners`, and of no consignment.
        """
        part, still = 0, 0
        names = [self.names[each] for each in freed_owners]
        if names and account not in names:
            account = names[0]
        if mrn:
            consignment = self.consignments[mrn]
            same = not freed_owners and consignment.currency == payment.currency
            part = min(amount, consignment.paid) if same else 0
            if part:
                self._credit(payment, mrn, consignment, -part)
            still = consignment.owed()
        if amount > part:
            waited = prefix_of(account) == "unmatched" and is_mrn(reference)
            named = reference if waited else mrn if freed_owners else ""
            home = partition_of_mrn(named) if named else partition_of_account(account)
            self._on_account(payment, account, part - amount, home)
            credit_account = self._credit_account(account, payment.currency)
            if not mrn and credit_account is not None:
                still = max(0, credit_account.open - credit_account.credit)
            elif not mrn:
                still = 0 if waited else max(0, self.balances[account, payment.currency])
        return still

    def _on_account(self, payment: Payment, name: str, amount: int, home: int) -> None:
        """Credit an account with an amount that belongs to no consignment; a negative amount reverses it."""
        account = self.ids[name]
        postings = [(self.ids[bank(payment.jurisdiction)], amount), (account, -amount)]
        self.bookings.append(Booking(home, "", 0, payment.id, payment.currency, "", amount < 0, postings))
        key = (name, payment.currency)
        self.balances[key] = self.balances.get(key, 0) - amount
        credit_account = self._credit_account(name, payment.currency)
        if credit_account is not None:
            credit_account.credit += amount
            credit_account.change += amount

    def _credit(self, payment: Payment, mrn: str, consignment: PaymentConsignment, amount: int) -> None:
        """Pay a consignment; a negative amount reverses it."""
        before, owed = credited(consignment.lines, consignment.paid), consignment.owed()
        consignment.paid += amount
        self.touched[mrn] = consignment
        paid = owed - consignment.owed()
        if owes_alone(consignment.lines):
            credit_account = self.credit_accounts.get((consignment.debtors()[0], payment.currency))
            if credit_account is not None:
                credit_account.payable_by_credit, credit_account.open = (
                    credit_account.payable_by_credit - paid,
                    credit_account.open - paid,
                )
        changes = credit_postings(before, credited(consignment.lines, consignment.paid))
        postings = [(self.ids[bank(payment.jurisdiction)], amount), *changes]
        for account, minor in changes:
            key = (self.names[account], payment.currency)
            self.balances[key] = self.balances.get(key, 0) + minor
        self.bookings.append(
            Booking(
                partition_of_mrn(mrn),
                mrn,
                0,
                payment.id,
                payment.currency,
                consignment.destination,
                amount < 0,
                postings,
            )
        )

    async def write(self) -> None:
        """Write the entries, the new positions of the consignments, and the payments."""
        if not self.done:
            return
        more = entries_of(self.bookings)
        if self.touched:
            held = self._positions.take(np.array([each.row for each in self.touched.values()], np.int64))
            paid = np.array([each.paid for each in self.touched.values()], np.int64)
            page = unchanged_page(list(self.touched), held)
            await self._ledger.rebalance(self._tx, self._heads, Target(page, paid, held.paid_out, more), held)
        else:
            await self._ledger.book.post(self._tx, self._heads, more)
        await credit.add(self._tx, {key: each.change for key, each in self.credit_accounts.items() if each.change})
        await self._store()

    async def _store(self) -> None:
        tx = self._tx
        by = Recorded(max(self._heads.booked_at.values()), self._by, self._request)
        await payments_of.add(tx, list(self.done.values()), self.reversed, by)
        await waiting.add(
            tx,
            [WaitingPayment(p.reference, p.jurisdiction, p.id, p.currency, p.amount) for p in self.waiting.values()],
        )
        await waiting.remove(tx, [(mrn, *ident) for ident, mrn in self.waits_no_more.items()])


def _reversed_references(payments: Sequence[Payment], records: Mapping[Ident, Row]) -> set[BankReference]:
    """Return the reversed payments of consignments, by MRN and bank's id."""
    taken = [records.get((each.jurisdiction, each.reverses_id)) for each in payments if each.reverses_id]
    return {(mrn, before["id"]) for before in taken if before is not None for mrn in before["mrns"] if mrn}


def outcome_of(result: Match, credit_account: CreditAccount) -> int:
    """Return the outcome of a payment to a declarant's account: it is underpaid while consignments are open that the credit cannot pay."""
    if result.outcome == pb.PAYMENT_OUTCOME_MATCHED and credit_account.open > credit_account.credit:
        return pb.PAYMENT_OUTCOME_UNDERPAID
    return result.outcome


def _result(result: Match, account: str, parts: list[tuple[str, int]]) -> PaymentResult:
    return PaymentResult(result.outcome, account, result.matched, result.over, result.still_owed, parts=parts)


def _repeated(payment: Payment, first: Payment, before: PaymentResult) -> PaymentResult:
    """Return the answer to a payment that was posted before; nothing is posted again."""
    if payment != first:
        return PaymentResult(reason="PAYMENT_REUSED")
    return PaymentResult(
        pb.PAYMENT_OUTCOME_ALREADY_BOOKED, before.account, before.matched, before.over, before.still_owed
    )
