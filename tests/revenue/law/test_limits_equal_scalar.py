"""Limits, conditions, reliefs, sums and scheme numbers: the columns judge as the scalar law does, whatever the rulebook says."""

from functools import lru_cache

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.customs.time import day_of_date
from services.revenue.law.assess.assessment import Assessment, assess, measures_of, prepare
from services.revenue.law.assess.eligibility.limits import LimitAggregates
from services.revenue.law.assess.eligibility.scheme_register import Register
from services.revenue.law.batch.reasons import Note
from services.revenue.law.program.program import SCHEMES, Program
from services.revenue.law.program.scheme_numbers import (
    ABSENT,
    NUMBER_EXPIRED,
    NUMBER_MALFORMED,
    NUMBER_MISSING,
    NUMBER_UNKNOWN,
    USABLE,
)
from services.revenue.law.source.rulebook import AGGREGATE_TESTS
from tests.revenue.law.batches import filings, results
from tests.revenue.law.oracle import Scalar
from tests.revenue.law.oracle_charges import Consignment
from tests.revenue.law.oracle_conditions import Judged
from tests.revenue.law.random_law import REGISTER, consignments, program_of, rulebooks

STATES = {
    "absent": ABSENT, "missing": NUMBER_MISSING, "malformed": NUMBER_MALFORMED, "unknown": NUMBER_UNKNOWN,
    "expired": NUMBER_EXPIRED, "usable": USABLE,
}  # fmt: skip
JUDGED = (
    Note.EXCLUDED_GOODS | Note.SUMMED | Note.PERSON_NOT_DECLARED | Note.GIFT_RELIEVED | Note.SCHEME_NUMBER_MISSING
    | Note.SCHEME_NUMBER_MALFORMED | Note.SCHEME_NUMBER_UNKNOWN | Note.SCHEME_NUMBER_EXPIRED
    | Note.SCHEME_NUMBER_UNCHECKED
)  # fmt: skip
SETTINGS = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
register = Register(
    {
        (SCHEMES.index(scheme), number): (day_of_date(first), day_of_date(last))  # type: ignore[arg-type]
        for scheme, numbers in REGISTER.items()
        for number, (first, last) in numbers.items()
    }
)
others = st.lists(st.tuples(st.sampled_from([0, 0, 1, 5_000, 20_000, 2**62]), st.booleans()), min_size=3, max_size=3)
compiled = lru_cache(8)(program_of)


def sums_of(told: list[list[tuple[int, bool]]], program: Program) -> LimitAggregates:
    limits = len(program.limit_entries)
    return LimitAggregates(
        np.array([[amount for amount, _ in row[:limits]] for row in told], dtype=np.int64),
        np.array([[unnamed for _, unnamed in row[:limits]] for row in told], dtype=np.bool_),
    )


def judged_of(done: Assessment, row: int) -> Judged:
    """Say in the oracle's words how a row was judged."""
    book, eligibility = done.program.books[0].rulebook, done.eligibility
    items = slice(*done.filings.offsets[row : row + 2].tolist())
    count = items.stop - items.start
    judged = Judged(
        notes=set((Note(int(done.notes[row])) & JUDGED).name.split("|")) - {""} if done.notes[row] & JUDGED else set()
    )
    for place, name in enumerate(book.limits):
        by_item = eligibility.item_within
        judged.within[name] = (
            [bool(eligibility.row_within[row, place])] * count if by_item is None else by_item[items, place].tolist()
        )
        assert eligibility.row_within[row, place] == all(judged.within[name])
    for place, name in enumerate(book.reliefs):
        relieved = (eligibility.relieved | eligibility.returned).get(place)
        judged.relieved[name] = [False] * count if relieved is None else relieved[items].tolist()
    return judged


@given(text=rulebooks(), batch=st.lists(consignments(), min_size=1, max_size=6), data=st.data())
@SETTINGS
def test_the_columns_judge_as_the_scalar_law_does(text: str, batch: list[Consignment], data: st.DataObject) -> None:
    program = compiled(text)
    told = [data.draw(others) for _ in batch]
    filed = filings(batch)
    prepared = prepare(program, filed, register)
    measures = measures_of(program, prepared)
    done = assess(program, filed, sums_of(told, program), prepared=prepared)
    scalar, said = Scalar(program, REGISTER), results(done)
    names = list(program.books[0].rulebook.limits)
    for row, consignment in enumerate(batch):
        alone, judged = scalar.judge(
            consignment,
            {name: amount for name, (amount, _) in zip(names, told[row], strict=False)},
            frozenset(name for name, (_, unnamed) in zip(names, told[row], strict=False) if unnamed),
        )
        assert (said[row].problem == "NONE") == (alone.problem == "NONE"), (consignment, said[row], alone)
        if judged is None:
            continue
        columns = judged_of(done, row)
        columns.measured = {
            measures.limit_name(program, at): int(measures.amount[at]) for at in np.flatnonzero(measures.row == row)
        }
        assert columns == judged, consignment
        assert said[row] == alone, consignment


@given(text=rulebooks(), batch=st.lists(consignments(), min_size=1, max_size=6))
@SETTINGS
def test_scheme_numbers_stand_as_the_scalar_law_says(text: str, batch: list[Consignment]) -> None:
    program = compiled(text)
    done = assess(program, filings(batch), register=register)
    scalar = Scalar(program, REGISTER)
    for row, consignment in enumerate(batch):
        states = scalar.states(consignment)
        assert {name: STATES[state] for name, state in states.items()} == {
            name: int(done.eligibility.scheme_state[row, SCHEMES.index(name)])  # type: ignore[arg-type]
            for name in states
        }


@given(text=rulebooks(), batch=st.lists(consignments(), min_size=2, max_size=6), data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_splitting_a_batch_changes_nothing_with_sums(text: str, batch: list[Consignment], data: st.DataObject) -> None:
    program = compiled(text)
    told = [data.draw(others) for _ in batch]
    cut = data.draw(st.integers(1, len(batch) - 1))

    def run(part: slice) -> list[object]:
        done = assess(program, filings(batch[part]), sums_of(told[part], program), register)
        said = results(done)
        return [
            (judged_of(done, row), done.notes[row], said[row])
            for row in range(done.filings.rows)
            if said[row].problem == "NONE"
        ]

    assert run(slice(None)) == run(slice(cut)) + run(slice(cut, None))


@given(text=rulebooks(), batch=st.lists(consignments(), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_what_a_consignment_adds_to_sums_is_told_once_for_each_of_its_limits(
    text: str, batch: list[Consignment]
) -> None:
    program = compiled(text)
    measures = measures_of(program, prepare(program, filings(batch), register))
    places = list(zip(measures.row.tolist(), measures.limit.tolist(), strict=True))
    assert len(set(places)) == len(places)
    assert (measures.amount >= 0).all()
    book = program.books[0].rulebook
    for at, (row, place) in enumerate(places):
        entries = list(book.limits.values())[place]
        assert AGGREGATE_TESTS[int(measures.test[at])] in {entry.test for entry in entries}
        filed = batch[row]
        told = {"sale": filed.sold, "export": filed.exported, "direct_shipment": filed.shipped}.get(book.law_date)
        assert int(measures.day[at]) == day_of_date(told or filed.accepted)
