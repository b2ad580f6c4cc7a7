"""`luxor assessment`: what risk answered for a consignment, and why."""

from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, command, run

if TYPE_CHECKING:
    from rich.console import Console


@command("assessment", short_help="Tell what risk answered for a consignment, and why.")
@click.argument("mrn")
@acting("officer")
def assessment(context: Context, mrn: str, ident: str) -> None:
    """Show every answer that risk gave for the consignment MRN, as an officer: lane, why and by what chance, findings with the
    listed party that was met and the papers that are missing, and the versions of all that it was judged by. Then the hits that were
    found later, since a list changed.
    """
    from libs.client.risk.assessments import assessments_and_later_hits

    async def work() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        async with context.client("officer", ident) as client:
            return await assessments_and_later_hits(client, mrn)

    found, later = run(work())
    context.emit({"assessments": found, "later_screenings": later}, lambda out: _show(out, mrn, found, later))
    if not found:
        raise click.exceptions.Exit(REFUSED)


def _show(out: "Console", mrn: str, found: list[dict[str, Any]], later: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import safe, short, words

    if not found:
        out.print(f"Risk never assessed {safe(mrn)}, or no longer keeps it.")
    for each in found:
        purpose = words(short(each["purpose"], "PURPOSE_"))
        lane = words(short(each["lane"], "LANE_"))
        out.print(f"\n[bold]version {each['version']}, {purpose}: {lane}[/], {each['score']} points")
        cause = words(short(each.get("selection_cause", ""), "SELECTION_CAUSE_"))
        if each.get("selection_reason"):
            chance = f", chance {each['chance_ppm'] / 10_000:g} %" if "chance_ppm" in each else ""
            out.print(f"  chosen by {cause}: {safe(each['selection_reason'])}{chance}")
        if each.get("referral_reason"):
            out.print(f"  recommended: {words(short(each['referral'], 'REFERRAL_'))}, {safe(each['referral_reason'])}")
        for finding in each["findings"]:
            item = f", item {finding['item_number']}" if "item_number" in finding else ""
            out.print(f"  {safe(finding['rule'])}{item}, {finding['points']} points: {safe(finding['sentence'])}")
            _show_match(out, finding)
        for name in ("rule_set", "lists", "controls", "selection"):
            if each.get(name):
                out.print(f"  [dim]{words(name)}: {safe(each[name])}[/]")
    for each in later:
        out.print(f"\n[bold]version {each['version']}, screened again {safe(each['screened_at'])}[/]")
        for finding in each["findings"]:
            lane = words(short(finding["lane"], "LANE_"))
            out.print(f"  {safe(finding['rule'])}, {lane}: {safe(finding['sentence'])}")
            _show_match(out, finding)
        for finding in each["cleared"]:
            entry = f"{safe(finding['list_entry'])} of {safe(finding['list'])}"
            out.print(f"  cleared: the {safe(finding['party'])} is not entry {entry}")
        out.print(f"  [dim]lists: {safe(each['lists'])}[/]")


def _show_match(out: "Console", finding: dict[str, Any]) -> None:
    from libs.cli.views.text import safe

    if finding.get("list"):
        out.print(f"    entry {safe(finding['list_entry'])} of {safe(finding['list'])}")
        out.print(f"    {safe(finding['explanation'])}")
