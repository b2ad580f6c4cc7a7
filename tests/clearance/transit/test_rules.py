"""The rules of movements as data: what they provide on which day, when limits end, and what an arrival leads to."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from libs.columns import Bools, Ints, Ragged, Strings, Table
from libs.customs.time import MICROS_PER_DAY
from libs.files.yaml_file import YamlError
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.consignment.decision import PARTS_MISSING
from services.clearance.consignment.lifecycle.machine import REFUSALS
from services.clearance.consignment.returns import earliest_departures
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.transitions import Debt, Event, State
from services.clearance.store.work import due_times as due_times_of_delays
from services.clearance.temporary_storage.limits import ends
from services.clearance.transit.limits import TransitRule, read, rules_of
from services.clearance.transit.movement import TransitArrival, TransitEnd, TransitOutcome, TransitStart, due_times
from tests.clearance.transits import RULES

COUNTRIES = ("DE", "US", "CH")


def micros(day: str, time: str = "00:00:00") -> int:
    return int(datetime.fromisoformat(f"{day}T{time}+00:00").timestamp()) * 1_000_000


def rule(**fields: Any) -> TransitRule:
    usual: dict[str, Any] = {
        "jurisdiction": "X", "areas": frozenset({"CH"}), "start": date(2026, 3, 1), "to": date(2026, 3, 31), "usual_days": 2, "longest_days": 5,
        "ends_on_working_day": False, "carrier_starts": False, "releases_on_arrival": False, "law": "L", "article": "1", "address": "A",
    }  # fmt: skip
    return TransitRule(**usual | fields)


def states(*countries: str, **columns: Any) -> Table:
    rows = len(countries)
    usual: dict[str, Any] = {
        "mrn": Strings.of([f"M{row}" for row in range(rows)]),
        "version": Ints.constant(2, rows),
        "state": Ints.constant(State.AWAITING_ARRIVAL, rows),
        "arrived_at": Ints.constant(1, rows),
        "changed_at": Ints.constant(1, rows),
        "debt_status": Ints.constant(Debt.PAID, rows),
        "destination_country": Strings.of(list(countries)),
        "office": Strings.constant("FR000001", rows),
        "reasons": Ragged.of_lengths([1] * rows, Strings.constant("LANE_GREEN", rows)),
    }
    return Table.of(ClearanceColumns, rows, usual | columns)


def start(**fields: Any) -> TransitStart:
    usual: dict[str, Any] = {
        "officer": "otto", "destination": "DE004600", "limit_days": 0, "seal": "", "document": "", "guarantee": "", "note": "",
    }  # fmt: skip
    return TransitStart(**usual | fields)


@pytest.mark.parametrize(
    ("day", "provided"),
    [("2026-02-28", False), ("2026-03-01", True), ("2026-03-31", True), ("2026-04-01", False)],
)
def test_rules_count_on_their_days_alone(day: str, provided: bool) -> None:
    for time in ("00:00:00", "23:59:59"):
        found = rules_of(states(*COUNTRIES), micros(day, time), (rule(),))
        assert found.provided.tolist() == [False, False, provided]
    assert rules_of(states(*COUNTRIES), micros(day), RULES).provided.tolist() == [True, False, False]
    assert {each.jurisdiction for each in RULES} == {"EU"}
    assert not any(each.verified for each in RULES)


@pytest.mark.parametrize(
    ("days", "error"),
    [
        ((8, 30), ""), ((8, 8), ""), ((1, 366), ""), ((8, 7), "longest_days: 7 is less than usual_days, 8"),
        ((0, 30), "usual_days"), ((8, 367), "longest_days"),
    ],
)  # fmt: skip
def test_limits_that_cannot_be_applied_are_refused(tmp_path: Path, days: tuple[int, int], error: str) -> None:
    path = tmp_path / "transit.yaml"
    usual, longest = days
    path.write_text(
        f"format: 1\nrules:\n- {{jurisdiction: X, areas: [CH], from: 2026-03-01, usual_days: {usual}, longest_days: {longest}, "
        "carrier_starts: false, releases_on_arrival: true, law: L, article: A, address: U}\n"
    )
    if not error:
        assert [(each.usual_days, each.longest_days) for each in read(path)] == [days]
        return
    with pytest.raises(YamlError, match=rf"transit.yaml:\d: .*{error}|{error}.* \(at rules\[0\]"):
        read(path)


@pytest.mark.parametrize(
    ("began", "days", "working", "end"),
    [
        # 2026-03-02 is a Monday.
        ("2026-03-02", 0, False, "2026-03-05"),
        ("2026-03-02", 4, True, "2026-03-07"),
        ("2026-03-02", 5, True, "2026-03-10"),
        ("2026-03-02", 5, False, "2026-03-08"),
        ("2026-03-03", 5, True, "2026-03-10"),
        ("2026-03-04", 5, True, "2026-03-10"),
    ],
)
def test_a_limit_ends_with_the_last_of_its_whole_days(began: str, days: int, working: bool, end: str) -> None:
    for time in ("00:00:00", "23:59:59"):
        rules = rules_of(states("CH"), micros(began, time), (rule(ends_on_working_day=working),))
        assert rules.due_at(micros(began, time), days).tolist() == [micros(end)]


def test_a_limit_beyond_the_longest_and_what_a_carrier_may_not_move_are_refused() -> None:
    at, rules = micros("2026-03-02"), (rule(), rule(areas=frozenset({"DE"}), carrier_starts=True))
    assert start(limit_days=5, rules=rules).unfit(states("CH"), at) == [""]
    assert start(limit_days=6, rules=rules).unfit(states("CH"), at) == ["TRANSIT_LIMIT_OUT_OF_BOUNDS"]
    assert start(destination="FR000001", rules=rules).unfit(states("CH"), at) == ["TRANSIT_OFFICE_OWN"]
    carrier = start(officer="", rules=rules)
    one: dict[str, Any] = {"state": Ints.of([State.HELD]), "debt_hold": Bools.of([True])}
    refused, allowed = ["TRANSIT_NOT_PROVIDED"], [""]
    three = {"state": Ints.constant(State.HELD, 3), "debt_hold": Bools.of([True] * 3)}
    assert carrier.unfit(states(*COUNTRIES, **three), at) == ["", *refused, *refused]
    assert carrier.unfit(states("DE", **one), at) == allowed
    assert start(officer="", rules=rules, carriers_start=False).unfit(states("DE", **one), at) == refused
    assert start(rules=rules, carriers_start=False).unfit(states("DE", **one), at) == allowed
    # The office of the goods, and whether an officer works on them, are not the carrier's to know.
    assert start(officer="", destination="FR000001", rules=rules).unfit(states("DE", **one), at) == refused
    assert start(officer="", claimed={"M0"}, rules=rules).unfit(states("DE", **one), at) == refused
    assert start(officer="", claimed={"M1"}, rules=rules).unfit(states("DE", **one), at) == allowed
    moved = {"transit_started_at": Ints.of([2]), "transit_ended_at": Ints.of([3])}
    for columns in (moved, {"storage_ended_at": Ints.of([2])}):
        assert carrier.unfit(states("DE", **one | columns), at) == refused
        assert start(rules=rules).unfit(states("DE", **one | columns), at) == allowed
    for name in ("officer_hold", "screening_hold"):
        assert carrier.unfit(states("DE", **one | {name: Bools.of([True])}), at) == refused
    assert carrier.unfit(states("DE", **one | {"violation_found_by": Strings.of(["olga"])}), at) == refused
    for texts, found in ((["DEBT_OPEN"], allowed), (["DEBT_OPEN", PARTS_MISSING], refused)):
        held = {"reasons": Ragged.of_lengths([len(texts)], Strings.of(texts))}
        assert carrier.unfit(states("DE", **one | held), at) == found
    assert carrier.unfit(states("DE", **one | {"debt_hold": Bools.of([False])}), at) == refused, "held by its lane"
    # An officer may inspect them until then, also while their debt is open.
    for delay, found in ((at + 1, refused), (at, allowed)):
        assert carrier.unfit(states("DE", **one, release_not_before=Ints.of([delay])), at) == found
    assert carrier.unfit(states("DE"), at) == refused, "what nothing holds is released, or waits"
    for other in ({}, {"officer_hold": Bools.of([True])}, {"release_not_before": Ints.of([at + 1])}):
        beyond = start(officer="", limit_days=6, rules=rules).unfit(states("DE", **one | other), at)
        assert beyond == ["TRANSIT_LIMIT_OUT_OF_BOUNDS"], "before what holds the goods"
        unpresented = {"presentation_due_at": Ints.of([at])} | other
        assert carrier.unfit(states("DE", **one | unpresented), at) == allowed, (
            "the transitions refuse all of them alike"
        )
    assert carrier.unfit(states("DE", state=Ints.of([State.EXAMINATION])), at) == refused


@pytest.mark.parametrize("releases", [True, False])
def test_an_arrival_releases_what_is_free_where_the_data_say_so_and_is_the_officers_elsewhere(releases: bool) -> None:
    at, rules = micros("2026-03-02"), (rule(releases_on_arrival=releases),)
    table, began = apply_event(*start(rules=rules).apply(states("CH", "CH"), at))
    assert began.effective.tolist() == [True, True]
    assert [each.tolist() for each in due_times(table)] == [[micros("2026-03-05")] * 2] * 2
    assert not ends(table).stored.any()
    there, outcome = apply_event(*TransitArrival(officer="olga", rules=rules).apply(table, at + MICROS_PER_DAY))
    expected = State.RELEASED if releases else State.HELD
    assert outcome.state.tolist() == [expected] * 2
    assert there.strings("office").tolist() == ["DE004600"] * 2
    ended = TransitOutcome.ARRIVED if releases else TransitOutcome.ARRIVED_FOR_OFFICER
    assert there.ints("transit_outcome").tolist() == [ended] * 2
    flat = there.ragged("reasons").values.tolist()  # type: ignore[union-attr]
    assert flat == (["LANE_GREEN"] if releases else ["LANE_GREEN", "TRANSIT_ARRIVED", "OFFICER_HOLD"]) * 2
    assert due_times(there)[0].tolist() == [None, None]
    again, refused = apply_event(*TransitEnd(officer="olga", reason="LOST").apply(there, at))
    assert not refused.effective.any()
    assert again.ints("transit_outcome").tolist() == [ended] * 2


@pytest.mark.parametrize("is_lost", [False, True])
def test_the_limit_of_temporary_storage_counts_from_the_last_arrival(is_lost: bool) -> None:
    at, rules = micros("2026-03-02"), (rule(),)
    recorded: dict[str, Any] = {"arrived_at": Ints.of([at]), "state": Ints.of([State.HELD])}
    recorded |= {"storage_reminded_at": Ints.of([at + 1]), "storage_ended_at": Ints.of([at + 2])}
    stored = states("DE", officer_hold=Bools.of([True]), debt_status=Ints.of([Debt.PAID]), **recorded)
    counted = ends(stored).at.tolist()
    moving, _ = apply_event(*start(rules=rules).apply(stored, at + 5 * MICROS_PER_DAY))
    columns = ("storage_reminded_at", "storage_ended_at")
    late = at + 100 * MICROS_PER_DAY
    lost, _ = apply_event(*TransitEnd(officer="olga", reason="LOST", lost=is_lost).apply(moving, late))
    assert lost.ints("transit_outcome").tolist() == [TransitOutcome.LOST if is_lost else TransitOutcome.ENDED]
    assert ends(lost).at.tolist() == counted, "they arrived nowhere"
    assert [lost.ints(name).tolist() for name in columns] == [[at + 1], [at + 2]]
    there, _ = apply_event(*TransitArrival(officer="olga", rules=rules).apply(moving, late))
    assert ends(there).at.tolist() == ends(states("DE", **recorded | {"arrived_at": Ints.of([late])})).at.tolist()
    assert [there.ints(name).tolist() for name in columns] == [[None], [None]]


def test_delays_wait_for_the_arrival_and_departures_on_the_way_are_none_of_the_returned_goods() -> None:
    at, rules = micros("2026-03-02"), (rule(areas=frozenset({"DE"})),)
    times = [at + 1] * 2
    delays = {"release_not_before": Ints.of(times, [True, False]), "reroute_at": Ints.of(times, [False, True])}
    delays["state"] = Ints.of([State.AWAITING_ARRIVAL, State.HELD])
    waiting = states("DE", "DE", **delays)
    assert due_times_of_delays(waiting)[1].all()
    moving, _ = apply_event(*start(rules=rules).apply(waiting, at))
    assert not due_times_of_delays(moving)[1].any()
    for event in (Event.WAIT_ENDED, Event.REROUTED):
        _, outcome = apply_event(moving, EventDetails(event=event, at=at + 2))
        assert {REFUSALS[each] for each in outcome.refusal.tolist()} == {"NOT_DUE"}
    there, _ = apply_event(*TransitEnd(officer="olga", reason="X").apply(moving, at + 10))
    assert earliest_departures(moving, [at, at]) == [1, 1]
    assert earliest_departures(there, [at, at]) == [at + 10] * 2
    released = there.with_columns({"state": Ints.constant(State.RELEASED, 2), "released_at": Ints.of([at + 11] * 2)})
    assert earliest_departures(released, [at + 10, at + 11]) == [at + 10, at + 11]


def test_the_outcomes_are_those_of_the_contract() -> None:
    names = {name.removeprefix("TRANSIT_OUTCOME_"): number for name, number in pb.TransitOutcome.items() if number}
    assert {each.name: each.value for each in TransitOutcome} == names
    assert datetime.fromtimestamp(micros("2026-03-02") / 1_000_000, UTC).isoweekday() == 1
