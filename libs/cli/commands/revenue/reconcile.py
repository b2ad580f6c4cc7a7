"""`luxor revenue reconcile, chains`: proofs that ledger, assessments and statistics agree and that no entry was altered."""

import datetime as dt
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, command, console, run
from libs.cli.days import days_of

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_MAX = 50


@command("reconcile", short_help="Prove that ledger, assessments and statistics agree, and name each difference.")
@click.option("--from", "from_text", metavar="DAY", help="First day of acceptance (default: a week ago).")
@click.option("--to", "to_text", metavar="DAY", help="Last day of acceptance (default: today).")
@click.option(
    "--all", "compare_all", is_flag=True, help="Compare every consignment of these days, also the proven ones."
)
@acting("analyst")
def reconcile(context: Context, from_text: str | None, to_text: str | None, compare_all: bool, ident: str) -> None:
    """Report the proven part of the ledger, prove the entries that follow it, and compare the totals of the days with statistics.

    In the background, revenue proves that no entry was altered and that each consignment owes its assessed amount; every day it proves
    everything from the beginning. --all compares all consignments that were accepted on the days; `luxor revenue chains` recomputes all
    chains. Exits with 1 if there is a difference. Current traffic may differ for seconds: then run it again.
    """
    first, last = days_of(from_text, to_text)
    work = _compare_all(context, ident, first, last) if compare_all else _prove(context, ident, first, last)
    result = run(work)
    context.emit(result, lambda terminal: _reconciled(terminal, result))
    if result["differences"]:
        raise click.exceptions.Exit(REFUSED)


async def _compare_all(context: Context, ident: str, first: int, last: int) -> dict[str, Any]:
    """Compare each consignment of the days."""
    from libs.client.revenue.ledger import reconcile_day

    done = 0
    with console(errors=True).status("Comparing …") as status:

        def progress(count: int) -> None:
            nonlocal done
            done += count
            status.update(f"Comparing … {done:,} consignments")

        async with context.client("analyst", ident) as client:
            days = [await reconcile_day(client, day, progress) for day in range(first, last + 1)]
    consignments = sum(each["consignments"] for each in days)
    return _result(first, last, days, []) | {"consignments": consignments}


async def _prove(context: Context, ident: str, first: int, last: int) -> dict[str, Any]:
    """Report the proven part, prove the rest, and compare the totals of the days."""
    from libs.client.revenue.ledger import proof, prove, totals_of_day

    err = console(errors=True)
    async with context.client("analyst", ident) as client:
        before = await proof(client)
        err.print(_proof_line(before), soft_wrap=True)
        with err.status("Proving …") as status:

            def progress(now: dict[str, Any]) -> None:
                status.update(f"Proving … {_entries(now['entries_left'])} left")

            await prove(client, progress)
            status.update("Comparing with statistics …")
            days = [await totals_of_day(client, day) for day in range(first, last + 1)]
        after = await proof(client)
    result = _result(first, last, days, after["found"])
    differences = result["differences"] + after["faults"] - len(after["found"])
    return result | {
        "consignments": sum(each["consignments"] for each in days),
        "differences": differences,
        "proof": {name: value for name, value in after.items() if name != "found"},
        "proven_before": before["proven_until"],
    }


def _result(
    first: int, last: int, days: list[dict[str, Any]], found_differences: list[dict[str, Any]]
) -> dict[str, Any]:
    differences = sum(len(each["differences"]) for each in days) + len(found_differences)
    return {"from_day": first, "to_day": last, "differences": differences, "faults": found_differences, "days": days}


def _entries(number: int) -> str:
    return f"{number:,} {'entry' if number == 1 else 'entries'}"


def _proof_line(proof: dict[str, Any]) -> str:
    from libs.cli.views.text import when

    if not proof["entries"]:
        return f"Nothing is proven yet; {_entries(proof['entries_left'])} to prove."
    seal = f", seal {proof['seal']['number']}" if proof["seal"] else ""
    left = f"; {_entries(proof['entries_left'])} left" if proof["entries_left"] else ""
    return f"Proven up to {when(proof['proven_until'])}: {_entries(proof['entries'])}{seal}{left}."


