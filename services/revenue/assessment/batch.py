"""One batch under assessment: what it adds to sums, its answer once the others' part is known, and what is stored of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from libs.columns import Table
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.revenue.assessment.aggregates import Aggregates, RequestedShares, no_shares, requested_shares
from services.revenue.assessment.inputs import pack_columns, pack_facts
from services.revenue.law.assess.assessment import Assessment, assess, measures_of, prepare
from services.revenue.law.assess.eligibility.eligibility import Examined
from services.revenue.law.assess.eligibility.limits import Measures
from services.revenue.law.assess.eligibility.scheme_register import EMPTY, Register
from services.revenue.law.assess.securities import NOBODY, Securities
from services.revenue.law.batch.arithmetic import Int64
from services.revenue.law.batch.filings import Filings, filings_of
from services.revenue.law.program.program import Program
from services.revenue.law.text.assessment_columns import answer_of


@dataclass(frozen=True, slots=True)
class ActiveLaw:
    """What is in force here at the moment: taken once a batch, so that a batch is judged by one state of things."""

    program: Program
    register: Register = EMPTY
    securities: Securities = NOBODY


class Batch:
    """A batch of consignments, to be assessed once."""

    def __init__(self, in_force: ActiveLaw, table: Table, content: ConsignmentColumns) -> None:
        """Value and measure a batch; `content` is the table as it came. Raises MalformedColumns."""
        self.table = table
        self._content = content
        self._in_force = in_force
        self._filings: Filings = filings_of(table)
        self._prepared: Examined | None = prepare(in_force.program, self._filings, in_force.register)
        self._measures: Measures = measures_of(in_force.program, self._prepared)
        self._columns: bytes | None = None
        self.mrns: list[str] = table.strings("mrn").tolist()
        self.versions: Int64 = table.ints("version").values
        #: Problem of each row, once it is answered.
        self.problem: Int64 | None = None
        self._other_aggregates = Aggregates.none()

    @property
    def summed(self) -> bool:
        """Whether any consignment is tested on a sum."""
        return bool(len(self._measures.row))

    @property
    def amended(self) -> list[str]:
        """MRNs of rows that are not the first version of their filing."""
        return [self.mrns[row] for row in np.flatnonzero(self.versions > 1).tolist()]

    def wanted(self, secret: bytes) -> RequestedShares:
        """The shares of sums that the batch takes."""
        if not self.summed:
            return no_shares()
        return requested_shares(self._in_force.program, self.table, self._measures, secret)

    def pack(self) -> None:
        """Pack the columns for the store ahead of a transaction: as a rule all rows are assessed for the first time."""
        self._columns = pack_columns(self._content, self.table, np.arange(self.table.rows))

    def answer(self, other_aggregates: Aggregates) -> Table:
        """Assess it, with what others make; gives a table of AssessmentColumns. May be called once."""
        assert self._prepared is not None, "a prepared batch is used once"
        prepared, self._prepared = self._prepared, None
        self._other_aggregates = other_aggregates
        in_force = self._in_force
        sums = other_aggregates.sums(in_force.program, self.table.rows)
        done = assess(in_force.program, self._filings, sums, in_force.register, prepared)
        self.problem = done.problem
        return answer_columns(done, self.table, in_force.securities)

    def encode_stored(self, fresh: npt.NDArray[np.intp]) -> tuple[bytes, bytes]:
        """What is stored of the rows that were assessed for the first time: columns, and what goes with them."""
        whole = len(fresh) == self.table.rows
        columns = self._columns if whole else None
        if columns is None:
            columns = pack_columns(self._content, self.table, fresh)
        return columns, pack_facts(self.table, self._in_force.register, self._other_aggregates, fresh)


def answer_columns(assessment: Assessment, table: Table, securities: Securities) -> Table:
    """An assessment as a table of AssessmentColumns; `table` has the columns declarant_identifier and filer."""
    return answer_of(assessment, table.strings("declarant_identifier"), table.strings("filer"), securities)


@dataclass(frozen=True, slots=True)
class ReassessedBatch:
    """Stored filings to be assessed again by the law of their day, with the register and the others' part that are given."""

    in_force: ActiveLaw
    table: Table
    register: Register
    other_aggregates: Aggregates

    def answer(self) -> Table:
        """Give a table of AssessmentColumns."""
        program = self.in_force.program
        sums = self.other_aggregates.sums(program, self.table.rows)
        done = assess(program, filings_of(self.table), sums, self.register)
        return answer_columns(done, self.table, self.in_force.securities)

    def take(self, rows: npt.NDArray[np.intp]) -> ReassessedBatch:
        """Some of the filings."""
        return replace(self, table=self.table.take(rows), other_aggregates=self.other_aggregates.take(rows))

    def encode_stored(self, fresh: npt.NDArray[np.intp]) -> tuple[bytes, bytes]:
        """Return what is stored of some rows, as Batch.encode_stored does."""
        content = self.table.encode(ConsignmentColumns)
        return pack_columns(content, self.table, fresh), pack_facts(
            self.table, self.register, self.other_aggregates, fresh
        )
