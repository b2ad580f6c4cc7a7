"""Goods that an officer finds prohibited, through all five services: seized, then confiscated, destroyed, abandoned or re-exported.

Nothing is owed at the end, of confiscated goods no duty; what was paid of it comes back to the cent. Filer and carrier read it, and statistics counts
each consignment once.
"""

from __future__ import annotations

import pytest

from libs.client.clearance.officers import disposal_of, dispose, inspection_of
from libs.client.client import Client
from libs.client.revenue.ledger import entries, record_payments
from libs.simulator import Simulator
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.common.v1 import common_pb2
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.revenue.v1 import ledger_pb2
from tests.fault.checks import assert_ledger_whole, assert_nothing_set_aside, until
from tests.support.flow import Flow, local_system

pytestmark = pytest.mark.long

ENDS = ("confiscated", "destroyed", "abandoned", "re_exported")
PAYER = Simulator(1, "everyday").declarants()[0]


def owing() -> list[Consignment]:
    """Consignments above the limit of low values, so that all is owed at the border, and their declarant pays each by itself."""
    rows = [
        row for rows in Simulator(11, "everyday").batches(1_000) for row in rows if row.declarant.identifier == PAYER
    ]
    for row in rows:
        row.items[0].price.minor, row.items[0].price.currency = 20_000, "EUR"
        # Dresses, which bear duty.
        row.items[0].commodity_code = "620442"
    # Not one more: a refund is its payer's credit, which would pay for it.
    return rows[: len(ENDS) + 1]


def books(at_sale: int, paid: int, back: int) -> dict[str, int]:
    """What is left on accounts of a consignment: what was collected at its sale stays, and what comes back is the payer's credit."""
    found = {"vendor": at_sale, "treasury": back - paid - at_sale, "bank": paid, "declarant": -back}
    return {account: minor for account, minor in found.items() if minor}


async def entry_kinds(officer: Client, mrn: str) -> tuple[list[str], dict[str, int]]:
    """Give the kinds of all entries of a consignment, and the sums of their postings by kind of account; what is zero is left out."""
    kinds: list[str] = []
    sums: dict[str, int] = {}
    async for entry in entries(officer, mrn=mrn):
        kinds.append(entry["kind"].removeprefix("ENTRY_KIND_"))
        for each in entry["postings"]:
            account = each["account"].partition(":")[0]
            sums[account] = sums.get(account, 0) + each["amount_minor"]
    return kinds, {account: minor for account, minor in sums.items() if minor}


async def heard(client: Client) -> dict[str, list[str]]:
    """Give the kinds of a caller's notices of seizures and their ends by MRN, in their order."""
    found: dict[str, list[str]] = {}
    cursor = ""
    while (page := await client.pull_notices(cursor)).notices:
        cursor = page.next_cursor
        for each in page.notices:
            if each.kind in (pb.NOTICE_KIND_SEIZED, pb.NOTICE_KIND_DISPOSED):
                found.setdefault(each.mrn, []).append(pb.NoticeKind.Name(each.kind).removeprefix("NOTICE_KIND_"))
    return found


async def held_and_arrived(flow: Flow) -> tuple[list[pb.ConsignmentStatus], pb.ConsignmentStatus]:
    """File goods, pay for one each of ENDS, hold these and one that is not paid, and bring all of them to the border."""
    rows = owing()
    await flow.submit(rows, "owing")
    mrns = list(flow.filed.accepted.values())
    await flow.decided(mrns)
    *payable, unpaid = await flow.statuses(mrns)
    assert {each.debt.status for each in (*payable, unpaid)} == {common_pb2.DEBT_STATUS_OPEN}
    await flow.officer.hold([pb.ConsignmentRef(mrn=mrn) for mrn in mrns], reason="INTELLIGENCE_RECEIVED")
    payments = [
        ledger_pb2.Payment(
            id=f"bank-{each.mrn}", reference=each.mrn, jurisdiction=each.debt.rulebook_version.partition("/")[0],
            currency=each.debt.currency, amount_minor=each.debt.payable_minor,
        )
        for each in payable
    ]  # fmt: skip
    await record_payments(flow.officer, payments)
    await flow.arrive(rows, name="owing")

    async def ready() -> list[pb.ConsignmentStatus] | None:
        found = await flow.statuses([each.mrn for each in (*payable, unpaid)])
        paid = [each.debt.status == common_pb2.DEBT_STATUS_PAID for each in found[:-1]]
        return found if all(paid) and all(each.movement.HasField("arrived_at") for each in found) else None

    found = await until(ready, "the goods are paid for and have arrived")
    return found[:-1], found[-1]


