"""`luxor revenue what-if`: the effect of a reform on consignments that were assessed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import Context, acting, command
from libs.cli.days import assessment_days, day_of_law
from libs.cli.jobs import PICTURE, JobName, start_job
from libs.cli.law_files import changes_of, files_of

if TYPE_CHECKING:
    from libs.client.client import Client


@command("what-if", short_help="Apply a reform to consignments that were assessed.")
@click.option(
    "--set",
    "values",
    metavar="PATH=VALUE",
    multiple=True,
    help="A changed value: its path, and the new value as YAML.",
)
@click.option(
    "--file",
    "files",
    metavar="NAME=FILE",
    multiple=True,
    help="A law file to replace or add, such as eu/rulebook.yaml=draft.yaml.",
)
@click.option("--from", "from_day", metavar="DAY", required=True, help="First day of assessment: 2026-11-01.")
@click.option("--to", "to_day", metavar="DAY", required=True, help="Last day, included.")
@click.option("--law-day", metavar="DAY", default="", help="Apply the law of this day to all: 2028-07-01.")
@click.option("--of", "of_run", type=JobName(), metavar="JOB", help="Start from the draft of this run: what-if-3.")
@click.option(
    "--against", type=JobName(), metavar="JOB", help="Compare with the draft of this run instead of the stored answers."
)
@click.option(
    "--elasticity",
    "elasticities",
    metavar="[GOODS=]NUMBER",
    multiple=True,
    help="Assume that demand follows price: -1.2, or CN=-1.5 or 61=-0.8 for goods of an origin or a chapter; the first that applies.",
)
@click.option("--name", default="", help="A title for the run, which `luxor jobs list` shows.")
@click.option("--picture", type=PICTURE, metavar="FILE.svg", help="Draw the result.")
@click.option("--detach", is_flag=True, help="Print the job's name and do not wait.")
@acting("analyst")
def what_if(
    context: Context,
    values: tuple[str, ...],
    files: tuple[str, ...],
    from_day: str,
    to_day: str,
    law_day: str,
    of_run: tuple[str, int] | None,
    against: tuple[str, int] | None,
    elasticities: tuple[str, ...],
    name: str,
    picture: Path | None,
    detach: bool,
    ident: str,
) -> None:
    """Apply a draft of law to the assessments of a period: who is affected, revenue before and after, who pays more and who less.

    `luxor revenue what-if --set eu/rulebook.yaml:charges[flat_duty].rates[1].rate="5.00 EUR per tariff_line" --from DAY --to DAY`
    starts a job, waits for it and prints its result. ^C leaves it running; `luxor jobs show` prints the result later. Buyers and sellers
    are assumed to behave as before, unless --elasticity states an assumption. `--of what-if-3 --against what-if-2` compares two drafts.
    """
    changes, texts = changes_of(values), files_of(files)
    if not changes and not texts and not law_day and not of_run:
        raise click.UsageError("Give a draft by --set, --file, --law-day or --of.")
    runs = [_run("--of", of_run), _run("--against", against)]
    assumed = [_elasticity(text) for text in elasticities]
    if detach and picture is not None:
        raise click.UsageError(
            "--picture waits for the end; leave out --detach, or draw it later with `luxor jobs show`."
        )
    days = assessment_days(from_day, to_day)
    if law_day:
        day_of_law(law_day, "--law-day")

    async def start(client: "Client") -> dict[str, Any]:
        from libs.client.revenue import what_ifs

        return await what_ifs.start(
            client,
            *days,
            files=texts,
            changes=changes,
            law_day=law_day,
            name=name,
            of_run=runs[0],
            against=runs[1],
            elasticities=assumed,
        )

    start_job(context, ident, start, detach=detach, picture=picture)


def _run(option: str, job: tuple[str, int] | None) -> int:
    """Return the id of a what-if run, 0 for none."""
    if job is None:
        return 0
    if job[0] != "what-if":
        raise click.UsageError(f"{option} takes a what-if run such as what-if-3, not {'-'.join(map(str, job))}.")
    return job[1]


def _elasticity(text: str) -> tuple[str, str]:
    """Return the goods (an origin, a chapter, or nothing) and the number of [GOODS=]NUMBER."""
    goods, there, number = text.rpartition("=")
    goods = goods.strip().upper()
    if there and not (goods.isascii() and len(goods) == 2 and (goods.isalpha() or goods.isdigit())):
        raise click.UsageError(
            f"--elasticity {text}: write a number for all goods, or an origin or a chapter with one: -1.2, CN=-1.5, 61=-0.8"
        )
    return goods, number.strip()
