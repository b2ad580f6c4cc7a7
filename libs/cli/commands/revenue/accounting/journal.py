"""`luxor revenue journal`: exports the entries of some days, with control totals."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, command, run
from libs.cli.days import day_asked

if TYPE_CHECKING:
    from rich.console import Console


@command("journal", short_help="Export the entries of some days as CSV or Parquet, with control totals.")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--from", "from_text", metavar="DAY", required=True, help="First day of posting.")
@click.option("--to", "to_text", metavar="DAY", help="Last day of posting (default: the first).")
@acting("analyst")
def journal(context: Context, path: Path, from_text: str, to_text: str | None, ident: str) -> None:
    """Write the postings of days that are over (UTC) to PATH, a row each; its ending, .csv or .parquet, selects the form.

    The control totals by account and currency are compared with the ledger's balances before and after these days; exits with 1 if they do not
    agree. The last number and hash of each partition show up to which entry of its chain the file reaches. Amounts are minor units.
    """
    from libs.client.revenue.accounting.journal import WRITERS, export
    from libs.customs.time import day_of_date, day_text

    if path.suffix.lower() not in WRITERS:
        raise click.BadParameter(f"{path.name} ends with none of {', '.join(WRITERS)}", param_hint="PATH")
    first = day_asked(from_text, "--from")
    last = day_asked(to_text, "--to") if to_text else first
    if last < first:
        raise click.BadParameter(f"{to_text} lies before {from_text}", param_hint="--to")
    if last >= day_of_date(dt.datetime.now(dt.UTC).date()):
        raise click.BadParameter(
            f"{day_text(last)} is not over (UTC), and entries are still added to it", param_hint="--to or --from"
        )

    async def work() -> dict[str, Any]:
        async with context.client("analyst", ident) as client:
            return await export(client, path, first, last)

    result = run(work())
    context.emit(result, lambda terminal: show_journal(terminal, result))
    if result["differences"]:
        raise click.exceptions.Exit(REFUSED)


def show_journal(terminal: "Console", result: dict[str, Any]) -> None:
    """Print the control totals of an export, and where they do not agree with the balances."""
    from libs.cli.views.text import money, print_words, safe, table

    days = f"{result['from_day']} to {result['to_day']}"
    terminal.print(
        f"{safe(result['file'])}: {result['rows']:,} postings of {result['entries']:,} entries, {days}", soft_wrap=True
    )
    terminal.print(f"SHA-256 {result['sha256']}", soft_wrap=True)
    if result["totals"]:
        shown = table("account", "debit", "credit", right=(1, 2))
        for each in result["totals"]:
            amounts = (money(each[name], each["currency"]) for name in ("debit_minor", "credit_minor"))
            shown.add_row(safe(each["account"]), *amounts)
        print_words(terminal, shown)
    for each in result["differences"]:
        rows, stored = (
            " and ".join(
                f"{name} {money(each[side][f'{name}_minor'], each['currency'])}" for name in ("debit", "credit")
            )
            for side in ("rows", "balances")
        )
        terminal.print(
            f"[bold red]TOTAL_DIFFERS[/]  {safe(each['account'])}: the rows have {rows}, the balances {stored}.",
            soft_wrap=True,
        )
