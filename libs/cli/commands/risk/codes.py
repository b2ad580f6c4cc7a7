"""`luxor learn codes` and `luxor codes suggest`: train a model of commodity codes, and suggest codes for descriptions by it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import Context, acting, command, fail, run
from libs.cli.views.text import safe, table

if TYPE_CHECKING:
    from rich.console import Console

MODULE: Final = "services.risk.codes"
"""Module that trains and suggests; it runs in a process of its own, because commands do not import services."""
SHOWN_MIN: Final = 0.005
"""The least probability of a suggestion beside a file: less is shown as 0 %."""
FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("learn", short_help="Train a model of commodity codes on declarations.")
def learn() -> None:
    """Train models on data of the administration, on this machine. Every command has --json, for programs."""


@command("codes", group=learn, short_help="Train a model that suggests codes for descriptions.")
@click.option(
    "--declarations",
    type=FILE,
    multiple=True,
    required=True,
    help="CSV with a description and a code in each row. May be repeated.",
)
@click.option(
    "--references", type=FILE, multiple=True, help="CSV of the same form, such as the tariff's words. It counts less."
)
@click.option("--description", default="description", show_default=True, help="Column of the description.")
@click.option("--code", default="commodity_code", show_default=True, help="Column of the code: 6, 8 or 10 digits.")
@click.option(
    "--out",
    "model_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("codes.json"),
    show_default=True,
    help="Path of the new model file.",
)
@click.option("--name", default="declarations", show_default=True, help="Name of the model.")
def learn_codes(
    context: Context,
    declarations: tuple[Path, ...],
    references: tuple[Path, ...],
    description: str,
    code: str,
    model_path: Path,
    name: str,
) -> None:
    """Train a model on declarations, and measure how often it is right by cross-validation. It needs no running system."""
    arguments = ["learn", "--out", str(model_path), "--name", name, "--description", description, "--code", code]
    for option, paths in (("--declarations", declarations), ("--references", references)):
        for path in paths:
            arguments += [option, str(path)]
    trained = _run(context, arguments, "CODES_NOT_LEARNT", "Correct the cause and train again; nothing was written.")

    def show(terminal: "Console") -> None:
        left_out = trained["left_out"]
        terminal.print(f"[bold]{safe(trained['version'])}[/] written to {safe(trained['file'])}")
        terminal.print(
            f"  {trained['codes']:,} codes from {trained['declarations']:,} declarations and {trained['references']:,} reference texts"
            + (f"; {left_out:,} rows without words or without a code of 6, 8 or 10 digits left out" if left_out else "")
        )
        terminal.print(
            f"  on declarations that it was not trained on: right in {trained['top1']:.1%}, among five in {trained['top5']:.1%}"
        )

    context.emit(trained, show)


@click.group("codes", short_help="Suggest commodity codes for descriptions.")
def codes() -> None:
    """Suggest commodity codes. Every command has --json, for programs."""


@command("suggest", group=codes, short_help="Suggest up to five codes for each description.")
@click.argument("descriptions", nargs=-1, required=True)
@click.option(
    "--model",
    "model_path",
    type=FILE,
    help="Model file that `luxor learn codes` wrote (default: ask the system, by its active model).",
)
@click.option(
    "--declared", default="", metavar="CODE", help="Declared code: show its probability for each description."
)
@acting("filer")
def suggest_codes(
    context: Context, descriptions: tuple[str, ...], model_path: Path | None, declared: str, ident: str
) -> None:
    """Suggest up to five HS6 codes with probabilities for each of the DESCRIPTIONS. A suggestion is no classification ruling.

    With --model no running system is needed.
    """
    if model_path is not None:
        arguments = ["suggest", "--model", str(model_path), "--declared", declared, "--", *descriptions]
        result = _run(context, arguments, "CODES_NOT_SUGGESTED", "Correct the cause and try again.")
    else:
        from libs.client.risk import goods

        async def work() -> dict[str, Any]:
            async with context.client("filer", ident) as client:
                return await goods.suggest_codes(client, descriptions, declared.replace(".", ""))

        result = run(work())

    def show(terminal: "Console") -> None:
        for each in result["descriptions"]:
            _show_suggestions(terminal, each, declared)
        terminal.print(f"[dim]by {safe(result['model'])}[/]")

    context.emit(result, show)


def _show_suggestions(terminal: "Console", suggested: dict[str, Any], declared: str) -> None:
    terminal.print(f"[bold]{safe(suggested['description'])}[/]")
    if suggested.get("reason"):
        terminal.print(f"  [yellow]not answered, {suggested['reason']}[/]: {safe(suggested['hint'])}")
        return
    if not suggested["suggestions"]:
        terminal.print("  [yellow]no code: the description has no word[/]")
        return
    shown = table("", "", right=(1,))
    shown.show_header = False
    for one in suggested["suggestions"]:
        shown.add_row(one["code"], f"{one['probability']:.1%}")
    terminal.print(shown)
    if declared:
        share = suggested["declared"]
        unlikely = f", [yellow]{suggested['warning']}[/]" if suggested["warning"] else ""
        text = "unknown, the model has no such code" if share is None else f"{share:.1%}{unlikely}"
        terminal.print(f"  declared {safe(declared)}: {text}")


def show_codes(terminal: "Console", place: int, declared: str, suggested: dict[str, Any]) -> None:
    """Show why the code of an item is doubted, and the codes that fit its description where it has none or a doubted one."""
    from libs.server.catalogue import command_hint, reason

    where, warning = f"items[{place}].commodity_code", suggested.get("warning", "")
    if warning:
        terminal.print(f"  {warning} at {where}  {safe(reason(warning).sentence.format(path=where))}", soft_wrap=True)
        terminal.print(f"    → {safe(command_hint(warning, suggested.get('hint', '')))}", soft_wrap=True)
    found = [each for each in suggested.get("suggestions", ()) if each.get("probability", 0) >= SHOWN_MIN]
    if found and (warning or not declared):
        codes = ", ".join(f"{each['code']} ({each['probability']:.0%})" for each in found)
        terminal.print(f"  codes that fit the description of items[{place}]: {codes}", soft_wrap=True)


def _run(context: Context, arguments: list[str], reason: str, remedy: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", MODULE, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip() or f"{MODULE} ended with {done.returncode}"
        fail(reason, why, remedy, as_json=context.as_json)
    result: dict[str, Any] = json.loads(done.stdout)
    return result
