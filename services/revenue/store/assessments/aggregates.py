"""Sums over several consignments as they are stored: shares are taken, confirmed and given back under locks, in one order.

Whoever changes sums locks first the consignments that hold shares, in the order of their MRNs, then the sums, in the order of
their keys; so no two wait for one another in a circle, and a sum is read by one at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.columns import Table, among
from libs.filing_stages.shares import split_shares
from libs.store.database import Database, Transaction
from libs.store.tables.housekeeping import Step
from libs.store.tables.requests import PURGE_ROWS_MAX, purge_before
from libs.store.tables.schema import TODAY, today
from libs.telemetry import counter
from luxor.clearance.v1 import clearance_pb2 as clearance
from services.revenue.assessment.aggregates import (
    Aggregate,
    AggregateCounter,
    Aggregates,
    AggregateShare,
    RequestedShares,
    ShareHolder,
)
from services.revenue.law.assess.eligibility.limits import LARGEST_SUM
from services.revenue.ledger.charge import is_lost, never_released

_REMOVED_STATES: Final = (
    clearance.STATE_INVALIDATED,
    clearance.STATE_EXPIRED,
    clearance.STATE_RE_EXPORTED,
    clearance.STATE_DESTROYED,
    clearance.STATE_ABANDONED,
    clearance.STATE_CONFISCATED,
)

_STORED: Final = """
select mrn from share_holder where mrn = any($1::text[])
"""
_LOCK_HOLDERS: Final = f"""
insert into share_holder as kept (mrn, version, state, keys, day)
select given.mrn, 0, 0, '{{}}', {TODAY} from unnest($1::text[]) as given(mrn) order by given.mrn collate "C"
on conflict (mrn) do update set day = kept.day
returning mrn, version, keys, state
"""  # noqa: S608  # an expression of our own
_LOCK_KNOWN: Final = """
select mrn, version, keys, state from share_holder where mrn = any($1::text[]) order by mrn for update
"""
_LOCK_AGGREGATES: Final = f"""
insert into share_sum as kept (key, total, count, least, limit_id, bundled, changes, day)
select given.key, 0, 0, {LARGEST_SUM}, '', false, 0, {TODAY} from unnest($1::bytea[]) as given(key) order by given.key
on conflict (key) do update set day = greatest(kept.day, excluded.day)
returning key, total, count, least, limit_id, bundled
"""  # noqa: S608  # expressions of our own
_SHARES: Final = """
select found.key, found.mrn, found.amount, found.position from unnest($1::bytea[], $2::text[]) as given(key, mrn)
cross join lateral (select * from share k where k.key = given.key and k.mrn = given.mrn offset 0) found
union
select found.key, found.mrn, found.amount, found.position from share found where found.key = any($3::bytea[])
"""
_WRITE: Final = f"""
with gone as (
    delete from share using unnest($1::bytea[], $2::text[]) as given(key, mrn)
    where share.key = any(array[given.key]) and share.mrn = given.mrn
), put as (
    insert into share as kept (key, mrn, amount, position, day)
    select given.key, given.mrn, given.amount, nextval('share_position'), {TODAY} from (
        select * from unnest($3::bytea[], $4::text[], $5::bigint[]) with ordinality as told(key, mrn, amount, place)
        order by told.place
    ) as given
    on conflict (key, mrn) do update set amount = excluded.amount, day = excluded.day
), held as (
    update share_holder kept set version = given.version, keys = array(
        select told.key from unnest($8::text[], $9::bytea[]) as told(mrn, key) where told.mrn = given.mrn
    ), state = given.state, day = {TODAY}
    from unnest($6::text[], $7::integer[], $15::smallint[]) as given(mrn, version, state) where kept.mrn = any(array[given.mrn])
), summed as (
    update share_sum kept set total = given.total, count = given.count, least = given.least, limit_id = given.limit_id,
        bundled = given.bundled, changes = kept.changes + 1
    from unnest($10::bytea[], $11::numeric[], $12::integer[], $13::bigint[], $14::text[], $16::boolean[])
        as given(key, total, count, least, limit_id, bundled)
    where kept.key = any(array[given.key])
)
insert into reassessment_due (key) select given.key from unnest($17::bytea[]) as given(key) on conflict do nothing
"""  # noqa: S608  # an expression of our own
_CONFIRM: Final = """
update share_holder k set state = given.state from unnest($1::text[], $2::smallint[]) as given(mrn, state)
where k.mrn = any(array[given.mrn])
"""

_PRESENTED: Final = ("arrived_at", "presentation_due_at", "presented_at")
_LAST_VERSION: Final = 2**31 - 1
"""No version of a filing is above it."""

_shares = counter(
    "luxor_revenue_shares_total",
    "Shares of aggregates, by change: taken, confirmed by clearance, freed",
    ("outcome",),
)
for _each in ("taken", "confirmed", "given_back"):
    _shares.labels(_each)


class HolderState(IntEnum):
    """How surely a consignment holds its shares."""

    RESERVED = 0
    CONFIRMED = 1
    GIVEN_BACK = 2
    FIXED = 3
    """Confirmed, and clearance refuses later versions of the filing as too late as long as it is so."""


_NOT_AMENDED: Final = (HolderState.GIVEN_BACK, HolderState.FIXED)
"""Where clearance refuses each later version of the filing: it changes no share."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A batch counted in, whose transaction is still open."""

    aggregates: Aggregates
    counting: AggregateCounter


