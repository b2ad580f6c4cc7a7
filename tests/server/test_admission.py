"""Admission: limits, fairness, and places that are given back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.server.admission import RETRY_SECONDS_MAX, RETRY_SECONDS_MIN, Gate
from libs.server.errors import Refusal
from libs.server.identity import Identity, Role


def caller(name: str) -> Identity:
    return Identity(Role.FILER, name)


def fill(gate: Gate, who: Identity) -> int:
    """Enter until refused and return how often that went."""
    for entered in range(1000):
        try:
            gate.enter(who)
        except Refusal:
            return entered
    raise AssertionError("never refused")


def test_one_caller_leaves_room_for_the_next() -> None:
    gate = Gate(64, 64)
    assert fill(gate, caller("greedy")) == 32
    assert fill(gate, caller("second")) >= 16
    gate.enter(caller("third"))


def test_a_caller_over_its_share_is_told_so() -> None:
    gate = Gate(64, 4)
    assert fill(gate, caller("a")) == 4
    with pytest.raises(Refusal, match="CALLER_OVER_SHARE"):
        gate.enter(caller("a"))


def test_a_place_given_back_is_free_again() -> None:
    gate = Gate(4, 4)
    entered = fill(gate, caller("a"))
    for _ in range(entered):
        gate.leave(caller("a"), 0.01)
    assert (gate.in_flight, gate.callers) == (0, 0)
    assert fill(gate, caller("a")) == entered


def test_the_time_to_come_back_follows_the_time_that_calls_take() -> None:
    gate = Gate(2, 1)
    waits = []
    for seconds in (0.0, 100.0):
        for _ in range(200):
            gate.enter(caller("a"))
            gate.leave(caller("a"), seconds)
        gate.enter(caller("a"))
        with pytest.raises(Refusal) as caught:
            gate.enter(caller("a"))
        waits.append(caught.value.retry_after_seconds)
        gate.leave(caller("a"), seconds)
    assert waits == [RETRY_SECONDS_MIN, RETRY_SECONDS_MAX]


@given(
    st.integers(2, 40),
    st.integers(1, 40),
    st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=300),
)
def test_the_limits_hold_whatever_comes_and_goes(total: int, each: int, steps: list[tuple[bool, int]]) -> None:
    gate = Gate(total, each)
    held: dict[int, int] = {}
    for enter, who in steps:
        if enter:
            try:
                gate.enter(caller(str(who)))
            except Refusal:
                # Nobody who holds nothing is refused while the server has room.
                assert held.get(who, 0) > 0 or sum(held.values()) == total
                continue
            held[who] = held.get(who, 0) + 1
        elif held.get(who):
            held[who] -= 1
            gate.leave(caller(str(who)), 0.01)
        assert gate.in_flight == sum(held.values()) <= total
        assert max(held.values(), default=0) <= each
        assert gate.callers == sum(1 for count in held.values() if count)
