"""Resumes arrivals whose call ended early, and those that later bindings or filings affect."""

import asyncio
from typing import Final

from libs.store.errors import StoreError
from libs.tasks.stop import wait_for_stop
from libs.telemetry import get_logger
from services.clearance.commands.arrivals.arrive import Arrive
from services.clearance.commands.arrivals.reverse_arrival import Reversal
from services.clearance.pre_loading.parameters import Parameters
from services.clearance.presentation.law import PresentationLaw
from services.clearance.store import Store

PENDING_SECONDS: Final = 10
"""Age from which a recorded arrival that is not applied is resumed: its call must have ended early."""


class ArrivalJob:
    """Resumes arrivals and reversals whose call ended early, and arrivals that later bindings affect."""

    def __init__(
        self,
        store: Store,
        parameters: Parameters | None = None,
        law: PresentationLaw | None = None,
        *,
        interval_seconds: float = 2.0,
        documents_max: int = 100,
    ) -> None:
        """Work in a store; reversals have `parameters`, and both `law`, as of `Reversal`."""
        self._store = store
        self._arrive = Arrive(store, law)
        self._reversal = Reversal(store, parameters, law)
        self._interval_seconds = interval_seconds
        self._documents_max = documents_max

    async def run(self, stop: asyncio.Event) -> None:
        """Run every interval until `stop`; failures are tried again."""
        while not stop.is_set():
            try:
                await self.step()
            except StoreError as error:
                get_logger().warning("ARRIVALS_POSTPONED", error=type(error).__name__)
            except Exception as error:  # one arrival that cannot be applied must not end the service
                get_logger().error("ARRIVALS_FAILED", error)
            await wait_for_stop(stop, self._interval_seconds)

    async def step(self) -> int:
        """Apply what is due; return the number of arrivals."""
        now = await self._store.database.now()
        before = now - PENDING_SECONDS * 1_000_000
        reversed_ = await self._reversal.finish(before, self._documents_max)
        return reversed_ + await self._arrive.finish(before, self._documents_max)
