"""`luxor risk train`, `models` and `model-…`: train models, look at them, and bring them into force."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import Context, acting, command, fail, run
from libs.cli.days import assessment_days, day_asked
from libs.cli.jobs import start_job
from libs.cli.views.model import show_metrics, show_model

if TYPE_CHECKING:
    from rich.console import Console

    from libs.client.client import Client

MODULE: Final = "services.risk.learning"
"""What trains on a file; it runs in a process of its own, since no command imports a service."""


@command("train", short_help="Train a model on outcomes of inspections, or on a labelled file.")
@click.option(
    "--labelled", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="CSV with an outcome in each row."
)
@click.option(
    "--layout",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML that says which of its columns are what.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the model file is written (default: model.json).",
)
@click.option("--propose", is_flag=True, help="Hand the model file in as a candidate.")
@click.option("--from", "from_day", metavar="DAY", help="First day of assessment whose inspections count: 2026-11-25.")
@click.option("--to", "until_day", metavar="DAY", help="Last day, counted in.")
@click.option("--name", default="", help="Name of the model: lower case letters, digits, hyphens.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Seed of all that is drawn.")
@click.option("--note", default="", help="What others should know of the model.")
@click.option("--detach", is_flag=True, help="With --from and --to: print the job's name and do not wait.")
@acting("analyst")
def train(
    context: Context,
    labelled: Path | None,
    layout: Path | None,
    out: Path | None,
    propose: bool,
    from_day: str | None,
    until_day: str | None,
    name: str,
    seed: int,
    note: str,
    detach: bool,
    ident: str,
) -> None:
    """Train a model, which changes nothing before it is activated.

    With --labelled it is trained here, on a file, and written; --propose hands it in. With --from and --to a job of risk trains it on the
    results of inspections and stores it as a candidate; ^C leaves the job running.
    """
    on_file = labelled is not None
    if on_file == (from_day is not None or until_day is not None):
        raise click.UsageError("Give either --labelled FILE, or --from DAY and --to DAY.")
    if labelled is not None:
        _train_file(
            context, labelled, layout, out or Path("model.json"), name or "labelled", seed, propose, note, ident
        )
        return
    if layout is not None or out is not None or propose:
        raise click.UsageError("--layout, --out and --propose go with --labelled alone.")
    if from_day is None or until_day is None:
        raise click.UsageError("Give both --from and --to.")
    days = assessment_days(from_day, until_day)

    async def start(client: "Client") -> dict[str, Any]:
        from libs.client.risk import models

        return await models.start_training(client, *days, name=name, seed=seed, note=note)

    start_job(context, ident, start, detach=detach)


def _train_file(
    context: Context,
    labelled: Path,
    layout: Path | None,
    out: Path,
    name: str,
    seed: int,
    propose: bool,
    note: str,
    ident: str,
) -> None:
    arguments = ["--labelled", str(labelled), "--out", str(out), "--name", name, "--seed", str(seed)]
    arguments += ["--layout", str(layout)] if layout is not None else []
    done = subprocess.run([sys.executable, "-m", MODULE, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip() or f"the training ended with {done.returncode}"
        fail("NOT_TRAINED", why, "Correct that and train again; nothing was written.", as_json=context.as_json)
    told: dict[str, Any] = json.loads(done.stdout)
    if propose:
        from libs.client.risk import models

        content = out.read_bytes()

        async def work() -> dict[str, Any]:
            async with context.client("analyst", ident) as client:
                return await models.propose(client, content, note)

        told["proposed"] = run(work())

    def show(out: "Console") -> None:
        out.print(f"[bold]{told['version']}[/] written to {told['file']}{', now a candidate' if propose else ''}")
        show_metrics(out, told["metrics"])

    context.emit(told, show)


@command("models", short_help="List the stored models and their states.")
@acting("analyst")
def models(context: Context, ident: str) -> None:
    """List the models, the newest first: state, data window, and how they did on later data."""
    from libs.client.risk import models as client_models

    async def work() -> list[dict[str, Any]]:
        async with context.client("analyst", ident) as client:
            return await client_models.models(client)

    found = run(work())

    def show(out: "Console") -> None:
        if not found:
            out.print("No model is stored: `luxor risk train` makes one.")
        for each in found:
            show_model(out, each)

    context.emit({"models": found}, show)


@command("model-show", short_help="Tell a model, its drift, and how it does beside the champion.")
@click.argument("version", required=False, default="")
@click.option(
    "--days",
    type=click.IntRange(0, 90),
    default=30,
    show_default=True,
    help="Days of outcomes that are compared; 0 for none.",
)
@acting("analyst")
def model_show(context: Context, version: str, days: int, ident: str) -> None:
    """Show the model VERSION, or the champion: its columns, how far they have drifted, champion and challenger on what was inspected."""
    from libs.client.risk import models as client_models

    async def work() -> dict[str, Any]:
        async with context.client("analyst", ident) as client:
            return await client_models.model(client, version, compared_days=days)

    found = run(work())

    def show(out: "Console") -> None:
        show_model(out, found)
        for column, index in list(found["drift"].items())[:10]:
            out.print(f"  drift of {column}: {index:g}")
        compared = found.get("comparison")
        if compared:
            out.print(
                f"  {compared['challenger']} beside {compared['champion']} on {compared.get('outcomes', 0)} outcomes: "
                f"{compared['verdict']}"
            )
            _show_weights(out, compared)

    context.emit(found, show)


@command("violations", short_help="Estimate the share of violations among all consignments.")
@click.option("--from", "from_day", metavar="DAY", required=True, help="First day of assessment: 2026-11-25.")
@click.option("--to", "until_day", metavar="DAY", required=True, help="Last day, counted in.")
@acting("analyst")
def violations(context: Context, from_day: str, until_day: str, ident: str) -> None:
    """Estimate what share of all consignments of some days is in violation, by what was inspected.

    Each outcome weighs one over the chance that it exists: the chance that selection had to put the consignment into each lane, times
    the share of the lane that was inspected, which is measured for draws and for rules apart. The estimate holds if within a lane what
    was inspected is as what was not. There is none where more than 5 % of the consignments could not get into a lane of which anything
    was inspected; up to that the interval allows for all and for none of them in violation.
    """
    from libs.client.risk import models as client_models

    async def work() -> dict[str, Any]:
        async with context.client("analyst", ident) as client:
            days = day_asked(from_day, "--from"), day_asked(until_day, "--to")
            return await client_models.violations(client, *days)

    found = run(work())
    context.emit(found, lambda out: show_violations(out, found))


def show_violations(out: "Console", found: dict[str, Any]) -> None:
    """Print an estimate with its interval, what it leaves out, and what a cap on weights would do to it."""
    total, without = found["consignments"], found["consignments_without_chance"]
    reason = found.get("no_estimate")
    if reason is not None:
        why = {
            "NO_ESTIMATE_NOTHING_INSPECTED": "nothing that was selected by a known chance was inspected",
            "NO_ESTIMATE_NOT_COUNTED": "for these days no count of consignments by lane is stored, since no office draws at random",
            "NO_ESTIMATE_WITHOUT_CHANCE": f"{without:,} of {total:,} consignments had no known chance of being inspected",
        }
        out.print(f"There is no estimate of the share of violations: {why.get(reason, reason)}.")
    else:
        out.print(
            f"[bold]{found['share']:.2%}[/] of all consignments in violation, {found['low']:.2%} to {found['high']:.2%} "
            f"(95 %), by {found['outcomes']:,} outcomes with {found['violations']:,} violations"
        )
        if without:
            out.print(
                f"  {without:,} of {total:,} consignments had no chance of being inspected: the share leaves them out, and the "
                "interval includes all and none of them in violation."
            )
    for lane in found["lanes"]:
        if lane["consignments"]:
            name, cause = lane["lane"].removeprefix("LANE_").lower(), "draws" if lane["drawn"] else "rules and score"
            out.print(f"  {name} by {cause}: {lane['inspected']:,} of {lane['consignments']:,} inspected")
    _show_weights(out, found)
    if found.get("outcomes_capped"):
        out.print(f"  With cut weights, as learning has them, it would read {found['share_with_cap']:.2%}.")


def _show_weights(out: "Console", found: dict[str, Any]) -> None:
    """What is unknown of the weights of outcomes, and what a cap cuts off."""
    unknown, capped = found.get("outcomes_of_unknown_inclusion", 0), found.get("outcomes_capped", 0)
    if unknown:
        out.print(f"  Of {unknown:,} outcomes it is unknown by what chance they were selected.")
    if capped:
        out.print(
            f"  The cap of 20 on weights cuts {capped:,} outcomes, {found['weight_capped_share']:.1%} of all weight: "
            "a bias towards what is selected most."
        )


@command("model-propose", short_help="Hand in a model file as a candidate.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--note", default="", help="What others should know of the model.")
@acting("analyst")
def model_propose(context: Context, file: Path, note: str, ident: str) -> None:
    """Hand in FILE, which `luxor risk train` wrote. It changes nothing before another person activates it."""
    from libs.client.risk import models as client_models

    content = file.read_bytes()

    async def work() -> dict[str, Any]:
        async with context.client("analyst", ident) as client:
            return await client_models.propose(client, content, note)

    _emit(context, run(work()))


@command("model-challenge", short_help="Let a model score beside the champion, without effect.")
@click.argument("version")
@acting("analyst")
def model_challenge(context: Context, version: str, ident: str) -> None:
    """Make the model VERSION the challenger: it scores every consignment beside the champion and changes nothing."""
    _emit(context, _moved(context, "challenge", version, ident))


@command("model-activate", short_help="Put the challenger in force, as a second person.")
@click.argument("version")
@acting("analyst")
def model_activate(context: Context, version: str, ident: str) -> None:
    """Put the model VERSION, the challenger or a former champion, in force. Who proposed or trained it may not."""
    _emit(context, _moved(context, "activate", version, ident))


@command("model-retire", short_help="Take a model out.")
@click.argument("version")
@acting("analyst")
def model_retire(context: Context, version: str, ident: str) -> None:
    """Take the model VERSION out. Where it was the champion, nothing is scored afterwards."""
    _emit(context, _moved(context, "retire", version, ident))


def _moved(context: Context, verb: str, version: str, ident: str) -> dict[str, Any]:
    from libs.client.risk import models as client_models

    move = {
        "challenge": client_models.challenge,
        "activate": client_models.activate,
        "retire": client_models.retire,
    }[verb]

    async def work() -> dict[str, Any]:
        async with context.client("analyst", ident) as client:
            return await move(client, version)

    return run(work())


def _emit(context: Context, model: dict[str, Any]) -> None:
    context.emit(model, lambda out: show_model(out, model))
