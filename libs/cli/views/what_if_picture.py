"""Draws a what-if run as an SVG without external parts, readable on light and dark ground and without colours.

For each currency it shows revenue before and after, by law, kind and collector, and who pays more and who less, by origin, HS chapter and
band of value. Every chart names a round amount on its scale. If its largest bar would crush the others, the scale is a square root, and the
chart says so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any, Final
from xml.sax.saxutils import escape

from libs.cli.views.text import money
from libs.cli.views.what_if import (
    TITLES,
    change,
    currencies,
    draft_lines,
    key_text,
    reservations,
    signed,
    summary,
    total,
)

WIDTH: Final = 920
BARS_SHOWN: Final = 12
GROUPS_SHOWN: Final = 12
_MARGIN: Final = 24
_LABEL: Final = 230
_GAP: Final = 12
_CHARACTERS_A_LINE: Final = 118
_CRUSHED: Final = 20
"""A bar shorter than this part of the longest is hard to compare; if half of the bars are, the scale is a square root."""
_STYLE: Final = """
  .ground { fill: #ffffff } text { font: 13px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
  .title { font-size: 19px; font-weight: 600 } .head { font-size: 15px; font-weight: 600 } .small { font-size: 12px; fill: #57606a }
  .before { fill: #a3adb8 } .after { fill: #0969da } .less { fill: #0a7d5a } .more { fill: #c2570c } .axis { stroke: #8c959f; stroke-width: 1 }
  .tick { stroke: #8c959f; stroke-width: 1; stroke-dasharray: 2 4 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } text { fill: #e6edf3 } .small { fill: #9da7b3 }
    .before { fill: #6e7781 } .after { fill: #58a6ff } .less { fill: #3fb68b } .more { fill: #f0883e }
    .axis { stroke: #6e7681 } .tick { stroke: #6e7681 }
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
        if run["elasticities"]:
            assumed = [
                {**each, "before_minor": each["after_minor"], "after_minor": each["after_with_behaviour_minor"]}
                for each in revenue
            ]
            _revenue(
                page,
                assumed,
                currency,
                f"ASSUMED behaviour: revenue in {currency} after, without and with the elasticities",
                "with behaviour",
            )
        for by, title in TITLES.items():
            groups = [each for each in result["groups"] if each["currency"] == currency and each["by"] == by]
            if any(each["difference_minor"] for each in groups):
                _groups(page, groups, currency, title)
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

    def line(self, x: int, top: int, style: str = "axis") -> None:
        self._parts.append(f'<line x1="{x}" y1="{top}" x2="{x}" y2="{self.y}" class="{style}"/>')

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


def _revenue(
    page: _Page, revenue: Sequence[dict[str, Any]], currency: str, title: str = "", after_label: str = ""
) -> None:
    page.space(16)
    page.text(title or f"Revenue in {currency}, before and after", "head", 24)
    _legend(
        page,
        (("before", "without behaviour"), ("after", after_label))
        if title
        else (("before", "before"), ("after", "after")),
    )
    rows = sorted(revenue, key=lambda each: -max(each["before_minor"], each["after_minor"]))
    bars = [
        (f"{each['jurisdiction']} {each['kind']}, {each['collector'].replace('_', ' ')}", each)
        for each in rows[:BARS_SHOWN]
    ]
    if rows[BARS_SHOWN:]:
        bars.append((f"{len(rows) - BARS_SHOWN} more", total(rows[BARS_SHOWN:])))
    if len(rows) > 1:
        bars.append(("all together", total(rows)))
    values = [_before_after(each, currency) for _, each in bars]
    scale = _Scale.fitting([max(each["before_minor"], each["after_minor"]) for _, each in bars], _bar_width(values))
    left, top = _MARGIN + _LABEL, page.y
    for (label, each), value in zip(bars, values, strict=True):
        before, after = each["before_minor"], each["after_minor"]
        page.put_text(left - 10, page.y + 19, _cut(label, 32), "", "end")
        for style, minor in (("before", before), ("after", after)):
            if minor:
                title = f"{label}, {style}: {money(minor, currency)}"
                page.bar(left, scale.length(minor), 12, style, title)
            page.space(13)
        page.put_text(WIDTH - _MARGIN, page.y - 15, value, "", "end")
        page.put_text(WIDTH - _MARGIN, page.y, change(before, after), "small", "end")
        page.space(9)
    _axis(page, scale, left, top, currency, both_sides=False)


def _groups(page: _Page, groups: Sequence[dict[str, Any]], currency: str, title: str) -> None:
    page.space(12)
    page.text(f"Who pays more and who less, {title[0].lower()}{title[1:]}, {currency}", "head", 24)
    _legend(page, (("more", "pays more"), ("less", "pays less")))
    # Bands stand in their order, from the lowest; the others by how much changes.
    banded = groups[0]["by"] == "value_band"
    rows = [*groups] if banded else sorted(groups, key=lambda each: (-abs(each["difference_minor"]), each["key"]))
    shown = len(rows) if banded else GROUPS_SHOWN
    bars = [(_group_label(each), each) for each in rows[:shown]]
    if rows[shown:]:
        left = rows[shown:]
        more = {name: sum(each[name] for each in left) for name in ("items", "winners", "losers", "difference_minor")}
        bars.append((f"{len(left)} more", more))
    half = _bar_width([signed(each["difference_minor"], currency) for _, each in bars]) // 2
    scale = _Scale.fitting([abs(each["difference_minor"]) for _, each in bars], half)
    middle = _MARGIN + _LABEL + half
    top = page.y
    for label, each in bars:
        minor = each["difference_minor"]
        width = scale.length(abs(minor))
        page.put_text(_MARGIN + _LABEL - 10, page.y + 13, label, "", "end")
        tip = f"{label}: {signed(minor, currency)}, {each['losers']:,} of {each['items']:,} items pay more, {each['winners']:,} less"
        if minor:
            page.bar(middle if minor > 0 else middle - max(width, 1), width, 16, "more" if minor > 0 else "less", tip)
        page.put_text(WIDTH - _MARGIN, page.y + 13, signed(minor, currency), "", "end")
        page.space(22)
    _axis(page, scale, middle, top, currency, both_sides=True)


def _group_label(each: dict[str, Any]) -> str:
    chapter = each["by"] == "hs_chapter" and each["key"]
    return _cut(f"Chapter {each['key']}" if chapter else key_text(each["key"]), 32)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Lengths of bars. Amounts are whole minor units and lengths whole pixels, because a float is inexact."""

    largest: int
    longest: int
    root: bool

    @classmethod
    def fitting(cls, amounts: Sequence[int], longest: int) -> "_Scale":
        """Return the scale of a chart: linear, or the square root if half of its bars (without those of zero) would be crushed."""
        drawn = sorted(amount for amount in amounts if amount)
        largest = drawn[-1] if drawn else 1
        crushed = sum(amount * _CRUSHED < largest for amount in drawn)
        return cls(largest, longest, 2 * crushed >= len(drawn) > 1)

    def length(self, amount: int) -> int:
        """Return the length of a bar in pixels."""
        if self.root:
            return isqrt(amount * self.longest * self.longest // self.largest)
        return amount * self.longest // self.largest

    def tick(self) -> int:
        """Return the largest amount of one digit and zeros (1, 2 or 5) on the scale."""
        power: int = 10 ** (len(str(self.largest)) - 1)
        return max(step * power for step in (1, 2, 5) if step * power <= self.largest)


def _axis(page: _Page, scale: _Scale, zero: int, top: int, currency: str, *, both_sides: bool) -> None:
    """Draw the line of zero, and of a round amount at one or both sides, with what the scale is."""
    amount = scale.tick()
    width = scale.length(amount)
    page.line(zero, top)
    page.put_text(zero, page.y + 13, "0", "small", "middle")
    for side in (-1, 1) if both_sides else (1,):
        page.line(zero + side * width, top, "tick")
        text = signed(side * amount, currency) if both_sides else money(amount, currency)
        page.put_text(zero + side * width, page.y + 13, text, "small", "middle")
    page.space(18)
    if scale.root:
        page.put_text(
            zero,
            page.y + 11,
            "Square-root scale: a bar twice as long is four times the amount.",
            "small",
            "middle" if both_sides else "start",
        )
        page.space(16)


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
        x += 150
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
