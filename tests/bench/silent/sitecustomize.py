"""Takes all telemetry out of a process that has this directory on its PYTHONPATH, so that a benchmark can tell what it costs.

Python imports a module of this name before anything else. Spans, records and histograms are switched off; counters,
gauges, lines of the log, the timing of statements, and the looks at the loop and the store are replaced by what does
nothing: the product has no switch for those. Health, readiness and the errors that callers are told stay as they are.
"""

import asyncio
from typing import Any

import asyncpg
from prometheus_client import Counter, Gauge, Histogram

from libs.store import timing
from libs.store.monitoring import gauges
from libs.telemetry import logs, metrics, process, trace


class _Nothing:
    """A metric with labels that counts nothing."""

    def labels(self, *_values: object, **_named: object) -> "_Nothing":
        return self

    def inc(self, *_arguments: object, **_more: object) -> None:
        pass

    dec = set = observe = set_function = inc


_nothing = _Nothing()


class _Untimed(asyncpg.Connection):
    """asyncpg's connection, with the place for a tally that nobody fills."""

    __slots__ = ("tally",)


def _silent(*_arguments: object, **_more: object) -> None:
    pass


async def _until(_looking: object, stop: asyncio.Event) -> None:
    await stop.wait()


async def _never() -> None:
    pass


trace.switch(on=False)
metrics.switch(on=False)
for kind in (Counter, Gauge, Histogram):
    silenced: Any = kind
    silenced.labels = lambda *_values, **_named: _nothing
    for verb in ("inc", "dec", "set", "observe", "set_function"):
        if hasattr(silenced, verb):
            setattr(silenced, verb, _silent)
replaced: Any = timing
replaced.Connection = _Untimed
replaced.time_core = _silent
replaced = gauges.Looking
replaced.run = _until
replaced = process
replaced.watch_loop = _never
for level in ("debug", "info", "warning", "error"):
    setattr(logs.Log, level, _silent)
