"""`luxor revenue what-if`: what a reform would do, on consignments that were assessed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import Context, acting, command, run
from libs.cli.jobs import StartsByDefault, Work, day_of_law
from libs.cli.law_files import changes_of, files_of
from libs.cli.views.what_if import show_head, show_what_if

if TYPE_CHECKING:
    from rich.console import Console

_RUN: Final = Work("run", "luxor revenue what-if", "WHAT_IF_STATE_")


class _Picture(click.Path):
    """A file to be written when the run is done: what is wrong with its name is told before it begins."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        file = Path(str(super().convert(value, param, ctx)))
        if file.suffix.lower() != ".svg":
            self.fail(f"the picture is an SVG, so its name ends with .svg: {file.with_suffix('.svg')}", param, ctx)
        if not file.parent.is_dir():
            self.fail(f"there is no directory {file.parent}", param, ctx)
        return file


_PICTURE: Final = _Picture(dir_okay=False, writable=True)


@click.group("what-if", cls=StartsByDefault, short_help="Try a reform on consignments that were assessed.")
def what_if() -> None:
    """Try a draft of law on the assessments of a period: who is touched, revenue before and after, who pays more and who less.

    `luxor revenue what-if --set eu/rulebook.yaml:charges[flat_duty].rates[1].rate="5.00 EUR per tariff_line" --from DAY --to DAY`
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
@click.option("--law-day", metavar="DAY", default="", help="Apply the law of this day to all: 2028-07-01.")
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
    law_day: str,
    name: str,
    picture: Path | None,
    detach: bool,
    ident: str,
) -> None:
    """Begin a run and wait for it. ^C leaves it running."""
    changes, texts = changes_of(values), files_of(files)
    if not changes and not texts and not law_day:
        raise click.UsageError("Give what is tried: --set, --file or --law-day.")
    if detach and picture is not None:
        raise click.UsageError("--picture waits for the end; leave out --detach, or draw it by `show` later.")
    days = _RUN.days(from_day, to_day)
    if law_day:
        day_of_law(law_day, "--law-day")

    async def begin() -> int:
        from libs.client.revenue import what_ifs

        async with context.client("analyst", ident) as client:
            return await what_ifs.start(client, *days, files=texts, changes=changes, law_day=law_day, name=name)

    number = run(begin())
    if detach:
        _RUN.begun(context, number)
        return
    _finish(context, _follow(context, number, ident), picture)


@command("show", group=what_if)
@click.argument("number", metavar="ID", type=click.IntRange(1))
@click.option("--follow", is_flag=True, help="Wait for its end.")
@click.option("--picture", type=_PICTURE, metavar="FILE.svg", help="Draw what was found.")
@acting("analyst")
def show(context: Context, number: int, follow: bool, picture: Path | None, ident: str) -> None:
    """Show the progress of a run and its findings so far."""
    if follow:
        _finish(context, _follow(context, number, ident), picture)
        return

    async def work() -> dict[str, Any]:
        from libs.client.revenue import what_ifs

        async with context.client("analyst", ident) as client:
            return await what_ifs.get(client, number)

    found = run(work())
    context.emit(found, lambda out: show_what_if(out, found))
    _draw(found, picture)


@command("list", group=what_if)
@acting("analyst")
def list_what_ifs(context: Context, ident: str) -> None:
    """List the stored runs, the newest first."""

    async def work() -> list[dict[str, Any]]:
        from libs.client.revenue import what_ifs

        async with context.client("analyst", ident) as client:
            return await what_ifs.listed(client)

    found = run(work())

    def tell(out: "Console") -> None:
        if not found:
            out.print("No run is stored: `luxor revenue what-if --set PATH=VALUE --from DAY --to DAY` begins one.")
        for each in found:
            show_head(out, each)

    context.emit({"what_ifs": found}, tell)


@command("cancel", group=what_if)
@click.argument("number", metavar="ID", type=click.IntRange(1))
@acting("analyst")
def cancel(context: Context, number: int, ident: str) -> None:
    """End a run that waits or runs; what it found so far stays."""

    async def work() -> dict[str, Any]:
        from libs.client.revenue import what_ifs

        async with context.client("analyst", ident) as client:
            return await what_ifs.cancel(client, number)

    found = run(work())
    context.emit(found, lambda out: show_head(out, found))


def _follow(context: Context, number: int, ident: str) -> dict[str, Any]:
    from libs.client.revenue import what_ifs

    return _RUN.follow(context, number, ident, what_ifs.follow)


def _finish(context: Context, found: dict[str, Any], picture: Path | None) -> None:
    _RUN.check_done(context, found, "NOT_TRIED")
    context.emit(found, lambda out: show_what_if(out, found))
    _draw(found, picture)


def _draw(found: dict[str, Any], file: Path | None) -> None:
    if file is None:
        return
    if found["result"] is None:
        raise click.UsageError("Nothing is told before the run's first step, so there is nothing to draw yet.")
    from libs.cli.views.what_if_picture import picture

    file.write_text(picture(found), encoding="utf-8")