async def shareholders_of(reader: Transaction, mrns: Collection[str]) -> set[str]:
    """Return the consignments that have, had or will soon have shares; nothing is locked."""
    return {row["mrn"] for row in await reader.raw.fetch(_STORED, list(mrns))}


async def count_in(
    tx: Transaction,
    mrns: Sequence[str],
    versions: Sequence[int],
    shares: RequestedShares,
    possible_holders: Collection[str],
) -> Counted:
    """Lock what a batch touches and count it in; nothing is written yet.

    `possible_holders` names consignments of the batch that may hold shares although their rows take none now.
    """
    named = {mrns[row] for row, key in zip(shares.row.tolist(), shares.key, strict=True) if key}
    touched = sorted(named | set(possible_holders))
    rows = await tx.raw.fetch(_LOCK_HOLDERS, touched)
    holders = {
        row["mrn"]: ShareHolder(_LAST_VERSION if row["state"] in _NOT_AMENDED else row["version"], tuple(row["keys"]))
        for row in rows
    }
    sums = await _locked(tx, {*shares.keys, *(key for each in holders.values() for key in each.keys)})
    served_first = {
        key for key, bundled in zip(shares.key, shares.bundled.tolist(), strict=True) if key and not bundled
    }
    own = [(key, mrn) for mrn, each in holders.items() for key in each.keys]
    await _read_shares(tx, sums, own, sorted({key for key, _ in own} & served_first))
    counting = AggregateCounter(sums, holders)
    return Counted(counting.count(mrns, versions, shares), counting)


async def write(tx: Transaction, counting: AggregateCounter, *, state: HolderState = HolderState.RESERVED) -> None:
    """Write what was counted."""
    changed, sums = counting.changed, counting.aggregates
    if not changed.holders and not changed.aggregates:
        return
    gone = sorted(changed.deleted)
    told = sorted(changed.holders.items())
    kept = [(mrn, key) for mrn, holder in told for key in holder.keys]
    keys = sorted(changed.aggregates)
    await tx.raw.execute(
        _WRITE,
        [key for key, _ in gone],
        [mrn for _, mrn in gone],
        [key for key, _ in changed.put],
        [mrn for _, mrn in changed.put],
        list(changed.put.values()),
        [mrn for mrn, _ in told],
        [holder.version for _, holder in told],
        [mrn for mrn, _ in kept],
        [key for _, key in kept],
        keys,
        [sums[key].total for key in keys],
        [sums[key].count for key in keys],
        [sums[key].least for key in keys],
        [sums[key].limit for key in keys],
        [int(state)] * len(told),
        [sums[key].bundled for key in keys],
        sorted(changed.due),
    )
    numbers = len(changed.put), len(gone)
    tx.after_commit(lambda: _count(numbers))


