"""Return orders with their times, and the departures that fulfil them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import asyncpg
import numpy as np

from libs.columns import Table
from libs.customs.time import MICROS_PER_DAY
from libs.store.database import Transaction
from libs.store.tables import bulk
from services.clearance.carriage.binding import Arrival
from services.clearance.consignment.transitions import FINAL, State
from services.clearance.store.rows import days_of

Place = tuple[int, str, int]
"""Day of acceptance, MRN and number: the order of lists."""
TOUCHED_MAX: Final = 2_000
"""Orders that one transaction makes due."""
_ENDS: Final = np.isin(np.arange(max(State) + 1), list(FINAL))
_COLUMNS: Final = (
    "mrn, number, status, reason, document_number, ordered_by, ordered_at, valid_until, note, departed_at, departure_document, obstacle, "
    "ended_at, ended_by, next_at"
)
# Orders are locked in one order, so that no deadlock can occur.
_OPEN: Final = f"""
    select {", ".join(f"r.{each.strip()}" for each in _COLUMNS.split(","))} from unnest((select $1::integer[]), (select $2::text[])) as w(day, mrn)
    join return_order r on r.day = any(array[w.day]) and r.mrn = w.mrn and r.status = 1
    order by r.day, r.mrn, r.number for update of r
"""  # noqa: S608  # a constant of our own
_END: Final = """
    update return_order r set status = w.status, ended_at = $4, ended_by = $5, next_at = null,
        departure_document = case when r.departure_document = '' then w.document else r.departure_document end
    from (
        select r.day, r.mrn, r.number, w.status, w.document
        from unnest((select $1::text[]), (select $2::smallint[]), (select $3::text[]), (select $6::integer[])) as w(mrn, status, document, day)
        join return_order r on r.day = any(array[w.day]) and r.mrn = w.mrn and r.status = 1
        order by r.day, r.mrn, r.number for update of r
    ) w
    where r.day = any(array[w.day]) and r.mrn = w.mrn and r.number = w.number
