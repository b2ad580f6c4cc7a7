"""Hits that come after a decision or are cleared: what is new among them, which lane and hold they lead to, and what of it goes again."""

from __future__ import annotations

import numpy as np
import pytest

from libs.columns import Bools, Ints, Ragged, Strings, Table, schema_of
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.common.v1 import common_pb2
from luxor.risk.v1 import screening_columns_pb2
from services.clearance.consignment import screening as hits
from services.clearance.consignment.decision import CUSTOMS_CHECK, Lane
from services.clearance.consignment.transitions import State

LISTED, RULE = common_pb2.FINDING_KIND_SCREENING_MATCH, common_pb2.FINDING_KIND_RULE
Finding = tuple[int, int, str, str, str]
"""Kind, lane, party or rule, list with its version, entry; the reason of a rule's finding stands in the place of the entry."""

EU = (LISTED, int(Lane.RED), "consignor", "EU:7", "e1")
WEAK = (LISTED, int(Lane.YELLOW), "consignor", "EU:7", "e1")
NEWER = (LISTED, int(Lane.RED), "consignor", "EU:8", "e1")
OTHERS = [
    (LISTED, int(Lane.RED), "consignee", "EU:7", "e1"),
    (LISTED, int(Lane.RED), "consignor", "UN:7", "e1"),
    (LISTED, int(Lane.RED), "consignor", "EU:7", "e2"),
    (RULE, int(Lane.RED), "consignor", "", "e1"),
]
ALARM = (RULE, int(Lane.RED), "screening", "", hits.ALARM)


def findings(*rows: list[Finding]) -> Ragged:
    flat = [each for row in rows for each in row]
    listed = [each[0] == LISTED for each in flat]
    table = Table(
        schema_of(ClearanceColumns).children["findings"],
        len(flat),
        {
            "kind": Ints.of([each[0] for each in flat]),
            "lane": Ints.of([each[1] for each in flat]),
            "party": Strings.of([each[2] if is_listed else "" for each, is_listed in zip(flat, listed, strict=True)]),
            "rule": Strings.of(["" if is_listed else each[2] for each, is_listed in zip(flat, listed, strict=True)]),
            "list": Strings.of([each[3] for each in flat]),
            "list_entry": Strings.of(
                [each[4] if is_listed else "" for each, is_listed in zip(flat, listed, strict=True)]
            ),
            "reason": Strings.of(["" if is_listed else each[4] for each, is_listed in zip(flat, listed, strict=True)]),
            "item_number": Ints.of([1] * len(flat)),
        },
    )
    return Ragged.of_lengths([len(row) for row in rows], table)


def read(found: Ragged) -> list[list[Finding]]:
    table = found.values
    assert isinstance(table, Table)
    columns = [table.ints(name).tolist() for name in ("kind", "lane")]
    names = [table.strings(name).tolist() for name in ("party", "rule", "list", "list_entry", "reason")]
    flat = [
        (kind, lane, party or rule, name, entry or reason)
        for kind, lane, party, rule, name, entry, reason in zip(*columns, *names, strict=True)
    ]
    return [flat[found.span(row)] for row in range(len(found.lengths))]


@pytest.mark.parametrize(
    ("before", "more", "after", "new"),
    [
        ([], [EU], [EU], 1),
        ([EU], [], [EU], 0),
        ([EU], [EU], [EU], 0),
        ([EU], [NEWER], [EU], 0),
        ([EU], [WEAK], [EU], 0),
        ([WEAK], [EU], [EU], 1),
        ([EU], OTHERS, [EU, *OTHERS], 4),
        ([*OTHERS, WEAK], [EU, EU], [*OTHERS, EU], 1),
        ([ALARM], [(RULE, int(Lane.RED) + 1, "screening", "", hits.ALARM)], [ALARM], 0),
    ],
)
def test_a_hit_is_new_by_party_list_and_entry_or_by_a_higher_lane(
    before: list[Finding], more: list[Finding], after: list[Finding], new: int
) -> None:
    found, fresh = hits.with_matches(findings([OTHERS[0]], before, [EU]), findings([], more, []))
    assert read(found) == [[OTHERS[0]], after, [EU]]
    assert fresh.tolist() == [0, new, 0]


