"""What a what-if run was asked for, as it is kept with the job: the whole law that is tried, so that nothing which changes meanwhile,
neither a rulebook nor a setting nor a release, changes what an interrupted run finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from enum import IntEnum
from typing import Final, Self

import msgspec

from libs.columns.progress import from_progress, to_progress
from services.revenue.law.program.compiler.drafts import under_law_of
from services.revenue.law.program.compiler.law_files import read_law
from services.revenue.law.program.program import Program
from services.revenue.law.source.yaml_source import LawFileErrors
from services.revenue.what_if.behaviour import Elasticity

_MARK: Final = b"LXWP"
_FORMAT: Final = 1


class JobKind(IntEnum):
    """What a job of revenue does. The numbers are stored."""

    WHAT_IF = 1


class WhatIfPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A what-if run."""

    files: Mapping[str, str]
    """The text of each law file, those of the draft among them."""
    law_of: date | None
    from_day: int
    to_day: int
    """The last day of assessment, counted in."""
    until_batch: int
    """The last batch that was written when the run was asked for: what is assessed later is not read."""
    asked_at: int
    """Microseconds since 1970-01-01 UTC by the database's clock: assessments again that were told later do not count."""
    bands: str
    until_share: int = 0
    """The last share of a sum that was taken when the run was asked for: what consignments that came later add does not count."""
    drafted: Sequence[str] = ()
    """Names of the files in which the draft differs from the law that was in force when the run was asked for."""
    against: Mapping[str, str] | None = None
    """The text of each law file of the draft that gives the amounts before; None: the stored answers give them."""
    against_law_of: date | None = None
    elasticities: Sequence[Elasticity] = ()
    """How quantities follow prices, the first that applies; none: behaviour does not change."""

    def to_bytes(self) -> bytes:
        """Return the plan as bytes, to be stored with the job."""
        return to_progress(_MARK, _FORMAT, self)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read it again. Raises ProgressError where it is something else."""
        return from_progress(_MARK, _FORMAT, cls, content, "plan")

    def program(self) -> Program:
        """Return the law of the draft. Raises LawFileError or ProgramError where this release cannot read it."""
        return _compiled(self.files, self.law_of)

    def program_before(self) -> Program | None:
        """Return the law that gives the amounts before; None where the stored answers do. Raises as `program`."""
        return None if self.against is None else _compiled(self.against, self.against_law_of)

    def draft_files(self) -> dict[str, str]:
        """Return the texts of the files in which the draft differs, by name."""
        return {name: self.files[name] for name in sorted(self.drafted) if name in self.files}


def _compiled(files: Mapping[str, str], law_of: date | None) -> Program:
    law = read_law(files)
    if law.errors:
        raise LawFileErrors(law.errors)
    program = law.compile()
    return program if law_of is None else under_law_of(program, law_of)
