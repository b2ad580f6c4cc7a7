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

    def __init__(self, active_law: ActiveLaw, table: Table, content: ConsignmentColumns) -> None:
        """Value and measure a batch; `content` is its encoded table. Raises MalformedColumns."""
        self.table = table
        self._content = content
        self._active_law = active_law
        self._filings: Filings = filings_of(table)
        self._prepared: Examined | None = prepare(active_law.program, self._filings, active_law.register)
        self._measures: Measures = measures_of(active_law.program, self._prepared)
        self._columns: bytes | None = None
        self.mrns: list[str] = table.strings("mrn").tolist()
        self.versions: Int64 = table.ints("version").values
        #: Reason of each row that cannot be assessed; None before `answer`.
        self.reason: Int64 | None = None
        self._other_aggregates = Aggregates.none()

    @property
    def summed(self) -> bool:
        """Return whether a limit of any consignment is tested on an aggregate."""
        return bool(len(self._measures.row))

    @property
    def amended(self) -> list[str]:
        """MRNs of rows that are not the first version of their filing."""
        return [self.mrns[row] for row in np.flatnonzero(self.versions > 1).tolist()]

    def requested_shares(self, secret: bytes) -> RequestedShares:
        """Return the shares of aggregates that the batch requests."""
        if not self.summed:
            return no_shares()
        return requested_shares(self._active_law.program, self.table, self._measures, secret)

    def pack(self) -> None:
        """Encode the columns before the transaction, because normally all rows are assessed for the first time."""
        self._columns = pack_columns(self._content, self.table, np.arange(self.table.rows))

    def answer(self, other_aggregates: Aggregates) -> Table:
        """Assess the batch with the aggregates of other consignments; return a table of AssessmentColumns. May be called once."""
        assert self._prepared is not None, "a prepared batch is used once"
        prepared, self._prepared = self._prepared, None
        self._other_aggregates = other_aggregates
        in_force = self._active_law
        sums = other_aggregates.by_limit(in_force.program, self.table.rows)
        done = assess(in_force.program, self._filings, sums, in_force.register, prepared)
        self.reason = done.reason
        return answer_columns(done, self.table, in_force.securities)

    def encode_stored(self, fresh: npt.NDArray[np.intp]) -> tuple[bytes, bytes]:
        """Return the encoded columns and facts of the rows that were assessed for the first time."""
        whole = len(fresh) == self.table.rows
        columns = self._columns if whole else None
        if columns is None:
            columns = pack_columns(self._content, self.table, fresh)
        return columns, pack_facts(self.table, self._active_law.register, self._other_aggregates, fresh)


def answer_columns(assessment: Assessment, table: Table, securities: Securities) -> Table:
    """Return an assessment as a table of AssessmentColumns; `table` has the columns declarant_identifier and filer."""
    return answer_of(assessment, table.strings("declarant_identifier"), table.strings("filer"), securities)


@dataclass(frozen=True, slots=True)
class ReassessedBatch:
    """Stored filings to be assessed again by the law of their day, with the register and the others' part that are given."""

    active_law: ActiveLaw
    table: Table
    register: Register
    other_aggregates: Aggregates

    def answer(self) -> Table:
        """Return a table of AssessmentColumns."""
        program = self.active_law.program
        sums = self.other_aggregates.by_limit(program, self.table.rows)
        done = assess(program, filings_of(self.table), sums, self.register)
        return answer_columns(done, self.table, self.active_law.securities)

    def take(self, rows: npt.NDArray[np.intp]) -> ReassessedBatch:
        """Return some of the filings."""
        return replace(self, table=self.table.take(rows), other_aggregates=self.other_aggregates.take(rows))

    def encode_stored(self, fresh: npt.NDArray[np.intp]) -> tuple[bytes, bytes]:
        """Return what is stored of some rows, as Batch.encode_stored does."""
        content = self.table.encode(ConsignmentColumns)
        return pack_columns(content, self.table, fresh), pack_facts(
            self.table, self.register, self.other_aggregates, fresh
        )
