"""`luxor revenue reconcile, chains`: the proofs that ledger, assessments and statistics agree and that nothing was altered."""

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
@click.option("--all", "again", is_flag=True, help="Compare every consignment of these days again, proven or not.")
@acting("analyst")
def reconcile(context: Context, from_text: str | None, to_text: str | None, again: bool, ident: str) -> None:
    """Report what is proven of the ledger and up to when, prove what else is booked when the command begins, and compare the sums of the
    days with statistics.

    The services prove in the background that no entry was altered and that each consignment owes what it was assessed at; a proof
    of everything from the beginning follows each day. --all compares the consignments accepted on the days again at once; `luxor revenue
    chains` computes all chains again. Exits with 1 where anything differs. What is under way differs for seconds: run it again.
    """
    first, last = days_of(from_text, to_text)
    work = _compared_again(context, ident, first, last) if again else _proven(context, ident, first, last)
    told = run(work)
    context.emit(told, lambda out: _reconciled(out, told))
    if told["differences"]:
        raise click.exceptions.Exit(REFUSED)


async def _compared_again(context: Context, ident: str, first: int, last: int) -> dict[str, Any]:
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
    return _told(first, last, days, []) | {"consignments": consignments}


async def _proven(context: Context, ident: str, first: int, last: int) -> dict[str, Any]:
    """Report what is proven, prove the rest, and compare the sums of the days."""
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
    told = _told(first, last, days, after["found"])
    differences = told["differences"] + after["faults"] - len(after["found"])
    return told | {
        "consignments": sum(each["consignments"] for each in days),
        "differences": differences,
        "proof": {name: value for name, value in after.items() if name != "found"},
        "proven_before": before["proven_until"],
    }


def _told(first: int, last: int, days: list[dict[str, Any]], faults: list[dict[str, Any]]) -> dict[str, Any]:
    differences = sum(len(each["differences"]) for each in days) + len(faults)
    return {"from_day": first, "to_day": last, "differences": differences, "faults": faults, "days": days}


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
@click.option("--kept", metavar="NUMBER:HASH", help="A seal that is stored elsewhere, to compare with.")
@acting("analyst")
def chains(context: Context, kept: str | None, ident: str) -> None:
    """Compute all hashes, balances and sums again from what was booked, in all 64 partitions, and compare the seals. Exits with 1 on any fault.

    It tells the newest seal. Give its number and hash to whoever audits and cannot write to the store, and have them kept there: who can
    write all of the store can make its chains and seals anew, but not a seal that is kept elsewhere. --kept compares with it.
    """
    from libs.client.revenue.ledger import check_chains, kept_seal

    seal = None if kept is None else kept_seal(kept)

    async def work() -> dict[str, Any]:
        done = 0
        with console(errors=True).status("Checking …") as status:

            def progress(count: int) -> None:
                nonlocal done
                done += count
                status.update(f"Checking … {done:,} entries")

            async with context.client("analyst", ident) as client:
                return await check_chains(client, progress, seal)

    told = run(work())
    context.emit(told, lambda out: _chains(out, told))
    if told["faults"]:
        raise click.exceptions.Exit(REFUSED)


def _reconciled(out: "Console", told: dict[str, Any]) -> None:
    from libs.cli.views.text import counted, money, safe, table

    sums: dict[tuple[str, str, str], int] = {}
    for day in told["days"]:
        for each in day["totals"]:
            key = (each["currency"], each["kind"], each["collector"])
            sums[key] = sums.get(key, 0) + each["amount_minor"]
    if sums:
        shown = table("charge", "collected by", "amount", right=(2,))
        for (currency, kind, collector), amount in sorted(sums.items()):
            shown.add_row(kind, collector.replace("_", " "), money(amount, currency))
        out.print(shown)
    count, differences = told["consignments"], told["differences"]
    if "proof" in told:
        out.print(_proof_line(told["proof"]), soft_wrap=True)
    if not differences:
        out.print(
            f"[green]Assessments, ledger and statistics agree[/] on {counted(count, 'consignment')} of these days.",
            soft_wrap=True,
        )
        return
    out.print(
        f"[bold red]{counted(differences, 'difference')}[/]; {counted(count, 'consignment')} of these days compared.",
        soft_wrap=True,
    )
    left = SHOWN_MAX
    for each in told["faults"][:left]:
        out.print(f"[bold]{each['reason']}[/]  {safe(each.get('mrn', ''))}  {safe(each['sentence'])}")
    left -= min(left, len(told["faults"]))
    for day in told["days"]:
        date = dt.date(1970, 1, 1) + dt.timedelta(days=day["day"])
        for each in day["differences"][:left]:
            out.print(f"{date}  [bold]{each['reason']}[/]  {safe(each.get('mrn', ''))}  {safe(each['sentence'])}")
        left -= min(left, len(day["differences"]))
    if differences > SHOWN_MAX:
        out.print(f"… and {differences - SHOWN_MAX:,} more; --json lists all.")


def _chains(out: "Console", told: dict[str, Any]) -> None:
    from libs.cli.views.text import counted, safe, when

    text = (
        f"{_entries(told['entries'])} with {counted(told['postings'], 'posting')} in {counted(told['partitions'], 'chain')}, "
        f"{counted(told['seals'], 'seal')} compared"
    )
    newest = told["newest_seal"]
    if newest is not None:
        out.print(
            f"Newest seal, to be kept outside: {newest['number']}:{newest['hash']} of {when(newest['sealed_at'])}",
            soft_wrap=True,
        )
    if not told["faults"]:
        out.print(f"[green]Nothing was altered[/]: {text}.")
        return
    out.print(f"[bold red]{counted(len(told['faults']), 'fault')}[/]: {text}.")
    for each in told["faults"]:
        out.print(f"  {safe(each)}")
