"""What controls of goods require of filings: the licences that items need, and the controls that are ordered. Pure; whole batches."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from decimal import Decimal
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Table
from libs.customs.identifiers.mrn import parse
from libs.customs.time import MICROS_PER_DAY
from libs.filing_stages.direction import exports
from luxor.clearance.v1 import control_pb2
from services.clearance.consignment.columns import item_numbers
from services.clearance.consignment.controls.control import (
    WITH_REFERRALS_MAX,
    Control,
    ControlResult,
    controls_of,
    event_of_conclusion,
    event_of_order,
    with_controls,
)
from services.clearance.consignment.decision import AUTOMATIC
from services.clearance.consignment.state.creation import destinations
from services.clearance.goods_controls.law import LICENCE, GoodsControl, GoodsJurisdiction, GoodsLaw, may_begin
from services.clearance.licences.licence import ItemGoods
from services.clearance.licences.need import Need, NeedOutcome, column_of, needs_of, unmet
from services.clearance.rights.matching import matched_items

RIGHTS: Final = "RIGHTS_APPLICATION"
"""Reason of an examination of goods that match an application of a rights holder; it states nothing about the goods."""
MET: Final = "LICENCE_MET"
"""Reason of the result of a request for licences that ends because no item lacks one."""
_TEXT_CHARACTERS_MAX: Final = 512
_REQUEST: Final = control_pb2.CONTROL_FORM_DOCUMENTS
_FILER: Final = control_pb2.CONTROL_ADDRESSEE_FILER
REASONS: Final = {outcome: f"{LICENCE}{outcome.name}" for outcome in NeedOutcome if outcome >= NeedOutcome.NOT_CITED}
"""Reason of a request for licences, and of the refusal to write one off, by the outcome of the need."""
_MICROS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Ordered:
    """The states of a batch of which controls are ordered or end, before the event is applied, and the event of each."""

    places: NDArray[np.int64]
    """Their rows in the batch."""
    states: Table
    events: NDArray[np.int64]


def concerned(states: Table, law: GoodsLaw) -> NDArray[np.int64]:
    """Return the rows of states for which controls may be ordered: by their goods, or because they match an application of a rights holder."""
    rows = rows_with_controls(states, law)
    if not states.may_have("rights_matches"):
        return rows
    return np.union1d(rows, np.flatnonzero(states.ragged("rights_matches").lengths))


def rows_with_controls(table: Table, law: GoodsLaw) -> NDArray[np.int64]:
    """Return the rows of filings or states with an item whose code begins as that of a control, whatever its days and areas."""
    if not law.prefixes:
        return np.zeros(0, np.int64)
    codes = table.child("items").strings("commodity_code")
    found = np.array(list(map(law.lists, codes.dictionary)), np.bool_)
    if not found.any():
        return np.zeros(0, np.int64)
    return np.unique(table.ragged("items").owners()[found[codes.indices]])


def cited_licences(filings: Table, law: GoodsLaw) -> dict[str, Column]:
    """Return the column `licences` of the states of filings: the licences that their items need and the documents that they cite for them."""
    rows = rows_with_controls(filings, law)
    if not len(rows):
        return {}
    chosen = filings.take(rows)
    chosen = chosen.with_columns({"destination_country": destinations(chosen)})
    of_filing, of_items = _documents(chosen), _documents(chosen.child("items"))
    imports, exports = _holders(chosen, "importer"), _holders(chosen, "consignor")
    lists: list[list[Need]] = [[] for _ in range(filings.rows)]
    for row, found in enumerate(_applicable(chosen, law)):
        by_place: dict[tuple[int, str, str, str, str], Need] = {}
        cited: dict[tuple[int, str, str, str, str], tuple[str, ...]] = {}
        for each in found:
            terms = each.control.licence
            if terms is not None:
                need = Need(
                    item_number=each.number,
                    authority=each.control.authority,
                    type=terms.type,
                    jurisdiction=each.jurisdiction,
                    holder=(imports if each.control.direction == "import" else exports)[row],
                    checked_only=not terms.write_off,
                    restored_on_return=terms.restored_on_return,
                )
                place = (*need.place, need.jurisdiction, need.holder)
                by_place[place] = _stricter(need, by_place.get(place, need))
                documents = (*of_items[each.place], *of_filing[row])
                cited[place] = tuple(dict.fromkeys(reference for kind, reference in documents if kind == terms.type))
        for place, strict in by_place.items():
            lists[int(rows[row])] += [replace(strict, number=number) for number in cited[place]] or [strict]
    return {"licences": column_of(lists)} if any(lists) else {}


def _stricter(first: Need, second: Need) -> Need:
    """Return the need of two controls of one place: it is written off, and not restored, if either requires this."""
    return replace(
        first,
        checked_only=first.checked_only and second.checked_only,
        restored_on_return=first.restored_on_return and second.restored_on_return,
    )


def ordered(states: Table, law: GoodsLaw, at: int, *, authority: str | None = None) -> Ordered:
    """Return of which states controls are ordered by the controls of goods and for licences that they lack, and of which such a request ends.

    Of an authority, a consignment has one control of a form, and one request for licences. What an authority concluded is not ordered a second time
    for the same facts. Of an `authority` that named a licence, its requests change and nothing else: their answers and times stay.
    """
    before = controls_of(states)
    needs = [[each for each in own if authority in (None, each.authority)] for own in needs_of(states)]
    after = [
        _with_orders(controls, own, [*_orders(found, own, goods, at), *_examinations(items, goods, at)], at, authority)
        for controls, own, found, goods, items in zip(
            before,
            needs,
            _applicable(states, law),
            goods_of(states),
            matched_items(states) if authority is None else [()] * states.rows,
            strict=True,
        )
    ]
    changed = [row for row, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    events = [_event(before[row], after[row], at) for row in changed]
    rows = np.array(changed, np.int64)
    table = with_controls(states.take(rows), [after[row] for row in changed]) if changed else states.take(rows)
    return Ordered(rows, table, np.array(events, np.int64))


def goods_of(states: Table) -> list[dict[int, ItemGoods]]:
    """Return the goods of each state by the number of the item."""
    items, table = states.ragged("items"), states.child("items")
    facts = [
        ItemGoods(*each)
        for each in zip(
            table.strings("commodity_code").tolist(),
            table.ints("net_mass_mg").tolist(),
            table.ints("quantity_milli").tolist(),
            table.strings("quantity_unit").tolist(),
            strict=True,
        )
    ]
    numbers = item_numbers(states).tolist()
    return [dict(zip(numbers[span], facts[span], strict=True)) for span in map(items.span, range(states.rows))]


@dataclass(frozen=True, slots=True)
class _Applicable:
    """A control that applies to an item."""

    place: int
    """Row of the item among all items."""
    number: int
    code: str
    control: GoodsControl
    jurisdiction: str


def _applicable(table: Table, law: GoodsLaw) -> list[list[_Applicable]]:
    """Return for each filing or state the controls that apply to its items."""
    items = table.ragged("items")
    codes, numbers = table.child("items").strings("commodity_code").tolist(), item_numbers(table).tolist()
    columns = (table.strings(name).tolist() for name in ("destination_country", "dispatch_country"))
    days = [parse(each).day for each in table.strings("mrn").tolist()]
    found: list[list[_Applicable]] = []
    exported = exports(table).tolist()
    for row, (destination, dispatch, day) in enumerate(zip(*columns, days, strict=True)):
        controls = [
            (each, area.jurisdiction)
            for area in law.jurisdictions
            for each in area.controls
            if each.applies(day) and _crosses(area, each, destination, dispatch, exported[row])
        ]
        places = range(*items.span(row).indices(len(codes))) if controls else range(0)
        found.append(
            [
                _Applicable(place, numbers[place], codes[place], each, jurisdiction)
                for place in places
                for each, jurisdiction in controls
                if may_begin(codes[place], each.goods)
            ]
        )
    return found


def _crosses(area: GoodsJurisdiction, control: GoodsControl, destination: str, dispatch: str, exported: bool) -> bool:
    """Return whether goods are bound for the areas of a jurisdiction, or leave them, as a control states.

    Where the goods are sent from exempts them from no control of imports: a filer could state it as it wants. What is declared for export meets
    controls of exports alone.
    """
    if control.direction == "import":
        return destination in area.areas and not exported
    return dispatch in area.areas and destination not in area.areas


def _documents(table: Table) -> list[list[tuple[str, str]]]:
    """Return type and reference of the supporting documents of each row."""
    documents, lines = table.ragged("supporting_documents"), table.child("supporting_documents")
    pairs = list(zip(lines.strings("type").tolist(), lines.strings("reference").tolist(), strict=True))
    return [[pair for pair in pairs[documents.span(row)] if pair[1]] for row in range(table.rows)]


def _holders(filings: Table, party: str) -> list[str]:
    """Return who is to hold the licences of each filing: the importer, or the consignor of exports, else the declarant."""
    stated, declarant = (filings.strings(f"{each}_identifier").tolist() for each in (party, "declarant"))
    return [first or second for first, second in zip(stated, declarant, strict=True)]


def _orders(
    applicable: Sequence[_Applicable], needs: Iterable[Need], goods: Mapping[int, ItemGoods], at: int
) -> list[Control]:
    """Return the controls of one consignment that goods controls order, without numbers: those of authorities, then the requests for licences."""
    orders: list[Control] = []
    by_control: dict[tuple[str, int], list[_Applicable]] = {}
    for each in applicable:
        if each.control.control is not None:
            by_control.setdefault((each.control.authority, each.control.form), []).append(each)
    for (authority, form), own in by_control.items():
        texts = dict.fromkeys(each.control.control.text for each in own if each.control.control is not None)
        items = "; ".join(dict.fromkeys(f"item {each.number} ({each.code})" for each in own))
        text = " ".join(filter(None, (*texts, f"{items[0].upper()}{items[1:]}.")))
        facts = _digest((each.control.reason, each.number, *astuple(goods[each.number])) for each in own)
        orders.append(
            _order(authority, form, own[0].control.reason, text, facts, [each.control.days for each in own], at)
        )
    lacking_by_authority: dict[str, list[Need]] = {}
    for need in unmet(needs):
        lacking_by_authority.setdefault(need.authority, []).append(need)
    for authority, lacking in lacking_by_authority.items():
        text = " ".join(map(_sentence, lacking))
        facts = _digest(
            astuple(each) + (astuple(goods[each.item_number]) if each.item_number in goods else ()) for each in lacking
        )
        reason = REASONS[NeedOutcome(max(each.outcome for each in lacking))]
        terms = [each.control for each in applicable if each.control.licence is not None]
        days = [each.days for each in terms if each.authority == authority]
        orders.append(_order(authority, _REQUEST, reason, text, facts, days, at))
    return orders


def _examinations(items: Sequence[int], goods: Mapping[int, ItemGoods], at: int) -> list[Control]:
    """Return the examination by customs of the items of one consignment that match an application of a rights holder."""
    if not items:
        return []
    text = f"Customs examines item {', '.join(map(str, items))} because of an application of a rights holder."
    facts = _digest((each, *astuple(goods[each])) for each in items)
    return [_order("", control_pb2.CONTROL_FORM_EXAMINATION, RIGHTS, text, facts, [], at)]


def _digest(facts: Iterable[tuple[object, ...]]) -> str:
    """Return a digest of all facts that an order is about: the text has no room for them, and quantities are no part of each text."""
    return blake2b(repr(sorted(facts, key=repr)).encode(), digest_size=16).hexdigest()


def _order(
    authority: str, form: int, reason: str, text: str, facts: str, days: Sequence[int | None], at: int
) -> Control:
    shortest = min((each for each in days if each is not None), default=None)
    return Control(
        number=0,
        form=form,
        authority=authority,
        reason=reason,
        facts=facts,
        text=text if len(text) <= _TEXT_CHARACTERS_MAX else f"{text[: _TEXT_CHARACTERS_MAX - 2]} …",
        addressee=_FILER if form == _REQUEST else 0,
        ordered_at=at,
        ordered_by=AUTOMATIC,
        due_at=None if shortest is None else at + shortest * MICROS_PER_DAY,
        when_overdue=control_pb2.CONTROL_OVERDUE_ESCALATE,
    ).reminding()


def _sentence(need: Need) -> str:
    """Return what an item lacks, in one sentence for filers: which licence, and how much is needed. How much is left is the holder's own."""
    named = f"Item {need.item_number}: licence {need.type} {need.number}".rstrip()
    match need.outcome:
        case NeedOutcome.NOT_CITED:
            return f"{named} is not cited."
        case NeedOutcome.UNKNOWN:
            return f"{named} is not registered for the importer."
        case NeedOutcome.NOT_VALID:
            return f"{named} is not valid on the day of acceptance."
        case NeedOutcome.OTHER_GOODS:
            return f"{named} is for other goods."
        case NeedOutcome.QUANTITY_UNKNOWN:
            return f"{named} needs the quantity in {need.unit}."
        case _:
            amount = f"{(Decimal(need.quantity_millionths or 0) / _MICROS).normalize():f}"
            return f"{named}: {amount} {need.unit} needed, less is left."


