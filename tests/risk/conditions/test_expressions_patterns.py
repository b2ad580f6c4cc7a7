"""Regular expressions: the search that conditions use says what the CEL library's own `matches` says."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.risk.conditions.cel.patterns import PROGRAMME_STEPS_MAX, Patterns

PATTERNS = Patterns()
parts = st.sampled_from(
    r"a B é ſ [a-c] [^a] \b \d \w \s \pL ^ $ . (?i) | ( ) * + ? {2} {,2} [[:alpha:]] \Qa.\E \z \x41 (?:ab) (?s) +?".split()  # noqa: SIM905
)
#: Without NUL, at which the library's Python form cuts off a text that is given to it as a variable.
texts = st.text(st.sampled_from([*"aABbé ſSs1.,\n\v", "\U0001f381"]), max_size=12)


@settings(max_examples=1_000, deadline=None, derandomize=True)
@given(st.lists(parts, max_size=6).map("".join), st.lists(texts, min_size=1, max_size=4))
@example("a$", ["a\n", "a"])
@example(r"(?i)s", ["ſ"])
def test_a_pattern_is_searched_as_by_the_library(pattern: str, texts: list[str]) -> None:
    if PATTERNS.error(pattern):
        return
    matches, library = PATTERNS.matcher(pattern), PATTERNS.by_library(pattern)
    assert [matches(text) for text in texts] == [library(text) for text in texts], (pattern, texts)


@pytest.mark.parametrize("pattern", ["(", "[", "a**", "(?<!a)b", r"(a)\1", "a{1001}"])
def test_a_pattern_that_re2_does_not_have_is_told(pattern: str) -> None:
    assert "invalid regular expression" in PATTERNS.error(pattern)


def test_a_pattern_of_very_many_steps_is_left_to_the_library() -> None:
    pattern = "(a{1,100}b?){10}" * 3
    matches = PATTERNS.matcher(pattern)
    assert "by_library" in matches.__qualname__, PROGRAMME_STEPS_MAX
    assert matches("a" * 30)
    assert not matches("a" * 29)
