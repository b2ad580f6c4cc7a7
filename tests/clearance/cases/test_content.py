"""Which first bytes fit which type: the signatures of the formats, and what is no text."""

from __future__ import annotations

import pytest

from luxor.clearance.v1 import cases_pb2 as pb
from services.clearance.cases.content import PART_BYTES, fits

PDF, JPEG, PNG, TIFF, XML, JSON, TEXT = (
    pb.CONTENT_TYPE_PDF, pb.CONTENT_TYPE_JPEG, pb.CONTENT_TYPE_PNG, pb.CONTENT_TYPE_TIFF, pb.CONTENT_TYPE_XML, pb.CONTENT_TYPE_JSON,
    pb.CONTENT_TYPE_TEXT,
)  # fmt: skip
# ISO 32000-1, 7.5.2; ITU-T T.81, B.1.1.3; PNG, 5.2; TIFF 6.0, section 2; XML 1.0, 2.8; RFC 8259, section 2.
CONTENTS: list[tuple[bytes, set[int]]] = [
    (b"%PDF-1.4\n", {PDF, TEXT}),
    (b" %PDF-1.4\n", {TEXT}),
    (b"\xff\xd8\xff\xe0\x00\x10JFIF", {JPEG}),
    (b"\xff\xd8\x00", set()),
    (b"\x89PNG\r\n\x1a\n\0", {PNG}),
    (b"\x89PNG\n\x1a\n\0", set()),
    (b"II*\x00\x08", {TIFF}),
    (b"MM\x00*\x00", {TIFF}),
    (b"MM*\x00", set()),
    (b'<?xml version="1.0"?><a/>', {XML, TEXT}),
    (b"\xef\xbb\xbf\n <a/>", {XML, TEXT}),
    (b"<HTML><script>", set()),
    (b" <!DOCTYPE  html>", set()),
    (b"<svg onload='x'>", set()),
    # What HTML and SVG may have before their first element: HTML, 13.2.5 (comments that end early, instructions that end at ">"); XML 1.0, 2.6, 2.8.
    (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script/></svg>', set()),
    (b'<?xml version="1.0"?>\n<!DOCTYPE html><html>', set()),
    (b"\xef\xbb\xbf<!-- a -->\n<!-- b --><html>", set()),
    (b"<!--><html>-->", set()),
    (b"<!-- a --!><html>", set()),
    (b"<?a><html>?>", set()),
    (b"<?a b='>'?><html>", set()),
    (b"<!DOCTYPE a [<!ENTITY b 'c'>]><html/>", set()),
    (b"<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' ''><svg/>", set()),
    (b"<body onload=alert(1)>", set()),
    (b"<a\nonclick = alert(1)>", set()),
    (b"<h:html xmlns:h='http://www.w3.org/1999/xhtml'/>", set()),
    (b"<a><b xmlns='http://www.w3.org/1999/xhtml'/></a>", {TEXT}),
    (b"<?xml-stylesheet href='a.xsl'?><a/>", {TEXT}),
    (b"<?xml version='1.0'?><!-- <html> --><Invoice on='1'/>", {XML, TEXT}),
    (b"<htmlInvoice/>", {XML, TEXT}),
    (b"<bodyText>a</bodyText>", {XML, TEXT}),
    (b"Seen at <html>", {TEXT}),
    (b"[<html>", {TEXT}),
    (b"{<html>", {TEXT}),
    (b"[test]", {TEXT}),
    (b"[ null]", {JSON, TEXT}),
    (b"{}", {JSON, TEXT}),
    (b'{"a": 1}', {JSON, TEXT}),
    (b"\n[1]", {JSON, TEXT}),
    (b"1", {TEXT}),
    ("Größe;Preis\r\n".encode(), {TEXT}),
    ("Größe".encode("latin-1"), set()),
    (b"MZ\x90\x00\x03", set()),
    (b"\x7fELF\x02", set()),
    (b"PK\x03\x04", set()),
    (b"a\x00b", set()),
    (b"a\x1b[2J", set()),
    (("a" * (PART_BYTES - 1) + "ö").encode()[:PART_BYTES], {TEXT}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "types"), CONTENTS, ids=lambda each: repr(each[:12]) if isinstance(each, bytes) else ""
)
def test_a_content_fits_the_types_of_its_first_bytes(content: bytes, types: set[int]) -> None:
    assert {each for each in pb.ContentType.values() if fits(each, content)} == types


def test_a_character_that_is_cut_at_the_end_of_a_short_content_is_no_text() -> None:
    assert not fits(TEXT, "ö".encode()[:1])
