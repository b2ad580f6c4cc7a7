"""`luxor revenue account, accounts, open-items, balances, entries, statement, payments, unmatched`: the commands of the ledger."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, caller_of, caller_option, command, fail, run
from libs.cli.days import days_of

if TYPE_CHECKING:
    from rich.console import Console

FILERS_SHOWN = 3
"""Largest number of filers of an account in a table; --json prints all."""
OWN_ACCOUNTS = ("treasury", "filer", "carrier")
"""Roles that see only balances and statements of their own accounts."""
KINDS = {"CHARGE_KIND_DUTY": "duty", "CHARGE_KIND_TAX": "tax", "CHARGE_KIND_FEE": "fee"}


@command("account", short_help="Open a deferred account or a guarantee, change it, or list who sees an account.")
@click.argument("name")
@click.option("--currency", default="", metavar="CODE", help="Currency of the limit, such as EUR; needed to open it.")
@click.option("--limit", metavar="AMOUNT", help="Limit of the account, such as 50000.00.")
@click.option("--no-limit", is_flag=True, help="Remove the limit.")
@click.option("--holder", default="", help="Name of the holder.")
@click.option("--closed", is_flag=True, help="Close it: it secures no new debts.")
@click.option("--reopen", is_flag=True, help="Open it again.")
@click.option(
    "--filer",
    "filers",
    multiple=True,
    metavar="ID",
    help="A filer that may draw on it; replaces the list; may be repeated.",
)
@click.option("--add-filer", "adds", multiple=True, metavar="ID", help="A filer to add to the list.")
@click.option("--drop-filer", "drops", multiple=True, metavar="ID", help="A filer to remove from the list.")
@click.option(
    "--no-filers",
    is_flag=True,
    help="Remove all filers; the filer in the name of a deferred account may still draw on it.",
)
@acting("officer")
def account(
    context: Context,
    name: str,
    currency: str,
    limit: str | None,
    no_limit: bool,
    holder: str,
    closed: bool,
    reopen: bool,
    filers: tuple[str, ...],
    adds: tuple[str, ...],
    drops: tuple[str, ...],
    no_filers: bool,
    ident: str,
) -> None:
    """Open NAME, such as deferred:carrier-7 or guarantee:26DEG0000001, or change it; options that are absent change nothing.

    The filers of an account of a vendor or carrier, such as vendor:IM2760000014, see its statements and closes.
    """
    from libs.client.revenue.ledger import opened_accounts, put_account
    from luxor.revenue.v1.ledger_pb2 import Account

    if no_limit and limit is not None:
        raise click.UsageError("--limit and --no-limit exclude each other.")
    if closed and reopen:
        raise click.UsageError("--closed and --reopen exclude each other.")
    if filers and no_filers:
        raise click.UsageError("--filer and --no-filers exclude each other.")
    if (adds or drops) and (filers or no_filers):
        raise click.UsageError("--add-filer and --drop-filer change the list; --filer and --no-filers replace it.")
    change = Account(name=name, currency=currency, holder=holder, closed=closed, filers=filers)
    change.adds_filers.extend(adds)
    change.drops_filers.extend(drops)
    stated = {
        "currency": bool(currency),
        "limit_minor": no_limit or limit is not None,
        "closed": closed or reopen,
        "holder": bool(holder),
        "filers": no_filers or bool(filers),
    }
    fields = [field for field, is_stated in stated.items() if is_stated]

    if limit is not None and currency:
        change.limit_minor = _limit(limit, currency)

    async def work() -> dict[str, Any]:
        async with context.client("officer", ident) as client:
            if limit is not None and not currency:
                currencies = {each["name"]: each["currency"] async for each in opened_accounts(client, prefix=name)}
                change.currency = currencies.get(name, "")
                if not change.currency:
                    raise click.UsageError("--limit needs --currency if the account is not open yet.")
                change.limit_minor = _limit(limit, change.currency)
            return await put_account(client, change, fields)

    result = run(work())
    context.emit(result, lambda terminal: show_account(terminal, result))


def _limit(text: str, currency: str) -> int:
    from libs.customs.money import MoneyError, parse_minor

    try:
        return parse_minor(text, currency)
    except (MoneyError, ValueError) as error:
        raise click.BadParameter(str(error), param_hint="--limit") from None


@command("accounts", short_help="List the deferred accounts and guarantees.")
@click.argument("name", default="")
@click.option(
    "--used-above",
    type=click.IntRange(0, 100),
    metavar="PERCENT",
    help="Only accounts that use more than this part of their limit, such as 80.",
)
@acting("analyst")
def accounts(context: Context, name: str, used_above: int | None, ident: str) -> None:
    """List currency, limit, use, holder and filers of the accounts whose names begin with NAME, such as deferred:.

    With --used-above, accounts without a limit are left out.
    """
    from libs.client.revenue.ledger import opened_accounts

    async def work() -> list[dict[str, Any]]:
        async with context.client("analyst", ident) as client:
            return [each async for each in opened_accounts(client, prefix=name)]

    rows = run(work())
    if used_above is not None:
        opened = bool(rows)
        rows = [
            each
            for each in rows
            if each["limit_minor"] is not None and each["used_minor"] * 100 > each["limit_minor"] * used_above
        ]
        if opened and not rows and not context.as_json:
            click.echo(f"No account uses more than {used_above} % of its limit.")
            return
    context.emit({"accounts": rows}, lambda terminal: show_accounts(terminal, rows))


@command("open-items", short_help="List the open items of an account.")
@click.argument("name")
@acting("analyst")
def open_items(context: Context, name: str, ident: str) -> None:
    """List the open items of NAME, such as declarant:DE1234567890 or border:DE, oldest first in each currency."""
    from libs.client.revenue import ledger

    async def work() -> list[dict[str, Any]]:
        async with context.client("analyst", ident) as client:
            return [each async for each in ledger.open_consignments(client, name)]

    rows = run(work())
    context.emit({"consignments": rows}, lambda terminal: show_open_items(terminal, rows))


def _owner_option() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare --as for commands in which a treasury, filer or carrier sees its own accounts."""
    return caller_option(
        "The caller: an analyst; or a treasury, filer or carrier, which sees only its own accounts, such as treasury/DE.",
        "analyst",
    )


