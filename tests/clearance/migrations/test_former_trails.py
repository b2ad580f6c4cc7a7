"""A store whose migrations 0019 and 0021 had earlier forms: no record is lost, each verifies as it is, and what is not proven is named."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from libs.client.clearance.evidence import verify_evidence
from libs.store.database import Database, Transaction
from libs.store.tables.migrate import migrate
from libs.store.tables.schema import today
from luxor.clearance.v1 import audit_pb2 as pb
from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.clearance.v1.audit_pb2_grpc import AuditServiceStub
from services.clearance.__main__ import assemble
from services.clearance.jobs.audit import AuditJob
from services.clearance.store.audit.seals import AuditSeals
from services.clearance.store.releases import StoredMark
from tests.clearance.audit.trail import defined_content, each, errors_of, places, sha, tamper, wrong_by_definition
from tests.clearance.desk import Desk, filings, mrns, neighbours_at_work
from tests.clearance.later_tables import add_applications, remove_applications
from tests.clearance.service_client import NOBODY, SECONDS, House, ask, asking
from tests.support.earlier_schema import migrate_to
from tests.support.services import running

FORMER = (
    *(f"alter table {table} rename about to cause" for table in ("audit_pending", "audit_record")),
    *(f"alter table {table} drop column salt" for table in ("audit_pending", "audit_record")),
    "alter table release_list_mark drop constraint release_list_mark_pkey",
    "alter table release_list_mark add primary key (serial, line, house_document, decision)",
    "update audit_head set since = 1",
    """
    create or replace function audit_batch() returns trigger language plpgsql as $body$
    declare
        note json := nullif(current_setting('luxor.batch_note', true), '')::json;
    begin
        insert into audit_pending
            (kind, at, actor, method, reason, cause, batch_day, batch_id, "rows", digest, row_digest, subjects)
        values (
            1, new.created_at, coalesce(note ->> 'actor', 'clearance'), coalesce(note ->> 'method', ''), coalesce(note ->> 'reason', ''),
            'DECIDED', new.day, new.id, new.row_count,
            sha256(convert_to(concat_ws(
                ' ', new.day, new.id, new.created_at, new.row_count, new.schema_version, new.schema, new.traceparent, ''
            ), 'UTF8') || new.payload),
            sha256('a root over digests of another form'), '{}'
        );
        return new;
    end
    $body$
    """,
)
"""What makes the tables of today those of the earlier forms."""
CONTENT = 'kind, at, actor, method, reason, cause, batch_day, batch_id, "rows", digest, row_digest, subjects'
SCHEMA = """
    select a.attrelid::regclass::text, a.attname, a.attnotnull, format_type(a.atttypid, a.atttypmod) from pg_attribute a
    where a.attrelid::regclass::text ~ '^(audit_|release_list_mark)' and a.attnum > 0 order by 1, a.attnum
"""


@pytest.fixture(autouse=True)
def chains_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job of the service does nothing."""

    async def idle(_: AuditJob) -> None:
        pass

    monkeypatch.setattr(AuditJob, "step", idle)


async def look_as_before(tx: Transaction, numbers: list[str]) -> None:
    """Note an access as the former release did."""
    await tx.raw.execute(
        f"insert into audit_pending ({CONTENT}) values (2, 1, 'officer/otto', 'GetStatus', '', 'MASTER-1', 0, 0, 0, '', '', $1)",
        numbers,
    )


