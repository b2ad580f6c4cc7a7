"""What was counted of each consignment, and the daily cells.

The states that were counted are stored once a page, only the columns that counting reads; `counted.py` leads from an MRN to its row there. A newer
version is counted by the difference, so a replay, another order or a snapshot change nothing. The differences of a page are stored as deltas,
which are folded into the cells every few seconds; a query adds those that are not folded yet, of the same moment.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from libs.columns import Table
from libs.customs.identifiers import mrn
from libs.feed.consume.restart import is_starting
from libs.store.database import Database, Transaction
from libs.store.tables import schema
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.trace.v1 import trace_pb2
from services.statistics.counting.cells import EXPORT_MARK, Cells, Tally
from services.statistics.counting.deltas import sum_groups
from services.statistics.store import counted, deltas
from services.statistics.store.counted import Consignments, Counted

SOURCE = "clearance"
"""Whose feed statistics follows: the name of its cursors."""
ROWS_CACHED_MAX = 32_000
"""Counted states in memory for their next version, which comes with those of other batches: about 45 MiB."""
_FORMULA = 3
"""Which times are counted, by the second number of the first version that counted them so: what was counted is taken out as it went in."""

_BATCHES = """
    select b.day, b.id, b.payload, b.formula from unnest((select $2::integer[]), (select $3::bigint[])) as r(day, id)
    cross join lateral (select * from counted_batch c where c.day = any($1::integer[]) and c.day = r.day and c.id = r.id offset 0) b
"""
_TRACE = "select traceparent from counted_batch where day = $1 and id = $2"

metadata = sa.MetaData()
_KEYS = ("day", "destination", "origin", "chapter", "lane")


_EXACT = frozenset({"value_minor", "net_mass_mg", "paid_minor", "refunded_minor", "amount_minor", "sum_micros"})
"""Measures of which a filer's largest values exceed 64 bits within a day; the others count."""


def _cell_table(name: str, more_keys: dict[str, Any], measures: Sequence[str]) -> sa.Table:
    keys = [sa.Column(key, sa.Integer if key == "day" else sa.Text, primary_key=True) for key in _KEYS]
    keys += [sa.Column(key, kind, primary_key=True) for key, kind in more_keys.items()]
    return sa.Table(
        name, metadata, *keys, *(sa.Column(each, sa.Numeric if each in _EXACT else sa.BigInteger) for each in measures)
    )


COUNT_CELL = _cell_table(
    "count_cell",
    {"state": sa.Text, "currency": sa.Text},
    ("consignments", "items", "value_minor", "net_mass_mg", "paid_minor", "refunded_minor", "items_returned"),
)
REVENUE_CELL = _cell_table(
    "revenue_cell", {"kind": sa.Text, "collector": sa.Text, "currency": sa.Text}, ("charges", "amount_minor")
)
TIME_CELL = _cell_table(
    "time_cell", {"stretch": sa.SmallInteger, "bucket": sa.SmallInteger}, ("consignments", "sum_micros", "clamped")
)
INSPECTION_CELL = _cell_table(
    "inspection_cell", {"cause": sa.Text}, ("inspected", "found", "items_inspected", "items_found")
)
CELLS = (COUNT_CELL, REVENUE_CELL, TIME_CELL, INSPECTION_CELL)


def _add_statement(table: sa.Table, totals: str) -> str:
    """Write the upsert that adds sums to cells, by arrays in the order of the table's columns; exact sums come as the type `totals`."""
    columns = [column.name for column in table.columns]
    keys = [column.name for column in table.primary_key]
    casts = {"INTEGER": "integer", "TEXT": "text", "SMALLINT": "smallint", "BIGINT": "bigint", "NUMERIC": totals}
    arrays = ", ".join(f"${i}::{casts[str(c.type)]}[]" for i, c in enumerate(table.columns, 1))
    added = ", ".join(f"{name} = cell.{name} + excluded.{name}" for name in columns if name not in keys)
    names = ", ".join(columns)
    return (
        f"insert into {table.name} as cell ({names}) select * from unnest({arrays}) "  # noqa: S608  # our own names
        f"on conflict ({', '.join(keys)}) do update set {added}"
    )


