"""`luxor revenue what-if`: what a reform would do, on consignments that were assessed."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.backtest_view import EPOCH, day_text
from libs.cli.common import Context, acting, command, console, fail, is_terminal, run
from libs.cli.law_files import changes_of, files_of
from libs.cli.what_if_view import show_head, show_what_if

if TYPE_CHECKING:
    from rich.console import Console

DAYS_MAX: Final = 400
_PICTURE: Final = click.Path(dir_okay=False, path_type=Path)


class _WhatIfs(click.Group):
    """Begins a run where no other command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `start` before options."""
        if args and args[0].startswith("-") and args[0] not in ("--help", "-h"):
            args = ["start", *args]
        return super().parse_args(ctx, args)


@click.group("what-if", cls=_WhatIfs, short_help="Try a reform on consignments that were assessed.")
def what_if() -> None:
    """Try a draft of law on the assessments of a period: who is touched, revenue before and after, who pays more and who less.

    `luxor revenue what-if --set eu/rulebook.yaml:charges[flat_duty].rates[0].rate="5.00 EUR per tariff_line" --from DAY --to DAY`
    begins a run and shows how far it is. It runs beside the service: ^C leaves it running, and `luxor revenue what-if show ID` tells
    what it found. Behaviour is held constant. Every command takes --json, for machines.
    """


@command("start", group=what_if, short_help="Begin a run (what happens without a command's name).")
@click.option(
    "--set",
    "values",
    metavar="PATH=VALUE",
    multiple=True,
    help="A value that is changed: its place, and its new value as YAML.",
)
@click.option(
    "--file",
    "files",
    metavar="NAME=FILE",
    multiple=True,
    help="A law file that is replaced or added: eu/rulebook.yaml=draft.yaml.",
)
@click.option("--from", "from_day", metavar="DAY", required=True, help="First day of assessment: 2026-11-01.")
@click.option("--to", "to_day", metavar="DAY", required=True, help="Last day, counted in.")
@click.option("--law-of", metavar="DAY", default="", help="Apply the law of this day to all: 2028-07-01.")
@click.option("--name", default="", help="What the run is called, for people.")
@click.option("--picture", type=_PICTURE, metavar="FILE.svg", help="Draw what was found.")
@click.option("--detach", is_flag=True, help="Tell the id and do not wait.")
@acting("analyst")
def start(
    context: Context,
    values: tuple[str, ...],
    files: tuple[str, ...],
    from_day: str,
    to_day: str,
    law_of: str,
    name: str,
    picture: Path | None,
    detach: bool,
    ident: str,
) -> None:
    """Begin a run and wait for it. ^C leaves it running."""
    changes, texts = changes_of(values), files_of(files)
    if not changes and not texts and not law_of:
        raise click.UsageError("Give what is tried: --set, --file or --law-of.")
    if detach and picture is not None:
        raise click.UsageError("--picture waits for the end; leave out --detach, or draw it by `show` later.")
    days = _day(from_day), _day(to_day)
    if law_of:
        _day(law_of)
    if not 0 <= days[1] - days[0] < DAYS_MAX:
        raise click.UsageError(
            f"--to {day_text(days[1])} lies {'before' if days[1] < days[0] else 'too far behind'} --from {day_text(days[0])}; a run reads "
            f"up to {DAYS_MAX} days."
        )

    async def begin() -> int:
        from libs.client import what_ifs

        async with context.client("analyst", ident) as client:
            return await what_ifs.start(client, *days, files=texts, changes=changes, law_of=law_of, name=name)

    number = run(begin())
    if detach:
        context.emit({"id": number}, lambda out: out.print(f"Run {number} is begun. {_look_again(number)}"))
        return
    _finish(context, _follow(context, number, ident), picture)


@command("show", group=what_if)
@click.argument("number", metavar="ID", type=click.IntRange(1))
@click.option("--follow", is_flag=True, help="Wait for its end.")
@click.option("--picture", type=_PICTURE, metavar="FILE.svg", help="Draw what was found.")
@acting("analyst")
def show(context: Context, number: int, follow: bool, picture: Path | None, ident: str) -> None:
    """Tell how far a run is and what it found so far."""
    if follow:
        _finish(context, _follow(context, number, ident), picture)
        return

    async def work() -> dict[str, Any]:
        from libs.client import what_ifs

        async with context.client("analyst", ident) as client:
            return await what_ifs.get(client, number)

    found = run(work())
    _draw(found, picture)
    context.emit(found, lambda out: show_what_if(out, found))


@command("list", group=what_if)
@acting("analyst")
def list_what_ifs(context: Context, ident: str) -> None:
    """List the runs that are kept, the newest first."""

    async def work() -> list[dict[str, Any]]:
        from libs.client import what_ifs

        async with context.client("analyst", ident) as client:
            return await what_ifs.listed(client)

    found = run(work())

    def tell(out: "Console") -> None:
        if not found:
            out.print("No run is kept: `luxor revenue what-if --set PATH=VALUE --from DAY --to DAY` begins one.")
        for each in found:
            show_head(out, each)

    context.emit({"what_ifs": found}, tell)


@command("cancel", group=what_if)
@click.argument("number", metavar="ID", type=click.IntRange(1))
@acting("analyst")
def cancel(context: Context, number: int, ident: str) -> None:
    """End a run that waits or runs; what it found so far stays."""

    async def work() -> dict[str, Any]:
        from libs.client import what_ifs

        async with context.client("analyst", ident) as client:
            return await what_ifs.cancel(client, number)

    found = run(work())
    context.emit(found, lambda out: show_head(out, found))


def _follow(context: Context, number: int, ident: str) -> dict[str, Any]:
    """Wait for a run with a bar; ^C tells how to look again."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())

    async def work() -> dict[str, Any]:
        from libs.client import what_ifs

        with Progress(*columns, console=console(errors=True), disable=not is_terminal(), transient=True) as bar:
            task = bar.add_task(f"run {number}", total=None)

            def progress(found: dict[str, Any]) -> None:
                waits = found["state"] == "WHAT_IF_STATE_WAITING"
                what = f"run {number} {'waits for those before it' if waits else 'reads assessments'}"
                bar.update(task, description=what, completed=found["done"], total=found["total"] or None)

            async with context.client("analyst", ident) as client:
                return await what_ifs.follow(client, number, progress)

    try:
        return run(work())
    except KeyboardInterrupt:
        click.echo(f"Run {number} goes on. {_look_again(number)}", err=True)
        raise click.Abort from None


def _look_again(number: int) -> str:
    return f"`luxor revenue what-if show {number} --follow` tells how far it is, `luxor revenue what-if cancel {number}` ends it."


def _finish(context: Context, found: dict[str, Any], picture: Path | None) -> None:
    if found["state"] != "WHAT_IF_STATE_DONE":
        hint = "Correct that and begin it again." if found["error"] else "Somebody ended it."
        fail("NOT_TRIED", found["error"] or "the run was ended", hint, as_json=context.as_json)
    _draw(found, picture)
    context.emit(found, lambda out: show_what_if(out, found))


def _draw(found: dict[str, Any], file: Path | None) -> None:
    if file is None:
        return
    if found["result"] is None:
        raise click.UsageError("Nothing is told before the run's first step, so there is nothing to draw yet.")
    from libs.cli.what_if_picture import picture

    file.write_text(picture(found), encoding="utf-8")


def _day(text: str) -> int:
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{text} is no day; a day is written like 2026-11-25.") from None
    if not 2000 <= day.year < 2100:
        raise click.UsageError(f"{text} lies outside the years 2000 to 2099.")
    return (day - EPOCH).days
