"""`luxor clearance check`: whether the stored consignments are what their events lead to."""

from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, caller_of, caller_option, command, run

if TYPE_CHECKING:
    from rich.console import Console


@command("check", short_help="Check the stored consignments against their events.")
@click.option(
    "--from", "from_day", default="", metavar="DAY", help="Only those accepted since DAY, such as 2026-11-01."
)
@caller_option("The caller: an operator, an officer or an analyst.", "operator")
def check(context: Context, from_day: str, caller: str) -> None:
    """Replay the versions of all stored consignments, and compare the table of states, the work lists and the references with them.

    It changes nothing and takes no lock, so it may run beside traffic. The exit code is 0 if all is consistent, else 1.
    """
    from libs.client.clearance.consistency import check as checked
    from libs.client.plain import plain

    role, ident = caller_of(caller, ("operator", "officer", "analyst"))

    async def work() -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        counts = {"consignments": 0, "versions": 0, "unsettled": 0}
        async with context.client(role, ident) as client:
            async for page in checked(client, from_day):
                found += [plain(each) for each in page.inconsistencies]
                counts = {name: count + getattr(page, name) for name, count in counts.items()}
        return counts | {"inconsistencies": found}

    result = run(work())

    def show(terminal: "Console") -> None:
        from libs.cli.views.text import counted, print_words, safe, short, table, words

        shown = table("MRN", "version", "", "", right=(1,))
        for each in result["inconsistencies"]:
            kind = words(short(each["kind"], "INCONSISTENCY_KIND_"))
            shown.add_row(safe(each["mrn"]), str(each.get("version", "")), kind, safe(each["detail"]))
        if result["inconsistencies"]:
            print_words(terminal, shown)
        terminal.print(
            f"{counted(result['consignments'], 'consignment')} with {counted(result['versions'], 'version')} checked, "
            f"{len(result['inconsistencies']):,} inconsistencies found."
        )
        if result["unsettled"]:
            terminal.print(f"{result['unsettled']:,} consignments changed too often to be checked; check again.")

    context.emit(result, show)
    if result["inconsistencies"]:
        raise click.exceptions.Exit(REFUSED)
