"""Calls that go away, and messages that are decoded one after the other, in virtual time: whose turn it is, and what is given back."""

from __future__ import annotations

import asyncio

import pytest

from libs.server.admission.gate import CALLERS_MAX, Gate
from libs.server.admission.overload import Overload
from libs.server.identity import Identity, Role
from tests.support.gates import ends, entered, gate_of, served, waiting, who
from tests.support.virtual_loop import VirtualLoop, run


def test_a_call_that_goes_away_gives_back_what_it_had_or_was_given() -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = gate_of(loop)
        first = entered(gate, "a")
        one, two, three = await waiting(gate, "b", "b", "c")
        one.task.cancel()
        await asyncio.sleep(0)
        assert gate.waiting == 2
        # Its place is given to it, and it goes away before it knows: the next has it.
        gate.leave(first, 0.0)
        two.task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (ends([two, three]), gate.in_flight, gate.waiting, gate.callers) == (["", "place"], 1, 0, 1)
        # It is refused, and goes away before it knows.
        (four,) = await waiting(gate, "d")
        four.task.cancel()
        await asyncio.sleep(0)
        assert gate.waiting == 0
        assert three.place is not None
        gate.leave(three.place, 0.0)
        entered(gate, "d")

    run(main)


def test_messages_are_decoded_in_their_order_each_as_soon_as_there_is_room() -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = gate_of(loop, 16, bytes_max=1_000)
        places = {name: entered(gate, name) for name in "abcd"}
        assert gate.received(places["a"], 1_000)
        turns = {}
        for name, size in (("b", 600), ("c", 400), ("d", 1)):
            assert not gate.received(places[name], size)
            turns[name] = asyncio.ensure_future(gate.decode(places[name], who(name)))
            await asyncio.sleep(0)
        gate.leave(places["a"], 0.0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [name for name, turn in turns.items() if turn.done()] == ["b", "c"], "600 and 400 bytes are the whole"
        assert (places["b"].decoding, places["d"].decoding) == (True, False)
        gate.leave(places["c"], 0.0)
        assert await turns["d"] is places["d"]
        for name in "bd":
            gate.leave(places[name], 0.0)
        assert gate.received(entered(gate, "e"), 5_000), "nothing is being decoded any more"

    run(main)


def test_a_message_larger_than_all_that_may_be_in_flight_is_decoded_alone() -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = gate_of(loop, 16, bytes_max=1_000)
        first, second = entered(gate, "a"), entered(gate, "b")
        assert gate.received(first, 1)
        assert not gate.received(second, 5_000)
        turn = asyncio.ensure_future(gate.decode(second, who("b")))
        await asyncio.sleep(0.5)
        assert not turn.done()
        gate.leave(first, 0.0)
        assert await turn is second

    run(main)


def test_who_is_known_by_its_first_message_goes_on_at_once_and_who_waits_is_not_forgotten() -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = gate_of(loop, 8, bytes_max=1_000_000)
        first = entered(gate, "new")
        (second,) = await waiting(gate, "new")
        assert second.end == ""
        gate.received(first, 10)
        await asyncio.sleep(0)
        assert (second.end, second.waited) == ("place", 0.0)
        full = gate_of(loop)
        for number in range(CALLERS_MAX - 1):
            served(full, f"caller-{number}", 1)
        here = entered(full, "here")
        (waits,) = await waiting(full, "waits")
        full.leave(here, 0.0)
        await asyncio.sleep(0)
        assert waits.place is not None
        full.leave(waits.place, 0.0)
        assert entered(full, "waits").caller is waits.place.caller

    run(main)


def test_a_message_that_is_not_decoded_within_a_second_is_refused_and_the_next_has_its_turn() -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = gate_of(loop, 16, bytes_max=1_000)
        places = [entered(gate, name) for name in "abcd"]
        assert gate.received(places[0], 600)
        turns = []
        for place, size in zip(places[1:], (500, 450, 100), strict=True):
            if not gate.received(place, size):
                turns.append(asyncio.ensure_future(gate.decode(place, who("x"))))
        assert (len(turns), gate.in_flight) == (2, 4)
        begun = loop.time()
        with pytest.raises(Overload):
            await turns[0]
        assert loop.time() - begun == pytest.approx(1.0)
        with pytest.raises(Overload):
            await turns[1]
        assert gate.in_flight == 2
        again = entered(gate, "y")
        assert not gate.received(again, 350)
        turn = asyncio.ensure_future(gate.decode(again, who("y")))
        await asyncio.sleep(0)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert gate.in_flight == 2
        for place in (places[0], places[3]):
            gate.leave(place, 0.0)
        assert (gate.in_flight, gate.callers) == (0, 0)
        assert gate.received(entered(gate, "z"), 5_000)

    run(main)


@pytest.mark.parametrize(("places", "size"), [(1, 700), (1, 10), (2, 700)])
def test_a_slow_request_that_has_come_takes_its_turn_again_and_is_decoded_with_its_size(places: int, size: int) -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = gate_of(loop, places, bytes_max=1_000)
        slow = []
        for name in "ab":
            slow.append(entered(gate, name))
            gate.slow(slow[-1], lambda: None)
        assert not gate.received(slow[0], 400)
        first = await gate.decode(slow[0], who("a"))
        assert (first.bytes, first.decoding, gate.in_flight, first.caller.slow) == (400, True, 1, 0)
        assert not gate.received(slow[1], size)
        turn = asyncio.ensure_future(gate.decode(slow[1], who("b")))
        await asyncio.sleep(0.3)
        assert not turn.done(), "there is no place, or 400 and 700 bytes are too many to be decoded at once"
        gate.leave(first, 0.0)
        second = await turn
        assert (second.bytes, second.decoding, second.caller.slow) == (size, True, 0)
        gate.leave(second, 0.0)
        assert (gate.in_flight, gate.callers) == (0, 0)

    run(main)


def test_where_calls_do_not_wait_a_slow_request_that_has_come_takes_a_free_place() -> None:
    async def main(loop: VirtualLoop) -> None:
        gate = gate_of(loop, waiting_max=0)
        slow = entered(gate, "a")
        gate.slow(slow, lambda: None)
        assert not gate.received(slow, 10)
        assert (await gate.decode(slow, who("a"))).decoding

    run(main)


def test_a_gateway_s_role_counts_in_who_calls() -> None:
    gate = Gate(2, 1)
    assert gate.enter(Identity(Role.FILER, "x")) is not None
    assert gate.enter(Identity(Role.CARRIER, "x")) is not None
