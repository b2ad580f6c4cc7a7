"""`luxor filer`: the register of filers, for officers."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, caller_of, caller_option, command, run

if TYPE_CHECKING:
    from rich.console import Console

    from luxor.ingestion.v1 import filers_pb2 as pb

_TERMS = ("score", "timeliness", "accuracy", "completeness", "consistency")


@click.group("filer", short_help="Register, suspend and list filers, and who represents them.")
def filer() -> None:
    """Register filers, suspend them, and register who may represent them. Every command has --json, for programs.

    A change replaces the version that the command has read: if somebody changes the entry at the same time, it is refused.
    """


@command("put", group=filer, short_help="Register a filer, or change its entry.")
@click.argument("filer_id", metavar="ID")
@click.option("--name", default="", help="Name; required for a new entry.")
@click.option("--identifier", "identifiers", multiple=True, help="Identifier in declarations; repeat it. Replaces all.")
@click.option(
    "--certificate",
    "certificates",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of a certificate, PEM; repeat it. Is added to the others.",
)
@click.option(
    "--party-role",
    "party_roles",
    multiple=True,
    type=click.Choice(["seller", "platform", "payment_provider", "carrier", "post", "none"]),
    help="Role in which it files parts of consignments; repeat it. Replaces all; none removes them.",
)
@acting("officer")
def put(
    context: Context,
    filer_id: str,
    name: str,
    identifiers: tuple[str, ...],
    certificates: tuple[Path, ...],
    party_roles: tuple[str, ...],
    ident: str,
) -> None:
    """Register the filer whose certificates have ID, or change what the options name."""
    read = [_certificate(path) for path in certificates]

    def edit(entry: "pb.Filer") -> None:
        entry.name = name or entry.name
        if identifiers:
            entry.identifiers[:] = identifiers
        if party_roles:
            from luxor.ingestion.v1.parts_pb2 import PartyRole

            named = sorted(set(party_roles) - {"none"})
            entry.party_roles[:] = [PartyRole.Value(f"PARTY_ROLE_{each.upper()}") for each in named]
        for serial_number, first, last in read:
            if serial_number not in {each.serial_number for each in entry.certificates}:
                entry.certificates.add(serial_number=serial_number, from_day=first, to_day=last)

    _change(context, ident, filer_id, edit, is_new_allowed=True)


@command("suspend", group=filer, short_help="Refuse new filings of a filer.")
@click.argument("filer_id", metavar="ID")
@click.option("--reason", required=True, help="Why, as the filer reads it.")
@acting("officer")
def suspend(context: Context, filer_id: str, reason: str, ident: str) -> None:
    """Refuse new filings of filer ID. It may still change earlier ones, read notices and answer controls."""

    def edit(entry: "pb.Filer") -> None:
        entry.suspension_reason = reason

    _change(context, ident, filer_id, edit)


@command("reinstate", group=filer, short_help="End the suspension of a filer.")
@click.argument("filer_id", metavar="ID")
@acting("officer")
def reinstate(context: Context, filer_id: str, ident: str) -> None:
    """End the suspension of filer ID."""

    def edit(entry: "pb.Filer") -> None:
        entry.suspension_reason = ""

    _change(context, ident, filer_id, edit)


@command("represent", group=filer, short_help="Register who may represent a filer.")
@click.argument("filer_id", metavar="ID")
@click.argument("representative")
@click.option("--from-day", required=True, metavar="DAY", help="First day on which it may.")
@click.option("--to-day", default="", metavar="DAY", help="Last day; without it until further notice.")
@acting("officer")
def represent(context: Context, filer_id: str, representative: str, from_day: str, to_day: str, ident: str) -> None:
    """Register that filer REPRESENTATIVE may act for filer ID, in place of what was registered of the two."""

    def edit(entry: "pb.Filer") -> None:
        others = [each for each in entry.representatives if each.id != representative]
        del entry.representatives[:]
        entry.representatives.extend(others)
        entry.representatives.add(id=representative, from_day=from_day, to_day=to_day)

    _change(context, ident, filer_id, edit)


@command("trust", group=filer, short_help="Grant a filer the status of a trusted operator.")
@click.argument("filer_id", metavar="ID")
@click.option("--authorisation", required=True, help="Reference of the decision.")
@click.option("--from-day", required=True, metavar="DAY", help="First day of the status.")
@click.option("--to-day", default="", metavar="DAY", help="Last day; without it until further notice.")
@acting("officer")
def trust(context: Context, filer_id: str, authorisation: str, from_day: str, to_day: str, ident: str) -> None:
    """Grant filer ID the status of a trusted operator, in place of the one that it has. To end it, set its last day."""

    def edit(entry: "pb.Filer") -> None:
        entry.trusted.authorisation, entry.trusted.from_day, entry.trusted.to_day = authorisation, from_day, to_day

    _change(context, ident, filer_id, edit)


@command("list", group=filer, short_help="List the register.")
@caller_option("Who calls: an officer or an analyst, who sees all entries, or a filer, who sees its own.", "officer")
def list_(context: Context, caller: str) -> None:
    """List the entries in force by id."""
    from libs.client.filing.filers import entries
    from libs.client.plain import plain

    role, ident = caller_of(caller, ("officer", "analyst", "filer"))

    async def work() -> list[dict[str, Any]]:
        async with context.client(role, ident) as client:
            return [plain(each) for each in await entries(client)]

    found = run(work())
    context.emit(found, lambda terminal: _list(terminal, found))


@command("show", group=filer, short_help="Show all versions of an entry.")
@click.argument("filer_id", metavar="ID")
@acting("officer")
def show(context: Context, filer_id: str, ident: str) -> None:
    """Show all versions of the entry of filer ID, newest first."""
    from libs.client.errors import LuxorError
    from libs.client.filing.filers import versions
    from libs.client.plain import plain

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return [plain(each) for each in await versions(client, filer_id)]

    found = run(work())
    if not found:
        raise LuxorError.from_reason("FILER_UNKNOWN", path="id", value=filer_id)
    context.emit(found, lambda terminal: _show(terminal, found))


@command("scorecard", group=filer, short_help="Show the data quality of filings by day and filer.")
@click.argument("filer_id", metavar="[ID]", required=False, default="")
@click.option("--from-day", metavar="DAY", help="First day of acceptance; without it 7 days with the last one.")
@click.option("--to-day", metavar="DAY", help="Last day; without it today.")
@caller_option("Who calls: an officer or an analyst, who sees all filers, or a filer, who sees its own.", "officer")
def scorecard(context: Context, filer_id: str, from_day: str | None, to_day: str | None, caller: str) -> None:
    """Show scores by term, the reasons found most and examples, of filer ID or of all that filed on these days."""
    from libs.cli.days import days_of
    from libs.client.filing.filers import scorecards
    from libs.client.plain import plain
    from libs.customs.time import day_text

    role, ident = caller_of(caller, ("officer", "analyst", "filer"))
    first, last = days_of(from_day, to_day)

    async def work() -> list[dict[str, Any]]:
        async with context.client(role, ident) as client:
            return [plain(each) for each in await scorecards(client, day_text(first), day_text(last), filer_id)]

    found = run(work())
    context.emit(found, lambda terminal: _scorecards(terminal, found))


def _change(
    context: Context,
    ident: str,
    filer_id: str,
    edit: "Callable[[pb.Filer], object]",
    *,
    is_new_allowed: bool = False,
) -> None:
    from libs.client.filing.filers import change

    async def work() -> dict[str, Any]:
        async with context.client("officer", ident) as client:
            return await change(client, filer_id, edit, is_new_allowed=is_new_allowed)

    result = run(work())

    def shown(terminal: "Console") -> None:
        from libs.cli.views.text import refusal

        terminal.print(refusal(result) or f"The entry is at version {result.get('version', 0)}.")

    context.emit(result, shown)
    if result.get("error"):
        raise click.exceptions.Exit(REFUSED)


def _certificate(path: Path) -> tuple[str, str, str]:
    """Return the serial number of a certificate's file, and the first and last day of its validity."""
    from libs.server.transport.revocation_lists import serial_text
    from libs.server.transport.tls import certificate_of

    certificate = certificate_of(path)
    first, last = certificate.not_valid_before_utc.date(), certificate.not_valid_after_utc.date()
    return serial_text(certificate.serial_number), first.isoformat(), last.isoformat()


