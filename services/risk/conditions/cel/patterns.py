"""Regular expressions of conditions: those of RE2, as CEL's definition has them.

Patterns are checked by the CEL library. Its own `matches` translates the pattern anew for every text, which takes some
thirty times what the search itself takes, so the search is that of RE2's own Python package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import re2
from cel_expr_python import cel

#: A programme of more steps is left to the CEL library: RE2's search for truth values alone (`Set`) gives up quietly
#: where its memory of 8 MB does not hold some states of the programme.
PROGRAMME_STEPS_MAX: Final = 2_000


class Patterns:
    """Checks patterns, and gives the search for each."""

    def __init__(self) -> None:
        self._matches = cel.NewEnv(variables={"text": cel.Type.STRING, "pattern": cel.Type.STRING}).compile(
            "text.matches(pattern)"
        )
        self._matchers: dict[str, Callable[[str], bool]] = {}

    def error(self, pattern: str) -> str:
        """What is wrong with a pattern, or nothing."""
        answer = self._matches.eval(data={"text": "", "pattern": pattern})
        return "" if answer.type() == cel.Type.BOOL else str(answer.value()).removeprefix("INVALID_ARGUMENT: ")

    def matcher(self, pattern: str) -> Callable[[str], bool]:
        """Whether a text holds what a pattern describes; the same function for the same pattern."""
        if pattern not in self._matchers:
            self._matchers[pattern] = _searched(pattern) or self.by_library(pattern)
        return self._matchers[pattern]

    def by_library(self, pattern: str) -> Callable[[str], bool]:
        """The library's own `matches` for one pattern."""
        evaluate = self._matches.eval

        def matches(text: str) -> bool:
            return bool(evaluate(data={"text": text, "pattern": pattern}).value())

        return matches


def _searched(pattern: str) -> Callable[[str], bool] | None:
    try:
        if re2.compile(pattern).programsize > PROGRAMME_STEPS_MAX:
            return None
    except re2.error:
        return None
    one = re2.Set.SearchSet()
    one.Add(pattern)
    one.Compile()
    found = one.Match

    def matches(text: str) -> bool:
        return bool(found(text))

    return matches
