"""What the representation of one filer by another entitles to. Pure.

Law: UCC, articles 18 and 19 (a representative acts for a declarant while it is empowered), 173 and 174 (who may amend and invalidate: the declarant,
and who acts for it).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mandate:
    """A representation between two filers that is valid: which declarations it covers."""

    declarant: frozenset[str]
    """The identifiers of the filer that is represented."""
    representative: frozenset[str]
    """Those of its representative."""

    def covers(self, declarant: str, representative: str) -> bool:
        """Return whether a declaration that names these identifiers ("" for none) is one of the represented filer by its representative.

        It must name the declarant. It need not name the representative, but it names no other one.
        """
        return declarant in self.declarant and (not representative or representative in self.representative)
