"""The state after a new version of a filing: what the amendment replaces, and what stays of the stored state. Pure."""

from typing import Final

import numpy as np

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table, among
from libs.columns.arrays import BoolArray
from services.clearance.consignment.columns import TRANSIT_COLUMNS, choose
from services.clearance.consignment.decision import INCOMPLETE, OFFICER_HOLD, PARTS_MISSING, Lane
from services.clearance.consignment.inspection import INSPECTED, RESOLUTION
from services.clearance.consignment.presentation.times import PRESENTATION, completable
from services.clearance.consignment.screening import alarmed, only_alarms, only_matches, with_matches, with_reason
from services.clearance.consignment.state.awaited_parts import with_notified
from services.clearance.consignment.state.times import DELAYS, first_decision_times
from services.clearance.consignment.transitions import CONTROLLED

_UNCHANGED_BY_AMENDMENT: Final = (
    "version",
    "arrived_at",
    "arrival_conveyance_reference",
    "arrival_place",
    "arrival_carrier",
    "arrived_by_list",
    "arrived_by_receptacle",
    *PRESENTATION,
    "released_at",
    "state",
    "officer_hold",
    "screening_hold",
    "screening_early",
    "control_hold",
    "controls",
    "proposals",
    "screened_lists",
    "public_version",
    "public_change",
    "public_changed_at",
    "note",
    "paid_minor",
    "refunded_minor",
    "debt_event_number",
    "adjusted_at",
    "former_released_at",
    "storage_reminded_at",
    "storage_ended_at",
    *INSPECTED,
    *RESOLUTION,
    *TRANSIT_COLUMNS,
)


def completing(stored: Table, completed: Ragged | None) -> BoolArray:
    """Return which new versions complete the filing of goods that were presented, shape (n,).

    `completed`: by new version, the earlier ones that it completes, as ingestion states them; None where it completes none.
    """
    found = np.zeros(stored.rows, np.bool_)
    if completed is not None:
        assert isinstance(completed.values, Ints)
        owners = completed.owners()
        found[owners[completed.values.values == stored.ints("filing_version").values[owners]]] = True
        found &= completable(stored)
    return found


def stays_in_red_lane(stored: Table, new: Table, completes: BoolArray) -> BoolArray:
    """Return which goods stay in the red lane though risk does not select the version that completes their filing, shape (n,).

    Goods that are there are not taken from an examination by what their filer adds (compare UCC, article 173(2)(a)). A screening match after the
    decision raised no lane that the filer reads.
    """
    public = stored.ints("public_lane")
    lane = np.where(public.valid, public.values, stored.ints("lane").values)
    found: BoolArray = completes & (lane == Lane.RED) & (new.ints("lane").filled(0) != Lane.RED)
    return found


def amended_states(stored: Table, new: Table, stays_red: BoolArray | None = None) -> Table:
    """Return the stored states with new versions of their filings, row by row.

    Arrivals, inspections, payments and holds stay. A hold by an officer or by a screening match keeps its reasons and ends the delays, as does the
    red lane in the rows `stays_red`.
    """
    columns: dict[str, Column] = {name: stored.column(name) for name in _UNCHANGED_BY_AMENDMENT}
    if "pre_loading_second_person" in stored.names:
        # An open referral or do-not-load stays, and so does what its rule requires.
        stays = stored.bools("pre_loading_second_person").values & among(stored.ints("state").values, CONTROLLED)
        required = stays | new.bools("pre_loading_second_person").values
        columns["pre_loading_second_person"] = Bools.of(required, required)
    columns["filed_late"] = _late(stored, new)
    no_rows = np.zeros(stored.rows, np.bool_)
    columns["first_decided_at"] = first_decision_times(stored, no_rows, Ints.absent(stored.rows))
    columns |= with_notified(stored, new)
    by_alarm = new.bools("officer_hold").values
    if by_alarm.any():
        columns["officer_hold"] = Bools.of(stored.bools("officer_hold").values | by_alarm)
    held = stored.bools("officer_hold").values | stored.bools("screening_hold").values
    if stays_red is not None and stays_red.any():
        held = held | stays_red
        new = _in_red_lane(new, stays_red)
    if held.any():
        missing = new.ragged("missing_roles").lengths > 0
        remaining = _remaining(stored.ragged("reasons"), new.ragged("incomplete_stages").lengths == 0, ~missing)
        if missing.any():
            # Once the match is cleared, the missing part holds the goods; an officer decides in spite of it.
            by_match = missing & held & ~stored.bools("officer_hold").values
            remaining = with_reason(remaining, Strings.constant(PARTS_MISSING, stored.rows), by_match)
        columns["reasons"] = choose(held, remaining, new.ragged("reasons"))
        columns |= {name: choose(~held, new.ints(name), Ints.absent(stored.rows)) for name in DELAYS}
    alarm = stored.bools("officer_hold").values & alarmed(stored)
    if alarm.any():
        # A new version of the filing without the alarm does not lift it.
        findings, _ = with_matches(new.ragged("findings"), only_alarms(stored.ragged("findings"), alarm))
        lane = new.ints("lane")
        raised = np.maximum(lane.values, stored.ints("lane").values)
        new = new.with_columns(
            {"findings": findings, "lane": Ints.of(np.where(alarm, raised, lane.values), lane.valid | alarm)}
        )
    by_match = stored.bools("screening_hold").values
    if by_match.any():
        matches = only_matches(stored.ragged("findings"), by_match)
        columns["findings"], _ = with_matches(new.ragged("findings"), matches)
        lane, raised = new.ints("lane"), stored.ints("lane").values
        higher = np.maximum(lane.values, raised)
        columns["lane"] = Ints.of(np.where(by_match, higher, lane.values), lane.valid | by_match)
        # The lane of a match before the first decision is public; that of a later match is not.
        later = by_match & ~stored.bools("screening_early").values & lane.valid & (lane.values < raised)
        columns["public_lane"] = Ints.of(lane.values, later)
    return new.with_columns(columns)


