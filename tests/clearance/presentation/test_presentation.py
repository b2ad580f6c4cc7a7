"""Presentation as an act of its own: what waits for it, what follows from it, and what it ends. Time is given, never waited for."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from libs.columns import Ints, Strings, Table
from libs.customs.time import MICROS_PER_DAY, date_of_day
from libs.files.yaml_file import YamlError
from libs.server.identity import Identity, Role
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.commands.act import Request
from services.clearance.commands.arrivals.reverse_arrival import Reversal
from services.clearance.commands.presentation.present import Present, PresentProgress
from services.clearance.consignment.notice_kinds import NoticeKind, kinds
from services.clearance.consignment.proposals.proposal import Proposal, ProposalKind, open_proposals, with_proposals
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.transitions import Change, Event, State
from services.clearance.jobs.waits import Waits
from services.clearance.presentation.law import INCLUDED, PresentationLaw, included, read
from tests.clearance.desk import CARRIER, MASTER, TRACE, Desk, filings, mrns
from tests.clearance.desk_commands import PRESENTATION, act, arrival, arrive
from tests.clearance.events import STEPS, Driver
from tests.clearance.risk_answers import ServiceSpan, answering

ARRIVED = arrival().arrived_at
DUE = ARRIVED + 3_600 * 10**6
WAITING, HELD, RELEASED = State.AWAITING_ARRIVAL, State.HELD, State.RELEASED


@pytest.fixture
def pier(desk: Desk) -> Desk:
    """A desk under a law by which goods are presented within an hour."""
    desk.decide.presentation = desk.arrive.law = PRESENTATION
    return desk


async def present(
    desk: Desk, *goods: str, master: str = "", request_id: str = "p1", caller: str = CARRIER
) -> PresentProgress:
    """Present goods, and return the counts."""
    seen: list[PresentProgress] = []
    identity = Identity(Role.CARRIER if caller == CARRIER or caller == "sheds" else Role.OFFICER, caller)
    request = Request(str(identity), request_id, master.encode() + repr(goods).encode(), TRACE)

    def encode(progress: PresentProgress, *results: object) -> bytes:
        seen.append(progress)
        return b"-"

    command = Present(desk.store, chunk_rows=2)
    if master:
        await command.under(master, caller=identity, refusals_max=9, request=request, encode=encode)
    else:
        await command.named([(mrn, None) for mrn in goods], caller=identity, request=request, encode=encode)
    return seen[0] if seen else PresentProgress(consignments=-1)


async def stand(desk: Desk, *references: str) -> list[tuple[State, Change, int | None, int | None]]:
    """State, change, deadline and time of the presentation."""
    table = await desk.states(mrns(filings(references)))
    columns = [table.ints(name).tolist() for name in ("state", "change", "presentation_due_at", "presented_at")]
    return [(State(state), Change(change), due, at) for state, change, due, at in zip(*columns, strict=True)]


async def listed(desk: Desk) -> dict[str, tuple[int, int | None]]:
    async with desk.store.database.connection() as reading:
        rows = await reading.raw.fetch("select mrn, ends_at, next_at from storage")
    return {row["mrn"]: (row["ends_at"], row["next_at"]) for row in rows}


async def test_where_the_arrival_is_the_presentation_nothing_changes(desk: Desk) -> None:
    await desk.consume(filings(["GREEN-1", "RED-1"]))
    await arrive(desk, arrival())
    assert await stand(desk, "GREEN-1", "RED-1") == [
        (RELEASED, Change.ARRIVED, None, None), (HELD, Change.ARRIVED, None, None),
    ]  # fmt: skip
    assert (await present(desk, *mrns(filings(["GREEN-1", "RED-1"])))).presented_before == 2
    states = await desk.states(mrns(filings(["GREEN-1", "RED-1"])))
    # Nor is a column of presentation stored.
    stored = states.encode(ClearanceColumns)
    assert not any(stored.HasField(name) for name in ("presentation_due_at", "presented_at", "presentation_overdue_at"))


async def test_goods_wait_for_their_presentation_and_then_continue_as_on_an_arrival(pier: Desk) -> None:
    pier.neighbours.risk = answering({"GREEN-9": ServiceSpan(delay_minutes=60)})
    references = ["GREEN-1", "RED-1", "GREEN-2", "GREEN-9"]
    await pier.consume(filings(references))
    await arrive(pier, arrival())
    unpresented = [(WAITING, DUE), (HELD, DUE), (WAITING, DUE), (WAITING, DUE)]
    assert [(state, due) for state, _, due, _ in await stand(pier, *references)] == unpresented
    states = await pier.states(mrns(filings(references)))
    assert kinds(states).tolist() == [NoticeKind.ARRIVED] * 4
    goods = mrns(filings(references))
    assert await listed(pier) == dict.fromkeys(goods, (DUE, DUE))
    # A delay that is over releases nothing before the presentation, and is in no list.
    async with pier.store.database.connection() as reading:
        assert await pier.store.work.due(reading, 2**62, 9) == []
    before = await pier.store.database.now()
    counts = await present(pier, goods[0], goods[1], goods[3])
    assert (counts.consignments, counts.presented, counts.released, counts.refused) == (3, 3, 1, 0)
    found = await stand(pier, *references)
    assert [each[:2] for each in found] == [
        (RELEASED, Change.PRESENTED), (HELD, Change.PRESENTED), (WAITING, Change.ARRIVED), (WAITING, Change.PRESENTED),
    ]  # fmt: skip
    assert [at is not None and at >= before for *_, at in found] == [True, True, False, True]
    assert kinds(await pier.states(goods)).tolist() == [
        NoticeKind.RELEASED, NoticeKind.PRESENTED, NoticeKind.ARRIVED, NoticeKind.PRESENTED,
    ]  # fmt: skip
    # The same request again, and another one: nothing changes.
    assert (await present(pier, goods[0], goods[1], goods[3])).consignments == -1
    again = await present(pier, *goods, request_id="p2")
    assert (again.presented, again.presented_before, again.refused) == (1, 3, 0)
    await Waits(pier.store, "r").step(at=2 * MICROS_PER_DAY + await pier.store.database.now())
    assert (await stand(pier, "GREEN-9"))[0][:2] == (RELEASED, Change.WAIT_ENDED)


async def test_storage_begins_with_the_presentation(pier: Desk) -> None:
    await pier.consume(filings(["RED-1"]))
    await arrive(pier, arrival())
    (mrn,) = mrns(filings(["RED-1"]))
    await present(pier, mrn)
    ((*_, at),) = await stand(pier, "RED-1")
    assert at is not None
    last = date_of_day(at // MICROS_PER_DAY) + timedelta(days=90)
    while last.isoweekday() > 5:
        last += timedelta(days=1)
    end = ((last - date(1970, 1, 1)).days + 1) * MICROS_PER_DAY
    assert await listed(pier) == {mrn: (end, end - 14 * MICROS_PER_DAY)}


async def test_what_was_not_presented_in_time_is_announced_once_and_stays_listed(pier: Desk) -> None:
    await pier.consume(filings(["GREEN-1", "RED-1", "GREEN-2"]))
    await arrive(pier, arrival())
    green, red, other = mrns(filings(["GREEN-1", "RED-1", "GREEN-2"]))
    await present(pier, other)
    waits = Waits(pier.store, "r")
    assert await waits.step(at=DUE - 1) == 0
    assert sum(await asyncio.gather(waits.step(at=DUE), Waits(pier.store, "s").step(at=DUE))) == 2
    assert await waits.step(at=DUE + 400 * MICROS_PER_DAY) == 0
    assert [each[:2] for each in await stand(pier, "GREEN-1", "RED-1")] == [
        (WAITING, Change.PRESENTATION_OVERDUE), (HELD, Change.PRESENTATION_OVERDUE),
    ]  # fmt: skip
    states = await pier.states([green, red])
    assert kinds(states).tolist() == [NoticeKind.PRESENTATION_OVERDUE] * 2
    assert states.ints("presentation_overdue_at").tolist() == [DUE, DUE]
    assert await listed(pier) == {green: (DUE, None), red: (DUE, None)}
    # Late is better than never.
    await present(pier, green, red, request_id="p2")
    assert [each[0] for each in await stand(pier, "GREEN-1", "RED-1")] == [RELEASED, HELD]
    assert set(await listed(pier)) == {red}


async def test_the_declaration_may_be_amended_until_the_presentation_and_not_after_it(pier: Desk) -> None:
    await pier.consume(filings(["GREEN-1", "GREEN-2", "GREEN-3"]))
    await arrive(pier, arrival())
    driver = Driver(pier)
    await driver.amend("GREEN-1", MASTER)
    await act(pier, Event.OFFICER_HELD, mrns(filings(["GREEN-2"])))
    await present(pier, *mrns(filings(["GREEN-2"])))
    await driver.amend("GREEN-2", MASTER)
    # To another transport document: the arrival is that of the first one.
    await driver.amend("GREEN-3", "16099999999")
    table = await pier.states(mrns(filings(["GREEN-1", "GREEN-2", "GREEN-3"])))
    assert table.ints("filing_version").tolist() == [2, 1, 1]
    assert table.ints("presentation_due_at").tolist() == [DUE, DUE, DUE]
    assert table.ints("state").tolist() == [WAITING, HELD, WAITING]
    notices = [kind for each in await pier.events() for kind in kinds(each).tolist()]
    assert NoticeKind.AMENDMENT_REFUSED not in notices  # it makes no version
    await present(pier, *mrns(filings(["GREEN-1", "GREEN-3"])), request_id="p2")
    assert [each[0] for each in await stand(pier, "GREEN-1", "GREEN-3")] == [RELEASED, RELEASED]


async def test_an_officer_releases_nothing_before_the_presentation_and_at_once_after_it(pier: Desk) -> None:
    await pier.consume(filings(["RED-1", "RED-2", "NORATE-1"]))
    await arrive(pier, arrival())
    first, second, unvalued = mrns(filings(["RED-1", "RED-2", "NORATE-1"]))
    (acted, refused) = await act(pier, Event.OFFICER_RELEASED, [first, unvalued])
    assert (acted.state, acted.refusal, refused.refusal) == (WAITING, "", "DEBT_UNKNOWN")
    await present(pier, first, second, unvalued)
    assert [each[0] for each in await stand(pier, "RED-1", "RED-2")] == [RELEASED, HELD]
    answers = await act(pier, Event.OFFICER_RELEASED, [second, unvalued], request_id="o2")
    assert [(each.state, each.refusal) for each in answers] == [(RELEASED, ""), (RELEASED, "")]


async def test_a_payment_before_the_presentation_releases_nothing(pier: Desk) -> None:
    await pier.consume(filings(["BARE-1"]))
    await arrive(pier, arrival())
    assert (await stand(pier, "BARE-1"))[0][0] == HELD
    await STEPS["paid"](Driver(pier), "BARE-1")
    assert (await stand(pier, "BARE-1"))[0][0] == WAITING
    await present(pier, *mrns(filings(["BARE-1"])))
    assert (await stand(pier, "BARE-1"))[0][0] == RELEASED


async def test_a_master_document_is_presented_in_chunks_and_what_is_not_the_callers_is_left_alone(pier: Desk) -> None:
    references = [f"GREEN-{number}" for number in range(5)]
    await pier.consume(filings([*references, "RED-1"]))
    await pier.consume(filings(["GREEN-8"], master="7"))
    assert (await present(pier, master=MASTER)).refusals[0][3] == "NOT_ARRIVED"
    await arrive(pier, arrival())
    # Nobody bound it, and it learns nothing; nor by MRN.
    stranger = await present(pier, master=MASTER, caller="sheds")
    assert (stranger.consignments, stranger.refused) == (0, 0)
    named = await present(pier, *mrns(filings(["GREEN-1"])), caller="sheds", request_id="p9")
    assert (named.consignments, named.refused) == (0, 1)
    counts = await present(pier, master=MASTER, request_id="p2")
    assert (counts.consignments, counts.presented, counts.released, counts.refused) == (6, 6, 5, 0)
    assert {each[0] for each in await stand(pier, *references)} == {RELEASED}
    assert await stand(pier, "GREEN-8") == [(WAITING, Change.DECIDED, None, None)]


async def test_a_filing_that_is_decided_after_the_arrival_is_presented_too(pier: Desk) -> None:
    await arrive(pier, arrival())
    await pier.consume(filings(["GREEN-1", "RED-1"]))
    assert await stand(pier, "GREEN-1", "RED-1") == [
        (WAITING, Change.DECIDED, DUE, None), (HELD, Change.DECIDED, DUE, None),
    ]  # fmt: skip
    assert set(await listed(pier)) == set(mrns(filings(["GREEN-1", "RED-1"])))
    assert (await present(pier, master=MASTER)).released == 1


async def test_an_officer_reverses_a_presented_arrival_and_a_carrier_does_not(pier: Desk) -> None:
    await pier.consume(filings(["RED-1", "RED-2"]))
    await arrive(pier, arrival())
    first, second = mrns(filings(["RED-1", "RED-2"]))
    await present(pier, first)
    reversal = Reversal(pier.store, law=PRESENTATION)
    assert (await reversal.count(MASTER, CARRIER)).presented == 1
    # As of a carrier whose goods were presented while it reversed the arrival.
    await reversal.begin(MASTER, CARRIER, f"carrier/{CARRIER}")
    assert await reversal.finish(2**62, 1) == 1
    table = await pier.states([first, second])
    assert table.ints("arrived_at").valid.tolist() == [True, False]
    assert table.ints("presentation_due_at").valid.tolist() == [True, False]
    await arrive(pier, arrival(), request_id="a2")
    await reversal.begin(MASTER, CARRIER, "officer/otto")
    done = await reversal.reverse(MASTER, CARRIER, trace=TRACE, by="officer/otto")
    assert (done.consignments, done.not_reversed) == (2, 0)
    table = await pier.states([first, second])
    assert not any(table.ints(name).valid.any() for name in ("arrived_at", "presentation_due_at", "presented_at"))
    assert await listed(pier) == {}
    # The true arrival is to be presented again.
    await arrive(pier, arrival(), request_id="a3")
    assert await stand(pier, "RED-1") == [(HELD, Change.ARRIVED, DUE, None)]


async def test_a_rule_from_today_holds_for_arrivals_that_are_reported_for_yesterday(desk: Desk) -> None:
    today = date_of_day(await desk.store.database.now() // MICROS_PER_DAY)
    (rule,) = PRESENTATION.rules
    desk.decide.presentation = desk.arrive.law = PresentationLaw(rules=(msgspec.structs.replace(rule, start=today),))
    assert date_of_day(ARRIVED // MICROS_PER_DAY) < today
    await desk.consume(filings(["GREEN-1"]))
    await arrive(desk, arrival())
    await desk.consume(filings(["GREEN-2"]))
    assert await stand(desk, "GREEN-1", "GREEN-2") == [
        (WAITING, Change.ARRIVED, DUE, None), (WAITING, Change.DECIDED, DUE, None),
    ]  # fmt: skip


async def test_a_proposal_stays_open_over_the_deadline_and_the_presentation(pier: Desk) -> None:
    await pier.consume(filings(["RED-1"]))
    await arrive(pier, arrival())
    (mrn,) = mrns(filings(["RED-1"]))
    proposal = Proposal(kind=ProposalKind.RELEASE, reason="IN_ORDER", note="", proposed_by="olga")
    at = await pier.store.database.now()
    async with pier.store.database.transaction() as tx:
        rows = list((await pier.store.lock(tx, [mrn])).values())
        states = with_proposals(await pier.store.states(tx, rows), [proposal.made(at)])
        states, _ = apply_event(states, EventDetails(event=Event.DECISION_PROPOSED, at=at))
        await pier.store.succeed(tx, states, rows, trace=TRACE)
    assert await Waits(pier.store, "r").step(at=DUE) == 1
    assert (await stand(pier, "RED-1"))[0][:2] == (HELD, Change.PRESENTATION_OVERDUE)
    assert open_proposals(await pier.states([mrn])) == [proposal.made(at)]
    await present(pier, mrn)
    assert (await stand(pier, "RED-1"))[0][:2] == (HELD, Change.PRESENTED)
    assert open_proposals(await pier.states([mrn])) == [proposal.made(at)]


async def test_goods_that_ended_unpresented_are_refused(pier: Desk) -> None:
    references = ["RED-1", "RED-2", "RED-3"]
    await pier.consume(filings(references))
    early, late, arrived = mrns(filings(references))
    await act(pier, Event.INVALIDATED, [early])
    await arrive(pier, arrival())
    await present(pier, late)
    disposed = await act(pier, Event.DESTROYED, [late, arrived], request_id="o2")
    assert [each.refusal for each in disposed] == ["", ""]
    counts = await present(pier, master=MASTER, request_id="p2")
    assert (counts.presented, counts.presented_before, counts.refused) == (0, 1, 2)
    assert {(mrn, reason) for mrn, _, _, reason in counts.refusals} == {
        (early, "STATE_FINAL"), (arrived, "STATE_FINAL"),
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------- the law
RULE = """
  - {{jurisdiction: EU, areas: [{areas}], from: {first}, to: {last}, due_minutes: {minutes}, law: L, article: A, address: U}}"""


def law_of(path: Path, *rules: dict[str, object]) -> PresentationLaw:
    shown = [
        RULE.format(**{"areas": "DE", "first": "2026-11-30", "last": "2026-12-01", "minutes": 60} | rule)
        for rule in rules
    ]
    path.write_text("format: 1\nrules:" + ("".join(shown) or " []"))
    return read(path)


def test_the_rule_of_the_destination_and_of_the_day_of_arrival_counts(tmp_path: Path) -> None:
    law = law_of(
        tmp_path / "rules.yaml", {}, {"first": "2026-12-02", "last": "2026-12-02", "minutes": 90}, {"areas": "FR"}
    )
    first = (date(2026, 11, 30) - date(1970, 1, 1)).days * MICROS_PER_DAY
    cases = {  # country, arrival after the first moment of 30 November: minutes until the presentation is due
        ("DE", -1): None, ("DE", 0): 60, ("FR", 0): 60, ("NL", 0): None, ("DE", 2 * MICROS_PER_DAY - 1): 60,
        ("DE", 2 * MICROS_PER_DAY): 90, ("FR", 2 * MICROS_PER_DAY): None, ("DE", 3 * MICROS_PER_DAY): None, ("DE", None): None,
    }  # fmt: skip
    states = Table.of(
        ClearanceColumns, len(cases), {"destination_country": Strings.of([country for country, _ in cases])}
    )
    at = [None if after is None else first + after for _, after in cases]
    arrived = Ints.of([each or 0 for each in at], [each is not None for each in at])
    due = law.arriving(states, arrived, 0).ints("presentation_due_at").tolist()
    expected = [
        None if minutes is None or arrives is None else arrives + minutes * 60_000_000
        for minutes, arrives in zip(cases.values(), at, strict=True)
    ]
    assert due == expected
    # Where none applies on the reported day, the rule of the day on which the arrival takes effect counts, from the reported time.
    late = law.arriving(states, arrived, first + 2 * MICROS_PER_DAY).ints("presentation_due_at").tolist()
    assert late == [
        arrives + 90 * 60_000_000 if minutes is None and arrives is not None and country == "DE" else minutes
        for (country, _), minutes, arrives in zip(cases, expected, at, strict=True)
    ]
    # Where nobody's goods are concerned, no column is added; nor without rules.
    nobody = Ints.of(np.zeros(len(cases), np.int64))
    assert law.arriving(states, nobody, 0) is states
    assert included().arriving(states, arrived, first) is states
    assert included() == read(INCLUDED) == PresentationLaw()


@pytest.mark.parametrize(
    ("rules", "error"),
    [
        ([{}, {"first": "2026-12-01", "areas": "FR, DE"}], "DE has two rules on 2026-12-01"),
        ([{"minutes": 0}], "due_minutes"),
        ([{"areas": "Germany"}], "areas"),
        ([{"areas": ""}], "areas"),
    ],
)
def test_rules_that_cannot_be_applied_are_refused(tmp_path: Path, rules: list[dict[str, object]], error: str) -> None:
    with pytest.raises(YamlError, match=error):
        law_of(tmp_path / "rules.yaml", *rules)
