"""How a backtest is shown: tables that stay readable at 80 columns, with no id and no MRN shortened."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from libs.cli.views.text import counted, safe
from libs.customs.time import day_text, parse_day

if TYPE_CHECKING:
    from rich.console import Console

RULES_SHOWN: Final = 40
MRNS_A_LINE: Final = 4
_LANES: Final = {"RED": "red", "YELLOW": "yellow", "BLUE": "blue"}


def show_backtest(out: "Console", found: dict[str, Any]) -> None:
    """Print the results of a backtest so far."""
    result = found["result"]
    if result is None:
        out.print("There are no findings before its first step.")
        return
    out.print(
        f"{counted(result['consignments'], 'assessment')} with {counted(result['items'], 'item')}, "
        f"{_inspected(result['inspected'])}."
    )
    if found["office"] and not result["consignments"]:
        out.print(
            f"None of those days was presented at the office {safe(found['office'])} or entered there: is it written right?"
        )
    for name, told in (
        ("unreadable", "cannot be read any more and are left out"),
        ("without_history", "were made without history in its present form"),
    ):
        if result[name]:
            out.print(f"[yellow]{result[name]:,} {told}.[/]")
    if found["model"]:
        _show_shares(out, result)
        _warn_of_window(out, found)
        return
    _show_lanes(out, result)
    _show_work(out, result, found["office"])
    _show_rules(out, result["rules"])


def overlap(found: dict[str, Any], window: dict[str, Any]) -> tuple[int, int] | None:
    """Return the first and last day of a backtest that a model was trained on; None where there is none."""
    first = max(parse_day(found["from_day"]), window["first_day"])
    last = min(parse_day(found["to_day"]), window["last_day"])
    return (first, last) if first <= last else None


def _warn_of_window(out: "Console", found: dict[str, Any]) -> None:
    model = found.get("trained_model")
    window = model["window"] if model else None
    days = overlap(found, window) if window else None
    if window is None or days is None:
        return
    out.print(
        f"[yellow]The model was trained on {day_text(window['first_day'])} to {day_text(window['last_day'])}, so {day_text(days[0])} to "
        f"{day_text(days[1])} are days that it knows: the figures above are better than what it will do. Try it on later days.[/]"
    )


def _inspected(inspected: dict[str, int]) -> str:
    count, violations = inspected["count"], inspected["violations"]
    share = f" ({violations / count:.1%})" if count else ""
    return f"{count:,} inspected, {violations:,} with a violation{share}"


def _found(inspected: dict[str, int]) -> str:
    """Violations of how many inspections; nothing where there was none."""
    return f"{inspected['violations']:,} of {inspected['count']:,}" if inspected["count"] else ""


def _table(out: "Console", heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows below each other, each cell whole: the first column to the left, numbers to the right."""
    texts = [heads, *([each if isinstance(each, str) else f"{each:,}" for each in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for place, row in enumerate(texts):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        line = safe("  ".join(cells).rstrip())
        out.print(line if place else f"[dim]{line}[/]", soft_wrap=True)


def _show_lanes(out: "Console", result: dict[str, Any]) -> None:
    rows = [
        (
            _LANES.get(each["lane"], each["lane"]), each["both"], each["tried_only"], each["baseline_only"],
            _found(each["tried_inspected"]), _found(each["baseline_inspected"]),
        )
        for each in result["lanes"]
        if each["both"] or each["tried_only"] or each["baseline_only"]
    ]  # fmt: skip
    if not rows:
        out.print("\nAll consignments are in the green lane, now and originally.")
        return
    out.print("\n[bold]Lanes[/], now and then; violations of how many inspections")
    _table(out, ("lane", "both", "only now", "only then", "found now", "found then"), rows)


def _show_work(out: "Console", result: dict[str, Any], office: str) -> None:
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
        out.print("\n[bold]Work a day[/], by office: mean and most of one day, now and then")
        _table(out, ("office", "lane", "days", "mean now", "most now", "mean then", "most then"), rows)


def _show_rules(out: "Console", rules: list[dict[str, Any]]) -> None:
    told = sorted((each for each in rules if _says_something(each)), key=lambda each: -each["hits"])
    if told:
        out.print("\n[bold]Rules and typologies[/], most hits first; violations of how many inspections")
        rows = [
            (
                each["rule"],
                each["hits"],
                each["baseline_hits"],
                each["both"],
                each["baseline_red"],
                _found(each["inspected"]),
            )
            for each in told[:RULES_SHOWN]
        ]
        _table(out, ("rule", "hits", "then", "both", "red then", "found"), rows)
        _show_notes(out, told[:RULES_SHOWN])
    rest = len(told) - RULES_SHOWN
    if rest > 0:
        out.print(f"{rest} more with fewer hits; --json lists all of them.")
    silent = len(rules) - len(told)
    if silent:
        out.print(f"{silent} other{'s' if silent > 1 else ''} hit nothing, now or then.")


def _says_something(each: dict[str, Any]) -> bool:
    return bool(each["hits"] or each["baseline_hits"] or each["unjudged"])


def _show_notes(out: "Console", rules: list[dict[str, Any]]) -> None:
    """What only some rules have: a life without effect, consignments that could not be judged; and examples."""
    notes = []
    for each in rules:
        words = [] if each["life"] == "active" else [f"{each['life']}, would raise {each['raises']:,}"]
        words += [f"could not judge {each['unjudged']:,}"] if each["unjudged"] else []
        if words:
            notes.append(f"  {safe(each['rule'])}: {', '.join(words)}")
    if notes:
        out.print("\n[bold]Beside that[/]")
        for note in notes:
            out.print(note, soft_wrap=True)
    if any(each["examples"] for each in rules):
        out.print("\n[bold]Examples[/]")
    for each in rules:
        mrns = [example["mrn"] for example in each["examples"]]
        for start in range(0, len(mrns), MRNS_A_LINE):
            if start == 0:
                out.print(f"  {safe(each['rule'])}", soft_wrap=True)
            out.print(f"    {safe(' '.join(mrns[start : start + MRNS_A_LINE]))}", soft_wrap=True)


def _show_shares(out: "Console", result: dict[str, Any]) -> None:
    if result["auc_ppm"] is not None:
        out.print(f"AUC among what was inspected: {result['auc_ppm'] / 1e6:.3f}")
    rows = [
        (
            f"{each['share_ppm'] / 1e4:g} %", f"{each['score_from_ppm'] / 1e6:.4f}", each["consignments"],
            each["baseline_selected"], _found(each["inspected"]),
            f"{each['inspected']['violations'] / each['inspected']['count']:.1%}" if each["inspected"]["count"] else "",
        )
        for each in result["shares"]
        if each["consignments"]
    ]  # fmt: skip
    if rows:
        out.print("Those with the highest scores; violations of how many inspections")
        heads = ("highest", "score from", "consignments", "red or yellow then", "found", "precision")
        _table(out, heads, rows)
