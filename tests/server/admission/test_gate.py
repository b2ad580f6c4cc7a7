"""Admission: limits, fairness, queues and their age, and places that are given back."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.server.admission import gate as admission
from libs.server.admission.gate import RETRY_SECONDS_MAX, RETRY_SECONDS_MIN, UNKNOWN_BYTES, Gate, Place
from libs.server.admission.overload import Overload
from libs.server.admission.slow_requests import SLOW_MAX, SLOW_PER_SENDER_MAX, SlowRequests
from libs.server.identity import Identity, Role


def caller(name: str) -> Identity:
    return Identity(Role.FILER, name)


def fill(gate: Gate, who: Identity) -> list[Place]:
    """Enter until there is no room and return the places."""
    places: list[Place] = []
    for _ in range(1000):
        try:
            place = gate.enter(who)
        except Overload:
            return places
        if place is None:
            return places
        places.append(place)
    raise AssertionError("never refused")


def test_one_caller_leaves_room_for_the_next() -> None:
    gate = Gate(64, 64)
    assert len(fill(gate, caller("greedy"))) == 32
    assert len(fill(gate, caller("second"))) >= 16
    assert gate.enter(caller("third"))


def test_a_caller_over_its_share_is_refused_for_that_reason() -> None:
    gate = Gate(64, 4)
    assert len(fill(gate, caller("a"))) == 4
    with pytest.raises(Overload, match="CALLER_OVER_SHARE"):
        gate.enter(caller("a"))


def test_a_place_given_back_is_free_again() -> None:
    gate = Gate(4, 4)
    places = fill(gate, caller("a"))
    for place in places:
        gate.leave(place, 0.01)
    assert (gate.in_flight, gate.callers) == (0, 0)
    assert len(fill(gate, caller("a"))) == len(places)


def test_the_time_to_come_back_follows_the_time_that_calls_take() -> None:
    waits = []
    for seconds in (0.0001, 100.0):
        gate = Gate(2, 1)
        for _ in range(200):
            place = gate.enter(caller("a"))
            assert place is not None
            gate.leave(place, seconds)
        gate.enter(caller("a"))
        with pytest.raises(Overload) as caught:
            gate.enter(caller("a"))
        waits.append(caught.value.refused.seconds)
    assert waits == [RETRY_SECONDS_MIN, RETRY_SECONDS_MAX]


def test_those_who_are_refused_are_not_all_expected_at_the_same_time() -> None:
    now = 1000.0
    gate = Gate(2, 1, clock=lambda: now)
    for _ in range(100):
        place = gate.enter(caller("a"))
        assert place is not None
        now += 0.1
        gate.leave(place, 0.1)
    gate.enter(caller("a"))
    waits = []
    for _ in range(10):
        with pytest.raises(Overload) as caught:
            gate.enter(caller("a"))
        waits.append(caught.value.refused.seconds)
    assert waits == sorted(waits)
    assert waits[-1] - waits[0] == pytest.approx(0.9, abs=0.15), "a tenth of a second each, as places come free"


@given(
    st.integers(2, 40),
    st.integers(1, 40),
    st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=300),
)
def test_the_limits_hold_whatever_comes_and_goes(total: int, each: int, steps: list[tuple[bool, int]]) -> None:
    gate = Gate(total, each)
    has: dict[int, list[Place]] = {}
    for enter, who in steps:
        mine = has.setdefault(who, [])
        if enter:
            try:
                place = gate.enter(caller(str(who)))
            except Overload:
                # Nobody who has nothing is refused while the server has room.
                assert mine or sum(map(len, has.values())) == total
                continue
            assert place is not None
            mine.append(place)
        elif mine:
            gate.leave(mine.pop(), 0.01)
        assert gate.in_flight == sum(map(len, has.values())) <= total
        assert max(map(len, has.values()), default=0) <= each
        assert gate.callers == sum(1 for places in has.values() if places)


# ------------------------------------------------------------------------------------------------ queues


class Brake:
    """A brake that the test sets."""

    reason = "OVERLOADED"

    def __init__(self) -> None:
        self.bytes = 0

    def room(self, running: int, *, spare: bool) -> bool:
        return running < self.bytes + spare * 10_000

    def on_room(self, admit: Callable[[], None]) -> None:
        """The test admits itself."""

    def seconds(self) -> float:
        return 3.0


async def served(gate: Gate, who: Identity, seconds: float, size: int = 1000) -> str:
    """Go through the gate as a call does; return its end."""
    try:
        place = gate.enter(who) or await gate.wait(who)
    except Overload as overload:
        return overload.refused.reason
    try:
        gate.received(place, size)
        await asyncio.sleep(seconds)
    finally:
        gate.leave(place, seconds)
    return "OK"


async def test_a_small_caller_beside_a_greedy_one_gets_all_of_its_calls_through() -> None:
    gate = Gate(4, 4, waiting_max=16)
    ends: dict[str, list[asyncio.Task[str]]] = {"greedy": [], "small": []}
    # Room for 400 calls a second; the greedy caller sends 1,000, the small one 20.
    for turn in range(100):
        for _ in range(10):
            ends["greedy"].append(asyncio.create_task(served(gate, caller("greedy"), 0.01)))
        if turn % 5 == 0:
            ends["small"].append(asyncio.create_task(served(gate, caller("small"), 0.01)))
        await asyncio.sleep(0.01)
    small = [await task for task in ends["small"]]
    greedy = [await task for task in ends["greedy"]]
    assert set(small) == {"OK"}
    assert greedy.count("OK") > 50
    assert len(greedy) - greedy.count("OK") > 200
    assert (gate.in_flight, gate.waiting, gate.callers) == (0, 0, 0)


async def test_places_go_by_the_bytes_that_callers_had_and_not_by_their_calls() -> None:
    gate = Gate(1, 1, waiting_max=64)
    first = gate.enter(caller("first"))
    assert first is not None
    order: list[str] = []

    async def call(name: str, size: int) -> None:
        await served(gate, caller(name), 0.001, size)
        order.append(name)

    tasks = [asyncio.create_task(call("large", 100_000)) for _ in range(10)]
    tasks += [asyncio.create_task(call("small", 5_904)) for _ in range(10)]
    await asyncio.sleep(0)
    gate.leave(first, 0.01)
    await asyncio.gather(*tasks)
    assert order[:12].count("small") >= 9, order


async def test_what_waits_for_too_long_is_refused_and_sooner_in_a_standing_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "WAIT_SECONDS_MAX", 0.3)
    monkeypatch.setattr(admission, "STANDING_SECONDS", 0.4)
    monkeypatch.setattr(admission, "STANDING_WAIT_SECONDS_MAX", 0.1)
    gate = Gate(1, 1, waiting_max=64)
    assert await served(gate, caller("b"), 0.0) == "OK"
    gate.enter(caller("a"))
    loop = asyncio.get_running_loop()
    waits = []

    async def call() -> None:
        begun = loop.time()
        assert await served(gate, caller("b"), 0.0) == "OVERLOADED"
        waits.append((begun, loop.time() - begun))

    tasks = []
    for _ in range(30):
        tasks.append(asyncio.create_task(call()))
        await asyncio.sleep(0.04)
    await asyncio.gather(*tasks)
    waits.sort()
    assert waits[0][1] >= 0.3
    assert min(wait for _, wait in waits[-10:]) < 0.3, "the queue stood, so calls were refused sooner"
    assert gate.waiting == 0


async def test_a_caller_that_had_less_than_others_waits_longer_before_it_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "WAIT_SECONDS_MAX", 0.1)
    gate = Gate(1, 1, waiting_max=64)
    for _ in range(3):
        assert await served(gate, caller("greedy"), 0.0) == "OK"
    place = gate.enter(caller("greedy"))
    assert place is not None
    small = asyncio.create_task(served(gate, caller("small"), 0.0))
    assert await served(gate, caller("greedy"), 0.0) == "OVERLOADED"
    await asyncio.sleep(0.1)
    gate.leave(place, 0.1)
    assert await small == "OK"


async def test_the_longest_queue_gives_way_where_all_queues_are_full() -> None:
    gate = Gate(1, 1, waiting_max=4)
    gate.enter(caller("running"))
    greedy = [asyncio.create_task(served(gate, caller("greedy"), 0.0)) for _ in range(6)]
    await asyncio.sleep(0)
    assert [task.done() for task in greedy].count(True) == 2
    small = asyncio.create_task(served(gate, caller("small"), 0.0))
    await asyncio.sleep(0.01)
    assert not small.done()
    assert [task.done() for task in greedy].count(True) == 3
    for task in (*greedy, small):
        task.cancel()
    await asyncio.gather(*greedy, small, return_exceptions=True)
    assert gate.waiting == 0


async def test_a_call_that_is_cancelled_while_it_waits_leaves_nothing_behind() -> None:
    gate = Gate(1, 1, waiting_max=8)
    first = gate.enter(caller("a"))
    assert first is not None
    second = asyncio.create_task(served(gate, caller("b"), 0.0))
    third = asyncio.create_task(served(gate, caller("c"), 0.0))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    assert gate.waiting == 1
    # The place is granted, and the call is cancelled before it comes to know.
    gate.leave(first, 0.01)
    third.cancel()
    await asyncio.gather(second, third, return_exceptions=True)
    assert (gate.in_flight, gate.waiting, gate.callers) == (0, 0, 0)


async def test_a_brake_holds_calls_back_and_a_caller_below_its_share_has_spare_room() -> None:
    brake = Brake()
    brake.bytes = 5_000
    gate = Gate(8, 8, waiting_max=8, brake=brake)
    assert await served(gate, caller("greedy"), 0.0, 10_000) == "OK"
    first = gate.enter(caller("greedy"))
    assert first is not None
    assert gate.enter(caller("greedy")) is None, "the brake has no room"
    assert gate.enter(caller("small")) is not None, "there is spare room for who had less"
    waiting = asyncio.create_task(gate.wait(caller("greedy")))
    await asyncio.sleep(0)
    brake.bytes = 50_000
    gate.admit()
    await waiting


async def test_large_requests_are_decoded_one_after_the_other() -> None:
    gate = Gate(8, 8, waiting_max=8, bytes_max=1000)
    places = [gate.enter(caller(name)) for name in "abc"]
    first, second, third = (place for place in places if place is not None)
    assert gate.received(first, 800)
    assert not gate.received(second, 800)
    turn = asyncio.create_task(gate.decode(second, caller("b")))
    await asyncio.sleep(0)
    assert gate.received(third, 100), "a small one goes on beside it"
    assert not turn.done()
    gate.leave(first, 0.1)
    assert await turn is second
    gate.leave(third, 0.1)
    gate.leave(second, 0.1)
    assert (gate.in_flight, gate.callers) == (0, 0)
    assert gate.enter(caller("a")) is not None, "alone, a caller with large requests has its place"
    assert gate.enter(caller("b")) is None, "two of them are more bytes than may be in flight"


async def test_a_request_that_is_slow_to_come_has_its_place_taken_until_it_is_there() -> None:
    gate = Gate(1, 1, waiting_max=8)
    slow = gate.enter(caller("slow"))
    assert slow is not None
    waiting = asyncio.create_task(gate.wait(caller("quick")))
    await asyncio.sleep(0)
    gate.slow(slow, unexpected)
    quick = await waiting
    assert not gate.received(slow, 500)
    turn = asyncio.create_task(gate.decode(slow, caller("slow")))
    await asyncio.sleep(0)
    assert not turn.done()
    gate.leave(quick, 0.01)
    place = await turn
    assert gate.in_flight == 1
    gate.leave(place, 0.0)
    assert (gate.in_flight, gate.callers) == (0, 0)


def unexpected() -> None:
    raise AssertionError("a slow request is ended although there are few")


def slow_call(gate: Gate, who: Identity, ended: list[str]) -> Place:
    """Take a place for a call of which the request does not come."""
    place = gate.enter(who)
    assert place is not None
    gate.slow(place, lambda: ended.append(who.id))
    return place


def test_a_sender_has_so_many_slow_requests_and_no_more() -> None:
    gate, ended = Gate(64, 64), list[str]()
    places = [slow_call(gate, caller("a"), ended) for _ in range(SLOW_PER_SENDER_MAX)]
    assert ended == []
    slow_call(gate, caller("a"), ended)
    assert ended == ["a"], "the one too many"
    gate.leave(places[0], 0.0)
    slow_call(gate, caller("a"), ended)
    assert ended == ["a"]


def test_all_senders_of_all_gates_together_have_a_bound_and_the_slowest_of_who_has_the_most_is_ended() -> None:
    slow, ended = SlowRequests(), list[str]()
    gates = [Gate(64, 64, slow=slow), Gate(64, 64, slow=slow)]
    honest = slow_call(gates[0], caller("honest"), ended)
    for number in range(SLOW_MAX - 1 - SLOW_PER_SENDER_MAX):
        slow_call(gates[number % 2], caller(f"other-{number}"), ended)
    for _ in range(SLOW_PER_SENDER_MAX):
        slow_call(gates[0], caller("greedy"), ended)
    assert len(slow) == SLOW_MAX
    assert ended == []
    slow_call(gates[1], caller("late"), ended)
    assert ended == ["greedy"]
    gates[0].leave(honest, 0.0)
    slow_call(gates[1], caller("next"), ended)
    assert ended == ["greedy"], "there was room for one"
    for number in range(160):
        slow_call(gates[number % 2], caller(f"attacker-{number}"), ended)
        assert len(slow) == SLOW_MAX


async def test_a_slow_request_that_has_come_counts_until_it_has_a_place_and_is_not_ended() -> None:
    slow, ended = SlowRequests(1), list[str]()
    gate = Gate(1, 1, waiting_max=8, slow=slow)
    first = slow_call(gate, caller("first"), ended)
    busy = gate.enter(caller("busy"))
    assert busy is not None
    assert not gate.received(first, 500)
    turn = asyncio.create_task(gate.decode(first, caller("first")))
    await asyncio.sleep(0)
    assert len(slow) == 1, "its bytes are here"
    gate.leave(busy, 0.01)
    second = slow_call(gate, caller("second"), ended) if gate.in_flight == 0 else None
    place = await turn
    assert (len(slow), second, ended) == (0, None, [])
    gate.leave(place, 0.0)
    assert (gate.in_flight, gate.callers) == (0, 0)


async def test_a_caller_of_unknown_size_has_one_place_until_its_first_request_has_come() -> None:
    gate = Gate(8, 8, waiting_max=8, bytes_max=1 << 20)
    first = gate.enter(caller("new"))
    assert first is not None
    assert gate.enter(caller("new")) is None
    waiting = asyncio.create_task(gate.wait(caller("new")))
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.received(first, 1000)
    second = await waiting
    assert gate.enter(caller("new")) is not None
    gate.slow(second, unexpected)
    gate.leave(first, 0.0)
    assert gate.enter(caller("new")) is None, "a request that does not come makes the next one unknown"


@pytest.mark.parametrize(("size", "has_room"), [(UNKNOWN_BYTES + 1, True), (UNKNOWN_BYTES, False)])
def test_a_request_that_does_not_come_counts_little_for_the_brake(size: int, has_room: bool) -> None:
    brake = Brake()
    brake.bytes = size
    gate = Gate(8, 8, waiting_max=8, bytes_max=32 << 20, brake=brake)
    honest = gate.enter(caller("honest"))
    assert honest is not None
    gate.received(honest, 700_000)
    gate.leave(honest, 0.1)
    assert gate.enter(caller("stalling")) is not None
    assert (gate.enter(caller("honest")) is not None) is has_room
