"""A whole assessment: everything that risk holds against a batch, put together. Pure: what is in force and what is known
of the past come in, an answer and what it leaves in the log go out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Ints, Strings, Table
from libs.customs.countries import EU_MEMBERS, UNION
from luxor.common.v1 import common_pb2
from luxor.risk.v1 import risk_pb2
from services.risk.assessment.lane_selection import BatchChances, Chosen, choose, recommend
from services.risk.assessment.prior_state import PriorState, ReplicaState
from services.risk.codes.code_model_file import CodeModel
from services.risk.codes.declared_codes import declared_codes
from services.risk.elements.computed import Facts
from services.risk.elements.history_record import record_of
from services.risk.elements.stored_inputs import pack_input
from services.risk.goods.controls import ControlSet, Stage
from services.risk.goods.findings import judge_goods
from services.risk.history import Record
from services.risk.history.columns import HistoryColumns as HistoryColumns
from services.risk.inspections.inclusion import PPM
from services.risk.learning.model.opinion import NONE, Models, Opinion, opinion_of
from services.risk.rules.finding import ExtraFindings
from services.risk.rules.rule_set import RuleSet
from services.risk.rules.scoring import assess
from services.risk.screening.matching.index import Index
from services.risk.screening.parties import LEVELS, MatchLevels, PartyMatches, match_parties, screened_by, versions_of
from services.risk.selection import Allotments, NewDraws, Parameters, TallyRecord

STAGES: Final[dict[int, Stage]] = {
    risk_pb2.PURPOSE_CLEARANCE: "clearance",
    risk_pb2.PURPOSE_PRE_LOADING: "pre_loading",
}
#: The profile's table of values under which consignments are favoured: country of destination, or EU → euro cents.
FAVOURED: Final = "favoured_below_eur_cents"


@dataclass(frozen=True)
class ActiveVersions:
    """What a batch is assessed by: one version of each, taken once a batch."""

    rules: RuleSet
    index: Index
    controls: ControlSet
    selection: Parameters | None = None
    """None: the lane is the one that findings advise and nothing is drawn."""
    match: MatchLevels = LEVELS
    """Lowest scores of matches of names."""
    models: Models = NONE
    """Champion and challenger, and the model of codes; without a champion the columns of the model are unknown, without a model of codes the
    probabilities of codes."""


@dataclass(frozen=True, slots=True)
class BatchInput:
    """What a batch was assessed on."""

    content: bytes
    """The consignments as they came, packed."""
    table: Table
    """The same, a table of ConsignmentColumns."""
    history: HistoryColumns | None
    screened_by: str


@dataclass
class Assessment:
    """The answer for a batch, and what it leaves in the log."""

    table: Table
    """A table of AssessmentColumns."""
    record: Record | None = None
    """What history keeps of the batch; None where no past was given."""
    chosen: Chosen | None = None
    """The lanes that selection chose; None where nothing was selected."""
    batch_input: BatchInput | None = None
    """What it was assessed on, to be stored beside the answer; None: nothing is."""
    opinion: Opinion | None = None
    """The scores of the active models; None without an active model."""
    log_records: tuple[Record, TallyRecord | None] | None = field(default=None, init=False)
    """Both of the rows that were assessed for the first time, once they are packed."""

    def pack(self, fresh: npt.NDArray[np.intp]) -> tuple[int, bytes, bytes]:
        """Return the number of stored rows, and record and tally of these rows as bytes."""
        assert self.record is not None
        record = self.record if len(fresh) == self.record.rows else self.record.take(fresh)
        tally = None if self.chosen is None else self.chosen.tally(fresh)
        self.log_records = record, tally
        return len(fresh), record.to_bytes(), b"" if tally is None else tally.to_bytes()

    def awaited_values(self, fresh: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Of the rows that were assessed for the first time those that count without a known value, and those whose value counts alone."""
        assert self.record is not None
        counted, valued = self.record.counted[fresh], self.record.valued[fresh]
        return fresh[counted & (self.record.value[fresh] == 0)], fresh[valued & ~counted]

    def newly_drawn(self, fresh: npt.NDArray[np.intp]) -> NewDraws:
        """What the rows that were assessed for the first time were drawn into."""
        return NewDraws([], [], [], [], []) if self.chosen is None else self.chosen.newly_drawn(fresh)

    def chances(self, fresh: npt.NDArray[np.intp]) -> BatchChances | None:
        """By what chance the batch's consignments get into each lane; None where nothing is drawn anywhere."""
        return None if self.chosen is None else self.chosen.chances(fresh)

    def stored_input(self, fresh: npt.NDArray[np.intp]) -> tuple[str, tuple[bytes, bytes]] | None:
        """What it was screened by, and the rows that were assessed for the first time with what history said of them."""
        if self.batch_input is None:
            return None
        batch_input = self.batch_input
        return batch_input.screened_by, pack_input(batch_input.content, batch_input.table, batch_input.history, fresh)

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
class BatchFindings:
    """What the batch alone tells: all that needs no past, and so may be found while the store is asked for it."""

    facts: Facts
    extra_findings: tuple[ExtraFindings, ...]
    """Findings of goods controls and of screening."""
    codes: Mapping[str, Ints] = field(default_factory=dict)
    """What the model of codes says of each item; nothing without an active one."""
    code_model: str = ""
    """The version of that model."""


@dataclass(frozen=True)
class PendingFindings:
    """What was seen at once; the screening of parties may be long work and is only begun."""

    facts: Facts
    goods: ExtraFindings
    party_matches: PartyMatches
    codes: CodeModel | None = None

    @property
    def long(self) -> bool:
        """Return whether the rest is long work."""
        return self.party_matches.long or self.codes is not None

    def finish(self) -> BatchFindings:
        """End the screening, and compare codes with descriptions. Touches nothing but what stands here, so that it may run in a thread."""
        extra_findings = (self.goods, self.party_matches.findings())
        if self.codes is None:
            return BatchFindings(self.facts, extra_findings)
        items = self.facts.items
        codes = declared_codes(self.codes, items.strings("description"), items.strings("commodity_code"))
        return BatchFindings(self.facts, extra_findings, codes, self.codes.version)


def begin_findings(active: ActiveVersions, table: Table, purpose: int) -> PendingFindings:
    """Judge the goods of a batch of consignments and begin to screen its parties."""
    facts = Facts(table, active.rules.rates)
    goods = judge_goods(active.controls, table, facts, STAGES[purpose])
    return PendingFindings(facts, goods, match_parties(active.index, table, active.match), active.models.codes)


def batch_findings(active: ActiveVersions, table: Table, purpose: int) -> BatchFindings:
    """Judge the goods and screen the parties of a batch of consignments."""
    return begin_findings(active, table, purpose).finish()


def assess_batch(
    active: ActiveVersions,
    table: Table,
    purpose: int,
    prior_state: PriorState | None = None,
    replica_state: ReplicaState | None = None,
    findings: BatchFindings | None = None,
    content: bytes | None = None,
) -> Assessment:
    """Assess a batch of consignments (a table of ConsignmentColumns) for a purpose.

    Without a past the columns of history are unknown, nothing is drawn, and nothing is left in the log. `content` is the batch
    as it came, to be stored beside the answers; without it nothing of it is.
    """
    rules = active.rules
    findings = findings or batch_findings(active, table, purpose)
    facts = findings.facts
    record = None
    if prior_state is not None and replica_state is not None:
        record = record_of(
            table,
            facts,
            replica_state.hasher,
            prior_state.now,
            counted=prior_state.new & ~facts.exports,
            thresholds=favoured_below(rules),
            value_awaited=prior_state.value_awaited,
        )
        facts.history = replica_state.history.read(record).without(facts.exports, facts.owners)
        if findings.codes:
            facts.history = facts.history.with_items(findings.codes)
    versions = {"lists": versions_of(active.index), "controls": active.controls.version}
    screened = screened_by(versions["lists"], active.match)
    batch_input = None if content is None else BatchInput(content, table, facts.history, screened)
    answer = assess(
        rules, table, facts=facts, extra_findings=findings.extra_findings, constants=versions, stage=STAGES[purpose]
    )
    answer = answer.with_columns({"match_threshold": Ints.constant(active.match.minimum, table.rows)})
    if findings.code_model:
        answer = answer.with_columns({"code_model": Strings.constant(findings.code_model, table.rows)})
    opinion = opinion_of(active.models, table, facts, answer.ints("score"))
    if opinion is not None:
        answer = answer.with_columns(opinion.columns)
    if active.selection is None or prior_state is None or replica_state is None:
        if purpose == risk_pb2.PURPOSE_CLEARANCE:
            # The findings alone select: all that they say this of.
            selected = answer.ints("lane").values > common_pb2.LANE_GREEN
            answer = answer.with_columns({"inclusion_ppm": Ints.of(np.where(selected, PPM, 0), selected)})
        return Assessment(_explained(answer, opinion), record, batch_input=batch_input, opinion=opinion)
    if purpose == risk_pb2.PURPOSE_PRE_LOADING:
        answer = recommend(active.selection, table, answer)
        return Assessment(_explained(answer, opinion), record, batch_input=batch_input, opinion=opinion)
    chosen = choose(
        active.selection,
        replica_state,
        prior_state,
        table,
        answer,
        thresholds=rules.thresholds,
        model_ppm=answer.ints("model_score_ppm"),
        uncertainty_ppm=answer.ints("model_uncertainty_ppm"),
        model_version="" if active.models.champion is None else active.models.champion.version,
    )
    return Assessment(_explained(chosen.table, opinion), record, chosen, batch_input, opinion)


def _explained(answer: Table, opinion: Opinion | None) -> Table:
    """The answer with what moved the model's score of those that are not green."""
    return answer if opinion is None else answer.with_columns(opinion.contributions(answer.ints("lane").values))


def favoured_below(rules: RuleSet) -> dict[str, int]:
    """Per country of destination the value in euro cents under which consignments are favoured."""
    table = rules.data.get(FAVOURED, {})
    assert isinstance(table, Mapping)
    told = {country: int(value) for country, value in table.items()}
    return dict.fromkeys(EU_MEMBERS, told[UNION]) | told if UNION in told else told