def is_request(control: Control) -> bool:
    """Return whether a control is a request for licences that clearance ordered."""
    return control.ordered_by == AUTOMATIC and control.reason in REASONS.values()


def _with_orders(
    controls: Sequence[Control], needs: Sequence[Need], orders: Sequence[Control], at: int, authority: str | None
) -> list[Control]:
    """Return the controls of a consignment after what goods controls order now; requests for licences that no item lacks any more end."""
    lacking = {each.authority for each in unmet(needs)}
    after = [
        each.concluded(ControlResult.CONFORM, at, reason=MET)
        if each.is_open and is_request(each) and each.authority not in lacking and authority in (None, each.authority)
        else each
        for each in controls
    ]
    for order in orders:
        same = [each for each in after if _identity(each) == _identity(order)]
        if any(_covers(each, order) for each in same):
            continue
        stale = next((each for each in same if each.is_open), None)
        if stale is None:
            number = len(after) + 1 if len(after) < WITH_REFERRALS_MAX else _replaceable(after)
            after[number - 1 : number] = [replace(order, number=number)]
        elif authority is None:
            due_at = min((each for each in (order.due_at, stale.due_at) if each is not None), default=None)
            after[stale.number - 1] = replace(order, number=stale.number, due_at=due_at, overdue_at=stale.overdue_at)
        else:
            after[stale.number - 1] = replace(stale, reason=order.reason, text=order.text, facts=order.facts)
    return after


