"""Checks a whole batch of consignments at once: normalises the values, then returns every validation error with its place.

Pure: columns in, columns and problems out. A string is checked once per distinct value, a number once per column.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.bounds import Bound
from libs.bounds.messages import text_excess, time_facts
from libs.columns import Column, Ints, Ragged, Strings, Table, schema_of
from libs.columns.arrays import BoolArray
from libs.customs.codes import tidy_code
from libs.customs.identifiers import mrn
from libs.filing_stages.direction import exports
from libs.release_law.law import ITEMS, ReleaseLaw
from libs.server.identity import is_id
from luxor.consignment.v1 import consignment_pb2 as consignment
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.ingestion.filing import check_rules, elements, plausibility, stages
from services.ingestion.filing.check_rules import CheckRules
from services.ingestion.filing.documents import documents_of
from services.ingestion.filing.elements import CheckError, Choice, Element, Number, Several, Text, Time
from services.ingestion.filing.findings import ElementError, Findings, Level, consignment_place
from services.ingestion.filing.references import check_references
from services.ingestion.quality import scores
from services.ingestion.schemes.register import SchemeRegister

CARRIER_ID: Final = "carrier_id"
"""The column of who carries as filed, which is no content of its own: carrier_identifier has it in capitals."""
ENVELOPE: Final = frozenset(schema_of(ConsignmentColumns).columns) - elements.CONSIGNMENT.keys()
"""Columns that are no content of a filing: what acceptance adds, and CARRIER_ID, since capital letters do not matter."""


@dataclass(frozen=True)
class Checked:
    """A batch after its checks; all columns have as many rows as the batch."""

    table: Table
    """The consignments as they will be stored, cleaned and with what follows from other elements filled in."""
    refused: BoolArray
    """Per row, whether it has an error that is no warning."""
    errors: dict[int, list[ElementError]]
    """The errors and warnings of each row that has any, errors first: at most ERRORS_MAX of each."""
    left_out: dict[int, int] = field(default_factory=dict)
    """Per row, how many errors and warnings there are beyond those in `errors`; rows without any are not there."""
    late: frozenset[int] = frozenset()
    """The new filings that came after the deadline of their mode and leg."""
    quality: scores.Array | None = None
    """The quality of each row; None where no rules were checked. It says nothing of rows that are refused or invalidate."""

    def new(self) -> list[int]:
        """Return the valid rows that are new filings."""
        return self._rows(self.table.ints("function").values == consignment.MESSAGE_FUNCTION_NEW)

    def later(self) -> list[int]:
        """Return the valid rows that amend or invalidate a filing."""
        return self._rows(self.table.ints("function").values != consignment.MESSAGE_FUNCTION_NEW)

    def _rows(self, chosen: BoolArray) -> list[int]:
        rows: list[int] = np.flatnonzero(chosen & ~self.refused).tolist()
        return rows

    def refused_new(self) -> list[int]:
        """Return the refused rows that may repeat a filing: their reference is valid."""
        function = self.table.ints("function").values
        return self._named(function == consignment.MESSAGE_FUNCTION_NEW)

    def refused_later(self) -> list[int]:
        """Return the refused rows that may repeat a version of a filing: what names both is valid."""
        function, replaced = self.table.ints("function").values, self.table.ints("amended_version")
        element = elements.CONSIGNMENT["amended_version"]
        assert isinstance(element, Number)
        known = replaced.valid & (replaced.values >= element.bound.least) & (replaced.values <= element.bound.most)
        later = (consignment.MESSAGE_FUNCTION_AMEND, consignment.MESSAGE_FUNCTION_INVALIDATE)
        return self._named(np.isin(function, later) & known)

    def _named(self, chosen: BoolArray) -> list[int]:
        element = elements.CONSIGNMENT["local_reference"]
        assert isinstance(element, Text)
        names = self.table.strings("local_reference")
        rows = np.flatnonzero(chosen & self.refused).tolist()
        return [row for row in rows if text_excess(names[row], element.bound) is None]

    def accepting(self, rows: Collection[int]) -> Checked:
        """Return the same with these rows accepted: what refused them warns."""
        if not rows:
            return self
        refused = self.refused.copy()
        refused[list(rows)] = False
        errors = {row: [replace(each, warns=True) for each in self.errors.get(row, ())] for row in rows}
        return replace(self, refused=refused, errors=self.errors | errors)


def check(
    table: Table,
    latest_year: int = 9999,
    *,
    law: ReleaseLaw | None = None,
    day: int = 0,
    rules: CheckRules | None = None,
    now: int | None = None,
    not_entrusted: frozenset[str] = frozenset(),
    schemes: SchemeRegister | None = None,
) -> Checked:
    """Check the consignments of a batch, in the order of the request. Nothing that a filing refers to is of a year after `latest_year`.

    Documents may omit what `law` says for `day`; None: nothing. `rules` are checked beside the forms of elements, for filings of `day`; None: none,
    and the forms have the levels of the included rules.
    With rules, filings after their deadline are found by `now`, microseconds since 1970-01-01 UTC; None: none.
    The identifiers `not_entrusted` are those of declarants that the filer of the batch does not represent.
    `schemes` is the register of scheme numbers; None: it is not known, and nothing is said of them.
    """
    cleaned = _clean(table, elements.CONSIGNMENT)
    levels = check_rules.included().levels if rules is None else rules.levels
    findings = Findings(table.rows, levels)
    root = Level(cleaned, np.arange(table.rows), consignment_place, True)
    _check_level(root, elements.CONSIGNMENT, findings)
    early = stages.before_declaration(cleaned)
    _check_required(root, law, day, early, findings)
    check_references(root, findings, schemes, day)
    _check_return(root, latest_year, findings)
    _check_exports(root, findings)
    timeliness = None
    if rules is not None:
        _check_plausibility(root, plausibility.findings(cleaned, rules, day), findings)
        _check_plausibility(root, plausibility.declarants(cleaned, rules, not_entrusted), findings)
        _check_plausibility(root, stages.additions(cleaned, early, rules, day), findings)
        if now is not None:
            timeliness = stages.timeliness(cleaned, early, rules, now)
            _check_plausibility(root, timeliness.findings, findings)
    if early.any():
        _check_stages(root, early, day, findings)
    roles = stages.required_roles(cleaned, day)
    for row, names in roles.items():
        facts: dict[str, object] = {"roles": ", ".join(names)}
        findings.add(row, "PARTS_REQUIRED", root.place(row), facts=facts)
    late = frozenset[int]() if timeliness is None else frozenset(np.flatnonzero(timeliness.late).tolist())
    quality = None if rules is None else _quality(cleaned, early, day, rules, timeliness, findings)
    filled = _fill(cleaned).with_columns(_carrier_id(table))
    if roles:
        filled = stages.with_missing_roles(filled, roles)
    return Checked(filled, findings.refused, findings.sorted(), findings.left_out, late, quality)


def _quality(
    table: Table,
    early: BoolArray,
    day: int,
    rules: CheckRules,
    timeliness: stages.Timeliness | None,
    findings: Findings,
) -> scores.Array:
    """Return the quality of each row by what was found, and by what it lacks of its stage."""
    judged = np.zeros(table.rows, np.bool_)
    if timeliness is not None:
        judged = timeliness.judged
        findings.count(stages.LATE, np.flatnonzero(timeliness.late))
    lacking = stages.lacking_of_stage(table, early, day)
    return scores.score(table.rows, findings.owners, rules.weights, judged_in_time=judged, lacking=lacking)


def check_stated(table: Table, rules: CheckRules) -> Checked:
    """Check what parts of filings state, in the order of the request, by the forms that filings have. Nothing is required."""
    cleaned = _clean(table, elements.CONSIGNMENT)
    findings = Findings(table.rows, rules.levels)
    root = Level(cleaned, np.arange(table.rows), consignment_place, True)
    _check_level(root, elements.CONSIGNMENT, findings)
    for name in elements.MONEY:
        _check_money(root, name, findings)
    if cleaned.child("items").rows:
        items = root.below("items")
        for name in elements.ITEMS_MONEY:
            _check_money(items, name, findings)
        _check_item_numbers(items, cleaned.ragged("items"), findings)
    check_references(root, findings)
    return Checked(cleaned, findings.refused, findings.sorted(), findings.left_out)


def _carrier_id(table: Table) -> dict[str, Column]:
    """Return who carries as filed, where this may be the id of a certificate that the code in capitals is not."""
    filed = table.strings("carrier_identifier").translate(str.strip)
    ids = filed.translate(lambda value: value if is_id(value) and value != tidy_code(value) else "")
    return {CARRIER_ID: ids} if ids.present.any() else {}


def _clean(table: Table, elements_by_name: dict[str, Element]) -> Table:
    changed: dict[str, Column] = {}
    for name, column in table.columns.items():
        element = elements_by_name.get(name)
        if isinstance(element, Text):
            assert isinstance(column, Strings)
            changed[name] = _tidy(column, element)
        elif isinstance(element, Several):
            assert isinstance(column, Ragged)
            values = column.values
            if isinstance(values, Table):
                changed[name] = Ragged(column.offsets, _clean(values, elements.CHILDREN[name]))
            else:
                assert isinstance(values, Strings)
                assert element.each is not None
                changed[name] = Ragged(column.offsets, _tidy(values, element.each))
    return table.with_columns(changed)


def _tidy(column: Strings, element: Text) -> Strings:
    # Nearly all columns are tidy, and one look at all values says so: the values of a filing are distinct.
    texts = column.dictionary
    if not element.form.code:
        return column if list(map(str.strip, texts)) == texts else column.translate(str.strip)
    joined = "".join(texts)
    is_tidy = joined.isascii() and (joined.isdigit() or (joined.isalnum() and joined.isupper()))
    return column if is_tidy else column.translate(tidy_code)


def _check_level(level: Level, elements_by_name: dict[str, Element], findings: Findings) -> None:
    for name, column in level.table.columns.items():
        element = elements_by_name.get(name)
        if element is None:
            continue  # the envelope, which the filer does not send
        if isinstance(column, Strings):
            assert isinstance(element, Text)
            _check_text(level, name, column, element, findings)
        elif isinstance(column, Ragged):
            assert isinstance(element, Several)
            _check_several(level, name, column, element, findings)
        elif isinstance(element, Number):
            assert isinstance(column, Ints)
            _check_number(level, name, column, element.bound, findings)
        elif isinstance(element, Time):
            assert isinstance(column, Ints)
            bound = element.bound
            wrong = column.valid & ((column.values < bound.least) | (column.values > bound.most))
            findings.mark(level, name, np.flatnonzero(wrong), "TIME_OUT_OF_BOUNDS", shown=False, **time_facts(bound))
        elif isinstance(element, Choice):
            assert isinstance(column, Ints)
            wrong = column.valid & ~_among(column.values, element.bound.choices)
            findings.mark(level, name, np.flatnonzero(wrong), "CHOICE_UNKNOWN")


def _among(values: npt.NDArray[np.int64], choices: frozenset[int]) -> BoolArray:
    low, high = min(choices), max(choices)
    if len(choices) == high - low + 1:
        found: BoolArray = (values >= low) & (values <= high)
        return found
    return np.isin(values, list(choices))


def _check_text(level: Level, name: str, column: Strings, element: Text, findings: Findings) -> None:
    texts = column.dictionary
    # A call for each distinct value would be a third of all checks, and nearly all columns are within their bounds.
    fits = max(map(len, texts), default=0) <= element.bound.characters_max and "".join(texts).isprintable()
    check = element.form.check
    if fits and (check is None or not any(map(check, filter(None, texts)))):
        return
    errors = {place: _text_error(value, element, fits) for place, value in enumerate(texts)}
    for (reason, facts), rows in _by_rows(column, errors):
        findings.mark(level, name, rows, reason, **facts)


def _by_rows(
    column: Strings, errors: dict[int, CheckError]
) -> Iterator[tuple[tuple[str, dict[str, Any]], npt.NDArray[np.integer]]]:
    """Yield each error of a distinct value, by its place, with the rows that have the value, in order."""
    wrong = [place for place, error in errors.items() if error is not None]
    if not wrong:
        return
    # Sorted once: to compare all rows with each wrong value would take the square of their number.
    order = np.argsort(column.indices, kind="stable")
    starts, ends = (np.searchsorted(column.indices, wrong, side, sorter=order).tolist() for side in ("left", "right"))
    for place, start, end in zip(wrong, starts, ends, strict=True):
        error = errors[place]
        assert error is not None
        yield error, order[start:end]


def _text_error(value: str, element: Text, fits: bool = False) -> CheckError:
    """Return what a text violates; `fits`: it is within its bounds."""
    if not value:
        return None
    excess = None if fits else text_excess(value, element.bound)
    if excess is not None or element.form.check is None:
        return excess
    return element.form.check(value)


def _check_number(level: Level, name: str, column: Ints, bound: Bound, findings: Findings) -> None:
    values = column.values
    low, high = column.valid & (values < bound.least), column.valid & (values > bound.most)
    if low.any():
        reason = "NUMBER_NEGATIVE" if bound.least == 0 else "NUMBER_TOO_SMALL"
        findings.mark(level, name, np.flatnonzero(low), reason, least=bound.least)
    if high.any():
        findings.mark(level, name, np.flatnonzero(high), "NUMBER_TOO_LARGE", most=bound.most)


def _check_several(level: Level, name: str, column: Ragged, element: Several, findings: Findings) -> None:
    lengths, most = column.lengths, element.bound.entries_max
    for row in np.flatnonzero(lengths > most).tolist():
        facts: dict[str, object] = {"count": int(lengths[row]), "count_max": most}
        findings.add(int(level.owners[row]), "LIST_TOO_LONG", level.path(row, name), facts=facts)
    if isinstance(column.values, Table):
        if column.values.rows:
            _check_level(level.below(name), elements.CHILDREN[name], findings)
        return
    assert isinstance(column.values, Strings)
    assert element.each is not None
    each, owners = element.each, column.owners()
    errors: dict[int, CheckError] = {
        place: _text_error(value, each) if value else ("ELEMENT_MISSING", {})
        for place, value in enumerate(column.values.dictionary)
    }
    for (reason, facts), entries in _by_rows(column.values, errors):
        warns = findings.warns(reason)
        if warns is None:
            continue
        if warns:
            findings.count(reason, level.owners[owners[entries]])
        for at, row in zip(entries.tolist(), owners[entries].tolist(), strict=True):
            owner = int(level.owners[row])
            if not findings.is_full(owner, warns):
                path = f"{level.path(row, name)}[{at - int(column.offsets[row])}]"
                findings.describe(owner, ElementError(reason, path, column.values[at], warns, facts))


def _check_required(root: Level, law: ReleaseLaw | None, day: int, early: BoolArray, findings: Findings) -> None:
    table = root.table
    filed, referenced = _check_function(root, findings)
    declared, exported = filed & ~early, filed & exports(table)
    for name in elements.REQUIRED:
        required = referenced if name == "local_reference" else declared if stages.is_later(name) else filed
        if not stages.required_of_exports(name):
            required = required & ~exported
        findings.mark(root, name, np.flatnonzero(~table.column(name).present & required), "ELEMENT_MISSING")
    if early.any():
        for name, rows in stages.lacking(table, filed & early):
            findings.mark(root, name, rows, "ELEMENT_MISSING")
    if exported.any():
        for name, rows in stages.lacking_of_exports(table, exported):
            findings.mark(root, name, rows, "ELEMENT_MISSING")
    for name in elements.MONEY:
        _check_money(root, name, findings)
    lengths = table.ragged("items").lengths
    findings.mark(root, "items", np.flatnonzero((lengths == 0) & filed), "ELEMENT_MISSING")
    if not lengths.any():
        return
    items = root.below("items")
    _check_goods(root, items, law, day, early, findings)
    for name in elements.ITEMS_MONEY:
        _check_money(items, name, findings)
    _check_item_numbers(items, table.ragged("items"), findings)


def _check_function(root: Level, findings: Findings) -> tuple[BoolArray, BoolArray]:
    """Check what names the filing that an amendment or an invalidation changes.

    Return which rows must have the elements of a filing, and which a local reference.
    """
    table = root.table
    function = table.ints("function").values
    withdrawn = function == consignment.MESSAGE_FUNCTION_INVALIDATE
    later = withdrawn | (function == consignment.MESSAGE_FUNCTION_AMEND)
    if later.any():
        absent = np.flatnonzero(later & ~table.ints("amended_version").valid)
        findings.mark(root, "amended_version", absent, "ELEMENT_MISSING")
    documents = table.strings("return_document_number").present
    if documents.any():
        unused = np.flatnonzero(documents & ~withdrawn)
        findings.mark(root, "return_document_number", unused, "RETURN_DOCUMENT_UNUSED")
    return ~withdrawn, ~(later & table.strings("amended_mrn").present)


def _check_goods(
    root: Level, items: Level, law: ReleaseLaw | None, day: int, early: BoolArray, findings: Findings
) -> None:
    filed = root.table.ints("function").values != consignment.MESSAGE_FUNCTION_INVALIDATE
    absent: dict[str, npt.NDArray[np.integer]] = {}
    for name in elements.ITEMS_REQUIRED:
        required = filed & ~early if stages.is_later(ITEMS + name) else filed
        absent[name] = np.flatnonzero(~items.table.column(name).present & required[items.owners])
    documents = documents_of(root.table, items.owners[np.concatenate(list(absent.values()))], law, day)
    for name, places in absent.items():
        for reason, rows in documents.missing(name, places, items.owners[places]):
            findings.mark(items, name, rows, reason)
    for name, filings in documents.required():
        level, column = (items, name.removeprefix(ITEMS)) if name.startswith(ITEMS) else (root, name)
        lacks = ~level.table.column(column).present & filings[level.owners]
        findings.mark(level, column, np.flatnonzero(lacks), "ELEMENT_MISSING")


def _check_money(level: Level, name: str, findings: Findings) -> None:
    amount = level.table.ints(f"{name}_minor").valid
    currency = level.table.strings(f"{name}_currency").present
    findings.mark(level, f"{name}_currency", np.flatnonzero(amount & ~currency), "CURRENCY_MISSING")
    if f"{name}_minor" not in elements.ITEMS_REQUIRED:
        findings.mark(level, f"{name}_minor", np.flatnonzero(currency & ~amount), "ELEMENT_MISSING")


def _check_item_numbers(items: Level, ragged: Ragged, findings: Findings) -> None:
    numbers = items.table.ints("number")
    if not numbers.valid.any():
        return
    owners = ragged.owners()
    places = np.arange(len(owners)) - ragged.offsets[owners] + 1
    wrong = numbers.valid & (numbers.values != places)
    findings.mark(items, "number", np.flatnonzero(wrong), "ITEM_NUMBER_WRONG")


def _check_return(root: Level, latest_year: int, findings: Findings) -> None:
    """Check what a return says of the way on which its goods came first: Revenue relieves returned goods by the first MRN."""
    table = root.table
    mrns, documents = table.strings("returned_mrn"), table.strings("returned_document_number")
    returns = table.ints("nature").values == consignment.NATURE_RETURN
    if mrns.present.any():
        later = mrns.map(lambda text: mrn.is_valid(text) and 2000 + int(text[:2]) > latest_year, np.bool_)
        findings.mark(root, "returned_mrn", np.flatnonzero(later), "RETURNED_MRN_IN_FUTURE")
        findings.mark(root, "returned_mrn", np.flatnonzero(mrns.present & ~returns), "RETURN_REFERENCE_UNUSED")
    named = documents.present
    if named.any():
        unused = np.flatnonzero(named & ~returns)
        findings.mark(root, "returned_document_number", unused, "RETURN_REFERENCE_UNUSED")
    bare = np.flatnonzero(returns & ~mrns.present & ~named)
    findings.mark(root, "returned_mrn", bare, "RETURN_WITHOUT_REFERENCE")


def _check_exports(root: Level, findings: Findings) -> None:
    """Check that exports leave their country, and warn of elements that belong to imports."""
    table = root.table
    exported = exports(table) & (table.ints("function").values != consignment.MESSAGE_FUNCTION_INVALIDATE)
    if not exported.any():
        return
    destination = _destinations(table)
    dispatch = table.strings("dispatch_country").tolist()
    staying = [bool(dispatch[row]) and dispatch[row] == destination[row] for row in range(table.rows)]
    stated = table.strings("destination_country").present
    for name, chosen in (("destination_country", stated), ("consignee_address_country", ~stated)):
        findings.mark(
            root, name, np.flatnonzero(exported & chosen & np.array(staying, np.bool_)), "EXPORT_WITHIN_COUNTRY"
        )
    for element, rows in stages.unused_in_exports(table, exported):
        level = root.below("items") if element.startswith(ITEMS) else root
        findings.mark(level, element.removeprefix(ITEMS), rows, "IMPORT_ELEMENT_UNUSED")


def _destinations(table: Table) -> list[str]:
    """Return the country of destination of each consignment: where it is absent, that of the consignee's address."""
    home = table.strings("consignee_address_country").tolist()
    return [given or own for given, own in zip(table.strings("destination_country").tolist(), home, strict=True)]


