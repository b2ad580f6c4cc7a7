"""Reads XML that others wrote without what a file could harm with: document types, entities, and anything outside of the file."""

from typing import Final, NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

ENCODINGS: Final = ("UTF-8", "UTF-16", "ISO-8859-1", "US-ASCII")
"""Those that expat itself reads, so that no name of an encoding reaches a codec."""
NAMESPACE: Final = "}"
"""Separates namespace and name for expat; ElementTree writes `{namespace}name`."""


class XmlError(Exception):
    """XML that is refused: the line from 1 (0: the file as a whole), and why."""

    def __init__(self, line: int, message: str) -> None:
        self.line, self.message = line, message
        super().__init__(f"line {line}: {message}" if line else message)


def strict_parser(namespace_separator: str | None = None) -> expat.XMLParserType:
    """Return a parser that raises XmlError for a document type, an entity, a reference to something outside of the file, or another encoding."""
    parser = expat.ParserCreate(namespace_separator=namespace_separator)
    parser.buffer_text = True
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)

    def refuse(finding: str) -> NoReturn:
        raise XmlError(
            parser.CurrentLineNumber, f"the file {finding}; it is refused, and nothing is expanded or opened"
        )

    def declare(_version: str, encoding: str | None, _standalone: int) -> None:
        if encoding and encoding.upper() not in ENCODINGS:
            refuse(f"states the encoding {encoding!r}, which is none of {', '.join(ENCODINGS)}")

    parser.XmlDeclHandler = declare
    parser.StartDoctypeDeclHandler = lambda name, *_: refuse(f"declares a document type ({name})")
    parser.EntityDeclHandler = lambda name, *_: refuse(f"declares the entity {name!r}")
    parser.ExternalEntityRefHandler = lambda *_: refuse("refers to something outside of itself")
    return parser


def parse(parser: expat.XMLParserType, content: bytes) -> None:
    """Parse a whole file; raise XmlError if it is no XML."""
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        why = f"this is not XML: {expat.ErrorString(error.code)}; the file is broken or cut off"
        raise XmlError(error.lineno, why) from None


def root_of(content: bytes, *, bytes_max: int, depth_max: int, lines: dict[Element, int] | None = None) -> Element:
    """Return the root element of a file; raise XmlError for what is refused, larger, or nested deeper.

    The line on which each element begins is added to `lines`.
    """
    if len(content) > bytes_max:
        raise XmlError(0, f"the file has more than {bytes_max} bytes")
    builder, open_elements = TreeBuilder(), [0]
    parser = strict_parser(NAMESPACE)

    def start(tag: str, attributes: dict[str, str]) -> None:
        open_elements[0] += 1
        if open_elements[0] > depth_max:
            raise XmlError(parser.CurrentLineNumber, f"elements are nested deeper than {depth_max}")
        element = builder.start(_name(tag), {_name(name): value for name, value in attributes.items()})
        if lines is not None:
            lines[element] = parser.CurrentLineNumber

    def end(tag: str) -> None:
        open_elements[0] -= 1
        builder.end(_name(tag))

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parse(parser, content)
    return builder.close()


def _name(name: str) -> str:
    return "{" + name if NAMESPACE in name else name
