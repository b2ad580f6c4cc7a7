"""Counting into PostgreSQL and asking over gRPC."""

from __future__ import annotations

import itertools
import random
from bisect import bisect_left
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import numpy as np
import pytest
import pytest_asyncio

from libs.customs.identifiers.mrn_columns import make_mrns
from libs.customs.time import day_text
from libs.feed.types import BEGINNING, EventError, FeedBatch
from libs.server import errors
from libs.store.database import Database
from libs.store.tables import schema
from luxor.common.v1.common_pb2 import COLLECTOR_CUSTOMS, COLLECTOR_VENDOR
from luxor.consignment.v1.consignment_pb2 import DIRECTION_EXPORT, DIRECTION_IMPORT, DIRECTION_UNSPECIFIED
from luxor.statistics.v1 import statistics_pb2 as pb
from luxor.statistics.v1.statistics_pb2_grpc import StatisticsServiceStub
from services.statistics.__main__ import assemble
from services.statistics.commands.fold import Fold
from services.statistics.counting.cells import BOUNDS_MICROS
from services.statistics.feeds.clearance_states import Intake
from services.statistics.store.cells import CELLS, TIME_CELL, Store
from tests.statistics.states import State, states_table
from tests.support.services import Running, running

DAY = 20_782
SECONDS = 30.0


def batch(rows: list[State], epoch: int = 0) -> FeedBatch:
    table = states_table(rows)
    nothing = np.zeros(len(rows), np.int64)
    return FeedBatch(
        table, nothing, BEGINNING._replace(epoch=epoch), nothing, 0, "", "luxor.clearance.v1.ClearanceColumns"
    )


async def count(database: Database, store: Store, rows: list[State], epoch: int = 0) -> None:
    intake = Intake(store)
    prepared = await intake.prepare([batch(rows, epoch)])
    async with database.transaction() as tx:
        await intake.apply(tx, prepared)


async def cells_of(store: Store) -> list[list[tuple[object, ...]]]:
    found = []
    for table in CELLS:
        keys = [column.name for column in table.primary_key]
        rows = await store.query(table, keys, {}, (0, 100_000), 10_000)
        found.append([tuple(row) for row in rows if any(row[len(keys) :])])
    return found


@pytest_asyncio.fixture
async def store(database: Database) -> Store:
    return Store(database)


def lives(count: int, seed: int) -> list[list[State]]:
    """Make consignments with one to four versions each."""
    rng = random.Random(seed)
    mrns = make_mrns(["DE"] * count, [n % 64 for n in range(count)], DAY, 0)
    found = []
    for number in mrns:
        life = []
        for version in range(1, rng.randint(1, 4) + 1):
            items = [
                (rng.choice(["CN", "US"]), rng.choice(["620630", "950300"]), rng.randint(1, 9999))
                for _ in range(rng.randint(1, 3))
            ]
            life.append(
                State(
                    number,
                    version,
                    DAY,
                    lane=rng.randint(1, 4),
                    state=rng.choice([2, 3, 4, 9, 10]),
                    released=rng.choice([None, rng.randint(0, 10**9)]),
                    arrived=rng.choice([None, 5000]),
                    items=items,
                    charges=[(1, 2, rng.randint(1, 3), rng.randint(1, 500))],
                    cause=rng.randint(0, 6),
                    paid=rng.choice([None, rng.randint(0, 500)]),
                    refunded=rng.choice([None, rng.randint(0, 500)]),
                    returned=rng.choice([None, [True, False, False]]),
                    inspected=rng.choice([None, [1, 1, 1], [1, 2, None]]),
                )
            )
        found.append(life)
    return found


