"""Sums over several consignments: whatever way a stream is cut and whoever takes its parts, each is judged as in one queue."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import pytest_asyncio

from libs.columns import Bools, Ints, Strings, Table
from libs.store.database import Database
from luxor.clearance.v1 import clearance_columns_pb2 as clearance
from luxor.clearance.v1 import clearance_pb2
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.revenue.v1.revenue_columns_pb2 import DEBT_EVENT_REASSESSED, RevenueColumns
from luxor.revenue.v1.revenue_pb2 import AssessmentColumns
from services.revenue.assessment.aggregates import aggregate_areas
from services.revenue.assessment.batch import Batch
from services.revenue.commands.assess import Assessments
from services.revenue.commands.reassess import Reassessment
from services.revenue.ledger.charge import only_needed
from services.revenue.store.assessments.aggregates import apply_states
from tests.revenue.bundles import ALONE, AREA_OF, DAY, LIMIT, TEST_OF, Parcel, stream, table_of, who
from tests.revenue.reassessment import IN_FORCE, PROGRAM, again


@pytest_asyncio.fixture
async def revenue(database: Database) -> Database:
    return database


@pytest_asyncio.fixture
async def stores(revenue: Database) -> AsyncIterator[list[Assessments]]:
    async with Database(revenue.url, name="second") as second:
        yield [Assessments(revenue), Assessments(second)]


async def assess(store: Assessments, parcels: Sequence[Parcel]) -> Table:
    table = table_of(parcels)
    return Table.decode(await store.assess(Batch(IN_FORCE, table, table.encode(ConsignmentColumns))))


async def duties(store: Assessments, parcels: Sequence[Parcel]) -> list[int | None]:
    return (await assess(store, parcels)).ints("duty").tolist()


async def last(database: Database, parcels: Sequence[Parcel]) -> list[int | None]:
    """What parcels owe by now."""
    found: dict[int, int | None] = {}
    asked = await Assessments(database).inputs.find(
        [each.mrn for each in parcels], [each.version for each in parcels], answers=True
    )
    for part in asked:
        assert part.answers is not None
        found |= dict(zip(part.places, part.answers.ints("duty").tolist(), strict=True))
    return [found[number] for number in range(len(parcels))]


async def news(database: Database) -> list[tuple[str, int, str, int | None, int | None]]:
    """MRN, version, reason, duty and generation of what was announced, in its order."""
    async with database.connection() as reader:
        rows = await reader.raw.fetch(
            "select payload from batch where exists (select from outbox where seq = batch.id) order by id"
        )
    told = []
    for row in rows:
        table = Table.parse(RevenueColumns, bytes(row["payload"]))
        assert set(table.ints("event").tolist()) == {DEBT_EVENT_REASSESSED}
        answers = table.child("assessments")
        told += list(
            zip(
                table.strings("mrn").tolist(), table.ints("filing_version").tolist(), table.strings("reason").tolist(),
                answers.ints("duty").tolist(), answers.ints("generation").tolist(), strict=True,
            )
        )  # fmt: skip
    return told  # type: ignore[return-value]


async def shares(database: Database) -> list[tuple[str, int, int]]:
    """Limit, amount and position of every share."""
    async with database.connection() as reader:
        rows = await reader.raw.fetch(
            "select s.limit_id, h.mrn, h.amount, s.total, s.count from share h join share_sum s on s.key = h.key "
            "order by h.mrn, s.limit_id"
        )
        wrong = await reader.raw.fetch(
            "select s.key from share_sum s left join (select key, sum(amount) as total, count(*) as count from share "
            "group by key) h on h.key = s.key where s.total <> coalesce(h.total, 0) or s.count <> coalesce(h.count, 0)"
        )
    assert not wrong, "a sum is not what its shares make"
    return [(row["mrn"], row["amount"], row["total"]) for row in rows]


def expected(parcels: Sequence[Parcel]) -> dict[str, int]:
    """What the newest versions owe once all is told, in plain words: by MRN.

    Who is served in turn owes what the ones before made when it came, or was amended; who is bundled what all make in the end.
    """
    held: dict[int, Parcel] = {}
    owed: dict[str, int] = {}
    for each in parcels:
        if each.number not in held or each.version > held[each.number].version:
            # A place in the queue is kept by an amendment within the same sum; a dictionary keeps it so.
            held[each.number] = each
            queue = list(held.values())
            owed[each.mrn] = _owes(each, queue[: queue.index(each)])
    for each in held.values():
        if TEST_OF.get(each.area) != "person_year":
            owed[each.mrn] = _owes(each, [other for other in held.values() if other is not each])
    return owed


def _owes(parcel: Parcel, others: Sequence[Parcel]) -> int:
    # A consignment is tested alone, or with the other shares if it was split.
    test = TEST_OF.get(parcel.area, "consignment")
    mine = who(test, parcel)
    total = sum(other.price for other in others if mine and other.area == parcel.area and who(test, other) == mine)
    return parcel.price // 10 if parcel.price + total > LIMIT else 0


def newest(parcels: Sequence[Parcel]) -> list[Parcel]:
    found: dict[int, Parcel] = {}
    for each in parcels:
        if each.number not in found or each.version > found[each.number].version:
            found[each.number] = each
    return list(found.values())


def cut(parcels: list[Parcel], seed: int, size_max: int = 12) -> list[list[Parcel]]:
    draw = random.Random(seed)
    parts = []
    while parcels:
        size = draw.randint(1, size_max)
        parts.append(parcels[:size])
        parcels = parcels[size:]
    return parts


def streams(seeds: Sequence[int], count: int) -> list[list[Parcel]]:
    """Streams with no number, person or order in common, so that one store takes all of them and no sum is of two."""
    return [
        [
            replace(
                each,
                number=each.number + 1_000 * seed,
                person=each.person and f"{each.person}{seed}",
                name=each.name and f"{each.name} {seed}",
                order=each.order and f"{each.order}{seed}",
            )
            for each in stream(seed, count)
        ]
        for seed in seeds
    ]


async def test_streams_in_any_parts_at_any_replica_are_answered_as_one_after_another(
    stores: list[Assessments], revenue: Database
) -> None:
    turns = list(zip(*streams((1, 2, 3), 30), strict=True))
    parcels = [each for turn in turns for each in turn]
    one_by_one = [answer for turn in turns for answer in await duties(stores[0], turn)]
    before = await shares(revenue)
    await again(revenue)
    settled = await last(revenue, newest(parcels))
    async with revenue.transaction() as tx:
        await tx.raw.execute("truncate share, share_sum, share_holder, assessment, reassessed, reassessment_due")
    in_parts = []
    for place, part in enumerate(cut(parcels, 1, 36)):
        in_parts += await duties(stores[place % 2], part)
    assert in_parts == one_by_one
    assert [each[:2] for each in await shares(revenue)] == [each[:2] for each in before]
    await again(revenue)
    assert await last(revenue, newest(parcels)) == settled
    owed = expected(parcels)
    assert settled == [owed[each.mrn] for each in newest(parcels)]


@pytest.mark.parametrize("seed", [4, 5, 6])
async def test_two_replicas_at_once_over_the_same_sums_come_to_what_one_queue_gives(
    stores: list[Assessments], revenue: Database, seed: int
) -> None:
    # No amendments here: replicas that take a stream at once may see its parts in any order.
    parcels = [each for each in stream(seed, 50) if each.version == 1]
    parts = cut(parcels, seed)
    halves = [parts[0::2], parts[1::2]]

    async def work(store: Assessments, mine: list[list[Parcel]]) -> None:
        await asyncio.gather(*(assess(store, part) for part in mine))

    await asyncio.gather(
        *(work(store, half) for store, half in zip(stores, halves, strict=True)), again(revenue, "two")
    )
    await again(revenue, "two")
    await shares(revenue)
    async with revenue.connection() as reader:
        rows = await reader.raw.fetch("select mrn, min(position) as position from share group by mrn")
    positions = {row["mrn"]: row["position"] for row in rows}
    in_queue = sorted(parcels, key=lambda each: positions.get(each.mrn, 0))
    owed = expected(in_queue)
    assert await last(revenue, in_queue) == [owed[each.mrn] for each in in_queue]
    # Of each consignment generations are told one after another, none twice.
    told: dict[str, list[int | None]] = {}
    for mrn, _, _, _, generation in await news(revenue):
        told.setdefault(mrn, []).append(generation)
    assert all(each == list(range(1, len(each) + 1)) for each in told.values())


async def test_a_later_parcel_over_the_limit_has_the_earlier_one_assessed_again_once(
    stores: list[Assessments], revenue: Database
) -> None:
    first, second = Parcel(1, AREA_OF["recipient_day"], 9_000, "P1"), Parcel(2, AREA_OF["recipient_day"], 8_000, "P1")
    other_day, other_carrier = replace(second, number=3, day=DAY + 1), replace(second, number=4, carrier="carrier-2")
    assert await duties(stores[0], [first]) == [0]
    assert await duties(stores[1], [other_day, other_carrier]) == [0, 0]
    await again(revenue)
    assert await news(revenue) == []
    answer = await assess(stores[1], [second])
    assert answer.ints("duty").tolist() == [800]
    assert "SUMMED" in answer.ragged("notes").values.tolist()
    await again(revenue)
    await again(revenue, "two")
    assert await news(revenue) == [(first.mrn, 1, "BUNDLED", 900, 1)]
    # Who asks again gets what was answered first; what is owed now was announced.
    assert await duties(stores[0], [first]) == [0]
    assert await last(revenue, [first, second]) == [900, 800]


async def test_who_comes_first_in_a_year_is_served_first_and_stays_so(
    stores: list[Assessments], revenue: Database
) -> None:
    year = AREA_OF["person_year"]
    parcels = [Parcel(number, year, 6_000, "P1") for number in range(3)]
    assert await duties(stores[0], parcels) == [0, 0, 600]
    next_year = replace(parcels[0], number=7, accepted=DAY + 366)
    assert await duties(stores[1], [next_year, replace(parcels[0], number=8, person="P2")]) == [0, 0]
    await again(revenue)
    assert await news(revenue) == []


SHARE = Parcel(1, ALONE, 9_000, "P1", house="HAWB-1", split=True)


async def test_shares_of_a_split_shipment_owe_what_the_whole_consignment_owes(
    stores: list[Assessments], revenue: Database
) -> None:
    later = replace(SHARE, number=2, split=False, previous=SHARE.mrn, price=6_001, carrier="carrier-2", day=DAY + 9)
    assert await duties(stores[0], [SHARE]) == [0]
    answer = await assess(stores[1], [later])
    assert answer.ints("duty").tolist() == [600]
    assert answer.ragged("notes").values.tolist().count("SUMMED") == 1
    await again(revenue)
    assert await news(revenue) == [(SHARE.mrn, 1, "BUNDLED", 900, 1)]
    # A repetition adds nothing; an amendment takes the place of its version, up to the limit itself.
    assert await duties(stores[0], [later, SHARE]) == [600, 0]
    assert await duties(stores[0], [replace(later, version=2, price=6_000)]) == [0]
    await again(revenue)
    assert await last(revenue, [SHARE]) == [0]


@pytest.mark.parametrize(
    "other",
    [
        replace(SHARE, number=2, split=False),
        replace(SHARE, number=2, house="HAWB-2"),
        replace(SHARE, number=2, person="P2"),
        replace(SHARE, number=2, area=AREA_OF["order"], order="O1"),
    ],
)
async def test_what_is_no_share_of_the_same_consignment_counts_by_itself(
    other: Parcel, stores: list[Assessments], revenue: Database
) -> None:
    assert await duties(stores[0], [SHARE, other]) == [0, 0]
    await again(revenue)
    assert await news(revenue) == []


@pytest.mark.parametrize("share", [replace(SHARE, house=""), replace(SHARE, person="")])
async def test_a_share_without_document_or_recipient_counts_alone_and_says_so(
    share: Parcel, stores: list[Assessments], revenue: Database
) -> None:
    answer = await assess(stores[0], [share, replace(share, number=2)])
    assert answer.ints("duty").tolist() == [0, 0]
    assert answer.ragged("notes").values.tolist().count("PERSON_NOT_DECLARED") == 2
    assert await shares(revenue) == []


async def test_a_share_that_never_arrives_no_longer_counts_for_the_others(
    stores: list[Assessments], revenue: Database
) -> None:
    lost = replace(SHARE, number=2)
    await duties(stores[0], [SHARE, lost])
    await again(revenue)
    assert await last(revenue, [SHARE, lost]) == [900, 900]
    expired = states((lost, clearance_pb2.STATE_EXPIRED, False))
    areas = aggregate_areas(PROGRAM)
    assert ALONE not in areas
    # A state of a consignment that is no share is not looked at where the law has no aggregate.
    for known in (expired, expired.with_columns({"split": Bools.of([True])})):
        async with revenue.transaction() as tx:
            await apply_states(tx, known, areas)
        await again(revenue)
        owed = 0 if known is not expired else 900
        assert await last(revenue, [SHARE]) == [owed]


async def test_an_amendment_takes_the_place_of_the_version_before(stores: list[Assessments], revenue: Database) -> None:
    order = AREA_OF["order"]
    small, large = Parcel(1, order, 4_000, order="O1"), Parcel(2, order, 12_000, order="O1")
    assert await duties(stores[0], [small, large]) == [0, 1_200]
    assert await duties(stores[1], [replace(large, price=9_000, version=2)]) == [0]
    await again(revenue)
    # Told of the first version's bundle or not: what is owed in the end is what the newest versions make.
    assert await last(revenue, [small]) == [0]
    elsewhere = replace(large, version=3, order="O2", price=14_000)
    assert await duties(stores[0], [elsewhere]) == [0]
    assert [(amount, total) for _, amount, total in await shares(revenue)] == [(4_000, 4_000), (14_000, 14_000)]
    gone = replace(elsewhere, version=4, area=ALONE)
    # The MRN names the first destination still.
    table = table_of([gone]).with_columns({"mrn": Strings.of([large.mrn])})
    await stores[0].assess(Batch(IN_FORCE, table, table.encode(ConsignmentColumns)))
    assert [(amount, total) for _, amount, total in await shares(revenue)] == [(4_000, 4_000)]


async def test_a_repeat_changes_nothing(stores: list[Assessments], revenue: Database) -> None:
    parcels = stream(9, 40)
    first = [await assess(stores[0], part) for part in cut(parcels, 9)]
    before = await shares(revenue)
    repeated = [await assess(stores[1], part) for part in cut(parcels, 9)]
    assert [each.ints("duty").tolist() for each in repeated] == [each.ints("duty").tolist() for each in first]
    assert await shares(revenue) == before


async def test_nobody_named_counts_alone_and_says_so(stores: list[Assessments], revenue: Database) -> None:
    parcels = [Parcel(number, AREA_OF["person_day"], 12_000) for number in range(3)]
    answer = await assess(stores[0], parcels)
    assert answer.ints("duty").tolist() == [0, 0, 0]
    assert answer.ragged("notes").values.tolist().count("PERSON_NOT_DECLARED") == 3
    assert await shares(revenue) == []


async def test_no_name_and_no_number_of_a_person_is_stored(stores: list[Assessments], revenue: Database) -> None:
    await assess(
        stores[0],
        [Parcel(1, AREA_OF["person_day"], 100, "P777"), Parcel(2, AREA_OF["person_day"], 100, name="Zoe Doe")],
    )
    async with revenue.connection() as reader:
        for name in ("share", "share_sum", "share_holder"):
            for row in await reader.raw.fetch(f"select {name}::text as told from {name}"):
                assert b"P777".hex() not in row["told"]
                assert "Zoe" not in row["told"]
        columns = await reader.raw.fetchval("select columns from assessed_input")
    from libs.columns.stored import decompressed

    assert b"P777" not in decompressed(columns)
    assert b"Zoe" not in decompressed(columns)


async def test_a_crash_on_the_way_leaves_nothing(
    stores: list[Assessments], revenue: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcels = [Parcel(1, AREA_OF["order"], 9_000, order="O1"), Parcel(2, AREA_OF["order"], 9_000, order="O1")]

    async def dies(*_: object, **__: object) -> None:
        raise RuntimeError("the process died")

    with monkeypatch.context() as patched:
        patched.setattr("services.revenue.commands.assess.write", dies)
        with pytest.raises(RuntimeError, match="died"):
            await assess(stores[0], parcels)
    async with revenue.connection() as reader:
        for name in (
            "share",
            "share_sum",
            "share_holder",
            "all_assessments",
            "assessed_input",
            "assessment_batch",
            "reassessment_due",
        ):
            assert await reader.raw.fetchval(f"select count(*) from {name}") == 0, name
    assert await duties(stores[1], parcels) == [0, 900]


async def test_assessing_again_dies_and_goes_on_without_telling_twice(
    stores: list[Assessments], revenue: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcels = [Parcel(number, AREA_OF["order"], 9_000, order="O1") for number in range(3)]
    await assess(stores[0], parcels)

    async def dies(*_: object) -> None:
        raise RuntimeError("the process died")

    # It dies after the news, before the sum is noted as done; the other replica finds nothing new to tell.
    with monkeypatch.context() as patched:
        patched.setattr(Reassessment, "complete", dies)
        with pytest.raises(RuntimeError, match="died"):
            await again(revenue)
    assert len(await news(revenue)) == 1
    async with revenue.transaction() as tx:
        await tx.raw.execute("delete from job_lease")
    await again(revenue, "two")
    assert await news(revenue) == [(parcels[0].mrn, 1, "BUNDLED", 900, 1)]
    async with revenue.connection() as reader:
        assert await reader.raw.fetchval("select count(*) from reassessment_due") == 0


def states(*told: tuple[Parcel, int, bool]) -> Table:
    """Clearance's states: parcel, state, and whether it was released."""
    count = len(told)
    return Table.of(
        clearance.ClearanceColumns,
        count,
        {
            "mrn": Strings.of([each.mrn for each, _, _ in told]),
            "version": Ints.of(list(range(1, count + 1))),
            "destination_country": Strings.of([each.area for each, _, _ in told]),
            "state": Ints.of([state for _, state, _ in told]),
            "released_at": Ints.of([1] * count, np.array([released for _, _, released in told])),
            "filing_version": Ints.of([each.version for each, _, _ in told]),
        },
    )


