"""`luxor check`: what filing consignments would answer, with their quality, the controls of their goods and their landed cost."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.commands.filing.file import FORMATS
from libs.cli.common import REFUSED, Context, acting, command, fail, run

if TYPE_CHECKING:
    from rich.console import Console

    from luxor.consignment.v1.consignment_pb2 import Consignment

CONSIGNMENTS_MAX: Final = 100
_TERMS: Final = ("timeliness", "accuracy", "completeness", "consistency")


@command("check", short_help="Check consignments of a file before they are filed.")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--format", "kind", type=FORMATS, help="Format of the file (default: by its name).")
@acting("filer")
def check(context: Context, path: Path, kind: str | None, ident: str) -> None:
    """Show what `luxor file PATH` would answer, what each stage lacks, and what the goods cost. Nothing is filed.

    Checks the first 100 consignments of the file. Exits with 1 if one of them would be refused.
    """
    from libs.client.filing.files import Read
    from libs.client.filing.formats import kind_of, read
    from libs.client.plain import plain

    consignments: list[Consignment] = []
    with path.open("rb") as file:
        for each in read(file, kind_of(path, kind or "")):
            if not isinstance(each, Read):
                where = f"line {each.line} {each.element}"
                fail(each.reason, each.sentence, each.hint, path=where, as_json=context.as_json)
            if len(consignments) == CONSIGNMENTS_MAX:
                click.echo(f"Only the first {CONSIGNMENTS_MAX} consignments of the file are checked.", err=True)
                break
            consignments.append(each.message)

    async def work() -> dict[str, Any]:
        async with context.client("filer", ident) as client:
            return plain(await client.check(consignments))

    answer = run(work())
    context.emit(answer, lambda terminal: _show(terminal, answer, consignments))
    if any(_status(each) != "ACCEPTED" for each in answer.get("checks", ())):
        raise click.exceptions.Exit(REFUSED)


def _status(each: dict[str, Any]) -> str:
    return str(each.get("status", "")).removeprefix("SUBMISSION_STATUS_")


def _show(terminal: "Console", answer: dict[str, Any], consignments: "list[Consignment]") -> None:
    from libs.cli.commands.filing.goods import show_goods
    from libs.cli.commands.filing.quote import show_quotes
    from libs.cli.commands.risk.codes import show_codes
    from libs.cli.views.text import safe
    from libs.server.catalogue import command_hint

    for each, filed in zip(answer.get("checks", ()), consignments, strict=True):
        colour = "green" if _status(each) == "ACCEPTED" else "bold red"
        terminal.print(f"\n[bold]{safe(filed.local_reference)}[/]  [{colour}]{_status(each).lower()}[/]")
        if "quality" in each:
            scores = (f"{term} {each['quality'].get(term, 'not judged')}" for term in _TERMS)
            terminal.print(f"  score {each['quality'].get('score', 0)}: {', '.join(scores)}", soft_wrap=True)
        for error in each.get("errors", ()):
            terminal.print(
                f"  {error['reason']} at {safe(error.get('path', ''))}  {safe(error.get('message', ''))}",
                soft_wrap=True,
            )
            terminal.print(f"    → {safe(command_hint(error['reason'], error.get('hint', '')))}", soft_wrap=True)
        for stage in each.get("incomplete_stages", ()):
            name = str(stage["stage"]).removeprefix("FILING_STAGE_").lower().replace("_", " ")
            terminal.print(f"  {name} lacks {safe(', '.join(stage['missing_elements']))}", soft_wrap=True)
        if each.get("goods_controls"):
            show_goods(terminal, [item.description for item in filed.items], {"answers": each["goods_controls"]})
        for place, (item, suggested) in enumerate(zip(filed.items, each.get("codes", ()), strict=False)):
            show_codes(terminal, place, item.commodity_code, suggested)
    if "landed_cost_error" not in answer:
        costs = {
            "quotes": [each["landed_cost"] for each in answer["checks"]],
            "references": answer.get("references", []),
        }
        show_quotes(terminal, costs, [(each.local_reference, each.destination_country) for each in consignments])
    for name in ("goods_controls_error", "codes_error", "landed_cost_error"):
        if name in answer:
            terminal.print(f"[bold yellow]{answer[name]['reason']}[/]  {safe(answer[name]['message'])}", soft_wrap=True)
