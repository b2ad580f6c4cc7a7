"""Draws the services, who calls whom and which feeds lead where, and the path of one consignment through them, as SVG.

The service that most connections lead to or from stands in the middle (clearance); the others stand between it and the callers
from outside. Arrows lead from who calls to who answers, and from who publishes a feed to who reads it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final

from libs.customs.time import instant_text
from libs.server.config.deployment_map import GRPC, OUTSIDE, Connection
from libs.telemetry.context import span_of

WIDTH: Final = 1000
MARGIN: Final = 24
GAP: Final = 20
OUTSIDE_LANE: Final = 144
"""Width at the right for the arrow from outside to the service in the middle."""
ROWS: Final = {"outside": (62, 42), "services": (176, 80), "middle": (410, 62), "path": (526, 24)}
"""Top and height of the rows of the picture."""
ABOUT: Final = "The services of Luxor, and the path of one consignment through them"
STARTED: Final = "started_at_micros"
ENDED: Final = "ended_at_micros"
LABEL_CHARACTER: Final = 6.2
"""Width of a character of a label, about."""
FEED: Final = "luxor.feed.v1.FeedService"
COLOURS: Final = (
    ("#0969da", "#58a6ff"),
    ("#9a6700", "#d29922"),
    ("#8250df", "#bc8cff"),
    ("#bf3989", "#f778ba"),
    ("#1a7f37", "#3fb950"),
)
"""Of each service, on light and on dark ground."""
STYLE: Final = """
text { font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328; }
.title { font-size: 17px; font-weight: bold; }
.name { font-size: 15px; font-weight: bold; }
.what { font-weight: bold; }
.label, .note { font-size: 11px; fill: #59636e; }
.number { font-size: 11px; font-weight: bold; fill: #ffffff; text-anchor: middle; }
.middle { text-anchor: middle; }
.end { text-anchor: end; }
.ground { fill: #ffffff; stroke: #d1d9e0; }
.outside { fill: #f6f8fa; stroke: #818b98; stroke-dasharray: 5 3; }
.box { fill: #f6f8fa; stroke-width: 2; }
.arrow { stroke: #59636e; stroke-width: 1.5; fill: none; }
.feed { stroke-dasharray: 6 4; }
.head { fill: #59636e; }
.dot { fill: #1f2328; }
"""
DARK: Final = """
text { fill: #f0f6fc; }
.label, .note { fill: #9198a1; }
.number { fill: #0d1117; }
.ground { fill: #0d1117; stroke: #3d444d; }
.outside { fill: #151b23; stroke: #656c76; }
.box { fill: #151b23; }
.arrow { stroke: #9198a1; }
.head { fill: #9198a1; }
.dot { fill: #f0f6fc; }
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One entry into a service on a consignment's path."""

    source: str
    """The service that it comes from, or `outside`."""
    service: str
    name: str
    started_at: int
    ended_at: int

    @property
    def method(self) -> str:
        """The called method; empty where a feed is read."""
        return self.name.rpartition("/")[2] if "/" in self.name else ""


@dataclass(slots=True)
class Arrow:
    """A line between two boxes."""

    source: str
    target: str
    label: str
    method: str
    """The one RPC that it shows; empty for a feed and for calls from outside."""
    is_feed: bool
    numbers: list[int] = field(default_factory=list)

    def carries(self, step: Step) -> bool:
        """Return whether a step came this way."""
        if (self.source, self.target) != (step.source, step.service):
            return False
        if not step.method:
            return self.is_feed
        return self.source == OUTSIDE or step.method == self.method


def steps_of(spans: Iterable[Mapping[str, Any]]) -> list[Step]:
    """Return the spans of `luxor trace --json` that enter a service: from outside, or from a span of another service.

    A page of a feed joins what several requests wrote, so its span has one of them as its parent and links the others.
    """
    by_id = {span["span_id"]: span for span in spans}
    steps = []
    for span in by_id.values():
        links = (by_id.get(span_of(link)) for link in span.get("links", ()))
        above = by_id.get(span.get("parent_span_id", "")) or next(filter(None, links), None)
        if above is None or above["service"] != span["service"]:
            source = OUTSIDE if above is None else above["service"]
            steps.append(Step(source, span["service"], span["name"], span[STARTED], span[ENDED]))
    return sorted(steps, key=lambda step: (step.started_at, step.service))


def arrows_of(connections: Iterable[Connection], services: Sequence[str]) -> list[Arrow]:
    """Return the arrows between services, and those from outside, in the order of the map."""
    arrows: list[Arrow] = []
    for each in connections:
        if each.port != GRPC or each.to not in services:
            continue
        if OUTSIDE in each.sources:
            arrows.append(Arrow(OUTSIDE, each.to, each.purpose, "", is_feed=False))
        purposes = each.purpose.split(", ")
        labels = purposes if len(purposes) == len(each.rpcs) else [each.purpose] * len(each.rpcs)
        for source in (source for source in each.sources if source in services):
            for rpc, label in zip(each.rpcs, labels, strict=True):
                if rpc == FEED:
                    arrows.append(Arrow(each.to, source, label.removeprefix("the feed of "), "", is_feed=True))
                else:
                    arrows.append(Arrow(source, each.to, label, rpc.rpartition("/")[2], is_feed=False))
    return arrows


def draw_flow(connections: Sequence[Connection], reference: str, steps: Sequence[Step]) -> str:
    """Return the picture."""
    stores = [
        each
        for each in connections
        if each.port != GRPC and len(each.sources) == 1 and each.to == f"{each.sources[0]}-store"
    ]
    services = [each.sources[0] for each in stores]
    arrows = arrows_of(connections, services)
    for number, step in enumerate(steps, 1):
        arrow = next((arrow for arrow in arrows if arrow.carries(step)), None)
        if arrow is None:
            raise ValueError(
                f"the path goes from {step.source} to {step.service} by {step.name}, which the map does not have"
            )
        arrow.numbers.append(number)
    colours = {service: f"service-{place}" for place, service in enumerate(services)}
    groups = _groups(steps)
    height = ROWS["path"][0] + len(groups) * (ROWS["path"][1] + 8) + len(steps) * ROWS["path"][1] + MARGIN
    boxes = _boxes(arrows, services)
    beside = beside_of(arrows, list(boxes)[-1])
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{ABOUT}">',
        f"<style>{STYLE}{_colours(0, services)}\n@media (prefers-color-scheme: dark) {{{DARK}{_colours(1, services)}}}\n</style>",
        f'<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        text(MARGIN, 38, "Who calls whom, and which feeds lead where", "title"),
    ]
    parts += _outside_bar()
    for service, (left, top, width, tall) in boxes.items():
        purpose = next(each.purpose for each in stores if each.sources[0] == service)
        parts += [
            f'<rect class="box {colours[service]}-line" x="{left:g}" y="{top:g}" width="{width:g}" height="{tall:g}" rx="6"/>',
            text(left + width / 2, top + 27, service, "name middle"),
            text(left + width / 2, top + 47, purpose, "note middle"),
        ]
        if targets := dict.fromkeys(arrow.target for arrow in beside if arrow.source == service):
            parts.append(text(left + width / 2, top + 67, f"calls {', '.join(targets)}", "note middle"))
    for arrow, place in _placed([arrow for arrow in arrows if arrow not in beside], boxes):
        parts += _arrow(arrow, *place)
    parts += _path(reference, groups, colours)
    return "\n".join([*parts, "</svg>", ""])


def beside_of(arrows: Sequence[Arrow], middle: str) -> list[Arrow]:
    """Return the arrows between services that stand beside each other: their boxes name them, and no line is drawn."""
    return [arrow for arrow in arrows if middle not in (arrow.source, arrow.target) and arrow.source != OUTSIDE]


def _boxes(arrows: Sequence[Arrow], services: Sequence[str]) -> dict[str, tuple[float, float, float, float]]:
    """Return left, top, width and height of each service's box: as wide as it has arrows to the service in the middle."""
    counts = {each: sum(each in (arrow.source, arrow.target) for arrow in arrows) for each in services}
    middle = max(services, key=lambda each: counts[each])
    sides = [each for each in services if each != middle]
    beside = beside_of(arrows, middle)
    drawn = [arrow for arrow in arrows if arrow not in beside]
    weights = {each: max(1.4, sum(each in (arrow.source, arrow.target) for arrow in drawn) - 1) for each in sides}
    room = WIDTH - 2 * MARGIN - OUTSIDE_LANE - GAP * (len(sides) - 1)
    boxes: dict[str, tuple[float, float, float, float]] = {}
    left: float = MARGIN
    for each in sides:
        width = round(room * weights[each] / sum(weights.values()), 1)
        boxes[each] = (left, *ROWS["services"][:1], width, ROWS["services"][1])
        left += width + GAP
    boxes[middle] = (MARGIN, ROWS["middle"][0], WIDTH - 2 * MARGIN, ROWS["middle"][1])
    return boxes


def _placed(
    arrows: Sequence[Arrow], boxes: Mapping[str, tuple[float, float, float, float]]
) -> Iterable[tuple[Arrow, tuple[float, float, float, float]]]:
    """Yield each arrow with its x, where it begins and ends, and the width that its label has."""
    middle = list(boxes)[-1]
    bar_end = sum(ROWS["outside"])
    for service, (left, top, width, tall) in boxes.items():
        if service == middle:
            continue
        own = [arrow for arrow in arrows if service in (arrow.source, arrow.target)]
        inner = [arrow for arrow in own if arrow.source != OUTSIDE]
        for arrow in own:
            if arrow.source == OUTSIDE:
                yield arrow, (left + 16, bar_end, top, width - 30)
        for place, arrow in enumerate(inner):
            x, room = left + 16 + place * width / len(inner), width / len(inner) - 30
            ends = (top + tall, ROWS["middle"][0])
            yield arrow, (x, *(ends if arrow.source == service else ends[::-1]), room)
    for arrow in arrows:
        if (arrow.source, arrow.target) == (OUTSIDE, middle):
            yield arrow, (WIDTH - MARGIN - OUTSIDE_LANE + 30, bar_end, ROWS["middle"][0], OUTSIDE_LANE - 40)


def _arrow(arrow: Arrow, x: float, begin: float, end: float, room: float) -> list[str]:
    down = end > begin
    tip = end - 2 if down else end + 2
    back = tip - 8 if down else tip + 8
    top = min(begin, end)
    lines = wrapped(arrow.label, int(room / LABEL_CHARACTER))
    first = top + abs(end - begin) / 2 - (len(lines) - 1) * 7 + 4
    parts = [
        f'<path class="arrow{" feed" if arrow.is_feed else ""}" d="M{x:g} {begin:g} V{back:g}"/>',
        f'<path class="head" d="M{x:g} {tip:g} L{x - 4:g} {back:g} H{x + 4:g} Z"/>',
    ]
    parts += [text(x + 14, first + 14 * place, line, "label") for place, line in enumerate(lines)]
    start = top + abs(end - begin) / 2 - (len(arrow.numbers) - 1) * 11
    for place, number in enumerate(arrow.numbers):
        parts += _numbered(x, start + 22 * place, number)
    return parts


def _numbered(x: float, y: float, number: int) -> list[str]:
    return [f'<circle class="dot" cx="{x:g}" cy="{y:g}" r="9"/>', text(x, y + 4, str(number), "number")]


def _outside_bar() -> list[str]:
    top, tall = ROWS["outside"]
    return [
        f'<rect class="outside" x="{MARGIN}" y="{top}" width="{WIDTH - 2 * MARGIN}" height="{tall}" rx="6"/>',
        text(MARGIN + 16, top + 26, "filers, carriers, officers, analysts, treasuries, operators", "name"),
        f'<path class="arrow" d="M{WIDTH - 330} {top + 21} h34"/>',
        text(WIDTH - 288, top + 25, "call", "label"),
        f'<path class="arrow feed" d="M{WIDTH - 240} {top + 21} h34"/>',
        text(WIDTH - 198, top + 25, "feed", "label"),
        *_numbered(WIDTH - 148, top + 21, 1),
        text(WIDTH - 132, top + 25, "step of the path", "label"),
    ]


def _path(reference: str, groups: Sequence[Sequence[Step]], colours: Mapping[str, str]) -> list[str]:
    """Return the steps as bars beside a time line that begins with each request from outside."""
    y, tall = ROWS["path"]
    longest = max(step.ended_at - group[0].started_at for group in groups for step in group)
    left, room = 400, WIDTH - 400 - MARGIN - 150
    parts = [text(MARGIN, y, f"The path of consignment {reference}", "title")]
    number = 0
    for group in groups:
        y += tall + 8
        begin = group[0].started_at
        parts.append(text(left, y, instant_text(begin).replace("T", " "), "note"))
        for step in group:
            number, y = number + 1, y + tall
            x, width = (
                room * micros / longest for micros in (step.started_at - begin, step.ended_at - step.started_at)
            )
            times = f"at {_milliseconds(step.started_at - begin)}, for {_milliseconds(step.ended_at - step.started_at)}"
            parts += _numbered(MARGIN + 10, y - 4, number)
            parts += [
                text(MARGIN + 30, y, step.service, f"{colours[step.service]}-text what"),
                text(MARGIN + 130, y, step.method or f"reads the feed of {step.source}", ""),
                f'<rect class="{colours[step.service]}-fill" x="{left + x:.1f}" y="{y - 11}" width="{max(2, width):.1f}" height="13" rx="2"/>',
                text(WIDTH - MARGIN, y, times, "note end"),
            ]
    return parts


def _groups(steps: Sequence[Step]) -> list[list[Step]]:
    """Return the steps that followed from each request from outside."""
    groups: list[list[Step]] = []
    for step in steps:
        if step.source == OUTSIDE:
            groups.append([])
        groups[-1].append(step)
    return groups


def _milliseconds(micros: int) -> str:
    return f"{micros / 1000:,.0f} ms"


def wrapped(label: str, characters: int) -> list[str]:
    """Return a label in lines of so many characters; a longer word stands alone."""
    lines = [""]
    for word in label.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > characters:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def text(x: float, y: float, content: str, classes: str) -> str:
    """Return a line of text at a place."""
    kind = f' class="{classes}"' if classes else ""
    return f'<text{kind} x="{x:g}" y="{y:g}">{escape(content)}</text>'


def _colours(ground: int, services: Sequence[str]) -> str:
    return "".join(
        f".service-{place}-line {{ stroke: {pair[ground]}; }}\n.service-{place}-fill {{ fill: {pair[ground]}; }}\n"
        f".service-{place}-text {{ fill: {pair[ground]}; }}\n"
        for place, (_, pair) in enumerate(zip(services, COLOURS, strict=True))
    )
