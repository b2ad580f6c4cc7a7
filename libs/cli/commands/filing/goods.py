"""`luxor goods`: shows whether goods may be sent, and with which documents."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import REFUSED, Context, acting, command, run

if TYPE_CHECKING:
    from rich.console import Console

LINES_MAX: Final = 1_000
_MODES: Final = ("sea", "rail", "road", "air", "post")
_SAYS: Final = {
    "FREE": "[green]no goods control[/] names such goods; rules, lists and prices are checked when they are filed",
    "LIFTED": "[green]may be sent[/] with the given documents",
    "NOT_COVERED": "[yellow]unknown[/]: no controls of the destination are loaded",
    "DOCUMENTS_MISSING": "[bold yellow]documents are missing[/]",
    "PROHIBITED": "[bold red]may not be sent[/]",
}


@command("goods", short_help="Show whether goods may be sent, and with which documents.")
@click.option(
    "--to", "destination", required=True, metavar="COUNTRY", help="Country that the goods are bound for, such as DE."
)
@click.option("--from", "dispatch", default="", metavar="COUNTRY", help="Country that they are sent from.")
@click.option(
    "--item",
    "items",
    multiple=True,
    required=True,
    metavar="CODE[:TEXT]",
    help='Commodity code and description, such as 620630:"Blouse of cotton"; :TEXT without a code. May be repeated.',
)
@click.option("--origin", default="", metavar="COUNTRY", help="Country of origin of the goods (default: --from).")
@click.option("--mode", type=click.Choice(_MODES), help="Mode of transport (default: any).")
@click.option("--un-number", default="", help="United Nations number of dangerous goods, four digits.")
@click.option(
    "--document",
    "documents",
    multiple=True,
    metavar="TYPE",
    help="Type of a document for the goods, such as C640.",
)
@click.option("--on", "day", metavar="DAY", help="Day of acceptance, such as 2026-06-30 (default: today).")
@acting("filer")
def goods(
    context: Context,
    destination: str,
    dispatch: str,
    items: tuple[str, ...],
    origin: str,
    mode: str | None,
    un_number: str,
    documents: tuple[str, ...],
    day: str | None,
    ident: str,
) -> None:
    """Show whether goods may be sent, which documents they need, and the law. Nothing is stored.

    Exits with 1 if goods are prohibited, lack documents or cannot be checked.
    """
    from libs.cli.commands.filing.quote import as_of_day
    from libs.client.risk.goods import check
    from luxor.consignment.v1.consignment_pb2 import TransportMode
    from luxor.risk.v1.risk_pb2 import GoodsLine

    if len(items) > LINES_MAX:
        raise click.BadParameter(f"{len(items)} lines; at most {LINES_MAX} are answered at once", param_hint="--item")
    as_of = as_of_day(day)
    lines = []
    for item in items:
        code, _, description = item.partition(":")
        lines.append(
            GoodsLine(
                destination_country=destination.upper(),
                dispatch_country=dispatch.upper(),
                origin_country=(origin or dispatch).upper(),
                commodity_code=code.strip(),
                description=description.strip(),
                un_number=un_number,
                transport_mode=TransportMode.Value(f"TRANSPORT_MODE_{(mode or 'unspecified').upper()}"),
                document_types=[document.upper() for document in documents],
            )
        )

    async def work() -> dict[str, Any]:
        async with context.client("filer", ident) as client:
            return await check(client, lines, as_of=as_of)

    answer = run(work())
    context.emit(answer, lambda terminal: show_goods(terminal, items, answer))
    verdicts = {_verdict(each) for each in answer["answers"]}
    if verdicts & {"", "DOCUMENTS_MISSING", "PROHIBITED"}:
        raise click.exceptions.Exit(REFUSED)


def _verdict(answer: dict[str, Any]) -> str:
    """Return the verdict without its prefix; "" for a line that could not be checked."""
    return str(answer.get("verdict", "")).removeprefix("GOODS_VERDICT_")


def show_goods(terminal: "Console", items: Sequence[str], answer: dict[str, Any]) -> None:
    """Show the answer for each of the goods, and the version of the controls if it names one."""
    from libs.cli.views.text import safe
    from libs.server.catalogue import command_hint

    for item, line_answer in zip(items, answer["answers"], strict=True):
        verdict = _verdict(line_answer)
        terminal.print(f"\n[bold]{safe(item)}[/]")
        if not verdict:
            reason = line_answer.get("reason", "")
            terminal.print(
                f"  [bold red]{reason}[/] at {safe(line_answer.get('path', ''))}  {safe(command_hint(reason, line_answer.get('hint', '')))}"
            )
            continue
        terminal.print(f"  {_SAYS[verdict]}")
        for control in line_answer.get("controls", ()):
            where = "leaving" if control.get("on_export") else "entering"
            lifted = "  [green]lifted by the given documents[/]" if control.get("lifted") else ""
            terminal.print(
                f"  {safe(control['id'])} ({where} {safe(control['jurisdiction'])}): {safe(control['sentence'])}{lifted}"
            )
            missing = control.get("missing", ())
            if missing:
                need = "one of these" if control.get("any_document_lifts") and len(missing) > 1 else "needed"
                for document in missing:
                    terminal.print(
                        f"    {need}: {safe(document['name'])} [dim](document type {safe(document['type'])})[/]"
                    )
            for law in control.get("laws", ()):
                article = f", {safe(law['article'])}" if law.get("article") else ""
                unverified = "" if law.get("verified") else "  [yellow]not verified[/]"
                terminal.print(f"    [dim]{safe(law['law'])}{article}[/]{unverified}")
    if answer.get("controls"):
        terminal.print(f"\n[dim]{safe(answer['controls'])}[/]")
