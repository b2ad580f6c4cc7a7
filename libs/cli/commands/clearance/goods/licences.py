"""`luxor licence`: the register of licences and certificates, for partner agencies and officers."""

from typing import TYPE_CHECKING, Any

import click

from libs.cli.commands.clearance.officer import act
from libs.cli.common import REFUSED, Context, caller_of, caller_option, command, run

if TYPE_CHECKING:
    from rich.console import Console

AUTHORITIES = ("officer", "agency")


@click.group("licence", short_help="Register licences, list their uses, and write them off.")
def licence() -> None:
    """Register licences and certificates, list their uses, and write them off for held goods.

    An agency changes and reads its own licences; officers change those of customs and read all. Every command has --json, for programs.
    """


@command("put", group=licence, short_help="Register a licence, or change it.")
@click.argument("kind", metavar="TYPE")
@click.argument("number")
@click.option("--holder", required=True, help="Identifier of the importer, as filings state it.")
@click.option("--jurisdiction", required=True, help="Where it is valid, such as EU.")
@click.option("--from-day", required=True, metavar="DAY", help="First day of acceptance.")
@click.option("--to-day", required=True, metavar="DAY", help="Last day of acceptance.")
@click.option("--goods", multiple=True, required=True, metavar="CODE", help="Beginning of a commodity code; repeat it.")
@click.option("--quantity", metavar="NUMBER", help="How much may be imported, such as 2.5 (default: not limited).")
@click.option("--unit", default="", help="Unit of the quantity, such as KGM.")
@click.option("--if-version", type=click.IntRange(1), default=None, help="Change the licence if it has this version.")
@caller_option("The caller: an officer, or the agency.")
def put(
    context: Context,
    kind: str,
    number: str,
    holder: str,
    jurisdiction: str,
    from_day: str,
    to_day: str,
    goods: tuple[str, ...],
    quantity: str | None,
    unit: str,
    if_version: int | None,
    caller: str,
) -> None:
    """Register licence NUMBER of a TYPE, as filings cite both; --if-version changes a registered one."""
    from libs.client.clearance.goods import licences

    if (quantity is None) != (not unit):
        raise click.UsageError("Give --quantity and --unit, or neither for a licence without limit.")
    try:
        limit = None if quantity is None else licences.millionths(quantity)
    except ValueError as error:
        raise click.UsageError(f"--quantity: {error}.") from None
    made = licences.licence_of(
        kind,
        number,
        holder=holder,
        jurisdiction=jurisdiction,
        from_day=from_day,
        to_day=to_day,
        goods=goods,
        quantity_millionths=limit,
        unit=unit,
        version=if_version or 0,
    )
    _change(context, "licences", made, caller)


@command("revoke", group=licence, short_help="Revoke a licence.")
@click.argument("kind", metavar="TYPE")
@click.argument("number")
@click.option("--if-version", type=click.IntRange(1), required=True, help="The version that you saw.")
@click.option("--reason", required=True, help="Stable reason, UPPER_SNAKE_CASE.")
@caller_option("The caller: an officer, or the agency.")
def revoke(context: Context, kind: str, number: str, if_version: int, reason: str, caller: str) -> None:
    """Revoke licence NUMBER of a TYPE for good; what was written off stays."""
    from libs.client.clearance.goods import licences

    made = licences.revocation_of(kind, number, version=if_version, reason=reason)
    _change(context, "revocations", made, caller)


@command("write-off", group=licence, short_help="Write a licence off for an item that is held for it.")
@click.argument("mrn")
@click.argument("item", type=click.IntRange(1, 99_999))
@click.argument("kind", metavar="TYPE")
@click.argument("number")
@caller_option("The caller: an officer, or the agency.")
def write_off(context: Context, mrn: str, item: int, kind: str, number: str, caller: str) -> None:
    """Write licence NUMBER of a TYPE off for ITEM of MRN; the request ends once no item lacks a licence."""
    from libs.client.clearance.goods import licences

    role, ident = caller_of(caller, AUTHORITIES)

    act(
        context,
        role,
        ident,
        lambda client: licences.carry_out(client, "items", [licences.write_off_of(mrn, item, kind, number)]),
    )


