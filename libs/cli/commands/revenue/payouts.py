"""`luxor revenue payouts`: posts and lists money that left a treasury's bank account."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, command, fail, run
from libs.cli.days import days_of

if TYPE_CHECKING:
    from rich.console import Console

DAYS = 30
"""Number of listed days without --from."""


@command("payouts", short_help="Post payouts from a CSV, or list the posted ones.")
@click.argument("path", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--from", "from_text", metavar="DAY", help="First day of posting (default: a month ago).")
@click.option("--to", "to_text", metavar="DAY", help="Last day of posting (default: today).")
@acting("officer")
def payouts(context: Context, path: Path | None, from_text: str | None, to_text: str | None, ident: str) -> None:
    """Post the payouts of the CSV file PATH and show the result of each; without PATH list the posted ones.

    Columns: id (the bank's), reference (an account with credit, or the MRN of a consignment whose buyer is paid), jurisdiction,
    currency, amount such as 12.50; and optionally paid_at such as 2026-11-01T08:30:00Z, reverses_id (the id of a payout that the bank
    returned), returns_payment_id (the id of an unmatched payment that is returned to its payer; then without reference). A payout above
    the credit is refused as a whole. A payout is posted only once. Exits with 1 if one is refused.
    """
    from libs.client.revenue.payouts import iterate_payouts, read_payouts, record_payouts

    if path is not None and (from_text or to_text):
        raise click.UsageError("--from and --to are for the list, without PATH.")
    first, last = days_of(from_text, to_text, days=DAYS)
    read = read_payouts(path) if path is not None else []
    if path is not None and not read:
        fail("FILE_EMPTY", f"{path} has no payouts.", "Write a line for each payout.", as_json=context.as_json)

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            if read:
                return await record_payouts(client, read)
            return [each async for each in iterate_payouts(client, from_day=first, to_day=last)]

    rows = run(work())
    context.emit(
        {"payouts": rows}, lambda terminal: show_payouts(terminal, rows) if read else show_payout_list(terminal, rows)
    )
    if any(each["outcome"] == "REFUSED" for each in rows):
        raise click.exceptions.Exit(REFUSED)


def show_payouts(terminal: "Console", rows: list[dict[str, Any]]) -> None:
    """Print what became of each payout."""
    from libs.cli.views.text import money, print_words, safe, table, words
    from libs.server.catalogue import command_hint

    shown = table("payout", "outcome", "account", "amount", "credit left", right=(3, 4))
    for each in rows:
        amount, left = (money(each.get(f"{name}_minor", 0), each["currency"]) for name in ("amount", "credit"))
        shown.add_row(safe(each.get("id", "")), words(each["outcome"]), safe(each.get("account", "")), amount, left)
    print_words(terminal, shown)
    for each in rows:
        if "error" in each:
            error = each["error"]
            terminal.print(f"[bold red]{error['reason']}[/]  {safe(each.get('id', ''))}: {safe(error['message'])}")
            terminal.print(f"  [dim]→[/] {safe(command_hint(error['reason'], error['hint']))}")


def show_payout_list(terminal: "Console", rows: list[dict[str, Any]]) -> None:
    """Print payouts that are recorded."""
    from libs.cli.views.text import money, print_words, safe, table, when

    if not rows:
        terminal.print("There were no payouts on these days.")
        return
    shown = table("posted", "jurisdiction", "payout", "to", "amount", "return", right=(4,))
    for each in rows:
        note = f"returned by {each['reversed_by']}" if "reversed_by" in each else ""
        if "reverses_id" in each:
            note = f"returned {each['reverses_id']}"
        payee = each.get("reference") or each.get("returns_payment_id") or each.get("account", "")
        names = (safe(text) for text in (each["jurisdiction"], each["id"], payee))
        shown.add_row(when(each["booked_at"]), *names, money(each["amount_minor"], each["currency"]), safe(note))
    print_words(terminal, shown)
