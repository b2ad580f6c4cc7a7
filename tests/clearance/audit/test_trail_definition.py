"""The stored trail has the hashes that the documentation defines, for every way in which a batch is stored."""

from __future__ import annotations

import pytest

from libs.chain.audit import is_under, path_to, root
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.commands.audit.chain_records import ChainRecords
from services.clearance.consignment.transitions import Change
from services.clearance.jobs.waits import Waits
from tests.clearance.audit.trail import defined_root, errors_of, made, note, sha, wrong_by_definition
from tests.clearance.desk import Desk, filings, mrns
from tests.clearance.desk_commands import arrival, arrive


async def test_the_stored_trail_is_the_defined_one(desk: Desk) -> None:
    await made(desk)
    assert await wrong_by_definition(desk.store.database) == set()
    assert await errors_of(desk) == []
    async with desk.store.database.connection() as reader:
        rows = await reader.raw.fetch(
            "select kind, actor, method, about, rows, subjects from audit_record order by number"
        )
        assert await reader.raw.fetchval("select batch_id from audit_record where number = 1") == 0, "no batch is older"
        assert await reader.raw.fetchval("select count(*) from audit_pending") == 0
    told = [(row["kind"], row["actor"], row["method"], row["about"], row["rows"], len(row["subjects"])) for row in rows]
    assert told == [
        (4, "clearance", "", "", 0, 0),
        *[(1, "clearance", "", "", 3, 0), (2, "officer/otto", "GetStatus", "", 0, 2)] * 5,
    ]


async def test_every_way_of_storing_versions_leaves_a_record(desk: Desk) -> None:
    """First decisions, amendments, refused amendments, arrivals and repeats: one record for each batch, and none without one."""
    filed = filings(["GREEN-1", "YELLOW-1", "RED-1"])
    await desk.consume(filed)
    await desk.consume(filed)
    await desk.consume(filings(["GREEN-1"], version=2))
    await arrive(desk, arrival())
    await desk.consume(filings(["GREEN-1"], version=3))
    await Waits(desk.store, "one").step(at=2**60)
    await ChainRecords(desk.store).finish()
    async with desk.store.database.connection() as reader:
        rows = await reader.raw.fetch(
            "select payload from audit_record join batch on batch.day = batch_day and id = batch_id where kind = 1 order by number"
        )
        assert len(rows) == await reader.raw.fetchval("select count(*) from batch")
    changes = [ClearanceColumns.FromString(row["payload"]).change.values[0] for row in rows]
    assert changes == [Change.DECIDED, Change.AMENDED, Change.ARRIVED, Change.AMENDMENT_REFUSED, Change.STORAGE_ENDED]
    assert await wrong_by_definition(desk.store.database) == set()
    assert await errors_of(desk) == []


async def test_a_decision_that_is_rolled_back_leaves_no_record(desk: Desk) -> None:
    class Stopped(Exception):
        pass

    with pytest.raises(Stopped):
        await _apply_and_stop(desk, Stopped)
    async with desk.store.database.connection() as reader:
        assert await reader.raw.fetchval("select count(*) from audit_pending") == 0


async def _apply_and_stop(desk: Desk, error: type[Exception]) -> None:
    prepared = await desk.prepare(filings(["GREEN-1"]))
    async with desk.store.database.transaction() as tx:
        await desk.intake.apply(tx, prepared)
        raise error


async def test_what_is_committed_later_is_chained_later_and_nothing_is_lost(desk: Desk) -> None:
    """The first access is noted first and committed last."""
    chain = ChainRecords(desk.store)
    (mrn,) = mrns(filings(["GREEN-1"]))
    async with desk.store.database.transaction() as late:
        await desk.store.audit.note_access(late, desk.store.origin(), "first", [mrn])
        await note(desk, [mrn], about="second")
        await chain.chain_all()
    await chain.finish()
    async with desk.store.database.connection() as reader:
        rows = await reader.raw.fetch("select number, about from audit_record where kind = 2 order by number")
    assert [tuple(row) for row in rows] == [(2, "second"), (3, "first")]
    assert await errors_of(desk) == []


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 128, 129, 4_097])
def test_a_path_proves_each_digest_under_a_root_and_no_other(count: int) -> None:
    leaves = [sha(bytes([place % 256, place // 256])) for place in range(count)]
    top = root(leaves)
    assert top == defined_root(leaves)
    for place in sorted({0, 1, 62, 63, 64, 65, count // 2, count - 1} & set(range(count))):
        group, groups = path_to(leaves, place)
        assert is_under(top, count, leaves[place], place, group, groups)
        assert not is_under(top, count, sha(b"other"), place, group, groups)
        assert not is_under(sha(b"other"), count, leaves[place], place, group, groups)
        for other in (place - 1, place + 1, place + 64, -1, count):
            assert not is_under(top, count, leaves[place], other, group, groups)
        assert not is_under(top, count + 64, leaves[place], place, group, groups)
        assert not is_under(top, count, leaves[place], place, group + bytes(32), groups)
        assert not is_under(top, count, leaves[place], place, group, groups[:-32])
        changed = bytes([group[-1] ^ 1])
        assert not is_under(top, count, leaves[place], place, group[:-1] + changed, groups)
