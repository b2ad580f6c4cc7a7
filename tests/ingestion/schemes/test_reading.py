"""Ingestion reads Revenue's register of scheme numbers: whole, then what changes, and what it read counts for ten minutes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import grpc.aio
import pytest
import pytest_asyncio

from libs.columns import Strings
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables.migrate import migrate
from libs.telemetry.metrics import REGISTRY
from luxor.consignment.v1 import consignment_pb2 as consignments
from luxor.ingestion.v1 import ingestion_pb2 as filings
from luxor.revenue.v1 import schemes_pb2 as pb
from luxor.revenue.v1.schemes_pb2_grpc import (
    SchemeServiceServicer,
    SchemeServiceStub,
    add_SchemeServiceServicer_to_server,
)
from services.ingestion.__main__ import assemble as ingestion
from services.ingestion.jobs.scheme_numbers import AGE_SECONDS_MAX, WHOLE_SECONDS, ReadingError, SchemeNumbers
from services.revenue.__main__ import assemble as revenue
from tests.ingestion.consignments import consignment
from tests.ingestion.service_client import SECONDS, stub_of, submit
from tests.support.databases import reused_database
from tests.support.services import Running, running

IOSS = consignments.SCHEME_IOSS
DAY = 20_788
READ_AT = "luxor_ingestion_scheme_numbers_read_timestamp_seconds"
COUNT = "luxor_ingestion_scheme_numbers"


@pytest.fixture
def revenue_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    with reused_database(postgres, "services.revenue", lambda each: migrate(each, "services.revenue")) as url:
        yield url


@pytest_asyncio.fixture
async def house(revenue_url: str) -> AsyncIterator[Running]:
    async with running("revenue", revenue, revenue_url) as service:
        yield service


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


async def register(house: Running, *numbers: str, to: str = "") -> None:
    stub = SchemeServiceStub(await house.channel("operator", "ops"))
    entries = [pb.SchemeNumber(scheme=IOSS, number=each, from_day="2021-07-01", to_day=to) for each in numbers]
    for start in range(0, len(entries), 1_000):
        some = entries[start : start + 1_000]
        request = pb.RegisterSchemeNumbersRequest(request_id=f"{numbers[start]} {to}", numbers=some)
        answer = await stub.RegisterSchemeNumbers(request, timeout=SECONDS)
        assert not any(each.HasField("error") for each in answer.results)


def refused(numbers: SchemeNumbers, *texts: str) -> list[str]:
    found = numbers.current()
    assert found is not None
    column = Strings.of(list(texts))
    rows = [rows for _, rows in found.not_valid(IOSS, column, DAY)]
    return [text for place, text in enumerate(texts) if any(each[place] for each in rows)]


async def test_the_register_is_read_over_several_pages_and_then_what_changes(house: Running) -> None:
    clock = Clock()
    numbers = SchemeNumbers(await house.channel("service", "ingestion"), clock=clock)
    assert numbers.current() is None, "it was never read, so nothing is known of any number"
    many = [f"IM276{place:07d}" for place in range(2_001)]
    await register(house, *many)
    await numbers.step()
    assert refused(numbers, *many, "IM4420000019") == ["IM4420000019"]
    assert REGISTRY.get_sample_value(COUNT) == 2_001
    await register(house, "IM4420000019")
    await register(house, many[7], to="2026-01-31")
    await numbers.step()
    assert refused(numbers, *many, "IM4420000019") == [many[7]]
    assert REGISTRY.get_sample_value(COUNT) == 2_002


async def test_a_register_that_was_set_back_is_seen_when_the_whole_is_read_again(house: Running) -> None:
    clock = Clock()
    numbers = SchemeNumbers(await house.channel("service", "ingestion"), clock=clock)
    await register(house, "IM2760000014", "IM4420000019")
    await numbers.step()
    async with house.service.database.transaction() as tx:
        await tx.raw.execute("delete from scheme_number where number = 'IM4420000019'")
        await tx.raw.execute("update scheme_number set changed = 1")
    clock.now += WHOLE_SECONDS - 1
    await numbers.step()
    assert refused(numbers, "IM2760000014", "IM4420000019") == [], "what changes do not show"
    clock.now += 1
    await numbers.step()
    assert refused(numbers, "IM2760000014", "IM4420000019") == ["IM4420000019"]


async def test_what_was_read_counts_for_ten_minutes_and_a_reading_that_fails_changes_nothing(house: Running) -> None:
    clock = Clock()
    numbers = SchemeNumbers(await house.channel("service", "ingestion"), clock=clock)
    await register(house, "IM2760000014")
    await numbers.step()
    before = REGISTRY.get_sample_value(READ_AT)
    away = SchemeNumbers(grpc.aio.insecure_channel("127.0.0.1:1"), clock=clock)
    clock.now += AGE_SECONDS_MAX
    with pytest.raises(grpc.aio.AioRpcError):
        await away.step()
    assert away.current() is None
    assert refused(numbers, "IM2760000025") == ["IM2760000025"]
    assert REGISTRY.get_sample_value(READ_AT) == before
    clock.now += 1
    assert numbers.current() is None
    await numbers.step()
    assert refused(numbers, "IM2760000025") == ["IM2760000025"]


@pytest.mark.parametrize(
    ("role", "ident"), [("service", "clearance"), ("filer", "ingestion"), ("service", "statistics")]
)
async def test_no_other_service_and_no_filer_reads_the_register(house: Running, role: str, ident: str) -> None:
    numbers = SchemeNumbers(await house.channel(role, ident))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await numbers.step()
    assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert numbers.current() is None


@dataclass
class FormerRevenue(SchemeServiceServicer):
    """A release whose register has no changes: it begins with the first number each time."""

    calls: list[pb.ListSchemeNumbersRequest] = field(default_factory=list)

    async def ListSchemeNumbers(
        self, request: pb.ListSchemeNumbersRequest, context: object
    ) -> pb.ListSchemeNumbersResponse:
        self.calls.append(request)
        number = pb.SchemeNumber(scheme=IOSS, number="IM2760000014", from_day="2021-07-01")
        return pb.ListSchemeNumbersResponse(numbers=[number], next_page_token="next")


async def test_pages_that_do_not_follow_each_other_end_the_reading() -> None:
    former, server = FormerRevenue(), grpc.aio.server()
    add_SchemeServiceServicer_to_server(former, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        numbers = SchemeNumbers(channel)
        with pytest.raises(ReadingError):
            await numbers.step()
    await server.stop(None)
    assert len(former.calls) == 1
    assert numbers.current() is None


async def until(ready: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SECONDS):
        while not await ready():  # noqa: ASYNC110  # the background has no event
            await asyncio.sleep(0.01)


async def test_a_filing_is_compared_with_the_register_of_a_running_revenue(
    house: Running, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ingestion.__main__.SchemeNumbers", partial(SchemeNumbers, interval_seconds=0.05))
    await register(house, "IM2760000014")
    environ = {"LUXOR_REVENUE_TARGET": house.target, "LUXOR_RISK_TARGET": "dns:///127.0.0.1:1"}
    wrong = consignment(1)
    wrong.fiscal_references[0].number = "IM2760000025-EU1"
    async with running("ingestion", ingestion, database_url, environ=environ, data_dir=house.data_dir) as service:
        stub = await stub_of(service)

        async def checked() -> filings.CheckConsignmentsResponse:
            request = filings.CheckConsignmentsRequest(consignments=[consignment(0), wrong])
            answer: filings.CheckConsignmentsResponse = await stub.CheckConsignments(request, timeout=SECONDS)
            return answer

        async def is_warned() -> bool:
            return bool((await checked()).checks[1].errors)

        await until(is_warned)
        answer = await submit(stub, [consignment(0), wrong], "r1")
        assert [each.status for each in answer.results] == [filings.SUBMISSION_STATUS_ACCEPTED] * 2
        assert not answer.results[0].errors
        (error,) = answer.results[1].errors
        assert (error.reason, error.path, error.value) == (
            "SCHEME_NUMBER_UNKNOWN", "consignments[1].fiscal_references[0].number", "IM2760000025-EU1",
        )  # fmt: skip
        assert "the register of the scheme does not have it" in error.message
        assert list((await checked()).checks[1].errors) == [error]
        first, second = (each.receipt.quality.accuracy for each in answer.results)
        assert first - second == 20
        await register(house, "IM2760000025")

        async def is_registered() -> bool:
            return not (await checked()).checks[1].errors

        await until(is_registered)


async def test_without_revenue_filings_go_on_and_nothing_is_said_of_numbers(database_url: str) -> None:
    environ = {"LUXOR_REVENUE_TARGET": "dns:///127.0.0.1:1"}
    wrong = consignment(1)
    wrong.fiscal_references[0].number = "IM2760000025"
    async with running("ingestion", ingestion, database_url, environ=environ) as service:
        answer = await submit(await stub_of(service), [wrong], "r1")
        assert [(each.status, list(each.errors)) for each in answer.results] == [
            (filings.SUBMISSION_STATUS_ACCEPTED, [])
        ]
