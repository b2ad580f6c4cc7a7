"""Three times the peak while a third of the goods need a licence or an examination, licences run out, and an officer holds and releases beside it.

As without controls the excess is refused before it is received, what is accepted is decided in time, and then all is as before. No licence is
written off beyond its quantity.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import yaml

from libs.cli.local.supervisor import LocalSystem
from libs.client.clearance.goods import licences
from libs.simulator import Simulator
from luxor.clearance.v1 import clearance_pb2
from luxor.consignment.v1.consignment_pb2 import Consignment
from tests.fault import checks
from tests.support.bursts import GREEDY, ROUNDS, SMALL, violations_of_a_burst
from tests.support.databases import enterable_directory
from tests.support.flow import Flow, local_system
from tests.support.open_loop import Load

pytestmark = [pytest.mark.alone, pytest.mark.fault, pytest.mark.timeout(240)]

LICENSED: Final = ("61", "62", "95")
DAYS: Final = {"from": "2026-01-01", "law": "an example for tests"}
GOODS: Final = {
    "format": 1, "name": "tests", "version": "1", "source": "an example for tests",
    "jurisdictions": [{"jurisdiction": "EU", "areas": ["DE", "PL", "ES", "NL", "BE", "FR", "IT"], "controls": [
        {"goods": list(LICENSED), "authority": "toys", "reason": "TOY_LICENCE", "licence": {"type": "C400"}, **DAYS},
        {"goods": ["85"], "authority": "radio", "reason": "RADIO_EXAMINED", "control": {"form": "examination"}, "days": 3, **DAYS},
    ]}],
}  # fmt: skip
KILOGRAMS: Final = 200
"""Of each licence: it runs out in the burst."""
WORKED_ON: Final = 20
"""Goods that the officer holds and releases."""


@asynccontextmanager
async def controlled() -> AsyncIterator[LocalSystem]:
    """Run a system in which goods are controlled."""
    directory = enterable_directory()
    try:
        path = directory / "goods.yaml"
        path.write_text(yaml.safe_dump(GOODS))
        async with local_system(env={"LUXOR_CLEARANCE_GOODS_CONTROLS": str(path)}) as system:
            yield system
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def cite(row: Consignment) -> None:
    """Cite the licence of the declarant for goods that need one."""
    for item in row.items:
        if item.commodity_code.startswith(LICENSED):
            item.supporting_documents.add(type="C400", reference=f"L{row.declarant.identifier}")


async def hold_and_release(flow: Flow, mrns: list[str], done: asyncio.Event) -> int:
    """Hold and release goods until the burst is over; return how often. Each act has its effect."""
    refs = [clearance_pb2.ConsignmentRef(mrn=mrn) for mrn in mrns]
    rounds = 0
    while not done.is_set():
        for method, state in (
            (flow.officer.hold, clearance_pb2.STATE_HELD),
            (flow.officer.release, clearance_pb2.STATE_AWAITING_ARRIVAL),
        ):
            request_id = f"{method.__name__}-{rounds}"
            answer: Any = await flow.persist(lambda m=method, r=request_id: m(refs, reason="LOOKED_AT", request_id=r))
            assert [(each.state, each.error.reason) for each in answer.results] == [(state, "")] * len(refs)
        rounds += 1
    return rounds


async def test_a_burst_of_controlled_goods_loses_nothing_and_writes_no_licence_off_twice() -> None:
    async with controlled() as system, Flow(system) as flow, Load(system, (GREEDY, *SMALL)) as load:
        made = [
            licences.licence_of(
                "C400", f"L{holder}", holder=holder, jurisdiction="EU", from_day="2026-01-01", to_day="2099-12-31", goods=LICENSED,
                quantity_millionths=KILOGRAMS * 10**6, unit="KGM",
            )
            for holder in Simulator(1, "everyday").declarants()
        ]  # fmt: skip
        async with system.client("agency", "toys") as agency:
            assert not [each for each in await licences.carry_out(agency, "licences", made) if "error" in each]
        rows = [row for batch in Simulator(1, "load").batches(200, size=200) for row in batch]
        await flow.submit(rows, "worked-on")
        mrns = list(flow.filed.accepted.values())
        await flow.decided(mrns)
        waiting = [each.mrn for each in await flow.statuses(mrns) if each.state == clearance_pb2.STATE_AWAITING_ARRIVAL]
        done = asyncio.Event()
        working = asyncio.create_task(hold_and_release(flow, waiting[:WORKED_ON], done))
        wrong: list[object] = []
        for number in range(ROUNDS):
            wrong = await violations_of_a_burst(flow.officer, load, 20_261_428 + 100 * number, cite)
            if not wrong:
                break
        done.set()
        assert await working > 3
        assert not wrong
        await assert_nothing_lost(flow, load)


async def assert_nothing_lost(flow: Flow, load: Load) -> None:
    """Each filing that was accepted is decided once, each that lacks a licence waits for it, and no licence is written off beyond its quantity."""
    accepted = len(flow.filed.accepted) + sum(call.rows for call in load.calls if call.accepted)
    (stored,) = await checks.fetch(
        flow.system, "clearance", "select count(*) as rows, count(distinct mrn) as mrns from consignment"
    )
    assert (stored["rows"], stored["mrns"]) == (accepted, accepted)
    register = await checks.fetch(flow.system, "clearance", _REGISTER)
    assert [
        dict(each)
        for each in register
        if each["written_off"] != each["summed"] or each["written_off"] > each["quantity"]
    ] == []
    assert [dict(each) for each in register if each["quantity"] - each["written_off"] < 10**6], "licences ran out"
    controlled = {row["form"]: row["count"] for row in await checks.fetch(flow.system, "clearance", _CONTROLLED)}
    assert sum(controlled.values()) > accepted / 20, controlled
    assert len(controlled) == 2
    await checks.assert_nothing_set_aside(flow.system)


_REGISTER: Final = """
    select number, quantity, written_off, (
        select coalesce(sum(u.quantity), 0)::bigint from licence_use u
        where (u.authority, u.type, u.number) = (l.authority, l.type, l.number) and restored_at is null
    ) as summed from licence l
"""
_CONTROLLED: Final = "select form, count(*) from control group by form"
