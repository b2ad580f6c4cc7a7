"""Over real gRPC and PostgreSQL: whose payment pays what, and accounts that officers open, limit and close."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from libs.server.testing import Running, running
from libs.store.database import Database
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.__main__ import assemble
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.states import mrn
from tests.revenue.ledger.test_service import SECONDS, open_state, stub

FIRST, LATER = mrn(1, 3), mrn(2, 7)


@pytest_asyncio.fixture
async def house(database_url: str) -> AsyncIterator[Running]:
    async with running("revenue", assemble, database_url) as service:
        yield service


@pytest_asyncio.fixture
async def kept(house: Running, database_url: str) -> AsyncIterator[Books]:
    database = Database(database_url, name="revenue", pool_size=2)
    await database.open()
    yield Books(database)
    await database.close()


def received(ident: str, jurisdiction: str, reference: str) -> pb.Payment:
    return pb.Payment(id=ident, reference=reference, jurisdiction=jurisdiction, currency="EUR", amount_minor=2_200)


async def test_money_of_an_unknown_or_another_jurisdiction_settles_nothing(house: Running, kept: Books) -> None:
    await kept.take(open_state(FIRST))
    ledger = await stub(house)
    request = pb.RecordPaymentsRequest(
        request_id="p1",
        payments=[received("b1", "ZZ", FIRST), received("b2", "UK", FIRST), received("b3", "UK", LATER)],
    )
    answer = await ledger.RecordPayments(request, timeout=SECONDS)
    assert [(each.outcome, each.error.reason) for each in answer.results] == [
        (pb.PAYMENT_OUTCOME_REFUSED, "JURISDICTION_UNKNOWN"),
        (pb.PAYMENT_OUTCOME_UNMATCHED, "PAYMENT_JURISDICTION_DIFFERS"),
        (pb.PAYMENT_OUTCOME_UNMATCHED, ""),
    ]
    # Neither does it pay a debt that comes later, and the list tells why it is still there.
    await kept.take(open_state(LATER))
    listed = await ledger.ListPayments(pb.ListPaymentsRequest(unmatched=True), timeout=SECONDS)
    assert [(each.payment.id, each.result.error.reason) for each in listed.payments] == [
        ("b2", "PAYMENT_JURISDICTION_DIFFERS"), ("b3", "PAYMENT_JURISDICTION_DIFFERS"),
    ]  # fmt: skip
    own = pb.RecordPaymentsRequest(request_id="p2", payments=[received("b4", "EU", FIRST), received("b5", "EU", LATER)])
    settled = await ledger.RecordPayments(own, timeout=SECONDS)
    assert [each.outcome for each in settled.results] == [pb.PAYMENT_OUTCOME_MATCHED] * 2
    assert not await kept.unbalanced()
