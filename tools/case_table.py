"""Write docs/sandbox-cases.md: every case of the sandbox, as libs/sandbox/cases.py says."""

import sys
from collections.abc import Iterator
from pathlib import Path

from libs.sandbox.cases import CASES, NOT_COVERED, Act, Case
from tools.reason_table import cell

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "sandbox-cases.md"
COMMAND = "python -m tools.case_table"

_HEAD = f"""# Cases of the sandbox

A local reference selects a case by its beginning: `HOLD-0001`, or with a delay of 30 seconds before each act of customs, `HOLD.30-0001`.
[The sandbox](sandbox.md) explains the rest.

Made from [the cases](../libs/sandbox/cases.py) by `{COMMAND}`; `make check` compares them.
"""
_COLUMNS = (
    "| case | what happens | the client | notices, in their order | state at the end |\n| --- | --- | --- | --- | --- |"
)


def page() -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *_sections()])


def _sections() -> Iterator[str]:
    yield "## What customs and other parties do\n"
    yield _COLUMNS
    yield from (_row(case) for case in CASES.values() if case.failure is None)
    yield "\nCases with * need goods that owe something at the border: state a declarant identifier that no other case has.\n"
    yield "## What goes wrong with a call\n"
    yield _COLUMNS
    yield from (_row(case) for case in CASES.values() if case.failure is not None)
    yield "\nA call has one failure, that of its first consignment whose failure has not passed.\n"
    yield "## Notices that no case has\n"
    yield "| notice | why |\n| --- | --- |"
    yield from (f"| {kind} | {why} |" for kind, why in NOT_COVERED.items())
    yield ""


def _row(case: Case) -> str:
    act = "" if case.act is Act.NONE else cell(case.act.value)
    star = "\\*" if case.owes else ""
    return f"| `{case.name}`{star} | {cell(case.meaning)} | {act} | {', '.join(case.notices)} | {case.state} |"


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
