"""The mapping of a scanner's message in XML to the fields of a scan: a file, because no names of elements are part of Luxor."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal
from xml.etree.ElementTree import Element

import msgspec

from libs.client.errors import LuxorError
from libs.files.yaml_file import YamlError, YamlFile, YamlOptions

_OPTIONS: Final = YamlOptions(bytes_max=64_000, values_max=1_000, depth_max=4)
REFERENCES: Final = {
    "mrn": "mrn",
    "house_document": "house_document_number",
    "master_document": "master_document_number",
}
"""Fields that name the goods, the most exact first, and the references of luxor.clearance.v1.StatusQuery that they are."""
_ATTRIBUTE: Final = re.compile(r"(?:([\w.-]+):)?([\w.-]+)")
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]


class Fixed(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A value that is the same for all messages, in place of a path."""

    value: _Text


class Fields(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The path of each field: a path of elements from the root on, which may end in `/@` and the name of an attribute."""

    message: _Text
    """The message's own identity."""
    result: _Text
    """A code, which `results` maps."""
    taken_at: _Text
    """ISO 8601, with its offset from UTC."""
    device: _Text | Fixed
    image: _Text
    media_type: _Text | Fixed
    sha256: _Text | None = None
    image_file: _Text | None = None
    """The name of the file beside the message of which the SHA-256 is computed, instead of `sha256`."""
    place: _Text | None = None
    image_analyst: _Text | None = None
    control: _Text | None = None
    """The number of the control."""
    mrn: _Text | None = None
    house_document: _Text | None = None
    master_document: _Text | None = None

    def __post_init__(self) -> None:
        """Raise ValueError unless the fields name goods and image completely."""
        if not any(getattr(self, each) for each in REFERENCES):
            raise ValueError(f"none of {', '.join(REFERENCES)} has a path, so no message would name goods; add one")
        if bool(self.sha256) == bool(self.image_file):
            raise ValueError("either sha256 or image_file has a path: the hash that the message states, or the file")


class ScanMapping(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What a file of a mapping states."""

    format: Literal[1]
    source: _Text
    """The document that states the names of the elements."""
    fields: Fields
    results: Annotated[dict[str, Literal["conform", "suspicious", "unreadable"]], msgspec.Meta(min_length=1)]
    namespaces: dict[str, str] = {}
    """Namespaces by the prefixes of the paths."""

    def __post_init__(self) -> None:
        """Raise ValueError for a path that is none, and if nothing could state where something is suspicious."""
        for name in Fields.__struct_fields__:
            path = getattr(self.fields, name)
            if isinstance(path, str):
                try:
                    list(self.texts(Element("message"), path))
                except (SyntaxError, LookupError, TypeError, ValueError) as error:
                    # ElementTree meets half a path with errors of its own inside.
                    why = error if isinstance(error, SyntaxError) else "write elements, such as x:Report/x:Header/@id"
                    raise ValueError(f"fields.{name}: {path!r} is no path: {why}") from None
        if "suspicious" in self.results.values() and not self.fields.place:
            raise ValueError("fields.place has no path; a suspicious scan states where on the image")

    def texts(self, root: Element, path: str) -> Iterator[str]:
        """Yield the texts to which a path leads. Raise ValueError for an element that has elements of its own, SyntaxError for no path."""
        elements, attribute_sign, attribute = path.removeprefix("/").rpartition("/@")
        if attribute_sign or path.endswith("@"):
            attribute = self._attribute(attribute)
        document = Element("document")
        document.append(root)
        for element in document.findall(elements if attribute_sign else attribute, self.namespaces):
            if attribute_sign:
                yield element.get(attribute, "").strip()
            elif len(element):
                raise ValueError(f"the element has {len(element)} elements of its own, and no text")
            else:
                yield (element.text or "").strip()

    def _attribute(self, name: str) -> str:
        """Return the name of an attribute as ElementTree writes it; one without a prefix has no namespace. Raise SyntaxError."""
        parts = _ATTRIBUTE.fullmatch(name)
        if parts is None:
            raise SyntaxError("an attribute has a name, such as @id or @x:id, and stands at the end")
        prefix, local = parts.groups()
        if prefix is None:
            return local
        if prefix not in self.namespaces:
            raise SyntaxError(f"the prefix {prefix!r} of its attribute is none of namespaces")
        return f"{{{self.namespaces[prefix]}}}{local}"


def read_mapping(path: Path) -> ScanMapping:
    """Read a mapping from its YAML; raise LuxorError SCAN_MAPPING_MALFORMED with the line and why."""
    try:
        return YamlFile(path, options=_OPTIONS).convert(ScanMapping)
    except YamlError as error:
        raise LuxorError.from_reason("SCAN_MAPPING_MALFORMED", why=str(error)) from None
