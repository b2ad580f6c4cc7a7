"""Evidence of one consignment: it verifies alone, it contains nothing of other consignments, and no part of it can be altered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
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
from services.clearance.jobs.audit import AuditJob
from services.clearance.store import Store
from tests.clearance.audit.trail import defined_seal, note, sha, stated_content, tamper
from tests.clearance.desk import MASTER
from tests.clearance.disposals import ABANDONED, SEIZED, disposal, dispose
from tests.clearance.service_client import SECONDS, House, arrivals, ask, asking, refused_with


def not_compared(*seals: int) -> str:
    numbers = ", ".join(map(str, seals))
    return (
        f"Not compared with a copy that is stored elsewhere, so nothing is proven that only it covers: seal {numbers}."
    )


def copies(evidence: pb.Evidence) -> dict[int, bytes]:
    """Its seals, as somebody else stored them."""
    return {part.seal.number: part.seal.hash for part in evidence.chain}


def as_altered(evidence: pb.Evidence, *alterations: Callable[[pb.Evidence], object]) -> pb.Evidence:
    copy = pb.Evidence()
    copy.CopyFrom(evidence)
    for alter in alterations:
        alter(copy)
    return copy


@pytest.fixture(autouse=True)
def seals_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job of the service does nothing: on a busy machine it would seal in between."""

    async def idle(_: AuditJob) -> None:
        pass

    monkeypatch.setattr(AuditJob, "step", idle)


async def audit(house: House, role: str = "officer", ident: str = "otto") -> AuditServiceStub:
    return AuditServiceStub(await house.service.channel(role, ident))


async def exported(house: House, mrn: str, role: str = "officer", purpose: str = "appeal 17/2026") -> pb.Evidence:
    request = pb.ExportEvidenceRequest(mrn=mrn, purpose=purpose)
    return (await (await audit(house, role)).ExportEvidence(request, timeout=SECONDS)).evidence


async def cleared(house: House, count: int = 70) -> tuple[str, list[str]]:
    """File many, let them arrive, hold and release one of them, with a seal between; return it and the others."""
    own, *others = await house.filed(["GREEN-1", *(f"RED-{number}" for number in range(count))])
    carrier = await house.stub("carrier", "wings")
    await carrier.RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    await held(house, own)
    await ChainRecords(house.desk.store).finish()
    await ask(await house.stub("analyst", "anna"), asking(mrn=own))
    released = clearance.ReleaseConsignmentsRequest(
        request_id="r1", reason="DOCUMENTS_IN_ORDER", consignments=[clearance.ConsignmentRef(mrn=own)]
    )
    await (await house.stub("officer", "olga")).ReleaseConsignments(released, timeout=SECONDS)
    return own, others


async def held(house: House, own: str) -> None:
    request = clearance.HoldConsignmentsRequest(
        request_id="h1", reason="INTELLIGENCE_RECEIVED", consignments=[clearance.ConsignmentRef(mrn=own)]
    )
    await (await house.stub("officer", "olga")).HoldConsignments(request, timeout=SECONDS)


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


Steps = tuple[tuple[str, int], ...]
"""Where a value is in a message: names of fields, each with the place in its list or -1."""


def values(message: Message, steps: Steps = ()) -> Iterator[Steps]:
    """Each scalar value in a message, also those that are not set, and each message that is not set."""
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        is_unset = field.message_type is not None and not field.is_repeated and not message.HasField(field.name)
        for place in range(len(value)) if field.is_repeated else (-1,):
            here = (*steps, (field.name, place))
            if field.message_type is None or is_unset:
                yield here
            else:
                yield from values(value[place] if place >= 0 else value, here)


def change_value(message: Any, steps: Steps) -> None:
    *outer, (name, place) = steps
    for each, at in outer:
        message = getattr(message, each) if at < 0 else getattr(message, each)[at]
    value = getattr(message, name)
    if isinstance(value, Message):
        fill(value)
    elif place < 0:
        setattr(message, name, changed(value))
    else:
        value[place] = changed(value[place])


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    return bytes([value[0] ^ 1]) + value[1:] if value else b"\0"


def fill(message: Any) -> None:
    """Give a column one value, and any other message none."""
    fields, kind = message.DESCRIPTOR.fields_by_name, message.DESCRIPTOR.name
    message.SetInParent()
    if kind == "Strings":
        message.dictionary.append("x")
        message.indices.append(0)
    elif kind == "Ints":
        message.values.append(1)
    elif kind == "Bools":
        message.values = b"\1"
    elif "offsets" in fields:
        message.offsets.extend([0, 1])
        fill(getattr(message, next(name for name, field in fields.items() if field.message_type is not None)))


async def test_no_value_of_evidence_can_be_altered(house: House) -> None:
    """Values that are not set, too. When the file was made is a statement of who made it; the record of the export has its own time."""
    own, _ = await house.filed(["GREEN-1", "RED-1"])
    await ChainRecords(house.desk.store).finish()
    await held(house, own)
    whole = await exported(house, own)
    assert verify_evidence(whole, copies(whole)).is_proven
    places = list(values(whole))
    unnoticed = {}
    for place in places:
        altered = as_altered(whole, partial(change_value, steps=place))
        found = verify_evidence(altered, copies(whole))
        if not found.errors:
            unnoticed[place] = found.notes
    assert unnoticed == {
        (("exported_at_micros", -1),): [], (("accesses_left_out", -1),): ["Earlier accesses are not part of the evidence."]
    }  # fmt: skip
    assert len(places) > 500


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


