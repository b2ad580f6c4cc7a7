"""`luxor load`: files simulated traffic in a running system, at a limited rate and for a limited time."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import REFUSED, Context, command, run

if TYPE_CHECKING:
    from libs.client.client import Client
    from libs.client.filing.submission import Submits
    from luxor.consignment.v1.consignment_pb2 import Consignment

FILER: Final = "load-filer"
CARRIER: Final = "load-carrier"
RATE_MAX: Final = 50_000
SECONDS_MAX: Final = 7 * 86_400
BEHIND_MAX: Final = 8
"""Largest number of batches in flight; a system that is slower than the rate gets no more."""


@command("load", short_help="File simulated consignments at a limited rate, for a limited time.")
@click.option("--rate", type=click.IntRange(1, RATE_MAX), default=500, show_default=True, help="Consignments a second.")
@click.option("--seconds", type=click.FloatRange(1, SECONDS_MAX), default=60.0, show_default=True, help="Duration.")
@click.option(
    "--batch", "rows", type=click.IntRange(1, 1000), default=250, show_default=True, help="Consignments in a call."
)
@click.option("--packed", is_flag=True, help="Send columns, packed here: it costs the service less.")
@click.option("--scenario", default="everyday", show_default=True, help="A scenario's name, or a YAML file.")
@click.option(
    "--seed", type=click.IntRange(0), default=None, help="The same seed gives the same traffic (default: a new seed)."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 600),
    default=30.0,
    show_default=True,
    help="Longest duration of a call in seconds.",
)
def load(
    context: Context,
    rate: int,
    seconds: float,
    rows: int,
    packed: bool,
    scenario: str,
    seed: int | None,
    timeout: float,
) -> None:
    """File simulated consignments on a schedule, report the arrival of each, and print the results.

    A call that fails is counted and not repeated; the schedule continues. Exits with 1 if a call failed.
    """
    from libs.simulator import ScenarioError, Simulator

    chosen = time.time_ns() // 1_000_000 % 2**31 if seed is None else seed
    try:
        simulator = Simulator(chosen, scenario)
    except ScenarioError as error:
        raise click.BadParameter(str(error), param_hint="--scenario") from None
    batches = simulator.batches(max(rows, int(rate * seconds)), size=rows)
    result = run(_drive(context, batches, rate, rows, seconds, packed=packed, timeout_seconds=timeout)) | {
        "seed": chosen
    }
    context.emit(result, lambda terminal: terminal.print(_sentence(result), soft_wrap=True))
    if result["failed"]:
        raise click.exceptions.Exit(REFUSED)


async def _drive(
    context: Context, batches: Any, rate: int, rows: int, seconds: float, *, packed: bool, timeout_seconds: float
) -> dict[str, Any]:
    from libs.client.filing.packing import PackedClient

    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    arrived: set[str] = set()
    began = time.monotonic()
    limit = asyncio.Semaphore(BEHIND_MAX)
    async with context.client("filer", FILER) as filer, context.client("carrier", CARRIER) as carrier:
        filer.timeout_seconds = carrier.timeout_seconds = timeout_seconds
        submits: Submits = PackedClient(filer) if packed else filer

        async def one(batch: "Sequence[Consignment]") -> None:
            try:
                await _file(submits, carrier, batch, arrived, counts, reasons)
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
    filer: "Submits",
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
        reports = [
            arrivals.arrival(number, at=now, conveyance=each.conveyance_reference, place=each.unloading_place)
            for number, each in masters.items()
        ]
        for some in arrivals.in_calls(reports):
            await carrier.record_arrivals(some)
    except LuxorError as error:
        counts["failed"] += len(batch)
        reasons[error.reason] += len(batch)


def _sentence(result: dict[str, Any]) -> str:
    reason_lines = "".join(f"\n  {number:,} {reason}" for reason, number in result["reasons"].items())
    return (
        f"{result['accepted']:,} of {result['filed']:,} accepted in {result['seconds']:,} s ({result['per_second']:,} a second), "
        f"{result['refused']:,} refused, {result['failed']:,} in calls that failed.{reason_lines}"
    )
