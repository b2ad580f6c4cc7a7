"""`luxor case`: officers open, change and close cases of related consignments."""

from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click

from libs.cli.commands.clearance.cases.view import show_case, show_cases, show_changed
from libs.cli.common import REFUSED, Context, acting, caller_of, caller_option, command, run

NUMBER = click.argument("number", type=click.IntRange(1))
NOTE = click.option("--note", default="", help="A note for colleagues, with line breaks if you like.")
REASON = click.option("--reason", required=True, help="Stable reason, UPPER_SNAKE_CASE.")
VERSION = click.option(
    "--if-version",
    "version",
    type=click.IntRange(1),
    required=True,
    metavar="VERSION",
    help="Only if VERSION is still the version of the case (luxor case show prints it), so that no change of a colleague is overwritten.",
)
UNLESS_CHANGED = click.option(
    "--if-version", "version", type=click.IntRange(1), metavar="VERSION", help="Only if VERSION is still the version of the case."
)  # fmt: skip


@click.group("case", short_help="Open, change and close cases of related consignments.")
def case() -> None:
    """Open, change and close cases of related consignments, as an officer.

    A case holds and releases nothing. Only officers and analysts read it. Every command has --json, for programs.
    """


@command("open", group=case, short_help="Open a case.")
@click.argument("mrns", metavar="[MRN...]", nargs=-1)
@click.option("--title", required=True, help="A title that colleagues recognise.")
@click.option("--party", default="", metavar="KEY", help="Consignments of this party, by its identifier or name.")
@click.option("--transport", default="", metavar="KEY", help="Consignments of this master document or conveyance.")
@click.option("--match", default="", metavar="LIST/ENTRY", help="Consignments that this entry of a list matched.")
@click.option("--office", default="", help="The office that works on it.")
@click.option("--officer", default="", metavar="ID", help="The officer who works on it.")
@NOTE
@acting("officer")
def open_(
    context: Context,
    mrns: tuple[str, ...],
    title: str,
    party: str,
    transport: str,
    match: str,
    office: str,
    officer: str,
    note: str,
    ident: str,
) -> None:
    """Open a case with consignments of one party, one transport or one screening match; without these, with those that you select."""
    keys = {"party": party, "transport": transport, "screening_match": match}
    named = {relation: key for relation, key in keys.items() if key}
    if len(named) > 1:
        raise click.UsageError("--party, --transport and --match exclude each other.")
    relation, key = next(iter(named.items()), ("selection", ""))
    from libs.client.clearance.cases.case_files import open_case

    async def ask() -> dict[str, Any]:
        async with context.client("officer", ident) as client:
            return await open_case(
                client, title, mrns, relation=relation, key=key, office=office, officer=officer, note=note
            )

    _emit(context, ask())


@command("add", group=case, short_help="Add consignments to a case.")
@NUMBER
@click.argument("mrns", metavar="[MRN...]", nargs=-1)
@click.option("--master", default="", metavar="DOCUMENT", help="All consignments under this master document.")
@NOTE
@UNLESS_CHANGED
@acting("officer")
def add(
    context: Context, number: int, mrns: tuple[str, ...], master: str, note: str, version: int | None, ident: str
) -> None:
    """Add consignments to an open case: those that are named, or all under a master document."""
    if bool(mrns) == bool(master) or (master and version):
        raise click.UsageError("Name consignments by MRN, perhaps with --if-version, or all of them by --master.")
    from libs.client.clearance.cases.case_files import add as add_consignments
    from libs.client.clearance.cases.case_files import add_transport

    async def ask() -> dict[str, Any]:
        async with context.client("officer", ident) as client:
            if master:
                return await add_transport(client, number, master, note=note)
            return await add_consignments(client, number, mrns, version=version, note=note)

    _emit(context, ask())


