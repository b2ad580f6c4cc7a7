"""Prove the ledger in the background, and look at how far the proofs are behind."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from libs.columns.stored import InputError
from libs.store.database import Database
from libs.store.errors import StoreError
from libs.store.monitoring.gauges import Look
from libs.store.tables.leases import release_lease, try_lease
from libs.tasks.stop import wait_for_stop
from libs.telemetry import gauge, get_logger
from services.revenue.commands.verify import Verification
from services.revenue.store.ledger.names import Names
from services.revenue.store.proofs import marks
from services.revenue.store.proofs.marks import ProofState

LEASE: Final = "ledger-proof"
LEASE_SECONDS: Final = 300.0
IDLE_SECONDS: Final = 10.0
_lag = gauge(
    "luxor_revenue_ledger_unproven_seconds", "Age of the oldest entry of the ledger that is not proven; 0 if all are"
)
_round_age = gauge(
    "luxor_revenue_ledger_round_age_seconds",
    "Time since the last periodic proof of the whole ledger ended, or since the first one began",
)
_differences = gauge(
    "luxor_revenue_ledger_faults", "Differences that the proofs of the ledger found and that are not resolved"
)
log = get_logger()


class ProofJob:
    """Proves in the background, of all replicas one at a time, with a bounded share of a core."""

    def __init__(self, database: Database, names: Names, replica: str, *, share: float) -> None:
        """Use at most `share` of one core's time, 0 to 1."""
        self._database = database
        self._proving = Verification(database, names)
        self._replica = replica
        self._share = share

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; what fails is logged and tried again."""
        token: int | None = None
        while not stop.is_set():
            began = time.monotonic()
            worked = False
            try:
                async with self._database.transaction() as tx:
                    token = await try_lease(tx, LEASE, self._replica, LEASE_SECONDS)
                if token is not None:
                    worked = await self._proving.advance() or await self._proving.advance_full()
            except (StoreError, InputError) as error:
                log.warning("LEDGER_PROOF_POSTPONED", store=self._database.name, why=str(error))
            except Exception as error:  # whatever somebody wrote into the ledger must not end the service
                log.error("LEDGER_PROOF_FAILED", error, store=self._database.name)
            took = time.monotonic() - began
            pause = min(LEASE_SECONDS / 2, took / self._share - took) if worked else IDLE_SECONDS
            await wait_for_stop(stop, pause)
        if token is not None:
            await self._give_back(token)

    async def _give_back(self, token: int) -> None:
        try:
            async with self._database.transaction() as tx:
                await release_lease(tx, LEASE, token)
        except StoreError as error:
            log.warning("LEDGER_PROOF_LEASE_NOT_RELEASED", store=self._database.name, why=str(error))


def unproven() -> Look:
    """Return a look at how far the proofs are behind, and what they found."""

    async def look(database: Database) -> None:
        async with database.connection(timeout_millis=5_000) as reader:
            state = await marks.read_state(reader)
            count, _ = await marks.discrepancies(reader, 0)
            since, now = await marks.oldest_unproven(reader), await reader.now()
        _lag.set(0 if since is None else max(0, now - since) / 1e6)
        _round_age.set(_age(state, now))
        _differences.set(count)

    return look


def _age(state: ProofState, now: int) -> float:
    begun = state.full_ended_at or state.full_began_at
    return max(0, now - begun) / 1e6 if begun else 0.0
