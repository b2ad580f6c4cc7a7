"""`luxor return` and `luxor adjust`: goods that went back, and what an officer corrects."""

from collections.abc import Callable
from typing import Any

import click

from libs.cli.commands.clearance.officer import tell
from libs.cli.common import Context, acting, caller_of, command, run


@command("return", short_help="Tell that released goods went back or were destroyed.")
@click.argument("mrns", metavar="MRN...", nargs=-1, required=True)
@click.option(
    "--reason",
    required=True,
    metavar="REASON",
    help="undelivered, withdrawn, faulty, refused or destroyed; refunds depend on it.",
)
@click.option(
    "--document",
    default="",
    metavar="NUMBER",
    help="Transport document under which they go back; only what is destroyed has none.",
)
@click.option(
    "--item",
    "items",
    type=click.IntRange(1),
    multiple=True,
    metavar="N",
    help="Number of an item that went back, in place of all that is left; may be given several times.",
)
@click.option(
    "--seen",
    type=click.IntRange(1),
    metavar="VERSION",
    help="Only if MRN is still at the version that you looked at (luxor show tells it).",
)
@click.option(
    "--as",
    "caller",
    default="officer",
    metavar="ROLE, ROLE/ID or ID",
    show_default=True,
    help="Who calls: a filer of what it filed, a carrier of what it brought, or an officer.",
)
def return_(
    context: Context,
    mrns: tuple[str, ...],
    reason: str,
    document: str,
    items: tuple[int, ...],
    seen: int | None,
    caller: str,
) -> None:
    """Record that released goods went back, or were destroyed under supervision. Once nothing is left, that is the consignment's end."""
    from libs.client.clearance.corrections import record_returns, returned
    from libs.client.problem import Fault

    role, ident = caller_of(caller, ("officer", "filer", "carrier"))
    if seen is not None and len(mrns) > 1:
        raise click.UsageError("--seen is the version of one consignment: name one MRN")
    try:
        told = [returned(each, reason=reason, document=document, items=items, seen=seen) for each in mrns]
    except Fault as fault:
        raise click.UsageError(f"{fault.sentence} {fault.hint}") from None

    async def work() -> list[dict[str, Any]]:
        async with context.client(role, ident) as client:
            return await record_returns(client, told)

    tell(context, run(work()))


def _of_items(name: str, example: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        f"--{name}", name, multiple=True, metavar="N=VALUE", help=f"{text} of item N, such as {example}."
    )


@command("adjust", short_help="Correct value or goods, as an officer, and have them assessed again.")
@click.argument("mrn", metavar="MRN")
@_of_items("price", '"1=25.00 EUR"', "Price")
@_of_items("code", "1=610910", "Commodity code")
@_of_items("origin", "1=TR", "Country of origin")
@_of_items("quantity", "1=3", "Quantity")
@_of_items("unit", "1=C62", "Unit of the quantity")
@_of_items("mass", "1=0.25", "Net mass in kilograms")
@click.option("--freight", default="", metavar="AMOUNT", help='Freight of the consignment, such as "7.00 EUR".')
@click.option("--insurance", default="", metavar="AMOUNT", help="Insurance of the consignment, written as freight.")
@click.option("--note", default="", help="What is noted beside it; filers do not see it.")
@click.option(
    "--seen",
    type=click.IntRange(1),
    metavar="VERSION",
    help="Only if MRN is still at the version that you looked at (luxor show tells it).",
)
@acting("officer")
def adjust(
    context: Context,
    mrn: str,
    freight: str,
    insurance: str,
    note: str,
    seen: int | None,
    ident: str,
    **items: tuple[str, ...],
) -> None:
    """Correct value or goods, before release or after it: charges are replaced by what revenue computes then. It releases nothing."""
    from libs.client.clearance.corrections import adjust as correct
    from libs.client.clearance.corrections import adjustment
    from libs.client.problem import Fault

    if not (any(items.values()) or freight or insurance):
        raise click.UsageError(
            "tell what is corrected: --price, --code, --origin, --quantity, --unit, --mass, --freight, --insurance"
        )
    try:
        told = adjustment(mrn, items=items, freight=freight, insurance=insurance, note=note, seen=seen)
    except Fault as fault:
        raise click.UsageError(f"{fault.sentence} {fault.hint}") from None

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await correct(client, [told])

    tell(context, run(work()))
