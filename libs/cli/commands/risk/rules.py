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
    """Maintain rule sets. A rule set is a profile with all files that it names. One person proposes it, another one activates it.

    Every command has --json, for programs.
    """


@command("check", group=rules)
@click.argument("profile", type=_PROFILE)
@acting("analyst")
def check(context: Context, profile: Path, ident: str) -> None:
    """Check a profile and apply it to recent consignments; nothing is stored.

    Exits with 1 if there are errors; each is printed with file, line and column.
    """

    async def work() -> dict[str, Any]:
        from libs.client.risk import rule_sets

        files, root = rule_sets.gather(profile)
        async with context.client("analyst", ident) as client:
            report = await rule_sets.check(client, files)
            return {**rule_sets.placed(report, root), "own_rules": rule_sets.own_rules(files)}

    report = run(work())
    context.emit(report, lambda terminal: show_report(terminal, report, os.path.relpath(profile)))
    if report["errors"]:
        raise click.exceptions.Exit(REFUSED)


@command("propose", group=rules)
@click.argument("profile", type=_PROFILE)
@click.option("--note", default="", help="Reason of the proposal, for the second person.")
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
            result = await rule_sets.propose(client, files, note)
            own = rule_sets.own_rules(files)
            return {**result, "report": {**rule_sets.placed(result["report"], root), "own_rules": own}}

    result = run(work())
    context.emit(result, lambda terminal: _show_draft(terminal, result, os.path.relpath(profile)))
    if result["report"]["errors"]:
        raise click.exceptions.Exit(REFUSED)


@command("activate", group=rules)
@click.argument("version")
@acting("analyst")
def activate(context: Context, version: str, ident: str) -> None:
    """Activate a rule set that another person proposed, or one that was active before."""

    async def work() -> dict[str, Any]:
        from libs.client.risk import rule_sets

        async with context.client("analyst", ident) as client:
            return await rule_sets.activate(client, version)

    result = run(work())

    def show(terminal: "Console") -> None:
        from libs.cli.views.text import safe

        replaced = f" instead of {safe(result['replaced'])}" if result["replaced"] else ""
        terminal.print(
            f"[bold]{safe(result['version'])}[/] is [green]active[/]{replaced}, on all replicas within a second."
        )

    context.emit(result, show)


@command("retire", group=rules)
@click.argument("version")
@acting("analyst")
def retire(context: Context, version: str, ident: str) -> None:
    """Withdraw a draft permanently."""

    async def work() -> dict[str, Any]:
        from libs.client.risk import rule_sets

        async with context.client("analyst", ident) as client:
            return await rule_sets.retire(client, version)

    result = run(work())
    context.emit(result, lambda terminal: terminal.print(f"{result['version']} is withdrawn.", markup=False))


@command("list", group=rules)
@acting("analyst")
def list_sets(context: Context, ident: str) -> None:
    """List the stored rule sets, the newest proposal first, and the active one."""

    async def work() -> dict[str, Any]:
        from libs.client.risk import rule_sets

        async with context.client("analyst", ident) as client:
            return await rule_sets.rule_sets(client)

    result = run(work())
    context.emit(result, lambda terminal: show_rule_sets(terminal, result))


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
            result, files = await rule_sets.rule_set(client, version)
        if directory is not None:
            _write(directory, files)
        return result

    result = run(work())
    context.emit(result, lambda terminal: _show_set(terminal, result, directory))


def _write(directory: Path, files: Any) -> None:
    if directory.exists() and any(directory.iterdir()):
        raise click.BadParameter(f"{directory} is not empty", param_hint="--to")
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _place(each: dict[str, Any]) -> str:
    """Return file, line and column in the form of editors."""
    line = f":{each['line']}" if each.get("line") else ""
    return f"{each.get('file', '')}{line}" + (f":{each['column']}" if each.get("column") else "")


