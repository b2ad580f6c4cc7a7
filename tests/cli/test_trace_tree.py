"""Which spans belong to a consignment, what hangs under what, and what is folded away."""

from libs.cli.views.trace_tree import chapters, fold, slowest
from libs.client.traces import ServiceSpan, Story
from luxor.trace.v1 import trace_pb2 as pb

MILLI = 1000


class Making:
    """Makes a story span by span; ids are short names, filled up."""

    def __init__(self) -> None:
        self.story = Story()

    def span(
        self, service: str, ident: str, trace: str, parent: str = "", *, at: tuple[int, int], name: str = "",
        links: tuple[str, ...] = (), failure: str = "",
    ) -> None:  # fmt: skip
        """Add one; `links` are trace.span."""
        self.story.spans[full(ident)] = ServiceSpan(
            service,
            pb.Span(
                name=name or ident,
                trace_id=trace.ljust(32, "0"),
                span_id=full(ident),
                parent_span_id=full(parent) if parent else "",
                started_at_micros=at[0] * MILLI,
                ended_at_micros=at[1] * MILLI,
                failure=failure,
                links=[header(*each.split(".")) for each in links],
            ),
        )

    def fact(self, service: str, trace: str, ident: str) -> None:
        """Say that the consignment was worked on in a span."""
        self.story.facts.append((service, pb.Fact(version=1, traceparent=header(trace, ident))))

    def drawn(self) -> list[str]:
        """Give the tree as indented names, ⇠ before what is linked."""
        return [
            line
            for chapter in chapters(self.story)
            for line in self._lines(chapter.root, 0)
        ]  # fmt: skip

    def _lines(self, node, depth):  # type: ignore[no-untyped-def]
        mark = "⇠" if node.linked else ""
        yield "  " * depth + mark + node.recorded.span.name
        for child in node.children:
            yield from self._lines(child, depth + 1)


def full(ident: str) -> str:
    return ident.ljust(16, "0")


def header(trace: str, ident: str) -> str:
    return f"00-{trace.ljust(32, '0')}-{full(ident)}-00"


def filed(making: Making, trace: str = "a", call: str = "call") -> None:
    making.span("ingestion", call, trace, "outside", at=(0, 50))
    making.span("ingestion", f"{call}-tx", trace, call, at=(5, 45))
    making.fact("ingestion", trace, call)


def test_one_trace_is_one_tree_over_all_services() -> None:
    making = Making()
    filed(making)
    making.span("clearance", "consume", "a", "call", at=(70, 200), links=("a.call",))
    making.span("clearance", "decide", "a", "consume", at=(75, 150), name="clearance.decide", links=("a.call",))
    making.span("clearance", "ask", "a", "decide", at=(80, 140))
    making.span("risk", "serve", "a", "ask", at=(85, 135))
    making.span("statistics", "count", "a", "decide", at=(230, 260), links=("a.decide",))
    making.fact("clearance", "a", "decide")
    making.fact("risk", "a", "serve")
    assert making.drawn() == [
        "call", "  call-tx", "  consume", "    clearance.decide", "      ask", "        serve", "      count",
    ]  # fmt: skip
    (chapter,) = chapters(making.story)
    assert (chapter.start, chapter.end, chapter.micros) == (0, 260_000, 260_000)


def test_a_mixed_batch_hangs_by_its_link_and_parts_of_others_are_left_out() -> None:
    making = Making()
    filed(making)
    making.span("clearance", "consume", "m", at=(70, 300), links=("a.call", "b.other"))
    making.span("clearance", "ours", "m", "consume", at=(75, 150), name="clearance.decide", links=("a.call", "b.other"))
    making.span("clearance", "theirs", "m", "consume", at=(75, 160), name="clearance.decide", links=("c.third",))
    making.span("clearance", "ask-theirs", "m", "theirs", at=(80, 150))
    making.span("risk", "serve-theirs", "m", "ask-theirs", at=(85, 140))
    making.span(
        "clearance", "alone", "d", "elsewhere", at=(75, 90), name="clearance.decide", links=("d.x", "m.consume")
    )
    making.span("clearance", "commit", "m", "consume", at=(160, 290))
    making.fact("clearance", "m", "ours")
    assert making.drawn() == ["call", "  call-tx", "  ⇠consume", "    clearance.decide", "    commit"]
    assert chapters(making.story)[0].root.children[1].children[0].recorded.span.span_id == full("ours")


def test_a_part_in_the_filer_s_trace_stands_inside_of_the_mixed_batch_that_it_links() -> None:
    making = Making()
    filed(making)
    making.span("clearance", "consume", "m", at=(70, 300), links=("a.call", "b.other"))
    making.span("clearance", "part", "a", "call", at=(75, 150), name="clearance.decide", links=("a.call", "m.consume"))
    making.fact("clearance", "a", "part")
    assert making.drawn() == ["call", "  call-tx", "  ⇠consume", "    ⇠clearance.decide"]


def test_tries_that_failed_are_told_and_a_trace_of_many_calls_tells_ours_alone() -> None:
    making = Making()
    filed(making)
    filed(making, call="next")
    making.story.facts.pop()
    making.span("clearance", "vain", "a", "call", at=(60, 65), failure="UNAVAILABLE", links=("a.call",))
    making.span("clearance", "of-next", "a", "next", at=(60, 65), links=("a.next",))
    making.span("clearance", "consume", "a", "call", at=(70, 90), links=("a.call",))
    making.fact("clearance", "a", "consume")
    assert making.drawn() == ["call", "  call-tx", "  vain", "  consume"]


def test_a_later_call_is_a_chapter_of_its_own() -> None:
    making = Making()
    filed(making)
    making.span("clearance", "arrival", "z", "carrier", at=(60_000, 60_100))
    making.fact("clearance", "z", "arrival")
    assert making.drawn() == ["call", "  call-tx", "arrival"]


def test_without_the_spans_that_the_facts_name_all_that_was_found_is_told() -> None:
    making = Making()
    making.fact("ingestion", "a", "gone")
    making.span("clearance", "consume", "a", "gone", at=(70, 200))
    assert making.drawn() == ["consume"]
    assert chapters(Story()) == []


def test_spans_that_link_each_other_in_a_ring_do_not_hang() -> None:
    making = Making()
    making.span("risk", "one", "x", at=(0, 1), links=("y.two",))
    making.span("risk", "two", "y", at=(0, 1), links=("x.one",))
    making.span("risk", "root", "w", at=(0, 1))
    assert making.drawn() == ["root"]


def test_short_spans_are_folded_and_failed_ones_never() -> None:
    making = Making()
    making.span("statistics", "count", "a", at=(0, 1000))
    for number in range(4):
        making.span("statistics", f"short{number}", "a", "count", at=(number, number + 1))
    making.span("statistics", "bad", "a", "count", at=(6, 7), failure="X")
    making.span("statistics", "long", "a", "count", at=(10, 900))
    (chapter,) = chapters(making.story)
    fold(chapter)
    assert [child.recorded.span.name for child in chapter.root.children] == ["bad", "long"]
    assert (chapter.root.hidden, chapter.root.hidden_micros) == (4, 4_000)


def test_the_longest_by_itself_is_what_no_child_accounts_for() -> None:
    making = Making()
    making.span("clearance", "root", "a", at=(0, 1000))
    making.span("clearance", "one", "a", "root", at=(100, 500))
    making.span("clearance", "two", "a", "root", at=(300, 900))
    making.span("clearance", "deep", "a", "two", at=(310, 400))
    (chapter,) = chapters(making.story)
    assert slowest(chapter).recorded.span.name == "two"
    assert chapter.root.own_micros() == 200_000
