"""Look-ups open the partitions of the days that are looked up alone, however many days are stored: `docs/decisions/plans.md`.

A transaction keeps a lock on each partition that its statements planned for or opened, so these are what a look-up touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pytest

from libs.columns import Strings, Table
from libs.customs.identifiers.mrn_columns import make_mrns
from libs.customs.partitions import PARTITIONS
from libs.customs.time import MICROS_PER_DAY
from libs.feed.publish.outbox import Outbox
from libs.feed.publish.payloads import Payloads
from libs.feed.types import BatchRef
from libs.store.database import Database, Transaction
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables import assessments, schema
from libs.store.tables.assessment_pages import Reference
from libs.store.tables.inputs import BatchPlace, InputReader, InputTable
from libs.store.tables.migrate import migrate
from libs.store.tables.requests import RequestLog
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.clearance.store.audit.trail import AuditTables
from services.clearance.store.references import WEEK_DAYS, WEEKLY
from services.clearance.store.store import SCHEMA
from services.clearance.store.store import Store as ClearanceStore
from services.ingestion.feeds.snapshot import Days
from services.ingestion.store.amendments import Amendments
from services.ingestion.store.filings import Store as IngestionStore
from services.ingestion.store.parts import SPAN_DAYS
from services.revenue.ledger.account import partition_of_account
from services.revenue.store.ledger import pages, postings
from services.revenue.store.ledger.balances import Balances
from services.revenue.store.ledger.names import Names
from services.revenue.store.ledger.treasury_cash import Cash
from services.revenue.store.proofs.chain import Chain
from services.revenue.store.proofs.marks import oldest_unproven
from services.revenue.store.proofs.seals import Seals, oldest_unsealed
from services.revenue.store.sales import REFERENCE_SPAN, SaleStore
from services.risk.store.assessment_inputs import StoredBatch
from services.risk.store.inspections import InspectionStore
from services.risk.store.screening_matches import ScreeningMatchStore
from services.risk.store.selection import prior_draws
from tests.support.databases import reused_database

TREASURY: Final = "treasury:FR:tax"
SPANS: Final = (
    dict.fromkeys(WEEKLY, WEEK_DAYS)
    | dict.fromkeys(("sale", "sale_binding", "sale_document"), REFERENCE_SPAN)
    | dict.fromkeys(("part", "part_link", "part_join"), SPAN_DAYS)
)
"""Days of the partitions of tables that have several."""
DAYS: Final = 60
"""Many enough for the planner to choose between plans as it does with hundreds."""
TIMES: Final = 8
"""A plan is chosen for good after five executions, when one for all days is made and compared."""
_TABLES: Final = """
select relname, partstrat = 'r' as by_range from pg_partitioned_table join pg_class on oid = partrelid
where pg_get_partkeydef(partrelid) like '%(day)'
"""
_TOUCHED: Final = """
select distinct substring(c.relname from '_d?([0-9]{5})$')::integer as day
from pg_locks l join pg_class c on c.oid = l.relation join pg_inherits i on i.inhrelid = c.oid
where l.pid = pg_backend_pid() and c.relkind = 'r' and c.relname ~ '_d?[0-9]{5}$'
"""


class Watched(Database):
    """A database that notes the days of the partitions that each transaction touched, reads included."""

    def __init__(self, url: str) -> None:
        super().__init__(url, name="days", pool_size=2)
        self.days: set[int] = set()

    @asynccontextmanager
    async def transaction(self, **_: Any) -> AsyncIterator[Transaction]:
        async with super().transaction(timeout_millis=30_000) as tx:
            yield tx
            self.days |= {row["day"] for row in await tx.raw.fetch(_TOUCHED)}

    @asynccontextmanager
    async def connection(self, **_: Any) -> AsyncIterator[Transaction]:
        async with self.transaction() as tx:
            yield tx


@dataclass(frozen=True, slots=True)
class LookUp:
    """A look-up of some days, by its turn."""

    name: str
    run: Callable[[Transaction, int], Awaitable[object]]
    days: set[int]


async def prepare(database: Database, package: str) -> None:
    """Make the partitions of DAYS days, those of the feed's batches too."""
    await migrate(database, package)
    async with database.connection() as reader:
        tables = await reader.raw.fetch(_TABLES)
        today = await schema.today(reader)
    for table in tables:
        async with database.transaction(timeout_millis=30_000) as tx:
            if table["by_range"]:
                span = SPANS.get(table["relname"], 1)
                await schema.ensure_day_partitions(tx, table["relname"], range(today - DAYS, today), span=span)
                continue
            for day in range(today - DAYS, today):
                name = f"{table['relname']}_d{day}"
                await tx.raw.execute(f"create table {name} partition of {table['relname']} for values in ({day})")


