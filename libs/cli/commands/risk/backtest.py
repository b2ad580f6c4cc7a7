"""`luxor risk backtest`: apply a rule set or a model to stored assessments."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import Context, acting, command
from libs.cli.days import assessment_days
from libs.cli.jobs import start_job

if TYPE_CHECKING:
    from libs.client.client import Client

PROFILE: Final = "profile.yaml"


@command("backtest", short_help="Apply a rule set or a model to stored assessments.")
@click.option("--rules", metavar="DIR|FILE|VERSION", help="A profile, its directory, or the version of a rule set.")
@click.option("--model", metavar="VERSION", default="", help="The version of a model, in place of rules.")
@click.option("--from", "from_day", metavar="DAY", required=True, help="First day of assessment: 2026-11-25.")
@click.option("--to", "to_day", metavar="DAY", required=True, help="Last day, included.")
@click.option(
    "--office", default="", help="Only the consignments that were filed for this office: presented or entering there."
)
@click.option(
    "--examples", type=click.IntRange(0, 50), default=5, show_default=True, help="Consignments to name for each rule."
)
@click.option("--detach", is_flag=True, help="Print the job's name and do not wait.")
@acting("analyst")
def backtest(
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
    """Apply a rule set or a model to the assessments of a period: matches, overlap with the original lanes, precision, work a day.

    `luxor risk backtest --rules DIR --from DAY --to DAY` starts a job, waits for it and prints its result. ^C leaves it running;
    `luxor jobs show` prints the result later.
    """
    if (rules is None) == (not model):
        raise click.UsageError("Give either --rules or --model.")
    days = assessment_days(from_day, to_day)
    profile = None if rules is None else _profile(rules)
    rule_set = rules if rules is not None and profile is None else ""

    async def start(client: "Client") -> dict[str, Any]:
        from libs.client.risk import backtests

        return await backtests.start(
            client, *days, profile=profile, rule_set=rule_set, model=model, office=office, examples=examples
        )

    start_job(context, ident, start, detach=detach)


def _profile(rules: str) -> Path | None:
    """Return the profile that `rules` names; None if it is the version of a stored set."""
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
