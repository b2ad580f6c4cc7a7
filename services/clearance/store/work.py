"""Work lists: held and seized consignments, open controls, the ends of delays, and all consignments by day and MRN."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table, among
from libs.store.database import Transaction
from libs.store.tables import bulk
from libs.store.tables.schema import day_partitions
from services.clearance.consignment.columns import in_transit
from services.clearance.consignment.controls.control import controls_of
from services.clearance.consignment.decision import person_of, same_person
from services.clearance.consignment.presentation.times import unpresented
from services.clearance.consignment.proposals.proposal import requires_second
from services.clearance.consignment.transitions import STAYING, State
from services.clearance.store.rows import Row, days_of, row_of

_DELETE: Final = """
    with w as (
            select * from unnest($1::integer[], $2::text[], $3::boolean[], $4::boolean[], $5::boolean[]) as w(day, mrn, held, due, staying)
        ),
        freed as (delete from held h using w where not w.held and h.day = any(array[w.day]) and h.mrn = w.mrn),
        claims as (delete from claim c using w where not w.staying and c.day = any(array[w.day]) and c.mrn = w.mrn)
    delete from due d using w where not w.due and d.day = any(array[w.day]) and d.mrn = w.mrn
"""

WORK_LISTS: Final = {
    "held": "lane || ' ' || office",
    "seized": "null::smallint",
    "claim": "null::smallint",
    "due": "due_at",
    "control": "(sum(1::bigint << number) over ())::bigint",
    "storage": "ends_at",
    "transit": "due_at || ' ' || departure_office || ' ' || destination_office || case when next_at is null then ' overdue' else '' end",
    "proposal": "due_at",
    "unjudged": "accepted_at || ' ' || office",
    "contradicted": "accepted_at || ' ' || office",
    "open_return_order": "null::smallint",
}
"""The work lists, and what they state of a consignment beside day and MRN; of controls the numbers, as bits."""
_ENTRIES: Final = """
    select distinct day, mrn from {name} where (day, mrn) > ($1, $2) and (day, mrn) <= ($3, $4) order by day, mrn limit $5
"""
_ENTRY: Final = """
    select w.mrn, e.value from unnest((select $1::integer[]), (select $2::text[])) as w(day, mrn)
    cross join lateral (select {value} as value from {name} l where l.day = w.day and l.mrn = w.mrn limit 1) e
"""
Position = tuple[int, str]
"""A day of acceptance and an MRN: the order of consignments and of the work lists."""
EVERYBODY: Final = "*"
"""In place of an authority: all authorities. No id has this form."""
_LIST: Final = """
    select mrn, number from control
    where (day, mrn, number) > ($1, $2, $3) and ($4 = '*' or authority = $4) and ($5 = 0 or form = $5)
        and (not $6 or overdue_at is not null) and (not $7 or answered) and ($8 = '' or office = $8)
    order by day, mrn, number limit $9
"""


@dataclass(frozen=True, slots=True)
class Pass:
    """How far the expiry of a day's declarations has come."""

    day: int
    """Day of acceptance."""
    mrn: str = ""
    """The MRN up to which the pass under way has come; "" where none is under way."""
    passed_at: int | None = None
    """When the day was passed last, microseconds since 1970-01-01 UTC; None where it never was."""


async def passes(tx: Transaction) -> dict[int, Pass]:
    """Return the passes of all days."""
    records = await tx.raw.fetch("select day, mrn, passed_at from expiry_pass")
    return {record["day"]: Pass(record["day"], record["mrn"], record["passed_at"]) for record in records}


