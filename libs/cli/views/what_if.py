"""Prints the results of a what-if run: before, after, difference and per cent, and who pays more and who less."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from libs.cli.views.law_review import review_text
from libs.cli.views.text import counted, money, print_whole, safe, table, words

if TYPE_CHECKING:
    from rich.console import Console

GROUPS_SHOWN: Final = 12
TITLES: Final = {"origin": "By origin", "hs_chapter": "By HS chapter", "value_band": "By value of the consignment"}
_NOT_STATED: Final = "not stated"


def tried(job: dict[str, Any]) -> list[str]:
    """Return the changes of law of a run, a line each."""
    lines = [f"{each['path']} = {each['value'] if each.get('value') else '(removed)'}" for each in job["changes"]]
    lines += [f"{each} replaced or added" for each in job["files"]]
    if job["law_day"]:
        lines.append(f"the law of {job['law_day']} applied to all")
    return lines


def show_what_if(console: "Console", job: dict[str, Any]) -> None:
    """Print the changes of law of a run, and its results so far."""
    for line in tried(job):
        console.print(f"  {safe(line)}", soft_wrap=True)
    result = job["result"]
    if result is None:
        console.print("There are no findings before its first step.")
        return
    if job["state"] == "JOB_STATE_DONE" and not job["total"] and not result["consignments"]:
        console.print("No consignment was assessed on these days.")
        return
    console.print(summary(result))
    for line in reservations(result):
        console.print(f"[yellow]{line}[/]")
    for currency in currencies(result["revenue"]):
        _show_review(console, result, currency)
        _show_revenue(console, [each for each in result["revenue"] if each["currency"] == currency], currency)
        for by, title in TITLES.items():
            groups = [each for each in result["groups"] if each["currency"] == currency and each["by"] == by]
            if any(each["difference_minor"] or each["winners"] or each["losers"] for each in groups):
                _show_groups(console, groups, currency, title)
    console.print(result["behaviour"])


def _show_review(console: "Console", result: dict[str, Any], currency: str) -> None:
    for each in result.get("after_reviewed", ()):
        if each["currency"] == currency:
            console.print(
                f"By the draft {review_text(each['charged_minor'], each['reviewed_minor'], currency)}", soft_wrap=True
            )


def summary(result: dict[str, Any]) -> str:
    """Return how many consignments and items change, as one sentence."""
    consignments, items = result["consignments"], result["items"]
    return (
        f"Of {counted(consignments, 'consignment')} with {counted(items, 'item')} the draft changes what "
        f"{counted(result['consignments_changed'], 'consignment')}{share(result['consignments_changed'], consignments)} and "
        f"{counted(result['items_changed'], 'item')}{share(result['items_changed'], items)} owe."
    )


def reservations(result: dict[str, Any]) -> list[str]:
    """Return the limits of the figures, a sentence each."""
    texts = (
        (
            "unassessed_by_draft",
            "cannot be assessed by the draft, though they were: they owe in before and nothing in after",
        ),
        ("unassessed_before", "can be assessed by the draft, though they could not be then: they owe in after alone"),
        ("other_currency", "would owe in another currency: they count in the revenue of both, and in no group"),
        (
            "counted_alone",
            "would be summed up with others that no limit summed up then: each counts alone, so the amount that they would owe together is not known",
        ),
        ("unreadable", "cannot be read any more and are left out"),
        ("lower_bounds", "would owe at least what is shown: the law at hand does not hold all of theirs"),
    )
    lines = [f"{counted(result[name], 'consignment')} {what}." for name, what in texts if result[name]]
    left: dict[str, int] = {}
    for each in result["revenue"]:
        left[each["currency"]] = left.get(each["currency"], 0) + each["unassessed_minor"]
    told_of = ", ".join(money(minor, currency) for currency, minor in sorted(left.items()) if minor)
    if told_of:
        lines.append(
            f"What the draft cannot assess owed {told_of} before: so much of the difference is no effect of it."
        )
    return lines


def currencies(revenue: Sequence[dict[str, Any]]) -> list[str]:
    """Return the currencies of a result, each once: first those in which anything changes."""
    changed = {each["currency"] for each in revenue if each["difference_minor"]}
    return sorted({each["currency"] for each in revenue}, key=lambda currency: (currency not in changed, currency))


def share(part: int, whole: int) -> str:
    """Return a part in per cent of the whole, in brackets; nothing where there is no whole."""
    return f" ({_per_cent(part, whole)} %)" if whole else ""


def change(before: int, after: int) -> str:
    """Return a change in per cent with its sign; a dash where there was nothing before."""
    if before == after:
        return "0.0 %"
    if not before:
        return "new"
    sign = "+" if after > before else "-"
    return f"{sign}{_per_cent(abs(after - before), before)} %"


def signed(minor: int, currency: str) -> str:
    """Return a difference of money with its sign."""
    return f"{'+' if minor > 0 else ''}{money(minor, currency)}"


def key_text(key: str) -> str:
    """Return the key of a group as people read it."""
    return key or _NOT_STATED


def _per_cent(part: int, whole: int) -> str:
    """Return a share with one decimal, computed in whole numbers."""
    tenths = (2_000 * part + whole) // (2 * whole)
    return f"{tenths // 10:,}.{tenths % 10}"


def _show_revenue(console: "Console", revenue: Sequence[dict[str, Any]], currency: str) -> None:
    shown = table("law", "kind", "collected by", "before", "after", "difference", "change", title=f"Revenue in {safe(currency)}",
                  right=(3, 4, 5, 6))  # fmt: skip
    for each in revenue:
        shown.add_row(safe(each["jurisdiction"]), each["kind"], words(each["collector"]), *_amounts(each))
    if len(revenue) > 1:
        shown.add_section()
        shown.add_row("all", "", "", *_amounts({"currency": currency, **total(revenue)}))
    print_whole(console, shown)


def total(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return the sums of before, after and difference."""
    return {name: sum(each[name] for each in rows) for name in ("before_minor", "after_minor", "difference_minor")}