@command("remove", group=case, short_help="Remove consignments from a case.")
@NUMBER
@click.argument("mrns", metavar="MRN...", nargs=-1, required=True)
@REASON
@NOTE
@UNLESS_CHANGED
@acting("officer")
def remove(
    context: Context, number: int, mrns: tuple[str, ...], reason: str, note: str, version: int | None, ident: str
) -> None:
    """Remove consignments from an open case; its history shows them."""
    from libs.client.clearance.cases.case_files import remove as remove_consignments

    async def ask() -> dict[str, Any]:
        async with context.client("officer", ident) as client:
            return await remove_consignments(client, number, mrns, reason=reason, version=version, note=note)

    _emit(context, ask())


@command("note", group=case, short_help="Add a note to a case.")
@NUMBER
@click.argument("text")
@UNLESS_CHANGED
@acting("officer")
def note(context: Context, number: int, text: str, version: int | None, ident: str) -> None:
    """Add a note to an open case. It is never changed."""
    from libs.client.clearance.cases.case_files import note_cases

    async def ask() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await note_cases(client, {number: version}, text)

    _emit_one(context, ask())


@command("attach", group=case, short_help="Attach a file to a case.")
@NUMBER
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", default="", help="Its name in the case (default: that of the file).")
@click.option(
    "--type",
    "content_type",
    default="",
    metavar="TYPE",
    help="pdf, jpeg, png, tiff, xml, json or text (default: by the end of the name).",
)
@NOTE
@UNLESS_CHANGED
@acting("officer")
def attach(
    context: Context,
    number: int,
    file: Path,
    name: str,
    content_type: str,
    note: str,
    version: int | None,
    ident: str,
) -> None:
    """Attach a file of at most 32 MiB to an open case. It is never removed."""
    from libs.client.clearance.cases.attachments import attach as attach_file

    async def ask() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await attach_file(client, {number: version}, file, name=name, content_type=content_type, note=note)

    _emit_one(context, ask())


@command("download", group=case, short_help="Write an attachment to a file.")
@NUMBER
@click.argument("sha256")
@click.argument("file", type=click.Path(exists=False, path_type=Path))
@caller_option("The caller: officer or analyst.")
def download(context: Context, number: int, sha256: str, file: Path, caller: str) -> None:
    """Write an attachment to a new file, once it has its SHA-256. The content is not opened: consider where it came from before you do."""
    from libs.client.clearance.cases.attachments import download as download_file

    role, ident = caller_of(caller, ("officer", "analyst"))

    async def ask() -> dict[str, Any]:
        async with context.client(role, ident) as client:
            return await download_file(client, number, sha256, file)

    attachment = run(ask())
    context.emit(
        attachment, lambda terminal: terminal.print(f"{attachment['bytes']:,} bytes written to {file}", markup=False)
    )


@command("assign", group=case, short_help="Assign a case to an officer.")
@NUMBER
@click.option("--to", "officer", default="", metavar="ID", help="The officer (default: nobody).")
@click.option("--office", default=None, help="The office (default: as before).")
@NOTE
@VERSION
@acting("officer")
def assign(
    context: Context, number: int, officer: str, office: str | None, note: str, version: int, ident: str
) -> None:
    """Assign an open case to an officer, and perhaps to another office."""
    from libs.client.clearance.cases.case_files import assign as assign_cases

    async def ask() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await assign_cases(client, {number: version}, officer, office=office, note=note)

    _emit_one(context, ask())


@command("close", group=case, short_help="Close a case with an outcome.")
@NUMBER
@click.option(
    "--outcome",
    required=True,
    metavar="OUTCOME",
    help="no_irregularity, corrected, violation, referred, duplicate or not_clarified.",
)
@REASON
@NOTE
@VERSION
@acting("officer")
def close(context: Context, number: int, outcome: str, reason: str, note: str, version: int, ident: str) -> None:
    """Close an open case with its outcome."""
    from libs.client.clearance.cases.case_files import close as close_cases

    async def ask() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await close_cases(client, {number: version}, outcome, reason=reason, note=note)

    _emit_one(context, ask())


