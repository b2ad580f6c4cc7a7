"""The written form of a rule set: what a profile and the files beside it may say."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

RULES_MAX: Final = 2_000
TYPOLOGIES_MAX: Final = 500
SCORE_MAX: Final = 1_000
ENTRIES_MAX: Final = 100_000

Code = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{2,62}$")]
Sentence = Annotated[str, msgspec.Meta(min_length=8, max_length=300)]
Points = Annotated[int, msgspec.Meta(ge=0, le=SCORE_MAX)]
Threshold = Annotated[int, msgspec.Meta(ge=1, le=SCORE_MAX)]
DataName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{1,39}$")]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
#: What conditions count with: 64 bits.
Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Owner = Annotated[str, msgspec.Meta(min_length=3, max_length=70)]
VersionNumber = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
RelativePath = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
LaneName = Literal["red", "yellow", "blue", "none"]
Stage = Literal["clearance", "pre_loading"]
Direction = Literal["import", "export"]
Life = Literal["draft", "shadow", "active", "retired"]
"""draft and retired: checked and never evaluated. shadow: evaluated and counted, without effect."""

STAGES: Final[tuple[Stage, ...]] = ("clearance", "pre_loading")


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The score from which on each lane is advised."""

    red: Threshold
    yellow: Threshold
    blue: Threshold


# Defaults are left out of digests, so that a release that adds an element does not change the version of what is written already.
class RuleText(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"subject": "judges"}
):
    """A rule as written: what it judges, when it counts, what a hit means and who answers for it."""

    id: Code
    version: VersionNumber
    subject: Literal["consignment", "item"]
    condition: Annotated[str, msgspec.Meta(min_length=1)]
    weight: Points
    lane: LaneName
    """The control that is recommended."""
    reason: Code
    sentence: Sentence
    legal_basis: Sentence
    owner: Owner
    valid_from: datetime.date
    valid_until: datetime.date | None = None
    jurisdictions: tuple[str, ...] = ()
    life: Life = "active"
    stages: Annotated[tuple[Stage, ...], msgspec.Meta(min_length=1)] = STAGES
    directions: Annotated[tuple[Direction, ...], msgspec.Meta(min_length=1)] = ("import",)
    """Whether it judges imports, exports or both. A rule that says nothing judges imports, as all rules did before exports."""
    confidential: bool = False
    """Whether its findings are for officers and analysts alone."""
    second_person: bool = False
    """Whether what an officer decides on the goods takes effect only when a second officer confirms it."""


class TypologyText(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Rules that say together what none says alone: where the weights that it gives those that hit reach a score, it is a finding."""

    id: Code
    version: VersionNumber
    rules: Annotated[dict[Code, Threshold], msgspec.Meta(min_length=1, max_length=100)]
    """Rule → what its hit weighs here, once a consignment."""
    from_points: Annotated[int, msgspec.Meta(ge=1, le=100 * SCORE_MAX)]
    lane: LaneName
    reason: Code
    sentence: Sentence
    legal_basis: Sentence
    owner: Owner
    weight: Points = 0
    """Points that the finding adds to the consignment's score."""
    life: Life = "active"
    confidential: bool = False
    second_person: bool = False
    """As for rules."""


class DataText(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A list of words, a table of numbers or texts, or a table of lists of words, each in a file of its own."""

    source: Sentence
    words: tuple[Word, ...] | None = None
    numbers: dict[str, Number] | None = None
    texts: dict[str, Word] | None = None
    lists: dict[str, tuple[Word, ...]] | None = None

    @property
    def content(self) -> Sequence[str] | Mapping[str, Any] | None:
        """The one that is given; None unless exactly one is, and not empty."""
        given = [part for part in (self.words, self.numbers, self.texts, self.lists) if part is not None]
        return given[0] if len(given) == 1 and len(given[0]) else None


class ProfileText(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A profile as written. Paths are relative to its own directory."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{1,39}$")]
    version: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z.-]{1,30}$")]
    base: RelativePath | None = None
    """A profile that this one builds on: it takes all of it that it does not say itself."""
    thresholds: Thresholds | None = None
    data: dict[DataName, RelativePath] = {}
    selection: RelativePath | None = None
    """File of the parameters of selection; without one nothing is drawn and the lane is what findings advise."""
    rules: Annotated[tuple[RuleText, ...], msgspec.Meta(max_length=RULES_MAX)] = ()
    typologies: Annotated[tuple[TypologyText, ...], msgspec.Meta(max_length=TYPOLOGIES_MAX)] = ()
