"""A bulk release that reaches the client's deadline is continued by the same request, and any other error ends it."""

from __future__ import annotations

from typing import Any

import pytest

from libs.client.clearance.officers import BULK_CALLS_MAX, bulk_release, bulk_release_of
from libs.client.errors import LuxorError
from luxor.clearance.v1.bulk_release_pb2 import BulkReleaseResponse


class Service:
    """Answers after some errors, and remembers the ids of the requests."""

    def __init__(self, *codes: str) -> None:
        self.codes = list(codes)
        self.ids: list[str] = []

    async def ask(self, _service: str, _stub: Any, _method: str, request: Any, _kind: Any) -> BulkReleaseResponse:
        self.ids.append(request.request_id)
        if self.codes:
            raise LuxorError("CLIENT_DEADLINE", "No answer in time.", code=self.codes.pop(0))
        return BulkReleaseResponse(consignments=7, released=7)


async def test_the_same_request_is_sent_until_it_is_complete() -> None:
    service = Service("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    order = bulk_release_of(master="160-1", reason="IN_ORDER")
    assert await bulk_release(service, order) == {"consignments": 7, "released": 7}  # type: ignore[arg-type]
    assert len(service.ids) == 3
    assert len(set(service.ids)) == 1
    assert service.ids[0]


@pytest.mark.parametrize(("codes", "calls"), [(["PERMISSION_DENIED"], 1), (["DEADLINE_EXCEEDED"] * 99, BULK_CALLS_MAX)])
async def test_other_errors_and_too_many_deadlines_are_reported(codes: list[str], calls: int) -> None:
    service = Service(*codes)
    with pytest.raises(LuxorError):
        await bulk_release(service, bulk_release_of(flight="LX0188", arrived="2026-11-30", reason="IN_ORDER"))  # type: ignore[arg-type]
    assert len(service.ids) == calls
