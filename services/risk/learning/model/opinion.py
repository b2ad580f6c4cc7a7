"""What the models in force say of a batch that is assessed: the champion's score counts, the challenger's is told beside it.

A consignment's score is the chance of its worst item, and its uncertainty that of its least known one. Where no model is in force,
or a consignment has no item, both are absent: unknown, and never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.columns import Column, Ints, Ragged, Strings, Table, schema_of
from luxor.common.v1.common_pb2 import LANE_GREEN
from luxor.risk.v1.risk_pb2 import ContributionColumns
from services.risk.codes.code_model_file import CodeModel
from services.risk.elements.computed import Facts
from services.risk.learning.features.consignments import Items, assessed_items
from services.risk.learning.features.sample import Floats, Numbers, Sample
from services.risk.learning.model.contributions import contributions
from services.risk.learning.model.model_file import Model
from services.risk.learning.model.scoring import Scores, chance_of, score

PPM: Final = 1_000_000
MILLE: Final = 1_000


@dataclass(frozen=True)
class Models:
    """The models in force, taken once a batch."""

    champion: Model | None = None
    challenger: Model | None = None
    """Scores beside the champion, without effect."""
    codes: CodeModel | None = None
    """Gives the probability of the declared code of an item."""


NONE: Final = Models()
"""No model in force."""


@dataclass(frozen=True)
class Opinion:
    """What the champion says of a batch."""

    items: Items
    scores: Scores
    """Of each item."""
    worst: Numbers
    """Per consignment the item with the highest score, -1 where it has none."""
    columns: Mapping[str, Column]
    """Columns of AssessmentColumns, the challenger's among them."""
    model: Model | None
    exports: npt.NDArray[np.bool_]
    """Which consignments are exports: models learn from imports, and say nothing of exports; (n,)."""

    def of_imports(self) -> tuple[Sample, Floats]:
        """Return the items of imports as a sample, and their chances."""
        if not self.exports.any():
            return self.items.sample, self.scores.chance
        rows = np.flatnonzero(~self.exports[self.items.owners])
        return self.items.sample.take(rows), self.scores.chance[rows]

    def contributions(self, lanes: npt.NDArray[np.integer[Any]]) -> dict[str, Column]:
        """The strongest contributions to the scores of the consignments that are not green, as a column of AssessmentColumns."""
        if self.model is None:
            return {}
        chosen = np.flatnonzero((lanes > LANE_GREEN) & (self.worst >= 0))
        told = contributions(self.model, self.scores, self.worst[chosen])
        moved = np.rint(told.amounts * MILLE).astype(np.int64)
        counted = moved != 0
        lengths = np.zeros(len(lanes), np.int64)
        lengths[chosen] = counted.sum(axis=1)
        names, places = np.unique(told.features[counted], return_inverse=True)
        texts = Strings([self.model.content.recipe.names[name] for name in names.tolist()], places.astype(np.int32))
        table = Table(
            schema_of(ContributionColumns), int(lengths.sum()), {"column": texts, "weight": Ints.of(moved[counted])}
        )
        return {"contributions": Ragged.of_lengths(lengths, table)}


def opinion_of(models: Models, table: Table, facts: Facts, points: Ints) -> Opinion | None:
    """Have the models in force judge a batch; `points` are those of what was found. None where no model is in force."""
    model, challenger = models.champion, models.challenger
    wanted = {name for each in (model, challenger) if each is not None for name in each.content.columns}
    if not wanted:
        return None
    items = assessed_items(table, facts, points, wanted)
    columns: dict[str, Column] = {}
    scores, worst = _nothing(), np.full(table.rows, -1, np.int64)
    if model is not None:
        scores = score(model, items.sample)
        log_odds, worst = items.worst(scores.log_odds)
        worst = np.where(facts.exports, -1, worst)
        columns["model_score_ppm"] = _ppm(chance_of(log_odds), worst >= 0)
        columns["model_uncertainty_ppm"] = _ppm(items.worst(scores.uncertainty)[0], worst >= 0)
        columns["model"] = _of_imports(model.version, facts)
    if challenger is not None:
        log_odds, place = items.worst(score(challenger, items.sample).log_odds)
        columns["challenger_score_ppm"] = _ppm(chance_of(log_odds), (place >= 0) & ~facts.exports)
        columns["challenger"] = _of_imports(challenger.version, facts)
    return Opinion(items, scores, worst, columns, model, facts.exports)


def _of_imports(version: str, facts: Facts) -> Strings:
    exported = facts.exports
    return (
        Strings(["", version], (~exported).astype(np.int32))
        if exported.any()
        else Strings.constant(version, len(exported))
    )


def _ppm(shares: Floats, valid: npt.NDArray[np.bool_]) -> Ints:
    return Ints.of(np.rint(np.where(valid, shares, 0.0) * PPM).astype(np.int64), valid)


def _nothing() -> Scores:
    none = np.zeros(0)
    return Scores(np.zeros((0, 0)), none, none, np.zeros((0, 0), np.int64), none)
