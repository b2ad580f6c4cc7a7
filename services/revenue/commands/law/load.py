"""The law in force at this replica, with everything that is derived of it; whoever works by it takes it once for a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from services.revenue.assessment.aggregates import aggregate_areas
from services.revenue.assessment.scheme_register import forms_of
from services.revenue.law.program.beneficiaries import Sharing
from services.revenue.law.program.program import Program
from services.revenue.law.program.scheme_numbers import SchemeForm
from services.revenue.ledger.refund import RefundRules


@dataclass(frozen=True, eq=False)
class LoadedLaw:
    """Law files and the program that is compiled of them."""

    files: Mapping[str, str]
    """Text of each law file by its name, as services.revenue.store.law_files gives them."""
    program: Program

    @property
    def sharing(self) -> Sharing:
        """Return whose revenue charges are."""
        return self.program.sharing

    @cached_property
    def jurisdictions(self) -> frozenset[str]:
        """Return the jurisdictions that have a rulebook."""
        return frozenset(read.rulebook.jurisdiction for read in self.program.books)

    @cached_property
    def refund_rules(self) -> RefundRules:
        """Return what is paid back when goods go back."""
        return RefundRules(read.rulebook for read in self.program.books)

    @cached_property
    def aggregate_areas(self) -> frozenset[str]:
        """Return the countries of destination whose law has a limit that is tested on an aggregate."""
        return aggregate_areas(self.program)

    @cached_property
    def scheme_forms(self) -> Mapping[int, Sequence[SchemeForm]]:
        """Return how the numbers of schemes are written."""
        return forms_of(self.program)


class LawLoader:
    """Holds the law in force. It is replaced as a whole: what was taken before is worked with to the end of its batch."""

    def __init__(self, law: LoadedLaw) -> None:
        """Begin with the law of the start."""
        self._law = law

    @property
    def law(self) -> LoadedLaw:
        """Return the law in force now; a batch takes it once."""
        return self._law

    def replace(self, law: LoadedLaw) -> None:
        """Put other law in the place of the law in force; batches that begin from now on are assessed by it."""
        self._law = law
