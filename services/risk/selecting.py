"""Selection as the last step of an assessment: from findings to the lane, its cause and the chance it was drawn by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Column, Ints, Strings, Table
from services.risk.past import Known, Past
from services.risk.selection import Assessed, Parameters, Selected, TallyRecord, refer, select
from services.risk.selection.parameters import ANY

#: Goods that come in; no consignment is told as an export yet.
DIRECTION: Final = "import"


@dataclass(frozen=True)
class Chosen:
    """A batch with the lanes that were chosen."""

    table: Table
    """A table of AssessmentColumns."""
    assessed: Assessed
    selected: Selected

    def tally(self, fresh: npt.NDArray[np.intp]) -> TallyRecord:
        """What selection keeps of the rows that were assessed for the first time; its place in the log is not known yet."""
        return self.selected.record(self.assessed, fresh, True, 0, -1, -1)


def choose(parameters: Parameters, past: Past, known: Known, table: Table, answer: Table) -> Chosen:
    """Choose the lanes of a batch of consignments, whose findings `answer` has (a table of AssessmentColumns)."""
    rows = table.rows
    findings, texts = answer.ragged("findings"), answer.child("findings")
    nobody_knows = Ints.absent(rows)
    assessed = Assessed(
        time=known.now,
        mrns=table.strings("mrn").tolist(),
        offices=offices_of(parameters, table),
        directions=Strings.constant(DIRECTION, rows),
        score=answer.ints("score").values,
        trusted=np.zeros(rows, np.bool_),
        counted=known.new_at_clearance,
        model_ppm=nobody_knows,
        uncertainty_ppm=nobody_knows,
        owners=findings.owners(),
        rules=texts.strings("rule"),
        lanes=texts.ints("lane").values,
    )
    selected = select(parameters, past.seed, past.tally, assessed)
    columns: dict[str, Column] = {
        "lane": Ints.of(selected.lane),
        "selection": Strings.constant(parameters.version, rows),
        "selection_cause": Ints.of(selected.cause),
        "selection_reason": selected.reasons(),
        "chance_ppm": Ints.of(selected.chance_ppm),
        "green_delay_minutes": Ints.of(selected.green_delay_minutes),
    }
    return Chosen(answer.with_columns(columns), assessed, selected)


def offices_of(parameters: Parameters, table: Table) -> Strings:
    """The office of each consignment: where it is presented, else of first entry; that of all others where it has no
    parameters of its own, so that what filers write does not make offices.
    """
    told, entry = table.strings("presentation_office"), table.strings("transport_first_entry_office")
    dictionary = [*told.dictionary, *entry.dictionary]
    indices = np.where(told.present, told.indices, entry.indices + len(told.dictionary))
    offices = Strings(dictionary, indices.astype(np.int32))
    return offices.translate(lambda office: office if (office, DIRECTION) in parameters.offices else ANY)


def recommend(parameters: Parameters, table: Table, answer: Table) -> Table:
    """Add to an assessment before loading what is recommended; lanes stay those that findings advise."""
    findings = answer.ragged("findings")
    referrals = refer(
        parameters.pre_loading,
        answer.ints("score").values,
        findings.owners(),
        answer.child("findings").strings("reason"),
        table.ragged("screenings"),
    )
    return answer.with_columns(
        {
            "referral": Ints.of(referrals.referral),
            "referral_reason": referrals.reasons,
            "selection": Strings.constant(parameters.version, table.rows),
        }
    )
