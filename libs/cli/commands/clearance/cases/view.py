"""Cases in the terminal, in 80 columns."""

from typing import TYPE_CHECKING, Any, Final

from libs.cli.views.text import (
    LANES,
    STATES,
    coloured,
    counted,
    paragraph,
    print_words,
    safe,
    short,
    table,
    when,
    words,
)

if TYPE_CHECKING:
    from rich.console import Console

CASE_STATES: Final = {"OPEN": "red", "CLOSED": "green"}
_MRNS_SHOWN: Final = 3


def show_changed(terminal: "Console", answer: dict[str, Any]) -> None:
    """Print what a change did to a case, and which consignments were refused."""
    from libs.server.catalogue import command_hint

    case = answer.get("case", {})
    if case.get("number"):
        state = coloured(short(case.get("state", ""), "CASE_STATE_"), CASE_STATES)
        terminal.print(f"case {case['number']}  {state}  version {case.get('version', 0)}")
    results = answer.get("results", [])
    taken = sum(not each.get("error") for each in results)
    if results:
        terminal.print(f"{taken} of {counted(len(results), 'consignment')} done")
    for each in ({**case, "mrn": ""}, *results):
        error = each.get("error")
        if error:
            terminal.print(f"[red]{error['reason']}[/] {safe(error.get('message', ''))}")
            paragraph(terminal, f"[dim]→ {safe(command_hint(error['reason'], error.get('hint', '')))}[/]", 2)


def show_cases(terminal: "Console", cases: list[dict[str, Any]]) -> None:
    """Print a list of cases."""
    shown = table("case", "state", "office", "officer", "goods", "opened", "title", right=(0, 4))
    for each in cases:
        shown.add_row(
            str(each["number"]), coloured(short(each.get("state", ""), "CASE_STATE_"), CASE_STATES), safe(each.get("office", "")) or "–",
            safe(each.get("officer", "")) or "–", f"{each.get('consignments', 0):,}", when(each.get("opened_at", ""))[:10],
            safe(each.get("title", "")),
        )  # fmt: skip
    print_words(terminal, shown)


def show_case(terminal: "Console", case: dict[str, Any]) -> None:
    """Print a case with its consignments and its history."""
    terminal.print(f"[bold]case {case['number']}: {safe(case.get('title', ''))}[/]")
    relation, key = words(short(case.get("relation", ""), "CASE_RELATION_")), safe(case.get("relation_key", ""))
    lines = {
        "state": _state(case),
        "version": str(case.get("version", 0)),
        "officer": safe(case.get("officer", "")) or "nobody",
        "office": safe(case.get("office", "")) or "none",
        "relation": f"{relation} {key}".strip(),
        "opened": f"{when(case.get('opened_at', ''))} by {safe(case.get('opened_by', ''))}",
    }
    for name, value in lines.items():
        terminal.print(f"  {name:<10}{value}")
    members, count = case.get("members", []), case.get("consignments", 0)
    terminal.print(
        f"\n{counted(count, 'consignment')}" + (f", the first {len(members)}" if len(members) < count else "")
    )
    if members:
        shown = table("MRN", "state now", "lane", "added", "by")
        for each in members:
            state = short(each.get("state", ""), "STATE_")
            shown.add_row(
                each["mrn"], "not stored" if state == "–" else coloured(state, STATES),
                coloured(short(each.get("lane", ""), "LANE_"), LANES), when(each.get("added_at", ""))[:10], safe(each.get("added_by", "")),
            )  # fmt: skip
        print_words(terminal, shown)
    attachments = case.get("attachments", [])
    if attachments:
        terminal.print(f"\n{counted(len(attachments), 'attachment')}")
    for each in attachments:
        kind = short(each.get("content_type", ""), "CONTENT_TYPE_")
        terminal.print(f"  {safe(each.get('name', ''))}")
        terminal.print(
            f"    {kind}, {each.get('bytes', 0):,} bytes, {when(each.get('attached_at', ''))} by {safe(each.get('attached_by', ''))}"
        )
        terminal.print(f"    {each.get('sha256', '')}")
    terminal.print("\nhistory")
    for each in case.get("events", []):
        change = words(short(each.get("change", ""), "CASE_CHANGE_"))
        terminal.print(
            f"  {each['version']:>3}  {when(each.get('at', ''))}  {safe(each.get('by', ''))}  [bold]{change}[/]{_details(each)}"
        )
        if each.get("note"):
            paragraph(terminal, safe(each["note"]), 7)


def _state(case: dict[str, Any]) -> str:
    state = coloured(short(case.get("state", ""), "CASE_STATE_"), CASE_STATES)
    if not case.get("closed_at"):
        return state
    outcome = words(short(case.get("outcome", ""), "CASE_OUTCOME_"))
    return f"{state}: {outcome} ({safe(case.get('outcome_reason', ''))}), {when(case['closed_at'])} by {safe(case.get('closed_by', ''))}"


def _details(event: dict[str, Any]) -> str:
    """Return what an event changed, beside its note."""
    mrns = event.get("mrns", [])
    parts = [
        words(short(event.get("outcome", "") or "", "CASE_OUTCOME_")) if event.get("outcome") else "",
        safe(event.get("reason", "")),
        f"to {safe(event.get('officer', '')) or 'nobody'}" if event.get("change") == "CASE_CHANGE_ASSIGNED" else "",
        f"office {safe(event['office'])}" if event.get("office") else "",
        safe(event.get("attachment", {}).get("name", "")),
        ", ".join(mrns[:_MRNS_SHOWN]) + (f" and {len(mrns) - _MRNS_SHOWN} others" if len(mrns) > _MRNS_SHOWN else ""),
    ]
    return "".join(f"  {part}" for part in parts if part)
