"""The gRPC edge of what-if: check drafts of law, have them tried on the past, tell what was found."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from libs.customs.time import day_text
from libs.jobs.store import Job, Jobs, TooManyJobs
from libs.server import call
from libs.server.errors import Refusal, Violation
from libs.server.requests import once, recalled
from libs.store.database import Transaction
from luxor.revenue.v1 import what_if_pb2 as pb
from luxor.revenue.v1.revenue_pb2 import PURPOSE_CLEARANCE
from luxor.revenue.v1.what_if_pb2_grpc import WhatIfServiceServicer
from services.revenue.jobs.kinds import JobKind
from services.revenue.jobs.plan import Plan
from services.revenue.law.drafts import Draft, DraftLaw, DraftRefused, Mistake, apply_draft
from services.revenue.store.inputs import Inputs
from services.revenue.store.what_if import Periods

DAYS_MAX: Final = 400
DAY_MAX: Final = 100_000
NAME_CHARACTERS_MAX: Final = 100
SENTENCE_CHARACTERS_MAX: Final = 1_000
VALUE_CHARACTERS_MAX: Final = 200
PAGE: Final = 50
PAGE_MAX: Final = 200
_MICROS: Final = 1_000_000


class WhatIfService(WhatIfServiceServicer):
    """Checks drafts of law and tries them on consignments that were assessed."""

    def __init__(self, jobs: Jobs, inputs: Inputs, periods: Periods, law: Mapping[str, str], bands: str) -> None:
        """Have them run as jobs; `law` are the texts in force by file, `bands` the bands of value as the setting tells them."""
        self._jobs = jobs
        self._inputs = inputs
        self._periods = periods
        self._law = law
        self._bands = bands

    async def CheckRulebook(
        self, request: pb.CheckRulebookRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CheckRulebookResponse:
        """Tell the mistakes of a draft."""
        try:
            await self._applied(request.draft)
        except DraftRefused as error:
            return pb.CheckRulebookResponse(mistakes=_told(error.mistakes))
        return pb.CheckRulebookResponse()

    async def StartWhatIf(
        self, request: pb.StartWhatIfRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.StartWhatIfResponse:
        """Check a draft and add a job, once per request."""
        before = await recalled(self._jobs.database, pb.StartWhatIfResponse, request)
        if before is not None:
            return before
        _check(request)
        try:
            law = await self._applied(request.draft)
        except DraftRefused as error:
            raise _refusal_of(error) from None
        until_batch, asked_at = await self._periods.horizon(request.to_day)
        total = await self._inputs.count(request.from_day, request.to_day, PURPOSE_CLEARANCE)
        plan = Plan(
            files=law.files,
            law_of=_law_of(request.draft),
            from_day=request.from_day,
            to_day=request.to_day,
            until_batch=until_batch,
            asked_at=asked_at,
            bands=self._bands,
            until_share=await self._periods.newest_share(),
        )
        content = await asyncio.to_thread(plan.to_bytes)
        told = _told_of(request, law).SerializeToString()

        async def work(tx: Transaction) -> pb.StartWhatIfResponse:
            number = await self._jobs.add(
                tx, JobKind.WHAT_IF, content, str(call.current().identity), told=told, total=total
            )
            return pb.StartWhatIfResponse(id=number, total=total)

        try:
            return await once(self._jobs.database, pb.StartWhatIfResponse, request, work)
        except TooManyJobs as error:
            raise Refusal("JOBS_TOO_MANY", why=str(error)) from None

    async def GetWhatIf(
        self, request: pb.GetWhatIfRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetWhatIfResponse:
        """Tell a run and what it found so far."""
        job = await self._jobs.get(request.id, JobKind.WHAT_IF)
        if job is None:
            raise Refusal("WHAT_IF_UNKNOWN", path="id", value=request.id)
        answer = pb.GetWhatIfResponse(what_if=_message(job))
        if job.result:
            answer.result.MergeFromString(job.result)
        return answer

    async def ListWhatIfs(
        self, request: pb.ListWhatIfsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListWhatIfsResponse:
        """Tell a page of runs, the newest first."""
        size = request.page_size or PAGE
        if not 1 <= size <= PAGE_MAX:
            raise Refusal("WHAT_IF_MALFORMED", path="page_size", why=f"is {size}; a page has 1 to {PAGE_MAX}")
        before = None
        if request.page_token:
            if not request.page_token.isdecimal() or len(request.page_token) > 18:
                raise Refusal("WHAT_IF_MALFORMED", path="page_token", why="is none that a response told")
            before = int(request.page_token)
        jobs = await self._jobs.listed(JobKind.WHAT_IF, before=before, rows_max=size + 1)
        token = str(jobs[size - 1].id) if len(jobs) > size else ""
        return pb.ListWhatIfsResponse(what_ifs=[_message(job) for job in jobs[:size]], next_page_token=token)

    async def CancelWhatIf(
        self, request: pb.CancelWhatIfRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CancelWhatIfResponse:
        """End a run that is open, once per request; to end one again changes nothing."""

        async def work(tx: Transaction) -> pb.CancelWhatIfResponse:
            if await self._jobs.cancel(tx, request.id, JobKind.WHAT_IF) is None:
                raise Refusal("WHAT_IF_UNKNOWN", path="id", value=request.id)
            job = await self._jobs.read(tx, request.id, JobKind.WHAT_IF)
            assert job is not None
            return pb.CancelWhatIfResponse(what_if=_message(job))

        return await once(self._jobs.database, pb.CancelWhatIfResponse, request, work)

    async def _applied(self, draft: pb.Draft) -> DraftLaw:
        """Apply a draft beside the calls, for it takes seconds. Raises DraftRefused, and Refusal for a day that is none."""
        meant = Draft(
            files={each.name: each.text for each in draft.files},
            changes=[(each.path, each.value) for each in draft.changes],
            law_of=_law_of(draft),
        )
        return await asyncio.to_thread(apply_draft, self._law, meant)


def _check(request: pb.StartWhatIfRequest) -> None:
    def refused(path: str, why: str) -> Refusal:
        return Refusal("WHAT_IF_MALFORMED", path=path, why=why)

    draft = request.draft
    if not draft.files and not draft.changes and not draft.law_of:
        raise refused("draft", "changes nothing; give a file, a value, or the day whose law is applied")
    if not 0 < request.from_day < DAY_MAX:
        raise refused("from_day", f"is {request.from_day}; it is a number of days since 1970-01-01")
    if not request.from_day <= request.to_day < request.from_day + DAYS_MAX:
        told = day_text(request.to_day) if 0 < request.to_day < DAY_MAX else request.to_day
        raise refused("to_day", f"is {told}; it lies 0 to {DAYS_MAX - 1} days behind {day_text(request.from_day)}")
    if len(request.name) > NAME_CHARACTERS_MAX or not request.name.isprintable():
        raise refused("name", f"has more than {NAME_CHARACTERS_MAX} characters, or control characters")


def _law_of(draft: pb.Draft) -> date | None:
    if not draft.law_of:
        return None
    try:
        return date.fromisoformat(draft.law_of)
    except ValueError:
        raise Refusal(
            "WHAT_IF_MALFORMED",
            path="draft.law_of",
            why=f"is {_cut(draft.law_of, 40)}, which is no day such as 2028-07-01",
        ) from None


def _told_of(request: pb.StartWhatIfRequest, law: DraftLaw) -> pb.WhatIf:
    """What lists tell of a run."""
    draft = request.draft
    return pb.WhatIf(
        name=request.name,
        rulebook_versions=law.versions,
        from_day=request.from_day,
        to_day=request.to_day,
        files=[each.name for each in draft.files],
        changes=[
            pb.LawChange(path=_cut(each.path, VALUE_CHARACTERS_MAX), value=_cut(each.value, VALUE_CHARACTERS_MAX))
            for each in draft.changes
        ],
        law_of=draft.law_of,
    )


def _message(job: Job) -> pb.WhatIf:
    told = pb.WhatIf.FromString(job.told)
    told.id = job.id
    told.state = pb.WhatIfState.ValueType(job.state)
    told.done, told.total, told.error, told.started_by = job.done, job.total, job.error, job.started_by
    told.started_at.CopyFrom(_timestamp(job.started_at))
    if job.ended_at is not None:
        told.ended_at.CopyFrom(_timestamp(job.ended_at))
    return told


def _timestamp(micros: int) -> Timestamp:
    return Timestamp(seconds=micros // _MICROS, nanos=micros % _MICROS * 1_000)


def _told(mistakes: Sequence[Mistake]) -> list[pb.LawMistake]:
    return [
        pb.LawMistake(file=_cut(each.file), line=each.line, where=_cut(each.where), sentence=_cut(each.sentence))
        for each in mistakes
    ]


def _refusal_of(error: DraftRefused) -> Refusal:
    violations = [
        Violation(
            f"{_cut(each.file, 200)}:{each.line}",
            "RULEBOOK_REFUSED",
            _cut(f"{each.where}: {each.sentence}" if each.where else each.sentence),
        )
        for each in error.mistakes
    ]
    first = _cut(str(error.mistakes[0]), 300)
    return Refusal("RULEBOOK_REFUSED", violations=violations, count=len(error.mistakes), first=first)


def _cut(text: str, characters: int = SENTENCE_CHARACTERS_MAX) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"
