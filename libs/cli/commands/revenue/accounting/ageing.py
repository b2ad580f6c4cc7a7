"""`luxor revenue ageing, dunning`: the open items of an account by days overdue, and the list of its overdue items."""

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import REFUSED, Context, acting, command, run
from libs.cli.days import day_of

if TYPE_CHECKING:
    from rich.console import Console

PAID_BY_CONSIGNMENT: Final = ("declarant:", "border:")
"""Beginnings of the names of accounts that have open items: they pay each consignment by itself."""


def _due_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Declare --on and --due-days."""
    on = click.option("--on", "on_text", metavar="DAY", help="Day on which the age is computed (default: today, UTC).")
    due = click.option(
        "--due-days",
        type=click.IntRange(0, 3650),
        default=0,
        show_default=True,
        metavar="DAYS",
        help="Days between the acceptance of a consignment and the day on which it is due.",
    )
    return on(due(function))


def _day_for(name: str, on_text: str | None) -> int:
    """Return the day of --on for an account that has open items."""
    if not name.startswith(PAID_BY_CONSIGNMENT):
        raise click.BadParameter(
            "Write an account declarant:… or border:…; `luxor revenue closes` lists the due days of accounts that pay by the month.",
            param_hint="NAME",
        )
    return day_of(on_text, dt.datetime.now(dt.UTC).date(), "--on")


@command("ageing", short_help="Show the open items of an account by days overdue.")
@click.argument("name")
@_due_options
@acting("analyst")
def ageing(context: Context, name: str, on_text: str | None, due_days: int, ident: str) -> None:
    """Show the open items of NAME, such as declarant:DE1234567890 or border:DE, by currency and days overdue, with the balance of the account.

    The items are those that are open now, also with an earlier or later DAY. Exits with 1 if the balance exceeds the open items.
    """
    from libs.client.revenue.accounting.ageing import ageing as age_account
    from libs.customs.time import day_text

    day = _day_for(name, on_text)

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


@command("dunning", short_help="List the overdue items of an account by level.")
@click.argument("name")
@_due_options
@click.option("--currency", default="", metavar="CODE", help="Only items in this currency, such as EUR.")
@click.option(
    "--minimum", metavar="AMOUNT", help="Only items of at least this amount, such as 10.00; needs --currency."
)
@acting("analyst")
def dunning(
    context: Context, name: str, on_text: str | None, due_days: int, currency: str, minimum: str | None, ident: str
) -> None:
    """List the overdue items of NAME, such as declarant:DE1234567890, the longest overdue first. No letter is sent.

    The level is 1 up to 30 days overdue, 2 up to 60, 3 up to 90, and 4 after that. The items are those that are open now, also with an earlier or
    later DAY.
    """
    from libs.client.revenue.accounting.ageing import overdue_items
    from libs.client.revenue.ledger import open_consignments
    from libs.customs.money import MoneyError, parse_minor
    from libs.customs.time import day_text

    day = _day_for(name, on_text)
    if minimum is not None and not currency:
        raise click.UsageError("--minimum needs --currency.")
    try:
        minimum_minor = {currency: parse_minor(minimum or "0", currency)} if currency else {}
    except (MoneyError, ValueError) as error:
        raise click.BadParameter(str(error), param_hint="--minimum" if minimum is not None else "--currency") from None

    async def work() -> list[dict[str, Any]]:
        async with context.client("analyst", ident) as client:
            items = [each async for each in open_consignments(client, name)]
        return overdue_items(items, day, due_days, minimum_minor)

    rows = run(work())
    result = {"account": name, "on": day_text(day), "due_days": due_days, "items": rows}
    context.emit(result, lambda terminal: _show_overdue(terminal, result))


def _show_overdue(terminal: "Console", result: dict[str, Any]) -> None:
    from libs.cli.views.text import money, safe, table

    if not result["items"]:
        terminal.print(
            f"No such item is overdue on {result['on']}; due {result['due_days']} days after acceptance.",
            soft_wrap=True,
        )
        return
    terminal.print(
        f"{safe(result['account'])} on {result['on']}; due {result['due_days']} days after acceptance", soft_wrap=True
    )
    shown = table("level", "due", "days overdue", "consignment", "amount", right=(0, 2, 4))
    for each in result["items"]:
        amount = money(each["amount_minor"], each["currency"])
        shown.add_row(str(each["level"]), each["due_day"], f"{each['days_overdue']:,}", safe(each["mrn"]), amount)
    terminal.print(shown)
