"""Features: what a model's matrix holds, said as data, so that a model file tells it to whoever reads it.

A recipe is a list of features over named columns. learner.py learns from the training window what a feature needs and
computes it; nothing here looks at data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from services.risk.learning.features.sample import NUMBER, WORD, ColumnType

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,59}$")]


class KeyPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Part of a key: a column of words, whole or its first `length` characters (the heading of an HS code: 4)."""

    column: Name
    length: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    """0 for the whole word."""


#: What rows are grouped by: rows that agree in every part are of one group; a row that lacks a part is of none.
Key = Annotated[tuple[KeyPart, ...], msgspec.Meta(min_length=1, max_length=6)]


class Number(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="number"):
    """A column of numbers as it is, or its natural logarithm (unknown where it is not above zero)."""

    name: Name
    column: Name
    scale: Literal["plain", "log"] = "plain"


class Quotient(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="quotient"):
    """The logarithm of one number divided by another, such as price per kilogram; unknown unless both are above zero."""

    name: Name
    numerator: Name
    denominator: Name


class Fineness(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="fineness"):
    """How finely a number is stated: its decimals less the zeros that it ends in. 12.5 has 1, 12 has 0, 1,200 has -2. From
    -6 to 4; 0 for zero itself. Whoever estimates writes round numbers; who weighs or pays does not.
    """

    name: Name
    column: Name


class Differs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="differs"):
    """1 where two words differ, 0 where they agree, unknown where one is absent: departure and origin, say."""

    name: Name
    left: Name
    right: Name


class Code(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="code"):
    """The group itself, as a category that LightGBM splits by sets; a group never seen in training is unknown."""

    name: Name
    key: Key


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="rate"):
    """The share of violations among the group's outcomes, drawn towards the share of all (empirical Bayes):
    (violations + smoothing * share of all) / (outcomes + smoothing).

    In training each row sees the share of other folds only (out of fold), or the model would learn its own answers.
    """

    name: Name
    key: Key
    smoothing: Annotated[float, msgspec.Meta(gt=0)] = 20.0
    explored: bool = False
    """Whether a row is uncertain where few outcomes are known of its group: how a new kind of fraud is met."""


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="count"):
    """ln(1 + rows of the group in the reference window); 0 for a group that never came: that is known, not absent."""

    name: Name
    key: Key


class Deviation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="deviation"):
    """A value minus its group's median in the reference window, in logarithms: the price per kilogram against HS × origin.

    Keys stand from the finest to the coarsest; the first one whose group has `rows_min` values counts.
    """

    name: Name
    value: Number | Quotient
    keys: Annotated[tuple[Key, ...], msgspec.Meta(min_length=1, max_length=6)]
    rows_min: Annotated[int, msgspec.Meta(ge=1)] = 8


Feature = Number | Quotient | Fineness | Differs | Code | Rate | Count | Deviation


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The features of a model, in the order of its matrix's columns."""

    features: Annotated[tuple[Feature, ...], msgspec.Meta(min_length=1, max_length=500)]

    def __post_init__(self) -> None:
        names = self.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"features {', '.join(twice)} stand twice; each needs a name of its own")
        types: dict[str, ColumnType] = {}
        for name, kind in self._uses():
            if types.setdefault(name, kind) != kind:
                raise ValueError(f"column {name} is used as number and as word; it can be only one of them")

    @property
    def names(self) -> list[str]:
        """The features' names, in order."""
        return [feature.name for feature in self.features]

    @property
    def columns(self) -> dict[str, ColumnType]:
        """The columns that the features need, each with its type."""
        return dict(self._uses())

    @property
    def categories(self) -> list[int]:
        """The places of the features that are categories."""
        return [place for place, feature in enumerate(self.features) if isinstance(feature, Code)]

    @property
    def parts(self) -> list[KeyPart]:
        """Every part of every key once."""
        return list(dict.fromkeys(part for feature in self.features for key in keys_of(feature) for part in key))

    def _uses(self) -> Iterator[tuple[str, ColumnType]]:
        for feature in self.features:
            for value in (feature, feature.value) if isinstance(feature, Deviation) else (feature,):
                if isinstance(value, Number | Fineness):
                    yield value.column, NUMBER
                elif isinstance(value, Quotient):
                    yield value.numerator, NUMBER
                    yield value.denominator, NUMBER
                elif isinstance(value, Differs):
                    yield value.left, WORD
                    yield value.right, WORD
            for key in keys_of(feature):
                for part in key:
                    yield part.column, WORD


def keys_of(feature: Feature) -> tuple[Key, ...]:
    """The keys that a feature groups by."""
    if isinstance(feature, Deviation):
        return feature.keys
    return (feature.key,) if isinstance(feature, Code | Rate | Count) else ()


def key_of(text: str) -> tuple[KeyPart, ...]:
    """A key from its short form: `hs6` is a column, `hs6:4` its first four characters, `hs6:4 origin` both together."""
    parts = [word.partition(":") for word in text.split()]
    return tuple(KeyPart(column, int(length or 0)) for column, _, length in parts)