class WorkTables:
    """The lists of held and seized consignments and of delays."""

    async def note(
        self, tx: Transaction, table: Table, mrns: list[str], days: list[int], *, in_lists: NDArray[np.bool_]
    ) -> None:
        """Store which of these states are held and which have a delay. `in_lists` marks states with a former version that may be in a list."""
        held = table.ints("state").values == State.HELD
        due_at, due = due_times(table)
        ended = np.flatnonzero(in_lists & ~(held & due))
        if len(ended):
            places = ended.tolist()
            await tx.raw.execute(
                _DELETE,
                [days[place] for place in places],
                [mrns[place] for place in places],
                held[ended].tolist(),
                due[ended].tolist(),
                among(table.ints("state").values[ended], STAYING).tolist(),
            )
        lanes, offices = table.ints("lane").values.tolist(), table.strings("office").tolist()
        there = np.flatnonzero(held).tolist()
        await bulk.insert(
            tx,
            "held",
            {
                "day": bulk.int4([days[place] for place in there]),
                "mrn": bulk.text([mrns[place] for place in there]),
                "lane": bulk.int2([lanes[place] for place in there]),
                "office": bulk.text([offices[place] for place in there]),
            },
            on_conflict="(day, mrn) do update set lane = excluded.lane, office = excluded.office",
        )
        waiting = np.flatnonzero(due).tolist()
        if waiting:
            await bulk.insert(
                tx,
                "due",
                {
                    "day": bulk.int4([days[place] for place in waiting]),
                    "mrn": bulk.text([mrns[place] for place in waiting]),
                    "due_at": bulk.int8(due_at[waiting].tolist()),
                },
                on_conflict="(day, mrn) do update set due_at = excluded.due_at",
            )

    async def due(self, tx: Transaction, until: int, limit: int) -> list[str]:
        """Return the MRNs whose delays ended before an instant, the longest due first."""
        records = await tx.raw.fetch("select mrn from due_find($1, $2)", until, limit)
        return [record["mrn"] for record in records]

    async def forget_due(self, tx: Transaction, mrns: Sequence[str]) -> None:
        """Delete the delays of consignments that have none any more."""
        if mrns:
            await tx.raw.execute(
                "delete from due d using unnest($1::integer[], $2::text[]) as w(day, mrn) "
                "where d.day = any(array[w.day]) and d.mrn = w.mrn",
                days_of(mrns),
                list(mrns),
            )

    async def held(self, tx: Transaction, after: tuple[int, str], lane: int, limit: int) -> list[str]:
        """Return the MRNs of held consignments by day and MRN, after a position."""
        records = await tx.raw.fetch(
            "select mrn from held where (day, mrn) > ($1, $2) and ($3 = 0 or lane = $3) order by day, mrn limit $4",
            after[0],
            after[1],
            lane,
            limit,
        )
        return [record["mrn"] for record in records]

    async def of_office(
        self, tx: Transaction, office: str, lane: int, after: tuple[int, int, str], limit: int
    ) -> list[tuple[int, int, str]]:
        """Return held consignments of an office after a place: lane, day and MRN of each, the highest lane first, then by day and MRN."""
        records = await tx.raw.fetch("select * from work_find($1, $2, $3, $4, $5, $6)", office, lane, *after, limit)
        return [(record["lane"], record["day"], record["mrn"]) for record in records]

    async def note_seized(self, tx: Transaction, seized: Sequence[str], ended: Sequence[str]) -> None:
        """Store which consignments are seized from now on, and delete those whose seizure ended."""
        if seized:
            columns = {"day": bulk.int4(days_of(seized)), "mrn": bulk.text(list(seized))}
            await bulk.insert(tx, "seized", columns, on_conflict="do nothing")
        if ended:
            await tx.raw.execute(
                "delete from seized s using unnest($1::integer[], $2::text[]) as w(day, mrn) "
                "where s.day = any(array[w.day]) and s.mrn = w.mrn",
                days_of(ended),
                list(ended),
            )

    async def seized(self, tx: Transaction, after: tuple[int, str], limit: int) -> list[str]:
        """Return the MRNs of seized consignments by day and MRN, after a position."""
        records = await tx.raw.fetch(
            "select mrn from seized where (day, mrn) > ($1, $2) order by day, mrn limit $3", *after, limit
        )
        return [record["mrn"] for record in records]

    async def of_day(self, tx: Transaction, day: int, after: str, limit: int) -> list[tuple[str, int]]:
        """Return MRN and state of the next consignments of a day, by MRN."""
        records = await tx.raw.fetch(
            "select mrn, state from consignment where day = $1 and mrn > $2 order by mrn limit $3", day, after, limit
        )
        return [(record["mrn"], record["state"]) for record in records]

    async def note_pass(self, tx: Transaction, progress: Pass) -> None:
        """Store how far the pass of a day has come."""
        await tx.raw.execute(
            "insert into expiry_pass (day, mrn, passed_at) values ($1, $2, $3) "
            "on conflict (day) do update set mrn = excluded.mrn, passed_at = excluded.passed_at",
            progress.day,
            progress.mrn,
            progress.passed_at,
        )

    async def entries(self, tx: Transaction, name: str, after: Position, last: Position, limit: int) -> list[Position]:
        """Return the first entries of a work list after a position, up to another one."""
        records = await tx.raw.fetch(_ENTRIES.format(name=name), *after, *last, limit)
        return [(record["day"], record["mrn"]) for record in records]

    async def stated(self, tx: Transaction, name: str, mrns: Sequence[str]) -> dict[str, int | str | None]:
        """Return what a work list states of those of some consignments that it has."""
        query = _ENTRY.format(name=name, value=WORK_LISTS[name])
        records = await tx.raw.fetch(query, days_of(mrns), list(mrns))
        return {record["mrn"]: record["value"] for record in records}

    async def scan(self, tx: Transaction, after: tuple[int, str], limit: int) -> list[Row]:
        """Return consignments by day and MRN, after a position."""
        days = await self._days_from(tx, after[0])
        rows: list[Row] = []
        for day in days:
            records = await tx.raw.fetch(
                "select mrn, partition, filer, version, filing_version, state, lane, batch_day, batch_id, batch_row "
                "from consignment where day = $1 and mrn > $2 order by mrn limit $3",
                day,
                after[1] if day == after[0] else "",
                limit - len(rows),
            )
            rows.extend(row_of(record, record["mrn"], day) for record in records)
            if len(rows) >= limit:
                break
        return rows

    async def _days_from(self, tx: Transaction, day: int) -> list[int]:
        return [each for each in await day_partitions(tx, "consignment") if each >= day]


