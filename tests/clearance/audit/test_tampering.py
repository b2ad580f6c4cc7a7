"""Every way in which somebody who can write all rows alters the trail or what it proves is found, and where it was.

What is expected is computed from all rows by the definition (trail.py), and compared with what the checks say in parts of any size.
"""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from libs.chain.seals import Seal
from libs.columns import Ints, Table
from libs.store.errors import StoreConflict
from libs.store.tables.schema import today
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.commands.audit import check, drop_record_days
from services.clearance.commands.audit.chain_records import ChainRecords
from services.clearance.commands.audit.check import CheckRecords, Place
from tests.clearance.audit.trail import (
    Wrong,
    defined_batch,
    defined_content,
    defined_root,
    defined_rows,
    defined_seal,
    each,
    errors_of,
    made,
    note,
    places,
    sha,
    tamper,
    wrong_by_definition,
)
from tests.clearance.desk import Desk, filings

DECISIONS = (2, 6, 10)
ACCESSES = (3, 7, 11)
ALTERED: dict[str, str] = {
    "at": "at + 1", "actor": "'officer/mallory'", "method": "'Other'", "reason": "'OTHER'", "about": "'OTHER'", "rows": '"rows" + 1',
    "salt": "sha256(salt)", "digest": "sha256(digest)", "row_digest": "sha256(row_digest)", "batch_day": "batch_day - 1", "hash": "sha256(hash)",
    "subjects": "array_append(subjects, '26DE32329000033OR6')", "day": "day + 1", "kind": "3 - kind",
}  # fmt: skip


async def altered(desk: Desk, *statements: tuple[Any, ...]) -> Wrong:
    """Alter what is stored, and return the places that are wrong; whatever the size of the parts, the checks say the same."""
    desk.consistent = False
    async with desk.store.database.transaction() as tx:
        for statement, *values in statements:
            await tamper(tx, statement, *values)
    expected = await wrong_by_definition(desk.store.database)
    for records, batches in ((1_000, 5_000), (1, 1), (4, 2)):
        assert places(await errors_of(desk, records=records, batches=batches)) == expected, (records, batches)
    return expected


# ---------------------------------------------------------------------------------------------- records
async def test_an_altered_record_is_found(desk: Desk) -> None:
    await made(desk)
    async for column, number in each(desk, product(ALTERED, (*DECISIONS, *ACCESSES))):
        change = f'"{column}" = {ALTERED[column]}'
        found = await altered(desk, (f"update audit_record set {change} where number = $1", number))
        named = {place[1] for place in found if place[0] in ("record", "missing")}
        assert number in named or number + 1 in named, (column, number)


async def test_a_deleted_record_is_found_with_its_number(desk: Desk) -> None:
    await made(desk)
    async for number in each(desk, (1, *DECISIONS, *ACCESSES)):
        found = await altered(desk, ("delete from audit_record where number = $1", number))
        assert (("end",) if number == 11 else ("missing", number, number)) in found


async def test_a_deleted_record_is_found_though_the_later_ones_are_renumbered(desk: Desk) -> None:
    await made(desk)
    async for number in each(desk, (1, *DECISIONS, *ACCESSES)):
        found = await altered(
            desk,
            ("delete from audit_record where number = $1", number),
            ("update audit_record set number = -number where number > $1", number),
            ("update audit_record set number = -number - 1 where number < 0",),
            ("update audit_head set number = number - 1",),
        )
        assert found & {("record", number), ("end",), ("beginning",)}, number


async def test_a_tail_that_is_cut_off_is_found(desk: Desk) -> None:
    await made(desk)
    async for count in each(desk, (1, 2, 3, 10)):
        assert ("end",) in await altered(desk, ("delete from audit_record where number > $1", 11 - count)), count


async def test_a_tail_is_missed_though_the_head_is_set_back(desk: Desk) -> None:
    """Decisions by their batches, sealed records by their seals. Accesses of the last minute that no seal covers are the exception."""
    await made(desk)
    async for count in each(desk, (1, 2, 3, 10)):
        last = 11 - count
        found = await altered(
            desk,
            ("delete from audit_record where number > $1", last),
            ("update audit_head set number = $1, hash = (select hash from audit_record where number = $1)", last),
        )
        assert (found == set()) == (count == 1), count
        assert bool(found & {("seal", 1), ("seal", 2)}) == (last < 9), count


