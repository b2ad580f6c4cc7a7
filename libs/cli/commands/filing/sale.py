"""`luxor sale`: files and shows sales, which platforms file when they are paid."""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, caller_of, caller_option, command, fail, run

if TYPE_CHECKING:
    from rich.console import Console

_CALLER = "Who calls: a filer, who sees its own sales, or an officer."


@click.group("sale", short_help="File the sales of a platform, and show what they cost.")
def sale() -> None:
    """File the sales of a platform when they are paid, before their goods are sent, and show the landed cost of each.

    Every command has --json, for programs.
    """


@command("file", group=sale, short_help="File sales from JSON Lines.")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@acting("filer")
def file(context: Context, path: Path, ident: str) -> None:
    """File the sales of PATH, one JSON object in each line with the fields of luxor.revenue.v1.Sale.

    If you file it again, you get the same answers and nothing is filed twice. Exits with 1 if a sale is refused; the others are filed.
    """
    from libs.client.revenue.sales import file_sales, read_sales

    sales, errors = read_sales(path)
    if not sales and not errors:
        fail("FILE_EMPTY", f"{path} has no sales.", "Write one sale in each line.", as_json=context.as_json)

    async def work() -> list[dict[str, Any]]:
        async with context.client("filer", ident) as client:
            return await file_sales(client, [each for each, _ in sales])

    results = run(work()) if sales else []
    rows: list[dict[str, Any]] = [
        {"line": line, "order_number": filed.order_number} | result
        for (filed, line), result in zip(sales, results, strict=True)
    ]
    rows += [
        {
            "line": each.line,
            "order_number": each.reference,
            "status": "SALE_STATUS_REFUSED",
            "error": {"reason": each.reason, "path": each.element, "message": each.sentence, "hint": each.hint},
        }
        for each in errors
    ]
    rows.sort(key=lambda each: int(each["line"]))
    context.emit({"sales": rows}, lambda terminal: _show_filed(terminal, rows))
    if any("error" in each for each in rows):
        raise click.exceptions.Exit(REFUSED)


@command("show", group=sale, short_help="Show sales with each charge and its law.")
@click.argument("order_numbers", metavar="ORDER...", nargs=-1, required=True)
@click.option("--platform", default="", metavar="ID", help="Platform of the orders; officers must name it.")
@caller_option(_CALLER, "filer")
def show(context: Context, order_numbers: tuple[str, ...], platform: str, caller: str) -> None:
    """Show the sales with these order numbers in their current version: what they cost, who owes it and who collects it."""
    rows = _sales(context, platform, order_numbers, caller)
    found = {each["sale"]["order_number"] for each in rows}
    missing = [each for each in order_numbers if each not in found]
    context.emit({"sales": rows, "missing": missing}, lambda terminal: _show(terminal, rows, missing))
    if missing:
        raise click.exceptions.Exit(REFUSED)


@command("list", group=sale, short_help="List the sales of a platform.")
@click.option("--platform", default="", metavar="ID", help="The platform; officers must name it.")
@click.option("--contradicted", is_flag=True, help="Only sales that a consignment contradicts, of the last 1,000.")
@click.option("--state", type=click.Choice(("open", "declared", "expired")), help="Only sales in this state.")
@caller_option(_CALLER, "filer")
def list_(context: Context, platform: str, contradicted: bool, state: str | None, caller: str) -> None:
    """List the sales of a platform in the order of filing, each in its current version.

    A sale is declared when a consignment under its order number or a house document was assessed, and expired when none was for as long as
    customs waits.
    """
    rows = _sales(context, platform, (), caller, contradicted=contradicted, state=state or "")
    context.emit({"sales": rows}, lambda terminal: _list(terminal, rows, is_part=contradicted or state is not None))


def _sales(
    context: Context,
    platform: str,
    order_numbers: tuple[str, ...],
    caller: str,
    *,
    contradicted: bool = False,
    state: str = "",
) -> list[dict[str, Any]]:
    from libs.client.revenue.sales import sales_of

    role, ident = caller_of(caller, ("filer", "officer"))

    async def work() -> list[dict[str, Any]]:
        async with context.client(role, ident) as client:
            return await sales_of(client, platform, order_numbers, contradicted=contradicted, state=state)

    return run(work())


