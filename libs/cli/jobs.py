"""What the commands about jobs share: the name of a job, a progress bar while the caller waits, and the result by kind."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import Context, console, fail, is_terminal, run

if TYPE_CHECKING:
    from rich.console import Console

    from libs.client.client import Client

Job = dict[str, Any]
KINDS: Final = ("backtest", "training", "what-if")


class JobName(click.ParamType[tuple[str, int]]):
    """The name of a job: its kind, a hyphen and its id, such as backtest-7."""

    name = "job"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Return the kind and the id."""
        kind, _, number = str(value).rpartition("-")
        if kind not in KINDS or not (number.isascii() and number.isdigit() and 0 < int(number) < 2**63):
            self.fail(f"{value} is not the name of a job, such as backtest-7; `luxor jobs list` lists them", param, ctx)
        return kind, int(number)


class PictureFile(click.Path):
    """The file of a picture. Its name is checked before the job starts."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path."""
        file = Path(str(super().convert(value, param, ctx)))
        if file.suffix.lower() != ".svg":
            self.fail(f"the picture is an SVG, so its name ends with .svg: {file.with_suffix('.svg')}", param, ctx)
        if not file.parent.is_dir():
            self.fail(f"there is no directory {file.parent}", param, ctx)
        return file


PICTURE: Final = PictureFile(dir_okay=False, writable=True)


def start_job(
    context: Context,
    ident: str,
    start: Callable[["Client"], Awaitable[Job]],
    *,
    detach: bool,
    picture: Path | None = None,
) -> None:
    """Start a job, wait for its end unless `detach`, and print its result."""

    async def work() -> Job:
        async with context.client("analyst", ident) as client:
            return await start(client)

    job = run(work())
    if detach:
        context.emit(job, lambda shown: shown.print(f"{job['job']} started. {_commands(job['job'])}"))
    else:
        wait_for_job(context, ident, JobName().convert(job["job"], None, None), picture)


def wait_for_job(context: Context, ident: str, name: tuple[str, int], picture: Path | None = None) -> None:
    """Wait for the end of a job with a progress bar, and print its result; ^C leaves it running."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from libs.client.jobs import follow

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())

    async def work() -> Job:
        with Progress(*columns, console=console(errors=True), disable=not is_terminal(), transient=True) as bar:
            task = bar.add_task("", total=None)

            def progress(job: Job) -> None:
                waits = job["state"] == "JOB_STATE_WAITING"
                text = f"{job['job']} {'waits for earlier jobs' if waits else 'is running'}"
                bar.update(task, description=text, completed=job["done"], total=job["total"] or None)

            async with context.client("analyst", ident) as client:
                await follow(client, *name, progress)
                return await result_of(client, *name)

    try:
        job = run(work())
    except KeyboardInterrupt:
        text = "-".join(map(str, name))
        click.echo(f"{text} continues. {_commands(text)}", err=True)
        raise click.Abort from None
    if job["state"] == "JOB_STATE_FAILED":
        fail("JOB_FAILED", job["error"], "Correct the cause and start the job again.", as_json=context.as_json)
    if job["state"] != "JOB_STATE_DONE":
        fail("JOB_CANCELLED", f"{job['job']} was cancelled", "Start it again if you need it.", as_json=context.as_json)
    print_result(context, job, picture)


async def result_of(client: "Client", kind: str, number: int) -> Job:
    """Return a job with its details and its results so far."""
    from libs.client.errors import LuxorError
    from libs.client.revenue import what_ifs
    from libs.client.risk import backtests, models

    if kind == "what-if":
        return await what_ifs.get(client, number)
    job = await (models.training if kind == "training" else backtests.get)(client, number)
    if kind == "training" or job["model"]:
        try:
            job["trained_model"] = await models.model(client, job["version"]) if job["version"] else None
        except LuxorError as error:
            if error.reason != "MODEL_UNKNOWN":  # a model may be deleted before the jobs that name it
                raise
            job["trained_model"] = None
    return job


def print_result(context: Context, job: Job, picture: Path | None = None) -> None:
    """Print a job with its results so far, and draw them if `picture` names a file."""
    context.emit(job, lambda shown: _show(shown, job))
    if picture is None:
        return
    if not job["job"].startswith("what-if-"):
        raise click.UsageError(f"{job['job']} has no picture: only what-if runs have one.")
    if job["result"] is None:
        raise click.UsageError(f"{job['job']} has no results to draw yet; try again in some seconds, or give --follow.")
    from libs.cli.views.what_if_picture import picture as draw

    picture.write_text(draw(job), encoding="utf-8")


def _show(shown: "Console", job: Job) -> None:
    from libs.cli.views.backtest import show_backtest
    from libs.cli.views.job import show_job
    from libs.cli.views.model import show_model
    from libs.cli.views.what_if import show_what_if

    show_job(shown, job)
    if job["job"].startswith("what-if-"):
        show_what_if(shown, job)
    elif job["job"].startswith("backtest-"):
        show_backtest(shown, job)
    elif job["trained_model"] is not None:
        show_model(shown, job["trained_model"])


def _commands(name: str) -> str:
    return f"`luxor jobs show {name} --follow` waits for its end, `luxor jobs cancel {name}` cancels it."
