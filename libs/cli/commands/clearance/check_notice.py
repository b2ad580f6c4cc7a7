"""`luxor check-notice`: whether a notice or a charge is genuine."""

from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import REFUSED, Context, caller_of, caller_option, command, run

if TYPE_CHECKING:
    from rich.console import Console

_SENTENCES: Final = {
    "GENUINE": "[green]Genuine.[/] Compare the amounts with those on the notice.",
    "NOT_GENUINE": "[red]Not genuine.[/] Customs did not issue this code for this MRN.",
    "NOT_CHECKABLE": "Cannot be checked: the key of this code is not stored. The code is invented, too old, or from before a restore.",
    "NO_LONGER_STORED": "Customs issued this code, but no longer stores the consignment.",
}
_AMOUNTS: Final = {
    "vendor_collected_minor": "collected by the vendor at the sale",
    "payable_minor": "to be paid at the border",
    "paid_minor": "paid at the border",
    "refunded_minor": "refunded",
}


@command("check-notice", short_help="Check whether a notice or a charge is genuine.")
@click.argument("code")
@click.argument("mrn")
@caller_option("The officer or gateway that checks.")
def check_notice(context: Context, code: str, mrn: str, caller: str) -> None:
    """Check the code and the MRN on a notice, and show what was assessed, paid and refunded.

    Exit code 1 if the notice is not genuine, cannot be checked or is no longer stored.
    """
    role, ident = caller_of(caller, ("officer", "gateway"))

    async def work() -> dict[str, Any]:
        from libs.client.clearance.notice_checks import check_notice

        async with context.client(role, ident) as client:
            return await check_notice(client, code, mrn)

    result = run(work())
    context.emit(result, lambda terminal: show_check(terminal, result))
    if result["outcome"] != "CHECK_OUTCOME_GENUINE":
        raise click.exceptions.Exit(REFUSED)


def show_check(terminal: "Console", result: dict[str, Any]) -> None:
    """Print the result of a check."""
    from libs.cli.views.law_review import at_least
    from libs.cli.views.text import STATES, coloured, money, safe, short, table, words

    outcome = short(result["outcome"], "CHECK_OUTCOME_")
    terminal.print(_SENTENCES.get(outcome, words(outcome)))
    if outcome != "GENUINE":
        return
    currency = result.get("currency", "")
    released = "released" if result.get("released") else "not released"
    state = coloured(short(result.get("state", ""), "STATE_"), STATES)
    terminal.print(f"State {state} ({released}), since {safe(result.get('changed_day', ''))}")
    shown = table("charge", "collected by", "owed by", "scheme", "amount", right=(4,))
    for charge in result.get("charges", ()):
        names = [words(short(charge.get(name, ""), f"{name.upper()}_")) for name in ("collector", "debtor", "scheme")]
        kind = words(short(charge.get("kind", ""), "CHARGE_KIND_"))
        shown.add_row(kind, *names, money(charge.get("amount_minor", 0), currency))
    if shown.rows:
        terminal.print(shown)
    for name, meaning in _AMOUNTS.items():
        amount = money(result[name], currency) if name in result else "not known"
        terminal.print(f"{at_least(result) if name == 'payable_minor' else ''}{amount} {meaning}")
    terminal.print(f"Debt at the border: {words(short(result.get('debt_status', ''), 'DEBT_STATUS_')) or 'not known'}")
