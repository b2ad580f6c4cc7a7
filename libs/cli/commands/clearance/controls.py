"""`luxor control`: document requests, scans, examinations and referrals before loading, of officers and partner agencies, and their answers."""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.commands.clearance.officer import act
from libs.cli.common import REFUSED, Context, caller_of, caller_option, command, run
from libs.cli.views.text import refusal

if TYPE_CHECKING:
    from rich.console import Console

AUTHORITIES: Final = ("officer", "agency")
ADDRESSEES: Final = ("filer", "carrier")
_DOCUMENT: Final = re.compile(r"([A-Z0-9]{1,4})=(.+?)(?: sha256:([0-9a-f]{64}))?")
_REQUESTS: Final = {"documents": "filer", "information": "filer", "screening": "carrier"}
"""Who is to answer each form of request if the command does not say."""


@click.group("control", short_help="Order, answer, conclude and list controls of goods.")
def control() -> None:
    """Order, answer, conclude and list controls of goods.

    A control is a request for documents, a scan or an examination, ordered by customs or a partner agency; or a referral before loading: a request
    for information or for a screening, or a do-not-load. No goods are released while a control of theirs is open. Every command has --json, for
    programs.
    """


@command("order", group=control, short_help="Order a control, as an officer or an agency.")
@click.argument("mrns", metavar="MRN...", nargs=-1, required=True)
@click.option(
    "--form",
    required=True,
    metavar="FORM",
    help="documents, scan or examination; before loading information, screening or do_not_load.",
)
@click.option(
    "--reason", required=True, help="Stable reason, UPPER_SNAKE_CASE; filers read it, unless it is confidential."
)
@click.option("--confidential", is_flag=True, help="Only officers and analysts read the reason.")
@click.option("--text", default="", help="What is requested; required if somebody is to answer.")
@click.option("--pointer", default="", metavar="PATH", help="The element that it concerns, such as items[0].price.")
@click.option(
    "--from",
    "addressee",
    default="",
    metavar="ROLE",
    help="Who is to answer: filer or carrier (default: filer, carrier for screening).",
)
@click.option("--agency", default="", metavar="ID", help="The partner agency that concludes it (default: customs).")
@click.option("--days", type=click.FloatRange(0.001, 180), metavar="N", help="Deadline, N days from now.")
@click.option("--remind", type=click.FloatRange(0.0005, 180), metavar="N", help="Remind the addressee N days from now.")
@click.option(
    "--conclude", is_flag=True, help="After the deadline, hold the goods for an officer (default: it stays open)."
)
@click.option(
    "--do-not-load", "forbid", is_flag=True, help="After the deadline, forbid the loading (information and screening)."
)
@caller_option("The caller: an officer or an agency.")
def order(
    context: Context,
    mrns: tuple[str, ...],
    form: str,
    reason: str,
    confidential: bool,
    text: str,
    pointer: str,
    addressee: str,
    agency: str,
    days: float | None,
    remind: float | None,
    conclude: bool,
    forbid: bool,
    caller: str,
) -> None:
    """Order a control of goods that are not released. Hold released goods first."""
    import time

    from libs.client.clearance import controls
    from libs.client.row_errors import ElementError

    if conclude and forbid:
        raise click.UsageError("Give --conclude or --do-not-load, not both.")
    now = time.time_ns() // 1_000
    due, reminder = (None if each is None else now + round(each * 86_400_000_000) for each in (days, remind))
    try:
        orders = [
            controls.order_of(
                mrn,
                form=form,
                reason=reason,
                confidential=confidential,
                text=text,
                pointer=pointer,
                addressee=addressee or _REQUESTS.get(form.lower(), ""),
                authority=agency,
                due_micros=due,
                remind_micros=reminder,
                when_overdue="conclude" if conclude else "do_not_load" if forbid else "",
            )
            for mrn in mrns
        ]
    except ElementError as error:
        raise click.UsageError(f"{error.sentence} {error.hint}") from None
    _carry_out(context, "orders", orders, caller, AUTHORITIES)


