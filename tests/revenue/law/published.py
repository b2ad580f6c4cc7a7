"""Published calculations: reads tests/revenue/law/cases/*.yaml, asks for a quote and compares what the source prints."""

from functools import cache
from pathlib import Path

from luxor.revenue.v1 import revenue_pb2 as pb
from services.revenue.law.program.program import Program
from services.revenue.law.verification.case_comparison import differences, outcome
from services.revenue.law.verification.case_consignments import accepted_at, consignments_of
from services.revenue.law.verification.cases import Case, Expected, Filed, law_of_case, read_cases
from services.revenue.store.law_files import law_files, load_program, program_of

__all__ = ["Case", "Expected", "Filed", "cases", "differences", "outcome"]
CASES = Path(__file__).parent / "cases"


def cases() -> list[Case]:
    """Read all cases; an entry that is not written as README.md says is refused with its file and line."""
    return read_cases({f"cases/{file.name}": file.read_text(encoding="utf-8") for file in CASES.glob("*.yaml")})


@cache
def shipped_law() -> Program:
    """Give the program of all shipped law."""
    return load_program()


def law_day(case: Case) -> Program:
    """Give the shipped law, or where the case has rates or values of its own, its jurisdiction's with them."""
    return program_of(files_of(case)) if case.exchange or case.changes else shipped_law()


@cache
def _shipped_files() -> dict[str, str]:
    return law_files()


def files_of(case: Case) -> dict[str, str]:
    """Give the law files that a case is computed by: its jurisdiction's and all rates, with the case's own in them."""
    program = shipped_law()
    book = program.books[int(program.book_of_area[program.areas[case.filed()[0].destination]])]
    folder = book.file.partition("/")[0]
    files = {name: text for name, text in _shipped_files().items() if name.partition("/")[0] in (folder, "rates")}
    return law_of_case(case, files, book.rulebook.currency)


def request_of(case: Case) -> pb.QuoteConsignmentsRequest:
    """Write the case as a filer would ask for it: what the source gives, then what had to be added."""
    request = pb.QuoteConsignmentsRequest(consignments=consignments_of(case))
    request.as_of.FromDatetime(accepted_at(case))
    return request
