"""Drafts of law: what is in force with some files replaced and some values changed, read and checked as any law is.

A draft is law that is not in force: it can be checked for errors, and applied to assessed consignments.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np

from libs.customs.time import day_of_date
from services.revenue.law.program.compiler.law_files import ReadLaw, read_law
from services.revenue.law.program.program import DAY_BITS, Program, ProgramError
from services.revenue.law.source.overlay import line_of, overlay
from services.revenue.law.source.yaml_source import LawFileError, Source

FILE_BYTES_MAX = 8 << 20
FILES_MAX = 64
CHANGES_MAX = 64
ERRORS_MAX = 200
_NAME = re.compile(r"([a-z0-9_-]{1,40}/(rulebook|tariff)[A-Za-z0-9_.-]{0,60}|rates/[A-Za-z0-9_.-]{1,60})\.yaml")


@dataclass(frozen=True)
class Draft:
    """What differs from the law in force."""

    files: Mapping[str, str] = field(default_factory=dict)
    """Texts of files that replace those of the same name, or are added. Example of a name: "eu/rulebook.yaml"."""
    changes: Sequence[tuple[str, str]] = ()
    """Places and the YAML text of their new value, applied after that: ("eu/rulebook.yaml:charges[flat_duty].rates[1].rate",
    "5.00 EUR per tariff_line"). The value `null` takes the place out."""
    law_day: date | None = None
    """The day whose law is applied to all consignments; None: each by the law of its own day."""


@dataclass(frozen=True, slots=True)
class DraftError:
    """What is wrong with a draft. A line of a file whose values were changed is the line in force, where the reader finds it."""

    file: str
    line: int
    """From 1; 0 where it is not one line's."""
    where: str
    """The rule: a path of keys."""
    sentence: str

    def __str__(self) -> str:
        """Return the same text as LawFileError."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.where, self.sentence) if part)


class DraftRefused(ValueError):
    """A draft that cannot be applied; `errors` says where and why."""

    def __init__(self, errors: Sequence[DraftError]) -> None:
        """Take the errors, at least one."""
        self.errors = list(errors)
        super().__init__("; ".join(str(error) for error in self.errors))


@dataclass(frozen=True)
class DraftLaw:
    """A draft that passed all checks."""

    program: Program
    files: Mapping[str, str]
    """The text of each law file, those of the draft among them."""
    law_of: date | None
    """The day whose law is applied to all consignments; None: each by the law of its own day."""
    drafted: tuple[str, ...]
    """Names of the files that differ from those in force."""
    versions: tuple[str, ...]
    """What of it differs from the law in force: the version of a rulebook, of another file its name and digest.
    Examples: "EU/2026.1/1f0c9a2b", "eu/tariff.yaml/5b3d77e0"."""


def apply_draft(active: Mapping[str, str], draft: Draft, base: Mapping[str, str] | None = None) -> DraftLaw:
    """Apply a draft to the law files in force (by name, as services.revenue.store.law_files gives them) and compile what results.

    `base` has the law files that it is applied to instead, those of an earlier draft; versions and files are still compared with those in force.
    Raises DraftRefused with all errors of the files, else with files that do not fit together.
    """
    base = active if base is None else base
    files = _texts(base, draft)
    law = read_law(files)
    try:
        if law.errors:
            raise DraftRefused([_draft_error(error, base, draft) for error in law.errors[:ERRORS_MAX]])
        program = law.compile()
    except LawFileError as error:
        raise DraftRefused([_draft_error(each, base, draft) for each in error.errors]) from None
    except ProgramError as error:
        # It begins with the file that does not fit.
        file, _, sentence = str(error).partition(": ")
        name, _, line = file.rpartition(":")
        file, at = (name, int(line)) if line.isdigit() else (file, 0)
        told = DraftError(file, at, "", sentence) if file in files else DraftError("", 0, "", str(error))
        raise DraftRefused([told]) from None
    if draft.law_day is not None:
        program = under_law_of(program, draft.law_day)
    changed = tuple(name for name, text in files.items() if active.get(name) != text)
    return DraftLaw(program, files, draft.law_day, changed, tuple(_version(name, files[name], law) for name in changed))


def under_law_of(program: Program, day: date) -> Program:
    """Return the program in which the law of one day applies on all days; an area without law on that day has none at all.

    Exchange rates stay those of each consignment's own day: nobody knows those of a day to come.
    """
    last = (1 << DAY_BITS) - 1
    areas = np.array(sorted(program.areas.values()), dtype=np.int64)
    found = program.find(areas, np.full(len(areas), day_of_date(day), dtype=np.int64))
    pinned = dict(zip(areas.tolist(), found.tolist(), strict=True))
    starts, ends = program.starts.copy(), np.full_like(program.ends, -1)
    for place, start in enumerate(program.starts.tolist()):
        area = start >> DAY_BITS
        # The search takes the last that begins in time, so those behind the one that holds begin never.
        starts[place] = area << DAY_BITS | (last if place > pinned[area] >= 0 else 0)
        if place == pinned[area]:
            ends[place] = last
    return replace(program, starts=starts, ends=ends)


def _texts(active: Mapping[str, str], draft: Draft) -> dict[str, str]:
    """Return the texts of the draft. Raises DraftRefused with the errors of its files and changes."""
    if errors := list(_bounds(draft)):
        raise DraftRefused(errors)
    if misnamed := [_misnamed(name) for name in draft.files if not _NAME.fullmatch(name)]:
        named = {name: text for name, text in draft.files.items() if _NAME.fullmatch(name)}
        try:  # what the other files say wrong is told with it
            if named or draft.changes:
                apply_draft(active, replace(draft, files=named))
        except DraftRefused as refused:
            misnamed += refused.errors
        raise DraftRefused(misnamed)
    files = dict(active) | dict(draft.files)
    try:
        return overlay(files, [(path, _value(path, text)) for path, text in draft.changes])
    except LawFileError:
        pass
    for change in draft.changes:  # one by one, to tell all that are wrong
        try:
            files = overlay(files, [(change[0], _value(*change))])
        except LawFileError as error:
            errors.append(_draft_error(error, active, draft))
    raise DraftRefused(errors)


def _value(path: str, text: str) -> Any:
    try:
        return Source(path, text).data
    except LawFileError as error:
        file, _, where = path.partition(":")
        raise LawFileError(file, 0, where.strip(), f"the new value {error.message}") from None


def _bounds(draft: Draft) -> Iterator[DraftError]:
    if len(draft.files) > FILES_MAX or len(draft.changes) > CHANGES_MAX:
        yield DraftError(
            "", 0, "", f"a draft replaces at most {FILES_MAX} files and changes {CHANGES_MAX} values; make it smaller"
        )
    for name, text in draft.files.items():
        if len(text.encode()) > FILE_BYTES_MAX:
            yield DraftError(name, 0, "", f"is larger than {FILE_BYTES_MAX >> 20} MiB; cut it into several files")


def _misnamed(name: str) -> DraftError:
    return DraftError(
        name[:200], 0, "",
        "is no name of a law file: <jurisdiction>/rulebook*.yaml, <jurisdiction>/tariff*.yaml or rates/*.yaml; "
        "on the command line NAME=FILE names a file, such as eu/rulebook.yaml=draft.yaml",
    )  # fmt: skip


def _draft_error(error: LawFileError, active: Mapping[str, str], draft: Draft) -> DraftError:
    line = error.line
    if any(path.partition(":")[0].strip() == error.file for path, _ in draft.changes):
        # Its text was written anew with the value in it: the reader has the one before.
        before = draft.files.get(error.file, active.get(error.file, ""))
        line = line_of(before, error.where)
    return DraftError(error.file, line, error.where, error.message)


def _version(name: str, text: str, law: ReadLaw) -> str:
    if name in law.books:
        return law.books[name].version
    return f"{name}/{hashlib.sha256(text.encode()).hexdigest()[:8]}"
