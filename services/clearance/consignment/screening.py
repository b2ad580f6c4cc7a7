"""Screening matches that come after the decision or are cleared, alarms of security screenings, and the resulting states. Pure."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table
from luxor.common.v1 import common_pb2
from services.clearance.consignment.columns import choose, values_in_rows
from services.clearance.consignment.decision import CUSTOMS_CHECK, Lane
from services.clearance.consignment.transitions import State

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_SCREENING_MATCH: Final = common_pb2.FINDING_KIND_SCREENING_MATCH
ALARM: Final = "SCREENING_ALARM"
"""Reason of the finding that a security screening returned an alarm."""


def with_matches(findings: Ragged, new_findings: Ragged) -> tuple[Ragged, IntArray]:
    """Return the findings of n consignments with new ones added, and how many are new of each, shape (n,).

    Party, list and entry identify a screening match, whatever the version of the list: the same match again, by a replay or of a newer list, adds
    nothing. One with a higher lane than before is new and replaces the old one, because the officer who released that one has not seen it.
    """
    found, fresh = findings.values, new_findings.values
    assert isinstance(found, Table)
    assert isinstance(fresh, Table)
    keys = _keys(found) + _keys(fresh)
    lanes = [*found.ints("lane").filled(0).tolist(), *fresh.ints("lane").filled(0).tolist()]
    rows = len(findings.lengths)
    order: list[int] = []
    lengths, new = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    for row in range(rows):
        kept = list(range(*findings.span(row).indices(found.rows)))
        at = {keys[place]: number for number, place in enumerate(kept)}
        for place in range(found.rows, found.rows + fresh.rows)[new_findings.span(row)]:
            number = at.get(keys[place])
            if number is None:
                at[keys[place]] = len(kept)
                kept.append(place)
            elif keys[place][0] == "listed" and lanes[place] > lanes[kept[number]]:
                kept[number] = place
            else:
                continue
            new[row] += 1
        order += kept
        lengths[row] = len(kept)
    if not new.any():
        return findings, new
    both = Table.concat([found, fresh])
    return Ragged.of_lengths(lengths, both.take(np.array(order, np.int64))), new


def only_matches(findings: Ragged, rows: BoolArray) -> Ragged:
    """Return the screening matches among the findings of some rows; the other rows have none."""
    found = findings.values
    assert isinstance(found, Table)
    owners = findings.owners()
    kept = (found.ints("kind").filled(0) == _SCREENING_MATCH) & rows[owners]
    lengths = np.bincount(owners[kept], minlength=len(rows))
    return Ragged.of_lengths(lengths, found.take(np.flatnonzero(kept)))


def alarmed(states: Table) -> BoolArray:
    """Return which states have the finding that a security screening returned an alarm, shape (n,)."""
    reasons = states.child("findings").strings("reason")
    found = np.zeros(states.rows, np.bool_)
    if ALARM in reasons.dictionary:
        found[states.ragged("findings").owners()[reasons.isin({ALARM})]] = True
    return found


def only_alarms(findings: Ragged, rows: BoolArray) -> Ragged:
    """Return the alarms of security screenings among the findings of some rows; the other rows have none."""
    found = findings.values
    assert isinstance(found, Table)
    owners = findings.owners()
    kept = found.strings("reason").isin({ALARM}) & rows[owners]
    lengths = np.bincount(owners[kept], minlength=len(rows))
    return Ragged.of_lengths(lengths, found.take(np.flatnonzero(kept)))


def screened(states: Table, findings: Ragged, screenings: Table) -> Table:
    """Return states with new screening matches (ScreeningColumns, row by row), before the event is applied.

    The lane rises to the highest lane of the matches. Filers and carriers still see the lane of before, because a change would reveal the match.
    What was released keeps its lane, and is to be audited.
    """
    told = screenings.ragged("findings")
    asked = np.zeros(states.rows, np.int64)
    np.maximum.at(asked, told.owners(), screenings.child("findings").ints("lane").filled(0))
    released = states.ints("state").values == State.RELEASED
    lane, audit, before = states.ints("lane"), states.bools("audit"), states.ints("public_lane")
    raised = Ints.of(np.where(released, lane.values, np.maximum(lane.values, asked)), lane.valid | ~released)
    return states.with_columns(
        {
            "findings": findings,
            "screened_lists": screenings.strings("lists"),
            "lane": raised,
            "public_lane": Ints.of(
                np.where(before.valid, before.values, lane.values), before.valid | (raised.values > lane.values)
            ),
            "audit": Bools.of(audit.values | released, audit.valid | released),
        }
    )


@dataclass(frozen=True, slots=True)
class Cleared:
    """The result of clearing matches of n states; all of shape (n,)."""

    states: Table
    """The states without these matches."""
    removed: BoolArray
    """Whether a cleared match was among the findings."""
    free: BoolArray
    """Whether no other finding requires a check; an officer's hold, a violation and the debt still hold."""


