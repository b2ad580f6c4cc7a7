"""Returns the goods of many consignments under one transport document: those that are named, or in chunks all under a master document."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from libs.columns import Strings, Table
from libs.server.identity import Identity, Role
from libs.store.database import Transaction
from services.clearance.commands.act import UNKNOWN, VERSION_CHANGED, Acted, Commands, ExpectedVersions, Request
from services.clearance.commands.arrivals.transport import Transport, travels
from services.clearance.commands.bulk_release import CHUNK_ROWS, ChunkProgress, run_in_chunks
from services.clearance.commands.visibility import Viewer
from services.clearance.consignment.disposal import disposing
from services.clearance.consignment.returns import BulkOrder, returning, unfit_in_bulk
from services.clearance.consignment.transitions import State
from services.clearance.store import Row, Store

_ENDED: Final = ("ALREADY_RETURNED", "STATE_FINAL")


class ReturnProgress(ChunkProgress, frozen=True):
    """What a bulk return did so far."""

    returned: int = 0
    re_exported: int = 0
    invalidated: int = 0
    final_before: int = 0
    refused: int = 0
    refusals: tuple[tuple[str, int, int, str], ...] = ()
    """The first refused consignments under a master document: MRN, state, version and reason."""


class BulkReturn:
    """Carries out bulk returns."""

    def __init__(self, store: Store, *, chunk_rows: int = CHUNK_ROWS) -> None:
        """Work in a store, under a master document in transactions of at most `chunk_rows` consignments."""
        self._store = store
        self._chunk_rows = chunk_rows
        self._commands = Commands(store)

    async def named(
        self,
        goods: ExpectedVersions,
        order: BulkOrder,
        *,
        caller: Identity,
        request: Request,
        encode: Callable[[ReturnProgress, Sequence[Acted]], bytes],
    ) -> bytes:
        """Return named consignments in one transaction, once per request; return what `encode` made of the counts and of the result of each.

        Raises RequestReused.
        """
        async with self._store.database.connection() as reading:
            # Read outside of the transaction, so that inside it the batches come from memory.
            await self._store.states(reading, list((await self._store.find(reading, [m for m, _ in goods])).values()))
        async with self._store.database.transaction() as tx:
            before = await self._store.requests.recall(tx, *request.key)
            if before is not None:
                return before
            was, acted = await self.carry_out(tx, order, goods, caller, request.trace)
            results = [acted.get(mrn) or Acted(mrn, 0, 0, UNKNOWN) for mrn, _ in goods]
            answer = encode(_counted(ReturnProgress(), was, results, 0), results)
            await self._store.requests.remember(tx, *request.key, answer)
        return answer

    async def under(
        self,
        master: str,
        order: BulkOrder,
        *,
        caller: Identity,
        refusals_max: int,
        request: Request,
        encode: Callable[[ReturnProgress], bytes],
    ) -> bytes:
        """Return all consignments under a master document that the caller reaches, once per request; return what `encode` made of the counts.

        Raises RequestReused.
        """
        transport, viewer = Transport((master,)), Viewer(self._store, caller)
        own = caller.id if caller.role is Role.FILER else ""

        async def chunk(tx: Transaction, documents: Mapping[str, str], progress: ReturnProgress) -> ReturnProgress:
            # Consignments of others are not even locked.
            visible = set(await viewer.visible(tx, list(documents)))
            goods = [(mrn, None) for mrn in documents if mrn in visible]
            was, acted = await self.carry_out(tx, order, goods, caller, request.trace, transport, documents)
            return _counted(progress, was, [each for each in acted.values() if each.state], refusals_max)

        return await run_in_chunks(
            self._store,
            transport,
            chunk,
            first=ReturnProgress(),
            request=request,
            encode=encode,
            chunk_rows=self._chunk_rows,
            filer=own,
        )

    async def carry_out(
        self,
        tx: Transaction,
        order: BulkOrder,
        goods: ExpectedVersions,
        caller: Identity,
        trace: str,
        transport: Transport | None = None,
        documents: Mapping[str, str] | None = None,
    ) -> tuple[dict[str, int], dict[str, Acted]]:
        """Return consignments; return the states before of those that the order fits, and the result of each that the caller reaches."""
        viewed = {mrn for mrn, version in goods if version is not None}

        def unfit(states: Table) -> list[str]:
            reasons = unfit_in_bulk(states, order, viewed)
            if transport is None or documents is None:
                return reasons
            there = travels(states, transport, documents).tolist()
            return [reason if under else UNKNOWN for reason, under in zip(reasons, there, strict=True)]

        outside = None if order.officer else caller
        blocked: set[str] = set()
        if order.officer and not order.departed:
            # Declarations may be invalidated: an arrival is recorded before, and seen here, or after. Its documents are locked before consignments.
            blocked = set(transport.masters) if transport else await self._masters(tx, goods)
            await self._store.arrivals.block_recording(tx, blocked)
        # In the order in which they are stored, so that whole batches are read as they are.
        found = await self._commands.fit(tx, goods, unfit, outside, claimant=order.officer)
        states, rows = found.states, found.rows
        values = states.ints("state").values
        waiting = ~states.ints("arrived_at").valid & (values != State.RELEASED)
        if waiting.any():
            # What was reported as arrived waits for the arrival's work or for a binding: the goods came.
            masters = states.strings("master_document_number")
            reported = set(await self._store.arrivals.find(tx, masters.take(np.flatnonzero(waiting)).dictionary))
            came = waiting & masters.isin(reported)
            # An amendment that moved the declaration to another document in between changed its version.
            moved = waiting & ~masters.isin(blocked | {""})
            for chosen, refusal in ((came, "ARRIVAL_WITHOUT_EFFECT"), (moved, VERSION_CHANGED)):
                for place in np.flatnonzero(chosen).tolist():
                    row = rows[place]
                    found.results[row.mrn] = Acted(row.mrn, row.state, row.version, refusal)
            stays = ~(came | moved)
            states, rows, values = states.take(np.flatnonzero(stays)), _chosen(rows, stays), values[stays]
        at = await self._store.now(tx) if rows else 0
        released = values == State.RELEASED
        for chosen in (released, ~released):
            if not chosen.any():
                continue
            part = states.take(np.flatnonzero(chosen))
            if chosen is released:
                returns = dict.fromkeys(part.strings("mrn").tolist(), order.returned)
                part, details = returning(part, at, returns, caller.id)
                if order.note:
                    part = part.with_columns({"note": Strings.constant(order.note, part.rows)})
            else:
                part, details = disposing(part, at, order.disposals(part), caller.id)
            found.results |= await self._commands.put(tx, part, details, _chosen(rows, chosen), trace, outside)
        return {row.mrn: row.state for row in rows}, found.results

    async def _masters(self, tx: Transaction, goods: ExpectedVersions) -> set[str]:
        """Return the master documents of consignments as they are now; nothing is locked."""
        rows = list((await self._store.find(tx, [mrn for mrn, _ in goods])).values())
        states = await self._store.states(tx, rows)
        return set(states.strings("master_document_number").tolist()) - {""} if rows else set()


def _chosen(rows: Sequence[Row], chosen: np.ndarray) -> list[Row]:
    return [rows[place] for place in np.flatnonzero(chosen).tolist()]


def _counted(
    progress: ReturnProgress, was: Mapping[str, int], results: Sequence[Acted], refusals_max: int
) -> ReturnProgress:
    """Return the progress with these results counted; `was` has the states before of those that were not refused."""
    counts: Counter[str] = Counter()
    refused = [each for each in results if each.refusal]
    for each in results:
        if each.refusal == UNKNOWN:
            counts["refused"] += 1
        else:
            counts["consignments"] += 1
            if each.refusal:
                counts["final_before" if each.refusal in _ENDED else "refused"] += 1
            elif was[each.mrn] == State.RELEASED:
                counts["returned"] += 1
            else:
                counts["re_exported" if each.state == State.RE_EXPORTED else "invalidated"] += 1
    listed = [each for each in refused if each.refusal not in _ENDED][: max(0, refusals_max - len(progress.refusals))]
    return msgspec.structs.replace(
        progress,
        **{name: getattr(progress, name) + count for name, count in counts.items()},
        refusals=(*progress.refusals, *((each.mrn, each.state, each.version, each.refusal) for each in listed)),
    )
