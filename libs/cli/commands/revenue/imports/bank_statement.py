"""`luxor revenue import bank-statement`: posts the payments of a bank statement."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import REFUSED, Context, acting, command, run

if TYPE_CHECKING:
    from rich.console import Console

SENTENCES: Final = {
    "NO_ID": "it has neither an id of the bank nor one of the payer; post it with `luxor revenue payments`",
    "ID_REPEATED": "the bank states no id, and the payer used one twice that day; post it with `luxor revenue payments` and another id",
    "NO_AMOUNT": "its amount is 0; nothing is to be posted",
    "PAYOUT_RETURNED": "the bank returned a payout; post it with `luxor revenue payouts`, with the payout in reverses_id",
    "REVERSED_UNKNOWN": "it does not name the payment that it reverses; post it with `luxor revenue payments`, with that payment in reverses_id",
}
"""By reason, why a booked entry was not posted, and what to do."""


@command("bank-statement", short_help="Post the payments of a bank statement (camt.053).")
@click.argument("path", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--account",
    "accounts",
    multiple=True,
    required=True,
    metavar="IBAN=ID",
    help="An account of the administration and its jurisdiction, such as EU; may be repeated.",
)
@click.option(
    "--after",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="Sequence number of the last statement that was imported; 0 if the bank begins again.",
)
@acting("officer")
def bank_statement(context: Context, path: Path, accounts: Sequence[str], after: int | None, ident: str) -> None:
    """Post the booked credits and reversals of the bank statement FILE (ISO 20022, camt.053.001.02 or .08) as payments.

    The statement must be complete: opening balance and booked entries give the closing balance, and no statement between two is
    missing. A file with an error posts nothing. A payment is posted only once, so the same file again changes nothing. Exits with 1 if a
    payment is refused or an entry is left to an officer.
    """
    from libs.client.revenue.accounting.bank_statement import read_statement
    from libs.client.revenue.ledger import record_payments

    read = read_statement(path, _jurisdictions(accounts), after)
    if after is not None and len(read.accounts) > 1:
        raise click.UsageError("--after is the number of one account, and the file has several.")

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await record_payments(client, read.payments)

    rows = run(work()) if read.payments else []
    result = {
        "statements": read.statements,
        "accounts": [asdict(each) for each in read.accounts.values()],
        "payments": rows,
        "unposted": [asdict(each) for each in read.unposted],
        "debits": read.debits,
        "not_booked": read.pending,
    }
    context.emit(result, lambda terminal: _show(terminal, path, result))
    if read.unposted or any(each["outcome"] == "REFUSED" for each in rows):
        raise click.exceptions.Exit(REFUSED)


def _jurisdictions(accounts: Sequence[str]) -> dict[str, str]:
    from libs.customs.identifiers.iban import is_iban

    jurisdictions: dict[str, str] = {}
    for each in accounts:
        name, _, jurisdiction = each.partition("=")
        iban = name.replace(" ", "").upper()
        if not is_iban(iban) or not jurisdiction:
            raise click.BadParameter(f"{each!r} is not an IBAN with correct check digits, = and a jurisdiction.")
        if jurisdictions.setdefault(iban, jurisdiction) != jurisdiction:
            raise click.BadParameter(f"{iban} has two jurisdictions.")
    return jurisdictions


def _show(terminal: "Console", path: Path, result: dict[str, Any]) -> None:
    from libs.cli.commands.revenue.ledger import show_payments
    from libs.cli.views.text import money, safe

    if result["payments"]:
        show_payments(terminal, result["payments"])
    for each in result["accounts"]:
        number = "" if each["number"] is None else f" statement {each['number']},"
        closing = money(each["closing_minor"], each["currency"])
        terminal.print(f"{safe(each['iban'])}:{number} closing balance {closing}", soft_wrap=True)
    counts = f"{len(result['payments']):,} payments, {result['debits']:,} debits, {result['not_booked']:,} entries that are not booked"
    terminal.print(counts)
    for each in result["unposted"]:
        amount = money(each["amount_minor"], each["currency"])
        where = f"{safe(str(path))}:{each['line']} {safe(each['id'])}"
        terminal.print(f"[bold red]{each['reason']}[/]  {where} {amount}: {SENTENCES[each['reason']]}.", soft_wrap=True)
