"""`luxor risk rules`: check, propose, activate, retire, list and show rule sets."""

import os
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
    """Check a profile and try it on recent consignments; nothing is stored.

    Exits with 1 where there are mistakes; each is printed with file, line and column.
    """

    async def work() -> dict[str, Any]:
        from libs.client.risk import rule_sets

        files, root = rule_sets.gather(profile)
        async with context.client("analyst", ident) as client:
            report = await rule_sets.check(client, files)
            return {**rule_sets.placed(report, root), "own_rules": rule_sets.own_rules(files)}

    report = run(work())
    context.emit(report, lambda out: _show_report(out, report, os.path.relpath(profile)))
    if report["errors"]:
        raise click.exceptions.Exit(REFUSED)


@command("propose", group=rules)
@click.argument("profile", type=_PROFILE)
@click.option("--note", default="", help="Why, for the second person.")
@acting("analyst")
def propose(context: Context, profile: Path, note: str, ident: str) -> None:
    """Propose a profile: it is stored as a draft, and changes nothing before a second person activates it.

    Exits with 1 if there are errors; each is printed with file, line and column, and nothing is stored.
    """

    async def work() -> dict[str, Any]:
        from libs.client.risk import rule_sets

        files, root = rule_sets.gather(profile)
        async with context.client("analyst", ident) as client:
            report = await rule_sets.check(client, files)
            if report["errors"]:
                return {"report": rule_sets.placed(report, root)}
            told = await rule_sets.propose(client, files, note)
            own = rule_sets.own_rules(files)
            return {**told, "report": {**rule_sets.placed(told["report"], root), "own_rules": own}}

    told = run(work())
    context.emit(told, lambda out: _show_draft(out, told, os.path.relpath(profile)))
    if told["report"]["errors"]:
        raise click.exceptions.Exit(REFUSED)


@command("activate", group=rules)
@click.argument("version")
@acting("analyst")
def activate(context: Context, version: str, ident: str) -> None:
    """Put a rule set into force that another person proposed, or go back to one that was in force before."""

    async def work() -> dict[str, Any]:
        from libs.client.risk import rule_sets

        async with context.client("analyst", ident) as client:
            return await rule_sets.activate(client, version)

    told = run(work())

    def show(out: "Console") -> None:
        from libs.cli.views.text import safe

        replaced = f" in place of {safe(told['replaced'])}" if told["replaced"] else ""
        out.print(f"[bold]{safe(told['version'])}[/] is [green]in force[/]{replaced}, on all replicas within a second.")

    context.emit(told, show)


@command("retire", group=rules)
@click.argument("version")
@acting("analyst")
def retire(context: Context, version: str, ident: str) -> None:
    """Withdraw a draft, which then cannot be activated any more."""

    async def work() -> dict[str, Any]:
        from libs.client.risk import rule_sets

        async with context.client("analyst", ident) as client:
            return await rule_sets.retire(client, version)

    told = run(work())
    context.emit(told, lambda out: out.print(f"{told['version']} is withdrawn.", markup=False))


@command("list", group=rules)
@acting("analyst")
def list_sets(context: Context, ident: str) -> None:
    """List the stored rule sets, the newest proposal first, and the active one."""

    async def work() -> dict[str, Any]:
        from libs.client.risk import rule_sets

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
    """Show the history of a rule set and the report of its check; with --to write its files."""

    async def work() -> dict[str, Any]:
        from libs.client.risk import rule_sets

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


def _show_report(out: "Console", report: dict[str, Any], profile: str) -> None:
    from libs.cli.views.text import counted, safe

    for each in report["errors"]:
        _show_told(out, each, "bold red")
    if report["errors"]:
        out.print(f"\n[bold red]{counted(len(report['errors']), 'mistake')}[/]; nothing was changed.")
        return
    own = [each for each in report["warnings"] if is_own(each, profile)]
    for each in own:
        _show_told(out, each, "yellow")
    if len(own) < len(report["warnings"]):
        rest = counted(len(report["warnings"]) - len(own), "warning")
        out.print(f"[dim]{rest} about what the profile builds on; --json lists them.[/]", soft_wrap=True)
    if report["sample_consignments"]:
        _show_sample(out, report)
    else:
        out.print("There are no recent consignments to try it on.")
    warnings = counted(len(report["warnings"]), "warning")
    out.print(f"No mistakes, {warnings}: [bold]{safe(report.get('version', ''))}[/]", soft_wrap=True)