async def apply_states(tx: Transaction, states: Table, areas: Collection[str] | None = None) -> None:
    """Apply clearance's states (a table of ClearanceColumns) to the shares of consignments, in the consumer's transaction.

    What was decided confirms its shares, and fixes them where amendments come too late; what was withdrawn or expired, and what left customs
    otherwise without any release, gives them back, and what that changes for others is assessed again. `areas` are the countries of destination
    with a law that knows sums, beside which shares of split shipments count; None for all. It locks consignments and sums, so it comes before any
    other locks that Assess might wait for.
    """
    if areas is not None:
        states = states.take(np.flatnonzero(states.strings("destination_country").isin(areas) | split_shares(states)))
    if not states.rows:
        return
    mrns = states.strings("mrn").tolist()
    state, version = states.ints("state").values, states.ints("version").values
    unreleased = never_released(states) & ~is_lost(states)
    newest: dict[str, int] = {}
    for row in np.argsort(version, kind="stable").tolist():
        newest[mrns[row]] = row
    known = await tx.raw.fetch(_LOCK_KNOWN, sorted(newest))
    gone = [
        row
        for row in known
        if row["state"] != HolderState.GIVEN_BACK
        and state[newest[row["mrn"]]] in _REMOVED_STATES
        and unreleased[newest[row["mrn"]]]
    ]
    left = {row["mrn"] for row in gone}
    fixed = _too_late(states)
    confirmed = 0
    changed: dict[str, HolderState] = {}
    for row in known:
        if row["state"] == HolderState.GIVEN_BACK or row["mrn"] in left:
            continue
        holder_state = HolderState.FIXED if fixed[newest[row["mrn"]]] else HolderState.CONFIRMED
        if holder_state != row["state"]:
            changed[row["mrn"]] = holder_state
            confirmed += row["state"] == HolderState.RESERVED
    if changed:
        await tx.raw.execute(_CONFIRM, list(changed), [int(each) for each in changed.values()])
        tx.after_commit(lambda: _shares.labels("confirmed").inc(confirmed))
    if gone:
        holders = {row["mrn"]: ShareHolder(row["version"], tuple(row["keys"])) for row in gone}
        sums = await _locked(tx, {key for each in holders.values() for key in each.keys})
        await _read_shares(tx, sums, [(key, mrn) for mrn, each in holders.items() for key in each.keys], [])
        counting = AggregateCounter(sums, holders)
        for mrn in sorted(holders):
            counting.give_back(mrn)
        await write(tx, counting, state=HolderState.GIVEN_BACK)


def _too_late(states: Table) -> npt.NDArray[np.bool_]:
    """Return of which goods clearance refuses each later version of the filing, shape (n,): once released or lost, presented, or controlled."""
    there = {name: states.ints(name).valid for name in _PRESENTED}
    presented = there["arrived_at"] & (there["presented_at"] | ~there["presentation_due_at"])
    controlled = among(states.ints("state").values, (clearance.STATE_EXAMINATION, clearance.STATE_SEIZED))
    for name in ("inspected_at", "adjusted_at"):
        controlled |= states.ints(name).valid
    return presented | controlled | ~never_released(states) | is_lost(states)


async def _locked(tx: Transaction, keys: Collection[bytes]) -> dict[bytes, Aggregate]:
    if not keys:
        return {}
    rows = await tx.raw.fetch(_LOCK_AGGREGATES, sorted(keys))
    return {
        row["key"]: Aggregate(int(row["total"]), row["count"], row["least"], row["limit_id"], row["bundled"])
        for row in rows
    }


async def _read_shares(
    tx: Transaction, aggregates: dict[bytes, Aggregate], own: Sequence[tuple[bytes, str]], whole: Sequence[bytes]
) -> None:
    """Read shares of consignments, and all shares of some aggregates."""
    if not own and not whole:
        return
    rows: Sequence[Any] = await tx.raw.fetch(_SHARES, [key for key, _ in own], [mrn for _, mrn in own], list(whole))
    for row in rows:
        aggregates[row["key"]].shares[row["mrn"]] = AggregateShare(row["amount"], row["position"])


def purge_shares(days: int) -> Step:
    """Delete shares and aggregates to which nothing was added for `days`: a step of housekeeping."""

    async def step(database: Database) -> None:
        async with database.connection() as reader:
            before = await today(reader) - days
        for table in ("share", "share_sum", "share_holder", "reassessed"):
            await purge_before(database, table, before, rows_max=PURGE_ROWS_MAX)

    return step


def _count(numbers: tuple[int, int]) -> None:
    _shares.labels("taken").inc(numbers[0])
    _shares.labels("given_back").inc(numbers[1])
