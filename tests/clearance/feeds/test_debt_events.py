"""News of revenue: a settled debt lets go what it alone held, one that opens holds, charges are replaced; order and replay change nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from libs.columns import Ints, Strings, Table
from libs.feed.types import EventError, FeedBatch
from luxor.clearance.v1 import clearance_pb2 as columns
from services.clearance.commands.act import Commands, Request
from services.clearance.consignment.notice_kinds import NoticeKind, kinds
from services.clearance.consignment.returns import Return, returning, unfit
from services.clearance.consignment.transitions import Change, Debt, Event, State
from tests.clearance.debt_events import OPENED, REFUNDED, amounts, anew, debt, hear, told_of
from tests.clearance.desk import TRACE, Desk, filings, mrns, revenue_answer
from tests.clearance.desk_commands import act, arrival, arrive, check_versions, texts
from tests.clearance.risk_answers import screening
from tests.clearance.screening_matches import hear as hear_hits


async def filed(desk: Desk, *references: str) -> list[str]:
    table = filings(list(references))
    await desk.consume(table)
    return mrns(table)


async def test_a_debt_without_an_account_holds_until_it_is_settled_and_then_lets_go_by_itself(desk: Desk) -> None:
    numbers = await filed(desk, "BARE-1", "BARE-2")
    states = await desk.states(numbers)
    assert told_of(states) == [(State.HELD, Debt.OPEN, Change.DECIDED, True)] * 2
    assert texts(states, "reasons") == [["DEBT_OPEN"]] * 2
    await hear(desk, debt(numbers[:1], 1))
    await arrive(desk, arrival())
    await hear(desk, debt(numbers[1:], 1, Debt.SECURED, account="guarantee:26DEG0000001", paid=0))
    states = await desk.states(numbers)
    assert told_of(states) == [
        (State.RELEASED, Debt.PAID, Change.ARRIVED, False),
        (State.RELEASED, Debt.SECURED, Change.DEBT, False),
    ]
    assert texts(states, "reasons") == [[], []]
    assert states.strings("debt_account").tolist() == ["", "guarantee:26DEG0000001"]
    assert amounts(states)[0][3:5] == (380, 0)
    assert kinds(states).tolist() == [NoticeKind.RELEASED, NoticeKind.RELEASED]
    await check_versions(desk)


async def test_a_blue_one_that_its_debt_held_is_audited_after_release_as_any_blue_one(desk: Desk) -> None:
    desk.neighbours.revenue = bare
    (mrn,) = await filed(desk, "BLUE-1")
    assert told_of(await desk.states([mrn])) == [(State.HELD, Debt.OPEN, Change.DECIDED, True)]
    await hear(desk, debt([mrn], 1))
    states = await desk.states([mrn])
    assert told_of(states)[0][0] == State.AWAITING_ARRIVAL
    assert states.bools("audit").values.tolist() == [True]


def bare(table: Table) -> Table:
    """Answer as revenue, with no account for anybody."""
    return revenue_answer(table).with_columns({"deferred_account": Strings.absent(table.rows)})


async def test_what_more_than_its_debt_holds_stays_held_once_that_is_settled(desk: Desk) -> None:
    desk.neighbours.revenue = bare
    yellow, held, listed = await filed(desk, "YELLOW-1", "GREEN-1", "GREEN-2")
    await act(desk, Event.OFFICER_HELD, [held])
    await hear_hits(desk, screening(filings(["GREEN-2"])))
    await hear(desk, debt([yellow, held, listed], 1))
    states = await desk.states([yellow, held, listed])
    assert [(s, d, h) for s, d, _, h in told_of(states)] == [(State.HELD, Debt.PAID, False)] * 3
    assert all("DEBT_OPEN" not in each for each in texts(states, "reasons"))
    await act(desk, Event.OFFICER_RELEASED, [yellow, held, listed], request_id="o2")
    assert {s for s, *_ in told_of(await desk.states([yellow, held, listed]))} == {State.AWAITING_ARRIVAL}


async def test_a_debt_that_opens_again_holds_what_is_not_released_and_takes_no_release_back(desk: Desk) -> None:
    awaiting = await filed(desk, "GREEN-1")
    other = filings(["GREEN-2"], master="99900000001")
    await desk.consume(other)
    released = mrns(other)
    await arrive(desk, arrival("99900000001"))
    both = [*awaiting, *released]
    await hear(desk, debt(both, 1, Debt.OPEN, kind=OPENED, paid=0))
    states = await desk.states(both)
    assert told_of(states) == [
        (State.HELD, Debt.OPEN, Change.DEBT, True),
        (State.RELEASED, Debt.OPEN, Change.DEBT, False),
    ]
    assert texts(states, "reasons") == [["DEBT_OPEN"], []]
    assert kinds(states).tolist() == [NoticeKind.HELD, NoticeKind.DEBT_OPENED]
    await arrive(desk, arrival())
    assert told_of(await desk.states(awaiting))[0][0] == State.HELD
    acted = await act(desk, Event.OFFICER_RELEASED, awaiting)
    assert [each.refusal for each in acted] == ["DEBT_OPEN"]
    await hear(desk, debt(both, 2))
    assert [s for s, *_ in told_of(await desk.states(both))] == [State.RELEASED] * 2


async def test_charges_totals_notes_and_values_are_those_of_the_newest_assessment(desk: Desk) -> None:
    numbers = await filed(desk, "GREEN-1", "RED-1")
    await hear(desk, anew(numbers, 1, 1, 500))
    states = await desk.states(numbers)
    assert [(s, c) for s, _, c, _ in told_of(states)] == [
        (State.AWAITING_ARRIVAL, Change.REASSESSED), (State.HELD, Change.REASSESSED),
    ]  # fmt: skip
    assert amounts(states) == [(500, 500, 2500, None, None, 1)] * 2
    charges = states.child("charges")
    assert charges.strings("charge").tolist() == ["EU.vat"] * 2
    assert (charges.ints("amount").values.tolist(), charges.strings("rate").tolist()) == ([500] * 2, ["20 %"] * 2)
    assert states.child("items").ints("customs_value_minor").values.tolist() == [2500] * 2
    assert states.strings("rulebook_version").tolist() == ["EU/2026.2/aa00bb11"] * 2
    assert kinds(states).tolist() == [NoticeKind.CHARGES_CHANGED] * 2
    # An older one, told late, changes nothing.
    await hear(desk, anew(numbers, 3, 1, 700))
    assert amounts(await desk.states(numbers)) == [(500, 500, 2500, None, None, 1)] * 2
    await check_versions(desk)


async def test_an_assessment_that_nobody_stands_for_holds_before_release_and_is_a_debt_after_it(desk: Desk) -> None:
    (mrn,) = await filed(desk, "GREEN-1")
    await hear(desk, anew([mrn], 1, 1, 500, account=""))
    assert told_of(await desk.states([mrn])) == [(State.HELD, Debt.OPEN, Change.REASSESSED, True)]
    await hear(desk, anew([mrn], 2, 2, 0))
    assert told_of(await desk.states([mrn])) == [(State.AWAITING_ARRIVAL, Debt.NONE, Change.REASSESSED, False)]
    await arrive(desk, arrival())
    await hear(desk, anew([mrn], 3, 3, 500, account=""))
    states = await desk.states([mrn])
    assert told_of(states) == [(State.RELEASED, Debt.OPEN, Change.REASSESSED, False)]
    assert states.ints("released_at").valid.all()


async def test_what_could_not_be_computed_goes_on_once_it_can(desk: Desk) -> None:
    (mrn,) = await filed(desk, "NORATE-1")
    states = await desk.states([mrn])
    assert told_of(states) == [(State.HELD, Debt.UNKNOWN, Change.DECIDED, True)]
    assert texts(states, "reasons") == [["NO_EXCHANGE_RATE"]]
    await hear(desk, anew([mrn], 1, 1, 200))
    states = await desk.states([mrn])
    assert told_of(states) == [(State.AWAITING_ARRIVAL, Debt.DEFERRED, Change.REASSESSED, False)]
    assert texts(states, "reasons") == [[]]
    await hear(desk, anew([mrn], 2, 2, 0, reason="MASS_MISSING"))
    states = await desk.states([mrn])
    assert told_of(states) == [(State.HELD, Debt.UNKNOWN, Change.REASSESSED, True)]
    assert texts(states, "reasons") == [["MASS_MISSING"]]
    assert amounts(states)[0][:2] == (None, None)


async def test_what_was_paid_counts_for_what_is_owed_anew_and_does_not_cover_more_than_it_is(desk: Desk) -> None:
    (mrn,) = await filed(desk, "BARE-1")
    await hear(desk, debt([mrn], 1))
    await hear(desk, anew([mrn], 2, 1, 500, account=""))
    assert told_of(await desk.states([mrn])) == [(State.HELD, Debt.OPEN, Change.REASSESSED, True)]
    # Told before revenue heard that more is owed: it does not settle that.
    await hear(desk, debt([mrn], 3))
    assert told_of(await desk.states([mrn]))[0][:2] == (State.HELD, Debt.OPEN)
    await hear(desk, anew([mrn], 4, 2, 300, account=""))
    assert told_of(await desk.states([mrn])) == [(State.AWAITING_ARRIVAL, Debt.PAID, Change.REASSESSED, False)]


async def test_an_amendment_keeps_what_was_told_of_the_debt(desk: Desk) -> None:
    (mrn,) = await filed(desk, "BARE-1")
    await hear(desk, debt([mrn], 1))
    assert told_of(await desk.states([mrn]))[0][0] == State.AWAITING_ARRIVAL
    await desk.consume(filings(["BARE-1"], version=2))
    states = await desk.states([mrn])
    assert told_of(states) == [(State.AWAITING_ARRIVAL, Debt.PAID, Change.AMENDED, False)]
    assert (amounts(states)[0][3], states.ints("debt_event_number").tolist()) == (380, [1])
    assert texts(states, "reasons") == [[]]


async def test_news_that_come_before_the_decision_wait_for_it(desk: Desk) -> None:
    table = filings(["BARE-1", "GREEN-1"])
    numbers = mrns(table)
    await hear(desk, debt(numbers[:1], 1), anew(numbers[1:], 1, 1, 500, account=""))
    await hear(desk, debt(numbers[:1], 1), anew(numbers[1:], 1, 1, 500, account=""))
    await desk.consume(table)
    states = await desk.states(numbers)
    assert told_of(states) == [
        (State.AWAITING_ARRIVAL, Debt.PAID, Change.DECIDED, False),
        (State.HELD, Debt.OPEN, Change.DECIDED, True),
    ]
    assert states.ints("version").values.tolist() == [1, 1]
    async with desk.store.database.connection() as reading:
        assert await reading.raw.fetchval("select count(*) from early_news") == 0


async def test_an_assessment_of_a_newer_filing_waits_for_its_decision(desk: Desk) -> None:
    (mrn,) = await filed(desk, "GREEN-1")
    await hear(desk, anew([mrn], 1, 1, 500, filing_version=2))
    assert amounts(await desk.states([mrn]))[0][0] == 380
    await desk.consume(filings(["GREEN-1"], version=2))
    states = await desk.states([mrn])
    assert told_of(states)[0][2] == Change.AMENDED
    assert amounts(states)[0] == (500, 500, 2500, None, None, 1)
    # One of the version before is of no use any more.
    await hear(desk, anew([mrn], 2, 9, 900))
    assert amounts(await desk.states([mrn]))[0][0] == 500


async def test_news_that_say_nothing_new_are_numbered_and_nobody_outside_hears_of_them(desk: Desk) -> None:
    (mrn,) = await filed(desk, "BARE-1")
    await hear(desk, debt([mrn], 1))
    await hear(desk, debt([mrn], 2))
    states = await desk.states([mrn])
    assert (states.ints("version").tolist(), states.ints("public_version").tolist()) == ([3], [2])
    assert kinds(states).tolist() == [0]
    await hear(desk, debt([mrn], 1, Debt.OPEN, kind=OPENED, paid=0), debt([mrn], 2, Debt.OPEN, kind=OPENED, paid=0))
    assert (await desk.states([mrn])).ints("version").tolist() == [3]
    await hear(desk, debt([mrn], 3, kind=REFUNDED, paid=400, refunded=20))
    states = await desk.states([mrn])
    assert (kinds(states).tolist(), amounts(states)[0][3:5]) == ([NoticeKind.DEBT_SETTLED], (400, 20))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"number": Ints.absent(1)}, "number"),
        ({"event": Ints.constant(99, 1)}, "kind"),
        ({"debt_status": Ints.absent(1)}, "lacks the status"),
        ({"event": Ints.constant(3, 1)}, "assessment"),
        ({"mrn": Strings.of(["nonsense"])}, "cannot be read"),
    ],
)
async def test_news_that_cannot_be_read_are_the_events_own_fault(
    desk: Desk, change: dict[str, object], why: str
) -> None:
    good = debt(mrns(filings(["GREEN-1"])), 1)
    broken = FeedBatch(
        good.table.with_columns(change),  # type: ignore[arg-type]
        good.partitions, good.cursor, good.rows, good.committed_at, good.trace, "", 1,
    )  # fmt: skip
    with pytest.raises(EventError, match=why) as caught:
        await hear(desk, broken)
    assert caught.value.reason == "EVENT_MALFORMED"


REFERENCES = ("BARE-1", "GREEN-1", "BLUE-1", "YELLOW-1", "RED-1", "VENDOR-1", "NORATE-1", "BARE-2")


def stream(seed: int, reference: str, number: str) -> list[FeedBatch]:
    """News of one consignment as revenue tells them in their order; the last one settles the debt."""
    rng = random.Random(f"{seed}/{reference}")
    told, generation = [], 0
    for place in range(1, rng.randint(2, 6)):
        if rng.random() < 0.4:
            generation += 1
            told.append(
                anew(
                    [number], place, generation, rng.choice([0, 200, 380, 500]), account=rng.choice(["", "deferred:x"])
                )
            )
        else:
            status = rng.choice([Debt.OPEN, Debt.PAID, Debt.DEFERRED])
            told.append(
                debt(
                    [number],
                    place,
                    status,
                    paid=rng.choice([0, 300, 600]),
                    account="deferred:x" if status == Debt.DEFERRED else "",
                )
            )
    return [*told, debt([number], 99, Debt.PAID, paid=1000, refunded=rng.choice([0, 100]))]


def outcome(states: Table) -> list[tuple[object, ...]]:
    names = (
        "state", "debt_status", "payable_minor", "tax_minor", "paid_minor", "refunded_minor", "debt_event_number", "assessment_generation",
    )  # fmt: skip
    values: list[Sequence[object]] = [states.ints(name).tolist() for name in names]
    values += [states.strings("debt_account").tolist(), states.bools("debt_hold").values.tolist()]
    charges = states.ragged("charges")
    lines = states.child("charges").ints("amount").values.tolist()
    why = [sorted(each) for each in texts(states, "reasons")]
    return [(*each, lines[charges.span(row)], why[row]) for row, each in enumerate(zip(*values, strict=True))]


async def play(desk: Desk, seed: int, shuffle: int) -> list[tuple[object, ...]]:
    """Decide, arrive, and tell all news with repeats, in an order of chance."""
    master = f"1601234567{shuffle}"
    table = filings(list(REFERENCES), filer=f"shop{shuffle}", master=master)
    numbers = mrns(table)
    events: list[tuple[str, FeedBatch | None]] = [("decide", None), ("arrive", None)]
    events += [
        ("news", each) for name, mrn in zip(REFERENCES, numbers, strict=True) for each in stream(seed, name, mrn)
    ]
    events += random.Random(seed).sample([each for each in events if each[1] is not None], 8)
    random.Random(f"order {shuffle}").shuffle(events)
    for kind, batch in events:
        if kind == "decide":
            await desk.consume(table)
        elif kind == "arrive":
            await arrive(desk, arrival(master), f"a{shuffle}")
        else:
            assert batch is not None
            await hear(desk, batch)
    await go_back(desk, numbers, seed, shuffle)
    await check_versions(desk)
    await no_release_with_an_open_debt(desk)
    return outcome(await desk.states(numbers))


async def go_back(desk: Desk, numbers: list[str], seed: int, shuffle: int) -> None:
    """Send back what is released of every second one, told twice, while revenue tells of refunds and of other assessments, in an order of chance."""
    late = [debt([number], 120, Debt.PAID, kind=REFUNDED, paid=1000, refunded=380) for number in numbers]
    late += [anew([number], 121, 20, 250) for number in numbers[::3]]
    acts: list[FeedBatch | str] = [*late, *late[:3], *numbers[::2], *numbers[:2]]
    random.Random(f"late {seed} {shuffle}").shuffle(acts)
    for place, each in enumerate(acts):
        if isinstance(each, str):
            gone = {each: Return(columns.RETURN_REASON_WITHDRAWN, "RET-1", frozenset())}
            await Commands(desk.store).act(
                [(each, None)],
                lambda states, at, gone=gone: returning(states, at, gone, "shop"),  # type: ignore[misc]
                request=Request("filer/shop", f"back {shuffle} {place}", each.encode(), TRACE),
                encode=lambda results: repr(results).encode(),
                unfit=lambda states, gone=gone: unfit(states, gone),  # type: ignore[misc]
            )
        else:
            await hear(desk, each)


async def no_release_with_an_open_debt(desk: Desk) -> None:
    """No version that made a release has an open debt."""
    for table in await desk.events():
        fresh = (table.ints("state").values == State.RELEASED) & (
            table.ints("released_at").values == table.ints("changed_at").values
        )
        assert not (fresh & np.isin(table.ints("debt_status").filled(0), [Debt.OPEN, Debt.UNKNOWN])).any()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_any_order_of_news_decisions_arrivals_and_returns_with_repeats_ends_in_the_same_state(
    desk: Desk, seed: int
) -> None:
    ends = [await play(desk, seed, shuffle) for shuffle in range(4)]
    assert ends[1:] == ends[:1] * 3
    assert {end[0] for end in ends[0]} == {State.RELEASED, State.RE_EXPORTED, State.HELD}


async def test_the_log_of_states_replays_to_the_states_in_force(desk: Desk) -> None:
    expected = await play(desk, 5, 9)
    newest: dict[str, tuple[int, Sequence[tuple[object, ...]]]] = {}
    for table in await desk.events():
        for row, (mrn, version) in enumerate(zip(mrns(table), table.ints("version").values.tolist(), strict=True)):
            if version > newest.get(mrn, (0, ()))[0]:
                newest[mrn] = version, outcome(table.take(np.array([row])))
    numbers = mrns(filings(list(REFERENCES), filer="shop9"))
    assert [newest[number][1][0] for number in numbers] == expected
