"""Spans of batches: what is exported, when, and what is passed on."""

from collections.abc import Iterator, Sequence

import pytest

from libs import telemetry
from libs.telemetry import trace
from libs.telemetry.trace import LINKS_MAX, Span

HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = HEADER[:-1] + "0"


class Clock:
    """Nanoseconds that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def exported(clock: Clock) -> Iterator[list[Span]]:
    """Collect what is exported, with nothing sampled by itself and one second as slow."""
    spans: list[Span] = []

    def export(batch: Sequence[Span]) -> None:
        spans.extend(batch)

    trace.configure(ratio=0.0, slow_seconds=1.0, export=export, seed=1, clock=clock)
    yield spans
    trace.configure(ratio=0.0, slow_seconds=1.0, export=None)


def test_a_sampled_trace_is_exported_with_its_parents(exported: list[Span]) -> None:
    with telemetry.span("outer", parent=HEADER) as outer, telemetry.span("inner", attributes={"rows": 5}) as inner:
        assert telemetry.traceparent() == inner.traceparent
    assert [(each.name, each.parent_id) for each in exported] == [
        ("outer", "b7ad6b7169203331"),
        ("inner", outer.span_id),
    ]
    assert {each.trace_id for each in exported} == {"0af7651916cd43dd8448eb211c80319c"}
    assert inner.attributes == {"rows": 5}


def test_an_unsampled_batch_that_went_well_and_fast_is_not_exported(exported: list[Span]) -> None:
    with telemetry.span("outer", parent=UNSAMPLED), telemetry.span("inner"):
        pass
    assert exported == []


def test_an_unsampled_batch_that_failed_is_exported_afterwards_with_all_its_spans(exported: list[Span]) -> None:
    def work() -> None:
        with telemetry.span("outer", parent=UNSAMPLED):
            with telemetry.span("first"):
                pass
            with telemetry.span("second"):
                raise KeyError

    with pytest.raises(KeyError):
        work()
    assert [(each.name, each.failure) for each in exported] == [
        ("outer", "KeyError"),
        ("first", ""),
        ("second", "KeyError"),
    ]


def test_a_failure_that_was_handled_inside_is_exported_too(exported: list[Span]) -> None:
    with telemetry.span("outer", parent=UNSAMPLED), telemetry.span("inner") as inner:
        inner.fail("STORE_UNAVAILABLE")
    assert [each.name for each in exported] == ["outer", "inner"]
    assert exported[0].attributes == {"failed_within": "inner"}


def test_a_slow_batch_is_exported_afterwards_with_its_own_times(exported: list[Span], clock: Clock) -> None:
    with telemetry.span("slow", parent=UNSAMPLED):
        clock.now += 1_500_000_000
    assert [(each.start_nanos, each.end_nanos) for each in exported] == [(1_000_000_000, 2_500_000_000)]
    assert exported[0].traceparent.endswith("-00")


def test_a_clock_that_was_set_back_gives_no_negative_time(exported: list[Span], clock: Clock) -> None:
    with telemetry.span("odd", parent=HEADER):
        clock.now -= 500
    assert exported[0].end_nanos == exported[0].start_nanos


def test_a_batch_links_at_most_a_hundred_calls(exported: list[Span]) -> None:
    with telemetry.span("batch", links=[HEADER] * 250, parent=HEADER):
        pass
    assert len(exported[0].links) == LINKS_MAX
    assert exported[0].attributes["links_left_out"] == 150


def test_spans_kept_for_one_batch_are_limited(exported: list[Span]) -> None:
    with telemetry.span("batch", parent=HEADER):
        for _ in range(trace.CHILD_SPANS_MAX + 10):
            with telemetry.span("row"):
                pass
    assert len(exported) == trace.CHILD_SPANS_MAX + 1
    assert exported[0].attributes["spans_left_out"] == 10


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        "01" + HEADER[2:],
        HEADER.upper(),
        HEADER + "\n",
        "00-" + "0" * 32 + HEADER[35:],
        HEADER[:36] + "0" * 16 + HEADER[52:],
    ],
)
def test_what_is_no_traceparent_starts_a_new_trace(header: str, exported: list[Span]) -> None:
    with telemetry.span("x", parent=header) as span:
        assert trace.valid_traceparent(span.traceparent)
        assert span.trace_id != HEADER[3:35]


def test_one_new_trace_in_a_hundred_is_sampled() -> None:
    trace.configure(ratio=0.01, slow_seconds=1.0, export=None, seed=7)
    sampled = sum(telemetry.new_traceparent().endswith("-01") for _ in range(20_000))
    assert 150 < sampled < 250
    trace.configure(ratio=0.0, slow_seconds=1.0, export=None)
