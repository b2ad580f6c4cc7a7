"""The parameters of selection: checked as a whole, with the place of each mistake."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from services.risk.selection import ParameterError, load_parameters
from tests.risk.selection.selection_batches import FILE, NONE, SHIPPED, parameters


def test_the_shipped_parameters_are_in_order() -> None:
    shipped = load_parameters(SHIPPED)
    assert shipped.for_office("DE003302", "import") is shipped.offices["*", "import"]
    assert shipped.version.startswith("first-selection/")


def test_the_example_of_the_documentation_is_in_order_and_draws() -> None:
    page = SHIPPED.parents[4] / "docs" / "risk" / "selection.md"
    [text] = re.findall(r"```yaml\n(.*?)```", page.read_text(), flags=re.DOTALL)
    example = load_parameters(page, text.encode())
    assert example.draws
    assert example.for_office("DE003302", "import").score is not None
    assert example.trusted_place is None


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        ({"red_min": 5, "red": 4}, "selection.yaml:10: * import: the minimum of red, 5, is above what is expected, 4"),
        ({"red": 600_000, "yellow": 500_000}, "the expected shares are together above 1000000"),
        ({"red": 2_000_000}, "selection.yaml:10: Expected `int` <= 1000000"),
        ({"by_model": 600_000, "by_uncertainty": 500_000}, "the model's parts of red are together above 1000000"),
        ({"days": 0}, "selection.yaml:15: Expected `int` >= 1"),
        ({"hits": "lower_case: 3"}, "selection.yaml:17: a key: Expected `str` matching regex"),
        ({"hits": "AAA: 0"}, "selection.yaml:17: Expected `int` >= 1"),
    ],
)
def test_parameters_with_a_mistake_are_refused_with_its_place(changes: dict[str, Any], mistake: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parameters(**changes)
    assert mistake in caught.value.errors[0]


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        (
            'office: "*"\n    direction: export',
            'office: "*"\n    direction: import',
            "has parameters for import already",
        ),
        ("direction: export", "direction: transit", "Invalid enum value 'transit'"),
        ("score: {{red: 900", "score: {{red: 700", "the scores must fall from red over yellow to blue"),
        ("information: [VAGUE]", "information: [BOMB]", "BOMB stands under do_not_load as well"),
        ("format: 1", "format: 1\nfomat: 2", "unknown field"),
        (
            "format: 1",
            "format: 1\ntrusted: [{{identifier: DE1, authorisation: AEO 1, valid_from: 2026-02-01, valid_until: 2026-01-31}}]",
            "selection.yaml:2: DE1 is trusted until 2026-01-31, before it begins on 2026-02-01",
        ),
        (
            "blue: {{minimum_random_ppm: 0, expected_ppm: 0}}",
            "blue: {{minimum_random_ppm: 0, expected_ppm: 0, by_model_ppm: 5}}",
            "drawn at random alone",
        ),
    ],
)
def test_a_file_with_a_mistake_is_refused(tmp_path: Path, old: str, new: str, mistake: str) -> None:
    assert old in FILE
    path = tmp_path / "selection.yaml"
    path.write_text(FILE.replace(old, new).format(**(NONE | {"days": 10, "hits": ""})))
    with pytest.raises(ParameterError) as caught:
        load_parameters(path)
    assert mistake in "\n".join(caught.value.errors)
