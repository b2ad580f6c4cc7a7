"""Write docs/reasons.md: every reason of the catalogue, with what it means and what to do."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from libs.server.catalogue import STATUS, Reason, reasons

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reasons.md"
COMMAND = "python tools/reason_table.py"

AREAS: dict[str, str] = {
    "server": "Any call, whatever its service.",
    "client": "The client library and the command line, before a call or without an answer.",
    "feed": "Streams of events between services.",
    "columns": "Filings that are packed as columns.",
    "ingestion": "Filings: errors refuse the consignment, warnings do not.",
    "risk": "Risk: rule sets, models, assessments.",
    "revenue": "Revenue: law, ledger, what-if.",
    "clearance": "Clearance: states, arrivals, controls, cases, returns.",
    "statistics": "Statistics.",
    STATUS: "States, notices, decisions, findings of risk, notes of assessments, comparisons with sales, proofs of the ledger and dead letters. "
    "Nothing is refused with them, so they have no code. `concerns` names the element of the filing; it is empty where the reason concerns the "
    "consignment as a whole, or no consignment. Reasons that also refuse or warn are in the other sections. Rules of your own have reasons of "
    "their own.",
}
"""What the reasons of each area of the catalogue concern."""

_HEAD = f"""# Reasons

Every reason with which Luxor refuses, warns, fails or decides, by area. A reason never changes, so programs may rely on it. Names in braces stand
for the facts of a case: `{{value}}` is the rejected value, `{{path}}` its element. `luxor explain REASON` prints an entry of this page without a
running system.

Made from [the catalogue](../libs/server/catalogue.yaml) by `{COMMAND}`.
"""


def page() -> str:
    """Return the whole page."""
    entries = reasons()
    return "\n".join([_HEAD, *_sections(entries.values())])


def _sections(entries: Iterable[Reason]) -> Iterator[str]:
    by_area: dict[str, list[Reason]] = {area: [] for area in AREAS}
    for entry in entries:
        by_area[entry.area].append(entry)
    for area, found in by_area.items():
        if found:
            column = "concerns" if area == STATUS else "code"
            yield f"## {area.capitalize()}\n\n{AREAS[area]}\n\n| reason | {column} | what it means | what to do |\n| --- | --- | --- | --- |"
            for entry in sorted(found, key=lambda each: each.reason):
                hint = f"{entry.hint} On the command line: {entry.command}" if entry.command else entry.hint
                concerned = f"`{entry.path}`" if entry.path else ""
                what = entry.code.name if entry.refuses else concerned
                yield f"| `{entry.reason}` | {what} | {cell(entry.sentence)} | {cell(hint)} |"
            yield ""


def cell(text: str) -> str:
    """Return a text as a cell: what Markdown would read as HTML or as the end of the cell is escaped outside of code."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()).replace("|", "\\|"))
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;").replace("*", "\\*") for part in parts)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
