"""The report that the demo prints at its end."""

from collections.abc import Iterator
from typing import Any

from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.rule import Rule

from libs.cli.demo import ledger
from libs.cli.demo.demonstration import SHARES, Outcome
from libs.cli.views.consignment import render
from libs.cli.views.law_review import review_text
from libs.cli.views.text import LANES, coloured, duration, money, percentile, safe, table, words

_SAMPLES = {
    "released": "A released consignment, and what it owes",
    "held": "A held consignment, and the reasons",
    "vendor": "A consignment whose tax the platform collected at the sale",
}


def show(terminal: Console, outcome: Outcome) -> None:
    """Print everything."""
    terminal.print()
    terminal.print(Rule("[bold]Results[/]", align="left", style="dim"))
    for line in _headline(outcome):
        terminal.print(line)
    terminal.print()
    terminal.print(Columns([_lanes(outcome), _times(outcome)], padding=(0, 3)))
    terminal.print(_revenue(outcome))
    for line in _law(outcome):
        terminal.print(line)
    for line in ledger.lines(outcome.books):
        terminal.print(line)
    terminal.print()
    terminal.print(_reasons(outcome))
    terminal.print(_truth(outcome))
    for kind, title in _SAMPLES.items():
        if kind in outcome.samples:
            terminal.print(Rule(f"[bold]{title}[/]", align="left", style="dim"))
            terminal.print(render(outcome.samples[kind]))


def _headline(outcome: Outcome) -> Iterator[str]:
    total = max(outcome.total_seconds, 1e-9)
    yield (
        f"{outcome.filers} carriers filed [bold]{outcome.accepted:,}[/] consignments on {outcome.flights:,} flights "
        f"in {outcome.filing_seconds:.1f} s."
    )
    if outcome.amended:
        yield f"{outcome.amended:,} were amended before their goods arrived, and decided again."
    yield (
        f"After {total:.1f} s all were assessed, decided, released or held, and counted: "
        f"[bold]{outcome.accepted / total:,.0f} a second[/], the simulator's own work included."
    )
    if outcome.sales.filed:
        contradicted = ", ".join(f"{reason} {number:,}" for reason, number in outcome.sales.contradicted.most_common())
        yield (
            f"Platforms had filed {outcome.sales.filed:,} sales before; {outcome.sales.declared:,} of them were declared, "
            f"and these differ from their declarations: {contradicted or 'none'}."
        )
    if outcome.payments.joined:
        yield (
            f"A payment provider filed {outcome.payments.filed:,} payments as parts, which were added to {outcome.payments.joined:,} consignments; "
            f"{outcome.payments.contradicting:,} of these state another amount."
        )
    if outcome.refused:
        reasons = ", ".join(f"{name} {number:,}" for name, number in outcome.refused.items())
        yield f"[red]{sum(outcome.refused.values()):,} were refused: {reasons}.[/]"


def _lanes(outcome: Outcome) -> RenderableType:
    shown = table("lane", "released", "held", "share", title="Lanes and states", right=(1, 2, 3))
    all_of_them = max(1, sum(outcome.lanes.values()))
    released = held = 0
    for lane in [*LANES, "–"]:
        free, held_count = outcome.lanes[lane, "RELEASED"], outcome.lanes[lane, "HELD"]
        if free + held_count:
            shown.add_row(
                coloured(lane, LANES),
                f"{free:,}",
                f"{held_count:,}",
                f"{100 * (free + held_count) / all_of_them:.1f} %",
            )
        released, held = released + free, held + held_count
    shown.add_section()
    shown.add_row("all", f"{released:,}", f"{held:,}", "")
    return shown


def _times(outcome: Outcome) -> RenderableType:
    names = ["half", *(f"{share:.0%}".replace("%", " %") for share in SHARES[1:-1]), "slowest"]
    shown = table("time from", *names, title="Times (filed at full speed)", right=range(1, len(names) + 1))
    for name, values in (
        ("acceptance to decision", outcome.decision_micros),
        ("arrival to release", outcome.release_micros),
    ):
        if values:
            shown.add_row(name, *(duration(percentile(values, share)) for share in SHARES))
    return shown


