"""No statement of the hot path depends on statistics that autovacuum provides later: a fresh day stays fast without them.

The worst statistics are those of a day's first rows: plans are made for some tens of rows, are cached, and are used for all
that follow until autovacuum comes by. Here it never comes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import asyncpg
import pytest

from libs.cli.local.state import SERVICES
from libs.cli.local.supervisor import LocalSystem
from libs.simulator import Simulator
from libs.store.embedded.server import EmbeddedPostgres
from luxor.consignment.v1.consignment_pb2 import Consignment
from tests.support.flow import Flow, local_system

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

FIRST, STORED, TIMED = 60, 50_000, 2_500
BATCH = 500
MILLIS_MAX = 60.0
"""A statement over 500 consignments takes 2 to 20 ms, and one that reads the whole day 150 and more, each time."""
RUNS_MIN = 3
HOT = (
    "reference_find(",
    "consignment_lock(",
    "consignment_find(",
    "consignment_update(",
    "into assessment_page ",
    "from ledger_position_page ",
    "from counted_page ",
)
"""Statements that must have been timed, of each service some."""

_LINE = re.compile(
    r"^\S+ \S+ \S+ \[\d+\] (?P<database>\S+) LOG:  duration: (?P<millis>[\d.]+) ms  (?P<step>parse|bind|execute) [^:]*: (?P<text>.*)$"
)
_SPACE = re.compile(r"\s+")


async def on_server(system: LocalSystem, database: str, *statements: str) -> None:
    """Execute statements as the cluster's own account."""
    connection = await asyncpg.connect(EmbeddedPostgres(system.data_dir).url(database))
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def configure(system: LocalSystem, **settings: str) -> None:
    """Change settings of the running server."""
    changes = [f"alter system set {name} = '{value}'" for name, value in settings.items()]
    await on_server(system, "postgres", *changes, "select pg_reload_conf()")


def durations(log: Iterable[str]) -> Iterator[tuple[tuple[str, str, str], float]]:
    """Return database, step and text of each statement in a server's log, with its milliseconds."""
    key: tuple[str, str, str] | None = None
    millis = 0.0
    for line in log:
        if line.startswith("\t"):
            if key is not None:
                key = (key[0], key[1], f"{key[2]} {line.strip()}")
            continue
        if key is not None:
            yield (key[0], key[1], _SPACE.sub(" ", key[2]).strip()), millis
        found = _LINE.match(line.rstrip("\n"))
        key = None if found is None else (found["database"], found["step"], found["text"])
        millis = 0.0 if found is None else float(found["millis"])
    if key is not None:
        yield (key[0], key[1], _SPACE.sub(" ", key[2]).strip()), millis


def shortest(log_path: Path, offset: int) -> dict[tuple[str, str, str], float]:
    """Return the least milliseconds of each statement that was executed RUNS_MIN times behind an offset of the log."""
    with log_path.open(encoding="utf-8", errors="replace") as log:
        log.seek(offset)
        found: dict[tuple[str, str, str], list[float]] = {}
        for key, millis in durations(log):
            found.setdefault(key, []).append(millis)
    return {key: min(each) for key, each in found.items() if len(each) >= RUNS_MIN}


def split(rows: Sequence[Consignment], size: int) -> Iterator[Sequence[Consignment]]:
    """Return the rows in batches."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


async def file(flow: Flow, rows: Sequence[Consignment], size: int, name: str, *, in_flight: int = 1) -> None:
    """File, wait until all is decided, then report the arrivals, and wait until all is released or held."""
    batches = list(enumerate(split(rows, size)))
    for start in range(0, len(batches), in_flight):
        group = batches[start : start + in_flight]
        await asyncio.gather(*(flow.submit(batch, f"{name}-{place}") for place, batch in group))
    await flow.decided(list(flow.filed.accepted.values())[-len(rows) :][-BATCH:])
    for start in range(0, len(batches), in_flight):
        group = batches[start : start + in_flight]
        await asyncio.gather(*(flow.arrive(batch, name=f"{name}-arrival-{place}") for place, batch in group))
    await flow.settled(len(flow.filed.accepted))


async def test_statements_are_fast_on_a_day_of_which_no_statistics_are_known_but_the_first() -> None:
    traffic = Simulator(20_261_129, "load")
    rows = [row for batch in traffic.batches(FIRST + STORED + TIMED, size=1_000) for row in batch]
    async with local_system() as system, Flow(system) as flow:
        await configure(system, autovacuum="off")
        await file(flow, rows[:FIRST], 10, "first")
        for service in SERVICES:
            await on_server(system, f"luxor_{service}", "analyze")
        await file(
            flow, rows[FIRST : 2 * FIRST], 10, "cached"
        )  # each plan of few rows is used often enough to be cached
        await file(flow, rows[2 * FIRST : STORED], BATCH, "stored", in_flight=4)
        log_path = EmbeddedPostgres(system.data_dir).log_path
        offset = log_path.stat().st_size
        await configure(system, log_min_duration_statement="0")
        for place, batch in enumerate(split(rows[STORED : STORED + TIMED], BATCH)):
            await file(flow, batch, BATCH, f"timed-{place}")
        found = shortest(log_path, offset)
    assert {database for database, _, _ in found} >= {f"luxor_{service}" for service in SERVICES}
    texts = {text for _, _, text in found}
    assert all(any(part in text for text in texts) for part in HOT), texts
    slow = {key: millis for key, millis in found.items() if millis > MILLIS_MAX}
    assert not slow, "\n".join(f"{millis:.0f} ms {' '.join(key)}" for key, millis in slow.items())
