"""House documents that sales name, in the form in which filings have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from libs.customs.codes import tidy_code
from libs.customs.identifiers import s10
from luxor.revenue.v1.sales_pb2 import Sale


class Document(NamedTuple):
    """A house transport document of a carrier."""

    carrier: str
    number: str


class PlatformDocument(NamedTuple):
    """A house document of a carrier, under which a platform sold or goods of it are declared."""

    platform: str
    carrier: str
    number: str

    @property
    def document(self) -> Document:
        """Return the document without the platform."""
        return Document(self.carrier, self.number)


def documents_of(sale: Sale) -> list[Document]:
    """Return the house documents of a sale in its order, without blanks and in capitals."""
    return [Document(tidy_code(each.carrier_identifier), tidy_code(each.number)) for each in sale.house_documents]


def document_errors(documents: Sequence[Document]) -> Iterator[tuple[str, str, str]]:
    """Yield reason, path and value of each error in the house documents of a sale."""
    for place, (carrier, number) in enumerate(documents):
        path = f"house_documents[{place}]"
        if not carrier:
            yield "ELEMENT_MISSING", f"{path}.carrier_identifier", ""
        if not number:
            yield "ELEMENT_MISSING", f"{path}.number", ""
        elif s10.resembles(number) and not s10.is_valid(number):
            yield "S10_MALFORMED", f"{path}.number", number


def content_digest(digest: bytes, documents: Iterable[Document]) -> bytes:
    """Return the digest of a sale with house documents; that of the other content, `digest`, where it has none."""
    text = packed_documents(documents)
    return sha256(digest + text.encode()).digest() if text else digest


def packed_documents(documents: Iterable[Document]) -> str:
    """Return documents as text, one in a line, in the form in which they are stored; neither part has a blank."""
    return "\n".join(sorted({" ".join(each) for each in documents}))


def unpacked_documents(texts: Iterable[str]) -> tuple[Document, ...]:
    """Return documents that are stored as texts."""
    return tuple(Document(*each.split(" ")) for each in texts)
