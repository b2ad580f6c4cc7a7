"""How often something may be done for a key: compared with a plain count, and at both sides of each bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from libs.server.admission.rate import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_key_has_its_burst_and_then_one_in_each_interval() -> None:
    clock = Clock()
    limit = RateLimit(60.0, 3, 10, clock=clock)
    assert [limit.wait("a") for _ in range(3)] == [0.0] * 3
    assert limit.wait("a") == 60.0
    assert limit.wait("b") == 0.0, "another key has its own"
    clock.now += 59.0
    assert limit.wait("a") == 1.0, "what was refused was not counted"
    clock.now += 1.0
    assert limit.wait("a") == 0.0
    assert limit.wait("a") == 60.0
    clock.now += 180.0
    assert [limit.wait("a") for _ in range(4)] == [0.0, 0.0, 0.0, 60.0]


def test_a_limit_without_a_burst_has_one_in_each_interval() -> None:
    clock = Clock()
    limit = RateLimit(0.5, 1, 10, clock=clock)
    assert [limit.wait("a"), limit.wait("a")] == [0.0, 0.5]
    clock.now += 0.5
    assert limit.wait("a") == 0.0


def test_the_least_recently_used_key_is_forgotten_beyond_the_number_of_keys() -> None:
    limit = RateLimit(60.0, 1, 2, clock=Clock())
    assert [limit.wait(key) for key in ("a", "b")] == [0.0, 0.0]
    assert [limit.wait(key) for key in ("a", "b")] == [60.0, 60.0], "two keys are remembered"
    assert limit.wait("c") == 0.0
    assert [limit.wait(key) for key in ("b", "c", "a")] == [60.0, 60.0, 0.0], "the third replaced the first"


@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(0, 90), st.sampled_from("ab")), max_size=60),
)
def test_it_equals_a_bucket_that_is_refilled_by_one_each_interval(burst: int, calls: list[tuple[int, str]]) -> None:
    clock = Clock()
    limit = RateLimit(10.0, burst, 10, clock=clock)
    # The definition: a key's bucket holds at most `burst`, gains 1/10 a second, and each permitted call takes one.
    tenths = dict.fromkeys("ab", burst * 10)
    for pause, key in calls:
        clock.now += pause
        tenths = {each: min(burst * 10, amount + pause) for each, amount in tenths.items()}
        wait = limit.wait(key)
        if tenths[key] >= 10:
            tenths[key] -= 10
            assert wait == 0.0
        else:
            assert abs(wait - (10 - tenths[key])) < 1e-6
