"""`luxor jobs`: list, show and cancel backtests, trainings and what-if runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import Context, acting, command, run
from libs.cli.jobs import KINDS, PICTURE, JobName, print_result, result_of, wait_for_job

if TYPE_CHECKING:
    from rich.console import Console


@click.group("jobs", short_help="List, show and cancel backtests, trainings and what-if runs.")
def jobs() -> None:
    """List, show and cancel backtests, trainings and what-if runs.

    `luxor risk backtest`, `luxor risk train` and `luxor revenue what-if` start them. A job runs in a process of its own and continues when the
    command ends. Every command has --json, for programs.
    """


@command("list", group=jobs, short_help="List jobs, the newest first.")
@click.option("--kind", type=click.Choice(KINDS), help="Only jobs of this kind.")
@acting("analyst")
def list_jobs(context: Context, kind: str | None, ident: str) -> None:
    """List the jobs of risk and revenue, the newest first: up to 200 of each. A job is stored for 400 days after its end."""
    from libs.client.jobs import SERVICES, page

    async def work() -> list[dict[str, Any]]:
        async with context.client("analyst", ident) as client:
            services = {SERVICES[kind]} if kind else set(SERVICES.values())
            pages = [await page(client, service, kind or "") for service in sorted(services)]
        found = [job for listed, _ in pages for job in listed]
        return sorted(found, key=lambda job: str(job["started_at"]), reverse=True)

    found = run(work())

    def show(console: "Console") -> None:
        from libs.cli.views.job import show_job

        if not found:
            console.print("No job is stored: `luxor risk backtest` or `luxor revenue what-if` starts one.")
        for each in found:
            show_job(console, each)

    context.emit({"jobs": found}, show)


@command("show", group=jobs, short_help="Show a job and its results so far.")
@click.argument("name", metavar="JOB", type=JobName())
@click.option("--follow", is_flag=True, help="Wait for its end.")
@click.option("--picture", type=PICTURE, metavar="FILE.svg", help="Draw the results of a what-if run.")
@click.option(
    "--draft",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIRECTORY",
    help="Write the law files of a what-if run's draft into a new directory.",
)
@acting("analyst")
def show_job(
    context: Context, name: tuple[str, int], follow: bool, picture: Path | None, draft: Path | None, ident: str
) -> None:
    """Show the progress of JOB, such as backtest-7, and its results so far."""
    if draft is not None:
        _write_draft(context, ident, name, draft)
    if follow:
        wait_for_job(context, ident, name, picture)
        return

    async def work() -> dict[str, Any]:
        async with context.client("analyst", ident) as client:
            return await result_of(client, *name)

    print_result(context, run(work()), picture)


def _write_draft(context: Context, ident: str, name: tuple[str, int], directory: Path) -> None:
    """Write the files of a run's draft, those in which it differs from the law that was in force at its start."""
    if name[0] != "what-if":
        raise click.UsageError(f"{'-'.join(map(str, name))} has no draft of law: only what-if runs have one.")
    if directory.exists() and any(directory.iterdir()):
        raise click.UsageError(f"{directory} is not empty; name a new directory, so that no file is overwritten.")

    from libs.cli.views.text import counted

    async def work() -> dict[str, Any]:
        from libs.client.revenue import what_ifs

        async with context.client("analyst", ident) as client:
            return await what_ifs.draft(client, name[1])

    draft = run(work())
    for file, text in draft["files"].items():
        path = (directory / file).resolve()
        if not path.is_relative_to(directory.resolve()):
            raise click.ClickException(
                f"the draft names a file outside of the directory: {file}; nothing of it was written"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    day = f"; its day of law is {draft['law_day']}" if draft["law_day"] else ""
    click.echo(f"{directory}: {counted(len(draft['files']), 'file')} of the draft{day}.", err=True)


@command("cancel", group=jobs, short_help="Cancel a job that waits or runs.")
@click.argument("name", metavar="JOB", type=JobName())
@acting("analyst")
def cancel(context: Context, name: tuple[str, int], ident: str) -> None:
    """Cancel JOB, which waits or runs; its results so far stay."""
    from libs.cli.views.job import show_job as show
    from libs.client import jobs as client_jobs

    async def work() -> dict[str, Any]:
        async with context.client("analyst", ident) as client:
            return await client_jobs.cancel(client, *name)

    job = run(work())
    context.emit(job, lambda out: show(out, job))
