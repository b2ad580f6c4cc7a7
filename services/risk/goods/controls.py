"""Controls of goods: prohibitions and restrictions of import and export, by jurisdiction, commodity code and words.

All words of all controls are compiled into one look-up, so a description is read once, whatever the number of controls. Each
control is a bit, and the controls that match a code, a description or a country are a whole number of bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final, Literal

import numpy as np

from libs.columns import Ints, Ragged, Strings, Table
from libs.columns.arrays import BoolArray, IntArray
from libs.customs.time import MICROS_PER_DAY, day_of_date
from services.risk.conditions.cel.functions import normal
from services.risk.elements.computed import Facts
from services.risk.goods.control_files import (
    MODES,
    ControlFiles,
    ControlText,
    DocumentText,
    ReferenceText,
    read_controls,
)
from services.risk.rules.rule_set import OPEN_END

#: Largest number of descriptions and codes in each cache; a full cache is emptied. Bounds memory, whatever is filed.
REMEMBERED_MAX: Final = 16_384
POST: Final = MODES["post"]
STAGES: Final = ("pre_loading", "clearance")


Stage = Literal["pre_loading", "clearance"]


@dataclass(frozen=True)
class Control:
    """A control ready for use."""

    text: ControlText
    jurisdiction: str
    references: tuple[ReferenceText, ...]
    first_day: int
    last_day: int

    @property
    def prohibits(self) -> bool:
        """Whether no document lifts it."""
        return self.text.measure == "prohibited"

    def missing(self, types: frozenset[str]) -> tuple[DocumentText, ...]:
        """Return the documents that are still needed beside those of `types`; none where it is lifted."""
        documents = self.text.documents
        if self.text.documents_needed == "any":
            return () if any(document.type in types for document in documents) else documents
        return tuple(document for document in documents if document.type not in types)


@dataclass(frozen=True)
class Lines:
    """Lines of goods to check; all columns have one value for each line, "" or absent if it is not declared."""

    description: Strings
    commodity_code: Strings
    origin: Strings
    un_number: Strings
    dispatch: Strings
    """Country that the goods leave."""
    destination: Strings
    """Country that they are bound for."""
    mode: Ints
    """Mode of transport, a number of TransportMode."""
    day: Ints
    """Day of the applicable law, days since 1970-01-01; if it is absent, no control applies."""
    document_types: Sequence[frozenset[str]]
    """Types of the valid documents of each line."""
    exports: BoolArray | None = None
    """Whether each line is declared for export: no control of imports applies to it; None: none is."""

    @property
    def rows(self) -> int:
        """The number of lines."""
        return len(self.description)


@dataclass(frozen=True)
class ControlMatches:
    """Controls that apply to lines, in the order of lines and controls; all arrays have one value for each match."""

    line: IntArray
    control: IntArray
    """Its place in `ControlSet.controls`."""
    lifted: BoolArray
    """Whether the documents that it needs are present."""
    missing: tuple[tuple[str, ...], ...]
    """Types of the missing documents: one of them or all are needed, as `documents_needed` states. Empty if the control is lifted
    or if no document lifts it."""

    def __len__(self) -> int:
        return len(self.line)


class Answer(IntEnum):
    """The verdict on a line; a higher number takes precedence over a lower one."""

    FREE = 0
    """No control of the countries concerned names such goods."""
    LIFTED = 1
    """Controls name them, and the documents that they need are present."""
    NOT_COVERED = 2
    """No controls of the destination are loaded, so there is no answer."""
    DOCUMENTS_MISSING = 3
    """Documents are missing."""
    PROHIBITED = 4
    """No document lifts the prohibition."""


class ControlSet:
    """Controls of all jurisdictions, compiled."""

    def __init__(self, written: ControlFiles) -> None:
        self.version = written.version
        self.controls: tuple[Control, ...] = tuple(
            Control(
                text,
                file.jurisdiction,
                tuple(file.references[name] for name in text.legal),
                day_of_date(text.valid_from),
                OPEN_END if text.valid_until is None else day_of_date(text.valid_until),
            )
            for file in written.files
            for text in file.controls
        )
        self._imports: dict[str, int] = {}
        self._exports: dict[str, int] = {}
        self._words: dict[str, list[tuple[str, int, bool]]] = {}
        self._codes: dict[str, int] = {}
        self._codes_except: dict[str, int] = {}
        self._un_numbers: dict[str, int] = {}
        self._both = 0
        self._stages = dict.fromkeys(STAGES, 0)
        for place, control in enumerate(self.controls):
            for country in written.countries(control.jurisdiction):
                scope = self._imports if control.text.direction == "import" else self._exports
                scope[country] = scope.get(country, 0) | 1 << place
            self._compile(control.text, 1 << place)
        #: Countries whose imports are checked.
        self.covered = frozenset(self._imports)
        self._days = sorted({c.first_day for c in self.controls} | {c.last_day + 1 for c in self.controls})
        self._by_text: dict[str, tuple[int, int]] = {}
        self._by_code: dict[str, tuple[int, int]] = {}
        self._scopes: dict[tuple[str, str, str, int, int, bool], int] = {}

    def _compile(self, text: ControlText, bit: int) -> None:
        for words, excepts in ((text.words, False), (text.words_except, True)):
            for word in words:
                form = normal(word)
                self._words.setdefault(form.split(" ", 1)[0], []).append((form, bit, excepts))
        for codes, table in (
            (text.hs, self._codes),
            (text.hs_except, self._codes_except),
            (text.un_numbers, self._un_numbers),
        ):
            for code in codes:
                table[code] = table.get(code, 0) | bit
        if text.match == "hs_and_words":
            self._both |= bit
        for stage in text.stages or STAGES:
            self._stages[stage] |= bit

    def said(self, description: str) -> tuple[int, int]:
        """Return the controls whose words are in a description, and those whose exceptions are; reads its words once."""
        found = self._by_text.get(description)
        if found is None:
            form = f"{normal(description)} "
            hit = spared = at = 0
            while at < len(form):
                end = form.index(" ", at)
                for phrase, bit, excepts in self._words.get(form[at:end], ()):
                    if form.startswith(phrase, at) and form[at + len(phrase)] == " ":
                        hit, spared = (hit, spared | bit) if excepts else (hit | bit, spared)
                at = end + 1
            found = hit, spared
            if len(self._by_text) >= REMEMBERED_MAX:
                self._by_text = {}
            self._by_text[description] = found
        return found

    def coded(self, code: str) -> tuple[int, int]:
        """Return the controls with a code that is the beginning of a commodity code, and those with such an exception."""
        found = self._by_code.get(code)
        if found is None:
            hit = spared = 0
            for length in range(2, len(code) + 1):
                hit |= self._codes.get(code[:length], 0)
                spared |= self._codes_except.get(code[:length], 0)
            found = hit, spared
            if len(self._by_code) >= REMEMBERED_MAX:
                self._by_code = {}
            self._by_code[code] = found
        return found

    def scope(self, dispatch: str, destination: str, origin: str, mode: int, day: int, exported: bool = False) -> int:
        """Return the controls that apply to goods between two countries, of an origin, by a mode and on a day.

        What is declared for export meets the controls of exports alone.
        """
        period = int(np.searchsorted(self._days, day, side="right"))
        key = (dispatch, destination, origin, mode, period, exported)
        found = self._scopes.get(key)
        if found is None:
            found = self._exports.get(dispatch, 0) | (0 if exported else self._imports.get(destination, 0))
            for place, control in enumerate(self.controls):
                text = control.text
                out_of_time = not control.first_day <= day <= control.last_day
                # Post usually travels by air, so controls of air transport apply to it.
                elsewhere = (
                    text.modes
                    and mode
                    and not any(MODES[each] == mode or (each == "air" and mode == POST) for each in text.modes)
                )
                if out_of_time or elsewhere or (text.origins and origin and origin not in text.origins):
                    found &= ~(1 << place)
            if len(self._scopes) >= REMEMBERED_MAX:
                self._scopes = {}
            self._scopes[key] = found
        return found

    def judge(self, lines: Lines, stage: Stage | None = None) -> ControlMatches:
        """Return the controls that apply to each line at a stage (None: at any), including those that its documents lift."""
        at_stage = -1 if stage is None else self._stages[stage]
        texts = [self.said(text) for text in lines.description.dictionary]
        codes = [self.coded(code) for code in lines.commodity_code.dictionary]
        numbers = [self._un_numbers.get(number, 0) for number in lines.un_number.dictionary]
        # No control applies to most lines, whatever their country, so they are excluded here together.
        candidates = (
            _where(lines.description, [hit for hit, _ in texts])
            | _where(lines.commodity_code, [hit for hit, _ in codes])
            | _where(lines.un_number, numbers)
        ) & lines.day.valid
        rows: list[int] = []
        places: list[int] = []
        lifted: list[bool] = []
        missing: list[tuple[str, ...]] = []
        for row in np.flatnonzero(candidates).tolist():
            said, said_not = texts[lines.description.indices[row]]
            coded, coded_not = codes[lines.commodity_code.indices[row]]
            numbered = numbers[lines.un_number.indices[row]]
            hit = ((said | coded | numbered) & ~self._both | said & coded & self._both) & ~(said_not | coded_not)
            hit &= at_stage & self.scope(
                lines.dispatch[row],
                lines.destination[row],
                lines.origin[row],
                int(lines.mode.values[row]),
                int(lines.day.values[row]),
                lines.exports is not None and bool(lines.exports[row]),
            )
            while hit:
                place = (hit & -hit).bit_length() - 1
                hit &= hit - 1
                control = self.controls[place]
                lacking = tuple(document.type for document in control.missing(lines.document_types[row]))
                rows.append(row)
                places.append(place)
                lifted.append(not control.prohibits and not lacking)
                missing.append(lacking)
        return ControlMatches(
            np.array(rows, np.int64), np.array(places, np.int64), np.array(lifted, np.bool_), tuple(missing)
        )

    def answers(self, lines: Lines, matches: ControlMatches) -> list[Answer]:
        """Return the answer for each line: whether it may be sent, and whether documents are missing."""
        covered = lines.destination.isin(self.covered) & lines.day.valid
        answers = np.where(covered, Answer.FREE, Answer.NOT_COVERED).astype(np.int64)
        prohibits = np.array([control.prohibits for control in self.controls], np.bool_)[matches.control]
        worth = np.where(
            prohibits, Answer.PROHIBITED, np.where(matches.lifted, Answer.LIFTED, Answer.DOCUMENTS_MISSING)
        )
        np.maximum.at(answers, matches.line, worth)
        return [Answer(answer) for answer in answers.tolist()]


def _where(column: Strings, bits: Sequence[int]) -> BoolArray:
    any_bit = np.array([bit != 0 for bit in bits], np.bool_)
    if not any_bit.any():
        return np.zeros(len(column), np.bool_)
    return np.take(any_bit, column.indices)


def load_controls(paths: Iterable[Path]) -> ControlSet:
    """Read, check and compile files of controls. Raises ControlFileError with every error."""
    return ControlSet(read_controls(paths))


def lines_of(table: Table, facts: Facts) -> Lines:
    """Return the items of consignments as lines, with countries and mode of their consignment, and the documents of both that are
    valid on the day of acceptance.
    """
    items, owners = facts.items, facts.owners
    of_consignment = _valid_types(table.ragged("supporting_documents"), facts.acceptance_day)
    of_item = _valid_types(items.ragged("supporting_documents"), facts.acceptance_day.take(owners))
    nothing: frozenset[str] = frozenset()
    if of_consignment or of_item:
        document_types = [
            of_item.get(item, nothing) | of_consignment.get(owner, nothing)
            for item, owner in enumerate(owners.tolist())
        ]
    else:
        document_types = [nothing] * items.rows
    return Lines(
        items.strings("description"),
        items.strings("commodity_code"),
        items.strings("origin_country"),
        items.strings("un_number"),
        _of_owner(table.strings("dispatch_country"), owners),
        _of_owner(facts.destination, owners),
        table.ints("transport_mode").take(owners),
        facts.acceptance_day.take(owners),
        document_types,
        facts.exports[owners] if facts.exports.any() else None,
    )


def _of_owner(column: Strings, owners: IntArray) -> Strings:
    return Strings(column.dictionary, column.indices[owners])


def _valid_types(documents: Ragged, days: Ints) -> dict[int, frozenset[str]]:
    """Return the types of the valid documents of each row that has documents. A document without an end, or a row without a day,
    counts as valid.
    """
    values = documents.values
    assert isinstance(values, Table)
    if values.rows == 0:
        return {}
    types, until = values.strings("type"), values.ints("valid_until")
    owners = documents.owners()
    over = until.valid & days.valid[owners] & (until.values // MICROS_PER_DAY < days.values[owners])
    valid_types: dict[int, set[str]] = {}
    for place in np.flatnonzero(~over & types.present).tolist():
        valid_types.setdefault(int(owners[place]), set()).add(types[place])
    return {row: frozenset(found) for row, found in valid_types.items()}
