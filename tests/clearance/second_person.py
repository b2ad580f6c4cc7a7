"""Goods of which a rule requires a second person, and decisions on them that tests propose and confirm over gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from libs.columns import Bools, Ints, Ragged, Strings, Table
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import work_pb2
from luxor.clearance.v1.work_pb2_grpc import WorkServiceStub
from tests.clearance.desk import risk_answer
from tests.clearance.loading import SCREENING, recommending
from tests.clearance.service_client import SECONDS, House

CONFIRM: Final = work_pb2.PROPOSAL_VERDICT_CONFIRM
REFUSE: Final = work_pb2.PROPOSAL_VERDICT_REFUSE
WITHDRAW: Final = work_pb2.PROPOSAL_VERDICT_WITHDRAW
OFFICE: Final = "DE004851"


def of_two(table: Table, answering: Callable[[Table], Table] = risk_answer) -> Table:
    """Answer as risk: of references that end with -two, the rule of the finding requires a second person; they have an office."""
    answer = answering(table)
    findings, found = answer.ragged("findings"), answer.child("findings")
    named = np.array([each.endswith("-two") for each in table.strings("local_reference").tolist()], np.bool_)
    marked = named[findings.owners()]
    lines = found.with_columns({"second_person": Bools.of(marked, marked)})
    office = Strings.of(np.where(named, OFFICE, answer.strings("office").values()).tolist())
    return answer.with_columns({"findings": Ragged(findings.offsets, lines), "office": office})


def before_loading(number: Callable[[str, int], int], required: Callable[[str, int], bool]) -> Callable[[Table], Table]:
    """Answer as risk does before loading: a finding each, a recommendation, and whether the finding's rule requires a second person."""

    def answer_to(table: Table) -> Table:
        named = list(zip(table.strings("local_reference").tolist(), table.ints("version").values.tolist(), strict=True))
        answer = recommending(lambda reference, version: number(reference, version) or SCREENING, [])(table)
        findings, found = answer.ragged("findings"), answer.child("findings")
        marked = np.array([required(*each) for each in named], np.bool_)
        numbers = [number(*each) for each in named]
        reasons = zip(numbers, answer.strings("referral_reason").tolist(), strict=True)
        return answer.with_columns(
            {
                "findings": Ragged(findings.offsets, found.with_columns({"second_person": Bools.of(marked, marked)})),
                "referral": Ints.of(numbers),
                "referral_reason": Strings.of([reason if each else "" for each, reason in reasons]),
            }
        )

    return answer_to


async def release(house: House, *mrns: str, by: str = "olga", request_id: str = "r1", **fields: Any) -> list[str]:
    """Release goods as an officer; return state and refusal of each, or that it waits for a second person."""
    refs = [pb.ConsignmentRef(mrn=mrn) for mrn in mrns]
    request = pb.ReleaseConsignmentsRequest(
        request_id=request_id, consignments=refs, **{"reason": "IN_ORDER", "note": "Seen."} | fields
    )
    stub = await house.stub("officer", by)
    return outcomes(list((await stub.ReleaseConsignments(request, timeout=SECONDS)).results))


async def decided(
    house: House,
    verdict: int,
    *mrns: str,
    by: str = "otto",
    version: int | None = None,
    request_id: str = "",
    reason: str = "CHECKED",
    note: str = "",
) -> list[str]:
    """Decide on proposals as an officer; return as `release`."""
    refs = [
        pb.ConsignmentRef(mrn=mrn) if version is None else pb.ConsignmentRef(mrn=mrn, expected_version=version)
        for mrn in mrns
    ]
    request = work_pb2.DecideProposalsRequest(
        request_id=request_id or f"{verdict}-{by}-{version}",
        consignments=refs,
        verdict=verdict,  # type: ignore[arg-type]
        reason=reason,
        note=note,
    )
    return outcomes(list((await (await work(house, by)).DecideProposals(request, timeout=SECONDS)).results))


async def waiting(house: House, by: str = "otto", role: str = "officer", **fields: Any) -> list[work_pb2.WorkItem]:
    """List what waits for a second person, all pages."""
    request = work_pb2.ListProposalsRequest(**fields)
    stub = await work(house, by, role)
    items: list[work_pb2.WorkItem] = []
    while True:
        page = await stub.ListProposals(request, timeout=SECONDS)
        items += page.items
        if not page.next_page_token:
            return items
        request.page_token = page.next_page_token


async def work(house: House, by: str = "otto", role: str = "officer") -> WorkServiceStub:
    """Call as an officer."""
    return WorkServiceStub(await house.service.channel(role, by))


def outcomes(results: list[pb.OfficerResult]) -> list[str]:
    """Return of each result the refusal, else that it waits, else the state."""
    return [
        each.error.reason
        or ("waits" if each.awaits_second_person else pb.State.Name(each.state).removeprefix("STATE_"))
        for each in results
    ]
