"""Views of statistics."""

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType

from libs.cli.views.text import duration, kilograms, money, short, table, words

_REVENUE_ONLY = frozenset({"charge_kind", "collector"})
_INSPECTIONS_ONLY = frozenset({"selection_cause"})
_NOT_OF_GOODS = _REVENUE_ONLY | _INSPECTIONS_ONLY
_NOT_OF_INSPECTIONS = _REVENUE_ONLY | {"state", "currency"}


def render_counts(group_by: Sequence[str], rows: Sequence[dict[str, Any]], limit: int = 40) -> RenderableType:
    """Draw consignments, items, value and mass."""
    names = [each for each in group_by if each not in _NOT_OF_GOODS]
    places = [place for place, each in enumerate(group_by) if each not in _NOT_OF_GOODS]
    at = len(names)
    shown = table(
        *map(words, names), _consignments(names), "items", "value", "net mass", title="Goods", right=range(at, at + 4)
    )
    # A cell may be empty after its consignments moved to others.
    ordered = _ordered(
        [row for row in rows if row.get("consignments") or row.get("items")], names, places, "consignments"
    )
    for row in ordered[:limit]:
        value = (
            _sum(row, "value_minor", money(row.get("value_minor", 0), row["currency"]))
            if row.get("currency")
            else "not valued"
        )
        shown.add_row(
            *_keys(row, names, places), f"{row.get('consignments', 0):,}", f"{row.get('items', 0):,}", value,
            _sum(row, "net_mass_mg", kilograms(row.get("net_mass_mg", 0))),
        )  # fmt: skip
    _cut(shown, len(ordered), limit)
    return shown


def _sum(row: dict[str, Any], name: str, text: str) -> str:
    """Mark a sum that is larger than the number in the answer."""
    return f"over {text}" if name in row.get("exceeding", ()) else text


def render_revenue(group_by: Sequence[str], rows: Sequence[dict[str, Any]], limit: int = 40) -> RenderableType:
    """Draw charges and their sums."""
    names = [each for each in group_by if each not in _INSPECTIONS_ONLY]
    places = [place for place, each in enumerate(group_by) if each not in _INSPECTIONS_ONLY]
    at = len(names)
    shown = table(*map(words, names), "charges", "amount", title="Revenue", right=(at, at + 1))
    ordered = _ordered([row for row in rows if row.get("charges")], names, places, "amount_minor")
    for row in ordered[:limit]:
        amount = _sum(row, "amount_minor", money(row.get("amount_minor", 0), row.get("currency", "")))
        shown.add_row(*_keys(row, names, places), f"{row.get('charges', 0):,}", amount)
    _cut(shown, len(ordered), limit)
    return shown


def render_times(group_by: Sequence[str], rows: Sequence[dict[str, Any]], limit: int = 40) -> RenderableType:
    """Draw mean and percentiles of the times; percentiles are upper bounds of the histogram's buckets."""
    names = [each for each in group_by if each not in _NOT_OF_GOODS]
    places = [place for place, each in enumerate(group_by) if each not in _NOT_OF_GOODS]
    at = len(names)
    shown = table(
        *map(words, names), "interval", _consignments(names), "mean", "half within", "99 % within",
        title="Times", right=range(at + 1, at + 5),
    )  # fmt: skip
    rows = [row for row in rows if row.get("count")]
    for row in rows[:limit]:
        count = row.get("count", 0)
        mean = _sum(row, "sum_micros", duration(row.get("sum_micros", 0) / count)) if count else "–"
        interval = "to decision" if short(row.get("interval", ""), "INTERVAL_") == "DECISION" else "arrival to release"
        shown.add_row(*_keys(row, names, places), interval, f"{count:,}", mean, _within(row, 0.5), _within(row, 0.99))
    _cut(shown, len(rows), limit)
    return shown


def render_inspections(group_by: Sequence[str], rows: Sequence[dict[str, Any]], limit: int = 40) -> RenderableType:
    """Draw inspections, violations, and their share."""
    names = [each for each in group_by if each not in _NOT_OF_INSPECTIONS]
    places = [place for place, each in enumerate(group_by) if each not in _NOT_OF_INSPECTIONS]
    at = len(names)
    shown = table(
        *map(words, names), "inspected", "violations", "hit rate", "items inspected", "item violations",
        title="Inspections", right=range(at, at + 5),
    )  # fmt: skip
    # A row may have items and no consignment, because a consignment counts in the cell of its first item.
    ordered = _ordered(
        [row for row in rows if row.get("inspected") or row.get("items_inspected")], names, places, "inspected"
    )
    for row in ordered[:limit]:
        inspected, found = row.get("inspected", 0), row.get("violations", 0)
        shown.add_row(
            *_keys(row, names, places), f"{inspected:,}", f"{found:,}", f"{found / inspected:.1%}" if inspected else "–",
            f"{row.get('items_inspected', 0):,}", f"{row.get('item_violations', 0):,}",
        )  # fmt: skip
    _cut(shown, len(ordered), limit)
    return shown


def _consignments(names: Sequence[str]) -> str:
    """Return the head of a column; beside others it is hyphenated, so that 80 characters suffice."""
    return "consign-\nments" if len(names) > 1 else "consignments"


def _ordered(
    rows: Sequence[dict[str, Any]], names: Sequence[str], places: Sequence[int], by: str
) -> list[dict[str, Any]]:
    """Return the rows by day, or without days by size."""
    if "day" in names:
        position = places[names.index("day")]
        return sorted(rows, key=lambda row: (row["keys"][position], -row.get(by, 0)))
    return sorted(rows, key=lambda row: -row.get(by, 0))


def _keys(row: dict[str, Any], names: Sequence[str], places: Sequence[int]) -> list[str]:
    keys = row.get("keys", [])
    return [_key(name, keys[place] if place < len(keys) else "") for name, place in zip(names, places, strict=True)]


def _key(name: str, value: str) -> str:
    return (words(value) if name in ("lane", "state", "charge_kind", "collector", "selection_cause") else value) or "–"


def _within(row: dict[str, Any], share: float) -> str:
    bounds, buckets = row.get("bounds_micros", []), row.get("buckets", [])
    wanted, seen = share * sum(buckets), 0
    for bound, count in zip(bounds, buckets, strict=False):
        seen += count
        if seen >= wanted:
            return duration(bound)
    return f"over {duration(bounds[-1])}" if bounds else "–"


def _cut(shown: Any, rows: int, limit: int) -> None:
    if rows > limit:
        shown.caption = f"{rows - limit:,} more rows; --json has all"
        shown.caption_justify = "left"