async def test_any_order_with_repeats_counts_each_consignment_once_in_its_newest_state(
    database: Database, store: Store
) -> None:
    every = lives(60, seed=7)
    events = [state for life in every for state in life] * 2
    random.Random(8).shuffle(events)
    for start in range(0, len(events), 25):
        await count(database, store, events[start : start + 25])
    found = await cells_of(store)
    async with database.transaction() as tx:
        for table in CELLS:
            await tx.raw.execute(f"truncate {table.name}")
        await tx.raw.execute("truncate cell_delta, counted_page")
    await count(database, store, [life[-1] for life in every])
    assert found == await cells_of(store)
    assert sum(row[-7] for row in found[0]) == 60


async def test_what_a_restored_clearance_announces_replaces_what_it_lost_whatever_the_versions(
    database: Database, store: Store
) -> None:
    mrns = make_mrns(["DE"] * 3, [1, 2, 3], DAY, 0)
    before = [State(mrn, version, lane=1, state=2 + version % 2) for mrn in mrns for version in (1, 2)]
    lost = [State(mrns[0], version, lane=3, state=4, paid=version) for version in (3, 4, 5)]
    again = [State(mrns[0], 3, lane=4, state=3), State(mrns[1], 3, lane=2, state=3)]
    await count(database, store, before, epoch=7)
    await count(database, store, lost, epoch=7)
    await count(database, store, again, epoch=9)
    # What both histories share is read again, by whoever was restored himself.
    await count(database, store, [*before, *lost], epoch=7)
    intake = Intake(store)
    prepared = await intake.prepare([batch([again[0]], 9), batch(before, 7)])
    async with database.transaction() as tx:
        await intake.apply(tx, prepared)
    found = await cells_of(store)
    async with database.transaction() as tx:
        for table in CELLS:
            await tx.raw.execute(f"truncate {table.name}")
        await tx.raw.execute("truncate cell_delta, counted_page")
    await count(database, store, [*again, before[-1]])
    assert found == await cells_of(store)


async def test_an_inspection_counts_once_however_often_it_is_told_and_by_the_last_one(
    database: Database, store: Store
) -> None:
    mrns = make_mrns(["DE"] * 2, [1, 2], DAY, 0)
    life = [
        State(mrns[0], 1, lane=4, state=3, cause=4),
        State(mrns[0], 2, lane=4, state=3, cause=4, inspected=[1]),
        State(mrns[0], 3, lane=4, state=3, cause=4, inspected=[2]),
        State(mrns[0], 4, lane=4, state=4, cause=4, inspected=[2]),
    ]
    other = State(mrns[1], 2, lane=2, state=4, cause=0, inspected=[1])
    for each in (*life, *life[:3], other, life[3]):
        await count(database, store, [each])
    assert (await cells_of(store))[3] == [
        (DAY, "DE", "CN", "62", "BLUE", "", 1, 0, 1, 0), (DAY, "DE", "CN", "62", "RED", "MODEL", 1, 1, 1, 1),
    ]  # fmt: skip


async def test_revenue_follows_what_is_assessed_anew_adjusted_refunded_and_withdrawn(
    database: Database, store: Store
) -> None:
    mrns = make_mrns(["DE"] * 2, [1, 2], DAY, 0)
    life = [
        State(mrns[0], 1, state=2, charges=[(1, 1, 1, 300), (1, 2, 1, 380)]),
        # Another consignment changed what it owes, and an officer what it is of.
        State(mrns[0], 2, state=3, charges=[(1, 1, 1, 500), (1, 2, 2, 380)]),
        State(mrns[0], 3, state=4, charges=[(1, 1, 1, 450), (1, 2, 2, 400)], items=[("US", "950300", 2500)], paid=450),
        # Its goods went back: what it owed stands, and what is paid back is told apart.
        State(
            mrns[0], 4, state=9, charges=[(1, 1, 1, 450), (1, 2, 2, 400)], items=[("US", "950300", 2500)], paid=450,
            refunded=450, returned=[True],
        ),
    ]  # fmt: skip
    withdrawn = [State(mrns[1], 1, state=2), State(mrns[1], 2, state=10)]
    for each in (*life, *life[1:3], *withdrawn, life[0], life[3]):
        await count(database, store, [each])
    counts, revenue, *_ = await cells_of(store)
    head = (DAY, "DE", "US", "95", "GREEN")
    assert revenue == [(*head, "DUTY", "CUSTOMS", "EUR", 1, 450), (*head, "TAX", "VENDOR", "EUR", 1, 400)]
    assert counts == [
        (DAY, "DE", "CN", "62", "GREEN", "INVALIDATED", "EUR", 1, 1, 1999, 0, 0, 0, 0),
        (*head, "RE_EXPORTED", "EUR", 1, 1, 2500, 0, 450, 450, 1),
    ]


