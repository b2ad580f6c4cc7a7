"""Code model files (digest_file.py): the weights of a trained model, of what it was made, and how often it was right.

A file that is damaged, of another version, or contradicts itself is refused as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
import numpy as np

from services.risk.codes.code_weights import FEATURE_CODES_MAX, FEATURES, CodeWeights
from services.risk.files.digest_file import DigestFileRefused, Form

BYTES_MAX: Final = 6_000_000
CODES_MAX: Final = 10_000
FORMAT: Final = "luxor-code-model"
UNLIKELY_PERCENT: Final = 5
"""A declared code is unlikely whose probability is below that of all but so many hundredths of the right codes in cross-validation..."""
UNLIKELY_BELOW_MAX: Final = 0.05
"""...and below this, since a model that is nearly always right gives all of them high probabilities."""
PREFIX: Final = "codes:"
"""With which the version of each code model begins, and of no other."""
_FORM: Final = Form(FORMAT, 2, BYTES_MAX, "train on fewer texts", "luxor learn codes")

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class CodeModelRefused(ValueError):
    """A code model file that is not used; the message says where, why, and what to do."""


class CodeModelContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a code model file contains. Arrays are little-endian bytes."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{1,39}$")]
    declarations: Annotated[int, msgspec.Meta(ge=1)]
    """How many declarations it was trained on."""
    references: Annotated[int, msgspec.Meta(ge=0)]
    """How many reference texts it was trained on besides."""
    top1: Share
    """Share of declarations whose code was the most probable one, in cross-validation."""
    top5: Share
    """Share of declarations whose code was among the five most probable."""
    sharpness: Annotated[float, msgspec.Meta(gt=0, le=1_000)]
    """By which scores become probabilities."""
    quantiles: Annotated[tuple[Share, ...], msgspec.Meta(min_length=99, max_length=99)]
    """The 1st to the 99th percentile of the probabilities of right codes, in cross-validation."""
    codes: Annotated[tuple[Annotated[str, msgspec.Meta(pattern="^[0-9]{6}$")], ...], msgspec.Meta(min_length=1)]
    idf: bytes
    offsets: bytes
    places: bytes
    weights: bytes


@dataclass(frozen=True)
class CodeModel:
    """A code model that is ready to suggest."""

    content: CodeModelContent
    weights: CodeWeights
    digest: str

    @property
    def unlikely_below(self) -> float:
        """Return the probability below which a declared code is unlikely (CODE_UNLIKELY)."""
        return min(self.content.quantiles[UNLIKELY_PERCENT - 1], UNLIKELY_BELOW_MAX)

    @property
    def version(self) -> str:
        """Return name and digest: equal exactly when the models are."""
        return f"{PREFIX}{self.content.name}/{self.digest[:16]}"


class CodeModelSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The facts of a model without its weights, as they are stored."""

    metrics: dict[str, float]
    """How many texts and codes it was made of, and how often it was right."""
    bytes: int


def summary_of(model: CodeModel, size: int) -> CodeModelSummary:
    """Return the summary of a model whose file has `size` bytes."""
    content = model.content
    counts = {"codes": len(content.codes), "declarations": content.declarations, "references": content.references}
    return CodeModelSummary(metrics={**counts, "top1": content.top1, "top5": content.top5}, bytes=size)


def write_code_model(weights: CodeWeights, **facts: str | float | tuple[float, ...]) -> bytes:
    """Return a code model file's bytes, the same for the same content. `facts` are the fields of CodeModelContent that are not weights."""
    arrays = {
        "idf": weights.idf.astype("<f4"),
        "offsets": weights.offsets.astype("<i8"),
        "places": weights.places.astype("<u2"),
        "weights": weights.weights.astype("<f4"),
    }
    content = {**facts, "codes": weights.codes, **{name: array.tobytes() for name, array in arrays.items()}}
    return _FORM.write(msgspec.convert(content, CodeModelContent))


def read_code_model(data: bytes, where: str) -> CodeModel:
    """Return the model of a file; `where` names the file in errors. Raises CodeModelRefused."""
    try:
        inner, digest = _FORM.read(data)
        content = msgspec.json.decode(inner, type=CodeModelContent)
        return CodeModel(content, _weights_of(content), digest)
    except DigestFileRefused as error:
        raise _refused(where, error.reason, error.remedy) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise _refused(where, str(error), "copy or train it again; nothing may be changed by hand") from None


def _weights_of(content: CodeModelContent) -> CodeWeights:
    """Return the weights, checked. Raises ValueError."""
    codes = list(content.codes)
    if sorted(content.quantiles) != list(content.quantiles):
        raise ValueError("content.quantiles do not rise")
    idf, weights = np.frombuffer(content.idf, "<f4"), np.frombuffer(content.weights, "<f4")
    offsets, places = np.frombuffer(content.offsets, "<i8"), np.frombuffer(content.places, "<u2")
    if len(codes) > CODES_MAX or sorted(set(codes)) != codes:
        raise ValueError(f"content.codes are not sorted, or occur twice, or are more than {CODES_MAX}")
    if len(idf) != FEATURES or not np.isfinite(idf).all() or (idf <= 0).any():
        raise ValueError(f"content.idf is not {FEATURES} numbers above 0")
    if len(offsets) != FEATURES + 1 or offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != len(weights):
        raise ValueError("content.offsets do not divide content.weights among the features")
    if np.diff(offsets).max() > FEATURE_CODES_MAX:
        raise ValueError(f"content.offsets give a feature the weights of more than {FEATURE_CODES_MAX} codes")
    if len(places) != len(weights) or not np.isfinite(weights).all():
        raise ValueError("content.weights are not finite numbers, one for each of content.places")
    if len(places) and places.max() >= len(codes):
        raise ValueError("content.places name codes that content.codes does not have")
    return CodeWeights(codes, idf, offsets, places, weights)


def _refused(where: str, reason: str, remedy: str) -> CodeModelRefused:
    return CodeModelRefused(f"{where}: the code model file is refused: {reason}; {remedy}")
