"""Queues of a gate by figures, in virtual time: who waits how long, who gives way, whose turn it is, and what a late loop changes."""

from __future__ import annotations

import asyncio

import pytest

from libs.server.admission.gate import Gate
from libs.server.admission.gates import ServerGates
from libs.server.config.server_config import ServerConfig
from tests.support.gates import Brake, ends, entered, gate_of, served, waiting, who
from tests.support.virtual_loop import VirtualLoop, run


def test_nobody_overtakes_those_who_wait_and_a_free_place_is_given_at_once_without_a_timer() -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = gate_of(loop)
        (free,) = await waiting(gate, "a")
        assert (free.end, free.waited, loop.timers, gate.waiting) == ("place", 0.0, 0, 0)
        one, two = await waiting(gate, "b", "c")
        assert (gate.waiting, loop.timers) == (2, 1), "one timer looks at all queues"
        assert gate.enter(who("d")) is None
        assert free.place is not None
        gate.leave(free.place, 0.0)
        await asyncio.sleep(0)
        assert (ends([one, two]), gate.in_flight, gate.waiting) == (["place", ""], 1, 1)
        assert one.place is not None
        gate.leave(one.place, 0.0)
        await asyncio.sleep(0)
        assert (ends([one, two]), gate.waiting, gate.callers) == (["place", "place"], 0, 1)
        await asyncio.sleep(1.0)
        assert loop.timers == 2, "the sweep found nobody and the test slept: no timer more"

    run(main)


@pytest.mark.parametrize(
    ("before", "seconds"),
    [
        # A burst: the first look after a second. The caller had as much as the other, and is not below its share.
        (0.0, 1.05),
        # A queue that has stood for two seconds: the first look after half a second.
        (2.05, 0.55),
    ],
)
def test_a_call_waits_for_a_second_and_in_a_standing_queue_for_half_of_one(before: float, seconds: float) -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = gate_of(loop)
        for _ in range(3):
            served(gate, "b", 9_000)
        entered(gate, "a")
        others = []
        while loop.time() - 1_000 < before - 0.01:
            others += await waiting(gate, "b")
            await asyncio.sleep(0.205)
        (call,) = await waiting(gate, "b")
        await call.task
        assert call.end == "OVERLOADED"
        assert call.waited == pytest.approx(seconds, abs=0.05)
        for each in others:
            await each.task
            assert each.waited <= 1.05
        assert gate.waiting == 0

    run(main)


def test_a_queue_that_was_empty_in_between_stands_anew() -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = gate_of(loop)
        for _ in range(3):
            served(gate, "b", 9_000)
        entered(gate, "a")
        for _ in range(3):
            (call,) = await waiting(gate, "b")
            await call.task
            assert call.waited == pytest.approx(1.05, abs=0.03), "alone in its queue each waits for a second"

    run(main)


def test_a_caller_below_its_share_waits_for_three_seconds() -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = gate_of(loop)
        for _ in range(3):
            served(gate, "a", 9_000)
        entered(gate, "a")
        (call,) = await waiting(gate, "small")
        await call.task
        assert call.end == "OVERLOADED"
        assert call.waited == pytest.approx(3.05, abs=0.03)

    run(main)


def test_the_longest_waits_are_reached_and_not_beyond() -> None:
    async def main(_loop: VirtualLoop) -> None:
        now = 0.0
        gate = Gate(1, 8, waiting_max=8, clock=lambda: now)
        for _ in range(3):
            served(gate, "b", 9_000)
        entered(gate, "a")

        async def at(seconds: float, *ended: str) -> None:
            nonlocal now
            now = seconds
            await asyncio.sleep(0.06)
            assert tuple(ends(calls)) == ended, seconds

        calls = await waiting(gate, "b")
        await at(1.0, "")
        calls += await waiting(gate, "b")
        await at(1.0 + 1e-9, "OVERLOADED", "")
        # The queue has stood since 0, and is a standing one after two seconds.
        await at(2.0, "OVERLOADED", "")
        calls += await waiting(gate, "b")
        await at(2.0 + 1e-9, "OVERLOADED", "OVERLOADED", "")
        await at(2.5, "OVERLOADED", "OVERLOADED", "")
        await at(2.5 + 1e-9, "OVERLOADED", "OVERLOADED", "OVERLOADED")

    run(main)