@pytest.mark.parametrize(
    ("before", "gone", "after", "taken"),
    [
        ([EU], [EU], [], 1),
        ([EU], [NEWER], [], 1),
        ([EU], [], [EU], 0),
        ([EU], OTHERS[:3], [EU], 0),
        ([EU, *OTHERS], [EU], OTHERS, 1),
    ],
)
def test_cleared_hits_go_from_their_own_consignment_alone(
    before: list[Finding], gone: list[Finding], after: list[Finding], taken: int
) -> None:
    found, count = hits.without_matches(findings([EU], before), findings([], gone))
    assert (read(found), count.tolist()) == ([[EU], after], [0, taken])


def test_hits_and_alarms_are_told_apart_from_other_findings() -> None:
    found = findings([EU, ALARM, OTHERS[3]], [EU, ALARM], [OTHERS[3]])
    rows = np.array([True, False, True])
    assert read(hits.only_matches(found, rows)) == [[EU], [], []]
    assert read(hits.only_alarms(found, rows)) == [[ALARM], [], []]
    table = Table.of(ClearanceColumns, 3, {"findings": found})
    assert hits.alarmed(table).tolist() == [True, True, False]
    none = Table.of(ClearanceColumns, 1, {"findings": findings([EU])})
    assert hits.alarmed(none).tolist() == [False]


def state(found: list[Finding], lane: Lane | None, state: State, **more: bool | int | None) -> Table:
    told = more.pop("told", None)
    return Table.of(
        ClearanceColumns,
        1,
        {
            "mrn": Strings.of(["M"]),
            "state": Ints.of([int(state)]),
            "lane": Ints.of([int(lane or 0)], [lane is not None]),
            "public_lane": Ints.of([int(told or 0)], [told is not None]),
            "findings": findings(found),
            "screened_lists": Strings.of(["old"]),
            "reasons": Ragged.of_lengths([2], Strings.of(["X", CUSTOMS_CHECK])),
            **{name: Bools.of([bool(value)]) for name, value in more.items()},
        },
    )


def screening(found: list[Finding], cleared: list[Finding], left: Lane | None = None) -> Table:
    def of(rows: list[Finding], name: str) -> Ragged:
        part = findings(rows)
        schema = schema_of(screening_columns_pb2.ScreeningColumns).children[name]
        assert isinstance(part.values, Table)
        names = [each for each in ("kind", "lane", "party", "list", "list_entry") if each in schema.columns]
        return Ragged(part.offsets, Table(schema, len(rows), {each: part.values.column(each) for each in names}))

    return Table.of(
        screening_columns_pb2.ScreeningColumns,
        1,
        {
            "lists": Strings.of(["new"]),
            "findings": of(found, "findings"),
            "cleared": of(cleared, "cleared"),
            "remaining_lane": Ints.of([int(left or 0)], [left is not None]),
        },
    )


@pytest.mark.parametrize(
    ("lane", "told", "where", "after"),
    [
        # Lane, told lane and audit after.
        (Lane.GREEN, None, State.HELD, (Lane.RED, Lane.GREEN, False)),
        (Lane.RED, None, State.HELD, (Lane.RED, None, False)),
        (Lane.GREEN, Lane.BLUE, State.HELD, (Lane.RED, Lane.BLUE, False)),
        (Lane.GREEN, None, State.RELEASED, (Lane.GREEN, None, True)),
        # A lane that nobody knows is that of the hit, but for what is released.
        (None, None, State.HELD, (Lane.RED, 0, False)),
        (None, None, State.RELEASED, (None, None, True)),
    ],
)
def test_a_hit_raises_the_lane_and_filers_go_on_reading_the_one_before(
    lane: Lane | None, told: Lane | None, where: State, after: tuple[Lane | None, int | None, bool]
) -> None:
    before = state([EU], lane, where, told=told, audit=False)
    now = hits.screened(before, before.ragged("findings"), screening([EU], []))
    assert (now.ints("lane").tolist(), now.ints("public_lane").tolist()) == ([after[0]], [after[1]])
    assert now.bools("audit").values.tolist() == [after[2]]
    assert now.strings("screened_lists").tolist() == ["new"]


