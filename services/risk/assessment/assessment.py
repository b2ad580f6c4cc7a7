"""A whole assessment: everything that risk holds against a batch, put together. Pure: what is in force and what is known
of the past come in, an answer and what it leaves in the log go out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Ints, Table
from libs.customs.countries import EU_MEMBERS, UNION
from luxor.risk.v1 import risk_pb2
from services.risk.assessment.lane_selection import BatchChances, Chosen, choose, recommend
from services.risk.assessment.prior_state import Known, Past
from services.risk.elements.computed import Facts
from services.risk.elements.history_record import record_of
from services.risk.elements.stored_inputs import pack_input
from services.risk.goods.controls import ControlSet, Stage
from services.risk.goods.findings import judge_goods
from services.risk.history import Record
from services.risk.history.columns import History as HistoryColumns
from services.risk.inspections.inclusion import PPM
from services.risk.learning.model.opinion import NONE, Models, Opinion, opinion_of
from services.risk.rules.rule_set import RuleSet
from services.risk.rules.scoring import More, assess
from services.risk.screening.matching.index import Index
from services.risk.screening.parties import LEVELS, MatchLevels, Met, meet_parties, screened_by, versions_of
from services.risk.selection import Allotments, NewlyDrawn, Parameters, TallyRecord

STAGES: Final[dict[int, Stage]] = {
    risk_pb2.PURPOSE_CLEARANCE: "clearance",
    risk_pb2.PURPOSE_PRE_LOADING: "pre_loading",
}
#: The profile's table of values under which consignments are favoured: country of destination, or EU → euro cents.
FAVOURED: Final = "favoured_below_eur_cents"


@dataclass(frozen=True)
class InForce:
    """What a batch is assessed by: one version of each, taken once a batch."""

    rules: RuleSet
    index: Index
    controls: ControlSet
    selection: Parameters | None = None
    """None: the lane is the one that findings advise and nothing is drawn."""
    match: MatchLevels = LEVELS
    """From which scores on names of parties are hits."""
    models: Models = NONE
    """Champion and challenger; without a champion the columns of the model are unknown."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a batch was assessed on."""

    content: bytes
    """The consignments as they came, packed."""
    table: Table
    """The same, a table of ConsignmentColumns."""
    history: HistoryColumns | None
    screened_by: str


@dataclass
class Assessed:
    """The answer for a batch, and what it leaves in the log."""

    table: Table
    """A table of AssessmentColumns."""
    record: Record | None = None
    """What history keeps of the batch; None where no past was given."""
    chosen: Chosen | None = None
    """The lanes that selection chose; None where nothing was selected."""
    given: Given | None = None
    """What it was assessed on, to be stored beside the answer; None: nothing is."""
    opinion: Opinion | None = None
    """What the models in force said of it; None where none is."""
    kept: tuple[Record, TallyRecord | None] | None = field(default=None, init=False)
    """Both of the rows that were assessed for the first time, once they are packed."""

    def pack(self, fresh: npt.NDArray[np.intp]) -> tuple[int, bytes, bytes]:
        """How many rows are kept, and record and tally of these rows as bytes."""
        assert self.record is not None
        record = self.record if len(fresh) == self.record.rows else self.record.take(fresh)
        tally = None if self.chosen is None else self.chosen.tally(fresh)
        self.kept = record, tally
        return len(fresh), record.to_bytes(), b"" if tally is None else tally.to_bytes()

    def newly_drawn(self, fresh: npt.NDArray[np.intp]) -> NewlyDrawn:
        """What the rows that were assessed for the first time were drawn into."""
        return NewlyDrawn([], [], [], [], []) if self.chosen is None else self.chosen.newly_drawn(fresh)

    def chances(self, fresh: npt.NDArray[np.intp]) -> BatchChances | None:
        """By what chance the batch's consignments get into each lane; None where nothing is drawn anywhere."""
        return None if self.chosen is None else self.chosen.chances(fresh)

    def stored_input(self, fresh: npt.NDArray[np.intp]) -> tuple[str, tuple[bytes, bytes]] | None:
        """What it was screened by, and the rows that were assessed for the first time with what history said of them."""
        if self.given is None:
            return None
        given = self.given
        return given.screened_by, pack_input(given.content, given.table, given.history, fresh)

    def count(self, allotments: Allotments) -> None:
        """Count what selection drew, before another batch is selected."""
        if self.chosen is not None:
            allotments.count(self.chosen.selected, self.chosen.assessed.time)

    def give_back(self, allotments: Allotments, fresh: npt.NDArray[np.intp]) -> None:
        """Take back what was counted for all rows but those that were assessed for the first time."""
        if self.chosen is not None and len(fresh) < self.table.rows:
            others = np.setdiff1d(np.arange(self.table.rows), fresh, assume_unique=True)
            allotments.give_back(self.chosen.selected, self.chosen.assessed.time, others)


