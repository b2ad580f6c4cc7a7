"""Chaining and sealing: by any replica, in parts, whatever fails between, and without waiting."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from libs.store.database import Database
from libs.store.errors import StoreUnavailable
from libs.telemetry.metrics import REGISTRY
from services.clearance.commands.audit import chain_records
from services.clearance.commands.audit.chain_records import ChainRecords
from services.clearance.jobs.audit import AuditJob, look
from services.clearance.store import Store
from services.clearance.store.audit.trail import Origin
from tests.clearance.audit.trail import errors_of, made, note, wrong_by_definition
from tests.clearance.desk import Desk, filings
from tests.support.cutting_proxy import Cut, CuttingProxy


async def count(desk: Desk, table: str) -> int:
    async with desk.store.database.connection() as reader:
        return int(await reader.raw.fetchval(f"select count(*) from {table}"))  # a name of ours


async def test_replicas_that_chain_and_seal_at_once_chain_each_record_once(desk: Desk) -> None:
    for number in range(20):
        await note(desk, [f"M{number}"])
    replicas = [ChainRecords(desk.store) for _ in range(4)]
    await asyncio.gather(*(each.finish() for each in replicas), *(each.chain_all() for each in replicas))
    assert await count(desk, "audit_record") == 21
    assert await errors_of(desk) == []
    assert await wrong_by_definition(desk.store.database) == set()


async def test_a_replica_does_not_wait_for_one_that_is_at_it(desk: Desk) -> None:
    await note(desk, ["M"])
    chain = ChainRecords(desk.store)
    async with desk.store.database.transaction() as tx:
        await desk.store.audit.head(tx, lock="for update")
        async with asyncio.timeout(5):
            await chain.chain_all()
            assert await chain.seal() is None
        # Nobody who decides or looks waits for the head either.
        async with asyncio.timeout(5):
            await note(desk, ["N"])
            await desk.consume(filings(["GREEN-1"]))
    assert await count(desk, "audit_record") == 0
    await chain.finish()
    assert await count(desk, "audit_record") == 4


@pytest.mark.parametrize(("records_max", "subjects_max"), [(1, 2_000), (3, 2_000), (200, 1), (200, 5)])
async def test_parts_of_any_size_make_the_same_chain(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, records_max: int, subjects_max: int
) -> None:
    monkeypatch.setattr(chain_records, "RECORDS_MAX", records_max)
    monkeypatch.setattr(chain_records, "SUBJECTS_MAX", subjects_max)
    for number in range(7):
        await note(desk, [f"M{number}-{place}" for place in range(number)])
    await ChainRecords(desk.store).finish()
    async with desk.store.database.connection() as reader:
        rows = await reader.raw.fetch(
            "select cardinality(subjects) as subjects from audit_record where kind = 2 order by number"
        )
    assert [row["subjects"] for row in rows] == list(range(7))
    assert await wrong_by_definition(desk.store.database) == set()


@pytest.mark.parametrize("cut", [Cut(sent=0), Cut(), Cut(late_seconds=0.15)], ids=["rolled back", "unheard", "late"])
async def test_a_lost_answer_to_a_commit_neither_loses_nor_repeats_a_record(
    desk: Desk, database_url: str, cut: Cut
) -> None:
    await desk.consume(filings(["GREEN-1"]))
    await note(desk, ["M"])
    async with (
        CuttingProxy(database_url, statement=b"delete from audit_pending") as proxy,
        Database(proxy.url, name="cut") as database,
    ):
        proxy.plan([cut])
        chain = ChainRecords(Store(database))
        with pytest.raises(StoreUnavailable):
            await chain.chain()
        await chain.finish()
    assert await count(desk, "audit_record") == 3
    assert await count(desk, "audit_pending") == 0
    assert await errors_of(desk) == []


async def test_the_job_chains_at_once_and_seals_in_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    job = AuditJob(desk.store, seal_seconds=3_600)
    await job.step()
    assert (await count(desk, "audit_record"), await count(desk, "audit_seal")) == (0, 0), "an idle trail is only read"
    await note(desk, ["M"])
    await job.step()
    assert (await count(desk, "audit_record"), await count(desk, "audit_seal")) == (2, 1)
    await note(desk, ["M"])
    await job.step()
    assert (await count(desk, "audit_record"), await count(desk, "audit_seal")) == (3, 1), "not yet"
    monkeypatch.setattr(chain_records, "SEAL_RECORDS", 2)
    await note(desk, ["M"])
    await job.step()
    assert (await count(desk, "audit_record"), await count(desk, "audit_seal")) == (4, 2), "enough records"
    assert await errors_of(desk) == []


async def covered(desk: Desk) -> list[int]:
    """How many records each seal covers."""
    async with desk.store.database.connection() as reader:
        last = [
            row["last"] for row in await reader.raw.fetch("select numbers[1] as last from audit_seal order by number")
        ]
    return [after - before for before, after in pairwise([0, *last])]


@pytest.mark.parametrize("by", ["job", "export"])
async def test_after_a_backlog_no_seal_covers_more_than_evidence_may_have(desk: Desk, by: str) -> None:
    async with desk.store.database.transaction() as tx:
        await desk.store.audit.note_access(tx, Origin("officer/otto", "GetStatus", ""), "", ["M"])
        columns = (
            "kind, at, actor, method, reason, about, batch_day, batch_id, rows, digest, row_digest, subjects, salt"
        )
        await tx.raw.execute(
            f"insert into audit_pending ({columns}) select {columns} from audit_pending, generate_series(1, 2200)"  # names of ours
        )
    await (AuditJob(desk.store, seal_seconds=60).step() if by == "job" else ChainRecords(desk.store).finish())
    assert await covered(desk) == [1_000, 1_000, 202]
    await note(desk, ["M"])
    await ChainRecords(desk.store).finish()
    assert await covered(desk) == [1_000, 1_000, 202, 1]
    assert await errors_of(desk) == []
    assert await wrong_by_definition(desk.store.database) == set()


def unsealed() -> float:
    value = REGISTRY.get_sample_value("luxor_clearance_audit_unsealed_seconds")
    assert value is not None
    return value


async def test_the_age_of_the_oldest_unsealed_record_is_reported(desk: Desk) -> None:
    chain = ChainRecords(desk.store)
    await look(desk.store.database)
    assert unsealed() == 0
    await note(desk, ["M"])
    async with desk.store.database.transaction() as tx:
        await tx.raw.execute("update audit_pending set at = at - 70000000")
    await look(desk.store.database)
    assert 70 <= unsealed() < 100
    await chain.chain()
    await note(desk, ["N"])
    await look(desk.store.database)
    assert 0 < unsealed() < 100
    await chain.finish()
    await look(desk.store.database)
    assert unsealed() == 0


async def test_a_trail_of_many_seals_is_proven(desk: Desk) -> None:
    await made(desk)
    for number in range(5):
        await note(desk, [f"M{number}"])
        await ChainRecords(desk.store).finish()
    assert await errors_of(desk, records=2) == []
    assert await wrong_by_definition(desk.store.database) == set()
