"""No part of evidence can be altered, invented, left out or reordered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from google.protobuf.message import Message

from libs.chain.audit import is_under
from libs.client.clearance.evidence import read_evidence, verify_evidence
from libs.client.errors import LuxorError
from libs.columns import Table
from libs.columns.digest import row_digests
from luxor.clearance.v1 import audit_pb2 as pb
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.commands.audit import evidence as collecting
from services.clearance.commands.audit.chain_records import ChainRecords
from services.clearance.jobs.audit import AuditJob
from services.clearance.store import Store
from tests.clearance.audit.evidence import as_altered, cleared, copies, exported, held, idle, not_compared
from tests.clearance.audit.trail import defined_seal, sha, stated_content
from tests.clearance.service_client import House

Steps = tuple[tuple[str, int], ...]
"""Where a value is in a message: names of fields, each with the place in its list or -1."""


@pytest.fixture(autouse=True)
def seals_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job of the service does nothing: on a busy machine it would seal in between."""
    monkeypatch.setattr(AuditJob, "step", idle)


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


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"mrn": 1}', b'{"other": "x"}'])
def test_a_file_that_is_no_evidence_is_refused(content: bytes) -> None:
    with pytest.raises(LuxorError) as caught:
        read_evidence(content)
    assert caught.value.reason == "EVIDENCE_UNREADABLE"
