"""`luxor release-list` against the whole system: a list is made, verified, marked and imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from libs.client.filing import files
from tests.cli.decisions import await_decided

pytestmark = pytest.mark.long


def test_goods_leave_by_a_list_and_the_import_reconciles_it(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "filing.csv"
    text = files.template().replace("SHOP-2026-0000123", "LIST-1").replace("020-12345675", "020-LIST")
    path.write_text(text, encoding="utf-8")
    cli.run("file", str(path), "--as", "filer-1")
    before = await_decided(cli, "LIST-1")
    if before["state"] == "STATE_HELD":
        cli.run("release", before["mrn"])
    out = tmp_path / "list.csv"
    made = cli.json("release-list", "make", "--flight", "LX0188", "--master", "020-LIST", "--out", str(out))
    assert (made["lines"], made["release"], made["stay"], made["officer"]) == (1, 1, 0, "officer-1")
    key = cli.json("release-list", "keys")[0]["public_key"]
    assert made["public_key"] == key
    assert cli.json("release-list", "verify", str(out), "--key", key) == made
    assert "unproven origin" in cli.run("release-list", "verify", str(out)).output
    cli.run("release-list", "verify", str(out), "--key", "00" * 32, code=1)
    cli.run("release-list", "verify", str(out), "--key", "zz", code=2)
    house = out.read_text().splitlines()[1].split(",")[1]
    marked = cli.json("release-list", "mark", str(out), "--house", house, "--by", "dora")
    assert marked == {"line": 1, "house": house, "mrn": before["mrn"], "decision": "RELEASED"}
    assert "unproven origin" in cli.run("release-list", "mark", str(out), "--line", "1", "--by", "dora").output
    cli.run("release-list", "mark", str(out), "--house", "H-NONE", "--by", "dora", code=1)
    marks = f"{out}.marks.csv"
    first = cli.json("release-list", "import", str(out), marks)
    assert first["counts"] == {"RELEASED": 1}
    assert cli.json("show", before["mrn"])[0]["state"] == "STATE_RELEASED"
    cli.run("release-list", "mark", str(out), "--house", "H-NONE", "--by", "dora", "--held", "--anyway")
    again = cli.json("release-list", "import", str(out), marks, code=1)
    assert again["counts"] == {"RELEASED": 1, "UNLISTED": 1}
    assert again["results"][0]["imported_before"]
    assert "H-NONE" in cli.run("release-list", "import", str(out), marks, code=1).output
    torn = tmp_path / "torn.csv"
    torn.write_bytes(Path(marks).read_bytes()[:-5])
    cli.run("release-list", "import", str(out), str(torn), code=1)
    part = cli.json("release-list", "import", str(out), str(torn), "--intact", code=1)
    assert part["counts"] == {"RELEASED": 1}
    assert "has no end" in part["not_imported"]