async def test_seized_goods_are_counted_once_in_whatever_order_their_states_come(
    database: Database, store: Store
) -> None:
    (mrn,) = make_mrns(["DE"], [1], DAY, 0)
    owed: list[tuple[int | None, int, int, int]] = [(1, 1, 1, 300)]
    held, seized, confiscated, refunded = (
        State(mrn, version, state=state, charges=owed, paid=300, refunded=back)
        for version, state, back in ((1, 3, 0), (2, 7, 0), (3, 13, 0), (4, 13, 300))
    )
    for order in itertools.permutations((held, seized, confiscated, refunded)):
        for each in (*order, *order):
            await count(database, store, [each])
        counts, revenue, *_ = await cells_of(store)
        head = (DAY, "DE", "CN", "62", "GREEN")
        # Charges count as they were assessed, as those of returned goods; what was refunded beside them.
        assert counts == [(*head, "CONFISCATED", "EUR", 1, 1, 1999, 0, 300, 300, 0)]
        assert revenue == [(*head, "DUTY", "CUSTOMS", "EUR", 1, 300)]


async def test_a_restarted_process_takes_back_what_another_counted(database: Database, store: Store) -> None:
    life = [State(make_mrns(["DE"], [1], DAY, 5)[0], version, DAY, state=version + 1) for version in (1, 2)]
    await count(database, store, life[:1])
    await count(database, Store(database), life[1:])
    counts = (await cells_of(store))[0]
    assert [(row[5], row[7]) for row in counts] == [("HELD", 1)]


async def test_times_run_to_the_first_decision_and_from_arrival_to_release_whatever_an_officer_decided_in_between(
    database: Database, store: Store
) -> None:
    second = 10**6
    number = make_mrns(["DE"], [1], DAY, 0)[0]
    held = State(number, 1, DAY, lane=3, state=3, decided=2 * second, first=2 * second)
    arrived = State(number, 2, DAY, lane=3, state=3, decided=2 * second, first=2 * second, arrived=100 * second)
    # 56 seconds after arrival an officer releases it: her decision is the one in force, and not the first.
    released = State(
        number, 3, DAY, lane=3, state=4, decided=156 * second, first=2 * second, arrived=100 * second, released=156 * second
    )  # fmt: skip
    for each in (held, arrived, released):
        await count(database, store, [each])
    rows = await store.query(TIME_CELL, ["stretch"], {}, (DAY, DAY), 10)
    assert [(row.stretch, row.consignments, row.sum_micros, row.clamped) for row in rows] == [
        (pb.INTERVAL_DECISION, 1, 2 * second, 0), (pb.INTERVAL_RELEASE, 1, 56 * second, 0),
    ]  # fmt: skip


