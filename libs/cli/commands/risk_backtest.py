"""`luxor risk backtest`: try a rule set or a model on the assessments that are stored."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.backtest_view import EPOCH, day_text, show_backtest, show_head
from libs.cli.common import Context, acting, command, console, fail, is_terminal, run

if TYPE_CHECKING:
    from rich.console import Console

    from libs.client.client import Client

PROFILE: Final = "profile.yaml"
DAYS_MAX: Final = 400


class _Backtests(click.Group):
    """Begins a backtest where no other command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `start` before options."""
        if args and args[0].startswith("-") and args[0] not in ("--help", "-h"):
            args = ["start", *args]
        return super().parse_args(ctx, args)


@click.group("backtest", cls=_Backtests, short_help="Try a rule set or a model on stored assessments.")
def backtest() -> None:
    """Try a rule set or a model on the assessments of a period: hits, overlap with what was then, precision, work a day.

    `luxor risk backtest --rules DIR --from DAY --to DAY` begins one and shows how far it is. It runs beside the service: ^C leaves
    it running, and `luxor risk backtest show ID` tells what it found. Every command takes --json, for machines.
    """


@command("start", group=backtest, short_help="Begin a backtest (what happens without a command's name).")
@click.option("--rules", metavar="DIR|FILE|VERSION", help="A profile, its directory, or the version of a rule set.")
@click.option("--model", metavar="VERSION", default="", help="The version of a model, in place of rules.")
@click.option("--from", "from_day", metavar="DAY", required=True, help="First day of assessment: 2026-11-25.")
@click.option("--to", "to_day", metavar="DAY", required=True, help="Last day, counted in.")
@click.option(
    "--office", default="", help="Only the consignments that were filed for this office: presented or entering there."
)
@click.option(
    "--examples", type=click.IntRange(0, 50), default=5, show_default=True, help="Consignments to name of each rule."
)
@click.option("--detach", is_flag=True, help="Tell the id and do not wait.")
@acting("analyst")
def start(
    context: Context,
    rules: str | None,
    model: str,
    from_day: str,
    to_day: str,
    office: str,
    examples: int,
    detach: bool,
    ident: str,
) -> None:
    """Begin a backtest and wait for it. ^C leaves it running."""
    if (rules is None) == (not model):
        raise click.UsageError("Give either --rules or --model.")
    days = _day(from_day), _day(to_day)
    if not 0 <= days[1] - days[0] < DAYS_MAX:
        raise click.UsageError(
            f"--to {day_text(days[1])} lies {'before' if days[1] < days[0] else 'too far behind'} --from {day_text(days[0])}; a backtest "
            f"reads up to {DAYS_MAX} days."
        )
    profile = None if rules is None else _profile(rules)
    rule_set = rules if rules is not None and profile is None else ""

    async def begin() -> int:
        from libs.client import backtests

        async with context.client("analyst", ident) as client:
            return await backtests.start(
                client, *days, profile=profile, rule_set=rule_set, model=model, office=office, examples=examples
            )

    number = run(begin())
    if detach:
        context.emit({"id": number}, lambda out: out.print(f"Backtest {number} is begun. {_look_again(number)}"))
        return
    _finish(context, _follow(context, number, ident))


@command("show", group=backtest)
@click.argument("number", metavar="ID", type=click.IntRange(1))
@click.option("--follow", is_flag=True, help="Wait for its end.")
@acting("analyst")
def show(context: Context, number: int, follow: bool, ident: str) -> None:
    """Tell how far a backtest is and what it found so far."""
    if follow:
        _finish(context, _follow(context, number, ident))
        return

    async def work() -> dict[str, Any]:
        from libs.client import backtests

        async with context.client("analyst", ident) as client:
            return await _with_window(client, await backtests.get(client, number))

    found = run(work())
    context.emit(found, lambda out: show_backtest(out, found))


@command("list", group=backtest)
@acting("analyst")
def list_backtests(context: Context, ident: str) -> None:
    """List the backtests that are kept, the newest first."""

    async def work() -> list[dict[str, Any]]:
        from libs.client import backtests

        async with context.client("analyst", ident) as client:
            return await backtests.listed(client)

    found = run(work())

    def tell(out: "Console") -> None:
        if not found:
            out.print("No backtest is kept: `luxor risk backtest --rules DIR --from DAY --to DAY` begins one.")
        for each in found:
            show_head(out, each)

    context.emit({"backtests": found}, tell)


@command("cancel", group=backtest)
@click.argument("number", metavar="ID", type=click.IntRange(1))
@acting("analyst")
def cancel(context: Context, number: int, ident: str) -> None:
    """End a backtest that waits or runs; what it found so far stays."""

    async def work() -> dict[str, Any]:
        from libs.client import backtests

        async with context.client("analyst", ident) as client:
            return await backtests.cancel(client, number)

    found = run(work())
    context.emit(found, lambda out: show_head(out, found))


def _follow(context: Context, number: int, ident: str) -> dict[str, Any]:
    """Wait for a backtest with a bar; ^C tells how to look again."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())

    async def work() -> dict[str, Any]:
        from libs.client import backtests

        with Progress(*columns, console=console(errors=True), disable=not is_terminal(), transient=True) as bar:
            task = bar.add_task(f"backtest {number}", total=None)

            def progress(found: dict[str, Any]) -> None:
                waits = found["state"] == "BACKTEST_STATE_WAITING"
                what = f"backtest {number} {'waits for those before it' if waits else 'reads assessments'}"
                bar.update(task, description=what, completed=found["done"], total=found["total"] or None)

            async with context.client("analyst", ident) as client:
                return await _with_window(client, await backtests.follow(client, number, progress))

    try:
        return run(work())
    except KeyboardInterrupt:
        click.echo(f"Backtest {number} goes on. {_look_again(number)}", err=True)
        raise click.Abort from None


async def _with_window(client: "Client", found: dict[str, Any]) -> dict[str, Any]:
    """Add what a model was trained on; nothing where it is not kept any more."""
    if found["model"]:
        from libs.client import models
        from libs.client.errors import LuxorError

        try:
            found["trained_on"] = (await models.model(client, found["version"]))["window"]
        except LuxorError as error:
            if error.reason != "MODEL_UNKNOWN":
                raise
    return found


def _look_again(number: int) -> str:
    return f"`luxor risk backtest show {number} --follow` tells how far it is, `luxor risk backtest cancel {number}` ends it."


def _finish(context: Context, found: dict[str, Any]) -> None:
    if found["state"] != "BACKTEST_STATE_DONE":
        hint = "Correct that and begin it again." if found["error"] else "Somebody ended it."
        fail("NOT_BACKTESTED", found["error"] or "the backtest was ended", hint, as_json=context.as_json)
    context.emit(found, lambda out: show_backtest(out, found))


def _day(text: str) -> int:
    try:
        return (datetime.date.fromisoformat(text) - EPOCH).days
    except ValueError:
        raise click.UsageError(f"{text} is no day; a day is written like 2026-11-25.") from None


def _profile(rules: str) -> Path | None:
    """The profile that is meant; None where it is the version of a set."""
    path = Path(rules)
    if path.is_file():
        return path
    if not path.is_dir():
        return None
    if (path / PROFILE).is_file():
        return path / PROFILE
    found = sorted(path.glob("*.yaml"))
    if len(found) != 1:
        raise click.UsageError(f"{path} has no {PROFILE} and {len(found)} other YAML files; name the profile itself.")
    return found[0]