def _show_told(out: "Console", each: dict[str, Any], colour: str) -> None:
    from libs.cli.views.text import safe

    rule = f"{safe(each['element'])}: " if each.get("element") else ""
    out.print(f"[{colour}]{safe(_place(each))}[/]: {rule}{safe(each.get('message', ''))}", soft_wrap=True)


def _show_sample(out: "Console", report: dict[str, Any]) -> None:
    """What each rule of the profile does on the sample, and in one line those that it takes from elsewhere."""
    from libs.cli.views.text import counted, safe, table

    names = set(report.get("own_rules", ())) & {each["rule"] for each in report["rules"]}
    own = [each for each in report["rules"] if not names or each["rule"] in names]
    shown = table("rule", "judged", "holds", "not judged", "", right=(1, 2, 3))
    for each in own:
        numbers = (f"{each.get(name, 0):,}" for name in ("judged", "matched", "unjudged"))
        shown.add_row(safe(each["rule"]), *numbers, "row by row" if each.get("fallback") else "")
    out.print(shown)
    others = len(report["rules"]) - len(own)
    if others:
        holding = sum(1 for each in report["rules"] if each["rule"] not in names and each.get("matched"))
        out.print(
            f"[dim]{counted(others, 'rule')} of what it builds on, of which {holding} hold for some; --json tells them.[/]"
        )
    out.print(f"On the {report['sample_consignments']:,} consignments that were assessed last.")


def is_own(each: dict[str, Any], profile: str) -> bool:
    """Tell whether a warning is about the profile itself, and not about a file that it builds on."""
    return not profile or each.get("file", "") == profile or not each.get("line")


def _show_draft(out: "Console", told: dict[str, Any], profile: str) -> None:
    from libs.cli.views.text import safe

    _show_report(out, told["report"], profile)
    if "version" in told:
        line = f"luxor risk rules activate {told['version']}"
        out.print(f"It is stored as a draft. A second person puts it into force with [bold]{safe(line)}[/]")


def _show_list(out: "Console", told: dict[str, Any]) -> None:
    from libs.cli.views.text import coloured, safe, short, when

    for each in told["rule_sets"]:
        state = coloured(short(each["state"], "RULE_SET_STATE_"), _STATES)
        out.print(f"[bold]{safe(each['version'])}[/]  {state}", soft_wrap=True)
        for act in ("proposed", "activated", "retired"):
            if each.get(f"{act}_by"):
                out.print(f"  {act} {when(each.get(f'{act}_at', ''))} by {safe(each[f'{act}_by'])}", soft_wrap=True)
        if each.get("note"):
            out.print(f"  {safe(each['note'])}", soft_wrap=True)
    out.print(f"In force: [bold]{safe(told['active_version'])}[/]", soft_wrap=True)


def _show_set(out: "Console", told: dict[str, Any], directory: Path | None) -> None:
    from libs.cli.views.text import coloured, safe, short, when

    state = coloured(short(told["state"], "RULE_SET_STATE_"), _STATES)
    out.print(f"[bold]{safe(told['version'])}[/]  {state}  {safe(told.get('note', ''))}")
    for act in ("proposed", "activated", "retired"):
        if told.get(f"{act}_by"):
            out.print(f"  {act} by {safe(told[f'{act}_by'])} at {when(told.get(f'{act}_at', ''))}")
    out.print(f"  files: {safe(', '.join(told['files']))}\n")
    _show_report(out, told["report"], told["profile"])
    if directory is not None:
        out.print(f"Its files are in {safe(str(directory))}; the profile is {safe(told['profile'])}.")
