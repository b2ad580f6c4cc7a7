"""Looking consignments up: by four references, in bulk and in pages, and the officers' list of work. It asks the store and changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from libs.columns import Table
from libs.customs.partitions import partitions_of
from libs.feed.types import BatchRef
from libs.store.database import Transaction
from luxor.trace.v1 import trace_pb2
from services.clearance.answers import previous
from services.clearance.lifecycle import Change, State
from services.clearance.office import NOWHERE
from services.clearance.store import Row, Store, day_of

ROWS_MAX: Final = 5_000
"""Consignments in one answer, all of its results together."""
PAGE_DEFAULT: Final = 100
VERSIONS_MAX: Final = 100
_SCANNED_MAX: Final = 5_000
_STATES_A_LOOK: Final = 250


class BadToken(ValueError):  # tells what happened
    """A page token was not made here."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question. `kind` is mrn, local_reference, house_document_number or master_document_number."""

    kind: str
    value: str
    filer: str = ""
    """Whose local reference it is."""
    limit: int = PAGE_DEFAULT
    token: str = ""


@dataclass(slots=True)
class Found:
    """The answer to one question: consignments in a stable order, and where the next page begins."""

    mrns: list[str] = field(default_factory=list)
    token: str = ""


class Inquiry:
    """Answers questions about consignments."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def find(self, tx: Transaction, queries: Sequence[Query]) -> list[Found]:
        """Look all questions up, one statement a kind of reference and one a master document. Raises BadToken."""
        found = [Found() for _ in queries]
        local = [place for place, query in enumerate(queries) if query.kind == "local_reference"]
        if local:
            filers = [queries[place].filer for place in local]
            names = [queries[place].value for place in local]
            partitions = partitions_of(filers, names).tolist()
            mrns = await self.store.by_local_references(tx, partitions, filers, names)
            for number, mrn in mrns.items():
                found[local[number]].mrns.append(mrn)
        house = [place for place, query in enumerate(queries) if query.kind == "house_document_number"]
        if house:
            asked = [queries[place] for place in house]
            lists = await self.store.by_house_documents(
                tx,
                [query.value for query in asked],
                [query.token for query in asked],
                [query.limit + 1 for query in asked],
            )
            for number, mrn_list in lists.items():
                place, limit = house[number], asked[number].limit
                found[place].mrns = mrn_list[:limit]
                if len(mrn_list) > limit:
                    found[place].token = mrn_list[limit - 1]
        for place, query in enumerate(queries):
            if query.kind == "mrn":
                found[place].mrns.append(query.value)
            elif query.kind == "master_document_number":
                found[place] = await self._under_master(tx, query)
        return found

    async def _under_master(self, tx: Transaction, query: Query) -> Found:
        """Read on behind (batch, offset): each page costs what it holds, however many the document has."""
        day, number, offset = _master_place(query.token)
        # The batch that the page before ended in is read again from its offset on.
        after = BatchRef(day, number - 1) if offset else BatchRef(day, number)
        mrns: list[str] = []
        while True:
            batches = await self.store.under_master(tx, query.value, after, 16)
            for ref, listed in batches:
                begin = offset if (ref.day, ref.id) == (day, number) else 0
                room = query.limit - len(mrns)
                mrns.extend(listed[begin : begin + room])
                if len(listed) - begin > room:
                    return Found(mrns, f"{ref.day}.{ref.id}.{begin + room}")
                after = ref
                if len(mrns) == query.limit:
                    return Found(mrns, f"{ref.day}.{ref.id}.0")
            if len(batches) < 16:
                return Found(mrns)

    async def rows(self, tx: Transaction, found: Sequence[Found]) -> dict[str, Row]:
        """Give the state in force of all that was found."""
        return await self.store.find(tx, [mrn for each in found for mrn in each.mrns])

    async def histories(self, tx: Transaction, table: Table) -> list[list[Table]]:
        """Give for each state its versions, the newest first, each a table of one row; at most VERSIONS_MAX."""
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
        """Tell the states that a consignment had, in their order, each with the work that gave it; at most VERSIONS_MAX."""
        facts: list[trace_pb2.Fact] = []
        payloads = self.store.outbox.payloads
        async with self.store.database.connection() as tx:
            found = (await self.store.find(tx, [mrn])).get(mrn)
            place = None if found is None else (found.ref, found.row)
            while place is not None and len(facts) < VERSIONS_MAX:
                ref, number = place
                try:
                    stored = (await payloads.fetch(tx.raw, [ref]))[ref]
                except LookupError:  # older than what is kept
                    break
                table = payloads.table(stored).take(np.array([number]))
                facts.append(
                    trace_pb2.Fact(
                        kind=trace_pb2.FACT_KIND_CHANGED,
                        version=int(table.ints("version").values[0]),
                        at=int(table.ints("changed_at").values[0]),
                        state=int(table.ints("state").values[0]),  # type: ignore[arg-type]
                        traceparent=stored.trace,
                    )
                )
                before = previous(table)[0]
                place = None if before is None else (BatchRef(before[0], before[1]), before[2])
        return facts[::-1]

    async def audited(self, tx: Transaction, page: Found, *, audit: bool, limit: int) -> Found:
        """Keep of a page of the list of work what is to be audited and was not inspected since, or with `audit` False all else; `limit` at most."""
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
                return Found(kept[:limit], f"{day_of(kept[limit - 1])}.{kept[limit - 1]}")
        return Found(kept, page.token)

    async def work(self, tx: Transaction, state: int, lane: int, from_day: int, limit: int, token: str) -> Found:
        """List consignments in a state by day of acceptance and MRN. Raises BadToken.

        What is held is found by itself; for other states a page looks at a bounded number of consignments and may be short.
        """
        after = _list_place(token) if token else (from_day, "")
        if state == State.HELD:
            mrns = await self.store.held(tx, after, lane, limit + 1)
            following = f"{day_of(mrns[limit - 1])}.{mrns[limit - 1]}" if len(mrns) > limit else ""
            return Found(mrns[:limit], following)
        rows = await self.store.scan(tx, after, _SCANNED_MAX)
        found = Found()
        for place, row in enumerate(rows):
            if row.state == state and lane in (0, row.lane):
                found.mrns.append(row.mrn)
            if len(found.mrns) == limit and place + 1 < len(rows):
                found.token = f"{row.day}.{row.mrn}"
                return found
        if len(rows) == _SCANNED_MAX:
            found.token = f"{rows[-1].day}.{rows[-1].mrn}"
        return found


def _master_place(token: str) -> tuple[int, int, int]:
    if not token:
        return NOWHERE.day, NOWHERE.id, 0
    parts = token.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in parts):
        raise BadToken(token)
    day, number, offset = map(int, parts)
    if day >= 2**31 or offset >= 2**31:
        raise BadToken(token)
    return day, number, offset


def _list_place(token: str) -> tuple[int, str]:
    day, _, mrn = token.partition(".")
    if not (day.isascii() and day.isdigit() and len(day) <= 9) or len(mrn) != 18:
        raise BadToken(token)
    return int(day), mrn
