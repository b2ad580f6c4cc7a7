"""The pictures of the README are drawn from the map and from recorded output, and are those that are committed."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from libs.server.config.deployment_map import OUTSIDE, Connection, read
from luxor.trace.v1 import trace_pb2
from services.clearance.consignment.lifecycle.table import TABLE
from services.clearance.consignment.lifecycle.texts import EVENTS
from tools import lifecycle_table, picture_flow, picture_lifecycle, picture_terminal, pictures

RECORDING = json.loads(pictures.RECORDING.read_text("utf-8"))
STEPS = [picture_flow.Step(**step) for step in RECORDING["path"]["steps"]]
CONNECTIONS = read().connections
SERVICES = ["ingestion", "risk", "revenue", "clearance", "statistics"]
README = (pictures.ROOT / "README.md").read_text("utf-8")


def texts(svg: str) -> list[str]:
    return [
        "".join(each.itertext()).replace("\xa0", " ")
        for each in ElementTree.fromstring(svg).iter()
        if each.tag.endswith("}text")
    ]


def test_the_committed_pictures_are_those_that_the_command_draws() -> None:
    for name, text in pictures.draw(RECORDING).items():
        assert (pictures.PICTURES / name).read_text("utf-8") == text, f"{name}: run `make pictures`"
    assert pictures.draw(RECORDING) == pictures.draw(RECORDING)


def test_the_readme_and_the_page_of_states_show_each_picture_and_have_the_commands_that_were_recorded() -> None:
    shown = set(re.findall(r"!\[[^\]]+\]\(docs/pictures/([a-z.]+)\)", README))
    shown |= set(re.findall(r"!\[[^\]]+\]\(pictures/([a-z.]+)\)", lifecycle_table.PAGE.read_text("utf-8")))
    assert shown == set(pictures.draw(RECORDING))
    for command in (" ".join(pictures.ACCOUNT), f"arrive {pictures.MASTER}", f"show {pictures.REFERENCE}"):
        assert f"    luxor {command} " in README


@pytest.mark.parametrize("name", ["flow.svg", "consignment.svg", "lifecycle.svg"])
def test_a_picture_needs_nothing_from_the_network(name: str) -> None:
    svg = pictures.draw(RECORDING)[name]
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert "://" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", svg))
    assert "@import" not in svg
    assert "<image" not in svg


# ---------------------------------------------------------------------------------------------- the states
def test_the_states_have_each_transition_of_the_table_once_and_no_label_lies_on_another_or_on_an_arrow() -> None:
    svg = picture_lifecycle.draw_lifecycle()
    shown = {
        (event, source, target)
        for (target, sources), events in picture_lifecycle.arrows().items()
        for event in events
        for source in sources
    }
    moves = [row for row in TABLE if not row.refusal and row.next != row.state]
    assert shown == {(EVENTS[row.event], row.state, row.next) for row in moves}
    labels = [
        (float(each.attrib["y"]), "".join(each.itertext()))
        for each in ElementTree.fromstring(svg).iter()
        if each.attrib.get("class") == "label"
    ]
    for events in picture_lifecycle.arrows().values():
        assert ", ".join(events) in " ".join(text for _, text in labels)
    rows = [y for y, _ in labels]
    assert all(later - y >= 14 for y, later in itertools.pairwise(rows))
    arrows = {float(y) for y in re.findall(r'class="arrow" d="M\d+ (\d+) H', svg)}
    assert not any(-2 < arrow - y < 0 or 0 <= arrow - y < 4 for arrow in arrows for y in rows)
    assert not any(0 < y - arrow < 11 for arrow in arrows for y in rows)


def test_the_page_of_states_is_the_one_that_the_tool_writes_and_has_each_event_and_refusal() -> None:
    page = lifecycle_table.page()
    assert lifecycle_table.PAGE.read_text("utf-8") == page, f"run {lifecycle_table.COMMAND}"
    for event in EVENTS:
        assert f"({event.name})\n" in page
    for row in TABLE:
        assert not row.refusal or f"`{row.refusal}`" in page
        assert all(condition.value in page for condition in row.when)


# ---------------------------------------------------------------------------------------------- the flow
def test_the_flow_shows_every_service_connection_and_step() -> None:
    svg = picture_flow.draw_flow(CONNECTIONS, "26DE0000000000000X", STEPS)
    shown = texts(svg)
    for service in SERVICES:
        assert shown.count(service) == 1 + sum(step.service == service for step in STEPS)
    arrows = picture_flow.arrows_of(CONNECTIONS, SERVICES)
    beside = picture_flow.beside_of(arrows, "clearance")
    assert [(each.source, each.target) for each in beside] == [("ingestion", "risk")] * 2 + [
        ("ingestion", "revenue")
    ] * 2
    assert "calls risk, revenue" in shown
    assert len(arrows) - len(beside) == svg.count('class="head"')
    words = " ".join(shown)
    for arrow in (each for each in arrows if each not in beside):
        assert all(word in words for word in arrow.label.split())
    assert "The path of consignment 26DE0000000000000X" in shown
    numbers = [int(each) for each in shown if each.isdigit()]
    # Each step on an arrow and in the list, and the one of the legend.
    assert sorted(numbers) == sorted([*range(1, len(STEPS) + 1)] * 2 + [1])


def test_the_recorded_path_leads_through_all_services_from_filing_to_release() -> None:
    assert {step.service for step in STEPS} == set(SERVICES)
    assert [step.method for step in STEPS if step.source == OUTSIDE] == ["SubmitConsignments", "RecordArrivals"]
    assert {(step.source, step.service) for step in STEPS if step.method == "AssessConsignments"} == {
        ("clearance", "risk"),
        ("clearance", "revenue"),
    }
    assert RECORDING["show"]["state"] == "STATE_RELEASED"
    assert RECORDING["show"]["mrn"] == RECORDING["path"]["reference"]


def test_a_step_that_the_map_does_not_have_is_refused() -> None:
    astray = replace(STEPS[0], source="statistics")
    with pytest.raises(ValueError, match="from statistics to ingestion"):
        picture_flow.draw_flow(CONNECTIONS, "X", [STEPS[0], astray])


def test_nothing_overlaps_the_edges_of_the_flow() -> None:
    root = ElementTree.fromstring(picture_flow.draw_flow(CONNECTIONS, "X", STEPS))
    width, height = (float(each) for each in root.attrib["viewBox"].split()[2:])
    for each in root.iter():
        if each.tag.endswith("}rect"):
            x, y, wide, tall = (float(each.attrib[name]) for name in ("x", "y", "width", "height"))
            assert 0 <= x <= x + wide <= width
            assert 0 <= y <= y + tall <= height
        elif each.tag.endswith("}text") and "end" not in each.attrib.get("class", ""):
            assert float(each.attrib["x"]) + len("".join(each.itertext())) * 5 <= width


def test_arrows_lead_from_the_caller_and_from_the_publisher_of_a_feed() -> None:
    connections = [
        Connection(("b",), "a", "grpc", "Assess, the feed of news", ("luxor.a.v1.AService/Assess", picture_flow.FEED)),
        Connection((OUTSIDE, "load"), "a", "grpc", "quotes"),
        Connection(("prometheus",), "a", "metrics", "metrics"),
        Connection(("b",), "a-store", "postgres", "its own database"),
    ]
    arrows = picture_flow.arrows_of(connections, ["a", "b"])
    assert [(each.source, each.target, each.label, each.is_feed) for each in arrows] == [
        ("b", "a", "Assess", False), ("a", "b", "news", True), (OUTSIDE, "a", "quotes", False),
    ]  # fmt: skip


def span(ident: str, service: str, parent: str = "", links: tuple[str, ...] = (), start: int = 0) -> dict[str, object]:
    return {
        "span_id": ident,
        "service": service,
        "parent_span_id": parent,
        "name": f"{service}.consume",
        picture_flow.STARTED: start,
        picture_flow.ENDED: start + 1,
        "links": [f"00-{'0' * 32}-{link}-00" for link in links],
    }


def test_steps_are_the_spans_that_enter_a_service() -> None:
    ids = [f"{number:016x}" for number in range(6)]
    spans = [
        span(ids[0], "a", "f" * 16, start=1),
        span(ids[1], "a", ids[0], start=2),
        span(ids[2], "b", ids[1], start=5),
        span(ids[3], "c", "e" * 16, (ids[2],), start=4),
        span(ids[4], "c", ids[3], start=6),
        span(ids[5], "b", start=7),
    ]
    assert [(step.source, step.service) for step in picture_flow.steps_of(spans)] == [
        (OUTSIDE, "a"),
        ("b", "c"),
        ("a", "b"),
        (OUTSIDE, "b"),
    ]


def test_steps_are_read_from_fields_that_spans_have() -> None:
    fields = set(trace_pb2.Span.DESCRIPTOR.fields_by_name)
    assert {"span_id", "parent_span_id", "name", "links", picture_flow.STARTED, picture_flow.ENDED} <= fields


# ---------------------------------------------------------------------------------------------- the terminal
def test_the_consignment_shows_state_reasons_charges_and_law() -> None:
    shown = " ".join(texts(picture_terminal.draw_consignment(RECORDING["show"])))
    for part in (
        f"luxor show {pictures.REFERENCE}", RECORDING["show"]["mrn"], "released", "green", "PLATFORM_NEW", "EU:vat-rates", "EU:flat-duty", "payable",
    ):  # fmt: skip
        assert re.sub(r"\s+", " ", part) in re.sub(r"\s+", " ", shown)
    assert "…" not in shown, "nothing is cut"


# ---------------------------------------------------------------------------------------------- the command
def test_a_picture_that_is_not_current_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pictures, "PICTURES", tmp_path)
    assert pictures.main(["--check"]) == 1
    assert "docs/pictures/flow.svg is not current; run `make pictures`" in capsys.readouterr().err
    assert pictures.main([]) == 0
    assert pictures.main(["--check"]) == 0
    (tmp_path / "flow.svg").write_text("<svg/>")
    assert pictures.main(["--check"]) == 1