@dataclass(frozen=True)
class Seen:
    """What the batch alone tells: all that needs no past, and so may be found while the store is asked for it."""

    facts: Facts
    more: tuple[More, ...]
    """Findings of goods controls and of screening."""


@dataclass(frozen=True)
class Looked:
    """What was seen at once; the screening of parties may be long work and is only begun."""

    facts: Facts
    goods: More
    met: Met

    def seen(self) -> Seen:
        """End the screening. Touches nothing but what stands here, so that it may run in a thread."""
        return Seen(self.facts, (self.goods, self.met.more()))


def look(in_force: InForce, table: Table, purpose: int) -> Looked:
    """Judge the goods of a batch of consignments and begin to screen its parties."""
    facts = Facts(table, in_force.rules.rates)
    goods = judge_goods(in_force.controls, table, facts, STAGES[purpose])
    return Looked(facts, goods, meet_parties(in_force.index, table, in_force.match))


def see(in_force: InForce, table: Table, purpose: int) -> Seen:
    """Judge the goods and screen the parties of a batch of consignments."""
    return look(in_force, table, purpose).seen()


def assess_batch(
    in_force: InForce,
    table: Table,
    purpose: int,
    known: Known | None = None,
    past: Past | None = None,
    seen: Seen | None = None,
    content: bytes | None = None,
) -> Assessed:
    """Assess a batch of consignments (a table of ConsignmentColumns) for a purpose.

    Without a past the columns of history are unknown, nothing is drawn, and nothing is left in the log. `content` is the batch
    as it came, to be stored beside the answers; without it nothing of it is.
    """
    rules = in_force.rules
    seen = seen or see(in_force, table, purpose)
    facts = seen.facts
    record = None
    if known is not None and past is not None:
        record = record_of(table, facts, past.hasher, known.now, counted=known.new, thresholds=favoured_below(rules))
        facts.history = past.history.read(record)
    versions = {"lists": versions_of(in_force.index), "controls": in_force.controls.version}
    screened = screened_by(versions["lists"], in_force.match)
    given = None if content is None else Given(content, table, facts.history, screened)
    answer = assess(rules, table, facts=facts, more=seen.more, constants=versions, stage=STAGES[purpose])
    answer = answer.with_columns({"match_threshold": Ints.constant(in_force.match.hit, table.rows)})
    opinion = opinion_of(in_force.models, table, facts, answer.ints("score"))
    if opinion is not None:
        answer = answer.with_columns(opinion.columns)
    if in_force.selection is None or known is None or past is None:
        if purpose == risk_pb2.PURPOSE_CLEARANCE:
            # The findings alone select: all that they say this of.
            selected = answer.ints("lane").values > risk_pb2.LANE_GREEN
            answer = answer.with_columns({"inclusion_ppm": Ints.of(np.where(selected, PPM, 0), selected)})
        return Assessed(_explained(answer, opinion), record, given=given, opinion=opinion)
    if purpose == risk_pb2.PURPOSE_PRE_LOADING:
        answer = recommend(in_force.selection, table, answer)
        return Assessed(_explained(answer, opinion), record, given=given, opinion=opinion)
    chosen = choose(
        in_force.selection,
        past,
        known,
        table,
        answer,
        thresholds=rules.thresholds,
        model_ppm=answer.ints("model_score_ppm"),
        uncertainty_ppm=answer.ints("model_uncertainty_ppm"),
        model_version="" if in_force.models.champion is None else in_force.models.champion.version,
    )
    return Assessed(_explained(chosen.table, opinion), record, chosen, given, opinion)


def _explained(answer: Table, opinion: Opinion | None) -> Table:
    """The answer with what moved the model's score of those that are not green."""
    return answer if opinion is None else answer.with_columns(opinion.contributions(answer.ints("lane").values))


def favoured_below(rules: RuleSet) -> dict[str, int]:
    """Per country of destination the value in euro cents under which consignments are favoured."""
    table = rules.data.get(FAVOURED, {})
    assert isinstance(table, Mapping)
    told = {country: int(value) for country, value in table.items()}
    return dict.fromkeys(EU_MEMBERS, told[UNION]) | told if UNION in told else told