async def test_accesses_that_are_cut_off_with_their_seals_differ_from_the_newest_seal_that_is_stored_elsewhere(
    desk: Desk,
) -> None:
    """Behind the last decision nothing else in the store says that they were there; a seal from before them says nothing either."""
    await made(desk)
    seals = CheckRecords(desk.store).seals
    former = await seals.newest()
    for mrn in ("x", "y"):
        await note(desk, [mrn])
        await ChainRecords(desk.store).finish()
    newest = await seals.newest()
    assert former is not None
    assert newest is not None
    head = ("update audit_head set number = 10, hash = (select hash from audit_record where number = 10)",)
    cut = ("delete from audit_record where number > 10",)
    assert await altered(desk, cut, head) == {("seal", 3)}, "the first seal behind the end"
    assert await altered(desk, ("delete from audit_seal where numbers[1] > 10",)) == set()
    for outside, errors in (
        (former, []),
        (
            newest,
            ["seal 4 was stored outside and is missing here: the records that it seals were cut off or rewritten"],
        ),
    ):
        assert (await CheckRecords(desk.store).run(Place(), 1_000, outside)).errors == errors


async def test_swapped_records_are_found(desk: Desk) -> None:
    await made(desk)
    async for one, other in each(desk, [(2, 3), (2, 4), (6, 8), (7, 9), (3, 11), (10, 11)]):
        found = await altered(
            desk,
            ("update audit_record set number = -1 where number = $1", one),
            ("update audit_record set number = $1 where number = $2", one, other),
            ("update audit_record set number = $1 where number = -1", other),
        )
        assert {("record", one), ("record", other)} <= found


async def test_an_inserted_record_is_found(desk: Desk) -> None:
    """A copy under the same number in another day, or under a number behind the end."""
    await made(desk)
    async for number, ahead in each(desk, product((1, 2, 7, 11), (False, True))):
        day, new = ("day + 1", number) if not ahead else ("day", 12)
        found = await altered(
            desk,
            (
                f"insert into audit_record select {day}, {new}, hash, kind, at, actor, method, reason, about, batch_day, batch_id, "
                f'"rows", digest, row_digest, subjects, salt from audit_record where number = $1',
                number,
            ),
        )
        assert ("record", new) in found, (number, ahead)


async def _rechained(desk: Desk, number: int) -> None:
    """Hash everything behind a record anew, and make head and seals agree, as one could who may write everything."""
    async with desk.store.database.transaction() as tx:
        rows = await tx.raw.fetch("select * from audit_record order by number")
        before = bytes(32)
        for row in rows:
            before = sha(before + defined_content(row)) if row["number"] >= number else row["hash"]
            await tamper(tx, "update audit_record set hash = $1 where number = $2", before, row["number"])
        await tamper(tx, "update audit_head set hash = $1", before)
        seal = bytes(32)
        for row in await tx.raw.fetch("select * from audit_seal order by number"):
            hashes = await tx.raw.fetchval("select hash from audit_record where number = $1", row["numbers"][0])
            seal = defined_seal({**dict(row), "hashes": hashes}, seal)
            await tamper(
                tx, "update audit_seal set hashes = $1, hash = $2 where number = $3", hashes, seal, row["number"]
            )


async def test_a_trail_that_is_rewritten_as_a_whole_differs_from_a_seal_that_is_stored_elsewhere(desk: Desk) -> None:
    await made(desk)
    seals = CheckRecords(desk.store).seals
    outside = await seals.newest()
    assert outside is not None
    await altered(desk, ("update audit_record set actor = 'officer/mallory' where number = 3",))
    await _rechained(desk, 3)
    assert await errors_of(desk) == []
    checked = await CheckRecords(desk.store).run(Place(), 1_000, outside)
    assert checked.errors == [
        "seal 2 has another hash than the one stored outside: the records that it seals were rewritten"
    ]
    checked = await CheckRecords(desk.store).run(Place(), 1_000, Seal(3, bytes(32)))
    assert checked.errors == [
        "seal 3 was stored outside and is missing here: the records that it seals were cut off or rewritten"
    ]


# ---------------------------------------------------------------------------------------------- batches
BATCHES = (1, 3, 5)


CHANGES_OF_BATCHES = (
        "payload = payload || '\\x00'", "payload = set_byte(payload, length(payload) / 2, 255 - get_byte(payload, length(payload) / 2))",
        "payload = ''", "created_at = created_at + 1", "row_count = row_count - 1", "schema_version = 2", "schema = 'other'",
        "traceparent = ''",
)  # fmt: skip


async def test_an_altered_batch_is_found(desk: Desk) -> None:
    await made(desk)
    async for change, number in each(desk, product(CHANGES_OF_BATCHES, BATCHES)):
        assert await altered(desk, (f"update batch set {change} where id = $1", number)) == {("batch", number)}


