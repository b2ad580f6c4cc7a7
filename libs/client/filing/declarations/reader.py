"""Reads an import declaration of WCO DEC 3.6 as a consignment, or says which of its elements are refused.

What a consignment has no element for is reported, never dropped in silence: as a note where nothing else follows from it, as an error
where it changes what is owed or by whom.
"""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final
from xml.etree.ElementTree import Element

from libs.bounds import bounds_of
from libs.client.filing.declarations.mapping import EORI, FISCAL, ITEM, Entry, Rule, dec_rules
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
        tags = [child.tag for child in element]
        seen: dict[str, int] = {}
        for child in element:
            seen[child.tag] = seen.get(child.tag, 0) + 1
            name = _local(child)
            here = f"{path}/{name}" if path else name
            place = f"{shown}/{name}" + (f"[{seen[child.tag]}]" if tags.count(child.tag) > 1 else "")
            rule = self._rules.by_path.get(here) if child.tag.startswith(NAMESPACE) else None
            if rule is not None:
                if not _is_empty(child):
                    self._apply(rule, child, element, place, section, context)
            elif here not in self._rules.groups or not child.tag.startswith(NAMESPACE):
                near = "The schema of WCO DEC 3.6 does not have it here."
                self._errors.append(ElementError("FIELD_UNKNOWN", place, name, near=near))
            elif not _is_empty(child):
                entry = self._rules.lists.get(here)
                below = self._enter(entry, context) if entry is not None else context
                self._walk(child, here, place, child if here == ITEM else section, below)

    def _enter(self, entry: Entry, context: str) -> str:
        return self._target.add(context, entry.to, entry.constants)

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
            if message.items and stated != str(len(message.items)):
                facts = {"before": len(message.items), "other": f"the number of Declaration/{ITEM}"}
                self._errors.append(ElementError("VALUES_DIFFER", "Declaration/GoodsItemQuantity", stated, **facts))
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

    def _check(self) -> None:
        """Check bounds and codes as ingestion does, so that nobody has to file to learn of them."""
        for excess in bounds_of(Consignment).excesses(self._target.message):
            shown = self._element_of(excess.path) or excess.path
            self._errors.append(ElementError(excess.reason, shown, excess.value, **excess.facts))
        for path, text in self._target.texts.items():
            check = _CHECKS.get(_PLACE.sub("", path).rpartition(".")[2])
            reason = check(codes.tidy_code(text)) if check is not None else ""
            digits, further = self._target.parts_of(path)
            if further and path.endswith(".commodity_code") and len(digits) != CN_DIGITS:
                # Otherwise a heading and a TARIC subdivision would read as another code.
                reason, text = "COMMODITY_CODE_MALFORMED", digits
            if reason:
                self._errors.append(ElementError(reason, self._element_of(path), text))

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
    return not len(element) and not (element.text or "").strip()


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
    steps = "/".join(f"{NAMESPACE}{each}" for each in path.split("/"))
    return [(each.text or "").strip() for each in element.findall(steps) if not _is_empty(each)]
