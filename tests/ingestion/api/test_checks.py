"""CheckConsignments: what filing would answer, without filing; what risk and revenue say, and what is missing where one of them does not answer."""

from __future__ import annotations

from typing import Any

import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from libs.server.errors import DOMAIN
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2 as pb
from luxor.revenue.v1 import revenue_pb2
from luxor.risk.v1 import risk_pb2
from services.ingestion.__main__ import assemble
from services.ingestion.api import checks
from tests.ingestion.amendments import amendment, announced_table, invalidation, reasons
from tests.ingestion.consignments import consignment, put
from tests.ingestion.service_client import SECONDS, stub_of, submit
from tests.support.services import running

ACCEPTED, REFUSED = pb.SUBMISSION_STATUS_ACCEPTED, pb.SUBMISSION_STATUS_REFUSED


class Neighbour:
    """A stub that answers or fails."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.requests: list[Any] = []
        self.timeouts: list[float] = []

    async def __call__(self, request: Any, timeout: float) -> Any:
        self.requests.append(request)
        self.timeouts.append(timeout)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer(request)


def failure(code: grpc.StatusCode, reason: str = "") -> grpc.aio.AioRpcError:
    status = status_pb2.Status(code=code.value[0])
    status.details.add().Pack(error_details_pb2.ErrorInfo(domain=DOMAIN, reason=reason))
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing)


async def check(stub: Any, *rows: Consignment) -> pb.CheckConsignmentsResponse:
    answer: pb.CheckConsignmentsResponse = await stub.CheckConsignments(
        pb.CheckConsignmentsRequest(consignments=rows), timeout=SECONDS
    )
    return answer


@pytest.fixture
def neighbours(monkeypatch: pytest.MonkeyPatch) -> tuple[Neighbour, ...]:
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

    codes = Neighbour(
        lambda request: risk_pb2.SuggestCodesResponse(
            answers=[risk_pb2.CodeAnswer(path=f"{line.declared_code} {line.description}") for line in request.lines],
            model="codes:1",
        )
    )

    def start(self: checks.Neighbours, *channels: Any) -> None:
        calls = {"CheckGoods": staticmethod(risk), "SuggestCodes": staticmethod(codes)}
        self._risk = type("Risk", (), calls)()  # type: ignore[assignment]
        self._revenue = type("Revenue", (), {"QuoteConsignments": staticmethod(revenue)})()  # type: ignore[assignment]

    monkeypatch.setattr(checks.Neighbours, "__init__", start)
    return risk, revenue, codes


async def test_a_check_says_what_filing_answers_and_files_nothing(
    database_url: str, neighbours: tuple[Neighbour, ...]
) -> None:
    vague, bad = put(consignment(2), "items[0].description", "Gift"), put(consignment(3), "gross_mass_mg", -1)
    async with running("ingestion", assemble, database_url) as service:
        stub = await stub_of(service)
        await submit(stub, [consignment(1)], "r1")
        before = await announced_table(database_url)
        rows = [
            consignment(1),
            put(consignment(1), "gross_mass_mg", 7),
            vague,
            bad,
            amendment(1, 1),
            invalidation(9, 1),
            invalidation(1, 2),
        ]
        checked = await check(stub, *rows)
        assert await check(stub, *rows) == checked, "nothing was stored that another check would find"
        assert (await announced_table(database_url)).rows == before.rows
        filed = await submit(stub, rows, "r2")
        assert [each.status for each in checked.checks] == [each.status for each in filed.results]
        assert [[one.reason for one in each.errors] for each in checked.checks] == reasons(filed)
        for row, result in zip(checked.checks, filed.results, strict=True):
            assert row.HasField("quality") == result.receipt.HasField("quality")
            assert row.quality == result.receipt.quality


async def test_a_check_has_the_controls_of_each_item_and_the_landed_cost(
    database_url: str, neighbours: tuple[Neighbour, ...]
) -> None:
    risk, revenue, _ = neighbours
    one, two = consignment(1), consignment(2)
    two.items.extend([two.items[0]])
    two.items[1].description = "Leather belt"
    two.supporting_documents.add(type="C640")
    two.items[1].supporting_documents.add(type="N851")
    async with running("ingestion", assemble, database_url) as service:
        response = await check(await stub_of(service), one, two)
    assert [[each.reason for each in row.goods_controls] for row in response.checks] == [
        ["Ladies' woven cotton blouse"], ["Ladies' woven cotton blouse", "Leather belt"],
    ]  # fmt: skip
    assert [row.landed_cost.reason for row in response.checks] == ["REF-1", "REF-2"]
    assert [each.id for each in response.references] == ["R1"]
    assert not response.HasField("goods_controls_error")
    assert [[each.path for each in row.codes] for row in response.checks] == [
        ["620630 Ladies' woven cotton blouse"], ["620630 Ladies' woven cotton blouse", "620630 Leather belt"],
    ]  # fmt: skip
    assert (response.code_model, response.HasField("codes_error")) == ("codes:1", False)
    assert not response.HasField("landed_cost_error")
    line = risk.requests[0].lines[2]
    assert (line.destination_country, line.dispatch_country, line.origin_country) == ("DE", "CN", "CN")
    assert (line.commodity_code, list(line.document_types)) == ("620630", ["C640", "N851"])
    assert line.transport_mode == two.transport.mode
    assert list(revenue.requests[0].consignments) == [one, two]
    assert revenue.requests[0].as_of == risk.requests[0].as_of


@pytest.mark.parametrize(("seconds", "most", "least"), [(SECONDS, 5.0, 5.0), (4.0, 3.2, 0.0)])
async def test_neighbours_get_5_seconds_and_no_more_than_leaves_the_caller_an_answer(
    database_url: str, neighbours: tuple[Neighbour, ...], seconds: float, most: float, least: float
) -> None:
    async with running("ingestion", assemble, database_url) as service:
        stub = await stub_of(service)
        await stub.CheckConsignments(pb.CheckConsignmentsRequest(consignments=[consignment(1)]), timeout=seconds)
    for each in neighbours:
        assert least <= each.timeouts[0] <= most


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED])
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_neighbour_that_does_not_answer_is_named_and_the_rest_stands(
    database_url: str, neighbours: tuple[Neighbour, ...], place: int, code: grpc.StatusCode
) -> None:
    neighbours[place].answer = failure(code)
    async with running("ingestion", assemble, database_url) as service:
        response = await check(await stub_of(service), consignment(1))
    errors = [response.goods_controls_error, response.landed_cost_error, response.codes_error]
    assert [each.reason for each in errors] == ["CHECK_PART_UNAVAILABLE" if each == place else "" for each in range(3)]
    assert ("risk", "revenue", "risk")[place] in errors[place].message
    assert code.name in errors[place].message
    (row,) = response.checks
    assert row.status == ACCEPTED
    assert row.HasField("quality")
    assert (bool(row.goods_controls), row.HasField("landed_cost"), bool(row.codes)) == (
        place != 0,
        place != 1,
        place != 2,
    )


async def test_without_a_model_of_codes_a_check_says_that_there_is_none(
    database_url: str, neighbours: tuple[Neighbour, ...]
) -> None:
    neighbours[2].answer = failure(grpc.StatusCode.FAILED_PRECONDITION, "CODE_MODEL_MISSING")
    async with running("ingestion", assemble, database_url) as service:
        response = await check(await stub_of(service), consignment(1))
    assert response.codes_error.reason == "CODE_MODEL_MISSING"
    assert (response.code_model, len(response.checks[0].codes)) == ("", 0)


@pytest.mark.parametrize(
    ("count", "items", "reason"), [(0, 1, "BATCH_EMPTY"), (100, 10, ""), (101, 1, "BATCH_TOO_LARGE"), (100, 11, "BATCH_ITEMS_TOO_MANY")]
)  # fmt: skip
async def test_a_check_has_bounds(
    database_url: str, neighbours: tuple[Neighbour, ...], count: int, items: int, reason: str
) -> None:
    rows = [consignment(number) for number in range(count)]
    for row in rows:
        row.items.extend([row.items[0]] * (items - 1))
    async with running("ingestion", assemble, database_url) as service:
        stub = await stub_of(service)
        if not reason:
            assert len((await check(stub, *rows)).checks) == count
            return
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await check(stub, *rows)
        assert reason.encode() in dict(raised.value.trailing_metadata())["grpc-status-details-bin"]


async def test_a_check_names_what_each_stage_lacks(database_url: str, neighbours: tuple[Neighbour, ...]) -> None:
    early = consignment(1)
    early.ClearField("nature")
    early.items[0].ClearField("price")
    async with running("ingestion", assemble, database_url) as service:
        (row,) = (await check(await stub_of(service), early)).checks
    found = {each.stage: list(each.missing_elements) for each in row.incomplete_stages}
    assert 1 not in found
    assert {"nature", "items.price_minor", "goods_location"} <= set(found[3])
    assert sorted(found) == [2, 3, 4]
