"""A model file that is not exactly what was written is refused, with where, why and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.risk.learning.model.model_file import ModelFileRefused, read_model, write_model
from services.risk.learning.model.scoring import score
from tests.risk.learning.declarations import RECIPE, declarations, model, written


def changed(change: Callable[[dict[str, Any]], None]) -> bytes:
    """The file with a change of its content and a digest that fits it: what a hand or another program would make."""
    import hashlib

    file = json.loads(written())
    change(file["content"])
    inner = json.dumps(file["content"]).encode()
    head = json.dumps({key: value for key, value in file.items() if key != "content"} | {"digest": "D"}).encode()
    digest = hashlib.sha256(inner).hexdigest().encode()
    return head.replace(b'"D"', b'"' + digest + b'"')[:-1] + b', "content": ' + inner + b"}"


def test_a_file_read_back_scores_as_before_and_is_written_the_same() -> None:
    sample, _ = declarations(50, 8)
    read = read_model(written(), "made.json", sample.columns)
    np.testing.assert_array_equal(score(read, sample).log_odds, score(model(), sample).log_odds)
    assert write_model(read.content) == written()
    assert read.version == f"made/{read.digest[:16]}"
    assert read.content.metrics == {"auc": None}


def test_a_change_that_fits_the_digest_and_the_form_is_read() -> None:
    read = read_model(changed(lambda content: content.update(label="another label")), "made.json")
    assert read.content.label == "another label"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no whole JSON document"),
        (b"\xff\xfe\x00", "no whole JSON document"),
        (b"[]", "no whole JSON document"),
        (b"{}", "its format is '', not 'luxor-risk-model'"),
        (b'{"format": "luxor-risk-model", "version": 2, "more": 1}', "of version 2; this Luxor reads 1"),
        (b'{"format": "luxor-risk-model", "version": 1}', "missing required field"),
    ],
)
def test_what_is_no_model_file_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ModelFileRefused) as refused:
        read_model(data, "models/new.json")
    told = str(refused.value)
    assert told.startswith("models/new.json: the model file is refused: ")
    assert why in told
    assert told.endswith("The model in force stays")


def test_a_damaged_file_is_refused_by_its_digest() -> None:
    damaged = written().replace(b"made declarations", b"mode declarations", 1)
    with pytest.raises(ModelFileRefused, match="does not have the digest that it names: it is damaged; copy or train"):
        read_model(damaged, "made.json")


def test_a_truncated_file_is_refused() -> None:
    for length in (1, 100, len(written()) // 2, len(written()) - 1):
        with pytest.raises(ModelFileRefused, match="no whole JSON document"):
            read_model(written()[:length], "made.json")


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_any_changed_byte_is_refused(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(written()) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != written()[place]))
    with pytest.raises(ModelFileRefused):
        read_model(written()[:place] + bytes([byte]) + written()[place + 1 :], "made.json")


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(ModelFileRefused, match="unknown field `surprise`"):
        read_model(changed(lambda content: content.update(surprise=1)), "made.json")
    top = written().replace(b'{"format"', b'{"surprise":1,"format"', 1)
    with pytest.raises(ModelFileRefused, match="unknown field `surprise`"):
        read_model(top, "made.json")


def _drop_word(content: dict[str, Any]) -> None:
    content["encoders"]["lookups"]["hs_rate"][0]["values"].pop()


def _swap_features(content: dict[str, Any]) -> None:
    features = content["recipe"]["features"]
    features[0], features[1] = features[1], features[0]


def _no_vocabulary(content: dict[str, Any]) -> None:
    content["encoders"]["parts"].pop()
    content["encoders"]["vocabularies"].pop()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_drop_word, "groups have .* values; each needs one"),
        (_swap_features, "member 0: it has other features than the recipe, or in another order"),
        (_no_vocabulary, "the encoders have no vocabulary for"),
        (lambda content: content["encoders"]["lookups"].pop("hs_rate"), "feature hs_rate needs 1 tables and has 0"),
        (lambda content: content["columns"].pop("mass"), "content.columns are not those that content.recipe uses"),
        (lambda content: content.update(members=[]), "length >= 1"),
        (lambda content: content.update(members=["tree\n"]), "member 0: it is no whole LightGBM model"),
        (lambda content: content["window"].update(violations=10**9), "no more violations than outcomes"),
        (lambda content: content["encoders"]["lookups"]["hs_rate"][0]["keys"].reverse(), "do not rise"),
        (lambda content: content["recipe"]["features"].append({"type": "magic"}), "Invalid value 'magic'"),
    ],
)
def test_a_file_at_odds_with_itself_is_refused(change: Callable[[dict[str, Any]], None], why: str) -> None:
    with pytest.raises(ModelFileRefused, match=why):
        read_model(changed(change), "made.json")


def test_a_model_of_other_columns_is_refused_and_each_is_named() -> None:
    columns = dict(RECIPE.columns)
    del columns["mass"]
    columns["hs"] = "number"
    with pytest.raises(ModelFileRefused) as refused:
        read_model(written(), "made.json", columns)
    told = str(refused.value)
    assert "mass (number) is absent" in told
    assert "hs is number, not word" in told
    assert "train a model on those that are there" in told
