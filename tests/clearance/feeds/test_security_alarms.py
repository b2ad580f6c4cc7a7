"""An alarm of a security screening holds at every stage until an officer who has looked at it lets the goods go."""

from __future__ import annotations

from services.clearance.consignment.screening import ALARM
from services.clearance.consignment.transitions import Event, State
from tests.clearance.desk import Desk, filings, mrns
from tests.clearance.desk_commands import act, arrival, arrive, check_versions, texts
from tests.clearance.risk_answers import ServiceSpan, answering, screening
from tests.clearance.screening_matches import clearing, hear, notices_count

ALARMED = {"RED-1": ServiceSpan(cause=1, open=(ALARM,))}
"""As risk's shipped rule answers: red, with a finding of this reason."""


def alarm(*references: str) -> dict[str, ServiceSpan]:
    return dict.fromkeys(references, ServiceSpan(cause=1, open=(ALARM,)))


async def told(desk: Desk, mrn: str) -> tuple[State, bool, list[str], list[str]]:
    """Where it stands, whether an officer has to lift it, its reasons and its findings' reasons."""
    states = await desk.states([mrn])
    findings = states.child("findings").strings("reason").tolist()
    held = bool(states.bools("officer_hold").values[0])
    return State(states.ints("state").values[0]), held, texts(states, "reasons")[0], findings


async def test_an_alarm_that_was_filed_holds_before_arrival_and_on_arrival(desk: Desk) -> None:
    desk.neighbours.risk = answering(alarm("RED-1", "RED-2"))
    filed = filings(["RED-1"])
    await desk.consume(filed)
    await arrive(desk, arrival())
    # And one that is filed when the goods are there already.
    late = filings(["RED-2"])
    await desk.consume(late)
    for mrn in (*mrns(filed), *mrns(late)):
        assert await told(desk, mrn) == (State.HELD, True, [ALARM], [ALARM])
    await act(desk, Event.OFFICER_RELEASED, mrns(filed))
    assert (await told(desk, mrns(filed)[0]))[0] == State.RELEASED
    await check_versions(desk)


async def test_an_amendment_with_an_alarm_holds_and_one_that_leaves_it_out_does_not_lift_it(desk: Desk) -> None:
    desk.neighbours.risk = answering({})
    (mrn,) = mrns(filings(["GREEN-1"]))
    await desk.consume(filings(["GREEN-1"]))
    assert (await told(desk, mrn))[0] == State.AWAITING_ARRIVAL
    desk.neighbours.risk = _red(alarm("GREEN-1"))
    await desk.consume(filings(["GREEN-1"], version=2))
    assert (await told(desk, mrn))[:2] == (State.HELD, True)
    desk.neighbours.risk = answering({})
    await desk.consume(filings(["GREEN-1"], version=3))
    assert (await told(desk, mrn)) == (State.HELD, True, [ALARM], [ALARM])
    assert (await desk.states([mrn])).ints("lane").values.tolist() == [4]
    await arrive(desk, arrival())
    assert (await told(desk, mrn))[0] == State.HELD


async def test_a_result_that_arrives_after_the_goods_holds_them_though_the_amendment_is_refused(desk: Desk) -> None:
    desk.neighbours.risk = answering({})
    filed = filings(["GREEN-1", "RED-2", "GREEN-3"])
    released, held, listed = mrns(filed)
    await desk.consume(filed)
    await hear(desk, screening(filings(["GREEN-3"])))
    await arrive(desk, arrival())
    assert (await told(desk, released))[0] == State.RELEASED
    before = await notices_count(desk)
    desk.neighbours.risk = _red(alarm("GREEN-1", "RED-2", "GREEN-3"))
    await desk.consume(filings(["GREEN-1", "RED-2", "GREEN-3"], version=2))
    assert await told(desk, released) == (State.HELD, True, [ALARM, "OFFICER_HOLD"], [ALARM])
    assert (await told(desk, held))[:2] == (State.HELD, True)
    assert (await desk.states([released])).ints("filing_version").values.tolist() == [1], "what was filed stands"
    assert await notices_count(desk) > before
    # A cleared hit does not free what the alarm holds as well.
    await hear(desk, clearing(filings(["GREEN-3"])))
    assert (await told(desk, listed))[:2] == (State.HELD, True)
    versions = (await desk.states(mrns(filed))).ints("version").values.tolist()
    # The same page again changes nothing, also once an officer has let the goods go.
    await act(desk, Event.OFFICER_RELEASED, [released])
    await desk.consume(filings(["GREEN-1", "RED-2", "GREEN-3"], version=2))
    assert (await told(desk, released))[0] == State.RELEASED
    assert (await desk.states([held, listed])).ints("version").values.tolist() == versions[1:]
    await check_versions(desk)


def _red(tell: dict[str, ServiceSpan]):  # type: ignore[no-untyped-def]
    """Answer red whatever the reference begins with, where something is told of it."""
    from libs.columns import Ints

    plain = answering(tell)

    def answer(table):  # type: ignore[no-untyped-def]
        made = plain(table)
        references = table.strings("local_reference").tolist()
        lanes = [
            4 if reference in tell else lane
            for reference, lane in zip(references, made.ints("lane").tolist(), strict=True)
        ]
        return made.with_columns({"lane": Ints.of(lanes)})

    return answer
