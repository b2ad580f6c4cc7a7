"""Goods controls over real gRPC: in an assessment, and as the answer to "may this be sent there?"."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from libs.columns import Table
from libs.server.config.server_config import ConfigError
from luxor.common.v1 import common_pb2
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.__main__ import assemble
from services.risk.config import PROFILES
from tests.risk.filings import table
from tests.risk.service_client import refusal, request, stub
from tests.support.services import Running, running

CARTRIDGES = {"description": "Hunting rifle ammunition", "commodity_code": "930630"}
FIREARM = {"type": "FIREARM", "reference": "A-1"}


@pytest_asyncio.fixture
async def risk(database_url: str) -> AsyncIterator[Running]:
    """Risk as it starts alone."""
    async with running("risk", assemble, database_url) as service:
        yield service


def day(of: date = date(2026, 11, 25)) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime(of.year, of.month, of.day, 12, tzinfo=UTC))
    return stamp


def line(**values: Any) -> pb.GoodsLine:
    given = {"destination_country": "DE", "dispatch_country": "CN", **values}
    return pb.GoodsLine(**given)


async def ask(risk: Running, *lines: pb.GoodsLine, role: str = "filer") -> pb.CheckGoodsResponse:
    answer: pb.CheckGoodsResponse = await (await stub(risk, role, "someone")).CheckGoods(
        pb.CheckGoodsRequest(as_of=day(), lines=lines), timeout=10
    )
    return answer


async def test_goods_that_need_documents_are_found_with_them_and_those_that_have_them_are_not(risk: Running) -> None:
    with_documents = {**CARTRIDGES, "supporting_documents": [FIREARM]}
    rows = table([{"items": [CARTRIDGES]}, {"items": [with_documents]}, {}])
    answer = await (await stub(risk)).AssessConsignments(request(rows), timeout=10)
    assessments = Table.decode(answer.assessments)
    findings = assessments.child("findings")
    told = [
        (rule, findings.ragged("documents").values.tolist()[span], item)  # type: ignore[union-attr]
        for rule, item, span in (
            (findings.strings("rule")[row], findings.ints("item_number")[row], findings.ragged("documents").span(row))
            for row in range(assessments.ragged("findings").offsets[1])
        )
    ]
    assert ("EU_FIREARMS", ["FIREARM"], 1) in told
    place = findings.strings("rule").tolist().index("EU_FIREARMS")
    assert findings.strings("reason")[place] == "GOODS_DOCUMENTS_MISSING"
    assert findings.strings("sentence")[place].endswith(
        "Needed: Import authorisation for firearms of the member state (FIREARM)."
    )
    second = slice(*assessments.ragged("findings").offsets[1:3].tolist())
    assert "EU_FIREARMS" not in findings.strings("rule").tolist()[second]
    assert assessments.strings("controls").tolist() == [answer_version(await ask(risk, line(description="x")))] * 3


def answer_version(answer: pb.CheckGoodsResponse) -> str:
    assert answer.controls.startswith("controls+")
    return answer.controls


async def test_the_answer_says_what_may_be_sent_and_sent_and_with_what_documents(risk: Running) -> None:
    answer = await ask(
        risk,
        line(commodity_code="620630", description="Blouse of cotton"),
        line(**CARTRIDGES),
        line(**CARTRIDGES, document_types=["FIREARM"]),
        line(description="Thumb cuffs of steel"),
        line(description="Hunting rifle ammunition", destination_country="NO"),
    )
    assert [each.verdict for each in answer.answers] == [
        pb.GOODS_VERDICT_FREE,
        pb.GOODS_VERDICT_DOCUMENTS_MISSING,
        pb.GOODS_VERDICT_LIFTED,
        pb.GOODS_VERDICT_PROHIBITED,
        pb.GOODS_VERDICT_NOT_COVERED,
    ]
    control = next(each for each in answer.answers[1].controls if each.id == "EU_FIREARMS")
    assert [(document.type, document.name) for document in control.missing] == [
        ("FIREARM", "Import authorisation for firearms of the member state")
    ]
    assert control.any_document_lifts
    assert (control.jurisdiction, control.lane, control.prohibits, control.lifted) == (
        "EU",
        common_pb2.LANE_RED,
        False,
        False,
    )
    assert control.laws[0].law.startswith("Directive (EU) 2021/555")
    lifted = next(each for each in answer.answers[2].controls if each.id == "EU_FIREARMS")
    assert lifted.lifted
    assert not lifted.missing


async def test_a_line_that_cannot_be_judged_says_why_and_holds_up_no_other(risk: Running) -> None:
    answer = await ask(
        risk,
        line(destination_country="", description="Socks"),
        line(),
        line(description="Socks", dispatch_country="XX"),
        line(commodity_code="62063"),
        line(description="Socks", un_number="19"),
        line(description="Socks", document_types=["no type"]),
        line(description="Socks"),
    )
    assert [(each.reason, each.path) for each in answer.answers] == [
        ("GOODS_DESTINATION_MISSING", "destination_country"),
        ("GOODS_UNNAMED", "commodity_code"),
        ("COUNTRY_UNKNOWN", "dispatch_country"),
        ("GOODS_ELEMENT_MALFORMED", "commodity_code"),
        ("GOODS_ELEMENT_MALFORMED", "un_number"),
        ("GOODS_ELEMENT_MALFORMED", "document_types"),
        ("", ""),
    ]
    assert all(each.hint for each in answer.answers[:6])
    assert [each.verdict for each in answer.answers[:6]] == [pb.GOODS_VERDICT_UNSPECIFIED] * 6
    assert answer.answers[6].verdict == pb.GOODS_VERDICT_FREE


async def test_a_question_without_lines_day_or_bounds_is_refused(risk: Running) -> None:
    caller = await stub(risk, "carrier", "post")
    for message, expected in (
        (pb.CheckGoodsRequest(as_of=day()), "BATCH_EMPTY"),
        (pb.CheckGoodsRequest(as_of=day(), lines=[line(description="Socks")] * 1001), "BATCH_TOO_LARGE"),
        (pb.CheckGoodsRequest(lines=[line(description="Socks")]), "CHECK_DAY_MISSING"),
        (pb.CheckGoodsRequest(as_of=day(date(1999, 12, 31)), lines=[line(description="Socks")]), "CHECK_DAY_MISSING"),
    ):
        code, reason, _ = await refusal(caller.CheckGoods(message, timeout=10))
        assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, expected)


async def test_a_thousand_lines_are_answered(risk: Running) -> None:
    answer = await ask(risk, *[line(description=f"Cotton socks model {number}") for number in range(1000)])
    assert len(answer.answers) == 1000


async def test_everyone_outside_may_ask_about_goods_and_services_need_not(risk: Running) -> None:
    for role in ("filer", "carrier", "officer", "analyst", "agency", "operator", "gateway"):
        assert (await ask(risk, line(description="Socks"), role=role)).answers[0].verdict == pb.GOODS_VERDICT_FREE
    code, _, _ = await refusal(ask(risk, line(description="Socks"), role="service"))
    assert code == grpc.StatusCode.PERMISSION_DENIED


async def test_a_hit_travels_with_list_entry_and_explanation_and_is_the_first_answer_for_ever(risk: Running) -> None:
    caller = await stub(risk)
    rows = table([{"consignee": {"name": "Ignatz Peleverde"}}])
    first = Table.decode((await caller.AssessConsignments(request(rows), timeout=10)).assessments)
    again = Table.decode((await caller.AssessConsignments(request(table([{}])), timeout=10)).assessments)
    for answer in (first, again):
        findings = answer.child("findings")
        assert findings.strings("party").tolist() == ["consignee"]
        assert findings.strings("list_entry").tolist() == ["6"]
        assert findings.strings("explanation")[0].startswith(
            f"{findings.ints('match_score')[0]} of 1000 for Ignatz Pelleverde"
        )
        assert answer.strings("lists").tolist() == findings.strings("list").tolist()
    rule_set = await (await stub(risk, "officer", "o")).GetRuleSet(pb.GetRuleSetRequest(), timeout=10)
    assert list(rule_set.lists) == first.strings("lists").tolist()


async def test_officers_read_who_was_met_in_which_list_and_filers_do_not(risk: Running) -> None:
    caller = await stub(risk)
    rows = table([{}, {"consignee": {"name": "Ignatz Peleverde"}}])
    mrn = rows.strings("mrn")[1]
    for purpose in (pb.PURPOSE_CLEARANCE, pb.PURPOSE_PRE_LOADING):
        await caller.AssessConsignments(request(rows, purpose), timeout=10)
    officer = await stub(risk, "officer", "o")
    told = (await officer.ListAssessments(pb.ListAssessmentsRequest(mrn=mrn), timeout=10)).assessments
    assert [(each.version, each.purpose) for each in told] == [(1, pb.PURPOSE_CLEARANCE), (1, pb.PURPOSE_PRE_LOADING)]
    for each in told:
        answer = Table.decode(each.assessment)
        assert answer.rows == 1
        assert answer.child("findings").strings("list_entry").tolist() == ["6"]
    nobody = await officer.ListAssessments(pb.ListAssessmentsRequest(mrn="26DE999999999999R1"), timeout=10)
    assert not nobody.assessments
    code, reason, _ = await refusal(officer.ListAssessments(pb.ListAssessmentsRequest(), timeout=10))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CONSIGNMENT_UNIDENTIFIED")
    for role in ("filer", "carrier", "agency", "service"):
        call = (await stub(risk, role, "x")).ListAssessments(pb.ListAssessmentsRequest(mrn=mrn), timeout=10)
        assert (await refusal(call))[0] == grpc.StatusCode.PERMISSION_DENIED


async def test_repeated_answers_with_and_without_findings_of_other_kinds_stand_side_by_side(risk: Running) -> None:
    caller = await stub(risk)
    kinds = [{}, {"items": [CARTRIDGES]}, {"consignee": {"name": "Ignatz Pelleverde"}}]
    for number, kind in enumerate(kinds):
        await caller.AssessConsignments(request(table([kind], first_mrn=number)), timeout=10)
    answer = Table.decode((await caller.AssessConsignments(request(table([{}, {}, {}, {}])), timeout=10)).assessments)
    assert answer.ints("lane").tolist() == [
        common_pb2.LANE_GREEN,
        common_pb2.LANE_RED,
        common_pb2.LANE_RED,
        common_pb2.LANE_GREEN,
    ]
    assert answer.child("findings").ragged("documents").lengths.sum() == 1
    assert [each for each in answer.child("findings").strings("party").tolist() if each] == ["consignee"]


async def test_lists_and_controls_that_are_refused_stop_the_start_and_say_why(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "eu.yaml").write_text(
        (PROFILES / "data" / "controls" / "eu.yaml").read_text().replace("lane: red", "lane: pink")
    )
    for variable, told in (
        ("LUXOR_RISK_LISTS", "lists.yaml: the file cannot be read"),
        ("LUXOR_RISK_CONTROLS", "eu.yaml:36: control EU_FIREARMS"),
    ):
        with pytest.raises(ConfigError, match=told):
            async with running("risk", assemble, database_url, environ={variable: str(tmp_path)}):
                pass