def due_times(table: Table) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return when the delays of states end, microseconds since 1970-01-01 UTC, and which have a delay: both of shape (n,).

    Green ones that arrived and were presented, once the time for an officer's look is over; yellow ones that nobody holds, once their days are,
    unless a rule requires a second person. Those in transit wait for their arrival.
    """
    state = table.ints("state").values
    wait, reroute = table.ints("release_not_before"), table.ints("reroute_at")
    waits = (state == State.AWAITING_ARRIVAL) & wait.valid & table.ints("arrived_at").valid & ~unpresented(table)
    free = ~table.bools("officer_hold").values & ~table.bools("screening_hold").values
    reroutes = (state == State.HELD) & reroute.valid & free
    if reroutes.any():
        reroutes &= ~requires_second(table)
    return np.where(waits, wait.values, reroute.values), (waits | reroutes) & ~in_transit(table)


@dataclass(frozen=True, slots=True)
class ControlFilter:
    """Which open controls are listed."""

    authority: str = EVERYBODY
    """Id of an agency, "" for customs."""
    form: int = 0
    overdue: bool = False
    answered: bool = False
    office: str = ""


class ControlTable:
    """The list of open controls."""

    async def note(self, tx: Transaction, table: Table, mrns: list[str], days: list[int]) -> None:
        """Store the open controls of these states in place of those that were listed."""
        await self.forget(tx, mrns)
        offices = table.strings("office").tolist()
        there = [(row, each) for row, controls in enumerate(controls_of(table)) for each in controls if each.is_open]
        await bulk.insert(
            tx,
            "control",
            {
                "day": bulk.int4([days[row] for row, _ in there]),
                "mrn": bulk.text([mrns[row] for row, _ in there]),
                "number": bulk.int2([each.number for _, each in there]),
                "form": bulk.int2([each.form for _, each in there]),
                "authority": bulk.text([each.authority for _, each in there]),
                "office": bulk.text([offices[row] for row, _ in there]),
                "answered": bulk.boolean([each.answered_at is not None for _, each in there]),
                "overdue_at": bulk.int8([each.overdue_at for _, each in there]),
                "next_at": bulk.int8([each.next_at for _, each in there]),
                "waits_since": bulk.int8([each.waits_since for _, each in there]),
            },
        )

    async def forget(self, tx: Transaction, mrns: Sequence[str]) -> None:
        """Delete the controls of consignments from the list."""
        if mrns:
            await tx.raw.execute(
                "delete from control c using unnest($1::integer[], $2::text[]) as w(day, mrn) "
                "where c.day = any(array[w.day]) and c.mrn = w.mrn",
                days_of(mrns),
                list(mrns),
            )

    async def due(self, tx: Transaction, until: int, limit: int) -> list[str]:
        """Return the MRNs of consignments with a reminder or a deadline before an instant, the longest due first."""
        records = await tx.raw.fetch(
            "select mrn from (select mrn, next_at from control where next_at <= $1 order by next_at limit $2) as c "
            "group by mrn order by min(next_at)",
            until,
            limit,
        )
        return [record["mrn"] for record in records]

    async def page(
        self, tx: Transaction, chosen: ControlFilter, after: tuple[int, str, int], limit: int
    ) -> list[tuple[str, int]]:
        """Return open controls by day, MRN and number, after a place: MRN and number of each."""
        records = await tx.raw.fetch(
            _LIST, *after, chosen.authority, chosen.form, chosen.overdue, chosen.answered, chosen.office, limit
        )
        return [(record["mrn"], record["number"]) for record in records]


@dataclass(frozen=True, slots=True)
class Claim:
    """Which officer works on a consignment."""

    officer: str
    claimed_at: int
    """Microseconds since 1970-01-01 UTC."""
    handed_by: str
    """The officer who made the claim."""
    note: str

    def is_of(self, officer: str) -> bool:
        """Return whether it is a claim of an officer."""
        return same_person(self.officer, officer)


class ClaimTable:
    """The claims of officers."""

    async def find(self, tx: Transaction, mrns: Sequence[str]) -> dict[str, Claim]:
        """Return the claims of some consignments by MRN; those without are missing."""
        records = await tx.raw.fetch(
            "select w.mrn, c.officer, c.claimed_at, c.handed_by, c.note "
            "from unnest((select $1::integer[]), (select $2::text[])) as w(day, mrn) "
            "cross join lateral (select * from claim k where k.day = w.day and k.mrn = w.mrn limit 1) c",
            days_of(mrns),
            list(mrns),
        )
        return {each["mrn"]: Claim(*(each[name] for name in Claim.__slots__)) for each in records}

    async def of_officer(self, tx: Transaction, officer: str, after: Position, limit: int) -> list[str]:
        """Return the MRNs that an officer claims, by day and MRN, after a position."""
        records = await tx.raw.fetch(
            "select mrn from claim where lower(officer) = $1 and (day, mrn) > ($2, $3) order by day, mrn limit $4",
            person_of(officer),
            *after,
            limit,
        )
        return [record["mrn"] for record in records]

    async def purge(self, tx: Transaction) -> None:
        """Delete the claims of goods that are not held any more, which replicas of a release before claims leave behind."""
        await tx.raw.execute(
            "delete from claim c where not exists (select from consignment k where k.day = c.day and k.mrn = c.mrn and k.state = any($1))",
            [int(state) for state in STAYING],
        )

    async def put(self, tx: Transaction, mrns: Sequence[str], claim: Claim) -> None:
        """Store a claim of consignments in place of those before."""
        count = len(mrns)
        await bulk.insert(
            tx,
            "claim",
            {
                "day": bulk.int4(days_of(mrns)),
                "mrn": bulk.text(list(mrns)),
                "officer": bulk.text([claim.officer] * count),
                "claimed_at": bulk.int8([claim.claimed_at] * count),
                "handed_by": bulk.text([claim.handed_by] * count),
                "note": bulk.text([claim.note] * count),
            },
            on_conflict="(day, mrn) do update set officer = excluded.officer, claimed_at = excluded.claimed_at, "
            "handed_by = excluded.handed_by, note = excluded.note",
        )

    async def end(self, tx: Transaction, mrns: Sequence[str]) -> None:
        """Delete the claims of consignments."""
        await tx.raw.execute(
            "delete from claim c using unnest($1::integer[], $2::text[]) as w(day, mrn) "
            "where c.day = any(array[w.day]) and c.mrn = w.mrn",
            days_of(mrns),
            list(mrns),
        )
