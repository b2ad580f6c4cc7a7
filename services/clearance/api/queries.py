"""Queries of consignments: by four references, in bulk and in pages, and the officers' list of work.

They read the store and change nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from libs.columns import Table
from libs.feed.types import BatchRef
from libs.store.database import Transaction
from luxor.trace.v1 import trace_pb2
from services.clearance.commands.arrivals.arrive import NOWHERE
from services.clearance.commands.visibility import Sight
from services.clearance.consignment.columns import previous
from services.clearance.consignment.transitions import Change, State
from services.clearance.store import Row, Store, day_of

ROWS_MAX: Final = 5_000
"""Largest number of consignments in one answer, over all of its results."""
PAGE_DEFAULT: Final = 100
VERSIONS_MAX: Final = 100
LOOKED_AT_MAX: Final = 10_000
"""Consignments under documents that one call reads, including those that the caller may not see. A page ends there, with a token."""
_SCANNED_MAX: Final = 5_000
Place = tuple[int | str, ...]
"""A place in a list, as a page token holds it."""
FORMS: Final[dict[str, tuple[int | str, ...]]] = {
    "house_document_number": ("",),
    "master_document_number": (0, 0, 0),
}
"""The form of a place in each list: an MRN; or day, number and row of a batch."""
_STATES_A_LOOK: Final = 250
_BATCHES_A_LOOK: Final = 16
_BATCHES_A_LOOK_MAX: Final = 256
"""Largest number of batches in one read, if each batch has few consignments."""
_ROWS_A_LOOK: Final = 500
"""Consignments of one document that one read covers if consignments of other parties are among the caller's, however small the page is."""
_ROWS_A_ROUND: Final = 5_000


@dataclass(frozen=True, slots=True)
class Query:
    """One query. `kind` is mrn, local_reference, house_document_number or master_document_number."""

    kind: str
    value: str
    filer: str = ""
    """The filer of the local reference."""
    limit: int = PAGE_DEFAULT
    after: Place = ()
    """Where the page begins: () for the first one."""


@dataclass(slots=True)
class Matches:
    """The consignments that match one query, in a stable order, and where the next page begins."""

    mrns: list[str] = field(default_factory=list)
    following: Place = ()
    """The place after which the next page begins; () if there is none."""


@dataclass(slots=True)
class _Room:
    """How many further consignments a call may read."""

    left: int

    def take(self, rows: int) -> None:
        """Count consignments that were read."""
        self.left -= rows


