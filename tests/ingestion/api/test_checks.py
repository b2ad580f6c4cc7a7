"""CheckConsignments: what filing would answer, without filing; what risk and revenue say, and what is missing where one of them does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from libs.columns import Table
from libs.store.database import Database
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2 as pb
from luxor.revenue.v1 import revenue_pb2
from luxor.risk.v1 import risk_pb2
from services.ingestion.__main__ import assemble
from services.ingestion.api import checks
from services.ingestion.filing import check_rules, validation
from tests.ingestion.amendments import amendment, announced_table, invalidation, reasons
from tests.ingestion.consignments import consignment, put
from tests.ingestion.service_client import SECONDS, stub_of, submit
from tests.support.services import running

ACCEPTED, REFUSED = pb.SUBMISSION_STATUS_ACCEPTED, pb.SUBMISSION_STATUS_REFUSED


class Neighbour:
    """A stub that answers, fails or waits."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.requests: list[Any] = []

    async def __call__(self, request: Any, timeout: float) -> Any:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        async with asyncio.timeout(timeout):
            return self.answer(request)


def unavailable() -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())


async def check(stub: Any, *rows: Consignment) -> pb.CheckConsignmentsResponse:
    answer: pb.CheckConsignmentsResponse = await stub.CheckConsignments(
        pb.CheckConsignmentsRequest(consignments=rows), timeout=SECONDS
    )
    return answer


@pytest.fixture
def neighbours(monkeypatch: pytest.MonkeyPatch) -> tuple[Neighbour, Neighbour]:
    """Put stubs in the place of risk and revenue, which cannot fail on demand; each answers for every line."""
    risk = Neighbour(
        lambda request: risk_pb2.CheckGoodsResponse(
            answers=[risk_pb2.GoodsAnswer(reason=line.description) for line in request.lines]
        )
    )
    revenue = Neighbour(
        lambda request: revenue_pb2.QuoteConsignmentsResponse(
            quotes=[revenue_pb2.LandedCost(reason=row.local_reference) for row in request.consignments],
            references=[revenue_pb2.LegalReference(id="R1")],
        )
    )

    def start(self: checks.Neighbours, *channels: Any) -> None:
        self._risk = type("Risk", (), {"CheckGoods": staticmethod(risk)})()  # type: ignore[assignment]
        self._revenue = type("Revenue", (), {"QuoteConsignments": staticmethod(revenue)})()  # type: ignore[assignment]

    monkeypatch.setattr(checks.Neighbours, "__init__", start)
    return risk, revenue


async def test_a_check_says_what_filing_answers_and_files_nothing(
    database_url: str, neighbours: tuple[Neighbour, Neighbour]
) -> None:
    vague, bad = put(consignment(2), "items[0].description", "Gift"), put(consignment(3), "gross_mass_mg", -1)
    async with running("ingestion", assemble, database_url) as service:
        stub = await stub_of(service)
        await submit(stub, [consignment(1)], "r1")
        before = await announced_table(database_url)
        rows = [consignment(1), put(consignment(1), "gross_mass_mg", 7), vague, bad, amendment(1, 1), invalidation(9, 1), invalidation(1, 2)]
        checked = await check(stub, *rows)
        assert await check(stub, *rows) == checked, "nothing was stored that another check would find"
        assert (await announced_table(database_url)).rows == before.rows
        filed = await submit(stub, rows, "r2")
        assert [each.status for each in checked.checks] == [each.status for each in filed.results]
        assert [[one.reason for one in each.errors] for each in checked.checks] == reasons(filed)
        for row, result in zip(checked.checks, filed.results, strict=True):
            assert row.HasField("quality") == result.receipt.HasField("quality")
            assert row.quality == result.receipt.quality
