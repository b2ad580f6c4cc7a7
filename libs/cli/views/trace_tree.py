"""Tree of a consignment's spans: the spans that belong to it, their parents, and their times."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from libs.client.traces import ServiceSpan, Story
from libs.telemetry.context import span_of
from luxor.trace.v1 import trace_pb2

PART: Final = "clearance.decide"
"""Name of the span of a part of a batch; such spans that no fact names belong to other consignments."""
SHORT_MICROS: Final = 5_000
SHORT_SHARE: Final = 0.01


@dataclass(slots=True)
class Node:
    """A span in the tree."""

    recorded: ServiceSpan
    children: list["Node"] = field(default_factory=list)
    linked: bool = False
    """Whether it is connected to its parent by a link, because it is in a trace of its own."""
    hidden: int = 0
    """Number of short child spans that are not shown."""
    hidden_micros: int = 0

    @property
    def start(self) -> int:
        """Begin, microseconds since 1970."""
        return self.recorded.span.started_at_micros

    @property
    def end(self) -> int:
        """End, as above."""
        return self.recorded.span.ended_at_micros

    @property
    def micros(self) -> int:
        """Duration."""
        return self.end - self.start

    def walk(self) -> Iterator["Node"]:
        """Yield this node and all nodes below it."""
        yield self
        for child in self.children:
            yield from child.walk()

    def own_micros(self) -> int:
        """Return the time that no child covers."""
        covered, at = 0, self.start
        for child in sorted(self.children, key=lambda each: each.start):
            begin, end = max(at, child.start), min(self.end, child.end)
            if end > begin:
                covered += end - begin
                at = end
        return max(0, self.micros - covered - self.hidden_micros)


@dataclass(frozen=True, slots=True)
class Chapter:
    """The work that followed from one call, as a tree with a time axis of its own."""

    root: Node
    start: int
    end: int

    @property
    def micros(self) -> int:
        """Duration from the first start to the last end; never 0."""
        return max(1, self.end - self.start)


def chapters(story: Story) -> list[Chapter]:
    """Return the spans of a story as chapters, in the order of their starts."""
    chosen = _relevant(story)
    nodes = {ident: Node(found_chapters) for ident, found_chapters in chosen.items()}
    roots = []
    for node in sorted(nodes.values(), key=lambda each: (each.start, -each.end)):
        above = _above(node, nodes)
        if above is None:
            roots.append(node)
        else:
            above.children.append(node)
    found_chapters = []
    for root in roots:
        everything = list(root.walk())
        found_chapters.append(
            Chapter(root, min(each.start for each in everything), max(each.end for each in everything))
        )
    return found_chapters


def fold(chapter: Chapter) -> None:
    """Hide short spans without failures and children."""
    bound = max(SHORT_MICROS, int(chapter.micros * SHORT_SHARE))
    for node in list(chapter.root.walk()):
        short = [
            each for each in node.children if not each.children and not each.recorded.span.failure and each.micros < bound
            and not each.linked and each.recorded.service == node.recorded.service and not each.hidden
        ]  # fmt: skip
        node.children = [each for each in node.children if each not in short]
        node.hidden = len(short)
        node.hidden_micros = sum(each.micros for each in short)


def slowest(chapter: Chapter) -> Node:
    """Return the span with the longest time of its own, without its children."""
    return max(chapter.root.walk(), key=Node.own_micros)


def _above(node: Node, nodes: dict[str, Node]) -> Node | None:
    """Return the parent node of a node: a linked batch of the same service, its parent span, or a linked span."""
    span, service = node.recorded.span, node.recorded.service
    for link in span.links:
        other = nodes.get(span_of(link))
        # The batch of a part is in another trace.
        if (
            other is not None
            and other is not node
            and other.recorded.service == service
            and other.recorded.span.trace_id != span.trace_id
        ):
            node.linked = True
            return other
    parent = nodes.get(span.parent_span_id)
    if parent is not None:
        return parent
    for link in span.links:
        other = nodes.get(span_of(link))
        if other is not None and other is not node:
            node.linked = True
            return other
    return None


def _relevant(story: Story) -> dict[str, ServiceSpan]:
    """Return the spans of the consignment: those that facts name, their root spans, and all work that followed."""
    named = {span_of(fact.traceparent) for _, fact in story.facts if fact.traceparent} & set(story.spans)
    if not named:
        return dict(story.spans)
    dropped = {
        ident
        for ident, told in story.spans.items()
        if told.span.name == PART and ident not in named and not told.span.failure
    }
    own = _own_trees(story)
    members: dict[str, set[str]] = {}
    for ident, root in own.items():
        members.setdefault(root, set()).add(ident)
    chosen: set[str] = set()
    waiting = {own[ident] for ident in named}
    left = set(members) - waiting - dropped
    while waiting:
        chosen |= _without(story, members[waiting.pop()], dropped)
        following = {root for root in left if _follows(story.spans[root].span, chosen)}
        left -= following
        waiting |= following
    return {ident: told for ident, told in story.spans.items() if ident in chosen}


def _follows(span: trace_pb2.Span, chosen: set[str]) -> bool:
    return span.parent_span_id in chosen or any(span_of(link) in chosen for link in span.links)


def _own_trees(story: Story) -> dict[str, str]:
    """Return for each span its outermost ancestor in the same service."""
    found: dict[str, str] = {}
    for ident, told in story.spans.items():
        root, visited = ident, {ident}
        while True:
            above = story.spans[root].span.parent_span_id
            if above not in story.spans or above in visited or story.spans[above].service != told.service:
                break
            visited.add(above)
            root = above
        found[ident] = root
    return found


def _without(story: Story, members: set[str], dropped: set[str]) -> set[str]:
    """Return the members without parts of other consignments and the spans below those."""
    remaining = members - dropped
    changed = True
    while changed:
        removed = {
            ident
            for ident in remaining
            if story.spans[ident].span.parent_span_id in dropped
            or (
                story.spans[ident].span.parent_span_id in members
                and story.spans[ident].span.parent_span_id not in remaining
            )
        }
        changed = bool(removed)
        remaining -= removed
    return remaining
