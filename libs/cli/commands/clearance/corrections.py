"""`luxor return` and `luxor adjust`: returned or destroyed goods, and corrections by officers."""

from collections.abc import Callable
from typing import Any

import click

from libs.cli.commands.clearance.officer import act
from libs.cli.common import Context, acting, caller_of, caller_option, command


@command("return", short_help="Report that released goods were returned or destroyed.")
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
    help="Transport document of the return; not needed for destroyed goods.",
)
@click.option(
    "--item",
    "items",
    type=click.IntRange(1),
    multiple=True,
    metavar="N",
    help="Number of a returned item (default: all remaining items); may be repeated.",
)
@click.option(
    "--if-version",
    type=click.IntRange(1),
    metavar="VERSION",
    help="Only if VERSION is still the current version of MRN (luxor show prints it).",
)
@caller_option("The caller: the filer, the carrier, or an officer.")
def return_(
    context: Context,
    mrns: tuple[str, ...],
    reason: str,
    document: str,
    items: tuple[int, ...],
    if_version: int | None,
    caller: str,
) -> None:
    """Record that released goods were returned, or destroyed under supervision. When no item remains, the consignment is final."""
    from libs.client.clearance.corrections import record_returns, returned
    from libs.client.row_errors import ElementError

    role, ident = caller_of(caller, ("officer", "filer", "carrier"))
    if if_version is not None and len(mrns) > 1:
        raise click.UsageError("--if-version is the version of one consignment: name one MRN")
    try:
        requests = [
            returned(each, reason=reason, document=document, items=items, expected_version=if_version) for each in mrns
        ]
    except ElementError as error:
        raise click.UsageError(f"{error.sentence} {error.hint}") from None

    act(context, role, ident, lambda client: record_returns(client, requests))


def _of_items(name: str, example: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        f"--{name}", name, multiple=True, metavar="N=VALUE", help=f"{text} of item N, such as {example}."
    )


@command("adjust", short_help="Correct value or goods, as an officer; they are assessed again.")
@click.argument("mrn", metavar="MRN")
@_of_items("price", '"1=25.00 EUR"', "Price")
@_of_items("code", "1=610910", "Commodity code")
@_of_items("origin", "1=TR", "Country of origin")
@_of_items("quantity", "1=3", "Quantity")
@_of_items("unit", "1=C62", "Unit of the quantity")
@_of_items("mass", "1=0.25", "Net mass in kilograms")
@click.option("--freight", default="", metavar="AMOUNT", help='Freight of the consignment, such as "7.00 EUR".')
@click.option("--insurance", default="", metavar="AMOUNT", help="Insurance of the consignment, written as freight.")
@click.option("--note", default="", help="A note; filers do not see it.")
@click.option(
    "--if-version",
    type=click.IntRange(1),
    metavar="VERSION",
    help="Only if VERSION is still the current version of MRN (luxor show prints it).",
)
@acting("officer")
def adjust(
    context: Context,
    mrn: str,
    freight: str,
    insurance: str,
    note: str,
    if_version: int | None,
    ident: str,
    **items: tuple[str, ...],
) -> None:
    """Correct value or goods, before or after release. Revenue computes the charges again. It releases nothing."""
    from libs.client.clearance.corrections import adjust as correct
    from libs.client.clearance.corrections import adjustment
    from libs.client.row_errors import ElementError

    if not (any(items.values()) or freight or insurance):
        raise click.UsageError(
            "give a correction: --price, --code, --origin, --quantity, --unit, --mass, --freight, --insurance"
        )
    try:
        request = adjustment(
            mrn, items=items, freight=freight, insurance=insurance, note=note, expected_version=if_version
        )
    except ElementError as error:
        raise click.UsageError(f"{error.sentence} {error.hint}") from None

    act(context, "officer", ident, lambda client: correct(client, [request]))