@command("answer", group=control, short_help="Answer a request for documents, information or a screening.")
@click.argument("mrn")
@click.argument("number", type=click.IntRange(1, 99))
@click.option("--text", default="", help="The answer in plain words.")
@click.option(
    "--document",
    "documents",
    multiple=True,
    metavar="TYPE=NUMBER",
    help='Such as N380=INV-2026-17, perhaps with " sha256:HEX".',
)
@click.option("--screening", default="", metavar="RESULT", help="Result of a screening: clear, inconclusive or alarm.")
@caller_option("The caller: the filer or the carrier.", "filer")
def answer(
    context: Context, mrn: str, number: int, text: str, documents: tuple[str, ...], screening: str, caller: str
) -> None:
    """Answer control NUMBER of MRN (luxor show lists the controls). A later answer replaces the one before."""
    from libs.client.clearance import controls
    from libs.client.row_errors import ElementError

    named = []
    for each in documents:
        parts = _DOCUMENT.fullmatch(each)
        if parts is None:
            raise click.UsageError(f"--document {each}: give the type and the number, such as N380=INV-2026-17.")
        named.append((parts[1], parts[2], parts[3] or ""))
    if not text and not named and not screening:
        raise click.UsageError("Give --text, --document or --screening.")
    try:
        made = controls.answer_of(mrn, number, text=text, documents=named, screening=screening)
    except ElementError as error:
        raise click.UsageError(f"{error.sentence} {error.hint}") from None
    _carry_out(context, "answers", [made], caller, ADDRESSEES)


@command("conclude", group=control, short_help="Record the result of a control.")
@click.argument("mrn")
@click.argument("number", type=click.IntRange(1, 99))
@click.option("--result", required=True, metavar="RESULT", help="conform, not_conform or withdrawn.")
@click.option("--reason", required=True, help="Stable reason, UPPER_SNAKE_CASE.")
@click.option("--note", default="", help="A note; filers do not see it.")
@caller_option("The caller: an officer or an agency.")
def conclude(context: Context, mrn: str, number: int, result: str, reason: str, note: str, caller: str) -> None:
    """Record the result of control NUMBER of MRN; conform or withdrawn lifts a do-not-load.

    With the last control the goods continue, unless something else holds them.
    """
    from libs.client.clearance import controls
    from libs.client.row_errors import ElementError

    try:
        made = controls.conclusion_of(mrn, number, result=result, reason=reason, note=note)
    except ElementError as error:
        raise click.UsageError(f"{error.sentence} {error.hint}") from None
    _carry_out(context, "conclusions", [made], caller, AUTHORITIES)


@command("scan", group=control, short_help="Record the image of a scan and what was seen on it.")
@click.argument("mrn")
@click.argument("number", type=click.IntRange(1, 99))
@click.option("--result", required=True, metavar="RESULT", help="conform, suspicious or unreadable.")
@click.option("--device", required=True, metavar="ID", help="The device, as the scanner's system names it.")
@click.option(
    "--image-analyst", default="", metavar="ID", help="Who judged the image, as the scanner's system names them."
)
@click.option("--place", default="", help="Where something is suspicious, in plain words.")
@click.option(
    "--image", default="", metavar="ADDRESS", help="Address or identifier of the image in the scanner's system."
)
@click.option(
    "--case", "case_number", default=0, type=click.IntRange(0), help="The case to which the image is attached."
)
@click.option("--sha256", default="", metavar="HEX", help="SHA-256 of the image.")
@click.option("--media-type", default="", metavar="TYPE", help="Media type of the image, such as image/jpeg.")
@click.option(
    "--taken-at", default="", metavar="TIME", help="When it was taken, ISO 8601 with its zone (default: now)."
)
@caller_option("The caller: an officer or an agency.")
def scan(context: Context, mrn: str, number: int, taken_at: str, caller: str, **fields: Any) -> None:
    """Record a scan for control NUMBER of MRN; it concludes nothing. A later scan replaces the one before, which stays in the history."""
    from libs.client.clearance import controls
    from libs.client.row_errors import ElementError
    from libs.customs.time import parse_instant

    try:
        at = parse_instant(taken_at) if taken_at else time.time_ns() // 1_000
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--taken-at") from None
    try:
        made = controls.scan_of(mrn, number, taken_at_micros=at, **fields)
    except ElementError as error:
        raise click.UsageError(f"{error.sentence} {error.hint}") from None
    _carry_out(context, "scans", [made], caller, AUTHORITIES)


