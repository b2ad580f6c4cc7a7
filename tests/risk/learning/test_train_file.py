"""`python -m services.risk.learning`: a labelled file becomes a model file, or the reason why not is told and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from services.risk.learning.__main__ import main
from services.risk.learning.evaluation.drift_watch import SCORE
from services.risk.learning.features.consignments import TRAFFIC_COLUMNS
from services.risk.learning.features.encoders import ABSENT, UNSEEN, Table
from services.risk.learning.model.model_file import read_model
from services.risk.learning.training.candidate import by_consignment, check_enough
from services.risk.learning.training.inspected_samples import InspectedItems
from services.risk.learning.training.training import TooFewOutcomes
from tests.risk.learning.declarations import declarations


def csv(rows: int, header: str = "violation,day,price,mass,hs,origin") -> str:
    sample, found = declarations(rows, 3)
    lines = [header]
    for row in range(rows):
        price, mass = (sample.numbers[name][row] for name in ("price", "mass"))
        words = [sample.words[name][row] for name in ("hs", "origin")]
        day = f"2026-{1 + row * 10 // rows:02d}-15"
        lines.append(
            ",".join([str(int(found[row])), day, "" if np.isnan(price) else f"{price:.2f}", f"{mass:.3f}", *words])
        )
    return "\n".join(lines) + "\n"


def run(tmp_path: Path, text: str, *more: str) -> int:
    (tmp_path / "labelled.csv").write_text(text)
    arguments = ["--labelled", str(tmp_path / "labelled.csv"), "--out", str(tmp_path / "model.json"), *more]
    return main(arguments)


def test_a_file_with_risks_own_names_becomes_a_model_that_risk_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, csv(2000), "--name", "from-file", "--seed", "3") == 0
    told = json.loads(capsys.readouterr().out)
    model = read_model((tmp_path / "model.json").read_bytes(), "model.json", TRAFFIC_COLUMNS)
    assert told["version"] == model.version
    assert model.version.startswith("from-file/")
    assert set(told["columns"]) == {"price", "mass", "hs", "origin"} == set(model.content.columns)
    assert model.content.window.outcomes == 2000
    assert model.content.metrics["auc"] == told["metrics"]["auc"] > 0.7
    assert SCORE in model.content.profiles
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("model.json")] == ["model.json"]


def test_another_layout_is_read_from_yaml(tmp_path: Path) -> None:
    layout = "label: Fraud\nviolations: ['1']\nclean: ['0']\nday: 'On'\nnumbers: {price: P, mass: M}\nwords: {hs: H, origin: O}\n"
    (tmp_path / "layout.yaml").write_text(layout)
    assert run(tmp_path, csv(600, "Fraud,On,P,M,H,O"), "--layout", str(tmp_path / "layout.yaml")) == 0
    assert (tmp_path / "model.json").exists()


@pytest.mark.parametrize(
    ("text", "layout", "why"),
    [
        (csv(30), None, "30 inspected items"),
        (csv(600).replace("violation,", "found,", 1), None, "line 1 lacks violation"),
        (csv(600).replace(",610910,", ",610910,x,", 1), None, "cells where the first line has 6"),
        ("violation,day,colour\n1,2026-01-01,red\n", None, "none of the columns"),
        (csv(600), "label: [1]\n", "layout.yaml: the layout is refused"),
    ],
)
def test_what_cannot_be_trained_is_told_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, layout: str | None, why: str
) -> None:
    more = []
    if layout is not None:
        (tmp_path / "layout.yaml").write_text(layout)
        more = ["--layout", str(tmp_path / "layout.yaml")]
    assert run(tmp_path, text, *more) == 1
    assert why in capsys.readouterr().err
    assert not (tmp_path / "model.json").exists()


def test_too_few_violations_are_refused_with_what_is_needed() -> None:
    sample, _ = declarations(500, 4)
    part = InspectedItems(sample, np.arange(500) < 39, np.ones(500), np.arange(500), np.zeros(500, np.int64), 500)
    with pytest.raises(
        TooFewOutcomes, match="500 inspected items, 39 of them in violation: a model needs at least 200, and 40"
    ):
        check_enough(part)


def test_a_consignment_is_judged_by_its_worst_item_and_one_without_known_items_not_at_all() -> None:
    sample, _ = declarations(4, 4)
    part = InspectedItems(
        sample, np.array([False, True, False, False]), np.ones(4), np.array([0, 0, 2, 2]), np.zeros(4, np.int64), 3
    )
    found, highest = by_consignment(part, np.array([0.1, 0.2, 0.9, 0.3]))
    assert found.tolist() == [True, False]
    assert highest.tolist() == [0.2, 0.9]


def test_a_table_of_close_numbers_gives_what_one_of_far_ones_gives() -> None:
    rng = np.random.default_rng(5)
    keys = np.unique(rng.integers(0, 900, 300))
    values = rng.normal(size=len(keys))
    close = Table(keys, values, 0.5)
    far = Table(np.append(keys, 10**9), np.append(values, 7.0), 0.5)
    asked = np.array([ABSENT, UNSEEN, *range(1_000), 10**12])
    np.testing.assert_array_equal(close.find(asked), far.find(asked))
    assert np.isnan(close.find(asked)[0])
    assert close.find(asked)[1] == 0.5
