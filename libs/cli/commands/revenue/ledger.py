"""`luxor revenue account, accounts, open, balances, entries, statement, payments, unmatched`: the ledger for those who look into it."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, caller_of, command, fail, run
from libs.cli.days import days_of

if TYPE_CHECKING:
    from rich.console import Console

FILERS_SHOWN = 3
"""So many names of an account's filers a table shows; --json tells all."""
OWN_ACCOUNTS = ("treasury", "filer", "carrier")
"""Roles that see balances and statements of their own accounts alone."""
KINDS = {"CHARGE_KIND_DUTY": "duty", "CHARGE_KIND_TAX": "tax", "CHARGE_KIND_FEE": "fee"}


@command("account", short_help="Open a deferred account or a guarantee, or change it.")
@click.argument("name")
@click.option("--currency", default="", metavar="CODE", help="Currency of the limit, such as EUR; needed to open it.")
@click.option("--limit", metavar="AMOUNT", help="What it may stand for at most, such as 50000.00.")
@click.option("--no-limit", is_flag=True, help="It may stand for anything.")
@click.option("--holder", default="", help="Who holds it, for people.")
@click.option("--closed", is_flag=True, help="Close it: nothing new is secured by it.")
@click.option("--reopen", is_flag=True, help="Open it again.")
@click.option(
    "--filer",
    "filers",
    multiple=True,
    metavar="ID",
    help="Who may draw on it; once for each, in the place of all before.",
)
@click.option("--add-filer", "adds", multiple=True, metavar="ID", help="Who may draw on it beside those before.")
@click.option("--drop-filer", "drops", multiple=True, metavar="ID", help="Who may draw on it no more.")
@click.option("--no-filers", is_flag=True, help="Nobody may draw on it but a filer that is its holder by its id.")
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
    """Open NAME, such as deferred:carrier-7 or guarantee:26DEG0000001, or change it; what is not stated stays as it is."""
    from libs.client.revenue.ledger import opened_accounts, put_account
    from luxor.revenue.v1.ledger_pb2 import Account

    if no_limit and limit is not None:
        raise click.UsageError("--limit and --no-limit exclude each other.")
    if closed and reopen:
        raise click.UsageError("--closed and --reopen exclude each other.")
    if filers and no_filers:
        raise click.UsageError("--filer and --no-filers exclude each other.")
    if (adds or drops) and (filers or no_filers):
        raise click.UsageError(
            "--add-filer and --drop-filer change those before; --filer and --no-filers take their place."
        )
    asked = Account(name=name, currency=currency, no_limit=no_limit, holder=holder, closed=closed, reopen=reopen)
    asked.filers.extend(filers)
    asked.adds_filers.extend(adds)
    asked.drops_filers.extend(drops)
    asked.no_filers = no_filers

    if limit is not None and currency:
        asked.limit_minor = _limit(limit, currency)

    async def work() -> dict[str, Any]:
        async with context.client("officer", ident) as client:
            if limit is not None and not currency:
                known = {each["name"]: each["currency"] async for each in opened_accounts(client, prefix=name)}
                asked.currency = known.get(name, "")
                if not asked.currency:
                    raise click.UsageError("--limit needs --currency where the account is not opened yet.")
                asked.limit_minor = _limit(limit, asked.currency)
            return await put_account(client, asked)

    told = run(work())
    context.emit(told, lambda out: _account(out, told))


def _limit(text: str, currency: str) -> int:
    from libs.customs.money import MoneyError, parse_minor

    try:
        return parse_minor(text, currency)
    except (MoneyError, ValueError) as error:
        raise click.BadParameter(str(error), param_hint="--limit") from None


@command("accounts", short_help="List the deferred accounts and guarantees.")
@click.argument("name", default="")
@acting("analyst")
def accounts(context: Context, name: str, ident: str) -> None:
    """List currency, limit, use, holder and filers of the accounts whose names begin with NAME, such as deferred:."""
    from libs.client.revenue.ledger import opened_accounts

    async def work() -> list[dict[str, Any]]:
        async with context.client("analyst", ident) as client:
            return [each async for each in opened_accounts(client, prefix=name)]

    told = run(work())
    context.emit({"accounts": told}, lambda out: _accounts(out, told))