async def test_a_changed_decision_is_found_though_its_record_has_the_new_digests(desk: Desk) -> None:
    """The goods were released, says somebody who alters the batch, its record, and everything behind that."""
    await made(desk)
    async for number in each(desk, BATCHES):
        async with desk.store.database.connection() as reader:
            row = await reader.raw.fetchrow("select * from batch where id = $1", number)
        table = Table.parse(ClearanceColumns, row["payload"])
        released = table.with_columns({"state": Ints.constant(1, table.rows)})
        payload = released.serialize(ClearanceColumns)
        forged = {**dict(row), "payload": payload}
        found = await altered(desk, ("update batch set payload = $1 where id = $2", payload, number))
        assert found == {("batch", number)}
        found = await altered(
            desk,
            (
                "update audit_record set digest = $1, row_digest = $2 where kind = 1 and batch_id = $3",
                defined_batch(forged), defined_root(defined_rows(payload)), number,
            ),
        )  # fmt: skip
        assert found == {("record", 2 * number)}


async def test_a_root_that_is_not_of_the_rows_of_the_batch_is_found(desk: Desk) -> None:
    await made(desk)
    forged = "update audit_record set row_digest = sha256('x') where kind = 1 and batch_id = $1"
    async for number in each(desk, BATCHES):
        await altered(desk, (forged, number))
        await _rechained(desk, 2 * number)
        assert await altered(desk) == {("batch", number)}


async def test_a_deleted_batch_is_found(desk: Desk) -> None:
    await made(desk)
    async for number in each(desk, BATCHES):
        assert await altered(desk, ("delete from batch where id = $1", number)) == {("batch", number)}


async def test_swapped_batches_are_found(desk: Desk) -> None:
    await made(desk)
    async for one, other in each(desk, [(1, 2), (1, 5), (3, 4)]):
        found = await altered(
            desk,
            ("update batch set id = -1 where id = $1", one),
            ("update batch set id = $1 where id = $2", one, other),
            ("update batch set id = $1 where id = -1", other),
        )
        assert found == {("batch", one), ("batch", other)}


async def test_an_inserted_batch_is_found(desk: Desk) -> None:
    """Whatever its number, on this day or on another one; only of what was stored before the trail nothing is known."""
    await made(desk)
    since = await _since(desk)
    columns = "created_at, row_count, schema_version, schema, traceparent, payload"
    async for number in each(desk, (-1, 0, 3, 6, 2**40)):
        day = "day" if number not in (3,) else "day + 1"
        copied = f"insert into batch select {day}, $1, {columns} from batch where id = 2"
        assert await altered(desk, (copied, number)) == ({("batch", number)} if number > since else set())


async def _since(desk: Desk) -> int:
    async with desk.store.database.connection() as reader:
        return int(await reader.raw.fetchval("select since from audit_head"))


async def test_a_whole_day_of_batches_that_is_dropped_is_found(desk: Desk) -> None:
    await made(desk)
    async with desk.store.database.connection() as reader:
        day = await reader.raw.fetchval("select max(day) from batch")
    assert await altered(desk, (f"drop table batch_d{day}",)) == {("batch", number) for number in range(1, 6)}


async def test_a_second_record_of_a_batch_is_found_though_the_chain_is_sound(desk: Desk) -> None:
    await made(desk)
    columns = 'kind, at, actor, method, reason, about, batch_day, batch_id, "rows", digest, row_digest, subjects, salt'
    async with desk.store.database.transaction() as tx:
        await tamper(
            tx,
            f"insert into audit_pending ({columns}) select {columns} from audit_record where number = 4",
        )
    assert await altered(desk) == {("batch", 2)}
    await ChainRecords(desk.store).finish()
    assert await altered(desk) == {("batch", 2)}


async def test_a_record_that_waits_and_is_deleted_leaves_a_batch_without_one(desk: Desk) -> None:
    await made(desk)
    await desk.consume(filings(["GREEN-9"]))
    assert await altered(desk) == set()
    assert await altered(desk, ("delete from audit_pending",)) == {("batch", 6)}


async def test_the_first_batch_of_a_store_that_has_no_record_is_found(desk: Desk) -> None:
    await desk.consume(filings(["GREEN-1"]))
    assert await altered(desk, ("delete from audit_pending",)) == {("batch", 1)}


# ---------------------------------------------------------------------------------------------- head, seals, days
async def test_an_altered_head_is_found(desk: Desk) -> None:
    await made(desk)
    changes = (
        "number = number - 1", "number = number + 1", "hash = sha256(hash)", "since = 3", "dropped_record = 5", "dropped_number = 3",
    )  # fmt: skip
    async for change in each(desk, changes):
        assert await altered(desk, (f"update audit_head set {change}",)) & {("end",), ("beginning",)}, change


async def test_an_altered_or_a_deleted_seal_is_found(desk: Desk) -> None:
    await made(desk)
    changes = (
        "hash = sha256(hash)", "sealed_at = sealed_at + 1", "hashes = sha256(hashes)", "numbers = array[numbers[1] - 1]", "numbers = array[99]",
    )  # fmt: skip
    async for change, number in each(desk, product(changes, (1, 2))):
        found = await altered(desk, (f"update audit_seal set {change} where number = $1", number))
        assert ("seal", number) in found, (change, number)
    assert ("seals",) in await altered(desk, ("delete from audit_seal where number = 1",))


