"""`luxor audit verify, export`: what each asks clearance for, what it prints, and its exit codes; nobody answers but the test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from google.protobuf.message import Message

from libs.chain.audit import ACCESS, DECISION, NO_SUBJECTS, OPENING, Record, path_to, root, salt_of, subject_digests
from libs.chain.hashing import START, seal
from libs.cli.common import Context
from libs.cli.main import luxor
from libs.client.clearance.evidence import evidence_text
from libs.columns import Ints, Strings, Table
from libs.columns.digest import row_digests
from luxor.clearance.v1 import audit_pb2 as pb
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns

MRN = "26DE32329000033OR6"
AT = 1_795_651_200_000_000


class Clearance:
    """Answers calls from what a test gives, in order, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.callers: list[tuple[str, str]] = []
        self.answers: list[Message] = []

    async def ask(
        self, service: str, _: object, method: str, request: Message, kind: type[Message], *__: object
    ) -> Message:
        assert service == "clearance"
        self.asked.append((method, request))
        answer = self.answers.pop(0)
        assert isinstance(answer, kind)
        return answer


@pytest.fixture
def clearance(monkeypatch: pytest.MonkeyPatch) -> Clearance:
    found = Clearance()

    @asynccontextmanager
    async def client(_: Context, role: str, ident: str) -> AsyncIterator[Clearance]:
        found.callers.append((role, ident))
        yield found

    monkeypatch.setattr(Context, "client", client)
    return found


@pytest.fixture
def run(tmp_path: Path) -> Any:
    def call(*arguments: str) -> Result:
        return CliRunner(env={"COLUMNS": "200"}).invoke(luxor, ["audit", *arguments, "--data-dir", str(tmp_path)])

    return call


def evidence(at: int = AT, about: str = "", subjects: tuple[str, ...] = (MRN,)) -> pb.Evidence:
    """One version and its export `at` a time: the records 1 to 3 of a trail with one seal."""
    table = Table.of(
        ClearanceColumns,
        1,
        {
            "mrn": Strings.of([MRN]),
            "version": Ints.of([1]),
            "rulebook_version": Strings.of(["EU/2026.1"]),
            "change": Ints.of([1]),
        },
    )
    leaves, own = row_digests(table), subject_digests(bytes(32), about, subjects)
    records = [
        Record(1, 1, OPENING, AT, "clearance", "", "", 0, 0, 0, b"", b"", 0, NO_SUBJECTS),
        Record(1, 2, DECISION, AT, "clearance", "", "", 1, 7, 1, bytes(32), root(leaves), 0, NO_SUBJECTS),
        Record(
            1, 3, ACCESS, at, "officer/otto", "ExportEvidence", "appeal", 0, 0, 0, b"", b"", len(subjects), root(own)
        ),
    ]
    digest = START
    for each in records:
        digest = each.hashed(digest)
    group, groups = path_to(leaves, 0)
    place = len(subjects)
    own_group, own_groups = path_to(own, place)
    names = (
        "number", "day", "kind", "actor", "method", "reason", "batch_day", "batch_id", "rows", "digest", "row_digest", "subjects",
        "subject_digest",
    )  # fmt: skip
    shown = [pb.AuditRecord(at_micros=each.at, **{name: getattr(each, name) for name in names}) for each in records[1:]]
    return pb.Evidence(
        mrn=MRN, exported_by="officer/otto", exported_at_micros=AT, purpose="appeal",
        versions=[
            pb.EvidenceVersion(
                record=2, batch_day=1, batch_id=7, path=pb.RootPath(group=group, groups=groups), state=table.encode(ClearanceColumns)
            )
        ],
        accesses=[
            pb.EvidenceAccess(
                record=3, path=pb.RootPath(place=place, group=own_group, groups=own_groups), salt=salt_of(bytes(32), place)
            )
        ],
        chain=[
            pb.ChainPart(
                first_number=1, before=START,
                items=[
                    pb.ChainItem(content_digest=records[0].content_digest()),
                    *(pb.ChainItem(record=each) for each in shown),
                ],
                seal=pb.AuditSeal(
                    number=1, sealed_at_micros=AT, before=START, last_number=3, last_hash=digest,
                    hash=seal(1, AT, START, [(3, digest)], chains=1),
                ),
            )
        ],
    )  # fmt: skip


def test_the_trail_is_checked_part_by_part_to_the_end_of_records_and_batches(clearance: Clearance, run: Any) -> None:
    newest = pb.AuditSeal(number=9, sealed_at_micros=AT, hash=b"\x07" * 32)
    clearance.answers = [
        pb.CheckRecordsResponse(records=200, versions=90_000, seals=3, next_page_token="r1"),
        pb.CheckRecordsResponse(records=4, versions=10, seals=1, newest_seal=newest),
        pb.CheckBatchesResponse(batches=100, next_page_token="b1"),
        pb.CheckBatchesResponse(batches=2),
    ]
    found = run("verify", "--as", "operator/ops")
    assert found.exit_code == 0, found.output
    assert "Nothing was altered: 204 records, 102 batches with 90,010 versions, 4 seals compared." in found.output
    assert f"Newest seal, for the auditor: 9:{'07' * 32} of 2026-11-26 00:00:00Z" in found.output
    assert [(method, request.page_token) for method, request in clearance.asked] == [
        ("CheckRecords", ""), ("CheckRecords", "r1"), ("CheckBatches", ""), ("CheckBatches", "b1"),
    ]  # fmt: skip
    assert clearance.callers == [("operator", "ops")]