def _covers(control: Control, order: Control) -> bool:
    """Return whether a control makes an order of the same identity unnecessary: it is open, or its authority concluded it for the same facts.

    A request that ended because a licence was met was seen by nobody. An open request is changed instead if its facts are others.
    """
    if control.is_open and not is_request(control):
        return True
    return control.facts == order.facts and (control.is_open or control.concluded_by != AUTOMATIC)


def _replaceable(controls: Sequence[Control]) -> int:
    """Return the number of the control whose place an order takes when there is no other: an ended request, else the first that was concluded.

    Former versions of the consignment have what is replaced. If all are open, there is one more.
    """
    ended = [each for each in controls if not each.is_open]
    return next((each.number for each in (*(e for e in ended if e.result_reason == MET), *ended)), len(controls) + 1)


def _identity(control: Control) -> tuple[str, int, str, bool]:
    """Return what makes an order the same as one before: authority, form and reason; requests for licences have several reasons."""
    licences = is_request(control)
    return control.authority, control.form, "" if licences else control.reason, licences


def _event(before: Sequence[Control], after: Sequence[Control], at: int) -> int:
    new = [each for each in after if each.ordered_at == at and each.is_open]
    if new:
        return event_of_order(next((each for each in new if each.examines), new[0]))
    return event_of_conclusion(after, examined=any(each.is_open and each.examines for each in before))