@command("chains", short_help="Prove that no entry of the ledger was altered.")
@click.option(
    "--seal",
    "seal_text",
    metavar="NUMBER:HASH",
    help="An external seal: compare it with the stored seal of that number.",
)
@click.option("--kept", "former_seal_text", hidden=True)  # the name of releases before 0.3
@acting("analyst")
def chains(context: Context, seal_text: str | None, former_seal_text: str | None, ident: str) -> None:
    """Recompute all hashes, balances and totals from the entries, in all 64 partitions, and compare the seals. Exits with 1 on a difference.

    It prints the newest seal. Give its number and hash to an auditor who cannot write to the store. A person who can write the whole store
    can create new chains and seals, but cannot change a seal that is stored elsewhere. --seal compares with such a seal.
    """
    from libs.client.revenue.ledger import check_chains, parse_seal

    text = former_seal_text if seal_text is None else seal_text
    seal = None if text is None else parse_seal(text)

    async def work() -> dict[str, Any]:
        done = 0
        with console(errors=True).status("Checking …") as status:

            def progress(count: int) -> None:
                nonlocal done
                done += count
                status.update(f"Checking … {done:,} entries")

            async with context.client("analyst", ident) as client:
                return await check_chains(client, progress, seal)

    result = run(work())
    context.emit(result, lambda terminal: show_chains(terminal, result))
    if result["faults"]:
        raise click.exceptions.Exit(REFUSED)


def _reconciled(terminal: "Console", result: dict[str, Any]) -> None:
    from libs.cli.views.text import counted, money, safe, table

    totals: dict[tuple[str, str, str], int] = {}
    for day in result["days"]:
        for each in day["totals"]:
            key = (each["currency"], each["kind"], each["collector"])
            totals[key] = totals.get(key, 0) + each["amount_minor"]
    if totals:
        shown = table("charge", "collected by", "amount", right=(2,))
        for (currency, kind, collector), amount in sorted(totals.items()):
            shown.add_row(kind, collector.replace("_", " "), money(amount, currency))
        terminal.print(shown)
    count, differences = result["consignments"], result["differences"]
    if "proof" in result:
        terminal.print(_proof_line(result["proof"]), soft_wrap=True)
    if not differences:
        terminal.print(
            f"[green]Assessments, ledger and statistics agree[/] on {counted(count, 'consignment')} of these days.",
            soft_wrap=True,
        )
        return
    terminal.print(
        f"[bold red]{counted(differences, 'difference')}[/]; {counted(count, 'consignment')} of these days compared.",
        soft_wrap=True,
    )
    left = SHOWN_MAX
    for each in result["faults"][:left]:
        terminal.print(f"[bold]{each['reason']}[/]  {safe(each.get('mrn', ''))}  {safe(each['sentence'])}")
    left -= min(left, len(result["faults"]))
    for day in result["days"]:
        date = dt.date(1970, 1, 1) + dt.timedelta(days=day["day"])
        for each in day["differences"][:left]:
            terminal.print(f"{date}  [bold]{each['reason']}[/]  {safe(each.get('mrn', ''))}  {safe(each['sentence'])}")
        left -= min(left, len(day["differences"]))
    if differences > SHOWN_MAX:
        terminal.print(f"… and {differences - SHOWN_MAX:,} more; --json lists all.")


def show_chains(terminal: "Console", result: dict[str, Any]) -> None:
    """Print the result of a check of the chains."""
    from libs.cli.views.text import counted, safe, when

    text = (
        f"{_entries(result['entries'])} with {counted(result['postings'], 'posting')} in {counted(result['partitions'], 'chain')}, "
        f"{counted(result['seals'], 'seal')} compared"
    )
    newest = result["newest_seal"]
    if newest is not None:
        terminal.print(
            f"Newest seal, for the auditor: {newest['number']}:{newest['hash']} of {when(newest['sealed_at'])}",
            soft_wrap=True,
        )
    if not result["faults"]:
        terminal.print(f"[green]Nothing was altered[/]: {text}.")
        return
    terminal.print(f"[bold red]{counted(len(result['faults']), 'difference')}[/]: {text}.")
    for each in result["faults"]:
        terminal.print(f"  {safe(each)}")
