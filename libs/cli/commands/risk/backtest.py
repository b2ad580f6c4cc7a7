"""`luxor risk backtest`: try a rule set or a model on the assessments that are stored."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import Context, acting, command, run
from libs.cli.jobs import StartsByDefault, Work
from libs.cli.views.backtest import show_backtest, show_head

if TYPE_CHECKING:
    from rich.console import Console

    from libs.client.client import Client

PROFILE: Final = "profile.yaml"
_BACKTEST: Final = Work("backtest", "luxor risk backtest", "BACKTEST_STATE_")


@click.group("backtest", cls=StartsByDefault, short_help="Try a rule set or a model on stored assessments.")
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
    days = _BACKTEST.days(from_day, to_day)
    profile = None if rules is None else _profile(rules)
    rule_set = rules if rules is not None and profile is None else ""

    async def begin() -> int:
        from libs.client.risk import backtests

        async with context.client("analyst", ident) as client:
            return await backtests.start(
                client, *days, profile=profile, rule_set=rule_set, model=model, office=office, examples=examples
            )

    number = run(begin())
    if detach:
        _BACKTEST.begun(context, number)
        return
    _finish(context, _follow(context, number, ident))


@command("show", group=backtest)
@click.argument("number", metavar="ID", type=click.IntRange(1))
@click.option("--follow", is_flag=True, help="Wait for its end.")
@acting("analyst")
def show(context: Context, number: int, follow: bool, ident: str) -> None:
    """Show the progress of a backtest and its findings so far."""
    if follow:
        _finish(context, _follow(context, number, ident))
        return

    async def work() -> dict[str, Any]:
        from libs.client.risk import backtests

        async with context.client("analyst", ident) as client:
            return await _with_window(client, await backtests.get(client, number))

    found = run(work())
    context.emit(found, lambda out: show_backtest(out, found))


@command("list", group=backtest)
@acting("analyst")
def list_backtests(context: Context, ident: str) -> None:
    """List the stored backtests, the newest first."""

    async def work() -> list[dict[str, Any]]:
        from libs.client.risk import backtests

        async with context.client("analyst", ident) as client:
            return await backtests.listed(client)

    found = run(work())

    def tell(out: "Console") -> None:
        if not found:
            out.print("No backtest is stored: `luxor risk backtest --rules DIR --from DAY --to DAY` begins one.")
        for each in found:
            show_head(out, each)

    context.emit({"backtests": found}, tell)


@command("cancel", group=backtest)
@click.argument("number", metavar="ID", type=click.IntRange(1))
@acting("analyst")
def cancel(context: Context, number: int, ident: str) -> None:
    """End a backtest that waits or runs; what it found so far stays."""

    async def work() -> dict[str, Any]:
        from libs.client.risk import backtests

        async with context.client("analyst", ident) as client:
            return await backtests.cancel(client, number)

    found = run(work())
    context.emit(found, lambda out: show_head(out, found))


def _follow(context: Context, number: int, ident: str) -> dict[str, Any]:
    from libs.client.risk import backtests

    async def following(client: "Client", number: int, progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        return await _with_window(client, await backtests.follow(client, number, progress))

    return _BACKTEST.follow(context, number, ident, following)


async def _with_window(client: "Client", found: dict[str, Any]) -> dict[str, Any]:
    """Add what a model was trained on; nothing where it is not kept any more."""
    if found["model"]:
        from libs.client.errors import LuxorError
        from libs.client.risk import models

        try:
            found["trained_on"] = (await models.model(client, found["version"]))["window"]
        except LuxorError as error:
            if error.reason != "MODEL_UNKNOWN":
                raise
    return found


def _finish(context: Context, found: dict[str, Any]) -> None:
    _BACKTEST.check_done(context, found, "NOT_BACKTESTED")
    context.emit(found, lambda out: show_backtest(out, found))


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
