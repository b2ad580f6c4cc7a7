"""How filings become states, and what a new version of a filing leaves of the state that is stored."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table, schema_of
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.common.v1 import common_pb2
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.clearance.consignment.decision import BatchDecision
from services.clearance.consignment.screening import ALARM
from services.clearance.consignment.state.amendment import amended_states
from services.clearance.consignment.state.creation import new_states
from services.clearance.consignment.transitions import Debt, State
from tests.clearance.scalar_states import BLUE, GREEN, RED, YELLOW

LISTED, RULE = common_pb2.FINDING_KIND_SCREENING_MATCH, common_pb2.FINDING_KIND_RULE
Finding = tuple[int, str]
"""Kind, and what it is of: the entry of a list, the alarm, or another rule."""
HIT, OTHER_HIT, ALARMED, FOUND = (LISTED, "e1"), (LISTED, "e2"), (RULE, ALARM), (RULE, "PRICE")


def findings(rows: list[list[Finding]]) -> Ragged:
    flat = [each for row in rows for each in row]
    listed = [kind == LISTED for kind, _ in flat]
    columns: dict[str, Column] = {
        "kind": Ints.of([kind for kind, _ in flat]),
        "lane": Ints.of([RED] * len(flat)),
        "list_entry": Strings.of([name if hit else "" for hit, (_, name) in zip(listed, flat, strict=True)]),
        "rule": Strings.of(["" if hit else name for hit, (_, name) in zip(listed, flat, strict=True)]),
        "reason": Strings.of(["" if hit else name for hit, (_, name) in zip(listed, flat, strict=True)]),
    }
    table = Table(schema_of(ClearanceColumns).children["findings"], len(flat), columns)
    return Ragged.of_lengths([len(row) for row in rows], table)


def read_findings(table: Table) -> list[list[Finding]]:
    child, lists = table.child("findings"), table.ragged("findings")
    kinds = child.ints("kind").values.tolist()
    names = zip(child.strings("list_entry").tolist(), child.strings("rule").tolist(), strict=True)
    flat = [(kind, entry or rule) for kind, (entry, rule) in zip(kinds, names, strict=True)]
    return [flat[lists.span(row)] for row in range(table.rows)]


def lists_of(table: Table) -> list[list[str]]:
    reasons = table.ragged("reasons")
    assert isinstance(reasons.values, Strings)
    flat = reasons.values.tolist()
    return [flat[reasons.span(row)] for row in range(table.rows)]


def ints(values: list[int | None]) -> Ints:
    return Ints.of([value or 0 for value in values], [value is not None for value in values])


# ------------------------------------------------------------------------------------------- acceptance
def filings(**columns: list[str]) -> Table:
    rows = len(next(iter(columns.values())))
    texts: dict[str, Column] = {name: Strings.of(values) for name, values in columns.items()}
    return Table.of(ConsignmentColumns, rows, {"version": Ints.of(list(range(1, rows + 1))), **texts})


def verdict(rows: int, debt_hold: list[bool] | None = None) -> BatchDecision:
    return BatchDecision(
        release=np.zeros(rows, np.bool_),
        audit=np.arange(rows) == 0,
        reasons=Ragged.of_lengths([1] * rows, Strings.of([f"R{row}" for row in range(rows)])),
        debt=np.full(rows, int(Debt.DEFERRED)),
        account=Strings.of([f"deferred:{row}" for row in range(rows)]),
        debt_hold=np.array(debt_hold or [False] * rows),
    )


def test_a_state_begins_with_its_filing_and_the_verdict() -> None:
    rows = filings(mrn=["A", "B"], filer=["f", "g"], order_platform=["p", ""], consignor_address_country=["CN", "US"])
    table = new_states(rows, {"risk_score": Ints.of([3, 4]), "lane": Ints.of([GREEN, RED])}, verdict(2))
    texts = {name: table.strings(name).tolist() for name in ("mrn", "filer", "platform", "consignor_country")}
    assert texts == {"mrn": ["A", "B"], "filer": ["f", "g"], "platform": ["p", ""], "consignor_country": ["CN", "US"]}
    numbers = {name: table.ints(name).tolist() for name in ("version", "filing_version", "state", "risk_score", "lane")}
    assert numbers == {
        "version": [0, 0], "filing_version": [1, 2], "state": [State.ACCEPTED] * 2, "risk_score": [3, 4], "lane": [GREEN, RED],
    }  # fmt: skip
    assert (lists_of(table), table.bools("audit").values.tolist()) == ([["R0"], ["R1"]], [True, False])
    assert table.ints("debt_status").tolist() == [Debt.DEFERRED] * 2
    assert table.strings("debt_account").tolist() == ["deferred:0", "deferred:1"]
    assert table.bools("officer_hold").values.tolist() == [False, False]
    assert not table.bools("debt_hold").valid.any()


@pytest.mark.parametrize("holds", list(itertools.product([False, True], repeat=2)))
def test_a_state_that_the_debt_alone_holds_says_so(holds: tuple[bool, bool]) -> None:
    table = new_states(filings(mrn=["A", "B"]), {}, verdict(2, list(holds)))
    assert table.bools("debt_hold").values.tolist() == list(holds)
    assert table.bools("debt_hold").valid.tolist() == list(holds)


@pytest.mark.parametrize("alarms", list(itertools.product([False, True], repeat=2)))
def test_an_alarm_holds_from_the_beginning_as_an_officer_does(alarms: tuple[bool, bool]) -> None:
    found = findings([[ALARMED] if alarm else [FOUND, HIT] for alarm in alarms])
    table = new_states(filings(mrn=["A", "B"]), {"findings": found}, verdict(2))
    assert table.bools("officer_hold").values.tolist() == list(alarms)


@pytest.mark.parametrize(
    ("filed", "consignee", "expected"),
    [
        (["DE", "FR"], ["IT", "ES"], ["DE", "FR"]),
        (["", "FR"], ["IT", "ES"], ["IT", "FR"]),
        (["DE", ""], ["IT", ""], ["DE", ""]),
        (["", ""], ["IT", "ES"], ["IT", "ES"]),
    ],
)
def test_goods_are_bound_for_the_country_as_filed_else_for_that_of_the_consignee(
    filed: list[str], consignee: list[str], expected: list[str]
) -> None:
    rows = filings(destination_country=filed, consignee_address_country=consignee)
    assert new_states(rows, {}, verdict(2)).strings("destination_country").tolist() == expected


@pytest.mark.parametrize(
    ("names", "ids", "expected"),
    [
        (["WINGS", "SHIP"], ["", ""], ["WINGS", "SHIP"]),
        (["WINGS", "SHIP"], ["wings", ""], ["wings", "SHIP"]),
        (["", "SHIP"], ["", "ship"], ["", "ship"]),
        (["WINGS", "SHIP"], ["wings", "ship"], ["wings", "ship"]),
    ],
)
def test_the_carrier_is_the_id_as_filed_else_the_name(names: list[str], ids: list[str], expected: list[str]) -> None:
    rows = filings(carrier_identifier=names, carrier_id=ids)
    assert new_states(rows, {}, verdict(2)).strings("carrier_identifier").tolist() == expected


# ------------------------------------------------------------------------------------------- amendments
STORED_FINDINGS: list[list[Finding]] = [[], [FOUND], [HIT], [ALARMED], [FOUND, HIT, ALARMED]]
FRESH_FINDINGS: list[list[Finding]] = [[], [HIT], [OTHER_HIT], [ALARMED, FOUND]]
LIFE = {
    "version": (4, 0), "state": (State.HELD, State.ACCEPTED), "arrived_at": (5, None), "released_at": (6, None), "public_version": (3, None),
    "public_change": (2, None), "public_changed_at": (7, None), "paid_minor": (8, None), "refunded_minor": (9, None), "debt_event_number": (10, None),
    "adjusted_at": (11, None), "inspected_at": (12, None), "inspection_method": (1, None), "violation_resolved_at": (13, None),
    "presentation_due_at": (14, None), "presented_at": (15, None), "presentation_overdue_at": (16, None),
}  # fmt: skip
"""What a new version leaves as it was: stored, and as a fresh state has it."""


def draw_row(draw: random.Random) -> dict[str, object]:
    listed = draw.random() < 0.4
    return {
        "officer": draw.random() < 0.5,
        "listed": listed,
        "early": listed and draw.random() < 0.5,
        "stored_lane": draw.choice([GREEN, BLUE, YELLOW, RED]),
        "fresh_lane": draw.choice([None, GREEN, BLUE, YELLOW, RED]),
        "stored": draw.choice(STORED_FINDINGS),
        "fresh": draw.choice(FRESH_FINDINGS),
        "decided_by": draw.choice(["automatic", "olga", "screening"]),
        "decided_at": draw.choice([None, 12]),
        "first": draw.choice([None, 10]),
        "filing": draw.choice([1, 2]),
    }


def check_amended(rows: list[dict[str, object]]) -> None:
    def column(name: str) -> list[int | None]:
        return [row[name] for row in rows]  # type: ignore[misc]

    count = len(rows)
    alarms = [ALARMED in row["fresh"] for row in rows]  # type: ignore[operator]
    stored = Table.of(
        ClearanceColumns,
        count,
        {
            **{name: ints([value] * count) for name, (value, _) in LIFE.items()},
            "officer_hold": Bools.of([bool(each) for each in column("officer")]),
            "screening_hold": Bools.of([bool(each) for each in column("listed")]),
            "screening_early": Bools.of([bool(each) for each in column("early")]),
            "lane": ints(column("stored_lane")),
            "findings": findings([row["stored"] for row in rows]),  # type: ignore[misc]
            "reasons": Ragged.of_lengths([1] * count, Strings.of(["OLD"] * count)),
            "decided_by": Strings.of([str(row["decided_by"]) for row in rows]),
            "decided_at": ints(column("decided_at")),
            "first_decided_at": ints(column("first")),
            "filing_version": ints(column("filing")),
            "note": Strings.of(["note"] * count),
            "release_not_before": Ints.constant(99, count),
        },
    )
    fresh = Table.of(
        ClearanceColumns,
        count,
        {
            **{name: ints([value] * count) for name, (_, value) in LIFE.items()},
            "officer_hold": Bools.of(alarms),
            "lane": ints(column("fresh_lane")),
            "findings": findings([row["fresh"] for row in rows]),  # type: ignore[misc]
            "reasons": Ragged.of_lengths([2] * count, Strings.of(["NEW", "ALSO"] * count)),
            "filing_version": Ints.constant(3, count),
            "release_not_before": Ints.constant(20, count),
            "reroute_at": Ints.constant(30, count),
        },
    )
    after = amended_states(stored, fresh)
    found = {name: after.ints(name).tolist() for name in LIFE}
    assert found == {name: [value] * count for name, (value, _) in LIFE.items()}
    assert (after.strings("note").tolist(), after.ints("filing_version").tolist()) == (["note"] * count, [3] * count)
    for place, row in enumerate(rows):
        expected = expect(row, fresh_alarm=alarms[place])
        got = {
            "officer_hold": bool(after.bools("officer_hold").values[place]),
            "screening_hold": bool(after.bools("screening_hold").values[place]),
            "screening_early": bool(after.bools("screening_early").values[place]),
            "reasons": lists_of(after)[place],
            "waits": [after.ints(name)[place] for name in ("release_not_before", "reroute_at")],
            "findings": read_findings(after)[place],
            "lane": after.ints("lane")[place],
            "public_lane": after.ints("public_lane")[place],
            "first": after.ints("first_decided_at")[place],
        }
        assert got == expected, row


def expect(row: dict[str, object], *, fresh_alarm: bool) -> dict[str, object]:
    """A hold stays with its reasons and with what it rests on; what holds waits for nothing but an officer."""
    held = row["officer"] or row["listed"]
    lane, told, found = row["fresh_lane"], None, list(row["fresh"])  # type: ignore[call-overload]
    stays = [ALARMED] if row["officer"] and ALARMED in row["stored"] else []  # type: ignore[operator]
    if stays:
        lane = max(lane or 0, row["stored_lane"])  # type: ignore[call-overload]
    if row["listed"]:
        stays += [HIT] if HIT in row["stored"] else []  # type: ignore[operator]
        if lane is not None and lane < row["stored_lane"] and not row["early"]:  # type: ignore[operator]
            told = lane
        lane = max(lane or 0, row["stored_lane"])  # type: ignore[call-overload]
    automatic = row["decided_by"] == "automatic" and row["filing"] == 1
    return {
        "officer_hold": row["officer"] or fresh_alarm,
        "screening_hold": row["listed"],
        "screening_early": row["early"],
        "reasons": ["OLD"] if held else ["NEW", "ALSO"],
        "waits": [None, None] if held else [20, 30],
        "findings": found + [each for each in stays if each not in found],
        "lane": lane,
        "public_lane": told,
        "first": row["first"] or (row["decided_at"] if automatic else None),
    }


def test_a_new_version_takes_the_place_of_the_stored_one_and_lifts_nothing() -> None:
    draw = random.Random(7)
    for _ in range(120):
        check_amended([draw_row(draw)])
    for _ in range(20):
        check_amended([draw_row(draw) for _ in range(20)])
