"""The applications by which filings are matched: read again when they have changed, which is looked for at most once a second."""

import time
from typing import Final

from services.clearance.rights.matching import Matcher
from services.clearance.store import Store
from services.clearance.store.rights.applications import APPLICATIONS_MAX

LOOK_SECONDS: Final = 1.0


class CurrentApplications:
    """The registered applications of a store."""

    def __init__(self, store: Store, *, look_seconds: float = LOOK_SECONDS) -> None:
        """Read a store; a change takes effect within `look_seconds`."""
        self._store = store
        self._look_seconds = look_seconds
        self._looked_at = -look_seconds
        self._revision = 0
        self._matcher = Matcher()

    async def matcher(self) -> Matcher:
        """Return what matches filings now."""
        if time.monotonic() - self._looked_at >= self._look_seconds:
            async with self._store.database.connection() as reading:
                # The number first: what commits in between is read again at the next look.
                revision = await self._store.rights.revision(reading)
                if revision != self._revision:
                    self._matcher = Matcher(await self._store.rights.page(reading, "", APPLICATIONS_MAX))
            self._revision, self._looked_at = revision, time.monotonic()
        return self._matcher