async def test_prohibited_goods_owe_at_most_tax_after_their_end_and_all_books_agree() -> None:
    async with local_system() as system, Flow(system, filer="exits", without_account=[PAYER]) as flow:
        paid, unpaid = await held_and_arrived(flow)
        mrns = [*(each.mrn for each in paid), unpaid.mrn]
        await flow.officer.record_inspections(
            [inspection_of(mrn, method="physical", result="violation", violation="prohibited") for mrn in mrns]
        )
        second = system.client("officer", "second-officer")

        async def decide(client: Client, *kinds: tuple[str, str]) -> set[str]:
            told = [
                disposal_of(mrn, kind=kind, reason="PROHIBITED_GOODS", document="AWB-9" if kind == ENDS[3] else "")
                for mrn, kind in kinds
            ]
            return {each.get("error", {}).get("reason", "") for each in await dispose(client, told)}

        assert await decide(flow.officer, *((mrn, "seized") for mrn in mrns)) == {""}
        finals = list(zip(mrns, ENDS, strict=False))
        assert await decide(flow.officer, *finals) == {"VIOLATION_OPEN"}, (
            "who found the violation does not decide alone"
        )
        # First what is not paid: the credit of the others would pay it.
        assert await decide(second, (unpaid.mrn, "destroyed")) == {""}

        async def remitted() -> bool:
            kinds, sums = await entry_kinds(flow.officer, unpaid.mrn)
            rest = books(unpaid.debt.vendor_collected_minor, 0, 0)
            return kinds.count("REMITTED") == 1 and "REFUNDED" not in kinds and sums == rest

        await until(remitted, "what was not paid is remitted")
        assert await decide(second, *finals) == {""}
        await second.close()
        # A confiscation ends the duty alone.
        back = [
            each.debt.duty_minor if end == ENDS[0] else each.debt.payable_minor
            for each, end in zip(paid, ENDS, strict=True)
        ]
        assert 0 < back[0] < paid[0].debt.payable_minor

        async def refunded() -> list[pb.ConsignmentStatus] | None:
            found = await flow.statuses(mrns[:-1])
            return found if [each.debt.refunded_minor for each in found] == back else None

        ended = await until(refunded, "what was paid is refunded")
        assert [pb.State.Name(each.state) for each in ended] == [f"STATE_{name.upper()}" for name in ENDS]
        for before, after, refund in zip(paid, ended, back, strict=True):
            minor = before.debt.payable_minor
            left = common_pb2.DEBT_STATUS_NONE if refund == minor else common_pb2.DEBT_STATUS_PAID
            assert (after.debt.status, after.debt.paid_minor) == (left, minor)
            kinds, sums = await entry_kinds(flow.officer, after.mrn)
            assert kinds.count("REFUNDED") == 1
            assert sums == books(before.debt.vendor_collected_minor, minor, refund)
        for client in (flow.filer, flow.carrier):
            found = await heard(client)
            assert {mrn: found.get(mrn) for mrn in mrns} == {mrn: ["SEIZED", "DISPOSED"] for mrn in mrns}
        expected = {"CONFISCATED": 1, "DESTROYED": 2, "ABANDONED": 1, "RE_EXPORTED": 1}

        async def counted() -> bool:
            states = {keys[0]: number for keys, number in (await flow.counted("state")).items()}
            ends = {state: number for state, number in states.items() if state in (*expected, "SEIZED")}
            return sum(states.values()) == len(flow.filed.accepted) and ends == expected

        await until(counted, "statistics counts each consignment once")
        await assert_ledger_whole(flow, len(flow.filed.accepted))
        await assert_nothing_set_aside(system)