async def test_what_is_withdrawn_gives_its_share_back_and_what_is_released_keeps_it(
    stores: list[Assessments], revenue: Database
) -> None:
    parcels = [Parcel(number, AREA_OF["order"], 6_000, order="O1") for number in range(3)]
    assert await duties(stores[0], parcels) == [0, 0, 600]
    await again(revenue)
    assert await last(revenue, parcels) == [600, 600, 600]
    areas = aggregate_areas(PROGRAM)
    assert areas == set(AREA_OF.values())
    gone = states(
        (parcels[0], clearance_pb2.STATE_RELEASED, True), (parcels[1], clearance_pb2.STATE_INVALIDATED, False)
    )
    for _ in range(2):
        async with revenue.transaction() as tx:
            await apply_states(tx, gone, areas)
    await again(revenue)
    assert await last(revenue, [parcels[0], parcels[2]]) == [0, 0]
    async with revenue.connection() as reader:
        rows = await reader.raw.fetch("select mrn, state from share_holder order by mrn")
    assert {row["mrn"]: row["state"] for row in rows} == {parcels[0].mrn: 3, parcels[1].mrn: 2, parcels[2].mrn: 0}
    assert [(amount, total) for _, amount, total in await shares(revenue)] == [(6_000, 12_000)] * 2
    # What went back after its release was imported; a repeat of Assess brings nothing back.
    async with revenue.transaction() as tx:
        await apply_states(tx, states((parcels[0], clearance_pb2.STATE_RE_EXPORTED, True)), areas)
    await assess(stores[0], parcels)
    assert len(await shares(revenue)) == 2
    # Nor does a later version of a withdrawn filing, which clearance refuses; that of a filing in force does.
    await assess(stores[0], [replace(each, version=2, price=7_000) for each in (parcels[1], parcels[2])])
    assert [(mrn, amount) for mrn, amount, _ in await shares(revenue)] == [
        (parcels[0].mrn, 6_000), (parcels[2].mrn, 7_000),
    ]  # fmt: skip
    async with revenue.connection() as reader:
        ended = await reader.raw.fetchrow(
            "select version, state, keys from share_holder where mrn = $1", parcels[1].mrn
        )
    assert tuple(ended) == (1, 2, [])


