"""What goes on by itself: green after the time for a look, yellow to blue after its days. Time is given, never waited for."""

from __future__ import annotations

from libs.columns import Ints, Ragged, Table
from libs.store.tables.leases import try_lease
from services.clearance.consignment.notice_kinds import NoticeKind, kinds
from services.clearance.consignment.transitions import Change, Event, State
from services.clearance.jobs.waits import LEASE, LEASE_SECONDS, Waits
from services.clearance.store.work import due_times
from tests.clearance.desk import ACCEPTED_AT, Desk, filings, mrns
from tests.clearance.desk_commands import act, arrival, arrive, check_versions, texts
from tests.clearance.risk_answers import ServiceSpan, answering, screening
from tests.clearance.screening_matches import clearing, hear

MINUTE = 60_000_000
DAY = 86_400_000_000


def lives(states: Table) -> list[tuple[State, Change]]:
    pairs = zip(states.ints("state").values.tolist(), states.ints("change").values.tolist(), strict=True)
    return [(State(state), Change(change)) for state, change in pairs]


async def now(desk: Desk) -> int:
    return await desk.store.database.now()


async def test_a_green_one_that_may_be_looked_at_waits_after_its_arrival_and_is_released_at_its_time(
    desk: Desk,
) -> None:
    desk.neighbours.risk = answering(
        {"GREEN-1": ServiceSpan(delay_minutes=60), "GREEN-2": ServiceSpan(delay_minutes=0)}
    )
    filed = filings(["GREEN-1", "GREEN-2"])
    await desk.consume(filed)
    states = await desk.states(mrns(filed))
    decided_at = states.ints("decided_at").values[0]
    assert states.ints("release_not_before").tolist() == [decided_at + 60 * MINUTE, None]
    waits = Waits(desk.store, "replica-1")
    assert await waits.step(at=decided_at + 61 * MINUTE) == 0, "nothing has arrived"
    await arrive(desk, arrival())
    states = await desk.states(mrns(filed))
    assert lives(states) == [(State.AWAITING_ARRIVAL, Change.ARRIVED), (State.RELEASED, Change.ARRIVED)]
    assert states.ints("arrived_at").valid.all()
    assert kinds(states).tolist() == [NoticeKind.ARRIVED, NoticeKind.RELEASED]
    assert await waits.step(at=decided_at + 60 * MINUTE - 1) == 0
    assert await waits.step(at=decided_at + 60 * MINUTE) == 1
    assert await waits.step(at=decided_at + 90 * MINUTE) == 0
    states = await desk.states(mrns(filed))
    assert lives(states)[0] == (State.RELEASED, Change.WAIT_ENDED)
    assert states.ints("released_at").values[0] == decided_at + 60 * MINUTE
    assert states.ints("decided_at").values[0] == decided_at, "the decision is the same"
    await check_versions(desk)


async def test_a_decision_on_goods_that_are_there_already_waits_as_well(desk: Desk) -> None:
    desk.neighbours.risk = answering({"GREEN-1": ServiceSpan(delay_minutes=60)})
    filed = filings(["GREEN-1"])
    await arrive(desk, arrival())
    await desk.consume(filed)
    assert lives(await desk.states(mrns(filed))) == [(State.AWAITING_ARRIVAL, Change.DECIDED)]
    assert await Waits(desk.store, "r").step(at=await now(desk) + 61 * MINUTE) == 1
    assert lives(await desk.states(mrns(filed))) == [(State.RELEASED, Change.WAIT_ENDED)]


async def test_an_officer_may_hold_what_waits_and_what_she_lets_go_waits_no_more(desk: Desk) -> None:
    desk.neighbours.risk = answering(
        {"GREEN-1": ServiceSpan(delay_minutes=60), "GREEN-2": ServiceSpan(delay_minutes=60)}
    )
    filed = filings(["GREEN-1", "GREEN-2"])
    numbers = mrns(filed)
    await desk.consume(filed)
    await arrive(desk, arrival())
    await act(desk, Event.OFFICER_HELD, numbers)
    assert await Waits(desk.store, "r").step(at=await now(desk) + DAY) == 0
    await act(desk, Event.OFFICER_RELEASED, numbers[:1], request_id="o2")
    assert [state for state, _ in lives(await desk.states(numbers))] == [State.RELEASED, State.HELD]


