"""How the elements of a declaration become elements of a consignment: the data of mapping.yaml, of which the file explains each key."""

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from libs.files.yaml_file import YamlFile

EORI: Final = re.compile(r"[A-Z]{2}[0-9A-Z]{1,15}")
"""Form of the registration number of an economic operator."""
FISCAL: Final = "fiscal:"
"""Begins a target that is the number of a tax scheme."""
SHIPMENT: Final = "GoodsShipment"
ITEM: Final = "GoodsShipment/GovernmentAgencyGoodsItem"
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Rule(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What becomes of one element, and of all below it where it is left out or refused."""

    id: str
    """Its WCO id; empty where the standard has none."""
    to: str = ""
    by: str = ""
    cases: dict[str, str] = {}
    codes: dict[str, str] = {}
    neutral: list[str] = []
    where: dict[str, list[str]] = {}
    unless: list[str] = []
    note: str = ""
    refuse: str = ""
    implied: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a rule without an effect."""
        if not (self.to or self.cases or self.note or self.refuse or self.implied):
            raise ValueError("the rule says nothing; state to, cases, note, refuse or implied")
        if bool(self.by) != bool(self.cases):
            raise ValueError("by and cases belong together")

    @property
    def takes_no_value(self) -> bool:
        """Whether the element is left out or refused whatever it says, with everything below it."""
        return bool(self.note or self.refuse) and not (self.to or self.cases or self.neutral or self.implied)

    def targets(self) -> Iterator[str]:
        """Yield the elements of the consignment that it may become."""
        yield from filter(None, (self.to, *self.cases.values()))


class Party(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """An element that is a party."""

    to: str
    name: str
    """WCO id of its name."""
    id: str
    """WCO id of its number."""
    unless: list[str] = []

    def rules(self, below: Mapping[str, Rule]) -> Iterator[tuple[str, Rule]]:
        """Yield the rules of the elements below it."""
        note = "none" if self.unless else ""
        yield "Name", Rule(id=self.name, to=f"{self.to}.name", unless=self.unless, note=note)
        yield "ID", Rule(id=self.id, to=f"{self.to}.identifier", unless=self.unless, note=note)
        for path, rule in below.items():
            to = f"{self.to}.{rule.to}" if rule.to else ""
            cases = {code: f"{self.to}.{target}" for code, target in rule.cases.items()}
            note = rule.note or ("none" if self.unless and not rule.implied else "")
            yield path, msgspec.structs.replace(rule, to=to, cases=cases, unless=self.unless, note=note)


class Entry(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """An element that is an entry of a list."""

    to: str
    constants: dict[str, str] = msgspec.field(name="with", default_factory=dict)


class DeclarationMapping(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The file."""

    format: Literal[1]
    source: _Text
    explanations: dict[str, _Text]
    transport_documents: dict[str, list[list[str]]]
    parties: dict[str, Party]
    party: dict[str, Rule]
    lists: dict[str, Entry]
    repeated: list[str]
    declaration: dict[str, Rule]
    shipment: dict[str, Rule]
    item: dict[str, Rule]

    def rules(self) -> dict[str, Rule]:
        """Return the rules by the path of their element below the declaration."""
        found: dict[str, Rule] = {}
        for path, party in self.parties.items():
            found |= {f"{path}/{below}": rule for below, rule in party.rules(self.party)}
        found |= self.declaration
        found |= {f"{SHIPMENT}/{path}": rule for path, rule in self.shipment.items()}
        return found | {f"{ITEM}/{path}": rule for path, rule in self.item.items()}


class Rules:
    """The mapping as it is applied."""

    def __init__(self, mapping: DeclarationMapping) -> None:
        """Raise ValueError for an entry of `explanations` that the file does not have."""
        self.explanations = mapping.explanations
        self.transport_documents = mapping.transport_documents
        self.lists = mapping.lists
        self.repeated = frozenset(mapping.repeated).union(mapping.lists)
        """Elements of which several may stand beside each other."""
        self.parties = {path: party.to.removeprefix("/") for path, party in mapping.parties.items()}
        self.of_a_party = ("Name", "ID", *(path for path, rule in mapping.party.items() if any(rule.targets())))
        """Elements of a party that become its elements in a consignment."""
        self.by_path = mapping.rules()
        unknown = {each for rule in self.by_path.values() for each in (rule.note, rule.refuse)} - {
            "",
            *self.explanations,
        }
        if unknown:
            raise ValueError(f"explanations has no {sorted(unknown)}")
        self.qualified = {
            f"{path.rpartition('/')[0]}/{rule.by}": path.rpartition("/")[2]
            for path, rule in self.by_path.items()
            if rule.by and self.by_path[f"{path.rpartition('/')[0]}/{rule.by}"].implied
        }
        """The element beside each element that only says what another one means."""
        self.groups = {path[:at] for path in self.by_path for at, sign in enumerate(path) if sign == "/"}
        """Elements that only have elements below them."""
        self._elements = {
            target: path for path, rule in reversed(self.by_path.items()) for target in self._absolute(path, rule)
        }

    @property
    def targets(self) -> frozenset[str]:
        """Return the elements of a consignment that a declaration can state, as paths without places."""
        stated = set(self._elements)
        stated |= {f"{name}.{each}" for name in self.transport_documents for each in ("number", "type")}
        stated |= {
            f"{each.removesuffix('identifier')}identifier_type" for each in stated if each.endswith(".identifier")
        }
        return frozenset(stated | {"fiscal_references.scheme", "fiscal_references.number", "items.supplementary_unit"})

    def _absolute(self, path: str, rule: Rule) -> Iterator[str]:
        entry = max((each for each in self.lists if path.startswith(f"{each}/")), key=len, default="")
        prefix = self.lists[entry].to.removeprefix("/") + "." if entry else ""
        if entry.startswith(f"{ITEM}/") and not self.lists[entry].to.startswith("/"):
            prefix = f"items.{prefix}"
        for target in rule.targets():
            plain = target.partition(":")[0].replace("[]", "").replace("[0]", "")
            yield plain[1:] if plain.startswith("/") else prefix + plain

    def element_of(self, path: str) -> str:
        """Return the element that states an element of the consignment (a path without places, `items.price`); empty if none does."""
        return self._elements.get(path, "")


@functools.cache
def dec_rules() -> Rules:
    """Return the rules of WCO DEC 3.6."""
    return Rules(YamlFile(Path(__file__).with_name("mapping.yaml")).convert(DeclarationMapping))
