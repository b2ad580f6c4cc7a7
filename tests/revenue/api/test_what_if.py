"""What-if over gRPC: drafts are checked; runs are started once, run as jobs, listed and cancelled."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from libs.customs.time import day_text
from libs.jobs.running import Running as JobRunning
from libs.jobs.store import Jobs
from libs.store.database import Database
from luxor.jobs.v1 import jobs_pb2
from luxor.jobs.v1.jobs_pb2_grpc import JobServiceStub
from luxor.revenue.v1 import what_if_pb2 as pb
from luxor.revenue.v1.revenue_pb2_grpc import RevenueServiceStub
from luxor.revenue.v1.what_if_pb2_grpc import WhatIfServiceStub
from services.revenue.__main__ import assemble
from services.revenue.api.what_if import refusal_of
from services.revenue.jobs import what_if
from services.revenue.law.program.compiler.drafts import DraftError, DraftRefused
from services.revenue.store.assessments.periods import Periods
from services.revenue.store.law_files import law_files
from services.revenue.what_if.bands import DEFAULT
from services.revenue.what_if.plan import JobKind, WhatIfPlan
from tests.revenue.service_client import FLAT, accepted, refused
from tests.support.services import Running, running

pytestmark = pytest.mark.long

TODAY = (datetime.datetime.now(datetime.UTC).date() - datetime.date(1970, 1, 1)).days
RATE = "eu/rulebook.yaml:charges[flat_duty].rates[1].rate"


@pytest_asyncio.fixture
async def revenue(database_url: str) -> AsyncIterator[Running]:
    async with running("revenue", assemble, database_url) as service:
        yield service


async def stub(revenue: Running, role: str = "analyst", who: str = "m.rossi") -> Any:
    return WhatIfServiceStub(await revenue.channel(role, who))


async def job_stub(revenue: Running, role: str = "analyst", who: str = "m.rossi") -> Any:
    return JobServiceStub(await revenue.channel(role, who))


def draft(value: str = "5.00 EUR per tariff_line", **more: Any) -> pb.Draft:
    return pb.Draft(changes=[pb.LawChange(path=RATE, value=value)], **more)


def asked(request_id: str = "one", **more: Any) -> pb.StartWhatIfRequest:
    given = {
        "draft": draft(),
        "from_day": day_text(TODAY - 2),
        "to_day": day_text(TODAY + 2),
        "name": "five euro",
        **more,
    }
    return pb.StartWhatIfRequest(request_id=request_id, **given)


async def ended(caller: Any, number: int) -> pb.GetWhatIfResponse:
    async with asyncio.timeout(120):
        while True:
            answer: pb.GetWhatIfResponse = await caller.GetWhatIf(pb.GetWhatIfRequest(id=number), timeout=10)
            if answer.job.state > jobs_pb2.JOB_STATE_RUNNING:
                return answer
            await asyncio.sleep(0.05)


async def test_a_run_is_started_once_and_tells_what_the_reform_would_bring(revenue: Running) -> None:
    service = RevenueServiceStub(await revenue.channel("service", "clearance"))
    await service.AssessConsignments(accepted(FLAT * 4), timeout=20)
    caller = await stub(revenue)
    started = await caller.StartWhatIf(asked(), timeout=60)
    assert started.job.total == 4
    assert await caller.StartWhatIf(asked(), timeout=60) == started
    answer = await ended(caller, started.job.id)
    run, job, result = answer.what_if, answer.job, answer.result
    assert (job.state, job.error, run.name, job.started_by) == (
        jobs_pb2.JOB_STATE_DONE,
        "",
        "five euro",
        "analyst/m.rossi",
    )
    assert job.kind == jobs_pb2.JOB_KIND_WHAT_IF
    assert job.title.startswith("five euro, ")
    assert job.done == job.total == result.consignments == result.consignments_changed == 4
    assert len(run.rulebook_versions) == 1
    assert run.rulebook_versions[0].startswith("EU/")
    assert list(run.changes) == list(draft().changes)
    assert job.ended_at.ToMicroseconds() >= job.started_at.ToMicroseconds() > 0
    # 3 EUR become 5 EUR, and the tax at 19 % of goods of 50 EUR with the duty: 10.07 become 10.45 EUR.
    told = {(each.kind, each.collector): (each.before_minor, each.after_minor) for each in result.revenue}
    assert told == {(1, 1): (4 * 300, 4 * 500), (2, 2): (4 * 1007, 4 * 1045)}
    bands = [each for each in result.groups if each.by == "value_band"]
    assert [(each.key, each.items, each.losers, each.winners) for each in bands] == [("45-150 EUR", 4, 4, 0)]
    listing = await job_stub(revenue)
    assert list((await listing.ListJobs(jobs_pb2.ListJobsRequest(), timeout=10)).jobs) == [job]
    assert (await listing.GetJob(jobs_pb2.GetJobRequest(id=job.id), timeout=10)).job == job


async def test_two_drafts_are_compared_and_a_draft_is_shared_with_its_result(revenue: Running) -> None:
    service = RevenueServiceStub(await revenue.channel("service", "clearance"))
    await service.AssessConsignments(accepted(FLAT * 4), timeout=20)
    caller = await stub(revenue)
    first = await caller.StartWhatIf(asked(), timeout=60)
    await ended(caller, first.job.id)
    # 5 EUR of the first draft against 7 EUR of the second, with the tax at 19 % of goods of 50 EUR and the duty.
    other = await stub(revenue, who="h.weber")
    second = await other.StartWhatIf(
        asked(
            "two",
            draft=draft("7.00 EUR per tariff_line"),
            against=first.job.id,
            elasticities=[pb.Elasticity(elasticity="-1")],
        ),
        timeout=60,
    )
    answer = await ended(other, second.job.id)
    told = {(each.kind, each.collector): (each.before_minor, each.after_minor) for each in answer.result.revenue}
    assert told == {(1, 1): (4 * 500, 4 * 700), (2, 2): (4 * 1045, 4 * 1083)}
    assert (answer.what_if.against, answer.what_if.of_run) == (first.job.id, 0)
    # The price of 65.45 EUR rises by 2.38 EUR: 3.6364 % less of 7.00 and 10.83 EUR.
    (chapter,) = (each for each in answer.result.groups if each.by == "hs_chapter")
    assert chapter.quantity_ppm == 4 * (1_000_000 - 36_364)
    assert chapter.after_with_behaviour_minor == 4 * (675 + 1_044)
    # The other person opens the draft of the first, and goes on from it.
    shared = await other.GetDraft(pb.GetDraftRequest(id=first.job.id), timeout=10)
    assert [each.name for each in shared.files] == ["eu/rulebook.yaml"]
    assert "5.00 EUR per tariff_line" in shared.files[0].text
    again = await other.StartWhatIf(asked("three", draft=pb.Draft(of_run=first.job.id)), timeout=60)
    answer = await ended(other, again.job.id)
    assert {each.after_minor for each in answer.result.revenue} == {4 * 500, 4 * 1045}
    assert answer.what_if.of_run == first.job.id
    assert (await other.GetDraft(pb.GetDraftRequest(id=again.job.id), timeout=10)) == shared


async def test_unknown_runs_and_elasticities_that_make_no_sense_are_refused(revenue: Running) -> None:
    caller = await stub(revenue)
    for request in (asked(draft=pb.Draft(of_run=99)), asked(against=99)):
        assert (await refused(caller.StartWhatIf(request, timeout=60)))[0] == "JOB_UNKNOWN"
    assert (await refused(caller.GetDraft(pb.GetDraftRequest(id=99), timeout=10)))[0] == "JOB_UNKNOWN"
    for wrong in (
        pb.Elasticity(elasticity="0.5"),
        pb.Elasticity(origin="CN", hs_chapter="61", elasticity="-1"),
        pb.Elasticity(origin="cn", elasticity="-1"),
    ):
        reason, sentence = await refused(
            caller.StartWhatIf(asked(elasticities=[pb.Elasticity(elasticity="-1"), wrong]), timeout=60)
        )
        assert (reason, "elasticities[1]" in sentence) == ("WHAT_IF_MALFORMED", True), sentence


def test_a_mistake_in_no_line_is_told_with_its_file_alone() -> None:
    mistakes = [
        DraftError("xx/rulebook.yaml", 0, "charges[duty]", "is not one of the law files"),
        DraftError("eu/rulebook.yaml", 7, "", "is no YAML"),
    ]
    told = refusal_of(DraftRefused(mistakes)).violations
    assert [each.path for each in told] == ["xx/rulebook.yaml", "eu/rulebook.yaml:7"]


async def test_a_run_over_days_without_assessments_is_done_with_a_whole_result(
    database: Database,
) -> None:
    day, jobs = TODAY - 300, Jobs(database)
    plan = WhatIfPlan(law_files(), None, day, day + 1, *await Periods(database).horizon(TODAY), DEFAULT)
    # Run here and not in a process of its own, before any service looks for jobs.
    async with database.transaction() as tx:
        await jobs.add(tx, JobKind.WHAT_IF, plan.to_bytes(), "analyst/m.rossi")
        job = await jobs.take(tx)
    assert job is not None
    finished = await what_if.run(JobRunning(job, database, {}))
    async with database.transaction() as tx:
        await jobs.finish(tx, job, finished.result)
    async with running("revenue", assemble, database.url) as revenue:
        answer = await (await stub(revenue)).GetWhatIf(pb.GetWhatIfRequest(id=job.id), timeout=10)
    assert (answer.job.state, answer.job.total) == (jobs_pb2.JOB_STATE_DONE, 0)
    assert answer.HasField("result")
    assert answer.result == pb.WhatIfResult()


async def test_drafts_are_checked_with_file_line_and_rule(revenue: Running) -> None:
    caller = await stub(revenue, "operator", "ops")
    assert not (await caller.CheckRulebook(pb.CheckRulebookRequest(draft=draft()), timeout=60)).errors
    book = law_files()["eu/rulebook.yaml"]
    line = next(at for at, text in enumerate(book.splitlines(), start=1) if "3.00 EUR per tariff_line" in text)
    wrong = pb.Draft(
        files=[pb.LawFile(name="eu/rulebook.yaml", text=book.replace("3.00 EUR per tariff_line", "3.00 EUR per tariff_lime")),
               pb.LawFile(name="uk/tariff.yaml", text="format: 1")]
    )  # fmt: skip
    mistakes = (await caller.CheckRulebook(pb.CheckRulebookRequest(draft=wrong), timeout=60)).errors
    assert [each.file for each in mistakes] == ["eu/rulebook.yaml", "eu/rulebook.yaml", "uk/tariff.yaml"]
    assert (mistakes[0].line, mistakes[0].element) == (line, "charges[flat_duty].rates[1].rate")
    assert "tariff_lime" in mistakes[0].message


async def test_what_makes_no_sense_is_refused_with_its_place(revenue: Running) -> None:
    caller = await stub(revenue)
    for more, told in (
        ({"draft": pb.Draft()}, "draft changes nothing"),
        ({"from_day": ""}, "from_day"),
        ({"from_day": "20261101"}, "from_day"),
        ({"from_day": "1999-12-31", "to_day": "2000-01-01"}, "from_day is 1999-12-31"),
        ({"to_day": "2100-01-01"}, "to_day is 2100-01-01"),
        ({"to_day": "2026-02-30"}, "to_day"),
        ({"to_day": day_text(TODAY - 3)}, "to_day"),
        ({"to_day": day_text(TODAY + 398)}, "to_day"),
        ({"draft": draft(law_day="soon")}, "draft.law_day"),
    ):
        reason, sentence = await refused(caller.StartWhatIf(asked(**more), timeout=60))
        assert (reason, told in sentence) == ("WHAT_IF_MALFORMED", True), (more, reason, sentence)
    reason, sentence = await refused(caller.StartWhatIf(asked(from_day="2026-11-01T00:00Z"), timeout=60))
    assert reason == "DAY_MALFORMED"
    assert "?" not in sentence
    reason, told = await refused(caller.StartWhatIf(asked(draft=draft("five euro")), timeout=60))
    assert reason == "RULEBOOK_REFUSED"
    assert "eu/rulebook.yaml:" in told
    assert not (await (await job_stub(revenue)).ListJobs(jobs_pb2.ListJobsRequest(), timeout=10)).jobs


async def test_runs_that_are_not_kept_and_pages_that_are_none_are_refused(revenue: Running) -> None:
    caller, jobs = await stub(revenue), await job_stub(revenue)
    for call in (
        caller.GetWhatIf(pb.GetWhatIfRequest(id=9), timeout=10),
        jobs.GetJob(jobs_pb2.GetJobRequest(id=9), timeout=10),
        jobs.CancelJob(jobs_pb2.CancelJobRequest(request_id="c", id=9), timeout=10),
    ):
        assert (await refused(call))[0] == "JOB_UNKNOWN"
    for request, reason in (
        (jobs_pb2.ListJobsRequest(page_size=-1), "NUMBER_NEGATIVE"),
        (jobs_pb2.ListJobsRequest(page_token="x"), "PAGE_TOKEN_MALFORMED"),
        (jobs_pb2.ListJobsRequest(kind=jobs_pb2.JOB_KIND_TRAINING), "JOB_KIND_UNKNOWN"),
    ):
        assert (await refused(jobs.ListJobs(request, timeout=10)))[0] == reason


async def test_a_run_is_cancelled_and_pages_go_from_the_newest(revenue: Running) -> None:
    caller, jobs = await stub(revenue), await job_stub(revenue)
    started = [(await caller.StartWhatIf(asked(f"r{number}"), timeout=60)).job for number in range(3)]
    assert [each.total for each in started] == [0, 0, 0], "nothing was assessed on those days"
    ids = [each.id for each in started]
    cancelled = await jobs.CancelJob(jobs_pb2.CancelJobRequest(request_id="c", id=ids[2]), timeout=10)
    assert cancelled.job.id == ids[2]
    assert cancelled.job.state in (jobs_pb2.JOB_STATE_CANCELLED, jobs_pb2.JOB_STATE_DONE)
    first = await jobs.ListJobs(jobs_pb2.ListJobsRequest(page_size=2), timeout=10)
    rest = await jobs.ListJobs(jobs_pb2.ListJobsRequest(page_size=2, page_token=first.next_page_token), timeout=10)
    assert [each.id for each in [*first.jobs, *rest.jobs]] == ids[::-1]
    assert rest.next_page_token == ""


async def test_only_analysts_and_officers_try_law(revenue: Running) -> None:
    for role in ("filer", "carrier", "operator", "gateway"):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await (await stub(revenue, role, "some-one")).StartWhatIf(asked(), timeout=10)
        assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED, role


async def test_operators_see_jobs_and_only_analysts_and_officers_cancel_them(revenue: Running) -> None:
    number = (await (await stub(revenue)).StartWhatIf(asked(), timeout=60)).job.id
    for role, reads, cancels in (
        ("analyst", True, True), ("officer", True, True), ("operator", True, False), ("filer", False, False), ("treasury", False, False),
    ):  # fmt: skip
        jobs = await job_stub(revenue, role, "some-one")
        for call, allowed in (
            (jobs.ListJobs(jobs_pb2.ListJobsRequest(), timeout=10), reads),
            (jobs.GetJob(jobs_pb2.GetJobRequest(id=number), timeout=10), reads),
            (jobs.CancelJob(jobs_pb2.CancelJobRequest(request_id="c", id=number), timeout=10), cancels),
        ):
            if allowed:
                await call
                continue
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call
            assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED
