"""Prints the results of a backtest: tables that are readable at 80 columns, without shortened ids and MRNs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from libs.cli.views.text import counted, safe
from libs.customs.time import day_text, parse_day

if TYPE_CHECKING:
    from rich.console import Console

RULES_SHOWN: Final = 40
MRNS_A_LINE: Final = 4
_LANES: Final = {"RED": "red", "YELLOW": "yellow", "BLUE": "blue"}


def show_backtest(console: "Console", job: dict[str, Any]) -> None:
    """Print the results of a backtest so far."""
    result = job["result"]
    if result is None:
        console.print("There are no findings before its first step.")
        return
    console.print(
        f"{counted(result['consignments'], 'assessment')} with {counted(result['items'], 'item')}, "
        f"{_inspected(result['inspected'])}."
    )
    if job["office"] and not result["consignments"]:
        console.print(
            f"No consignment of those days was presented or entered at the office {safe(job['office'])}: is its code correct?"
        )
    for name, text in (
        ("unreadable", "cannot be read any more and are not included"),
        ("without_history", "were made without history in its present form"),
    ):
        if result[name]:
            console.print(f"[yellow]{result[name]:,} {text}.[/]")
    if job["model"]:
        _show_shares(console, result)
        _warn_of_window(console, job)
        return
    _show_lanes(console, result)
    _show_work(console, result, job["office"])
    _show_rules(console, result["rules"])


def overlap(job: dict[str, Any], window: dict[str, Any]) -> tuple[int, int] | None:
    """Return the first and last day of a backtest that a model was trained on; None where there is none."""
    first = max(parse_day(job["from_day"]), window["first_day"])
    last = min(parse_day(job["to_day"]), window["last_day"])
    return (first, last) if first <= last else None


def _warn_of_window(console: "Console", job: dict[str, Any]) -> None:
    model = job.get("trained_model")
    window = model["window"] if model else None
    days = overlap(job, window) if window else None
    if window is None or days is None:
        return
    console.print(
        f"[yellow]The model was trained on {day_text(window['first_day'])} to {day_text(window['last_day'])}, so {day_text(days[0])} to "
        f"{day_text(days[1])} are days of its training: on other days its results will be worse than these. Backtest it on later days.[/]"
    )


def _inspected(inspected: dict[str, int]) -> str:
    count, violations = inspected["count"], inspected["violations"]
    share = f" ({violations / count:.1%})" if count else ""
    return f"{count:,} inspected, {violations:,} with a violation{share}"


def _violations_found(inspected: dict[str, int]) -> str:
    """Return the violations of the inspections; "" if there was no inspection."""
    return f"{inspected['violations']:,} of {inspected['count']:,}" if inspected["count"] else ""


def _table(console: "Console", heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows without cutting any cell: the first column to the left, numbers to the right."""
    texts = [heads, *([each if isinstance(each, str) else f"{each:,}" for each in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for place, row in enumerate(texts):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        line = safe("  ".join(cells).rstrip())
        console.print(line if place else f"[dim]{line}[/]", soft_wrap=True)


def _show_lanes(console: "Console", result: dict[str, Any]) -> None:
    rows = [
        (
            _LANES.get(each["lane"], each["lane"]), each["both"], each["tried_only"], each["baseline_only"],
            _violations_found(each["tried_inspected"]), _violations_found(each["baseline_inspected"]),
        )
        for each in result["lanes"]
        if each["both"] or each["tried_only"] or each["baseline_only"]
    ]  # fmt: skip
    if not rows:
        console.print("\nAll consignments are in the green lane, now and originally.")
        return
    console.print("\n[bold]Lanes[/], now and before; violations of how many inspections")
    _table(console, ("lane", "both", "only now", "only before", "found now", "found before"), rows)


def _show_work(console: "Console", result: dict[str, Any], office: str) -> None:
    rows = [
        (
            each["office"] or office or "(others)", _LANES.get(each["lane"], each["lane"]), each["days"],
            round(each["tried"] / each["days"], 1), each["tried_day_max"],
            round(each["baseline"] / each["days"], 1), each["baseline_day_max"],
        )
        for each in result["workload"]
        if each["tried"] or each["baseline"]
    ]  # fmt: skip
    if rows:
        console.print("\n[bold]Work a day[/], by office: mean and most of one day, now and before")
        _table(console, ("office", "lane", "days", "mean now", "most now", "mean before", "most before"), rows)


def _show_rules(console: "Console", rules: list[dict[str, Any]]) -> None:
    listed_rules = sorted((each for each in rules if _says_something(each)), key=lambda each: -each["matches"])
    if listed_rules:
        console.print("\n[bold]Rules and typologies[/], most matches first; violations of how many inspections")
        rows = [
            (
                each["rule"],
                each["matches"],
                each["baseline_matches"],
                each["both"],
                each["baseline_red"],
                _violations_found(each["inspected"]),
            )
            for each in listed_rules[:RULES_SHOWN]
        ]
        _table(console, ("rule", "matches", "before", "both", "red before", "found"), rows)
        _show_notes(console, listed_rules[:RULES_SHOWN])
    rest = len(listed_rules) - RULES_SHOWN
    if rest > 0:
        console.print(f"{rest} more with fewer matches; --json lists all of them.")
    silent = len(rules) - len(listed_rules)
    if silent:
        console.print(f"{counted(silent, 'other rule')} matched nothing, now or before.")


def _says_something(each: dict[str, Any]) -> bool:
    return bool(each["matches"] or each["baseline_matches"] or each["unjudged"])


def _show_notes(console: "Console", rules: list[dict[str, Any]]) -> None:
    """Print what only some rules have: a state without effect, consignments that could not be evaluated, and examples."""
    notes = []
    for each in rules:
        words = [] if each["life"] == "active" else [f"{each['life']}, would raise {each['raises']:,}"]
        words += [f"{each['unjudged']:,} not evaluated"] if each["unjudged"] else []
        if words:
            notes.append(f"  {safe(each['rule'])}: {', '.join(words)}")
    if notes:
        console.print("\n[bold]Notes[/]")
        for note in notes:
            console.print(note, soft_wrap=True)
    if any(each["examples"] for each in rules):
        console.print("\n[bold]Examples[/]")
    for each in rules:
        mrns = [example["mrn"] for example in each["examples"]]
        for start in range(0, len(mrns), MRNS_A_LINE):
            if start == 0:
                console.print(f"  {safe(each['rule'])}", soft_wrap=True)
            console.print(f"    {safe(' '.join(mrns[start : start + MRNS_A_LINE]))}", soft_wrap=True)


def _show_shares(console: "Console", result: dict[str, Any]) -> None:
    if result["auc_ppm"] is not None:
        console.print(f"AUC among inspected consignments: {result['auc_ppm'] / 1e6:.3f}")
    rows = [
        (
            f"{each['share_ppm'] / 1e4:g} %", f"{each['score_from_ppm'] / 1e6:.4f}", each["consignments"],
            each["baseline_selected"], _violations_found(each["inspected"]),
            f"{each['inspected']['violations'] / each['inspected']['count']:.1%}" if each["inspected"]["count"] else "",
        )
        for each in result["shares"]
        if each["consignments"]
    ]  # fmt: skip
    if rows:
        console.print("Consignments with the highest scores; violations of how many inspections")
        heads = ("highest", "score from", "consignments", "red or yellow before", "found", "precision")
        _table(console, heads, rows)
