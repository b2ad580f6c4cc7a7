"""Goods of each category are released when they arrive, if risk is green and the debt is paid, secured or collected by the vendor; not otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from libs.columns import Bools, Ints, Ragged, Strings, Table
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1 import consignment_pb2
from services.clearance.consignment.transitions import Debt
from tests.clearance import debt_events
from tests.clearance.debt_events import debt
from tests.clearance.desk import ACCEPTED_AT, MASTER, Desk, filings, mrns, revenue_answer
from tests.clearance.inspections import status
from tests.clearance.service_client import SECONDS, House, arrivals, ask

DOCUMENTS, LOW, SIMPLIFIED, FULL = (
    pb.RELEASE_CATEGORY_DOCUMENTS,
    pb.RELEASE_CATEGORY_LOW_VALUE,
    pb.RELEASE_CATEGORY_SIMPLIFIED,
    pb.RELEASE_CATEGORY_FULL,
)
UNKNOWN = pb.RELEASE_CATEGORY_UNSPECIFIED
VALUES: dict[int, tuple[int, int]] = {LOW: (4_500, 0), SIMPLIFIED: (15_000, 380), FULL: (15_001, 380)}
"""Value and tax by category, at the thresholds of the European Union for gifts and for goods under the import scheme."""


def answering_with(value: int, tax: int) -> Any:
    """Answer as revenue does, with this value and tax."""

    def answer(table: Table) -> Table:
        told = revenue_answer(table)
        paid_by = {
            name: Ints.of(np.where(told.ints(name).values > 0, tax, 0))
            for name in ("collected_by_customs", "collected_by_vendor")
        }
        whole: dict[str, Any] = {
            name: Ints.constant(value, table.rows) for name in ("intrinsic_value", "customs_value")
        }
        if not tax:
            whole["deferred_account"] = Strings.constant("", table.rows)
        return told.with_columns(whole | paid_by | {"tax": Ints.constant(tax, table.rows)})

    return answer


def goods(category: int) -> Any:
    def change(_: int, row: consignment_pb2.Consignment) -> None:
        row.ClearField("fiscal_references")
        row.nature = consignment_pb2.NATURE_GIFT if category == LOW else consignment_pb2.NATURE_SALE
        if category != LOW:
            row.fiscal_references.add(scheme=consignment_pb2.SCHEME_IOSS, number="IM2760000017")

    return change


async def file(house: House, category: int, references: Sequence[str]) -> list[str]:
    house.desk.neighbours.revenue = answering_with(*VALUES[category])
    filed = filings(references, change=goods(category))
    await house.desk.consume(filed)
    return mrns(filed)


async def arrive(house: House, request_id: str = "a1") -> None:
    await (await house.stub("carrier", "wings")).RecordArrivals(
        arrivals(MASTER, request_id=request_id), timeout=SECONDS
    )


@pytest.mark.parametrize("category", [LOW, SIMPLIFIED, FULL])
async def test_goods_are_released_on_arrival_if_risk_is_green_and_the_debt_settled(house: House, category: int) -> None:
    # An account secures it; the vendor collected it; nothing stands for it; it is paid before the arrival.
    green = await file(house, category, ["GREEN-1", "VENDOR-1", "BARE-1", "BARE-2"])
    red = await file(house, category, ["RED-1"])
    if category != LOW:
        await debt_events.hear(house.desk, debt([green[3]], 1, Debt.PAID))
    before = [await status(house, mrn) for mrn in (*green, *red)]
    assert {each.release.category for each in before} == {category}
    await arrive(house)
    after = [pb.State.Name((await status(house, mrn)).state).removeprefix("STATE_") for mrn in (*green, *red)]
    bare = "RELEASED" if category == LOW else "HELD"
    assert after == ["RELEASED", "RELEASED", bare, "RELEASED", "HELD"]
    if category != LOW:
        debts = [each.debt.status for each in before]
        assert [Debt(each).name for each in debts] == ["DEFERRED", "VENDOR_COLLECTED", "OPEN", "PAID", "DEFERRED"]


def document(_: int, row: consignment_pb2.Consignment) -> None:
    row.nature = consignment_pb2.NATURE_DOCUMENT
    for name in ("order", "payment", "insurance", "invoice_total", "fiscal_references"):
        row.ClearField(name)
    del row.items[:]
    row.items.add(description="Letters")


def without_figures(table: Table) -> Table:
    """Answer as revenue does to goods without a price."""
    told = revenue_answer(table)
    absent = Ints.absent(table.rows)
    names = [
        "intrinsic_value", "customs_value", "duty", "tax", "fee", "collected_by_customs", "collected_by_vendor", "collected_by_carrier",
        "collected_by_postal_operator",
    ]  # fmt: skip
    empty = told.child("charges").take(np.zeros(0, np.int64))
    none = np.zeros(table.rows, np.int64)
    return told.with_columns(
        dict.fromkeys(names, absent)
        | {
            "reason": Strings.constant("UNVALUED", table.rows),
            "currency": Strings.constant("", table.rows),
            "deferred_account": Strings.constant("", table.rows),
            "item_customs_values": Ragged.of_lengths(none, Ints.of([])),
            "charges": Ragged.of_lengths(none, empty),
        }
    )


async def texts(house: House) -> list[str]:
    """Return what the filer reads in notices."""
    await house.desk.told()
    found = await (await house.stub()).PullNotices(pb.PullNoticesRequest(language="en"), timeout=SECONDS)
    return [each.text for each in found.notices]


async def test_correspondence_without_code_and_price_is_released_on_arrival(house: House) -> None:
    house.desk.neighbours.revenue = without_figures
    filed = filings(["GREEN-1", "RED-1"], change=document)
    await house.desk.consume(filed)
    green, red = mrns(filed)
    seen = await status(house, green)
    assert (seen.release.category, Debt(seen.debt.status), seen.state) == (
        DOCUMENTS,
        Debt.NONE,
        pb.STATE_AWAITING_ARRIVAL,
    )
    assert list(seen.decision.reasons) == []
    # A reassessment that has no figures either changes nothing of it.
    await debt_events.hear(house.desk, debt_events.anew([green, red], 1, 1, 0, reason="NO_EXCHANGE_RATE"))
    seen = await status(house, green)
    assert (Debt(seen.debt.status), seen.state) == (Debt.NONE, pb.STATE_AWAITING_ARRIVAL)
    assert list(seen.decision.reasons) == []
    await arrive(house)
    assert (await status(house, green)).state == pb.STATE_RELEASED
    assert (await status(house, red)).state == pb.STATE_HELD
    # Nothing is owed, and the filer reads so.
    read = await texts(house)
    assert sum("To be paid at the border: nothing." in each for each in read) == len(read) >= 3
    assert sum("Paid: nothing." in each for each in read) == sum("Paid:" in each for each in read) >= 1
    assert not any("not known" in each for each in read)


async def test_where_no_data_state_it_and_for_goods_a_missing_price_holds(house: House) -> None:
    house.desk.neighbours.revenue = without_figures

    def elsewhere(number: int, row: consignment_pb2.Consignment) -> None:
        document(number, row)
        if number == 0:
            row.destination_country = "JP"
        elif number == 1:
            row.nature = consignment_pb2.NATURE_SALE
        else:
            row.items[0].commodity_code = "85171300"

    filed = filings(["GREEN-1", "GREEN-2", "GREEN-3"], change=elsewhere)
    await house.desk.consume(filed)
    await arrive(house)
    for mrn, why in zip(mrns(filed), ("NO_LAW", "NOT_VALUED", "NOT_VALUED"), strict=True):
        seen = await status(house, mrn)
        assert (seen.state, Debt(seen.debt.status), list(seen.decision.reasons)) == (
            pb.STATE_HELD,
            Debt.UNKNOWN,
            ["UNVALUED"],
        )
        assert seen.release.category == UNKNOWN
        assert any(mrn in each and "To be paid at the border: not known." in each for each in await texts(house))
        assert pb.ReleaseCategoryUnknown.Name(seen.release.unknown_because) == f"RELEASE_CATEGORY_UNKNOWN_{why}"


async def test_a_fee_on_documents_is_owed(house: House) -> None:
    def fee(table: Table) -> Table:
        told: Table = answering_with(0, 0)(table)
        return told.with_columns(
            {"fee": Ints.constant(200, table.rows), "collected_by_customs": Ints.constant(200, table.rows)}
        )

    house.desk.neighbours.revenue = fee
    filed = filings(["BARE-1"], change=document)
    await house.desk.consume(filed)
    seen = await status(house, mrns(filed)[0])
    assert (seen.release.category, Debt(seen.debt.status), seen.state) == (DOCUMENTS, Debt.OPEN, pb.STATE_HELD)


async def test_filers_and_officers_read_the_category_and_carriers_do_not(house: House) -> None:
    (mrn,) = await file(house, SIMPLIFIED, ["GREEN-1"])
    await arrive(house)
    for role, ident in (("officer", "olga"), ("analyst", "ann"), ("filer", "shop")):
        release = (await status(house, mrn, role, ident)).release
        assert release.category == SIMPLIFIED
        assert release.law_version.startswith("EU/")
    (result,) = await ask(
        await house.stub("carrier", "wings"),
        pb.GetStatusRequest(queries=[pb.StatusQuery(master_document_number=MASTER)]),
    )
    assert not result.consignments[0].HasField("release")
    stub = await house.stub("officer", "olga")
    page = await stub.ListConsignments(pb.ListConsignmentsRequest(state=pb.STATE_RELEASED), timeout=SECONDS)
    assert [each.release.category for each in page.consignments] == [SIMPLIFIED]


async def test_an_amendment_has_the_category_of_its_own_content(desk: Desk) -> None:
    desk.neighbours.revenue = answering_with(*VALUES[FULL])
    first = filings(["GREEN-1"], change=goods(FULL))
    await desk.consume(first)
    desk.neighbours.revenue = answering_with(*VALUES[SIMPLIFIED])
    await desk.consume(filings(["GREEN-1"], change=goods(SIMPLIFIED), version=2))
    assert (await desk.states(mrns(first))).ints("release_category").tolist() == [SIMPLIFIED]


@pytest.mark.parametrize("paid", [False, True])
async def test_an_amendment_to_documents_does_not_shed_a_debt(house: House, paid: bool) -> None:
    await file(house, FULL, ["BARE-1"])
    house.desk.neighbours.revenue = without_figures
    filed = filings(["BARE-1", "GREEN-2"], change=document)
    (goods, letter), first = mrns(filed), filings(["GREEN-2"], change=document)
    await house.desk.consume(first)
    if paid:
        await debt_events.hear(house.desk, debt([goods], 1, Debt.PAID))

    async def found() -> list[tuple[int, Debt, int, list[str]]]:
        seen = [await status(house, mrn) for mrn in (goods, letter)]
        return [(s.release.category, Debt(s.debt.status), s.state, list(s.decision.reasons)) for s in seen]

    held = (UNKNOWN, Debt.UNKNOWN, pb.STATE_HELD, ["UNVALUED"])
    free: tuple[int, Debt, int, list[str]] = (DOCUMENTS, Debt.NONE, pb.STATE_AWAITING_ARRIVAL, [])
    await house.desk.consume(filings(["BARE-1", "GREEN-2"], change=document, version=2))
    assert await found() == [held, free]
    # Neither another amendment nor a reassessment without figures nor the arrival releases it.
    await house.desk.consume(filings(["BARE-1", "GREEN-2"], change=document, version=3))
    await debt_events.hear(house.desk, debt_events.anew([goods, letter], 3, 1, 0, reason="NO_EXCHANGE_RATE"))
    assert [each[:3] for each in await found()] == [held[:3], free[:3]]
    await arrive(house)
    assert [each[2] for each in await found()] == [pb.STATE_HELD, pb.STATE_RELEASED]


async def test_states_of_a_former_release_have_no_category_and_stay_readable(house: House) -> None:
    (mrn,) = await file(house, SIMPLIFIED, ["GREEN-1"])
    store = house.desk.store
    house.desk.consistent = False  # no event leads to this version
    async with store.database.transaction() as tx:
        rows = list((await store.lock(tx, [mrn])).values())
        now = await store.states(tx, rows)
        old = Table(
            now.schema,
            1,
            {name: now.column(name) for name in now.names if not name.startswith("release_")}
            | {
                "version": Ints.constant(2, 1),
                "audit": Bools.of([False]),
                "changed_at": Ints.constant(ACCEPTED_AT, 1),
            },
        )
        await store.succeed(tx, old, rows, trace="")
    release = (await status(house, mrn)).release
    assert (release.category, release.unknown_because, release.law_version) == (UNKNOWN, 0, "")
