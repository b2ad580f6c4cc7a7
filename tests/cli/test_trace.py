"""`luxor trace` against a whole running system, without any collector."""

import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from libs.cli.local.supervisor import LocalSystem
from libs.cli.main import luxor
from libs.client import traces
from libs.customs.identifiers.mrn import check_digit

pytestmark = pytest.mark.long

FEW = 6


@pytest.fixture(scope="module")
def filed(system: LocalSystem, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """File a few consignments and have them arrive; gives their MRNs once statistics has counted the last state."""
    path = tmp_path_factory.mktemp("traced") / "traffic.jsonl"
    data_dir = system.data_dir
    _run(data_dir, "simulate", str(path), "--count", str(FEW), "--seed", "11")
    before = _counted(data_dir)
    _run(data_dir, "file", str(path))
    references = [json.loads(line)["local_reference"] for line in path.read_text("utf-8").splitlines()]
    deadline = time.monotonic() + 60
    while _counted(data_dir) < before + FEW:
        assert time.monotonic() < deadline
    _run(data_dir, "arrive", "--manifest", str(path))
    return [json.loads(_run(data_dir, "show", reference, "--json"))[0]["mrn"] for reference in references]


def _run(data_dir: Path, *arguments: str, code: int = 0) -> str:
    result = CliRunner(env={"LUXOR_DATA_DIR": str(data_dir), "COLUMNS": "200"}).invoke(luxor, list(arguments))
    assert result.exit_code == code, (arguments, result.output, result.exception)
    return result.stdout


def _counted(data_dir: Path) -> int:
    told = json.loads(_run(data_dir, "stats", "--by", "state", "--json"))
    return sum(each.get("consignments", 0) for each in told.get("counts", []))


def story_of(cli: Any, reference: str) -> dict[str, Any]:
    """Ask until all have told their part: statistics is the last to hear, and a span is kept a moment after its fact."""
    deadline = time.monotonic() + 60
    while True:
        found: dict[str, Any] = cli.json("trace", reference)
        told = all(any(each["service"] == service for each in found["spans"]) for service in SERVICES)
        if told and all(fact["span_kept"] for fact in found["facts"]):
            return found
        assert time.monotonic() < deadline, found["facts"]


SERVICES = ("ingestion", "clearance", "risk", "revenue", "statistics")


def test_the_story_of_a_consignment_is_told_by_all_five_services(cli: Any, filed: list[str]) -> None:
    story = story_of(cli, filed[0])
    facts = {(fact["service"], fact["kind"]) for fact in story["facts"]}
    assert facts >= {
        ("ingestion", "FACT_KIND_ACCEPTED"),
        ("clearance", "FACT_KIND_CHANGED"),
        ("risk", "FACT_KIND_ASSESSED"),
        ("revenue", "FACT_KIND_ASSESSED"),
        ("statistics", "FACT_KIND_COUNTED"),
    }
    assert all(fact["span_kept"] for fact in story["facts"])
    states = [fact.get("state") for fact in story["facts"] if fact["service"] == "clearance"]
    assert states
    assert all(state.startswith("STATE_") for state in states)
    assert all(story[f"{what}_left_out"] == 0 for what in ("spans", "records", "days", "traces"))
    assert story["not_answered"] == {}
    spans = {span["span_id"]: span for span in story["spans"]}
    for fact in story["facts"]:
        named = spans[fact["traceparent"][36:52]]
        assert named["service"] == fact["service"]
        assert named["started_at_micros"] <= named["ended_at_micros"]
    names = {(span["service"], span["name"]) for span in story["spans"]}
    assert names >= {
        ("ingestion", "luxor.ingestion.v1.IngestionService/SubmitConsignments"),
        ("ingestion", "ingestion transaction"),
        ("clearance", "clearance.consume"),
        ("clearance", "clearance.decide"),
        ("clearance", "luxor.risk.v1.RiskService/AssessConsignments"),
        ("risk", "luxor.risk.v1.RiskService/AssessConsignments"),
        ("revenue", "revenue.assess"),
        ("statistics", "statistics.consume"),
    }


def test_a_tree_is_drawn_with_times_from_the_filing_down(cli: Any, filed: list[str]) -> None:
    story_of(cli, filed[0])
    drawn = cli.run("trace", filed[0]).output
    assert drawn.startswith(f"{filed[0]}  accepted 20")
    lines = drawn.splitlines()
    (heading, *_) = [line for line in lines if "SubmitConsignments at " in line]
    assert " in all  trace " in heading
    order = [
        next(place for place, line in enumerate(lines) if name in line and "━" in line)
        for name in ("SubmitConsignments", "clearance.consume", "clearance.decide", "risk.assess", "statistics.consume")
    ]
    assert order[0] < min(order[1:])
    assert f"{FEW} rows" in drawn
    assert "did not answer" not in drawn
    assert "no span stored" not in drawn
    assert "longest own time" in drawn


def test_a_trace_id_may_stand_in_place_of_the_mrn(cli: Any, filed: list[str]) -> None:
    story = story_of(cli, filed[0])
    trace_id = story["facts"][0]["traceparent"][3:35]
    found = cli.json("trace", trace_id)
    assert found["facts"] == []
    assert {span["span_id"] for span in found["spans"]} <= {span["span_id"] for span in story["spans"]}
    assert trace_id in cli.run("trace", trace_id).output


def test_what_nobody_knows_is_refused_with_a_hint(cli: Any, filed: list[str]) -> None:
    assert cli.error("trace", "0" * 31 + "1", code=1)["reason"] == "TRACE_NOT_FOUND"
    assert cli.error("trace", "26DE", code=1)["reason"] == "MRN_MALFORMED"
    # The remainders 0 and 10 have one check digit, so not each other digit is found out.
    others = (filed[0][:10] + digit + filed[0][11:] for digit in "0123456789" if digit != filed[0][10])
    changed = next(each for each in others if str(check_digit(each[:17])) != each[17])
    assert cli.error("trace", changed, code=1)["reason"] == "MRN_MALFORMED"


def test_a_service_that_does_not_answer_is_named_and_the_others_are_told(
    cli: Any, filed: list[str], system: LocalSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    story_of(cli, filed[1])
    monkeypatch.setattr(traces, "ASK_SECONDS", 2.5)
    system.kill("revenue", signal.SIGSTOP)
    try:
        found = cli.json("trace", filed[1])
        drawn = cli.run("trace", filed[1]).output
    finally:
        system.kill("revenue", signal.SIGCONT)
    assert list(found["not_answered"]) == ["revenue"]
    assert {fact["service"] for fact in found["facts"]} == set(SERVICES) - {"revenue"}
    assert "revenue did not answer" in drawn
    assert "clearance.decide" in drawn


def test_spans_that_are_not_kept_any_more_are_named_as_gaps(cli: Any, filed: list[str], system: LocalSystem) -> None:
    import asyncio

    from tests.fault import checks

    story_of(cli, filed[2])
    asyncio.run(checks.fetch(system, "risk", "delete from trace_record returning 1"))
    found = cli.json("trace", filed[2])
    (fact,) = [each for each in found["facts"] if each["service"] == "risk"]
    assert not fact["span_kept"]
    drawn = cli.run("trace", filed[2]).output
    assert "risk assessed (version 1): no span stored" in drawn
    assert "clearance.decide" in drawn


def test_numbers_stand_whole_on_a_narrow_terminal(filed: list[str], system: LocalSystem) -> None:
    env = {"LUXOR_DATA_DIR": str(system.data_dir), "COLUMNS": "80"}
    result = CliRunner(env=env).invoke(luxor, ["trace", filed[0], "--all"])
    assert result.exit_code == 0, result.output
    assert "…" not in result.output
    wide = CliRunner(env=env | {"COLUMNS": "250"}).invoke(luxor, ["trace", filed[0], "--all"]).output
    shares = re.findall(r"[0-9]+ %", wide)
    assert shares
    assert re.findall(r"[0-9]+ %", result.output) == shares
    assert re.findall(r"\+[0-9.,]+ ?(?:µs|us|ms|s)", result.output) == re.findall(r"\+[0-9.,]+ ?(?:µs|us|ms|s)", wide)
