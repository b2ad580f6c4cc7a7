"""`luxor file`: files the consignments of a file."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from libs.cli.common import REFUSED, Context, acting, command, console, run

if TYPE_CHECKING:
    from rich.console import Console

    from libs.client.errors import LuxorError
    from libs.client.filing.submission import Summary
    from libs.client.row_errors import RowError

REFUSALS_SHOWN = 8
FORMATS: Final = click.Choice(["csv", "jsonl", "dec", "h7", "itmatt"])
"""The formats of files of consignments, those of `libs.client.filing.formats`."""


@command("file", short_help="File consignments from CSV, JSON Lines, or a declaration in XML.")
@click.argument("path", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--format",
    "kind",
    type=FORMATS,
    help="Format of the file (default: by its name).",
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for refused rows (default: PATH.refused.csv).",
)
@click.option(
    "--batch",
    "batch_rows",
    type=click.IntRange(1, 1000),
    default=500,
    show_default=True,
    help="Consignments in a call.",
)
@click.option("--in-flight", type=click.IntRange(1, 16), default=4, show_default=True, help="Calls at once.")
@click.option("--packed", is_flag=True, help="Send columns, packed here: for large volumes, it costs the service less.")
@click.option(
    "--amend", "change", flag_value="AMEND", help="Amend filings: rows that state no function replace a version."
)
@click.option(
    "--invalidate", "change", flag_value="INVALIDATE", help="Invalidate filings: rows need a local_reference or an MRN."
)
@click.option("--check", is_flag=True, help="Only read the file and report its errors; file nothing.")
@click.option("--template", is_flag=True, help="Print a template, in the given --format (default: csv).")
@click.option("--columns", "list_columns", is_flag=True, help="List all columns of a CSV.")
@acting("filer")
def file(
    context: Context,
    path: Path | None,
    kind: str | None,
    report_path: Path | None,
    batch_rows: int,
    in_flight: int,
    packed: bool,
    change: str | None,
    check: bool,
    template: bool,
    list_columns: bool,
    ident: str,
) -> None:
    """File every consignment of PATH; each refusal is reported with its line, element, reason and hint.

    The file is read while it is filed, so it may have any size. If you file it again, you get the same answers and
    nothing is filed twice. --amend and --invalidate change what was filed: `amended_version` names the version that a
    row replaces, by default the first one.
    """
    from libs.client.filing import files
    from libs.client.filing.formats import kind_of
    from luxor.consignment.v1.consignment_pb2 import MessageFunction

    if template:
        if kind in ("dec", "h7", "itmatt"):
            raise click.UsageError("A template is csv or jsonl.")
        sys.stdout.write(files.template(kind or "csv"))
        return
    if list_columns:
        _list_columns(context)
        return
    if path is None:
        raise click.UsageError("Name the file, or ask for --template.")
    with path.open("rb") as opened:
        summary, refusals, report = _file(
            context,
            opened,
            path,
            kind_of(path, kind or ""),
            report_path,
            batch_rows,
            in_flight,
            packed,
            MessageFunction.Value(f"MESSAGE_FUNCTION_{change or 'NEW'}"),
            check,
            ident,
        )
    totals = {
        "file": str(path), "consignments": summary.consignments, "accepted": summary.accepted,
        "refused": summary.refused, "warnings": summary.warnings, "reasons": dict(summary.reasons.most_common()),
        "warning_reasons": dict(summary.warning_reasons.most_common()),
        "report": str(report) if summary.refused else None,
    }  # fmt: skip
    context.emit(totals, lambda terminal: _show(terminal, summary, refusals, report, check))
    if summary.refused:
        raise click.exceptions.Exit(REFUSED)


def _file(
    context: Context,
    opened: BinaryIO,
    path: Path,
    kind: str,
    report_path: Path | None,
    batch_rows: int,
    in_flight: int,
    packed: bool,
    function: int,
    check: bool,
    ident: str,
) -> "tuple[Summary, list[RowError], Path]":
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from libs.client.errors import LuxorError
    from libs.client.filing import files, formats
    from libs.client.filing.packing import PackedClient
    from libs.client.filing.submission import Report, Summary, file_all

    report = Report(report_path or path.with_name(f"{path.name}.refused.csv"))
    shown: list[RowError] = []
    size = path.stat().st_size
    columns = (
        TextColumn("Checking" if check else "Filing"), BarColumn(), DownloadColumn(),
        TextColumn("[green]{task.fields[accepted]:,} accepted[/]  [red]{task.fields[refused]:,} refused[/]"), TimeRemainingColumn(),
    )  # fmt: skip
    bar = Progress(*columns, console=console(errors=True), transient=True)
    task = bar.add_task("file", total=size, accepted=0, refused=0)

    def report_refusal(each: "RowError") -> None:
        report.add(each)
        shown.extend((each, *each.further)[: REFUSALS_SHOWN - len(shown)])

    def progress(summary: "Summary") -> None:
        bar.update(task, completed=opened.tell(), accepted=summary.accepted, refused=summary.refused)

    summary = Summary()

    async def work() -> "Summary":
        source = formats.read(opened, kind, function)
        if check:
            for each in source:
                summary.consignments += 1
                if isinstance(each, files.Read):
                    summary.accepted += 1
                    summary.warnings += len(each.notes)
                    summary.warning_reasons.update(note.reason for note in each.notes)
                else:
                    summary.refused += 1
                    summary.reasons[each.reason] += 1
                    report_refusal(each)
                if summary.consignments % 500 == 0:
                    progress(summary)
            return summary
        async with context.client("filer", ident) as client:
            return await file_all(
                PackedClient(client) if packed else client,
                source,
                batch_rows=batch_rows,
                in_flight=in_flight,
                report=report_refusal,
                progress=progress,
                summary=summary,
            )

    with bar, report:
        try:
            run(work())
        except (LuxorError, KeyboardInterrupt) as error:
            if not check and (summary.batches or summary.unanswered):
                raise _stopped(error, summary) from error
            raise
    assert report.path is not None, "it was given"
    return summary, shown, report.path


def _stopped(error: "LuxorError | KeyboardInterrupt", summary: "Summary") -> "LuxorError":
    """Return the error that stopped the filing, with the counts up to then."""
    from libs.client.errors import LuxorError

    facts = {name: f"{getattr(summary, name):,}" for name in ("accepted", "refused", "unanswered")}
    stopped = LuxorError.from_reason("FILING_STOPPED", **facts)
    if isinstance(error, LuxorError):
        sentence = f"{error.sentence} {stopped.sentence}"
        return LuxorError(error.reason, sentence, stopped.hint, path=error.path, value=error.value, code=error.code)
    return stopped


def _show(terminal: "Console", summary: "Summary", refusals: "list[RowError]", report: Path, check: bool) -> None:
    from libs.cli.views.text import safe, table

    verb = "readable" if check else "accepted"
    colour = "red" if summary.refused else "dim"
    good = f"[green]{summary.accepted:,} {verb}[/]"
    noun = "consignment" if summary.consignments == 1 else "consignments"
    terminal.print(f"{summary.consignments:,} {noun}: {good}, [{colour}]{summary.refused:,} refused[/]")
    if summary.warnings:
        notes = ", ".join(f"{name} {count:,}" for name, count in summary.warning_reasons.most_common(5))
        terminal.print(f"[dim]Notes on quality: {notes}[/]")
    if not summary.refused:
        return
    reasons = table("reason", "consignments", right=(1,))
    for name, count in summary.reasons.most_common(10):
        reasons.add_row(name, f"{count:,}")
    terminal.print(reasons)
    show_row_errors(terminal, refusals)
    terminal.print(f"\nAll refused rows, with remedies: [bold]{safe(report)}[/]", soft_wrap=True)


def show_row_errors(terminal: "Console", row_errors: "list[RowError]") -> None:
    """Print errors of consignments, each with its place and what to do."""
    from libs.cli.views.text import safe
    from libs.server.catalogue import command_hint

    for each in row_errors:
        where = f"[bold]line {each.line}[/]  {safe(each.reference)}  [cyan]{safe(each.element)}[/]"
        terminal.print(f"{where}  {safe(each.sentence)}\n      [dim]→ {safe(command_hint(each.reason, each.hint))}[/]")


def _list_columns(context: Context) -> None:
    from libs.cli.views.text import table
    from libs.client.filing.columns import columns
    from libs.client.filing.files import REQUIRED

    rows: list[dict[str, Any]] = [
        {"name": each.name, "element": each.path, "meaning": each.meaning, "required": each.name in REQUIRED}
        for each in columns().values()
    ]

    def show(terminal: "Console") -> None:
        shown = table("column", "content", "element")
        for each in rows:
            shown.add_row(
                f"[bold]{each['name']} *[/]" if each["required"] else each["name"],
                each["meaning"],
                f"[dim]{each['element']}[/]",
            )
        terminal.print(shown)
        terminal.print("* required")

    context.emit(rows, show)