async def test_records_that_are_not_sealed_in_time_are_reported(desk: Desk) -> None:
    await made(desk)
    late = "a record of over 0 minutes ago is not chained or not sealed; the newest seal is 2 and covers 9 records"
    assert await errors_of(desk, late_seconds=0) == [late]
    await ChainRecords(desk.store).finish()
    assert await errors_of(desk, late_seconds=0) == []
    await note(desk, ["x"])
    assert await errors_of(desk, late_seconds=0) == [late.replace("is 2", "is 3").replace("covers 9", "covers 11")]


async def made_over_days(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> int:
    """A trail of which records 1 to 3 are of today and each further pair of a day more; return today."""
    desk.consistent = False
    async with desk.store.database.connection() as reader:
        first = await today(reader)
    for later in range(4):

        async def day(_: Any, later: int = later) -> int:
            return first + later

        monkeypatch.setattr("services.clearance.store.audit.trail.today", day)
        await desk.consume(filings([f"GREEN-{later}"]))
        await note(desk, ["x"])
        await ChainRecords(desk.store).finish()
    return first


@pytest.mark.parametrize(("later", "records"), [(0, (1, 3)), (1, (4, 5)), (2, (6, 7)), (3, (8, 9))])
@pytest.mark.parametrize("table", ["delete from", "drop table"])
async def test_a_whole_day_of_records_that_is_removed_is_found(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, later: int, records: tuple[int, int], table: str
) -> None:
    first = await made_over_days(desk, monkeypatch)
    assert await altered(desk) == set()
    found = await altered(desk, (f"{table} audit_record_{first + later}",))
    assert (("missing", *records) if later < 3 else ("end",)) in found


async def test_days_that_are_over_are_dropped_and_the_rest_stays_proven(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of the last day of the trail; the batches of all days are of today, and gone before."""
    first = await made_over_days(desk, monkeypatch)
    assert await drop_record_days.drop_record_days(desk.store) == 0, "their time has not come"
    for module in (drop_record_days, check):
        monkeypatch.setattr(module, "RECORD_DAYS", -2)
    assert await drop_record_days.drop_record_days(desk.store) == 0, "batches of that day are still stored"
    async with desk.store.database.transaction() as tx:
        await tamper(tx, f"drop table batch_d{first}")
    monkeypatch.setattr(check, "Retention", lambda: SimpleNamespace(payload_days=-1))
    assert await drop_record_days.drop_record_days(desk.store) == 1
    async with desk.store.database.connection() as reader:
        numbers = [row["number"] for row in await reader.raw.fetch("select number from audit_record order by number")]
    assert numbers == [4, 5, 6, 7, 8, 9, 10]
    assert await errors_of(desk) == []
    await ChainRecords(desk.store).finish()
    assert await errors_of(desk, records=1) == []
    monkeypatch.setattr(check, "RECORD_DAYS", 430)
    (error,) = await errors_of(desk)
    assert places([error]) == {("record", 10)}, "it was not due"
    monkeypatch.setattr(check, "RECORD_DAYS", -2)
    async with desk.store.database.transaction() as tx:
        await tamper(
            tx,
            "update audit_head set dropped_number = 4, dropped_hash = (select hash from audit_record where number = 4)",
        )
        await tamper(tx, "delete from audit_record where number = 4")
    assert ("beginning",) in places(await errors_of(desk)), "more than the deletion states is gone"


async def test_more_days_are_dropped_later_and_the_newest_deletion_counts(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await made_over_days(desk, monkeypatch)
    for module in (drop_record_days, check):
        monkeypatch.setattr(module, "RECORD_DAYS", -2)
    monkeypatch.setattr(check, "Retention", lambda: SimpleNamespace(payload_days=-1))
    for later in (0, 1):
        async with desk.store.database.transaction() as tx:
            await tamper(tx, f"drop table batch_d{first + later}")
        assert await drop_record_days.drop_record_days(desk.store) == 1
        assert await errors_of(desk) == []
    async with desk.store.database.connection() as reader:
        assert await reader.raw.fetchval("select min(number) from audit_record") == 6


async def test_rows_of_the_trail_cannot_be_changed_or_deleted_by_mistake(desk: Desk) -> None:
    await made(desk)
    for statement in ("update audit_record set reason = 'x'", "delete from audit_record", "truncate audit_record"):
        with pytest.raises(StoreConflict, match="23001"):
            async with desk.store.database.transaction() as tx:
                await tx.raw.execute(statement)
    assert await altered(desk) == set()
