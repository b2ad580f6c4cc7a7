"""The gRPC service of the versions of law: proposed, reviewed, confirmed by a second person, cancelled, read, recomputed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import grpc.aio

from libs.jobs.service import JobService
from libs.jobs.store import JobState
from libs.server import call
from libs.server.errors import Refusal, Violation
from libs.server.page_tokens import PageTokens
from libs.server.requests import page_size_of, recalled
from luxor.revenue.v1 import law_pb2 as pb
from luxor.revenue.v1.law_pb2_grpc import LawServiceServicer
from services.revenue.api.law.cases import CaseResult, run_cases
from services.revenue.api.law.messages import (
    file_messages,
    files_of,
    moment_of,
    review_messages,
    reviews_of,
    version_message,
)
from services.revenue.api.law.recompute import Recomputation
from services.revenue.api.what_if import refusal_of
from services.revenue.commands.law import change
from services.revenue.commands.law.load import LawLoader, LoadedLaw
from services.revenue.commands.law.schedule import day_of
from services.revenue.law.program.compiler.drafts import ERRORS_MAX, DraftError, DraftRefused
from services.revenue.law.program.compiler.law_files import read_law
from services.revenue.law.program.program import ProgramError
from services.revenue.law.source.yaml_source import LawFileError, LawFileErrors
from services.revenue.law.verification.reviews import contents_of
from services.revenue.store.law.versions import StoredLaw
from services.revenue.store.law_files import program_of
from services.revenue.what_if.plan import JobKind

NOTE_CHARACTERS_MAX: Final = 512
PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 100
WHAT_IFS_MAX: Final = 20
SHOWN_MAX: Final = 20
"""How many failing cases a refusal names."""


class LawService(LawServiceServicer):
    """The gRPC service of the versions of law."""

    def __init__(self, loader: LawLoader, jobs: JobService, recomputation: Recomputation) -> None:
        """Serve from the loader's store; what-if runs are looked up among `jobs`."""
        self._loader = loader
        self._store = loader.store
        self._jobs = jobs
        self._recomputation = recomputation
        self._confirmation = change.Confirmation(loader)
        self._pages = PageTokens(loader.store.database)

    async def ProposeLaw(
        self, request: pb.ProposeLawRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ProposeLawResponse:
        """Check a version with all other law in force, run its cases and store it as a draft, once per request."""
        before = await recalled(self._store.database, pb.ProposeLawResponse, request)
        if before is not None:
            return before
        if len(request.note) > NOTE_CHARACTERS_MAX or not (request.note.isprintable() or request.note == ""):
            raise Refusal("NOTE_TOO_LONG", path="note")
        files = files_of(request)
        await self._check_what_ifs(request.what_if_ids)
        law = await asyncio.to_thread(self._drafted, files)
        folder = next(iter(files)).partition("/")[0]
        cases = await self._agreeing(law, folder)

        def answer(stored: StoredLaw) -> pb.ProposeLawResponse:
            return pb.ProposeLawResponse(version=version_message(stored, stored.proposed_at, ()), cases=len(cases))

        version, who = law.versions[folder], call.current().identity
        return await change.propose(self._store, request, version, files, who, pb.ProposeLawResponse, answer)

    async def ReviewLaw(
        self, request: pb.ReviewLawRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ReviewLawResponse:
        """Record reviews of values, once per request."""
        before = await recalled(self._store.database, pb.ReviewLawResponse, request)
        if before is not None:
            return before
        await self._check_what_ifs(request.what_if_ids)
        stored = await self._version(request.version)
        texts = await self._store.texts([stored.version])
        who = call.current().identity
        reviews = await asyncio.to_thread(reviews_of, request, texts[stored.version], str(who))
        now, active = await self._moment()

        def answer(changed: StoredLaw) -> pb.ReviewLawResponse:
            return pb.ReviewLawResponse(version=version_message(changed, now, active))

        return await change.review(self._store, request, reviews, who, pb.ReviewLawResponse, answer)

    async def ConfirmLaw(
        self, request: pb.ConfirmLawRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ConfirmLawResponse:
        """Bring a version into force at one moment, as a second person, once per request."""
        before = await recalled(self._store.database, pb.ConfirmLawResponse, request)
        if before is not None:
            return before
        moment = moment_of(request)
        stored = await self._version(request.version)
        try:
            checked = await self._confirmation.check(stored, moment)
        except (LawFileError, ProgramError) as error:
            raise refusal_of(DraftRefused(_draft_errors(error))) from None
        cases = await self._agreeing(checked.law, stored.folder)
        now, active = await self._moment()

        def answer(changed: StoredLaw) -> pb.ConfirmLawResponse:
            return pb.ConfirmLawResponse(version=version_message(changed, now, active), cases=len(cases))

        who = call.current().identity
        done = await self._confirmation.confirm(request, checked, moment, who, pb.ConfirmLawResponse, answer)
        await self._loader.look()
        return done

    async def CancelLaw(
        self, request: pb.CancelLawRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CancelLawResponse:
        """Cancel the next activation of a version, or withdraw one that was never confirmed, once per request."""
        now, active = await self._moment()

        def answer(changed: StoredLaw) -> pb.CancelLawResponse:
            return pb.CancelLawResponse(version=version_message(changed, now, active))

        done = await change.cancel(self._store, request, call.current().identity, pb.CancelLawResponse, answer)
        await self._loader.look()
        return done

    async def RunLawCases(
        self, request: pb.RunLawCasesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RunLawCasesResponse:
        """Run the cases of a stored version on the law in force with that version."""
        stored = await self._version(request.version)
        texts = await self._store.texts([stored.version])
        law = await asyncio.to_thread(self._drafted, texts[stored.version])
        try:
            results = await asyncio.to_thread(run_cases, law, stored.folder, program_of)
        except LawFileError as error:
            raise refusal_of(DraftRefused(_draft_errors(error))) from None
        return pb.RunLawCasesResponse(
            cases=[pb.LawCaseResult(id=each.id, differences=each.differences) for each in results]
        )

    async def ListLawVersions(
        self, request: pb.ListLawVersionsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListLawVersionsResponse:
        """Return a page of the stored versions."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        (before,) = await self._pages.place(request, (0,))
        found = await self._store.page(limit + 1, before, request.jurisdiction)
        now, active = await self._moment()
        token = await self._pages.token(request, found[limit - 1].number) if len(found) > limit else ""
        return pb.ListLawVersionsResponse(
            versions=[version_message(each, now, active) for each in found[:limit]], next_page_token=token
        )

    async def GetLawVersion(
        self, request: pb.GetLawVersionRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetLawVersionResponse:
        """Return a version with its files and the reviews that count for its values."""
        stored = await self._version(request.version)
        files = (await self._store.texts([stored.version]))[stored.version]
        if request.file and request.file not in files:
            raise Refusal("LAW_FILE_UNKNOWN", path="file", value=request.file, files=", ".join(files))
        now, active = await self._moment()
        contents = await asyncio.to_thread(contents_of, files)
        reviews = await self._store.reviews(stored.folder)
        chosen = {request.file: files[request.file]} if request.file else files
        return pb.GetLawVersionResponse(
            version=version_message(stored, now, active),
            files=file_messages(chosen),
            reviews=review_messages(reviews, contents, day_of(now)),
        )

    async def RecomputeAssessments(
        self, request: pb.RecomputeAssessmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RecomputeAssessmentsResponse:
        """Assess stored consignments by the version that their assessment names."""
        return pb.RecomputeAssessmentsResponse(results=await self._recomputation.run(request.filings))

    async def _version(self, version: str) -> StoredLaw:
        """Return the version that is named whole, or up to its digest. Raises Refusal."""
        names = await self._store.beginning(version)
        if not names:
            raise Refusal("LAW_VERSION_UNKNOWN", path="version", value=version)
        if len(names) > 1:
            raise Refusal("LAW_VERSION_AMBIGUOUS", path="version", value=version, versions=", ".join(names[-5:]))
        async with self._store.database.connection() as reader:
            found = await self._store.find(reader, names[0])
        assert found is not None, "versions are never deleted"
        return found

    async def _moment(self) -> tuple[datetime, Collection[str]]:
        """Return now by the database's clock and the versions that are in force."""
        stored = await self._loader.read_schedule()
        return stored.now, {each.version for each in stored.activations if each.effective_at <= stored.now}

    async def _check_what_ifs(self, ids: Sequence[int]) -> None:
        if len(ids) > WHAT_IFS_MAX:
            raise Refusal(
                "LAW_FILES_MALFORMED", path="what_if_ids", why=f"names {len(ids)} runs; at most {WHAT_IFS_MAX}"
            )
        for place, each in enumerate(ids):
            job = await self._jobs.find(each, JobKind.WHAT_IF, contents=False)
            if job.state is not JobState.DONE:
                raise Refusal(
                    "LAW_FILES_MALFORMED",
                    path=f"what_if_ids[{place}]",
                    why=f"the what-if run {each} has no complete result",
                )

    def _drafted(self, files: Mapping[str, str]) -> LoadedLaw:
        """Return the law in force with the files of one folder in place of its own. Raises Refusal with all errors."""
        folder = next(iter(files)).partition("/")[0]
        loaded = self._loader.latest.files
        written = {name: text for name, text in loaded.items() if not name.startswith(f"{folder}/")} | dict(files)
        read = read_law(written)
        if read.errors:
            raise refusal_of(DraftRefused(_draft_errors(LawFileErrors(read.errors))))
        try:
            return LoadedLaw(written, read.compile())
        except (LawFileError, ProgramError) as error:
            raise refusal_of(DraftRefused(_draft_errors(error))) from None

    async def _agreeing(self, law: LoadedLaw, folder: str) -> list[CaseResult]:
        """Run the cases of a folder. Raises Refusal where any differs, or cannot be read."""
        try:
            results = await asyncio.to_thread(run_cases, law, folder, program_of)
        except LawFileError as error:
            raise refusal_of(DraftRefused(_draft_errors(error))) from None
        failing = [each for each in results if each.differences]
        if failing:
            violations = [
                Violation(each.id[:200], "LAW_CASES_FAILED", "; ".join(each.differences)[:500])
                for each in failing[:SHOWN_MAX]
            ]
            first = f"{failing[0].id}: {failing[0].differences[0]}"[:300]
            raise Refusal("LAW_CASES_FAILED", violations=violations, count=len(failing), first=first)
        return results


def _draft_errors(error: LawFileError | ProgramError) -> list[DraftError]:
    if isinstance(error, LawFileError):
        return [DraftError(each.file, each.line, each.where, each.message) for each in error.errors[:ERRORS_MAX]]
    return [DraftError("", 0, "", str(error))]
