"""`luxor stats`: what crossed the border."""

from typing import Any, Final

import click

from libs.cli.common import Context, acting, command, run
from libs.cli.days import days_of

DIMENSIONS: Final = (
    "day", "origin", "hs_chapter", "lane", "destination", "state", "charge_kind", "collector", "currency", "selection_cause",
)  # fmt: skip


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
    from libs.cli.figures import render_counts, render_inspections, render_revenue, render_times
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
        if not told.get("counts") and not told.get("inspections"):
            out.print("Nothing was counted in this period.")
            return
        out.print(render_counts(group_by, told.get("counts", [])))
        out.print(render_revenue(group_by, told.get("revenue", [])))
        out.print(render_times(group_by, told.get("times", [])))
        if told.get("inspections"):
            out.print(render_inspections(group_by, told["inspections"]))

    context.emit(told, show)
