"""Evidence of one consignment: it verifies alone, it contains nothing of other consignments, and no part of it can be altered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message

from libs.chain.audit import is_under
from libs.client.clearance.evidence import evidence_text, read_evidence, verify_evidence
from libs.client.errors import LuxorError
from libs.columns import Table
from libs.columns.digest import row_digests
from luxor.clearance.v1 import audit_pb2 as pb
from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.clearance.v1.audit_pb2_grpc import AuditServiceStub
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.commands.audit import evidence as collecting
from services.clearance.commands.audit.chain_records import ChainRecords
from services.clearance.store import Store
from tests.clearance.desk import MASTER
from tests.clearance.service_client import SECONDS, House, arrivals, ask, asking, refused_with

NOT_COMPARED = "The seals were not compared with copies that are stored elsewhere."


async def audit(house: House, role: str = "officer", ident: str = "otto") -> AuditServiceStub:
    return AuditServiceStub(await house.service.channel(role, ident))


async def exported(house: House, mrn: str, role: str = "officer", purpose: str = "appeal 17/2026") -> pb.Evidence:
    request = pb.ExportEvidenceRequest(mrn=mrn, purpose=purpose)
    return (await (await audit(house, role)).ExportEvidence(request, timeout=SECONDS)).evidence


async def cleared(house: House) -> tuple[str, list[str]]:
    """File many, let them arrive, hold and release one of them; return it and the others."""
    own, *others = await house.filed(["GREEN-1", *(f"RED-{number}" for number in range(70))])
    carrier = await house.stub("carrier", "wings")
    await carrier.RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    stub = await house.stub("officer", "olga")
    refs = [clearance.ConsignmentRef(mrn=own)]
    held = clearance.HoldConsignmentsRequest(request_id="h1", reason="INTELLIGENCE_RECEIVED", consignments=refs)
    await stub.HoldConsignments(held, timeout=SECONDS)
    await ChainRecords(house.desk.store).finish()
    await ask(await house.stub("analyst", "anna"), asking(mrn=own))
    released = clearance.ReleaseConsignmentsRequest(request_id="r1", reason="DOCUMENTS_IN_ORDER", consignments=refs)
    await stub.ReleaseConsignments(released, timeout=SECONDS)
    return own, others


async def test_evidence_of_a_consignment_verifies_alone(house: House) -> None:
    own, _ = await cleared(house)
    found = verify_evidence(read_evidence(evidence_text(await exported(house, own)).encode()))
    assert (found.errors, found.notes) == ([], [NOT_COMPARED])
    told = [(each["version"], each["actor"], each["method"], each["reason"], each["cause"]) for each in found.versions]
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
    own, others = await cleared(house)
    stub = await house.stub("officer", "olga")
    await stub.ListConsignments(clearance.ListConsignmentsRequest(state=clearance.STATE_HELD), timeout=SECONDS)
    queries = [clearance.StatusQuery(mrn=each) for each in [own, *others[:5]]]
    await ask(stub, clearance.GetStatusRequest(queries=queries))
    content = evidence_text(await exported(house, own))
    assert verify_evidence(read_evidence(content.encode())).errors == []
    assert own in content
    assert not [each for each in others if each in content]
    assert "RED-" not in content


def leaves(message: Message, path: str = "") -> Iterator[tuple[str, Message, Any, int]]:
    """Each scalar value in a message: its path, the message and field that have it, and its place in a list or -1."""
    for field, value in message.ListFields():
        name = f"{path}.{field.name}"
        if field.message_type is not None:
            for place, each in enumerate(value if field.is_repeated else [value]):
                yield from leaves(each, f"{name}[{place}]")
        elif field.is_repeated:
            yield from ((f"{name}[{place}]", message, field, place) for place in range(len(value)))
        else:
            yield name, message, field, -1


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    return bytes([value[0] ^ 1]) + value[1:]


FREE = {".exported_at_micros"}
"""What nothing proves: when the file was made is a statement of who made it; the record of the export has its own time."""


async def test_no_value_of_evidence_can_be_altered(house: House) -> None:
    own, _ = await cleared(house)
    whole = await exported(house, own)
    sound = verify_evidence(whole)
    assert sound.errors == []
    count = len(list(leaves(whole)))
    unnoticed = []
    for place in range(count):
        copy = pb.Evidence()
        copy.CopyFrom(whole)
        path, message, field, at = list(leaves(copy))[place]
        if at < 0:
            setattr(message, field.name, changed(getattr(message, field.name)))
        else:
            getattr(message, field.name)[at] = changed(getattr(message, field.name)[at])
        if not verify_evidence(copy).errors:
            unnoticed.append(path)
    assert set(unnoticed) == FREE, (count, unnoticed)
    assert count > 300


@pytest.mark.parametrize("name", ["versions", "accesses", "chain"])
async def test_nothing_can_be_left_out_of_evidence_added_or_reordered(house: House, name: str) -> None:
    """Accesses are the exception: that one is left out is seen in the store alone."""
    own, others = await cleared(house)
    whole = await exported(house, own)
    other = await exported(house, others[0])
    for place in range(len(getattr(whole, name))):
        copy = pb.Evidence()
        copy.CopyFrom(whole)
        removed = getattr(copy, name).pop(place)
        is_last = place == len(getattr(whole, name)) - 1
        if name != "accesses" or is_last:
            assert verify_evidence(copy).errors or (name == "versions" and place == 0)
        getattr(copy, name).append(removed)
        assert is_last or verify_evidence(copy).errors
    copy = pb.Evidence()
    copy.CopyFrom(whole)
    getattr(copy, name).append(getattr(other, name)[0])
    assert verify_evidence(copy).errors
    for part in whole.chain:
        for place in range(len(part.items)):
            copy = pb.Evidence()
            copy.CopyFrom(whole)
            chosen = next(each for each in copy.chain if each.first_number == part.first_number)
            del chosen.items[place]
            assert verify_evidence(copy).errors
    assert verify_evidence(pb.Evidence()).errors


async def test_seals_are_compared_with_copies_that_are_stored_elsewhere(house: House) -> None:
    own, _ = await cleared(house)
    whole = await exported(house, own)
    number, digest = whole.chain[0].seal.number, whole.chain[0].seal.hash
    assert (verify_evidence(whole, {number: digest}).errors, verify_evidence(whole, {number: digest}).notes) == ([], [])
    assert verify_evidence(whole, {number: bytes(32)}).errors == [
        f"seal {number} has another hash than the one stored outside"
    ]
    assert verify_evidence(whole, {99: digest}).notes == [NOT_COMPARED]


async def test_versions_from_before_the_trail_are_shown_and_named_as_not_proven(house: House) -> None:
    own, _ = await cleared(house)
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("set local session_replication_role = replica")
        # As an upgrade finds it: the first batches have no record.
        await tx.raw.execute("delete from audit_record where kind = 1 and batch_id <= 2")
    found = verify_evidence(await exported(house, own))
    assert [note for note in found.notes if "not proven" in note] == [
        "Version 2 is not proven: it was stored before the trail began.",
        "Version 1 is not proven: it was stored before the trail began.",
    ]


async def test_a_version_that_a_replica_of_the_release_before_stored_is_named_as_not_proven(house: House) -> None:
    (own,) = await house.filed(["GREEN-1"])
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("update audit_pending set row_digest = ''")
    found = verify_evidence(await exported(house, own))
    assert (found.errors, found.notes[0]) == ([], "Version 1 is not proven: a replica of an earlier release stored it.")


async def test_evidence_of_an_altered_store_does_not_verify(house: House) -> None:
    own, _ = await cleared(house)
    house.desk.consistent = False
    database = house.desk.store.database
    async with database.connection() as reader:
        row = await reader.raw.fetchrow("select * from batch where id = 3")
    table = Table.parse(ClearanceColumns, row["payload"])
    payload = table.with_columns({"note": table.strings("note").translate(lambda _: "forged")}).encode(ClearanceColumns)
    async with database.transaction() as tx:
        await tx.raw.execute("update batch set payload = $1 where id = 3", payload.SerializeToString())
    found = await collecting.CollectEvidence(Store(database)).run(own)
    assert [each.ref.id for each in found.versions] == [4, 3, 2, 1]
    third = found.versions[1]
    assert third.path is not None
    record = next(each for part in found.parts for each in part.records if each.number == third.record)
    (leaf,) = row_digests(third.state)
    assert not is_under(record.row_digest, record.rows, leaf, third.row, third.path.group, third.path.groups)


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


async def test_evidence_of_more_than_a_part_of_the_chain_may_have_is_refused(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, _ = await cleared(house)
    monkeypatch.setattr(collecting, "RECORDS_MAX", 2)
    request = pb.ExportEvidenceRequest(mrn=own, purpose="appeal")
    assert (await refused_with((await audit(house)).ExportEvidence(request, timeout=SECONDS)))[
        1
    ] == "EVIDENCE_TOO_LARGE"


async def test_more_versions_and_accesses_than_evidence_has_room_for_are_named(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, _ = await cleared(house)
    monkeypatch.setattr(collecting, "VERSIONS_MAX", 2)
    monkeypatch.setattr(collecting, "ACCESSES_MAX", 2)
    found = verify_evidence(await exported(house, own))
    assert found.errors == []
    assert [len(found.versions), len(found.accesses)] == [2, 2]
    assert found.notes[:2] == [
        "Versions before version 3 are not part of the evidence.", "Earlier accesses are not part of the evidence."
    ]  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"mrn": 1}', b'{"other": "x"}'])
def test_a_file_that_is_no_evidence_is_refused(content: bytes) -> None:
    with pytest.raises(LuxorError) as caught:
        read_evidence(content)
    assert caught.value.reason == "EVIDENCE_UNREADABLE"
