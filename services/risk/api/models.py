"""The gRPC service of models."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import grpc.aio
import msgspec
import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from libs.customs.time import day_text
from libs.jobs.service import JobService
from libs.jobs.store import JobState
from libs.server import call
from libs.server.errors import Refusal
from libs.server.page_tokens import PageTokens
from libs.server.requests import Answer, day_of_text, page_size_of, recalled
from luxor.common.v1 import common_pb2
from luxor.risk.v1 import models_pb2 as pb
from luxor.risk.v1.models_pb2_grpc import ModelServiceServicer
from services.risk.codes.code_model_file import FORMAT, PREFIX, CodeModelRefused, CodeModelSummary, read_code_model
from services.risk.codes.code_model_file import summary_of as code_summary_of
from services.risk.commands.change_model import Change, change, propose
from services.risk.commands.load_models import ModelLoader
from services.risk.files.digest_file import format_of
from services.risk.inspections.inclusion import weights_of
from services.risk.inspections.violations import ConsignmentGroup, FoundGroup, NoEstimate, violations_of
from services.risk.learning.evaluation.comparison import Compared
from services.risk.learning.features.consignments import TRAFFIC_COLUMNS
from services.risk.learning.features.sample import WORD
from services.risk.learning.model.model_file import ModelFileRefused, read_model
from services.risk.learning.model.summary import read_summary, summary_of, write_summary
from services.risk.learning.settings import INSPECTIONS
from services.risk.selection.parameters import PRECEDENCE
from services.risk.store.inspections import InspectionStore
from services.risk.store.job_kinds import JobKind
from services.risk.store.models import (
    CONTENT_BYTES_MAX,
    MODELS_MAX,
    InvalidModelState,
    ModelState,
    ModelStore,
    ModelUnknown,
    SecondPersonNeeded,
    StoredModel,
    TooManyModels,
)

NOTE_CHARACTERS_MAX: Final = 500
WINDOW_DAYS_MAX: Final = 400
PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 100
COMPARED_DAYS_MAX: Final = 90
DAYS_MAX: Final = 100_000
NAME_CHARACTERS_MAX: Final = 40


class ModelService(ModelServiceServicer):
    """Proposes, trains, compares and activates models."""

    def __init__(self, store: ModelStore, codes: ModelStore, loader: ModelLoader, jobs: JobService) -> None:
        """Serve from a store of each kind; `loader` has the models of this replica, `jobs` runs the trainings."""
        self._store = store
        self._codes = codes
        self._active = loader
        self._jobs = jobs
        self._pages = PageTokens(store.database)

    async def ProposeModel(
        self, request: pb.ProposeModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ProposeModelResponse:
        """Store a model file as a candidate after its validation."""
        before = await recalled(self._store.database, pb.ProposeModelResponse, request)
        if before is not None:
            return before
        _check_note(request.note)
        if len(request.content) > CONTENT_BYTES_MAX:
            why = f"it has {len(request.content)} bytes, more than {CONTENT_BYTES_MAX}; train with fewer trees, groups or texts"
            raise Refusal("MODEL_FILE_REFUSED", path="content", why=why)
        try:
            version, summary = await asyncio.to_thread(_version_and_summary, request.content)
        except (ModelFileRefused, CodeModelRefused) as error:
            raise Refusal("MODEL_FILE_REFUSED", path="content", why=str(error)) from None
        by = str(call.current().identity)

        def answer(model: StoredModel) -> pb.ProposeModelResponse:
            return pb.ProposeModelResponse(model=message_of(model))

        try:
            return await propose(self._store_of(version), request, version, summary, by, answer)
        except TooManyModels:
            raise _full() from None

    async def StartTraining(
        self, request: pb.StartTrainingRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.StartTrainingResponse:
        """Start a training, unless the maximum number of models is stored."""
        before = await recalled(self._store.database, pb.StartTrainingResponse, request)
        if before is not None:
            return before
        _check_note(request.note)
        _check_window(*_days(request))
        if request.name and not _is_name(request.name):
            raise Refusal("MODEL_NAME_MALFORMED", path="name", value=request.name)

        summary = pb.StartTrainingRequest(
            name=request.name or INSPECTIONS, from_day=request.from_day, to_day=request.to_day
        )
        try:
            return await self._jobs.start(
                request,
                pb.StartTrainingResponse,
                JobKind.TRAINING,
                request.SerializeToString(),
                summary,
                check=self._store.check_room,
            )
        except TooManyModels:
            raise _full() from None

    async def GetTraining(
        self, request: pb.GetTrainingRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetTrainingResponse:
        """Return a training."""
        job = await self._jobs.find(request.id, JobKind.TRAINING)
        version = job.result.decode() if job.state is JobState.DONE else ""
        return pb.GetTrainingResponse(version=version, job=self._jobs.message(job))

    async def ChallengeModel(
        self, request: pb.ChallengeModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ChallengeModelResponse:
        """Make a model the challenger."""
        return await self._move(pb.ChallengeModelResponse, request, self._store_of(request.version).challenge)

    async def ActivateModel(
        self, request: pb.ActivateModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ActivateModelResponse:
        """Make a model the champion."""
        return await self._move(pb.ActivateModelResponse, request, self._store_of(request.version).activate)

    async def RetireModel(
        self, request: pb.RetireModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RetireModelResponse:
        """Retire a model."""
        return await self._move(pb.RetireModelResponse, request, self._store_of(request.version).retire)

    async def ListModels(
        self, request: pb.ListModelsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListModelsResponse:
        """Return a page of the stored models of a kind, and always those that are active."""
        if request.state and int(request.state) not in {int(state) for state in ModelState}:
            raise Refusal("MODEL_STATE_UNKNOWN", path="state", value=request.state)
        store = self._codes if request.kind == pb.MODEL_KIND_CODES else self._store
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        state = ModelState(request.state) if request.state else None
        after = await self._pages.place(request, (0, ""))
        found = await store.page(limit + 1, after if request.page_token else None, state)
        last = found[limit - 1] if len(found) > limit else None
        scoring = await store.scoring()
        champion, challenger = scoring.get(ModelState.CHAMPION), scoring.get(ModelState.CHALLENGER)
        return pb.ListModelsResponse(
            models=map(message_of, found[:limit]),
            next_page_token="" if last is None else await self._pages.token(request, last.proposed_at, last.version),
            champion=None if champion is None else message_of(champion),
            challenger=None if challenger is None else message_of(challenger),
        )

    async def GetModel(
        self, request: pb.GetModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetModelResponse:
        """Return a model with its drift and its comparison with the champion."""
        if not 0 <= request.compared_days <= COMPARED_DAYS_MAX:
            limit = COMPARED_DAYS_MAX
            raise Refusal(
                "MODEL_COMPARISON_TOO_LONG", path="compared_days", value=request.compared_days, days_max=limit
            )
        try:
            model = await self._store_of(request.version).get(request.version)
        except ModelUnknown:
            raise Refusal("MODEL_UNKNOWN", path="version", value=request.version or "the champion") from None
        if model.version.startswith(PREFIX):
            return pb.GetModelResponse(model=message_of(model))
        columns = read_summary(model.summary).columns
        watch = self._active.watch_of(model.version)
        answer = pb.GetModelResponse(
            model=message_of(model),
            columns=[pb.ModelColumn(name=name, words=columns[name] == WORD) for name in sorted(columns)],
            drifts=[pb.Drift(column=each.column, index=each.index) for each in (watch.drifts() if watch else ())],
        )
        if request.compared_days:
            compared = await self._compared(model.version, request.compared_days)
            if compared is not None:
                answer.comparison.CopyFrom(compared)
        return answer

    async def EstimateViolations(
        self, request: pb.EstimateViolationsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.EstimateViolationsResponse:
        """Estimate the share of violations among all consignments of some days."""
        days = _days(request)
        _check_window(*days)
        found = await InspectionStore(self._store.database).groups(*days)
        return await asyncio.to_thread(_estimate_message, *found)

    async def _compared(self, version: str, days: int) -> pb.Comparison | None:
        """Champion and challenger on what was inspected; None where there are not both, or a model is neither."""
        versions = await self._store.active_versions()
        champion, challenger = versions.get(ModelState.CHAMPION), versions.get(ModelState.CHALLENGER)
        if champion is None or challenger is None or version not in (champion, challenger):
            return None
        compared = await InspectionStore(self._store.database).compare(champion, challenger, days=days)
        return _comparison(champion, challenger, compared)

    def _store_of(self, version: str) -> ModelStore:
        return self._codes if version.startswith(PREFIX) else self._store

    async def _move(
        self,
        kind: type[Answer],
        request: pb.ChallengeModelRequest | pb.ActivateModelRequest | pb.RetireModelRequest,
        move: Change,
    ) -> Answer:
        def changed(model: StoredModel) -> Answer:
            return kind(model=message_of(model))

        try:
            answer = await change(self._store, kind, request, move, str(call.current().identity), changed)
        except ModelUnknown:
            raise Refusal("MODEL_UNKNOWN", path="version", value=request.version) from None
        except SecondPersonNeeded as error:
            raise Refusal("MODEL_SECOND_PERSON", path="version", value=request.version, who=error.identity) from None
        except InvalidModelState as error:
            is_challenge = isinstance(request, pb.ChallengeModelRequest) and request.version.startswith(PREFIX)
            state = "a model of codes, which has no challenger" if is_challenge else error.state.name.lower()
            raise Refusal("MODEL_STATE_WRONG", path="version", value=request.version, state=state) from None
        await self._active.look()
        return answer


def _full() -> Refusal:
    return Refusal("MODELS_TOO_MANY", count_max=MODELS_MAX)


def _version_and_summary(content: bytes) -> tuple[str, bytes]:
    """Return both of a model file, which is of the kind that it names. Raises ModelFileRefused, CodeModelRefused."""
    if format_of(content) == FORMAT:
        codes = read_code_model(content, "content")
        return codes.version, msgspec.json.encode(code_summary_of(codes, len(content)), order="deterministic")
    model = read_model(content, "content", TRAFFIC_COLUMNS)
    return model.version, write_summary(summary_of(model, len(content)))


def message_of(model: StoredModel) -> pb.Model:
    """A stored model as a message."""
    message = pb.Model(
        version=model.version,
        state=pb.ModelState.ValueType(model.state),
        note=model.note,
        proposed_by=model.proposed_by,
        proposed_at=_instant(model.proposed_at),
        challenged_by=model.challenged_by,
        challenged_at=_instant(model.challenged_at),
        activated_by=model.activated_by,
        activated_at=_instant(model.activated_at),
        retired_by=model.retired_by,
        retired_at=_instant(model.retired_at),
    )
    metrics: Mapping[str, float | None]
    if model.version.startswith(PREFIX):
        codes = msgspec.json.decode(model.summary, type=CodeModelSummary)
        message.kind, message.bytes, metrics = pb.MODEL_KIND_CODES, codes.bytes, codes.metrics
    else:
        summary = read_summary(model.summary)
        message.kind, message.bytes, metrics = pb.MODEL_KIND_RISK, summary.bytes, summary.metrics
        message.label, message.trees = summary.label, summary.trees
        window = summary.window
        message.window.CopyFrom(
            pb.DataWindow(
                from_day=day_text(window.first_day),
                to_day=day_text(window.last_day),
                outcomes=window.outcomes,
                violations=window.violations,
                source=window.source,
            )
        )
    message.metrics.extend(pb.Metric(name=name, value=value) for name, value in sorted(metrics.items()))
    return message


def _instant(micros: int) -> Timestamp | None:
    """An instant, or None where there was none (0)."""
    if not micros:
        return None
    stamp = Timestamp()
    stamp.FromMicroseconds(micros)
    return stamp


def _comparison(champion: str, challenger: str, compared: Compared) -> pb.Comparison:
    return pb.Comparison(
        champion=champion,
        challenger=challenger,
        outcomes=compared.outcomes,
        violations=compared.violations,
        champion_precision=_or_none(compared.champion_precision),
        challenger_precision=_or_none(compared.challenger_precision),
        precision_difference_low=_or_none(compared.precision_difference_low),
        precision_difference_high=_or_none(compared.precision_difference_high),
        champion_auc=_or_none(compared.champion_auc),
        challenger_auc=_or_none(compared.challenger_auc),
        auc_difference_low=_or_none(compared.auc_difference_low),
        auc_difference_high=_or_none(compared.auc_difference_high),
        verdict=pb.ComparisonVerdict.ValueType(compared.verdict),
        outcomes_of_unknown_inclusion=compared.outcomes_of_unknown_inclusion,
        outcomes_capped=compared.outcomes_capped,
        weight_capped_share=compared.weight_capped_share,
    )


def _or_none(value: float) -> float | None:
    return value if value == value else None


def _estimate_message(
    outcomes: Sequence[FoundGroup], consignments: Sequence[ConsignmentGroup]
) -> pb.EstimateViolationsResponse:
    result = violations_of(outcomes, consignments)
    answer = pb.EstimateViolationsResponse(
        outcomes=result.estimate.outcomes,
        violations=result.estimate.violations,
        outcomes_of_unknown_inclusion=result.unknown,
        consignments=result.consignments,
        consignments_without_chance=result.without_chance,
        no_estimate=pb.NoEstimate.ValueType(result.reason),
        lanes=[
            pb.InspectedLane(
                lane=common_pb2.Lane.ValueType(lane),
                by_draw=drawn,
                consignments=int(result.lanes[cell]),
                inspected=int(result.inspected[cell]),
            )
            for cell, (drawn, lane) in enumerate(itertools.product((True, False), PRECEDENCE), 1)
        ],
    )
    if result.reason is not NoEstimate.NONE:
        return answer
    weights = weights_of(result.inclusion)
    answer.share, answer.low, answer.high = result.estimate.share, result.estimate.low, result.estimate.high
    answer.outcomes_capped, answer.weight_capped_share = weights.capped, weights.capped_share
    answer.share_with_cap = float(np.average(result.is_violation, weights=weights.values))
    return answer


def _days(request: pb.StartTrainingRequest | pb.EstimateViolationsRequest) -> tuple[int, int]:
    return day_of_text(request.from_day, "from_day"), day_of_text(request.to_day, "to_day")


def _check_window(first: int, last: int) -> None:
    if not 0 < first <= last < DAYS_MAX or last - first + 1 > WINDOW_DAYS_MAX:
        raise Refusal("MODEL_WINDOW_WRONG", path="from_day", value=day_text(first), days_max=WINDOW_DAYS_MAX)


def _check_note(note: str) -> None:
    if len(note) > NOTE_CHARACTERS_MAX:
        raise Refusal("MODEL_NOTE_TOO_LONG", path="note", value=len(note), characters_max=NOTE_CHARACTERS_MAX)


def _is_name(name: str) -> bool:
    known = set("abcdefghijklmnopqrstuvwxyz0123456789-")
    return 2 <= len(name) <= NAME_CHARACTERS_MAX and name[0].isalpha() and set(name) <= known
