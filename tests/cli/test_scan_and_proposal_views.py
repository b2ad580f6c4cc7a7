"""What officers read of scans and of decisions that wait for a second person, and scans as lines of JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from libs.cli.main import luxor
from libs.cli.views.clearance.proposals import proposal_words, second_person
from libs.cli.views.clearance.scans import scan_words, show_message_results
from libs.cli.views.consignment import render
from libs.cli.views.text import refusal
from libs.client.clearance.controls import scan_of, scans_of
from luxor.clearance.v1 import control_pb2
from tests.support.scan_messages import mapping_at, message_at

SCAN: dict[str, Any] = {
    "result": "SCAN_RESULT_SUSPICIOUS", "place": "Lower left corner.", "image": "https://xray.example/17", "sha256": "5a" * 32,
    "media_type": "image/jpeg", "taken_at": "2026-11-30T08:15:00Z", "device": "FRA-XRAY-3", "recorded_by": "xray-fra",
}  # fmt: skip
PROPOSAL: dict[str, Any] = {
    "kind": "PROPOSAL_KIND_RELEASE", "reason": "IN_ORDER", "proposed_by": "olga", "proposed_at": "2026-11-30T08:15:00Z",
    "due_at": "2026-12-03T08:15:00Z",
}  # fmt: skip


def test_a_scan_is_printed_with_its_image_and_the_pictures_of_the_listing() -> None:
    lines = scan_words(SCAN, [{"number": 1, "picture_url": "https://shop.example/p.jpg"}, {"number": 2}])
    assert [each.partition(",")[0] for each in lines] == [
        "scan suspicious",
        "image https://xray.example/17 (image/jpeg",
        "picture of item 1: https://shop.example/p.jpg",
    ]
    assert "Lower left corner." in lines[0]
    assert "FRA-XRAY-3" in lines[0]
    assert "judged" not in lines[0]
    assert scan_words(SCAN | {"image_analyst": "analyst 12"}, [])[0].endswith("on FRA-XRAY-3, judged by analyst 12")
    assert scan_words({}, [{"number": 1, "picture_url": "https://shop.example/p.jpg"}]) == []
    assert scan_words({"result": "SCAN_RESULT_UNREADABLE", "case_number": 7}, [])[1].startswith("image case 7 ")


def test_a_consignment_is_printed_with_its_proposal_and_scan() -> None:
    status = {
        "mrn": "26DE07329000001XR8", "state": "STATE_EXAMINATION", "decision": {"second_person": True}, "proposals": [PROPOSAL],
        "controls": [{"number": 1, "form": "CONTROL_FORM_SCAN", "scan": SCAN}],
    }  # fmt: skip
    console = Console(file=io.StringIO(), width=200)
    console.print(render(status))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    for text in (
        "a second officer confirms each decision",
        "olga proposed at",
        "release (IN_ORDER)",
        "scan suspicious",
    ):
        assert text in printed, text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "release (IN_ORDER)"),
        (
            {"kind": "PROPOSAL_KIND_CONCLUSION", "control_number": 2, "control_result": "CONTROL_RESULT_CONFORM"},
            "control 2: conform (IN_ORDER)",
        ),
        ({"kind": "PROPOSAL_KIND_DISPOSAL", "disposal": "DISPOSAL_KIND_DESTROYED"}, "destroyed (IN_ORDER)"),
    ],
)
def test_a_proposal_is_printed_by_its_kind(fields: dict[str, Any], words: str) -> None:
    assert proposal_words(PROPOSAL | fields) == words


def test_an_ended_proposal_names_who_ended_it_and_how() -> None:
    ended = PROPOSAL | {"outcome": "PROPOSAL_OUTCOME_REFUSED", "ended_by": "otto", "end_reason": "VALUE_DOUBTED"}
    assert list(second_person({"proposals": [ended]}))[-1] == "refused by otto VALUE_DOUBTED"
    assert list(second_person({})) == [""]


def test_scans_are_lines_of_json_and_an_error_names_its_line() -> None:
    line = (
        '{"consignment": {"mrn": "26DE07329000001XR8"}, "number": 1, "result": "SCAN_RESULT_CONFORM", '
        '"takenAt": "2026-11-30T08:15:00Z", "device": "X"}'
    )
    first, second = scans_of(f"{line}\n\n{line}\n")
    assert (
        first
        == second
        == scan_of("26DE07329000001XR8", 1, result="conform", taken_at_micros=1_796_026_500_000_000, device="X")
    )
    assert first.result == control_pb2.SCAN_RESULT_CONFORM
    for wrong in ('{"colour": 1}', "{", '{"number": "x"}'):
        with pytest.raises(ValueError, match=r"^line 2: "):
            scans_of(f"{line}\n{wrong}")


def test_each_message_is_printed_with_its_outcome_and_why_it_was_refused() -> None:
    error = {"reason": "SCAN_CODE_UNKNOWN", "message": "The result is at Report[@a]/Code.", "hint": "Add the code."}
    results: list[dict[str, Any]] = [
        {"file": "a.xml", "outcome": "recorded", "mrn": "26DE07329000001XR8", "number": 2},
        {"file": "b.xml", "outcome": "refused", "error": error},
    ]
    console = Console(file=io.StringIO(), width=60)
    show_message_results(console, results, [refusal(each) for each in results])
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    # No name of a file is broken, and what a person is to do is below the table.
    assert [line.split() for line in printed.splitlines() if "xml" in line][:2] == [
        ["a.xml", "recorded", "26DE07329000001XR8", "2"],
        ["b.xml", "refused"],
    ]
    assert "b.xml: SCAN_CODE_UNKNOWN The result is at Report[@a]/Code.\n→ Add the code." in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["17.xml"], "17.xml is XML, and no --mapping is given"),
        (["17.xml", "--mapping", "mapping.yaml", "--request-id", "x"], "--request-id is for lines of JSON"),
        (["utf16.xml"], "utf16.xml has no UTF-8 at byte 0"),
        (["17.xml", "17.xml"], "Name one file of lines of JSON"),
        (["."], "Name one file of lines of JSON"),
        (["17.xml", "--mapping", "none.yaml"], "does not exist"),
        (["17.xml", "--mapping", "mapping.yaml", "--as", "filer/shop"], "filer is none of officer, agency"),
    ],
)
def test_messages_are_recorded_with_a_mapping_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    (tmp_path / "utf16.xml").write_bytes(message_at(tmp_path).read_text(encoding="utf-8").encode("utf-16"))
    mapping_at(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = CliRunner(env={"COLUMNS": "200"}).invoke(luxor, ["control", "scans", *arguments])
    assert result.exit_code == 2
    assert words in result.output


def test_messages_that_are_all_refused_need_no_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message_at(tmp_path, ("ALARM", "?"))
    mapping_at(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(luxor, ["control", "scans", ".", "--mapping", "mapping.yaml", "--json"])
    assert result.exit_code == 1
    (refused,) = json.loads(result.stdout)
    assert (refused["file"], refused["outcome"], refused["error"]["reason"]) == (
        "17.xml", "refused", "SCAN_CODE_UNKNOWN",
    )  # fmt: skip
