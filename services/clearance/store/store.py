"""Whole states: their batches, the table of the current ones, and their announcements."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from libs.columns import Strings, Table, among
from libs.customs.identifiers.mrn import MrnError
from libs.customs.time import MICROS_PER_DAY
from libs.feed.publish.outbox import KeyedOutbox, Outbox
from libs.feed.publish.payloads import Payloads
from libs.feed.types import BatchRef
from libs.store.database import NOW_MICROS, Database, Transaction
from libs.store.tables import bulk
from libs.store.tables.requests import RequestLog
from libs.store.tables.schema import ensure_day_partitions
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.consignment.columns import with_previous
from services.clearance.consignment.controls.control import has_controls
from services.clearance.consignment.controls.pre_loading import announced, concerns_loading
from services.clearance.consignment.controls.views import carried_notices
from services.clearance.consignment.notice_kinds import OWED, kinds, of_movements
from services.clearance.consignment.proposals.proposal import has_proposals
from services.clearance.consignment.state.awaited_parts import to_notify
from services.clearance.consignment.state.transport_numbers import carriage
from services.clearance.licences.need import has_needs
from services.clearance.metrics import count_states
from services.clearance.notices.agencies import notified
from services.clearance.store.adjustments import AdjustmentTable
from services.clearance.store.arrivals import ArrivalTable
from services.clearance.store.audit.trail import AuditTables, Origin, note_of
from services.clearance.store.carriers import CarrierTables
from services.clearance.store.cases.contents import ContentTables
from services.clearance.store.cases.files import CaseTables
from services.clearance.store.early_debt_events import EarlyDebtEvents
from services.clearance.store.early_matches import EarlyMatches
from services.clearance.store.licences.register import LicenceTables
from services.clearance.store.parties.representations import RepresentationTables
from services.clearance.store.references import ReferenceTables
from services.clearance.store.releases import BulkReleases, ReleaseLists
from services.clearance.store.rights.applications import ApplicationTable
from services.clearance.store.rows import Row, agency_key, carrier_key, day_of, days_of, filer_key, row_of
from services.clearance.store.sweeps import SweepTables
from services.clearance.store.timers.contradicted import ContradictedTable
from services.clearance.store.timers.proposals import ProposalTable
from services.clearance.store.timers.return_orders import ReturnOrderTable
from services.clearance.store.timers.storage import StorageTable
from services.clearance.store.timers.transit import TransitTable
from services.clearance.store.timers.unjudged import UnjudgedTable
from services.clearance.store.work import ClaimTable, ControlTable, WorkTables

SCHEMA: Final = "luxor.clearance.v1.ClearanceColumns"
PURGED_MAX: Final = 2_000
PURGED: Final = (
    "held",
    "seized",
    "due",
    "control",
    "proposal",
    "storage",
    "transit",
    "unjudged",
    "contradicted",
    "claim",
    "early_hit",
    "early_news",
    "adjustment",
    "swept",
    "expiry_pass",
    "filing_unknown",
    "bulk_release",
    "release_list_mark",
    "return_order",
    "departure",
)
"""Tables of which old days are deleted."""
PURGED_BY_HASH: Final = ("former_local_reference", "former_house_document", "master_document", "arrival")
"""Those that are partitioned by a hash."""
_PAYLOAD_BYTES_MAX: Final = 48 * 1024 * 1024
_Bound: TypeAlias = tuple[int, str, str, str, int]
"""A row with the carriers of a document or receptacle: the row, the document, the carrier that the filing names, the receptacle, and the day
of the binding.
"""


class Store:
    """Clearance's own database: the states, and each further group of tables in an attribute."""

    def __init__(self, database: Database, origin: Callable[[], Origin] = Origin) -> None:
        """Store in a database; `origin` returns who causes a decision at this moment, for its record."""
        self.database = database
        self.audit = AuditTables()
        self.origin = origin
        self.outbox = Outbox(database, SCHEMA, 1, payloads=Payloads(bytes_max=_PAYLOAD_BYTES_MAX))
        self.notices = KeyedOutbox(self.outbox)
        self.requests = RequestLog()
        self.adjustments = AdjustmentTable()
        self.arrivals = ArrivalTable()
        self.bulk_releases = BulkReleases()
        self.carriers = CarrierTables()
        self.cases = CaseTables()
        self.contents = ContentTables()
        self.contradicted = ContradictedTable()
        self.controls = ControlTable()
        self.claims = ClaimTable()
        self.early_matches = EarlyMatches()
        self.early_debt_events = EarlyDebtEvents()
        self.licences = LicenceTables()
        self.proposals = ProposalTable()
        self.references = ReferenceTables()
        self.release_lists = ReleaseLists()
        self.representations = RepresentationTables()
        self.return_orders = ReturnOrderTable()
        self.rights = ApplicationTable()
        self.storage = StorageTable()
        self.transits = TransitTable()
        self.unjudged = UnjudgedTable()
        self.sweeps = SweepTables()
        self.work = WorkTables()
        self._days: set[int] = set()

    # ------------------------------------------------------------------------------------------ days
    def missing_days(self, mrns: Iterable[str]) -> set[int]:
        """Return the days of acceptance of these MRNs that may have no partition yet."""
        return set(days_of(mrns)) - self._days

    async def add_days(self, tx: Transaction, days: Iterable[int]) -> None:
        """Create the missing partitions of days."""
        await ensure_day_partitions(tx, "consignment", sorted(days))
        await self.references.add_days(tx, days)
        tx.after_commit(lambda: self._days.update(days))

    # ------------------------------------------------------------------------------------------ reading states
    async def lock(self, tx: Transaction, mrns: Sequence[str]) -> dict[str, Row]:
        """Lock the existing consignments, always in the order of (day, MRN), so that no deadlock can occur."""
        by_day: dict[int, list[str]] = {}
        for mrn, day in zip(mrns, days_of(mrns), strict=True):
            by_day.setdefault(day, []).append(mrn)
        found: dict[str, Row] = {}
        for day in sorted(by_day):
            for record in await tx.raw.fetch("select * from consignment_lock($1, $2)", day, by_day[day]):
                found[record["mrn"]] = row_of(record, record["mrn"], day)
        return found

    async def find(self, tx: Transaction, mrns: Sequence[str]) -> dict[str, Row]:
        """Return the existing consignments by MRN; texts that are no MRN of Luxor are ignored."""
        known: list[str] = []
        days: list[int] = []
        for mrn in dict.fromkeys(mrns):
            try:
                days.append(day_of(mrn))
            except MrnError:
                continue
            known.append(mrn)
        if not known:
            return {}
        records = await tx.raw.fetch("select * from consignment_find($1, $2)", days, known)
        return {(mrn := known[r["place"] - 1]): row_of(r, mrn, days[r["place"] - 1]) for r in records}

    async def states(self, tx: Transaction, rows: Sequence[Row]) -> Table:
        """Return the whole states of these rows, in their order."""
        return await self.read(tx, [(row.ref, row.row) for row in rows])

    async def read(self, tx: Transaction, places: Sequence[tuple[BatchRef, int]]) -> Table:
        """Return the states that are stored at these places, in their order."""
        if not places:
            return Table.of(ClearanceColumns, 0, {})
        groups: dict[BatchRef, list[int]] = {}
        for place, (ref, _) in enumerate(places):
            groups.setdefault(ref, []).append(place)
        stored = await self.outbox.payloads.fetch(tx.raw, groups)
        parts: list[Table] = []
        order: list[int] = []
        for ref, members in groups.items():
            table = self.outbox.payloads.table(stored[ref])
            numbers = np.array([places[member][1] for member in members], np.int64)
            whole = len(numbers) == table.rows and bool((numbers == np.arange(table.rows)).all())
            parts.append(table if whole else table.take(numbers))
            order.extend(members)
        table = Table.concat(parts)
        if order == list(range(len(order))):
            return table
        return table.take(np.argsort(np.array(order, np.int64), kind="stable"))

    # ------------------------------------------------------------------------------------------ writing states
    async def insert(self, tx: Transaction, table: Table, *, trace: str) -> BatchRef:
        """Store first versions, with their references and notices, and announce them."""
        ref = await self._append(tx, table, trace)
        mrns = table.strings("mrn").tolist()
        days = days_of(mrns)
        filers = table.strings("filer").tolist()
        partitions = table.ints("partition").values
        rows = table.rows
        await bulk.copy(
            tx,
            "consignment",
            {
                "day": bulk.int4(days),
                "mrn": bulk.text(mrns),
                "partition": bulk.int2(partitions),
                "filer": bulk.text(filers),
                "version": bulk.int4(table.ints("version").values),
                "filing_version": bulk.int4(table.ints("filing_version").values),
                "state": bulk.int2(table.ints("state").values),
                "lane": bulk.int2(table.ints("lane").values),
                "batch_day": bulk.int4([ref.day] * rows),
                "batch_id": bulk.int8([ref.id] * rows),
                "batch_row": bulk.int4(list(range(rows))),
            },
        )
        await self.references.add_local(tx, table, mrns, days)
        await self.references.add_documents(tx, table, ref, mrns, days)
        await self._list(tx, table, mrns, days, np.zeros(rows, np.bool_))
        return ref

    async def succeed(
        self,
        tx: Transaction,
        table: Table,
        rows: Sequence[Row],
        *,
        trace: str,
        in_lists: NDArray[np.bool_] | None = None,
    ) -> BatchRef:
        """Store what follows the versions in force, `rows`, which are locked; see `update`."""
        table = with_previous(
            table, [row.ref.day for row in rows], [row.ref.id for row in rows], [row.row for row in rows]
        )
        stays = np.array([row.state for row in rows], np.int64) == table.ints("state").values
        return await self.update(tx, table, trace=trace, in_lists=in_lists, stays=stays)

    async def update(
        self,
        tx: Transaction,
        table: Table,
        *,
        trace: str,
        in_lists: NDArray[np.bool_] | None = None,
        stays: NDArray[np.bool_] | None = None,
    ) -> BatchRef:
        """Store next versions of consignments that are locked, with notices, and announce them.

        `in_lists` are those that may be held or have a delay in the versions in force; by default all. `stays` are those whose state does not
        change: a debt event on them is no notice to a carrier. What the end of goods restores to licences is restored.
        """
        if has_needs(table):
            table = await self.licences.restored(tx, table)
        ref = await self._append(tx, table, trace, stays)
        mrns = table.strings("mrn").tolist()
        days = days_of(mrns)
        done = await tx.raw.fetchval(
            "select consignment_update($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            days,
            mrns,
            table.ints("version").values.tolist(),
            table.ints("filing_version").values.tolist(),
            table.ints("state").values.tolist(),
            table.ints("lane").values.tolist(),
            ref.day,
            ref.id,
            list(range(table.rows)),
        )
        if done != table.rows:
            raise AssertionError(f"{done} of {table.rows} locked consignments were there to be updated")
        await self._list(tx, table, mrns, days, np.ones(table.rows, np.bool_) if in_lists is None else in_lists)
        if has_controls(table):
            await self.controls.note(tx, table, mrns, days)
        if has_proposals(table):
            await self.proposals.note(tx, table, mrns, days)
        await self.return_orders.end_with(tx, table, mrns)
        return ref

    async def _list(
        self, tx: Transaction, table: Table, mrns: list[str], days: list[int], in_lists: NDArray[np.bool_]
    ) -> None:
        """Store in which work lists these states are; `in_lists` may be in one by their former versions."""
        await self.work.note(tx, table, mrns, days, in_lists=in_lists)
        await self.storage.note(tx, table, mrns, days, in_lists=in_lists)
        await self.transits.note(tx, table, mrns, days)
        await self.unjudged.note(tx, table, mrns, days)
        await self.contradicted.note(tx, table, mrns, days)

    async def notify(
        self,
        tx: Transaction,
        table: Table,
        *,
        trace: str,
        carriers: Strings | None = None,
        agencies: Strings | None = None,
    ) -> None:
        """Write notices of a change that made no version, to the filers, to `carriers` or to `agencies`."""
        ref = await self.outbox.store(tx, table, ClearanceColumns, trace=trace, note=note_of(table, self.origin()))
        if agencies is not None:
            await self.notices.append(tx, ref, agencies.map(agency_key))
        elif carriers is None:
            await self.notices.append(tx, ref, table.strings("filer").map(filer_key))
        else:
            await self.notify_carriers(tx, ref, carriers)

    async def notify_carriers(self, tx: Transaction, ref: BatchRef, carriers: Strings) -> None:
        """Write notices of the states of a batch of this transaction to one carrier each, to nobody where there is none."""
        await self.notices.append(tx, ref, carriers.map(carrier_key))

    async def _append(
        self, tx: Transaction, table: Table, trace: str, stays: NDArray[np.bool_] | None = None
    ) -> BatchRef:
        note = note_of(table, self.origin())
        partitions = table.ints("partition").values
        ref = await self.outbox.append(tx, table, ClearanceColumns, partitions, trace=trace, note=note)
        tx.after_commit(lambda: count_states(table))
        readers = table.strings("filer").map(filer_key)
        of_kind = kinds(table)
        readers[of_kind == 0] = ""
        if awaited := to_notify(table):
            # A party may be the filer of other rows: each reader has one entry of a batch.
            notices = {filer_key(party): set(some) for party, some in awaited.items()}
            for row, reader in enumerate(readers.tolist()):
                if reader:
                    notices.setdefault(reader, set()).add(row)
            await self.notices.append_groups(tx, ref, {reader: sorted(some) for reader, some in notices.items()})
        else:
            await self.notices.append(tx, ref, readers)
        agencies = notified(table)
        if agencies:
            groups = {agency_key(agency): rows for agency, rows in agencies.items()}
            await self.notices.append_groups(tx, ref, groups)
        carriers, moved = table.strings("arrival_carrier"), of_movements(table)
        concerned = concerns_loading(table)
        if not concerned and not any(carriers.dictionary) and not moved.any():
            return ref
        heard = carried_notices(table, of_kind)
        if stays is not None:
            heard &= ~(stays & among(table.ints("change").values, OWED))
        loading = heard & announced(table) & ~table.ints("arrived_at").valid if concerned else None
        bound: list[_Bound] = []
        if loading is not None and loading.any():
            today = await self.now(tx) // MICROS_PER_DAY
            rows = np.flatnonzero(loading)
            carried = zip(rows.tolist(), *(each.take(rows).tolist() for each in carriage(table)), strict=True)
            bound += [(*each, today) for each in carried]
        if moved.any():
            rows = np.flatnonzero(moved & heard)
            days = (table.ints("changed_at").values[rows] // MICROS_PER_DAY).tolist()
            documents = table.strings("transit_document_number").take(rows).tolist()
            bound += [(row, each, "", "", day) for row, each, day in zip(rows.tolist(), documents, days, strict=True)]
        if bound:
            await self._notify_bound(tx, ref, np.where(heard, carriers.values(), ""), bound)
        elif any(carriers.dictionary):
            readers = carriers.map(carrier_key)
            readers[~heard] = ""
            await self.notices.append(tx, ref, readers)
        return ref

    async def _notify_bound(
        self, tx: Transaction, ref: BatchRef, arrived: NDArray[Any], bound: Sequence[_Bound]
    ) -> None:
        """Write notices of the states of a batch to the carriers in `arrived`, and to all that are bound to some rows; one of a row to each."""
        documents = {number for each in bound for number in (each[1], each[3])}
        register = await self.carriers.register(tx, documents, {each[2] for each in bound})
        groups: dict[str, list[int]] = {}
        pairs = {(row, carrier) for row, carrier in enumerate(arrived.tolist()) if carrier}
        for row, document, name, receptacle, day in bound:
            carriers = register.carriers(document, name, day)
            if receptacle:
                carriers |= register.receptacle_carriers(receptacle, document, name, day)
            pairs |= {(row, carrier) for carrier in carriers}
        for row, carrier in sorted(pairs):
            groups.setdefault(carrier_key(carrier), []).append(row)
        await self.notices.append_groups(tx, ref, groups)

    # ------------------------------------------------------------------------------------------ the rest
    async def purge(self, tx: Transaction, table: str, before_day: int) -> int:
        """Delete PURGED_MAX rows of days before a day from one of PURGED; return how many there were."""
        done = await tx.raw.execute(
            f"delete from {table} where ctid = any(array(select ctid from {table} where day < $1 limit $2))",  # noqa: S608
            before_day,
            PURGED_MAX,
        )
        return int(done.rpartition(" ")[2])

    async def now(self, tx: Transaction) -> int:
        """The database's clock, microseconds since 1970-01-01 UTC."""
        return int(await tx.raw.fetchval(f"select {NOW_MICROS}"))