class Inquiry:
    """Answers queries of consignments. Each read has a connection of its own, so that no call blocks others for long."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def find(self, queries: Sequence[Query], viewer: Sight) -> list[Matches]:
        """Return the matches of all queries, of equal ones once; consignments that the viewer may not see are missing."""
        distinct = list(dict.fromkeys(queries))
        answers = dict(zip(distinct, await self._find(distinct, viewer), strict=True))
        return [answers[query] for query in queries]

    async def _find(self, queries: Sequence[Query], viewer: Sight) -> list[Matches]:
        found = [Matches() for _ in queries]
        local = [place for place, query in enumerate(queries) if query.kind == "local_reference"]
        named = [each for place, each in enumerate(found) if queries[place].kind in ("mrn", "local_reference")]
        async with self.store.database.connection() as tx:
            if local:
                filers = [queries[place].filer for place in local]
                names = [queries[place].value for place in local]
                mrns = await self.store.references.by_local(tx, filers, names)
                for number, mrn in mrns.items():
                    found[local[number]].mrns.append(mrn)
            for place, query in enumerate(queries):
                if query.kind == "mrn":
                    found[place].mrns.append(query.value)
            if named and not viewer.sees_all:
                visible = await viewer.visible(tx, [mrn for each in named for mrn in each.mrns])
                for each in named:
                    each.mrns = [mrn for mrn in each.mrns if mrn in visible]
        room = _Room(LOOKED_AT_MAX)
        house = [place for place, query in enumerate(queries) if query.kind == "house_document_number"]
        listed = await self._under_houses([queries[place] for place in house], viewer, room)
        for place, answer in zip(house, listed, strict=True):
            found[place] = answer
        for place, query in enumerate(queries):
            if query.kind == "master_document_number":
                found[place] = await self._under_master(query, viewer, room)
        return found

    async def _under_houses(self, queries: Sequence[Query], viewer: Sight, room: _Room) -> list[Matches]:
        """Continue after an MRN each. If consignments of other parties are among the caller's, read until the page is full or the
        limit of the call is reached.
        """
        seen: list[list[str]] = [[] for _ in queries]
        after = [str(query.after[0]) if query.after else "" for query in queries]
        short = list(range(len(queries)))
        least = 0 if viewer.sees_all else min(_ROWS_A_LOOK, _ROWS_A_ROUND // max(1, len(queries)))
        chosen = short
        while chosen and room.left > 0:
            limits = [max(queries[place].limit + 1 - len(seen[place]), least) for place in chosen]
            async with self.store.database.connection() as tx:
                lists = await self.store.references.by_house_documents(
                    tx, [queries[place].value for place in chosen], [after[place] for place in chosen], limits
                )
                visible = await viewer.visible(tx, [mrn for mrns in lists.values() for mrn in mrns])
            room.take(0 if viewer.sees_all else sum(map(len, lists.values())))
            again: list[int] = []
            for number, mrns in lists.items():
                place = chosen[number]
                after[place] = mrns[-1]
                seen[place] += [mrn for mrn in mrns if mrn in visible]
                if len(mrns) == limits[number] and len(seen[place]) <= queries[place].limit:
                    again.append(place)
            looked_at = set(chosen)
            short = sorted([*again, *(place for place in short if place not in looked_at)])
            least = min(_ROWS_A_LOOK, max(room.left, 1))
            chosen = short[: _ROWS_A_ROUND // _ROWS_A_LOOK]
        open_ended = set(short)
        return [
            Matches(mrns[: query.limit], (mrns[query.limit - 1],))
            if len(mrns) > query.limit
            else Matches(mrns, (after[place],) if place in open_ended else ())
            for place, (query, mrns) in enumerate(zip(queries, seen, strict=True))
        ]

    async def _under_master(self, query: Query, viewer: Sight, room: _Room) -> Matches:
        """Continue after (batch, row): each page costs as much as its rows, however many consignments the document has."""
        day, number, offset = (int(part) for part in query.after or (NOWHERE.day, NOWHERE.id, 0))
        # The batch in which the previous page ended is read again from its row on.
        after = BatchRef(day, number - 1) if offset else BatchRef(day, number)
        found = Matches(following=(day, number, offset))
        if room.left <= 0:
            return found
        async with self.store.database.connection() as tx:
            names, filers = await viewer.names(tx, query.value), await viewer.owners(tx)
        looks = min(_BATCHES_A_LOOK, query.limit + 1)
        rows = query.limit + 1
        while True:
            async with self.store.database.connection() as tx:
                batches = await self.store.references.under_master(
                    tx, query.value, after, looks, filers=filers, names=names
                )
            listed: list[tuple[Place, str]] = []
            before = after
            for ref, mrns in batches:
                begin = offset if (ref.day, ref.id) == (day, number) else 0
                # The place after the row before each: within that batch, or after the whole batch before it.
                places = [
                    (ref.day, ref.id, row) if row else (before.day, before.id, 0) for row in range(begin, len(mrns))
                ]
                listed += zip(places, mrns[begin:], strict=True)
                before = ref
            begin = 0
            while begin < len(listed):
                found.following = listed[begin][0]
                if room.left <= 0:
                    return found
                part = listed[begin : begin + min(rows, room.left)]
                chosen = await self._visible([mrn for _, mrn in part], viewer, room)
                for place, mrn in part:
                    if mrn not in chosen:
                        continue
                    if len(found.mrns) == query.limit:
                        found.following = place
                        return found
                    found.mrns.append(mrn)
                begin += len(part)
                rows = _ROWS_A_LOOK
            after = before
            if len(batches) < looks:
                return Matches(found.mrns)
            looks = min(4 * looks, _BATCHES_A_LOOK_MAX) if len(listed) < _ROWS_A_LOOK else _BATCHES_A_LOOK

    async def _visible(self, mrns: Sequence[str], viewer: Sight, room: _Room) -> Collection[str]:
        """Return those of some consignments that the viewer may see."""
        if viewer.sees_all:
            return mrns
        room.take(len(mrns))
        async with self.store.database.connection() as tx:
            return await viewer.visible(tx, mrns)

    async def rows(self, tx: Transaction, matches: Sequence[Matches]) -> dict[str, Row]:
        """Return the current state of all matches."""
        return await self.store.find(tx, [mrn for each in matches for mrn in each.mrns])

    async def histories(self, tx: Transaction, table: Table) -> list[list[Table]]:
        """Return the versions of each state, the newest first, each a table of one row; at most VERSIONS_MAX."""
        out: list[list[Table]] = [[] for _ in range(table.rows)]
        places = list(range(table.rows))
        current = table
        for _ in range(VERSIONS_MAX):
            for number, place in enumerate(places):
                out[place].append(current.take(np.array([number])))
            before = [(place, where) for place, where in zip(places, previous(current), strict=True) if where]
            if not before:
                break
            places = [place for place, _ in before]
            current = await self.store.read(tx, [(BatchRef(day, number), row) for _, (day, number, row) in before])
        return out

    async def trail(self, mrn: str) -> list[trace_pb2.Fact]:
        """Return the states of a consignment in their order, each with the trace of its work; at most VERSIONS_MAX."""
        facts: list[trace_pb2.Fact] = []
        payloads = self.store.outbox.payloads
        async with self.store.database.connection() as tx:
            found = (await self.store.find(tx, [mrn])).get(mrn)
            place = None if found is None else (found.ref, found.row)
            while place is not None and len(facts) < VERSIONS_MAX:
                ref, number = place
                try:
                    stored = (await payloads.fetch(tx.raw, [ref]))[ref]
                except LookupError:  # older than the stored versions
                    break
                table = payloads.table(stored).take(np.array([number]))
                facts.append(
                    trace_pb2.Fact(
                        kind=trace_pb2.FACT_KIND_CHANGED,
                        version=int(table.ints("version").values[0]),
                        happened_at_micros=int(table.ints("changed_at").values[0]),
                        state=int(table.ints("state").values[0]),  # type: ignore[arg-type]
                        traceparent=stored.trace,
                    )
                )
                before = previous(table)[0]
                place = None if before is None else (BatchRef(before[0], before[1]), before[2])
        return facts[::-1]

    async def audited(self, tx: Transaction, page: Matches, *, audit: bool, limit: int) -> Matches:
        """Return the rows of a page of the work list that are to be audited and not inspected since, or the others if `audit` is
        False; at most `limit`.
        """
        known = await self.rows(tx, [page])
        rows = [known[mrn] for mrn in page.mrns if mrn in known]
        kept: list[str] = []
        for begin in range(0, len(rows), _STATES_A_LOOK):
            table = await self.store.states(tx, rows[begin : begin + _STATES_A_LOOK])
            due = table.bools("audit").values & (table.ints("change").values != Change.INSPECTED)
            kept += [
                mrn for mrn, is_due in zip(table.strings("mrn").tolist(), due.tolist(), strict=True) if is_due == audit
            ]
            if len(kept) > limit:
                return Matches(kept[:limit], _behind(kept[limit - 1]))
        return Matches(kept, page.following)

    async def work(self, tx: Transaction, state: int, lane: int, after: tuple[int, str], limit: int) -> Matches:
        """List consignments in a state by day of acceptance and MRN, after a place.

        Held and seized consignments have an index. For other states a page reads a bounded number of consignments and may be short.
        """
        if state == State.HELD:
            mrns = await self.store.work.held(tx, after, lane, limit + 1)
            return Matches(mrns[:limit], _behind(mrns[limit - 1]) if len(mrns) > limit else ())
        if state == State.SEIZED:
            seized = await self.store.work.seized(tx, after, _SCANNED_MAX)
            known = await self.store.find(tx, seized)
            rows = [known[mrn] for mrn in seized if mrn in known]
        else:
            rows = await self.store.work.scan(tx, after, _SCANNED_MAX)
        found = Matches()
        for place, row in enumerate(rows):
            if row.state == state and lane in (0, row.lane):
                found.mrns.append(row.mrn)
            if len(found.mrns) == limit and place + 1 < len(rows):
                found.following = (row.day, row.mrn)
                return found
        if len(rows) == _SCANNED_MAX:
            found.following = (rows[-1].day, rows[-1].mrn)
        return found


def _behind(mrn: str) -> Place:
    return day_of(mrn), mrn
