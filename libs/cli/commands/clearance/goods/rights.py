"""`luxor rights`: applications of holders of intellectual property rights, for officers."""

from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, command, run

if TYPE_CHECKING:
    from rich.console import Console


@click.group("rights", short_help="Register applications of rights holders, as an officer.")
def rights() -> None:
    """Register and list the applications of rights holders that customs granted.

    Customs examines goods whose brand or description has a word of one. Every command has --json, for programs.
    """


@command("put", group=rights, short_help="Register an application, or change it.")
@click.argument("number")
@click.option("--holder", required=True, help="Holder of the decision.")
@click.option("--rights", "named", required=True, help="The rights, such as numbers of trade marks.")
@click.option("--country", "countries", multiple=True, required=True, metavar="CC", help="Country of destination.")
@click.option("--from-day", required=True, metavar="DAY", help="First day of acceptance.")
@click.option("--to-day", required=True, metavar="DAY", help="Last day of acceptance.")
@click.option("--goods", multiple=True, required=True, metavar="CODE", help="Beginning of a commodity code; repeat it.")
@click.option("--word", "words", multiple=True, required=True, help="A brand, or words of the description; repeat it.")
@click.option("--revoke", is_flag=True, help="Revoke it: it matches nothing from now on.")
@click.option("--if-version", type=click.IntRange(1), default=None, help="Change it if it has this version.")
@acting("officer")
def put(
    context: Context,
    number: str,
    holder: str,
    named: str,
    countries: tuple[str, ...],
    from_day: str,
    to_day: str,
    goods: tuple[str, ...],
    words: tuple[str, ...],
    revoke: bool,
    if_version: int | None,
    ident: str,
) -> None:
    """Register application NUMBER; --if-version changes a registered one."""
    from libs.client.clearance.goods.rights import put_application

    async def work() -> dict[str, Any]:
        async with context.client("officer", ident) as client:
            return await put_application(
                client,
                number,
                holder=holder,
                rights=named,
                countries=countries,
                from_day=from_day,
                to_day=to_day,
                goods=goods,
                words=words,
                revoked=revoke,
                version=if_version or 0,
            )

    result = run(work())

    def show(terminal: "Console") -> None:
        from libs.cli.views.text import refusal

        terminal.print(refusal(result) or f"The application is at version {result.get('version', 0)}.")

    context.emit(result, show)
    if result.get("error"):
        raise click.exceptions.Exit(REFUSED)


@command("list", group=rights, short_help="List applications.")
@acting("officer")
def list_(context: Context, ident: str) -> None:
    """List applications by number, also those that were revoked."""
    from libs.client.clearance.goods.rights import applications

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await applications(client)

    registered = run(work())
    context.emit(registered, lambda terminal: _show(terminal, registered))


def _show(terminal: "Console", entries: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import print_words, safe, table

    shown = table("number", "holder", "words", "goods", "countries", "days", "version", right=(6,))
    for each in entries:
        shown.add_row(
            safe(each["number"]),
            safe(each["holder"]),
            safe(", ".join(each["words"])),
            " ".join(each["goods"]),
            " ".join(each["countries"]),
            f"{each['from_day']} to {each['to_day']}{' (revoked)' if each.get('revoked') else ''}",
            str(each["version"]),
        )
    print_words(terminal, shown)