async def test_a_hit_of_the_screening_in_between_stops_the_wait(desk: Desk) -> None:
    desk.neighbours.risk = answering({"GREEN-1": ServiceSpan(delay_minutes=60), "YELLOW-1": ServiceSpan(days=5)})
    filed = filings(["GREEN-1", "YELLOW-1"])
    await desk.consume(filed)
    await arrive(desk, arrival())
    await hear(desk, screening(filed))
    assert await Waits(desk.store, "r").step(at=await now(desk) + 30 * DAY) == 0
    assert lives(await desk.states(mrns(filed))) == [(State.HELD, Change.SCREENING_MATCHED)] * 2


async def test_a_yellow_one_that_nobody_holds_becomes_blue_at_its_time_and_is_released_once_it_arrived(
    desk: Desk,
) -> None:
    tell = {
        "YELLOW-1": ServiceSpan(days=5, open=("VALUE_LOW",)),
        "YELLOW-2": ServiceSpan(days=5),
        "YELLOW-3": ServiceSpan(),
        "RED-1": ServiceSpan(),
    }
    desk.neighbours.risk = answering(tell)
    filed, later = filings(["YELLOW-1", "YELLOW-2", "YELLOW-3", "RED-1"]), filings(["YELLOW-1"], filer="b", master="7")
    await desk.consume(filed, later)
    await arrive(desk, arrival())
    await act(desk, Event.OFFICER_HELD, [mrns(filed)[1]])
    begun = await now(desk)
    waits = Waits(desk.store, "r")
    assert await waits.step(at=begun + 4 * DAY) == 0
    assert await waits.step(at=begun + 5 * DAY) == 2
    states = await desk.states([*mrns(filed), *mrns(later)])
    assert [state for state, _ in lives(states)] == [
        State.RELEASED, State.HELD, State.HELD, State.HELD, State.AWAITING_ARRIVAL,
    ]  # fmt: skip
    assert states.ints("lane").values.tolist() == [2, 3, 3, 4, 2]
    assert states.bools("audit").values.tolist() == [True, False, False, False, True]
    assert texts(states, "reasons")[0] == ["VALUE_LOW"]
    assert lives(states)[0][1] == Change.REROUTED
    await check_versions(desk)


async def test_where_a_listed_party_or_a_goods_control_calls_for_yellow_time_changes_nothing(desk: Desk) -> None:
    listed, control, rule, note = "YELLOW-1", "YELLOW-2", "YELLOW-3", "YELLOW-4"

    def answer(table: Table) -> Table:
        tell = {name: ServiceSpan(days=5, open=("A_REASON",)) for name in (control, rule, note)}
        answered = answering(tell | {listed: ServiceSpan(days=5, confidential=("PARTY_LISTED",))})(table)
        findings = answered.ragged("findings")
        kinds, lanes = Ints.of([4, 3, 1, 3]), Ints.of([3, 3, 3, 1])
        found = answered.child("findings").with_columns({"kind": kinds, "lane": lanes})
        return answered.with_columns({"findings": Ragged(findings.offsets, found)})

    desk.neighbours.risk = answer
    filed = filings([listed, control, rule, note])
    await desk.consume(filed)
    await arrive(desk, arrival())
    states = await desk.states(mrns(filed))
    assert [each is None for each in states.ints("reroute_at").tolist()] == [True, True, False, False]
    assert await Waits(desk.store, "r").step(at=await now(desk) + 30 * DAY) == 2
    assert [state for state, _ in lives(await desk.states(mrns(filed)))] == [State.HELD] * 2 + [State.RELEASED] * 2