_ADD = {table.name: _add_statement(table, "bigint") for table in CELLS}
_ADD_LARGE = {table.name: _add_statement(table, "numeric") for table in CELLS}
"""Where a sum has more than 64 bits; decimal numbers take Python twice as long."""
PARTITIONED = ("counted_page", "counted_batch", *(table.name for table in CELLS))


class Store:
    """Statistics' own database."""

    def __init__(self, database: Database) -> None:
        """Work on an open database."""
        self.database = database
        self._tables: OrderedDict[tuple[int, int], tuple[Table, bool]] = OrderedDict()
        self.rows_cached = 0
        """Counted states in memory."""
        self._days: set[int] = set()

    def missing_days(self, days: set[int]) -> set[int]:
        """Return those of some days of which it is not known that their rows have a place."""
        return days - self._days

    async def add_days(self, tx: Transaction, table: str, days: set[int]) -> None:
        """Make the partitions of days that one of PARTITIONED lacks."""
        await schema.ensure_day_partitions(tx, table, sorted(days))

    def note_days(self, days: set[int]) -> None:
        """Note that rows of these days have a place in all tables."""
        self._days |= days

    async def today(self) -> int:
        """Return today by the store's clock, days since 1970-01-01 UTC."""
        async with self.database.connection() as reader:
            return await schema.today(reader)

    async def days(self) -> list[int]:
        """Return the days of acceptance of which it is stored what was counted, in order."""
        async with self.database.connection() as reader:
            days = [await schema.day_partitions(reader, table) for table in counted.TABLES]
        return sorted({*chain.from_iterable(days)})

    async def clear(self, tx: Transaction, days: Sequence[int]) -> None:
        """Delete the counted states of days of acceptance, and their cells; nothing may be counted, and all deltas must be folded."""
        tables = {
            table: set(await schema.day_partitions(tx, table))
            for table in (*counted.TABLES, *(each.name for each in CELLS))
        }
        parts = [f"{table}_{day}" for day in days for table, there in tables.items() if day in there]
        if parts:
            await tx.raw.execute(f"truncate {', '.join(parts)}")

    async def is_incomplete(self) -> bool:
        """Return whether clearance's states are still being read from the beginning."""
        async with self.database.connection() as reader:
            return await is_starting(reader, SOURCE)

    async def counted(self, tx: Transaction, consignments: Consignments) -> Counted:
        """Return which states of consignments were counted last."""
        return await counted.find(tx, consignments)

    async def store_counted(self, tx: Transaction, states: Table, consignments: Consignments, epoch: int) -> None:
        """Store states (ClearanceColumns, only what counting reads) of an epoch of the feed as what was counted of their consignments."""
        payload = states.serialize(ClearanceColumns)
        await counted.store(tx, consignments, states.ints("version").values, epoch, payload, formula=_FORMULA)

    async def states(self, tx: Transaction, places: Counted) -> tuple[Table | None, npt.NDArray[np.bool_]]:
        """Read states that were counted, batch by batch, and which of them version 0.2 counted; no table where there are none."""
        wanted: dict[tuple[int, int], list[int]] = {}
        for day, batch, row in zip(places.batch_day.tolist(), places.batch.tolist(), places.row.tolist(), strict=True):
            wanted.setdefault((day, batch), []).append(row)
        missing = [ref for ref in wanted if ref not in self._tables]
        read: dict[tuple[int, int], tuple[Table, bool]] = {}
        if missing:
            days, numbers = zip(*missing, strict=True)
            read = {
                (day, number): (Table.parse(ClearanceColumns, payload), formula < _FORMULA)
                for day, number, payload, formula in await tx.raw.fetch(_BATCHES, sorted(set(days)), days, numbers)
            }
        parts, counted_by_02 = [], [np.zeros(0, np.bool_)]
        for ref, rows_of in wanted.items():
            table, old = self._tables.get(ref) or read[ref]
            parts.append(table.take(np.asarray(rows_of, np.int64)))
            counted_by_02.append(np.full(len(rows_of), old))
        for ref, batch in read.items():
            self._remember(ref, batch)
        return Table.concat(parts) if parts else None, np.concatenate(counted_by_02)

    def _remember(self, ref: tuple[int, int], batch: tuple[Table, bool]) -> None:
        if ref in self._tables:
            return
        self._tables[ref] = batch
        self.rows_cached += batch[0].rows
        while self.rows_cached > ROWS_CACHED_MAX:
            _, (oldest, _) = self._tables.popitem(last=False)
            self.rows_cached -= oldest.rows

    async def add(self, tx: Transaction, change: Tally) -> None:
        """Store the changes of a page, which queries add to the cells until they are folded into them."""
        changes = (change.counts, change.revenue, change.times, change.inspections)
        await deltas.append(tx, {table.name: cells for table, cells in zip(CELLS, changes, strict=True)})

    async def add_cells(self, tx: Transaction, table: sa.Table, cells: Cells) -> None:
        """Add sums to the cells of a table."""
        if len(cells):
            statements = _ADD_LARGE if any(each.dtype == object for each in cells.totals) else _ADD
            await tx.raw.execute(statements[table.name], *cells.keys, *cells.measures)

    async def trail(self, number: str) -> list[trace_pb2.Fact]:
        """Return the version of a consignment that was counted last, and the trace of the work."""
        try:
            consignment = Consignments.located([number])
        except mrn.MrnError:
            return []
        async with self.database.connection() as reader:
            found = await self.counted(reader, consignment)
            trace = await reader.raw.fetchval(_TRACE, int(found.batch_day[0]), int(found.batch[0]))
        if not found.batch[0]:
            return []
        return [trace_pb2.Fact(kind=trace_pb2.FACT_KIND_COUNTED, version=int(found.version[0]), traceparent=trace)]

    async def query(
        self,
        table: sa.Table,
        group_by: Sequence[str],
        filters: dict[str, list[Any]],
        period: tuple[int, int],
        rows_max: int,
        *,
        exports: bool = False,
    ) -> list[Any]:
        """Return the sums of a table's measures by columns, within days and filters; one row more than `rows_max` means that there are more.

        They are those of imports, or of `exports`, whose destinations begin with EXPORT_MARK here as in the cells.

        Cells and deltas are read at one moment, so a delta counts once, whether it is being folded or not.
        """
        measures = [column for column in table.columns if not column.primary_key]
        columns = [*(table.c[name] for name in group_by), *measures]
        of_exports = table.c.destination.startswith(EXPORT_MARK)
        cells = sa.select(*columns).where(table.c.day.between(*period)).where(of_exports if exports else ~of_exports)
        for name, values in filters.items():
            cells = cells.where(table.c[name].in_(values))
        async with self.database.connection(snapshot=True) as reader:
            found = await deltas.pending(reader, table.name)
            names = [column.name for column in table.primary_key]
            sums = sum_groups(found.cells, names, group_by, filters, period, exports=exports)
            both = (
                cells
                if sums is None
                else cells.union_all(_unnest(columns, [*sums.keys[: len(group_by)], *sums.measures]))
            ).subquery()
            keys = [both.c[name] for name in group_by]
            totals = [sa.cast(sa.func.sum(both.c[each.name]), each.type).label(each.name) for each in measures]
            # A cell that everything left again says nothing.
            left = sa.or_(*(sa.func.sum(both.c[each.name]) != 0 for each in measures))
            statement = sa.select(*keys, *totals).group_by(*keys).order_by(*keys).having(left).limit(rows_max + 1)
            return list((await reader.sql.execute(statement)).all())


def _unnest(columns: Sequence[sa.Column[Any]], values: Sequence[list[Any]]) -> sa.Select[Any]:
    """Return rows of these columns from a list of values for each."""
    arrays = [sa.cast(each, sa.ARRAY(column.type)) for column, each in zip(columns, values, strict=True)]
    names = [sa.column(column.name, column.type) for column in columns]
    rows = sa.func.unnest(*arrays).table_valued(*names).render_derived()
    return sa.select(*(rows.c[column.name] for column in columns))