def clearance(database: Database, today: int) -> Iterator[LookUp]:
    store, days = ClearanceStore(database), [today - 3] * 300 + [today] * 200
    mrns = [*make_mrns(["DE"] * 300, [1] * 300, today - 3, 0), *make_mrns(["DE"] * 200, [1] * 200, today, 0)]
    update = "select consignment_update($1, $2, $3, $3, $4, $4, $5, 1, $3)"
    ones = [1] * len(mrns)
    yield LookUp("find", lambda tx, _: store.find(tx, mrns), set(days))
    yield LookUp("find one", lambda tx, _: store.find(tx, mrns[:1]), {today - 3})
    yield LookUp("lock", lambda tx, _: store.lock(tx, mrns), set(days))
    yield LookUp("update", lambda tx, _: tx.raw.fetchval(update, days, mrns, ones, ones, today), set(days))


def audited(database: Database, today: int) -> Iterator[LookUp]:
    audit, places = AuditTables(), [(today - 2, 1), (today, 2)]
    yield LookUp("batches of records", lambda tx, _: audit.digests(tx, places), {today - 2, today})
    yield LookUp("records of a day", lambda tx, _: audit.of_day(tx, today - 2, 0, 10), {today - 2})
    yield LookUp("batches of a day", lambda tx, _: audit.batch_ids(tx, today - 2, 0, 10), {today - 2})
    recorded = set(range(today - 4, today - 1))
    yield LookUp("recorded batches", lambda tx, _: audit.recorded(tx, today - 4, today - 2, 0, 10), recorded)


def payloads(_: Database, today: int) -> Iterator[LookUp]:
    refs = [BatchRef(today - 2, 1), BatchRef(today, 2)]

    async def written(tx: Transaction, _: int) -> None:
        cache = Payloads()
        for each in (await cache.fetch(tx.raw, refs)).values():
            cache.add_written(each, Table.of(ConsignmentColumns, 0, {}))
        await cache.fetch(tx.raw, refs)

    yield LookUp("payloads", written, {today - 2, today})


def ingestion(database: Database, today: int) -> Iterator[LookUp]:
    outbox = Outbox(database, SCHEMA, 1)
    store, days = IngestionStore(database, outbox, RequestLog()), Days(database, outbox)
    mrns = [*make_mrns(["DE"] * 30, [1] * 30, today - 3, 0), *make_mrns(["DE"] * 20, [1] * 20, today, 0)]
    yield LookUp("by MRN", lambda _, __: store.by_mrn(mrns), {today - 3, today})
    yield LookUp("trail", lambda _, __: store.trail(mrns[0]), {today - 3})
    amendments = Amendments(store)
    yield LookUp("versions", lambda _, __: amendments.versions([(each, 2) for each in mrns]), {today - 3, today})
    yield LookUp("trail of versions", lambda _, __: amendments.trail(mrns[0]), {today - 3})
    yield LookUp(
        "filings of a day", lambda tx, _: days.page_of_day(tx, today - 3, range(PARTITIONS), b"", 10), {today - 3}
    )
    yield LookUp("summaries", lambda _, __: days.summaries(today - 5, today - 4), {today - 5, today - 4})


def assessed(database: Database, today: int) -> Iterator[LookUp]:
    places = [(today - 2, 1), (today, 2)]
    table: InputTable[Any] = InputTable(dict, "columns")
    reader, first = InputReader(table, database), BatchPlace(today - 5, 0)
    stored = [BatchPlace(*place) for place in places]
    yield LookUp("answers", lambda tx, _: assessments.payloads(tx, places), {today - 2, today})
    yield LookUp("inputs", lambda tx, _: table.at(tx, stored), {today - 2, today})
    yield LookUp("inputs and answers", lambda tx, _: table.at(tx, stored, answers=True), {today - 2, today})
    yield LookUp(
        "inputs of a period", lambda _, __: reader.read(first, today - 4, answers=True), {today - 5, today - 4}
    )


def risk(database: Database, today: int) -> Iterator[LookUp]:
    store, inspections = ScreeningMatchStore(database), InspectionStore(database)
    mrns, rows = Strings.of(["A", "B"]), np.arange(2)
    newest = [Reference("A", 1, 1, today - 2, 1, 0), Reference("B", 1, 1, today, 2, 0)]

    def moved(tx: Transaction, turn: int) -> Awaitable[None]:
        lists = ("", "other")
        batches = [
            StoredBatch(BatchPlace(day, batch), 1, 1, lists[turn % 2], b"", b"", None)
            for day, batch in ((today - 2, 1), (today, 2))
        ]
        return store.move(tx, batches, lists[1 - turn % 2])

    yield LookUp("prior draws", lambda tx, _: prior_draws(tx, mrns, rows, newest), {today - 2, today})
    yield LookUp("move", moved, {today - 2, today})
    yield LookUp("stale", lambda _, __: store.stale("x", 3, 10), set(range(today - 3, today + 1)))
    yield LookUp("outcomes", lambda _, __: inspections.groups(today - 2, today - 1), {today - 2, today - 1})


