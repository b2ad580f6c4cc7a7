"""Entries balance and stay within bounds; lines are stored, read and chosen; what a state rests on follows from the feed."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger.charge import ASSESSED, UNDECIDED, WITHDRAWN, Basis, basis_of, continued_basis, newest
from services.revenue.ledger.entry import Entries, LedgerError, check
from services.revenue.ledger.line import COLLECTED, LINE, OPEN, SECURED, combined, offsets_of, pack, take_lines, unpack
from tests.revenue.ledger.pages import entries_with, joined, line, numbers, rows_of
from tests.revenue.ledger.states import State, mrn, states_table

MAX = 10**16
WRAPS = [MAX] * 1_844 + [2**64 - 1_844 * MAX]
"""Amounts within bounds that sum to 2^64, which is nothing in 64 bits."""


def refusal(entries: Entries) -> tuple[str, str]:
    with pytest.raises(LedgerError) as found:
        check(entries)
    return found.value.reason, str(found.value)


@pytest.mark.parametrize(
    "amounts",
    [
        [],
        [[1, -1]],
        [[MAX, -MAX], [5, -2, -3]],
        [[1] * 5_000 + [-1] * 5_000],
        [[MAX] * 5_000 + [-MAX] * 5_000],
        [[0, 0]],
    ],
)
def test_entries_that_sum_to_nothing_within_bounds_are_booked(amounts: list[list[int]]) -> None:
    check(entries_with(*amounts))


@pytest.mark.parametrize(
    ("amounts", "reason", "words"),
    [
        ([[1, -1], []], "UNBALANCED", "entry 1 has fewer than two postings"),
        ([[1, -1], [0]], "UNBALANCED", "entry 1 has fewer than two postings"),
        ([[1] * 5_000 + [-1] * 4_999 + [-2, 1]], "UNBALANCED", "10001 postings; at most 10000"),
        ([[1, -1], [2, -1]], "UNBALANCED", "entry 1 of 'M1' do not sum to nothing"),
        ([[1, -1], [1, -2], [2, -1]], "UNBALANCED", "entry 1 of 'M1'"),
        ([[2, -1], [1, -2]], "UNBALANCED", "entry 0 of 'M0'"),
        ([[1, -1], WRAPS], "UNBALANCED", "entry 1 of 'M1'"),
        ([[1, -1], [-each for each in WRAPS], [1, -1]], "UNBALANCED", "entry 1 of 'M1'"),
        ([[1, -1], [MAX + 1, -MAX, -1], [1, -1]], "AMOUNT_OUT_OF_BOUNDS", "entry 1 of 'M1'"),
        ([[1, -MAX - 1], [1, -1]], "AMOUNT_OUT_OF_BOUNDS", "entry 0 of 'M0'"),
        ([[1, -1], [-(2**63), 1]], "AMOUNT_OUT_OF_BOUNDS", "entry 1 of 'M1'"),
    ],
)
def test_what_must_not_be_booked_is_named(amounts: list[list[int]], reason: str, words: str) -> None:
    found, message = refusal(entries_with(*amounts))
    assert found == reason
    assert words in message


@pytest.mark.parametrize("amounts", [[2, -1], [MAX + 1, -MAX - 1]])
def test_an_entry_without_a_consignment_is_named_by_its_reference(amounts: list[int]) -> None:
    assert "'bank-7'" in refusal(entries_with(amounts, mrn=[""], reference=["bank-7"]))[1]


def test_entries_are_put_one_behind_the_other() -> None:
    first, second, nothing = entries_with([1, -1], [3, -2, -1]), entries_with([4, -4]), entries_with()
    both = Entries.concat([first, nothing, second])
    assert rows_of(both) == rows_of(first) + rows_of(second)
    assert len(both) == 3
    assert rows_of(Entries.concat([second])) == rows_of(second)


def test_a_reversal_credits_what_the_entry_debited_and_names_its_kind() -> None:
    entries = entries_with([1, -1], [3, -2, -1])
    back = entries.reversed("why")
    assert rows_of(back) == [
        (
            partition,
            pb.ENTRY_KIND_REVERSED,
            kind,
            name,
            0,
            "why",
            currency,
            destination,
            [(a, k, -m) for a, k, m in postings],
        )
        for partition, kind, _, name, _, _, currency, destination, postings in rows_of(entries)  # type: ignore[attr-defined]
    ]
    assert [back.reverses.tolist(), back.version.tolist()] == [[2, 3], [0, 0]]


def test_a_line_is_stored_in_56_bytes_that_mean_the_same_for_ever() -> None:
    stored = np.zeros(3, LINE)
    for place, how in enumerate((OPEN, SECURED, COLLECTED)):
        stored[place] = (1, 2, 3, 4, 5, 6, how, b"", 7, 8, 9, 10)
    assert pack(stored, numbers(0, 1, 3)) == [
        struct.pack("<iiiiBBB5xqqqq", 1, 2, 3, 4, 5, 6, 0, 7, 8, 9, 10),
        b"".join(struct.pack("<iiiiBBB5xqqqq", 1, 2, 3, 4, 5, 6, how, 7, 8, 9, 10) for how in (1, 2)),
    ]


def test_stored_lines_are_read_as_they_were_written() -> None:
    offsets, lines = joined([line(1, 5)], [], [line(2, 6), line(3, 7)])
    read_offsets, read = unpack(pack(lines, offsets))
    assert read_offsets.tolist() == [0, 1, 1, 3]
    assert read.tolist() == lines.tolist()
    assert unpack([])[0].tolist() == [0]


@pytest.mark.parametrize("stored", [[bytes(55)], [bytes(57)], [bytes(56), bytes(1)], [bytes(28), bytes(28)]])
def test_stored_lines_that_are_cut_off_are_refused(stored: list[bytes]) -> None:
    with pytest.raises(ValueError, match="cut off"):
        unpack(stored)


def test_offsets_follow_from_the_rows_of_lines() -> None:
    assert offsets_of(numbers(0, 0, 2), 4).tolist() == [0, 2, 2, 3, 3]
    assert offsets_of(numbers(), 2).tolist() == [0, 0, 0]


def test_lines_of_chosen_consignments_are_taken_in_that_order() -> None:
    offsets, lines = joined([line(1, 5)], [], [line(2, 6), line(3, 7)], [line(4, 8)])
    taken, found = take_lines(offsets, lines, numbers(2, 1, 0, 2))
    assert taken.tolist() == [0, 2, 2, 3, 5]
    assert found["debtor"].tolist() == [2, 3, 1, 2, 3]
    assert take_lines(offsets, lines, numbers())[0].tolist() == [0]


SMALL, WIDE = st.integers(-2, 2), st.sampled_from([-(2**63), -(2**62), -1, 0, 1, 2**31, 2**61, 2**62, 2**63 - 1])


@given(st.lists(st.tuples(SMALL, st.integers(0, 3), SMALL | WIDE, WIDE), max_size=30))
def test_each_combination_of_values_has_one_number_and_the_numbers_have_the_order_of_the_values(
    rows: list[tuple[int, int, int, int]],
) -> None:
    key = combined([np.array([row[place] for row in rows], np.int64) for place in range(4)]).tolist()
    assert len(set(zip(rows, key, strict=True))) == len(set(rows)) == len(set(key))
    assert [row for _, row in sorted(zip(key, rows, strict=True))] == sorted(rows)


@pytest.mark.parametrize("span", [2**31, 2**31 + 1])
def test_combinations_are_counted_off_where_the_columns_together_are_too_wide(span: int) -> None:
    """Two columns of 2^31 numbers fit into 2^62; of one more they do not."""
    column = np.array([0, span - 1, 0, span - 1, 5], np.int64)
    key = combined([column, column[::-1]]).tolist()
    assert sorted(range(5), key=key.__getitem__) == sorted(range(5), key=lambda row: (column[row], column[4 - row]))


DECIDED, INVALIDATED, ADJUSTED = (
    clearance.STATE_AWAITING_ARRIVAL,
    clearance.STATE_INVALIDATED,
    clearance.CHANGE_ADJUSTED,
)


def rest_on(*states: State) -> Basis:
    told = states_table(states)
    return basis_of(told, newest(told))


def test_a_state_rests_on_no_answer_an_answer_or_a_withdrawal() -> None:
    one, two, three, four = (State(mrn(serial)) for serial in range(1, 5))
    found = rest_on(
        replace(one, decided=False), two, replace(three, state=INVALIDATED),
        replace(four, state=INVALIDATED, decided=False, generation=2),
    )  # fmt: skip
    assert found.status.tolist() == [UNDECIDED, ASSESSED, WITHDRAWN, WITHDRAWN] == [0, 1, 2, 2]
    assert found.generation.tolist() == [0, 0, 0, 2]
    assert found.adjusted.tolist() == found.adjusted_at.tolist() == [0, 0, 0, 0]


def test_the_last_adjustment_of_the_newest_filing_is_the_one_in_force() -> None:
    one, two, three = (State(mrn(serial), adjusted_at=serial * 9) for serial in range(1, 4))
    found = rest_on(
        replace(one, version=3, change=ADJUSTED), replace(two, version=2, change=ADJUSTED), replace(one, version=4),
        replace(one, version=2, change=ADJUSTED), replace(two, version=3, filing=2), three,
    )  # fmt: skip
    assert found.adjusted.tolist() == [3, 0, 0]
    assert found.adjusted_at.tolist() == [9, 18, 27]
    chosen = found.take(numbers(2, 0))
    assert [each.tolist() for each in (chosen.status, chosen.generation, chosen.adjusted, chosen.adjusted_at)] == [
        [1, 1], [0, 0], [0, 3], [27, 9],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("now", "version", "filing", "before", "held_version", "held_filing", "adjusted"),
    [
        # Adjusted and at which instant, now and before.
        ((5, 90), 6, 1, (3, 80), 4, 1, 5),  # the page shows the adjustment
        ((5, 90), 6, 2, (3, 80), 4, 1, 5),  # also after an amendment
        ((1, 90), 6, 1, (0, 0), 0, 0, 1),
        ((0, 80), 6, 1, (3, 80), 4, 1, 3),  # nothing new: it stays in force
        ((0, 80), 6, 1, (3, 80), 1, 1, 3),
        ((0, 80), 6, 2, (3, 80), 4, 1, 0),  # until an amendment
        ((0, 90), 6, 2, (3, 80), 4, 1, 0),
        ((0, 90), 6, 1, (3, 80), 4, 1, 6),  # another one that the page does not show
        ((0, 1), 6, 1, (0, 0), 1, 1, 6),
        ((0, 90), 6, 1, (0, 0), 0, 0, 6),  # a reader that begins with the newest state
        ((0, 90), 6, 1, (7, 90), 0, 0, 6),  # where nothing is stored, nothing stays in force
        ((0, 0), 6, 1, (7, 0), 0, 0, 0),
        ((0, 0), 6, 1, (0, 0), 4, 1, 0),
        ((0, 0), 6, 1, (3, 80), 4, 1, 0),
        ((0, 90), 6, 1, (1, 90), 1, 1, 1),  # from the first version on
        ((0, 90), 6, 2, (1, 90), 1, 1, 0),
    ],
)
def test_an_adjustment_stays_in_force_until_another_or_an_amendment(
    now: tuple[int, int],
    version: int,
    filing: int,
    before: tuple[int, int],
    held_version: int,
    held_filing: int,
    adjusted: int,
) -> None:
    found = continued_basis(
        Basis(numbers(1), numbers(2), numbers(now[0]), numbers(now[1])), numbers(version), numbers(filing),
        Basis(numbers(8), numbers(9), numbers(before[0]), numbers(before[1])), numbers(held_version), numbers(held_filing),
    )  # fmt: skip
    assert [int(each[0]) for each in (found.status, found.generation, found.adjusted, found.adjusted_at)] == [
        1, 2, adjusted, now[1],
    ]  # fmt: skip