@pytest.mark.parametrize(
    ("found", "lane", "left", "where", "after", "free", "listed", "audit"),
    [
        ([EU], Lane.RED, Lane.GREEN, State.HELD, Lane.GREEN, True, False, True),
        ([EU], Lane.RED, Lane.BLUE, State.HELD, Lane.BLUE, True, False, True),
        ([EU], Lane.RED, Lane.YELLOW, State.HELD, Lane.YELLOW, False, False, True),
        ([EU], Lane.YELLOW, Lane.RED, State.HELD, Lane.YELLOW, False, False, True),
        ([EU], Lane.RED, None, State.HELD, Lane.RED, False, False, True),
        ([EU, OTHERS[0]], Lane.RED, Lane.GREEN, State.HELD, Lane.RED, False, True, True),
        ([EU, OTHERS[3]], Lane.RED, Lane.GREEN, State.HELD, Lane.RED, False, False, True),
        ([EU], Lane.GREEN, Lane.GREEN, State.RELEASED, Lane.GREEN, True, False, False),
        ([EU], Lane.BLUE, Lane.BLUE, State.RELEASED, Lane.BLUE, True, False, True),
        ([EU], Lane.BLUE, Lane.GREEN, State.RELEASED, Lane.GREEN, True, False, False),
        ([EU, OTHERS[0]], Lane.GREEN, Lane.GREEN, State.RELEASED, Lane.GREEN, False, True, True),
        ([EU], Lane.GREEN, None, State.RELEASED, Lane.GREEN, False, False, True),
    ],
)
def test_without_a_hit_the_lane_is_that_of_what_is_left_and_never_higher(
    found: list[Finding],
    lane: Lane,
    left: Lane | None,
    where: State,
    after: Lane,
    free: bool,
    listed: bool,
    audit: bool,
) -> None:
    before = state(found, lane, where, screening_hold=True, screening_early=True, audit=True)
    now = hits.cleared(before, screening([], [EU], left))
    assert (now.removed.tolist(), now.free.tolist()) == ([True], [free])
    states = now.states
    assert states.ints("lane").tolist() == [after]
    assert states.ints("public_lane").tolist() == [lane if after < lane else None]
    for name, value in (("screening_hold", listed), ("screening_early", listed), ("audit", audit)):
        assert states.bools(name).values.tolist() == [value], name
    reasons = states.ragged("reasons").values
    assert isinstance(reasons, Strings)
    assert reasons.tolist() == (["X"] if free else ["X", CUSTOMS_CHECK])
    assert states.strings("screened_lists").tolist() == ["new"]


def test_what_is_cleared_and_was_not_found_changes_nothing() -> None:
    before = state([OTHERS[0]], Lane.RED, State.HELD, screening_hold=True)
    now = hits.cleared(before, screening([], [EU], Lane.GREEN))
    assert now.states is before
    assert (now.removed.tolist(), now.free.tolist()) == ([False], [False])


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("officer", [True, False])
@pytest.mark.parametrize("alarm", [True, False])
@pytest.mark.parametrize("seen", [True, False])
def test_a_hit_or_an_alarm_must_have_been_seen(listed: bool, officer: bool, alarm: bool, seen: bool) -> None:
    table = state([ALARM] if alarm else [], Lane.RED, State.HELD, screening_hold=listed, officer_hold=officer)
    expected = (listed or (officer and alarm)) and not seen
    assert hits.held_unseen(table, {"M"} if seen else set()) == [expected]


@pytest.mark.parametrize(
    ("before", "row", "after"),
    [([], True, ["R"]), (["X"], True, ["X", "R"]), (["R", "X"], True, ["R", "X"]), (["X"], False, ["X"])],
)
def test_a_reason_is_added_where_it_is_not(before: list[str], row: bool, after: list[str]) -> None:
    lists = Ragged.of_lengths([len(before), 1], Strings.of([*before, "Y"]))
    found = hits.with_reason(lists, Strings.of(["R", "R"]), np.array([row, False])).values
    assert isinstance(found, Strings)
    assert found.tolist() == [*after, "Y"]


def test_a_hit_holds_before_the_decision_with_its_reason() -> None:
    table = Table.concat([state([EU], Lane.RED, State.ACCEPTED, told=Lane.GREEN, screening_hold=False)] * 2)
    table = table.with_columns({"reasons": Ragged.of_lengths([1, 1], Strings.of(["X", "X"]))})
    held = hits.held_by_matches(table, np.array([True, False]))
    assert held.bools("screening_hold").values.tolist() == [True, False]
    assert held.bools("screening_early").values.tolist() == [True, False]
    assert held.ints("public_lane").tolist() == [None, None]
    reasons = held.ragged("reasons").values
    assert isinstance(reasons, Strings)
    assert reasons.tolist() == ["X", CUSTOMS_CHECK, "X"]