async def test_what_version_02_counted_is_taken_out_as_it_went_in(database: Database, store: Store) -> None:
    second = 10**6
    number = make_mrns(["DE"], [1], DAY, 0)[0]
    old = State(number, 1, DAY, state=4, decided=156 * second, first=None, arrived=100 * second, released=156 * second)
    await count(database, store, [old])
    await Fold(store).run()
    # Version 0.2 counted 156 s to the decision in force, and 0 s from it to the release.
    async with database.transaction() as tx:
        await tx.raw.execute("update counted_batch set formula = 2; truncate time_cell")
        await tx.raw.execute(
            "insert into time_cell select $1, 'DE', 'CN', '62', 'GREEN', stretch, bucket, 1, sum, 0 "
            "from unnest($2::smallint[], $3::smallint[], $4::bigint[]) as u(stretch, bucket, sum)",
            DAY,
            [pb.INTERVAL_DECISION, pb.INTERVAL_RELEASE],
            [bisect_left(BOUNDS_MICROS, 156 * second), 0],
            [156 * second, 0],
        )
    returned = State(
        number, 2, DAY, state=9, decided=156 * second, first=3 * second, arrived=100 * second, released=156 * second
    )
    await count(database, Store(database), [returned])
    rows = await store.query(TIME_CELL, ["stretch", "bucket"], {}, (DAY, DAY), 10)
    assert {(row.stretch, row.bucket): (row.consignments, row.sum_micros) for row in rows} == {
        (pb.INTERVAL_DECISION, bisect_left(BOUNDS_MICROS, 3 * second)): (1, 3 * second),
        (pb.INTERVAL_RELEASE, bisect_left(BOUNDS_MICROS, 56 * second)): (1, 56 * second),
    }


async def test_a_state_of_long_ago_finds_room(database: Database, store: Store) -> None:
    old = State(make_mrns(["DE"], [1], DAY - 300, 5)[0], 1, DAY - 300)
    await count(database, store, [old])
    assert [row[0] for row in (await cells_of(store))[0]] == [DAY - 300]


async def test_a_state_without_a_good_mrn_is_its_own_fault(store: Store) -> None:
    with pytest.raises(EventError, match="MRN_MALFORMED"):
        await Intake(store).prepare([batch([State("nonsense")])])


@pytest_asyncio.fixture
async def service(database_url: str) -> AsyncIterator[Running]:
    async with running("statistics", assemble, database_url) as found:
        yield found


