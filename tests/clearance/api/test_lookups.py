"""What one caller looks up takes no connection from others for long, however many consignments of others stand under a number."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from libs.store.database import Transaction
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.clearance_pb2_grpc import ClearanceServiceStub
from services.clearance.api import queries as inquiry
from services.clearance.store import Store
from tests.clearance.service_client import SECONDS, House, ask

OTHERS = 12_000
TODAY = "extract(epoch from clock_timestamp())::integer / 86400"
"""SQL: a day that the service does not forget when it starts."""
DOCUMENTS = ("house_document_number", "master_document_number")


async def others(house: House, count: int = OTHERS) -> None:
    """File consignments of others under the number NA, as rows that an earlier release wrote: it did not note filers."""
    house.desk.consistent = False
    async with house.service.service.database.transaction() as tx:
        await tx.raw.execute(
            "insert into house_document (document_number, mrn, day) "
            f"select 'NA', 'X' || lpad(g::text, 6, '0'), {TODAY} from generate_series(1, $1::integer) g",
            count,
        )
        await tx.raw.execute(
            "insert into master_document (document_number, batch_day, batch_id, mrns, day) "
            f"select 'NA', 1, 1 + g / 100, array_agg('X' || lpad(g::text, 6, '0') order by g), {TODAY} "
            "from generate_series(1, $1::integer) g group by g / 100",
            count,
        )


async def own(house: House) -> str:
    """File one of the caller's own, behind all of those."""
    (mrn,) = await house.filed(["GREEN-1"], filer="rival", master="NA")
    async with house.service.service.database.transaction() as tx:
        await tx.raw.execute("update house_document set document_number = 'NA', mrn = $1 where mrn = $1", mrn)
    return mrn


async def pages(stub: ClearanceServiceStub, query: pb.StatusQuery) -> list[list[str]]:
    found = []
    while True:
        (result,) = await ask(stub, pb.GetStatusRequest(queries=[query]))
        found.append([each.mrn for each in result.consignments])
        query.page_token = result.next_page_token
        if not query.page_token:
            return found


class Looks:
    """The consignments that each look at a document read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[int] = []
        find = Store.find

        async def counting(store: Store, tx: Transaction, mrns: Sequence[str]) -> Any:
            self.rows.append(len(mrns))
            return await find(store, tx, mrns)

        monkeypatch.setattr(Store, "find", counting)


@pytest.mark.parametrize("kind", DOCUMENTS)
@pytest.mark.parametrize("size", [1, 1_000])
async def test_ones_own_is_found_behind_any_number_of_others_in_few_pages(house: House, kind: str, size: int) -> None:
    await others(house)
    mrn = await own(house)
    stub = await house.stub("filer", "rival")
    found = await pages(stub, pb.StatusQuery(page_size=size, **{kind: "NA"}))  # type: ignore[arg-type]
    assert [each for page in found for each in page] == [mrn]
    assert len(found) <= 2 + OTHERS // inquiry.LOOKED_AT_MAX


@pytest.mark.parametrize("kind", DOCUMENTS)
@pytest.mark.parametrize(("others_before", "token"), [(999, False), (1_001, True)])
async def test_a_page_ends_at_the_bound_with_a_token_and_before_it_without(
    house: House, monkeypatch: pytest.MonkeyPatch, kind: str, others_before: int, token: bool
) -> None:
    monkeypatch.setattr(inquiry, "LOOKED_AT_MAX", 1_000)
    await others(house, others_before)
    stub = await house.stub("filer", "rival")
    query = pb.StatusQuery(page_size=1, **{kind: "NA"})  # type: ignore[arg-type]
    (result,) = await ask(stub, pb.GetStatusRequest(queries=[query]))
    assert (bool(result.next_page_token), result.error.reason) == (token, "" if token else "CONSIGNMENT_UNKNOWN")
    query.page_token = result.next_page_token
    if token:
        (result,) = await ask(stub, pb.GetStatusRequest(queries=[query]))
        assert (result.next_page_token, result.error.reason) == ("", "CONSIGNMENT_UNKNOWN")


@pytest.mark.parametrize("kind", DOCUMENTS)
@pytest.mark.parametrize("equal", [True, False])
async def test_a_call_looks_at_a_bounded_number_of_consignments_in_few_rounds(
    house: House, monkeypatch: pytest.MonkeyPatch, kind: str, equal: bool
) -> None:
    await others(house)
    stub = await house.stub("filer", "rival")
    looks = Looks(monkeypatch)
    queries = [pb.StatusQuery(page_size=1 if equal else 1 + place, **{kind: "NA"}) for place in range(1_000)]  # type: ignore[arg-type]
    results = await ask(stub, pb.GetStatusRequest(queries=queries))
    assert all(result.next_page_token for result in results)
    # What a first look of each question needs comes on top, and no more than a round.
    assert inquiry.LOOKED_AT_MAX <= sum(looks.rows) <= inquiry.LOOKED_AT_MAX + 6_000
    assert len(looks.rows) <= inquiry.LOOKED_AT_MAX // 250 + 15


async def test_equal_questions_have_equal_answers_and_each_its_own_token(house: House) -> None:
    both = [*await house.filed(["GREEN-1"], filer="shop"), *await house.filed(["GREEN-1"], filer="rival")]
    stub = await house.stub("officer", "olga")
    query = pb.StatusQuery(house_document_number="H-GREEN-1", page_size=1)
    results = await ask(stub, pb.GetStatusRequest(queries=[query] * 3))
    assert [[each.mrn for each in result.consignments] for result in results] == [[min(both)]] * 3
    for result in results:
        query.page_token = result.next_page_token
        (second,) = await ask(stub, pb.GetStatusRequest(queries=[query]))
        assert ([each.mrn for each in second.consignments], second.next_page_token) == ([max(both)], "")


async def test_many_calls_over_a_number_of_thousands_of_others_leave_connections_for_decisions(house: House) -> None:
    await others(house)
    database = house.service.service.database
    queries = [pb.StatusQuery(house_document_number="NA", page_size=1) for _ in range(1_000)]
    calls = []
    # As many as there are connections and more, of callers that stay within their share of calls.
    for place in range(14):
        stub = await house.stub("filer", f"rival-{place % 2}")
        calls.append(asyncio.ensure_future(stub.GetStatus(pb.GetStatusRequest(queries=queries), timeout=SECONDS)))
    waits: list[float] = []
    while not all(call.done() for call in calls):
        begun = time.monotonic()
        async with database.transaction() as tx:
            await tx.raw.fetchval("select 1")
        waits.append(time.monotonic() - begun)
        await asyncio.sleep(0.02)
    await asyncio.gather(*calls)
    assert max(waits) < 2.0, waits
