"""Where presentation is an act of its own and until when it is due: what a jurist writes in YAML, read and checked when the service starts. Pure.

Law: Union Customs Code, article 139: goods are presented to customs immediately upon their arrival by the carrier, by the one in whose name it
acts, or by the holder of the storage facility.
"""

from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import numpy as np

from libs.columns import Ints, Table
from libs.customs.time import MICROS_PER_DAY, day_of_date
from libs.files.yaml_file import YamlError, YamlFile

INCLUDED: Final = Path(__file__).parent / "rules.yaml"
_MICROS_PER_MINUTE: Final = 60_000_000


class PresentationLawError(ValueError):
    """A file of rules that cannot be applied; the message names the file, the place and the error."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The presentation in a jurisdiction from one day of arrival, as reported or as of when it takes effect, to another, both included."""

    jurisdiction: str
    areas: Annotated[frozenset[Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}$")]], msgspec.Meta(min_length=1)]
    """Countries of destination, alpha-2."""
    start: date = msgspec.field(name="from")
    to: date | None = None
    due_minutes: Annotated[int, msgspec.Meta(ge=1, le=90 * 24 * 60)]
    """From the arrival that the carrier reports."""
    law: str
    article: str
    address: str
    verified: bool = False


class PresentationLaw(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rules of all jurisdictions; where none applies, the arrival is the presentation."""

    format: Literal[1] = 1
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
            for rule in self.rules:
                found = open_ & states.strings("destination_country").isin(rule.areas)
                found &= (day >= day_of_date(rule.start)) & (day <= day_of_date(rule.to or date.max))
                due = np.where(found, arrived_at.values + rule.due_minutes * _MICROS_PER_MINUTE, due)
                required |= found
        return states.with_columns({"presentation_due_at": Ints.of(due, required)}) if required.any() else states


@cache
def included() -> PresentationLaw:
    """Return the rules that are included in this release."""
    return read(INCLUDED)


def read(path: Path) -> PresentationLaw:
    """Read and check a file. Raises PresentationLawError."""
    try:
        law = YamlFile(path).convert(PresentationLaw)
    except YamlError as error:
        raise PresentationLawError(str(error)) from None
    for found in _errors(law):
        raise PresentationLawError(f"{path}: {found}")
    return law


def _errors(law: PresentationLaw) -> Iterator[str]:
    for place, rule in enumerate(law.rules):
        if rule.to is not None and rule.to < rule.start:
            yield f"rules[{place}]: to: {rule.to} is before {rule.start}"
        for later in law.rules[place + 1 :]:
            both = rule.start <= (later.to or date.max) and later.start <= (rule.to or date.max)
            if both and (common := sorted(rule.areas & later.areas)):
                yield f"rules[{place}]: areas: {common[0]} has two rules on {max(rule.start, later.start)}"
