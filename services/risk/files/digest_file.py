"""Files of models: a JSON document with its format, its version, and the digest of its content's bytes.

    {"format": "luxor-risk-model", "version": 1, "digest": "<sha-256 of the content's bytes>", "content": {...}}

Reading one runs nothing; what is damaged or of another version is refused as a whole.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec


class DigestFileRefused(ValueError):
    """A document that is not used; `reason` says why, `remedy` what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        """Take both."""
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


class Form(NamedTuple):
    """What documents of one kind have in common."""

    name: str
    version: int
    bytes_max: int
    smaller: str
    """How to make a smaller one."""
    maker: str
    """Which command makes one."""

    def write(self, content: msgspec.Struct) -> bytes:
        """Return a document; the same content gives the same bytes."""
        inner = msgspec.json.encode(content, order="deterministic")
        return msgspec.json.encode(_Document(self.name, self.version, _digest(inner), msgspec.Raw(inner)))

    def read(self, data: bytes) -> tuple[bytes, str]:
        """Return the content of a document and its digest. Raises DigestFileRefused."""
        if len(data) > self.bytes_max:
            raise DigestFileRefused(f"it has {len(data)} bytes, more than {self.bytes_max}", self.smaller)
        try:
            heading = msgspec.json.decode(data, type=_Heading)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DigestFileRefused(f"it is no whole JSON document ({error})", "copy or train it again") from None
        if heading.format != self.name:
            reason = f"its format is {heading.format!r}, not {self.name!r}"
            raise DigestFileRefused(reason, f"give a file that `{self.maker}` made, or train one")
        if heading.version != self.version:
            reason = f"it is of version {heading.version}; this Luxor reads {self.version}"
            raise DigestFileRefused(reason, "train it again with this Luxor")
        try:
            document = msgspec.json.decode(data, type=_Document)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DigestFileRefused(str(error), "train it again; nothing may be added by hand") from None
        inner = bytes(document.content)
        if _digest(inner) != document.digest:
            reason = "its content does not have the digest that it names: it is damaged"
            raise DigestFileRefused(reason, "copy or train it again")
        return inner, document.digest


def format_of(data: bytes) -> str:
    """Return the format that a document names; "" for anything else."""
    try:
        return msgspec.json.decode(data, type=_Heading).format
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    version: int
    digest: str
    content: msgspec.Raw


class _Heading(msgspec.Struct):
    """What is read first: a document of another version may have other fields."""

    format: str = ""
    version: int = -1


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