def test_each_difference_is_printed_once_and_exits_with_1(clearance: Clearance, run: Any) -> None:
    clearance.answers = [
        pb.CheckRecordsResponse(records=1, errors=["record 4 of 2026-11-26 was altered"], next_page_token="r1"),
        pb.CheckRecordsResponse(records=1, errors=["record 4 of 2026-11-26 was altered"]),
        pb.CheckBatchesResponse(batches=1, errors=["batch 7 of 2026-11-26 has no record"]),
    ]
    found = run("verify", "--seal", f"3:{'ab' * 32}", "--json")
    assert found.exit_code == 1
    result = json.loads(found.output)
    assert result["errors"] == ["record 4 of 2026-11-26 was altered", "batch 7 of 2026-11-26 has no record"]
    request = clearance.asked[1][1]
    assert (request.external_seal, request.external_seal_hash) == (3, b"\xab" * 32)


def test_evidence_is_written_verified_at_once_and_verified_again_without_the_system(
    clearance: Clearance, run: Any, tmp_path: Path
) -> None:
    whole = evidence()
    clearance.answers = [pb.ExportEvidenceResponse(evidence=whole)]
    file = tmp_path / "evidence.json"
    found = run("export", MRN, "--out", str(file), "--purpose", "appeal")
    assert found.exit_code == 0, found.output
    assert f"1 version and 1 accesses of {MRN}" in found.output
    ((method, request),) = clearance.asked
    assert (method, request.mrn, request.purpose, clearance.callers) == (
        "ExportEvidence",
        MRN,
        "appeal",
        [("officer", "")],
    )
    digest = whole.chain[0].seal.hash.hex()
    for seals, code, headline, compared in (
        ((), 4, "The evidence has no error and is not fully proven: 1 version", "not compared"),
        (("--seal", f"1:{digest}"), 0, "The evidence is proven: 1 version", "compared"),
    ):
        again = run("verify", "--file", str(file), *seals)
        assert again.exit_code == code, again.output
        assert headline in again.output
        assert f"Seal 1:{digest}, {compared}" in again.output
        assert ("so nothing is proven that only it covers: seal 1." in again.output) is bool(code)
        assert json.loads(run("verify", "--file", str(file), *seals, "--json").output)["proven"] is not bool(code)
        assert all(each in again.output for each in ("officer/otto", "ExportEvidence", "decided", "EU/2026.1"))
    assert len(clearance.asked) == 1


def test_altered_evidence_and_another_seal_exit_with_1(run: Any, tmp_path: Path) -> None:
    whole = evidence()
    file = tmp_path / "evidence.json"
    file.write_text(evidence_text(whole), encoding="utf-8")
    wrong = run("verify", "--file", str(file), "--seal", f"1:{'00' * 32}", "--json")
    assert wrong.exit_code == 1
    assert json.loads(wrong.output)["errors"] == ["seal 1 has another hash than the one stored outside"]
    file.write_text(evidence_text(whole).replace("EU/2026.1", "EU/2026.2"), encoding="utf-8")
    altered = run("verify", "--file", str(file))
    assert altered.exit_code == 1
    assert "version 1 was altered: it is not under the root of record 2" in altered.output
    file.write_text("{}", encoding="utf-8")
    assert run("verify", "--file", str(file)).exit_code == 1
    file.write_text("{", encoding="utf-8")
    assert "EVIDENCE_UNREADABLE" in run("verify", "--file", str(file)).output


@pytest.mark.parametrize(
    ("about", "subjects", "salt"),
    [(MRN, (), salt_of(bytes(32), 0)), ("", (f"x{MRN}",), salt_of(bytes(32), 1) + b"x")],
    ids=["the text that was asked for", "the end of another text"],
)
def test_only_a_whole_consignment_of_an_access_proves_it(
    run: Any, tmp_path: Path, about: str, subjects: tuple[str, ...], salt: bytes
) -> None:
    whole = evidence(AT, about, subjects)
    whole.accesses[0].salt = salt
    file = tmp_path / "evidence.json"
    file.write_text(evidence_text(whole), encoding="utf-8")
    found = run("verify", "--file", str(file), "--json")
    assert json.loads(found.output)["errors"] == ["the consignment is not among those of the access in record 3"]


@pytest.mark.parametrize("at", [2**63 - 1, -(2**63), 2**62])
def test_a_time_that_no_calendar_has_is_shown_as_it_is(run: Any, tmp_path: Path, at: int) -> None:
    whole = evidence(at)
    file = tmp_path / "evidence.json"
    file.write_text(evidence_text(whole), encoding="utf-8")
    found = run("verify", "--file", str(file), "--seal", f"1:{whole.chain[0].seal.hash.hex()}")
    assert found.exit_code == 0, found.output
    assert f"{at} µs" in found.output


def test_command_lines_that_contradict_themselves_are_refused(run: Any, tmp_path: Path) -> None:
    seals = ("--seal", f"1:{'00' * 32}", "--seal", f"2:{'00' * 32}")
    assert run("verify", *seals).exit_code == 2
    assert run("verify", "--as", "filer/x").exit_code == 2
    assert run("export", MRN, "--out", str(tmp_path / "x")).exit_code == 2
    assert run("verify", "--file", str(tmp_path / "absent")).exit_code == 2
    assert "SEAL_UNREADABLE" in run("verify", "--seal", "x").output