def test_a_hit_without_a_lane_does_not_raise_one() -> None:
    found = findings([EU])
    assert isinstance(found.values, Table)
    bare = Ragged(found.offsets, found.values.with_columns({"lane": Ints.absent(1)}))
    before = state([], Lane.UNASSESSED, State.HELD)
    answer = screening([EU], [])
    part = answer.ragged("findings")
    assert isinstance(part.values, Table)
    answer = answer.with_columns({"findings": Ragged(part.offsets, part.values.with_columns({"lane": Ints.absent(1)}))})
    assert hits.screened(before, bare, answer).ints("lane").tolist() == [Lane.UNASSESSED]


@pytest.mark.parametrize(("held", "early"), [(True, True), (True, False), (False, False)])
def test_a_hold_that_another_hit_justifies_is_early_only_where_it_was(held: bool, early: bool) -> None:
    before = state([EU, OTHERS[0]], Lane.RED, State.HELD, screening_hold=held, screening_early=early, audit=False)
    now = hits.cleared(before, screening([], [EU], Lane.GREEN)).states
    assert now.bools("screening_hold").values.tolist() == [held]
    assert now.bools("screening_early").values.tolist() == [early]


def without(found: Ragged, name: str) -> Ragged:
    """Findings that do not state one of their columns."""
    assert isinstance(found.values, Table)
    return Ragged(found.offsets, found.values.with_columns({name: Ints.absent(found.values.rows)}))


def test_a_finding_of_no_stated_kind_is_no_hit() -> None:
    found = findings([EU, OTHERS[3]])
    assert isinstance(found.values, Table)
    kinds = Ints.of([LISTED, 0], [True, False])
    found = Ragged(found.offsets, found.values.with_columns({"kind": kinds}))
    before = state([], Lane.RED, State.HELD, screening_hold=True).with_columns({"findings": found})
    now = hits.cleared(before, screening([], [EU], Lane.GREEN)).states
    assert now.bools("screening_hold").values.tolist() == [False]
    assert read(hits.only_matches(found, np.array([True]))) == [[EU]]


def test_a_hit_without_a_lane_is_weaker_than_one_in_any_lane() -> None:
    green = (LISTED, int(Lane.GREEN), "consignor", "EU:7", "e1")
    unassessed = (LISTED, int(Lane.UNASSESSED), "consignor", "EU:7", "e1")
    _, new = hits.with_matches(without(findings([EU]), "lane"), findings([green]))
    assert new.tolist() == [1]
    _, new = hits.with_matches(findings([unassessed]), without(findings([EU]), "lane"))
    assert new.tolist() == [0]


def test_goods_of_which_nobody_said_whether_to_audit_them_are_audited_for_a_hit_after_release() -> None:
    for where, audit in ((State.RELEASED, True), (State.HELD, None)):
        before = state([EU], Lane.GREEN, where)
        now = hits.screened(before, before.ragged("findings"), screening([EU], []))
        assert now.bools("audit")[0] is audit


def test_a_finding_without_a_lane_holds_no_lane_up() -> None:
    before = state([EU, OTHERS[3]], Lane.RED, State.HELD, screening_hold=True)
    before = before.with_columns({"findings": without(before.ragged("findings"), "lane")})
    now = hits.cleared(before, screening([], [EU], Lane.UNASSESSED))
    assert now.states.ints("lane").tolist() == [Lane.UNASSESSED]


def test_only_states_that_lose_a_hit_have_the_lists_of_the_clearing() -> None:
    rows = Table.concat([state([each], Lane.RED, State.HELD, screening_hold=True) for each in (EU, OTHERS[0], EU)])
    rows = rows.with_columns({"screened_lists": Strings.of(["old 0", "old 1", "old 2"])})
    answers = Table.concat([screening([], [EU], Lane.GREEN)] * 3)
    now = hits.cleared(rows, answers.with_columns({"lists": Strings.of(["new 0", "new 1", "new 2"])}))
    assert now.removed.tolist() == [True, False, True]
    assert now.states.strings("screened_lists").tolist() == ["new 0", "old 1", "new 2"]
    assert now.states.bools("screening_hold").values.tolist() == [False, True, False]
    assert now.states.ints("lane").tolist() == [Lane.GREEN, Lane.RED, Lane.GREEN]
