"""The gRPC edge of risk: translate, call, answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import grpc.aio

from libs.columns import Table
from libs.columns.wire import MalformedColumns
from libs.server.errors import Refusal
from libs.telemetry import counter, span
from luxor.risk.v1 import risk_pb2 as pb
from luxor.risk.v1.risk_pb2_grpc import RiskServiceServicer
from services.risk.rules import OPEN_END, Rule, RuleSet
from services.risk.scoring import LANES, assess
from services.risk.store import Store

ROWS_MAX: Final = 2_000

_assessed = counter("luxor_risk_assessed_total", "Consignments assessed, by lane", ("lane",))
_repeated = counter("luxor_risk_repeated_total", "Consignments that had been assessed before and got that answer again")
_unjudged = counter(
    "luxor_risk_unjudged_total", "Rules that could not be judged for a consignment, since a value is absent"
)


class RiskService(RiskServiceServicer):
    """Assesses batches by the rule set in force."""

    def __init__(self, store: Store, rule_set: Callable[[], RuleSet]) -> None:
        """Serve from a store; `rule_set` gives the rule set in force."""
        self._store = store
        self._rule_set = rule_set

    async def Assess(self, request: pb.AssessRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.AssessResponse:
        """Assess a batch; what was assessed before keeps its first answer."""
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
                _check_identified(consignments)
                assessments = assess(self._rule_set(), consignments)
            except MalformedColumns as error:
                raise Refusal("CONSIGNMENT_COLUMNS_MALFORMED", why=str(error)) from None
            answer, fresh = await self._store.settle(consignments, request.purpose, assessments)
        _count(assessments, rows - fresh)
        return pb.AssessResponse(assessments=answer.encode(pb.AssessmentColumns))

    async def GetRuleSet(
        self, request: pb.GetRuleSetRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetRuleSetResponse:
        """Tell the rule set in force."""
        return pb.GetRuleSetResponse(rule_set=told(self._rule_set()))


def _check_identified(consignments: Table) -> None:
    missing = ~consignments.strings("mrn").present
    if missing.any():
        raise Refusal("CONSIGNMENT_UNIDENTIFIED", path=f"consignments.mrn[{int(missing.argmax())}]")
    versions = consignments.ints("version")
    wrong = ~versions.valid | (versions.values < 1) | (versions.values > 2**31 - 1)
    if wrong.any():
        raise Refusal("CONSIGNMENT_UNIDENTIFIED", path=f"consignments.version[{int(wrong.argmax())}]")


def _count(assessments: Table, repeated: int) -> None:
    lanes = assessments.ints("lane").values
    for lane in (pb.LANE_GREEN, pb.LANE_BLUE, pb.LANE_YELLOW, pb.LANE_RED):
        _assessed.labels(pb.Lane.Name(lane).removeprefix("LANE_").lower()).inc(int((lanes == lane).sum()))
    _repeated.inc(repeated)
    _unjudged.inc(int(assessments.ints("unjudged").values.sum()))


def told(rule_set: RuleSet) -> pb.RuleSet:
    """A rule set as a message."""
    thresholds = rule_set.thresholds
    return pb.RuleSet(
        version=rule_set.version,
        name=rule_set.name,
        red_from_points=thresholds.red,
        yellow_from_points=thresholds.yellow,
        blue_from_points=thresholds.blue,
        rules=[_rule(rule) for rule in rule_set.rules],
        data=[
            pb.DataSet(name=name, source=rule_set.sources[name], entries=len(rule_set.data[name]))
            for name in rule_set.data
        ],
    )


def _rule(rule: Rule) -> pb.Rule:
    text = rule.text
    subject = pb.RULE_SUBJECT_ITEM if rule.condition.on_items else pb.RULE_SUBJECT_CONSIGNMENT
    message = pb.Rule(
        id=text.id,
        version=text.version,
        subject=subject,
        condition=text.condition.strip(),
        weight=text.weight,
        lane=LANES[text.lane],
        reason=text.reason,
        sentence=text.sentence,
        legal_basis=text.legal_basis,
        owner=text.owner,
        valid_from_day=rule.first_day,
        destination_countries=sorted(rule.countries),
    )
    if rule.last_day != OPEN_END:
        message.valid_until_day = rule.last_day
    return message
