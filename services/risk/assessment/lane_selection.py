"""Selection as the last step of an assessment: from findings to the lane, its cause and the chance it was drawn by."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Bools, Column, Ints, Strings, Table
from libs.customs.time import day_of
from libs.filing_stages.direction import exports, of_rows
from services.risk.assessment.prior_state import PriorState, ReplicaState
from services.risk.rules.rule_set import Thresholds
from services.risk.selection import (
    Cause,
    Chances,
    NewDraws,
    Parameters,
    PriorDraws,
    Selected,
    SelectionBatch,
    TallyRecord,
    commitment,
    periods_of,
    refer,
    select,
)
from services.risk.selection.parameters import ANY, PPM

_DIRECTIONS: Final = ("import", "export")
"""Directions as parameters of selection name them."""


@dataclass(frozen=True, slots=True)
class BatchChances:
    """By what chance a batch's consignments get into each lane, as it is stored."""

    codes: bytes
    """Per row the number of its vector, 16 bits each."""
    vectors: bytes
    """The distinct vectors, VECTOR_BYTES each."""
    counts: list[tuple[int, int, int, int]]
    """Consignments by day (-1: of this batch), cell and the cells that they could get into (`Chances.support`): how many more, or
    fewer, where another version is the newest.
    """


@dataclass(frozen=True)
class Chosen:
    """A batch with the lanes that were chosen."""

    table: Table
    """A table of AssessmentColumns."""
    assessed: SelectionBatch
    selected: Selected

    def tally(self, fresh: npt.NDArray[np.intp]) -> TallyRecord:
        """What selection keeps of the rows that were assessed for the first time; its place in the log is not known yet."""
        return self.selected.record(self.assessed, fresh, 0, -1, -1)

    def chances(self, fresh: npt.NDArray[np.intp]) -> BatchChances | None:
        """The chances of the batch, and what the rows that were assessed for the first time add to the counts of consignments."""
        chances = self.selected.chances
        if chances is None:
            return None
        earlier = self.assessed.before.chances
        amended = (
            np.zeros(0, np.intp) if earlier is None else fresh[earlier.is_known[fresh] & (earlier.cell[fresh] >= 0)]
        )
        counts: Counter[tuple[int, int, int]] = Counter()
        _count(counts, chances, fresh, 1)
        if earlier is not None:
            # An amended consignment counts as its newest version alone.
            _count(counts, earlier, amended, -1)
        return BatchChances(*chances.pack(), [(*key, count) for key, count in counts.items() if count])

    def newly_drawn(self, fresh: npt.NDArray[np.intp]) -> NewDraws:
        """What those rows were drawn into."""
        selected = self.selected
        rows = fresh[selected.cause[fresh] >= Cause.MINIMUM]
        return NewDraws(
            [self.assessed.mrns[row] for row in rows.tolist()],
            selected.lane[rows].tolist(),
            selected.cause[rows].tolist(),
            selected.chance_ppm[rows].tolist(),
            [inclusion or None for inclusion in selected.inclusion_ppm[rows].tolist()],
        )


def _count(counts: Counter[tuple[int, int, int]], chances: Chances, rows: npt.NDArray[np.intp], sign: int) -> None:
    keys = np.stack([chances.day[rows], chances.cell[rows], chances.support[rows]], axis=1)
    there, numbers = np.unique(keys, axis=0, return_counts=True)
    for key, number in zip(there.tolist(), numbers.tolist(), strict=True):
        counts[key[0], key[1], key[2]] += sign * number


