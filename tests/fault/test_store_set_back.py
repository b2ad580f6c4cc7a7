"""Stores that go back while the others have moved on: an older copy is put back, or a standby is promoted without the end of the log.

Everything whose acceptance some store still knows is decided in the end, once, and clearance, statistics and the ledger agree.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from libs.simulator import Simulator
from luxor.consignment.v1.consignment_pb2 import Consignment
from tests.fault import checks
from tests.support.databases import enterable_directory
from tests.support.flow import Flow, local_system
from tests.support.set_back import copied, own_server, promote, put_back, standby_of

pytestmark = [pytest.mark.fault, pytest.mark.timeout(400)]

BATCH = 150


class Lost:
    """What was filed before, in and after the time that is lost."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.rows: list[Consignment] = []
        self._traffic = Simulator(20_260_703, "load").batches(20 * BATCH, size=BATCH)

    async def file(self, batches: int, name: str) -> None:
        taken: list[Sequence[Consignment]] = [next(self._traffic) for _ in range(batches)]
        self.rows = [row for rows in taken for row in rows]
        await self.flow.run(taken, name=name)

    async def arrive_again(self, name: str) -> None:
        """Announce the last arrivals once more: the store that knew them lost them."""
        self.flow._arrived.clear()
        await self.flow.arrive(self.rows, name=name)


async def assert_right(flow: Flow) -> None:
    """Everything that was accepted is decided once, and statistics and the ledger have it once."""
    assert flow.filed.refused == []
    mrns = list(flow.filed.accepted.values())
    assert len(set(mrns)) == len(mrns)
    await flow.settled(len(mrns))
    statuses = await checks.histories(flow, mrns)
    checks.assert_decided_once(statuses)
    await checks.until(lambda: agrees(flow, statuses), "statistics agree", seconds=60)
    await checks.assert_statistics_agree(flow, statuses)
    await checks.assert_nothing_set_aside(flow.system)
    await checks.assert_ledger_whole(flow, len(mrns))


async def agrees(flow: Flow, statuses: Sequence[object]) -> bool:
    try:
        await checks.assert_statistics_agree(flow, statuses)  # type: ignore[arg-type]
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("services", [("ingestion",), ("clearance",), ("ingestion", "clearance")], ids="+".join)
async def test_older_copies_are_put_back_while_the_others_have_moved_on(services: tuple[str, ...]) -> None:
    with ExitStack() as stack:
        servers = {service: stack.enter_context(own_server(service)) for service in services}
        env = {
            f"LUXOR_{name.upper()}_DATABASE_URL": each.account_url(f"luxor_{name}") for name, each in servers.items()
        }
        env["LUXOR_CLEARANCE_SWEEP_SECONDS"] = "2"
        async with local_system(env=env) as system, Flow(system) as flow:
            filed = Lost(flow)
            await filed.file(2, "before")
            await flow.settled(2 * BATCH)
            copies: dict[str, Path] = {service: copied(server) for service, server in servers.items()}
            known = dict(flow.filed.accepted)
            await filed.file(2, "lost")
            await flow.settled(4 * BATCH)
            for service, server in servers.items():
                put_back(server, copies[service])
            if services == ("ingestion", "clearance"):
                # No store knows what was accepted in the lost time but those that count it: filers file it again.
                flow.filed.accepted = known
                lost = filed.rows
                await filed.file(3, "after")
                await flow.run([lost[:BATCH], lost[BATCH:]], name="again")
                filed.rows += lost
                await filed.arrive_again("arrivals")
                await settled_in_clearance(flow)
                return
            if "clearance" in services:
                await filed.arrive_again("lost-arrivals")
            await filed.file(3, "after")
            await assert_right(flow)
            for service in services:
                assert '"STORE_REPLACED"' in system.log(service, 10_000_000), "what it remembered was of the lost store"


async def settled_in_clearance(flow: Flow) -> None:
    """Wait until clearance has decided all that was accepted, once."""
    mrns = list(flow.filed.accepted.values())
    assert len(mrns) == 7 * BATCH

    async def decided() -> bool:
        try:
            checks.assert_decided_once(await checks.histories(flow, mrns))
        except AssertionError:
            return False
        return True

    await checks.until(decided, "all that was accepted is decided", seconds=90)


async def test_a_standby_is_promoted_without_the_end_of_the_log() -> None:
    directory = enterable_directory()
    with own_server("ingestion") as server:
        env = {"LUXOR_INGESTION_DATABASE_URL": server.account_url("luxor_ingestion")}
        standby = None
        try:
            async with local_system(env=env) as system, Flow(system) as flow:
                filed = Lost(flow)
                await filed.file(2, "before")
                await flow.settled(2 * BATCH)
                standby = standby_of(server, directory)
                standby.stop()
                await filed.file(2, "lost")
                await flow.settled(4 * BATCH)
                server.kill()
                standby.start()
                promote(standby)
                # The name leads to the promoted server now: here, its data come to the old one's place.
                standby.stop()
                put_back(server, standby.cluster)
                await filed.file(3, "after")
                await assert_right(flow)
        finally:
            if standby is not None:
                standby.destroy()
            shutil.rmtree(directory, ignore_errors=True)
