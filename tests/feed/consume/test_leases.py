"""Which partitions a replica takes, keeps, gives back and moves, part by part of each condition, at both sides of each bound of time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from libs.feed.consume.leases import LEASE_MILLIS, LeasedPartition, Leases, Move
from libs.feed.types import Cursor, LeaseLost
from libs.store.errors import StoreUnavailable
from tests.feed.frozen import Frozen, frozen_clock

ALL = set(range(64))
LEASE_SECONDS = 60
AT, TO = Cursor(5, 6, 7, 8), Cursor(15, 16, 17, 18)
_CLOCK = "(select at from frozen.clock)"


@pytest_asyncio.fixture
async def frozen(second_url: str) -> AsyncIterator[Frozen]:
    async with frozen_clock(second_url) as opened:
        yield opened


def leases_of(frozen: Frozen, replica: str = "one", source: str = "producer") -> Leases:
    return Leases(frozen.database, source, replica, lease_millis=LEASE_SECONDS * 1000)


async def holder(frozen: Frozen, replica: str = "one", source: str = "producer") -> Leases:
    """A replica that holds all partitions."""
    leases = leases_of(frozen, replica, source)
    assert await leases.balance() == (ALL, set())
    return leases


async def row(frozen: Frozen, partition: int, source: str = "producer") -> dict[str, Any]:
    (found,) = await frozen.sql(
        f"select c.*, extract(epoch from lease_until - {_CLOCK})::float as seconds from feed_cursor c where source = $1 and partition = $2",
        source,
        partition,
    )
    return dict(found)


async def put(frozen: Frozen, change: str, partition: int = 3, source: str = "producer") -> None:
    await frozen.sql(f"update feed_cursor set {change} where source = '{source}' and partition = {partition}")


async def seen(frozen: Frozen, replica: str, offset: str, source: str = "producer") -> None:
    """A replica was seen some time before (-) or after the present."""
    await frozen.sql(f"insert into feed_member values ($1, $2, {_CLOCK} + $3::text::interval)", source, replica, offset)


# ------------------------------------------------------------------------------------------------ who lives


async def anew(frozen: Frozen) -> None:
    """Nobody holds anything, and nobody was seen."""
    await frozen.sql("delete from feed_member")
    await frozen.sql("delete from feed_cursor")


async def test_a_replica_counts_that_was_seen_within_a_lease_of_the_present(frozen: Frozen) -> None:
    cases = [
        ("0 s", True), ("-59.999999 s", True), ("-60 s", False), ("-60.000001 s", False),
        ("59.999999 s", True), ("60 s", False), ("60.000001 s", False),  # written before the clock went back
    ]  # fmt: skip
    for offset, lives in cases:
        await anew(frozen)
        await seen(frozen, "other", offset)
        gained, lost = await leases_of(frozen).balance()
        assert (len(gained), lost) == (32 if lives else 64, set()), offset


async def test_replicas_of_another_source_take_no_share(frozen: Frozen) -> None:
    await seen(frozen, "other", "0 s", source="elsewhere")
    await holder(frozen)


async def test_a_replica_is_forgotten_that_was_not_seen_within_ten_leases(frozen: Frozen) -> None:
    for offset, remembered in (
        ("-600 s", True),
        ("-600.000001 s", False),
        ("600 s", True),
        ("600.000001 s", False),
        ("0 s", True),
    ):
        await anew(frozen)
        await seen(frozen, "other", offset)
        await seen(frozen, "other", "-1 hour", source="elsewhere")
        leases = leases_of(frozen)
        await leases.balance()
        found = {tuple(each) for each in await frozen.sql("select source, replica from feed_member")}
        expected = {("producer", leases.owner), ("elsewhere", "other")}
        assert found == expected | ({("producer", "other")} if remembered else set()), offset


async def test_a_process_has_a_name_of_its_own_although_it_starts_again_under_its_old_one(frozen: Frozen) -> None:
    first, second = leases_of(frozen), leases_of(frozen)
    assert first.owner != second.owner
    assert re.fullmatch("one/[0-9a-f]{8}", first.owner)
    await first.balance()
    await second.balance()
    assert second.by_partition == {}, "its former self's leases are not its own"


def test_a_lease_lasts_six_seconds_where_nothing_is_said() -> None:
    assert LEASE_MILLIS == 6_000
    assert Leases(None, "producer", "one").lease_seconds == 6.0  # type: ignore[arg-type]  # nothing is asked of it


async def test_a_lease_of_less_than_a_second_keeps_its_fraction(frozen: Frozen) -> None:
    one, two = (Leases(frozen.database, "producer", each, lease_millis=500) for each in ("one", "two"))
    await one.balance()
    await frozen.pass_by("0.4 s")
    await two.balance()
    await one.balance()
    assert len(one.by_partition) == 32, "who was seen within half a second lives"
    assert len((await two.balance())[0]) == 32


# ------------------------------------------------------------------------------------------------ who takes


async def test_a_partition_is_taken_whose_lease_has_ended_or_can_be_of_no_clock_like_this(frozen: Frozen) -> None:
    cases = [
        ("null", True), ("{} - interval '1 us'", True), ("{}", True), ("{} + interval '1 us'", False),
        ("{} + interval '120 s'", False), ("{} + interval '120.000001 s'", True),  # written before the clock went back
    ]  # fmt: skip
    for until, taken in cases:
        await anew(frozen)
        other = await holder(frozen, "other")
        await put(frozen, f"epoch = 5, day = 6, xid = 7, seq = 8, ready = true, lease_until = {until.format(_CLOCK)}")
        leases = leases_of(frozen)
        gained, _ = await leases.balance()
        assert gained == ({3} if taken else set()), until
        found = await row(frozen, 3)
        if taken:
            assert leases.by_partition == {3: LeasedPartition(2, AT, True, AT)}, (
                "with the next token, from where it stood"
            )
            assert (found["owner"], found["token"], found["seconds"]) == (leases.owner, 2, LEASE_SECONDS)
        else:
            assert (found["owner"], found["token"], leases.by_partition) == (other.owner, 1, {})


async def test_partitions_of_another_source_are_neither_taken_nor_touched(frozen: Frozen) -> None:
    other = await holder(frozen, "other", "elsewhere")
    await put(frozen, "lease_until = null", source="elsewhere")
    before = await frozen.sql("select * from feed_cursor where source = 'elsewhere' order by partition")
    leases = await holder(frozen)
    await leases.renew()
    await leases.release()
    assert await frozen.sql("select * from feed_cursor where source = 'elsewhere' order by partition") == before
    assert await frozen.sql("select replica from feed_member") == [(other.owner,)]


async def test_what_another_transaction_has_locked_is_left_to_it(frozen: Frozen) -> None:
    other = await holder(frozen, "other")
    await put(frozen, "lease_until = null", 3)
    await put(frozen, "lease_until = null", 4)
    async with frozen.database.transaction() as tx:
        await tx.raw.execute("select 1 from feed_cursor where partition = 3 for update")
        leases = leases_of(frozen)
        async with asyncio.timeout(5):
            assert (await leases.balance())[0] == {4}
            await frozen.pass_by("1 s")
            await other.renew()
    assert (await row(frozen, 3))["seconds"] is None, "what is being committed renews itself"
    assert (await row(frozen, 5))["seconds"] == LEASE_SECONDS


async def test_what_is_over_the_share_is_given_back_and_the_rest_stays(frozen: Frozen) -> None:
    first = await holder(frozen, "a")
    second = leases_of(frozen, "b")
    assert await second.balance() == (set(), set())
    await frozen.pass_by("10 s")
    assert await first.balance() == (set(), set(range(32, 64)))
    assert set(first.by_partition) == set(range(32))
    assert [(await row(frozen, each))["seconds"] for each in (31, 32)] == [LEASE_SECONDS, None]
    given = await row(frozen, 32)
    assert (given["owner"], given["token"]) == (None, 2), "its former holder's token is worth nothing"
    assert await second.balance() == (set(range(32, 64)), set())
    assert await first.balance() == (set(), set())


async def test_a_share_that_one_replica_left_is_taken_by_the_others_up_to_theirs(frozen: Frozen) -> None:
    first = await holder(frozen, "a")
    second = leases_of(frozen, "b")
    for each in (second, first, second):
        await each.balance()
    await seen(frozen, "c", "0 s")
    await first.release()
    gained, _ = await second.balance()
    assert len(second.by_partition) == 32
    assert gained == set(), "two live, and it has half already"
    await frozen.sql("delete from feed_member where replica = 'c'")
    assert len((await second.balance())[0]) == 32


async def test_what_somebody_else_holds_by_now_is_lost_and_not_given_back_in_its_name(frozen: Frozen) -> None:
    first = await holder(frozen)
    await put(frozen, f"token = token + 1, owner = 'other', lease_until = {_CLOCK} + interval '30 s'")
    assert await first.balance() == (set(), {3})
    found = await row(frozen, 3)
    assert (found["owner"], found["token"], found["seconds"]) == ("other", 2, 30)
    await first.balance()
    await put(frozen, "token = token + 1, owner = 'other'", 4)
    await first.renew()
    await first.release()
    assert ((await row(frozen, 4))["owner"], (await row(frozen, 4))["token"]) == ("other", 2)
    assert (await row(frozen, 5))["owner"] is None


@pytest.mark.parametrize("change", ["token = token + 1", "owner = 'other'", "owner = null"])
async def test_a_partition_is_held_while_both_its_holder_and_its_token_are_those_in_memory(
    frozen: Frozen, change: str
) -> None:
    leases = await holder(frozen)
    await put(frozen, change)
    assert await leases.reload() == {3}
    assert set(leases.by_partition) == ALL - {3}


async def test_what_is_renewed_lasts_a_lease_from_now_and_a_replica_without_any_is_seen(frozen: Frozen) -> None:
    leases = await holder(frozen)
    idle = leases_of(frozen, "idle")
    await frozen.pass_by("20 s")
    assert (await row(frozen, 3))["seconds"] == LEASE_SECONDS - 20
    await put(frozen, "token = token + 1", 4)
    for each in (leases, idle):
        await each.renew()
    assert (await row(frozen, 3))["seconds"] == LEASE_SECONDS
    assert (await row(frozen, 4))["seconds"] == LEASE_SECONDS - 20, "that is another lease"
    ages = dict(await frozen.sql(f"select replica, extract(epoch from {_CLOCK} - seen_at)::int from feed_member"))
    assert ages == {leases.owner: 0, idle.owner: 0}


@pytest.mark.parametrize("renewing", ["balance", "renew"])
async def test_what_is_held_is_to_be_renewed_half_a_lease_after_it_was(
    frozen: Frozen, monkeypatch: pytest.MonkeyPatch, renewing: str
) -> None:
    now = [1_000.0]
    monkeypatch.setattr("libs.feed.consume.leases.time", SimpleNamespace(monotonic=lambda: now[0]))
    leases = await holder(frozen)
    now[0] += 500
    assert leases.seconds_to_renew == 0
    await getattr(leases, renewing)()
    assert leases.seconds_to_renew == LEASE_SECONDS / 2
    now[0] += LEASE_SECONDS / 2 - 0.5
    assert leases.seconds_to_renew == 0.5
    now[0] += 0.5
    assert leases.seconds_to_renew == 0
    async with frozen.database.transaction() as tx:
        await tx.raw.execute("lock feed_member in access exclusive mode")
        monkeypatch.setattr("libs.feed.consume.leases.STATEMENT_MILLIS", 10)
        with pytest.raises(StoreUnavailable):
            await getattr(leases, renewing)()
    assert leases.seconds_to_renew == 0, "it was not renewed"


async def test_what_a_commit_had_locked_when_it_was_to_be_renewed_is_looked_at_again_soon(
    frozen: Frozen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libs.feed.consume.leases.time", SimpleNamespace(monotonic=lambda: 1_000.0))
    leases = await holder(frozen)
    async with frozen.database.transaction() as tx:
        await tx.raw.execute("select 1 from feed_cursor where partition = 3 for update")
        await leases.renew()
    assert leases.seconds_to_renew == pytest.approx(LEASE_SECONDS / 6)
    await leases.renew()
    assert leases.seconds_to_renew == LEASE_SECONDS / 2


async def test_what_is_read_again_is_where_the_database_has_it_and_nothing_that_was_not_held(frozen: Frozen) -> None:
    leases = await holder(frozen)
    leases.by_partition[3].cursor = TO
    del leases.by_partition[4]
    await put(frozen, "epoch = 5, day = 6, xid = 7, seq = 8, ready = true", 5)
    assert await leases.reload() == set()
    assert set(leases.by_partition) == ALL - {4}
    assert leases.by_partition[3].cursor == Cursor(), "what was not committed is begun again"
    assert leases.by_partition[5] == LeasedPartition(1, AT, True, AT)


# ------------------------------------------------------------------------------------------------ who moves


async def moved(frozen: Frozen, leases: Leases, moves: dict[int, Move]) -> None:
    async with frozen.database.transaction() as tx:
        await leases.move(tx, moves)


async def test_a_move_writes_the_place_and_prolongs_the_lease(frozen: Frozen) -> None:
    leases = await holder(frozen)
    await frozen.pass_by("20 s")
    await moved(frozen, leases, {3: Move(1, AT), 4: Move(1, TO, ready=False)})
    for partition, cursor, ready in ((3, AT, True), (4, TO, False)):
        found = await row(frozen, partition)
        assert (found["epoch"], found["day"], found["xid"], found["seq"], found["ready"]) == (*cursor, ready)
        assert (found["seconds"], found["token"], found["owner"]) == (LEASE_SECONDS, 1, leases.owner)
    assert (await row(frozen, 5))["seconds"] == LEASE_SECONDS - 20
    leases.moved({3: Move(1, AT), 4: Move(1, TO, ready=False)})
    assert leases.by_partition[3] == LeasedPartition(1, AT, True, AT)
    assert leases.by_partition[4] == LeasedPartition(1, TO, False, TO)
    await moved(frozen, leases, {3: Move(1, TO)})


async def test_nothing_moves_where_one_partition_has_another_token_or_stands_elsewhere(frozen: Frozen) -> None:
    for change in ("token = token + 1", "epoch = 9", "day = 9", "xid = 9", "seq = 9", "ready = not ready"):
        await anew(frozen)
        leases = await holder(frozen)
        places = {3: Move(1, AT), 4: Move(1, AT)}
        await moved(frozen, leases, places)
        leases.moved(places)
        await put(frozen, change)
        with pytest.raises(LeaseLost, match="1 of 2 partitions of producer"):
            await moved(frozen, leases, {3: Move(1, TO), 4: Move(1, TO)})
        assert (await row(frozen, 4))["xid"] == AT.xid, change


async def test_a_partition_moves_by_the_token_of_the_page_and_not_by_the_one_that_is_held_since(frozen: Frozen) -> None:
    leases = await holder(frozen)
    await put(frozen, "token = 2")
    leases.by_partition[3].token = 2
    with pytest.raises(LeaseLost):
        await moved(frozen, leases, {3: Move(1, TO)})
    await moved(frozen, leases, {3: Move(2, TO)})


@pytest.mark.parametrize("others", [[], [4]])
async def test_what_is_not_held_does_not_move_although_the_database_would_let_it(
    frozen: Frozen, others: list[int]
) -> None:
    leases = await holder(frozen)
    del leases.by_partition[3]
    with pytest.raises(LeaseLost, match=f"{1 + len(others)} of {1 + len(others)} partitions"):
        await moved(frozen, leases, {each: Move(1, TO) for each in (3, *others)})
    assert (await row(frozen, 3))["xid"] == 0


async def test_a_move_of_nothing_asks_the_database_for_nothing() -> None:
    leases = Leases(None, "producer", "one")  # type: ignore[arg-type]  # nothing is asked of it
    await leases.move(None, {})  # type: ignore[arg-type]


async def test_a_move_of_another_lease_is_not_remembered() -> None:
    leases = Leases(None, "producer", "one")  # type: ignore[arg-type]  # nothing is asked of it
    leases.by_partition = {3: LeasedPartition(2, AT, False, AT)}
    leases.moved({3: Move(1, TO), 4: Move(2, TO)})
    assert leases.by_partition == {3: LeasedPartition(2, AT, False, AT)}
    leases.moved({3: Move(2, TO)})
    assert leases.by_partition == {3: LeasedPartition(2, TO, True, TO)}
