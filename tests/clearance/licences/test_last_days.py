"""An agency is notified before the end of a licence and at it, once each, and nobody else is. The definition is docs/notices.md."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pytest

from libs.customs.time import parse_day
from libs.store.database import Transaction
from luxor.clearance.v1 import clearance_pb2 as pb
from services.clearance.jobs.waits import Waits
from services.clearance.store import Store
from tests.clearance.desk import mrns
from tests.clearance.disposals import INVALIDATED, disposal, dispose
from tests.clearance.dying import Died, DyingDatabase
from tests.clearance.goods import goods, law, register
from tests.clearance.goods import licence as stored_licence
from tests.clearance.goods import licence_message as licence
from tests.clearance.licence_register import put, revoke
from tests.clearance.put_back import put_back
from tests.clearance.service_client import SECONDS, House

LAST: Final = date(2038, 3, 31)
"""The last day of the licences: whatever the clock of the machine has, their reminder is still to come."""
REMINDED, ENDED = "LICENCE_REMINDED", "LICENCE_ENDED"
OF_NOTICES: Final = ("licence", "batch", "notice")


def midnight(day: date) -> int:
    """Return the first microsecond of a day (UTC)."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


def end_of(last: date = LAST) -> int:
    """Return the first microsecond after a last day."""
    return midnight(last + timedelta(days=1))


def reminder_of(last: date = LAST) -> int:
    """Return when 30 whole days are left."""
    return midnight(last + timedelta(days=1 - 30))


def until(number: str = "L1", last: date = LAST, **fields: Any) -> Any:
    """Make a licence for 10 kg with a last day."""
    return licence(number, to_day=last.isoformat(), **fields)


async def step(house: House, at: int, replica: str = "r") -> int:
    """Carry out what is due at an instant."""
    return await Waits(house.desk.store, replica).step(at=at)


async def pulled(house: House, role: str = "agency", ident: str = "toys", **request: Any) -> list[pb.Notice]:
    """Return the notices of a caller."""
    await house.desk.told()
    stub, found, cursor = await house.stub(role, ident), [], ""
    while True:
        page = await stub.PullNotices(pb.PullNoticesRequest(cursor=cursor, **request), timeout=SECONDS)
        if not page.notices:
            return found
        found += page.notices
        cursor = page.next_cursor


async def ends(house: House, ident: str = "toys") -> list[tuple[str, str]]:
    """Return kind and number of an agency's notices about last days."""
    return [
        (pb.NoticeKind.Name(each.kind).removeprefix("NOTICE_KIND_"), each.licences[0].number)
        for each in await pulled(house, "agency", ident)
        if each.HasField("licence_ends_at")
    ]


async def due(house: House) -> dict[str, int | None]:
    """Return when the next notice of each licence is due."""
    async with house.desk.store.database.connection() as reading:
        return {row["number"]: row["next_at"] for row in await reading.raw.fetch("select number, next_at from licence")}


