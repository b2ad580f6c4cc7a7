"""`luxor release-list`: signed lists of what may leave on arrival, for use while the system cannot be reached."""

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import REFUSED, Context, acting, command, run

if TYPE_CHECKING:
    from rich.console import Console

    from libs.client.clearance.release_lists import ReleaseList
    from libs.client.errors import LuxorError

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_KEY: Final = click.option(
    "--key", default="", metavar="HEX", help="The public key that must have signed the list (luxor release-list keys)."
)

_UNPROVEN: Final = "[yellow]Whole, but of unproven origin: give the --key that you received beforehand.[/]"


@click.group("release-list", short_help="Make signed release lists, use them without the system, and import them.")
def release_list() -> None:
    """Make signed release lists, use them without the system, and import what was marked.

    make, keys and import need the system; verify and mark do not. Every command has --json, for programs.
    """


@command("make", group=release_list, short_help="Write the release list of a flight or of master documents.")
@click.option("--flight", default="", metavar="TEXT", help="Flight, voyage or trip, such as LX0188.")
@click.option("--master", "masters", multiple=True, metavar="NUMBER", help="A master document of it; may be repeated.")
@click.option(
    "--arrived", default="", metavar="DAY", help="Without --master: day (UTC) on which it arrived, such as 2026-11-30."
)
@click.option("--arrives", default="", metavar="INSTANT", help="Expected arrival, such as 2026-11-30T08:00:00Z.")
@click.option("--until", default="", metavar="INSTANT", help="End of validity (default: 24 hours after the arrival).")
@click.option(
    "--out", "path", type=click.Path(dir_okay=False, path_type=Path), required=True, help="File to write (CSV)."
)
@acting("officer")
def make(
    context: Context,
    flight: str,
    masters: tuple[str, ...],
    arrived: str,
    arrives: str,
    until: str,
    path: Path,
    ident: str,
) -> None:
    """Write which consignments may leave on arrival without a further decision, and which stay.

    Name the master documents before the arrival: clearance learns with the arrival which of them a flight carries.
    """
    from libs.client.clearance import release_lists

    if not masters and not (flight and arrived):
        raise click.UsageError("name --master, or --flight with --arrived")
    request = release_lists.list_request(
        masters=masters,
        flight=flight,
        arrived=arrived,
        arrives_at=_instant(arrives, "--arrives"),
        valid_until=_instant(until, "--until"),
    )

    async def work() -> None:
        async with context.client("officer", ident) as client:
            await release_lists.make(client, request, path)

    run(work())
    _emit_list(context, release_lists.read_list(path), proven=True)


@command("keys", group=release_list, short_help="Print the public keys of release lists.")
@acting("officer")
def keys(context: Context, ident: str) -> None:
    """Print the public keys with which lists are signed, the newest first. Give them beforehand to those who verify lists."""
    from libs.client.clearance import release_lists

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await release_lists.keys(client)

    found = run(work())

    def show(terminal: "Console") -> None:
        for each in found:
            terminal.print(f"{each['number']:>5}  {each['public_key']}", soft_wrap=True)

    context.emit(found, show)


@command("verify", group=release_list, short_help="Verify a release list without the system.")
@click.argument("file", type=_FILE)
@_KEY
def verify(context: Context, file: Path, key: str) -> None:
    """Verify each row and signature of FILE, and that it is valid now. Exit code 1, with the first wrong row, if it is not."""
    signed = _read(file, key)
    _emit_list(context, signed, proven=bool(key))
    signed.check_valid(_now())


@command("mark", group=release_list, short_help="Record on a release list that goods left or were held.")
@click.argument("file", type=_FILE)
@click.option("--house", default="", metavar="NUMBER", help="House document of the goods.")
@click.option("--mrn", default="", help="Their MRN, if several lines have the house document, or none.")
@click.option("--line", default=0, metavar="NUMBER", help="Their line, for the same purpose.")
@click.option("--held", "stopped", is_flag=True, help="The goods are held; otherwise they left.")
@click.option("--at", "instant", default="", metavar="INSTANT", help="When (default: now).")
@click.option("--by", required=True, metavar="ID", help="The officer who decided.")
@click.option(
    "--marks", type=click.Path(dir_okay=False, path_type=Path), help="File of marks (default: FILE.marks.csv)."
)
@click.option(
    "--anyway",
    is_flag=True,
    help="Record also goods that are not listed, that left although they must stay, or a second, other decision.",
)
@_KEY
def mark(
    context: Context,
    file: Path,
    house: str,
    mrn: str,
    line: int,
    stopped: bool,
    instant: str,
    by: str,
    marks: Path | None,
    anyway: bool,
    key: str,
) -> None:
    """Add a decision on goods, by house document, MRN or line, to the marks on FILE, which is verified first."""
    from libs.client.clearance import release_lists

    at = _instant(instant, "--at")
    made = release_lists.mark(
        _read(file, key),
        marks or file.with_name(f"{file.name}.marks.csv"),
        house=house,
        mrn=mrn,
        line=line,
        decision="HELD" if stopped else "RELEASED",
        at=_now() if at is None else at,
        by=by,
        anyway=anyway,
    )
    plain = {"line": made.line, "house": made.house, "mrn": made.mrn, "decision": made.decision}

    def show(terminal: "Console") -> None:
        from libs.cli.views.text import visible

        row = visible(f"{made.decision} line {made.line} {made.house} {made.mrn}")
        terminal.print(row, markup=False, soft_wrap=True)
        if not key:
            terminal.print(_UNPROVEN, soft_wrap=True)

    context.emit(plain, show)


