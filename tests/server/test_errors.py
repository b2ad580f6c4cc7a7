"""The catalogue and the error model."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from libs.server import catalogue
from libs.server.catalogue import CatalogueError
from libs.server.errors import Refusal, details_of, item_error, refusal_of
from libs.store.errors import StoreUnavailable

ROOT = Path(__file__).parents[2]
ALWAYS = {"path", "value"}
"""Facts that a refusal has of itself."""
NOT_SEEN = {"AS_OF_MISSING", "CHECK_DAY_MISSING"}
"""Reasons that no command can come to."""


def named_reasons() -> Iterator[tuple[str, str, set[str] | None]]:
    """Yield place, reason and facts (None where they cannot be read) of each Refusal and item_error with a literal reason."""
    for path in sorted([*ROOT.glob("libs/**/*.py"), *ROOT.glob("services/**/*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            function = node.func
            name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
            reason = node.args[0]
            if name not in ("Refusal", "item_error") or not isinstance(reason, ast.Constant):
                continue
            names = {keyword.arg for keyword in node.keywords}
            facts = None if None in names else {each for each in names if each is not None}
            yield f"{path.relative_to(ROOT)}:{node.lineno}", str(reason.value), facts


def test_every_reason_that_the_code_names_is_in_the_catalogue() -> None:
    found = list(named_reasons())
    assert len(found) > 15
    missing = [f"{place} {reason}" for place, reason, _ in found if reason not in catalogue.reasons()]
    assert missing == []


def test_every_refusal_gives_the_facts_that_its_sentence_needs() -> None:
    lacking = []
    for place, reason, facts in named_reasons():
        if facts is not None and reason in catalogue.reasons():
            needed = catalogue.reason(reason).placeholders() - ALWAYS
            if needed - facts:
                lacking.append(f"{place} {reason} lacks {sorted(needed - facts)}")
    assert lacking == []


def test_every_entry_speaks_in_sentences() -> None:
    for reason in catalogue.reasons().values():
        for text in (reason.sentence, reason.hint, reason.command or reason.hint):
            assert text.endswith((".", "}")), (reason.reason, text)  # a fact may be a sentence itself
            assert len(text) <= 300, (reason.reason, text)


def test_hints_at_a_command_line_name_neither_calls_nor_their_units() -> None:
    calls = {
        name
        for file in (ROOT / "protos").rglob("*.proto")
        for name in re.findall(r"\brpc (\w+)\(", file.read_text("utf-8"))
    }
    assert len(calls) > 40
    for reason in catalogue.reasons().values():
        told = catalogue.command_hint(reason.reason, reason.hint)
        # What is filed is told in JSON Lines too, whose units are those of the contracts.
        wrong = set(re.findall(r"\w+|minor units", told.replace("in JSON Lines", ""))) & (
            calls | {"minor units", "as_of"}
        )
        if reason.area in ("server", "client"):
            wrong |= {"request_id"} & set(re.findall(r"\w+", told))
        assert not wrong or reason.reason in NOT_SEEN, (reason.reason, told)


def test_the_hint_of_a_call_stays_beside_the_one_of_a_command_line() -> None:
    reason = catalogue.reason("JOB_UNKNOWN")
    assert "ListJobs" in reason.hint
    assert catalogue.command_hint("JOB_UNKNOWN", reason.hint) == reason.command != reason.hint
    assert catalogue.command_hint("OF_A_LATER_RELEASE", "As it came.") == "As it came."
    assert catalogue.command_hint("MONTH_MALFORMED", "As it came.") == "As it came."
    with pytest.raises(CatalogueError, match="command holds no facts"):
        catalogue.parse("a:\n  XYZ: {code: ABORTED, sentence: S., hint: H., command: 'Do {this}.'}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a:\n  XYZ:\n    code: NOPE\n    sentence: S.\n    hint: H.", "a.XYZ: 'NOPE' is no gRPC code"),
        ("a:\n  xyz:\n    code: INTERNAL\n    sentence: S.\n    hint: H.", "a.xyz is not UPPER_SNAKE_CASE"),
        ("a:\n  XYZ:\n    code: INTERNAL\n    sentence: S.", "a.XYZ: .*hint"),
        ("a:\n  XYZ:\n    code: INTERNAL\n    sentence: S.\n    hint: H.\n    more: 1", "a.XYZ: .*more"),
        ("a:\n  XYZ: {code: INTERNAL, sentence: '{', hint: H.}", "a.XYZ"),
        ("a:\n  XYZ: {code: OK, sentence: S., hint: H.}", "a.XYZ needs"),
        (
            "a:\n  XYZ: {code: ABORTED, sentence: S., hint: H.}\n  XYZ: {code: ABORTED, sentence: S., hint: H.}",
            "XYZ stands twice",
        ),
        (
            "a:\n  XYZ: {code: ABORTED, sentence: S., hint: H.}\nb:\n  XYZ: {code: ABORTED, sentence: S., hint: H.}",
            "b.XYZ stands in the section a too",
        ),
    ],
)
def test_a_wrong_entry_is_named_with_its_place(text: str, why: str) -> None:
    with pytest.raises(CatalogueError, match=why):
        catalogue.parse(text)


def test_a_reason_that_is_not_in_the_catalogue_cannot_be_refused_with() -> None:
    with pytest.raises(CatalogueError, match="NEVER_HEARD_OF is not in"):
        Refusal("NEVER_HEARD_OF")


def test_an_item_error_says_where_what_why_and_what_to_do() -> None:
    error = item_error("UNKNOWN_FIELD", "consignments[3]", "v" * 70, field_number=7)
    assert error.path == "consignments[3]"
    assert error.value == "v" * 63 + "…"
    assert error.message.startswith("The element consignments[3] has the field number 7")
    assert error.hint


def test_a_missing_fact_does_not_turn_one_error_into_another() -> None:
    assert "field number ?" in item_error("UNKNOWN_FIELD", "x").message


def test_a_store_that_is_away_is_unavailable_with_a_time_to_come_back() -> None:
    import libs.server.process.server  # noqa: F401  # registers the mapping, as every service does

    found = refusal_of(StoreUnavailable("the connection was lost", reason="connection"))
    assert (found.reason, found.code) == ("STORE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE)
    retry = details_of(found.status(), error_details_pb2.RetryInfo)
    assert retry is not None
    assert retry.retry_delay.nanos == 500_000_000


def test_two_unexpected_errors_have_different_ids() -> None:
    ids = {str(refusal_of(ValueError("x")).facts["error_id"]) for _ in range(2)}
    assert len(ids) == 2