def _amounts(each: dict[str, Any], *, whole: bool = False) -> tuple[str, str, str, str]:
    before, after = each["before_minor"], each["after_minor"]
    texts = (_plain(minor, each["currency"], whole=whole) for minor in (before, after, after - before))
    first, second, difference = texts
    return first, second, f"+{difference}" if after > before else difference, change(before, after)


def _plain(minor: int, currency: str, *, whole: bool) -> str:
    """Return an amount without its currency, which is in the title; with `whole` it is rounded to whole units."""
    from libs.customs.currencies import minor_units

    if whole:
        unit = 10 ** minor_units(currency)
        rounded = (2 * abs(minor) + unit) // (2 * unit) * unit
        minor = rounded if minor >= 0 else -rounded
    text = money(minor, currency).removesuffix(currency).rstrip()
    return text.partition(".")[0] if whole else text


def _show_groups(console: "Console", groups: Sequence[dict[str, Any]], currency: str, title: str) -> None:
    shown = table("", "items", "pay less", "pay more", "before", "after", "difference", "change", title=f"{title}, whole {safe(currency)}",
                  right=(1, 2, 3, 4, 5, 6, 7))  # fmt: skip
    for each in groups[:GROUPS_SHOWN]:
        counts = (f"{each[name]:,}" for name in ("items", "winners", "losers"))
        key = key_text(each["key"]).removesuffix(f" {currency}")
        shown.add_row(safe(key), *counts, *_amounts(each, whole=True))
    left = groups[GROUPS_SHOWN:]
    if left:
        counts = (f"{sum(each[name] for each in left):,}" for name in ("items", "winners", "losers"))
        shown.add_row(f"{len(left)} more", *counts, *_amounts({"currency": currency, **total(left)}, whole=True))
    print_whole(console, shown)
