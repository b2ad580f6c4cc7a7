"""Risk over real gRPC, TLS and PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import grpc.aio
import numpy as np
import pytest

from libs.columns import Ints, Strings, Table
from libs.server.config.server_config import ConfigError
from libs.store.database import Database
from luxor.common.v1 import common_pb2
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.__main__ import assemble
from services.risk.assessment.assessment import BatchFindings, PendingFindings
from services.risk.commands.assess import settle
from services.risk.rules.rule_set import RuleSet
from services.risk.rules.scoring import assess
from services.risk.screening.parties import MATCHES_MANY
from services.risk.store.assessment_log import AssessmentLogStore
from tests.risk.filings import PROFILE, first_light, table
from tests.risk.service_client import CLEARANCE, GIFT, refusal, request, stub
from tests.support.services import Running, running


async def test_a_batch_is_assessed_in_its_order(risk: Running) -> None:
    rows = table([{}, GIFT, {"consignor": {"name": "Quillan Drasthova"}}])
    answer = await (await stub(risk)).AssessConsignments(request(rows), timeout=10)
    assessments = Table.decode(answer.assessments)
    assert assessments.ints("lane").tolist() == [common_pb2.LANE_GREEN, common_pb2.LANE_YELLOW, common_pb2.LANE_RED]
    findings = assessments.ragged("findings")
    assert findings.offsets.tolist() == [0, 0, 2, 3]
    assert assessments.child("findings").strings("rule").tolist() == [
        "GIFT_WITH_ORDER",
        "GIFT_FROM_FIRM",
        "LISTED_PARTY",
    ]


async def test_a_batch_full_of_listed_names_is_screened_beside_the_loop(
    risk: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[bool] = []
    finish = PendingFindings.finish

    def noted(looked: PendingFindings) -> BatchFindings:
        threads.append(threading.current_thread() is threading.main_thread())
        return finish(looked)

    monkeypatch.setattr(PendingFindings, "finish", noted)
    # Each is another spelling of a name that the shipped list has.
    names = [f"Quillan Drasthova {letter}" for letter in "abcdefghijklmnopqrstuvwxyzäöü"]
    names += [f"{letter} Quillan Drasthova" for letter in "éèêëàâîïôùûçñæœøåþðšžčđ"]
    caller = await stub(risk)
    answer = await caller.AssessConsignments(
        request(table([{"consignor": {"name": name}} for name in names])), timeout=10
    )
    lanes = Table.decode(answer.assessments).ints("lane").values
    assert (lanes >= common_pb2.LANE_YELLOW).sum() >= MATCHES_MANY
    await caller.AssessConsignments(request(table([{"consignor": {"name": names[0]}}], first_mrn=1000)), timeout=10)
    assert threads == [False, True]


async def test_a_repeat_gets_the_first_answer_whatever_it_says_now(risk: Running) -> None:
    caller = await stub(risk)
    first = await caller.AssessConsignments(request(table([GIFT, {}])), timeout=10)
    # The same consignments, with other content, in another order, among a new one.
    again = await caller.AssessConsignments(request(table([{}, {}, GIFT]).take([2, 1, 0])), timeout=10)  # type: ignore[arg-type]
    scores = Table.decode(again.assessments).ints("score").tolist()
    assert Table.decode(first.assessments).ints("score").tolist() == [700, 0]
    assert scores == [700, 0, 700]


async def test_another_version_or_purpose_is_another_assessment(risk: Running) -> None:
    caller = await stub(risk)
    await caller.AssessConsignments(request(table([GIFT])), timeout=10)
    amended = await caller.AssessConsignments(request(table([{}], versions=[2])), timeout=10)
    loading = await caller.AssessConsignments(request(table([{}]), pb.PURPOSE_PRE_LOADING), timeout=10)
    for answer in (amended, loading):
        assert Table.decode(answer.assessments).ints("score").tolist() == [0]


async def test_a_consignment_that_a_call_names_twice_has_one_answer(risk: Running) -> None:
    rows = table([GIFT, {}]).with_columns({"mrn": Strings.of(["26DE000000000007R1"] * 2)})
    answer = await (await stub(risk)).AssessConsignments(request(rows), timeout=10)
    assert Table.decode(answer.assessments).ints("score").tolist() == [700, 700]


async def test_concurrent_equal_calls_agree(risk: Running) -> None:
    caller = await stub(risk)
    people = [{"consignee": {"name": f"Person {number}"}} for number in range(100)]
    rows = [
        table([{**person, **(GIFT if number % 2 == turn else {})} for number, person in enumerate(people)])
        for turn in (0, 1)
    ]
    answers = await asyncio.gather(
        *(caller.AssessConsignments(request(rows[turn % 2]), timeout=20) for turn in range(8))
    )
    scores = [Table.decode(answer.assessments).ints("score").tolist() for answer in answers]
    assert all(each == scores[0] for each in scores)
    assert scores[0] in ([700, 0] * 50, [0, 700] * 50)


def harsher(rules: RuleSet) -> RuleSet:
    """The rule set with another version and thresholds at which everything found is red."""
    return replace(rules, version="harsher", thresholds=type(rules.thresholds)(red=3, yellow=2, blue=1))


async def test_a_change_of_rules_changes_no_answer_that_was_given(database: Database) -> None:
    store = AssessmentLogStore(database)
    rows = table([GIFT, {}, GIFT])
    seen, _, _ = await settle(store, rows.take([0, 1]), CLEARANCE, assess(first_light(), rows.take([0, 1])))  # type: ignore[arg-type]
    later, fresh, _ = await settle(store, rows, CLEARANCE, assess(harsher(first_light()), rows))
    assert fresh.tolist() == [2]
    assert later.ints("lane").tolist() == [*seen.ints("lane").tolist(), common_pb2.LANE_RED]
    assert later.strings("rule_set").tolist() == [first_light().version] * 2 + ["harsher"]
    assert later.ragged("findings").offsets.tolist() == [0, 2, 2, 4]


async def test_only_services_may_assess(risk: Running) -> None:
    for role in ("filer", "officer", "operator"):
        code, reason, _ = await refusal(
            (await stub(risk, role, "someone")).AssessConsignments(request(table([{}])), timeout=10)
        )
        assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")


async def test_officers_see_the_rules_in_force_and_filers_do_not(risk: Running) -> None:
    for role in ("officer", "analyst", "operator"):
        answer = await (await stub(risk, role, "someone")).GetRuleSet(pb.GetRuleSetRequest(), timeout=10)
        assert answer.rule_set.version == first_light().version
    rules = {rule.id: rule for rule in answer.rule_set.rules}
    assert len(rules) == len(first_light().rules)
    identifiers = rules["PRODUCT_IDENTIFIER_MISSING"]
    assert identifiers.from_day == "2026-11-01"
    assert identifiers.to_day == ""
    assert len(identifiers.destination_countries) == 27
    assert identifiers.subject == pb.RULE_SUBJECT_ITEM
    assert {data.name for data in answer.rule_set.data} == set(first_light().data)
    code, _, _ = await refusal((await stub(risk, "filer", "shop")).GetRuleSet(pb.GetRuleSetRequest(), timeout=10))
    assert code == grpc.StatusCode.PERMISSION_DENIED


async def test_what_cannot_be_assessed_is_refused_with_its_place(risk: Running) -> None:
    caller = await stub(risk)
    rows = table([{}, {}])
    unnamed = rows.with_columns({"mrn": Strings.of(["26DE000000000001R1", ""])})
    unversioned = rows.with_columns({"version": Ints.of([0, 1])})
    broken = request(rows)
    broken.consignments.nature.values.append(1)
    many = request(table([{}]))
    many.consignments.rows = 2001
    for message, expected, path in (
        (request(rows, pb.PURPOSE_UNSPECIFIED), "PURPOSE_UNKNOWN", "purpose"),
        (request(unnamed), "CONSIGNMENT_UNIDENTIFIED", "consignments.mrn[1]"),
        (request(unversioned), "CONSIGNMENT_UNIDENTIFIED", "consignments.version[0]"),
        (broken, "CONSIGNMENT_COLUMNS_MALFORMED", "luxor.consignment.v1.ConsignmentColumns.nature"),
        (pb.AssessConsignmentsRequest(purpose=pb.PURPOSE_CLEARANCE), "BATCH_EMPTY", ""),
        (many, "BATCH_TOO_LARGE", ""),
    ):
        code, reason, place = await refusal(caller.AssessConsignments(message, timeout=10))
        assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, expected)
        assert place.startswith(path)
        assert bool(place) == bool(path)


async def test_a_full_batch_of_two_thousand_is_taken(risk: Running) -> None:
    mrns = Strings.of([f"26DE{number:012d}R1" for number in range(2000)])
    rows = table([{}]).take(np.zeros(2000, np.int64)).with_columns({"mrn": mrns})
    answer = await (await stub(risk)).AssessConsignments(request(rows), timeout=30)
    assert answer.assessments.rows == 2000


async def test_a_refused_profile_stops_the_start_and_says_why(database_url: str, tmp_path: Path) -> None:
    text = PROFILE.read_text()
    line = text[: text.index("NATURE_GIFT")].count("\n") + 1
    (tmp_path / "profile.yaml").write_text(text.replace("NATURE_GIFT", "NATURE_GRIFT"))
    (tmp_path / "data").symlink_to(PROFILE.parent / "data")
    with pytest.raises(ConfigError, match=rf"profile.yaml:{line}:35: rule GIFT_WITH_ORDER"):
        async with running(
            "risk", assemble, database_url, environ={"LUXOR_RISK_PROFILE": str(tmp_path / "profile.yaml")}
        ):
            pass