@pytest.mark.parametrize(
    ("own_running", "own_waiting", "others", "sparse"),
    [
        # (running + waiting calls) x 4,096 x 2 callers x 2 against the bytes that run and 4,096 a waiting call.
        (0, 1, 12_288, True), (0, 1, 12_287, False), (0, 2, 24_576, True), (0, 2, 24_575, False), (1, 1, 28_672, True), (1, 1, 28_671, False),
    ],
)  # fmt: skip
def test_spare_room_is_for_who_asks_for_half_of_an_equal_share_or_less(
    own_running: int, own_waiting: int, others: int, sparse: bool
) -> None:
    async def main(loop: VirtualLoop) -> None:
        brake = Brake(10**9)
        gate = gate_of(loop, 16, brake=brake)
        for _ in range(2):
            served(gate, "small", 0)
        for _ in range(own_running):
            gate.received(entered(gate, "small"), 0)
        gate.received(entered(gate, "other"), others)
        brake.bytes, brake.spare = 0, 0
        calls = await waiting(gate, *["small"] * own_waiting)
        assert ends(calls) == [""] * own_waiting
        brake.spare = 10**9
        gate.admit()
        await asyncio.sleep(0)
        assert calls[0].end == ("place" if sparse else "")

    run(main)


def test_who_had_as_much_as_others_had_not_less() -> None:
    async def main(loop: VirtualLoop) -> None:
        brake = Brake(10**9)
        gate = gate_of(loop, 16, brake=brake)
        for name in ("equal", "other"):
            served(gate, name, 0)
        # What it is served next begins where the last one of the equal caller ended.
        entered(gate, "other")
        brake.bytes, brake.spare = -1, 10**9
        (equal,) = await waiting(gate, "equal")
        assert equal.end == ""

    run(main)


@pytest.mark.parametrize(("size", "sparse"), [(12_288, True), (12_287, False)])
def test_all_that_wait_count_in_what_is_asked_for(size: int, sparse: bool) -> None:
    async def main(loop: VirtualLoop) -> None:
        brake = Brake(10**9)
        gate = gate_of(loop, 16, brake=brake)
        served(gate, "small", 0)
        served(gate, "small", 0)
        served(gate, "large", size)
        gate.received(entered(gate, "other"), 4_096)
        brake.bytes = 0
        large, small = await waiting(gate, "large", "small")
        brake.spare = 10**9
        gate.admit()
        await asyncio.sleep(0)
        # 4,096 x 3 callers x 2 against 4,096 that run, 4,096 and the size of the large one, and 4,096 of its own.
        assert (large.end, small.end) == ("", "place" if sparse else "")

    run(main)


def test_places_go_to_who_had_the_least_and_among_equals_to_who_came_first() -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = gate_of(loop)
        # Each begins where those before it began: at nothing. What it was served is what it had.
        for name, size in (
            ("large", 50_000),
            ("middle", 20_000),
            ("small", 100),
            ("equal-1", 30_000),
            ("equal-2", 30_000),
        ):
            served(gate, name, size)
        first = entered(gate, "first")
        calls = await waiting(gate, "large", "middle", "small", "equal-1", "equal-2")
        order, place = list[str](), first
        while len(order) < 5:
            gate.leave(place, 0.0)
            await asyncio.sleep(0)
            (now,) = [each for each in calls if each.end and each.identity.id not in order]
            order.append(now.identity.id)
            assert now.place is not None
            place = now.place
        assert order == ["small", "middle", "equal-1", "equal-2", "large"]

    run(main)


def test_who_may_not_run_is_passed_over_and_as_many_run_as_there_are_places() -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = gate_of(loop, 3, per_caller_max=1)
        places = [entered(gate, name) for name in "ab"]
        calls = await waiting(gate, "a", "a")
        assert gate.enter(who("c")) is None, "there is a place, and still it waits behind those who wait"
        (third,) = await waiting(gate, "c")
        assert third.place is not None
        places.append(third.place)
        calls += await waiting(gate, "d", "e")
        gate.leave(places[1], 0.0)
        gate.leave(places[2], 0.0)
        await asyncio.sleep(0)
        assert (ends(calls), gate.in_flight, gate.waiting) == (["", "", "place", "place"], 3, 2)
        gate.leave(places[0], 0.0)
        await asyncio.sleep(0)
        assert (ends(calls), gate.in_flight, gate.waiting) == (["place", "", "place", "place"], 3, 1)

    run(main)


# ------------------------------------------------------------------------------------------------ full queues


def test_alone_a_caller_may_fill_the_queue_and_beside_others_a_quarter_of_it() -> None:
    async def main(loop: VirtualLoop) -> None:
        alone = gate_of(loop)
        entered(alone, "running")
        calls = await waiting(alone, *["a"] * 9)
        assert (ends(calls), alone.waiting) == ([""] * 8 + ["OVERLOADED"], 8)
        beside = gate_of(loop)
        entered(beside, "running")
        calls = await waiting(beside, "a", "b", "b", "b", "a", "a")
        assert (ends(calls), beside.waiting) == (["", "", "", "OVERLOADED", "", "OVERLOADED"], 4)
        wide = gate_of(loop, waiting_max=20)
        entered(wide, "running")
        assert ends(await waiting(wide, "a", *["b"] * 6)) == [""] * 6 + ["OVERLOADED"]

    run(main)


