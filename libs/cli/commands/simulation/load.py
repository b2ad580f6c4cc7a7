"""`luxor load`: simulated traffic into a running system, at a bounded rate and for a bounded time."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import REFUSED, Context, command, run

if TYPE_CHECKING:
    from libs.client.client import Client
    from luxor.consignment.v1.consignment_pb2 import Consignment

FILER: Final = "load-filer"
CARRIER: Final = "load-carrier"
RATE_MAX: Final = 50_000
SECONDS_MAX: Final = 7 * 86_400
BEHIND_MAX: Final = 8
"""Batches that may be on their way at once; a system that is slower than the rate is not given more."""


@command("load", short_help="File simulated consignments at a bounded rate, for a bounded time.")
@click.option("--rate", type=click.IntRange(1, RATE_MAX), default=500, show_default=True, help="Consignments a second.")
@click.option(
    "--seconds", type=click.FloatRange(1, SECONDS_MAX), default=60.0, show_default=True, help="How long to go on."
)
@click.option(
    "--batch", "rows", type=click.IntRange(1, 1000), default=250, show_default=True, help="Consignments a call."
)
@click.option("--scenario", default="everyday", show_default=True, help="A scenario's name, or a YAML file.")
@click.option(
    "--seed", type=click.IntRange(0), default=None, help="The same seed files the same again (default: a new one)."
)
@click.option(
    "--timeout", type=click.FloatRange(0.1, 600), default=30.0, show_default=True, help="Seconds that a call may take."
)
def load(
    context: Context, rate: int, seconds: float, rows: int, scenario: str, seed: int | None, timeout: float
) -> None:
    """File simulated consignments on a schedule, announce the arrival of each, and tell what came of it.

    A call that fails is counted and not repeated; the schedule goes on. Ends with 1 where any failed.
    """
    from libs.simulator import ScenarioError, Simulator

    chosen = time.time_ns() // 1_000_000 % 2**31 if seed is None else seed
    try:
        simulator = Simulator(chosen, scenario)
    except ScenarioError as error:
        raise click.BadParameter(str(error), param_hint="--scenario") from None
    batches = simulator.batches(max(rows, int(rate * seconds)), size=rows)
    told = run(_drive(context, batches, rate, rows, seconds, timeout_seconds=timeout)) | {"seed": chosen}
    context.emit(told, lambda out: out.print(_sentence(told), soft_wrap=True))
    if told["failed"]:
        raise click.exceptions.Exit(REFUSED)


async def _drive(
    context: Context, batches: Any, rate: int, rows: int, seconds: float, *, timeout_seconds: float
) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    arrived: set[str] = set()
    began = time.monotonic()
    limit = asyncio.Semaphore(BEHIND_MAX)
    async with context.client("filer", FILER) as filer, context.client("carrier", CARRIER) as carrier:
        filer.timeout_seconds = carrier.timeout_seconds = timeout_seconds

        async def one(batch: "Sequence[Consignment]") -> None:
            try:
                await _file(filer, carrier, batch, arrived, counts, reasons)
            finally:
                limit.release()

        async with asyncio.TaskGroup() as tasks:
            for place, batch in enumerate(batches):
                await asyncio.sleep(max(0.0, began + place * rows / rate - time.monotonic()))
                await limit.acquire()
                if time.monotonic() - began >= seconds:  # the system is slower than the rate
                    break
                tasks.create_task(one(batch))
    lasted = time.monotonic() - began
    return {
        "filed": counts["filed"], "accepted": counts["accepted"], "refused": counts["refused"], "failed": counts["failed"],
        "reasons": dict(reasons.most_common()), "seconds": round(lasted, 1),
        "per_second": round(counts["accepted"] / lasted, 1),
    }  # fmt: skip


async def _file(
    filer: "Client",
    carrier: "Client",
    batch: "Sequence[Consignment]",
    arrived: set[str],
    counts: Counter[str],
    reasons: Counter[str],
) -> None:
    from libs.client.errors import LuxorError
    from libs.client.filing import arrivals
    from libs.client.watching import ACCEPTED

    counts["filed"] += len(batch)
    for row in batch:
        row.carrier_identifier = CARRIER
    try:
        answer = await filer.submit(batch)
        good = sum(result.status == ACCEPTED for result in answer.results)
        counts["accepted"] += good
        counts["refused"] += len(batch) - good
        reasons.update(result.errors[0].reason for result in answer.results if result.errors)
        now = time.time_ns() // 1000
        masters = {
            row.master_document.number: row.transport for row in batch if row.master_document.number not in arrived
        }
        masters.pop("", None)
        arrived.update(masters)
        told = [
            arrivals.arrival(number, at=now, conveyance=each.conveyance_reference, place=each.unloading_place)
            for number, each in masters.items()
        ]
        for some in arrivals.in_calls(told):
            await carrier.record_arrivals(some)
    except LuxorError as error:
        counts["failed"] += len(batch)
        reasons[error.reason] += len(batch)


def _sentence(told: dict[str, Any]) -> str:
    why = "".join(f"\n  {number:,} {reason}" for reason, number in told["reasons"].items())
    return (
        f"{told['accepted']:,} of {told['filed']:,} accepted in {told['seconds']:,} s ({told['per_second']:,} a second), "
        f"{told['refused']:,} refused, {told['failed']:,} in calls that failed.{why}"
    )
