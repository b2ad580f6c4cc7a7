"""The gRPC service of what-if runs: checks drafts of law, starts a job that applies one to stored assessments, and returns its results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Final

import grpc.aio

from libs.columns.progress import ProgressError
from libs.jobs.days import days_text, fill_days, requested_days, stored_days
from libs.jobs.service import JobService, JobType, set_result
from libs.server.errors import Refusal, Violation
from libs.server.requests import recalled
from luxor.errors.v1 import errors_pb2
from luxor.jobs.v1 import jobs_pb2
from luxor.revenue.v1 import what_if_pb2 as pb
from luxor.revenue.v1.revenue_pb2 import PURPOSE_CLEARANCE
from luxor.revenue.v1.what_if_pb2_grpc import WhatIfServiceServicer
from services.revenue.law.program.compiler.drafts import Draft, DraftError, DraftLaw, DraftRefused, apply_draft
from services.revenue.store.assessments.inputs import Inputs
from services.revenue.store.assessments.periods import Periods
from services.revenue.what_if.behaviour import Elasticity, ElasticityMalformed, elasticity_of
from services.revenue.what_if.plan import JobKind, WhatIfPlan

NAME_CHARACTERS_MAX: Final = 100
SENTENCE_CHARACTERS_MAX: Final = 1_000
VALUE_CHARACTERS_MAX: Final = 200


class WhatIfService(WhatIfServiceServicer):
    """Checks drafts of law and applies them to consignments that were assessed."""

    def __init__(
        self, jobs: JobService, inputs: Inputs, periods: Periods, law: Callable[[], Mapping[str, str]], bands: str
    ) -> None:
        """Run them as jobs; `law` gives the text of each file in force, `bands` the bands of value as in the setting."""
        self._jobs = jobs
        self._inputs = inputs.batches
        self._periods = periods
        self._law = law
        self._bands = bands

    async def CheckRulebook(
        self, request: pb.CheckRulebookRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CheckRulebookResponse:
        """Return the errors of a draft."""
        try:
            await self._applied(request.draft)
        except DraftRefused as error:
            return pb.CheckRulebookResponse(errors=_errors(error.errors))
        return pb.CheckRulebookResponse()

    async def StartWhatIf(
        self, request: pb.StartWhatIfRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.StartWhatIfResponse:
        """Check a draft and add a job, once per request."""
        before = await recalled(self._jobs.database, pb.StartWhatIfResponse, request)
        if before is not None:
            return before
        first, last = _checked_days(request)
        elasticities = _checked_elasticities(request)
        against = await self._plan(request.against) if request.against else None
        try:
            law = await self._applied(request.draft)
        except DraftRefused as error:
            raise refusal_of(error) from None
        until_batch, asked_at = await self._periods.horizon(last)
        total = await self._inputs.count(first, last, PURPOSE_CLEARANCE)
        plan = WhatIfPlan(
            files=law.files,
            law_of=law.law_of,
            from_day=first,
            to_day=last,
            until_batch=until_batch,
            asked_at=asked_at,
            bands=self._bands,
            until_share=await self._periods.newest_share(),
            drafted=law.drafted,
            against=against.files if against else None,
            against_law_of=against.law_of if against else None,
            elasticities=elasticities,
        )
        content = await asyncio.to_thread(plan.to_bytes)
        return await self._jobs.start(
            request, pb.StartWhatIfResponse, JobKind.WHAT_IF, content, _summary(request, law), total
        )

    async def GetWhatIf(
        self, request: pb.GetWhatIfRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetWhatIfResponse:
        """Return a run with its results so far."""
        job = await self._jobs.find(request.id, JobKind.WHAT_IF)
        answer = pb.GetWhatIfResponse(what_if=pb.WhatIf.FromString(job.summary), job=self._jobs.message(job))
        fill_days(answer.what_if, (5, 6))
        set_result(answer, job)
        return answer

    async def GetDraft(
        self, request: pb.GetDraftRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetDraftResponse:
        """Return the draft of a run."""
        plan = await self._plan(request.id)
        return pb.GetDraftResponse(
            files=[pb.LawFile(name=name, text=text) for name, text in plan.draft_files().items()],
            law_day="" if plan.law_of is None else plan.law_of.isoformat(),
        )

    async def _applied(self, draft: pb.Draft) -> DraftLaw:
        """Apply a draft in a thread, since it takes seconds. Raises DraftRefused, and Refusal for an invalid day or an unknown run."""
        earlier = await self._plan(draft.of_run) if draft.of_run else None
        meant = Draft(
            files={each.name: each.text for each in draft.files},
            changes=[(each.path, each.value) for each in draft.changes],
            law_day=_law_of(draft) or (earlier.law_of if earlier else None),
        )
        return await asyncio.to_thread(apply_draft, self._law(), meant, earlier.files if earlier else None)

    async def _plan(self, number: int) -> WhatIfPlan:
        """Return the stored plan of a run. Raises Refusal if there is no such run, or if another release stored it."""
        job = await self._jobs.find(number, JobKind.WHAT_IF)
        try:
            return await asyncio.to_thread(WhatIfPlan.from_bytes, job.request)
        except ProgressError as error:
            raise _malformed("draft.of_run", f"names run {number}, and {error}") from None


def _checked_days(request: pb.StartWhatIfRequest) -> tuple[int, int]:
    """Return the days of a request. Raise Refusal where the request is malformed."""
    draft = request.draft
    if not draft.files and not draft.changes and not draft.law_day and not draft.of_run:
        raise _malformed(
            "draft",
            "changes nothing; give a file, a value, the day whose law is applied, or a run whose draft is taken",
        )
    days = requested_days(request, "WHAT_IF_MALFORMED")
    if len(request.name) > NAME_CHARACTERS_MAX or not request.name.isprintable():
        raise _malformed("name", f"has more than {NAME_CHARACTERS_MAX} characters, or control characters")
    return days


def _checked_elasticities(request: pb.StartWhatIfRequest) -> list[Elasticity]:
    """Return the assumption of a request. Raise Refusal where one of its elasticities is malformed."""
    found = []
    for place, each in enumerate(request.elasticities):
        path = f"elasticities[{place}]"
        if each.origin and each.hs_chapter:
            raise _malformed(path, "names an origin and a chapter; give one of them")
        by, key = ("origin", each.origin) if each.origin else ("hs_chapter" if each.hs_chapter else "", each.hs_chapter)
        try:
            found.append(elasticity_of(by, key, each.elasticity))
        except ElasticityMalformed as error:
            raise _malformed(path, str(error)) from None
    return found


def _law_of(draft: pb.Draft) -> date | None:
    if not draft.law_day:
        return None
    try:
        return date.fromisoformat(draft.law_day)
    except ValueError:
        raise _malformed("draft.law_day", f"is {_cut(draft.law_day, 40)}, which is no day such as 2028-07-01") from None


def _malformed(path: str, message: str) -> Refusal:
    return Refusal("WHAT_IF_MALFORMED", path=path, why=message)


def _summary(request: pb.StartWhatIfRequest, law: DraftLaw) -> pb.WhatIf:
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
        law_day="" if law.law_of is None else law.law_of.isoformat(),
        of_run=draft.of_run,
        against=request.against,
        elasticities=request.elasticities,
    )


def _title(summary: bytes) -> str:
    """Return the name of a run, or else the first of its changes, with the days of assessment."""
    tried = pb.WhatIf.FromString(summary)
    changes = [f"{each.path} = {each.value or '(removed)'}" for each in tried.changes] + [*tried.files]
    changes += [f"the law of {tried.law_day}"] if tried.law_day else []
    changes += [f"the draft of what-if-{tried.of_run}"] if tried.of_run else []
    others = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
    return f"{tried.name or f'{_cut(changes[0], 200)}{others}'}, {days_text(stored_days(tried, (5, 6)))}"


JOB_TYPE: Final = JobType(jobs_pb2.JOB_KIND_WHAT_IF, _title)


def _errors(errors: Sequence[DraftError]) -> list[errors_pb2.FileError]:
    return [
        errors_pb2.FileError(
            file=_cut(each.file), line=each.line, element=_cut(each.where), message=_cut(each.sentence)
        )
        for each in errors
    ]


def refusal_of(error: DraftRefused) -> Refusal:
    violations = [
        Violation(
            # An error without a line, such as of a missing file, has 0.
            f"{_cut(each.file, 200)}:{each.line}" if each.line else _cut(each.file, 200),
            "RULEBOOK_REFUSED",
            _cut(f"{each.where}: {each.sentence}" if each.where else each.sentence),
        )
        for each in error.errors
    ]
    first = _cut(str(error.errors[0]), 300)
    return Refusal("RULEBOOK_REFUSED", violations=violations, count=len(error.errors), first=first)


def _cut(text: str, characters: int = SENTENCE_CHARACTERS_MAX) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"
