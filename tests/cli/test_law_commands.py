"""`luxor revenue law`: what each command asks revenue for and prints; nobody answers but the test."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from libs.cli.common import Context
from libs.cli.main import luxor
from libs.client.errors import LuxorError
from libs.client.revenue.law import gather, read_reviews
from luxor.revenue.v1 import law_pb2 as pb
from luxor.revenue.v1.what_if_pb2 import LawFile

REVIEW = """\
- place: "xx/rulebook.yaml: references.act"
  day: 2026-08-01
  passage: The rate is ten per cent.
  expires_on: 2030-08-01
  source: act.txt
"""


class Revenue:
    """Answers calls from what a test gives, in order."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.callers: list[str] = []
        self.answers: dict[str, list[Message | LuxorError]] = {}

    async def ask(self, service: str, _: object, method: str, request: Message, *__: object) -> Message:
        assert service == "revenue"
        self.asked.append((method, request))
        answer = self.answers[method].pop(0)
        if isinstance(answer, LuxorError):
            raise answer
        return answer


@pytest.fixture
def revenue(monkeypatch: pytest.MonkeyPatch) -> Revenue:
    found = Revenue()

    @asynccontextmanager
    async def client(_: Context, role: str, ident: str) -> AsyncIterator[Revenue]:
        found.callers.append(role)
        yield found

    monkeypatch.setattr(Context, "client", client)
    return found


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(luxor, ["revenue", "law", *arguments, "--data-dir", str(home)])


def directory(home: Path) -> Path:
    for name, content in (
        ("xx/rulebook.yaml", b"book of xx"), ("xx/tariff_lines.csv.gz", gzip.compress(b"code,rate\n", mtime=0)),
        ("xx/notes.txt", b"no law"), ("yy/rulebook.yaml", b"book of yy"), ("zz/notes.txt", b"no law"),
    ):  # fmt: skip
        path = home / "rulebooks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return home / "rulebooks"


def version(name: str = "XX/2/0a1b2c3d", **other: Any) -> pb.LawVersion:
    return pb.LawVersion(version=name, state=pb.LAW_VERSION_STATE_DRAFT, proposed_by="analyst/anna", **other)


def test_a_directory_has_the_law_of_one_jurisdiction_or_of_several(tmp_path: Path) -> None:
    home = directory(tmp_path)
    of_xx = {"xx/rulebook.yaml": "book of xx", "xx/tariff_lines.csv": "code,rate\n"}
    assert gather(home) == {"xx": of_xx, "yy": {"yy/rulebook.yaml": "book of yy"}}
    assert gather(home / "xx") == {"xx": of_xx}


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("xx/tariff_lines.csv", b"code,rate\n", "it is there as it is and compressed"),
        ("xx/tariff_lines.csv.gz", gzip.compress(b"code,rate\n", mtime=0)[:-9], "tariff_lines.csv.gz"),
        ("xx/rulebook.yaml", b"\xff", "codec can't decode"),
    ],
)
def test_a_directory_with_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    home = directory(tmp_path)
    (home / name).write_bytes(content)
    with pytest.raises(LuxorError, match=why):
        gather(home)


def test_a_directory_without_a_rulebook_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LuxorError, match=r"it has no rulebook\*.yaml"):
        gather(directory(tmp_path) / "zz")


def test_each_jurisdiction_is_proposed_and_those_that_are_stored_are_left_out(tmp_path: Path, revenue: Revenue) -> None:
    known = LuxorError.from_reason("LAW_VERSION_KNOWN", value="YY/1")
    revenue.answers["ProposeLaw"] = [pb.ProposeLawResponse(version=version(), cases=3), known]
    result = run(tmp_path, "propose", str(directory(tmp_path)), "--note", "New rates", "--what-if", "7")
    assert result.exit_code == 0, result.output
    assert "XX/2/0a1b2c3d is stored as a draft; 3 cases run, without a difference." in result.output
    assert "Stored already: yy." in result.output
    request = revenue.asked[0][1]
    assert ([each.name for each in request.files], request.note, list(request.what_if_ids)) == (
        ["xx/rulebook.yaml", "xx/tariff_lines.csv"], "New rates", [7]
    )  # fmt: skip
    revenue.answers["ProposeLaw"] = [LuxorError.from_reason("LAW_CASES_FAILED", count=1, first="XX-01: tax")]
    refused = run(tmp_path, "propose", str(directory(tmp_path) / "xx"))
    assert refused.exit_code != 0
    assert "LAW_CASES_FAILED" in refused.output


