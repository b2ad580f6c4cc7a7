"""Evidence of one consignment: it verifies alone, it contains nothing of other consignments, and it names what it has no room for."""

from __future__ import annotations

import pytest

from libs.client.clearance.evidence import evidence_text, read_evidence, verify_evidence
from luxor.clearance.v1 import audit_pb2 as pb
from luxor.clearance.v1 import clearance_pb2 as clearance
from services.clearance.commands.audit import evidence as collecting
from services.clearance.commands.audit.chain_records import ChainRecords
from services.clearance.jobs.audit import AuditJob
from tests.clearance.audit.evidence import as_altered, audit, cleared, copies, exported, held, idle, not_compared
from tests.clearance.audit.trail import note, sha, tamper
from tests.clearance.desk import MASTER
from tests.clearance.disposals import ABANDONED, SEIZED, disposal, dispose
from tests.clearance.service_client import SECONDS, House, arrivals, ask, refused_with


@pytest.fixture(autouse=True)
def seals_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job of the service does nothing: on a busy machine it would seal in between."""
    monkeypatch.setattr(AuditJob, "step", idle)


async def test_evidence_of_a_consignment_verifies_alone(house: House) -> None:
    own, _ = await cleared(house)
    found = verify_evidence(read_evidence(evidence_text(await exported(house, own)).encode()))
    assert (found.errors, found.notes, found.is_proven) == ([], [not_compared(1, 2)], False)
    told = [(each["version"], each["actor"], each["method"], each["reason"], each["change"]) for each in found.versions]
    assert told == [
        (4, "officer/olga", "ReleaseConsignments", "DOCUMENTS_IN_ORDER", "OFFICER_RELEASED"),
        (3, "officer/olga", "HoldConsignments", "INTELLIGENCE_RECEIVED", "OFFICER_HELD"),
        (2, "carrier/wings", "RecordArrivals", "", "ARRIVED"),
        (1, "clearance", "", "", "DECIDED"),
    ]
    assert {(each["rule_set_version"], each["rulebook_version"]) for each in found.versions} == {
        ("first-light/1+abc", "EU/2026.1/1f0c9a2b")
    }
    assert [(each["actor"], each["method"], each["reason"]) for each in found.accesses] == [
        ("officer/olga", "HoldConsignments", "INTELLIGENCE_RECEIVED"),
        ("analyst/anna", "GetStatus", ""),
        ("officer/olga", "ReleaseConsignments", "DOCUMENTS_IN_ORDER"),
        ("officer/otto", "ExportEvidence", "appeal 17/2026"),
    ]
    assert len(found.seals) == 2


async def test_evidence_contains_nothing_of_other_consignments(house: House) -> None:
    """Neither their numbers, nor a digest by which somebody who counts numbers up could find them, nor what was decided on them and why."""
    own, others = await cleared(house)
    await note(house.desk, [*others[:5], own], about="OTHER-DOCUMENT")
    stub = await house.stub("officer", "olga")
    await stub.ListConsignments(clearance.ListConsignmentsRequest(state=clearance.STATE_HELD), timeout=SECONDS)
    queries = [clearance.StatusQuery(mrn=each) for each in [own, *others[:5]]]
    await ask(stub, clearance.GetStatusRequest(queries=queries))
    content = evidence_text(await exported(house, own))
    assert verify_evidence(read_evidence(content.encode())).errors == []
    assert own in content
    assert not [each for each in others if each in content]
    assert "RED-" not in content
    assert "OTHER-DOCUMENT" not in content
    evidence = read_evidence(content.encode())
    salts = [b"", *(each.salt for each in evidence.accesses)]
    for access in evidence.accesses:
        shown = {access.path.group[start : start + 32] for start in range(0, len(access.path.group), 32)}
        assert sha(access.salt + own.encode()) in shown
        assert not [each for each in others for salt in salts if sha(salt + each.encode()) in shown]
    assert len({each.salt for each in evidence.accesses}) == len(evidence.accesses) == 6


async def test_evidence_has_the_change_and_the_reasons_of_the_own_version_alone(house: House) -> None:
    """One request seizes one consignment and records the abandonment of another, each for its own reason."""
    seized, abandoned = await house.filed(["RED-1", "RED-2"])
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    await dispose(
        house, disposal(seized, SEIZED, reason="COUNTERFEIT"), disposal(abandoned, ABANDONED, reason="DECLARANT_ASKED")
    )
    content = evidence_text(await exported(house, abandoned))
    found = verify_evidence(read_evidence(content.encode()))
    newest = found.versions[0]
    assert (found.errors, newest["version"], newest["change"], newest["reasons"]) == (
        [],
        3,
        "DISPOSED",
        ["DECLARANT_ASKED"],
    )
    more = read_evidence(content.encode())
    more.versions[0].state.reasons.values.dictionary.append("FORGED")
    assert verify_evidence(more).versions[0]["reasons"] == ["DECLARANT_ASKED"], (
        "only what a row refers to is under the root"
    )
    assert "COUNTERFEIT" not in content
    assert "SEIZED" not in content


async def test_versions_from_before_the_trail_are_shown_and_named_as_not_proven(house: House) -> None:
    """As an upgrade finds it: the first two batches have no record, and the first record says so."""
    (own,) = await house.filed(["GREEN-1"])
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    async with house.desk.store.database.transaction() as tx:
        await tamper(tx, "delete from audit_pending")
        await tamper(tx, "update audit_head set since = (select max(id) from batch)")
    await held(house, own)
    whole = await exported(house, own)
    found = verify_evidence(whole, copies(whole))
    assert (found.errors, found.is_proven) == ([], False)
    assert found.notes == [
        "Version 2 is not proven: it was stored before the trail began.",
        "Version 1 is not proven: it was stored before the trail began.",
    ]
    assert [each["proven"] for each in found.versions] == [True, False, False]

    def unrecorded(copy: pb.Evidence) -> None:
        copy.versions[0].record = 0

    def begun_later(copy: pb.Evidence) -> None:
        copy.chain[0].items[0].record.batch_id += 1

    def unstated(copy: pb.Evidence) -> None:
        copy.chain[0].items[0].content_digest = bytes(32)

    none = "version {} has no record, and none states that it is from before the trail"
    for alter, number in ((unrecorded, 3), (unstated, 2), (unstated, 1)):
        assert none.format(number) in verify_evidence(as_altered(whole, alter), copies(whole)).errors
    both = as_altered(whole, unrecorded, begun_later)
    assert (
        "the part of the chain from record 1 on does not lead to seal 1" in verify_evidence(both, copies(whole)).errors
    )


async def test_evidence_of_more_than_a_part_of_the_chain_may_have_is_refused(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, _ = await cleared(house)
    monkeypatch.setattr(collecting, "RECORDS_MAX", 2)
    request = pb.ExportEvidenceRequest(mrn=own, purpose="appeal")
    assert (await refused_with((await audit(house)).ExportEvidence(request, timeout=SECONDS)))[
        1
    ] == "EVIDENCE_TOO_LARGE"


async def test_the_oldest_accesses_are_left_out_of_evidence_whose_parts_of_the_chain_would_be_too_large(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each access has a seal of its own, and the first version and its record three records to theirs."""
    (own,) = await house.filed(["GREEN-1"])
    for _ in range(9):
        await note(house.desk, [own])
        await ChainRecords(house.desk.store).finish()
    monkeypatch.setattr(collecting, "RECORDS_MAX", 8)
    whole = await exported(house, own)
    assert 4 <= sum(len(part.items) for part in whole.chain) <= 8
    found = verify_evidence(whole, copies(whole))
    assert (found.errors, found.notes) == ([], ["Earlier accesses are not part of the evidence."])
    assert [each["method"] for each in found.accesses][-2:] == ["GetStatus", "ExportEvidence"]
    monkeypatch.setattr(collecting, "RECORDS_MAX", 100)
    assert len((await exported(house, own)).accesses) == 11


async def test_more_versions_and_accesses_than_evidence_has_room_for_are_named(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, _ = await cleared(house)
    monkeypatch.setattr(collecting, "VERSIONS_MAX", 2)
    monkeypatch.setattr(collecting, "ACCESSES_MAX", 2)
    found = verify_evidence(await exported(house, own))
    assert found.errors == []
    assert [len(found.versions), len(found.accesses)] == [2, 2]
    assert found.notes[1:] == [
        "Versions before version 3 are not part of the evidence.", "Earlier accesses are not part of the evidence."
    ]  # fmt: skip
