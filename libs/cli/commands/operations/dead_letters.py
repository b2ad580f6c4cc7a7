"""`luxor dead-letters`: events that a consumer could not apply."""

from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import Context, acting, command, run

if TYPE_CHECKING:
    from rich.console import Console

CONSUMERS: Final = ("risk", "revenue", "clearance", "statistics")


@click.group("dead-letters", short_help="List events that could not be applied, and replay them.")
def dead_letters() -> None:
    """An event that a consumer cannot apply becomes a dead letter; later events of the same consignment wait behind it."""


@command("list", group=dead_letters)
@click.option(
    "--service", "services", type=click.Choice(CONSUMERS), multiple=True, help="Only of this service (default: of all)."
)
@click.option("--key", default="", help="Only of this consignment, by MRN.")
@click.option("--reason", default="", help="Only for this reason.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=100,
    show_default=True,
    help="Maximum of dead letters of each service.",
)
@acting("operator")
def list_letters(context: Context, services: tuple[str, ...], key: str, reason: str, limit: int, ident: str) -> None:
    """List the dead letters, in the order in which they would be replayed."""

    async def work() -> dict[str, Any]:
        from libs.client.plain import plain

        services_letters = {}
        async with context.client("operator", ident) as client:
            for service in services or CONSUMERS:
                answer = await client.dead_letters(service, key=key, reason=reason, page_size=limit)
                services_letters[service] = {"total": answer.total, "letters": [plain(each) for each in answer.letters]}
        return services_letters

    services_letters = run(work())
    context.emit(services_letters, lambda terminal: _show(terminal, services_letters))


@command("replay", group=dead_letters)
@click.argument("service", type=click.Choice(CONSUMERS))
@click.option("--id", "ids", type=int, multiple=True, help="This dead letter, with those of the same consignment.")
@click.option("--key", "keys", multiple=True, help="All dead letters of this consignment, by MRN.")
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@acting("operator")
def replay(
    context: Context, service: str, ids: tuple[int, ...], keys: tuple[str, ...], everything: bool, ident: str
) -> None:
    """Apply dead letters of a service again, in their order, each exactly once."""
    if sum(map(bool, (ids, keys, everything))) != 1:
        raise click.UsageError("Give --id, --key or --all.")

    async def work() -> dict[str, Any]:
        async with context.client("operator", ident) as client:
            answer = await client.replay_dead_letters(service, ids=ids, keys=keys, everything=everything)
            return {"letters": answer.letters, "keys": answer.keys}

    result = run(work())
    context.emit(
        result,
        lambda terminal: terminal.print(
            f"{result['letters']:,} letters of {result['keys']:,} consignments are applied again; "
            "`luxor dead-letters list` shows those that failed again."
        ),
    )


def _show(terminal: "Console", services_letters: dict[str, Any]) -> None:
    from libs.cli.views.text import safe, table, when
    from libs.customs.time import instant_text

    if not any(each["total"] for each in services_letters.values()):
        terminal.print("[green]There are no dead letters.[/]")
        return
    shown = table("service", "id", "consignment", "reason", "attempts", "since", right=(1, 4))
    for service, each in services_letters.items():
        for letter in each["letters"]:
            reason = f"[bold]{letter.get('reason', '')}[/]\n{safe(letter.get('message', ''))}"
            waits = " [cyan]replaying[/]" if letter.get("replaying") else ""
            shown.add_row(
                service,
                str(letter["id"]),
                safe(letter.get("key", "")),
                reason + waits,
                str(letter.get("tries", 0)),
                when(instant_text(letter.get("set_aside_at_micros", 0))),
            )
    terminal.print(shown)
    totals = ", ".join(f"{each['total']:,} of {service}" for service, each in services_letters.items())
    terminal.print(f"In all: {totals}. Replay with [bold]luxor dead-letters replay SERVICE --all[/]")