def test_reviews_are_read_with_the_hash_of_their_source(tmp_path: Path, revenue: Revenue) -> None:
    (tmp_path / "act.txt").write_bytes(b"the act")
    reviews = tmp_path / "reviews.yaml"
    reviews.write_text(REVIEW)
    revenue.answers["ReviewLaw"] = [pb.ReviewLawResponse(version=version(reviewed_by="analyst/anna"))]
    result = run(tmp_path, "review", "XX/2", str(reviews))
    assert result.exit_code == 0, result.output
    (review,) = revenue.asked[0][1].reviews
    assert (review.place, review.day, review.source_sha256) == (
        "xx/rulebook.yaml: references.act", "2026-08-01", sha256(b"the act").hexdigest()
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("place: x", "it is no list of reviews"),
        ("- x", "an entry has place, day, passage"),
        (REVIEW.replace("  day: 2026-08-01\n", ""), "an entry has place, day, passage"),
        (REVIEW + "  source_sha256: 00\n", "an entry has place, day, passage"),
        (REVIEW.replace("  source: act.txt\n", ""), "an entry has place, day, passage"),
        (REVIEW + "  more: 1\n", "an entry has place, day, passage"),
        (REVIEW.replace("act.txt", "none.txt"), "none.txt"),
        ("- [", "reviews.yaml"),
    ],
)
def test_reviews_that_cannot_be_read_are_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "act.txt").write_bytes(b"the act")
    (tmp_path / "reviews.yaml").write_text(text)
    with pytest.raises(LuxorError, match=why):
        read_reviews(tmp_path / "reviews.yaml")


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [("2027-01-01T00:00:00Z", 1_798_761_600), ("2027-01-01T01:00:00+01:00", 1_798_761_600), ("2027-01-01", 1_798_761_600), ("", 0)],
)  # fmt: skip
def test_a_version_is_confirmed_for_a_moment_as_an_officer(
    tmp_path: Path, revenue: Revenue, moment: str, seconds: int
) -> None:
    revenue.answers["ConfirmLaw"] = [pb.ConfirmLawResponse(version=version())]
    assert run(tmp_path, "confirm", "XX/2", *(("--at", moment) if moment else ())).exit_code == 0
    assert revenue.callers == ["officer"]
    request = revenue.asked[0][1]
    assert (request.HasField("effective_at"), request.effective_at.seconds) == (bool(moment), seconds)
    assert run(tmp_path, "confirm", "XX/2", "--at", "tomorrow").exit_code == 2


def test_lists_files_differences_cases_and_cancellations_are_printed(tmp_path: Path, revenue: Revenue) -> None:
    active = version(note="New rates", what_if_ids=[7])
    moment = Timestamp(seconds=1_800_000_000)
    active.activations.add(number=1, confirmed_by="officer/olga", cancelled_by="officer/bert", effective_at=moment)
    revenue.answers["ListLawVersions"] = [pb.ListLawVersionsResponse(versions=[active]), pb.ListLawVersionsResponse()]
    listed = run(tmp_path, "list", "XX").output
    assert "confirmed by officer/olga, takes effect 2027-01-15 08:00:00Z, cancelled by officer/bert" in listed
    assert "what-if runs: 7" in listed
    assert "No version is stored." in run(tmp_path, "list").output
    review = pb.ValueReview(
        place="xx/a.yaml: x", day="2026-01-01", reviewer="analyst/a", expires_on="2026-02-01", expired=True
    )
    found = pb.GetLawVersionResponse(
        version=active, files=[LawFile(name="xx/rulebook.yaml", text="a\nb\n")], reviews=[review]
    )
    other = pb.GetLawVersionResponse(version=active, files=[LawFile(name="xx/rulebook.yaml", text="a\nc\n")])
    revenue.answers["GetLawVersion"] = [found, found, found, found, other, found, found]
    shown = run(tmp_path, "show", "XX/2").output
    assert "xx/rulebook.yaml: 2 lines" in shown
    assert "xx/a.yaml: x: reviewed 2026-01-01 by analyst/a, until 2026-02-01  expired" in shown
    assert run(tmp_path, "show", "XX/2", "--file", "xx/rulebook.yaml").output == "a\nb\n\n"
    assert run(tmp_path, "show", "XX/2", "--to", str(tmp_path / "new")).exit_code == 0
    assert (tmp_path / "new/xx/rulebook.yaml").read_text() == "a\nb\n"
    difference = run(tmp_path, "diff", "XX/1", "XX/2").output
    assert "-b\n+c" in difference
    assert "The files are equal." in run(tmp_path, "diff", "XX/1", "XX/2").output
    cases = [pb.LawCaseResult(id="XX-01"), pb.LawCaseResult(id="XX-02", differences=["tax is 1, the source has 2"])]
    revenue.answers["RunLawCases"] = [pb.RunLawCasesResponse(cases=cases), pb.RunLawCasesResponse(cases=cases[:1])]
    failing = run(tmp_path, "cases", "XX/2")
    assert (failing.exit_code, "XX-02: tax is 1, the source has 2" in failing.output) == (1, True)
    assert run(tmp_path, "cases", "XX/2").exit_code == 0
    revenue.answers["CancelLaw"] = [pb.CancelLawResponse(version=active)]
    assert run(tmp_path, "cancel", "XX/2").exit_code == 0


def test_recomputed_assessments_are_compared_and_a_difference_is_an_exit_code(tmp_path: Path, revenue: Revenue) -> None:
    equal = pb.RecomputedAssessment(
        filing=pb.AssessedFiling(mrn="26DE1", version=1), rulebook_version="XX/1/00000000", stored_minor=1_000,
        recomputed_minor=1_000, currency="EUR", equal=True,
    )  # fmt: skip
    missing = pb.RecomputedAssessment(filing=pb.AssessedFiling(mrn="26DE2", version=2), reason="ASSESSMENT_NOT_STORED")
    revenue.answers["RecomputeAssessments"] = [
        pb.RecomputeAssessmentsResponse(results=[equal]), pb.RecomputeAssessmentsResponse(results=[equal, missing])
    ]  # fmt: skip
    assert run(tmp_path, "recompute", "26DE1").exit_code == 0
    result = run(tmp_path, "recompute", "26DE1", "26DE2:2", "--json")
    assert result.exit_code == 1
    assert [each["reason"] for each in json.loads(result.output)["results"]] == ["", "ASSESSMENT_NOT_STORED"]
    assert [(each.mrn, each.version) for each in revenue.asked[1][1].filings] == [("26DE1", 1), ("26DE2", 2)]
    assert run(tmp_path, "recompute", "26DE1:x").exit_code == 2
