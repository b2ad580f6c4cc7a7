"""Prints a what-if run: revenue before and after, difference and per cent, and who pays more and who less."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from libs.cli.views.law_review import review_text
from libs.cli.views.text import counted, money, print_whole, safe, table, words

if TYPE_CHECKING:
    from rich.console import Console

GROUPS_SHOWN: Final = 12
TITLES: Final = {"origin": "By origin", "hs_chapter": "By HS chapter", "value_band": "By value of the consignment"}
_NOT_DECLARED: Final = "not declared"


def draft_lines(run: dict[str, Any]) -> list[str]:
    """Return the draft of a run, one line for each change, file and day of law, and what its amounts before and its behaviour are."""
    lines = [f"the draft of what-if-{run['of_run']}, to which the following is applied"] if run["of_run"] else []
    lines += [f"{each['path']} = {each['value'] if each.get('value') else '(removed)'}" for each in run["changes"]]
    lines += [f"{each} replaced or added" for each in run["files"]]
    if run["law_day"]:
        lines.append(f"the law of {run['law_day']} applied to all")
    if run["against"]:
        lines.append(f"before: by the draft of what-if-{run['against']}, not by the answers of then")
    lines += [f"ASSUMPTION: elasticity {each['elasticity']} {_goods(each)}" for each in run["elasticities"]]
    return lines


def _goods(each: dict[str, Any]) -> str:
    if each["origin"]:
        return f"for goods of origin {each['origin']}"
    return (
        f"for goods of chapter {each['hs_chapter']}"
        if each["hs_chapter"]
        else "for all goods that no line before names"
    )


def show_what_if(terminal: "Console", run: dict[str, Any]) -> None:
    """Print the draft of a run and its results so far."""
    for line in draft_lines(run):
        terminal.print(f"  {safe(line)}", soft_wrap=True)
    result = run["result"]
    if result is None:
        terminal.print("There are no results yet.")
        return
    if run["state"] == "JOB_STATE_DONE" and not run["total"] and not result["consignments"]:
        terminal.print("No consignment was assessed on these days.")
        return
    terminal.print(summary(result))
    for line in reservations(result):
        terminal.print(f"[yellow]{line}[/]")
    for currency in currencies(result["revenue"]):
        _show_review(terminal, result, currency)
        _show_revenue(terminal, [each for each in result["revenue"] if each["currency"] == currency], currency)
        if run["elasticities"]:
            _show_behaviour(terminal, result, currency)
        for by, title in TITLES.items():
            groups = [each for each in result["groups"] if each["currency"] == currency and each["by"] == by]
            if any(each["difference_minor"] or each["winners"] or each["losers"] for each in groups):
                _show_groups(terminal, groups, currency, title)
    terminal.print(result["behaviour"])


def _show_review(terminal: "Console", result: dict[str, Any], currency: str) -> None:
    for each in result.get("after_reviewed", ()):
        if each["currency"] == currency:
            terminal.print(
                f"By the draft {review_text(each['charged_minor'], each['reviewed_minor'], currency)}", soft_wrap=True
            )


def summary(result: dict[str, Any]) -> str:
    """Return the number of affected consignments and items as one sentence."""
    consignments, items = result["consignments"], result["items"]
    return (
        f"Of {counted(consignments, 'consignment')} with {counted(items, 'item')} the draft changes what "
        f"{counted(result['consignments_changed'], 'consignment')}{share(result['consignments_changed'], consignments)} and "
        f"{counted(result['items_changed'], 'item')}{share(result['items_changed'], items)} owe."
    )


def reservations(result: dict[str, Any]) -> list[str]:
    """Return the limitations of the figures, one sentence each."""
    sentences = (
        (
            "unassessed_by_draft",
            "cannot be assessed by the draft although they were assessed: their amounts are only in before",
        ),
        (
            "unassessed_before",
            "can be assessed by the draft although they could not be assessed: their amounts are only in after",
        ),
        (
            "other_currency",
            "would owe in another currency: they count in the revenue of both currencies and in no group",
        ),
        (
            "counted_alone",
            "would be under a limit without stored aggregates: each counts alone, so the effect of others is unknown",
        ),
        ("unreadable", "can no longer be read and are left out"),
        ("lower_bounds", "may owe more than is shown: charges that the draft does not contain may be owed"),
    )
    lines = [f"{counted(result[name], 'consignment')} {what}." for name, what in sentences if result[name]]
    left: dict[str, int] = {}
    for each in result["revenue"]:
        left[each["currency"]] = left.get(each["currency"], 0) + each["unassessed_minor"]
    amounts = ", ".join(money(minor, currency) for currency, minor in sorted(left.items()) if minor)
    if amounts:
        lines.append(
            f"Of the difference, {amounts} is not an effect of the draft: consignments that it cannot assess owed this before."
        )
    return lines


def currencies(revenue: Sequence[dict[str, Any]]) -> list[str]:
    """Return the currencies of a result, each once: first those in which anything changes."""
    changed = {each["currency"] for each in revenue if each["difference_minor"]}
    return sorted({each["currency"] for each in revenue}, key=lambda currency: (currency not in changed, currency))


def share(part: int, whole: int) -> str:
    """Return a part in per cent of the whole, in brackets; an empty text if the whole is zero."""
    return f" ({_per_cent(part, whole)} %)" if whole else ""


def change(before: int, after: int) -> str:
    """Return a change in per cent with its sign; "new" if the amount before is zero."""
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
    """Return the text of a group's key."""
    return key or _NOT_DECLARED


