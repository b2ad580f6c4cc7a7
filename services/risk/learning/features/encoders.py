"""Encoders: what features need to know of the training window, learnt of it alone, and the matrix they give.

GroupTable are looked up by number: each part of a key has a vocabulary, the numbers of a key's parts make one int64, and a
sorted array of those is searched for whole batches at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from services.risk.learning.features.recipe import (
    Code,
    Count,
    Deviation,
    Differs,
    Feature,
    Fineness,
    Key,
    KeyPart,
    Number,
    Quotient,
    Rate,
    Recipe,
    keys_of,
)
from services.risk.learning.features.sample import Floats, Numbers, Sample, require

#: A key part that is absent, and one whose word no training row had.
ABSENT: Final = -2
UNSEEN: Final = -1
#: A table is held by number where at most one number in so many has no group, and some more.
DENSE_SHARE: Final = 8
DENSE_MIN: Final = 4_096
#: More outcomes than these do not make a group any better known.
KNOWN_MAX: Final = 1e6
#: Decimals and zeros that Fineness tells apart, and how far from a whole number what is whole in the decimal system may lie,
#: since a float holds few decimal fractions exactly: an absolute part, and one that grows with the number.
DECIMALS_MAX: Final = 4
ZEROS_MAX: Final = 6
WHOLE_WITHIN: Final = 1e-6
WHOLE_WITHIN_SHARE: Final = float(np.finfo(np.float64).eps)


class Lookup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """GroupTable and one value for each."""

    keys: tuple[int, ...]
    """Numbers of the groups, rising."""
    values: tuple[float, ...]
    otherwise: float | None
    """The value of a group that training never saw; None for unknown."""

    def __post_init__(self) -> None:
        if len(self.keys) != len(self.values):
            raise ValueError(f"{len(self.keys)} groups have {len(self.values)} values; each needs one")
        if any(later <= earlier for earlier, later in zip(self.keys, self.keys[1:], strict=False)):
            raise ValueError("the numbers of the groups do not rise")


class Encoders(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was learnt."""

    parts: tuple[KeyPart, ...]
    vocabularies: tuple[tuple[str, ...], ...]
    """Per part its words; a word's place is its number."""
    lookups: dict[str, tuple[Lookup, ...]]
    """Per feature with keys its tables, one a key."""
    outcome_counts: dict[str, Lookup] = msgspec.field(default_factory=dict, name="known")
    """Per explored feature how many outcomes are known of each group."""

    def __post_init__(self) -> None:
        if len(self.parts) != len(self.vocabularies):
            raise ValueError(
                f"{len(self.parts)} parts of keys have {len(self.vocabularies)} vocabularies; each needs one"
            )


class Encoding:
    """A recipe and its encoders, ready for batches."""

    def __init__(self, recipe: Recipe, encoders: Encoders) -> None:
        """Take what `learn` gave or a model file held; raises ValueError where the two do not belong together."""
        self.recipe = recipe
        self.encoders = encoders
        self._groups = GroupTable(encoders.parts, encoders.vocabularies)
        absent = [f"{part.column}:{part.length}" for part in recipe.parts if part not in encoders.parts]
        if absent:
            raise ValueError(f"the encoders have no vocabulary for {', '.join(absent)}")
        self._tables: dict[str, list[Table]] = {}
        for feature in recipe.features:
            wanted = len(keys_of(feature))
            given = encoders.lookups.get(feature.name, ())
            if len(given) != wanted:
                raise ValueError(f"feature {feature.name} needs {wanted} tables and has {len(given)}")
            self._tables[feature.name] = [Table.from_lookup(lookup) for lookup in given]
        explored = {feature.name for feature in recipe.features if isinstance(feature, Rate) and feature.explored}
        if explored != encoders.outcome_counts.keys():
            raise ValueError(
                f"outcomes are counted for {sorted(encoders.outcome_counts)}; the explored features are {sorted(explored)}"
            )
        self._outcome_counts = {
            feature.key: Table.from_lookup(encoders.outcome_counts[feature.name])
            for feature in recipe.features
            if isinstance(feature, Rate) and feature.explored
        }
        extra = sorted(encoders.lookups.keys() - set(recipe.names))
        if extra:
            raise ValueError(f"there are tables for {', '.join(extra)}, which are no features")

    def matrix(self, sample: Sample) -> Floats:
        """The features of a sample: rows × features, float64, NaN where unknown. Raises ColumnsDoNotFit."""
        return self.look(sample)[0]

    def look(self, sample: Sample) -> tuple[Floats, Floats | None]:
        """The features of a sample, and how many outcomes are known of each row's least known explored group; None where the
        recipe explores none. A row that lacks the group's columns is of none, and is not strange for it. Raises ColumnsDoNotFit.
        """
        require(self.recipe.columns, sample.columns, "the model's features")
        keys = self._groups.keys(sample)
        matrix = np.empty((sample.rows, len(self.recipe.features)))
        for place, feature in enumerate(self.recipe.features):
            matrix[:, place] = self._feature(feature, sample, keys)
        known = [np.nan_to_num(table.find(keys[key]), nan=np.inf) for key, table in self._outcome_counts.items()]
        return matrix, np.minimum(np.min(known, axis=0), KNOWN_MAX) if known else None

    def _feature(self, feature: Feature, sample: Sample, keys: Keys) -> Floats:
        tables = self._tables[feature.name]
        if isinstance(feature, Deviation):
            value = plain(feature.value, sample)
            middle = np.full(sample.rows, np.nan)
            for key, table in zip(feature.keys, tables, strict=True):
                # GroupTable with too few values are not in the table, so the next, coarser key answers.
                open_rows = np.isnan(middle)
                if not open_rows.any():
                    break
                middle = np.where(open_rows, table.find(keys[key]), middle)
            deviation: Floats = value - middle
            return deviation
        if isinstance(feature, Code | Rate | Count):
            return tables[0].find(keys[feature.key])
        return plain(feature, sample)


