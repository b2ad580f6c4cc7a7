"""`luxor revenue law`: propose, review, confirm, list, show and compare versions of law, and recompute assessments by them."""

from datetime import UTC, datetime
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import REFUSED, Context, acting, command, run

if TYPE_CHECKING:
    from rich.console import Console

_STATES: Final = {"DRAFT": "cyan", "REVIEWED": "cyan", "SCHEDULED": "yellow", "ACTIVE": "green", "WITHDRAWN": "dim"}
_WHAT_IF: Final = click.option(
    "--what-if", "what_ifs", type=int, multiple=True, metavar="ID", help="A what-if run that shows its effect."
)


@click.group("law", short_help="Propose, review and confirm versions of law.")
def law() -> None:
    """Maintain versions of law. A version is all files of one jurisdiction. One person proposes it, it is reviewed value by value, and another
    person confirms it. Nothing of it is ever deleted.

    Every command has --json, for programs.
    """


@command("propose", group=law)
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--note", default="", help="Reason of the proposal, for the persons who review and confirm it.")
@_WHAT_IF
@acting("analyst")
def propose(context: Context, directory: Path, note: str, what_ifs: tuple[int, ...], ident: str) -> None:
    """Propose the law of DIRECTORY: one jurisdiction, or a directory for each of several.

    Each is checked with all other law in force and its cases are run. What agrees is stored as a draft and changes nothing. Jurisdictions whose files
    are stored already are left out.
    """
    from libs.client.errors import LuxorError
    from libs.client.revenue import law as client_law

    gathered = client_law.gather(directory)

    async def work() -> dict[str, Any]:
        drafts, stored = [], []
        async with context.client("analyst", ident) as client:
            for folder, files in gathered.items():
                try:
                    drafts.append(await client_law.propose(client, files, note, what_ifs))
                except LuxorError as error:
                    if error.reason != "LAW_VERSION_KNOWN":
                        raise
                    stored.append(folder)
        return {"drafts": drafts, "stored": stored}

    result = run(work())

    def show(terminal: "Console") -> None:
        from libs.cli.views.text import counted, safe

        for each in result["drafts"]:
            agreeing = (
                f"{counted(each['cases'], 'case')} run, without a difference" if each["cases"] else "it has no cases"
            )
            terminal.print(f"[bold]{safe(each['version'])}[/] is stored as a draft; {agreeing}.", soft_wrap=True)
        if result["stored"]:
            terminal.print(f"Stored already: {safe(', '.join(result['stored']))}.", soft_wrap=True)

    context.emit(result, show)