async def sales_at(store: SaleStore, places: list[tuple[int, int]]) -> None:
    async for _ in store.batches(places):
        pass


def revenue(database: Database, today: int) -> Iterator[LookUp]:
    chain, seals = Chain(database, Names()), Seals(database)
    places = [[today - 2, today], [1, 2], [1, 1]]
    entries = [[0, 1], *places]
    days = {today - 2, today}
    proven = dict.fromkeys(range(PARTITIONS), 1)
    cash = Cash("EUR", {partition_of_account(TREASURY): (0, today - 2)}, {1: 100})
    yield LookUp("entries", lambda tx, _: chain.read_entries(tx, list(zip(*places, strict=True))), days)
    yield LookUp("pages", lambda tx, _: pages.pages_containing(tx, places), days)
    yield LookUp("charges", lambda tx, _: postings.charges_of(tx, entries), days)
    yield LookUp("money", lambda tx, _: postings.money_of(tx, entries), days)
    yield LookUp(
        "statement",
        lambda _, __: Balances(database).statement(1, "EUR", today - 5, today - 4, rows_max=9),
        {today - 5, today - 4},
    )
    yield LookUp("paid out", lambda tx, _: cash.left(tx, 1, TREASURY), days)
    yield LookUp("seals of a part", lambda _, __: seals.compare(1, 0, 1), {today - 2})
    yield LookUp("seals in order", lambda tx, _: seals.follow(tx, 0, b"", proven, 10), {today - 2})
    yield LookUp("end", lambda tx, _: seals.compare_end(tx, 2, 1, 0.0), {today})
    yield LookUp("unsealed", lambda tx, _: oldest_unsealed(tx), {today})
    yield LookUp("unproven", lambda tx, _: oldest_unproven(tx), days)
    yield LookUp("sales", lambda _, __: sales_at(SaleStore(database), [(today - 2, 1), (today, 2)]), days)


SERVICES = {
    "clearance": (clearance, audited, payloads),
    "ingestion": (ingestion, payloads),
    "risk": (risk, assessed, payloads),
    "revenue": (revenue, assessed, payloads),
}


async def fill(tx: Transaction, service: str, today: int) -> None:
    """Store what the look-ups of a service must find to go on."""
    for day, number in ((today - 2, 1), (today, 2)):
        await tx.raw.execute("insert into batch select $1, $2, 1, 1, 1, 's', '', ''", day, number)
        if service == "risk":
            await tx.raw.execute("insert into assessed_input select $1, $2, 1, 1, '', '', ''", day, number)
        if service == "revenue":
            for partition in (number, partition_of_account(TREASURY)):
                await tx.raw.execute(
                    "insert into ledger_day values ($1, $2, $3, $3)", partition, day, number if partition > 2 else 1
                )
            await tx.raw.execute("update ledger_head set number = 1 where partition = $1", number)
    if service == "revenue":
        named = [int(partition == 1) for partition in range(PARTITIONS)]
        await tx.raw.execute(
            "insert into ledger_seal values (1, $1, '', $2, $3)", today * MICROS_PER_DAY, named, bytes(32 * PARTITIONS)
        )


async def check(url: str, service: str) -> dict[str, set[int]]:
    """Make each look-up of a service TIMES; return the days that the last one touched without need, or did not touch, by look-up."""
    wrong: dict[str, set[int]] = {}
    async with Watched(url) as database:
        async with database.transaction() as tx:
            today = await schema.today(tx)
            await fill(tx, service, today)
        for look_up in (each for group in SERVICES[service] for each in group(database, today)):
            for turn in range(TIMES):
                database.days.clear()
                async with database.transaction() as tx:
                    await look_up.run(tx, turn)
            if database.days != look_up.days:
                wrong[look_up.name] = database.days ^ look_up.days
    return wrong


@pytest.mark.parametrize("service", list(SERVICES))
def test_a_look_up_touches_the_partitions_of_its_days_alone(postgres: EmbeddedPostgres, service: str) -> None:
    with reused_database(postgres, f"days_{service}", partial(prepare, package=f"services.{service}")) as url:
        assert asyncio.run(check(url, service)) == {}