@command("list", group=licence, short_help="List licences.")
@click.option("--authority", default="", metavar="ID", help="Only of this agency; customs for those of customs.")
@click.option("--holder", default="", help="Only of this holder.")
@caller_option("The caller: an officer, or the agency.")
def list_(context: Context, authority: str, holder: str, caller: str) -> None:
    """List licences by authority, type and number, with what is written off."""
    from libs.client.clearance.goods import licences

    role, ident = caller_of(caller, AUTHORITIES)

    async def work() -> list[dict[str, Any]]:
        async with context.client(role, ident) as client:
            return await licences.licences(client, authority=authority, holder=holder)

    registered = run(work())
    context.emit(registered, lambda terminal: _show(terminal, registered))


@command("uses", group=licence, short_help="List what was written off from a licence.")
@click.argument("kind", metavar="TYPE")
@click.argument("number")
@click.option(
    "--authority", default="", metavar="ID", help="The agency that issued it (default: customs, or the caller)."
)
@caller_option("The caller: an officer, or the agency.")
def uses(context: Context, kind: str, number: str, authority: str, caller: str) -> None:
    """List the uses of licence NUMBER of a TYPE, the first one first."""
    from libs.client.clearance.goods import licences

    role, ident = caller_of(caller, AUTHORITIES)

    async def work() -> list[dict[str, Any]]:
        async with context.client(role, ident) as client:
            return await licences.uses(client, kind, number, authority=authority)

    recorded = run(work())
    context.emit(recorded, lambda terminal: _show_uses(terminal, recorded))


def _change(context: Context, field: str, entry: Any, caller: str) -> None:
    from libs.client.clearance.goods import licences

    role, ident = caller_of(caller, AUTHORITIES)

    async def work() -> list[dict[str, Any]]:
        async with context.client(role, ident) as client:
            return await licences.carry_out(client, field, [entry])

    (result,) = run(work())

    def show(terminal: "Console") -> None:
        from libs.cli.views.text import refusal

        terminal.print(refusal(result) or f"The licence is at version {result.get('version', 0)}.")

    context.emit(result, show)
    if result.get("error"):
        raise click.exceptions.Exit(REFUSED)


def _show(terminal: "Console", entries: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import print_words, safe, table
    from libs.client.clearance.goods.licences import decimals

    shown = table("licence", "holder", "goods", "valid", "written off", "version", right=(4, 5))
    for each in entries:
        if each.get("unlimited"):
            used = "not limited"
        else:
            written_off, quantity = (
                decimals(each.get("written_off_millionths", 0)),
                decimals(each["quantity_millionths"]),
            )
            used = f"{written_off} of {quantity} {each['unit']}"
        shown.add_row(
            f"{safe(each['type'])} {safe(each['number'])}\n[dim]{safe(each.get('authority', '') or 'customs')}[/]",
            safe(each["holder"]),
            " ".join(each["goods"]),
            f"{each['from_day']} –\n{each['to_day']}" + ("\nrevoked" if each.get("revoked_at") else ""),
            used,
            str(each["version"]),
        )
    print_words(terminal, shown)


def _show_uses(terminal: "Console", entries: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import minute, print_words, table
    from libs.client.clearance.goods.licences import decimals

    shown = table("MRN", "item", "quantity", "written off", "restored", right=(1, 2))
    for each in entries:
        quantity = each.get("quantity_millionths")
        shown.add_row(
            each["mrn"],
            str(each["item_number"]),
            "–" if quantity is None else decimals(quantity),
            minute(each["used_at"]),
            minute(each.get("restored_at", "")) or "–",
        )
    print_words(terminal, shown)
