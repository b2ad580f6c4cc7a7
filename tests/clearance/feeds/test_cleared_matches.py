"""A hit that turns out to be of another party: what it alone held goes on, what something else holds stays."""

from __future__ import annotations

import pytest

from services.clearance.api.messages import public
from services.clearance.consignment.notice_kinds import NoticeKind, kinds
from services.clearance.consignment.transitions import Change, Event, State
from tests.clearance.desk import ACCEPTED_AT, Desk, filings, mrns
from tests.clearance.desk_commands import act, arrival, arrive, check_versions, texts
from tests.clearance.risk_answers import SECRET, ServiceSpan, answering, screening
from tests.clearance.screening_matches import BLUE, GREEN, RED, clearing, entries, hear, notices_count


async def state(desk: Desk, mrn: str) -> tuple[State, int, bool, list[str], list[str]]:
    """Where it stands, its lane, whether a hit holds it, its reasons, and the entries that it hits."""
    states = await desk.states([mrn])
    return (
        State(states.ints("state").values[0]),
        int(states.ints("lane").values[0]),
        bool(states.bools("screening_hold").values[0]),
        texts(states, "reasons")[0],
        list(await entries(desk, mrn)),
    )


async def test_what_a_later_hit_alone_held_is_freed_with_a_notice_that_reads_as_an_officers_release(desk: Desk) -> None:
    filed = filings(["GREEN-1", "GREEN-2"])
    first, second = mrns(filed)
    await desk.consume(filed)
    await hear(desk, screening(filed))
    await arrive(desk, arrival())
    before = await notices_count(desk)
    await hear(desk, clearing(filings(["GREEN-1"])))
    assert await state(desk, first) == (State.RELEASED, GREEN, False, [], [])
    assert (await state(desk, second))[0] == State.HELD, "another consignment's hit stands"
    assert await notices_count(desk) > before
    freed = await desk.states([first])
    assert kinds(freed).tolist() == [NoticeKind.RELEASED]
    told = public(freed)
    assert told.ints("change").values.tolist() == [Change.OFFICER_RELEASED]
    assert told.strings("decided_by").tolist() == ["officer"]
    # The same again changes nothing; the same entry told anew holds nothing that is released.
    await hear(desk, clearing(filings(["GREEN-1"])))
    assert (await desk.states([first])).ints("version").values.tolist() == freed.ints("version").values.tolist()
    await check_versions(desk)


async def test_what_the_assessment_held_for_such_a_hit_alone_is_freed_before_it_arrives_too(desk: Desk) -> None:
    desk.neighbours.risk = answering({"RED-1": ServiceSpan(cause=1, confidential=(SECRET,))})
    filed = filings(["RED-1"])
    (mrn,) = mrns(filed)
    await desk.consume(filed)
    assert await state(desk, mrn) == (State.HELD, RED, False, ["CUSTOMS_CHECK"], ["6908555"])
    await hear(desk, clearing(filed, left=BLUE))
    assert await state(desk, mrn) == (State.AWAITING_ARRIVAL, BLUE, False, [], [])
    assert public(await desk.states([mrn])).ints("lane").values.tolist() == [RED], "nobody outside reads another lane"
    await arrive(desk, arrival())
    assert (await state(desk, mrn))[0] == State.RELEASED
    await check_versions(desk)


@pytest.mark.parametrize("other", ["lane", "hit", "officer", "debt", "unknown lane", "finding"])
async def test_what_is_also_held_by_something_else_stays_held(desk: Desk, other: str) -> None:
    reference = "BARE-1" if other == "debt" else "RED-1"
    open_reasons = ("GOODS_PROHIBITED",) if other == "finding" else ()
    told = ServiceSpan(cause=1, confidential=(SECRET,), open=open_reasons)
    desk.neighbours.risk = answering({"RED-1": told, "BARE-1": told})
    filed = filings([reference])
    (mrn,) = mrns(filed)
    await desk.consume(filed)
    if other == "debt":
        await hear(desk, screening(filed))
    if other == "hit":
        await hear(desk, screening(filed, ("7",)))
    if other == "officer":
        await act(desk, Event.OFFICER_HELD, [mrn])
    before = await notices_count(desk)
    await hear(desk, clearing(filed, left={"lane": RED, "unknown lane": None}.get(other, GREEN)))
    where, _, listed, _, left = await state(desk, mrn)
    assert where == State.HELD
    assert left == (["7"] if other == "hit" else [])
    assert listed == (other == "hit")
    assert await notices_count(desk) == before, "nobody outside hears of it"
    await arrive(desk, arrival())
    assert (await state(desk, mrn))[0] == State.HELD
    if other == "hit":
        # The last pair that is cleared frees it.
        await hear(desk, clearing(filed, "7", at=ACCEPTED_AT + 2))
        assert (await state(desk, mrn))[0] == State.RELEASED
    if other == "debt":
        states = await desk.states([mrn])
        assert states.bools("debt_hold").values.tolist() == [True], "its debt alone holds it from now on"
    await check_versions(desk)


async def test_a_hit_that_is_cleared_before_the_decision_holds_nothing(desk: Desk) -> None:
    desk.neighbours.risk = answering({"RED-1": ServiceSpan(cause=1, confidential=(SECRET,))})
    filed = filings(["RED-1", "GREEN-2", "RED-3"])
    red, green, other = mrns(filed)
    await hear(desk, clearing(filings(["RED-1"])))
    await hear(desk, screening(filings(["GREEN-2"])))
    await hear(desk, clearing(filings(["GREEN-2"])))
    await desk.consume(filed)
    assert [(await state(desk, mrn))[0] for mrn in (red, green, other)] == [
        State.AWAITING_ARRIVAL,
        State.AWAITING_ARRIVAL,
        State.HELD,
    ]
    assert await entries(desk, red) == []


async def test_a_pair_that_is_withdrawn_holds_again_and_one_of_a_former_filing_frees_nothing(desk: Desk) -> None:
    filed = filings(["GREEN-1"])
    (mrn,) = mrns(filed)
    await desk.consume(filed)
    await hear(desk, screening(filed))
    await desk.consume(filings(["GREEN-1"], version=2))
    await hear(desk, clearing(filed))
    assert (await state(desk, mrn))[0] == State.HELD, "what was cleared is of the first version"
    await hear(desk, clearing(filed, version=2, at=ACCEPTED_AT + 2))
    assert (await state(desk, mrn))[0] == State.AWAITING_ARRIVAL
    await hear(desk, screening(filed, version=2, at=ACCEPTED_AT + 3))
    assert (await state(desk, mrn))[:3] == (State.HELD, RED, True)
    await check_versions(desk)


async def test_a_release_that_was_to_be_audited_for_such_a_hit_alone_is_not_any_more(desk: Desk) -> None:
    filed = filings(["GREEN-1", "BLUE-1"])
    await desk.consume(filed)
    await arrive(desk, arrival())
    await hear(desk, screening(filed))
    assert (await desk.states(mrns(filed))).bools("audit").values.tolist() == [True, True]
    await hear(desk, clearing(filings(["GREEN-1"]), left=GREEN), clearing(filings(["BLUE-1"]), left=BLUE))
    states = await desk.states(mrns(filed))
    assert states.bools("audit").values.tolist() == [False, True]
    assert states.ints("state").values.tolist() == [State.RELEASED] * 2
