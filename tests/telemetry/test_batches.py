"""In which trace work on a batch stands, what it links, and where traces are sampled."""

from collections.abc import Iterator, Sequence

import pytest

from libs import telemetry
from libs.telemetry import trace
from libs.telemetry.trace import Span

FIRST = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
SECOND = "00-1bf7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01"


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
        assert part.links == (SECOND, span.traceparent)
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


def test_a_call_from_outside_is_sampled_at_its_head_by_our_ratio_unless_its_flag_says_so_already() -> None:
    trace.configure(ratio=0.25, slow_seconds=1.0, export=None, seed=3)
    fresh, unsampled, flagged = 0, 0, 0
    for _ in range(4000):
        for header in ("", FIRST, SECOND):
            span = trace.server_span("Submit", header)
            trace.sample_head(span)
            fresh += span.sampled and header == ""
            unsampled += span.sampled and header == FIRST
            flagged += span.sampled and header == SECOND
    assert 850 < fresh < 1150, "a call without a context is drawn for once"
    assert 850 < unsampled < 1150
    assert flagged == 4000
    trace.configure(ratio=0.0, slow_seconds=1.0, export=None)


def test_a_span_that_begins_after_its_root_has_ended_is_a_root_of_the_same_trace(exported: list[Span]) -> None:
    with telemetry.span("root", parent=SECOND) as root:
        late = telemetry.span("late")
    with late:
        pass
    assert [each.name for each in exported] == ["root"]
    assert root.left_out == 1, "its root was handed over before it ended"
    token = trace._current.set(root)
    with telemetry.span("later") as later:
        pass
    trace._current.reset(token)
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
    assert [each.name for each in recorded[0].kept] == ["inside"]


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
        trace._current.set("")
    assert recorded == []
