"""Reads Revenue's register of scheme numbers into memory, so that no filing waits for another service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import grpc.aio

from libs.customs.time import parse_day
from libs.server.process.following import repeat
from libs.tasks.stop import unless_stopped
from libs.telemetry import gauge, get_logger
from luxor.revenue.v1 import schemes_pb2 as pb
from luxor.revenue.v1.schemes_pb2_grpc import SchemeServiceStub
from services.ingestion.schemes.register import OPEN_END, SchemeNumber, SchemeRegister

INTERVAL_SECONDS: Final = 10.0
WHOLE_SECONDS: Final = 600.0
"""After so long the whole register is read instead of its changes: changes do not show that Revenue's store was set back."""
AGE_SECONDS_MAX: Final = 600.0
"""How long what was read counts. A number that was registered since then would seem to be unknown."""
CALL_SECONDS: Final = 5.0
PAGE: Final = 1_000

_read_at = gauge(
    "luxor_ingestion_scheme_numbers_read_timestamp_seconds",
    "When this replica last read Revenue's register of scheme numbers, seconds since 1970; 0 if never",
)
_count = gauge(
    "luxor_ingestion_scheme_numbers", "Scheme numbers in the register that this replica compares filings with"
)


class ReadingError(Exception):
    """Pages of the register that do not follow each other."""


class SchemeNumbers:
    """The register as this replica read it last."""

    def __init__(
        self,
        revenue: grpc.aio.Channel,
        *,
        interval_seconds: float = INTERVAL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read over a channel; `clock` returns seconds."""
        self._schemes = SchemeServiceStub(revenue)
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._register = SchemeRegister()
        self._last_change = 0
        self._read_at = self._whole_at = float("-inf")

    def current(self) -> SchemeRegister | None:
        """Return the register; None: it was never read, or so long ago that nothing can be said of a number."""
        return self._register if self._clock() - self._read_at <= AGE_SECONDS_MAX else None

    async def run(self, stop: asyncio.Event) -> None:
        """Read every interval until `stop`; failures are tried again."""
        await repeat(lambda: unless_stopped(stop, self.step()), _postponed, stop, self._interval_seconds)

    async def step(self) -> None:
        """Read once: what changed since the last time, or the whole register. What fails changes nothing."""
        # Before the register is asked: what is read is as old as that.
        asked_at, asked_time = self._clock(), time.time()
        is_whole = asked_at - self._whole_at >= WHOLE_SECONDS
        entries, last_change = await self._changes(0 if is_whole else self._last_change)
        if is_whole:
            self._register, self._whole_at = SchemeRegister(entries), asked_at
        else:
            self._register.put(entries)
        self._last_change, self._read_at = last_change, asked_at
        _read_at.set(asked_time)
        _count.set(len(self._register))

    async def _changes(self, after: int) -> tuple[list[SchemeNumber], int]:
        """Return the numbers that were registered or changed after a change, and the last change."""
        entries: list[SchemeNumber] = []
        while True:
            request = pb.ListSchemeNumbersRequest(changed_after=after, page_size=PAGE)
            page = await self._schemes.ListSchemeNumbers(request, timeout=CALL_SECONDS)
            entries += map(_entry, page.numbers)
            if page.numbers and page.last_change <= after:
                # A release without changes in this call begins with the first number again.
                raise ReadingError(f"the page after the change {after} ends at the change {page.last_change}")
            after = max(after, page.last_change)
            if not page.next_page_token:
                return entries, after


def _entry(number: pb.SchemeNumber) -> SchemeNumber:
    last_day = parse_day(number.to_day) if number.to_day else OPEN_END
    return SchemeNumber(number.scheme, number.number, parse_day(number.from_day), last_day)


def _postponed(error: Exception) -> None:
    # Revenue is away: what was read counts for a while, and the gauge shows its age.
    code = error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
    get_logger().warning("SCHEME_NUMBERS_POSTPONED", error=code)
