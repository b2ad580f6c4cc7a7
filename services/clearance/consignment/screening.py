"""Hits of the screening that come after the decision or are cleared, alarms of security screenings, and the state that they lead to. Pure."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table
from luxor.common.v1 import common_pb2
from services.clearance.consignment.decision import CUSTOMS_CHECK, Lane, only
from services.clearance.consignment.transitions import State

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_LISTED: Final = common_pb2.FINDING_KIND_LISTED_PARTY
ALARM: Final = "SCREENING_ALARM"
"""Reason of the finding that a security screening returned an alarm."""


def with_hits(findings: Ragged, more: Ragged) -> tuple[Ragged, IntArray]:
    """Add to the findings of n consignments the hits that are not among them; gives the findings, and how many of each are new, shape (n,).

    A hit is known by party, list and entry, whatever the version of the list: the same hit told again, by a replay or of a newer list, adds nothing.
    One that advises a higher lane than before is new, and takes the place of the weaker: who released that one has not seen it.
    """
    found, fresh = findings.values, more.values
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
        for place in range(found.rows, found.rows + fresh.rows)[more.span(row)]:
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


def only_listed(findings: Ragged, rows: BoolArray) -> Ragged:
    """Keep of the findings of some rows the hits of the screening; the others keep none."""
    found = findings.values
    assert isinstance(found, Table)
    owners = findings.owners()
    kept = (found.ints("kind").filled(0) == _LISTED) & rows[owners]
    lengths = np.bincount(owners[kept], minlength=len(rows))
    return Ragged.of_lengths(lengths, found.take(np.flatnonzero(kept)))


def alarmed(states: Table) -> BoolArray:
    """Tell which states have the finding that a security screening returned an alarm, shape (n,)."""
    reasons = states.child("findings").strings("reason")
    found = np.zeros(states.rows, np.bool_)
    if ALARM in reasons.dictionary:
        found[states.ragged("findings").owners()[reasons.isin({ALARM})]] = True
    return found


def only_alarms(findings: Ragged, rows: BoolArray) -> Ragged:
    """Keep of the findings of some rows the alarms of security screenings; the others keep none."""
    found = findings.values
    assert isinstance(found, Table)
    owners = findings.owners()
    kept = found.strings("reason").isin({ALARM}) & rows[owners]
    lengths = np.bincount(owners[kept], minlength=len(rows))
    return Ragged.of_lengths(lengths, found.take(np.flatnonzero(kept)))


def screened(states: Table, findings: Ragged, hits: Table) -> Table:
    """Give states that know new hits (ScreeningColumns, row by row), before these have their effect.

    The lane rises to that of the gravest hit; filers and carriers are told the lane of before, or it told them of the hit. What was released keeps
    its lane, and is to be audited.
    """
    told = hits.ragged("findings")
    asked = np.zeros(states.rows, np.int64)
    np.maximum.at(asked, told.owners(), hits.child("findings").ints("lane").filled(0))
    released = states.ints("state").values == State.RELEASED
    lane, audit, before = states.ints("lane"), states.bools("audit"), states.ints("public_lane")
    raised = Ints.of(np.where(released, lane.values, np.maximum(lane.values, asked)), lane.valid | ~released)
    return states.with_columns(
        {
            "findings": findings,
            "screened_lists": hits.strings("lists"),
            "lane": raised,
            "public_lane": Ints.of(
                np.where(before.valid, before.values, lane.values), before.valid | (raised.values > lane.values)
            ),
            "audit": Bools.of(audit.values | released, audit.valid | released),
        }
    )


@dataclass(frozen=True, slots=True)
class Cleared:
    """What became of n states whose hits were cleared; all of shape (n,)."""

    states: Table
    """Without these hits."""
    removed: BoolArray
    """Whether a hit was among what was found."""
    free: BoolArray
    """Whether nothing that was found calls for a look any more; an officer's hold, a violation and the debt hold on all the same."""


