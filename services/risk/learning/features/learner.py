"""Learns of a training window what its features need: vocabularies, rates, counts, medians."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.risk.learning.features.encoders import UNSEEN, Encoders, Encoding, GroupTable, Table, cut, plain
from services.risk.learning.features.recipe import Code, Count, Deviation, Feature, Key, KeyPart, Rate, Recipe, keys_of
from services.risk.learning.features.sample import Floats, Numbers, Sample, Truths, require

#: Products of vocabularies stay below this, so that a key's number never wraps.
KEYS_MAX: Final = 1 << 62


class Learner:
    """Learns the encoders of a recipe from a training window.

    `labelled` are the rows whose outcome is known, `found` their outcomes, `weights` what each counts. `reference` is
    what counts and medians are taken of: all traffic of the window, inspected or not, since a declared price needs no
    outcome. Without it they are taken of the labelled rows.
    """

    def __init__(
        self, recipe: Recipe, labelled: Sample, violations: Truths, weights: Floats, reference: Sample | None = None
    ) -> None:
        self.recipe = recipe
        self.labelled = labelled
        self.reference = labelled if reference is None else reference
        self.violations = violations.astype(np.float64)
        self.weights = weights
        require(recipe.columns, labelled.columns, "the labelled rows")
        require(recipe.columns, self.reference.columns, "the reference window")
        vocabularies = tuple(self._vocabulary(part) for part in recipe.parts)
        self._check_sizes(dict(zip(recipe.parts, vocabularies, strict=True)))
        self._vocabularies = vocabularies
        groups = GroupTable(recipe.parts, vocabularies)
        self._members: dict[Key, tuple[Numbers, Numbers, Numbers]] = {}
        self._labelled_keys = groups.keys(labelled)
        self._reference_keys = self._labelled_keys if reference is None else groups.keys(self.reference)

    def _vocabulary(self, part: KeyPart) -> tuple[str, ...]:
        words = {
            cut(word, part)
            for sample in (self.labelled, self.reference)
            for word in sample.words[part.column].compact().dictionary
            if word
        }
        return tuple(sorted(words))

    def _check_sizes(self, vocabularies: Mapping[KeyPart, Sequence[str]]) -> None:
        for feature in self.recipe.features:
            for key in keys_of(feature):
                if np.prod([float(max(1, len(vocabularies[part]))) for part in key]) >= KEYS_MAX:
                    raise ValueError(
                        f"feature {feature.name}: its key can have more than 2^62 groups; take fewer parts"
                    )

    def learn(self) -> Encoding:
        """What scoring uses: learnt of all labelled rows and of the reference."""
        lookups = {
            feature.name: tuple(table.lookup() for table in self._tables(feature))
            for feature in self.recipe.features
            if keys_of(feature)
        }
        known = {
            feature.name: self._outcome_counts(feature).lookup()
            for feature in self.recipe.features
            if isinstance(feature, Rate) and feature.explored
        }
        return Encoding(self.recipe, Encoders(tuple(self.recipe.parts), self._vocabularies, lookups, known))

    def _outcome_counts(self, feature: Rate) -> Table:
        """How many outcomes there are of each group."""
        _, places, groups = self._groups_of(feature)
        return Table(groups, np.bincount(places, minlength=len(groups)).astype(np.float64), 0.0)

    def training_matrix(self, scored: Floats, folds: Numbers) -> Floats:
        """The matrix to train on: `scored`, which is how scoring would see the labelled rows, but with rates out of fold.

        `folds` has a row's fold, from 0 up; rows that are near copies of each other belong into one.
        """
        matrix = scored.copy()
        for place, feature in enumerate(self.recipe.features):
            if isinstance(feature, Rate):
                matrix[:, place] = self._out_of_fold(feature, folds)
        return matrix

    def _out_of_fold(self, feature: Rate, folds: Numbers) -> Floats:
        keys, places, groups = self._groups_of(feature)
        count = int(folds.max()) + 1
        cells = places * count + folds[keys >= 0]
        inside = self.weights[keys >= 0]
        total = np.bincount(cells, inside, len(groups) * count).reshape(-1, count)
        hits = np.bincount(cells, inside * self.violations[keys >= 0], len(groups) * count).reshape(-1, count)
        rates = np.full(len(keys), np.nan)
        for fold in range(count):
            # Summed over the others, not taken from the whole: a rounding error would tell the fold's own outcomes.
            others = [other for other in range(count) if other != fold]
            share = self._share(folds != fold)
            values = _smoothed(hits[:, others].sum(1), total[:, others].sum(1), share, feature.smoothing)
            rates[(keys == UNSEEN) & (folds == fold)] = share
            rows = np.flatnonzero((keys >= 0) & (folds == fold))
            rates[rows] = values[places[folds[keys >= 0] == fold]]
        return rates

    def _groups_of(self, feature: Rate) -> tuple[Numbers, Numbers, Numbers]:
        """Per labelled row its key; per row with a group the place of that; the groups. Kept, since each member asks."""
        if feature.key not in self._members:
            keys = self._labelled_keys[feature.key]
            groups, places = np.unique(keys[keys >= 0], return_inverse=True)
            self._members[feature.key] = keys, places, groups
        return self._members[feature.key]

    def _share(self, rows: Truths) -> float:
        weights = self.weights[rows]
        return float(np.average(self.violations[rows], weights=weights)) if weights.sum() > 0 else 0.0

    def _rates(self, feature: Rate) -> Table:
        keys, places, groups = self._groups_of(feature)
        weights, found = self.weights[keys >= 0], self.violations[keys >= 0]
        share = self._share(np.ones(len(keys), np.bool_))
        total = np.bincount(places, weights, len(groups))
        hits = np.bincount(places, weights * found, len(groups))
        return Table(groups, _smoothed(hits, total, share, feature.smoothing), share)

    def _tables(self, feature: Feature) -> tuple[Table, ...]:
        if isinstance(feature, Rate):
            return (self._rates(feature),)
        if isinstance(feature, Code):
            keys = self._labelled_keys[feature.key]
            groups = np.unique(keys[keys >= 0])
            return (Table(groups, np.arange(len(groups), dtype=np.float64), np.nan),)
        if isinstance(feature, Count):
            keys = self._reference_keys[feature.key]
            counted, rows = np.unique(keys[keys >= 0], return_counts=True)
            return (Table(counted, np.log1p(rows), 0.0),)
        if isinstance(feature, Deviation):
            value = plain(feature.value, self.reference)
            return tuple(_medians(self._reference_keys[key], value, feature.rows_min) for key in feature.keys)
        return ()


def _smoothed(violations: npt.NDArray[Any], total: npt.NDArray[Any], share: float, smoothing: float) -> Floats:
    """Rates of groups, drawn towards the share of all."""
    rates: Floats = (violations + smoothing * share) / (total + smoothing)
    return rates


def _medians(keys: Numbers, values: Floats, rows_min: int) -> Table:
    """Per group with enough known values their median (the mean of the two in the middle where they are even)."""
    known = (keys >= 0) & ~np.isnan(values)
    keys, values = keys[known], values[known]
    order = np.lexsort((values, keys))
    keys, values = keys[order], values[order]
    groups, first, counts = np.unique(keys, return_index=True, return_counts=True)
    enough = counts >= rows_min
    groups, first, counts = groups[enough], first[enough], counts[enough]
    middle = (values[first + (counts - 1) // 2] + values[first + counts // 2]) / 2
    return Table(groups, middle, np.nan)