def _show_filed(terminal: "Console", rows: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import safe
    from libs.server.catalogue import command_hint

    accepted = [each["receipt"] for each in rows if "receipt" in each]
    _table(terminal, [{"receipt": each} for each in accepted])
    terminal.print(f"{len(accepted):,} accepted, {len(rows) - len(accepted):,} refused")
    for each in (each for each in rows if "error" in each):
        error = each["error"]
        head = f"[bold red]{error['reason']}[/]  line {each['line']}, {safe(each['order_number'])}"
        terminal.print(f"{head}: {safe(error['message'])}", soft_wrap=True)
        terminal.print(f"  [dim]→[/] {safe(command_hint(error['reason'], error['hint']))}", soft_wrap=True)


def _show(terminal: "Console", rows: list[dict[str, Any]], missing: list[str]) -> None:
    from libs.cli.commands.filing.quote import show_cost
    from libs.cli.views.text import safe, when

    for each in rows:
        receipt = each["receipt"]
        head = f"\n[bold]{safe(receipt['platform'])} {safe(receipt['order_number'])}[/]  version {receipt['version']}"
        terminal.print(
            f"{head}, filed {when(receipt['filed_at'])}, paid {when(each['sale']['paid_at'])}, {_state(each)}",
            soft_wrap=True,
        )
        show_cost(terminal, receipt["landed_cost"])
        if named := each["sale"].get("house_documents"):
            terminal.print(f"  house documents: {', '.join(_document(one) for one in named)}", soft_wrap=True)
        consignments = each.get("consignments", ())
        if (count := each.get("consignments_count", 0)) > len(consignments):
            terminal.print(f"  The last {len(consignments):,} of {count:,} consignments:")
        for consignment in consignments:
            _show_consignment(terminal, consignment)
    for number in missing:
        terminal.print(f"There is no sale {safe(number)} for the caller.", soft_wrap=True)


def _show_consignment(terminal: "Console", consignment: dict[str, Any]) -> None:
    """Show a consignment of the order, and each contradiction with both values."""
    from libs.cli.views.text import safe
    from libs.client.revenue.sales import EXPIRED, NOT_COMPARED, OTHER_ORDER

    ended = ", withdrawn or amended" if consignment.get("withdrawn") else ""
    head = f"  consignment {safe(consignment['mrn'])}, version {consignment['filing_version']}{ended}"
    if "house_document" in consignment:
        head += f", of house document {_document(consignment['house_document'])}"
    terminal.print(f"{head}, compared with version {consignment['sale_version']} of the sale", soft_wrap=True)
    for each in consignment.get("findings", ()):
        if each["reason"] in NOT_COMPARED:
            subject = "the values of both" if each["reason"] == NOT_COMPARED[0] else "the payment and the sale"
            terminal.print(f"    {each['reason']}  {subject} could not be compared")
            continue
        values = f"declared {_value(each, 'declared')}, sold {_value(each, 'sold')}"
        if each["reason"] == EXPIRED:
            values = f"declared on {each['declared']}, the sale expired after {each['sold']}"
        elif each["reason"] == OTHER_ORDER:
            values = f"declared under the order {each['declared']}, its house document is of the order {each['sold']}"
        terminal.print(f"    [bold red]{each['reason']}[/]  {safe(values)}", soft_wrap=True)


def _document(document: dict[str, Any]) -> str:
    """Return a house document with its carrier."""
    from libs.cli.views.text import safe

    return f"{safe(document['number'])} of {safe(document['carrier_identifier'])}"


def _value(finding: dict[str, Any], name: str) -> str:
    """Return one side of a contradiction; amounts are in minor units there, and quantities in thousandths."""
    from libs.cli.views.text import money

    text: str = finding.get(name, "")
    number, _, unit = text.partition(" ")
    if finding["reason"] in ("SALE_VALUE_DIFFERS", "SALE_PAYMENT_DIFFERS"):
        return money(int(number), unit)
    if finding["reason"] == "SALE_QUANTITY_EXCEEDED":
        return f"{(Decimal(number) / 1000).normalize():f} {unit}"
    return text or "nothing"


def _list(terminal: "Console", rows: list[dict[str, Any]], *, is_part: bool) -> None:
    if not rows:
        terminal.print(
            "The platform has no such sales."
            if is_part
            else "The platform has no sales; `luxor sale file PATH` files them."
        )
        return
    _table(terminal, rows)


def _state(sale: dict[str, Any]) -> str:
    return str(sale.get("state", "")).removeprefix("SALE_STATE_").lower()


def _table(terminal: "Console", sales: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import minute, money, print_whole, safe, table

    if not sales:
        return
    stored = any("state" in each for each in sales)
    last = ("state",) if stored else ()
    shown = table("order", "version", "filed", "landed cost", "at the sale", "on import", *last, right=(1, 3, 4, 5))
    for sale_ in sales:
        each = sale_["receipt"]
        cost = each["landed_cost"]
        names = ("landed_cost_minor", "vendor_collected_minor", "payable_minor")
        amounts = [money(cost.get(name, 0), cost.get("currency", "")) for name in names]
        state = (_state(sale_),) if stored else ()
        shown.add_row(safe(each["order_number"]), str(each["version"]), minute(each["filed_at"]), *amounts, *state)
    print_whole(terminal, shown)
