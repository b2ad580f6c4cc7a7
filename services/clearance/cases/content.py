"""The content of attachments: its parts, its limits, and whether its first bytes fit its type. Pure: nothing of a content is executed or rendered."""

import codecs
import re
from collections.abc import Callable, Mapping
from typing import Final

from luxor.clearance.v1 import cases_pb2 as pb

PART_BYTES: Final = 1_048_576
CONTENT_BYTES_MAX: Final = 32 * PART_BYTES
CASE_BYTES_MAX: Final = 256 * PART_BYTES
"""Attachments of a case together."""
ATTACHMENTS_MAX: Final = 100
"""Largest number of attachments of a case."""
UPLOADS_MAX: Final = 8
"""Contents that one officer may upload before they are attached."""

_NO_TEXT: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_XML: Final = re.compile(r"\ufeff?\s*<[?!A-Za-z_]")
_JSON: Final = re.compile(r"""\s*(\[\s*([\[{"\]\-0-9]|true|false|null)|\{\s*["}])""")
_COMMENTS: Final = r"|<!--(?:-?>|.*?--!?>)|<!doctype\s++(?!(?:html|svg)\b)[^>\[]*(?:\[.*?\]\s*)?>)*+"
_LEADS: Final = tuple(
    re.compile(rf"(?:[\ufeff\s]++|{instruction}{_COMMENTS}", re.IGNORECASE | re.DOTALL)
    for instruction in (r"<\?.*?\?>", r"<\?[^>]*>")
)
"""What may stand before the first element: byte order marks, instructions as XML and as HTML end them, comments, other document types."""
_ACTIVE: Final = re.compile(
    r"<!doctype\s+(html|svg)\b|<([\w.-]+:)?(html|head|body|script|style|svg|math|iframe|frame|frameset|img|div|h1|br|font|meta|embed|audio|video|input)"
    r"(?![\w.:-])|<[a-z][^>]*[\s/]on[a-z]+\s*=",
    re.IGNORECASE,
)
"""The first element of HTML and SVG, and any with a handler of events."""
_RENDERED: Final = re.compile(
    r"http://www\.w3\.org/(1999/xhtml|2000/svg|1999/xsl/transform)|<\?xml-stylesheet\b", re.IGNORECASE
)
"""What makes a program show XML as HTML or SVG."""


def parts_of(length: int) -> int:
    """Return how many parts a content has.

    >>> parts_of(1), parts_of(1_048_576), parts_of(1_048_577)
    (1, 1, 2)
    """
    return -(-length // PART_BYTES)


def part_length(length: int, part: int) -> int:
    """Return the length of a part of a content, 0 where it has no such part.

    >>> part_length(1_048_577, 0), part_length(1_048_577, 1), part_length(1_048_577, 2)
    (1048576, 1, 0)
    """
    return max(0, min(PART_BYTES, length - part * PART_BYTES))


def fits(content_type: int, first_part: bytes) -> bool:
    """Return whether the first part of a content fits its type.

    XML and text do not begin as HTML or SVG, nor has the first part of XML their namespaces. What is behind that is not checked: a content may
    hide another one behind its first bytes.
    """
    check = _CHECKS.get(content_type)
    return check is not None and check(first_part)


def _starts(*heads: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(heads)


def _is_active(text: str) -> bool:
    """Return whether the first element of a text is one of HTML or SVG."""
    return any((found := lead.match(text)) is not None and _ACTIVE.match(text, found.end()) for lead in _LEADS)


def _reads(pattern: re.Pattern[str], unless: Callable[[str], bool] | None = None) -> Callable[[bytes], bool]:
    """Return a check that the data are text in UTF-8, perhaps cut within a character, that begins in a form."""

    def check(data: bytes) -> bool:
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(data, final=len(data) < PART_BYTES)
        except UnicodeDecodeError:
            return False
        begins = pattern.match(text) is not None and (unless is None or not unless(text))
        return begins and _NO_TEXT.search(text) is None

    return check


_CHECKS: Final[Mapping[int, Callable[[bytes], bool]]] = {
    pb.CONTENT_TYPE_PDF: _starts(b"%PDF-"),
    pb.CONTENT_TYPE_JPEG: _starts(b"\xff\xd8\xff"),
    pb.CONTENT_TYPE_PNG: _starts(b"\x89PNG\r\n\x1a\n"),
    pb.CONTENT_TYPE_TIFF: _starts(b"II*\x00", b"MM\x00*"),
    pb.CONTENT_TYPE_XML: _reads(_XML, lambda text: _is_active(text) or _RENDERED.search(text) is not None),
    pb.CONTENT_TYPE_JSON: _reads(_JSON),
    pb.CONTENT_TYPE_TEXT: _reads(re.compile(""), _is_active),
}
