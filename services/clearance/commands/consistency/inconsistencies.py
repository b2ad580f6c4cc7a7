"""Inconsistencies of the store: what cannot be true of a stored consignment, each in one sentence."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.feed.types import BatchRef
from services.clearance.consignment.controls.control import controls_of
from services.clearance.consignment.controls.pre_loading import waits_for_judgement
from services.clearance.consignment.lifecycle.replay import beginnings, unexplained
from services.clearance.consignment.presentation.times import unpresented
from services.clearance.consignment.proposals.proposal import open_proposals
from services.clearance.consignment.transitions import FINAL, STAYING, Change, Debt, State
from services.clearance.licences.need import Key, Need, needs_of
from services.clearance.store import Row
from services.clearance.store.licences.register import Use
from services.clearance.store.timers.contradicted import in_list
from services.clearance.store.work import due_times
from services.clearance.temporary_storage.limits import ends
from services.clearance.transit.movement import movements

FOUND_MAX: Final = 8
"""Inconsistencies of one consignment that are reported."""


class Kind(IntEnum):
    """The kind of an inconsistency; the numbers are those of luxor.clearance.v1.InconsistencyKind."""

    TRANSITION = 1
    VERSION = 2
    CHAIN = 3
    CURRENT_STATE = 4
    WORK_LIST = 5
    REFERENCE = 6
    LICENCE = 7


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """One inconsistency."""

    kind: Kind
    mrn: str
    version: int
    """The version that it concerns; 0 where it concerns none."""
    detail: str
    """What differs and why it cannot be, one sentence."""


@dataclass(frozen=True, slots=True)
class Versions:
    """One version of each of n consignments."""

    states: Table
    mrns: list[str]
    places: list[tuple[BatchRef, int]]
    """Where each is stored: the batch and its row."""

    def take(self, rows: Sequence[int]) -> "Versions":
        """Return some of them."""
        if len(rows) == len(self.mrns):
            return self
        return Versions(
            self.states.take(np.array(rows, np.int64)),
            [self.mrns[row] for row in rows],
            [self.places[row] for row in rows],
        )


_ABSENT: Final = object()
"""Stands for a work list that does not have a consignment."""


def first_of_each(inconsistencies: Iterable[Inconsistency]) -> list[Inconsistency]:
    """Return the first inconsistencies of each consignment, by MRN and version."""
    shown: list[Inconsistency] = []
    counts: Counter[str] = Counter()
    for each in sorted(inconsistencies, key=lambda each: (each.mrn, each.version, each.kind)):
        counts[each.mrn] += 1
        if counts[each.mrn] <= FOUND_MAX:
            shown.append(each)
    return shown


def foreign(name: str, mrn: str) -> Inconsistency:
    """Return what is wrong with an entry of a work list under another day than that of its MRN."""
    return Inconsistency(Kind.WORK_LIST, mrn, 0, f"The list `{name}` has it under a day that is not in its MRN.")


def misplaced(mrn: str) -> Inconsistency:
    """Return what is wrong with a row of the table of states under another day than that of its MRN."""
    return Inconsistency(Kind.CURRENT_STATE, mrn, 0, "It is stored under a day that is not in its MRN.")


def absent(mrn: str, lists: Iterable[str]) -> list[Inconsistency]:
    """Return what is wrong with a consignment in work lists that is not stored."""
    return [
        Inconsistency(Kind.WORK_LIST, mrn, 0, f"The list `{name}` has it, and no such consignment is stored.")
        for name in lists
    ]


def reference(mrn: str, kind: str, value: str, other: str = "") -> Inconsistency:
    leads = f"leads to {other}" if other else "does not lead to it"
    return Inconsistency(Kind.REFERENCE, mrn, 0, f"Its {kind} {value!r} {leads}.")


def current_state(newest: Versions, rows: Mapping[str, Row]) -> list[Inconsistency]:
    """Return where the table of states disagrees with the newest stored states."""
    found = []
    for name in ("version", "filing_version", "state", "lane", "partition", "filer"):
        texts = name == "filer"
        values: list[int | str | None] = list(
            newest.states.strings(name).tolist() if texts else newest.states.ints(name).values.tolist()
        )
        for mrn, stored in zip(newest.mrns, values, strict=True):
            listed = getattr(rows[mrn], name)
            if stored != listed:
                detail = f"The table of states has the {name.replace('_', ' ')} {listed}, and the newest stored state has {stored}."
                found.append(Inconsistency(Kind.CURRENT_STATE, mrn, rows[mrn].version, detail))
    return found


def chain_ends(ends: Table) -> list[Inconsistency]:
    """Return where versions without a version before them are no first decisions."""
    numbers = ends.ints("version").filled(0)
    found = [
        Inconsistency(Kind.CHAIN, mrn, version, "It names no version before it.")
        for mrn, version in zip(ends.strings("mrn").tolist(), numbers.tolist(), strict=True)
        if version != 1
    ]
    first = ends.take(np.flatnonzero(numbers == 1))
    wrong = unexplained(beginnings(first), first) | (first.ints("change").filled(0) != Change.DECIDED)
    return found + transitions(beginnings(first), first, wrong)


def transitions(before: Table, after: Table, rows: NDArray[np.bool_]) -> list[Inconsistency]:
    """Return an inconsistency for each version that no transition produces."""
    found = []
    for row in np.flatnonzero(rows).tolist():
        was, now = before.take(np.array([row])), after.take(np.array([row]))
        detail = f"No transition leads from {_words(was)} to {_words(now)} by {_name(Change, now.ints('change')[0])}."
        found.append(
            Inconsistency(Kind.TRANSITION, now.strings("mrn").tolist()[0], now.ints("version")[0] or 0, detail)
        )
    return found


def _words(state: Table) -> str:
    """Return the situation of a state in words."""
    parts = [_name(State, state.ints("state")[0])]
    parts += ["arrived"] if state.ints("arrived_at").valid[0] else []
    parts += [
        text
        for name, text in (
            ("officer_hold", "held by an officer"),
            ("screening_hold", "held by a match"),
            ("debt_hold", "held by its debt"),
            ("control_hold", "held by controls alone"),
        )
        if state.bools(name).values[0]
    ]
    return f"{', '.join(parts)} (debt {_name(Debt, state.ints('debt_status')[0])})"


def _name(numbers: type[IntEnum], value: int | None) -> str:
    return numbers(value).name if value in tuple(numbers) else str(value)


def licences(
    newest: Versions, rows: Mapping[str, Row], uses: Mapping[str, Sequence[Use]], totals: Mapping[Key, tuple[int, int]]
) -> list[Inconsistency]:
    """Return where the uses of licences disagree with the newest stored states, and the register with the uses."""
    found = []
    for mrn, needs in zip(newest.mrns, needs_of(newest.states), strict=True):
        own = uses.get(mrn, ())
        listed = sorted(_used(use.need) for use in own if use.restored_at is None)
        stated = sorted(_used(need) for need in needs if need.is_used)
        details = [] if listed == stated else [f"The uses of licences have {listed}, and its state has {stated}."]
        details += [
            written_off(key, *totals[key]).detail
            for key in sorted({use.need.key for use in own})
            if key in totals and totals[key][0] != totals[key][1]
        ]
        found += [Inconsistency(Kind.LICENCE, mrn, rows[mrn].version, detail) for detail in details]
    return found


def written_off(key: Key, stated: int, used: int) -> Inconsistency:
    """Return what is wrong with a licence whose uses add up to something else; it concerns no consignment."""
    detail = f"The licence {'/'.join(key)} has {stated} written off, and its uses add up to {used}."
    return Inconsistency(Kind.LICENCE, "", 0, detail)


def _used(need: Need) -> tuple[str, int]:
    """Return what both sides have of a use: item and licence, and the quantity, 0 where it is not limited."""
    return f"item {need.item_number} {'/'.join(need.key)}", need.quantity_millionths or 0


def work_lists(
    newest: Versions, rows: Mapping[str, Row], lists: Mapping[str, Mapping[str, int | str | None]]
) -> list[Inconsistency]:
    """Return where the work lists disagree with the newest stored states."""
    states, lanes = (newest.states.ints(name).values.tolist() for name in ("state", "lane"))
    offices = newest.states.strings("office").tolist()
    due_at, due = due_times(newest.states)
    controls = [sum(1 << each.number for each in listed if each.is_open) for listed in controls_of(newest.states)]
    moving = movements(newest.states)
    proposed = [None if each is None else each.due_at for each in open_proposals(newest.states)]
    arrived, limits = newest.states.ints("arrived_at").valid.tolist(), ends(newest.states).at.tolist()
    presented = (~unpresented(newest.states)).tolist()
    unjudged = np.where(waits_for_judgement(newest.states), newest.states.ints("accepted_at").values, 0).tolist()
    contradicted = np.where(in_list(newest.states), newest.states.ints("accepted_at").values, 0).tolist()
    found = []
    for (
        mrn,
        state,
        lane,
        office,
        at,
        waits,
        numbers,
        there,
        limit,
        moves,
        lapses,
        is_presented,
        accepted,
        differs,
    ) in zip(
        newest.mrns,
        states,
        lanes,
        offices,
        due_at.tolist(),
        due.tolist(),
        controls,
        arrived,
        limits,
        moving,
        proposed,
        presented,
        unjudged,
        contradicted,
        strict=True,
    ):
        if state == State.AWAITING_ARRIVAL and there and is_presented and not waits and moves is None:
            detail = "Its goods have arrived and nothing holds them, and no delay leads to their release."
            found.append(Inconsistency(Kind.WORK_LIST, mrn, rows[mrn].version, detail))
        expected: dict[str, object] = {
            "held": f"{lane} {office}" if state == State.HELD else _ABSENT,
            "seized": None if state == State.SEIZED else _ABSENT,
            "due": at if waits else _ABSENT,
            "control": numbers or _ABSENT,
            "storage": _ABSENT if limit is None else limit,
            "transit": _ABSENT if moves is None else moves,
            "proposal": _ABSENT if lapses is None else lapses,
            "unjudged": f"{accepted} {office}" if accepted else _ABSENT,
            "contradicted": f"{differs} {office}" if differs else _ABSENT,
        }
        if mrn in lists["claim"] and state not in STAYING:
            expected["claim"] = _ABSENT
        if mrn in lists["open_return_order"] and state in FINAL:
            expected["open_return_order"] = _ABSENT
        for name, value in expected.items():
            listed: object = lists[name].get(mrn) if mrn in lists[name] else _ABSENT
            # What was held before the list had offices is listed without one.
            if listed == value or (name == "held" and state == State.HELD and listed == f"{lane} "):
                continue
            if value is _ABSENT:
                detail = f"The list `{name}` has it, and its state {_name(State, state)} does not belong there."
            elif listed is _ABSENT:
                detail = f"The list `{name}` lacks it."
            else:
                detail = f"The list `{name}` has {listed}, and its state has {value}."
            found.append(Inconsistency(Kind.WORK_LIST, mrn, rows[mrn].version, detail))
    return found
