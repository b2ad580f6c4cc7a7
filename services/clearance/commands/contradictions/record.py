"""Records what versions of filings state about contradictions with parts of other parties."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ints, Ragged, Table, among
from libs.store.database import Transaction
from services.clearance.consignment.contradictions.contradiction import (
    Contradictions,
    Statement,
    columns_of,
    contradictions_of,
    current_contradictions,
)
from services.clearance.consignment.controls.control import has_controls
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.transitions import FINAL, Event
from services.clearance.store import Store
from services.clearance.store.timers.contradicted import in_list


async def record_contradictions(
    store: Store,
    tx: Transaction,
    stated: Mapping[str, Sequence[Statement]],
    unchanged: Mapping[str, int],
    *,
    at: int,
    trace: str,
) -> None:
    """Record the contradictions of consignments that this transaction has decided and locked, after its decisions.

    `stated` has by MRN what the new versions state, the earliest first. `unchanged` has the versions that nobody decided because they change no
    element: they count from now on. Each change is an event of its own, which changes no state: what is released stays released. Final states stay as
    they are.
    """
    if not stated:
        return
    mrns = list(stated)
    found = await store.find(tx, mrns)
    rows = [found[mrn] for mrn in mrns]
    states = await store.states(tx, rows)
    former = contradictions_of(states)
    versions = [unchanged.get(row.mrn, row.filing_version) for row in rows]
    final = among(states.ints("state").values, FINAL).tolist()
    now = [
        before if is_final else _folded(before, stated[mrn], version)
        for mrn, before, version, is_final in zip(mrns, former, versions, final, strict=True)
    ]
    changed = [
        place
        for place, (mrn, one, other) in enumerate(zip(mrns, former, now, strict=True))
        if mrn in unchanged or not one.says_the_same(other)
    ]
    if not changed:
        return
    columns = columns_of(now, states.ints("contradiction_count"))
    table = _of_versions(states, np.array(versions, np.int64)).with_columns(columns).take(np.array(changed, np.int64))
    table, outcome = apply_event(table, EventDetails(event=Event.CONTRADICTED, at=at))
    assert bool(outcome.effective.all()), "a contradiction is recorded in each state that is reached and not final"
    await store.succeed(tx, table, [rows[place] for place in changed], trace=trace)


async def forget_unlisted(store: Store, mrns: Sequence[str]) -> None:
    """Remove those from the list of contradicted goods that do not belong there any more.

    A replica of an earlier release, which does not have the list, leaves there what it changes.
    """
    async with store.database.transaction() as tx:
        rows = list((await store.lock(tx, mrns)).values())
        states = await store.states(tx, rows)
        unlisted = np.flatnonzero(~in_list(states)).tolist()
        await store.contradicted.forget(tx, [rows[place].mrn for place in unlisted])


def _folded(before: Contradictions, statements: Sequence[Statement], filing_version: int) -> Contradictions:
    """Return the contradictions of the version that counts after several statements."""
    for statement in statements:
        before = current_contradictions(before, statement, filing_version)
    return before


def _of_versions(states: Table, versions: NDArray[np.int64]) -> Table:
    """Return states with versions of their filings that change no element: what an officer found in order of the version before stays in order."""
    former = states.ints("filing_version").values
    if (former == versions).all():
        return states
    columns: dict[str, Column] = {"filing_version": Ints.of(versions)}
    if has_controls(states):
        controls, lines = states.ragged("controls"), states.child("controls")
        numbers, owners = lines.ints("filing_version"), controls.owners()
        values = np.where(numbers.values == former[owners], versions[owners], numbers.values)
        lines = lines.with_columns({"filing_version": Ints.of(values, numbers.valid)})
        columns["controls"] = Ragged.of_lengths(controls.lengths, lines)
    return states.with_columns(columns)