def _list(terminal: "Console", filers: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import print_words, safe, table

    shown = table("filer", "name", "identifiers", "status", "version", right=(4,))
    for each in filers:
        status = "suspended" if each.get("suspension_reason") else "trusted" if "trusted" in each else "registered"
        identifiers = " ".join(each.get("identifiers", ()))
        shown.add_row(safe(each["id"]), safe(each["name"]), safe(identifiers), status, str(each["version"]))
    print_words(terminal, shown)


def _show(terminal: "Console", versions: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import safe, when

    for each in versions:
        terminal.print(f"[bold]version {each['version']}[/]  {when(each['changed_at'])}  {safe(each['changed_by'])}")
        lines = [("name", each["name"]), ("identifiers", " ".join(each.get("identifiers", ())))]
        lines += [("represented by", _days(one["id"], one)) for one in each.get("representatives", ())]
        lines += [("certificate", _days(one["serial_number"], one)) for one in each.get("certificates", ())]
        roles = [one.removeprefix("PARTY_ROLE_").lower() for one in each.get("party_roles", ())]
        lines.append(("files parts as", " ".join(roles)))
        if "trusted" in each:
            lines.append(("trusted", _days(each["trusted"]["authorisation"], each["trusted"])))
        lines.append(("suspended", each.get("suspension_reason", "")))
        for name, text in lines:
            if text:
                terminal.print(f"  {name:<15} {safe(text)}", soft_wrap=True)


def _scorecards(terminal: "Console", scorecards: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import counted, print_words, safe, table

    if not scorecards:
        terminal.print("Nothing was filed on these days.")
    for each in scorecards:
        heading = f"[bold]{safe(each['day'])}  {safe(each['filer'])}[/]"
        terminal.print(f"{heading}  {counted(int(each.get('refused', 0)), 'refused consignment')}")
        shown = table("measure", "filings", *_TERMS, right=range(1, 7))
        for measure in ("first", "newest"):
            scores = each[measure]
            count = scores["score"].get("judged", 0)
            shown.add_row(measure, str(count), *(_mean(scores.get(term, {})) for term in _TERMS))
        print_words(terminal, shown)
        reasons = table("reason", "term", "points", "first", "newest", "example", right=(2, 3, 4))
        for reason in each.get("reasons", ()):
            example: dict[str, str] = next(iter(reason.get("examples", ())), {})
            text = " ".join(safe(example[name]) for name in ("mrn", "path", "value") if example.get(name))
            counts = (str(reason.get(name, 0)) for name in ("points", "first", "newest"))
            reasons.add_row(reason["reason"], reason["term"], *counts, text)
        if each.get("reasons"):
            print_words(terminal, reasons)
        refusals = table("refused for", "consignments", "example", right=(1,))
        for refusal in each.get("refusals", ()):
            example = next(iter(refusal.get("examples", ())), {})
            text = " ".join(safe(example[name]) for name in ("local_reference", "path", "value") if example.get(name))
            refusals.add_row(refusal["reason"], str(refusal["consignments"]), text)
        if each.get("refusals"):
            print_words(terminal, refusals)


def _mean(score: dict[str, Any]) -> str:
    judged = int(score.get("judged", 0))
    return f"{int(score.get('total', 0)) / judged:.1f}" if judged else "not judged"


def _days(name: str, entry: dict[str, Any]) -> str:
    return f"{name} {entry['from_day']} to {entry.get('to_day') or 'further notice'}"
