"""What must hold after any fault: every consignment decided exactly once, and statistics and clearance of one mind."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg

from libs.cli.local.supervisor import LocalSystem
from libs.client.client import Client
from libs.client.revenue import ledger
from libs.store.embedded.server import EmbeddedPostgres
from luxor.clearance.v1 import clearance_pb2
from luxor.common.v1 import common_pb2
from luxor.statistics.v1 import statistics_pb2
from tests.support.flow import Flow

POLL_SECONDS = 0.1
DECIDED = {clearance_pb2.STATE_RELEASED, clearance_pb2.STATE_HELD}
DIMENSIONS = ("destination", "origin", "hs_chapter", "lane", "state", "charge_kind", "collector", "currency")


async def until(condition: Callable[[], Awaitable[Any]], what: str, *, seconds: float = 60.0) -> Any:
    """Ask again and again until the answer is true, and give it; raise TimeoutError that says what was awaited."""
    ends_at = time.monotonic() + seconds
    while not (answer := await condition()):
        if time.monotonic() > ends_at:
            raise TimeoutError(f"within {seconds:.0f} s it did not come to this: {what}")
        await asyncio.sleep(POLL_SECONDS)
    return answer


async def fetch(system: LocalSystem, service: str, statement: str, *arguments: Any) -> list[Any]:
    """Read a service's own database."""
    connection = await asyncpg.connect(EmbeddedPostgres(system.data_dir).url(f"luxor_{service}"))
    try:
        return list(await connection.fetch(statement, *arguments))
    finally:
        await connection.close()


async def partitions_held(system: LocalSystem, service: str, source: str) -> dict[int, set[int]]:
    """Return partitions by the process that holds their leases; leases that have ended count too until somebody takes them."""
    rows = await fetch(
        system, service, "select owner, partition from feed_cursor where source = $1 and owner <> ''", source
    )
    found: dict[int, set[int]] = {}
    for owner, partition in rows:
        found.setdefault(int(owner.split(":")[1]), set()).add(partition)
    return found


def lost_leases(system: LocalSystem, name: str) -> list[str]:
    """Return what a process logged of commits that were rolled back because its leases were lost, or its page was committed before."""
    lines = [json.loads(line) for line in system.log(name, 1_000_000).splitlines() if line.startswith("{")]
    return [line["text"] for line in lines if line["reason"] == "FEED_LEASE_LOST"]


async def histories(flow: Flow, mrns: Sequence[str]) -> list[clearance_pb2.ConsignmentStatus]:
    """Ask clearance for consignments with all their versions; each MRN must lead to exactly one."""
    found = []
    for start in range(0, len(mrns), 500):
        queries = [clearance_pb2.StatusQuery(mrn=number) for number in mrns[start : start + 500]]
        answer = await flow.persist(lambda q=queries: flow.officer.status(q, with_history=True))
        for number, result in zip(mrns[start : start + 500], answer.results, strict=True):
            assert [each.mrn for each in result.consignments] == [number], result.error
            found.append(result.consignments[0])
    return found


def assert_decided_once(statuses: Sequence[clearance_pb2.ConsignmentStatus]) -> None:
    """Each is released or held, by one decision, and its versions lack none and repeat none."""
    for status in statuses:
        assert status.state in DECIDED, status
        versions = [entry.version for entry in status.history]
        assert versions == list(range(status.version, 0, -1)), status
        changes = Counter(entry.change for entry in status.history)
        assert changes[clearance_pb2.CHANGE_DECIDED] == 1, status
        assert max(changes.values()) == 1, status


async def assert_told_once(flow: Flow, statuses: Sequence[clearance_pb2.ConsignmentStatus]) -> None:
    """The filer's notices, read from the first one, tell no version twice and end with the state in force."""
    told: dict[tuple[str, int], int] = {}
    after = ""
    while True:
        page = await flow.persist(lambda a=after: flow.filer.pull_notices(a, page_size=1000))
        if not page.notices:
            break
        for notice in page.notices:
            assert (notice.mrn, notice.version) not in told, notice
            told[notice.mrn, notice.version] = notice.state
        after = page.next_cursor
    assert {number for number, _ in told} == {status.mrn for status in statuses}
    for status in statuses:
        assert told[status.mrn, status.version] == status.state, status


