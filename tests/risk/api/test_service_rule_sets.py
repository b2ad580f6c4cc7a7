"""The life of rule sets over real gRPC, TLS and PostgreSQL: nothing bites that two people did not want, on any replica."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import pytest
from google.rpc import error_details_pb2

from libs.columns import Table
from libs.server.errors import Violation, details_of, status_of
from libs.telemetry.metrics import REGISTRY
from luxor.risk.v1 import risk_pb2
from luxor.risk.v1 import rule_sets_pb2 as pb
from services.risk.store import rule_sets as kept_rule_sets
from tests.risk.filings import first_light, table
from tests.risk.rule_set_client import GIFT, activated, assessed, listed, proposal, proposed, stub
from tests.risk.rules.rule_files import RATES, files, message, profile, read, rule, typology
from tests.risk.selection.selection_batches import FILE as SELECTION
from tests.risk.selection.selection_batches import NONE
from tests.risk.service_client import refusal, request
from tests.risk.service_client import stub as risk_stub
from tests.support.services import Running


async def test_a_set_is_proposed_by_one_and_activated_by_another_and_every_answer_names_it(risk: Running) -> None:
    assert (await assessed(risk, 1)).strings("rule_set").tolist() == [first_light().version]
    content = files(rule("FIRST", weight=321), rule("TRIED", more="life: shadow"))
    draft = await (await stub(risk)).ProposeRuleSet(proposal(content), timeout=20)
    version = draft.rule_set.version
    assert version == read(rule("FIRST", weight=321), rule("TRIED", more="life: shadow")).version
    assert (draft.rule_set.state, draft.rule_set.proposed_by) == (pb.RULE_SET_STATE_DRAFT, "analyst/anna")
    assert draft.report.sample_consignments == 1
    assert [(each.rule, each.judged, each.matched) for each in draft.report.rules] == [("FIRST", 1, 1), ("TRIED", 1, 1)]
    assert (await listed(risk)).active_version == first_light().version
    assert (await assessed(risk, 2)).strings("rule_set").tolist() == [first_light().version]
    answer = await activated(risk, version)
    assert (answer.rule_set.state, answer.rule_set.activated_by, answer.replaced) == (
        pb.RULE_SET_STATE_ACTIVE,
        "officer/olga",
        "",
    )
    told = await assessed(risk, 3)
    assert (told.strings("rule_set").tolist(), told.ints("score").tolist()) == ([version], [321])
    assert (await listed(risk)).active_version == version
    in_force = await (await risk_stub(risk, "officer", "o")).GetRuleSet(risk_pb2.GetRuleSetRequest(), timeout=10)
    assert [(each.id, each.life) for each in in_force.rule_set.rules] == [
        ("FIRST", risk_pb2.RULE_LIFE_ACTIVE),
        ("TRIED", risk_pb2.RULE_LIFE_SHADOW),
    ]


async def test_hits_in_shadow_are_counted_by_rule(risk: Running) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("luxor_risk_shadow_matches_total", {"rule": "ONLY_COUNTED"}) or 0.0

    await activated(risk, await proposed(risk, files(rule("ONLY_COUNTED", more="life: shadow"), rule("OPEN"))))
    before = counted()
    rows = table([GIFT, {}, GIFT])
    answer = await (await risk_stub(risk)).AssessConsignments(request(rows), timeout=20)
    assert Table.decode(answer.assessments).ragged("shadow_rules").lengths.tolist() == [1, 0, 1]
    assert counted() - before == 2


async def test_who_proposed_a_set_does_not_activate_it_in_whatever_role(risk: Running) -> None:
    version = await proposed(risk, files(rule("FIRST")))
    # Ids that differ in capitals alone are of one person.
    for role, ident in (("analyst", "anna"), ("officer", "anna"), ("officer", "Anna")):
        code, reason, path = await refusal(activated(risk, version, ident, role))
        assert (code, reason, path) == (grpc.StatusCode.PERMISSION_DENIED, "RULE_SET_OWN", "version")
    assert (await listed(risk)).rule_sets[0].state == pb.RULE_SET_STATE_DRAFT
    assert (await assessed(risk, 1)).strings("rule_set").tolist() == [first_light().version]


async def test_a_set_that_replaces_another_retires_it_and_one_can_go_back(risk: Running) -> None:
    one, two = await proposed(risk, files(rule("FIRST"))), await proposed(risk, files(rule("SECOND")))
    await activated(risk, one)
    assert (await activated(risk, two)).replaced == one
    states = {each.version: each for each in (await listed(risk)).rule_sets}
    assert (states[one].state, states[one].retired_by) == (pb.RULE_SET_STATE_RETIRED, "officer/olga")
    back = await activated(risk, one)
    assert (back.replaced, back.rule_set.state, back.rule_set.retired_by) == (two, pb.RULE_SET_STATE_ACTIVE, "")
    assert (await listed(risk)).active_version == one
    _, reason, _ = await refusal(activated(risk, one))
    assert reason == "RULE_SET_STATE_WRONG"


async def test_a_withdrawn_draft_is_never_activated_and_one_in_force_is_not_withdrawn(risk: Running) -> None:
    one, two = await proposed(risk, files(rule("FIRST"))), await proposed(risk, files(rule("SECOND")))
    anna = await stub(risk)
    asked = pb.RetireRuleSetRequest(request_id="r1", version=one)
    answer = await anna.RetireRuleSet(asked, timeout=10)
    assert (answer.rule_set.state, answer.rule_set.retired_by) == (pb.RULE_SET_STATE_RETIRED, "analyst/anna")
    assert await anna.RetireRuleSet(asked, timeout=10) == answer
    assert (await refusal(activated(risk, one)))[1] == "RULE_SET_STATE_WRONG"
    await activated(risk, two)
    again = pb.RetireRuleSetRequest(request_id="r2", version=two)
    assert (await refusal(anna.RetireRuleSet(again, timeout=10)))[1] == "RULE_SET_STATE_WRONG"
    unknown = pb.RetireRuleSetRequest(request_id="r3", version="trial/1+0")
    assert (await refusal(anna.RetireRuleSet(unknown, timeout=10)))[1] == "RULE_SET_UNKNOWN"


async def test_a_repeated_request_gets_its_first_answer_and_one_of_other_content_is_refused(risk: Running) -> None:
    anna, olga = await stub(risk), await stub(risk, "olga", "officer")
    first = await anna.ProposeRuleSet(proposal(files(rule("FIRST")), "same"), timeout=20)
    assert await anna.ProposeRuleSet(proposal(files(rule("FIRST")), "same"), timeout=20) == first
    other = anna.ProposeRuleSet(proposal(files(rule("SECOND")), "same"), timeout=20)
    assert (await refusal(other))[1] == "REQUEST_REUSED"
    known = anna.ProposeRuleSet(proposal(files(rule("FIRST")), "another"), timeout=20)
    assert (await refusal(known))[:2] == (grpc.StatusCode.ALREADY_EXISTS, "RULE_SET_KNOWN")
    asked = pb.ActivateRuleSetRequest(request_id="same", version=first.rule_set.version)
    answers = await asyncio.gather(*(olga.ActivateRuleSet(asked, timeout=20) for _ in range(4)))
    assert all(each == answers[0] for each in answers)
    two = await proposed(risk, files(rule("SECOND")))
    await activated(risk, two)
    # What was answered once changes nothing later.
    assert await olga.ActivateRuleSet(asked, timeout=20) == answers[0]
    assert (await listed(risk)).active_version == two
    assert len((await listed(risk)).rule_sets) == 2


async def test_of_sets_that_are_activated_at_once_one_is_in_force_in_the_end(risk: Running) -> None:
    versions = [await proposed(risk, files(rule(f"RULE_{number}"))) for number in range(4)]
    answers = await asyncio.gather(*(activated(risk, each) for each in versions))
    assert sorted(each.replaced for each in answers)[0] == ""
    assert len({each.replaced for each in answers}) == 4
    kept = (await listed(risk)).rule_sets
    (active,) = (each.version for each in kept if each.state == pb.RULE_SET_STATE_ACTIVE)
    assert {each.replaced for each in answers} | {active} == {"", *versions}
    assert (await listed(risk)).active_version == active


async def test_a_set_with_mistakes_changes_nothing_and_each_is_told_with_its_place(risk: Running) -> None:
    content = files(rule("FIRST", "consignment.natur == 1"), rule("SECOND", "consignment.gross_mass_mg > 'heavy'"))
    anna = await stub(risk)
    report = (await anna.CheckRuleSet(pb.CheckRuleSetRequest(set=message(content)), timeout=20)).report
    assert [(each.file, each.line, each.column, each.element) for each in report.errors] == [
        ("profile.yaml", 9, 27, "rule FIRST"),
        ("profile.yaml", 20, 42, "rule SECOND"),
    ]
    assert report.version == ""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anna.ProposeRuleSet(proposal(content), timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    faults = details_of(status_of(caught.value), error_details_pb2.BadRequest)
    assert faults is not None
    told = [Violation(each.field, each.reason, each.description) for each in faults.field_violations]
    assert [each.path for each in told] == ["profile.yaml:9:27", "profile.yaml:20:42"]
    assert told[0].message.startswith("rule FIRST: condition: undefined field 'natur'")
    assert len((await listed(risk)).rule_sets) == 0
    assert (await listed(risk)).active_version == first_light().version


async def test_a_set_that_trusts_operators_is_refused_with_what_to_do_instead(risk: Running) -> None:
    text = SELECTION.format(**NONE, days=10, hits="")
    trusted = "trusted:\n  - {identifier: DE1234567, authorisation: AEO 17/2026, valid_from: 2026-01-01}\n"
    profiled = {"profile.yaml": profile(rule("FIRST"), more="selection: s.yaml\n").encode(), "rates.yaml": RATES}
    anna = await stub(risk)
    good = pb.CheckRuleSetRequest(set=message(profiled | {"s.yaml": text.encode()}))
    assert not (await anna.CheckRuleSet(good, timeout=20)).report.errors
    content = profiled | {"s.yaml": (text + trusted).encode()}
    report = (await anna.CheckRuleSet(pb.CheckRuleSetRequest(set=message(content)), timeout=20)).report
    assert [(each.file, each.line) for each in report.errors] == [("s.yaml", text.count("\n") + 2)]
    assert "luxor filer trust" in report.errors[0].message
    code, reason, place = await refusal(anna.ProposeRuleSet(proposal(content), timeout=20))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "RULE_SET_REFUSED")
    assert place.startswith(f"s.yaml:{report.errors[0].line}:")
    assert len((await listed(risk)).rule_sets) == 0


async def test_a_set_of_many_mistakes_is_told_in_full_by_the_check(risk: Running) -> None:
    content = files(*(rule(f"RULE_{number}", "consignment.natur == 1") for number in range(300)))
    anna = await stub(risk)
    report = (await anna.CheckRuleSet(pb.CheckRuleSetRequest(set=message(content)), timeout=20)).report
    assert len(report.errors) == 300
    code, reason, _ = await refusal(anna.ProposeRuleSet(proposal(content), timeout=20))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "RULE_SET_REFUSED")


@pytest.mark.parametrize(
    ("content", "path", "fault"),
    [
        ({}, "profile.yaml", "set.files"),
        ({f"{number}.yaml": b"" for number in range(201)}, "0.yaml", "set.files"),
        ({"profile.yaml": b"#" * 1_500_000, "a.yaml": b"#" * 1_500_001}, "profile.yaml", "set.files"),
        ({"../profile.yaml": b""}, "../profile.yaml", "set.files[0].path"),
        ({"profile.yaml": b""}, "other.yaml", "set.profile_path"),
    ],
)
async def test_files_beyond_their_bounds_are_refused(
    risk: Running, content: dict[str, bytes], path: str, fault: str
) -> None:
    asked = pb.CheckRuleSetRequest(set=message(content, path))
    code, reason, place = await refusal((await stub(risk)).CheckRuleSet(asked, timeout=20))
    expected = "LIST_TOO_LONG" if len(content) > 200 else "RULE_SET_FILES_MALFORMED"
    assert (code, reason, place) == (grpc.StatusCode.INVALID_ARGUMENT, expected, fault)


async def test_requests_are_checked(risk: Running) -> None:
    anna = await stub(risk)
    nameless = pb.ProposeRuleSetRequest(set=message(files(rule("FIRST"))))
    assert (await refusal(anna.ProposeRuleSet(nameless, timeout=10)))[1] == "REQUEST_ID_MISSING"
    long = anna.RetireRuleSet(pb.RetireRuleSetRequest(request_id="x" * 65, version="v"), timeout=10)
    assert (await refusal(long))[1] == "REQUEST_ID_MALFORMED"
    note = anna.ProposeRuleSet(proposal(files(rule("FIRST")), note="x" * 513), timeout=10)
    assert (await refusal(note))[1] == "NOTE_TOO_LONG"
    assert (await refusal(activated(risk, "trial/1+0")))[1] == "RULE_SET_UNKNOWN"
    assert (await refusal(listed(risk, page_size=-1)))[1] == "NUMBER_NEGATIVE"
    assert (await listed(risk, page_size=101)).next_page_token == "", "a larger page is cut"
    for token in ("x", "eA==", "OTk5OTk5OTk5OTk5OTk5OTk5OTkgdg=="):
        assert (await refusal(listed(risk, page_token=token)))[1] == "PAGE_TOKEN_MALFORMED"
    unknown = anna.GetRuleSetFiles(pb.GetRuleSetFilesRequest(version="trial/1+0"), timeout=10)
    assert (await refusal(unknown))[1] == "RULE_SET_UNKNOWN"


async def test_sets_are_listed_in_pages_and_given_as_they_were_proposed(risk: Running) -> None:
    content = files(rule("FIRST"), typologies=typology("SIGNS", "{FIRST: 30}", 30))
    versions = [await proposed(risk, content)]
    versions += [await proposed(risk, files(rule("FIRST"), version=str(number))) for number in range(2, 6)]
    found, token = [], ""
    while True:
        page = await listed(risk, page_size=2, page_token=token)
        found += [each.version for each in page.rule_sets]
        token = page.next_page_token
        if not token:
            break
    assert found == versions[::-1]
    asked = pb.GetRuleSetFilesRequest(version=versions[0])
    answer = await (await stub(risk, "olga", "officer")).GetRuleSetFiles(asked, timeout=10)
    assert {each.path: each.content for each in answer.set.files} == content
    assert (answer.rule_set.note, answer.report.version) == ("For the tests.", versions[0])


async def test_only_those_who_may_see_and_change_rule_sets(risk: Running) -> None:
    async def may(role: str, name: str, asked: Any) -> bool:
        try:
            await getattr(await stub(risk, "somebody", role), name)(asked, timeout=10)
        except grpc.aio.AioRpcError as error:
            return error.code() is not grpc.StatusCode.PERMISSION_DENIED
        return True

    asked = {
        "CheckRuleSet": (pb.CheckRuleSetRequest(), {"analyst", "officer"}),
        "ProposeRuleSet": (pb.ProposeRuleSetRequest(), {"analyst"}),
        "ActivateRuleSet": (pb.ActivateRuleSetRequest(), {"analyst", "officer"}),
        "RetireRuleSet": (pb.RetireRuleSetRequest(), {"analyst", "officer"}),
        "ListRuleSets": (pb.ListRuleSetsRequest(), {"analyst", "officer", "operator"}),
        "GetRuleSetFiles": (pb.GetRuleSetFilesRequest(), {"analyst", "officer"}),
    }
    for name, (sent, roles) in asked.items():
        for role in ("filer", "carrier", "analyst", "officer", "operator", "service", "agency"):
            assert await may(role, name, sent) == (role in roles), (name, role)


async def test_a_person_with_too_many_drafts_is_told_what_to_do(risk: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_rule_sets, "DRAFTS_MAX", 1)
    await proposed(risk, files(rule("FIRST")), "Anna")
    code, reason, _ = await refusal((await stub(risk)).ProposeRuleSet(proposal(files(rule("SECOND"))), timeout=20))
    assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RULE_SET_DRAFTS_TOO_MANY")
    await proposed(risk, files(rule("SECOND")), "another")
