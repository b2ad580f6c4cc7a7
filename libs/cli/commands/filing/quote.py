"""`luxor quote`: landed cost before anything is filed."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import REFUSED, Context, acting, command, fail, run

if TYPE_CHECKING:
    from rich.console import Console

CONSIGNMENTS_MAX: Final = 1_000
"""So many consignments are quoted at once."""


@command("quote", short_help="Tell what goods would cost landed.")
@click.argument("path", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", "destination", metavar="COUNTRY", help="Country that the goods are bound for, such as DE.")
@click.option("--from", "dispatch", default="", metavar="COUNTRY", help="Country that they are sent from.")
@click.option(
    "--item",
    "items",
    multiple=True,
    metavar="CODE:PRICE[:TEXT]",
    help="Commodity code and price of the line, such as 620630:31.98; may be given several times.",
)
@click.option("--currency", default="EUR", show_default=True, help="Currency of all amounts.")
@click.option("--freight", default="", help="Freight that the prices do not hold.")
@click.option("--insurance", default="", help="Insurance that the prices do not hold.")
@click.option("--origin", default="", metavar="COUNTRY", help="Country of origin of the goods (default: --from).")
@click.option("--scheme", default="", help="Tax scheme of the seller, such as IOSS, GST_LVG, UK_SUPPLY_VAT.")
@click.option("--scheme-number", default="", help="Number in that scheme.")
@click.option("--nature", default="SALE", show_default=True, help="SALE, GIFT, RETURN, SAMPLE …")
@click.option(
    "--consignor", default="", help="Kind of person that sends: NATURAL or LEGAL; reliefs of gifts ask for it."
)
@click.option("--consignee", default="", help="Kind of person that receives: NATURAL or LEGAL.")
@click.option("--region", default="", help="Region of the recipient's address, such as ON in Canada or SP in Brazil.")
@click.option("--service", default="", help="Service that brings the goods: POST, EXPRESS or CARGO.")
@click.option("--mass", default="", metavar="KG", help="Gross mass of the consignment in kilograms, such as 0.64.")
@click.option(
    "--on", "day", metavar="DAY", help="Day of acceptance whose law counts, such as 2026-06-30 (default: today)."
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
    consignor: str,
    consignee: str,
    region: str,
    service: str,
    mass: str,
    day: str | None,
    ident: str,
) -> None:
    """Show duty, tax, who collects and what remains to be paid, each line explained. Nothing is stored.

    Give the goods with --to and --item, or a PATH as for `luxor file` (its first 1,000 consignments).
    """
    from libs.client.filing.files import Read, kind_of, read
    from libs.client.problem import Fault
    from libs.client.revenue.quotes import consignment
    from libs.client.revenue.quotes import quote as ask

    as_of = as_of_day(day)
    if path is not None:
        _only_with_a_file()
    if path is None:
        if not destination or not items:
            raise click.UsageError("Give --to and --item, or a file.")
        if scheme_number and not scheme:
            raise click.UsageError("--scheme-number needs --scheme: whose number it is, such as IOSS.")
        cells = {
            "destination_country": destination.upper(), "dispatch_country": dispatch.upper(), "nature": nature,
            "freight_currency": currency if freight else "", "freight": freight,
            "insurance_currency": currency if insurance else "", "insurance": insurance,
            "fiscal_references_scheme": scheme, "fiscal_references_number": scheme_number,
            "consignor_person_type": consignor, "consignee_person_type": consignee, "consignee_address_region": region,
            "transport_service": service, "gross_mass_kg": mass,
        }  # fmt: skip
        try:
            goods = [_item(each, currency, (origin or dispatch).upper()) for each in items]
            found = [consignment(cells, goods, labels=_OPTIONS)]
        except Fault as fault:
            fail(fault.reason, fault.sentence, fault.hint, path=fault.element, as_json=context.as_json)
    else:
        found = []
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
                if len(found) == CONSIGNMENTS_MAX:
                    click.echo(
                        f"The first {CONSIGNMENTS_MAX:,} consignments of the file are quoted, and no more.", err=True
                    )
                    break
                found.append(each.message)

    async def work() -> dict[str, Any]:
        async with context.client("filer", ident) as client:
            return await ask(client, found, as_of=as_of)

    told = run(work())
    context.emit(
        told, lambda out: _show(out, told, [(each.local_reference, each.destination_country) for each in found])
    )
    if any(each.get("reason") for each in told.get("quotes", ())):
        raise click.exceptions.Exit(REFUSED)


_OPTIONS: Final = {
    "destination_country": "--to", "dispatch_country": "--from", "nature": "--nature", "freight_currency": "--currency",
    "freight": "--freight", "insurance_currency": "--currency", "insurance": "--insurance", "fiscal_references_scheme": "--scheme",
    "fiscal_references_number": "--scheme-number", "item_commodity_code": "--item", "item_price": "--item",
    "consignor_person_type": "--consignor", "consignee_person_type": "--consignee", "consignee_address_region": "--region",
    "transport_service": "--service", "gross_mass_kg": "--mass",
    "item_price_currency": "--currency", "item_description": "--item", "item_origin_country": "--origin",
}  # fmt: skip
"""The option that tells what a column of a file does."""
_OF_THE_FILE = (
    "destination", "dispatch", "items", "currency", "freight", "insurance", "origin", "scheme", "scheme_number", "nature",
    "consignor", "consignee", "region", "service", "mass",
)  # fmt: skip


def _only_with_a_file() -> None:
    """Refuse what describes goods beside a file, which describes them itself."""
    context = click.get_current_context()
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in _OF_THE_FILE
        and context.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(
            f"The file says itself what its goods are, so {', '.join(given)} cannot go with it; "
            "change the file, or leave the file out and give --to and --item."
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
    """The instant whose law counts: noon of a day that is given, else now; microseconds since 1970."""
    from libs.customs.time import micros_of, parse_day, start_of

    if day is None:
        return micros_of(dt.datetime.now(dt.UTC))
    try:
        # Noon, which is the same day in most of the world.
        return start_of(parse_day(day)) + 12 * 3_600_000_000
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--on") from None


def _how(line: dict[str, Any]) -> str:
    """Return a charge in its sentence, then the rate as the law writes it and the scheme."""
    from libs.cli.views.text import safe, short

    parts = [f"rate {safe(line['rate'])}"] if line.get("rate") else []
    parts += [f"scheme {short(line['scheme'], 'SCHEME_')}"] if line.get("scheme") else []
    facts = f"  [dim]{', '.join(parts)}[/]" if parts else ""
    return safe(line.get("sentence", "")) + facts


def _show(out: "Console", told: dict[str, Any], asked: Sequence[tuple[str, str]]) -> None:
    """Show quotes; `asked` tells local reference and destination of each consignment, in the same order."""
    from libs.cli.views.law_review import answer_text
    from libs.cli.views.text import paragraph, safe

    laws = {each["id"]: each for each in told.get("references", ())}
    quotes = list(zip(told.get("quotes", ()), asked, strict=True))
    used: dict[str, None] = {}
    for number, (each, (reference, destination)) in enumerate(quotes, start=1):
        if len(quotes) > 1:
            name = safe(" ".join(part for part in (reference, f"to {destination}" if destination else "") if part))
            out.print(f"\n[bold]Consignment {number}[/]  {name}", soft_wrap=True)
        if each.get("reason"):
            _show_refused(out, each, destination)
            continue
        used |= dict.fromkeys(line.get("reference", "") for line in each.get("lines", ()))
        used |= dict.fromkeys(each.get("references", ()))
        _show_one(out, each)
    cited = [name for name in used if name in laws]
    if cited and len(quotes) > 1:
        out.print("\nReferences:")
    for name in cited:
        law = laws[name]
        paragraph(out, f"[dim]{name}: {safe(law.get('law', ''))}, {safe(law.get('article', ''))}[/]", 2)
    if len(quotes) > 1:
        _show_summary(out, quotes)
    if review := answer_text(told.get("review", {})):
        paragraph(out, f"[bold]law:[/] {safe(review)}", 2)


def _show_refused(out: "Console", each: dict[str, Any], destination: str) -> None:
    """Tell why there is no quote, and for a country without law which law there is."""
    from libs.cli.views.text import safe
    from libs.server.catalogue import command_hint

    sentences = " ".join(each.get("explanation", ()))
    bound = f" Destination: {destination}." if destination and each["reason"] == "NO_RULEBOOK" else ""
    out.print(f"[bold red]{each['reason']}[/]  {safe(sentences + bound)}", soft_wrap=True)
    if each.get("hint"):
        out.print(f"  → {safe(command_hint(each['reason'], each['hint']))}", soft_wrap=True)


def _show_one(out: "Console", each: dict[str, Any]) -> None:
    from libs.cli.views.law_review import at_least, not_covered_text
    from libs.cli.views.text import money, paragraph, safe, short, table, words

    least = at_least(each)
    currency = each.get("currency", "")
    shown = table("charge", "how", "amount", "collected by", right=(2,))
    shown.add_row("price", "goods, transport and insurance", money(each.get("price", 0), currency), "")
    for line in each.get("lines", ()):
        shown.add_row(
            words(short(line.get("kind", ""), "CHARGE_KIND_")), _how(line),
            money(line.get("amount", 0), currency), words(short(line.get("collector", ""), "COLLECTOR_")),
        )  # fmt: skip
    shown.add_section()
    shown.add_row("[bold]landed cost[/]", "", f"[bold]{least}{money(each.get('landed_cost', 0), currency)}[/]", "")
    shown.add_row("", "collected at the sale", money(each.get("collected_by_vendor", 0), currency), "")
    shown.add_row("", "to be paid on import", least + money(each.get("due_on_import", 0), currency), "")
    out.print(shown)
    if least:
        paragraph(out, f"[yellow]at least:[/] {safe(not_covered_text(each))}", 2)
    for sentence in each.get("explanation", ()):
        paragraph(out, safe(sentence), 2)
    for sentence in _assumed(each):
        paragraph(out, f"[yellow]assumed:[/] {safe(sentence)}", 2)
    out.print(f"  [dim]law {safe(each.get('rulebook_version', ''))}[/]")


def _assumed(each: dict[str, Any]) -> list[str]:
    """Return the assumptions of a quote without what is not covered, which stands with its totals."""
    uncovered = each.get("not_covered", ())
    return [
        sentence
        for sentence in each.get("assumptions", ())
        if not any(sentence.endswith(f": {what}.") for what in uncovered)
    ]


def _show_summary(out: "Console", quotes: Sequence[tuple[dict[str, Any], tuple[str, str]]]) -> None:
    from libs.cli.views.law_review import at_least
    from libs.cli.views.text import money, print_whole, safe, table

    shown = table("", "reference", "to", "duty", "tax", "fees", "landed cost", "on import", right=(0, 3, 4, 5, 6, 7))
    refused = []
    for number, (each, (reference, destination)) in enumerate(quotes, start=1):
        head = (str(number), safe(reference), safe(destination))
        if each.get("reason"):
            refused.append("  ".join((*filter(None, head), f"[red]{each['reason']}[/]")))
            continue
        names = ("duty", "tax", "fee", "landed_cost", "due_on_import")
        amounts = [money(each.get(name, 0), each.get("currency", "")) for name in names]
        shown.add_row(*head, *amounts[:3], *(at_least(each) + amount for amount in amounts[3:]))
    if shown.rows:
        print_whole(out, shown)
    if refused:
        out.print("Not quoted:")
    for line in refused:
        out.print(f"  {line}", soft_wrap=True)
