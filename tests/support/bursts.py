"""A burst of three times the peak from one filer beside small ones, and what is wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from libs.client.client import Client
from luxor.consignment.v1.consignment_pb2 import Consignment
from tests.support.open_loop import Load, Pool, fill, goodput

GREEDY: Final = "greedy"
SMALL: Final = tuple(f"small-{number}" for number in range(7))
ROWS: Final = {GREEDY: 500} | dict.fromkeys(SMALL, 5)
SECONDS: Final = 5.0
ROUNDS: Final = 3
"""A burst is measured again where the machine may have been slower in it than before: what is wrong with the system is wrong each time."""


async def violations_of_a_burst(
    officer: Client, load: Load, seed: int, change: Callable[[Consignment], None] | None = None
) -> list[object]:
    """Return what is wrong with a burst, compared with the peak just before it; `change` is made to each consignment before it is filed."""
    pools = {filer: Pool(seed + place, ROWS[filer], change) for place, filer in enumerate((GREEDY, *SMALL))}
    alone = {GREEDY: pools[GREEDY]}
    warm = await load.closed(alone, 4, 1.0)
    await load.decided(officer)
    # A hundredth of the peak from each of the small ones. Their calls cost more for each consignment, so they file beside the peak too.
    small = dict.fromkeys(SMALL, goodput(warm) / 100)
    fill(pools, (small, 3.0))
    closed, beside = await asyncio.gather(load.closed(alone, 8, SECONDS), load.run(pools, small, 3.0))
    await load.decided(officer)
    peak = goodput([*closed, *beside])
    assert peak > 0
    # Three times the peak from one filer.
    small = dict.fromkeys(SMALL, peak / 100)
    burst_rates, after_rates = {GREEDY: 3 * peak} | small, {GREEDY: peak / 4} | small
    fill(pools, (burst_rates, SECONDS), (after_rates, 4.0))
    burst = await load.run(pools, burst_rates, SECONDS)
    after = await load.run(pools, after_rates, 4.0)
    await load.decided(officer)
    refused = [call for call in burst if not call.accepted]
    late = [call for call in refused if call.code == "DEADLINE_EXCEEDED"]
    refused = [call for call in refused if call.code != "DEADLINE_EXCEEDED"]
    others = {(call.code, call.reason) for call in refused if call.code != "RESOURCE_EXHAUSTED"}
    assert not others, others
    assert all(call.retry_after for call in refused)
    # A small filer gets all of its calls through, and a quarter of the peak is accepted again two seconds after the burst.
    wrong: list[object] = [*late, *(call for call in refused if call.filer != GREEDY)]
    if not refused:
        wrong.append(
            f"three times the peak of {peak:.0f} a second was not refused: the peak was measured too low, or there is no limit"
        )
    wrong += [call for call in after[len(after) // 2 :] if not call.accepted]
    if goodput(burst) <= 0.5 * peak:
        wrong.append(f"a burst leaves {goodput(burst):.0f} of {peak:.0f} a second")
    # Two seconds where the machine does nothing else; what matters here is that the wait does not grow with the load.
    wait = max(wait for call in burst for wait in call.waits)
    if wait >= 6.0:
        wrong.append(f"a consignment of the burst waited for {wait:.1f} s")
    return wrong
