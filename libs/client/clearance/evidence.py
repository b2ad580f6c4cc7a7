"""Verify the evidence of one consignment without any service or store: from its versions and accesses to the seals."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf import json_format

from libs.chain.audit import ACCESS, DECISION, OPENING, Record, is_under, salted
from libs.chain.hashing import START, link, seal
from libs.client.errors import LuxorError
from libs.columns import Strings, Table
from libs.columns.digest import row_digests
from luxor.clearance.v1 import audit_pb2 as pb
from luxor.clearance.v1 import clearance_pb2

_HASH_BYTES: Final = 32
_PREVIOUS: Final = ("previous_batch_day", "previous_batch_id", "previous_batch_row")


@dataclass(slots=True)
class Verified:
    """What the verification found."""

    errors: list[str] = field(default_factory=list)
    """What contradicts the evidence; empty where it agrees with itself and with the seals that were compared."""
    notes: list[str] = field(default_factory=list)
    """What the evidence does not prove; empty where it proves all that it contains."""
    versions: list[dict[str, Any]] = field(default_factory=list)
    accesses: list[dict[str, Any]] = field(default_factory=list)
    seals: dict[int, str] = field(default_factory=dict)
    """The seals that it leads to, by number."""
    compared: set[int] = field(default_factory=set)
    """Those that were compared with a copy that is stored elsewhere, or stand directly before one that was."""

    @property
    def is_proven(self) -> bool:
        """Return whether everything in the evidence is proven."""
        return not self.errors and not self.notes


def read_evidence(content: bytes) -> pb.Evidence:
    """Return evidence from the content of a file. Raises LuxorError EVIDENCE_UNREADABLE."""
    try:
        return json_format.Parse(content.decode(), pb.Evidence())
    except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise LuxorError.from_reason("EVIDENCE_UNREADABLE", cause=str(error)[:200]) from None


def evidence_text(evidence: pb.Evidence) -> str:
    """Return evidence as the text of a file: JSON of luxor.clearance.v1.Evidence."""
    return json_format.MessageToJson(evidence, preserving_proto_field_name=True, ensure_ascii=False) + "\n"


def verify_evidence(evidence: pb.Evidence, outside: Mapping[int, bytes] | None = None) -> Verified:
    """Verify evidence; `outside` are hashes of seals, by number, that were stored elsewhere."""
    result = Verified()
    records = _records(evidence, outside or {}, result)
    _seals(evidence, outside or {}, result)
    _versions(evidence, records, result)
    _accesses(evidence, records, result)
    return result


def _records(
    evidence: pb.Evidence, outside: Mapping[int, bytes], result: Verified
) -> dict[int, tuple[pb.AuditRecord, int]]:
    """Compute each part of the chain up to its seal; return the records by number, each with its seal."""
    records: dict[int, tuple[pb.AuditRecord, int]] = {}
    former = (0, 0)
    for part in evidence.chain:
        name = f"the part of the chain from record {part.first_number} on"
        digest, number = part.before, part.first_number - 1
        if part.first_number < 1 or len(digest) != _HASH_BYTES or (number == 0 and digest != START):
            result.errors.append(f"{name} does not begin behind a record")
        for number, item in enumerate(part.items, part.first_number):
            content = item.content_digest
            if item.HasField("record"):
                content = _content(item.record)
                if item.record.number != number or number in records:
                    result.errors.append(f"record {item.record.number} is not in its place of the chain")
                records[number] = item.record, part.seal.number
            if len(content) != _HASH_BYTES:
                result.errors.append(f"record {number} has a value that no record has")
            digest = link(digest, content)
        end = part.seal
        if (number, digest) != (end.last_number, end.last_hash):
            result.errors.append(f"{name} does not lead to seal {end.number}")
        if not _is_sound(end):
            result.errors.append(f"seal {end.number} was altered: its hash does not follow from what it seals")
        if end.number <= former[0] or part.first_number <= former[1]:
            result.errors.append(f"{name} is out of order")
        former = end.number, end.last_number
        result.seals[end.number] = end.hash.hex()
    return records


def _seals(evidence: pb.Evidence, outside: Mapping[int, bytes], result: Verified) -> None:
    """Compare the seals with each other and with the copies: one that was compared proves the seal before it, and none behind it."""
    after = pb.AuditSeal()
    for part in reversed(evidence.chain):
        end = part.seal
        if outside.get(end.number, end.hash) != end.hash:
            result.errors.append(f"seal {end.number} has another hash than the one stored outside")
        if outside.get(end.number - 1, end.before) != end.before:
            result.errors.append(f"seal {end.number} does not follow seal {end.number - 1}, which is stored outside")
        is_before = after.number == end.number + 1
        if is_before and after.before != end.hash:
            result.errors.append(f"seal {after.number} does not follow seal {end.number}")
        if end.number in outside or (is_before and after.number in result.compared):
            result.compared.add(end.number)
        after = end
    if left := sorted(result.seals.keys() - result.compared):
        result.notes.append(
            f"Not compared with a copy that is stored elsewhere, so nothing is proven that only it covers: seal {', '.join(map(str, left))}."
        )


def _is_sound(end: pb.AuditSeal) -> bool:
    if end.number < 1 or (end.number == 1 and end.before != START) or len(end.last_hash) != _HASH_BYTES:
        return False
    heads = [(end.last_number, end.last_hash)]
    return seal(end.number, end.sealed_at_micros, end.before, heads, chains=1) == end.hash


def _content(message: pb.AuditRecord) -> bytes:
    record = Record(
        message.day, message.number, message.kind, message.at_micros, message.actor, message.method, message.reason,
        message.batch_day, message.batch_id, message.rows, message.digest, message.row_digest, message.subjects, message.subject_digest,
        message.cause if message.HasField("cause") else None,
    )  # fmt: skip
    try:
        return record.content_digest()
    except struct.error:
        return b""


def _versions(evidence: pb.Evidence, records: Mapping[int, tuple[pb.AuditRecord, int]], result: Verified) -> None:
    expected: tuple[int, int, int] | None = None
    newer = 0
    for place, version in enumerate(evidence.versions):
        try:
            state = Table.decode(version.state)
            number = int(state.ints("version").values[0])
            before = [state.ints(name) for name in _PREVIOUS]
            is_one = state.rows == 1 and state.strings("mrn").tolist() == [evidence.mrn]
            leaf = row_digests(state)[0]
        except (ValueError, IndexError) as error:
            result.errors.append(f"version {place + 1} of the list cannot be read: {error}")
            return
        if not is_one:
            result.errors.append(f"version {number} is of another consignment")
        at = (version.batch_day, version.batch_id, version.row)
        if place and (expected != at or number != newer - 1):
            result.errors.append(f"version {number} is not the one before version {newer}")
        if not version.record and any(each.record for each in evidence.versions[place:]):
            result.errors.append(f"version {number} has no record, and an older one has")
        expected = tuple(int(each.values[0]) for each in before) if before[1].valid[0] else None  # type: ignore[assignment]
        newer = number
        record, sealed_by = records.get(version.record, (pb.AuditRecord(), 0))
        is_recorded = _is_recorded(version, number, leaf, records, result)
        result.versions.append(
            {
                "version": number,
                "record": version.record,
                "seal": sealed_by,
                "proven": is_recorded and sealed_by in result.compared,
                "actor": record.actor,
                "method": record.method,
                "reason": record.reason,
                "change": _change(int(state.ints("change").values[0])),
                "reasons": _texts(state, "reasons"),
                "at_micros": record.at_micros or int(state.ints("changed_at").values[0]),
                "rule_set_version": state.strings("rule_set_version")[0],
                "rulebook_version": state.strings("rulebook_version")[0],
                "model": state.strings("model")[0],
            }
        )
    _oldest(evidence, newer, expected is None, result)


def _is_recorded(
    version: pb.EvidenceVersion,
    number: int,
    leaf: bytes,
    records: Mapping[int, tuple[pb.AuditRecord, int]],
    result: Verified,
) -> bool:
    """Return whether a version is under the root of its record; add what contradicts that, or why nothing says so."""
    record, path = records.get(version.record, (pb.AuditRecord(), 0))[0], version.path
    if version.record == 0:
        opening = records.get(1, (pb.AuditRecord(), 0))[0]
        if opening.kind == OPENING and version.batch_id <= opening.batch_id:
            result.notes.append(f"Version {number} is not proven: it was stored before the trail began.")
        else:
            result.errors.append(f"version {number} has no record, and none states that it is from before the trail")
    elif (record.kind, record.batch_day, record.batch_id) != (DECISION, version.batch_day, version.batch_id):
        result.errors.append(f"version {number} has no record of its batch in the chain")
    elif not record.row_digest or record.HasField("cause"):
        result.notes.append(f"Version {number} is not proven: a replica of an earlier release stored it.")
    elif path.place != version.row or not is_under(
        record.row_digest, record.rows, leaf, path.place, path.group, path.groups
    ):
        result.errors.append(f"version {number} was altered: it is not under the root of record {record.number}")
    else:
        return True
    return False


def _oldest(evidence: pb.Evidence, number: int, is_first: bool, result: Verified) -> None:
    """Compare the oldest version with what the evidence says of those before it: only version 1 has none."""
    if not evidence.versions:
        result.errors.append("the evidence has no version of the consignment")
    elif number < 1 or (number == 1 and (evidence.versions_left_out or not is_first)):
        result.errors.append(f"version {number} cannot have one before it")
    elif number > 1 and not evidence.versions_left_out:
        result.errors.append(f"the versions before version {number} are missing")
    elif number > 1:
        result.notes.append(f"Versions before version {number} are not part of the evidence.")


def _texts(state: Table, name: str) -> list[str]:
    values = state.ragged(name).values
    assert isinstance(values, Strings), name
    return values.tolist()


def _change(number: int) -> str:
    known = clearance_pb2.Change.DESCRIPTOR.values_by_number
    return known[number].name.removeprefix("CHANGE_") if number in known else str(number)


def _accesses(evidence: pb.Evidence, records: Mapping[int, tuple[pb.AuditRecord, int]], result: Verified) -> None:
    last = 0
    record = pb.AuditRecord()
    for access in evidence.accesses:
        record, sealed_by = records.get(access.record, (pb.AuditRecord(), 0))
        path = access.path
        if record.kind != ACCESS or access.record <= last:
            result.errors.append(f"access {access.record} has no record in the chain, or is out of order")
            continue
        last = access.record
        own, is_one = salted(access.salt, evidence.mrn), path.place > 0 and len(access.salt) == _HASH_BYTES
        if not is_one or not is_under(
            record.subject_digest, record.subjects + 1, own, path.place, path.group, path.groups
        ):
            result.errors.append(f"the consignment is not among those of the access in record {access.record}")
        result.accesses.append(
            {
                "record": access.record,
                "seal": sealed_by,
                "proven": sealed_by in result.compared,
                "actor": record.actor,
                "method": record.method,
                "reason": record.reason,
                "at_micros": record.at_micros,
            }
        )
    export = (record.actor, record.method, record.reason)
    if export != (evidence.exported_by, "ExportEvidence", evidence.purpose):
        result.errors.append("the last access is not the export of this evidence")
    if evidence.accesses_left_out:
        result.notes.append("Earlier accesses are not part of the evidence.")
