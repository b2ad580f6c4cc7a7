"""Reads from ingestion's register which filers represent which, so that no call of a filer waits for another service."""

import asyncio
from collections.abc import Iterable
from typing import Final

import grpc.aio

from libs.customs.time import MICROS_PER_DAY, parse_day
from libs.server.process.following import repeat
from libs.store.database import Database
from libs.store.tables.leases import require_lease, try_lease
from libs.tasks.stop import unless_stopped
from libs.telemetry import gauge, get_logger
from luxor.ingestion.v1 import filers_pb2 as pb
from luxor.ingestion.v1.filers_pb2_grpc import FilerServiceStub
from services.clearance.store import Store
from services.clearance.store.parties.representations import Representation, read_at

LEASE: Final = "representations"
LEASE_SECONDS: Final = 30.0
INTERVAL_SECONDS: Final = 2.0
CALL_SECONDS: Final = 5.0
PAGE: Final = 1_000

_read_at = gauge(
    "luxor_clearance_representations_read_timestamp_seconds",
    "When the representations in ingestion's register of filers were last read, seconds since 1970; 0 if never",
)


class Representations:
    """Reads the register on one replica at a time (table `job_lease`)."""

    def __init__(
        self, store: Store, ingestion: grpc.aio.Channel, replica: str, *, interval_seconds: float = INTERVAL_SECONDS
    ) -> None:
        """Read into a store, as `replica`."""
        self._store = store
        self._filers = FilerServiceStub(ingestion)
        self._replica = replica
        self._interval_seconds = interval_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Read every interval until `stop`; failures are tried again."""
        await repeat(lambda: unless_stopped(stop, self.step()), _postponed, stop, self._interval_seconds)

    async def step(self) -> bool:
        """Read once; return whether this replica did."""
        async with self._store.database.transaction() as tx:
            token = await try_lease(tx, LEASE, self._replica, LEASE_SECONDS)
        if token is None:
            return False
        # Before the register is asked: what is read is as old as that.
        asked_at = await self._store.database.now()
        entries, page_token = list[pb.Filer](), ""
        while True:
            request = pb.ListFilersRequest(page_size=PAGE, page_token=page_token, in_representations=True)
            page = await self._filers.ListFilers(request, timeout=CALL_SECONDS)
            entries += page.filers
            page_token = page.next_page_token
            if not page_token:
                break
        found = representations(entries, asked_at // MICROS_PER_DAY)
        async with self._store.database.transaction() as tx:
            await require_lease(tx, LEASE, token)
            await self._store.representations.replace(tx, found, asked_at)
        return True


def _postponed(error: Exception) -> None:
    # Ingestion or the store is away: what was read counts for a while, and the gauge shows its age.
    get_logger().warning("REPRESENTATIONS_POSTPONED", error=type(error).__name__)


def representations(entries: Iterable[pb.Filer], day: int) -> set[Representation]:
    """Return what entries of the register entitle to on a day (since 1970-01-01 UTC): both filers are registered, and the caller is not suspended."""
    by_id = {each.id: each for each in entries}
    found: set[Representation] = set()
    for declarant in by_id.values():
        for each in declarant.representatives:
            representative = by_id.get(each.id)
            is_valid = parse_day(each.from_day) <= day and (not each.to_day or day <= parse_day(each.to_day))
            if representative is None or not is_valid:
                continue
            names = _lines(declarant), _lines(representative)
            if not representative.suspension_reason:
                found.add(Representation(representative.id, declarant.id, False, *names))
            if not declarant.suspension_reason:
                found.add(Representation(declarant.id, representative.id, True, *names))
    return found


def _lines(entry: pb.Filer) -> str:
    return "\n".join(sorted(entry.identifiers))


async def look(database: Database) -> None:
    """Read the age of what is stored."""
    _read_at.set(await read_at(database) / 1_000_000)
