"""The result of a batch of consignments: what was accepted, refused and amended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from libs.customs.identifiers import mrn
from services.ingestion.commands.amend import Amended
from services.ingestion.filing import validation
from services.ingestion.filing.findings import ElementError
from services.ingestion.quality.scorecards import Refusals, refusals_of
from services.ingestion.quality.scores import Array
from services.ingestion.store.filings import Filing, Taken


@dataclass(frozen=True, slots=True)
class Submitted:
    """The result of a batch."""

    checked: validation.Checked
    filing: Filing | None = None
    """The valid new consignments, each reference once; None if there is none."""
    places: dict[int, int] = field(default_factory=dict)
    """The place in the filing of each valid new row of the batch."""
    differing: frozenset[int] = frozenset()
    """The valid rows whose reference an earlier row of the batch has with other content."""
    repeating: frozenset[int] = frozenset()
    """Those among them that have the stored content of their reference."""
    taken: Taken | None = None
    """The result of the store for the filing."""
    amended: Amended | None = None
    """The valid amendments and invalidations; None if there is none."""
    answer: bytes = b""
    """The response as it is stored for a repeated request; empty if it is rebuilt from the stored references."""
    prior_quality: Mapping[str, Array | None] = field(default_factory=dict)
    """By MRN, of first versions that were filed before; None where they were not scored."""
    is_repeated: bool = False
    """Whether the request was answered before; then only its answer is known."""

    @property
    def accepted(self) -> int:
        """Return the number of consignments that were accepted now."""
        new = 0 if self.taken is None else int(self.taken.fresh.sum())
        return new if self.amended is None else new + len(self.amended.new)

    @property
    def refused(self) -> int:
        """Return the number of consignments that were refused now."""
        amended = 0 if self.amended is None else sum(each.error is not None for each in self.amended.outcomes.values())
        reused = 0 if self.taken is None else sum(map(self.is_reused, self.places))
        return int(self.checked.refused.sum()) + reused + amended

    def refusals(self) -> dict[str, Refusals]:
        """Return the consignments that were refused now by each reason that is described."""
        references = self.checked.table.strings("local_reference")
        found: dict[int, list[ElementError]] = {
            row: [each for each in self.checked.errors.get(row, ()) if not each.warns]
            for row in np.flatnonzero(self.checked.refused).tolist()
        }
        for row in () if self.amended is None else self.amended.outcomes:
            assert self.amended is not None
            if (error := self.amended.error(row)) is not None:
                found[row] = [error]
        for row in filter(self.is_reused, self.places) if self.taken is not None else ():
            path = f"consignments[{row}].local_reference"
            found[row] = [ElementError("REFERENCE_REUSED", path, references[row])]
        return refusals_of((references[row], found[row]) for row in sorted(found))

    def scores(self) -> list[list[int] | None]:
        """Return the scores of the new filings by their places, each of its first version; None if that was not scored."""
        if self.filing is None or self.taken is None:
            return []
        own = self.filing.quality
        scores = [None] * len(self.taken.mrns) if own is None else own["scores"].tolist()
        for place in np.flatnonzero(~self.taken.fresh).tolist():
            prior = self.prior_quality.get(self.taken.mrns[place])
            scores[place] = None if prior is None else prior["scores"][0].tolist()
        return scores

    @property
    def late(self) -> int:
        """Return the number of consignments that were accepted now, or declared now after a filing before the declaration, after their deadline."""
        places = {self.places[row] for row in self.checked.late if row in self.places}
        late = int(self.taken.fresh[list(places)].sum()) if places and self.taken is not None else 0
        return late if self.amended is None else late + len(self.checked.late & self.amended.declared)

    @property
    def xid(self) -> int:
        """Return the number of the transaction that accepted them, as in the feed's cursors."""
        amended = 0 if self.amended is None else self.amended.xid
        return amended if self.taken is None else self.taken.xid

    @property
    def amended_mrns(self) -> list[str]:
        """Return the MRNs of the filings that were changed."""
        if self.amended is None:
            return []
        return [self.amended.number(each.filing) for each in self.amended.new.values() if each.filing is not None]

    @property
    def amended_days(self) -> set[int]:
        """Return the days in the MRNs of stored filings that are to be changed."""
        new = () if self.amended is None else self.amended.new.values()
        numbers = [each.filing.number for each in new if each.filing is not None]
        return {mrn.parse(each).day for each in numbers if isinstance(each, str)}

    def by_mrn(self, keys: Mapping[int, Sequence[bytes]]) -> dict[str, list[bytes]]:
        """Return keys of rows by the MRNs of what was accepted now; of several versions of a filing those of all."""
        found: dict[str, list[bytes]] = {}
        for row, some in keys.items():
            number = ""
            if self.taken is not None and row in self.places and self.taken.fresh[self.places[row]]:
                number = self.taken.mrns[self.places[row]]
            elif self.amended is not None and row in self.amended.new:
                filing = self.amended.new[row].filing
                number = self.amended.number(filing) if filing is not None else ""
            if number:
                found[number] = [*found.get(number, ()), *(each for each in some if each not in found.get(number, ()))]
        return found

    def is_reused(self, row: int) -> bool:
        """Return whether a valid row has the reference of another consignment, filed before or in the same batch."""
        assert self.taken is not None
        reused = bool(self.taken.conflicts[self.places[row]]) or row in self.differing
        return reused and row not in self.repeating

    @property
    def is_refused_in_part(self) -> bool:
        """Return whether any consignment of the batch was refused."""
        return (
            bool(self.checked.refused.any())
            or (self.taken is not None and bool(self.taken.conflicts.any()))
            or bool(self.differing)
            or (self.amended is not None and self.amended.any_refused)
        )
