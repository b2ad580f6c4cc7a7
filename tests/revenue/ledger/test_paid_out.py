"""Money of one consignment in any order of debts, payments, refunds and payouts: each unit is at one place, and no more goes out than came in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger.allocation import Booking, credit_postings, credited, entries_of, payable, surplus
from services.revenue.ledger.charge import Basis, ChargePage
from services.revenue.ledger.entry import Entries, check
from services.revenue.ledger.line import COLLECTED, LINE, OPEN, SECURED
from services.revenue.ledger.position import PaidOut, covered_by, debtors_of, payee_of
from services.revenue.ledger.rebalance import PositionLines, Target, rebalance
from tests.revenue.ledger.states import mrn

BUYERS, DECLARANT, CARRIER, VENDOR, TREASURY, BANK = 1, 2, 3, 4, 5, 6
HOW = {OPEN: None, SECURED: CARRIER, COLLECTED: VENDOR}
"""Who stands for a line, by how it is paid; the debtor itself where it is paid at once."""
NOTHING = np.zeros(1, np.int64)


@dataclass
class Consignment:
    """A consignment as the ledger holds it, by the same functions, and what its entries come to."""

    lines: np.ndarray = field(default_factory=lambda: np.zeros(0, LINE))
    paid: int = 0
    out: PaidOut = field(default_factory=lambda: PaidOut.nothing(1))
    open: int = 0
    balances: dict[int, int] = field(default_factory=dict)

    def rebalance(self, lines: np.ndarray, paid: int, out: PaidOut, more: Sequence[Booking] = ()) -> Entries:
        basis = Basis(NOTHING, NOTHING, NOTHING, NOTHING)
        offsets = np.array([0, len(lines)])
        page = ChargePage(
            [mrn(1)], NOTHING, NOTHING + 1, NOTHING + 1, NOTHING, ["DE"], ["EUR"], ["EU"], basis, offsets, lines
        )
        held = PositionLines(np.array([0, len(self.lines)]), self.lines, ["EUR"], ["DE"])
        target = Target(page, NOTHING + paid, out, entries_of(more) if more else None)
        found = rebalance(target, held, NOTHING + self.paid)
        check(found.entries)
        self.lines, self.paid, self.out, self.open = found.page.lines, paid, found.paid_out, int(found.open[0])
        for account, amount in zip(found.entries.account.tolist(), found.entries.amount.tolist(), strict=True):
            self.balances[account] = self.balances.get(account, 0) + amount
        return found.entries

    def state(self, lines: np.ndarray) -> Entries:
        return self.rebalance(lines, self.paid, self.out)

    def pay(self, amount: int) -> None:
        """A payment, or one that is taken back; nothing where nobody owes anything at once."""
        if debtors_of(self.lines):
            changes = credit_postings(credited(self.lines, self.paid), credited(self.lines, self.paid + amount))
            booking = Booking(0, mrn(1), 0, "b", "EUR", "DE", amount < 0, [(BANK, amount), *changes])
            self.rebalance(self.lines, self.paid + amount, self.out, [booking])

    def pay_out(self, payee: int, amount: int) -> None:
        """A payout, or one that the bank returned."""
        postings = [(payee, amount), (BANK, -amount)]
        booking = Booking(0, mrn(1), 0, "o", "EUR", "DE", amount < 0, postings, pb.ENTRY_KIND_PAID_OUT)
        self.rebalance(self.lines, self.paid, PaidOut(self.out.minor + amount, np.array([payee])), [booking])

    def sound(self) -> None:
        """Postings sum to nothing, and each account stands at what is open of it less what stands to its credit."""
        assert sum(self.balances.values()) == 0
        offsets, paid = np.array([0, len(self.lines)]), NOTHING + self.paid
        own = self.lines["how"] == OPEN
        left = (self.lines["amount"] - covered_by(self.lines, offsets, paid) - self.lines["remitted"])[own]
        owed = {account: int(left[self.lines["debtor"][own] == account].sum()) for account in (BUYERS, DECLARANT)}
        claim = self.open - sum(owed.values())
        assert claim >= 0
        # Who was paid can pay it back by the MRN, and it is on no other account than what was paid.
        assert not self.out.minor.any() or self.out.account[0] in debtors_of(self.lines)
        if claim:
            owed[int(self.out.account[0])] += claim
        credit = surplus(self.lines, offsets, paid, ["EUR"], self.out)
        assert min(credit.values(), default=0) >= 0
        for account in owed:
            assert self.balances.get(account, 0) == owed[account] - credit.get((account, "EUR"), 0)
        assert self.balances.get(BANK, 0) == self.paid - int(self.out.minor[0])


@st.composite
def states(draw: st.DrawFn) -> np.ndarray:
    """Lines of a state: who owes what, how it is paid, and what the law pays back of it."""
    lines = np.zeros(draw(st.sampled_from([2, 3, 1, 0])), LINE)
    for code, line in enumerate(lines):
        how, debtor = (
            draw(st.sampled_from([OPEN, OPEN, OPEN, SECURED, COLLECTED])),
            draw(st.sampled_from([BUYERS, BUYERS, DECLARANT])),
        )
        amount = draw(st.integers(1, 4))
        line["how"], line["debtor"], line["account"] = how, VENDOR if how == COLLECTED else debtor, HOW[how] or debtor
        line["treasury"], line["code"], line["kind"], line["amount"] = TREASURY, code, 1, amount
        line["entitled"] = draw(st.sampled_from([0, amount, amount // 2]))
    return lines


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_more_goes_out_than_came_in_whatever_is_owed_paid_refunded_and_taken_back(data: st.DataObject) -> None:
    told = Consignment()
    told.state(data.draw(states()))
    payments: list[int] = []
    payouts: list[int] = []
    steps = st.sampled_from(["pay", "out", "out", "out", "state", "state", "unpay", "unout"])
    for what in ["pay", *data.draw(st.lists(steps, min_size=4, max_size=12))]:
        if what == "state":
            lines = data.draw(states())
            told.state(lines)
            assert not len(told.state(lines)), "a replay books something"
        elif what == "pay" and debtors_of(told.lines):
            payments.append(data.draw(st.integers(1, 6)))
            told.pay(payments[-1])
        elif what == "unpay" and payments and debtors_of(told.lines):
            told.pay(-payments.pop(data.draw(st.integers(0, len(payments) - 1))))
        elif what == "out" and (payee := payee_of(told.lines, {BUYERS})):
            most = payable(told.lines, told.paid, told.out, payee)
            assert most <= max(0, -told.balances.get(payee, 0))
            if most:
                payouts.append(data.draw(st.integers(1, most)))
                told.pay_out(payee, payouts[-1])
                assert sum(payouts) <= sum(payments)
                assert told.balances[payee] <= 0
        elif what == "unout" and payouts:
            told.pay_out(int(told.out.account[0]), -payouts.pop(data.draw(st.integers(0, len(payouts) - 1))))
        told.sound()
    while payouts:
        told.pay_out(int(told.out.account[0]), -payouts.pop())
        told.sound()
    assert told.balances.get(BANK, 0) == sum(payments)
