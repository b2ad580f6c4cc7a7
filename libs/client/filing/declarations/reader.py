"""Reads an import declaration of WCO DEC 3.6 as a consignment, or says which of its elements are refused.

What a consignment has no element for is reported, never dropped in silence: as a note where nothing else follows from it, as an error
where it changes what is owed or by whom.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO, Final
from xml.etree.ElementTree import Element

import msgspec

from libs.bounds import bounds_of
from libs.client.filing.declarations.mapping import EORI, FISCAL, ITEM, SHIPMENT, Rule, dec_rules
from libs.client.filing.declarations.target import Target
from libs.client.filing.declarations.totals import add_gross_mass, add_transport_documents
from libs.client.filing.files import Read
from libs.client.row_errors import ElementError, RowError
from libs.customs import codes
from libs.files.xml_file import XmlError, root_of
from luxor.consignment.v1.consignment_pb2 import IDENTIFIER_TYPE_EORI, Consignment

NAMESPACE: Final = "{urn:wco:datamodel:WCO:DEC-DMS:2}"
VERSION: Final = "3.6"
BYTES_MAX: Final = 8 * 1024 * 1024
"""999 items with their documents take some six million bytes."""
DEPTH_MAX: Final = 32
CN_DIGITS: Final = 8
"""Of the Combined Nomenclature, which the two digits of TARIC follow."""
_METADATA: Final = "{urn:wco:datamodel:WCO:DocumentMetaData-DMS:2}"
_PARTIES: Final = ("representative", "consignor", "consignee", "seller", "buyer", "declarant", "importer")
_CHECKS: Final = {
    "commodity_code": codes.commodity_error,
    "country": codes.country_error,
    "destination_country": codes.country_error,
    "dispatch_country": codes.country_error,
    "origin_country": codes.origin_error,
    "route_countries": codes.country_error,
}
"""Checks by the name of the element."""
_AT_EACH_ITEM: Final = (
    "Destination/CountryCode",
    "ExportCountry/ID",
    "GovernmentProcedure/PreviousCode",
    "TransactionNatureCode",
)
"""Elements of items that change what is owed, and of which a consignment has one value."""
_FISCAL_NUMBER: Final = "DomesticDutyTaxParty/ID"
_PROCEDURE: Final = re.compile(r"[0-9A-Z]{2}")
_ADDITIONAL: Final = re.compile(r"[0-9A-Z]{3}")
_SUBDIVISION: Final = re.compile(r"[0-9]{2}")
_ITINERARY: Final = "Itinerary"
_WHOLE: Final = re.compile(r"[+]?0*([0-9]+)([.]0*)?")
_BREAKS: Final = re.compile(r"\s*[\t\r\n]\s*")
_PLACE: Final = re.compile(r"\[\d+\]")


def read_declaration(file: BinaryIO) -> Iterator[Read | RowError]:
    """Yield the one declaration of a file as a consignment with its notes, or what is refused; nothing is expanded or opened."""
    try:
        root = root_of(file.read(BYTES_MAX + 1), bytes_max=BYTES_MAX, depth_max=DEPTH_MAX)
    except XmlError as error:
        yield ElementError("DECLARATION_MALFORMED", "", why=str(error), bytes_max=BYTES_MAX).at(error.line or 1, "")
        return
    found = list(root.iter(f"{NAMESPACE}Declaration"))
    if len(found) != 1:
        yield ElementError("DECLARATION_NOT_FOUND", _local(root), len(found), namespace=NAMESPACE.strip("{}")).at(1, "")
        return
    version = root.find(f".//{_METADATA}WCODataModelVersionCode")
    stated = VERSION if version is None else (version.text or "").strip()
    if stated != VERSION:
        yield ElementError("CHOICE_MISNAMED", "MetaData/WCODataModelVersionCode", stated, choices=VERSION).at(1, "")
        return
    yield _Reader(found[0]).read()


class _Reader:
    """Reads one declaration."""

    def __init__(self, declaration: Element) -> None:
        self._declaration = declaration
        self._rules = dec_rules()
        self._target = Target()
        self._errors: list[ElementError] = []
        self._notes: list[ElementError] = []
        self._parties: dict[str, tuple[str, dict[str, str]]] = {}
        self._places: dict[Element, str] = {}

    def read(self) -> Read | RowError:
        """Return the consignment, or its errors."""
        self._walk(self._declaration, "", "Declaration", self._declaration, "")
        self._complete()
        message = self._target.message
        if not self._errors:
            self._check()
        if not self._errors:
            self._derive()
        errors, notes = (
            [each.at(1, message.local_reference) for each in found] for found in (self._errors, self._notes)
        )
        if errors:
            return errors[0]._replace(further=tuple(errors[1:]))
        return Read(message, 1, (), tuple(notes), self._element_of)

    def _walk(self, element: Element, path: str, shown: str, section: Element, context: str) -> None:
        """Take in what is below an element. `section` is the declaration or its item, `context` the entry of a list in the consignment."""
        for child, name, number in _in_order(element):
            here = f"{path}/{name}" if path else name
            place = f"{shown}/{name}" + (f"[{number}]" if number else "")
            rule = self._rules.by_path.get(here) if child.tag.startswith(NAMESPACE) else None
            self._places[child] = place
            once = here not in self._rules.repeated and not (rule and rule.takes_no_value)
            if number > 1 and once and not _is_empty(child):
                near = "The schema of WCO DEC 3.6 has this element once."
                self._errors.append(ElementError("FIELD_UNKNOWN", place, _text_of(child)[0], near=near))
            elif rule is not None:
                if not _is_empty(child):
                    self._apply(rule, child, element, place, section, context)
                    self._check_qualified(self._rules.qualified.get(here, ""), rule, child, element, place)
            elif here not in self._rules.groups or not child.tag.startswith(NAMESPACE):
                near = "The schema of WCO DEC 3.6 does not have it here."
                self._errors.append(ElementError("FIELD_UNKNOWN", place, name, near=near))
            else:
                self._walk_group(child, here, place, section, context)

    def _walk_group(self, element: Element, path: str, shown: str, section: Element, context: str) -> None:
        """Take in an element that has elements below it."""
        stray = next(
            filter(None, ((each or "").strip() for each in (element.text, *(child.tail for child in element)))), ""
        )
        if stray:
            near = f"The element {shown} has elements and no text of its own."
            self._errors.append(ElementError("FIELD_UNKNOWN", f"{shown}/text()", stray, near=near))
        entry = self._rules.lists.get(path) if not _is_empty(element) else None
        below = self._target.add(context, entry.to, entry.constants) if entry is not None else context
        self._walk(element, path, shown, element if path == ITEM else section, below)
        if entry is not None and path != ITEM:
            self._target.remove_bare(below, entry.constants)
        if path in self._rules.parties:
            self._compare_party(element, path, shown, section)

    def _compare_party(self, element: Element, path: str, shown: str, section: Element) -> None:
        """Report what only one of two elements says of a party, so that no party is made of halves of two; one number is one party."""
        if any(_all(section, each) for each in self._rules.by_path[f"{path}/ID"].unless):
            return
        stated = {each: texts[0] for each in self._rules.of_a_party if (texts := _all(element, each))}
        if not stated:
            return
        other, before = self._parties.setdefault(self._rules.parties[path], (shown, stated))
        if stated.get("ID") and stated.get("ID") == before.get("ID"):
            return
        for each in self._rules.of_a_party:
            if (each in stated) != (each in before):
                place, absent = (shown, other) if each in stated else (other, shown)
                self._differ(f"{place}/{each}", stated.get(each) or before[each], f"{absent}/{each}")

    def _differ(self, shown: str, text: str, other: str) -> None:
        """Report an element with a value that another element, which is absent, would have to repeat."""
        self._errors.append(ElementError("VALUES_DIFFER", shown, text, before="nothing", other=other))

    def _check_qualified(self, name: str, rule: Rule, element: Element, parent: Element, shown: str) -> None:
        """Report an element that only says what another one beside it means, if that one is missing."""
        if not name or _below(parent, name):
            return
        missing = rule if rule.refuse else msgspec.structs.replace(rule, note="none")
        self._leave_out(missing, element, shown)

    def _apply(self, rule: Rule, element: Element, parent: Element, shown: str, section: Element, context: str) -> None:
        if rule.takes_no_value:
            return self._leave_out(rule, element, shown)
        text, deeper = _text_of(element)
        if deeper:
            near = f"The element {shown} has a text and no elements of its own."
            return self._errors.append(ElementError("FIELD_UNKNOWN", f"{shown}/{deeper}", deeper, near=near))
        if text in rule.neutral:
            return None
        target = rule.cases.get(_below(parent, rule.by), rule.to) if rule.by else rule.to
        if rule.where and not all(
            any(each in values for each in _all(section, path)) for path, values in rule.where.items()
        ):
            target = ""
        if any(_all(section, path) for path in rule.unless):
            target = ""
        if rule.refuse and rule.codes and text not in rule.codes:
            return self._leave_out(rule, element, shown)
        if not target:
            return None if rule.implied else self._leave_out(rule, element, shown)
        try:
            if target.startswith(FISCAL):
                self._target.set_scheme(target.removeprefix(FISCAL), text, shown)
            else:
                self._target.set(context, target, text, element, shown, rule.codes)
        except ElementError as error:
            self._errors.append(error)
        return None

    def _leave_out(self, rule: Rule, element: Element, shown: str) -> None:
        """Report an element that no element of a consignment has."""
        reason = "ELEMENT_NOT_CONVERTED" if not rule.refuse else "ELEMENT_WITHOUT_COUNTERPART"
        error = ElementError(
            reason, shown, _text_of(element)[0], why=self._rules.explanations[rule.refuse or rule.note]
        )
        (self._errors if rule.refuse else self._notes).append(error)

    def _complete(self) -> None:
        """Add what follows from elements together, and report what every declaration has."""
        message = self._target.message
        for name in ("FunctionCode", "FunctionalReferenceID", "TypeCode"):
            if not _all(self._declaration, name):
                self._errors.append(ElementError("ELEMENT_MISSING", f"Declaration/{name}"))
        if not message.items:
            self._errors.append(ElementError("ELEMENT_MISSING", f"Declaration/{ITEM}"))
        for stated in _all(self._declaration, "GoodsItemQuantity"):
            parsed = _WHOLE.fullmatch(stated)
            if message.items and (parsed is None or parsed[1] != str(len(message.items))):
                facts = {"before": len(message.items), "other": f"the number of Declaration/{ITEM}"}
                self._errors.append(ElementError("VALUES_DIFFER", "Declaration/GoodsItemQuantity", stated, **facts))
        if not self._errors:
            self._compare_items()
        if message.HasField("importer") and not message.HasField("consignee"):
            # The data sets of imports have the importer alone, to whom the goods go.
            message.consignee.CopyFrom(message.importer)
            paths = [each for each in self._target.elements if each.startswith("importer.")]
            for path in paths:
                self._target.elements[path.replace("importer", "consignee", 1)] = self._target.elements[path]
        for name in _PARTIES:
            party: Any = getattr(message, name)
            if EORI.fullmatch(party.identifier):
                party.identifier_type = IDENTIFIER_TYPE_EORI

    def _compare_items(self) -> None:
        """Report values of the whole consignment that only some of its items have, as others may have been meant without them."""
        items = _elements(self._declaration, ITEM)
        for path in (*_AT_EACH_ITEM, _FISCAL_NUMBER):
            common = set(_all(self._declaration, f"{SHIPMENT}/{path}"))
            if common and path != _FISCAL_NUMBER:
                continue
            stated = [{*_all(item, path)} - common for item in items]
            every = set().union(*stated)
            for number, own in enumerate(stated, 1):
                if every and (not own or (path == _FISCAL_NUMBER and own != every)):
                    first = next(place for place, others in enumerate(stated) if others - own)
                    text = min(stated[first] - own)
                    element = next(each for each in _elements(items[first], path) if (each.text or "").strip() == text)
                    self._differ(self._places[element], text, f"Declaration/{ITEM}[{number}]/{path}")

    def _check(self) -> None:
        """Check bounds and codes as ingestion does, so that nobody has to file to learn of them."""
        for excess in bounds_of(Consignment).excesses(self._target.message):
            shown = self._element_of(excess.path) or excess.path
            self._errors.append(ElementError(excess.reason, shown, excess.value, **excess.facts))
        for path, text in self._target.texts.items():
            check = _CHECKS.get(_PLACE.sub("", path).rpartition(".")[2])
            reason = check(codes.tidy_code(text)) if check is not None else ""
            shown, form = self._element_of(path), ""
            parts = self._target.parts_of(path)
            if path.endswith(".commodity_code") and "2" in parts:
                # Otherwise a heading and a TARIC subdivision would read as another code.
                digits, _ = parts.get("1", ("", ""))
                if len(digits) != CN_DIGITS:
                    reason, text = "COMMODITY_CODE_MALFORMED", digits
                elif not _SUBDIVISION.fullmatch(parts["2"][0]):
                    reason, form, (text, shown) = "CODE_MALFORMED", "two digits", parts["2"]
            elif path == "procedure":
                wrong = [each for each in parts.values() if not _PROCEDURE.fullmatch(codes.tidy_code(each[0]))]
                if wrong or len(parts) == 1:
                    reason, form = "CODE_MALFORMED", "a CurrentCode and a PreviousCode of two characters each"
                    text, shown = (wrong or list(parts.values()))[0]
            elif ".additional_procedures[" in path and not _ADDITIONAL.fullmatch(codes.tidy_code(text)):
                reason, form = "CODE_MALFORMED", "three characters, or two with a PreviousCode beside them"
            if reason:
                self._errors.append(ElementError(reason, shown, text, **({"form": form} if form else {})))

    def _derive(self) -> None:
        """Add what the declaration states of its items or among its documents."""
        message, elements = self._target.message, self._target.elements
        if add_gross_mass(message):
            elements["gross_mass_mg"] = f"Declaration/{ITEM}/Commodity/GoodsMeasure/GrossMassMeasure"
        for name, path in add_transport_documents(message, self._rules.transport_documents).items():
            elements[f"{name}.number"] = elements[f"{path}.reference"]

    def _element_of(self, path: str) -> str:
        """Return the element that states an element of the consignment, or would; empty if the standard has none."""
        elements = self._target.elements
        stated = elements.get(path) or elements.get(path.removesuffix(".minor").removesuffix(".currency"))
        if stated:
            return stated
        below = [shown for each, shown in elements.items() if each.startswith(f"{path}[")]
        plain = _PLACE.sub("", path).removesuffix(".minor").removesuffix(".currency")
        expected = self._rules.element_of(plain)
        return below[0] if below else f"Declaration/{expected}" if expected else ""


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _is_empty(element: Element) -> bool:
    return not (element.text or "").strip() and all(map(_is_empty, element))


def _in_order(element: Element) -> Iterator[tuple[Element, str, int]]:
    """Yield what is below an element: each with its name, and with its number if there are several; itineraries by their sequence."""
    several = Counter(child.tag for child in element)
    seen: Counter[str] = Counter()
    found = []
    for child in element:
        seen[child.tag] += 1
        found.append((child, _local(child), seen[child.tag] if several[child.tag] > 1 else 0))
    if several[f"{NAMESPACE}{_ITINERARY}"] > 1:
        found.sort(key=lambda each: _sequence(each[0]) if each[1] == _ITINERARY else 0)
    yield from found


def _sequence(element: Element) -> int:
    parsed = _WHOLE.fullmatch(_below(element, "SequenceNumeric"))
    return int(parsed[1]) if parsed is not None else 0


def _text_of(element: Element) -> tuple[str, str]:
    """Return the text of an element, of a time that of its DateTimeString; and the name of an element below it that none may have."""
    below = list(element)
    if len(below) == 1 and _local(below[0]) == "DateTimeString" and not len(below[0]):
        element, below = below[0], []
    # Lines that a program broke to indent its XML are one line.
    return _BREAKS.sub(" ", (element.text or "").strip()), _local(below[0]) if below else ""


def _below(element: Element, name: str) -> str:
    """Return the text of an element below another one; empty if there is none."""
    found = element.find(f"{NAMESPACE}{name}")
    return "" if found is None else (found.text or "").strip()


def _all(element: Element, path: str) -> list[str]:
    """Return the texts at a path, of elements that are not empty."""
    return [(each.text or "").strip() for each in _elements(element, path) if not _is_empty(each)]


def _elements(element: Element, path: str) -> list[Element]:
    return element.findall("/".join(f"{NAMESPACE}{each}" for each in path.split("/")))
