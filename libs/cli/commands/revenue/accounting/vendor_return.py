"""`luxor revenue check-return`: compares a vendor's return with the statement of its scheme number."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, caller_of, caller_option, command, run

if TYPE_CHECKING:
    from rich.console import Console

SENTENCES = {
    "MISSING": "the statement has {expected}, and the return nothing",
    "EXTRA": "the return has {stated}, and the statement nothing",
    "AMOUNT_DIFFERS": "the return has {stated}, and the statement {expected}",
    "RATE_DIFFERS": "the return has {stated}, and {rate} % of {taxable} is {expected}",
}
"""By reason, what differs."""


@command("check-return", short_help="Compare a vendor's return with the statement of its scheme number.")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@caller_option("The caller: an analyst; or the filer that an officer listed for the account of the number.", "analyst")
def check_return(context: Context, path: Path, caller: str) -> None:
    """Compare the return in the CSV file PATH, such as a monthly return of IOSS, with the ledger, and list each difference.

    Columns: number (the scheme number), period (2026-11), country, rate in percent, taxable, currency, tax; a line for each member state and rate.
    The tax of each state is compared with the statement of the month, and each line with its rate. The ledger has no rates, so a wrong rate with the
    right tax is found only by the line itself. Corrections count in the month in which they were posted. Exits with 1 if there is a difference.
    """
    from libs.client.revenue.accounting.vendor_return import compare, read_return
    from libs.client.revenue.ledger import statement

    role, own = caller_of(caller, ("analyst", "filer"))
    stated = read_return(path)

    async def work() -> dict[str, Any]:
        async with context.client(role, own) as client:
            return await statement(client, f"vendor:{stated.number}", stated.currency, stated.period)

    differences = compare(stated, run(work())["totals"])
    result = {"number": stated.number, "period": stated.period, "lines": len(stated.lines), "differences": differences}
    context.emit(result, lambda terminal: show_comparison(terminal, result))
    if differences:
        raise click.exceptions.Exit(REFUSED)


def show_comparison(terminal: "Console", result: dict[str, Any]) -> None:
    """Print the differences of a return, a line each."""
    from libs.cli.views.text import money, safe

    name = f"The return of {safe(result['number'])} for {safe(result['period'])}"
    if not result["differences"]:
        terminal.print(f"{name} agrees with the statement: {result['lines']:,} lines.", soft_wrap=True)
        return
    terminal.print(f"{name} has {len(result['differences']):,} differences:", soft_wrap=True)
    for each in result["differences"]:
        values = {
            "stated": money(each["return_minor"], each["currency"]),
            "expected": money(each["expected_minor"], each["currency"]),
            "taxable": money(each.get("taxable_minor", 0), each["currency"]),
            "rate": each.get("rate", ""),
        }
        sentence = SENTENCES[each["reason"]].format(**values)
        terminal.print(f"[bold red]{each['reason']}[/]  {safe(each['country'])}: {sentence}.", soft_wrap=True)