AT = Ints.of([1])
NOTHING = Ints.absent(1)
AMENDABLE = {
    "awaited": {},
    "arrived, to be presented": {"arrived_at": AT, "presentation_due_at": AT},
    "documents requested": {"state": Ints.of([clearance_pb2.STATE_DOCUMENTS_REQUESTED])},
}
TOO_LATE = {
    "presented with its arrival": {"arrived_at": AT},
    "presented": {"arrived_at": AT, "presentation_due_at": AT, "presented_at": AT},
    "released": {"released_at": AT},
    "released before": {"former_released_at": AT},
    "returned": {"returned_at": AT},
    "lost": {"transit_outcome": Ints.of([clearance_pb2.TRANSIT_OUTCOME_LOST])},
    "in examination": {"state": Ints.of([clearance_pb2.STATE_EXAMINATION])},
    "seized": {"state": Ints.of([clearance_pb2.STATE_SEIZED])},
    "inspected": {"inspected_at": AT},
    "adjusted": {"adjusted_at": AT},
}


@pytest.mark.parametrize("case", [*AMENDABLE, *TOO_LATE])
async def test_a_version_that_clearance_refuses_as_too_late_changes_no_share(
    case: str, stores: list[Assessments], revenue: Database
) -> None:
    parcel, other = (Parcel(number, AREA_OF["order"], price, order="O1") for number, price in enumerate((9_500, 6_000)))
    areas = aggregate_areas(PROGRAM)
    await assess(stores[0], [parcel])
    plain = states((parcel, clearance_pb2.STATE_HELD, False)).with_columns({"released_at": NOTHING})
    async with revenue.transaction() as tx:
        await apply_states(tx, only_needed(plain.with_columns({**AMENDABLE, **TOO_LATE}[case])), areas)
    # A lower price would spare the other parcel of the order its charges.
    await assess(stores[0], [replace(parcel, version=2, price=1)])
    amount = 9_500 if case in TOO_LATE else 1
    assert [found for _, found, _ in await shares(revenue)] == [amount]
    assert await duties(stores[0], [other]) == [600 if case in TOO_LATE else 0]
    # What made it too late was reversed.
    async with revenue.transaction() as tx:
        await apply_states(tx, plain, areas)
    await assess(stores[0], [replace(parcel, version=3, price=2)])
    assert [found for mrn, found, _ in await shares(revenue) if mrn == parcel.mrn] == [2]


