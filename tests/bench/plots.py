"""A plot of the learning loop as SVG: per way of selecting the mean of the seeds as a line and their range as a band."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

_WIDTH, _HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 46, 40
_COLOURS = ("#6b7280", "#0f766e", "#c2410c", "#4338ca")


@dataclass(frozen=True)
class Panel:
    """One plot: per line its name and, per seed, one value a day (a share, 0 to 1; NaN for none)."""

    title: str
    lines: Mapping[str, Sequence[Sequence[float]]]
    mark: int | None = None
    """A day to mark with a vertical line."""
    mark_text: str = ""


def write_plot(path: Path, panels: Sequence[Panel], smooth_days: int = 3) -> None:
    """Write panels side by side; values are means over `smooth_days` days up to each."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH * len(panels)}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH * len(panels)} {_HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{_WIDTH * len(panels)}" height="{_HEIGHT}" fill="#ffffff"/>',
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate({number * _WIDTH} 0)">')
        parts += _panel(panel, smooth_days)
        parts.append("</g>")
    parts.append("</svg>")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _panel(panel: Panel, smooth_days: int) -> list[str]:
    days = max(len(values) for seeds in panel.lines.values() for values in seeds)
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(day: float) -> float:
        return round(_LEFT + wide * day / max(1, days - 1), 1)

    def y(share: float) -> float:
        return round(_TOP + high * (1 - share), 1)

    parts = [f'<text x="{_LEFT}" y="16" font-size="13" font-weight="bold">{escape(panel.title)}</text>']
    for tenth in range(0, 11, 2):
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tenth / 10)}" y2="{y(tenth / 10)}" stroke="#e5e7eb"/>'
        )
        parts.append(f'<text x="{_LEFT - 6}" y="{y(tenth / 10) + 4}" text-anchor="end">{tenth * 10} %</text>')
    parts += [
        f'<text x="{x(day)}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{day}</text>'
        for day in range(0, days, 10)
    ]
    parts.append(f'<text x="{_LEFT + wide / 2}" y="{_HEIGHT - 8}" text-anchor="middle">day</text>')
    if panel.mark is not None:
        parts.append(
            f'<line x1="{x(panel.mark)}" x2="{x(panel.mark)}" y1="{_TOP}" y2="{_TOP + high}" stroke="#111827" '
            f'stroke-dasharray="4 3"/><text x="{x(panel.mark) - 5}" y="{_TOP + 11}" text-anchor="end">'
            f"{escape(panel.mark_text)}</text>"
        )
    for number, (name, seeds) in enumerate(panel.lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        smoothed = np.array([_smooth(values, smooth_days) for values in seeds])
        known = np.flatnonzero(~np.isnan(smoothed).any(axis=0))
        if len(known):
            low, high_line = smoothed.min(axis=0), smoothed.max(axis=0)
            band = [f"{x(day)},{y(high_line[day])}" for day in known] + [f"{x(d)},{y(low[d])}" for d in known[::-1]]
            parts.append(f'<polygon points="{" ".join(band)}" fill="{colour}" fill-opacity="0.18"/>')
            mean = smoothed.mean(axis=0)
            line = " ".join(f"{x(day)},{y(mean[day])}" for day in known)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        left = _LEFT + number * 135
        parts.append(f'<rect x="{left}" y="25" width="12" height="8" fill="{colour}"/>')
        parts.append(f'<text x="{left + 17}" y="33">{escape(name)}</text>')
    return parts


def _smooth(values: Sequence[float], days: int) -> list[float]:
    """The mean over the last `days` days up to each; NaN as long as one of them is."""
    return [float(np.mean(values[max(0, day - days + 1) : day + 1])) for day in range(len(values))]
