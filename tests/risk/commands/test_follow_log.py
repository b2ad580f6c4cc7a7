"""History through the store: every replica counts what all assessed, once, across restarts, and late committers too."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libs.columns import Ints, Strings, Table
from libs.store.database import Database
from services.risk.__main__ import assemble
from services.risk.assessment.assessment import assess_batch
from services.risk.commands.follow_log import SNAPSHOT
from services.risk.commands.housekeeping import purge_awaited_values
from services.risk.history import Outcomes, party_keys
from services.risk.store.assessment_log import LOG_DAYS, AssessmentLogStore, Place
from tests.risk.active_versions import in_force
from tests.risk.aged import age_log
from tests.risk.filings import table
from tests.risk.replicas import CLEARANCE, LOADING, SECRET, Replica, parcels
from tests.risk.service_client import request, stub
from tests.support.services import Running, running


async def test_a_batch_counts_itself_and_all_before_it(replica: Replica) -> None:
    assert await replica.counts(parcels(3)) == [1, 2, 3]
    await replica.assess(parcels(3))
    assert await replica.counts(parcels(2, 10)) == [4, 5]
    assert await replica.counts(parcels(1, 10, "Another Person")) == [1]


async def test_what_the_log_brings_of_a_replicas_own_is_not_counted_again(replica: Replica) -> None:
    await replica.assess(parcels(3))
    await replica.memory.follow()
    await replica.memory.follow()
    assert await replica.counts(parcels(1, 10)) == [4]


async def test_what_a_replica_commits_ends_the_pause_that_its_quiet_log_is_given(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.risk.commands.follow_log.QUIET_POLL_SECONDS", 600.0)
    memory, read_to_end = replica.memory, asyncio.Event()
    follow = memory.follow

    async def following() -> None:
        await follow()
        read_to_end.set()

    monkeypatch.setattr(memory, "follow", following)
    stop = asyncio.Event()
    running_ = asyncio.create_task(memory.run(stop))
    async with asyncio.timeout(30):
        await read_to_end.wait()
        await replica.assess(parcels(3))
        while memory.own_batches:
            read_to_end.clear()
            await read_to_end.wait()
        stop.set()
        await running_


async def test_replicas_learn_of_each_other_by_the_log(
    replica: Replica, store: AssessmentLogStore, tmp_path: Path
) -> None:
    other = Replica(store, tmp_path / "two", secret=SECRET)
    await other.memory.follow()
    await replica.assess(parcels(3))
    await other.assess(parcels(2, 20))
    for each in (replica, other):
        await each.memory.follow()
        assert await each.counts(parcels(1, 40)) == [6]


async def test_a_repeat_an_amendment_and_another_purpose_are_not_counted_again(replica: Replica) -> None:
    await replica.assess(parcels(2), LOADING)
    await replica.assess(parcels(2))
    await replica.assess(parcels(2))
    await replica.assess(parcels(2, versions=[2, 2]))
    await replica.memory.follow()
    assert await replica.counts(parcels(1, 10)) == [3]
    # One that was counted sees itself among the others.
    assert await replica.counts(parcels(2)) == [2, 2]


async def test_a_consignment_that_a_batch_names_twice_counts_once(replica: Replica) -> None:
    twice = parcels(2, versions=[1, 2]).with_columns({"mrn": Strings.of(["26DE000000000007R1"] * 2)})
    await replica.assess(twice)
    assert await replica.counts(parcels(1, 10)) == [2]


async def test_a_value_counts_with_the_first_version_that_has_one_and_then_no_more(
    replica: Replica, store: AssessmentLogStore, tmp_path: Path
) -> None:
    other = Replica(store, tmp_path / "two", secret=SECRET)
    value = 5_990
    early, full = priced(2, None), priced(2, 5_990)
    await replica.assess(early, LOADING)
    await replica.assess(early)
    for each in (replica, other):
        await each.memory.follow()
        assert await counted(each) == (2, 0, 0)
        # What is assessed sees its own value, which counts now.
        assert await each.told(versions(full, 2), "consignee_value_eur_cents_24h") == [value, 2 * value]
        assert await each.told(versions(full, 2), "consignee_low_count_24h") == [1, 2]
    # Another version without a value changes nothing; then another replica reads the first one with a value.
    await replica.assess(versions(early, 2))
    await other.assess(versions(full, 3))
    for each in (replica, other):
        await each.memory.follow()
        assert await counted(each) == (2, 2 * value, 2)
    await replica.assess(versions(full, 3))
    await replica.assess(versions(priced(2, 9_990), 4))
    await replica.assess(versions(early, 5))
    await replica.assess(versions(full, 6))
    await replica.memory.follow()
    assert await counted(replica) == (2, 2 * value, 2)
    again = Replica(store, tmp_path / "three", secret=SECRET)
    await again.memory.follow()
    assert await counted(again) == (2, 2 * value, 2)


async def test_a_price_of_0_is_awaited_and_prices_count_with_the_value(replica: Replica) -> None:
    half = [{"origin_country": "CN", "price": {"minor": 5_990}}, {"price": None}]
    parts = table([{"payment": None, "items": half}, {"payment": None, "items": [{"price": {"minor": 0}}]}])
    whole = table([{"payment": None, "items": [half[0]] * 2}, {"payment": None, "items": half[:1]}])
    await replica.assess(parts)
    assert await counted(replica) == (2, 0, 0)
    await replica.assess(versions(whole, 2))
    await replica.assess(versions(whole, 3))
    assert await counted(replica) == (2, 3 * 5_990, 2)
    history = (await replica.memory.replica_state()).history
    assert int(history.prices.table.fields["fresh"].sum()) == 3


async def test_a_batch_may_name_a_consignment_before_and_after_its_value_is_stated(
    replica: Replica, store: AssessmentLogStore
) -> None:
    both = Table.concat([priced(1, None), versions(priced(1, 5_990), 2), versions(priced(1, 9_990), 3)])
    await replica.assess(both)
    assert await counted(replica) == (1, 5_990, 1)
    assert (await store.prior_state(versions(priced(1, None), 4))).value_awaited is None


async def test_of_a_batch_that_is_partly_stored_the_rest_alone_waits_for_its_value(
    replica: Replica, store: AssessmentLogStore
) -> None:
    await replica.assess(priced(1, 5_990))
    await replica.assess(Table.concat([priced(1, None), priced(1, None, first=5)]))
    prior = await store.prior_state(versions(Table.concat([priced(1, None), priced(1, None, first=5)]), 2))
    assert prior.value_awaited is not None
    assert prior.value_awaited.tolist() == [False, True]
    # Kept as long as the log: what was filed then does not count any more.
    step = purge_awaited_values(LOG_DAYS)
    await step(store.database)
    assert (await store.prior_state(versions(priced(1, None, first=5), 2))).value_awaited is not None
    async with store.database.transaction() as tx:
        await tx.raw.execute("update awaited_value set day = day - $1::integer", LOG_DAYS)
    await step(store.database)
    assert (await store.prior_state(versions(priced(1, None, first=5), 2))).value_awaited is not None
    async with store.database.transaction() as tx:
        await tx.raw.execute("update awaited_value set day = day - 1")
    await step(store.database)
    assert (await store.prior_state(versions(priced(1, None, first=5), 2))).value_awaited is None


def priced(count: int, cents: int | None, first: int = 0) -> Table:
    """Parcels of one consignee, with a price in euro or none."""
    price = None if cents is None else {"minor": cents}
    return table([{"payment": None, "items": [{"price": price}]}] * count, first_mrn=first)


def versions(rows: Table, version: int) -> Table:
    return rows.with_columns({"version": Ints.of([version] * rows.rows)})


async def counted(replica: Replica) -> tuple[int | None, ...]:
    """Count, value and count under the threshold of the consignee in 24 hours, as a consignment sees them that does not count."""
    seen = [
        await replica.told(versions(priced(1, None), 9), f"consignee_{name}_24h")
        for name in ("count", "value_eur_cents", "low_count")
    ]
    return tuple(each[0] for each in seen)


async def test_the_rest_of_a_half_known_batch_is_logged_alone(
    replica: Replica, store: AssessmentLogStore, tmp_path: Path
) -> None:
    await replica.assess(parcels(2))
    await replica.assess(parcels(4))
    other = Replica(store, tmp_path / "two", secret=SECRET)
    await other.memory.follow()
    assert await other.counts(parcels(1, 10)) == [5]


async def test_a_restart_reads_the_snapshot_and_the_tail_of_the_log(
    replica: Replica, store: AssessmentLogStore, tmp_path: Path
) -> None:
    await replica.assess(parcels(3))
    await replica.memory.follow()
    await replica.memory.snapshot()
    await replica.assess(parcels(2, 20))
    read: list[int] = []
    original = store.read_log

    async def counted(*arguments: Any, **more: Any) -> Any:
        rows = await original(*arguments, **more)
        read.append(len(rows))
        return rows

    store.read_log = counted  # type: ignore[method-assign]
    again = Replica(store, tmp_path / "one", secret=SECRET)
    await again.memory.follow()
    assert sum(read) == 1
    assert await again.counts(parcels(1, 40)) == [6]


async def test_outcomes_reach_every_replica_by_the_log(
    replica: Replica, store: AssessmentLogStore, database: Database, tmp_path: Path
) -> None:
    other = Replica(store, tmp_path / "two", secret=SECRET)
    await other.memory.follow()
    rows = parcels(2)
    await replica.assess(rows)
    hasher = await replica.memory.hasher()
    minute = (await store.prior_state(rows)).now // 60_000_000
    outcomes = Outcomes.build(hasher, party_keys(rows, hasher), [1, 0], [minute] * 2)
    async with database.transaction() as tx:
        await store.append_outcomes(tx, outcomes.to_bytes())
    for each in (replica, other):
        await each.memory.follow()
        await each.memory.follow()
        assert await each.told(parcels(1, 10), "consignee_inspected") == [2]
        assert await each.told(parcels(1, 10), "consignee_hit_permille") == [500]
    await other.memory.snapshot()
    again = Replica(store, tmp_path / "two", secret=SECRET)
    await again.memory.follow()
    assert await again.told(parcels(1, 10), "consignee_hit_permille") == [500]


@pytest.mark.parametrize("broken", [b"", b"not a snapshot", None], ids=["empty", "nonsense", "cut"])
async def test_a_snapshot_that_cannot_be_used_is_replaced_by_the_whole_log(
    replica: Replica, store: AssessmentLogStore, tmp_path: Path, broken: bytes | None
) -> None:
    await replica.assess(parcels(3))
    await replica.memory.follow()
    await replica.memory.snapshot()
    path = tmp_path / "one" / SNAPSHOT
    path.write_bytes(path.read_bytes()[:-9] if broken is None else broken)
    again = Replica(store, tmp_path / "one", secret=SECRET)
    await again.memory.follow()
    assert await again.counts(parcels(1, 40)) == [4]


async def test_one_who_commits_late_is_not_passed_over(
    replica: Replica, store: AssessmentLogStore, database: Database, tmp_path: Path
) -> None:
    other = Replica(store, tmp_path / "two", secret=SECRET)
    await other.memory.follow()
    holding, go = asyncio.Event(), asyncio.Event()

    async def late() -> None:
        """Take a number, then wait while others commit higher ones."""
        async with database.transaction(timeout_millis=60_000) as tx:
            await tx.raw.execute("select pg_current_xact_id()")
            rows = parcels(2)
            assessed = assess_batch(
                in_force(), rows, CLEARANCE, await store.prior_state(rows), await replica.memory.replica_state()
            )
            count, record, tally = assessed.pack(np.arange(2))
            holding.set()
            await go.wait()
            await store.append_batch(tx, (count, record, tally))

    task = asyncio.create_task(late())
    await holding.wait()
    await replica.assess(parcels(3, 20))
    await other.memory.follow()
    assert await other.counts(parcels(1, 40)) == [1]
    go.set()
    await task
    await other.memory.follow()
    assert await other.counts(parcels(1, 40)) == [6]


async def test_numbers_that_went_back_begin_a_new_epoch(
    replica: Replica, store: AssessmentLogStore, database: Database, tmp_path: Path
) -> None:
    await replica.assess(parcels(3))
    async with database.transaction() as tx:
        # As after a dump that was loaded into a new server: what is there has numbers of another one.
        await tx.raw.execute("update assessed set xid = xid + 1000000000")
    again = Replica(store, tmp_path / "two", secret=SECRET)
    await again.memory.follow()
    await again.assess(parcels(2, 20))
    await again.memory.follow()
    assert await again.counts(parcels(1, 40)) == [6]
    third = Replica(store, tmp_path / "three", secret=SECRET)
    await third.memory.follow()
    assert await third.counts(parcels(1, 40)) == [6]


async def test_a_store_that_was_moved_under_live_replicas_is_read_on_by_all(
    replica: Replica, store: AssessmentLogStore, database: Database, tmp_path: Path
) -> None:
    other = Replica(store, tmp_path / "two", secret=SECRET)
    await replica.assess(parcels(3))
    for each in (replica, other):
        await each.memory.follow()
        await each.memory.snapshot()
    async with database.transaction() as tx:
        # As after a dump that was loaded into a new server: what is there has numbers of another one.
        moved = await tx.raw.fetchrow("update assessed set xid = xid + 1000000000 returning epoch, xid")
    for each in (replica, other):
        read = each.memory.position
        each.memory.position = replace(read, place=Place(moved["epoch"], moved["xid"]))
        await each.memory.snapshot()
    # Nobody has noticed yet, and this has a lower number than was read; then the connections break, as they do.
    await replica.assess(parcels(2, 20))
    for each in (replica, other):
        each.memory.log_state = None
        await each.memory.follow()
        assert await each.counts(parcels(1, 40)) == [6]
    await replica.assess(parcels(1, 60))
    for each in (replica, other):
        await each.memory.follow()
        assert await each.counts(parcels(1, 80)) == [7]
    # A snapshot from before the epoch was raised lacks what was written until then.
    again = Replica(store, tmp_path / "two", secret=SECRET)
    await again.memory.follow()
    assert await again.counts(parcels(1, 80)) == [7]


async def test_numbers_that_went_back_are_noticed_where_the_rows_that_were_read_are_kept_no_more(
    replica: Replica, store: AssessmentLogStore, database: Database
) -> None:
    await replica.assess(parcels(3))
    await replica.memory.follow()
    async with database.transaction() as tx:
        await tx.raw.execute("delete from assessed")
    read = replica.memory.position
    replica.memory.position = replace(read, place=Place(read.place.epoch, read.place.xid + 10**9), day=1)
    replica.memory.log_state = None
    await replica.memory.follow()
    await replica.assess(parcels(2, 20))
    await replica.memory.follow()
    assert (await store.log_state(replica.memory.position)).epoch == 2
    assert await replica.counts(parcels(1, 40)) == [3]


async def test_the_secret_of_a_deployment_is_made_once(store: AssessmentLogStore) -> None:
    made = await asyncio.gather(*(store.secret("risk") for _ in range(4)))
    assert len(set(made)) == 1
    assert await store.secret("other") not in made


async def test_nothing_in_the_log_tells_a_name(replica: Replica, database: Database) -> None:
    await replica.assess(parcels(3))
    async with database.connection() as reader:
        rows = await reader.raw.fetch("select record, tally from assessed")
    assert len(rows) == 1
    for word in (b"Erika", b"Sommer", b"erika", b"sommer", b"Berlin"):
        assert word not in rows[0]["record"] + rows[0]["tally"]


async def test_a_service_that_restarts_knows_what_it_assessed_and_finds_the_split(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    await age_log(database)
    for number, expected in enumerate(([], [], ["SPLIT_UNDER_THRESHOLD"])):
        async with running("risk", assemble, database_url, data_dir=tmp_path) as risk:
            assert await rules_hit(risk, number) == expected
        assert (tmp_path / "risk" / SNAPSHOT).exists()


async def test_a_fresh_installation_knows_no_window_and_no_rule_on_history_fires(
    database_url: str, tmp_path: Path
) -> None:
    async with running("risk", assemble, database_url, data_dir=tmp_path) as risk:
        assert [await rules_hit(risk, number) for number in range(4)] == [[]] * 4


async def rules_hit(risk: Running, number: int) -> list[str]:
    """Rules that hold for one parcel of shirts for 60 euro."""
    rows = table([{"payment": None, "items": [{"price": {"minor": 6000}}]}], first_mrn=number)
    answer = await (await stub(risk)).AssessConsignments(request(rows), timeout=20)
    return Table.decode(answer.assessments).child("findings").strings("rule").tolist()