@pytest.mark.parametrize(
    "state", [clearance_pb2.STATE_CONFISCATED, clearance_pb2.STATE_ABANDONED, clearance_pb2.STATE_DESTROYED]
)
async def test_what_customs_disposed_of_gives_its_share_back_and_a_seizure_or_a_former_release_keeps_it(
    stores: list[Assessments], revenue: Database, state: int
) -> None:
    parcels = [Parcel(number, AREA_OF["order"], 6_000, order="O1") for number in range(3)]
    assert await duties(stores[0], parcels) == [0, 0, 600]
    areas = aggregate_areas(PROGRAM)
    told = states(
        (parcels[0], clearance_pb2.STATE_SEIZED, False), (parcels[1], state, False), (parcels[2], state, False)
    )
    former = told.with_columns({"former_released_at": Ints.of([0, 0, 1], np.array([False, False, True]))})
    async with revenue.transaction() as tx:
        await apply_states(tx, former, areas)
    assert {mrn: amount for mrn, amount, _ in await shares(revenue)} == {parcels[0].mrn: 6_000, parcels[2].mrn: 6_000}


async def test_what_was_returned_keeps_its_share_though_a_state_of_a_former_release_has_no_time_of_its_release(
    stores: list[Assessments], revenue: Database
) -> None:
    parcels = [Parcel(number, AREA_OF["order"], 6_000, order="O1") for number in range(2)]
    await duties(stores[0], parcels)
    gone = states(*((each, clearance_pb2.STATE_RE_EXPORTED, False) for each in parcels))
    # Only goods that were released are returned; customs re-exported the other before any release.
    gone = gone.with_columns({"returned_at": Ints.of([1, 0], np.array([True, False]))})
    async with revenue.transaction() as tx:
        await apply_states(tx, gone, aggregate_areas(PROGRAM))
    assert [mrn for mrn, *_ in await shares(revenue)] == [parcels[0].mrn]


