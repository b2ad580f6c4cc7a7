"""Where presentation is an act of its own and until when it is due: what a jurist writes in YAML, read and checked when the service starts. Pure.

Law: Union Customs Code, article 139: goods are presented to customs immediately upon their arrival by the carrier, by the one in whose name it
acts, or by the holder of the storage facility.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Final

import msgspec
import numpy as np

from libs.columns import Ints, Table
from libs.customs.time import MICROS_PER_DAY
from libs.files import dated_rules
from libs.files.dated_rules import DatedRule, applicable
from libs.filing_stages.direction import importing

INCLUDED: Final = Path(__file__).parent / "rules.yaml"
_MICROS_PER_MINUTE: Final = 60_000_000


class Rule(DatedRule, frozen=True, kw_only=True):
    """The presentation in a jurisdiction from one day of arrival, as reported or as of when it takes effect, to another, both included."""

    due_minutes: Annotated[int, msgspec.Meta(ge=1, le=90 * 24 * 60)]
    """From the arrival that the carrier reports."""


class PresentationLaw(msgspec.Struct, frozen=True):
    """The rules of all jurisdictions; where none applies, the arrival is the presentation."""

    rules: tuple[Rule, ...] = ()

    def arriving(self, states: Table, arrived_at: Ints, at: int) -> Table:
        """Return states before their arrival takes effect at `at`, with the time until when they are to be presented, if it is required of any.

        The rule of the reported day counts, and where there is none that of the day of `at`: nobody evades a rule by an earlier day.
        """
        if not self.rules or not arrived_at.valid.any():
            return states
        due, required = np.zeros(states.rows, np.int64), np.zeros(states.rows, np.bool_)
        for times in (arrived_at.values, np.full(states.rows, at)):
            open_, day = arrived_at.valid & ~required, times // MICROS_PER_DAY
            for rule, rows in applicable(self.rules, importing(states), day):
                found = open_ & rows
                due = np.where(found, arrived_at.values + rule.due_minutes * _MICROS_PER_MINUTE, due)
                required |= found
        return states.with_columns({"presentation_due_at": Ints.of(due, required)}) if required.any() else states


@cache
def included() -> PresentationLaw:
    """Return the rules that are included in this release."""
    return read(INCLUDED)


def read(path: Path) -> PresentationLaw:
    """Read and check a file. Raises YamlError."""
    return PresentationLaw(dated_rules.read(path, Rule))
