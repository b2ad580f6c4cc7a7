"""Each reason of a state, notice, decision, finding or note is in the catalogue: the set is derived from the code and the included data."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from google.protobuf.descriptor import Descriptor

from libs.cli.main import luxor
from libs.server.catalogue import STATUS, CatalogueError, parse, reason, reasons
from libs.server.errors import Refusal, item_error
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.clearance.consignment.lifecycle.table import TABLE
from services.clearance.goods_controls.requirements import REASONS as LICENCE_REASONS
from services.revenue.law.batch.reasons import Note, Reason
from services.risk.config import PROFILES
from services.risk.rules.rule_set import load_rule_set
from services.risk.screening import parties
from services.risk.selection import batch
from tools import reason_table

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "services/clearance/consignment", "services/clearance/commands", "services/clearance/feeds", "services/clearance/goods_controls",
    "services/clearance/pre_loading", "services/clearance/transit", "services/revenue/ledger", "services/revenue/sales",
    "services/revenue/store/proofs/marks.py", "services/risk/goods", "services/risk/screening/parties.py", "services/risk/selection",
)  # fmt: skip
"""Where states, findings, differences and dead letters get their reasons."""
LOGS = {"debug", "info", "warning", "error"}
"""Calls whose first text is the name of a log line."""
NO_REASONS = {parties.RULE}
"""Texts in the form of a reason that are none: the id of a rule."""
_WORDS = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
_WORD = re.compile(r"[A-Z][A-Z0-9]{3,}")


def sources() -> Iterator[ast.Module]:
    """Yield the files of the packages."""
    for name in PACKAGES:
        path = ROOT / name
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        assert files, name
        for each in files:
            yield ast.parse(each.read_text(encoding="utf-8"))


def texts_of(node: ast.AST) -> Iterator[str]:
    return (each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str))


def written(tree: ast.Module) -> set[str]:
    """Return the texts of a file in the form of a reason: of several words anywhere, of one word as a constant of the module."""
    others: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOGS and node.args:
            others.add(id(node.args[0]))
        if isinstance(node, ast.Assign) and any(
            isinstance(each, ast.Name) and each.id == "__all__" for each in node.targets
        ):
            others |= {id(each) for each in ast.walk(node)}
    found = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in others
        and _WORDS.fullmatch(node.value)
    }
    for node in tree.body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Constant | ast.Tuple | ast.List) and id(value) not in others:
            found |= {text for text in texts_of(value) if _WORD.fullmatch(text)}
    return found - NO_REASONS


def derived() -> set[str]:
    """Return the reasons that states, notices, decisions, findings and notes can have."""
    found = {text for tree in sources() for text in written(tree)}
    found |= {row.refusal for row in TABLE if row.refusal}
    found |= {each.name for kind in (Reason, Note) for each in kind} - {Reason.NONE.name}
    found |= set(LICENCE_REASONS.values()) | {each for each in batch.REASONS.values() if each}
    rule_set = load_rule_set(PROFILES / "first_light.yaml")
    found |= {each.reason for each in rule_set.findings}
    assert rule_set.selection is not None
    pre_loading = rule_set.selection.pre_loading
    found |= {*pre_loading.do_not_load, *pre_loading.screening, *pre_loading.information}
    return found


def test_each_reason_of_a_status_is_in_the_catalogue() -> None:
    found = derived()
    examples = {
        "CUSTOMS_CHECK",
        "DEBT_OPEN",
        "NEVER_ARRIVED",
        "SUMMED",
        "LANE_RED",
        "SALE_EXPIRED",
        "VALUE_IS_PLACEHOLDER",
        "UNASSESSED",
    }
    assert examples <= found
    assert sorted(found - set(reasons())) == []


def test_the_section_has_no_reason_that_the_code_does_not_have() -> None:
    section = {each.reason for each in reasons().values() if each.area == STATUS}
    assert len(section) > 90
    assert sorted(section - derived()) == []


def paths(message: Descriptor, above: str = "", depth: int = 3) -> Iterator[str]:
    """Yield the paths of the elements of a message, lists without their places."""
    for field in message.fields:
        path = f"{above}{field.name}"
        yield path
        if field.message_type is not None and depth:
            yield from paths(field.message_type, f"{path}.", depth - 1)


def test_each_path_is_an_element_of_a_filing() -> None:
    elements = set(paths(Consignment.DESCRIPTOR))
    stated = {each.path for each in reasons().values() if each.path}
    assert len(stated) > 20
    assert stated <= elements


def refusing() -> Iterable[str]:
    return (each.reason for each in reasons().values() if each.refuses)


def test_every_other_reason_names_a_code_and_what_refuses_is_no_status() -> None:
    assert all(reasons()[each].area != STATUS and not reasons()[each].path for each in refusing())
    for attempt in (
        lambda: reason("CUSTOMS_CHECK"),
        lambda: Refusal("CUSTOMS_CHECK"),
        lambda: item_error("CUSTOMS_CHECK", "x"),
    ):
        with pytest.raises(CatalogueError, match="CUSTOMS_CHECK is in the section status"):
            attempt()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "status:\n  XYZ: {code: INTERNAL, sentence: S., hint: H.}",
            "status.XYZ: a reason of a status refuses nothing",
        ),
        ("status:\n  XYZ: {sentence: 'S {value}.', hint: H.}", "status.XYZ: a reason of a status has no facts"),
        ("status:\n  XYZ: {sentence: S.}", "status.XYZ: .*hint"),
        ("status:\n  XYZ: {sentence: '', hint: H.}", "status.XYZ needs a sentence"),
        ("a:\n  XYZ: {sentence: S., hint: H.}", "a.XYZ: '' is no gRPC code"),
        ("a:\n  XYZ: {code: INTERNAL, sentence: S., hint: H., path: items}", "a.XYZ: the sentence names the path"),
    ],
)
def test_an_entry_of_the_other_kind_is_refused_with_its_place(text: str, why: str) -> None:
    with pytest.raises(CatalogueError, match=why):
        parse(text)


@pytest.mark.parametrize("name", sorted(each.reason for each in reasons().values() if each.area == STATUS))
def test_explain_and_the_page_show_each_of_them(name: str, tmp_path: Path) -> None:
    entry = reasons()[name]
    result = CliRunner().invoke(luxor, ["explain", name, "--data-dir", str(tmp_path / "none")], standalone_mode=False)
    lines = result.output.splitlines()
    assert lines[0].split() == [name, "status,", entry.path or "consignment"]
    assert lines[1:] == [entry.sentence, f"→ {entry.hint}"]
    concerned = f"`{entry.path}`" if entry.path else ""
    row = f"| `{name}` | {concerned} | {reason_table.cell(entry.sentence)} | {reason_table.cell(entry.hint)} |"
    assert row in reason_table.page().splitlines()
