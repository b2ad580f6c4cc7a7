"""Whether a filer may file now: its entry in the register, read at most every two seconds for each filer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from services.ingestion.store.filers import Filers

AGE_SECONDS_MAX: Final = 2.0
"""How long an entry that was read counts."""
FILERS_MAX: Final = 10_000
"""Filers whose entry is in memory at once."""


class NotAdmitted(NamedTuple):
    """Why new filings of a filer are refused."""

    reason: str
    cause: str = ""
    """The words of the administration."""


class FilerAdmission:
    """Answers for each filer whether its new filings are admitted."""

    def __init__(
        self, filers: Filers, *, is_registration_required: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read the register; `is_registration_required`: a filer without an entry is not admitted. `clock` returns seconds."""
        self._filers = filers
        self._is_registration_required = is_registration_required
        self._clock = clock
        self._refusals: dict[str, tuple[float, NotAdmitted | None]] = {}

    async def refusal(self, filer: str) -> NotAdmitted | None:
        """Return why new filings of a filer are refused; None: they are admitted."""
        now = self._clock()
        until, found = self._refusals.get(filer, (now, None))
        if now < until:
            return found
        entry = await self._filers.entry(filer)
        found = None
        if entry is not None and entry.suspension_reason:
            found = NotAdmitted("FILER_SUSPENDED", entry.suspension_reason)
        elif entry is None and self._is_registration_required:
            found = NotAdmitted("FILER_NOT_REGISTERED")
        if len(self._refusals) >= FILERS_MAX:
            self._refusals.clear()
        self._refusals[filer] = now + AGE_SECONDS_MAX, found
        return found
