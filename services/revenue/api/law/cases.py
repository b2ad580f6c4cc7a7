"""Runs the cases of a version of law: each is quoted by it and compared with what its source publishes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from libs.columns import Ints, Table
from libs.customs.time import day_of
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.revenue.v1 import revenue_pb2 as pb
from services.revenue.api.quote_codes import errors_of, normalised
from services.revenue.api.quotes import landed_costs, quote_batch
from services.revenue.commands.law.load import RATES, LoadedLaw
from services.revenue.law.assess.eligibility.scheme_register import EMPTY
from services.revenue.law.program.program import Program, ProgramError
from services.revenue.law.source.yaml_source import LawFileError
from services.revenue.law.verification.case_comparison import differences
from services.revenue.law.verification.case_consignments import accepted_at, consignments_of
from services.revenue.law.verification.cases import Case, law_of_case, read_cases


class CaseResult(NamedTuple):
    """The result of a case."""

    id: str
    differences: list[str]
    """Where the quote differs from the source; none where it agrees."""


def run_cases(law: LoadedLaw, folder: str, compile_law: Callable[[Mapping[str, str]], Program]) -> list[CaseResult]:
    """Run the cases of a folder's `cases*.yaml`. Raises LawFileError where one of these files cannot be read.

    A case with rates or values of its own is computed by the folder's law with them.
    """
    own = law.of_folder(folder)
    cases = read_cases({name: text for name, text in own.items() if name.startswith(f"{folder}/cases")})
    book = next(read.rulebook for read in law.program.books if read.file.startswith(f"{folder}/"))
    alone = own | {name: text for name, text in law.files.items() if name.startswith(RATES)}
    results = []
    for case in cases:
        try:
            changed = case.exchange or case.changes
            program = compile_law(law_of_case(case, alone, book.currency)) if changed else law.program
            results.append(CaseResult(case.id, _differences(program, case)))
        except (LawFileError, ProgramError) as error:
            results.append(CaseResult(case.id, [str(error)]))
    return results


def _differences(program: Program, case: Case) -> list[str]:
    messages = consignments_of(case)
    moment = int(accepted_at(case).timestamp()) * 1_000_000
    table = normalised(Table.from_messages(messages, ConsignmentColumns, Consignment))
    if errors := errors_of(table, day_of(moment), program.areas):
        return [f"not quoted: {error.reason} at {error.path}" for error in errors.values()]
    done = quote_batch(program, EMPTY, table, Ints.constant(moment, table.rows))
    quotes: list[pb.LandedCost] = list(landed_costs(done.assessment, done.summed))
    return [each.removeprefix(f"{case.id}: ") for each in differences(case, quotes)]