async def test_an_analyst_asks_by_dimensions_and_filters(service: Running) -> None:
    store = Store(service.service.database)
    mrns = make_mrns(["DE"] * 3, [1, 2, 3], DAY, 0)
    rows = [
        State(mrns[0], items=[("CN", "620630", 100), ("US", "950300", 50)]),
        State(mrns[1], lane=4, state=3, charges=[(None, 1, COLLECTOR_CUSTOMS, 300), (1, 2, COLLECTOR_VENDOR, 20)]),
        State(mrns[2], state=4, arrived=2000, released=2_000_000, day=DAY),
    ]
    await count(service.service.database, store, rows)
    stub = StatisticsServiceStub(await service.channel("analyst", "a1"))

    async def ask(**fields: object) -> pb.QueryStatisticsResponse:
        return await stub.QueryStatistics(
            pb.QueryStatisticsRequest(from_day=day_text(DAY), to_day=day_text(DAY), **fields), timeout=SECONDS
        )  # type: ignore[arg-type]

    whole = await ask()
    assert [(row.consignments, row.items, row.value_minor, row.currency) for row in whole.counts] == [
        (3, 4, 4148, "EUR")
    ]
    by_origin = await ask(group_by=[pb.DIMENSION_ORIGIN, pb.DIMENSION_CHARGE_KIND])
    assert [(list(row.keys), row.consignments, row.items) for row in by_origin.counts] == [
        (["CN", ""], 3, 3),
        (["US", ""], 0, 1),
    ]
    assert [(list(row.keys), row.amount_minor) for row in by_origin.revenue] == [
        (["CN", "DUTY"], 300),
        (["CN", "TAX"], 780),
    ]
    red = await ask(filters=[pb.Filter(dimension=pb.DIMENSION_LANE, values=["RED"])], group_by=[pb.DIMENSION_COLLECTOR])
    assert [row.consignments for row in red.counts] == [1]
    assert [(list(row.keys), row.amount_minor) for row in red.revenue] == [(["CUSTOMS"], 300), (["VENDOR"], 20)]
    release = next(row for row in whole.times if row.interval == pb.INTERVAL_RELEASE)
    assert (release.count, release.sum_micros, sum(release.buckets)) == (1, 1_998_000, 1)
    inspected = [
        State(mrns[0], 2, items=rows[0].items, lane=4, cause=3, inspected=[1, 2]),
        State(mrns[1], 2, lane=4, cause=4, inspected=[1]),
    ]
    await count(service.service.database, store, inspected)
    rates = await ask(group_by=[pb.DIMENSION_SELECTION_CAUSE, pb.DIMENSION_HS_CHAPTER])
    assert [
        (list(row.keys), row.inspected, row.violations, row.items_inspected, row.item_violations)
        for row in rates.inspections
    ] == [(["MINIMUM", "62"], 1, 1, 1, 0), (["MINIMUM", "95"], 0, 0, 1, 1), (["MODEL", "62"], 1, 0, 1, 0)]
    drawn = pb.Filter(dimension=pb.DIMENSION_SELECTION_CAUSE, values=["MINIMUM"])
    only = await ask(filters=[drawn])
    assert [(row.inspected, row.violations) for row in only.inspections] == [(1, 1)]
    assert (len(only.counts), len(only.revenue), len(only.times)) == (0, 0, 0)
    # What the ledger is compared with: by day of acceptance, destination, kind, collector and currency.
    reconciled = await ask(
        group_by=[
            pb.DIMENSION_DAY, pb.DIMENSION_DESTINATION, pb.DIMENSION_CHARGE_KIND, pb.DIMENSION_COLLECTOR, pb.DIMENSION_CURRENCY,
        ]
    )  # fmt: skip
    assert {tuple(row.keys): (row.charges, row.amount_minor) for row in reconciled.revenue} == {
        (day_text(DAY), "DE", "TAX", "CUSTOMS", "EUR"): (3, 1140)
    }
    on = pb.Filter(dimension=pb.DIMENSION_DAY, values=[day_text(DAY), day_text(DAY + 1)])
    assert (await ask(filters=[on])).counts == whole.counts
    before = pb.Filter(dimension=pb.DIMENSION_DAY, values=[day_text(DAY - 1)])
    assert not (await ask(filters=[before])).counts
    for value in (str(DAY), "2026-02-30", ""):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(filters=[pb.Filter(dimension=pb.DIMENSION_DAY, values=[value])])
        assert errors.reason_of(caught.value) == "DAY_MALFORMED"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(group_by=[pb.DIMENSION_DAY, pb.DIMENSION_DAY])
    assert errors.reason_of(caught.value) == "GROUPING_MALFORMED"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(group_by=[pb.DIMENSION_ORIGIN], max_rows=1)
    assert errors.reason_of(caught.value) == "TOO_MANY_ROWS"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.QueryStatistics(
            pb.QueryStatisticsRequest(from_day="2026-11-02", to_day="2026-11-01"), timeout=SECONDS
        )
    assert errors.reason_of(caught.value) == "PERIOD_MALFORMED"
    for first, last in (("", "2026-11-01"), ("2026-11-01", "soon")):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.QueryStatistics(pb.QueryStatisticsRequest(from_day=first, to_day=last), timeout=SECONDS)
        assert errors.reason_of(caught.value) == "DAY_MALFORMED"


