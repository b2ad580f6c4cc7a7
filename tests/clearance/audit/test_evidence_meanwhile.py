"""What happens while evidence of a consignment is collected, and who collects it."""

from __future__ import annotations

import asyncio

import pytest

from libs.client.clearance.evidence import verify_evidence
from luxor.clearance.v1 import audit_pb2 as pb
from services.clearance.commands.audit.chain_records import ChainRecords
from services.clearance.jobs.audit import AuditJob
from tests.clearance.audit.evidence import audit, copies, exported, held, idle, not_compared
from tests.clearance.audit.trail import tamper
from tests.clearance.service_client import SECONDS, House, ask, asking, refused_with


@pytest.fixture(autouse=True)
def seals_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job of the service does nothing: on a busy machine it would seal in between."""
    monkeypatch.setattr(AuditJob, "step", idle)


@pytest.mark.parametrize("is_chained", [False, True], ids=["waits", "chained and not sealed"])
async def test_what_is_done_while_evidence_is_collected_is_not_part_of_it(
    house: House, monkeypatch: pytest.MonkeyPatch, is_chained: bool
) -> None:
    """An access between the export and its seal, and behind it a decision and an access."""
    (own,) = await house.filed(["GREEN-1"])
    analyst = await house.stub("analyst", "anna")
    finish = ChainRecords.finish

    async def meanwhile(chain: ChainRecords) -> None:
        await ask(analyst, asking(mrn=own))
        await finish(chain)
        await held(house, own)
        if is_chained:
            await chain.chain_all(wait=True)

    with monkeypatch.context() as patched:
        patched.setattr(ChainRecords, "finish", meanwhile)
        whole = await exported(house, own)
    found = verify_evidence(whole, copies(whole))
    assert (found.errors, found.is_proven) == ([], True)
    assert [each["version"] for each in found.versions] == [1]
    assert [each["method"] for each in found.accesses] == ["ExportEvidence"]
    later = await exported(house, own)
    found = verify_evidence(later, copies(later))
    assert (found.errors, [each["version"] for each in found.versions]) == ([], [2, 1])
    assert [each["method"] for each in found.accesses] == [
        "ExportEvidence",
        "GetStatus",
        "HoldConsignments",
        "ExportEvidence",
    ]


async def test_exports_of_one_consignment_at_once_verify_each(house: House) -> None:
    (own,) = await house.filed(["GREEN-1"])
    for found in await asyncio.gather(*(exported(house, own, purpose=f"appeal {number % 2}") for number in range(6))):
        assert verify_evidence(found, copies(found)).errors == []


async def test_a_consignment_that_is_dropped_before_it_is_collected_is_unknown(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own,) = await house.filed(["GREEN-1"])
    house.desk.consistent = False
    finish = ChainRecords.finish

    async def meanwhile(chain: ChainRecords) -> None:
        await finish(chain)
        async with house.desk.store.database.transaction() as tx:
            await tamper(tx, "delete from consignment")

    monkeypatch.setattr(ChainRecords, "finish", meanwhile)
    request = pb.ExportEvidenceRequest(mrn=own, purpose="appeal")
    refused = await refused_with((await audit(house)).ExportEvidence(request, timeout=SECONDS))
    assert refused[1] == "CONSIGNMENT_UNKNOWN"


async def test_a_version_that_a_replica_of_the_release_before_stored_is_named_as_not_proven(house: House) -> None:
    (own,) = await house.filed(["GREEN-1"])
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("update audit_pending set row_digest = ''")
    found = verify_evidence(await exported(house, own))
    note = "Version 1 is not proven: a replica of an earlier release stored it."
    assert (found.errors, found.notes, found.is_proven) == ([], [not_compared(1), note], False)


async def test_only_officers_and_analysts_export_and_state_a_purpose(house: House) -> None:
    (own,) = await house.filed(["GREEN-1"])
    request = pb.ExportEvidenceRequest(mrn=own, purpose="appeal")
    for role, ident in (
        ("filer", "shop"),
        ("carrier", "wings"),
        ("operator", "op"),
        ("agency", "food"),
        ("service", "revenue"),
    ):
        stub = await audit(house, role, ident)
        assert (await refused_with(stub.ExportEvidence(request, timeout=SECONDS)))[1] in (
            "ROLE_NOT_ALLOWED",
            "CONNECTION_NOT_IN_MAP",
        )
    stub = await audit(house, "analyst", "anna")
    for mrn, purpose, reason in (
        (own, "", "PURPOSE_MALFORMED"), (own, " ", "PURPOSE_MALFORMED"), (own, "x" * 201, "PURPOSE_MALFORMED"),
        ("26DE00", "appeal", "MRN_MALFORMED"), ("26DE32329000033OR6", "appeal", "CONSIGNMENT_UNKNOWN"),
    ):  # fmt: skip
        wrong = pb.ExportEvidenceRequest(mrn=mrn, purpose=purpose)
        assert (await refused_with(stub.ExportEvidence(wrong, timeout=SECONDS)))[1] == reason
    async with house.desk.store.database.connection() as reader:
        assert await reader.raw.fetchval("select count(*) from audit_pending where kind = 2") == 0, "nothing was seen"
    assert verify_evidence((await stub.ExportEvidence(request, timeout=SECONDS)).evidence).errors == []