async def test_batches_without_sums_ask_nothing_of_them(stores: list[Assessments], revenue: Database) -> None:
    await assess(stores[0], [Parcel(1, ALONE, 20_000, "P1")])
    async with revenue.connection() as reader:
        assert await reader.raw.fetchval("select count(*) from share_holder") == 0
        assert await reader.raw.fetchval("select count(*) from deployment_secret") == 0


async def test_an_answer_is_computed_again_exactly_from_what_is_stored(
    stores: list[Assessments], revenue: Database
) -> None:
    from services.revenue.assessment.batch import ReassessedBatch

    parcels = stream(11, 50)
    told = [await assess(stores[0], part) for part in cut(parcels, 11)]
    inputs = stores[0].inputs
    found = await inputs.find([each.mrn for each in parcels], [each.version for each in parcels], answers=True)
    assert sorted(number for part in found for number in part.places) == list(range(len(parcels)))
    whole = Table.concat(told)
    for part in found:
        assert part.answers is not None
        given = part.input
        answer = ReassessedBatch(IN_FORCE, given.table, given.register, given.aggregates).answer()
        payload = answer.serialize(AssessmentColumns)
        assert payload == part.answers.serialize(AssessmentColumns) or (
            answer.ints("duty").tolist() == whole.take(np.array(part.places)).ints("duty").tolist()
        )
