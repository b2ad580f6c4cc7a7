"""Errors of the consignments in a file, found by the client or reported by ingestion."""

from typing import NamedTuple

from libs.server import catalogue
from libs.server.errors import cut


class RowError(NamedTuple):
    """One line of the report of refused rows."""

    line: int
    """Line of the file, from 1 (a CSV's header is line 1)."""
    reference: str
    """The consignment's local reference, as far as it is known."""
    element: str
    """The column of a CSV, the path inside a line of JSON, or the path of an element of XML."""
    reason: str
    value: str
    """The refused value, at most 64 characters."""
    sentence: str
    hint: str
    further: "tuple[RowError, ...]" = ()
    """Further errors of the same consignment, of which each format says as many as it finds at once."""


class ElementError(Exception):
    """An element that cannot be read; becomes a RowError when line and reference are known."""

    def __init__(self, reason: str, element: str, value: object = "", **facts: object) -> None:
        """Make sentence and hint from the catalogue; raise CatalogueError for a reason that is not in it."""
        self.reason = reason
        self.element = element
        self.value = cut(value)
        self.sentence, self.hint = catalogue.reason(reason).say({**facts, "path": element, "value": self.value})
        super().__init__(f"{reason}: {self.sentence}")

    def at(self, line: int, reference: str) -> RowError:
        """Return the error with its line and reference."""
        return RowError(line, reference, self.element, self.reason, self.value, self.sentence, self.hint)
