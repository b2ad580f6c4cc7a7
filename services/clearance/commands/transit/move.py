"""Begins and ends movements to another office."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from libs.columns import Table
from libs.server.identity import Identity, Role
from libs.store.database import Transaction
from services.clearance.commands.act import Acted
from services.clearance.commands.bulk.chunks import CHUNK_ROWS
from services.clearance.commands.bulk.goods import GoodsCommand, GoodsProgress, SelectedGoods
from services.clearance.commands.visibility import Viewer, moved_by
from services.clearance.store import Store
from services.clearance.transit.movement import TransitArrival, TransitStart, TransitStep


class TransitProgress(GoodsProgress, frozen=True):
    """What a request did so far."""

    done: int = 0


class Move(GoodsCommand[TransitProgress]):
    """Carries out a step of movements."""

    first = TransitProgress()

    def __init__(self, store: Store, step: TransitStep, *, chunk_rows: int = CHUNK_ROWS) -> None:
        """Take a step; the rest as of GoodsCommand."""
        super().__init__(store, chunk_rows=chunk_rows)
        self._step = step

    async def carry_out(self, tx: Transaction, goods: SelectedGoods, caller: Identity, trace: str) -> dict[str, Acted]:
        """Take the step of consignments; return the result of each that the caller reaches."""
        step, at = self._step, await self._store.now(tx)
        outside = caller if caller.role is Role.CARRIER else None
        if outside is not None and isinstance(step, TransitStart):
            mrns = [mrn for mrn, _ in goods.expected_versions]
            await self._store.lock(tx, mrns)
            step = replace(step, claimed=await self._store.claims.find(tx, mrns))
        # An officer works on what no colleague claims; where goods arrived, the claims of the office of departure end.
        claimant = "" if step.ends_claims else step.officer

        def unfit(states: Table) -> list[str]:
            return goods.reasons(states, step.unfit(states, at))

        arrives = isinstance(step, TransitArrival)
        found = await self._commands.fit(tx, goods.expected_versions, unfit, outside, moved=arrives, claimant=claimant)
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

    async def reached(self, tx: Transaction, viewer: Viewer, mrns: Sequence[str]) -> Collection[str]:
        """Return which consignments the caller reaches: those that it sees, and those whose arrival it reports because it moves them."""
        seen = await viewer.visible(tx, mrns)
        if viewer.carrier and isinstance(self._step, TransitArrival):
            rows = await self._store.find(tx, mrns)
            states = await self._store.states(tx, list(rows.values()))
            moved = np.flatnonzero(await moved_by(self._store, tx, states, viewer.carrier))
            seen = {*seen, *states.strings("mrn").take(moved).tolist()}
        return seen

    def counts(self, results: Sequence[Acted]) -> Mapping[str, int]:
        """Return how many took the step."""
        return {"done": sum(not each.refusal for each in results)}
