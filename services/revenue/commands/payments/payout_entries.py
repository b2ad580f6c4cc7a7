"""One payout at work: what it concerns is read under the heads of its partitions, and it is booked whole or refused whole."""

from __future__ import annotations

from typing import Final

import numpy as np

from libs.store.database import Transaction
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.commands.apply_credit import match_waiting, unchanged_page
from services.revenue.commands.rebalance import Ledger
from services.revenue.ledger.account import (
    AT_ONCE,
    bank,
    is_mrn,
    partition_of_account,
    partition_of_mrn,
    prefix_of,
    treasury_of,
    unmatched,
)
from services.revenue.ledger.allocation import Booking, entries_of, payable
from services.revenue.ledger.position import PaidOut, debtors_of, payee_of
from services.revenue.ledger.rebalance import Target
from services.revenue.store.ledger import credit
from services.revenue.store.ledger.balances import Holding, balances_at
from services.revenue.store.ledger.credit import Key
from services.revenue.store.ledger.entries import Heads
from services.revenue.store.ledger.freed_credit import holders
from services.revenue.store.ledger.treasury_cash import Cash
from services.revenue.store.payments import payments as payments_of
from services.revenue.store.payments import payouts as payouts_of
from services.revenue.store.payments import waiting
from services.revenue.store.payments.payments import Recorded, Row
from services.revenue.store.payments.payouts import Payout, PayoutResult, RelatedRecords
from services.revenue.store.payments.waiting import WaitingPayment
from services.revenue.store.positions import positions
from services.revenue.store.positions.stored import Positions

_BORDER: Final = AT_ONCE[1]


