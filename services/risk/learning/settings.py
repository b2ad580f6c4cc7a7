"""Settings of a training, as a model file states them."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
MEMBERS_MAX: Final = 50
INSPECTIONS: Final = "inspections"
"""Name of a model that is trained on the results of inspections, unless it is given another, and the source of its outcomes."""


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Members that are trained alike. The defaults were chosen on folds of training data, never on data that a figure is told of."""

    members: Annotated[int, msgspec.Meta(ge=1, le=MEMBERS_MAX)] = 5
    trees: Annotated[int, msgspec.Meta(ge=1, le=2_000)] = 40
    """Trees of each member."""
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1
    leaves: Annotated[int, msgspec.Meta(ge=2, le=64)] = 15
    leaf_rows_min: Annotated[int, msgspec.Meta(ge=1)] = 200
    features_share: Share = 0.5
    """Share of the features that a tree may use."""
    rows_share: Share = 0.6
    """Share of the rows that a tree sees."""
    l2: Annotated[float, msgspec.Meta(ge=0)] = 20.0
    random_cuts: bool = True
    """Whether a feature's cut is drawn at random (extremely randomised trees): rougher trees, a steadier mean."""


class TrainingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a model is trained."""

    families: Annotated[tuple[Family, ...], msgspec.Meta(min_length=1, max_length=10)] = (Family(),)
    """The score is the mean of all their members, so a family counts by how many it has."""
    folds: Annotated[int, msgspec.Meta(ge=2, le=50)] = 5
    """Folds in which the rates of the training rows are computed out of fold; each member has its own."""
    copies_exponent: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    """A row of a group of n near copies weighs n to the minus this: 0 counts each copy in full, 1 each group once."""
    half_life_days: Annotated[float, msgspec.Meta(gt=0, le=10_000)] | None = None
    """An outcome weighs half of one that is so many days newer: fraud moves, and what was true then may not be now. None: all
    days weigh the same."""
    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1

    def __post_init__(self) -> None:
        members = sum(family.members for family in self.families)
        if members > MEMBERS_MAX:
            raise ValueError(f"the families have {members} members together, more than {MEMBERS_MAX}; take fewer")
