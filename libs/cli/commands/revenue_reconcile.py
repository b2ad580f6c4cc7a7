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
@acting("analyst")
def reconcile(context: Context, from_text: str | None, to_text: str | None, ident: str) -> None:
    """Compare each consignment's assessment with the ledger, and the ledger's sums with those of statistics, day by day.

    Exits with 1 where anything differs. What is under way differs for seconds: run it again, or for days that are over.
    """
    from libs.client.ledger import reconcile_day

    first, last = days_of(from_text, to_text)

    async def work() -> list[dict[str, Any]]:
        done = 0
        with console(errors=True).status("Comparing …") as status:

            def progress(count: int) -> None:
                nonlocal done
                done += count
                status.update(f"Comparing … {done:,} consignments")

            async with context.client("analyst", ident) as client:
                return [await reconcile_day(client, day, progress) for day in range(first, last + 1)]

    days = run(work())
    told = {
        "from_day": first,
        "to_day": last,
        "consignments": sum(each["consignments"] for each in days),
        "differences": sum(len(each["differences"]) for each in days),
        "days": days,
    }
    context.emit(told, lambda out: _reconciled(out, told))
    if told["differences"]:
        raise click.exceptions.Exit(REFUSED)


@command("chains", short_help="Prove that no entry of the ledger was altered.")
@click.option("--kept", metavar="NUMBER:HASH", help="A seal that was kept outside, to compare with.")
@acting("analyst")
def chains(context: Context, kept: str | None, ident: str) -> None:
    """Compute all hashes, balances and sums again from what was booked, in all 64 partitions, and compare the seals. Exits with 1 on any fault.

    It tells the newest seal. Give its number and hash to whoever audits and cannot write to the store, and have them kept there: who can
    write all of the store can make its chains and seals anew, but not a seal that is kept elsewhere. --kept compares with it.
    """
    from libs.client.ledger import check_chains, kept_seal

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
    from libs.cli.text import counted, money, safe, table

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
    if not differences:
        out.print(f"[green]Assessments, ledger and statistics agree[/] on {counted(count, 'consignment')}.")
        return
    out.print(f"[bold red]{counted(differences, 'difference')}[/] among {counted(count, 'consignment')}.")
    left = SHOWN_MAX
    for day in told["days"]:
        date = dt.date(1970, 1, 1) + dt.timedelta(days=day["day"])
        for each in day["differences"][:left]:
            out.print(f"{date}  [bold]{each['reason']}[/]  {safe(each.get('mrn', ''))}  {safe(each['sentence'])}")
        left -= min(left, len(day["differences"]))
    if differences > SHOWN_MAX:
        out.print(f"… and {differences - SHOWN_MAX:,} more; --json tells all.")


def _chains(out: "Console", told: dict[str, Any]) -> None:
    from libs.cli.text import counted, safe, when

    entries = f"{told['entries']:,} {'entry' if told['entries'] == 1 else 'entries'}"
    text = (
        f"{entries} with {counted(told['postings'], 'posting')} in {counted(told['partitions'], 'chain')}, "
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
