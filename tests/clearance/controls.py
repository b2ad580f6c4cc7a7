"""Controls that tests order, answer and conclude over gRPC."""

from __future__ import annotations

from typing import Any, Final

from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.clearance.v1 import control_pb2, controls_pb2
from luxor.clearance.v1.controls_pb2_grpc import ControlServiceStub
from tests.clearance.desk import MASTER
from tests.clearance.disposals import outcomes
from tests.clearance.inspections import status
from tests.clearance.service_client import SECONDS, House, arrivals

DOCUMENTS: Final = control_pb2.CONTROL_FORM_DOCUMENTS
SCAN: Final = control_pb2.CONTROL_FORM_SCAN
EXAMINATION: Final = control_pb2.CONTROL_FORM_EXAMINATION
FILER: Final = control_pb2.CONTROL_ADDRESSEE_FILER
CARRIER: Final = control_pb2.CONTROL_ADDRESSEE_CARRIER
CONFORM: Final = control_pb2.CONTROL_RESULT_CONFORM
NOT_CONFORM: Final = control_pb2.CONTROL_RESULT_NOT_CONFORM
WITHDRAWN: Final = control_pb2.CONTROL_RESULT_WITHDRAWN
DAY_MICROS: Final = 86_400_000_000


def order(mrn: str, form: int = DOCUMENTS, **fields: Any) -> controls_pb2.ControlOrder:
    """Order a control; a request for documents is addressed to the filer."""
    request = {"addressee": FILER, "text": "Send the invoice."} if form == DOCUMENTS else {}
    times = {name: fields.pop(name) for name in ("due_at", "remind_at") if name in fields}
    made = controls_pb2.ControlOrder(
        consignment=clearance.ConsignmentRef(mrn=mrn),
        form=form,
        **{"reason": "INVOICE_MISSING"} | request | fields,  # type: ignore[arg-type]
    )
    for name, micros in times.items():
        getattr(made, name).FromMicroseconds(micros)
    return made


def answer(mrn: str, number: int = 1, **fields: Any) -> controls_pb2.ControlAnswer:
    """Answer a control."""
    ref = clearance.ConsignmentRef(mrn=mrn)
    return controls_pb2.ControlAnswer(consignment=ref, number=number, **{"text": "See the invoice."} | fields)  # type: ignore[arg-type]


def conclusion(mrn: str, number: int = 1, result: int = CONFORM, **fields: Any) -> controls_pb2.ControlConclusion:
    """Conclude a control."""
    ref = clearance.ConsignmentRef(mrn=mrn)
    return controls_pb2.ControlConclusion(
        consignment=ref,
        number=number,
        result=result,
        **{"reason": "INVOICE_MATCHES"} | fields,  # type: ignore[arg-type]
    )


async def controls(house: House, role: str = "officer", ident: str = "olga") -> ControlServiceStub:
    """Call as a role."""
    return ControlServiceStub(await house.service.channel(role, ident))


async def ordered(
    house: House, *orders: controls_pb2.ControlOrder, role: str = "officer", by: str = "olga", request_id: str = "o1"
) -> list[clearance.OfficerResult]:
    """Order controls."""
    request = controls_pb2.OrderControlsRequest(request_id=request_id, orders=orders)
    return list((await (await controls(house, role, by)).OrderControls(request, timeout=SECONDS)).results)


async def answered(
    house: House, *answers: controls_pb2.ControlAnswer, role: str = "filer", by: str = "shop", request_id: str = "w1"
) -> list[clearance.OfficerResult]:
    """Answer controls."""
    request = controls_pb2.AnswerControlsRequest(request_id=request_id, answers=answers)
    return list((await (await controls(house, role, by)).AnswerControls(request, timeout=SECONDS)).results)


async def concluded(
    house: House,
    *conclusions: controls_pb2.ControlConclusion,
    role: str = "officer",
    by: str = "olga",
    request_id: str = "c1",
) -> list[clearance.OfficerResult]:
    """Conclude controls."""
    request = controls_pb2.ConcludeControlsRequest(request_id=request_id, conclusions=conclusions)
    return list((await (await controls(house, role, by)).ConcludeControls(request, timeout=SECONDS)).results)


async def listed(
    house: House, role: str = "officer", by: str = "olga", **fields: Any
) -> list[controls_pb2.OpenControl]:
    """List open controls, all pages."""
    request = controls_pb2.ListControlsRequest(**fields)
    stub = await controls(house, role, by)
    found: list[controls_pb2.OpenControl] = []
    while True:
        page = await stub.ListControls(request, timeout=SECONDS)
        found += page.controls
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def arrive(house: House, request_id: str = "a1") -> None:
    """Report the arrival of the goods under the usual master document."""
    await (await house.stub("carrier", "wings")).RecordArrivals(
        arrivals(MASTER, request_id=request_id), timeout=SECONDS
    )


async def state(house: House, mrn: str) -> str:
    """Return the name of a state."""
    return clearance.State.Name((await status(house, mrn)).state).removeprefix("STATE_")


async def hold(house: House, mrn: str) -> None:
    """Hold goods as an officer."""
    refs = [clearance.ConsignmentRef(mrn=mrn)]
    request = clearance.HoldConsignmentsRequest(request_id="h1", consignments=refs, reason="OFFICER_DECISION")
    await (await house.stub("officer", "otto")).HoldConsignments(request, timeout=SECONDS)


async def release(house: House, *mrns: str, request_id: str = "r1") -> list[tuple[str, str]]:
    """Release goods as an officer."""
    refs = [clearance.ConsignmentRef(mrn=mrn) for mrn in mrns]
    request = clearance.ReleaseConsignmentsRequest(request_id=request_id, consignments=refs, reason="IN_ORDER")
    stub = await house.stub("officer", "olga")
    return outcomes(list((await stub.ReleaseConsignments(request, timeout=SECONDS)).results))


async def notices(house: House, role: str = "filer", ident: str = "shop") -> list[clearance.Notice]:
    """Read a caller's notices from the first on."""
    await house.desk.told()
    return list(
        (await (await house.stub(role, ident)).PullNotices(clearance.PullNoticesRequest(), timeout=SECONDS)).notices
    )


def words(found: list[clearance.Notice]) -> list[tuple[str, str]]:
    """Return kind and state of notices."""
    return [
        (
            clearance.NoticeKind.Name(each.kind).removeprefix("NOTICE_KIND_"),
            clearance.State.Name(each.state).removeprefix("STATE_"),
        )
        for each in found
    ]


async def now(house: House) -> int:
    """Return the database's time."""
    return await house.desk.store.database.now()
