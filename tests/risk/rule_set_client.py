"""Calls to the service of rule sets."""

from __future__ import annotations

from typing import Any

from libs.columns import Table
from luxor.risk.v1 import rule_sets_pb2 as pb
from luxor.risk.v1.rule_sets_pb2_grpc import RuleSetServiceStub
from tests.risk.filings import table
from tests.risk.rules.rule_files import message
from tests.risk.service_client import request
from tests.risk.service_client import stub as risk_stub
from tests.support.services import Running

GIFT = {"nature": "NATURE_GIFT"}
NUMBERS = iter(range(1_000_000))


async def stub(risk: Running, ident: str = "anna", role: str = "analyst") -> Any:
    return RuleSetServiceStub(await risk.channel(role, ident))


def proposal(content: dict[str, bytes], request_id: str = "", note: str = "For the tests.") -> pb.ProposeRuleSetRequest:
    return pb.ProposeRuleSetRequest(request_id=request_id or f"p{next(NUMBERS)}", set=message(content), note=note)


async def proposed(risk: Running, content: dict[str, bytes], ident: str = "anna") -> str:
    answer = await (await stub(risk, ident)).ProposeRuleSet(proposal(content), timeout=20)
    version: str = answer.rule_set.version
    return version


async def activated(
    risk: Running, version: str, ident: str = "olga", role: str = "officer"
) -> pb.ActivateRuleSetResponse:
    asked = pb.ActivateRuleSetRequest(request_id=f"a{next(NUMBERS)}", version=version)
    answer: pb.ActivateRuleSetResponse = await (await stub(risk, ident, role)).ActivateRuleSet(asked, timeout=20)
    return answer


async def listed(risk: Running, **more: Any) -> pb.ListRuleSetsResponse:
    answer: pb.ListRuleSetsResponse = await (await stub(risk)).ListRuleSets(pb.ListRuleSetsRequest(**more), timeout=10)
    return answer


async def assessed(risk: Running, number: int) -> Table:
    answer = await (await risk_stub(risk)).AssessConsignments(request(table([GIFT], first_mrn=number)), timeout=20)
    return Table.decode(answer.assessments)
