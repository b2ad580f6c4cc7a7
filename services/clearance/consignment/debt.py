"""The status of a debt after later events of revenue: debt events, and assessments that replace the one before. Pure.

A debt is covered if the payments cover the part that customs collects; the account of a carrier or postal operator secures the part that it collects.
`states` is a table of ClearanceColumns before the event takes effect, `events` one of luxor.revenue.v1.RevenueColumns, aligned with it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ints, Ragged, Strings, Table, among
from luxor.common.v1 import common_pb2
from services.clearance.consignment.assessment import account_of, owed_columns, revalued
from services.clearance.consignment.columns import choose, values_in_rows
from services.clearance.consignment.decision import DEBT_OPEN, NO_FIGURES, UNVALUED
from services.clearance.consignment.state.times import ended_duties, owes_nothing
from services.clearance.consignment.transitions import FINAL, Debt, State
from services.clearance.release_category.determination import DOCUMENTS, Unknown

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_REPORTED: Final = (Debt.DEFERRED, Debt.SECURED, Debt.PAID, Debt.OPEN)
_STANDS: Final = (Debt.DEFERRED, Debt.SECURED)
_SETTLED_STATES: Final = np.isin(np.arange(max(State) + 1), [State.RELEASED, *FINAL])


def with_debt_events(states: Table, events: Table) -> tuple[Table, BoolArray, BoolArray]:
    """Return the states with events of their debt applied, which events are new, and which of these change only the number; both of shape (n,).

    The event with the highest `number` counts, in whatever order they come. An event of an earlier version of the filing changes only amounts.
    """
    number = events.ints("number").filled(0)
    new = number > states.ints("debt_event_number").filled(0)
    paid, refunded = (_or(events.ints(name), states.ints(name)) for name in ("paid_minor", "refunded_minor"))
    debt = states.ints("debt_status").filled(0)
    status = events.ints("debt_status").filled(0)
    current = events.ints("filing_version").filled(0) >= states.ints("filing_version").values
    # No debt is open if nothing is owed at the border, or if the debt could not be computed.
    ended = owes_nothing(states)
    owed = (states.ints("payable_minor").filled(0) > 0) & (debt != Debt.UNKNOWN) & ~ended
    took = owed & current & among(status, _REPORTED)
    status = np.where(took, status, debt)
    covered, short = _covered(states, paid, refunded)
    # The payment may have been announced before revenue learned that more is owed.
    status = np.where(owed & (status == Debt.PAID) & short, np.int64(Debt.OPEN), status)
    status = np.where(owed & ~current & (status == Debt.OPEN) & covered, np.int64(Debt.PAID), status)
    status = np.where(ended, np.int64(Debt.NONE), status)
    account = choose(took, events.strings("account"), states.strings("debt_account"))
    account = values_in_rows(account, among(status, _STANDS))
    same = (status == debt) & _same(paid, states.ints("paid_minor")) & _same(refunded, states.ints("refunded_minor"))
    same &= np.array(
        [a == b for a, b in zip(account.tolist(), states.strings("debt_account").tolist(), strict=True)], np.bool_
    )
    states = states.with_columns({"debt_event_number": Ints.of(number), "paid_minor": paid, "refunded_minor": refunded})
    return with_debt(states, status, account), new, new & same


def reassessed(states: Table, revenue: Table) -> Table:
    """Return the states with another assessment (luxor.revenue.v1.AssessmentColumns), and their debts evaluated again."""
    goods = states.ragged("items")
    columns = owed_columns(revenue)
    columns["items"] = Ragged(goods.offsets, revalued(goods, revenue))
    columns.setdefault("assessment_generation", Ints.absent(states.rows))
    payable = columns["payable_minor"]
    assert isinstance(payable, Ints)
    reasons = revenue.strings("reason")
    account = account_of(revenue, payable)
    collected = revenue.ints("collected_by_vendor").filled(0) > 0
    free = np.where(collected, np.int64(Debt.VENDOR_COLLECTED), np.int64(Debt.NONE))
    fresh = np.where(account.present, np.int64(Debt.DEFERRED), np.int64(Debt.OPEN))
    fresh = np.where(payable.filled(0) > 0, fresh, free)
    # As in the decision, documents owe nothing without figures, unless an officer corrected what they are.
    documents = (states.ints("release_category").filled(0) == DOCUMENTS) & ~states.ints("adjusted_at").valid
    fresh = np.where(payable.valid | documents, fresh, np.int64(Debt.UNKNOWN))
    unknown = ~payable.valid & ~reasons.present
    reasons = choose(unknown, Strings.constant(UNVALUED, states.rows), reasons)
    return with_debt_evaluated(states, states.with_columns(columns), fresh, account, reasons)


def with_debt_evaluated(
    before: Table, after: Table, fresh: IntArray, account: Strings, no_figures: Strings | None = None
) -> Table:
    """Evaluate the debt of states with changed charges: `fresh` and `account` are the status and the account by the assessment alone.

    Goods that were disposed of before any release owe nothing, whatever is assessed; confiscated ones what is no duty.
    Earlier announcements of revenue remain valid: payments cover the debt or not, an account still secures it, and an open debt stays open until
    revenue announces a change. `no_figures` has the reasons why there are no figures.
    """
    paid, refunded = before.ints("paid_minor"), before.ints("refunded_minor")
    heard = before.ints("debt_event_number").valid
    was = before.ints("debt_status").filled(0)
    stood = before.strings("debt_account")
    owed = among(fresh, (Debt.DEFERRED, Debt.OPEN))
    stands = owed & heard & among(was, _STANDS) & stood.present
    opened = owed & heard & (was == Debt.OPEN)
    covered, _ = _covered(after, paid, refunded)
    debt = np.where(opened, np.int64(Debt.OPEN), np.where(stands, was, fresh))
    # Only revenue knows what is still owed for returned goods: a paid debt stays paid until it announces a change.
    stays = heard & (was == Debt.PAID) & before.ints("returned_at").valid
    debt = np.where(owed & (covered | stays) & ~stands, np.int64(Debt.PAID), debt)
    debt = np.where(owes_nothing(after), np.int64(Debt.NONE), debt)
    account = values_in_rows(choose(stands, stood, account), among(debt, _STANDS))
    return with_debt(after, debt, account, no_figures)


def with_documents_not_valued(before: Table, after: Table) -> Table:
    """Return amended states of which those that became documents owe what is not known: an officer decides what the goods are.

    Only what was of the category of documents before owes nothing as documents. What an officer corrected is not amended.
    """
    category = after.ints("release_category").filled(0)
    became = (category == DOCUMENTS) & (before.ints("release_category").filled(0) != DOCUMENTS)
    if not became.any():
        return after
    unknown = Ints.constant(int(Unknown.NOT_VALUED), after.rows)
    columns: dict[str, Column] = {
        "release_category": Ints.of(category, (category > 0) & ~became),
        "release_unknown_because": choose(became, unknown, after.ints("release_unknown_because")),
    }
    return with_debt(
        after.with_columns(columns),
        np.where(became, np.int64(Debt.UNKNOWN), after.ints("debt_status").values),
        values_in_rows(after.strings("debt_account"), ~became),
        values_in_rows(Strings.constant(UNVALUED, after.rows), became),
    )


def with_debt(states: Table, debt: IntArray, account: Strings, no_figures: Strings | None = None) -> Table:
    """Return the states with another status of the debt, and with the resulting reasons if they are not released."""
    columns: dict[str, Column] = {"debt_status": Ints.of(debt), "debt_account": account}
    open_now = ~_SETTLED_STATES[states.ints("state").values]
    if open_now.any():
        reasons = states.ragged("reasons")
        assert isinstance(reasons.values, Strings)
        flat, lists, changed = reasons.values.tolist(), [], False
        unvalued = [""] * states.rows if no_figures is None else no_figures.tolist()
        for row, (is_open, status) in enumerate(zip(open_now.tolist(), debt.tolist(), strict=True)):
            old = flat[reasons.span(row)]
            new = _reasons(old, status, unvalued[row]) if is_open else old
            changed |= new != old
            lists.append(new)
        if changed:
            texts = Strings.of([text for each in lists for text in each])
            columns["reasons"] = Ragged.of_lengths([len(each) for each in lists], texts)
    return states.with_columns(columns)


def settled(table: Table) -> BoolArray:
    """Return which states only the debt held, and does not hold any more."""
    holds = table.bools("debt_hold").values
    return holds & ~among(table.ints("debt_status").filled(0), (Debt.OPEN, Debt.UNKNOWN))


def _reasons(old: list[str], debt: int, reason: str) -> list[str]:
    stays = [text for text in old if text != DEBT_OPEN and (debt == Debt.UNKNOWN or text not in NO_FIGURES)]
    added = DEBT_OPEN if debt == Debt.OPEN else reason if debt == Debt.UNKNOWN else ""
    return [*stays, added] if added and added not in stays else stays


def _covered(states: Table, paid: Ints, refunded: Ints) -> tuple[BoolArray, BoolArray]:
    """Return where payments less refunds cover what customs collects, and where they do not; neither if revenue announced nothing.

    Returned goods owe less than was assessed, and only revenue knows how much less: what seems too little may be enough. Duties that ended with a
    confiscation are not due.
    """
    charges, lines = states.ragged("charges"), states.child("charges")
    due = np.zeros(states.rows, np.int64)
    by_customs = (lines.ints("collector").filled(0) == common_pb2.COLLECTOR_CUSTOMS) & ~ended_duties(states)
    # Charges are at most 10^16 and their sum is the payable amount or less, which revenue checked.
    np.add.at(due, charges.owners(), np.where(by_customs, lines.ints("amount").filled(0), 0))
    enough = paid.filled(0) - refunded.filled(0) >= due
    return paid.valid & enough & (due > 0), paid.valid & ~enough & ~states.ints("returned_at").valid


def _or(new: Ints, old: Ints) -> Ints:
    return Ints.of(np.where(new.valid, new.values, old.values), new.valid | old.valid)


def _same(one: Ints, other: Ints) -> BoolArray:
    same: BoolArray = (one.valid == other.valid) & (one.filled(0) == other.filled(0))
    return same
