"""`luxor assessment`: shows the assessments of risk for a consignment."""

from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, command, run

if TYPE_CHECKING:
    from rich.console import Console


@command("assessment", short_help="Show the risk assessment of a consignment.")
@click.argument("mrn")
@acting("officer")
def assessment(context: Context, mrn: str, ident: str) -> None:
    """Show every assessment of risk for the consignment MRN, as an officer.

    It has lane, cause and probability of selection, findings with screening matches and missing documents, and the versions of rules, lists
    and controls. Below are screening matches that were found later because a list changed.
    """
    from libs.client.risk.assessments import assessments_and_later_matches

    async def work() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        async with context.client("officer", ident) as client:
            return await assessments_and_later_matches(client, mrn)

    assessments, later = run(work())
    context.emit(
        {"assessments": assessments, "later_screenings": later},
        lambda terminal: show_assessments(terminal, mrn, assessments, later),
    )
    if not assessments:
        raise click.exceptions.Exit(REFUSED)


def show_assessments(
    terminal: "Console", mrn: str, assessments: list[dict[str, Any]], later: list[dict[str, Any]]
) -> None:
    """Print the assessments of a consignment and its later screenings."""
    from libs.cli.views.text import safe, short, words

    if not assessments:
        terminal.print(f"Risk never assessed {safe(mrn)}, or no longer stores the assessment.")
    for each in assessments:
        purpose = words(short(each["purpose"], "PURPOSE_"))
        lane = words(short(each["lane"], "LANE_"))
        terminal.print(f"\n[bold]version {each['version']}, {purpose}: {lane}[/], {each['score']} points")
        cause = words(short(each.get("selection_cause", ""), "SELECTION_CAUSE_"))
        if each.get("selection_reason"):
            chance = f", probability {each['chance_ppm'] / 10_000:g} %" if "chance_ppm" in each else ""
            terminal.print(f"  chosen by {cause}: {safe(each['selection_reason'])}{chance}")
        if each.get("referral_reason"):
            terminal.print(
                f"  recommended: {words(short(each['referral'], 'REFERRAL_'))}, {safe(each['referral_reason'])}"
            )
        for finding in each["findings"]:
            item = f", item {finding['item_number']}" if "item_number" in finding else ""
            terminal.print(f"  {safe(finding['rule'])}{item}, {finding['points']} points: {safe(finding['sentence'])}")
            _show_match(terminal, finding)
        for name in ("rule_set", "lists", "controls", "selection", "code_model"):
            if each.get(name):
                terminal.print(f"  [dim]{words(name)}: {safe(each[name])}[/]")
    for each in later:
        terminal.print(f"\n[bold]version {each['version']}, screened again {safe(each['screened_at'])}[/]")
        for finding in each["findings"]:
            lane = words(short(finding["lane"], "LANE_"))
            terminal.print(f"  {safe(finding['rule'])}, {lane}: {safe(finding['sentence'])}")
            _show_match(terminal, finding)
        for finding in each["cleared"]:
            entry = f"{safe(finding['list_entry'])} of {safe(finding['list'])}"
            terminal.print(f"  cleared: the {safe(finding['party'])} is not entry {entry}")
        terminal.print(f"  [dim]lists: {safe(each['lists'])}[/]")


def _show_match(terminal: "Console", finding: dict[str, Any]) -> None:
    from libs.cli.views.text import safe

    if finding.get("list"):
        terminal.print(f"    entry {safe(finding['list_entry'])} of {safe(finding['list'])}")
        terminal.print(f"    {safe(finding['explanation'])}")
