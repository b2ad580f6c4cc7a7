"""View of a consignment's spans: a tree beside a time line."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from libs.cli.views.text import print_whole, safe, short, table, words
from libs.cli.views.trace_tree import Chapter, Node, chapters, fold, slowest
from libs.client.traces import Story
from libs.customs.time import instant_text
from libs.telemetry.context import span_of, trace_of
from luxor.clearance.v1 import clearance_pb2
from luxor.trace.v1 import trace_pb2

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

LINE_CHARACTERS: Final = 24
LINE_WIDTH_MIN: Final = 110
"""Least width of a terminal for the time line; in narrower ones figures and notes use the space."""
_COLOURS: Final = {
    "ingestion": "cyan", "clearance": "green", "risk": "yellow", "revenue": "magenta", "statistics": "blue",
}  # fmt: skip
_NOTED: Final = {"ACCEPTED": "accepted", "ASSESSED": "assessed", "CHANGED": "", "COUNTED": "counted"}


def show(terminal: "Console", reference: str, story: Story, *, everything: bool, slow_micros: int) -> None:
    """Print a story."""
    accepted_at = min(
        (fact.happened_at_micros for _, fact in story.facts if fact.HasField("happened_at_micros")), default=None
    )
    terminal.print(
        f"[bold]{safe(reference)}[/]" + (f"  accepted {_instant(accepted_at)}" if accepted_at is not None else "")
    )
    all_chapters = chapters(story)
    for place, chapter in enumerate(all_chapters):
        worst = slowest(chapter)
        if not everything:
            fold(chapter)
        terminal.print()
        terminal.print(_heading(chapter, all_chapters[0] if place else None), soft_wrap=True)
        print_whole(terminal, _table(chapter, worst, slow_micros, with_line=terminal.width >= LINE_WIDTH_MIN))
    for line in _gaps(story):
        terminal.print(line, soft_wrap=True)
    if not everything and any(node.hidden for chapter in all_chapters for node in chapter.root.walk()):
        terminal.print("[dim]Short spans are counted only; --all shows them.[/]")


def _heading(chapter: Chapter, first: Chapter | None) -> str:
    span = chapter.root.recorded.span
    later = "" if first is None else f", {_time(max(0, chapter.start - first.start))} after the first"
    return (
        f"[bold]{safe(_title(chapter.root))}[/] at {_instant(chapter.start)}{later}: {_time(chapter.micros)} in all  "
        f"[dim]trace {span.trace_id}{', sampled' if span.sampled else ''}[/]"
    )


def _table(chapter: Chapter, worst: Node, slow_micros: int, *, with_line: bool) -> "Table":
    tree = table("", "service", "begins", "takes", "share", *(["when"] if with_line else []), "", right=(2, 3, 4))
    for column in tree.columns[1:-1]:
        column.no_wrap = True
    tree.columns[0].no_wrap = with_line
    for guides, node in _lines(chapter.root, "", ""):
        service = node.recorded.service
        colour = _COLOURS.get(service, "white")
        takes = _time(node.micros)
        if node is worst:
            takes = f"[bold]{takes}[/]"
        tree.add_row(
            f"[dim]{guides}[/]{'[cyan]⇠ [/]' if node.linked else ''}{safe(_title(node))}",
            f"[{colour}]{service}[/]",
            f"+{_time(node.start - chapter.start)}",
            takes,
            f"{node.micros * 100 / chapter.micros:.0f} %",
            *([f"[{'red' if node.recorded.span.failure else colour}]{_bar(node, chapter)}[/]"] if with_line else []),
            _notes(node, node is worst, slow_micros),
        )
    return tree


def _lines(node: Node, guides: str, below: str) -> Iterator[tuple[str, Node]]:
    yield guides, node
    for place, child in enumerate(node.children):
        last = place == len(node.children) - 1
        yield from _lines(child, below + ("└ " if last else "├ "), below + ("  " if last else "│ "))


def _bar(node: Node, chapter: Chapter) -> str:
    scale = LINE_CHARACTERS / chapter.micros
    begin = min(LINE_CHARACTERS - 1, int((node.start - chapter.start) * scale))
    length = max(1, min(LINE_CHARACTERS - begin, round(node.micros * scale)))
    return " " * begin + "━" * length


def _title(node: Node) -> str:
    span = node.recorded.span
    if "/" not in span.name:
        return span.name.removeprefix(f"{node.recorded.service} ")
    # luxor.risk.v1.RiskService/AssessConsignments
    service, _, method = span.name.partition("/")
    if span.kind == trace_pb2.SPAN_KIND_CLIENT:
        return f"calls {method} of {service.split('.')[1]}"
    return method


def _notes(node: Node, is_worst: bool, slow_micros: int) -> str:
    span = node.recorded.span
    attributes = {each.name: each.value for each in span.attributes}
    notes = []
    if span.failure:
        notes.append(f"[bold red]✗ {safe(span.failure)}[/]")
    elif "error.type" in attributes:
        notes.append(f"[yellow]{safe(attributes['error.type'])}[/]")
    if node.micros >= slow_micros:
        notes.append("[bold yellow]slow[/]")
    if is_worst:
        notes.append("[bold]longest own time[/]")
    if "luxor.rows" in attributes:
        notes.append(f"{int(attributes['luxor.rows']):,} rows")
    traces = {trace_of(link) for link in span.links}
    if node.linked or len(traces) > 1:
        left_out = int(attributes.get("links_left_out", "0"))
        count = (
            f"{len(traces) + left_out:,}{'+' if left_out else ''} traces" if len(traces) + left_out != 1 else "1 trace"
        )
        notes.append(f"linked from {count}")
    waited = int(attributes.get("luxor.feed.waited_us", "0"))
    if waited:
        notes.append(f"waited {_time(waited)} in the feed")
    notes.extend(_store_notes(attributes))
    if node.hidden:
        notes.append(f"[dim]+{node.hidden} short, {_time(node.hidden_micros)}[/]")
    return ", ".join(notes)


def _store_notes(attributes: dict[str, str]) -> Iterator[str]:
    if "luxor.db.statements" in attributes:
        count = int(attributes["luxor.db.statements"])
        yield f"{count} statement{'s' if count != 1 else ''}"
    for name, what in (("luxor.db.wait_us", "waited {} for a connection"), ("luxor.db.commit_us", "commit {}")):
        micros = int(attributes.get(name, "0"))
        if micros >= 1_000:
            yield what.format(_time(micros))
    if "luxor.db.undone_by" in attributes:
        yield f"rolled back by {safe(attributes['luxor.db.undone_by'])}"


def _gaps(story: Story) -> Iterator[str]:
    """Yield lines about missing spans, with the reason if it is known."""
    has_gap = False
    for service, fact in story.facts:
        if span_of(fact.traceparent) in story.spans:
            continue
        if not has_gap:
            yield ""
            has_gap = True
        yield f"[yellow]{service}[/] {_event_text(fact)}: {_missing_reason(story, service, fact)}"
    for service, error in story.silent.items():
        yield f"[red]{service} did not answer[/]: {safe(error.reason)}, {safe(error.sentence)}"
    if story.facts:
        services = {service for service, _ in story.facts} | set(story.silent)
        for service in [each for each in story.oldest_span_at_micros if each not in services]:
            yield f"[dim]{service} has no record of it yet[/]"
    for count, what in (
        (story.left_out, "more spans were found and are left out"),
        (story.records_left_out, "more records name these traces and were not read: those farthest from the facts"),
        (story.days_left_out, "days of records were not searched, because that would take too long"),
        (story.traces_left_out, "more traces were named and not searched"),
    ):
        if count:
            yield f"[yellow]{count:,} {what}[/]"


def _event_text(fact: trace_pb2.Fact) -> str:
    kind = short(trace_pb2.FactKind.Name(fact.kind), "FACT_KIND_")
    state = short(clearance_pb2.State.Name(fact.state), "STATE_")
    done = _NOTED.get(kind, "") or f"changed it to {words(state)}"
    return f"{done} (version {fact.version}{f', {_instant(fact.happened_at_micros)}' if fact.HasField('happened_at_micros') else ''})"


def _missing_reason(story: Story, service: str, fact: trace_pb2.Fact) -> str:
    if not fact.traceparent:
        return "no trace was recorded with it"
    since = story.oldest_span_at_micros.get(service)
    if since is None:
        return "no span stored: this service stores none, or has not written any yet"
    if fact.HasField("happened_at_micros") and fact.happened_at_micros < since:
        return f"no span stored: it is older than the stored ones, which begin {_instant(since)}"
    return "no span stored: it was dropped, under load or while the store was unavailable"


def _instant(micros: int) -> str:
    return instant_text(micros).replace("T", " ")[:23].rstrip("Z") + "Z"


def _time(micros: float) -> str:
    """Return a duration, with more digits than in other views, because spans may be short."""
    if micros < 10_000:
        return f"{micros / 1000:.1f} ms"
    if micros < 1_000_000:
        return f"{micros / 1000:.0f} ms"
    if micros < 120_000_000:
        return f"{micros / 1_000_000:.2f} s"
    if micros < 7_200_000_000:
        return f"{micros / 60_000_000:.1f} min"
    return f"{micros / 3_600_000_000:.1f} h"