def late_so_far(versions: Table, before_declaration: BoolArray | None = None) -> BoolArray:
    """Return which filings are late by these versions and by those above them of the same filing, which are earlier, shape (n,).

    The first version has a deadline, and so has the declaration of what was filed before it; other amendments have none.
    `before_declaration`: whether the stored version is of that kind; None where nothing is stored.
    """
    missed = versions.bools("filed_late").values
    if not missed.any():
        return missed
    mrns, rows = versions.strings("mrn").tolist(), np.arange(versions.rows)
    incomplete = versions.ragged("incomplete_stages").lengths > 0
    follows = np.array([row > 0 and mrns[row - 1] == mrn for row, mrn in enumerate(mrns)], np.bool_)
    declared = np.append(False, incomplete[:-1]) & ~incomplete
    first = np.ones(len(rows), np.bool_) if before_declaration is None else before_declaration & ~incomplete
    now = missed & np.where(follows, declared, first)
    # Those of the same filing, from its first row on.
    total = np.cumsum(now)
    begins = np.maximum.accumulate(np.where(follows, 0, rows))
    return np.greater(total, (total - now)[begins])


def _late(stored: Table, new: Table) -> Column:
    """Return which filings came late: before, or now."""
    before = stored.bools("filed_late")
    now = late_so_far(new, stored.ragged("incomplete_stages").lengths > 0)
    if not now.any():
        return before
    late = before.values | now
    return Bools.of(late, late)


def _in_red_lane(new: Table, rows: BoolArray) -> Table:
    """Return new versions with the red lane in some rows: the lane holds them, and not the debt alone."""
    lane, by_debt = new.ints("lane"), new.bools("debt_hold")
    return new.with_columns(
        {
            "lane": Ints.of(np.where(rows, np.int64(Lane.RED), lane.values), lane.valid | rows),
            "debt_hold": Bools.of(by_debt.values & ~rows, by_debt.valid & ~rows),
        }
    )


def _remaining(reasons: Ragged, declared: BoolArray, complete: BoolArray) -> Ragged:
    """Return the reasons of holds without those that the new version ends: it is a declaration, or no part is missing any more.

    Where nothing else is left, it is the officer's hold.
    """
    assert isinstance(reasons.values, Strings)
    owners, lengths = reasons.owners(), reasons.lengths
    ended = declared[owners] & reasons.values.isin({INCOMPLETE})
    ended |= complete[owners] & reasons.values.isin({PARTS_MISSING})
    if not ended.any():
        return reasons
    all_ended = np.bincount(owners[ended], minlength=len(lengths)) == lengths
    first = np.arange(len(owners)) == reasons.offsets[owners]
    alone = ended & all_ended[owners] & first
    texts = choose(alone, Strings.constant(OFFICER_HOLD, len(owners)), reasons.values)
    stays = np.flatnonzero(~ended | alone)
    return Ragged.of_lengths(np.bincount(owners[stays], minlength=len(declared)), texts.take(stays))