@command("open", short_help="List the open items of an account.")
@click.argument("name")
@acting("analyst")
def open(context: Context, name: str, ident: str) -> None:  # noqa: A001 - the command is called so
    """List the consignments that NAME, such as declarant:DE1234567890 or border:DE, still owes, oldest first in each currency."""
    from libs.client.revenue import ledger

    async def work() -> list[dict[str, Any]]:
        async with context.client("analyst", ident) as client:
            return [each async for each in ledger.open_consignments(client, name)]

    told = run(work())
    context.emit({"consignments": told}, lambda out: _open(out, told))


def _whose() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare --as of commands in which a caller other than an analyst sees its own accounts."""
    return click.option(
        "--as",
        "caller",
        default="analyst",
        metavar="ID or ROLE/ID",
        help="Who calls: an analyst; or a treasury, filer or carrier, which sees its own accounts, such as treasury/DE.",
    )


def _caller(caller: str) -> tuple[str, str]:
    role, own = caller_of(caller, ("analyst", *OWN_ACCOUNTS))
    if not own and role in OWN_ACCOUNTS:
        raise click.BadParameter(f"Say which {role}, such as {role}/ID.", param_hint="--as")
    return role, own


@command("balances", short_help="Show the balances of accounts, now or at a past moment.")
@click.option("--prefix", default="", help="Only accounts whose names begin so, such as deferred:.")
@click.option("--at", "at_text", metavar="MOMENT", help="A moment such as 2026-11-01T00:00:00Z (default: now).")
@_whose()
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

    told = run(work())
    context.emit({"balances": told}, lambda out: _balances(out, told))


@command("entries", short_help="List the entries of a consignment or an account.")
@click.argument("of")
@click.option("--from", "from_text", metavar="DAY", help="First day, for an account (default: a week ago).")
@click.option("--to", "to_text", metavar="DAY", help="Last day, for an account (default: today).")
@acting("analyst")
def entries(context: Context, of: str, from_text: str | None, to_text: str | None, ident: str) -> None:
    """List the entries of OF, an MRN or an account such as vendor:IM2760000014, in their order, with their postings."""
    from libs.client.revenue import ledger

    first, last = days_of(from_text, to_text)

    async def work() -> list[dict[str, Any]]:
        async with context.client("analyst", ident) as client:
            if ":" in of:
                found = ledger.entries(client, account=of, from_day=first, to_day=last)
            else:
                found = ledger.entries(client, mrn=of)
            return [each async for each in found]

    told = run(work())
    context.emit({"entries": told}, lambda out: _entries(out, told))


@command("statement", short_help="Show an account's statement for a month.")
@click.argument("name")
@click.argument("month", required=False)
@click.option("--currency", default="", metavar="CODE", help="Currency of the account (default: its only one).")
@click.option("--lines", "with_lines", is_flag=True, help="With each line, not the sums alone.")
@_whose()
def statement(context: Context, name: str, month: str | None, currency: str, with_lines: bool, caller: str) -> None:
    """Show what NAME, such as vendor:IM2760000014, owed before MONTH (2026-11; default: this one), in it and after it.

    For a vendor's scheme number it is the list that its owner's return is checked against. With --json all lines are told. A treasury, filer or
    carrier sees its own accounts: --as treasury/DE.
    """
    from libs.client.revenue import ledger

    wanted = month or dt.datetime.now(dt.UTC).strftime("%Y-%m")

    role, own = _caller(caller)

    async def work() -> dict[str, Any]:
        async with context.client(role, own) as client:
            return await ledger.statement(client, name, currency, wanted)

    told = run(work())
    context.emit(told, lambda out: _statement(out, told, with_lines))


@command("payments", short_help="Book payments, from a CSV.")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@acting("officer")
def payments(context: Context, path: Path, ident: str) -> None:
    """Book the payments of the CSV file PATH and show what each paid.

    Columns: id (the bank's), reference (an MRN or an account), jurisdiction, currency, amount such as 12.50, reverses_id (the id of
    a payment that the bank takes back; may be left out). What was booked before is booked once. Exits with 1 where one is refused.
    """
    from libs.client.revenue.ledger import read_payments, record_payments

    read = read_payments(path)
    if not read:
        fail("FILE_EMPTY", f"{path} holds no payments.", "Write a line for each payment.", as_json=context.as_json)

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await record_payments(client, read)

    told = run(work())
    context.emit({"payments": told}, lambda out: _payments(out, told))
    if any(each["outcome"] == "REFUSED" for each in told):
        raise click.exceptions.Exit(REFUSED)


@command("unmatched", short_help="List payments that match no open item.")
@acting("officer")
def unmatched(context: Context, ident: str) -> None:
    """Tell the payments that name nothing known, or an MRN by which nothing is owed, and were neither taken back nor sent back.

    One that names an MRN pays the debt when that comes; what an account secures is paid by the account's name. Any other is set
    right by taking it back and booking it anew with its right reference, `luxor revenue payments`, or goes back to its payer,
    `luxor revenue payouts`.
    """
    from libs.client.revenue.ledger import listed_payments

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return [each async for each in listed_payments(client, unmatched=True)]

    told = run(work())
    context.emit({"payments": told}, lambda out: _unmatched(out, told))


def _unmatched(out: "Console", told: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import money, print_words, safe, table, when

    if not told:
        out.print("Every payment is matched.")
        return
    shown = table("booked", "jurisdiction", "payment", "reference", "amount", right=(4,))
    for each in told:
        names = (safe(each.get(name, "")) for name in ("jurisdiction", "id", "reference"))
        shown.add_row(when(each["booked_at"]), *names, money(each["amount_minor"], each["currency"]))
    print_words(out, shown)
    _errors(out, told)


def _account(out: "Console", told: dict[str, Any]) -> None:
    from libs.cli.views.text import money, safe

    limit = "without limit" if told["limit_minor"] is None else f"up to {money(told['limit_minor'], told['currency'])}"
    out.print(f"{safe(told['name'])} is {'closed' if told['closed'] else f'open {limit}'}; {_drawn_on_by(told)}.")


def _drawn_on_by(told: dict[str, Any]) -> str:
    """Say who may draw on an account."""
    from libs.cli.views.text import safe

    held = told["name"].startswith("deferred:")
    who = [safe(told["name"].removeprefix("deferred:"))] if held else []
    who += [name for name in map(safe, told["filers"]) if name not in who]
    return f"drawn on by {', '.join(who)}" if who else "drawn on by nobody yet: name who may with --add-filer"


def _accounts(out: "Console", told: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import money, safe, table

    if not told:
        out.print("No such account was opened; `luxor revenue account NAME --currency CODE` opens one.")
        return
    shown = table("account", "limit", "used", "holder", "filers", "state", right=(1, 2))
    for each in told:
        limit = "none" if each["limit_minor"] is None else money(each["limit_minor"], each["currency"])
        used, state = money(each["used_minor"], each["currency"]), "closed" if each["closed"] else "open"
        filers = ", ".join(map(safe, each["filers"][:FILERS_SHOWN]))
        more = len(each["filers"]) - FILERS_SHOWN
        filers += f" and {more} more" if more > 0 else ""
        shown.add_row(safe(each["name"]), limit, used, safe(each["holder"]), filers, state)
    out.print(shown)


def _open(out: "Console", told: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import money, safe, table

    if not told:
        out.print("Nothing is open.")
        return
    shown = table("accepted", "consignment", "open", right=(2,))
    for each in told:
        accepted = dt.date(1970, 1, 1) + dt.timedelta(days=each["day"])
        shown.add_row(accepted.isoformat(), safe(each["mrn"]), money(each["amount_minor"], each["currency"]))
    out.print(shown)


def _balances(out: "Console", told: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import money, safe, table

    if not told:
        out.print("Nothing was booked on such an account.")
        return
    shown = table("account", "debits", "credits", "balance", right=(1, 2, 3))
    for each in told:
        amounts = (each.get(name, 0) for name in ("debit_minor", "credit_minor", "balance_minor"))
        shown.add_row(safe(each["account"]), *(money(amount, each["currency"]) for amount in amounts))
    out.print(shown)


def _entries(out: "Console", told: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import money, print_words, safe, table, when

    if not told:
        out.print("Nothing was booked.")
        return
    shown = table("booked", "entry", "consignment", "account", "charge", "debit", "credit", right=(5, 6))
    for each in told:
        kind, mrn = _entry(each, "kind"), safe(each.get("mrn", ""))
        for place, posting in enumerate(each["postings"]):
            amount = posting["amount_minor"]
            sides = (money(amount, each["currency"]), "") if amount > 0 else ("", money(-amount, each["currency"]))
            head = (when(each["booked_at"]), kind, mrn) if place == 0 else ("", "", "")
            shown.add_row(*head, safe(posting["account"]), KINDS.get(posting.get("kind", ""), ""), *sides)
    print_words(out, shown)


def _entry(told: dict[str, Any], name: str) -> str:
    """Say what an entry is, what it undoes, and the bank's id of the payment or payout: "reversed paid out out-7"."""
    from libs.cli.views.text import safe, short, words

    kinds = [words(short(str(told[each]), "ENTRY_KIND_")) for each in (name, "reverses") if each in told]
    return " ".join([*kinds, safe(told["reference"])] if "reference" in told else kinds)


