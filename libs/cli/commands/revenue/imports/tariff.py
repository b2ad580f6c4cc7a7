"""`luxor revenue import tariff`: reads a published tariff, writes law files and reports each line that is not in them."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import REFUSED, Context, command, fail

if TYPE_CHECKING:
    from rich.console import Console

MODULE: Final = "services.revenue.tariff_file"
"""Module that imports; it runs in a process of its own, because commands do not import services."""
FORMATS: Final = ("csv", "section301", "uk")
DAY: Final = click.DateTime(["%Y-%m-%d"])


@command("tariff", short_help="Import a published tariff as law files.")
@click.argument("path", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--format", "file_format", type=click.Choice(FORMATS), required=True, help="Who publishes files of this form."
)
@click.option("--jurisdiction", required=True, metavar="ID", help="Id of the tariff, as rulebooks name it, such as uk.")
@click.option(
    "-o",
    "--out",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Directory of the law files.",
)
@click.option("--from", "start", type=DAY, required=True, metavar="DAY", help="First day on which the rates apply.")
@click.option("--law", required=True, help="The law that the file shows.")
@click.option("--address", required=True, help="Where the file was published.")
@click.option("--name", default="", help="Name of the tariff (default: its id).")
@click.option("--source", default="", help="Publisher and file (default: the name of the file).")
@click.option("--edition", type=DAY, metavar="DAY", help="Day of the edition (default: --from).")
@click.option("--licence", default="not stated", show_default=True, help="Licence of the source.")
@click.option(
    "--default", "default_rate", default="", metavar="RATE", help="Rate of a code without a line (default: none)."
)
@click.option(
    "--rate-max",
    type=click.IntRange(1, 10_000),
    default=500,
    show_default=True,
    metavar="PERCENT",
    help="Largest plausible percentage; a file with a higher one is refused.",
)
@click.option(
    "--schedule",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Format section301: the Harmonized Tariff Schedule, which has all lines.",
)
@click.option("--code-column", default="code", show_default=True, help="Format csv: column of the commodity codes.")
@click.option("--rate-column", default="rate", show_default=True, help="Format csv: column of the rates.")
def tariff(context: Context, path: Path, directory: Path, **options: Any) -> None:
    """Import the published tariff FILE: write tariff.yaml and its lines, and tariff_report.csv with each line that is not among them.

    Nothing of it is verified, and nothing is guessed. The directory stays as it was if the file has an error. Exits with 1 if
    lines are reported. It needs no running system.
    """
    arguments = [str(path), "--out", str(directory)]
    names = {"file_format": "format", "start": "from", "default_rate": "default"}
    for name, value in options.items():
        if value not in (None, ""):
            text = value.date().isoformat() if isinstance(value, datetime) else str(value)
            arguments += [f"--{names.get(name, name).replace('_', '-')}", text]
    done = subprocess.run([sys.executable, "-m", MODULE, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip() or f"{MODULE} ended with {done.returncode}"
        remedy = "Correct the file and import it again; nothing was written."
        fail("TARIFF_NOT_IMPORTED", why, remedy, as_json=context.as_json)
    result: dict[str, Any] = json.loads(done.stdout)
    context.emit(result, lambda terminal: _show(terminal, result))
    if result["reported"] or result["preferential_reported"]:
        raise click.exceptions.Exit(REFUSED)


def _show(terminal: "Console", result: dict[str, Any]) -> None:
    from libs.cli.views.text import safe

    inherited = f", {result['inherited']:,} with the rate of a line above" if result["inherited"] else ""
    terminal.print(
        f"{result['coded']:,} coded lines: {result['imported']:,} imported{inherited}, {result['reported']:,} reported; "
        f"{result['compound']:,} of the imported are not a plain percentage",
        soft_wrap=True,
    )
    if result["preferential"] or result["preferential_reported"]:
        terminal.print(
            f"{result['preferential']:,} preferential rates imported, {result['preferential_reported']:,} reported"
        )
    for reason, count in result["reasons"].items():
        terminal.print(safe(f"  reported for {reason}: {count:,}"))
    for file in result["files"]:
        terminal.print(safe(file), soft_wrap=True)
