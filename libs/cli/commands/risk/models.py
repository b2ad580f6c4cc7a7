"""`luxor risk train`, `models` and `violations`: train, show and activate models, and estimate the share of violations."""

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
from libs.cli.views.text import short, words

if TYPE_CHECKING:
    from rich.console import Console

    from libs.client.client import Client

MODULE: Final = "services.risk.learning"
"""Module that trains on a file; it runs in a process of its own, because commands do not import services."""


@command("train", short_help="Train a model on outcomes of inspections, or on a labelled file.")
@click.option(
    "--labelled", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="CSV with an outcome in each row."
)
@click.option(
    "--layout",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML that states the meaning of its columns.",
)
@click.option(
    "--out",
    "model_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Path of the new model file (default: model.json).",
)
@click.option("--propose", is_flag=True, help="Submit the model file as a candidate.")
@click.option("--from", "from_day", metavar="DAY", help="First day of assessment, such as 2026-11-25.")
@click.option("--to", "until_day", metavar="DAY", help="Last day, included.")
@click.option("--name", default="", help="Name of the model: lower-case letters, digits, hyphens.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Seed of all random choices.")
@click.option("--note", default="", help="A note about the model.")
@click.option("--detach", is_flag=True, help="With --from and --to: print the job's name and do not wait.")
@acting("analyst")
def train(
    context: Context,
    labelled: Path | None,
    layout: Path | None,
    model_path: Path | None,
    propose: bool,
    from_day: str | None,
    until_day: str | None,
    name: str,
    seed: int,
    note: str,
    detach: bool,
    ident: str,
) -> None:
    """Train a model. It changes nothing before it is activated.

    With --labelled it is trained on this machine with a file, and written to a file; --propose submits it. With --from and --to a job of risk
    trains it with the results of inspections and stores it as a candidate; ^C leaves the job running.
    """
    on_file = labelled is not None
    if on_file == (from_day is not None or until_day is not None):
        raise click.UsageError("Give either --labelled FILE, or --from DAY and --to DAY.")
    if labelled is not None:
        _train_file(
            context, labelled, layout, model_path or Path("model.json"), name or "labelled", seed, propose, note, ident
        )
        return
    if layout is not None or model_path is not None or propose:
        raise click.UsageError("--layout, --out and --propose need --labelled.")
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
    model_path: Path,
    name: str,
    seed: int,
    propose: bool,
    note: str,
    ident: str,
) -> None:
    arguments = ["--labelled", str(labelled), "--out", str(model_path), "--name", name, "--seed", str(seed)]
    arguments += ["--layout", str(layout)] if layout is not None else []
    done = subprocess.run([sys.executable, "-m", MODULE, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip() or f"the training ended with {done.returncode}"
        fail("NOT_TRAINED", why, "Correct the cause and train again; nothing was written.", as_json=context.as_json)
    trained: dict[str, Any] = json.loads(done.stdout)
    if propose:
        from libs.client.risk import models

        content = model_path.read_bytes()

        async def work() -> dict[str, Any]:
            async with context.client("analyst", ident) as client:
                return await models.propose(client, content, note)

        trained["proposed"] = run(work())

    def show(terminal: "Console") -> None:
        terminal.print(
            f"[bold]{trained['version']}[/] written to {trained['file']}{', now a candidate' if propose else ''}"
        )
        show_metrics(terminal, trained["metrics"])

    context.emit(trained, show)


@click.group("models", short_help="List, propose and activate models.")
def models() -> None:
    """Maintain models. One person proposes or trains a model, another one activates it.

    Every command has --json, for programs.
    """


@command("list", group=models, short_help="List the stored models and their states.")
@click.option(
    "--kind",
    type=click.Choice(("risk", "codes")),
    default="risk",
    show_default=True,
    help="Models that score consignments, or that suggest commodity codes.",
)
@acting("analyst")
def list_models(context: Context, kind: str, ident: str) -> None:
    """List the stored models, the newest first: state, training data, and how good they are on data that they were not trained on."""
    from libs.client.risk import models as client_models

    async def work() -> list[dict[str, Any]]:
        async with context.client("analyst", ident) as client:
            return await client_models.models(client, of_codes=kind == "codes")

    result = run(work())

    def show(terminal: "Console") -> None:
        if not result:
            maker = "luxor learn codes" if kind == "codes" else "luxor risk train"
            terminal.print(f"No model is stored: `{maker}` creates one.")
        for each in result:
            show_model(terminal, each)

    context.emit({"models": result}, show)


@command("show", group=models, short_help="Show a model, its drift, and its comparison with the champion.")
@click.argument("version", required=False, default="")
@click.option(
    "--days",
    type=click.IntRange(0, 90),
    default=30,
    show_default=True,
    help="Days of compared outcomes; 0 for no comparison.",
)
@acting("analyst")
def describe_model(context: Context, version: str, days: int, ident: str) -> None:
    """Show the model VERSION, or the champion: its columns and their drift, and champion and challenger on inspected consignments."""
    from libs.client.risk import models as client_models

    async def work() -> dict[str, Any]:
        async with context.client("analyst", ident) as client:
            return await client_models.model(client, version, compared_days=days)

    result = run(work())

    def show(terminal: "Console") -> None:
        show_model(terminal, result)
        for column, index in list(result["drift"].items())[:10]:
            terminal.print(f"  drift of {column}: {index:g}")
        compared = result.get("comparison")
        if compared:
            terminal.print(
                f"  {compared['challenger']} compared with {compared['champion']} on {compared.get('outcomes', 0)} outcomes: "
                f"{words(short(compared['verdict'], 'COMPARISON_VERDICT_'))}"
            )
            _show_weights(terminal, compared)

    context.emit(result, show)


@command("violations", short_help="Estimate the share of violations among all consignments.")
@click.option("--from", "from_day", metavar="DAY", required=True, help="First day of assessment, such as 2026-11-25.")
@click.option("--to", "until_day", metavar="DAY", required=True, help="Last day, included.")
@acting("analyst")
def violations(context: Context, from_day: str, until_day: str, ident: str) -> None:
    """Estimate the share of all consignments of some days that is in violation, from the results of inspections.

    The weight of an outcome is one over its probability: the probability that selection puts the consignment into a lane, times the
    inspected share of that lane, which is measured separately for draws and for rules. The estimate assumes that the inspected consignments
    of a lane are like the others. There is no estimate if more than 5 % of the consignments cannot get into a lane with inspections; up to
    5 %, the interval allows for all and for none of them in violation.
    """
    from libs.client.risk import models as client_models

    async def work() -> dict[str, Any]:
        async with context.client("analyst", ident) as client:
            days = day_asked(from_day, "--from"), day_asked(until_day, "--to")
            return await client_models.violations(client, *days)

    result = run(work())
    context.emit(result, lambda terminal: show_violations(terminal, result))


def show_violations(terminal: "Console", result: dict[str, Any]) -> None:
    """Print an estimate with its interval, the excluded consignments, and the effect of a cap on weights."""
    total, without = result["consignments"], result["consignments_without_chance"]
    reason = result.get("no_estimate")
    if reason is not None:
        why = {
            "NO_ESTIMATE_NOTHING_INSPECTED": "no consignment with a known probability of selection was inspected",
            "NO_ESTIMATE_NOT_COUNTED": "no counts of consignments by lane are stored for these days, because no office draws at random",
            "NO_ESTIMATE_WITHOUT_CHANCE": f"{without:,} of {total:,} consignments had no known probability of inspection",
        }
        terminal.print(f"There is no estimate of the share of violations: {why.get(reason, reason)}.")
    else:
        terminal.print(
            f"[bold]{result['share']:.2%}[/] of all consignments in violation, {result['low']:.2%} to {result['high']:.2%} "
            f"(95 %), by {result['outcomes']:,} outcomes with {result['violations']:,} violations"
        )
        if without:
            terminal.print(
                f"  {without:,} of {total:,} consignments had no chance of inspection: the share excludes them, and the "
                "interval allows for all and for none of them in violation."
            )
    for lane in result["lanes"]:
        if lane["consignments"]:
            name, cause = lane["lane"].removeprefix("LANE_").lower(), "draws" if lane["by_draw"] else "rules and score"
            terminal.print(f"  {name} by {cause}: {lane['inspected']:,} of {lane['consignments']:,} inspected")
    _show_weights(terminal, result)
    if result.get("outcomes_capped"):
        terminal.print(f"  With capped weights, as in training, the share is {result['share_with_cap']:.2%}.")


def _show_weights(terminal: "Console", result: dict[str, Any]) -> None:
    """Print the number of outcomes with unknown weights, and the effect of a cap on weights."""
    unknown, capped = result.get("outcomes_of_unknown_inclusion", 0), result.get("outcomes_capped", 0)
    if unknown:
        terminal.print(f"  {unknown:,} outcomes have an unknown probability of selection.")
    if capped:
        terminal.print(
            f"  The cap of 20 on weights cuts {capped:,} outcomes, {result['weight_capped_share']:.1%} of all weight: "
            "a bias towards consignments that are selected often."
        )


@command("propose", group=models, short_help="Submit a model file as a candidate.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--note", default="", help="A note about the model.")
@acting("analyst")
def propose_model(context: Context, file: Path, note: str, ident: str) -> None:
    """Submit FILE, which `luxor risk train` or `luxor learn codes` wrote. It changes nothing before another person activates it."""
    from libs.client.risk import models as client_models

    content = file.read_bytes()

    async def work() -> dict[str, Any]:
        async with context.client("analyst", ident) as client:
            return await client_models.propose(client, content, note)

    _emit(context, run(work()))


@command("challenge", group=models, short_help="Make a model the challenger, which scores without effect.")
@click.argument("version")
@acting("analyst")
def challenge_model(context: Context, version: str, ident: str) -> None:
    """Make the model VERSION the challenger: it scores every consignment without effect. A model of codes is activated without this step."""
    _emit(context, _moved(context, "challenge", version, ident))


@command("activate", group=models, short_help="Make the challenger the champion, as a second person.")
@click.argument("version")
@acting("analyst")
def activate_model(context: Context, version: str, ident: str) -> None:
    """Make the model VERSION, the challenger or a former champion, the champion. The person who proposed or trained it may not activate it."""
    _emit(context, _moved(context, "activate", version, ident))


@command("retire", group=models, short_help="Retire a model.")
@click.argument("version")
@acting("analyst")
def retire_model(context: Context, version: str, ident: str) -> None:
    """Retire the model VERSION. If it is the champion, no consignment is scored, or no code suggested, afterwards."""
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
    context.emit(model, lambda terminal: show_model(terminal, model))