"""


class OrderStatus(IntEnum):
    """The status of a return order; the numbers are those of luxor.clearance.v1.ReturnOrderStatus."""

    ORDERED = 1
    FULFILLED = 2
    EXPIRED = 3
    CANCELLED = 4


@dataclass(frozen=True, slots=True)
class ReturnOrder:
    """A return order; instants are microseconds since 1970-01-01 UTC."""

    mrn: str
    number: int
    status: int
    reason: int
    """luxor.clearance.v1.ReturnReason."""
    document_number: str
    """Transport document under which the goods leave; "" where the departure names the consignment."""
    ordered_by: str
    """Role and id."""
    ordered_at: int
    valid_until: int
    note: str
    departed_at: int | None = None
    departure_document: str = ""
    obstacle: str = ""
    """Why the goods were not returned when their departure was recorded, "" where nothing was in the way."""
    ended_at: int | None = None
    ended_by: str = ""
    next_at: int | None = None

    @property
    def id(self) -> str:
        """The id that callers use."""
        return f"RO-{self.mrn}-{self.number}"

    @property
    def is_filers(self) -> bool:
        """Whether the filer of the consignment ordered it, and no officer."""
        return self.ordered_by.startswith("filer/")


@dataclass(frozen=True, slots=True)
class Departure:
    """The departure of a transport document, as somebody reported it."""

    document_number: str
    reporter: str
    """Role and id."""
    departed_at: int
    bound: bool
    """Whether it concerns all orders under the document, or those alone of goods that are bound to the reporter."""


class ReturnOrderTable:
    """The return orders."""

    async def add(self, tx: Transaction, orders: Sequence[ReturnOrder]) -> None:
        """Store new orders of consignments that are locked and have no open one."""
        names = [each.strip() for each in _COLUMNS.split(",")]
        columns = {name: [getattr(each, name) for each in orders] for name in names}
        integers = {"number": bulk.int2, "status": bulk.int2, "reason": bulk.int2}
        times = ("ordered_at", "valid_until", "departed_at", "ended_at", "next_at")
        await bulk.insert(
            tx,
            "return_order",
            {"day": bulk.int4(days_of(columns["mrn"]))}
            | {
                name: integers.get(name, bulk.int8 if name in times else bulk.text)(values)
                for name, values in columns.items()
            },
        )

    async def open_of(self, tx: Transaction, mrns: Sequence[str]) -> dict[str, ReturnOrder]:
        """Lock and return the open orders of some consignments, by MRN."""
        records = await tx.raw.fetch(_OPEN, days_of(mrns), list(mrns)) if mrns else []
        return {each["mrn"]: ReturnOrder(*each) for each in records}

    async def of_consignments(self, tx: Transaction, mrns: Sequence[str]) -> list[ReturnOrder]:
        """Return all orders of some consignments."""
        records = await tx.raw.fetch(
            f"select o.* from unnest((select $1::integer[]), (select $2::text[])) as w(day, mrn) "  # noqa: S608
            f"cross join lateral (select {_COLUMNS} from return_order r where r.day = w.day and r.mrn = w.mrn offset 0) o",
            days_of(mrns),
            list(mrns),
        )
        return [ReturnOrder(*each) for each in records]

    async def end(
        self, tx: Transaction, ends: Mapping[str, OrderStatus], at: int, by: str = "", documents: Sequence[str] = ()
    ) -> None:
        """End the open orders of consignments, with the transport document under which each left, "" for none."""
        if ends:
            mrns = list(ends)
            await tx.raw.execute(
                _END, mrns, list(map(int, ends.values())), list(documents) or [""] * len(mrns), at, by, days_of(mrns)
            )

    async def end_with(self, tx: Transaction, table: Table, mrns: Sequence[str]) -> None:
        """End the open orders of goods that end with these states: fulfilled where the goods left, otherwise cancelled."""
        states = table.ints("state").values
        ended = _ENDS[states]
        if not ended.any():
            return
        rows = np.flatnonzero(ended)
        left = (states[rows] == State.RE_EXPORTED).tolist()
        documents = table.strings("return_document_number").take(rows).tolist()
        statuses = [OrderStatus.FULFILLED if each else OrderStatus.CANCELLED for each in left]
        ends = dict(zip([mrns[row] for row in rows.tolist()], statuses, strict=True))
        at = int(table.ints("changed_at").values[rows].max())
        await self.end(
            tx, ends, at, documents=[each if has_left else "" for each, has_left in zip(documents, left, strict=True)]
        )

    async def note(self, tx: Transaction, orders: Sequence[ReturnOrder]) -> None:
        """Store departure, obstacle and next time of open orders that are locked."""
        if orders:
            await tx.raw.execute(
                "update return_order r set departed_at = w.departed_at, departure_document = w.document, obstacle = w.obstacle, next_at = w.next_at "
                "from unnest($1::integer[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[]) "
                "as w(day, mrn, departed_at, document, obstacle, next_at) "
                "where r.day = any(array[w.day]) and r.mrn = w.mrn and r.status = 1",
                days_of([each.mrn for each in orders]),
                *(
                    [getattr(each, name) for each in orders]
                    for name in ("mrn", "departed_at", "departure_document", "obstacle", "next_at")
                ),
            )

    async def due(self, tx: Transaction, until: int, limit: int) -> list[str]:
        """Return the MRNs of orders that are to be looked at before an instant, the longest due first."""
        records = await tx.raw.fetch("select mrn from return_order_find($1, $2)", until, limit)
        return [record["mrn"] for record in records]

    # ------------------------------------------------------------------------------------------ departures
    async def record_departures(self, tx: Transaction, departures: Sequence[Departure], at: int) -> None:
        """Store departures of documents that are locked; the first report of each reporter counts."""
        if departures:
            await bulk.insert(
                tx,
                "departure",
                {
                    "document_number": bulk.text([each.document_number for each in departures]),
                    "reporter": bulk.text([each.reporter for each in departures]),
                    "departed_at": bulk.int8([each.departed_at for each in departures]),
                    "recorded_at": bulk.int8([at] * len(departures)),
                    "bound": bulk.boolean([each.bound for each in departures]),
                    "day": bulk.int4([at // MICROS_PER_DAY] * len(departures)),
                },
                on_conflict="do nothing",
            )

    async def departures(self, tx: Transaction, documents: Iterable[str]) -> dict[str, list[Departure]]:
        """Return the recorded departures of documents, the first recorded first."""
        numbers = sorted({each for each in documents if each})
        if not numbers:
            return {}
        records = await tx.raw.fetch(
            "select d.* from unnest((select $1::text[])) as w(number) cross join lateral (select document_number, reporter, departed_at, bound, "
            "recorded_at from departure p where p.document_number = w.number offset 0) d order by d.recorded_at, d.reporter",
            numbers,
        )
        found: dict[str, list[Departure]] = {}
        for document, reporter, departed_at, bound, _ in records:
            found.setdefault(document, []).append(Departure(document, reporter, departed_at, bound))
        return found

    async def record_arrivals(self, tx: Transaction, arrivals: Sequence[Arrival], at: int) -> list[str]:
        """Store the arrivals of documents that open orders name as departures of them; return these documents, which are locked.

        The arrival of a document under which consignments are filed here does not count: it shows that their goods came, and not that others left.
        """
        if not arrivals:
            return []
        records = await tx.raw.fetch(
            "select n.number from (select w.number from unnest((select $1::text[])) as w(number) cross join lateral "
            "(select from return_order r where r.document_number = w.number and r.status = 1 limit 1) o offset 0) n "
            "where not exists (select from master_document_seek(n.number, 0, 0, 1, '', null))",
            [each.document_number for each in arrivals],
        )
        named = {record["number"] for record in records}
        departures = {
            each.document_number: Departure(each.document_number, f"carrier/{each.carrier}", each.arrived_at, True)
            for each in reversed(arrivals)
            if each.document_number in named
        }
        await self.record_departures(tx, list(departures.values()), at)
        return sorted(named)

    async def touch(self, tx: Transaction, documents: Sequence[str], at: int) -> int:
        """Make open orders without a departure under documents due at an instant, at most TOUCHED_MAX; return how many were not due before."""
        done = await tx.raw.execute(
            "with named as materialized (select o.day, o.mrn, o.number from return_order o where o.document_number = any($1) and o.status = 1 "
            "and o.departed_at is null and o.next_at > $2), "
            "w as (select l.* from (select * from named order by day, mrn, number limit $3) n cross join lateral (select o.day, o.mrn, o.number "
            "from return_order o where o.day = n.day and o.mrn = n.mrn and o.number = n.number and o.status = 1 for update) l) "
            "update return_order r set next_at = $2 from w where r.day = any(array[w.day]) and r.mrn = w.mrn and r.number = w.number "
            "and r.next_at > $2",
            list(documents),
            at,
            TOUCHED_MAX,
        )
        return int(done.rpartition(" ")[2])

    # ------------------------------------------------------------------------------------------ lists
    async def page(
        self,
        tx: Transaction,
        after: Place,
        limit: int,
        *,
        status: int = 0,
        departed: bool = False,
        document: str = "",
        ordered_by: str = "",
    ) -> list[ReturnOrder]:
        """Return orders by day of acceptance, MRN and number, after a place.

        They have a status, or are open with a departure, name a document, or were ordered by somebody.
        """
        chosen = ["(day, mrn, number) > ($1, $2, $3)"]
        values: list[str | int] = []
        if departed:
            chosen.append("status = 1 and departed_at is not null")
        for name, value in (("status", status), ("document_number", document), ("ordered_by", ordered_by)):
            if value:
                values.append(value)
                chosen.append(f"{name} = ${len(values) + 4}")
        if document:
            chosen.append("status = 1")
        records: list[asyncpg.Record] = await tx.raw.fetch(
            f"select {_COLUMNS} from return_order where {' and '.join(chosen)} order by day, mrn, number limit $4",  # noqa: S608
            *after,
            limit,
            *values,
        )
        return [ReturnOrder(*each) for each in records]