async def figures(analyst: Client, flow: Flow, *group_by: str) -> statistics_pb2.QueryStatisticsResponse:
    """Ask statistics for all that was accepted around today."""
    today = int(time.time() // 86_400)
    return await flow.persist(
        lambda: analyst.statistics(today - 2, today + 1, group_by=group_by or DIMENSIONS, max_rows=10_000)
    )


async def assert_statistics_agree(flow: Flow, statuses: Sequence[clearance_pb2.ConsignmentStatus]) -> None:
    """Statistics' counts, values and revenue equal the sums over what clearance tells of all consignments."""
    counts: Counter[tuple[str, ...]] = Counter()
    values: Counter[str] = Counter()
    revenue: Counter[tuple[str, ...]] = Counter()
    charges: Counter[tuple[str, ...]] = Counter()
    kinds: Counter[tuple[str, str]] = Counter()
    for status in statuses:
        state = clearance_pb2.State.Name(status.state).removeprefix("STATE_")
        lane = common_pb2.Lane.Name(status.decision.lane).removeprefix("LANE_")
        counts[state, lane, status.filing.destination_country] += 1
        currency = status.debt.currency
        values[currency] += sum(item.customs_value_minor for item in status.items)
        for charge in status.debt.charges:
            kind = common_pb2.ChargeKind.Name(charge.kind).removeprefix("CHARGE_KIND_")
            collector = common_pb2.Collector.Name(charge.collector).removeprefix("COLLECTOR_")
            revenue[kind, collector, currency] += charge.amount_minor
            charges[kind, collector, currency] += 1
        kinds["DUTY", currency] += status.debt.duty_minor
        kinds["TAX", currency] += status.debt.tax_minor
        kinds["FEE", currency] += status.debt.fee_minor
    answer = await figures(flow.analyst, flow, "state", "lane", "destination")
    told = Counter({tuple(row.keys): 0 for row in answer.counts})
    worth: Counter[str] = Counter()
    for row in answer.counts:
        told[tuple(row.keys)] += row.consignments
        worth[row.currency] += row.value_minor
    assert +told == +counts
    assert +worth == +values
    answer = await figures(flow.analyst, flow, "charge_kind", "collector", "currency")
    assert {tuple(row.keys): row.amount_minor for row in answer.revenue if row.charges} == dict(revenue)
    assert {tuple(row.keys): row.charges for row in answer.revenue if row.charges} == dict(charges)
    summed: Counter[tuple[str, str]] = Counter()
    for row in answer.revenue:
        kind, _, currency = row.keys
        summed[kind, currency] += row.amount_minor
    assert +summed == +kinds
    assert sum(summed.values()) > 0


async def assert_nothing_set_aside(system: LocalSystem) -> None:
    """No consumer has a dead letter."""
    async with system.client("operator", "fault-operator") as operator:
        for consumer in ("clearance", "statistics", "revenue"):
            answer = await operator.dead_letters(consumer)
            assert not answer.letters, answer.letters[0]


async def assert_ledger_whole(flow: Flow, count: int, *, again: bool = False) -> None:
    """The ledger holds `count` consignments, each debit has its credit, chains hold, and assessments and statistics agree with it.

    What is decided `again` after a restore may be posted again under the version that it had, behind a reversal.
    """
    differences: list[Any] = []

    async def drained() -> bool:
        differences.clear()
        today, held = int(time.time() // 86_400), 0
        for day in range(today - 1, today + 1):
            found = await flow.persist(lambda d=day: ledger.reconcile_day(flow.analyst, d, _unseen))
            held += found["consignments"]
            differences.extend(found["differences"])
        if held < count:
            differences.append(f"{held} of {count} are in the ledger")
        return held == count and not differences

    try:
        await until(drained, "the ledger holds everything, and nothing differs")
    except TimeoutError as error:
        raise AssertionError(f"{len(differences)} differences: {differences[:3]}") from error
    checked = await flow.persist(lambda: ledger.check_chains(flow.analyst, _unseen))
    assert checked["faults"] == []
    assert checked["entries"] > 0
    (booked,) = await fetch(flow.system, "revenue", _BOOKED)
    assert (booked["entries"], booked["postings"]) == (checked["entries"], checked["postings"])
    assert await fetch(flow.system, "revenue", _ONE_SIDED) == []
    assert await fetch(flow.system, "revenue", _UNREVERSED if again else _TWICE) == []
    sums: Counter[str] = Counter()
    for each in await flow.persist(lambda: ledger.balances(flow.analyst)):
        sums[each["currency"]] += each["balance_minor"]
    assert set(sums.values()) == {0}, sums


def _unseen(_: int) -> None:
    """Nobody watches the parts."""


_BOOKED = "select (select count(*) from all_entries) as entries, (select count(*) from all_postings) as postings"
_ONE_SIDED = (
    "select day, partition, number from all_postings group by day, partition, number having sum(amount) <> 0 limit 3"
)
_TWICE = (
    "select mrn, version, kind, currency from all_entries where mrn <> '' and reverses = 0 "
    "group by mrn, version, kind, currency having count(*) > 1 limit 3"
)
_UNREVERSED = (
    "select mrn, currency from all_entries where mrn <> '' group by mrn, currency, case reverses when 0 then kind else reverses end "
    "having sum(case reverses when 0 then 1 else -1 end) > 1 limit 3"
)
