"""`luxor stats` and `luxor recount`: figures of goods, revenue, times and inspections."""

import asyncio
from typing import Any, Final

import click

from libs.cli.common import Context, acting, command, console, run
from libs.cli.days import days_of

DIMENSIONS: Final = (
    "day", "origin", "hs_chapter", "lane", "destination", "state", "charge_kind", "collector", "currency", "selection_cause",
)  # fmt: skip

DAYS_MAX: Final = 3_660
"""Largest number of days in one query of statistics."""


@command("stats", short_help="Show goods, revenue, times and inspections.")
@click.option(
    "--by",
    "group_by",
    type=click.Choice(DIMENSIONS),
    multiple=True,
    help="Dimension to group by; may be repeated.",
)
@click.option(
    "--where",
    "filters",
    multiple=True,
    metavar="DIMENSION=VALUE[,VALUE]",
    help="Only these values, such as destination=DE,FR.",
)
@click.option(
    "--from", "from_text", metavar="DAY", help="First day of acceptance, such as 2026-07-01 (default: a week ago)."
)
@click.option("--to", "to_text", metavar="DAY", help="Last day of acceptance (default: today).")
@click.option("--exports", is_flag=True, help="Figures of exports, instead of those of imports.")
@acting("analyst")
def stats(
    context: Context,
    group_by: tuple[str, ...],
    filters: tuple[str, ...],
    from_text: str | None,
    to_text: str | None,
    exports: bool,
    ident: str,
) -> None:
    """Show four tables: goods, revenue, times to decision and release, and results of inspections. Days are those of acceptance, UTC.

    Imports and exports are never in one figure.
    """
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
            return plain(await client.statistics(first, last, group_by=group_by, filters=wanted, exports=exports))

    answer = run(work())

    def show(terminal: Any) -> None:
        if answer.get("incomplete"):
            terminal.print(
                "[yellow]These figures are incomplete: statistics is still counting clearance's consignments from the beginning.[/]"
            )
        if not answer.get("counts") and not answer.get("inspections"):
            terminal.print("Nothing was counted in this period.")
            return
        terminal.print(render_counts(group_by, answer.get("counts", [])))
        terminal.print(render_revenue(group_by, answer.get("revenue", [])))
        terminal.print(render_times(group_by, answer.get("times", [])))
        if answer.get("inspections"):
            terminal.print(render_inspections(group_by, answer["inspections"]))

    context.emit(answer, show)


@command("recount", short_help="Count all consignments again that clearance still stores, as an operator.")
@click.option(
    "--wait/--no-wait", default=True, help="Wait until everything is counted, and compare with the earlier figures."
)
@acting("operator")
def recount(context: Context, wait: bool, ident: str) -> None:
    """Delete the figures of all days that clearance still stores completely, and count them again from clearance's consignments.

    Figures of earlier days stay. Meanwhile `luxor stats` reports that its figures are incomplete. You may interrupt it: counting continues.
    """
    import time

    first, last = days_of("2000-01-01", None)
    first = max(first, last - DAYS_MAX)

    async def work() -> dict[str, Any]:
        async with context.client("operator", ident) as client:
            before = await client.statistics(first, last)
            cleared = await client.recount_statistics()
            result: dict[str, Any] = {
                "days": cleared.days, "from_day": cleared.from_day, "to_day": cleared.to_day, "consignments_before": _counted(before),
            }  # fmt: skip
            with console(errors=True).status("Counting …") as status:
                while wait and cleared.days:
                    now = await client.statistics(first, last)
                    result["consignments"] = _counted(now)
                    if not now.incomplete:
                        break
                    status.update(f"Counting … {result['consignments']:,} consignments")
                    await asyncio.sleep(0.5)
            return result

    begun = time.monotonic()
    result = run(work())

    def show(terminal: Any) -> None:
        if not result["days"]:
            terminal.print("Clearance has no consignments, so nothing is counted again.")
        elif not wait:
            terminal.print(
                f"{result['days']:,} days are being counted again. `luxor stats` shows when the figures are complete."
            )
        else:
            terminal.print(
                f"{result['days']:,} days were counted again in {time.monotonic() - begun:,.0f} s: {result['consignments']:,} consignments, "
                f"{result['consignments_before']:,} before."
            )

    context.emit(result, show)


def _counted(answer: Any) -> int:
    return sum(row.consignments for row in answer.counts)
