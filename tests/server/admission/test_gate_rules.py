"""The rules of a gate one by one, by figures: shares, bytes, sizes, brakes, the time to come back, and who is forgotten."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from libs.server.admission.gate import CALL_BYTES, CALLERS_MAX, UNKNOWN_BYTES, Gate, Place
from libs.server.admission.overload import Overload, Refused
from libs.server.admission.slow_requests import SLOW_MAX, SLOW_PER_SENDER_MAX, SlowRequests
from tests.support.gates import Brake, entered, served, who


def filled(gate: Gate, name: str) -> int:
    """Enter until there is no room and return how often there was."""
    for count in range(1_000):
        try:
            if gate.enter(who(name)) is None:
                return count
        except Overload:
            return count
    raise AssertionError("never refused")


def refusal(gate: Gate, name: str) -> Refused:
    """Return how a call is refused that there is no room for."""
    with pytest.raises(Overload) as caught:
        gate.enter(who(name))
    return caught.value.refused


def test_a_call_costs_4_kib_an_unknown_request_64_kib_and_4096_callers_and_8_slow_requests_are_remembered() -> None:
    assert (CALL_BYTES, UNKNOWN_BYTES, CALLERS_MAX, SLOW_MAX, SLOW_PER_SENDER_MAX) == (4_096, 65_536, 4_096, 8, 4)


@pytest.mark.parametrize(
    ("in_flight_max", "waiting_max", "adapts", "places"),
    [
        (64, 0, True, 64), (64, 1, True, 16), (64, 128, True, 16), (17, 8, True, 16), (16, 8, True, 16), (15, 8, True, 15), (2, 8, True, 2),
        (64, 128, False, 64), (64, 0, False, 64),
    ],
)  # fmt: skip
def test_a_gate_that_adapts_begins_with_sixteen_places_and_another_with_all(
    in_flight_max: int, waiting_max: int, adapts: bool, places: int
) -> None:
    gate = Gate(in_flight_max, in_flight_max, waiting_max=waiting_max, adapts=adapts)
    assert (gate.places, gate.in_flight, gate.waiting, gate.callers) == (places, 0, 0, 0)


@pytest.mark.parametrize(
    ("places", "per_caller_max", "taken"),
    [
        # Below half of the places a caller has what it may; from there on an equal share among those who call and one more.
        (16, 16, [8, 5, 3, 0]), (16, 7, [7, 5, 4, 0]), (16, 3, [3, 3, 3, 3, 2, 2, 0]), (17, 17, [9, 5, 3, 0]), (4, 4, [2, 1, 1, 0]),
        (3, 3, [2, 1, 0]), (2, 2, [1, 1, 0]), (1, 1, [1, 0]), (8, 8, [4, 2, 2, 0]), (64, 64, [32, 21, 11, 0]), (12, 12, [6, 4, 2, 0]),
    ],
)  # fmt: skip
def test_each_caller_leaves_room_for_the_next(places: int, per_caller_max: int, taken: Sequence[int]) -> None:
    gate = Gate(places, per_caller_max)
    found = [filled(gate, f"caller-{number}") for number in range(len(taken))]
    assert found == taken
    assert (gate.in_flight, gate.callers) == (sum(taken), sum(1 for each in taken if each))


def test_places_and_callers_are_counted_and_given_back_one_by_one() -> None:
    gate = Gate(16, 16)
    first, second, other = entered(gate, "a"), entered(gate, "a"), entered(gate, "b")
    assert (gate.in_flight, gate.callers, first.caller.in_flight, other.caller.in_flight) == (3, 2, 2, 1)
    gate.leave(first, 0.0)
    assert (gate.in_flight, gate.callers, second.caller.in_flight) == (2, 2, 1)
    gate.leave(second, 0.0)
    assert (gate.in_flight, gate.callers, second.caller.in_flight) == (1, 1, 0)
    gate.leave(other, 0.0)
    assert (gate.in_flight, gate.callers) == (0, 0)


# ------------------------------------------------------------------------------------------------ sizes and bytes


def test_a_message_is_expected_to_be_as_large_as_the_last_and_what_was_larger_counts_for_some_time() -> None:
    gate = Gate(4, 4)
    served(gate, "a", 8_000)
    expected = []
    for size in (0, 9_000, 1_000, 8_000, 8_001):
        place = served(gate, "a", size)
        expected.append(entered(gate, "a").bytes)
        gate.leave(Place(place.caller, 0, 0), 0.0)
    assert expected == [7_000, 9_000, 8_000, 8_000, 8_001]


def test_the_first_message_of_a_caller_counts_a_quarter_of_the_bytes_in_flight_and_for_work_no_more_than_64_kib() -> (
    None
):
    for bytes_max, expected, work in ((1_000, 250, 250), (4 * 65_536, 65_536, 65_536), (8 * 65_536, 131_072, 65_536)):
        place = entered(Gate(4, 4, bytes_max=bytes_max), "new")
        assert (place.bytes, place.work, place.caller.size_known) == (expected, work, False)
    place = entered(Gate(4, 4), "new")
    assert (place.bytes, place.work, place.caller.size_known) == (0, 0, True)
    # Once it has come, a large message counts as what it is.
    gate = Gate(4, 4, bytes_max=8 * 65_536)
    served(gate, "new", 100_000)
    place = entered(gate, "new")
    assert (place.bytes, place.work, place.caller.size_known) == (100_000, 100_000, True)


def test_who_had_the_least_is_known_by_bytes_and_a_fixed_cost_of_each_call() -> None:
    gate = Gate(8, 8)
    first = entered(gate, "a")
    assert (first.charged, first.caller.finish) == (4_096, 4_096)
    gate.received(first, 1_000)
    assert (first.charged, first.caller.finish) == (5_096, 5_096)
    second = entered(gate, "a")
    assert (second.charged, second.caller.finish) == (5_096, 10_192)
    gate.received(second, 500)
    assert (second.charged, second.caller.finish) == (4_596, 9_692)
    # Who is new begins where those are that are served, and has nothing in hand from the time before.
    late = entered(gate, "b")
    assert (late.charged, late.caller.finish) == (4_096, 5_096 + 4_096)


def test_bytes_in_flight_reach_their_bound_and_not_beyond_and_one_call_alone_may() -> None:
    gate = Gate(16, 16, bytes_max=1_000)
    places = [entered(gate, name) for name in "abcd"]
    refusal(gate, "e")
    gate.received(places[0], 249)
    refusal(gate, "e")
    gate.received(places[1], 251)
    refusal(gate, "e")
    gate.received(places[2], 1)
    refusal(gate, "e")  # 751 bytes and 250 more
    gate.received(places[3], 249)
    entered(gate, "e")
    for place in places:
        gate.leave(place, 0.0)
    alone = Gate(16, 16, bytes_max=1_000)
    served(alone, "large", 5_000)
    assert entered(alone, "large").bytes == 5_000
    refusal(alone, "other")


def test_bytes_are_given_back_as_they_were_received() -> None:
    gate = Gate(16, 16, bytes_max=1_000)
    for size in (700, 10, 1_000, 250):
        place = entered(gate, f"caller-{size}")
        gate.received(place, size)
        gate.leave(place, 0.0)
    assert [filled(gate, name) for name in "abcde"] == [1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("sizes", "fits"),
    [((800, 200), True), ((800, 201), False), ((1_000, 0), True), ((5_000, 1), False), ((0, 5_000), True)],
)
def test_messages_are_decoded_together_up_to_the_bytes_in_flight_and_one_alone_whatever_its_size(
    sizes: tuple[int, int], fits: bool
) -> None:
    gate = Gate(16, 16, bytes_max=1_000)
    first, second = entered(gate, "a"), entered(gate, "b")
    assert gate.received(first, sizes[0])
    assert gate.received(second, sizes[1]) is fits
    assert (first.decoding, second.decoding) == (True, fits)
    gate.leave(first, 0.0)
    assert first.decoding is False
    if fits:
        gate.leave(second, 0.0)
        third = entered(gate, "c")
        assert gate.received(third, 9_000), "nothing is being decoded any more"


# ------------------------------------------------------------------------------------------------ slow requests


def test_a_slow_request_gives_its_place_and_bytes_back_and_its_caller_is_unknown_until_it_has_come() -> None:
    gate = Gate(16, 16, bytes_max=1_000)
    served(gate, "a", 900)
    slow = entered(gate, "a")
    gate.slow(slow, lambda: None)
    assert (gate.in_flight, gate.callers, slow.slow, slow.caller.slow, slow.caller.size_known) == (0, 0, True, 1, False)
    alone = entered(gate, "a")
    refusal(gate, "a")
    gate.received(alone, 10)
    assert alone.caller.size_known
    refusal(gate, "a")  # its slow request may come any moment
    gate.leave(slow, 0.0)
    assert (slow.slow, slow.caller.slow, gate.in_flight) == (False, 0, 1)
    assert entered(gate, "a").bytes == 10, "what it sent before it was slow says nothing any more"


def test_slow_requests_have_bounds_on_both_sides_and_the_one_too_many_ends() -> None:
    slow, ended = SlowRequests(5, 2), list[str]()

    def add(name: str, sender: str) -> None:
        slow.add(name, sender, lambda: ended.append(name))

    for name, sender in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", "c"), ("d1", "d")):
        add(name, sender)
    assert (ended, len(slow)) == ([], 5)
    # One too many of its sender ends itself, although all together are too many as well.
    add("a3", "a")
    assert (ended, len(slow)) == (["a3"], 5)
    # One too many of all ends the slowest of the sender with the most.
    add("e1", "e")
    assert (ended, len(slow)) == (["a3", "a1"], 5)
    # What has come is not ended any more, and counts.
    slow.received("a2")
    slow.received("nobody's")
    add("b2", "b")
    assert (ended, len(slow)) == (["a3", "a1", "b1"], 5)
    slow.discard("a2")
    slow.discard("a2")
    add("f1", "f")
    assert (ended, len(slow)) == (["a3", "a1", "b1"], 5)


def test_gates_share_their_bound_of_slow_requests_only_where_they_are_given_the_same() -> None:
    shared, ended = SlowRequests(1), list[str]()
    assert not shared
    gates = Gate(4, 4, slow=shared), Gate(4, 4, slow=shared), Gate(4, 4)
    for number, gate in enumerate(gates):
        gate.slow(entered(gate, f"caller-{number}"), lambda number=number: ended.append(str(number)))  # type: ignore[misc]
    assert len(ended) == 1
    assert len(shared) == 1


# ------------------------------------------------------------------------------------------------ brakes


def test_a_brake_is_asked_with_the_work_that_runs_and_spare_room_only_for_a_caller_below_its_share() -> None:
    brake = Brake(10_000)
    gate = Gate(16, 16, waiting_max=8, brake=brake)
    first = entered(gate, "greedy")
    gate.received(first, 8_000)
    second = entered(gate, "greedy")
    gate.received(second, 6_000)
    assert brake.asked == [(0, False), (8_000, False)]
    # It has all that runs, and is not below its share: spare room is not for it.
    assert gate.enter(who("greedy")) is None
    assert brake.asked[2:] == [(14_000, False)]
    brake.spare = 4_001
    third = entered(gate, "small")
    assert brake.asked[3:] == [(14_000, False), (14_000, True)]
    gate.received(third, 100)
    gate.leave(second, 0.0)
    gate.leave(first, 0.0)
    entered(gate, "small")
    assert brake.asked[5:] == [(100, False)]


def test_without_a_brake_or_with_room_nobody_has_to_be_below_a_share() -> None:
    gate = Gate(4, 4, waiting_max=8, brake=Brake(1))
    assert filled(gate, "a") == 2
    assert filled(Gate(4, 4, waiting_max=8), "a") == 2


# ------------------------------------------------------------------------------------------------ the time to come back


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.0, 0.1), (0.02, 0.1), (0.12, 0.15), (1.9, 0.2), (2.3, 0.25), (10.0, 0.6), (90.0, 4.6), (200.0, 5.0)],
)
def test_a_call_comes_back_after_what_calls_take_on_average_in_steps_of_a_twentieth_of_a_second(
    seconds: float, told: float
) -> None:
    gate = Gate(1, 1, clock=lambda: 0.0)
    gate.leave(entered(gate, "a"), seconds)  # counts a twentieth
    entered(gate, "a")
    assert refusal(gate, "b").seconds == told


def test_quick_calls_come_back_after_hundredths_of_a_second_and_not_before_two() -> None:
    gate, told = Gate(1, 1, clock=lambda: 0.0), list[float]()
    for calls in (0, 12, 8, 60):
        for _ in range(calls):
            gate.leave(entered(gate, "a"), 0.001)
        place = entered(gate, "a")
        told.append(refusal(gate, f"b-{calls}-{len(told)}").seconds)
        gate.leave(place, 0.0)
    assert told == [0.1, 0.05, 0.04, 0.02]


def test_those_of_a_caller_come_back_one_after_the_other_as_places_come_free_and_after_five_seconds_at_most() -> None:
    now = 100.0
    gate = Gate(1, 1, clock=lambda: now)
    gate.leave(entered(gate, "a"), 0.1)  # the first after a long time: a second, as far as it counts
    now += 0.2
    gate.leave(entered(gate, "a"), 0.1)
    entered(gate, "a")
    told = [refusal(gate, "b").seconds for _ in range(40)]
    # 0.1 s, then each 0.14775 s later: (0.1 x 0.95 + 0.05) x 0.95 + 0.2 x 0.05.
    assert (told[0], told[1], told[29], told[39]) == (0.1, 0.25, 4.4, 5.0)
    assert refusal(gate, "c").seconds == 0.1
    now += 5.0
    assert refusal(gate, "b").seconds == 0.15


@pytest.mark.parametrize(
    ("over", "places", "per_caller_max", "reason", "message"),
    [
        ("OVERLOADED", 2, 2, "OVERLOADED", "2 calls are running already"),
        ("OVERLOADED", 8, 2, "CALLER_OVER_SHARE", "The caller already has 1 calls running"),
        ("TOO_MANY_LONG_POLLS", 2, 2, "TOO_MANY_LONG_POLLS", "2 long polls are waiting already"),
        ("TOO_MANY_LONG_POLLS", 8, 2, "TOO_MANY_LONG_POLLS", "2 long polls are waiting already"),
    ],
)
def test_a_refusal_says_whether_the_server_or_the_callers_share_is_full(
    over: str, places: int, per_caller_max: int, reason: str, message: str
) -> None:
    gate = Gate(places, per_caller_max, over, bytes_max=1_000, clock=lambda: 0.0)
    entered(gate, "b")
    entered(gate, "a")
    refused = refusal(gate, "a")
    assert (refused.reason, refused.code) == (reason, "RESOURCE_EXHAUSTED")
    assert refused.message.startswith(message)


def test_a_brake_without_room_is_the_reason_and_says_when_there_is_some() -> None:
    for brake_seconds, told in ((3.0, 3.0), (0.01, 0.1)):
        gate = Gate(8, 8, brake=(brake := Brake(1, seconds=brake_seconds)), clock=lambda: 0.0)
        served(gate, "a", 100)
        entered(gate, "a")
        refused = refusal(gate, "a")
        assert (refused.reason, refused.seconds) == (brake.reason, told)
        # With spare room for others it is a reason all the same, and with room for all it is none.
        brake.spare = 10**6
        assert refusal(gate, "a").reason == brake.reason
        brake.bytes = 10**6
        gate = Gate(8, 1, brake=brake, clock=lambda: 0.0)
        entered(gate, "a")
        assert refusal(gate, "a").reason == "CALLER_OVER_SHARE"


# ------------------------------------------------------------------------------------------------ callers that are forgotten


def test_of_more_than_4096_callers_a_quarter_is_forgotten_that_had_the_least_and_nobody_who_is_here() -> None:
    gate = Gate(8_192, 8_192)
    known = {}
    for number in range(CALLERS_MAX - 2):
        name = f"caller-{number:04d}"
        known[name] = served(gate, name, 10_000 + number).caller
        known[name].finish = float(number)  # as if all had begun at one time
    slow, here = entered(gate, "slow"), entered(gate, "here")
    gate.slow(slow, lambda: None)
    slow.caller.finish = here.caller.finish = -1.0
    last = entered(gate, "last")
    gate.leave(last, 0.0)
    # 4,097 callers: 1,025 are forgotten, so that 3,072 are left.
    remembered = [name for name, caller in known.items() if entered(gate, name).caller is caller]
    assert remembered == [f"caller-{number:04d}" for number in range(1_025, CALLERS_MAX - 2)]
    assert entered(gate, "here").caller is here.caller
    assert entered(gate, "slow").caller is slow.caller


def test_4096_callers_are_all_remembered() -> None:
    gate = Gate(8_192, 8_192)
    known = {f"caller-{number}": served(gate, f"caller-{number}", 1).caller for number in range(CALLERS_MAX)}
    assert all(entered(gate, name).caller is caller for name, caller in known.items())
