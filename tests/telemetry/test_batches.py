"""In which trace work on a batch stands, what it links, and where traces are sampled."""

from collections.abc import Iterator, Sequence

import pytest

from libs import telemetry
from libs.telemetry import trace
from libs.telemetry.drops import DROPPED
from libs.telemetry.trace import Span

FIRST = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
SECOND = "00-1bf7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01"


THIRD = "00-2cf7651916cd43dd8448eb211c80319c-d7ad6b7169203331-00"


def lost() -> float:
    (samples,) = DROPPED.labels("root").collect()
    return next(each.value for each in samples.samples if each.name.endswith("_total"))


@pytest.fixture
def exported() -> Iterator[list[Span]]:
    spans: list[Span] = []

    def export(batch: Sequence[Span]) -> None:
        spans.extend(batch)

    trace.configure(ratio=0.0, slow_seconds=3600.0, export=export, seed=1)
    yield spans
    trace.configure(ratio=0.0, slow_seconds=1.0, export=None)


@pytest.fixture
def recorded() -> Iterator[list[Span]]:
    roots: list[Span] = []
    trace.configure(ratio=0.0, slow_seconds=3600.0, export=None, seed=1)
    take = roots.append
    trace.record_into(take)
    yield roots
    trace.record_no_more(take)
    trace.configure(ratio=0.0, slow_seconds=1.0, export=None)


def test_work_on_what_comes_of_one_trace_is_a_part_of_that_trace() -> None:
    with telemetry.batch_span("consume", [FIRST, FIRST]) as span:
        assert (span.trace_id, span.parent_id, span.root) == (FIRST[3:35], FIRST[36:52], None)
        assert span.links == (FIRST,)
        with telemetry.batch_span("decide", [FIRST]) as part:
            assert (part.parent_id, part.root, part.links) == (span.span_id, span, (FIRST,))


def test_work_on_a_mixed_batch_is_a_trace_of_its_own_that_links_all() -> None:
    with telemetry.batch_span("consume", [FIRST, "", SECOND, FIRST, "nonsense"]) as span:
        assert span.trace_id not in (FIRST[3:35], SECOND[3:35])
        assert (span.parent_id, span.links) == ("", (FIRST, SECOND))
        with telemetry.batch_span("mixed part", [FIRST, SECOND]) as part:
            assert (part.trace_id, part.parent_id) == (span.trace_id, span.span_id)


def test_a_part_of_a_mixed_batch_that_comes_of_one_trace_is_in_that_and_links_the_batch() -> None:
    with telemetry.batch_span("consume", [FIRST, SECOND]) as span, telemetry.batch_span("part", [SECOND]) as part:
        assert (part.trace_id, part.parent_id, part.root) == (SECOND[3:35], SECOND[36:52], None)
        assert part.links == (span.traceparent, SECOND)
        assert part.sampled


def test_a_mixed_batch_is_sampled_where_one_of_its_sources_is_and_not_by_chance() -> None:
    trace.configure(ratio=1.0, slow_seconds=1.0, export=None)
    with telemetry.batch_span("consume", [FIRST, SECOND]) as span:
        assert span.sampled
    with telemetry.batch_span("consume", [FIRST, FIRST.replace("0af7", "0bf7")]) as span:
        assert not span.sampled
    trace.configure(ratio=0.0, slow_seconds=1.0, export=None)


def test_work_on_what_tells_no_trace_begins_one() -> None:
    with telemetry.batch_span("consume", ["", ""]) as span:
        assert trace.valid_traceparent(span.traceparent)
        assert (span.parent_id, span.links) == ("", ())


def test_a_part_in_a_trace_of_its_own_is_recorded_with_the_batch_that_wrote(recorded: list[Span]) -> None:
    for wrote in (False, True):
        with telemetry.batch_span("consume", [FIRST, THIRD]) as batch:
            with telemetry.batch_span("decide", [FIRST]) as part, telemetry.client_span("Assess"):
                pass
            assert (part.trace_id, part.root, part.sampled) == (FIRST[3:35], None, False)
            assert recorded == [], "nothing of it is committed yet"
            batch.wrote = wrote
        assert bool(recorded) == wrote
    assert [each.name for each in recorded] == ["consume", "decide"]
    assert [each.name for each in recorded[1].child_spans] == ["Assess"]


def test_a_part_of_a_batch_that_failed_is_told_with_it_and_one_that_failed_is_told_once(exported: list[Span]) -> None:
    with telemetry.batch_span("consume", [FIRST, THIRD]) as batch:
        with telemetry.batch_span("well", [FIRST]):
            pass
        with telemetry.batch_span("bad", [THIRD]) as part:
            part.fail("UNAVAILABLE")
        assert [each.name for each in exported] == ["bad"]
        batch.fail("UNAVAILABLE")
    assert [each.name for each in exported] == ["bad", "consume", "well"]


