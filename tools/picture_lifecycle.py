"""Draws the life of a consignment from the table of transitions, as SVG: a box and a line for each state, an arrow for each group of transitions.

Events that lead from the same states to the same state share an arrow. A dot is a state that the arrow comes from, its head the state it leads to.
So no arrow and no label crosses another one, whatever the table has.
"""

from typing import Final

from services.clearance.consignment.lifecycle.table import TABLE
from services.clearance.consignment.lifecycle.texts import EVENTS
from services.clearance.consignment.transitions import FINAL, State
from tools.picture_flow import DARK, MARGIN, STYLE, text, wrapped

COLUMN: Final = 116
BOX: Final = (64, 100, 46)
"""Top, width and height of the boxes of states."""
LINE_HEIGHT: Final = 15
LABEL_CHARACTER: Final = 5.8
LABEL_WIDTH_MIN: Final = 300
GAP: Final = 22
ABOUT: Final = "The states of a consignment, and the events that lead from one to another"

Arrow = tuple[State, tuple[State, ...]]
"""The state that an arrow leads to, and those that it comes from."""


def arrows() -> dict[Arrow, list[str]]:
    """Return the events of each arrow, in the order of the table; an event that changes no state has none."""
    sources: dict[tuple[str, State], list[State]] = {}
    for row in TABLE:
        if not row.refusal and row.next != row.state:
            states = sources.setdefault((EVENTS[row.event], row.next), [])
            if row.state not in states:
                states.append(row.state)
    found: dict[Arrow, list[str]] = {}
    for (event, target), states in sources.items():
        found.setdefault((target, tuple(sorted(states))), []).append(event)
    return found


def columns() -> list[State]:
    """Return the states that the table reaches: those in which somebody acts, then the final ones."""
    reached = {state for row in TABLE if not row.refusal for state in (row.state, row.next)}
    left = {state for target, sources in arrows() for state in (target, *sources)}
    return sorted(reached & left, key=lambda state: (state in FINAL, state))


def draw_lifecycle() -> str:
    """Return the picture."""
    states = columns()
    x = {state: MARGIN + COLUMN * place + BOX[1] // 2 for place, state in enumerate(states)}
    width = 2 * MARGIN + COLUMN * (len(states) - 1) + BOX[1]
    y = BOX[0] + BOX[2] + GAP
    parts: list[str] = []
    for (target, sources), events in sorted(arrows().items(), key=lambda each: _order(each[0][0], each[0][1], states)):
        drawn, y = _arrow(x[target], [x[state] for state in sources], ", ".join(events), y, width)
        parts += drawn
    bottom = y
    height = bottom + MARGIN
    lines, boxes = [], []
    for state in states:
        final = state in FINAL
        left = x[state] - BOX[1] / 2
        lines.append(f'<path class="life" d="M{x[state]} {BOX[0] + BOX[2]} V{bottom}"/>')
        boxes.append(
            f'<rect class="{"outside" if final else "box state"}" x="{left:g}" y="{BOX[0]}" width="{BOX[1]}" height="{BOX[2]}" rx="6"/>'
        )
        name = wrapped(state.name.replace("_", " "), 12)
        first = BOX[0] + BOX[2] / 2 + 4 - (len(name) - 1) * 7
        boxes += [text(x[state], first + 14 * place, line, "what middle") for place, line in enumerate(name)]
    style = f"{STYLE}{_LIFE}@media (prefers-color-scheme: dark) {{{DARK}{_LIFE_DARK}}}\n"
    return "\n".join(
        [
            f'<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{ABOUT}">',
            f"<style>{style}</style>",
            f'<rect class="ground" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
            text(MARGIN, 38, ABOUT, "title"),
            text(width - MARGIN, 38, "dashed: final", "note end"),
            *lines,
            *boxes,
            *parts,
            "</svg>",
            "",
        ]
    )


_LIFE: Final = """.life { stroke: #d1d9e0; stroke-width: 1.5; fill: none; }
.state { stroke: #0969da; }
.behind { fill: #ffffff; }
"""
_LIFE_DARK: Final = """.life { stroke: #3d444d; }
.state { stroke: #58a6ff; }
.behind { fill: #0d1117; }
"""


def _order(target: State, sources: tuple[State, ...], states: list[State]) -> tuple[int, ...]:
    """Return the place of an arrow: from the first states to the last ones."""
    return (min(states.index(state) for state in sources), states.index(target), len(sources))


def _arrow(target: int, sources: list[int], label: str, top: int, width: int) -> tuple[list[str], int]:
    """Return an arrow with its label above it, and where the next one begins."""
    left, right = min(target, *sources), max(target, *sources)
    room = max(right - left, LABEL_WIDTH_MIN)
    begin = min(left, width - MARGIN - room)
    lines = wrapped(label, int(room / LABEL_CHARACTER))
    longest = max(map(len, lines)) * LABEL_CHARACTER + 8
    y = top + LINE_HEIGHT * len(lines) + 6
    parts = [
        f'<rect class="behind" x="{begin - 2}" y="{top - 2}" width="{longest:g}" height="{LINE_HEIGHT * len(lines) + 2}"/>'
    ]
    parts += [text(begin + 2, top + LINE_HEIGHT * place + 10, line, "label") for place, line in enumerate(lines)]
    for side, source in ((1, min(sources)), (-1, max(sources))):
        if (target - source) * side > 0:
            tip = target - side
            parts += [
                f'<path class="arrow" d="M{source} {y} H{tip - 8 * side}"/>',
                f'<path class="head" d="M{tip} {y} L{tip - 8 * side} {y - 4} V{y + 4} Z"/>',
            ]
    parts += [f'<circle class="head" cx="{source}" cy="{y}" r="4"/>' for source in sources]
    return parts, y + GAP