@pytest.mark.parametrize(
    ("queues", "ended"),
    [
        # The newest call of the longest queue gives way to a caller that has at least two less.
        (["a", "a", "b"], ["", "OVERLOADED", ""]),
        (["a", "b", "c"], ["", "", "OVERLOADED"]),
    ],
)
def test_where_all_queues_are_full_the_longest_gives_way(queues: list[str], ended: list[str]) -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = gate_of(loop, waiting_max=2)
        entered(gate, "running")
        calls = await waiting(gate, *queues)
        assert (ends(calls), gate.waiting) == (ended, 2)

    run(main)


def test_a_queue_that_is_one_longer_gives_way_to_nobody() -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = gate_of(loop, waiting_max=12)
        entered(gate, "running")
        full = await waiting(gate, *["a"] * 10, "b", "b")
        assert (ends(full), gate.waiting) == ([""] * 12, 12)
        third = await waiting(gate, "b")
        assert (ends(third), ends(full)[9], gate.waiting) == ([""], "OVERLOADED", 12)
        even = gate_of(loop, waiting_max=12)
        entered(even, "running")
        full = await waiting(even, *(name for name in "abcdef" for _ in range(2)))
        assert (ends(full), even.waiting) == ([""] * 12, 12)
        assert ends(await waiting(even, "g")) == [""], "two are two more than nothing"
        assert sorted(ends(full)) == [""] * 11 + ["OVERLOADED"]
        assert (ends(await waiting(even, "g")), even.waiting) == (["OVERLOADED"], 12)

    run(main)


# ------------------------------------------------------------------------------------------------ a late loop


def test_more_calls_run_at_once_while_some_wait_and_fewer_where_the_loop_is_late() -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = gate_of(loop, 20, per_caller_max=20, waiting_max=40)
        assert gate.places == 16
        await asyncio.sleep(1.0)
        assert gate.places == 16, "nobody waits"
        full = [entered(gate, f"first-{number}") for number in range(16)]
        (gone,) = await waiting(gate, "gone")
        gone.task.cancel()
        await asyncio.sleep(0.06)
        assert gate.places == 16, "nobody waits any more"
        for place in full:
            gate.leave(place, 0.0)
        holding = [entered(gate, f"caller-{number}") for number in range(16)]
        calls = await waiting(gate, *(f"late-{number}" for number in range(8)))
        seen = []
        for _ in range(6):
            await asyncio.sleep(0.05)
            seen.append((gate.places, gate.in_flight))
        assert seen == [(17, 17), (18, 18), (19, 19), (20, 20), (20, 20), (20, 20)]
        for late, places in ((0.16, 15), (0.16, 11), (0.16, 8), (0.16, 8), (0.1, 9)):
            loop.pass_by(late)
            await asyncio.sleep(0.01)
            assert gate.places == places, late
        assert len(holding) + ends(calls).count("place") == gate.in_flight == 20

    run(main)


def test_a_loop_that_is_a_little_late_is_not_late() -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = gate_of(loop, 20, per_caller_max=20, waiting_max=40)
        for number in range(16):
            entered(gate, f"caller-{number}")
        await waiting(gate, "late")
        loop.pass_by(0.11)
        await asyncio.sleep(0.01)
        assert gate.places == 17, "60 ms late"

    run(main)


def test_a_small_or_steady_gate_does_not_follow_the_lateness_below_its_own_bounds() -> None:
    async def main(loop: VirtualLoop) -> None:
        for options, places in (({}, 3), ({"adapts": False}, 3)):
            gate = gate_of(loop, 3, **options)
            for name in "abc":
                entered(gate, name)
            await waiting(gate, "d")
            loop.pass_by(0.5)
            await asyncio.sleep(0.01)
            assert gate.places == places
        steady = gate_of(loop, 40, per_caller_max=40, adapts=False)
        for number in range(40):
            entered(steady, f"caller-{number}")
        await waiting(steady, "d")
        loop.pass_by(0.5)
        await asyncio.sleep(0.2)
        assert steady.places == 40

    run(main)


def test_twice_as_many_calls_wait_as_run_as_many_long_polls_as_calls_run_and_long_polls_do_not_follow_the_loop() -> (
    None
):
    limits = {
        "IN_FLIGHT_MAX": "3",
        "LONG_POLLS_MAX": "40",
        "LONG_POLLS_PER_CALLER_MAX": "40",
        "IN_FLIGHT_PER_CALLER_MAX": "3",
    }

    async def main(_loop: VirtualLoop) -> None:
        gates = ServerGates(
            ServerConfig.from_environ("ingestion", {f"LUXOR_{name}": value for name, value in limits.items()})
        )
        for pair, places, queue in ((gates.calls, 3, 6), (gates.long_polls, 40, 3)):
            for gate in pair:
                assert gate.places == places
                number = 0
                while (place := gate.enter(who(f"caller-{number}"))) is not None:
                    gate.received(place, 0)
                    number += 1
                assert gate.in_flight == places
                calls = await waiting(gate, *["waits"] * (queue + 1))
                assert [each.end == "" for each in calls] == [True] * queue + [False]

    run(main)