def choose(
    parameters: Parameters,
    replica_state: ReplicaState,
    prior_state: PriorState,
    table: Table,
    answer: Table,
    *,
    thresholds: Thresholds,
    model_ppm: Ints | None = None,
    uncertainty_ppm: Ints | None = None,
    model_version: str = "",
) -> Chosen:
    """Choose the lanes of a batch of consignments, whose findings `answer` has (a table of AssessmentColumns).

    `thresholds` are those of the rules, for offices that have none of their own. Score and uncertainty of the model are
    millionths, of the model of that version; without them all that is drawn is drawn at random.
    """
    rows = table.rows
    findings, texts = answer.ragged("findings"), answer.child("findings")
    today = day_of(prior_state.now)
    mrns = table.strings("mrn").tolist()
    rules = texts.strings("rule")
    assessed = SelectionBatch(
        time=prior_state.now,
        mrns=mrns,
        periods=periods_of(mrns, today),
        offices=offices_of(parameters, table),
        directions=Strings(_DIRECTIONS, exports(table).astype(np.int32)),
        score=answer.ints("score").values,
        thresholds=(thresholds.blue, thresholds.yellow, thresholds.red),
        trusted=trusted_in(table, today),
        before=prior_state.draws or PriorDraws.none(rows),
        counted=prior_state.new_at_clearance,
        model_ppm=model_ppm or Ints.absent(rows),
        uncertainty_ppm=uncertainty_ppm or Ints.absent(rows),
        owners=findings.owners(),
        rules=rules,
        lanes=texts.ints("lane").values,
        model_version=model_version,
    )
    repeats = max(Counter(mrns).values()) if len(table.strings("mrn").compact().dictionary) < rows else 1
    if repeats > 1:
        assessed = replace(assessed, before=begun_within(assessed, table.ints("version").values))
    stored = assessed.before
    selected = select(parameters, replica_state.seeds, replica_state.tally, assessed, replica_state.allotments)
    # The call may name a consignment in several versions: what one is drawn into stays for the next.
    for _ in range(1, repeats):
        before = drawn_within(assessed, stored, selected, table.ints("version").values)
        assessed = replace(assessed, before=before)
        selected = select(parameters, replica_state.seeds, replica_state.tally, assessed, replica_state.allotments)
    columns: dict[str, Column] = {
        "lane": Ints.of(selected.lane),
        "selection": Strings.constant(parameters.version, rows),
        "selection_cause": Ints.of(selected.cause),
        "selection_reason": selected.reasons(),
        "selection_rule": _of_rows(rules, selected.finding),
        "seed_commitment": _commitments(replica_state, assessed, selected),
        "chance_ppm": Ints.of(selected.chance_ppm, selected.cause >= Cause.MINIMUM),
        "inclusion_ppm": Ints.of(selected.inclusion_ppm, selected.inclusion_ppm > 0),
        "green_delay_minutes": Ints.of(selected.green_delay_minutes),
        "yellow_to_blue_days": Ints.of(selected.yellow_to_blue_days, selected.yellow_to_blue_days > 0),
        "trusted_discount_ppm": Ints.of(PPM - selected.weight, assessed.trusted),
        "office": assessed.offices.translate(lambda office: "" if office == ANY else office),
    }
    return Chosen(answer.with_columns(columns), assessed, selected)


def days_of_seeds(parameters: Parameters | None, prior_state: PriorState, table: Table) -> list[int]:
    """The days whose seeds the draws of a batch need, days since 1970; none where nothing is drawn."""
    stays = prior_state.draws is not None and prior_state.draws.lane.any()
    if parameters is None or not (parameters.draws or stays):
        return []
    found: list[int] = np.unique(periods_of(table.strings("mrn").tolist(), day_of(prior_state.now))).tolist()
    return found


def begun_within(assessed: SelectionBatch, versions: npt.NDArray[np.int64]) -> PriorDraws:
    """What is stored of earlier versions; of a consignment that is new the first version of the batch has none before it."""
    chances = (assessed.before.chances or Chances.none(assessed.rows)).copy()
    new = {assessed.mrns[row] for row in np.flatnonzero(assessed.counted).tolist()}
    seen: set[str] = set()
    for row in np.argsort(versions, kind="stable").tolist():
        mrn = assessed.mrns[row]
        chances.is_known[row] |= mrn in new and mrn not in seen
        seen.add(mrn)
    return replace(assessed.before, chances=chances)