class PayoutEntries:
    """A payout of one transaction."""

    def __init__(
        self, ledger: Ledger, tx: Transaction, heads: Heads, by: str, request: str, cash: Cash | None = None
    ) -> None:
        """Post in a transaction that has locked the heads of the partitions concerned, for a caller's request. `cash` is what was received
        for treasuries in the payout's currency.
        """
        self._cash = cash
        self._ledger, self._tx, self._heads, self._by, self._request = ledger, tx, heads, by, request
        self._ids: dict[str, int] = {}
        self.credits: list[Key] = []
        """Accounts to whose credit money came back."""

    async def book(self, payout: Payout, related: RelatedRecords, account: str) -> PayoutResult:
        """Post a new payout; `account` is the account that it concerns, and may have no number."""
        names = {bank(payout.jurisdiction), unmatched(payout.jurisdiction), account}
        self._ids = await self._ledger.names.ids(self._tx, names - {""})
        if payout.reverses_id:
            result = await self._reverse(payout, related)
        elif payout.returns_payment_id:
            result = await self._send_back(payout, related)
        elif is_mrn(payout.reference):
            result = await self._of_consignment(payout)
        else:
            result = await self._of_account(payout)
        if result.outcome != pb.PAYOUT_OUTCOME_REFUSED:
            by = Recorded(max(self._heads.booked_at.values()), self._by, self._request)
            await payouts_of.add(self._tx, payout, result, by)
        return result

    async def _of_account(self, payout: Payout) -> PayoutResult:
        """Pay out what an account stands at below nothing: its credit beyond all that is open of it. Of a treasury's revenue that is
        what was received.
        """
        name, minor = payout.reference, payout.amount
        if prefix_of(name) == _BORDER:
            return PayoutResult(reason="PAYOUT_REFERENCE_SHARED")
        code = treasury_of(name)
        if code and code not in self._ledger.sharing.treasuries(payout.jurisdiction):
            return PayoutResult(account=name, reason="PAYOUT_TREASURY_DIFFERS")
        stands = await self._credit_of(name, payout.currency)
        if minor > stands:
            return PayoutResult(account=name, credit=stands, reason="PAYOUT_EXCEEDS_CREDIT")
        if (short := await self._bank_lacks(payout)) is not None:
            return short
        await self._on_account(payout, name, minor, partition_of_account(name))
        return PayoutResult(pb.PAYOUT_OUTCOME_BOOKED, name, stands - minor)

    async def _of_consignment(self, payout: Payout) -> PayoutResult:
        """Pay out what a consignment leaves to the credit of the buyers, who have no account of their own."""
        held = await positions.read(self._tx, [payout.reference])
        numbers = {*held.lines["debtor"].tolist(), *held.lines["account"].tolist()}
        names = await self._ledger.names.texts(self._tx, numbers)
        buyers = {account for account, name in names.items() if prefix_of(name) == _BORDER}
        payee = payee_of(held.lines, buyers)
        if not payee and len(held.lines):
            own = debtors_of(held.lines) or held.lines["account"].tolist()
            return PayoutResult(account=names[own[0]], reason="PAYOUT_OF_ACCOUNT")
        stands = payable(held.lines, int(held.paid[0]), held.paid_out, payee) if payee else 0
        kept = stands, held.currency[0], held.jurisdiction[0]
        if payee and kept[1:] != (payout.currency, payout.jurisdiction):
            return PayoutResult(account=names[payee], reason="PAYOUT_CONSIGNMENT_DIFFERS", stored=kept)
        if payout.amount > stands:
            return PayoutResult(account=names.get(payee, ""), credit=stands, reason="PAYOUT_EXCEEDS_CREDIT")
        if (short := await self._bank_lacks(payout)) is not None:
            return short
        await self._by_consignment(payout, payout.reference, held, payee, payout.amount)
        return PayoutResult(pb.PAYOUT_OUTCOME_BOOKED, names[payee], stands - payout.amount)

    async def _send_back(self, payout: Payout, related: RelatedRecords) -> PayoutResult:
        """Send a payment that nothing was found for back to its payer."""
        ident = (payout.jurisdiction, payout.returns_payment_id)
        payment = related.payments.get(ident)
        if payment is None:
            return PayoutResult(reason="PAYOUT_PAYMENT_UNKNOWN")
        used = payment["outcome"] != pb.PAYMENT_OUTCOME_UNMATCHED
        if used or payment["reversed_by"] or payment["returned_by"]:
            return PayoutResult(account=payment["account"], reason="PAYOUT_PAYMENT_USED")
        if (payment["amount"], payment["currency"]) != (payout.amount, payout.currency):
            return _differs(payment)
        if (short := await self._bank_lacks(payout)) is not None:
            return short
        name = unmatched(payout.jurisdiction)
        await self._on_account(payout, name, payout.amount, home_of(payment["reference"], name))
        await payments_of.send_back(self._tx, ident, payout.id)
        if is_mrn(payment["reference"]):
            await waiting.remove(self._tx, [(payment["reference"], *ident)])
        return PayoutResult(pb.PAYOUT_OUTCOME_BOOKED, name)

    async def _reverse(self, payout: Payout, related: RelatedRecords) -> PayoutResult:
        """Post that the payee's bank returned a payout: the money becomes the former credit again."""
        ident = (payout.jurisdiction, payout.reverses_id)
        first = related.payouts.get(ident)
        if first is None:
            return PayoutResult(reason="PAYOUT_UNKNOWN")
        if first["reversed_by"]:
            return PayoutResult(account=first["account"], reason="PAYOUT_ALREADY_REVERSED")
        if first["reverses_id"]:
            return PayoutResult(account=first["account"], reason="PAYOUT_OF_RETURN")
        if (first["amount"], first["currency"]) != (payout.amount, payout.currency):
            return _differs(first)
        await payouts_of.reverse(self._tx, ident, payout.id)
        name, left, stands = first["account"], payout.amount, None
        home = partition_of_account(name)
        if first["returns_payment_id"]:
            await self._unsend(payout, related.payments[payout.jurisdiction, first["returns_payment_id"]])
            return PayoutResult(pb.PAYOUT_OUTCOME_REVERSED, name)
        if is_mrn(first["reference"]):
            held = await positions.read(self._tx, [first["reference"]])
            # What was paid out in a currency that the debt lost since is the account's own whose credit it lessened then.
            key = (first["reference"], payout.reverses_id)
            gone = (await holders(self._tx, [key], pb.ENTRY_KIND_PAID_OUT)).get(key)
            if gone:
                name = (await self._ledger.names.texts(self._tx, gone))[gone[0]]
                self._ids[name], home = gone[0], partition_of_mrn(first["reference"])
            same = not gone and held.currency[0] == payout.currency
            part = min(left, int(held.paid_out.minor[0])) if same else 0
            if part:
                payee = int(held.paid_out.account[0])
                await self._by_consignment(payout, first["reference"], held, payee, -part)
                self.credits.append((payee, payout.currency))
                out = PaidOut(held.paid_out.minor - part, held.paid_out.account)
                stands = payable(held.lines, int(held.paid[0]), out, payee)
            left -= part
        if left:
            await self._on_account(payout, name, -left, home)
            self.credits.append((self._ids[name], payout.currency))
        if stands is None:
            stands = await self._credit_of(name, payout.currency)
        return PayoutResult(pb.PAYOUT_OUTCOME_REVERSED, name, stands)

    async def _unsend(self, payout: Payout, payment: Row) -> None:
        """Make a payment unmatched again after its return was reversed; its debt may have been posted meanwhile."""
        name, reference = unmatched(payout.jurisdiction), payment["reference"]
        ident = (payment["jurisdiction"], payment["id"])
        await self._on_account(payout, name, -payout.amount, home_of(reference, name))
        await payments_of.send_back(self._tx, ident, "")
        if is_mrn(reference) and not payment["reversed_by"]:
            await waiting.add(self._tx, [WaitingPayment(reference, *ident, payment["currency"], payment["amount"])])
            await match_waiting(self._ledger, self._tx, self._heads, [reference])

    async def _credit_of(self, name: str, currency: str) -> int:
        """What an account stands at below nothing; of a treasury what was received of it. Of a declarant the row of its credit is held
        first, so that no debt is paid by it.
        """
        account = self._ids.get(name)
        if account is None:
            return 0
        if treasury_of(name):
            return await self._cash.left(self._tx, account, name) if self._cash else 0
        unused = await credit.lock_one(self._tx, (account, currency)) if prefix_of(name) == credit.HOLDER else None
        (balance,) = await balances_at(self._tx, [Holding(name, currency, account)])
        stands = max(0, -balance.minor)
        return stands if unused is None else max(0, min(stands, unused))

    async def _bank_lacks(self, payout: Payout) -> PayoutResult | None:
        """Refuse what is more than came in on the jurisdiction's bank account and did not go out."""
        name = bank(payout.jurisdiction)
        (balance,) = await balances_at(self._tx, [Holding(name, payout.currency, self._ids[name])])
        if payout.amount <= balance.minor:
            return None
        return PayoutResult(account=name, credit=max(0, balance.minor), reason="PAYOUT_EXCEEDS_BANK")

    async def _on_account(self, payout: Payout, name: str, amount: int, home: int) -> None:
        """Pay out of an account, or back to it where the amount is below nothing."""
        account = self._ids[name]
        entry = self._entry(payout, home, account, amount)
        await self._ledger.book.post(self._tx, self._heads, entries_of([entry]))
        if prefix_of(name) == credit.HOLDER:
            await credit.add(self._tx, {(account, payout.currency): -amount})

    async def _by_consignment(self, payout: Payout, mrn: str, stored: Positions, payee: int, amount: int) -> None:
        """Pay out of what a consignment left, or back to it where the amount is below nothing."""
        entry = self._entry(payout, partition_of_mrn(mrn), payee, amount, mrn, stored.destination[0])
        out = PaidOut(stored.paid_out.minor + amount, np.array([payee]))
        target = Target(unchanged_page([mrn], stored), stored.paid, out, entries_of([entry]))
        await self._ledger.rebalance(self._tx, self._heads, target, stored)

    def _entry(
        self, payout: Payout, home: int, account: int, amount: int, mrn: str = "", destination: str = ""
    ) -> Booking:
        postings = [(account, amount), (self._ids[bank(payout.jurisdiction)], -amount)]
        back, kind = amount < 0, pb.ENTRY_KIND_PAID_OUT
        return Booking(home, mrn, 0, payout.id, payout.currency, destination, back, postings, kind)


def _differs(row: Row) -> PayoutResult:
    kept = row["amount"], row["currency"], row["jurisdiction"]
    return PayoutResult(account=row["account"], reason="PAYOUT_DIFFERS", stored=kept)


def home_of(reference: str, name: str) -> int:
    """Return the partition of an unmatched payment: that of the MRN where it may wait for a debt."""
    return partition_of_mrn(reference) if is_mrn(reference) else partition_of_account(name)
