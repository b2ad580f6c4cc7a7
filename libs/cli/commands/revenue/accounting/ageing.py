"""`luxor revenue ageing`: the open items of an account by days overdue."""

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import REFUSED, Context, acting, command, run
from libs.cli.days import day_of

if TYPE_CHECKING:
    from rich.console import Console

PAID_BY_CONSIGNMENT: Final = ("declarant:", "border:")
"""Beginnings of the names of accounts that have open items: they pay each consignment by itself."""


@command("ageing", short_help="Show the open items of an account by days overdue.")
@click.argument("name")
@click.option("--on", "on_text", metavar="DAY", help="Day on which the age is computed (default: today, UTC).")
@click.option(
    "--due-days",
    type=click.IntRange(0, 3650),
    default=0,
    show_default=True,
    metavar="DAYS",
    help="Days between the acceptance of a consignment and the day on which it is due.",
)
@acting("analyst")
def ageing(context: Context, name: str, on_text: str | None, due_days: int, ident: str) -> None:
    """Show the open items of NAME, such as declarant:DE1234567890 or border:DE, by currency and days overdue, with the balance of the account.

    The items are those that are open now, also with an earlier or later DAY. Exits with 1 if the balance exceeds the open items.
    """
    from libs.client.revenue.accounting.ageing import ageing as age_account
    from libs.customs.time import day_text

    if not name.startswith(PAID_BY_CONSIGNMENT):
        raise click.BadParameter(
            "Write an account declarant:… or border:…; `luxor revenue closes` lists the due days of accounts that pay by the month.",
            param_hint="NAME",
        )
    day = day_of(on_text, dt.datetime.now(dt.UTC).date(), "--on")

    async def work() -> list[dict[str, Any]]:
        async with context.client("analyst", ident) as client:
            return await age_account(client, name, day, due_days)

    rows = run(work())
    result = {"account": name, "on": day_text(day), "due_days": due_days, "currencies": rows}
    context.emit(result, lambda terminal: _show(terminal, result))
    if any(each["credit_minor"] < 0 for each in rows):
        raise click.exceptions.Exit(REFUSED)


def _show(terminal: "Console", result: dict[str, Any]) -> None:
    from libs.cli.views.text import money, print_words, safe, table

    rows = result["currencies"]
    if not rows:
        terminal.print("There are no open items, and the balance is zero.")
        return
    terminal.print(
        f"{safe(result['account'])} on {result['on']}; due {result['due_days']} days after acceptance", soft_wrap=True
    )
    for each in rows:
        shown = table("days overdue", "amount", right=(1,))
        for label, field in (
            ("not due", "not_due"),
            ("1 to 30", "days_1_to_30"),
            ("31 to 60", "days_31_to_60"),
            ("61 to 90", "days_61_to_90"),
            ("more than 90", "over_90_days"),
            (f"open items: {each['items']:,}", "open"),
            ("less credit", "credit"),
            ("balance", "balance"),
        ):
            shown.add_row(label, money(each[f"{field}_minor"], each["currency"]))
        print_words(terminal, shown)
        if each["credit_minor"] < 0:
            terminal.print(
                f"The balance in {each['currency']} exceeds the open items. If the ledger changed between the two reads, run the command again; "
                "otherwise run `luxor revenue reconcile`.",
                soft_wrap=True,
            )
