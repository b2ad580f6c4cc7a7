"""`luxor revenue closes`: what accounts that pay by the month owe for it, when it is due, and what is open."""

import datetime as dt
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import Context, caller_of, caller_option, command, run

if TYPE_CHECKING:
    from rich.console import Console


@command("closes", short_help="List what accounts owe for a month, and when it is due.")
@click.argument("month", required=False)
@click.option("--prefix", default="", help="Only accounts with names that begin with this, such as deferred:.")
@click.option("--overdue", is_flag=True, help="Only those that are overdue.")
@caller_option("The caller: an analyst; or a filer or carrier, which sees the accounts that it may draw on.", "analyst")
def closes(context: Context, month: str | None, prefix: str, overdue: bool, caller: str) -> None:
    """List what deferred accounts, guarantees, vendors and carriers owe for MONTH (2026-10; default: the last one), and when it is due.

    Payments after the month pay the oldest debt first. `luxor revenue statement` shows the lines. A filer or carrier sees those that it may draw on.
    """
    from libs.client.revenue.ledger import monthly_closes

    chosen = month or (today().replace(day=1) - dt.timedelta(days=1)).strftime("%Y-%m")
    role, own = caller_of(caller, ("analyst", "filer", "carrier"))

    async def work() -> list[dict[str, Any]]:
        async with context.client(role, own) as client:
            return await monthly_closes(client, chosen, prefix=prefix, overdue=overdue)

    rows = run(work())
    context.emit({"month": chosen, "closes": rows}, lambda terminal: _show(terminal, rows, chosen))


def today() -> dt.date:
    """Return the day now, UTC."""
    return dt.datetime.now(dt.UTC).date()


def _show(terminal: "Console", rows: list[dict[str, Any]], month: str) -> None:
    from libs.cli.views.text import money, print_words, safe, stacked, table

    if not rows:
        terminal.print(f"No account owes anything for {month}.", soft_wrap=True)
        return
    shown = table("account", "before", "debits", "credits", "owed", "open", "due", right=(1, 2, 3, 4, 5))
    for each in rows:
        names = ("opening_minor", "debit_minor", "credit_minor", "closing_minor", "outstanding_minor")
        amounts = [money(each.get(name, 0), each["currency"]) for name in names]
        account = [safe(each["account"])]
        if "limit_minor" in each:
            used, limit = (money(each.get(name, 0), each["currency"]) for name in ("used_minor", "limit_minor"))
            account.append(f"[dim]{used} of {limit} used[/]")
        state = each["state"].removeprefix("CLOSE_STATE_").lower()
        shown.add_row(stacked(*account), *amounts, stacked(state, each.get("due_day", "no due day")))
    print_words(terminal, shown)
