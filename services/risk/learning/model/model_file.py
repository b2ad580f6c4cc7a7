"""Model files (digest_file.py): what the model is, of what it was made, and all that scoring needs.

A file that is damaged, of another version, with unknown fields, or at odds with itself is refused as a whole. LightGBM's text
in it is read by trees.py, which checks it; a file makes nothing run and needs no LightGBM to score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from services.risk.files.digest_file import DigestFileRefused, Form
from services.risk.learning.evaluation.drift import Profile
from services.risk.learning.features.encoders import Encoders, Encoding
from services.risk.learning.features.recipe import Recipe
from services.risk.learning.features.sample import ColumnsDoNotFit, ColumnType, require
from services.risk.learning.model.trees import Forest, Tree, read_trees
from services.risk.learning.settings import TrainingSettings

BYTES_MAX: Final = 64_000_000
_FORM: Final = Form("luxor-risk-model", 1, BYTES_MAX, "train with fewer trees or groups", "luxor risk train")

Day = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]


class ModelFileRefused(ValueError):
    """A model file that is not used; the message tells where, why, and what to do."""


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The data that a model was trained on. Days are days since 1970-01-01 UTC, both ends included."""

    first_day: Day
    last_day: Day
    outcomes: Count
    violations: Count
    source: Text
    """Where the outcomes come from: inspections, or a labelled file."""

    def __post_init__(self) -> None:
        if self.last_day < self.first_day or self.violations > self.outcomes:
            raise ValueError("a window ends on its first day or later and has no more violations than outcomes")


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a model file holds."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{1,39}$")]
    label: Text
    """What counts as a violation, in words."""
    columns: dict[str, ColumnType]
    """The columns that the model needs, each with its type."""
    recipe: Recipe
    encoders: Encoders
    window: Window
    settings: TrainingSettings
    seed: int
    metrics: dict[str, float | None]
    """Measures by name, on rows that the model was not trained on; None for what could not be measured."""
    profiles: dict[str, Profile]
    """The training window's distribution of each column, for drift."""
    members: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=50)]
    """LightGBM's text of each member."""


class Model:
    """A model ready for scoring."""

    def __init__(self, content: Content, digest: str) -> None:
        """Check a file's content against itself and make it ready; raises ValueError telling what contradicts what."""
        if content.columns != content.recipe.columns:
            raise ValueError("content.columns are not those that content.recipe uses")
        self.content = content
        self.digest = digest
        self.encoding = Encoding(content.recipe, content.encoders)
        self.forest = Forest(
            [_member(text, number, content.recipe) for number, text in enumerate(content.members)],
            len(content.recipe.features),
        )

    @property
    def version(self) -> str:
        """Name and digest: equal exactly when the models are."""
        return f"{self.content.name}/{self.digest[:16]}"

    def require_columns(self, available: Mapping[str, ColumnType]) -> None:
        """Refuse to serve where the columns that there are do not fit. Raises ColumnsDoNotFit."""
        require(self.content.columns, available, f"model {self.version}")


@dataclass(frozen=True)
class Trained:
    """What training gives: encoders and members, to be put into a model file."""

    encoding: Encoding
    members: tuple[str, ...]
    """Each member as LightGBM's own text, family by family."""


def content_of(
    trained: Trained,
    *,
    name: str,
    label: str,
    window: Window,
    settings: TrainingSettings,
    seed: int,
    metrics: Mapping[str, float],
    profiles: Mapping[str, Profile],
) -> Content:
    """Put together what a model file holds; NaN among the metrics becomes None."""
    recipe = trained.encoding.recipe
    return Content(
        name=name,
        label=label,
        columns=recipe.columns,
        recipe=recipe,
        encoders=trained.encoding.encoders,
        window=window,
        settings=settings,
        seed=seed,
        metrics={key: value if value == value else None for key, value in metrics.items()},
        profiles=dict(profiles),
        members=trained.members,
    )


def write_model(content: Content) -> bytes:
    """A model file's bytes; the same content gives the same bytes."""
    return _FORM.write(content)


def read_model(data: bytes, where: str, columns: Mapping[str, ColumnType] | None = None) -> Model:
    """Read a model file; `where` is told in what is refused, and `columns`, if given, must fit.

    Raises ModelFileRefused.
    """
    try:
        inner, digest = _FORM.read(data)
    except DigestFileRefused as error:
        raise _refused(where, error.reason, error.remedy) from None
    try:
        model = Model(msgspec.json.decode(inner, type=Content), digest)
    except (msgspec.MsgspecError, ValueError) as error:
        raise _refused(where, str(error), "train it again; nothing may be changed by hand") from None
    if columns is not None:
        try:
            model.require_columns(columns)
        except ColumnsDoNotFit as error:
            raise ModelFileRefused(f"{where}: the model file is refused: {error}") from None
    return model


def _member(text: str, number: int, recipe: Recipe) -> list[Tree]:
    try:
        return read_trees(text, recipe.names, recipe.categories)
    except ValueError as error:
        raise ValueError(f"member {number}: {error}") from None


def _refused(where: str, reason: str, remedy: str) -> ModelFileRefused:
    return ModelFileRefused(f"{where}: the model file is refused: {reason}; {remedy}. The model in force stays")
