"""`luxor returns`: goods of many consignments that are undelivered or sent back."""

from typing import Any

import click

from libs.cli.commands.clearance.officer import PAGE_MAX, show_results
from libs.cli.common import Context, caller_of, command, run

_NUMBERS = {
    "returned": "released goods returned: refunds follow",
    "re_exported": "re-exported without a release",
    "invalidated": "not arrived: declarations invalidated",
    "final_before": "had ended before",
    "refused": "[yellow]refused[/]",
}
"""The texts of the numbers in the answer to a bulk return."""


@click.group("returns", short_help="Return the goods of many consignments.")
def returns() -> None:
    """Return the goods of many consignments that are undelivered or sent back.

    `luxor return` reports items of released consignments. Every command has --json, for programs.
    """


@command("bulk", group=returns, short_help="Return whole consignments under one transport document.")
@click.argument("mrns", metavar="[MRN...]", nargs=-1)
@click.option("--house", "houses", multiple=True, metavar="NUMBER", help="House document; may be repeated.")
@click.option("--master", default="", metavar="NUMBER", help="All goods under this master document or receptacle.")
@click.option("--document", required=True, metavar="NUMBER", help="Transport document under which the goods leave.")
@click.option(
    "--reason", required=True, metavar="REASON", help="undelivered, withdrawn, faulty or refused; refunds depend on it."
)
@click.option("--note", default="", help="An officer's note; filers do not see it.")
@click.option(
    "--override-officers", is_flag=True, help="With --master: goods that an officer holds too, also your colleagues'."
)
@click.option(
    "--if-version",
    type=click.IntRange(1),
    metavar="VERSION",
    help="Only if VERSION is still the current version of the one consignment; required if a screening match or an alarm holds the goods.",
)
@click.option(
    "--as",
    "caller",
    default="officer",
    metavar="ROLE, ROLE/ID or ID",
    show_default=True,
    help="The caller: an officer; the filer or the carrier, of released goods.",
)
def bulk(
    context: Context,
    mrns: tuple[str, ...],
    houses: tuple[str, ...],
    master: str,
    document: str,
    reason: str,
    note: str,
    override_officers: bool,
    if_version: int | None,
    caller: str,
) -> None:
    """Return consignments by MRN or house document, or all goods under a master document.

    Released goods are returned with the refunds of the law. As an officer, goods that arrived and are not released are re-exported, and the
    declarations of goods that did not arrive are invalidated.
    """
    from libs.client.clearance.returns import bulk_return, bulk_return_of
    from libs.client.row_errors import ElementError

    role, ident = caller_of(caller, ("officer", "filer", "carrier"))
    named = bool(mrns or houses)
    if named == bool(master) or (named and override_officers):
        raise click.UsageError("name MRNs or --house, or --master, to which --override-officers belongs")
    if if_version is not None and len(mrns) + len(houses) != 1:
        raise click.UsageError("--if-version is the version of one consignment: name one MRN")
    try:
        order = bulk_return_of(
            document=document,
            reason=reason,
            mrns=mrns,
            house_documents=houses,
            master=master,
            expected_version=if_version,
            note=note,
            override_officers=override_officers,
            page_size=PAGE_MAX,
        )
    except ElementError as error:
        raise click.UsageError(f"{error.sentence} {error.hint}") from None

    async def work() -> dict[str, Any]:
        async with context.client(role, ident) as client:
            return await bulk_return(client, order)

    answer = run(work())
    if named:
        show_results(context, answer.get("results", []))
        return

    def show(terminal: Any) -> None:
        from libs.cli.views.text import safe, table

        shown = table("consignments", "", right=(0,))
        shown.add_row(str(answer.get("consignments", 0)), "under the document")
        for name, text in _NUMBERS.items():
            if answer.get(name):
                shown.add_row(str(answer[name]), text)
        terminal.print(shown)
        for each in answer.get("results", ()):
            error = each["error"]
            terminal.print(f"{each.get('mrn', '')} [red]{error['reason']}[/] {safe(error.get('message', ''))}")

    context.emit(answer, show)
