"""What is sampled, what counts as slow, and where ended spans go: one setting for the whole process."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

ASKED_NANOS: Final = 1_000_000_000
"""At most one call in this time is sampled because its caller from outside of the system asks for it."""

Exporter = Callable[[Sequence[Any]], None]
"""Takes spans (libs.telemetry.trace.Span) that ended."""
Recorder = Callable[[Any], None]
"""Receives the outermost span of work that is exported or stored."""


class _Settings:
    ratio: float = 0.0
    slow_nanos: float = 1e9
    export: Exporter | None = None
    record: Recorder | None = None
    ids: random.Random
    clock: Callable[[], int]
    off: bool = False
    asked_at: int = 0
    """When a caller from outside was last granted what it asked for."""

    def draw(self) -> bool:
        """Draw by the head ratio."""
        return self.ids.random() < self.ratio

    def granted(self) -> bool:
        """Return whether a caller that requests sampling gets it, at most once a second."""
        now = self.clock()
        if abs(now - self.asked_at) < ASKED_NANOS:  # the wall clock may be set back
            return False
        self.asked_at = now
        return True

    def late(self) -> None:
        """Count a span that ended after the outermost span it stood in, and so is lost."""


settings: Final = _Settings()


def configure(
    *,
    ratio: float,
    slow_seconds: float,
    export: Exporter | None,
    seed: int | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> None:
    """Set the head sampling ratio (0 to 1), when a span is slow, and where ended spans go (None: nowhere)."""
    settings.ratio = ratio
    settings.slow_nanos = slow_seconds * 1e9
    settings.export = export
    settings.clock = clock
    settings.asked_at = 0
    # Ids need to be unlike those of other processes, not secret: a generator seeded by the system is ten times faster.
    settings.ids = random.Random(random.SystemRandom().getrandbits(128) if seed is None else seed)  # noqa: S311


def record_into(record: Recorder) -> None:
    """Hand roots to the service's own records as well: those that wrote, failed, were slow or are sampled."""
    settings.record = record


def record_no_more(record: Recorder) -> None:
    """End what `record_into` began, unless another took its place."""
    if settings.record == record:
        settings.record = None


def count_late(count: Callable[[], None]) -> None:
    """Count spans that ended after the outermost span around them, and so are lost."""
    settings.late = count  # type: ignore[method-assign]


def switch(*, on: bool) -> None:
    """Switch all spans of this process off (or on again): contexts are passed on, nothing is measured."""
    settings.off = not on


configure(ratio=0.0, slow_seconds=1.0, export=None)
