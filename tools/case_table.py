"""Write docs/sandbox-cases.md: every case of the sandbox, as libs/sandbox/cases.py says."""

import sys
from collections.abc import Iterator
from pathlib import Path

from libs.sandbox.cases import CASES, NOT_COVERED, Act, Case
from libs.sandbox.responses.calls import CALLS, Subject
from libs.sandbox.responses.failures import FAILURES
from libs.sandbox.responses.not_covered import cause_of
from libs.server.catalogue import reasons
from tools.reason_table import cell

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "sandbox-cases.md"
COMMAND = "python -m tools.case_table"

_HEAD = f"""# Cases of the sandbox

A local reference selects a case by its beginning: `HOLD-0001`, or with a delay of 30 seconds before each act of customs, `HOLD.30-0001`.
So does the reference of a sale, a part, an arrival, its reversal and a departure.
[The sandbox](sandbox.md) explains the rest.

Made from [the cases](../libs/sandbox/cases.py), [findings](../libs/sandbox/findings.py) and [other responses](../libs/sandbox/responses)
by `{COMMAND}`; `make check` compares them.
"""
_COLUMNS = (
    "| case | what happens | the client | notices, in their order | state at the end |\n| --- | --- | --- | --- | --- |"
)


def page() -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *_sections()])


def _sections() -> Iterator[str]:
    filings = [case for case in CASES.values() if case.subject is Subject.CONSIGNMENT]
    yield "## What customs and other parties do\n"
    yield _COLUMNS
    yield from (_row(case) for case in filings if case.failure is None and case.finding is None)
    yield "\nCases with * need goods that owe something at the border: state a declarant identifier that no other case has.\n"
    yield "## What goes wrong with a call\n"
    yield _COLUMNS
    yield from (_row(case) for case in filings if case.failure is not None)
    of_filings = ", ".join(f"`{failure.value}`" for failure, how in FAILURES.items() if how.is_of_filings)
    yield (
        "\nA call has one failure, that of its first consignment whose failure has not passed. The references of the other calls below select "
        f"failures of these calls in the same way, except {of_filings}.\n"
    )
    yield "## What is found in a filing\n"
    yield (
        "The filing is valid; the sandbox puts the defect in before the service reads it. A refused consignment is refused in each call with the "
        "first `request_id` of its reference, and accepted in the next one. A warning belongs to every call. Paths begin with `consignments[…]`.\n"
    )
    yield _COLUMNS
    yield from (_row(case) for case in filings if case.finding is not None)
    for call in CALLS:
        yield f"\n## {call.name}\n"
        yield (
            f"The {call.reference.replace('_', ' ')} selects the case of {_article(call.subject.value)}. Role: {call.role}. "
            f"Paths begin with `{call.rows}[…]`.\n"
        )
        yield "| case | what happens | the client |\n| --- | --- | --- |"
        chosen = (case for case in CASES.values() if case.subject is call.subject)
        yield from (f"| `{case.name}` | {cell(case.meaning)} | {cell(case.act.value)} |" for case in chosen)
    yield "\n## Notices that no case has\n"
    yield "| notice | why |\n| --- | --- |"
    yield from (f"| {kind} | {why} |" for kind, why in NOT_COVERED.items())
    yield "\n## Reasons that no case has\n"
    yield "| why | reasons |\n| --- | --- |"
    yield from (f"| {cell(cause)} | {', '.join(names)} |" for cause, names in uncovered().items())
    yield ""


def covered() -> set[str]:
    """Return the reasons of the catalogue to which a case leads."""
    failures = {FAILURES[case.failure].reason for case in CASES.values() if case.failure is not None}
    return failures | {case.finding.reason for case in CASES.values() if case.finding is not None}


def uncovered() -> dict[str, list[str]]:
    """Return the reasons of the catalogue without a case, by cause."""
    found: dict[str, list[str]] = {}
    with_case = covered()
    for each in reasons().values():
        if each.reason not in with_case:
            found.setdefault(cause_of(each), []).append(each.reason)
    return {cause: sorted(names) for cause, names in sorted(found.items())}


def _row(case: Case) -> str:
    act = "" if case.act is Act.NONE else cell(case.act.value)
    star = "\\*" if case.owes else ""
    return f"| `{case.name}`{star} | {cell(case.meaning)} | {act} | {', '.join(case.notices)} | {case.state} |"


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def main() -> int:
    """Write the page, or report with --check whether it is current."""
    made = page()
    if "--check" in sys.argv[1:]:
        if PAGE.exists() and PAGE.read_text("utf-8") == made:
            return 0
        print(f"{PAGE.relative_to(ROOT)} is not what the cases say; run: {COMMAND}", file=sys.stderr)
        return 1
    PAGE.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