@command("reopen", group=case, short_help="Open a closed case again.")
@NUMBER
@REASON
@NOTE
@VERSION
@acting("officer")
def reopen(context: Context, number: int, reason: str, note: str, version: int, ident: str) -> None:
    """Open a closed case again; its outcome stays in the history."""
    from libs.client.clearance.cases.case_files import reopen as reopen_cases

    async def ask() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await reopen_cases(client, {number: version}, reason=reason, note=note)

    _emit_one(context, ask())


@command("show", group=case, short_help="Show a case with its consignments and its history.")
@NUMBER
@click.option(
    "--first", default=100, show_default=True, type=click.IntRange(0, 10_000), help="At most so many consignments."
)
@click.option("--verified", is_flag=True, help="Only if its events lead to what is stored of it.")
@caller_option("The caller: officer or analyst.")
def show(context: Context, number: int, first: int, verified: bool, caller: str) -> None:
    """Show a case with its consignments and its history."""
    from libs.client.clearance.cases.case_files import case_of

    role, ident = caller_of(caller, ("officer", "analyst"))

    async def ask() -> dict[str, Any]:
        async with context.client(role, ident) as client:
            return await case_of(client, number, consignments_max=first, verified=verified)

    answer = run(ask())
    context.emit(answer, lambda terminal: show_case(terminal, answer))


@command("list", group=case, short_help="List cases.")
@click.option("--office", default=None, help="Only those of this office.")
@click.option("--state", default="", metavar="STATE", help="Only open or closed ones.")
@click.option("--officer", default=None, metavar="ID", help='Only those that this officer works on; "" for nobody.')
@click.option("--mrn", default="", help="Only those that contain this consignment.")
@click.option(
    "--relation", default="", metavar="RELATION", help="Only those of selection, party, transport or screening_match."
)
@click.option("--key", default="", help="Only those with this key of the relation.")
@click.option(
    "--sha256",
    default="",
    metavar="HASH",
    help="Only those with this attachment, as the documents of a control name it.",
)
@click.option("--first", default=100, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@caller_option("The caller: officer or analyst.")
def list_(
    context: Context,
    office: str | None,
    state: str,
    officer: str | None,
    mrn: str,
    relation: str,
    key: str,
    sha256: str,
    first: int,
    caller: str,
) -> None:
    """List cases: open ones first, then the oldest first."""
    from libs.client.clearance.cases.case_files import case_list

    role, ident = caller_of(caller, ("officer", "analyst"))

    async def ask() -> list[dict[str, Any]]:
        async with context.client(role, ident) as client:
            return await case_list(
                client,
                office=office,
                state=state,
                officer=officer,
                mrn=mrn,
                relation=relation,
                key=key,
                sha256=sha256.removeprefix("sha256:"),
                items_max=first,
            )

    answer = _answer_of(ask())
    context.emit(answer, lambda terminal: show_cases(terminal, answer))


def _answer_of(work: Coroutine[Any, Any, Any]) -> Any:
    """Return what the client answers; a word that it does not know is an incorrect command line."""
    from libs.client.row_errors import ElementError

    try:
        return run(work)
    except ElementError as error:
        raise click.UsageError(f"{error.sentence} {error.hint}") from None


def _emit_one(context: Context, work: Coroutine[Any, Any, list[dict[str, Any]]]) -> None:
    """Print the result of a change of one case; a refusal ends with exit code 1."""
    (result,) = _answer_of(work)
    _show(context, {"case": result})


def _emit(context: Context, work: Coroutine[Any, Any, dict[str, Any]]) -> None:
    """Print the result of a case and of consignments in it; refusals end with exit code 1."""
    _show(context, _answer_of(work))


def _show(context: Context, answer: dict[str, Any]) -> None:
    context.emit(answer, lambda terminal: show_changed(terminal, answer))
    if any(each.get("error") for each in (answer.get("case", {}), *answer.get("results", ()))):
        raise click.exceptions.Exit(REFUSED)
