"""`luxor audit verify, export`: prove that no decision and no access was altered, and evidence of one consignment."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import NOT_PROVEN, REFUSED, Context, caller_of, caller_option, command, console, run

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_MAX = 50


@click.group("audit", short_help="Prove the audit trail; export evidence of a consignment.")
def audit() -> None:
    """Prove that no decision on consignments and no access to them was altered, and export evidence of one consignment.

    Every command has --json, for programs.
    """


@command("verify", group=audit, short_help="Prove that no record or stored decision was altered.")
@click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Verify the evidence in this file instead, without the system.",
)
@click.option(
    "--seal",
    "seals",
    multiple=True,
    metavar="NUMBER:HASH",
    help="An external seal: compare it with that of the same number. May be repeated with --file.",
)
@caller_option("The analyst, officer or operator.", "analyst")
def verify(context: Context, file: Path | None, seals: tuple[str, ...], caller: str) -> None:
    """Recompute the chain of all records from their content, compare it with all stored batches and seals, and name each difference.

    It prints the newest seal. Give it to an auditor who cannot write to the store: a person who can write the whole store cannot change a
    seal that is stored elsewhere. --seal compares with such a seal. Exits with 1 on a difference, and with 4 where a file has none and does
    not prove all that it contains, also because not all of its seals were compared.
    """
    from libs.client.revenue.ledger import parse_seal

    outside = [parse_seal(each) for each in seals]
    if file is not None:
        _verify_file(context, file, dict(outside))
        return
    if len(outside) > 1:
        raise click.UsageError("without --file, compare one external seal at a time")
    role, ident = caller_of(caller, ("analyst", "officer", "operator"))
    result = run(_check(context, role, ident, outside[0] if outside else None))
    context.emit(result, lambda terminal: _show_check(terminal, result))
    if result["errors"]:
        raise click.exceptions.Exit(REFUSED)


async def _check(context: Context, role: str, ident: str, seal: tuple[int, bytes] | None) -> dict[str, Any]:
    from libs.client.clearance.audit import check_trail

    done = 0
    with console(errors=True).status("Checking …") as status:

        def progress(count: int) -> None:
            nonlocal done
            done += count
            status.update(f"Checking … {done:,} records and batches")

        async with context.client(role, ident) as client:
            return await check_trail(client, progress, seal)


def _show_check(terminal: "Console", result: dict[str, Any]) -> None:
    from libs.cli.views.text import counted, safe, when

    text = (
        f"{counted(result['records'], 'record')}, {result['batches']:,} batches with {counted(result['versions'], 'version')}, "
        f"{counted(result['seals'], 'seal')} compared"
    )
    newest = result["newest_seal"]
    if newest is not None:
        terminal.print(
            f"Newest seal, for the auditor: {newest['number']}:{newest['hash']} of {when(newest['sealed_at'])}",
            soft_wrap=True,
        )
    _show_errors(terminal, result["errors"], f"[green]Nothing was altered[/]: {text}.", text)
    for each in result["errors"][:SHOWN_MAX]:
        terminal.print(f"  {safe(each)}", soft_wrap=True)


def _show_errors(terminal: "Console", errors: list[str], sound: str, text: str) -> None:
    from libs.cli.views.text import counted

    terminal.print(
        sound if not errors else f"[bold red]{counted(len(errors), 'difference')}[/]: {text}.", soft_wrap=True
    )


def _verify_file(context: Context, file: Path, outside: dict[int, bytes]) -> None:
    from libs.client.clearance.evidence import read_evidence, verify_evidence

    evidence = read_evidence(file.read_bytes())
    found = verify_evidence(evidence, outside)
    result = {
        "mrn": evidence.mrn,
        "proven": found.is_proven,
        "errors": found.errors,
        "notes": found.notes,
        "versions": found.versions,
        "accesses": found.accesses,
        "seals": [
            {"number": number, "hash": digest, "compared": number in found.compared}
            for number, digest in found.seals.items()
        ],
    }
    context.emit(result, lambda terminal: _show_evidence(terminal, result))
    if not found.is_proven:
        raise click.exceptions.Exit(REFUSED if found.errors else NOT_PROVEN)


def _show_evidence(terminal: "Console", result: dict[str, Any]) -> None:
    from libs.cli.views.text import counted, print_words, safe, table

    shown = table("version", "at", "by", "change", "reasons", "rule set", "rulebook", "record", "proven")
    for each in result["versions"]:
        law = (safe(each["rule_set_version"]), safe(each["rulebook_version"]))
        change = safe(each["change"].lower().replace("_", " "))
        shown.add_row(
            str(each["version"]),
            _moment(each["at_micros"]),
            safe(each["actor"]),
            change,
            safe(", ".join(each["reasons"])),
            *law,
            str(each["record"]),
            _yes(each["proven"]),
        )
    print_words(terminal, shown)
    shown = table("seen at", "by", "RPC", "reason", "record", "proven")
    for each in result["accesses"]:
        shown.add_row(
            _moment(each["at_micros"]),
            safe(each["actor"]),
            safe(each["method"]),
            safe(each["reason"]),
            str(each["record"]),
            _yes(each["proven"]),
        )
    print_words(terminal, shown)
    for each in result["seals"]:
        text = "compared" if each["compared"] else "not compared"
        terminal.print(f"Seal {each['number']}:{each['hash']}, {text}", soft_wrap=True)
    for note in result["notes"]:
        terminal.print(safe(note), soft_wrap=True)
    text = f"{counted(len(result['versions']), 'version')} and {len(result['accesses']):,} accesses of {safe(result['mrn'])}"
    sound = (
        "[green]The evidence is proven[/]"
        if result["proven"]
        else "[yellow]The evidence has no error and is not fully proven[/]"
    )
    _show_errors(terminal, result["errors"], f"{sound}: {text}.", text)
    for error in result["errors"][:SHOWN_MAX]:
        terminal.print(f"  {safe(error)}", soft_wrap=True)


def _yes(proven: bool) -> str:
    return "yes" if proven else "no"


def _moment(micros: int) -> str:
    try:
        return f"{datetime.fromtimestamp(micros // 1_000_000, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (OverflowError, ValueError, OSError):  # whatever a file says
        return f"{micros} µs"


@command("export", group=audit, short_help="Export the evidence of a consignment to a file.")
@click.argument("mrn", metavar="MRN")
@click.option(
    "--out", "file", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file to write, JSON."
)
@click.option("--purpose", required=True, metavar="TEXT", help="Why it is exported; recorded with the access.")
@caller_option("The officer or analyst.")
def export(context: Context, mrn: str, file: Path, purpose: str, caller: str) -> None:
    """Write all versions of the consignment MRN, who saw it, and the proofs that lead to seals.

    `luxor audit verify --file FILE` verifies the file anywhere. The export is recorded as an access.
    """
    from libs.client.clearance.audit import export_evidence

    role, ident = caller_of(caller, ("officer", "analyst"))

    async def work() -> Any:
        async with context.client(role, ident) as client:
            return await export_evidence(client, mrn, purpose)

    evidence = run(work())
    from libs.client.clearance.evidence import evidence_text, verify_evidence

    file.write_text(evidence_text(evidence), encoding="utf-8")
    errors = verify_evidence(evidence).errors
    result = {
        "mrn": mrn, "file": str(file), "versions": len(evidence.versions), "accesses": len(evidence.accesses), "errors": errors
    }  # fmt: skip
    context.emit(result, lambda terminal: _show_export(terminal, result))
    if errors:
        raise click.exceptions.Exit(REFUSED)


def _show_export(terminal: "Console", result: dict[str, Any]) -> None:
    from libs.cli.views.text import counted, safe

    text = f"{counted(result['versions'], 'version')} and {result['accesses']:,} accesses of {safe(result['mrn'])} in {safe(result['file'])}"
    _show_errors(terminal, result["errors"], f"{text}.", text)
    for error in result["errors"]:
        terminal.print(f"  {safe(error)}", soft_wrap=True)
