"""Draws a what-if run as an SVG without external parts, readable on light and dark ground and without colours.

For each currency it shows revenue before and after, by law, kind and collector, and who pays more and who less, by origin.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from libs.cli.views.text import money
from libs.cli.views.what_if import change, currencies, draft_lines, key_text, reservations, signed, summary, total

WIDTH: Final = 920
BARS_SHOWN: Final = 12
ORIGINS_SHOWN: Final = 12
_MARGIN: Final = 24
_LABEL: Final = 230
_GAP: Final = 12
_CHARACTERS_A_LINE: Final = 118
_STYLE: Final = """
  .ground { fill: #ffffff } text { font: 13px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
  .title { font-size: 19px; font-weight: 600 } .head { font-size: 15px; font-weight: 600 } .small { font-size: 12px; fill: #57606a }
  .before { fill: #a3adb8 } .after { fill: #0969da } .less { fill: #0a7d5a } .more { fill: #c2570c } .axis { stroke: #8c959f; stroke-width: 1 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } text { fill: #e6edf3 } .small { fill: #9da7b3 }
    .before { fill: #6e7781 } .after { fill: #58a6ff } .less { fill: #3fb68b } .more { fill: #f0883e } .axis { stroke: #6e7681 }
  }
"""


def picture(run: dict[str, Any]) -> str:
    """Return the SVG of a run of libs.client.revenue.what_ifs that has a result; the same run gives the same text."""
    result = run["result"]
    page = _Page()
    page.text(run["name"] or f"What-if run {run['id']}", "title", 30)
    for line in [*draft_lines(run), f"Consignments assessed {run['from_day']} to {run['to_day']}."]:
        page.paragraph(line)
    page.paragraph(summary(result))
    same = []
    for currency in currencies(result["revenue"]):
        revenue = [each for each in result["revenue"] if each["currency"] == currency]
        if not any(each["difference_minor"] for each in revenue):
            same.append(money(total(revenue)["before_minor"], currency))
            continue
        _revenue(page, revenue, currency)
        origins = [each for each in result["groups"] if each["currency"] == currency and each["by"] == "origin"]
        if any(each["difference_minor"] for each in origins):
            _origins(page, origins, currency)
    page.space(14)
    if same:
        page.paragraph(f"Total revenue in currencies without a change: {', '.join(same)}.")
    for line in [*reservations(result), result["behaviour"]]:
        page.paragraph(line)
    return page.svg(f"What-if run {run['id']}", summary(result))


class _Page:
    """Elements from top to bottom."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.y = 14

    def space(self, height: int) -> None:
        self.y += height

    def text(self, content: str, style: str = "", height: int = 20) -> None:
        self.y += height
        self.put_text(_MARGIN, self.y - 6, content, style)

    def paragraph(self, content: str) -> None:
        for line in _wrapped(content):
            self.text(line, "small", 18)

    def put_text(self, x: int, y: int, content: str, style: str = "", anchor: str = "start") -> None:
        kind = f' class="{style}"' if style else ""
        self._parts.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}"{kind}>{escape(content)}</text>')

    def bar(self, x: int, width: int, height: int, style: str, title: str) -> None:
        """Draw a bar at the current height, with a title for mouse pointers and screen readers."""
        self._parts.append(
            f'<rect x="{x}" y="{self.y}" width="{max(width, 1)}" height="{height}" rx="2" class="{style}"><title>{escape(title)}</title></rect>'
        )

    def line(self, x: int, top: int) -> None:
        self._parts.append(f'<line x1="{x}" y1="{top}" x2="{x}" y2="{self.y}" class="axis"/>')

    def svg(self, title: str, description: str) -> str:
        height = self.y + _MARGIN
        return "\n".join(
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
                'aria-labelledby="title description">',
                f'<title id="title">{escape(title)}</title><desc id="description">{escape(description)}</desc>',
                f"<style>{_STYLE}</style>",
                f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
                *self._parts,
                "</svg>\n",
            )
        )


def _revenue(page: _Page, revenue: Sequence[dict[str, Any]], currency: str) -> None:
    page.space(16)
    page.text(f"Revenue in {currency}, before and after", "head", 24)
    _legend(page, (("before", "before"), ("after", "after")))
    rows = sorted(revenue, key=lambda each: -max(each["before_minor"], each["after_minor"]))
    bars = [
        (f"{each['jurisdiction']} {each['kind']}, {each['collector'].replace('_', ' ')}", each)
        for each in rows[:BARS_SHOWN]
    ]
    if rows[BARS_SHOWN:]:
        bars.append((f"{len(rows) - BARS_SHOWN} more", total(rows[BARS_SHOWN:])))
    if len(rows) > 1:
        bars.append(("all together", total(rows)))
    largest = max([1, *(max(each["before_minor"], each["after_minor"]) for _, each in bars)])
    values = [_before_after(each, currency) for _, each in bars]
    longest = _bar_width(values)
    for (label, each), value in zip(bars, values, strict=True):
        before, after = each["before_minor"], each["after_minor"]
        page.put_text(_MARGIN + _LABEL - 10, page.y + 19, _cut(label, 32), "", "end")
        for style, minor in (("before", before), ("after", after)):
            if minor:
                title = f"{label}, {style}: {money(minor, currency)}"
                page.bar(_MARGIN + _LABEL, minor * longest // largest, 12, style, title)
            page.space(13)
        page.put_text(WIDTH - _MARGIN, page.y - 15, value, "", "end")
        page.put_text(WIDTH - _MARGIN, page.y, change(before, after), "small", "end")
        page.space(9)


def _origins(page: _Page, origins: Sequence[dict[str, Any]], currency: str) -> None:
    page.space(12)
    page.text(f"Who pays more and who less, by origin, {currency}", "head", 24)
    _legend(page, (("more", "pays more"), ("less", "pays less")))
    rows = sorted(origins, key=lambda each: (-abs(each["difference_minor"]), each["key"]))
    bars = [(key_text(each["key"]), each) for each in rows[:ORIGINS_SHOWN]]
    if rows[ORIGINS_SHOWN:]:
        left = rows[ORIGINS_SHOWN:]
        more = {name: sum(each[name] for each in left) for name in ("items", "winners", "losers", "difference_minor")}
        bars.append((f"{len(left)} more", more))
    largest = max([1, *(abs(each["difference_minor"]) for _, each in bars)])
    half = _bar_width([signed(each["difference_minor"], currency) for _, each in bars]) // 2
    middle = _MARGIN + _LABEL + half
    top = page.y
    for label, each in bars:
        minor = each["difference_minor"]
        width = abs(minor) * half // largest
        page.put_text(_MARGIN + _LABEL - 10, page.y + 13, label, "", "end")
        title = f"{label}: {signed(minor, currency)}, {each['losers']:,} of {each['items']:,} items pay more, {each['winners']:,} less"
        if minor:
            page.bar(middle if minor > 0 else middle - max(width, 1), width, 16, "more" if minor > 0 else "less", title)
        page.put_text(WIDTH - _MARGIN, page.y + 13, signed(minor, currency), "", "end")
        page.space(22)
    page.line(middle, top)


def _before_after(each: dict[str, Any], currency: str) -> str:
    before, after = (money(each[name], currency) for name in ("before_minor", "after_minor"))
    return f"{before.removesuffix(currency).rstrip()} → {after}"


def _bar_width(values: Sequence[str]) -> int:
    """Return the length of the longest bar that leaves room for the figures at its right."""
    return WIDTH - 2 * _MARGIN - _LABEL - _GAP - max(map(_text_width, values))


def _text_width(text: str) -> int:
    """Return the largest width of a figure in the fonts of the style, in pixels; DejaVu Sans is the widest of them."""
    tenths = sum(42 if each in " ,.'-" else 83 if each.isdigit() else 110 for each in text)
    return -(-tenths // 10)


def _legend(page: _Page, styles: Sequence[tuple[str, str]]) -> None:
    x = _MARGIN + _LABEL
    page.space(4)
    for style, label in styles:
        page.bar(x, 12, 12, style, label)
        page.put_text(x + 18, page.y + 11, label, "small")
        x += 110
    page.space(22)


def _wrapped(content: str) -> Iterator[str]:
    line = ""
    for word in content.split():
        for part in (word[at : at + _CHARACTERS_A_LINE] for at in range(0, len(word), _CHARACTERS_A_LINE)):
            if line and len(line) + 1 + len(part) > _CHARACTERS_A_LINE:
                yield line
                line = part
            else:
                line = f"{line} {part}".lstrip()
    if line:
        yield line


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"
