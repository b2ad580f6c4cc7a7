"""Mistakes in rule sets: each with file, line, column and rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ValidationError:
    """What is wrong and where. Lines and columns count from 1; 0 where it is about the file as a whole."""

    file: str
    line: int
    column: int
    rule: str
    """Id of the rule or typology, or how it is counted where it has none; empty where it is about neither."""
    message: str

    def __str__(self) -> str:
        """Return the error in the form of compilers, so that editors can open its place."""
        place = self.file + (f":{self.line}" if self.line else "") + (f":{self.column}" if self.column else "")
        return f"{place}: {f'{self.rule}: ' if self.rule else ''}{self.message}"


class RuleSetError(ValueError):
    """A rule set that is refused; `errors` has each error with its place."""

    def __init__(self, errors: Sequence[ValidationError]) -> None:
        super().__init__("the rule set is refused:\n" + "\n".join(f"  {mistake}" for mistake in errors))
        self.errors = tuple(errors)
