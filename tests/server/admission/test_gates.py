"""Two gates for each kind of call: what comes from outside, however much, takes no place from the services."""

import asyncio
from typing import Any

import pytest

from libs.server.admission.gate import Gate
from libs.server.admission.gates import Gates, ServerGates
from libs.server.admission.overload import Overload
from libs.server.config.server_config import ServerConfig
from libs.server.identity import Identity, Role
from tests.support.virtual_loop import VirtualLoop, run

CLEARANCE = Identity(Role.SERVICE, "clearance")


def filer(number: int) -> Identity:
    return Identity(Role.FILER, f"filer-{number}")


@pytest.fixture
def gates() -> ServerGates:
    return ServerGates(ServerConfig.from_environ("revenue", {}))


def fill(gates: Gates, callers: int, size: int) -> None:
    """Take places with callers from outside until there is none."""
    for number in range(callers):
        place = gates.outside.enter(filer(number))
        while place is not None:
            gates.outside.received(place, size)
            place = gates.outside.enter(filer(number))


def entered(gate: Gate, who: Identity, size: int, count: int) -> int:
    """Return how many calls of a caller find a place at once."""
    found = 0
    for _ in range(count):
        place = gate.enter(who)
        if place is None:
            break
        gate.received(place, size)
        found += 1
    return found


def test_calls_of_a_service_find_places_where_those_from_outside_have_none(gates: ServerGates) -> None:
    fill(gates.calls, 100, 700_000)
    assert gates.calls.outside.enter(filer(1)) is None
    assert entered(gates.calls.gate_for(CLEARANCE), CLEARANCE, 700_000, 3) == 3


def test_a_gateway_and_everybody_else_without_the_role_of_a_service_is_outside(gates: ServerGates) -> None:
    for role in Role:
        expected = gates.calls.services if role is Role.SERVICE else gates.calls.outside
        assert gates.calls.gate_for(Identity(role, "x")) is expected


def test_feeds_are_pulled_by_many_replicas_beside_all_the_long_polls_from_outside(gates: ServerGates) -> None:
    fill(gates.long_polls, 400, 100)
    assert gates.long_polls.outside.in_flight == 256
    for name in ("statistics", "revenue", "risk"):
        who = Identity(Role.SERVICE, name)
        assert entered(gates.long_polls.gate_for(who), who, 1_500, 40) == 40, "forty replicas are one caller"


def test_requests_of_outside_that_are_slow_to_come_end_none_of_a_service(gates: ServerGates) -> None:
    ended: list[str] = []
    for number in range(8):
        gate, who = gates.calls.gate_for(CLEARANCE), CLEARANCE
        place = gate.enter(who)
        assert place is not None
        gate.slow(place, lambda: ended.append("service"))
        for gate in (gates.calls.outside, gates.long_polls.outside):
            place = gate.enter(filer(number))
            assert place is not None
            gate.slow(place, lambda: ended.append("outside"))
    assert ended == ["outside"] * 8, "eight at once of all gates from outside, eight of services"


def test_assessments_go_on_while_many_quote() -> None:
    """Each filer quotes (4 kB, 1 ms) with two calls at once; clearance assesses 1,000 rows (700 kB, 10 ms) with three.

    They share one processor, and the time is virtual: in three seconds it can do 300 assessments, or 3,000 quotes.
    """
    done = {"assess": 0, "assess refused": 0, "quote": 0, "quote refused": 0}

    async def whole(loop: VirtualLoop) -> None:
        gates = ServerGates(ServerConfig.from_environ("revenue", {}), loop.time)
        processor = asyncio.Lock()
        ends_at = loop.time() + 3

        async def calls(who: Identity, kind: str, size: int, seconds: float) -> None:
            gate = gates.calls.gate_for(who)
            while loop.time() < ends_at:
                try:
                    place = gate.enter(who) or await gate.wait(who)
                except Overload as overload:
                    done[kind + " refused"] += 1
                    await asyncio.sleep(overload.refused.seconds)
                    continue
                begun = loop.time()
                gate.received(place, size)
                async with processor:
                    await asyncio.sleep(seconds)
                done[kind] += 1
                gate.leave(place, loop.time() - begun)

        quoting = [calls(filer(number), "quote", 4_000, 0.001) for number in range(120) for _ in range(2)]
        await asyncio.gather(*quoting, *(calls(CLEARANCE, "assess", 700_000, 0.01) for _ in range(3)))

    run(whole)
    assert done["assess refused"] == 0, done
    assert done["assess"] > 100, done
    assert done["quote"] > 1000, done


async def test_a_service_is_served_while_filers_hold_all_places(start: Any, message: Any) -> None:
    running = await start(services=True, in_flight_max="2", long_polls_max="2")
    for name, gates in (("Hold", running.server.chain.gates.calls), ("Poll", running.server.chain.gates.long_polls)):
        channels = [running.channel("filer", f"{name}-{number}") for number in range(2)]
        calls = [asyncio.ensure_future(running.method(name, each)(message(), timeout=60)) for each in channels]
        await running.until(lambda gates=gates: gates.outside.in_flight == 2)
        service = running.channel("service", "clearance")
        call = asyncio.ensure_future(running.method(name, service)(message(), timeout=20))
        await running.until(lambda gates=gates: gates.services.in_flight == 1)
        running.servicer.leave.set()
        await asyncio.gather(call, *calls)
        running.servicer.leave.clear()
