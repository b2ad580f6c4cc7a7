"""The gRPC edge of risk: translate, call, answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date
from typing import Any, Final

import grpc.aio
import numpy as np

from libs.columns import Strings, Table
from libs.columns.wire import MalformedColumns
from libs.customs.time import day_of_date, day_text
from libs.server import catalogue
from libs.server.errors import Refusal
from libs.server.page_tokens import PageTokens
from libs.server.requests import check_identified, page_size_of
from libs.telemetry import counter, span
from luxor.common.v1 import common_pb2
from luxor.risk.v1 import risk_pb2 as pb
from luxor.risk.v1.risk_pb2_grpc import RiskServiceServicer
from luxor.risk.v1.screening_columns_pb2 import ScreeningColumns
from services.risk.api.codes import suggest_codes
from services.risk.api.goods import LINES_MAX, check_goods
from services.risk.api.rule_messages import active_rule_set
from services.risk.api.seeds import END, PAGE_DEFAULT, PAGE_MAX, seeds_page
from services.risk.assessment.assessment import ActiveVersions
from services.risk.commands.assess import Assess, UnreadableBatch
from services.risk.commands.make_seeds import Seeds
from services.risk.screening.parties import versions_of
from services.risk.selection import commitment
from services.risk.store.assessment_log import AssessmentLogStore
from services.risk.store.screening_matches import ScreeningMatchStore

ROWS_MAX: Final = 2_000
SECONDS_PER_DAY: Final = 86_400
FIRST_DAY: Final = day_of_date(date(2000, 1, 1))
LAST_DAY: Final = day_of_date(date(2100, 1, 1))

_assessed = counter("luxor_risk_assessed_total", "Consignments assessed, by lane", ("lane",))
_repeated = counter(
    "luxor_risk_repeated_total", "Consignments that had been assessed before and got their first answer again"
)
_selected = counter(
    "luxor_risk_selected_total", "Consignments assessed for clearance, by cause of their lane", ("cause",)
)
_unjudged = counter("luxor_risk_unjudged_total", "Rules without a result for a consignment, because a value is absent")
_shadow = counter(
    "luxor_risk_shadow_matches_total",
    "Consignments that a rule or typology in shadow applies to, without effect",
    ("rule",),
)
_checked = counter("luxor_risk_goods_checked_total", "Checked lines of goods, by verdict", ("outcome",))
#: The stable reason of each cause; nothing selects a green consignment.
_CAUSES: Final = {
    "nothing" if number == 0 else name.removeprefix("SELECTION_CAUSE_").lower(): number
    for name, number in common_pb2.SelectionCause.items()
}


class RiskService(RiskServiceServicer):
    """Assesses batches by the active rule set."""

    def __init__(
        self,
        assess: Assess,
        store: AssessmentLogStore,
        active: Callable[[], ActiveVersions],
        seeds: Seeds,
        matches: ScreeningMatchStore,
        *,
        seeds_published_after_days: int,
    ) -> None:
        """Assess by a command and answer from the store; `active` returns the active versions.

        Seeds of the draws are published when their days ended so many days ago.
        """
        self._assess = assess
        self._store = store
        self._active = active
        self._seeds = seeds
        self._matches = matches
        self._seeds_published_after_days = seeds_published_after_days
        self._pages = PageTokens(seeds.store.database)

    async def AssessConsignments(
        self, request: pb.AssessConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.AssessConsignmentsResponse:
        """Assess a batch and return the first answer of each consignment."""
        if request.purpose not in (pb.PURPOSE_CLEARANCE, pb.PURPOSE_PRE_LOADING):
            raise Refusal("PURPOSE_UNKNOWN", path="purpose", value=request.purpose)
        rows = request.consignments.rows
        if rows == 0:
            raise Refusal("BATCH_EMPTY", count_max=ROWS_MAX)
        if rows > ROWS_MAX:
            raise Refusal("BATCH_TOO_LARGE", count=rows, count_max=ROWS_MAX)
        consignments = Table.decode(request.consignments)
        with span("risk.assess", attributes={"luxor.rows": rows}):
            try:
                check_identified(consignments)
                done = await self._assess.run(consignments, request.purpose, request.consignments.SerializeToString)
            except (MalformedColumns, UnreadableBatch) as error:
                raise Refusal("CONSIGNMENT_COLUMNS_MALFORMED", why=str(error)) from None
        _count(done.assessments, done.repeated)
        response = pb.AssessConsignmentsResponse()
        done.answer.write(response.assessments)
        return response

    async def GetRuleSet(
        self, request: pb.GetRuleSetRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetRuleSetResponse:
        """Return the active rule set, and the versions of lists, controls and selection parameters."""
        active = self._active()
        selection = active.selection
        return pb.GetRuleSetResponse(
            rule_set=active_rule_set(active.rules),
            lists=versions_of(active.index).split(),
            controls=active.controls.version,
            selection="" if selection is None else selection.version,
            seed_commitment="" if selection is None else commitment((await self._seeds.present())[1]),
        )

    async def ListAssessments(
        self, request: pb.ListAssessmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListAssessmentsResponse:
        """Return the stored answers of one consignment."""
        if not request.mrn:
            raise Refusal("CONSIGNMENT_UNIDENTIFIED", path="mrn")
        return pb.ListAssessmentsResponse(
            assessments=[
                pb.StoredAssessment(
                    version=version,
                    purpose=pb.Purpose.ValueType(purpose),
                    day=day_text(day),
                    assessment=answer.encode(pb.AssessmentColumns),
                )
                for version, purpose, day, answer in await self._store.answers(request.mrn)
            ],
            later_screenings=[_later(each) for each in await self._matches.announced(request.mrn)],
        )

    async def ListSeeds(
        self, request: pb.ListSeedsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListSeedsResponse:
        """Return the commitments to the seeds of the draws, and the published seeds."""
        (before,) = await self._pages.place(request, (END,))
        rows = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        # The week ahead is there from the first question on, and is not waited for until housekeeping runs.
        await self._seeds.made_ahead()
        found = await self._seeds.store.page(before, rows + 1)
        token = await self._pages.token(request, found[rows - 1].day) if len(found) > rows else ""
        return seeds_page(found[:rows], self._seeds_published_after_days, token)

    async def CheckGoods(
        self, request: pb.CheckGoodsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CheckGoodsResponse:
        """Return whether goods may be sent and which documents they need; nothing is stored."""
        _check_count(len(request.lines))
        day = request.as_of.seconds // SECONDS_PER_DAY
        if not request.HasField("as_of") or not FIRST_DAY <= day < LAST_DAY:
            raise Refusal("CHECK_DAY_MISSING", path="as_of", value=request.as_of.seconds)
        controls = self._active().controls
        answers = check_goods(controls, request.lines, day)
        for answer in answers:
            if answer.reason:
                answer.hint = catalogue.reason(answer.reason).hint
            _checked.labels(pb.GoodsVerdict.Name(answer.verdict).removeprefix("GOODS_VERDICT_").lower()).inc()
        return pb.CheckGoodsResponse(answers=answers, controls=controls.version)

    async def SuggestCodes(
        self, request: pb.SuggestCodesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.SuggestCodesResponse:
        """Return up to five codes for each description, and the probability of a declared code; nothing is stored."""
        _check_count(len(request.lines))
        model = self._active().models.codes
        if model is None:
            raise Refusal("CODE_MODEL_MISSING")
        # In a thread: 1,000 long descriptions take longer than an assessment may wait.
        answers = await asyncio.to_thread(suggest_codes, model, request.lines)
        for answer in answers:
            if answer.reason or answer.warning:
                answer.hint = catalogue.reason(answer.reason or answer.warning).hint
        return pb.SuggestCodesResponse(answers=answers, model=model.version)


def _check_count(lines: int) -> None:
    if lines == 0:
        raise Refusal("BATCH_EMPTY", count_max=LINES_MAX)
    if lines > LINES_MAX:
        raise Refusal("BATCH_TOO_LARGE", count=lines, count_max=LINES_MAX)


def _later(matches: ScreeningColumns) -> pb.LaterScreening:
    """What screening again found of one filing."""
    table = Table.decode(matches)
    told = pb.LaterScreening(
        version=int(table.ints("filing_version").values[0]),
        lists=table.strings("lists")[0],
        match_threshold=int(table.ints("match_threshold").values[0]),
        findings=matches.findings,
        cleared=matches.cleared,
    )
    told.screened_at.FromMicroseconds(int(table.ints("screened_at").values[0]))
    return told


def _count(assessments: Table, repeated: int) -> None:
    lanes = assessments.ints("lane").values
    for lane in (common_pb2.LANE_GREEN, common_pb2.LANE_BLUE, common_pb2.LANE_YELLOW, common_pb2.LANE_RED):
        _assessed.labels(common_pb2.Lane.Name(lane).removeprefix("LANE_").lower()).inc(int((lanes == lane).sum()))
    causes = assessments.ints("selection_cause")
    counts = np.bincount(causes.values[causes.valid], minlength=max(_CAUSES.values()) + 1)
    for cause, number in _CAUSES.items():
        _selected.labels(cause).inc(int(counts[number]))
    _repeated.inc(repeated)
    shadow = assessments.ragged("shadow_rules").values
    if len(shadow):
        assert isinstance(shadow, Strings)
        counts = np.bincount(shadow.indices, minlength=len(shadow.dictionary))
        for rule, number in zip(shadow.dictionary, counts.tolist(), strict=True):
            if number:
                _shadow.labels(rule).inc(number)
    _unjudged.inc(int(assessments.ints("unjudged").values.sum()))
