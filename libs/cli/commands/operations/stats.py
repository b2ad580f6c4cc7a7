"""`luxor stats`: what crossed the border."""

import asyncio
from typing import Any, Final

import click

from libs.cli.common import Context, acting, command, console, run
from libs.cli.days import days_of

DIMENSIONS: Final = (
    "day", "origin", "hs_chapter", "lane", "destination", "state", "charge_kind", "collector", "currency", "selection_cause",
)  # fmt: skip

DAYS_MAX: Final = 3_660
"""Days that one query of statistics may have."""


@command("stats", short_help="Count what crossed the border, what it brought in, and how long it took.")
@click.option(
    "--by",
    "group_by",
    type=click.Choice(DIMENSIONS),
    multiple=True,
    help="Break down by this; may be given several times.",
)
@click.option(
    "--where",
    "filters",
    multiple=True,
    metavar="DIMENSION=VALUE[,VALUE]",
    help="Only these, such as destination=DE,FR.",
)
@click.option(
    "--from", "from_text", metavar="DAY", help="First day of acceptance, such as 2026-07-01 (default: a week ago)."
)
@click.option("--to", "to_text", metavar="DAY", help="Last day of acceptance (default: today).")
@acting("analyst")
def stats(
    context: Context,
    group_by: tuple[str, ...],
    filters: tuple[str, ...],
    from_text: str | None,
    to_text: str | None,
    ident: str,
) -> None:
    """Four tables: goods, revenue, the times to decision and release, and what inspections found. Days are those of acceptance, UTC."""
    from libs.cli.views.statistics import render_counts, render_inspections, render_revenue, render_times
    from libs.client.plain import plain

    first, last = days_of(from_text, to_text)
    wanted = {}
    for each in filters:
        name, _, values = each.partition("=")
        if name not in DIMENSIONS or not values:
            raise click.BadParameter(
                f"{each!r} is not DIMENSION=VALUE with one of {', '.join(DIMENSIONS)}", param_hint="--where"
            )
        wanted[name] = values.split(",")

    async def work() -> dict[str, Any]:
        async with context.client("analyst", ident) as client:
            return plain(await client.statistics(first, last, group_by=group_by, filters=wanted))

    told = run(work())

    def show(out: Any) -> None:
        if told.get("incomplete"):
            out.print(
                "[yellow]These figures are incomplete: statistics is still counting clearance's consignments from the beginning.[/]"
            )
        if not told.get("counts") and not told.get("inspections"):
            out.print("Nothing was counted in this period.")
            return
        out.print(render_counts(group_by, told.get("counts", [])))
        out.print(render_revenue(group_by, told.get("revenue", [])))
        out.print(render_times(group_by, told.get("times", [])))
        if told.get("inspections"):
            out.print(render_inspections(group_by, told["inspections"]))

    context.emit(told, show)


@command("recount", short_help="Count everything again that clearance still knows, as an operator.")
@click.option(
    "--wait/--no-wait", default=True, help="Wait until everything is counted, and compare with the figures before."
)
@acting("operator")
def recount(context: Context, wait: bool, ident: str) -> None:
    """Clear the figures of all days that clearance still knows in full, and count them from clearance's consignments.

    Figures of earlier days stay. Meanwhile `luxor stats` says that its figures are incomplete. It may be interrupted: counting goes on.
    """
    import time

    first, last = days_of("2000-01-01", None)
    first = max(first, last - DAYS_MAX)

    async def work() -> dict[str, Any]:
        async with context.client("operator", ident) as client:
            before = await client.statistics(first, last)
            cleared = await client.recount_statistics()
            found: dict[str, Any] = {
                "days": cleared.days, "from_day": cleared.from_day, "to_day": cleared.to_day, "consignments_before": _counted(before),
            }  # fmt: skip
            with console(errors=True).status("Counting …") as status:
                while wait and cleared.days:
                    now = await client.statistics(first, last)
                    found["consignments"] = _counted(now)
                    if not now.incomplete:
                        break
                    status.update(f"Counting … {found['consignments']:,} consignments")
                    await asyncio.sleep(0.5)
            return found

    begun = time.monotonic()
    found = run(work())

    def show(out: Any) -> None:
        if not found["days"]:
            out.print("Clearance knows no consignment, so nothing was cleared.")
        elif not wait:
            out.print(
                f"{found['days']:,} days are being counted again. `luxor stats` says when the figures are complete."
            )
        else:
            out.print(
                f"{found['days']:,} days were counted again in {time.monotonic() - begun:,.0f} s: {found['consignments']:,} consignments, "
                f"{found['consignments_before']:,} before."
            )

    context.emit(found, show)


def _counted(answer: Any) -> int:
    return sum(row.consignments for row in answer.counts)
