"""Write docs/revenue/jurisdictions.md: what law is shipped, as the rulebooks say. `--check` only reports whether the page is current."""

import sys
from pathlib import Path

from services.revenue.law.program.program import Program
from services.revenue.law.program.value_counts import counts_of
from services.revenue.law.source.reader import ReadRulebook
from services.revenue.law.source.rulebook import Charge, Dated, Limit, Rulebook, Span
from services.revenue.store.law_files import load_program

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "revenue" / "jurisdictions.md"
COMMAND = "python tools/jurisdiction_table.py"

_HEAD = f"""# The included law

Each jurisdiction has a folder in [services/revenue/rulebooks](../../services/revenue/rulebooks/README.md); the page there explains how a jurist
reads and changes it. This page is made from the rulebooks by `{COMMAND}`; `luxor revenue rulebooks` shows the same for a running
installation.

*Unverified*: the number of values that no person has compared with the text of the law. A value counts as verified if the value and its
reference are marked so. Every answer states how much of its amounts rests only on verified values. *Under a condition*: see `only` in the rulebook.
Tariffs are typical rates by chapter and heading where no published lines are included (*tariff lines*: those of the last day), and exchange rates
are examples. Replace both by the rates that the authority publishes before you collect money.
"""


def page() -> str:
    """Make the page."""
    program = load_program()
    books = sorted(program.books, key=lambda read: read.rulebook.name)
    chapters = [line for read in books for line in _chapter(read.rulebook)]
    return "\n".join([_HEAD, *_summary(program, books), "", *chapters]).rstrip() + "\n"


def _summary(program: Program, books: list[ReadRulebook]) -> list[str]:
    lines = [
        "| jurisdiction | destinations | days | values | unverified | tariff lines | unverified |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for read in books:
        book, counts = read.rulebook, counts_of(program, read)
        areas = ", ".join(book.areas) if len(book.areas) <= 3 else f"{len(book.areas)} countries"
        lines.append(
            f"| {book.name} ({book.jurisdiction}) | {areas} | {_days(book.period)} | {counts.values} | "
            f"{counts.unverified_values} | {counts.tariff_lines} | {counts.unverified_tariff_lines} |"
        )
    return lines


def _chapter(book: Rulebook) -> list[str]:
    lines = [
        f"## {book.name}",
        "",
        f"Currency {book.currency}; law of the day of {book.law_date.replace('_', ' ')}.",
        "",
    ]
    if book.limits:
        lines += ["| limit | days | amount | tested on | verified |", "| --- | --- | --- | --- | --- |"]
        for name, limits in book.limits.items():
            lines += [f"| {name} | {_days(limit)} | {_limit(limit)} | {_yes(book, limit)} |" for limit in limits]
        lines.append("")
    if book.reliefs:
        lines += ["| relief | days | up to | verified |", "| --- | --- | --- | --- |"]
        for name, reliefs in book.reliefs.items():
            lines += [f"| {name} | {_days(relief)} | {relief.amount} | {_yes(book, relief)} |" for relief in reliefs]
        lines.append("")
    lines += ["| charge | kind | days | collected by |", "| --- | --- | --- | --- |"]
    for charge in book.charges:
        collectors = {way.collector.replace("_", " "): None for way in charge.collection}
        lines.append(f"| {charge.name} (`{charge.id}`) | {charge.kind} | {_days(charge)} | {', '.join(collectors)} |")
    return [*lines, ""]


def _limit(limit: Limit) -> str:
    asks = [] if limit.condition is None else ["under a condition"]
    if limit.amount == "none":
        return " ".join(["no limit", *asks]) + " | "
    amount = f"{'under' if limit.at_the_limit == 'over' else 'up to'} {limit.amount} of {', '.join(limit.measure)}"
    if limit.amount == "all":
        amount = "any value"
    if limit.excluded:
        asks.append("some goods excluded")
    return ", ".join([amount, *asks]) + f" | {limit.test.replace('_', ' ')}"


def _yes(book: Rulebook, value: Dated) -> str:
    return "yes" if value.verified and book.references[value.reference].verified else "no"


def _days(span: Dated | Span | Charge) -> str:
    return f"{span.start} to {span.to}" if span.to else f"from {span.start}"


def main() -> int:
    """Write the page, or with `--check` return whether it is current."""
    text = page()
    if "--check" in sys.argv[1:]:
        if PAGE.exists() and PAGE.read_text("utf-8") == text:
            return 0
        print(f"{PAGE.relative_to(ROOT)} is not what the rulebooks say; run: {COMMAND}", file=sys.stderr)
        return 1
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
