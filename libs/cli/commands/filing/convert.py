"""`luxor convert`: converts files of consignments from one format to another."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from libs.cli.commands.filing.file import FORMATS, REFUSALS_SHOWN, show_row_errors
from libs.cli.common import REFUSED, Context, command

if TYPE_CHECKING:
    from rich.console import Console

    from libs.client.filing.submission import Report
    from libs.client.row_errors import RowError
    from luxor.consignment.v1.consignment_pb2 import Consignment


@command("convert", short_help="Convert declarations in XML, or a table, to a file to complete and file.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--to",
    "output",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write: .csv or .jsonl.",
)
@click.option(
    "--format",
    "kind",
    type=FORMATS,
    help="Format of PATHS (default: by their names).",
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for what is refused or left out (default: FILE.refused.csv).",
)
def convert(
    context: Context, paths: tuple[Path, ...], output: Path, kind: str | None, report_path: Path | None
) -> None:
    """Convert PATHS into one file of CSV or JSON Lines. Nothing is filed.

    A declaration is converted or refused as a whole. The report names each element that was refused, or that no element of a
    consignment has. Complete what a filing needs further, then file it with `luxor file`.
    """
    from libs.client.filing import files
    from libs.client.filing.formats import kind_of
    from libs.client.filing.submission import Report

    kinds = [kind_of(each, kind or "") for each in paths]
    wanted = kind_of(output)
    if wanted == "dec":
        raise click.BadParameter("a file of consignments is .csv or .jsonl", param_hint="--to")
    if output.exists() and any(output.samefile(each) for each in paths):
        raise click.BadParameter("it would replace a file that is converted", param_hint="--to")
    result = _Result()
    with Report(report_path or output.with_name(f"{output.name}.refused.csv")) as report:
        converted = _messages(paths, kinds, report, result)
        if wanted == "csv":
            with output.open("w", encoding="utf-8", newline="") as table:
                files.write_csv(table, converted, _columns(kinds))
        else:
            with output.open("wb") as lines:
                files.write_jsonl(lines, converted)
    totals = {
        "file": str(output), "converted": result.converted, "refused": result.refused, "left_out": sum(result.notes.values()),
        "reasons": dict(result.reasons.most_common()), "elements_left_out": dict(result.notes.most_common()),
        "report": str(report.path) if report.rows else None,
    }  # fmt: skip
    context.emit(totals, lambda terminal: _show(terminal, output, result, report))
    if result.refused:
        raise click.exceptions.Exit(REFUSED)


@dataclass
class _Result:
    """What was converted so far."""

    converted: int = 0
    refused: int = 0
    reasons: "Counter[str]" = field(default_factory=Counter)
    """Refused consignments by their first reason."""
    notes: "Counter[str]" = field(default_factory=Counter)
    """Elements that were left out, by their path without places."""
    shown: "list[RowError]" = field(default_factory=list)


def _messages(
    paths: Sequence[Path], kinds: Sequence[str], report: "Report", result: _Result
) -> "Iterator[Consignment]":
    """Yield what can be converted, and report the rest."""
    from libs.client.filing.files import Read
    from libs.client.filing.formats import read

    for path, kind in zip(paths, kinds, strict=True):
        with path.open("rb") as file:
            for each in read(file, kind):
                if isinstance(each, Read):
                    for note in each.notes:
                        result.notes[_without_places(note.element)] += 1
                        report.add(_in_file(note, path, paths))
                    result.converted += 1
                    yield each.message
                else:
                    result.refused += 1
                    result.reasons[each.reason] += 1
                    refusal = _in_file(each, path, paths)
                    report.add(refusal)
                    result.shown += (refusal, *refusal.further)[: REFUSALS_SHOWN - len(result.shown)]


def _in_file(each: "RowError", path: Path, paths: Sequence[Path]) -> "RowError":
    """Return an error with the name of its file before the element, where there are several files."""
    if len(paths) == 1:
        return each
    further = tuple(_in_file(below, path, paths) for below in each.further)
    return each._replace(element=f"{path.name}: {each.element}", further=further)


def _without_places(element: str) -> str:
    import re

    return re.sub(r"\[\d+\]", "", element)


def _columns(kinds: Sequence[str]) -> list[str] | None:
    """Return the columns of a table: of declarations those that they can fill and those of the template; otherwise all."""
    from libs.client.filing import files
    from libs.client.filing.columns import columns
    from libs.client.filing.declarations.mapping import dec_rules

    if set(kinds) != {"dec"}:
        return None
    filled = dec_rules().targets
    chosen = {name for name, column in columns().items() if name in files.TEMPLATE or column.path in filled}
    currencies = {columns()[name].currency for name in chosen} - {""}
    return [name for name in columns() if name in chosen | currencies]


def _show(terminal: "Console", output: Path, result: _Result, report: "Report") -> None:
    from libs.cli.views.text import safe

    colour = "red" if result.refused else "dim"
    good = f"[green]{result.converted:,} converted[/]"
    terminal.print(f"{good}, [{colour}]{result.refused:,} refused[/]: [bold]{safe(output)}[/]", soft_wrap=True)
    if result.notes:
        terminal.print(
            f"[dim]{sum(result.notes.values()):,} elements were left out, because no consignment has them:[/]"
        )
        for element, count in result.notes.most_common(REFUSALS_SHOWN):
            terminal.print(f"  [dim]{count:>6,}  {safe(element)}[/]", soft_wrap=True)
    show_row_errors(terminal, result.shown)
    if report.rows:
        terminal.print(f"\nAll of them, with remedies: [bold]{safe(report.path)}[/]", soft_wrap=True)
