"""The gRPC edge of what-if: check drafts of law, have them tried on the past, tell what was found."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

import grpc.aio

from libs.jobs.edge import JobEdge, tell_job, tell_result
from libs.jobs.store import Job, Jobs
from libs.server.errors import Refusal, Violation
from libs.server.page_tokens import PageTokens
from libs.server.requests import recalled
from luxor.errors.v1 import errors_pb2
from luxor.revenue.v1 import what_if_pb2 as pb
from luxor.revenue.v1.revenue_pb2 import PURPOSE_CLEARANCE
from luxor.revenue.v1.what_if_pb2_grpc import WhatIfServiceServicer
from services.revenue.law.program.compiler.drafts import Draft, DraftLaw, DraftRefused, Mistake, apply_draft
from services.revenue.store.assessments.inputs import Inputs
from services.revenue.store.assessments.periods import Periods
from services.revenue.what_if.plan import JobKind, Plan

NAME_CHARACTERS_MAX: Final = 100
SENTENCE_CHARACTERS_MAX: Final = 1_000
VALUE_CHARACTERS_MAX: Final = 200


class WhatIfService(WhatIfServiceServicer):
    """Checks drafts of law and tries them on consignments that were assessed."""

    def __init__(self, jobs: Jobs, inputs: Inputs, periods: Periods, law: Mapping[str, str], bands: str) -> None:
        """Have them run as jobs; `law` are the texts in force by file, `bands` the bands of value as the setting tells them."""
        self._edge = JobEdge(jobs, JobKind.WHAT_IF, "WHAT_IF_UNKNOWN", "WHAT_IF_MALFORMED", PageTokens(jobs.database))
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
            return pb.CheckRulebookResponse(errors=_told(error.mistakes))
        return pb.CheckRulebookResponse()

    async def StartWhatIf(
        self, request: pb.StartWhatIfRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.StartWhatIfResponse:
        """Check a draft and add a job, once per request."""
        before = await recalled(self._edge.jobs.database, pb.StartWhatIfResponse, request)
        if before is not None:
            return before
        _check(self._edge, request)
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
        return await self._edge.begin(request, pb.StartWhatIfResponse, content, _told_of(request, law), total)

    async def GetWhatIf(
        self, request: pb.GetWhatIfRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetWhatIfResponse:
        """Tell a run and what it found so far."""
        job = await self._edge.get(request.id)
        answer = pb.GetWhatIfResponse(what_if=_message(job))
        tell_result(job, answer)
        return answer

    async def ListWhatIfs(
        self, request: pb.ListWhatIfsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListWhatIfsResponse:
        """Tell a page of runs, the newest first."""
        jobs, token = await self._edge.page(request)
        return pb.ListWhatIfsResponse(what_ifs=[_message(job) for job in jobs], next_page_token=token)

    async def CancelWhatIf(
        self, request: pb.CancelWhatIfRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CancelWhatIfResponse:
        """End a run that is open, once per request; to end one again changes nothing."""
        return await self._edge.cancel(
            request, pb.CancelWhatIfResponse, lambda job: pb.CancelWhatIfResponse(what_if=_message(job))
        )

    async def _applied(self, draft: pb.Draft) -> DraftLaw:
        """Apply a draft beside the calls, for it takes seconds. Raises DraftRefused, and Refusal for a day that is none."""
        meant = Draft(
            files={each.name: each.text for each in draft.files},
            changes=[(each.path, each.value) for each in draft.changes],
            law_day=_law_of(draft),
        )
        return await asyncio.to_thread(apply_draft, self._law, meant)


def _check(edge: JobEdge, request: pb.StartWhatIfRequest) -> None:
    draft = request.draft
    if not draft.files and not draft.changes and not draft.law_day:
        raise edge.refused("draft", "changes nothing; give a file, a value, or the day whose law is applied")
    edge.check_days(request.from_day, request.to_day)
    if len(request.name) > NAME_CHARACTERS_MAX or not request.name.isprintable():
        raise edge.refused("name", f"has more than {NAME_CHARACTERS_MAX} characters, or control characters")


def _law_of(draft: pb.Draft) -> date | None:
    if not draft.law_day:
        return None
    try:
        return date.fromisoformat(draft.law_day)
    except ValueError:
        raise Refusal(
            "WHAT_IF_MALFORMED",
            path="draft.law_day",
            why=f"is {_cut(draft.law_day, 40)}, which is no day such as 2028-07-01",
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
        law_day=draft.law_day,
    )


def _message(job: Job) -> pb.WhatIf:
    told = pb.WhatIf.FromString(job.told)
    tell_job(job, told)
    return told


def _told(mistakes: Sequence[Mistake]) -> list[errors_pb2.FileError]:
    return [
        errors_pb2.FileError(
            file=_cut(each.file), line=each.line, element=_cut(each.where), message=_cut(each.sentence)
        )
        for each in mistakes
    ]


def _refusal_of(error: DraftRefused) -> Refusal:
    violations = [
        Violation(
            # A mistake in no line, such as of a file that is none, has 0.
            f"{_cut(each.file, 200)}:{each.line}" if each.line else _cut(each.file, 200),
            "RULEBOOK_REFUSED",
            _cut(f"{each.where}: {each.sentence}" if each.where else each.sentence),
        )
        for each in error.mistakes
    ]
    first = _cut(str(error.mistakes[0]), 300)
    return Refusal("RULEBOOK_REFUSED", violations=violations, count=len(error.mistakes), first=first)


def _cut(text: str, characters: int = SENTENCE_CHARACTERS_MAX) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"