@command("review", group=law)
@click.argument("version")
@click.argument("reviews", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_WHAT_IF
@acting("analyst")
def review(context: Context, version: str, reviews: Path, what_ifs: tuple[int, ...], ident: str) -> None:
    """Record that values of VERSION were compared with the text of the law.

    REVIEWS is a YAML list: each entry has the place of the value, the day, the passage, the source (a file, of
    which the SHA-256 is recorded) and the day on which the review expires.
    """
    from libs.client.revenue import law as client_law

    read = client_law.read_reviews(reviews)

    async def work() -> dict[str, Any]:
        async with context.client("analyst", ident) as client:
            return await client_law.review(client, version, read, what_ifs)

    _emit_version(context, run(work()))


@command("confirm", group=law)
@click.argument("version")
@click.option(
    "--at",
    "moment",
    metavar="TIME",
    default="",
    help="When it takes effect, such as 2027-01-01T00:00:00Z; default: in a minute.",
)
@acting("officer")
def confirm(context: Context, version: str, moment: str, ident: str) -> None:
    """Bring VERSION into force on all replicas at one moment, as a person who neither proposed it nor reviewed it first."""
    effective_at = None
    if moment:
        try:
            effective_at = datetime.fromisoformat(moment)
        except ValueError:
            raise click.BadParameter(f"{moment!r} is no time such as 2027-01-01T00:00:00Z", param_hint="--at") from None
        effective_at = effective_at.replace(tzinfo=effective_at.tzinfo or UTC).astimezone(UTC)

    async def work() -> dict[str, Any]:
        from libs.client.revenue import law as client_law

        async with context.client("officer", ident) as client:
            return await client_law.confirm(client, version, effective_at)

    _emit_version(context, run(work()))


@command("cancel", group=law)
@click.argument("version")
@acting("officer")
def cancel(context: Context, version: str, ident: str) -> None:
    """Cancel the activation of VERSION that has not taken effect, or withdraw a version that was never confirmed."""

    async def work() -> dict[str, Any]:
        from libs.client.revenue import law as client_law

        async with context.client("officer", ident) as client:
            return await client_law.cancel(client, version)

    _emit_version(context, run(work()))


@command("cases", group=law)
@click.argument("version")
@acting("analyst")
def cases(context: Context, version: str, ident: str) -> None:
    """Run the cases of VERSION, and exit with 1 if any differs."""

    async def work() -> list[dict[str, Any]]:
        from libs.client.revenue import law as client_law

        async with context.client("analyst", ident) as client:
            return await client_law.cases(client, version)

    results = run(work())
    failing = [each for each in results if each["differences"]]

    def show(terminal: "Console") -> None:
        from libs.cli.views.text import counted, safe

        for each in failing:
            terminal.print(f"[bold red]{safe(each['id'])}[/]: {safe('; '.join(each['differences']))}", soft_wrap=True)
        terminal.print(f"{counted(len(results), 'case')}, {len(failing)} with differences.")

    context.emit({"cases": results}, show)
    if failing:
        raise click.exceptions.Exit(REFUSED)


@command("list", group=law)
@click.argument("jurisdiction", required=False, default="")
@acting("analyst")
def list_versions(context: Context, jurisdiction: str, ident: str) -> None:
    """List the stored versions, the newest first, of all jurisdictions or of one, such as EU."""

    async def work() -> list[dict[str, Any]]:
        from libs.client.revenue import law as client_law

        async with context.client("analyst", ident) as client:
            return await client_law.versions(client, jurisdiction)

    found = run(work())

    def show(terminal: "Console") -> None:
        for each in found:
            _show_version(terminal, each)
        if not found:
            terminal.print("No version is stored.")

    context.emit({"versions": found}, show)


@command("show", group=law)
@click.argument("version")
@click.option("--file", "file", default="", metavar="NAME", help="Print this file, such as eu/rulebook.yaml.")
@click.option(
    "--to", "directory", type=click.Path(file_okay=False, path_type=Path), help="Write its files into a new directory."
)
@acting("analyst")
def show_version(context: Context, version: str, file: str, directory: Path | None, ident: str) -> None:
    """Show VERSION, such as EU/2026.5: its state, its changes, its files and the reviews that count for its values."""

    async def work() -> tuple[dict[str, Any], dict[str, str]]:
        from libs.client.revenue import law as client_law

        async with context.client("analyst", ident) as client:
            return await client_law.version(client, version, file)

    found, files = run(work())
    if directory is not None:
        _write(directory, files)
    result = {**found, "files": files if file else sorted(files)}

    def show(terminal: "Console") -> None:
        from libs.cli.views.text import safe

        if file:
            terminal.print(files[file], markup=False, highlight=False, soft_wrap=True)
            return
        _show_version(terminal, found)
        for name, text in files.items():
            terminal.print(f"  {safe(name)}: {len(text.splitlines()):,} lines", soft_wrap=True)
        for each in found["reviews"]:
            expired = "  [yellow]expired[/]" if each["expired"] else ""
            terminal.print(
                f"  {safe(each['place'])}: reviewed {each['day']} by {safe(each['reviewer'])}, until {each['expires_on']}{expired}",
                soft_wrap=True,
            )

    context.emit(result, show)


@command("diff", group=law)
@click.argument("before")
@click.argument("after")
@acting("analyst")
def diff(context: Context, before: str, after: str, ident: str) -> None:
    """Show how the files of two versions differ, line by line."""

    async def work() -> tuple[dict[str, str], dict[str, str]]:
        from libs.client.revenue import law as client_law

        async with context.client("analyst", ident) as client:
            return (await client_law.version(client, before))[1], (await client_law.version(client, after))[1]

    one, other = run(work())
    lines: list[str] = []
    for name in sorted({*one, *other}):
        texts = (one.get(name, "").splitlines(), other.get(name, "").splitlines())
        lines += unified_diff(*texts, f"{before}:{name}", f"{after}:{name}", lineterm="")

    def show(terminal: "Console") -> None:
        terminal.print("\n".join(lines) or "The files are equal.", markup=False, highlight=False, soft_wrap=True)

    context.emit({"lines": lines}, show)


@command("recompute", group=law)
@click.argument("mrns", metavar="MRN[:VERSION]...", nargs=-1, required=True)
@acting("analyst")
def recompute(context: Context, mrns: tuple[str, ...], ident: str) -> None:
    """Assess stored consignments once more by the version of law that their assessment names; exit with 1 if any differs or cannot be assessed."""
    filings = []
    for text in mrns:
        mrn, _, number = text.partition(":")
        if number and not number.isdigit():
            raise click.BadParameter(f"{text!r} is no MRN with the number of a version, such as 26DE…:2")
        filings.append((mrn, int(number or 1)))

    async def work() -> list[dict[str, Any]]:
        from libs.client.revenue import law as client_law

        async with context.client("analyst", ident) as client:
            return await client_law.recompute(client, filings)

    results = run(work())

    def show(terminal: "Console") -> None:
        from libs.cli.views.text import money, safe, table

        shown = table("MRN", "version", "law", "stored", "recomputed", "", right=(3, 4))
        for each in results:
            amounts = ("", "")
            if not each["reason"]:
                amounts = (
                    money(each["stored_minor"], each["currency"]),
                    money(each["recomputed_minor"], each["currency"]),
                )
            outcome = each["reason"] or ("equal" if each["equal"] else "differs")
            shown.add_row(safe(each["mrn"]), str(each["version"]), safe(each["rulebook_version"]), *amounts, outcome)
        terminal.print(shown)

    context.emit({"results": results}, show)
    if not all(each["equal"] for each in results):
        raise click.exceptions.Exit(REFUSED)


def _write(directory: Path, files: dict[str, str]) -> None:
    if directory.exists() and any(directory.iterdir()):
        raise click.BadParameter(f"{directory} is not empty", param_hint="--to")
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _emit_version(context: Context, version: dict[str, Any]) -> None:
    context.emit(version, lambda terminal: _show_version(terminal, version))


def _show_version(terminal: "Console", version: dict[str, Any]) -> None:
    from libs.cli.views.text import coloured, safe, short, when

    state = coloured(short(version["state"], "LAW_VERSION_STATE_"), _STATES)
    terminal.print(f"[bold]{safe(version['version'])}[/]  {state}  {safe(version.get('note', ''))}", soft_wrap=True)
    for change in ("proposed", "reviewed", "withdrawn"):
        if version.get(f"{change}_by"):
            at = when(version.get(f"{change}_at", ""))
            terminal.print(f"  {change} {at} by {safe(version[f'{change}_by'])}", soft_wrap=True)
    for each in version["activations"]:
        cancelled = f", cancelled by {safe(each['cancelled_by'])}" if each.get("cancelled_by") else ""
        terminal.print(
            f"  confirmed by {safe(each['confirmed_by'])}, takes effect {when(each['effective_at'])}{cancelled}",
            soft_wrap=True,
        )
    if version["what_if_ids"]:
        terminal.print(f"  what-if runs: {', '.join(map(str, version['what_if_ids']))}")