def _per_cent(part: int, whole: int) -> str:
    """Return a share in per cent with one decimal, computed in whole numbers because a float is inexact."""
    tenths = (2_000 * part + whole) // (2 * whole)
    return f"{tenths // 10:,}.{tenths % 10}"


def _show_revenue(terminal: "Console", revenue: Sequence[dict[str, Any]], currency: str) -> None:
    shown = table("law", "kind", "collected by", "before", "after", "difference", "change", title=f"Revenue in {safe(currency)}",
                  right=(3, 4, 5, 6))  # fmt: skip
    for each in revenue:
        shown.add_row(safe(each["jurisdiction"]), each["kind"], words(each["collector"]), *_amounts(each))
    if len(revenue) > 1:
        shown.add_section()
        shown.add_row("all", "", "", *_amounts({"currency": currency, **total(revenue)}))
    print_whole(terminal, shown)


def _show_behaviour(terminal: "Console", result: dict[str, Any], currency: str) -> None:
    """Print what the stated elasticities give, apart from what is computed."""
    title = f"Revenue in {safe(currency)}, ASSUMED behaviour"
    shown = table("law", "kind", "collected by", "after", "with behaviour", "difference", "change", title=title, right=(3, 4, 5, 6))  # fmt: skip
    rows = [each for each in result["revenue"] if each["currency"] == currency]
    for each in [*rows, *([None] if len(rows) > 1 else [])]:
        after, assumed = (
            sum(row[name] for row in ([each] if each else rows))
            for name in ("after_minor", "after_with_behaviour_minor")
        )
        amounts = _amounts({"currency": currency, "before_minor": after, "after_minor": assumed})
        if each is None:
            shown.add_section()
            shown.add_row("all", "", "", *amounts)
        else:
            shown.add_row(safe(each["jurisdiction"]), each["kind"], words(each["collector"]), *amounts)
    print_whole(terminal, shown)
    for by, title in TITLES.items():
        groups = [each for each in result["groups"] if (each["currency"], each["by"]) == (currency, by)]
        groups = [each for each in groups if each["quantity_ppm"] != each["items"] * 1_000_000]
        if groups:
            title = f"{title}, ASSUMED behaviour, whole {safe(currency)}"
            shown = table("", "items", "with behaviour", "change", "after", "with behaviour", title=title, right=(1, 2, 3, 4, 5))  # fmt: skip
            for each in groups[:GROUPS_SHOWN]:
                shown.add_row(
                    safe(key_text(each["key"]).removesuffix(f" {currency}")),
                    f"{each['items']:,}",
                    f"{(each['quantity_ppm'] + 500_000) // 1_000_000:,}",
                    change(each["items"] * 1_000_000, each["quantity_ppm"]),
                    *(
                        _plain(each[name], currency, whole=True)
                        for name in ("after_minor", "after_with_behaviour_minor")
                    ),
                )
            print_whole(terminal, shown)


def total(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return the totals of before, after and difference."""
    return {name: sum(each[name] for each in rows) for name in ("before_minor", "after_minor", "difference_minor")}


def _amounts(each: dict[str, Any], *, whole: bool = False) -> tuple[str, str, str, str]:
    before, after = each["before_minor"], each["after_minor"]
    first, second, difference = (
        _plain(minor, each["currency"], whole=whole) for minor in (before, after, after - before)
    )
    return first, second, f"+{difference}" if after > before else difference, change(before, after)


def _plain(minor: int, currency: str, *, whole: bool) -> str:
    """Return an amount without its currency, which is in the title; with `whole` rounded to whole units."""
    from libs.customs.currencies import minor_units

    if whole:
        unit = 10 ** minor_units(currency)
        rounded = (2 * abs(minor) + unit) // (2 * unit) * unit
        minor = rounded if minor >= 0 else -rounded
    text = money(minor, currency).removesuffix(currency).rstrip()
    return text.partition(".")[0] if whole else text


def _show_groups(terminal: "Console", groups: Sequence[dict[str, Any]], currency: str, title: str) -> None:
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
    print_whole(terminal, shown)