def cleared(states: Table, screenings: Table) -> Cleared:
    """Return states without the matches that were cleared (ScreeningColumns, row by row), before the event is applied.

    The lane becomes that of the other findings, the score and the draw, which risk sends; it never rises. Filers and carriers still see the lane of
    before. A release that was to be audited only because of such a match is no longer to be audited.
    """
    findings, gone = without_matches(states.ragged("findings"), screenings.ragged("cleared"))
    removed = gone > 0
    if not removed.any():
        return Cleared(states, removed, removed)
    found = findings.values
    assert isinstance(found, Table)
    owners = findings.owners()
    asked = np.zeros(states.rows, np.int64)
    np.maximum.at(asked, owners, found.ints("lane").filled(0))
    listed = np.zeros(states.rows, np.bool_)
    listed[owners[found.ints("kind").filled(0) == _SCREENING_MATCH]] = True
    left, lane, told = screenings.ints("remaining_lane"), states.ints("lane"), states.ints("public_lane")
    # If risk sends no lane, the lane stays: an unknown lane releases nothing.
    known = removed & left.valid & lane.valid
    lower = np.where(known, np.minimum(lane.values, np.maximum(asked, left.filled(0))), lane.values)
    still = states.bools("screening_hold").values & (listed | ~removed)
    audit, released = states.bools("audit"), states.ints("state").values == State.RELEASED
    spared = removed & known & released & (lower <= Lane.GREEN) & ~listed
    free = known & (lower <= Lane.BLUE) & ~still
    columns: dict[str, Column] = {
        "findings": findings,
        "lane": Ints.of(lower, lane.valid),
        "public_lane": Ints.of(np.where(told.valid, told.values, lane.values), told.valid | (lower < lane.values)),
        "screening_hold": Bools.of(still, still),
        "screening_early": Bools.of(states.bools("screening_early").values & still, still),
        "screened_lists": choose(removed, screenings.strings("lists"), states.strings("screened_lists")),
        "audit": Bools.of(audit.values & ~spared, audit.valid),
    }
    if free.any():
        columns["reasons"] = without_reason(states.ragged("reasons"), CUSTOMS_CHECK, free)
    return Cleared(states.with_columns(columns), removed, free)


def without_matches(findings: Ragged, cleared: Ragged) -> tuple[Ragged, IntArray]:
    """Return the findings of n consignments without the cleared matches, and how many were removed of each, shape (n,)."""
    found, gone = findings.values, cleared.values
    assert isinstance(found, Table)
    assert isinstance(gone, Table)
    none = np.zeros(len(findings.lengths), np.int64)
    if not gone.rows:
        return findings, none
    keys, over = _keys(found), list(zip(cleared.owners().tolist(), _keys(gone), strict=True))
    taken = set(over)
    owners = findings.owners()
    kept = np.array([(row, key) not in taken for row, key in zip(owners.tolist(), keys, strict=True)], np.bool_)
    lengths = np.bincount(owners[kept], minlength=len(none))
    return Ragged.of_lengths(lengths, found.take(np.flatnonzero(kept))), findings.lengths - lengths


def without_reason(reasons: Ragged, reason: str, rows: BoolArray) -> Ragged:
    """Return the reasons without one reason in some rows."""
    values = reasons.values
    assert isinstance(values, Strings)
    owners = reasons.owners()
    kept = ~(values.isin({reason}) & rows[owners])
    return Ragged.of_lengths(np.bincount(owners[kept], minlength=len(rows)), values.take(np.flatnonzero(kept)))


def held_by_matches(states: Table, rows: BoolArray) -> Table:
    """Return states that a match holds in some rows before the decision, so that no decision releases them."""
    held = states.bools("screening_hold").values | rows
    check = Strings.constant(CUSTOMS_CHECK, states.rows)
    return states.with_columns(
        {
            "screening_hold": Bools.of(held, held),
            "screening_early": Bools.of(held, held),
            # No other lane was public before: the hold appears as a check of the assessment.
            "public_lane": Ints.absent(states.rows),
            "reasons": with_reason(states.ragged("reasons"), check, rows),
        }
    )


def held_unseen(states: Table, looked_at: Container[str]) -> list[bool]:
    """Return which states a match or an alarm holds that the officer may not have seen: all but those in `looked_at` (MRNs named with a version)."""
    holds = states.bools("screening_hold").values | (states.bools("officer_hold").values & alarmed(states))
    return [
        held and mrn not in looked_at for held, mrn in zip(holds.tolist(), states.strings("mrn").tolist(), strict=True)
    ]


def with_reason(reasons: Ragged, added: Strings, rows: BoolArray) -> Ragged:
    """Return the reasons with a reason added in some rows, where it is missing."""
    assert isinstance(reasons.values, Strings)
    flat = reasons.values.tolist()
    lists = []
    for row, reason in enumerate(values_in_rows(added, rows).tolist()):
        told = flat[reasons.span(row)]
        lists.append([*told, reason] if reason and reason not in told else told)
    return Ragged.of_lengths([len(each) for each in lists], Strings.of([text for each in lists for text in each]))


def _keys(findings: Table) -> list[tuple[str, ...]]:
    """Return the key of each finding: party, list and entry of a screening match, rule and item of others."""
    lists = findings.strings("list").translate(lambda version: version.partition(":")[0]).tolist()
    columns = (findings.strings(name).tolist() for name in ("party", "list_entry", "rule"))
    items = [str(number) for number in findings.ints("item_number").tolist()]
    kinds = (findings.ints("kind").filled(0) == _SCREENING_MATCH).tolist()
    return [
        ("listed", party, name, entry) if listed else ("rule", rule, item)
        for listed, name, (party, entry, rule), item in zip(
            kinds, lists, zip(*columns, strict=True), items, strict=True
        )
    ]
