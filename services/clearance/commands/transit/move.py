"""Begins and ends movements to another office: of goods that are named, or in chunks of all under a master document."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import msgspec

from libs.columns import Table
from libs.server.identity import Identity, Role
from libs.store.database import Transaction
from services.clearance.commands.act import UNKNOWN, Acted, Commands, ExpectedVersions, Request
from services.clearance.commands.arrivals.transport import Transport, travels
from services.clearance.commands.bulk_release import CHUNK_ROWS, ChunkProgress, run_in_chunks
from services.clearance.commands.visibility import Viewer
from services.clearance.store import Store
from services.clearance.transit.movement import TransitStart, TransitStep

REFUSALS_MAX = 100
"""Refused consignments under a master document that an answer names."""


class TransitProgress(ChunkProgress, frozen=True):
    """What a request did so far."""

    done: int = 0
    refused: int = 0
    refusals: tuple[tuple[str, int, int, str], ...] = ()
    """The first refused consignments under a master document: MRN, state, version and reason."""


class Move:
    """Carries out steps of movements."""

    def __init__(self, store: Store, *, chunk_rows: int = CHUNK_ROWS) -> None:
        """Work in a store, under a master document in transactions of at most `chunk_rows` consignments."""
        self._store = store
        self._chunk_rows = chunk_rows
        self._commands = Commands(store)

    async def named(
        self,
        goods: ExpectedVersions,
        step: TransitStep,
        *,
        caller: Identity,
        request: Request,
        encode: Callable[[TransitProgress, Sequence[Acted]], bytes],
    ) -> bytes:
        """Take a step of named consignments in one transaction, once per request; return what `encode` made of the counts and results.

        Raises RequestReused.
        """
        async with self._store.database.connection() as reading:
            # Read outside of the transaction, so that inside it the batches come from memory.
            await self._store.states(reading, list((await self._store.find(reading, [m for m, _ in goods])).values()))
        async with self._store.database.transaction() as tx:
            before = await self._store.requests.recall(tx, *request.key)
            if before is not None:
                return before
            acted = await self._carry_out(tx, step, goods, caller, request.trace)
            results = [acted.get(mrn) or Acted(mrn, 0, 0, UNKNOWN) for mrn, _ in goods]
            answer = encode(_counted(TransitProgress(), results, 0), results)
            await self._store.requests.remember(tx, *request.key, answer)
        return answer

    async def under(
        self,
        master: str,
        step: TransitStep,
        *,
        caller: Identity,
        request: Request,
        encode: Callable[[TransitProgress], bytes],
    ) -> bytes:
        """Take a step of all consignments under a master document that the caller reaches, once per request; return what `encode` made of the counts.

        Raises RequestReused.
        """
        transport, viewer = Transport((master,)), Viewer(self._store, caller)

        async def chunk(tx: Transaction, documents: Mapping[str, str], progress: TransitProgress) -> TransitProgress:
            # Consignments of others are not even locked.
            visible = set(await viewer.visible(tx, list(documents)))
            goods = [(mrn, None) for mrn in documents if mrn in visible]
            acted = await self._carry_out(tx, step, goods, caller, request.trace, transport, documents)
            return _counted(progress, [each for each in acted.values() if each.state], REFUSALS_MAX)

        return await run_in_chunks(
            self._store,
            transport,
            chunk,
            first=TransitProgress(),
            request=request,
            encode=encode,
            chunk_rows=self._chunk_rows,
        )

    async def _carry_out(
        self,
        tx: Transaction,
        step: TransitStep,
        goods: ExpectedVersions,
        caller: Identity,
        trace: str,
        transport: Transport | None = None,
        documents: Mapping[str, str] | None = None,
    ) -> dict[str, Acted]:
        """Take the step of consignments; return the result of each that the caller reaches."""
        at = await self._store.now(tx)
        outside = caller if caller.role is Role.CARRIER else None
        if outside is not None and isinstance(step, TransitStart):
            mrns = [mrn for mrn, _ in goods]
            await self._store.lock(tx, mrns)
            step = replace(step, claimed=await self._store.claims.find(tx, mrns))
        # An officer works on what no colleague claims; where goods arrived, the claims of the office of departure end.
        claimant = "" if step.ends_claims else step.officer

        def unfit(states: Table) -> list[str]:
            reasons = step.unfit(states, at)
            if transport is None or documents is None:
                return reasons
            there = travels(states, transport, documents).tolist()
            return [reason if under else UNKNOWN for reason, under in zip(reasons, there, strict=True)]

        found = await self._commands.fit(tx, goods, unfit, outside, claimant=claimant)
        if found.rows:
            table, details = step.apply(found.states, at)
            done = await self._commands.put(tx, table, details, found.rows, trace, outside)
            found.results |= done
            if step.ends_claims:
                began = dict(zip(done, found.states.ints("transit_started_at").tolist(), strict=True))
                claims = await self._store.claims.find(tx, [mrn for mrn, each in done.items() if not each.refusal])
                former = [mrn for mrn, each in claims.items() if each.claimed_at < (began[mrn] or 0)]
                await self._store.claims.end(tx, former)
        return found.results


def _counted(progress: TransitProgress, results: Sequence[Acted], refusals_max: int) -> TransitProgress:
    """Return the progress with these results counted."""
    refused = [each for each in results if each.refusal]
    listed = refused[: max(0, refusals_max - len(progress.refusals))]
    return msgspec.structs.replace(
        progress,
        consignments=progress.consignments + sum(each.refusal != UNKNOWN for each in results),
        done=progress.done + len(results) - len(refused),
        refused=progress.refused + len(refused),
        refusals=(*progress.refusals, *((each.mrn, each.state, each.version, each.refusal) for each in listed)),
    )
