"""A whole revenue service whose ledger is called, and what those tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from libs.store.database import Database
from luxor.common.v1 import common_pb2
from luxor.revenue.v1 import ledger_pb2 as pb
from luxor.revenue.v1.ledger_pb2_grpc import LedgerServiceStub
from services.revenue.__main__ import assemble
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.states import State, mrn
from tests.support.services import Running, running

SECONDS = 30.0
FIRST, SECOND = mrn(1, 3), mrn(2, 7)


@pytest_asyncio.fixture
async def house(database_url: str) -> AsyncIterator[Running]:
    async with running("revenue", assemble, database_url) as service:
        yield service


@pytest_asyncio.fixture
async def kept(house: Running, database_url: str) -> AsyncIterator[Books]:
    """The same store, for what clearance's feed brings."""
    database = Database(database_url, name="revenue", pool_size=2)
    await database.open()
    yield Books(database)
    await database.close()


async def stub(house: Running, role: str = "officer", ident: str = "officer-1") -> LedgerServiceStub:
    return LedgerServiceStub(await house.channel(role, ident))


def open_state(mrn_: str, version: int = 1, **more: object) -> State:
    return State(mrn_, version, debt=common_pb2.DEBT_STATUS_OPEN, debt_account="", **more)  # type: ignore[arg-type]


def payment(ident: str, reference: str, amount: int, reverses_id: str = "") -> pb.Payment:
    return pb.Payment(
        id=ident, reference=reference, jurisdiction="EU", currency="EUR", amount_minor=amount, reverses_id=reverses_id
    )
