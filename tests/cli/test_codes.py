"""`luxor risk models` and `luxor codes suggest` with a model of codes, against a whole running system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from tests.ingestion.consignments import consignment
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
        row = consignment(1)
        row.items[0].description, row.items[0].commodity_code = "Lipstick, matte", "620463"
        row.items.add().CopyFrom(row.items[0])
        row.items[1].commodity_code = "330410"
        goods = tmp_path / "goods.jsonl"
        goods.write_text(json.dumps(json_format.MessageToDict(row, preserving_proto_field_name=True)), encoding="utf-8")
        checked = cli.json("check", str(goods), "--as", "filer/checker")
        assert checked["code_model"] == version
        assert [each.get("warning", "") for each in checked["checks"][0]["codes"]] == ["CODE_UNLIKELY", ""]
        shown = cli.run("check", str(goods), "--as", "filer/checker").stdout
        assert "CODE_UNLIKELY at items[0].commodity_code" in shown
        assert "codes that fit the description of items[0]: 330410 (" in shown
        assert "items[1]" not in shown
    finally:
        cli.run("risk", "models", "retire", version)
