"""One consignment's spans as a tree: which belong to it, what hangs under what, how much of the whole each took."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from libs.client.traces import Story, Told
from libs.telemetry.context import span_of
from luxor.trace.v1 import trace_pb2

PART: Final = "clearance.decide"
"""The span of a part of a batch: those that no fact names are of other consignments."""
SHORT_MICROS: Final = 5_000
SHORT_SHARE: Final = 0.01


@dataclass(slots=True)
class Node:
    """A span in the tree."""

    told: Told
    children: list["Node"] = field(default_factory=list)
    linked: bool = False
    """Whether it hangs where it does by a link: it is in a trace of its own."""
    hidden: int = 0
    """Short spans inside of it that are not shown."""
    hidden_micros: int = 0

    @property
    def start(self) -> int:
        """Begin, microseconds since 1970."""
        return self.told.span.started_at_micros

    @property
    def end(self) -> int:
        """End, as above."""
        return self.told.span.ended_at_micros

    @property
    def micros(self) -> int:
        """Duration."""
        return self.end - self.start

    def walk(self) -> Iterator["Node"]:
        """Give this node and all below."""
        yield self
        for child in self.children:
            yield from child.walk()

    def own_micros(self) -> int:
        """How much of the time no child accounts for."""
        covered, at = 0, self.start
        for child in sorted(self.children, key=lambda each: each.start):
            begin, end = max(at, child.start), min(self.end, child.end)
            if end > begin:
                covered += end - begin
                at = end
        return max(0, self.micros - covered - self.hidden_micros)


@dataclass(frozen=True, slots=True)
class Chapter:
    """What followed from one call: a tree of its own, with its own time."""

    root: Node
    start: int
    end: int

    @property
    def micros(self) -> int:
        """From the first begin to the last end; never 0."""
        return max(1, self.end - self.start)


def chapters(story: Story) -> list[Chapter]:
    """Put the spans of a story in order, the first chapter first."""
    chosen = _relevant(story)
    nodes = {ident: Node(told) for ident, told in chosen.items()}
    roots = []
    for node in sorted(nodes.values(), key=lambda each: (each.start, -each.end)):
        above = _above(node, nodes)
        if above is None:
            roots.append(node)
        else:
            above.children.append(node)
    told = []
    for root in roots:
        everything = list(root.walk())
        told.append(Chapter(root, min(each.start for each in everything), max(each.end for each in everything)))
    return told


def fold(chapter: Chapter) -> None:
    """Take out what is short, went well, and has nothing below."""
    bound = max(SHORT_MICROS, int(chapter.micros * SHORT_SHARE))
    for node in list(chapter.root.walk()):
        short = [
            each for each in node.children if not each.children and not each.told.span.failure and each.micros < bound
            and not each.linked and each.told.service == node.told.service and not each.hidden
        ]  # fmt: skip
        node.children = [each for each in node.children if each not in short]
        node.hidden = len(short)
        node.hidden_micros = sum(each.micros for each in short)


def slowest(chapter: Chapter) -> Node:
    """Give the span that most of the chapter's time was spent in, not counting what its children account for."""
    return max(chapter.root.walk(), key=Node.own_micros)


def _above(node: Node, nodes: dict[str, Node]) -> Node | None:
    """Give the node that this one hangs under: its parent, or what it links where that tells more."""
    span, service = node.told.span, node.told.service
    for link in span.links:
        other = nodes.get(span_of(link))
        # The batch that a part was worked on in stands in another trace, around it.
        if (
            other is not None
            and other is not node
            and other.told.service == service
            and other.told.span.trace_id != span.trace_id
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


def _relevant(story: Story) -> dict[str, Told]:
    """Choose what belongs to the consignment: what the facts name, the roots around it, and all that followed."""
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
    """Give for each span the outermost one of the same service that it stands in."""
    found: dict[str, str] = {}
    for ident, told in story.spans.items():
        root, seen = ident, {ident}
        while True:
            above = story.spans[root].span.parent_span_id
            if above not in story.spans or above in seen or story.spans[above].service != told.service:
                break
            seen.add(above)
            root = above
        found[ident] = root
    return found


def _without(story: Story, members: set[str], dropped: set[str]) -> set[str]:
    """Leave out parts that are of other consignments, with all inside of them."""
    kept = members - dropped
    changed = True
    while changed:
        gone = {
            ident
            for ident in kept
            if story.spans[ident].span.parent_span_id in dropped
            or (
                story.spans[ident].span.parent_span_id in members and story.spans[ident].span.parent_span_id not in kept
            )
        }
        changed = bool(gone)
        kept -= gone
    return kept
