"""`luxor quote`: computes the landed cost of goods before they are filed."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import REFUSED, Context, acting, command, fail, run

if TYPE_CHECKING:
    from rich.console import Console

CONSIGNMENTS_MAX: Final = 1_000
"""Largest number of consignments in a quote."""


@command("quote", short_help="Compute the landed cost of goods.")
@click.argument("path", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", "destination", metavar="COUNTRY", help="Country that the goods are bound for, such as DE.")
@click.option("--from", "dispatch", default="", metavar="COUNTRY", help="Country that they are sent from.")
@click.option(
    "--item",
    "items",
    multiple=True,
    metavar="CODE:PRICE[:TEXT]",
    help="Commodity code and price of the line, such as 620630:31.98; may be repeated.",
)
@click.option("--currency", default="EUR", show_default=True, help="Currency of all amounts.")
@click.option("--freight", default="", help="Freight that the prices do not include.")
@click.option("--insurance", default="", help="Insurance that the prices do not include.")
@click.option("--origin", default="", metavar="COUNTRY", help="Country of origin of the goods (default: --from).")
@click.option("--scheme", default="", help="Tax scheme of the seller, such as IOSS, GST_LVG, UK_SUPPLY_VAT.")
@click.option("--scheme-number", default="", help="Number in that scheme.")
@click.option("--nature", default="SALE", show_default=True, help="SALE, GIFT, RETURN, SAMPLE …")
@click.option(
    "--returned-mrn", default="", metavar="MRN", help="For a return: the MRN under which the goods went first."
)
@click.option(
    "--additional-procedure",
    default="",
    metavar="CODE",
    help="Additional procedure, such as F05 for returned goods that are free of tax too.",
)
@click.option(
    "--consignor", default="", help="Person type of the consignor: NATURAL or LEGAL; reliefs for gifts need it."
)
@click.option("--consignee", default="", help="Person type of the consignee: NATURAL or LEGAL.")
@click.option("--region", default="", help="Region of the recipient's address, such as ON in Canada or SP in Brazil.")
@click.option("--service", default="", help="Transport service: POST, EXPRESS or CARGO.")
@click.option("--mass", default="", metavar="KG", help="Gross mass of the consignment in kilograms, such as 0.64.")
@click.option(
    "--on", "day", metavar="DAY", help="Day of acceptance, such as 2026-06-30; its law applies (default: today)."
)
@acting("filer")
def quote(
    context: Context,
    path: Path | None,
    destination: str | None,
    dispatch: str,
    items: tuple[str, ...],
    currency: str,
    freight: str,
    insurance: str,
    origin: str,
    scheme: str,
    scheme_number: str,
    nature: str,
    returned_mrn: str,
    additional_procedure: str,
    consignor: str,
    consignee: str,
    region: str,
    service: str,
    mass: str,
    day: str | None,
    ident: str,
) -> None:
    """Show duty, tax, their collectors and the amount due on import, with an explanation of each line. Nothing is stored.

    Give the goods with --to and --item, or a PATH as for `luxor file` (its first 1,000 consignments).
    """
    from libs.client.filing.files import Read
    from libs.client.filing.formats import kind_of, read
    from libs.client.revenue.quotes import consignment
    from libs.client.revenue.quotes import quote as ask
    from libs.client.row_errors import ElementError

    as_of = as_of_day(day)
    if path is not None:
        _only_with_a_file()
    if path is None:
        if not destination or not items:
            raise click.UsageError("Give --to and --item, or a file.")
        if scheme_number and not scheme:
            raise click.UsageError("--scheme-number needs --scheme, such as IOSS.")
        cells = {
            "destination_country": destination.upper(), "dispatch_country": dispatch.upper(), "nature": nature,
            "freight_currency": currency if freight else "", "freight": freight,
            "insurance_currency": currency if insurance else "", "insurance": insurance,
            "fiscal_references_scheme": scheme, "fiscal_references_number": scheme_number,
            "consignor_person_type": consignor, "consignee_person_type": consignee, "consignee_address_region": region,
            "transport_service": service, "gross_mass_kg": mass, "returned_mrn": returned_mrn,
            "additional_procedures": additional_procedure,
        }  # fmt: skip
        try:
            goods = [_item(each, currency, (origin or dispatch).upper()) for each in items]
            consignments = [consignment(cells, goods, labels=_OPTIONS)]
        except ElementError as error:
            fail(error.reason, error.sentence, error.hint, path=error.element, as_json=context.as_json)
    else:
        consignments = []
        with path.open("rb") as file:
            for each in read(file, kind_of(path)):
                if not isinstance(each, Read):
                    fail(
                        each.reason,
                        each.sentence,
                        each.hint,
                        path=f"line {each.line} {each.element}",
                        as_json=context.as_json,
                    )
                if len(consignments) == CONSIGNMENTS_MAX:
                    click.echo(f"Only the first {CONSIGNMENTS_MAX:,} consignments of the file are quoted.", err=True)
                    break
                consignments.append(each.message)

    async def work() -> dict[str, Any]:
        async with context.client("filer", ident) as client:
            return await ask(client, consignments, as_of=as_of)

    answer = run(work())
    context.emit(
        answer,
        lambda terminal: show_quotes(
            terminal, answer, [(each.local_reference, each.destination_country) for each in consignments]
        ),
    )
    if any(each.get("reason") for each in answer.get("quotes", ())):
        raise click.exceptions.Exit(REFUSED)


_OPTIONS: Final = {
    "destination_country": "--to", "dispatch_country": "--from", "nature": "--nature", "freight_currency": "--currency",
    "freight": "--freight", "insurance_currency": "--currency", "insurance": "--insurance", "fiscal_references_scheme": "--scheme",
    "fiscal_references_number": "--scheme-number", "item_commodity_code": "--item", "item_price": "--item",
    "consignor_person_type": "--consignor", "consignee_person_type": "--consignee", "consignee_address_region": "--region",
    "transport_service": "--service", "gross_mass_kg": "--mass", "returned_mrn": "--returned-mrn",
    "additional_procedures": "--additional-procedure",
    "item_price_currency": "--currency", "item_description": "--item", "item_origin_country": "--origin",
}  # fmt: skip
"""The option that corresponds to a column of a file."""
_OF_THE_FILE = (
    "destination", "dispatch", "items", "currency", "freight", "insurance", "origin", "scheme", "scheme_number", "nature",
    "returned_mrn", "additional_procedure", "consignor", "consignee", "region", "service", "mass",
)  # fmt: skip


def _only_with_a_file() -> None:
    """Refuse options that describe goods if a file is given, which describes them itself."""
    context = click.get_current_context()
    conflicting = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in _OF_THE_FILE
        and context.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE
    ]
    if conflicting:
        raise click.UsageError(
            f"The file describes the goods, so {', '.join(conflicting)} cannot be used with it; "
            "change the file, or give --to and --item without a file."
        )


def _item(text: str, currency: str, origin: str) -> dict[str, str]:
    code, _, rest = text.partition(":")
    price, _, description = rest.partition(":")
    if not price:
        raise click.BadParameter(f"{text!r} is not CODE:PRICE", param_hint="--item")
    return {
        "item_commodity_code": code, "item_price": price, "item_price_currency": currency,
        "item_description": description or "goods", "item_origin_country": origin,
    }  # fmt: skip


def as_of_day(day: str | None) -> int:
    """Return the instant of which the law applies: noon of the given day, otherwise now; microseconds since 1970."""
    from libs.customs.time import micros_of, parse_day, start_of

    if day is None:
        return micros_of(dt.datetime.now(dt.UTC))
    try:
        # Noon, which is the same day in most of the world.
        return start_of(parse_day(day)) + 12 * 3_600_000_000
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--on") from None


def _calculation(line: dict[str, Any]) -> str:
    """Return the sentence of a charge, then its rate as written in the law, and its scheme."""
    from libs.cli.views.text import safe, short

    parts = [f"rate {safe(line['rate'])}"] if line.get("rate") else []
    parts += [f"scheme {short(line['scheme'], 'SCHEME_')}"] if line.get("scheme") else []
    facts = f"  [dim]{', '.join(parts)}[/]" if parts else ""
    return safe(line.get("sentence", "")) + facts


def show_quotes(terminal: "Console", answer: dict[str, Any], consignments: Sequence[tuple[str, str]]) -> None:
    """Show quotes; `consignments` has local reference and destination of each consignment, in the same order."""
    from libs.cli.views.law_review import answer_text
    from libs.cli.views.text import paragraph, safe

    laws = {each["id"]: each for each in answer.get("references", ())}
    quotes = list(zip(answer.get("quotes", ()), consignments, strict=True))
    used: dict[str, None] = {}
    for number, (each, (reference, destination)) in enumerate(quotes, start=1):
        if len(quotes) > 1:
            name = safe(" ".join(part for part in (reference, f"to {destination}" if destination else "") if part))
            terminal.print(f"\n[bold]Consignment {number}[/]  {name}", soft_wrap=True)
        if each.get("reason"):
            _show_refused(terminal, each, destination)
            continue
        used |= dict.fromkeys(line.get("reference", "") for line in each.get("lines", ()))
        used |= dict.fromkeys(each.get("references", ()))
        show_cost(terminal, each)
    cited = [name for name in used if name in laws]
    if cited and len(quotes) > 1:
        terminal.print("\nReferences:")
    for name in cited:
        law = laws[name]
        paragraph(terminal, f"[dim]{name}: {safe(law.get('law', ''))}, {safe(law.get('article', ''))}[/]", 2)
    if len(quotes) > 1:
        _show_summary(terminal, quotes)
    if review := answer_text(answer.get("review", {})):
        paragraph(terminal, f"[bold]law:[/] {safe(review)}", 2)


def _show_refused(terminal: "Console", each: dict[str, Any], destination: str) -> None:
    """Show why there is no quote, and for NO_RULEBOOK the destination."""
    from libs.cli.views.text import safe
    from libs.server.catalogue import command_hint

    sentences = " ".join(each.get("explanation", ()))
    bound = f" Destination: {destination}." if destination and each["reason"] == "NO_RULEBOOK" else ""
    terminal.print(f"[bold red]{each['reason']}[/]  {safe(sentences + bound)}", soft_wrap=True)
    if each.get("hint"):
        terminal.print(f"  → {safe(command_hint(each['reason'], each['hint']))}", soft_wrap=True)


def show_cost(terminal: "Console", each: dict[str, Any]) -> None:
    """Show one landed cost."""
    from libs.cli.views.law_review import at_least, not_covered_text
    from libs.cli.views.text import money, paragraph, safe, short, table, words

    least = at_least(each)
    currency = each.get("currency", "")
    shown = table("charge", "calculation", "amount", "collected by", right=(2,))
    shown.add_row("price", "goods, transport and insurance", money(each.get("price_minor", 0), currency), "")
    for line in each.get("lines", ()):
        shown.add_row(
            words(short(line.get("kind", ""), "CHARGE_KIND_")), _calculation(line),
            money(line.get("amount_minor", 0), currency), words(short(line.get("collector", ""), "COLLECTOR_")),
        )  # fmt: skip
    shown.add_section()
    shown.add_row(
        "[bold]landed cost[/]", "", f"[bold]{least}{money(each.get('landed_cost_minor', 0), currency)}[/]", ""
    )
    shown.add_row("", "collected at the sale", money(each.get("vendor_collected_minor", 0), currency), "")
    shown.add_row("", "to be paid on import", least + money(each.get("payable_minor", 0), currency), "")
    terminal.print(shown)
    if least:
        paragraph(terminal, f"[yellow]at least:[/] {safe(not_covered_text(each))}", 2)
    for sentence in each.get("explanation", ()):
        paragraph(terminal, safe(sentence), 2)
    for sentence in _assumed(each):
        paragraph(terminal, f"[yellow]assumed:[/] {safe(sentence)}", 2)
    terminal.print(f"  [dim]law {safe(each.get('rulebook_version', ''))}[/]")


def _assumed(each: dict[str, Any]) -> list[str]:
    """Return the assumptions of a quote, except for charges that are not covered, which are shown with the totals."""
    uncovered = each.get("not_covered", ())
    return [
        sentence
        for sentence in each.get("assumptions", ())
        if not any(sentence.endswith(f": {what}.") for what in uncovered)
    ]


def _show_summary(terminal: "Console", quotes: Sequence[tuple[dict[str, Any], tuple[str, str]]]) -> None:
    from libs.cli.views.law_review import at_least
    from libs.cli.views.text import money, print_whole, safe, table

    shown = table("", "reference", "to", "duty", "tax", "fees", "landed cost", "on import", right=(0, 3, 4, 5, 6, 7))
    refused = []
    for number, (each, (reference, destination)) in enumerate(quotes, start=1):
        head = (str(number), safe(reference), safe(destination))
        if each.get("reason"):
            refused.append("  ".join((*filter(None, head), f"[red]{each['reason']}[/]")))
            continue
        names = ("duty_minor", "tax_minor", "fee_minor", "landed_cost_minor", "payable_minor")
        amounts = [money(each.get(name, 0), each.get("currency", "")) for name in names]
        shown.add_row(*head, *amounts[:3], *(at_least(each) + amount for amount in amounts[3:]))
    if shown.rows:
        print_whole(terminal, shown)
    if refused:
        terminal.print("Not quoted:")
    for line in refused:
        terminal.print(f"  {line}", soft_wrap=True)
