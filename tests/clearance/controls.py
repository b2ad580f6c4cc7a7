"""Controls that tests order, answer and conclude over gRPC."""

from __future__ import annotations

from typing import Any, Final

from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.clearance.v1 import control_pb2, controls_pb2
from luxor.clearance.v1.controls_pb2_grpc import ControlServiceStub
from tests.clearance.service_client import SECONDS, House

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