def _caller(caller: str) -> tuple[str, str]:
    role, own = caller_of(caller, ("analyst", *OWN_ACCOUNTS))
    if not own and role in OWN_ACCOUNTS:
        raise click.BadParameter(f"Give the id of the {role}, such as {role}/ID.", param_hint="--as")
    return role, own


@command("balances", short_help="Show the balances of accounts, now or at an earlier moment.")
@click.option("--prefix", default="", help="Only accounts with names that begin with this, such as deferred:.")
@click.option("--at", "at_text", metavar="MOMENT", help="A moment such as 2026-11-01T00:00:00Z (default: now).")
@_owner_option()
def balances(context: Context, prefix: str, at_text: str | None, caller: str) -> None:
    """Show debits, credits and balances by account and currency. A positive balance is owed by the holder.

    A treasury, filer or carrier sees its own accounts: --as treasury/DE.
    """
    from libs.client.revenue import ledger
    from libs.customs.time import parse_instant

    try:
        at = None if at_text is None else parse_instant(at_text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--at") from None

    role, own = _caller(caller)

    async def work() -> list[dict[str, Any]]:
        async with context.client(role, own) as client:
            return await ledger.balances(client, prefix=prefix, at_micros=at)

    rows = run(work())
    context.emit({"balances": rows}, lambda terminal: show_balances(terminal, rows))


@command("entries", short_help="List the entries of a consignment or an account.")
@click.argument("subject", metavar="MRN|ACCOUNT")
@click.option("--from", "from_text", metavar="DAY", help="First day, for an account (default: a week ago).")
@click.option("--to", "to_text", metavar="DAY", help="Last day, for an account (default: today).")
@acting("analyst")
def entries(context: Context, subject: str, from_text: str | None, to_text: str | None, ident: str) -> None:
    """List the entries of a consignment or of an account such as vendor:IM2760000014, in their order, with their postings."""
    from libs.client.revenue import ledger

    first, last = days_of(from_text, to_text)

    async def work() -> list[dict[str, Any]]:
        async with context.client("analyst", ident) as client:
            if ":" in subject:
                pages = ledger.entries(client, account=subject, from_day=first, to_day=last)
            else:
                pages = ledger.entries(client, mrn=subject)
            return [each async for each in pages]

    rows = run(work())
    context.emit({"entries": rows}, lambda terminal: show_entries(terminal, rows))


@command("statement", short_help="Show an account's statement for a month.")
@click.argument("name")
@click.argument("month", required=False)
@click.option("--currency", default="", metavar="CODE", help="Currency of the account (default: its only one).")
@click.option("--lines", "with_lines", is_flag=True, help="Show each line, in addition to the totals.")
@_owner_option()
def statement(context: Context, name: str, month: str | None, currency: str, with_lines: bool, caller: str) -> None:
    """Show the statement of NAME, such as vendor:IM2760000014, for MONTH (2026-11; default: this month).

    It has the opening balance, debits, credits and the closing balance. For a vendor's scheme number, compare the owner's tax return with it.
    --json prints all lines. A treasury, filer or carrier sees its own accounts: --as treasury/DE.
    """
    from libs.client.revenue import ledger

    chosen_month = month or dt.datetime.now(dt.UTC).strftime("%Y-%m")

    role, own = _caller(caller)

    async def work() -> dict[str, Any]:
        async with context.client(role, own) as client:
            return await ledger.statement(client, name, currency, chosen_month)

    result = run(work())
    context.emit(result, lambda terminal: show_statement(terminal, result, with_lines))


@command("payments", short_help="Post payments from a CSV.")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@acting("officer")
def payments(context: Context, path: Path, ident: str) -> None:
    """Post the payments of the CSV file PATH and show what each paid.

    Columns: id (the bank's), reference (an MRN or an account), jurisdiction, currency, amount such as 12.50, and optionally reverses_id
    (the id of a payment that the bank reversed). A payment is posted only once. Exits with 1 if one is refused.
    """
    from libs.client.revenue.ledger import read_payments, record_payments

    read = read_payments(path)
    if not read:
        fail("FILE_EMPTY", f"{path} has no payments.", "Write a line for each payment.", as_json=context.as_json)

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await record_payments(client, read)

    rows = run(work())
    context.emit({"payments": rows}, lambda terminal: show_payments(terminal, rows))
    if any(each["outcome"] == "REFUSED" for each in rows):
        raise click.exceptions.Exit(REFUSED)


@command("unmatched", short_help="List payments that match no open item.")
@acting("officer")
def unmatched(context: Context, ident: str) -> None:
    """List payments with a reference that matches no open item and that were neither reversed nor returned.

    A payment that names an MRN pays the debt of that MRN when it arises. To pay debts that an account secures, use the account's name as the
    reference. Correct other payments with a reversal and a new posting (`luxor revenue payments`), or return them to their payers
    (`luxor revenue payouts`).
    """
    from libs.client.revenue.ledger import iterate_payments

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return [each async for each in iterate_payments(client, unmatched=True)]

    rows = run(work())
    context.emit({"payments": rows}, lambda terminal: show_unmatched(terminal, rows))


def show_unmatched(terminal: "Console", rows: list[dict[str, Any]]) -> None:
    """Print payments that no debt was found for."""
    from libs.cli.views.text import money, print_words, safe, table, when

    if not rows:
        terminal.print("Every payment is matched.")
        return
    shown = table("posted", "jurisdiction", "payment", "reference", "amount", right=(4,))
    for each in rows:
        names = (safe(each.get(name, "")) for name in ("jurisdiction", "id", "reference"))
        shown.add_row(when(each["booked_at"]), *names, money(each["amount_minor"], each["currency"]))
    print_words(terminal, shown)
    _errors(terminal, rows)


def show_account(terminal: "Console", result: dict[str, Any]) -> None:
    """Print an account as it was changed."""
    from libs.cli.views.text import money, safe

    limit = (
        "without limit"
        if result["limit_minor"] is None
        else f"up to {money(result['limit_minor'], result['currency'])}"
    )
    terminal.print(
        f"{safe(result['name'])} is {'closed' if result['closed'] else f'open {limit}'}; {_filers_text(result)}."
    )


def _filers_text(result: dict[str, Any]) -> str:
    """Return the filers that may draw on an account, in words."""
    from libs.cli.views.text import safe

    is_deferred = result["name"].startswith("deferred:")
    names = [safe(result["name"].removeprefix("deferred:"))] if is_deferred else []
    names += [name for name in map(safe, result["filers"]) if name not in names]
    return f"filers: {', '.join(names)}" if names else "no filer may draw on it yet: use --add-filer"


def show_accounts(terminal: "Console", rows: list[dict[str, Any]]) -> None:
    """Print accounts with their limits, holders and filers."""
    from libs.cli.views.text import money, safe, table

    if not rows:
        terminal.print("There is no such account; `luxor revenue account NAME --currency CODE` opens one.")
        return
    shown = table("account", "limit", "used", "holder", "filers", "state", right=(1, 2))
    for each in rows:
        limit = "none" if each["limit_minor"] is None else money(each["limit_minor"], each["currency"])
        used, state = money(each["used_minor"], each["currency"]), "closed" if each["closed"] else "open"
        filers = ", ".join(map(safe, each["filers"][:FILERS_SHOWN]))
        more = len(each["filers"]) - FILERS_SHOWN
        filers += f" and {more} more" if more > 0 else ""
        shown.add_row(safe(each["name"]), limit, used, safe(each["holder"]), filers, state)
    terminal.print(shown)


def show_open_items(terminal: "Console", rows: list[dict[str, Any]]) -> None:
    """Print open items."""
    from libs.cli.views.text import money, safe, table

    if not rows:
        terminal.print("There are no open items.")
        return
    shown = table("accepted", "consignment", "open", right=(2,))
    for each in rows:
        shown.add_row(each["day"], safe(each["mrn"]), money(each["amount_minor"], each["currency"]))
    terminal.print(shown)


def show_balances(terminal: "Console", rows: list[dict[str, Any]]) -> None:
    """Print balances."""
    from libs.cli.views.text import money, safe, table

    if not rows:
        terminal.print("There are no postings on such an account.")
        return
    shown = table("account", "debits", "credits", "balance", right=(1, 2, 3))
    for each in rows:
        amounts = (each.get(name, 0) for name in ("debit_minor", "credit_minor", "balance_minor"))
        shown.add_row(safe(each["account"]), *(money(amount, each["currency"]) for amount in amounts))
    terminal.print(shown)


def show_entries(terminal: "Console", rows: list[dict[str, Any]]) -> None:
    """Print entries with their postings."""
    from libs.cli.views.text import money, print_words, safe, table, when

    if not rows:
        terminal.print("There are no entries.")
        return
    shown = table("posted", "entry", "consignment", "account", "charge", "debit", "credit", right=(5, 6))
    for each in rows:
        kind, mrn = _entry(each, "kind"), safe(each.get("mrn", ""))
        for place, posting in enumerate(each["postings"]):
            amount = posting["amount_minor"]
            sides = (money(amount, each["currency"]), "") if amount > 0 else ("", money(-amount, each["currency"]))
            head = (when(each["booked_at"]), kind, mrn) if place == 0 else ("", "", "")
            shown.add_row(*head, safe(posting["account"]), KINDS.get(posting.get("kind", ""), ""), *sides)
    print_words(terminal, shown)


def _entry(result: dict[str, Any], name: str) -> str:
    """Return the kind of an entry, the kind that it reverses, and its reference: "reversed paid out out-7"."""
    from libs.cli.views.text import safe, short, words

    kinds = [words(short(str(result[each]), "ENTRY_KIND_")) for each in (name, "reverses") if each in result]
    return " ".join([*kinds, safe(result["reference"])] if "reference" in result else kinds)


def show_statement(terminal: "Console", result: dict[str, Any], with_lines: bool) -> None:
    """Print a statement of an account."""
    from libs.cli.views.text import money, safe, table, when

    currency = result["currency"]
    terminal.print(f"{safe(result['account'])}, {result['month']}, {currency}")
    shown = table("", "amount", right=(1,))
    shown.add_row("opening balance", money(result["opening_minor"], currency))
    shown.add_row("debits", money(result["debit_minor"], currency))
    shown.add_row("credits", money(-result["credit_minor"], currency))
    shown.add_row("closing balance", money(result["closing_minor"], currency))
    terminal.print(shown)
    if result["totals"]:
        totals = table("destination", "charge", "consignments", "amount", right=(2, 3))
        for each in result["totals"]:
            kind = KINDS.get(each.get("kind", ""), "payments and transfers")
            count, amount = each.get("consignments", 0), each.get("amount_minor", 0)
            # Payments and transfers belong to the account, not to consignments.
            count_text = f"{count:,}" if count or each.get("kind") in KINDS else ""
            totals.add_row(safe(each.get("destination", "")), kind, count_text, money(amount, currency))
        terminal.print(totals)
    if with_lines and result["lines"]:
        lines = table("posted", "entry", "consignment", "charge", "amount", right=(4,))
        for each in result["lines"]:
            lines.add_row(
                when(each["booked_at"]),
                _entry(each, "entry_kind"),
                safe(each.get("mrn", "")),
                KINDS.get(each.get("kind", ""), ""),
                money(each["amount_minor"], currency),
            )
        terminal.print(lines)


def show_payments(terminal: "Console", rows: list[dict[str, Any]]) -> None:
    """Print what became of each payment."""
    from libs.cli.views.text import money, print_words, safe, table

    shown = table("payment", "outcome", "account", "amount", "applied", "unapplied", "open", right=(3, 4, 5, 6))
    for each in rows:
        amounts = (each.get(name, 0) for name in ("amount_minor", "matched_minor", "unapplied_minor", "open_minor"))
        outcome = each["outcome"].lower().replace("_", " ")
        texts = (money(amount, each["currency"]) for amount in amounts)
        shown.add_row(safe(each.get("id", "")), outcome, safe(each.get("account", "")), *texts)
    print_words(terminal, shown)
    _errors(terminal, rows)


def _errors(terminal: "Console", rows: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import safe
    from libs.server.catalogue import command_hint

    for each in rows:
        if "error" in each:
            error = each["error"]
            terminal.print(f"[bold red]{error['reason']}[/]  {safe(each.get('id', ''))}: {safe(error['message'])}")
            terminal.print(f"  [dim]→[/] {safe(command_hint(error['reason'], error['hint']))}")
