"""One payout at work: what it concerns is read under the heads of its partitions, and it is booked whole or refused whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.store.database import Transaction
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.commands.apply_credit import match_waiting, page_of
from services.revenue.commands.payment_batch import Ident, Row, is_mrn
from services.revenue.commands.post import Ledger
from services.revenue.ledger.account import (
    AT_ONCE,
    bank,
    partition_of_account,
    partition_of_mrn,
    prefix_of,
    treasury_of,
    unmatched,
)
from services.revenue.ledger.allocation import Booking, entries_of, payable
from services.revenue.ledger.payout import PaidOut, debtors_of, payee_of
from services.revenue.store.ledger import credit, positions
from services.revenue.store.ledger.balances import Holding, balances_at
from services.revenue.store.ledger.credit import Key
from services.revenue.store.ledger.entries import Heads
from services.revenue.store.ledger.freed_credit import owners
from services.revenue.store.ledger.positions import Positions
from services.revenue.store.ledger.treasury_cash import Cash

_BORDER: Final = AT_ONCE[1]
_KEEP: Final = """
insert into ledger_payout (jurisdiction, id, reference, currency, amount, paid_at, takes_back, sends_back, account, outcome,
    credit, booked_at, booked_by, request, taken_back_by)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, '')
"""
_TAKEN: Final = "update ledger_payout set taken_back_by = $3 where jurisdiction = $1 and id = $2"
_SENT: Final = "update ledger_payment set sent_back_by = $3 where jurisdiction = $1 and id = $2"
_WAITS_NO_MORE: Final = "delete from ledger_waiting where mrn = $1 and jurisdiction = $2 and id = $3"
_WAITS_AGAIN: Final = """
insert into ledger_waiting (mrn, jurisdiction, id, currency, amount) values ($1, $2, $3, $4, $5)
"""


@dataclass(frozen=True, slots=True)
class Payout:
    """Money that went out, or that the payee's bank returned; amounts in minor units, more than nothing."""

    id: str
    reference: str
    jurisdiction: str
    currency: str
    amount: int
    paid_at: int = 0
    """Microseconds since 1970-01-01 UTC; 0 where it is not told."""
    takes_back: str = ""
    sends_back: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a payout."""

    outcome: int = pb.PAYOUT_OUTCOME_REFUSED
    account: str = ""
    credit: int = 0
    """What is left to the credit of the account after it, or of what its consignment left; of a refused one what is there."""
    reason: str = ""
    """Why it was refused: PAYOUT_REUSED (the id was booked with other content), PAYOUT_EXCEEDS_CREDIT, PAYOUT_EXCEEDS_BANK,
    PAYOUT_OF_ACCOUNT (what the consignment left is on `account`), PAYOUT_REFERENCE_SHARED (an account of many buyers),
    PAYOUT_TREASURY_DIFFERS (`account` is none of the jurisdiction's treasuries),
    PAYOUT_CONSIGNMENT_DIFFERS (what the consignment left is of another jurisdiction or currency), PAYOUT_UNKNOWN,
    PAYOUT_TAKEN_BACK (already), PAYOUT_OF_RETURN (what is taken back took one back itself), PAYOUT_DIFFERS (what is taken back
    or sent back has another amount or currency), PAYOUT_PAYMENT_UNKNOWN, PAYOUT_PAYMENT_USED, AMOUNT_OUT_OF_BOUNDS,
    BALANCE_OUT_OF_BOUNDS."""
    kept: tuple[int, str, str] = (0, "", "")
    """Amount, currency and jurisdiction of what the payout names, where it is refused as another than that."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of what a payout names, by jurisdiction and id."""

    payouts: Mapping[Ident, Row]
    payments: Mapping[Ident, Row]


class Work:
    """A payout of one transaction."""

    def __init__(
        self, ledger: Ledger, tx: Transaction, heads: Heads, by: str, request: str, cash: Cash | None = None
    ) -> None:
        """Book in a transaction that holds the heads of the partitions concerned, for a caller's request. `cash` is what was received
        for treasuries in the payout's currency.
        """
        self._cash = cash
        self._ledger, self._tx, self._heads, self._by, self._request = ledger, tx, heads, by, request
        self._ids: dict[str, int] = {}
        self.credits: list[Key] = []
        """Accounts to whose credit money came back."""

    async def book(self, payout: Payout, known: Known, account: str) -> Result:
        """Book a payout that is not known yet; `account` is what it concerns beside consignments, and may have no number."""
        names = {bank(payout.jurisdiction), unmatched(payout.jurisdiction), account}
        self._ids = await self._ledger.names.known(self._tx, names - {""})
        if payout.takes_back:
            result = await self._take_back(payout, known)
        elif payout.sends_back:
            result = await self._send_back(payout, known)
        elif is_mrn(payout.reference):
            result = await self._of_consignment(payout)
        else:
            result = await self._of_account(payout)
        if result.outcome != pb.PAYOUT_OUTCOME_REFUSED:
            await self._keep(payout, result)
        return result

    async def _of_account(self, payout: Payout) -> Result:
        """Pay out what an account stands at below nothing: its credit beyond all that is open of it. Of a treasury's revenue that is
        what was received.
        """
        name, minor = payout.reference, payout.amount
        if prefix_of(name) == _BORDER:
            return Result(reason="PAYOUT_REFERENCE_SHARED")
        code = treasury_of(name)
        if code and code not in self._ledger.sharing.treasuries(payout.jurisdiction):
            return Result(account=name, reason="PAYOUT_TREASURY_DIFFERS")
        stands = await self._credit_of(name, payout.currency)
        if minor > stands:
            return Result(account=name, credit=stands, reason="PAYOUT_EXCEEDS_CREDIT")
        if (short := await self._bank_lacks(payout)) is not None:
            return short
        await self._on_account(payout, name, minor, partition_of_account(name))
        return Result(pb.PAYOUT_OUTCOME_BOOKED, name, stands - minor)

    async def _of_consignment(self, payout: Payout) -> Result:
        """Pay out what a consignment leaves to the credit of the buyers, who have no account of their own."""
        held = await positions.read(self._tx, [payout.reference])
        numbers = {*held.lines["debtor"].tolist(), *held.lines["account"].tolist()}
        names = await self._ledger.names.of(self._tx, numbers)
        buyers = {account for account, name in names.items() if prefix_of(name) == _BORDER}
        payee = payee_of(held.lines, buyers)
        if not payee and len(held.lines):
            own = debtors_of(held.lines) or held.lines["account"].tolist()
            return Result(account=names[own[0]], reason="PAYOUT_OF_ACCOUNT")
        stands = payable(held.lines, int(held.paid[0]), held.out, payee) if payee else 0
        kept = stands, held.currency[0], held.jurisdiction[0]
        if payee and kept[1:] != (payout.currency, payout.jurisdiction):
            return Result(account=names[payee], reason="PAYOUT_CONSIGNMENT_DIFFERS", kept=kept)
        if payout.amount > stands:
            return Result(account=names.get(payee, ""), credit=stands, reason="PAYOUT_EXCEEDS_CREDIT")
        if (short := await self._bank_lacks(payout)) is not None:
            return short
        await self._by_consignment(payout, payout.reference, held, payee, payout.amount)
        return Result(pb.PAYOUT_OUTCOME_BOOKED, names[payee], stands - payout.amount)

    async def _send_back(self, payout: Payout, known: Known) -> Result:
        """Send a payment that nothing was found for back to its payer."""
        ident = (payout.jurisdiction, payout.sends_back)
        payment = known.payments.get(ident)
        if payment is None:
            return Result(reason="PAYOUT_PAYMENT_UNKNOWN")
        used = payment["outcome"] != pb.PAYMENT_OUTCOME_UNMATCHED
        if used or payment["taken_back_by"] or payment["sent_back_by"]:
            return Result(account=payment["account"], reason="PAYOUT_PAYMENT_USED")
        if (payment["amount"], payment["currency"]) != (payout.amount, payout.currency):
            return _differs(payment)
        if (short := await self._bank_lacks(payout)) is not None:
            return short
        name = unmatched(payout.jurisdiction)
        await self._on_account(payout, name, payout.amount, home_of(payment["reference"], name))
        await self._tx.raw.execute(_SENT, *ident, payout.id)
        if is_mrn(payment["reference"]):
            await self._tx.raw.execute(_WAITS_NO_MORE, payment["reference"], *ident)
        return Result(pb.PAYOUT_OUTCOME_BOOKED, name)

    async def _take_back(self, payout: Payout, known: Known) -> Result:
        """Book that the payee's bank returned a payout: the money stands where it stood."""
        ident = (payout.jurisdiction, payout.takes_back)
        first = known.payouts.get(ident)
        if first is None:
            return Result(reason="PAYOUT_UNKNOWN")
        if first["taken_back_by"]:
            return Result(account=first["account"], reason="PAYOUT_TAKEN_BACK")
        if first["takes_back"]:
            return Result(account=first["account"], reason="PAYOUT_OF_RETURN")
        if (first["amount"], first["currency"]) != (payout.amount, payout.currency):
            return _differs(first)
        await self._tx.raw.execute(_TAKEN, *ident, payout.id)
        name, left, stands = first["account"], payout.amount, None
        home = partition_of_account(name)
        if first["sends_back"]:
            await self._unsend(payout, known.payments[payout.jurisdiction, first["sends_back"]])
            return Result(pb.PAYOUT_OUTCOME_TAKEN_BACK, name)
        if is_mrn(first["reference"]):
            held = await positions.read(self._tx, [first["reference"]])
            # What was paid out in a currency that the debt lost since is the account's own whose credit it lessened then.
            key = (first["reference"], payout.takes_back)
            gone = (await owners(self._tx, [key], pb.ENTRY_KIND_PAID_OUT)).get(key)
            if gone:
                name = (await self._ledger.names.of(self._tx, gone))[gone[0]]
                self._ids[name], home = gone[0], partition_of_mrn(first["reference"])
            same = not gone and held.currency[0] == payout.currency
            part = min(left, int(held.out.minor[0])) if same else 0
            if part:
                payee = int(held.out.account[0])
                await self._by_consignment(payout, first["reference"], held, payee, -part)
                self.credits.append((payee, payout.currency))
                out = PaidOut(held.out.minor - part, held.out.account)
                stands = payable(held.lines, int(held.paid[0]), out, payee)
            left -= part
        if left:
            await self._on_account(payout, name, -left, home)
            self.credits.append((self._ids[name], payout.currency))
        if stands is None:
            stands = await self._credit_of(name, payout.currency)
        return Result(pb.PAYOUT_OUTCOME_TAKEN_BACK, name, stands)

    async def _unsend(self, payout: Payout, payment: Row) -> None:
        """Let a payment that was sent back be unmatched again; its debt may have come meanwhile."""
        name, reference = unmatched(payout.jurisdiction), payment["reference"]
        ident = (payment["jurisdiction"], payment["id"])
        await self._on_account(payout, name, -payout.amount, home_of(reference, name))
        await self._tx.raw.execute(_SENT, *ident, "")
        if is_mrn(reference) and not payment["taken_back_by"]:
            await self._tx.raw.execute(_WAITS_AGAIN, reference, *ident, payment["currency"], payment["amount"])
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
        unused = await credit.held(self._tx, (account, currency)) if prefix_of(name) == credit.HOLDER else None
        (balance,) = await balances_at(self._tx, [Holding(name, currency, account)])
        stands = max(0, -balance.minor)
        return stands if unused is None else max(0, min(stands, unused))

    async def _bank_lacks(self, payout: Payout) -> Result | None:
        """Refuse what is more than came in on the jurisdiction's bank account and did not go out."""
        name = bank(payout.jurisdiction)
        (balance,) = await balances_at(self._tx, [Holding(name, payout.currency, self._ids[name])])
        if payout.amount <= balance.minor:
            return None
        return Result(account=name, credit=max(0, balance.minor), reason="PAYOUT_EXCEEDS_BANK")

    async def _on_account(self, payout: Payout, name: str, amount: int, home: int) -> None:
        """Pay out of an account, or back to it where the amount is below nothing."""
        account = self._ids[name]
        entry = self._entry(payout, home, account, amount)
        await self._ledger.book.post(self._tx, self._heads, entries_of([entry]))
        if prefix_of(name) == credit.HOLDER:
            await credit.add(self._tx, {(account, payout.currency): -amount})

    async def _by_consignment(self, payout: Payout, mrn: str, held: Positions, payee: int, amount: int) -> None:
        """Pay out of what a consignment left, or back to it where the amount is below nothing."""
        entry = self._entry(payout, partition_of_mrn(mrn), payee, amount, mrn, held.destination[0])
        out = PaidOut(held.out.minor + amount, np.array([payee]))
        page = page_of([mrn], held)
        await self._ledger.bring(self._tx, self._heads, page, held, held.paid, entries_of([entry]), out=out)

    def _entry(
        self, payout: Payout, home: int, account: int, amount: int, mrn: str = "", destination: str = ""
    ) -> Booking:
        postings = [(account, amount), (self._ids[bank(payout.jurisdiction)], -amount)]
        back, kind = amount < 0, pb.ENTRY_KIND_PAID_OUT
        return Booking(home, mrn, 0, payout.id, payout.currency, destination, back, postings, kind)

    async def _keep(self, payout: Payout, result: Result) -> None:
        await self._tx.raw.execute(
            _KEEP, payout.jurisdiction, payout.id, payout.reference, payout.currency, payout.amount, payout.paid_at,
            payout.takes_back, payout.sends_back, result.account, result.outcome, result.credit,
            max(self._heads.booked_at.values()), self._by, self._request,
        )  # fmt: skip


def _differs(row: Row) -> Result:
    kept = row["amount"], row["currency"], row["jurisdiction"]
    return Result(account=row["account"], reason="PAYOUT_DIFFERS", kept=kept)


def home_of(reference: str, name: str) -> int:
    """Give the partition in which an unmatched payment is booked: where it may wait for its debt, that of the MRN."""
    return partition_of_mrn(reference) if is_mrn(reference) else partition_of_account(name)