async def test_exports_and_imports_are_never_in_one_figure(service: Running) -> None:
    store = Store(service.service.database)
    mrns = make_mrns(["DE"] * 4, [1, 2, 3, 4], DAY, 0)
    items = [("DE", "620630", 0), ("DE", "950300", 0)]
    gone = State(
        mrns[2], destination="US", items=items, prices=[(500, "EUR"), (70, "USD")], charges=[], inspected=[1, None]
    )
    rows = [
        State(mrns[0], destination="US", items=[("CN", "620630", 100)]),
        State(mrns[1], destination="DE"),
        gone,
        State(mrns[3], destination="US", items=items[:1], prices=[(30, "EUR")], charges=[]),
    ]
    await count(service.service.database, store, rows)
    stub = StatisticsServiceStub(await service.channel("analyst", "a1"))

    async def figures(direction: int, **fields: object) -> tuple[list[tuple[object, ...]], int]:
        request = pb.QueryStatisticsRequest(from_day=day_text(DAY), to_day=day_text(DAY), direction=direction, **fields)  # type: ignore[arg-type]
        found = await stub.QueryStatistics(request, timeout=SECONDS)
        counts = [(*row.keys, row.consignments, row.items, row.value_minor, row.currency) for row in found.counts]
        return counts, sum(row.count for row in found.times) + len(found.revenue) + len(found.inspections)

    by_country = {"group_by": [pb.DIMENSION_DESTINATION]}
    only_us = by_country | {"filters": [pb.Filter(dimension=pb.DIMENSION_DESTINATION, values=["US"])]}
    for folded in (False, True):
        if folded:
            await Fold(store).run()
        for direction in (DIRECTION_UNSPECIFIED, DIRECTION_IMPORT):
            assert (await figures(direction, **by_country))[0] == [("DE", 1, 1, 1999, "EUR"), ("US", 1, 1, 100, "EUR")]
            assert (await figures(direction))[0] == [(2, 2, 2099, "EUR")]
            assert (await figures(direction, **only_us))[0] == [("US", 1, 1, 100, "EUR")]
        # Two times of a decision, and one inspection: no charges.
        assert await figures(DIRECTION_EXPORT, **only_us) == ([("US", 2, 2, 530, "EUR"), ("US", 0, 1, 70, "USD")], 3)
        assert (await figures(DIRECTION_EXPORT))[0] == [(2, 2, 530, "EUR"), (0, 1, 70, "USD")]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await figures(9)
    assert errors.reason_of(caught.value) == "CHOICE_UNKNOWN"
    # A newer version of an export takes out what was counted of it.
    await count(service.service.database, store, [replace(gone, version=2, prices=[(600, "EUR"), (70, "USD")])])
    assert (await figures(DIRECTION_EXPORT))[0] == [(2, 2, 630, "EUR"), (0, 1, 70, "USD")]


@pytest.mark.parametrize(("above", "below"), [(0, 0), (1, 1), (10**15, 10**15)])
async def test_a_sum_that_the_answer_has_no_room_for_is_the_last_number_and_is_named(
    service: Running, above: int, below: int
) -> None:
    high, low = 2**63 - 1 + above, -(2**63) - below
    async with service.service.database.transaction() as tx:
        for table in CELLS:
            await schema.ensure_day_partitions(tx, table.name, [DAY])
        keys = f"{DAY}, 'DE', 'CN', '62', 'GREEN'"
        await tx.raw.execute(
            f"insert into count_cell values ({keys}, 'RELEASED', 'EUR', 1, 1, {high}, {low}, 5, {high}, 0)"
        )
        await tx.raw.execute(f"insert into revenue_cell values ({keys}, 'DUTY', 'CUSTOMS', 'EUR', 1, {low})")
        await tx.raw.execute(
            f"insert into time_cell values ({keys}, 1, 29, 1, {high - 9}, 0), ({keys}, 1, 30, 1, 9, 0)"
        )
    found = await StatisticsServiceStub(await service.channel("analyst", "a1")).QueryStatistics(
        pb.QueryStatisticsRequest(from_day=day_text(DAY), to_day=day_text(DAY)), timeout=SECONDS
    )
    goods, charges, times = found.counts[0], found.revenue[0], found.times[0]
    assert (goods.value_minor, goods.net_mass_mg, goods.paid_minor, goods.refunded_minor) == (
        2**63 - 1,
        -(2**63),
        5,
        2**63 - 1,
    )
    assert (charges.amount_minor, times.sum_micros, times.count) == (-(2**63), 2**63 - 1, 2)
    named = [list(each.exceeding) for each in (goods, charges, times)]
    beyond = [["value_minor", "net_mass_mg", "refunded_minor"], ["amount_minor"], ["sum_micros"]]
    assert named == (beyond if above else [[], [], []])
