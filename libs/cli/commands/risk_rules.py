"""`luxor risk rules`: check, propose, activate, retire, list and show rule sets."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import REFUSED, Context, acting, command, run

if TYPE_CHECKING:
    from rich.console import Console

_STATES: Final = {"DRAFT": "cyan", "ACTIVE": "green", "RETIRED": "dim"}
_PROFILE: Final = click.Path(dir_okay=False, path_type=Path)


@click.group("rules", short_help="Check, propose and activate rule sets.")
def rules() -> None:
    """A rule set is a profile with all files that it names. One person proposes it, a second one activates it.

    Every command takes --json, for machines.
    """


@command("check", group=rules)
@click.argument("profile", type=_PROFILE)
@acting("analyst")
def check(context: Context, profile: Path, ident: str) -> None:
    """Check a profile and try it on recent consignments; nothing is kept.

    Exits with 1 where there are mistakes; each is printed with file, line and column.
    """

    async def work() -> dict[str, Any]:
        from libs.client import rule_sets

        files, root = rule_sets.gather(profile)
        async with context.client("analyst", ident) as client:
            return rule_sets.placed(await rule_sets.check(client, files), root)

    report = run(work())
    context.emit(report, lambda out: _show_report(out, report))
    if report["mistakes"]:
        raise click.exceptions.Exit(REFUSED)


@command("propose", group=rules)
@click.argument("profile", type=_PROFILE)
@click.option("--note", default="", help="Why, for the second person.")
@acting("analyst")
def propose(context: Context, profile: Path, note: str, ident: str) -> None:
    """Propose a profile: it is kept as a draft, and changes nothing before a second person activates it.

    Exits with 1 where there are mistakes; each is printed with file, line and column, and nothing is kept.
    """

    async def work() -> dict[str, Any]:
        from libs.client import rule_sets

        files, root = rule_sets.gather(profile)
        async with context.client("analyst", ident) as client:
            report = await rule_sets.check(client, files)
            if report["mistakes"]:
                return {"report": rule_sets.placed(report, root)}
            told = await rule_sets.propose(client, files, note)
            return {**told, "report": rule_sets.placed(told["report"], root)}

    told = run(work())
    context.emit(told, lambda out: _show_draft(out, told))
    if told["report"]["mistakes"]:
        raise click.exceptions.Exit(REFUSED)


@command("activate", group=rules)
@click.argument("version")
@acting("analyst")
def activate(context: Context, version: str, ident: str) -> None:
    """Put a rule set into force that another person proposed, or go back to one that was in force before."""

    async def work() -> dict[str, Any]:
        from libs.client import rule_sets

        async with context.client("analyst", ident) as client:
            return await rule_sets.activate(client, version)

    told = run(work())

    def show(out: "Console") -> None:
        from libs.cli.text import safe

        replaced = f" in place of {safe(told['replaced'])}" if told["replaced"] else ""
        out.print(f"[bold]{safe(told['version'])}[/] is [green]in force[/]{replaced}, on all replicas within a second.")

    context.emit(told, show)


@command("retire", group=rules)
@click.argument("version")
@acting("analyst")
def retire(context: Context, version: str, ident: str) -> None:
    """Withdraw a draft, which then cannot be activated any more."""

    async def work() -> dict[str, Any]:
        from libs.client import rule_sets

        async with context.client("analyst", ident) as client:
            return await rule_sets.retire(client, version)

    told = run(work())
    context.emit(told, lambda out: out.print(f"{told['version']} is withdrawn.", markup=False))


@command("list", group=rules)
@acting("analyst")
def list_sets(context: Context, ident: str) -> None:
    """List the rule sets that are kept, the newest proposal first, and tell which is in force."""

    async def work() -> dict[str, Any]:
        from libs.client import rule_sets

        async with context.client("analyst", ident) as client:
            return await rule_sets.rule_sets(client)

    told = run(work())
    context.emit(told, lambda out: _show_list(out, told))


@command("show", group=rules)
@click.argument("version")
@click.option(
    "--to", "directory", type=click.Path(file_okay=False, path_type=Path), help="Write its files into a new directory."
)
@acting("analyst")
def show_set(context: Context, version: str, directory: Path | None, ident: str) -> None:
    """Tell who did what with a rule set and what checking it told; with --to write its files."""

    async def work() -> dict[str, Any]:
        from libs.client import rule_sets

        async with context.client("analyst", ident) as client:
            told, files = await rule_sets.rule_set(client, version)
        if directory is not None:
            _write(directory, files)
        return told

    told = run(work())
    context.emit(told, lambda out: _show_set(out, told, directory))


def _write(directory: Path, files: Any) -> None:
    if directory.exists() and any(directory.iterdir()):
        raise click.BadParameter(f"{directory} is not empty", param_hint="--to")
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _place(each: dict[str, Any]) -> str:
    """File, line and column as editors take them."""
    line = f":{each['line']}" if each.get("line") else ""
    return f"{each.get('file', '')}{line}" + (f":{each['column']}" if each.get("column") else "")


def _show_report(out: "Console", report: dict[str, Any]) -> None:
    from libs.cli.text import safe, table

    for kind, colour in (("mistakes", "bold red"), ("warnings", "yellow")):
        for each in report[kind]:
            rule = f"{safe(each['rule'])}: " if each.get("rule") else ""
            out.print(f"[{colour}]{safe(_place(each))}[/]: {rule}{safe(each.get('message', ''))}", soft_wrap=True)
    if report["mistakes"]:
        out.print(f"\n[bold red]{len(report['mistakes'])} mistakes[/]; nothing was changed.")
        return
    if report["sample_consignments"]:
        shown = table("rule", "judged", "holds", "not judged", "", right=(1, 2, 3))
        for each in report["rules"]:
            numbers = (f"{each.get(name, 0):,}" for name in ("judged", "held", "unjudged"))
            shown.add_row(safe(each["rule"]), *numbers, "row by row" if each.get("fallback") else "")
        out.print(shown)
        out.print(f"On the {report['sample_consignments']:,} consignments that were assessed last.")
    else:
        out.print("There are no recent consignments to try it on.")
    out.print(f"No mistakes, {len(report['warnings'])} warnings: [bold]{safe(report.get('version', ''))}[/]")


def _show_draft(out: "Console", told: dict[str, Any]) -> None:
    from libs.cli.text import safe

    _show_report(out, told["report"])
    if "version" in told:
        line = f"luxor risk rules activate {told['version']}"
        out.print(f"It is kept as a draft. A second person puts it into force with [bold]{safe(line)}[/]")


def _show_list(out: "Console", told: dict[str, Any]) -> None:
    from libs.cli.text import coloured, safe, short, table, when

    shown = table("version", "state", "proposed", "by", "activated", "by", "note")
    for each in told["rule_sets"]:
        shown.add_row(
            safe(each["version"]),
            coloured(short(each["state"], "RULE_SET_STATE_"), _STATES),
            when(each.get("proposed_at", "")),
            safe(each.get("proposed_by", "")),
            when(each.get("activated_at", "")),
            safe(each.get("activated_by", "")),
            safe(each.get("note", "")),
        )
    if told["rule_sets"]:
        out.print(shown)
    out.print(f"In force: [bold]{safe(told['in_force'])}[/]")


def _show_set(out: "Console", told: dict[str, Any], directory: Path | None) -> None:
    from libs.cli.text import coloured, safe, short, when

    state = coloured(short(told["state"], "RULE_SET_STATE_"), _STATES)
    out.print(f"[bold]{safe(told['version'])}[/]  {state}  {safe(told.get('note', ''))}")
    for act in ("proposed", "activated", "retired"):
        if told.get(f"{act}_by"):
            out.print(f"  {act} by {safe(told[f'{act}_by'])} at {when(told.get(f'{act}_at', ''))}")
    out.print(f"  files: {safe(', '.join(told['files']))}\n")
    _show_report(out, told["report"])
    if directory is not None:
        out.print(f"Its files are in {safe(str(directory))}; the profile is {safe(told['profile'])}.")