def _revenue(outcome: Outcome) -> RenderableType:
    rows = sorted(outcome.revenue, key=lambda row: (row.get("currency", ""), -row.get("amount_minor", 0)))
    shown = table("currency", "kind", "collected by", "charges", "amount", title="Revenue", right=(3, 4))
    before, total = "", 0
    for row in rows:
        currency, amount = row.get("currency", ""), row.get("amount_minor", 0)
        if not row.get("charges"):
            continue
        if before and currency != before:
            shown.add_row("", "", "", "", f"[bold]{money(total, before)}[/]", end_section=True)
            total = 0
        kind, collector = row["keys"]
        shown.add_row(
            currency if currency != before else "", words(kind), words(collector), f"{row['charges']:,}",
            money(amount, currency),
        )  # fmt: skip
        before, total = currency, total + amount
    if before:
        shown.add_row("", "", "", "", f"[bold]{money(total, before)}[/]")
    return shown


def _law(outcome: Outcome) -> Iterator[str]:
    """Yield lines about the part of the charges that rests on reviewed law, and about consignments that may owe more."""
    for currency, charged in sorted(outcome.charged.items()):
        yield f"Law: {review_text(charged, outcome.reviewed[currency], currency)}"
    if outcome.lower_bounds:
        yield f"{outcome.lower_bounds:,} consignments owe at least the shown amounts: the included law does not cover all of their charges."


def _reasons(outcome: Outcome, limit: int = 10) -> RenderableType:
    shown = table("reason", "consignments", "held", "meaning", title="Top reasons", right=(1, 2))
    for reason, number in outcome.reasons.most_common(limit):
        shown.add_row(
            reason, f"{number:,}", f"{outcome.held_reasons[reason]:,}", f"[dim]{safe(_meaning(outcome, reason))}[/]"
        )
    return shown


def _meaning(outcome: Outcome, reason: str) -> str:
    known = {"NO_RULEBOOK": "There is no rulebook for the destination, so nothing can be computed."}
    return outcome.sentences.get(reason) or known.get(reason, "")


def _truth(outcome: Outcome) -> RenderableType:
    """Return the table of the simulator's labels, which the system does not have, and the held share of each."""
    shown = table(
        "label",
        "consignments",
        "held",
        "share held",
        title="Compared with the labels of the simulator",
        right=(1, 2, 3),
    )
    labels = sorted({label for label, _ in outcome.labels}, key=lambda label: (not label, label))
    counts: dict[str, tuple[int, int]] = {
        label: (outcome.labels[label, True] + outcome.labels[label, False], outcome.labels[label, True])
        for label in labels
    }
    for label, (number, held) in counts.items():
        shown.add_row(words(label) if label else "honest", f"{number:,}", f"{held:,}", f"{100 * held / number:.1f} %")
    return shown


def go_on(terminal: Console, data_dir: Any) -> None:
    """Print commands for the next steps."""
    terminal.print(Rule("[bold]Next steps[/]", align="left", style="dim"))
    steps = [
        ("luxor up", "starts the whole system and leaves it running"),
        ("luxor file --template", "prints a CSV to fill in; luxor file PATH files it, of any size"),
        (
            "luxor quote --to DE --from CN --item 620630:31.98",
            "computes the landed cost of a parcel, with the law",
        ),
        ("luxor show REF", "shows a consignment by MRN, local reference, house or master document"),
        ("luxor --help", "lists all commands"),
    ]
    grid = table("command", "what it does")
    for name, text in steps:
        grid.add_row(f"[bold]{name}[/]", text)
    terminal.print(grid)
    if data_dir is not None:
        terminal.print(f"The data are stored: [bold]luxor up --data-dir {safe(data_dir)}[/]", soft_wrap=True)
