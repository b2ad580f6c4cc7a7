"""What commands draw for people, of answers as services give them; no system is needed for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from rich.console import Console, RenderableType

from libs.cli.commands.filing.arrive import show_arrivals
from libs.cli.commands.risk.assessment import show_assessments
from libs.cli.views.consignment import render
from libs.cli.views.statistics import render_counts, render_times
from libs.client.clearance.officers import act
from luxor.clearance.v1 import clearance_pb2 as pb

MRN = "26DE07329000001XR8"


def drawn(*parts: RenderableType, width: int = 120) -> str:
    console = Console(width=width, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(*parts)
    return captured.get()


def labels(text: str) -> set[str]:
    return {line.strip("│ ").split("  ")[0] for line in text.splitlines()}


def test_a_consignment_has_a_row_only_for_what_is_told() -> None:
    filers = {"mrn": MRN, "version": 3, "state": "STATE_RELEASED", "decision": {"lane": "LANE_GREEN"}}
    assert not labels(drawn(render(filers))) & {"model", "risk", "selected", "audit", "inspected"}
    assert "version 3" in drawn(render(filers))
    told = filers | {
        "decision": {
            "audit": True, "risk_score": 0, "rule_set_version": "first-light/1", "model_score_ppm": 123_400, "model_version": "items+1",
            "office": "DE004851",
        },
        "findings": {
            "inspected_at": "2026-11-25T10:00:00Z", "inspected_by": "olga",
            "inspection_method": "INSPECTION_METHOD_SCAN", "inspection_result": "INSPECTION_RESULT_CONFORM",
        },
    }  # fmt: skip
    text = drawn(render(told))
    assert {"model", "risk", "selected", "audit", "inspected"} <= labels(text)
    assert "by olga" in text
    assert "probability" not in text


@pytest.mark.parametrize(
    ("release", "shown"),
    [
        (
            {"category": "RELEASE_CATEGORY_SIMPLIFIED", "law_version": "EU/2026.1/fb314465"},
            "category 3, low value with a simplified declaration",
        ),
        (
            {"unknown_because": "RELEASE_CATEGORY_UNKNOWN_NO_LAW"},
            "category not known: the data of the jurisdiction do not state it",
        ),
        (
            {"category": "RELEASE_CATEGORY_FULL", "missing_elements": ["items.origin_country"]},
            "without items.origin_country",
        ),
    ],
)
def test_the_category_of_immediate_release_is_shown_in_words(release: dict[str, Any], shown: str) -> None:
    assert shown in drawn(render({"mrn": MRN, "release": release}))
    assert "category" not in drawn(render({"mrn": MRN}))


@pytest.mark.parametrize(("chance", "told"), [({}, False), ({"chance_ppm": 20_000}, True)])
def test_an_assessment_tells_a_chance_only_where_there_was_a_draw(chance: dict[str, int], told: bool) -> None:
    answer: dict[str, Any] = {
        "version": 1, "purpose": "PURPOSE_CLEARANCE", "lane": "LANE_RED", "score": 700, "findings": [],
        "selection_cause": "SELECTION_CAUSE_SCORE", "selection_reason": "SCORE_HIGH",
    }  # fmt: skip
    console = Console(width=120)
    with console.capture() as captured:
        show_assessments(console, MRN, [answer | chance], [])
    assert "SCORE_HIGH" in captured.get()
    assert ("probability 2 %" in captured.get()) is told
    assert ("probability" in captured.get()) is told


def test_arrivals_tell_what_waits() -> None:
    console = Console(width=120)
    told = {
        "master_document_number": "020-1",
        "outcome": "ARRIVAL_OUTCOME_RECORDED",
        "consignments": 44,
        "released": 2,
        "held": 11,
        "waiting": 31,
    }
    with console.capture() as captured:
        show_arrivals(console, [told])
    head, _, row = [line for line in captured.get().splitlines() if line.strip()]
    assert "waiting" in head
    assert row.split()[-4:] == ["44", "2", "11", "31"]


def test_goods_that_nobody_valued_are_named_and_heads_stay_whole_on_a_narrow_terminal() -> None:
    row = {"consignments": 588, "items": 900, "net_mass_mg": 21_000_000}
    text = drawn(render_counts([], [row]), width=80)
    assert "not valued" in text
    assert "over 21" in drawn(render_counts([], [row | {"exceeding": ["net_mass_mg"]}]), width=80)
    assert "consignments" in text
    keys = ["20782", "green"]
    time = {
        "keys": keys,
        "count": 9_412,
        "sum_micros": 5e9,
        "stretch": "STRETCH_DECISION",
        "bounds_micros": [1_000],
        "buckets": [1, 1],
    }
    for table in (render_counts(["day", "lane"], [row | {"keys": keys}]), render_times(["day", "lane"], [time])):
        assert {"consign-", "ments"} <= set(drawn(table, width=80).split())


def test_an_officer_names_the_version_that_she_saw() -> None:
    asked: list[Any] = []

    class Officer:
        async def release(self, refs: list[pb.ConsignmentRef], **_: str) -> pb.ReleaseConsignmentsResponse:
            asked.extend((ref.mrn, ref.expected_version if ref.HasField("expected_version") else None) for ref in refs)
            return pb.ReleaseConsignmentsResponse()

    for seen in (None, 3):
        asyncio.run(act(Officer(), "release", [MRN], reason="IN_ORDER", expected_version=seen))  # type: ignore[arg-type]
    assert asked == [(MRN, None), (MRN, 3)]