def drawn_within(
    assessed: SelectionBatch, stored: PriorDraws, selected: Selected, versions: npt.NDArray[np.int64]
) -> PriorDraws:
    """What earlier versions were drawn into: those that are stored, and those of the same batch."""
    chances = (stored.chances or Chances.none(assessed.rows)).copy()
    lanes, causes, ppm = stored.lane.copy(), stored.cause.copy(), stored.chance_ppm.copy()
    before = PriorDraws(lanes, causes, ppm, stored.inclusion_ppm.copy(), chances)
    gravest: dict[str, tuple[int, int, int, int]] = {}
    newest: dict[str, int] = {}
    for row in np.argsort(versions, kind="stable").tolist():
        mrn = assessed.mrns[row]
        if mrn in newest and selected.chances is not None:
            chances.set(np.array([row]), selected.chances, np.array([newest[mrn]]))
        newest[mrn] = row
        earlier = gravest.get(mrn)
        if earlier is not None and earlier[0] > before.lane[row]:
            before.lane[row], before.cause[row], before.chance_ppm[row], before.inclusion_ppm[row] = earlier
        if selected.cause[row] >= Cause.MINIMUM and (earlier is None or selected.lane[row] > earlier[0]):
            drawn = selected.lane, selected.cause, selected.chance_ppm, selected.inclusion_ppm
            lane, cause, chance, inclusion = (int(each[row]) for each in drawn)
            gravest[mrn] = lane, cause, chance, inclusion
    return before


def offices_of(parameters: Parameters, table: Table) -> Strings:
    """The office of each consignment: where it is presented, else of first entry; that of all others where it has no
    parameters of its own in its direction, so that what filers write does not make offices.
    """
    told, entry = table.strings("presentation_office"), table.strings("transport_first_entry_office")
    dictionary = [*told.dictionary, *entry.dictionary]
    indices = np.where(told.present, told.indices, entry.indices + len(told.dictionary))
    offices = Strings(dictionary, indices.astype(np.int32))

    def in_direction(direction: str) -> Strings:
        return offices.translate(lambda office: office if (office, direction) in parameters.offices else ANY)

    exported = exports(table)
    return (
        of_rows(in_direction("import"), in_direction("export"), exported) if exported.any() else in_direction("import")
    )


def thresholds_in(
    parameters: Parameters | None, thresholds: Thresholds, answers: Table, exported: npt.NDArray[np.bool_]
) -> list[tuple[int, int, int]]:
    """The points from which blue, yellow and red are called for, of each answer by its office and direction: those of the rules where it has none."""
    of_rules = thresholds.blue, thresholds.yellow, thresholds.red
    if parameters is None:
        return [of_rules] * answers.rows

    def of_office(office: str, direction: str) -> tuple[int, int, int]:
        score = parameters.for_office(office or ANY, direction).score
        return of_rules if score is None else (score.blue, score.yellow, score.red)

    offices = zip(answers.strings("office").tolist(), exported.tolist(), strict=True)
    return [of_office(office, _DIRECTIONS[leaves]) for office, leaves in offices]


def trusted_in(table: Table, day: int) -> npt.NDArray[np.bool_]:
    """Return whether each consignment has the benefit of a trusted operator on a day (days since 1970), shape (n,).

    Ingestion states it by the register of filers, when the consignment is accepted.
    """
    until = table.ints("filer_trusted_until")
    trusted: npt.NDArray[np.bool_] = until.valid & (until.values >= day)
    return trusted


def _of_rows(values: Strings, places: npt.NDArray[np.int64]) -> Strings:
    """Per row the value at its place, absent where that is -1."""
    absent = len(values.dictionary)
    indices = np.full(len(places), absent, np.int32)
    there = places >= 0
    indices[there] = values.indices[places[there]]
    return Strings([*values.dictionary, ""], indices).compact()


def _commitments(replica_state: ReplicaState, assessed: SelectionBatch, selected: Selected) -> Strings:
    periods, places = np.unique(assessed.periods, return_inverse=True)
    if not selected.office_draws.any():
        return Strings.absent(len(places))
    told = [
        commitment(replica_state.seeds[period]) if period in replica_state.seeds else "" for period in periods.tolist()
    ]
    indices = np.where(selected.office_draws, places, len(told))
    return Strings([*told, ""], indices.astype(np.int32)).translate(str)


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
    by_finding = referrals.finding >= 0
    confidential = np.zeros(table.rows, np.bool_)
    confidential[by_finding] = answer.child("findings").bools("confidential").values[referrals.finding[by_finding]]
    return answer.with_columns(
        {
            "referral": Ints.of(referrals.referral),
            "referral_reason": referrals.reasons,
            "referral_confidential": Bools.of(confidential, referrals.referral > 0),
            "selection": Strings.constant(parameters.version, table.rows),
        }
    )