def _statement(out: "Console", told: dict[str, Any], with_lines: bool) -> None:
    from libs.cli.views.text import money, safe, table, when

    currency = told["currency"]
    out.print(f"{safe(told['account'])}, {told['month']}, {currency}")
    shown = table("", "amount", right=(1,))
    shown.add_row("owed before the month", money(told["opening_minor"], currency))
    shown.add_row("debits", money(told["debit_minor"], currency))
    shown.add_row("credits", money(-told["credit_minor"], currency))
    shown.add_row("owed after the month", money(told["closing_minor"], currency))
    out.print(shown)
    if told["sums"]:
        sums = table("destination", "charge", "consignments", "amount", right=(2, 3))
        for each in told["sums"]:
            kind = KINDS.get(each.get("kind", ""), "payments and transfers")
            count, amount = each.get("consignments", 0), each.get("amount_minor", 0)
            # Payments and transfers are of an account, and count no consignments.
            told_count = f"{count:,}" if count or each.get("kind") in KINDS else ""
            sums.add_row(safe(each.get("destination", "")), kind, told_count, money(amount, currency))
        out.print(sums)
    if with_lines and told["lines"]:
        lines = table("booked", "entry", "consignment", "charge", "amount", right=(4,))
        for each in told["lines"]:
            lines.add_row(
                when(each["booked_at"]),
                _entry(each, "entry_kind"),
                safe(each.get("mrn", "")),
                KINDS.get(each.get("kind", ""), ""),
                money(each["amount_minor"], currency),
            )
        out.print(lines)


def _payments(out: "Console", told: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import money, print_words, safe, table

    shown = table("payment", "outcome", "account", "amount", "applied", "unapplied", "open", right=(3, 4, 5, 6))
    for each in told:
        amounts = (each.get(name, 0) for name in ("amount_minor", "matched_minor", "unapplied_minor", "open_minor"))
        outcome = each["outcome"].lower().replace("_", " ")
        texts = (money(amount, each["currency"]) for amount in amounts)
        shown.add_row(safe(each.get("id", "")), outcome, safe(each.get("account", "")), *texts)
    print_words(out, shown)
    _errors(out, told)


def _errors(out: "Console", told: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import safe
    from libs.server.catalogue import command_hint

    for each in told:
        if "error" in each:
            error = each["error"]
            out.print(f"[bold red]{error['reason']}[/]  {safe(each.get('id', ''))}: {safe(error['message'])}")
            out.print(f"  [dim]→[/] {safe(command_hint(error['reason'], error['hint']))}")