def test_parts_that_wait_for_their_batch_are_bounded_and_counted(recorded: list[Span]) -> None:
    with telemetry.batch_span("consume", [FIRST, THIRD]) as batch:
        for _ in range(trace.CHILD_SPANS_MAX + 3):
            with telemetry.batch_span("decide", [FIRST]), telemetry.client_span("Assess"):
                pass
        batch.wrote = True
    assert len(recorded) == 1 + trace.CHILD_SPANS_MAX
    assert recorded[0].attributes["spans_left_out"] == 6


def test_a_part_of_very_many_calls_still_links_the_batch(recorded: list[Span]) -> None:
    calls = [f"{FIRST[:36]}{number:016x}-00" for number in range(1, 200)]
    with telemetry.batch_span("consume", [*calls, THIRD]) as batch, telemetry.batch_span("decide", calls) as part:
        assert part.links[0] == batch.traceparent
        assert len(part.links) == trace.LINKS_MAX


class Clock:
    """Nanoseconds that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now


def heads(header: str, count: int) -> int:
    """Serve calls from outside; gives how many of them are sampled."""
    sampled = 0
    for _ in range(count):
        span = trace.server_span("Submit", header)
        trace.sample_head(span)
        sampled += span.sampled
        if header:
            assert (span.trace_id, span.parent_id) == (header[3:35], header[36:52]), "its ids are kept"
    return sampled


def test_the_head_of_a_call_from_outside_is_drawn_by_our_ratio_whatever_its_flag_says() -> None:
    trace.configure(ratio=0.25, slow_seconds=1.0, export=None, seed=3, clock=Clock())
    for header in ("", FIRST, SECOND):
        assert 850 < heads(header, 4000) < 1150
    trace.configure(ratio=0.0, slow_seconds=1.0, export=None)


def test_a_flag_from_outside_raises_the_ratio_by_one_call_a_second_at_most() -> None:
    clock = Clock()
    trace.configure(ratio=0.0, slow_seconds=1.0, export=None, seed=3, clock=clock)
    try:
        assert heads(SECOND, 1000) == 1
        clock.now += 999_999_999
        assert heads(SECOND, 1000) == 0
        clock.now += 1
        assert heads(FIRST, 1000) == 0
        assert heads(SECOND, 1000) == 1
        clock.now -= 3_600_000_000_000
        assert heads(SECOND, 1000) == 1, "a clock that is set back does not end it"
        clock.now += 1_000_000_000
        trace.use_traceparent(SECOND)
        trace.unsample_head()
        assert telemetry.traceparent() == SECOND[:-1] + "0"
        assert heads(SECOND, 1000) == 1, "a call that is no span takes no turn"
    finally:
        trace.current_context.set("")
        trace.configure(ratio=0.0, slow_seconds=1.0, export=None)


def test_a_span_that_begins_after_its_root_has_ended_is_a_root_of_the_same_trace(exported: list[Span]) -> None:
    before = lost()
    with telemetry.span("root", parent=SECOND) as root:
        late = telemetry.span("late")
    attributes = dict(root.attributes)
    with late:
        late.fail("CancelledError")
    assert root.attributes == attributes, "others may read it by now"
    assert [each.name for each in exported] == ["root"]
    assert lost() - before == 1, "its root was handed over before it ended"
    assert root.left_out == 0
    token = trace.current_context.set(root)
    with telemetry.span("later") as later:
        pass
    trace.current_context.reset(token)
    assert (later.trace_id, later.parent_id, later.root) == (root.trace_id, root.span_id, None)
    assert [each.name for each in exported] == ["root", "later"]


def test_what_is_sampled_and_which_trace_it_is_can_be_asked_for_an_exemplar() -> None:
    assert not trace.sampled()
    with telemetry.span("x", parent=SECOND):
        assert trace.sampled()
        assert trace.trace_id() == SECOND[3:35]
    with telemetry.span("x", parent=FIRST):
        assert not trace.sampled()


def test_roots_that_wrote_failed_or_are_sampled_are_recorded_and_others_are_not(recorded: list[Span]) -> None:
    with telemetry.span("looked", parent=FIRST):
        pass
    with telemetry.span("wrote", parent=FIRST) as wrote:
        wrote.wrote = True
        with telemetry.span("inside"):
            pass
    with telemetry.span("sampled", parent=SECOND):
        pass
    with telemetry.span("failed", parent=FIRST) as failed:
        failed.fail("INTERNAL")
    assert [each.name for each in recorded] == ["wrote", "sampled", "failed"]
    assert [each.name for each in recorded[0].child_spans] == ["inside"]


def test_switched_off_spans_measure_nothing_and_pass_the_context_on(recorded: list[Span]) -> None:
    trace.switch(on=False)
    try:
        with trace.server_span("Submit", SECOND) as call:
            call.set(rows=1)
            assert telemetry.traceparent() == call.traceparent == SECOND
            with telemetry.batch_span("x", [FIRST]) as inner:
                inner.fail("INTERNAL")
                assert inner.traceparent == SECOND
            assert trace.current_span() is None
            assert not inner.attributes
    finally:
        trace.switch(on=True)
        trace.current_context.set("")
    assert recorded == []
