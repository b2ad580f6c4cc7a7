"""CheckConsignments: what SubmitConsignments would answer, with the controls of goods, their codes and the landed cost by the neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import grpc
import numpy as np

from libs.customs.time import day_of
from libs.filing_stages import completeness, law
from libs.server import call
from libs.server.errors import item_error, reason_of
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.errors.v1.errors_pb2 import ItemError
from luxor.ingestion.v1 import ingestion_pb2 as pb
from luxor.revenue.v1 import revenue_pb2
from luxor.revenue.v1.revenue_pb2_grpc import RevenueServiceStub
from luxor.risk.v1 import risk_pb2
from luxor.risk.v1.risk_pb2_grpc import RiskServiceStub
from services.ingestion.api import messages
from services.ingestion.commands.submitted import Submitted

BATCH_MAX: Final = 100
ITEMS_MAX: Final = 1_000
"""Items of all consignments: as many as one call of risk has lines."""
NEIGHBOUR_SECONDS: Final = 5.0
"""How long risk and revenue may take; the rest of the answer stands without them."""
NEIGHBOUR_SHARE: Final = 0.8
"""Of the time that the caller gives; what is left is for the answer."""
DOCUMENT_TYPES_MAX: Final = 20


class Neighbours:
    """Asks risk and revenue, and reports which of them does not answer."""

    def __init__(self, risk: grpc.aio.Channel, revenue: grpc.aio.Channel) -> None:
        """Call over these channels."""
        self._risk = RiskServiceStub(risk)
        self._revenue = RevenueServiceStub(revenue)

    async def add(self, consignments: Sequence[Consignment], now: int, response: pb.CheckConsignmentsResponse) -> None:
        """Add controls of goods, codes and landed cost to the checks of consignments at `now`, microseconds since 1970-01-01 UTC."""
        goods = risk_pb2.CheckGoodsRequest(lines=[line for row in consignments for line in _lines(row)])
        costs = revenue_pb2.QuoteConsignmentsRequest(consignments=consignments)
        for request in (goods, costs):
            request.as_of.FromMicroseconds(now)
        seconds = min(NEIGHBOUR_SECONDS, NEIGHBOUR_SHARE * call.current().deadline)
        described = risk_pb2.SuggestCodesRequest(
            lines=[
                risk_pb2.DescribedGoods(description=item.description, declared_code=item.commodity_code)
                for row in consignments
                for item in row.items
            ]
        )
        controls, codes, quotes = await asyncio.gather(
            _answer("risk", self._risk.CheckGoods, goods, seconds),
            _answer("risk", self._risk.SuggestCodes, described, seconds),
            _answer("revenue", self._revenue.QuoteConsignments, costs, seconds),
        )
        if isinstance(controls, ItemError):
            response.goods_controls_error.CopyFrom(controls)
        else:
            answers = iter(controls.answers)
            for row, check in zip(consignments, response.checks, strict=True):
                check.goods_controls.extend(next(answers) for _ in row.items)
        if isinstance(codes, ItemError):
            response.codes_error.CopyFrom(codes)
        else:
            response.code_model = codes.model
            suggested = iter(codes.answers)
            for row, check in zip(consignments, response.checks, strict=True):
                check.codes.extend(next(suggested) for _ in row.items)
        if isinstance(quotes, ItemError):
            response.landed_cost_error.CopyFrom(quotes)
        else:
            response.references.extend(quotes.references)
            for quote, check in zip(quotes.quotes, response.checks, strict=True):
                check.landed_cost.CopyFrom(quote)


def answer(submitted: Submitted, now: int) -> pb.CheckConsignmentsResponse:
    """Return the response without what the neighbours say."""
    response = pb.CheckConsignmentsResponse()
    filed = messages.answer(submitted, pb.SubmitConsignmentsResponse)
    table = submitted.checked.table
    gaps = completeness.gaps(table, law.included(), np.full(table.rows, day_of(now), np.int64))
    for result, stages in zip(filed.results, gaps, strict=True):
        check = response.checks.add(status=result.status, errors=result.errors, errors_left_out=result.errors_left_out)
        if result.receipt.HasField("quality"):
            check.quality.CopyFrom(result.receipt.quality)
        for stage, elements in stages:
            check.incomplete_stages.add(stage=int(stage), missing_elements=elements)
    return response


def _lines(row: Consignment) -> list[risk_pb2.GoodsLine]:
    shared = [each.type for each in row.supporting_documents]
    return [
        risk_pb2.GoodsLine(
            destination_country=row.destination_country or row.consignee.address.country,
            dispatch_country=row.dispatch_country,
            origin_country=item.origin_country,
            commodity_code=item.commodity_code,
            description=item.description,
            un_number=item.un_number,
            transport_mode=row.transport.mode,
            document_types=[*shared, *(each.type for each in item.supporting_documents)][:DOCUMENT_TYPES_MAX],
        )
        for item in row.items
    ]


async def _answer(neighbour: str, method: Any, request: Any, seconds: float) -> Any:
    """Return the answer of a neighbour, or the error that names it and says why there is none."""
    try:
        return await method(request, timeout=seconds)
    except grpc.RpcError as error:
        if isinstance(error, grpc.aio.AioRpcError) and reason_of(error) == "CODE_MODEL_MISSING":
            return item_error("CODE_MODEL_MISSING", neighbour)
        code = getattr(error, "code", lambda: None)()
        why = getattr(code, "name", "UNKNOWN")
        return item_error("CHECK_PART_UNAVAILABLE", neighbour, "", service=neighbour, why=why)
