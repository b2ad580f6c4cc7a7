"""`luxor part`: files parts of consignments that others file, and shows what became of them."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, caller_of, caller_option, command, fail, run

if TYPE_CHECKING:
    from rich.console import Console


@click.group("part", short_help="File parts of consignments that others file.")
def part() -> None:
    """File what a platform, a payment provider, a carrier or a post knows of a consignment that another party files.

    Every command has --json, for programs.
    """


@command("file", group=part, short_help="File parts from JSON Lines.")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@acting("filer")
def file(context: Context, path: Path, ident: str) -> None:
    """File the parts of PATH, one JSON object in each line with the fields of luxor.ingestion.v1.FilingPart.

    If you file it again, you get the same answers and nothing is filed twice. Exits with 1 if a part is refused; the others are filed.
    """
    from libs.client.filing.parts import file_parts, read_parts

    parts, errors = read_parts(path)
    if not parts and not errors:
        fail("FILE_EMPTY", f"{path} has no parts.", "Write one part in each line.", as_json=context.as_json)

    async def work() -> list[dict[str, Any]]:
        async with context.client("filer", ident) as client:
            return await file_parts(client, [each for each, _ in parts])

    results = run(work()) if parts else []
    rows: list[dict[str, Any]] = [
        {"line": line, "reference": filed.reference} | result
        for (filed, line), result in zip(parts, results, strict=True)
    ]
    rows += [
        {
            "line": each.line,
            "reference": each.reference,
            "errors": [
                {
                    "reason": each.reason,
                    "path": each.element,
                    "message": each.sentence,
                    "hint": each.hint,
                    "severity": "SEVERITY_ERROR",
                }
            ],
        }
        for each in errors
    ]
    rows.sort(key=lambda each: int(each["line"]))
    context.emit({"parts": rows}, lambda terminal: _show_filed(terminal, rows))
    if any("receipt" not in each for each in rows):
        raise click.exceptions.Exit(REFUSED)


@command("link", group=part, short_help="Choose a linking key for a consignment.")
@click.argument("mrn")
@click.option("--key", default="", help="The linking key, 22 to 64 characters; without it a random one.")
@acting("filer")
def link(context: Context, mrn: str, key: str, ident: str) -> None:
    """Let whoever has a linking key add parts to consignment MRN, which the caller filed, and print the key."""
    from libs.client.filing.parts import link_consignments

    chosen = key or secrets.token_urlsafe(24)

    async def work() -> list[dict[str, Any]]:
        async with context.client("filer", ident) as client:
            return await link_consignments(client, [mrn], [chosen])

    (result,) = run(work())
    shown = {"mrn": mrn, "linking_key": chosen} | result

    def show(terminal: "Console") -> None:
        from libs.cli.views.text import refusal, safe

        terminal.print(refusal(result) or f"Linking key {safe(chosen)}", soft_wrap=True)

    context.emit(shown, show)
    if result.get("error"):
        raise click.exceptions.Exit(REFUSED)


@command("list", group=part, short_help="List parts and what became of them.")
@click.option("--mrn", default="", help="Only parts of this consignment; officers must name one.")
@caller_option("Who calls: a filer, who sees its own parts and those of its consignments, or an officer.", "filer")
def list_(context: Context, mrn: str, caller: str) -> None:
    """List parts in the order of filing, with the consignments that they were joined with and the values that differ."""
    from libs.client.filing.parts import parts_of

    role, ident = caller_of(caller, ("filer", "officer"))

    async def work() -> dict[str, Any]:
        async with context.client(role, ident) as client:
            return await parts_of(client, mrn)

    result = run(work())
    context.emit(result, lambda terminal: _show(terminal, result))


def _show_filed(terminal: "Console", rows: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import safe
    from libs.server.catalogue import command_hint

    accepted = sum("receipt" in each for each in rows)
    terminal.print(f"{accepted:,} accepted, {len(rows) - accepted:,} refused")
    for each in rows:
        for error in each.get("errors", ()):
            head = f"[bold red]{error['reason']}[/]  line {each['line']}, {safe(each['reference'])}"
            terminal.print(f"{head}: {safe(error['message'])}", soft_wrap=True)
            terminal.print(f"  [dim]→[/] {safe(command_hint(error['reason'], error['hint']))}", soft_wrap=True)


def _show(terminal: "Console", result: dict[str, Any]) -> None:
    from libs.cli.views.text import safe

    for each in result["parts"]:
        receipt, role = each["receipt"], _word(each["role"], "PARTY_ROLE_")
        state = _word(each["state"], "PART_STATE_")
        until = f" until {receipt['last_day']}" if state == "waiting" else ""
        name = safe(receipt.get("reference", ""))
        terminal.print(f"[bold]{name}[/] {role} of {safe(each['filer'])}: {state}{until}".strip(), soft_wrap=True)
        for consignment in each.get("consignments", ()):
            _show_joined(terminal, consignment)
    for role in result["missing_roles"]:
        terminal.print(f"A part of the {_word(role, 'PARTY_ROLE_')} is missing.")
    if not result["parts"]:
        terminal.print("There are no parts.")


def _show_joined(terminal: "Console", consignment: dict[str, Any]) -> None:
    from libs.cli.views.text import safe

    version = consignment.get("filing_version")
    terminal.print(f"  {safe(consignment['mrn'])} " + (f"version {version}" if version else "not added yet"))
    if added := consignment.get("added_elements"):
        terminal.print(f"    adds {safe(', '.join(added))}", soft_wrap=True)
    for each in consignment.get("contradictions", ()):
        by = f" ({each['stated_by']})" if "stated_by" in each else ""
        values = (
            f"consignment {each.get('consignment_value', 'not shown')}{by}, part {each.get('part_value', 'not shown')}"
        )
        terminal.print(f"    [bold red]differs[/]  {safe(each['path'])}: {safe(values)}", soft_wrap=True)
    for each in consignment.get("not_added", ()):
        terminal.print(f"    {each['reason']}  {safe(each['message'])}", soft_wrap=True)


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower().replace("_", " ")