@command("scans", group=control, short_help="Record scans from files of a scanner's system.")
@click.argument(
    "paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True, path_type=Path)
)
@click.option(
    "--mapping",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="FILEs are messages in XML, or directories of them; this file maps their elements.",
)
@click.option("--request-id", default=None, metavar="ID", help="Makes a repetition idempotent (default: a new one).")
@caller_option("The caller: an agency or an officer.", "agency")
def scans(context: Context, paths: tuple[Path, ...], mapping: Path | None, request_id: str | None, caller: str) -> None:
    """Record the scans in FILE (- for standard input): a line of JSON each, with the fields of luxor.clearance.v1.ScanRecord.

    With --mapping, record those of a scanner's messages in XML: each for the one open control that its references lead to, once per identity
    of the message. The image itself is never stored.
    """
    from libs.client.clearance import controls

    if mapping is not None:
        if request_id is not None:
            raise click.UsageError("--request-id is for lines of JSON: a message in XML has an identity of its own.")
        _record_messages(context, paths, mapping, caller)
        return
    if len(paths) > 1 or paths[0].is_dir():
        raise click.UsageError("Name one file of lines of JSON, or messages in XML with --mapping.")
    try:
        with click.open_file(str(paths[0]), encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise click.UsageError(
            f"{paths[0]} has no UTF-8 at byte {error.start}. Lines of JSON are in UTF-8; messages in XML need --mapping."
        ) from None
    if text.lstrip("\ufeff \r\n\t").startswith("<"):
        raise click.UsageError(
            f"{paths[0]} is XML, and no --mapping is given: name the file that maps the elements of the scanner's messages."
        )
    try:
        made = controls.scans_of(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    _carry_out(context, "scans", made, caller, AUTHORITIES, request_id)


def _record_messages(context: Context, paths: tuple[Path, ...], mapping: Path, caller: str) -> None:
    from libs.client.clearance.scans.mapping import read_mapping
    from libs.client.clearance.scans.messages import messages_at, read_messages
    from libs.client.clearance.scans.recording import record_messages

    role, ident = caller_of(caller, AUTHORITIES)
    messages, results = read_messages(messages_at(paths), read_mapping(mapping))

    async def work() -> list[dict[str, Any]]:
        async with context.client(role, ident) as client:
            return await record_messages(client, messages, agency=role == "agency")

    if messages:
        results += run(work())

    def show(terminal: "Console") -> None:
        from libs.cli.views.clearance.scans import show_message_results

        show_message_results(terminal, results, [refusal(each) for each in results])

    context.emit(results, show)
    if any(each["outcome"] == "refused" for each in results):
        raise click.exceptions.Exit(REFUSED)


@command("list", group=control, short_help="List open controls.")
@click.option("--authority", default="", metavar="ID", help="Only of this agency; customs for those of customs.")
@click.option("--form", default="", metavar="FORM", help="Only of this form, such as documents or do_not_load.")
@click.option("--office", default="", help="Only of this office.")
@click.option("--overdue", is_flag=True, help="Only those whose deadline has passed.")
@click.option("--answered", is_flag=True, help="Only those that were answered.")
@caller_option("The caller: an officer, an analyst or an agency.")
def list_(context: Context, authority: str, form: str, office: str, overdue: bool, answered: bool, caller: str) -> None:
    """List open controls, the oldest consignment first."""
    from libs.client.clearance import controls
    from libs.client.row_errors import ElementError

    role, ident = caller_of(caller, (*AUTHORITIES, "analyst"))

    async def work() -> list[dict[str, Any]]:
        async with context.client(role, ident) as client:
            return await controls.open_controls(
                client, authority=authority, form=form, overdue=overdue, answered=answered, office=office
            )

    try:
        listed = run(work())
    except ElementError as error:
        raise click.UsageError(f"{error.sentence} {error.hint}") from None
    context.emit(listed, lambda terminal: _show(terminal, listed))


def _carry_out(
    context: Context,
    field: str,
    entries: list[Any],
    caller: str,
    roles: tuple[str, ...],
    request_id: str | None = None,
) -> None:
    from libs.client.clearance import controls

    role, ident = caller_of(caller, roles)

    act(context, role, ident, lambda client: controls.carry_out(client, field, entries, request_id=request_id))


def _show(terminal: "Console", controls: list[dict[str, Any]]) -> None:
    from libs.cli.views.consignment import open_controls
    from libs.cli.views.text import print_words

    print_words(terminal, open_controls(controls))
