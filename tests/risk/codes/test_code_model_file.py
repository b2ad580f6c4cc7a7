"""Code model files: what is written is read back, and each way in which a file can be unsound is refused."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from services.risk.codes.code_model_file import BYTES_MAX, CodeModelRefused, read_code_model, write_code_model
from services.risk.codes.code_weights import FEATURE_CODES_MAX, FEATURES
from services.risk.codes.ngrams import features_of
from services.risk.codes.training import TrainingTexts, train

WEIGHTS = train(TrainingTexts(["lipstick", "trousers"], ["330410", "620463"], np.ones(2)))
FACTS: dict[str, str | float | tuple[float, ...]] = {
    "name": "own",
    "declarations": 2,
    "references": 0,
    "top1": 0.5,
    "top5": 1.0,
    "sharpness": 8.0,
    "quantiles": (0.25,) * 4 + (0.5,) * 95,
}


def file_with(change: Callable[[dict[str, Any]], None]) -> bytes:
    """Return a model file whose content is changed and whose digest is that of the changed content."""
    document = msgspec.json.decode(write_code_model(WEIGHTS, **FACTS))
    change(document["content"])
    inner = msgspec.json.encode(document["content"], order="deterministic")
    return msgspec.json.encode({**document, "digest": hashlib.sha256(inner).hexdigest(), "content": msgspec.Raw(inner)})


def array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict[str, Any]], None]:
    """Return what changes an array of a content."""
    types = {"idf": "<f4", "offsets": "<i8", "places": "<u2", "weights": "<f4"}

    def apply(content: dict[str, Any]) -> None:
        values = np.frombuffer(base64.b64decode(content[name]), types[name])
        content[name] = base64.b64encode(change(values.copy()).astype(types[name]).tobytes()).decode()

    return apply


def weights_of_one(count: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives the first weights to one feature, and all others to the features behind it as they stand."""

    def apply(offsets: np.ndarray) -> np.ndarray:
        assert offsets[-1] > count
        return np.where(offsets < count, 0, offsets)

    return apply


def with_value(place: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return what sets one value of an array."""

    def apply(values: np.ndarray) -> np.ndarray:
        values[place] = value
        return values

    return apply


def field(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Return what sets a field of a content."""

    def apply(content: dict[str, Any]) -> None:
        content[name] = value

    return apply


def test_a_model_that_was_written_is_read_back_and_scores_alike() -> None:
    written = write_code_model(WEIGHTS, **FACTS)
    assert written == write_code_model(WEIGHTS, **FACTS)
    model = read_code_model(written, "own.json")
    asked = features_of(["red lipstick", "wide trousers"])
    np.testing.assert_array_equal(model.weights.scores(asked), WEIGHTS.scores(asked))
    assert model.version.startswith("codes:own/")
    assert (model.content.top1, model.content.sharpness) == (0.5, 8.0)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "copy or train it again"),
        (b"\xff", "copy or train it again"),
        (b'{"format": "luxor-risk-model", "version": 1}', "its format is 'luxor-risk-model', not 'luxor-code-model'"),
        (b'{"format": "luxor-code-model", "version": 1}', "of version 1; this Luxor reads 2"),
        (b" " * (BYTES_MAX + 1), f"more than {BYTES_MAX}"),
        (write_code_model(WEIGHTS, **FACTS).replace(b'"own"', b'"owm"'), "does not have the digest"),
        (file_with(field("name", "A")), "name"),
        (file_with(field("declarations", 0)), "declarations"),
        (file_with(field("top1", 1.5)), "top1"),
        (file_with(field("sharpness", 0)), "sharpness"),
        (file_with(field("other", 1)), "other"),
        (file_with(field("quantiles", [0.5] * 98)), "quantiles"),
        (file_with(field("quantiles", [0.5] * 98 + [1.5])), "quantiles"),
        (file_with(field("quantiles", [0.5] * 98 + [0.25])), "content.quantiles do not rise"),
        (file_with(field("codes", ["330410", "33041"])), "codes"),
        (file_with(field("codes", ["620463", "330410"])), "not sorted"),
        (file_with(field("codes", ["330410", "330410"])), "occur twice"),
        (file_with(field("codes", [f"{code:06}" for code in range(10_001)])), "more than 10000"),
        (file_with(array("idf", lambda values: values[:-1])), "content.idf"),
        (file_with(array("idf", with_value(0, 0))), "content.idf"),
        (file_with(array("idf", with_value(0, float("inf")))), "content.idf"),
        (file_with(array("offsets", lambda values: values[:-1])), "content.offsets"),
        (file_with(array("offsets", with_value(0, 1))), "content.offsets"),
        (file_with(array("offsets", with_value(FEATURES // 2, 10**9))), "content.offsets"),
        (file_with(array("offsets", with_value(-1, 10**9))), "content.offsets"),
        (file_with(array("offsets", weights_of_one(FEATURE_CODES_MAX + 1))), "more than 24 codes"),
        (file_with(array("places", lambda values: values[:-1])), "content.weights"),
        (file_with(array("places", with_value(0, 2))), "content.places"),
        (file_with(array("weights", with_value(0, float("nan")))), "content.weights"),
    ],
)
def test_an_unsound_file_is_refused_with_its_name_the_cause_and_a_remedy(content: bytes, why: str) -> None:
    with pytest.raises(CodeModelRefused) as refusal:
        read_code_model(content, "own.json")
    assert str(refusal.value).startswith("own.json: the code model file is refused: ")
    assert why in str(refusal.value)
    assert "train" in str(refusal.value)


@pytest.mark.parametrize(("fifth", "bound"), [(0.0, 0.0), (0.01, 0.01), (0.05, 0.05), (0.9, 0.05)])
def test_a_code_is_unlikely_below_the_fifth_percentile_of_right_codes_and_never_from_five_hundredths_on(
    fifth: float, bound: float
) -> None:
    quantiles = (0.0,) * 4 + (fifth,) + (0.95,) * 94
    assert (
        read_code_model(write_code_model(WEIGHTS, **FACTS | {"quantiles": quantiles}), "own.json").unlikely_below
        == bound
    )


def test_a_file_of_the_largest_number_of_codes_is_read() -> None:
    codes = [f"{code:06}" for code in range(10_000)]
    assert len(read_code_model(file_with(field("codes", codes)), "own.json").weights.codes) == 10_000