async def chain_as_before(tx: Transaction) -> None:
    """Chain what waits by the former definition."""
    day, before, number = await today(tx), bytes(32), 0
    opening = "4, 1, 'clearance', '', '', '', 0, since, 0, ''::bytea, ''::bytea, '{}'::text[]"
    waiting = (
        f"select 0 as place, {opening} from audit_head union all select number, {CONTENT} from audit_pending order by 1"
    )
    await tx.raw.execute(f"create temporary table former (place, {CONTENT}) on commit drop as {waiting}")
    for number, row in enumerate(await tx.raw.fetch("select * from former order by place"), 1):
        as_now: dict[str, Any] = {**dict(row), "day": day, "number": number, "about": row["cause"], "salt": None}
        before = sha(before + defined_content(as_now))
        await tx.raw.execute(
            f"insert into audit_record (day, number, hash, {CONTENT}) select $1, $2, $3, {CONTENT} from former where place = $4",
            day, number, before, row["place"],
        )  # fmt: skip
    await tx.raw.execute("delete from audit_pending")
    await tx.raw.execute("insert into audit_day values ($1, 1, $2)", day, number)
    await tx.raw.execute("update audit_head set number = $1, hash = $2, day = $3", number, before, day)


@pytest.mark.parametrize("is_chained", [True, False])
async def test_records_of_the_former_form_stay_and_verify(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_chained: bool
) -> None:
    await migrate_to(database, "services.clearance", "0028", tmp_path, monkeypatch)
    await add_applications(database)
    async with neighbours_at_work() as (neighbours, channel):
        desk = Desk(database, neighbours, channel)
        own, other = mrns(filed := filings(["GREEN-1", "RED-1"]))
        async with database.transaction() as tx:
            for statement in FORMER:
                await tx.raw.execute(statement)
        await desk.consume(filed)
        async with database.transaction() as tx:
            await look_as_before(tx, [own, other])
            await tx.raw.execute(
                "insert into release_list_mark values ('L1', 0, 'H-1', 1, 5, 'otto', '', 7, 0, 0, 'olga', $1)",
                await today(tx),
            )
            if is_chained:
                await chain_as_before(tx)
                await AuditSeals(database).make(tx)
            table = "audit_record where kind < 4" if is_chained else "audit_pending"
            former = await tx.raw.fetch(f"select {CONTENT} from {table} order by number")
            assert len(former) == 2
        await desk.consume(filings(["GREEN-1"], version=2))
        async with database.transaction() as tx:
            await look_as_before(tx, [other])
    await remove_applications(database)
    # The service migrates. What waits is chained in the former form as well.
    environ = {f"LUXOR_{name}_TARGET": NOBODY for name in ("INGESTION", "RISK", "REVENUE")}
    async with (
        running("clearance", assemble, database_url, environ=environ) as service,
        neighbours_at_work() as (neighbours, channel),
    ):
        house = House(service, Desk(service.service.database, neighbours, channel))
        (status,) = await ask(await house.stub("officer", "otto"), asking(mrn=own))
        hold = clearance.HoldConsignmentsRequest(
            request_id="h1", reason="INTELLIGENCE_RECEIVED", consignments=[clearance.ConsignmentRef(mrn=own)]
        )
        await (await house.stub("officer", "olga")).HoldConsignments(hold, timeout=SECONDS)
        assert status.consignments[0].version == 2
        request = pb.ExportEvidenceRequest(mrn=own, purpose="appeal 17/2026")
        auditing = AuditServiceStub(await service.channel("officer", "otto"))
        evidence = (await auditing.ExportEvidence(request, timeout=SECONDS)).evidence
        await _is_as_defined(house, former, is_chained=is_chained)
        _is_proven_as_far_as_it_can_be(evidence, [own, other])
        async with database.transaction() as tx:
            marks = [StoredMark(0, "", 1, 5, "otto", mrn, 7, 0, 0) for mrn in (own, other)]
            await house.desk.store.release_lists.add(
                tx, "L1", [StoredMark(0, "H-1", 1, 9, "x", "", 7, 0, 0), *marks], "o"
            )
            stored = await tx.raw.fetch("select house_document, marked_at, mrn from release_list_mark order by mrn")
        assert [tuple(row) for row in stored] == [("H-1", 5, ""), *(("", 5, mrn) for mrn in sorted((own, other)))]


