"""What proves the ledger, over real gRPC and PostgreSQL: reconciliation, chains and seals."""

from __future__ import annotations

from datetime import date

import pytest

from libs.chain.hashing import START
from libs.client.errors import LuxorError
from libs.client.revenue.ledger import parse_seal
from libs.columns import Table
from libs.customs.time import day_text
from libs.store.tables.schema import ensure_day_partitions, today
from luxor.common.v1 import common_pb2
from luxor.revenue.v1 import ledger_pb2 as pb
from luxor.revenue.v1.ledger_pb2_grpc import LedgerServiceStub
from luxor.revenue.v1.revenue_pb2_grpc import RevenueServiceStub
from services.revenue.store.proofs.seals import Seals
from tests.revenue.law.oracle import Consignment, Item
from tests.revenue.ledger.books import Books, unguarded
from tests.revenue.ledger.former_rows import as_rows
from tests.revenue.ledger.service_client import FIRST, SECONDS, open_state, stub
from tests.revenue.ledger.states import Charge, State, mrn
from tests.revenue.service_client import DAY, accepted, refused
from tests.support.services import Running


async def test_reconciliation_names_what_was_not_posted_what_differs_and_what_was_never_assessed(
    house: Running, kept: Books
) -> None:
    revenue = RevenueServiceStub(await house.channel("service", "clearance"))
    batch = [Consignment("DE", date(2026, 8, 3), [Item(2_000, code="610910")]) for _ in range(3)]
    request = accepted(batch)
    answer = Table.decode((await revenue.AssessConsignments(request, timeout=SECONDS)).assessments)
    mrns = Table.decode(request.consignments).strings("mrn").tolist()
    duty, tax = answer.ints("duty").values.tolist(), answer.ints("tax").values.tolist()
    stranger = mrn(99, 5, day=DAY)
    good = (Charge(duty[0]), Charge(tax[0], common_pb2.CHARGE_KIND_TAX, "EU.vat_low_value"))
    await kept.take(
        State(mrns[0], charges=good, day=DAY),
        State(mrns[1], charges=(Charge(duty[1] + 1), good[1]), day=DAY),
        State(stranger, day=DAY),
    )
    ledger = await stub(house, "analyst", "analyst-1")
    found = await _reconciled(ledger, DAY)
    assert {(each.mrn, each.reason) for each in found} == {
        (mrns[1], "AMOUNT_DIFFERS"), (stranger, "NOT_ASSESSED"),
    }, found  # fmt: skip
    wrong = next(each for each in found if each.reason == "AMOUNT_DIFFERS")
    assert wrong.posted_minor - wrong.assessed_minor == 1
    assert "duty" in wrong.sentence
    page = await ledger.ReconcileDay(pb.ReconcileDayRequest(day=day_text(DAY)), timeout=SECONDS)
    sums = {(each.destination, each.kind): each.amount_minor for each in page.totals}
    assert sums["DE", common_pb2.CHARGE_KIND_DUTY] == duty[0] + duty[1] + 1 + 300
    # What was assessed on a day that is over and never followed by an event; yesterday, since the service's housekeeping drops old days.
    async with kept.database.transaction() as tx:
        yesterday = await today(tx) - 1
        for table in ("assessed_input", "assessment_batch"):
            await ensure_day_partitions(tx, table, [yesterday])
            await tx.raw.execute(f"update {table} set day = $1", yesterday)
        await tx.raw.execute("update assessment_page set day = $1", yesterday)
    missing = await kept_page(kept, yesterday, mrns[2])
    assert missing == [("NOT_POSTED", mrns[2])]


async def kept_page(kept: Books, day: int, mrn_: str) -> list[tuple[str, str]]:
    from services.revenue.commands.reconcile import Reconciliation

    reconciling, found, after = Reconciliation(kept.database, kept.ledger.names), [], ""
    while True:
        page = await reconciling.page(day, after, 10)
        found += [(each.reason, each.mrn) for each in page.differences]
        after = page.after
        if not after:
            return [each for each in found if each[1] == mrn_]


async def _reconciled(ledger: LedgerServiceStub, day: int) -> list[pb.Discrepancy]:
    found: list[pb.Discrepancy] = []
    token = ""
    while True:
        page = await ledger.ReconcileDay(
            pb.ReconcileDayRequest(day=day_text(day), page_size=1, page_token=token), timeout=SECONDS
        )
        found += list(page.discrepancies)
        token = page.next_page_token
        if not token:
            return found


async def test_a_chain_is_checked_in_parts_and_what_was_altered_is_told(house: Running, kept: Books) -> None:
    await kept.take(open_state(FIRST))
    await kept.take(open_state(FIRST, 2, charges=(Charge(500),)))
    ledger = await stub(house, "analyst", "analyst-1")
    request = pb.CheckChainRequest(partition=3, max_entries=1)
    entries, faults = 0, []
    while True:
        page = await ledger.CheckChain(request, timeout=SECONDS)
        entries += page.entries
        faults += list(page.errors)
        if page.end:
            break
        request.after, request.hash = page.last, page.hash
    assert (entries, faults) == (3, [])
    await unguarded(kept.database)
    await as_rows(kept)
    async with kept.database.transaction() as tx:
        await tx.raw.execute("update ledger_posting set amount = amount * 2 where partition = 3 and number = 1")
    page = await ledger.CheckChain(pb.CheckChainRequest(partition=3), timeout=SECONDS)
    assert page.errors
    assert "entry 1" in page.errors[0]
    for wrong in (pb.CheckChainRequest(partition=64), pb.CheckChainRequest(partition=3, after=1, hash=b"x")):
        reason, _ = await refused(ledger.CheckChain(wrong, timeout=SECONDS))
        assert reason in {"PARTITION_OUT_OF_BOUNDS", "CHAIN_PLACE_MALFORMED"}
    assert len(START) == 32


async def test_a_seal_that_was_kept_is_compared_with_the_one_that_is_stored(house: Running, kept: Books) -> None:
    await kept.take(State(FIRST))
    async with kept.database.transaction() as tx:
        await Seals(kept.database).make(tx)
    ledger = await stub(house, "analyst", "analyst-1")
    seal = (await ledger.CheckChain(pb.CheckChainRequest(partition=3), timeout=SECONDS)).newest_seal
    assert seal.number >= 1
    assert len(seal.hash) == 32
    assert parse_seal(f"{seal.number}:{seal.hash.hex()}") == (seal.number, seal.hash)
    request = pb.CheckChainRequest(partition=3, external_seal=seal.number, external_seal_hash=seal.hash)
    assert not (await ledger.CheckChain(request, timeout=SECONDS)).errors
    request.external_seal_hash = bytes(32)
    assert "another hash than the one stored outside" in (await ledger.CheckChain(request, timeout=SECONDS)).errors[0]
    request.external_seal_hash = b"x"
    reason, _ = await refused(ledger.CheckChain(request, timeout=SECONDS))
    assert reason == "SEAL_MALFORMED"
    for text in ("", "1", "0:" + "00" * 32, "1:" + "00" * 31, "1:" + "xx" * 32, "-1:" + "00" * 32):
        with pytest.raises(LuxorError, match="is not a seal"):
            parse_seal(text)