async def test_a_yellow_one_that_owes_becomes_blue_and_stays_held_for_its_debt(desk: Desk) -> None:
    desk.neighbours.risk = answering({})

    def owing(table: Table) -> Table:
        from libs.columns import Strings
        from tests.clearance.desk import revenue_answer

        return revenue_answer(table).with_columns({"deferred_account": Strings.absent(table.rows)})

    desk.neighbours.revenue = owing
    desk.neighbours.risk = answering({"YELLOW-1": ServiceSpan(days=1)})
    filed = filings(["YELLOW-1"])
    await desk.consume(filed)
    at = await now(desk) + DAY
    waits = Waits(desk.store, "r")
    assert await waits.step(at=at) == 1
    assert await waits.step(at=at + DAY) == 0
    states = await desk.states(mrns(filed))
    assert lives(states) == [(State.HELD, Change.REROUTED)]
    assert states.ints("lane").values.tolist() == [2]
    assert texts(states, "reasons") == [["LANE_BLUE", "DEBT_OPEN"]]


async def test_one_replica_at_a_time_works_and_thousands_go_on_in_chunks(desk: Desk) -> None:
    names = [f"GREEN-{number:05d}" for number in range(2_300)]
    desk.neighbours.risk = answering(dict.fromkeys(names, ServiceSpan(delay_minutes=1)))
    filed = filings(names)
    await desk.consume(filed)
    await arrive(desk, arrival())
    at = await now(desk) + DAY
    async with desk.store.database.transaction() as tx:
        assert await try_lease(tx, LEASE, "another", LEASE_SECONDS) is not None
    assert await Waits(desk.store, "r").step(at=at) == 0
    assert await Waits(desk.store, "another").step(at=at) == 2_300
    assert (await desk.states(mrns(filed))).ints("state").values.tolist() == [State.RELEASED] * 2_300
    sizes = [t.rows for t in await desk.events() if t.ints("change").values[0] == Change.WAIT_ENDED]
    assert sorted(sizes) == [300, 1_000, 1_000]


async def test_a_time_that_stands_although_the_consignment_went_on_is_mended(desk: Desk) -> None:
    """As a replica of the release before leaves it, which releases and notes nothing."""
    filed = filings(["GREEN-1", "YELLOW-1"])
    await desk.consume(filed)
    gone, held = mrns(filed)
    async with desk.store.database.transaction() as tx:
        for mrn in (gone, held, mrns(filings(["GREEN-7"]))[0]):
            await tx.raw.execute("insert into due (day, mrn, due_at) values ($1, $2, 5)", ACCEPTED_AT // DAY, mrn)
    assert await Waits(desk.store, "r").step() == 0
    async with desk.store.database.connection() as reading:
        assert await reading.raw.fetchval("select count(*) from due") == 0
    _, due = due_times(await desk.states([gone, held]))
    assert due.tolist() == [False, False]


async def test_a_match_from_before_the_decision_that_is_cleared_leaves_the_time_for_an_officer(desk: Desk) -> None:
    """The match came before the delay began, so it ended none: cleared goods are released at their time, with nobody's help."""
    desk.neighbours.risk = answering({"GREEN-1": ServiceSpan(delay_minutes=60)})
    filed = filings(["GREEN-1"])
    await hear(desk, screening(filed))
    await desk.consume(filed)
    (decided_at,) = (await desk.states(mrns(filed))).ints("decided_at").tolist()
    assert decided_at is not None
    await arrive(desk, arrival())
    await hear(desk, clearing(filed))
    states = await desk.states(mrns(filed))
    assert lives(states) == [(State.AWAITING_ARRIVAL, Change.SCREENING_MATCH_CLEARED)]
    waits = Waits(desk.store, "r")
    assert await waits.step(at=decided_at + 60 * MINUTE - 1) == 0
    assert await waits.step(at=decided_at + 60 * MINUTE) == 1
    assert lives(await desk.states(mrns(filed))) == [(State.RELEASED, Change.WAIT_ENDED)]
    await check_versions(desk)