def set_clock(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Set the clock by which changes of the register are dated."""

    async def now(_: Store, __: Transaction) -> int:
        return at

    monkeypatch.setattr(Store, "now", now)


async def test_the_agency_is_reminded_when_30_days_are_left_and_notified_at_the_first_microsecond_after_the_last_day(
    house: House,
) -> None:
    house.desk.decide.goods = law()
    await put(house, until())
    await put(house, licence("F1"), by="food")
    # A filer uses a part of it, and another one is held since it needs more than is left.
    first, second = goods(["GREEN-1"]), goods(["GREEN-2"], grams=20_000)
    await house.desk.consume(first, second)
    # Whatever else is due comes first.
    await step(house, reminder_of() - 1)
    before = {who: await pulled(house, *who) for who in (("filer", "shop"), ("carrier", "wings"), ("agency", "food"))}
    assert await ends(house) == []
    assert await step(house, reminder_of()) == 1
    assert await step(house, end_of() - 1) == 0
    assert await ends(house) == [(REMINDED, "L1")]
    assert await step(house, end_of()) == 1
    assert await step(house, end_of() + 400 * 86_400_000_000) == 0
    found = (await pulled(house, language="en"))[-2:]
    assert [(each.title, each.text) for each in found] == [
        (
            "Licence ends soon",
            "A licence of your register is valid until 2038-03-31 and not all of it is used: C400 L1: 9 KGM. Filings that are accepted after "
            "that day need another licence.",
        ),
        (
            "Licence ended",
            "A licence of your register was valid until 2038-03-31 and not all of it is used: C400 L1: 9 KGM. Filings that were accepted until "
            "that day may still be written off.",
        ),
    ]
    for notice, at in zip(found, (reminder_of(), end_of()), strict=True):
        assert {field.name for field, _ in notice.ListFields()} == {
            "kind", "time", "licences", "licence_ends_at", "title", "text", "language",
        }  # fmt: skip
        assert (notice.time.ToMicroseconds(), notice.licence_ends_at.ToMicroseconds()) == (at, end_of())
        (own,) = notice.licences
        assert (own.authority, own.type, own.quantity_millionths, own.unit) == ("toys", "C400", 9_000_000, "KGM")
        assert {field.name for field, _ in own.ListFields()} == {
            "authority", "type", "number", "quantity_millionths", "unit",
        }  # fmt: skip
    # Neither the filers of goods that cite it, nor the carrier, nor another agency learns of it.
    assert {who: await pulled(house, *who) for who in before} == before


async def test_what_is_used_up_needs_no_notice_and_what_has_no_limit_has_one_without_a_quantity(house: House) -> None:
    house.desk.decide.goods = law()
    await put(
        house,
        until("used", quantity_millionths=1_000_000),
        until("back", quantity_millionths=1_000_000),
        until("free", quantity_millionths=None, unit=None, unlimited=True),
    )
    tables = [goods([f"GREEN-{name}"], cites=[("C400", name)]) for name in ("used", "back")]
    await house.desk.consume(*tables)
    assert await step(house, reminder_of()) == 1
    # What comes back between the reminder and the end is left at the end.
    await dispose(house, disposal(mrns(tables[1])[0], INVALIDATED))
    assert await step(house, end_of()) == 2
    assert await ends(house) == [(REMINDED, "free"), (ENDED, "back"), (ENDED, "free")]
    assert not any(
        each.licences[0].HasField("quantity_millionths")
        for each in await pulled(house)
        if each.licences[0].number == "free"
    )
    assert await due(house) == dict.fromkeys(("used", "back", "free"))


async def test_a_timer_that_comes_after_the_end_writes_the_end_alone(house: House) -> None:
    await put(house, until(), until("L2", LAST + timedelta(days=1)))
    assert await step(house, end_of() + 5) == 2
    assert await ends(house) == [(ENDED, "L1"), (REMINDED, "L2")]


@pytest.mark.parametrize(("late", "expected"), [(-1, [REMINDED, ENDED]), (0, [ENDED])])
async def test_who_sets_a_last_day_within_its_last_30_days_is_notified_of_the_end_alone(
    house: House, monkeypatch: pytest.MonkeyPatch, late: int, expected: list[str]
) -> None:
    set_clock(monkeypatch, reminder_of() + late)
    # For how long it is valid alters nothing.
    await put(house, until(from_day=LAST.isoformat()))
    for at in (reminder_of(), end_of()):
        await step(house, at)
    assert [kind for kind, _ in await ends(house)] == expected


async def test_a_licence_that_ended_when_it_was_registered_has_no_notice(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for late in (-1, 0):
        set_clock(monkeypatch, end_of() + late)
        await put(house, until(f"late {late}"), request_id=f"p{late}")
    assert await due(house) == {"late -1": end_of(), "late 0": None}


async def test_a_last_day_that_is_moved_counts_from_then_on_and_other_changes_alter_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    later, sooner = LAST + timedelta(days=60), LAST - timedelta(days=20)
    await put(house, until("later"), until("sooner"), until("same"), until("revoked"))
    await step(house, reminder_of())
    set_clock(monkeypatch, reminder_of() + 5)
    await put(
        house,
        until("later", later, version=1),
        until("sooner", sooner, version=1),
        until("same", version=1, goods=["9504"]),
        request_id="p2",
    )
    assert await revoke(house, "revoked", 1) == (2, "")
    assert await due(house) == {
        "later": reminder_of(later), "sooner": end_of(sooner), "same": end_of(), "revoked": None,
    }  # fmt: skip
    for at in (end_of(sooner), end_of(), reminder_of(later), end_of(later)):
        await step(house, at - 1)
        await step(house, at)
    expected = [
        *((REMINDED, number) for number in ("later", "revoked", "same", "sooner")),
        (ENDED, "sooner"), (ENDED, "same"), (REMINDED, "later"), (ENDED, "later"),
    ]  # fmt: skip
    assert await ends(house) == expected
    # After the end it is extended: it ends a second time.
    set_clock(monkeypatch, end_of(later) + 5)
    again = LAST + timedelta(days=300)
    assert await put(house, until("same", again, version=2, goods=["9504"]), request_id="p3") == [(3, "")]
    for at in (reminder_of(again), end_of(again)):
        await step(house, at)
    assert (await ends(house))[len(expected) :] == [(REMINDED, "same"), (ENDED, "same")]


async def test_customs_has_no_notices_and_each_agency_those_of_its_own_licences(house: House) -> None:
    await put(house, until("A 1 x"), until("A 2 x"))
    await put(house, until("A 1 x"), by="food", request_id="p2")
    await put(house, until("A 1 x"), role="officer", by="olga", request_id="p3")
    assert await step(house, reminder_of()) == 3
    assert await ends(house) == [(REMINDED, "A 1 x"), (REMINDED, "A 2 x")]
    (own,) = await pulled(house, "agency", "food")
    assert own.licences[0].authority == "food"
    assert await ends(house, "police") == []


async def test_a_reader_pages_through_notices_about_licences_and_goods_and_each_reading_is_recorded(
    house: House,
) -> None:
    house.desk.decide.goods = law()
    await put(house, until(), until("L2"))
    await step(house, reminder_of())
    await house.desk.consume(goods(["GREEN-1"]))
    found, cursor = [], ""
    stub = await house.stub("agency", "toys")
    for _ in range(4):
        page = await stub.PullNotices(pb.PullNoticesRequest(cursor=cursor, page_size=1), timeout=SECONDS)
        found += [pb.NoticeKind.Name(each.kind).removeprefix("NOTICE_KIND_") for each in page.notices]
        cursor = page.next_cursor
    assert found == [REMINDED, REMINDED, "LICENCE_USED"]
    async with house.desk.store.database.connection() as reading:
        rows = await reading.raw.fetch(
            "select about, subjects from audit_pending where method = 'PullNotices' union all "
            "select about, subjects from audit_record where method = 'PullNotices' order by about"
        )
    (mrn,) = mrns(goods(["GREEN-1"]))
    assert [(row["about"], row["subjects"]) for row in rows] == [
        ("", [mrn]), ("licence toys C400 L1,licence toys C400 L2", []),
    ]  # fmt: skip


async def test_replicas_at_the_same_licences_write_each_notice_once(house: House) -> None:
    numbers = [f"L{number:04}" for number in range(1_200)]
    await register(
        house.desk.store,
        *(
            stored_licence(number, to_day=parse_day(LAST.isoformat()), next_at=reminder_of(), authority=agency)
            for number in numbers
            for agency in ("toys", "food")
        ),
        # As a replica that does not know the time of the next notice leaves them: revoked, and with a later last day.
        stored_licence("revoked", to_day=parse_day(LAST.isoformat()), next_at=reminder_of(), revoked_at=1),
        stored_licence("later", to_day=parse_day(LAST.isoformat()) + 1, next_at=reminder_of()),
    )
    done = await asyncio.gather(*(step(house, reminder_of(), replica) for replica in "abc"))
    assert await step(house, reminder_of()) + sum(done) == 2 * len(numbers)
    for agency in ("toys", "food"):
        assert sorted(number for _, number in await ends(house, agency)) == numbers
    async with house.desk.store.database.connection() as reading:
        assert await reading.raw.fetchval("select sum(row_count) from batch") == 2 * len(numbers)
    left = await due(house)
    assert (left["revoked"], left["later"]) == (None, reminder_of(LAST + timedelta(days=1)))


async def test_a_process_that_ends_at_any_statement_and_a_store_that_is_put_back_write_each_notice_once(
    house: House,
) -> None:
    await put(house, until(), until("L2"))
    await put(house, until("F1"), by="food", request_id="p2")
    statements = 0
    finished = False
    async for left in put_back(house.desk.store.database, OF_NOTICES, range(100)):
        if finished:
            break
        dying = DyingDatabase(house.desk.store.database)
        waits = Waits(Store(dying.as_database), "r")
        dying.left = left
        try:
            await waits.step(at=reminder_of())
            finished = True
        except Died:
            statements += 1
        await step(house, reminder_of())
        assert await ends(house) == [(REMINDED, "L1"), (REMINDED, "L2")], left
        assert await ends(house, "food") == [(REMINDED, "F1")], left
    assert finished
    assert statements > 5