async def test_each_part_of_the_chain_is_proven_by_a_copy_of_its_own_seal_or_of_the_next_one(house: House) -> None:
    own, _ = await cleared(house, count=2)
    whole = await exported(house, own)
    first, second = copies(whole).values()
    for outside, left, proven in (
        ({1: first, 2: second}, (), {1, 2, 3, 4}),
        ({2: second}, (), {1, 2, 3, 4}),
        ({1: first}, (2,), {1, 2, 3}),
        ({99: first}, (1, 2), set()),
        ({}, (1, 2), set()),
    ):
        found = verify_evidence(whole, outside)
        assert (found.errors, found.notes) == ([], [not_compared(*left)] if left else []), outside
        assert {each["version"] for each in found.versions if each["proven"]} == proven, outside
        assert {each["seal"] for each in found.accesses if each["proven"]} == {1, 2} - set(left), outside
        assert found.is_proven == (not left), outside
    for number in (1, 2):
        errors = verify_evidence(whole, {number: bytes(32)}).errors
        assert f"seal {number} has another hash than the one stored outside" in errors


def sealed_again(part: pb.ChainPart) -> None:
    """Compute the hashes of a part and its seal again, by the definition, as whoever holds the file can."""
    digest = part.before
    for item in part.items:
        record = {field.name: getattr(item.record, field.name) for field in item.record.DESCRIPTOR.fields}
        stated = stated_content(record | {"at": record["at_micros"]}, record["subjects"], record["subject_digest"])
        digest = sha(digest + (stated if item.HasField("record") else item.content_digest))
    part.seal.last_hash = digest
    seal = {
        "number": part.seal.number, "sealed_at": part.seal.sealed_at_micros, "numbers": [part.seal.last_number], "hashes": digest
    }  # fmt: skip
    part.seal.hash = defined_seal(seal, part.seal.before)


async def test_a_part_that_is_invented_behind_a_compared_seal_is_not_proven(house: House) -> None:
    """Its records, its chain and its seal agree with each other."""
    own, _ = await cleared(house, count=2)
    whole = await exported(house, own)
    outside = copies(whole)

    def invent(copy: pb.Evidence) -> None:
        for item in copy.chain[1].items:
            if item.record.method == "ReleaseConsignments":
                item.record.actor = "officer/mallory"
        sealed_again(copy.chain[1])

    forged = as_altered(whole, invent)
    assert forged.chain[1].seal.hash != whole.chain[1].seal.hash
    assert as_altered(whole, lambda copy: sealed_again(copy.chain[1])) == whole
    found = verify_evidence(forged, {1: outside[1]})
    assert (found.errors, found.notes, found.is_proven) == ([], [not_compared(2)], False)
    assert [(each["version"], each["actor"], each["proven"]) for each in found.versions[:2]] == [
        (4, "officer/mallory", False), (3, "officer/olga", True)
    ]  # fmt: skip
    assert verify_evidence(forged, outside).errors == ["seal 2 has another hash than the one stored outside"]

    def other_seal(copy: pb.Evidence) -> None:
        copy.chain[1].seal.before = bytes(32)
        sealed_again(copy.chain[1])

    assert verify_evidence(as_altered(whole, other_seal), {1: outside[1]}).errors == [
        "seal 2 does not follow seal 1, which is stored outside", "seal 2 does not follow seal 1"
    ]  # fmt: skip
    alone = as_altered(whole, other_seal, lambda copy: copy.chain.pop(0))
    assert "seal 2 does not follow seal 1, which is stored outside" in verify_evidence(alone, {1: outside[1]}).errors


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


async def test_versions_that_the_holder_of_the_file_leaves_out_are_named(house: House) -> None:
    own, _ = await cleared(house, count=2)
    whole = await exported(house, own)

    def shorten(copy: pb.Evidence) -> None:
        del copy.versions[2:]

    def say_so(copy: pb.Evidence) -> None:
        copy.versions_left_out = True

    def verified(*alter: Callable[[pb.Evidence], None]) -> tuple[list[str], list[str]]:
        found = verify_evidence(as_altered(whole, *alter), copies(whole))
        return found.errors, found.notes

    assert verified() == ([], [])
    assert verified(shorten) == (["the versions before version 3 are missing"], [])
    assert verified(shorten, say_so) == ([], ["Versions before version 3 are not part of the evidence."])
    assert verified(say_so) == (["version 1 cannot have one before it"], [])


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
    assert found is not None
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


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"mrn": 1}', b'{"other": "x"}'])
def test_a_file_that_is_no_evidence_is_refused(content: bytes) -> None:
    with pytest.raises(LuxorError) as caught:
        read_evidence(content)
    assert caught.value.reason == "EVIDENCE_UNREADABLE"
