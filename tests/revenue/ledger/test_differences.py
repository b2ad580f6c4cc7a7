"""What is booked between the lines that are held and those of a newer state: the kinds of entries by docs/revenue/ledger.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger.division import Divisions
from services.revenue.ledger.entry import check
from services.revenue.ledger.line import COLLECTED, OPEN, SECURED, Lines
from services.revenue.ledger.position import PaidOut, covered_by, settled
from services.revenue.ledger.rebalance import PositionLines, difference, stands_for
from tests.revenue.ledger.pages import joined, line, numbers, page_of, paid_out, rows_of

KINDS = (pb.ENTRY_KIND_ASSESSED, pb.ENTRY_KIND_SECURED, pb.ENTRY_KIND_REMITTED, pb.ENTRY_KIND_REFUNDED)
DIVISION, STATE, UNION = 91, 95, 96
DIVISIONS = Divisions({DIVISION: [(STATE, 250_000), (UNION, 0)]})
Posting = tuple[int, int, int]


def revenue(account: int, before: int, amount: int) -> list[tuple[int, int]]:
    """A quarter of a division is the state's, rounded down, of all that was posted so far; the rest is the union's."""
    if account != DIVISION:
        return [(account, amount)]
    part = (before + amount) // 4 - before // 4
    return [(STATE, part), (UNION, amount - part)]


def table(lines: Lines) -> list[list[Posting]]:
    """The postings of one consignment by kind of entry: debit and credit as the documented table has them."""
    stages: list[list[Posting]] = [[], [], [], []]
    for each in lines:
        amount, remitted, refunded = int(each["amount"]), int(each["remitted"]), int(each["refunded"])
        debtor, account, treasury = int(each["debtor"]), int(each["account"]), int(each["treasury"])
        kind = int(each["kind"])
        stages[0] += [(debtor, kind, amount)]
        stages[0] += [(to, kind, -part) for to, part in revenue(treasury, 0, amount)]
        if each["how"] == SECURED:
            stages[1] += [(account, kind, amount), (debtor, kind, -amount)]
        stages[2] += [(to, kind, part) for to, part in revenue(treasury, 0, remitted)] + [(account, kind, -remitted)]
        stages[3] += [(to, kind, part) for to, part in revenue(treasury, remitted, refunded)]
        stages[3] += [(account, kind, -refunded)]
    return [[posting for posting in stage if posting[2]] for stage in stages]


def summed(postings: Sequence[Posting]) -> list[Posting]:
    """Debits first, by account and kind of charge."""
    sums: dict[tuple[bool, int, int], int] = {}
    for account, kind, amount in postings:
        sums[amount < 0, account, kind] = sums.get((amount < 0, account, kind), 0) + amount
    return [(account, kind, amount) for (_, account, kind), amount in sorted(sums.items())]


def net(postings: Sequence[Posting]) -> Mapping[tuple[int, int], int]:
    sums: dict[tuple[int, int], int] = {}
    for account, kind, amount in postings:
        sums[account, kind] = sums.get((account, kind), 0) + amount
    return {key: total for key, total in sums.items() if total}


@st.composite
def consignments(draw: st.DrawFn) -> list[Lines]:
    found = []
    for _ in range(draw(st.integers(0, 3))):
        amount = draw(st.integers(1, 9))
        back = draw(st.sampled_from([0, 0, amount, amount // 2]))
        remitted = draw(st.integers(0, back))
        one = line(
            draw(st.integers(1, 2)), amount, draw(st.sampled_from([OPEN, SECURED, COLLECTED])), kind=draw(st.integers(1, 2)),
            entitled=back, remitted=remitted, refunded=back - remitted,
        )  # fmt: skip
        one["treasury"] = draw(st.sampled_from([90, DIVISION]))
        found.append(one)
    return found


@st.composite
def changes(draw: st.DrawFn) -> tuple[list[Lines], list[Lines], bool, bool]:
    """Lines before and after, and whether currency and destination differ; often only one thing does."""
    before = draw(consignments())
    after = [each.copy() for each in before] if draw(st.booleans()) else draw(consignments())
    if after and draw(st.booleans()):
        after[-1]["amount"] += 1
    return before, after, draw(st.sampled_from([False, False, True])), draw(st.sampled_from([False, False, True]))


@settings(max_examples=150)
@given(st.lists(changes(), min_size=1, max_size=3))
def test_what_differs_is_reversed_the_last_kind_first_and_booked_anew(
    rows: list[tuple[list[Lines], list[Lines], bool, bool]],
) -> None:
    old_offsets, old = joined(*(before for before, _, _, _ in rows))
    currency = ["GBP" if differs else "EUR" for _, _, differs, _ in rows]
    destination = ["FR" if differs else "DE" for _, _, _, differs in rows]
    page = page_of(*(after for _, after, _, _ in rows), currency=currency, destination=destination)
    held = PositionLines(old_offsets, old, ["EUR"] * len(rows), ["DE"] * len(rows), DIVISIONS)
    expected: list[tuple[object, ...]] = []
    for row, (before, after, _, _) in enumerate(rows):
        was, now = table(joined(before)[1]), table(joined(after)[1])
        all_of_it = (currency[row], destination[row]) != ("EUR", "DE")
        stages = [stage for stage in range(4) if all_of_it or net(was[stage]) != net(now[stage])]
        place = (10 + row,)
        for stage in reversed(stages):
            if was[stage]:
                undone = summed([(account, kind, -amount) for account, kind, amount in was[stage]])
                expected.append(
                    (*place, pb.ENTRY_KIND_REVERSED, KINDS[stage], f"M{row}", 20 + row, "", "EUR", "DE", undone)
                )
        expected += [
            (*place, KINDS[stage], 0, f"M{row}", 20 + row, "", currency[row], destination[row], summed(now[stage]))
            for stage in stages
            if now[stage]
        ]
    entries = difference(page, held)
    check(entries)
    assert rows_of(entries) == expected
    total = {
        (row, *key): amount
        for row, (_, after, _, _) in enumerate(rows)
        for key, amount in net([each for stage in table(joined(after)[1]) for each in stage]).items()
    }
    assert stands_for(page.lines, page.offsets, DIVISIONS) == total


@given(st.lists(st.tuples(consignments(), st.integers(0, 20)), min_size=1, max_size=3))
def test_a_payment_covers_open_lines_in_their_order_and_a_refund_is_what_was_covered(
    rows: list[tuple[list[Lines], int]],
) -> None:
    offsets, lines = joined(*(each for each, _ in rows))
    paid = numbers(*(each for _, each in rows))
    covered, still = [], []
    for own, left in rows:
        open_of_it = 0
        for each in own:
            amount, entitled = int(each["amount"][0]), int(each["entitled"][0])
            part = min(left, amount) if each["how"][0] == OPEN else amount
            left -= part if each["how"][0] == OPEN else 0
            remitted = min(entitled, amount - part)
            covered.append((part, remitted, entitled - remitted))
            open_of_it += amount - part - remitted
        still.append(open_of_it)
    done, found = settled(lines, offsets, paid, PaidOut.nothing(len(rows)))
    assert (
        list(
            zip(
                covered_by(lines, offsets, paid).tolist(),
                done["remitted"].tolist(),
                done["refunded"].tolist(),
                strict=True,
            )
        )
        == covered
    )
    assert found.tolist() == still


def test_what_was_paid_out_beyond_the_payees_credit_is_open_too() -> None:
    offsets, lines = joined([line(1, 10)], [line(1, 10)], [line(1, 10)])
    _, still = settled(lines, offsets, numbers(9, 12, 12), paid_out((2, 1), (2, 1), (3, 1)))
    assert still.tolist() == [3, 0, 1]


def test_nothing_is_booked_of_consignments_that_owe_and_owed_nothing() -> None:
    held = PositionLines(numbers(0, 0), np.zeros(0, joined()[1].dtype), ["EUR"], ["DE"])
    assert rows_of(difference(page_of([], currency=["GBP"]), held)) == []
