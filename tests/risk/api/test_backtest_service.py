"""Backtests over gRPC: they are started once, run as jobs, listed and cancelled."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import grpc
import pytest

from libs.customs.time import day_text
from libs.jobs.store import Jobs, JobState
from libs.store.database import Database
from luxor.jobs.v1 import jobs_pb2
from luxor.jobs.v1.jobs_pb2_grpc import JobServiceStub
from luxor.risk.v1 import backtests_pb2 as pb
from luxor.risk.v1.backtests_pb2_grpc import BacktestServiceStub
from luxor.risk.v1.rule_sets_pb2 import RuleSetFile, RuleSetFiles
from services.risk.rules.rule_set import RuleSetText
from services.risk.rules.validation_errors import RuleSetError, ValidationError
from services.risk.store.job_kinds import JobKind
from tests.risk.filings import first_light, table
from tests.risk.jobs.backtest_drafts import CHANGES, draft
from tests.risk.service_client import refusal, request
from tests.risk.service_client import stub as risk_stub
from tests.support.services import Running

TODAY = (datetime.datetime.now(datetime.UTC).date() - datetime.date(1970, 1, 1)).days


async def stub(risk: Running, role: str = "analyst", who: str = "m.rossi") -> Any:
    return BacktestServiceStub(await risk.channel(role, who))


async def job_stub(risk: Running, role: str = "analyst", who: str = "m.rossi") -> Any:
    return JobServiceStub(await risk.channel(role, who))


def asked(request_id: str = "one", **more: Any) -> pb.StartBacktestRequest:
    plan = {
        "rule_set_version": first_light().version,
        "from_day": day_text(TODAY - 2),
        "to_day": day_text(TODAY + 2),
        "examples": 2,
        **more,
    }
    given = {name: value for name, value in plan.items() if value is not None}
    return pb.StartBacktestRequest(request_id=request_id, plan=pb.BacktestPlan(**given))


async def ended(caller: Any, number: int) -> pb.GetBacktestResponse:
    async with asyncio.timeout(90):
        while True:
            answer: pb.GetBacktestResponse = await caller.GetBacktest(pb.GetBacktestRequest(id=number), timeout=10)
            if answer.job.state > jobs_pb2.JOB_STATE_RUNNING:
                return answer
            await asyncio.sleep(0.05)


async def test_a_backtest_is_started_once_and_tells_what_it_found(risk: Running) -> None:
    await (await risk_stub(risk)).AssessConsignments(request(table([*CHANGES] * 3)), timeout=20)
    caller = await stub(risk)
    started = await caller.StartBacktest(asked(), timeout=20)
    assert started.job.total == 3 * len(CHANGES)
    assert await caller.StartBacktest(asked(), timeout=20) == started
    answer = await ended(caller, started.job.id)
    backtest, job, result = answer.backtest, answer.job, answer.result
    assert (job.kind, job.state, job.error) == (jobs_pb2.JOB_KIND_BACKTEST, jobs_pb2.JOB_STATE_DONE, "")
    assert (backtest.version, backtest.model, job.started_by) == (first_light().version, False, "analyst/m.rossi")
    assert job.title.startswith(f"rule set {first_light().version}, ")
    assert job.done == job.total == result.consignments == started.job.total
    assert job.ended_at.ToMicroseconds() >= job.started_at.ToMicroseconds() > 0
    gift = {rule.rule: rule for rule in result.rules}["GIFT_FROM_FIRM"]
    assert gift.matches == gift.both == gift.baseline_matches == 6
    assert len(gift.examples) == 2
    listed = await (await job_stub(risk)).ListJobs(jobs_pb2.ListJobsRequest(), timeout=10)
    assert list(listed.jobs) == [job]


async def test_a_backtest_over_days_without_assessments_is_done_with_a_whole_result(risk: Running) -> None:
    caller = await stub(risk)
    started = await caller.StartBacktest(
        asked(from_day=day_text(TODAY - 300), to_day=day_text(TODAY - 299)), timeout=20
    )
    answer = await ended(caller, started.job.id)
    assert (answer.job.state, answer.job.total) == (jobs_pb2.JOB_STATE_DONE, 0)
    assert answer.HasField("result")
    assert not answer.result.consignments


async def test_a_repeat_is_answered_by_a_release_that_would_refuse_what_is_tried(
    risk: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = await stub(risk)
    tried = asked(rule_set_version=None, rule_set=draft())
    started = await caller.StartBacktest(tried, timeout=20)

    def refuses(_: RuleSetText) -> None:
        raise RuleSetError([ValidationError("profile.yaml", 9, 16, "rule FIRST", "no longer known")])

    monkeypatch.setattr(RuleSetText, "read", refuses)
    assert await caller.StartBacktest(tried, timeout=20) == started
    tried.request_id = "another"
    assert (await refusal(caller.StartBacktest(tried, timeout=20)))[1] == "RULE_SET_REFUSED"


async def test_pages_of_backtests_and_one_that_is_cancelled(risk: Running) -> None:
    caller, jobs = await stub(risk), await job_stub(risk)
    numbers = [(await caller.StartBacktest(asked(f"r{each}"), timeout=20)).job.id for each in range(3)]
    cancelled = await jobs.CancelJob(jobs_pb2.CancelJobRequest(request_id="c1", id=numbers[2]), timeout=10)
    assert cancelled.job.state in (jobs_pb2.JOB_STATE_CANCELLED, jobs_pb2.JOB_STATE_DONE)
    assert await jobs.CancelJob(jobs_pb2.CancelJobRequest(request_id="c1", id=numbers[2]), timeout=10) == cancelled
    repeated = await jobs.CancelJob(jobs_pb2.CancelJobRequest(request_id="c2", id=numbers[2]), timeout=10)
    assert repeated == cancelled
    other = jobs.CancelJob(jobs_pb2.CancelJobRequest(request_id="c1", id=numbers[1]), timeout=10)
    assert (await refusal(other))[1] == "REQUEST_REUSED"
    nameless = jobs.CancelJob(jobs_pb2.CancelJobRequest(id=numbers[1]), timeout=10)
    assert (await refusal(nameless))[1] == "REQUEST_ID_MISSING"
    first = await jobs.ListJobs(jobs_pb2.ListJobsRequest(page_size=2), timeout=10)
    second = await jobs.ListJobs(jobs_pb2.ListJobsRequest(page_size=2, page_token=first.next_page_token), timeout=10)
    assert [each.id for each in (*first.jobs, *second.jobs)] == numbers[::-1]
    assert second.next_page_token == ""


REFUSED: list[tuple[Any, ...]] = [
    ({"rule_set_version": None}, "BACKTEST_MALFORMED", "plan.rule_set"),
    ({"from_day": "2026-11-01T00:00Z"}, "DAY_MALFORMED", "plan.from_day"),
    ({"from_day": "1999-12-31"}, "BACKTEST_MALFORMED", "plan.from_day"),
    ({"to_day": "2100-01-01"}, "BACKTEST_MALFORMED", "plan.to_day"),
    ({"from_day": ""}, "BACKTEST_MALFORMED", "plan.from_day"),
    ({"to_day": day_text(TODAY - 3)}, "BACKTEST_MALFORMED", "plan.to_day"),
    ({"to_day": day_text(TODAY + 400)}, "BACKTEST_MALFORMED", "plan.to_day"),
    ({"examples": 51}, "BACKTEST_MALFORMED", "plan.examples"),
    ({"office": "DE 1"}, "BACKTEST_MALFORMED", "plan.office"),
    ({"rule_set_version": "gone/1+0"}, "RULE_SET_UNKNOWN", "plan.rule_set_version"),
    ({"rule_set_version": None, "model_version": "gone"}, "MODEL_UNKNOWN", "plan.model_version"),
    (
        {"rule_set_version": None, "rule_set": RuleSetFiles(profile_path="p", files=[RuleSetFile(path="q")])},
        "RULE_SET_FILES_MALFORMED",
        "plan.rule_set.profile_path",
    ),
]


async def test_what_cannot_be_tried_is_refused_at_once(risk: Running) -> None:
    backtests = await stub(risk)
    for more, reason, place in REFUSED:
        assert (await refusal(backtests.StartBacktest(asked(**more), timeout=20)))[1:] == (reason, place), more


async def test_a_set_with_a_mistake_and_other_misuse_are_refused(risk: Running) -> None:
    caller = await stub(risk)
    broken = asked(
        rule_set_version=None,
        rule_set=draft(lambda text: text.replace("consignment.nature in", "consignment.natur in", 1)),
    )
    assert (await refusal(caller.StartBacktest(broken, timeout=20)))[1] == "RULE_SET_REFUSED"
    await caller.StartBacktest(asked("again"), timeout=20)
    assert (await refusal(caller.StartBacktest(asked("again", examples=3), timeout=20)))[1] == "REQUEST_REUSED"
    assert (await refusal(caller.StartBacktest(asked(""), timeout=20)))[1] == "REQUEST_ID_MISSING"
    jobs = await job_stub(risk)
    for ask in (
        caller.GetBacktest(pb.GetBacktestRequest(id=99), timeout=10),
        jobs.GetJob(jobs_pb2.GetJobRequest(id=99), timeout=10),
        jobs.CancelJob(jobs_pb2.CancelJobRequest(request_id="c", id=99), timeout=10),
    ):
        assert (await refusal(ask))[1] == "JOB_UNKNOWN"
    token = jobs_pb2.ListJobsRequest(page_token="x")
    assert (await refusal(jobs.ListJobs(token, timeout=10)))[1:] == ("PAGE_TOKEN_MALFORMED", "page_token")


async def test_filers_and_services_may_not(risk: Running) -> None:
    for role in ("filer", "carrier", "operator", "service"):
        caller = await stub(risk, role, "clearance")
        told = await refusal(caller.StartBacktest(asked(), timeout=20))
        assert told[:2] == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")


async def test_jobs_are_found_by_kind_and_a_job_of_another_kind_stays_as_it_is(
    risk: Running, database: Database
) -> None:
    jobs, table = await job_stub(risk), Jobs(database)
    async with database.transaction() as tx:
        training = await table.add(
            tx, JobKind.TRAINING, b"", "analyst/anna"
        )  # as a release before 0.3 stored it, without a summary
        unknown = await table.add(tx, 99, b"", "analyst/anna")
        await tx.raw.execute("update job set state = 4, ended_at = clock_timestamp() where id = $1", unknown)
    backtest = (await (await stub(risk)).StartBacktest(asked(), timeout=20)).job.id
    kinds = jobs_pb2.JOB_KIND_BACKTEST, jobs_pb2.JOB_KIND_TRAINING
    for kind, expected in (
        (kinds[0], [(backtest, kinds[0])]),
        (kinds[1], [(training, kinds[1])]),
        (
            jobs_pb2.JOB_KIND_UNSPECIFIED,
            [(backtest, kinds[0]), (unknown, jobs_pb2.JOB_KIND_UNSPECIFIED), (training, kinds[1])],
        ),
    ):
        listed = (await jobs.ListJobs(jobs_pb2.ListJobsRequest(kind=kind), timeout=10)).jobs
        assert [(each.id, each.kind) for each in listed] == expected
    assert [each.title for each in listed[1:]] == ["", ""]
    asks = (
        jobs.GetJob(jobs_pb2.GetJobRequest(id=training, kind=kinds[0]), timeout=10),
        jobs.CancelJob(jobs_pb2.CancelJobRequest(request_id="c", id=training, kind=kinds[0]), timeout=10),
    )
    for ask in asks:
        assert (await refusal(ask))[1] == "JOB_UNKNOWN"
    async with database.transaction() as tx:
        nameless = await table.add(tx, JobKind.BACKTEST, b"", "analyst/anna")
    found = await (await stub(risk)).GetBacktest(pb.GetBacktestRequest(id=nameless), timeout=10)
    assert (found.job.title, found.backtest) == ("", pb.Backtest()), (
        "unknown days are not the first ones of the calendar"
    )
    job = await table.get(training)
    assert job is not None
    assert job.state is not JobState.CANCELLED
    what_if = jobs.ListJobs(jobs_pb2.ListJobsRequest(kind=jobs_pb2.JOB_KIND_WHAT_IF), timeout=10)
    assert (await refusal(what_if))[1] == "JOB_KIND_UNKNOWN"


async def test_a_result_that_0_2_stored_has_the_days_of_its_examples(risk: Running, database: Database) -> None:
    example = b"\x0a\x0426DE\x10\x01\x18\x96\xa2\x01"  # mrn 1, version 2, day 3 as a number
    rule = b"\x0a\x01R\x6a" + bytes([len(example)]) + example  # rule 1, examples 13
    async with database.transaction() as tx:
        number = await Jobs(database).add(
            tx, JobKind.BACKTEST, b"", "analyst/anna", summary=b"\x1a\x01v\x28\x96\xa2\x01\x30\x96\xa2\x01"
        )
        result = b"\x32" + bytes([len(rule)]) + rule  # rules 6
        await tx.raw.execute(
            "update job set state = 3, result = $2, ended_at = clock_timestamp() where id = $1", number, result
        )
    answer = await (await stub(risk)).GetBacktest(pb.GetBacktestRequest(id=number), timeout=10)
    assert (answer.backtest.from_day, answer.backtest.to_day) == ("2026-11-01", "2026-11-01")
    assert answer.result.rules[0].examples[0] == pb.BacktestExample(mrn="26DE", version=1, day="2026-11-01")