class Table:
    """A lookup as arrays."""

    def __init__(self, keys: Numbers, values: Floats, otherwise: float) -> None:
        """Take groups, rising, their values, and the value of any other group (NaN: unknown)."""
        self.keys = keys
        # One more value at the end: that of a group never seen.
        self.values = np.append(values, otherwise)
        #: Where the numbers of the groups lie close, the values by number: absent, never seen, 0, 1 and so on, never seen.
        self._dense: Floats | None = None
        if len(keys) == 0 or keys[-1] < DENSE_SHARE * len(keys) + DENSE_MIN:
            self._dense = np.full((int(keys[-1]) if len(keys) else -1) - ABSENT + 2, otherwise)
            self._dense[keys - ABSENT] = values
            self._dense[0] = np.nan

    @classmethod
    def from_lookup(cls, lookup: Lookup) -> Table:
        """From the form that is written to a file."""
        otherwise = np.nan if lookup.otherwise is None else lookup.otherwise
        return cls(np.array(lookup.keys, np.int64), np.array(lookup.values, np.float64), otherwise)

    def lookup(self) -> Lookup:
        """The form that is written to a file."""
        otherwise = float(self.values[-1])
        values = tuple(self.values[:-1].tolist())
        return Lookup(tuple(self.keys.tolist()), values, None if np.isnan(otherwise) else otherwise)

    def find(self, keys: Numbers) -> Floats:
        """The value of each key; NaN where it is absent."""
        if self._dense is not None:
            return self._dense.take(keys - ABSENT, mode="clip")
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        found = self.values[np.where(self.keys[places] == keys, places, len(self.keys))]
        found[keys == ABSENT] = np.nan
        return found


class GroupTable:
    """The vocabularies of key parts, by which groups get their numbers."""

    def __init__(self, parts: Sequence[KeyPart], vocabularies: Sequence[Sequence[str]]) -> None:
        self.places = {
            part: {word: place for place, word in enumerate(words)}
            for part, words in zip(parts, vocabularies, strict=True)
        }

    def keys(self, sample: Sample) -> Keys:
        """The groups of a sample's rows."""
        return Keys(self, sample)


class Keys:
    """The numbers of each key's groups for the rows of one sample; each key and part is computed once."""

    def __init__(self, groups: GroupTable, sample: Sample) -> None:
        self._places = groups.places
        self._sample = sample
        self._parts: dict[KeyPart, Numbers] = {}
        self._keys: dict[Key, Numbers] = {}

    def _part(self, part: KeyPart) -> Numbers:
        numbers = self._parts.get(part)
        if numbers is None:
            places = self._places[part]

            column = self._sample.words[part.column]
            end = part.length or None
            found = [places.get(word[:end], UNSEEN) if word else ABSENT for word in column.dictionary]
            numbers = self._parts[part] = np.array(found, np.int64)[column.indices]
        return numbers

    def __getitem__(self, key: Key) -> Numbers:
        numbers = self._keys.get(key)
        if numbers is None:
            numbers = self._part(key[0])
            for part in key[1:]:
                more = self._part(part)
                together = numbers * len(self._places[part]) + more
                unseen = (numbers == UNSEEN) | (more == UNSEEN)
                absent = (numbers == ABSENT) | (more == ABSENT)
                numbers = np.where(absent, ABSENT, np.where(unseen, UNSEEN, together))
            self._keys[key] = numbers
        return numbers


def cut(word: str, part: KeyPart) -> str:
    """What of a word a key's part takes."""
    return word[: part.length] if part.length else word


def plain(feature: Number | Quotient | Fineness | Differs, sample: Sample) -> Floats:
    """A feature that needs no knowledge of other rows."""
    if isinstance(feature, Differs):
        left, right = sample.words[feature.left], sample.words[feature.right]
        places = {word: place for place, word in enumerate(left.dictionary)}
        same = left.indices == right.map(lambda word: places.get(word, -1), np.int64)
        return np.where(left.present & right.present, (~same).astype(np.float64), np.nan)
    if isinstance(feature, Number):
        values = sample.numbers[feature.column]
        return _log(values) if feature.scale == "log" else values
    if isinstance(feature, Fineness):
        return fineness(sample.numbers[feature.column])
    return _log(sample.numbers[feature.numerator]) - _log(sample.numbers[feature.denominator])


def fineness(values: Floats) -> Floats:
    """Decimals of each number less the zeros that it ends in, as Fineness tells; unknown where the number is not finite."""
    sizes = np.abs(np.where(np.isfinite(values), values, 0.0))
    found = np.full(len(values), float(DECIMALS_MAX))
    # From the finest to the coarsest: the last place at which the number is still whole counts.
    for places in range(DECIMALS_MAX - 1, -ZEROS_MAX - 1, -1):
        scaled = sizes * 10.0**places if places >= 0 else sizes / 10.0**-places
        rounded = np.round(scaled)
        whole = (np.abs(scaled - rounded) <= WHOLE_WITHIN + WHOLE_WITHIN_SHARE * scaled) & (rounded > 0)
        found[whole & (found == places + 1)] = places
    found[sizes == 0] = 0
    found[~np.isfinite(values)] = np.nan
    return found


def _log(values: Floats) -> Floats:
    logs: Floats = np.log(values, out=np.full(len(values), np.nan), where=values > 0)
    return logs
