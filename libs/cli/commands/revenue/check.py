"""`luxor revenue check`: lists the errors of a draft of law before it is applied or installed."""

from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, command, run
from libs.cli.law_files import changes_of, files_of

if TYPE_CHECKING:
    from rich.console import Console


@command("check", short_help="List the errors of law files, with file, line and rule.")
@click.argument("files", metavar="[NAME=]FILE...", nargs=-1)
@click.option(
    "--set",
    "values",
    metavar="PATH=VALUE",
    multiple=True,
    help="A changed value: its path, and the new value as YAML.",
)
@acting("analyst")
def check(context: Context, files: tuple[str, ...], values: tuple[str, ...], ident: str) -> None:
    """Check law files together with all other active law, and list all errors of the files; nothing is changed.

    The law knows a FILE by its directory and its own name, such as eu/rulebook.yaml for drafts/eu/rulebook.yaml; use NAME=FILE for another name.
    """
    changes, texts = changes_of(values), files_of(files)
    if not changes and not texts:
        raise click.UsageError("Give a file, or a value by --set.")

    async def work() -> list[dict[str, Any]]:
        from libs.client.revenue import what_ifs

        async with context.client("analyst", ident) as client:
            return await what_ifs.check(client, texts, changes)

    errors = run(work())
    context.emit({"mistakes": errors}, lambda terminal: _show(terminal, errors))
    if errors:
        raise click.exceptions.Exit(REFUSED)


def _show(terminal: "Console", errors: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import counted, safe

    for each in errors:
        line = f":{each['line']}" if each["line"] else ""
        where = f"{each['where']}: " if each["where"] else ""
        terminal.print(safe(f"{each['file']}{line}: {where}{each['sentence']}"), soft_wrap=True)
    terminal.print(
        "No errors: the draft can be applied."
        if not errors
        else f"{counted(len(errors), 'error')}; nothing was changed."
    )