async def _is_as_defined(house: House, former: list[Any], *, is_chained: bool) -> None:
    database = house.desk.store.database
    assert await errors_of(house.desk) == []
    assert await wrong_by_definition(database) == set()
    async with database.connection() as reader:
        rows = await reader.raw.fetch("select * from audit_record order by number")
    assert [row["salt"] is None for row in rows] == [is_chained, *[True] * 4, *[False] * (len(rows) - 5)]
    assert rows[0]["batch_id"] == int(is_chained), "before the first record was chained, it is put right"
    assert [
        (row["about"], *(row[name] for name in ("kind", "subjects", "digest", "row_digest"))) for row in rows[1:3]
    ] == [(row["cause"], *(row[name] for name in ("kind", "subjects", "digest", "row_digest"))) for row in former]
    statements = (
        "update audit_record set about = 'OTHER' where number = 3",
        "update audit_record set subjects = subjects[1:1] where number = 3",
        "update audit_record set row_digest = '' where number = 2",
        "update audit_record set salt = '' where number = 2",
        "delete from audit_record where number = 2",
        "update batch set payload = payload || '\\x00' where id = 1",
    )
    async for statement in each(house.desk, statements):
        async with database.transaction() as tx:
            await tamper(tx, statement)
        found = await wrong_by_definition(database)
        assert found
        assert places(await errors_of(house.desk)) == found, statement


def _is_proven_as_far_as_it_can_be(evidence: pb.Evidence, numbers: list[str]) -> None:
    copies = {part.seal.number: part.seal.hash for part in evidence.chain}
    found = verify_evidence(evidence, copies)
    assert found.errors == []
    assert found.notes == [
        *(f"Version {version} is not proven: a replica of an earlier release stored it." for version in (2, 1)),
        "Earlier accesses are not part of the evidence.",
    ]
    assert [(one["version"], one["proven"]) for one in found.versions] == [(3, True), (2, False), (1, False)]
    assert [one["method"] for one in found.accesses] == ["GetStatus", "HoldConsignments", "ExportEvidence"]
    assert sha(numbers[1].encode()) not in evidence.SerializeToString(), "numbers can be counted up"
    cause = pb.Evidence.FromString(evidence.SerializeToString())
    for part in cause.chain:
        for item in part.items:
            if item.record.HasField("cause"):
                item.record.cause = "AMENDED"
    assert verify_evidence(cause, copies).errors


async def test_the_first_chaining_at_the_same_time_ends_before_the_tables_change(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_to(database, "services.clearance", "0028", tmp_path, monkeypatch)
    async with database.transaction() as tx:
        for statement in FORMER:
            await tx.raw.execute(statement)
    async with database.transaction() as tx:
        await tx.raw.execute("select from audit_head for update")
        migrating = asyncio.create_task(migrate(database, "services.clearance"))
        waits = False
        while not (waits or migrating.done()):
            async with database.connection() as reader:
                waits = await reader.raw.fetchval("select exists (select from pg_locks where not granted)")
        await tx.raw.execute("delete from audit_pending")
    assert (await migrating)[0] == "0029"


async def test_a_store_of_the_present_forms_is_not_changed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_to(database, "services.clearance", "0028", tmp_path, monkeypatch)
    async with database.connection() as reader:
        before = (
            await reader.raw.fetch(SCHEMA),
            await reader.raw.fetchval("select xmin from pg_proc where proname = 'audit_batch'"),
        )
    assert await migrate(database, "services.clearance") == [
        "0029",
        "0030",
        "0033",
        "0034",
        "0035",
        "0036",
        "0038",
        "0039",
        "0040",
        "0042",
        "0044",
        "0045",
        "0046",
        "0047",
        "0048",
    ]
    async with database.connection() as reader:
        after = (
            await reader.raw.fetch(SCHEMA),
            await reader.raw.fetchval("select xmin from pg_proc where proname = 'audit_batch'"),
        )
    assert before == after
