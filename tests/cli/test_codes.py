"""`luxor risk models` and `luxor codes suggest` with a model of codes, against a whole running system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.risk import code_models

pytestmark = pytest.mark.long


def test_codes_are_suggested_by_the_active_model_and_without_one_the_command_says_so(cli: Any, tmp_path: Path) -> None:
    error = cli.error("codes", "suggest", "lipstick", code=1)
    assert error["reason"] == "CODE_MODEL_MISSING"
    file = tmp_path / "codes.json"
    file.write_bytes(code_models.file())
    version = code_models.version()
    proposed = cli.json("risk", "models", "propose", str(file))
    assert (proposed["version"], proposed["kind"]) == (version, "MODEL_KIND_CODES")
    assert (
        "6 codes from 6 declarations and 0 reference texts"
        in cli.run("risk", "models", "list", "--kind", "codes").stdout
    )
    assert cli.json("risk", "models", "list") == {"models": []}
    assert cli.json("risk", "models", "show", version)["state"] == "MODEL_STATE_CANDIDATE"
    cli.run("risk", "models", "activate", version, "--as", "bob")
    try:
        found = cli.json("codes", "suggest", "--declared", "6204.63", "Lipstick, matte", "?!")
        lipstick, empty = found["descriptions"]
        assert found["model"] == version
        assert (lipstick["suggestions"][0]["code"], lipstick["warning"]) == ("330410", "CODE_UNLIKELY")
        assert (empty["suggestions"], empty["declared"], empty["warning"]) == ([], None, "")
        shown = cli.run("codes", "suggest", "--declared", "620463", "Lipstick, matte", " ").stdout
        assert "CODE_UNLIKELY" in shown
        assert "not answered, DESCRIPTION_MISSING: State what the goods are" in shown
        assert f"by {version}" in shown
        # The same file without the system says the same.
        alone = cli.json("codes", "suggest", "--model", str(file), "--declared", "6204.63", "Lipstick, matte")
        assert [each["code"] for each in alone["descriptions"][0]["suggestions"]] == [
            each["code"] for each in lipstick["suggestions"]
        ]
        assert alone["descriptions"][0]["warning"] == "CODE_UNLIKELY"
    finally:
        cli.run("risk", "models", "retire", version)
