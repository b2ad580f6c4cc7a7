"""Metrics of a process in addition to the process collector: the lateness of its event loop, and its memory limit."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from prometheus_client.core import GaugeMetricFamily

from libs.telemetry.metrics import REGISTRY, loop_histogram

INTERVAL_SECONDS: Final = 0.25
LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

MEMORY_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Files with the limit of a control group: version 2, version 1."""

_UNLIMITED: Final = 1 << 60

_lag = loop_histogram("luxor_event_loop_lag_seconds", "Delay of the event loop", (), LAG_BUCKETS)


async def watch_loop(interval_seconds: float = INTERVAL_SECONDS) -> None:
    """Measure without end how late the running loop is; costs some 30 µs an interval."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval_seconds
        await asyncio.sleep(interval_seconds)
        _lag.observe(max(0.0, loop.time() - due))


def memory_of_process(limit: "MemoryLimit | None" = None) -> int:
    """Return the memory in bytes that this process may use: its control group's limit, or the machine's where that is less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limited = (limit or MemoryLimit()).read()
    return physical if limited is None else min(limited, physical)


class MemoryLimit:
    """The memory that the process's control group may use, read at each scrape; absent where there is no limit."""

    def __init__(self, paths: Sequence[Path] = MEMORY_LIMITS) -> None:
        """Look at these files; the first that can be read counts."""
        self._paths = tuple(paths)

    def read(self) -> int | None:
        """Return the limit in bytes, or None."""
        for path in self._paths:
            try:
                text = path.read_text("ascii").strip()
            except (OSError, UnicodeDecodeError):
                continue
            limit = int(text) if text.isdigit() else _UNLIMITED
            return limit if limit < _UNLIMITED else None
        return None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the limit in the form of Prometheus' client."""
        limit = self.read()
        family = GaugeMetricFamily(
            "luxor_memory_limit_bytes", "Memory that the process may use; absent if there is no limit"
        )
        if limit is not None:
            family.add_metric((), limit)
        yield family


REGISTRY.register(MemoryLimit())