def cleared(states: Table, hits: Table) -> Cleared:
    """Take hits out of states that were found to be of other parties (ScreeningColumns, row by row), before this has its effect.

    The lane is that of what else was found, and of the score and the draw, which risk tells; it never rises. Filers and carriers go on reading the
    lane of before. A release that was to be audited for such a hit alone is not any more.
    """
    findings, gone = hits_without(states.ragged("findings"), hits.ragged("cleared"))
    removed = gone > 0
    if not removed.any():
        return Cleared(states, removed, removed)
    found = findings.values
    assert isinstance(found, Table)
    owners = findings.owners()
    asked = np.zeros(states.rows, np.int64)
    np.maximum.at(asked, owners, found.ints("lane").filled(0))
    listed = np.zeros(states.rows, np.bool_)
    listed[owners[found.ints("kind").filled(0) == _LISTED]] = True
    left, lane, told = hits.ints("remaining_lane"), states.ints("lane"), states.ints("public_lane")
    # Where risk tells no lane, what it was stays: nothing is freed by what is unknown.
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
        "screened_lists": _picked(removed, hits.strings("lists"), states.strings("screened_lists")),
        "audit": Bools.of(audit.values & ~spared, audit.valid),
    }
    if free.any():
        columns["reasons"] = without_reason(states.ragged("reasons"), CUSTOMS_CHECK, free)
    return Cleared(states.with_columns(columns), removed, free)


def hits_without(findings: Ragged, cleared: Ragged) -> tuple[Ragged, IntArray]:
    """Take hits out of the findings of n consignments; gives the findings, and how many were taken of each, shape (n,)."""
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
    """Take a reason out of the lists of some rows."""
    values = reasons.values
    assert isinstance(values, Strings)
    owners = reasons.owners()
    kept = ~(values.isin({reason}) & rows[owners])
    return Ragged.of_lengths(np.bincount(owners[kept], minlength=len(rows)), values.take(np.flatnonzero(kept)))


def _picked(rows: BoolArray, new: Strings, old: Strings) -> Strings:
    return Strings.concat([old, new]).take(np.arange(len(rows)) + np.where(rows, len(rows), 0))


def held_by_hits(states: Table, rows: BoolArray) -> Table:
    """Give states that a hit holds in some rows before they are decided: then no decision releases them."""
    held = states.bools("screening_hold").values | rows
    check = Strings.constant(CUSTOMS_CHECK, states.rows)
    return states.with_columns(
        {
            "screening_hold": Bools.of(held, held),
            "screening_early": Bools.of(held, held),
            # Nobody was told another lane yet: it reads as a check that the assessment led to.
            "public_lane": Ints.absent(states.rows),
            "reasons": with_reason(states.ragged("reasons"), check, rows),
        }
    )


def held_unseen(states: Table, seen: Container[str]) -> list[bool]:
    """Tell which states a hit or an alarm holds that an officer need not have looked at: she names the version of those alone in `seen`, by MRN."""
    holds = states.bools("screening_hold").values | (states.bools("officer_hold").values & alarmed(states))
    return [held and mrn not in seen for held, mrn in zip(holds.tolist(), states.strings("mrn").tolist(), strict=True)]


def with_reason(reasons: Ragged, more: Strings, rows: BoolArray) -> Ragged:
    """Add a reason to the lists of some rows, where they do not have it."""
    assert isinstance(reasons.values, Strings)
    flat = reasons.values.tolist()
    lists = []
    for row, reason in enumerate(only(more, rows).tolist()):
        told = flat[reasons.span(row)]
        lists.append([*told, reason] if reason and reason not in told else told)
    return Ragged.of_lengths([len(each) for each in lists], Strings.of([text for each in lists for text in each]))


def _keys(findings: Table) -> list[tuple[str, ...]]:
    """Tell findings apart: hits by party, list and entry; what rules found by rule and item."""
    lists = findings.strings("list").translate(lambda version: version.partition(":")[0]).tolist()
    columns = (findings.strings(name).tolist() for name in ("party", "list_entry", "rule"))
    items = [str(number) for number in findings.ints("item_number").tolist()]
    kinds = (findings.ints("kind").filled(0) == _LISTED).tolist()
    return [
        ("listed", party, name, entry) if listed else ("rule", rule, item)
        for listed, name, (party, entry, rule), item in zip(
            kinds, lists, zip(*columns, strict=True), items, strict=True
        )
    ]
