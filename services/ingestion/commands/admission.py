"""What the register states of filers when they file. It is asked for changes at most every two seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from services.ingestion.filers.register import Declarants
from services.ingestion.store.filers import Filers

AGE_SECONDS_MAX: Final = 2.0
"""How long the register that was read counts."""


class NotAdmitted(NamedTuple):
    """Why new filings of a filer are refused."""

    reason: str
    cause: str = ""
    """The words of the administration."""


class FilerAdmission:
    """States for each filer whether its new filings are admitted, and whether it is a trusted operator."""

    def __init__(
        self, filers: Filers, *, is_registration_required: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read the register; `is_registration_required`: a filer without an entry is not admitted. `clock` returns seconds."""
        self._filers = filers
        self._is_registration_required = is_registration_required
        self._clock = clock
        self._reading = asyncio.Lock()
        self._until = float("-inf")
        self._revision = (0, 0)
        self._declarants = Declarants()

    async def refusal(self, filer: str) -> NotAdmitted | None:
        """Return why new filings of a filer are refused; None: they are admitted."""
        entry = (await self.declarants()).entry(filer)
        if entry is None:
            return NotAdmitted("FILER_NOT_REGISTERED") if self._is_registration_required else None
        return NotAdmitted("FILER_SUSPENDED", entry.suspension_reason) if entry.suspension_reason else None

    async def declarants(self) -> Declarants:
        """Return the register by what filings name. It is read again if it changed, and asked for changes at most every two seconds."""
        if self._clock() >= self._until:
            # Read once, whatever number of calls wait for it.
            async with self._reading:
                if (now := self._clock()) >= self._until:
                    revision = await self._filers.revision()
                    if revision != self._revision:
                        self._declarants, self._revision = Declarants(await self._filers.all()), revision
                    self._until = now + AGE_SECONDS_MAX
        return self._declarants