@command("import", group=release_list, short_help="Import the marks on a release list, as an officer.")
@click.argument("file", type=_FILE)
@click.argument("marks", type=_FILE)
@click.option("--intact", is_flag=True, help="Of a damaged file, import the marks before the first wrong row.")
@acting("officer")
def import_(context: Context, file: Path, marks: Path, intact: bool, ident: str) -> None:
    """Import MARKS on the list FILE, and reconcile the whole list. A repeated import changes nothing.

    Exit code 1 if there are discrepancies, which are listed with both sides, or rows that --intact left out.
    """
    from libs.client.clearance import release_lists

    signed = _read(file, "")
    if intact:
        made, error = release_lists.intact_marks(marks, signed)
    else:
        made, error = release_lists.read_marks(marks, signed), None

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await release_lists.import_marks(client, signed, made)

    results = run(work())
    for each in results:
        each["outcome"] = each["outcome"].removeprefix("RELEASE_LIST_OUTCOME_")
    counts = dict(Counter(each["outcome"] for each in results))
    value = {"serial": signed.header.serial, "lines": len(signed.entries), "counts": counts, "results": results}
    value |= {} if error is None else {"not_imported": error.sentence}
    context.emit(value, lambda terminal: _show(terminal, counts, results, error))
    if error is not None or any(each in counts for each in release_lists.DISCREPANCIES):
        raise click.exceptions.Exit(REFUSED)


def _show(
    terminal: "Console", counts: dict[str, int], results: list[dict[str, Any]], error: "LuxorError | None"
) -> None:
    from libs.cli.views.text import STATES, coloured, minute, print_words, safe, short, table, words
    from libs.client.clearance.release_lists import DISCREPANCIES

    for outcome, count in sorted(counts.items()):
        terminal.print(f"{count:>7} {words(outcome)}")
    shown = table("line", "house document", "MRN", "listed", "marked", "by", "state now", "", right=(0,))
    for each in results:
        if each["outcome"] in DISCREPANCIES:
            entry, marked = each.get("entry", {}), each.get("mark", {})
            decision = "" if not entry else "release" if entry.get("release") else "stay"
            shown.add_row(
                str(entry.get("line", "–")),
                safe(entry.get("house_document_number") or marked.get("house_document_number", "")),
                safe(entry.get("mrn") or marked.get("mrn", "")),
                decision,
                f"{words(short(marked.get('decision', ''), 'RELEASE_LIST_DECISION_'))} {minute(marked.get('marked_at', ''))}",
                safe(marked.get("marked_by", "")),
                coloured(short(each.get("state", ""), "STATE_"), STATES),
                words(each["outcome"]),
            )
    if shown.rows:
        print_words(terminal, shown)
    if error is not None:
        terminal.print(f"[yellow]Not imported: this row and those after it. {safe(error.sentence)}[/]", soft_wrap=True)


def _emit_list(context: Context, signed: "ReleaseList", *, proven: bool) -> None:
    from libs.cli.views.text import visible
    from libs.customs.time import instant_text

    header = signed.header
    leave = sum(each.release for each in signed.entries)
    value = {
        "serial": header.serial,
        "flight": header.conveyance,
        "made_at": instant_text(header.made_at),
        "arrives_at": instant_text(header.arrives_at),
        "valid_until": instant_text(header.valid_until),
        "officer": header.officer,
        "key_number": header.key_number,
        "public_key": header.public_key.hex(),
        "lines": len(signed.entries),
        "release": leave,
        "stay": len(signed.entries) - leave,
    }

    def show(terminal: "Console") -> None:
        for name, text in value.items():
            terminal.print(visible(f"{name.replace('_', ' '):<12} {text}"), markup=False, soft_wrap=True)
        if not proven:
            terminal.print(_UNPROVEN, soft_wrap=True)

    context.emit(value, show)


def _read(file: Path, key: str) -> "ReleaseList":
    from libs.client.clearance.release_lists import read_list

    try:
        return read_list(file, bytes.fromhex(key) if key else None)
    except ValueError:
        raise click.BadParameter(f"{key} is no public key: 64 hexadecimal digits", param_hint="--key") from None


def _instant(text: str, option: str) -> int | None:
    from libs.customs.time import parse_instant

    try:
        return parse_instant(text) if text else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def _now() -> int:
    return time.time_ns() // 1_000