def _check_plausibility(root: Level, implausible: Iterable[plausibility.Finding], findings: Findings) -> None:
    items = root.below("items")
    for each in implausible:
        level = items if each.is_of_items else root
        findings.mark(level, each.column, each.rows, each.reason, warns=each.warns, **each.facts)


def _check_stages(root: Level, early: BoolArray, day: int, findings: Findings) -> None:
    """Warn of what filings before the declaration, which may be accepted, lack for each later stage."""
    filed = root.table.ints("function").values != consignment.MESSAGE_FUNCTION_INVALIDATE
    for row, facts in stages.gaps(root.table, np.flatnonzero(early & filed & ~findings.refused), day):
        findings.add(row, "STAGE_INCOMPLETE", root.place(row), facts=facts)


def _fill(table: Table) -> Table:
    """Fill in what follows from other elements: the destination, the numbers of items, the function.

    Imports are stored without a direction, as all filings before exports: both are the same content.
    """
    function, exported = table.ints("function"), exports(table)
    filled: dict[str, Column] = {
        "function": Ints.of(np.where(function.valid, function.values, consignment.MESSAGE_FUNCTION_NEW))
    }
    if table.may_have("direction"):
        filled["direction"] = Ints.of(np.where(exported, consignment.DIRECTION_EXPORT, 0), exported)
    if not table.strings("destination_country").present.all():
        filled["destination_country"] = Strings.of(_destinations(table))
    ragged = table.ragged("items")
    items = table.child("items")
    if items.rows:
        owners = ragged.owners()
        numbers = Ints.of(np.arange(items.rows) - ragged.offsets[owners] + 1)
        filled["items"] = Ragged(ragged.offsets, items.with_columns({"number": numbers}))
    return table.with_columns(filled)