def show_report(terminal: "Console", report: dict[str, Any], profile: str) -> None:
    """Print the report on a rule set."""
    from libs.cli.views.text import counted, safe

    for each in report["errors"]:
        _show_message(terminal, each, "bold red")
    if report["errors"]:
        terminal.print(f"\n[bold red]{counted(len(report['errors']), 'error')}[/]; nothing was changed.")
        return
    own = [each for each in report["warnings"] if is_own(each, profile)]
    for each in own:
        _show_message(terminal, each, "yellow")
    if len(own) < len(report["warnings"]):
        rest = counted(len(report["warnings"]) - len(own), "warning")
        terminal.print(f"[dim]{rest} about files that the profile builds on; --json lists them.[/]", soft_wrap=True)
    if report["sample_consignments"]:
        _show_sample(terminal, report)
    else:
        terminal.print("There are no recent consignments to apply it to.")
    warnings = counted(len(report["warnings"]), "warning")
    terminal.print(f"No errors, {warnings}: [bold]{safe(report.get('version', ''))}[/]", soft_wrap=True)


def _show_message(terminal: "Console", each: dict[str, Any], colour: str) -> None:
    from libs.cli.views.text import safe

    rule = f"{safe(each['element'])}: " if each.get("element") else ""
    terminal.print(f"[{colour}]{safe(_place(each))}[/]: {rule}{safe(each.get('message', ''))}", soft_wrap=True)


def _show_sample(terminal: "Console", report: dict[str, Any]) -> None:
    """Print the result of each rule of the profile on the sample, and in one line those of the profiles that it builds on."""
    from libs.cli.views.text import counted, safe, table

    names = set(report.get("own_rules", ())) & {each["rule"] for each in report["rules"]}
    own = [each for each in report["rules"] if not names or each["rule"] in names]
    shown = table("rule", "with result", "true", "without result", "", right=(1, 2, 3))
    for each in own:
        numbers = (f"{each.get(name, 0):,}" for name in ("judged", "matched", "unjudged"))
        shown.add_row(safe(each["rule"]), *numbers, "row by row" if each.get("fallback") else "")
    terminal.print(shown)
    inherited = len(report["rules"]) - len(own)
    if inherited:
        holding = sum(1 for each in report["rules"] if each["rule"] not in names and each.get("matched"))
        terminal.print(
            f"[dim]{counted(inherited, 'rule')} of the profiles that it builds on, of which {holding} are true for some; --json lists them.[/]"
        )
    terminal.print(f"On the {report['sample_consignments']:,} consignments that were assessed last.")


def is_own(each: dict[str, Any], profile: str) -> bool:
    """Return whether a warning is about the profile itself, and not about a file that it builds on."""
    return not profile or each.get("file", "") == profile or not each.get("line")


def _show_draft(terminal: "Console", result: dict[str, Any], profile: str) -> None:
    from libs.cli.views.text import safe

    show_report(terminal, result["report"], profile)
    if "version" in result:
        line = f"luxor risk rules activate {result['version']}"
        terminal.print(f"It is stored as a draft. A second person activates it with [bold]{safe(line)}[/]")


def show_rule_sets(terminal: "Console", result: dict[str, Any]) -> None:
    """Print the rule sets."""
    from libs.cli.views.text import coloured, safe, short, when

    for each in result["rule_sets"]:
        state = coloured(short(each["state"], "RULE_SET_STATE_"), _STATES)
        terminal.print(f"[bold]{safe(each['version'])}[/]  {state}", soft_wrap=True)
        for change in ("proposed", "activated", "retired"):
            if each.get(f"{change}_by"):
                terminal.print(
                    f"  {change} {when(each.get(f'{change}_at', ''))} by {safe(each[f'{change}_by'])}", soft_wrap=True
                )
        if each.get("note"):
            terminal.print(f"  {safe(each['note'])}", soft_wrap=True)
    terminal.print(f"Active: [bold]{safe(result['active_version'])}[/]", soft_wrap=True)


def _show_set(terminal: "Console", result: dict[str, Any], directory: Path | None) -> None:
    from libs.cli.views.text import coloured, safe, short, when

    state = coloured(short(result["state"], "RULE_SET_STATE_"), _STATES)
    terminal.print(f"[bold]{safe(result['version'])}[/]  {state}  {safe(result.get('note', ''))}")
    for change in ("proposed", "activated", "retired"):
        if result.get(f"{change}_by"):
            terminal.print(f"  {change} by {safe(result[f'{change}_by'])} at {when(result.get(f'{change}_at', ''))}")
    terminal.print(f"  files: {safe(', '.join(result['files']))}\n")
    show_report(terminal, result["report"], result["profile"])
    if directory is not None:
        terminal.print(f"Its files are in {safe(str(directory))}; the profile is {safe(result['profile'])}.")
