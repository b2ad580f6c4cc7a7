"""Messages of scanners: what is read of them, and why one is refused."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from libs.client.clearance.scans import messages
from libs.client.clearance.scans.mapping import read_mapping
from libs.client.clearance.scans.messages import BYTES_MAX, DEPTH_MAX, messages_at, read_message, read_messages
from libs.client.errors import LuxorError
from libs.server.errors import cut
from tests.support.scan_messages import MESSAGE, MRN, changed, mapping_at, message_at, written

HASHED = ("sha256: x:Report/x:Picture/x:Hash", "image_file: x:Report/x:Picture/x:Hash")
CODE = "x:Report/x:Verdict/x:Code"


def read(tmp_path: Path, *changes: tuple[str, str], mapping: tuple[tuple[str, str], ...] = ()) -> messages.ScanMessage:
    return read_message(message_at(tmp_path, *changes), read_mapping(mapping_at(tmp_path, *mapping)))


def refusal(tmp_path: Path, *changes: tuple[str, str], mapping: tuple[tuple[str, str], ...] = ()) -> LuxorError:
    with pytest.raises(LuxorError) as caught:
        read(tmp_path, *changes, mapping=mapping)
    assert caught.value.hint
    assert "?" not in caught.value.sentence + caught.value.hint  # each fact is stated
    return caught.value


def test_the_message_of_the_documentation_is_read(tmp_path: Path) -> None:
    message = read(tmp_path)
    assert json_format.MessageToDict(message.record) == {
        "consignment": {}, "result": "SCAN_RESULT_SUSPICIOUS", "place": "Lower left corner.", "image": "https://xray.example/scans/17",
        "sha256": "5a" * 32, "mediaType": "image/jpeg", "takenAt": "2026-11-30T08:15:00Z", "device": "FRA-XRAY-3", "imageAnalyst": "analyst 12",
    }  # fmt: skip
    assert (dict(message.references), message.control) == ({"mrn": MRN}, 0)
    assert len(message.request_id) <= 64


def test_the_identity_of_device_and_message_alone_decides_about_repetition(tmp_path: Path) -> None:
    first = read(tmp_path).request_id
    assert read(tmp_path, ("ALARM", "CLEAR"), ("<Region>Lower left corner.</Region>", "")).request_id == first
    assert read(tmp_path, ("2026-000017", "2026-000018")).request_id != first
    assert read(tmp_path, ("FRA-XRAY-3", "FRA-XRAY-4")).request_id != first


def test_an_attribute_has_its_namespace(tmp_path: Path) -> None:
    judge = ("<Judge>", '<Judge y:who="analyst 13" who="analyst 14" xmlns:y="urn:example:xray">')
    for path, analyst in (("@x:who", "analyst 13"), ("@who", "analyst 14"), ("@x:other", "")):
        mapping = (("x:Verdict/x:Judge", f"x:Verdict/x:Judge/{path}"),)
        assert read(tmp_path, judge, mapping=mapping).record.image_analyst == analyst


def test_all_references_and_the_control_s_number_are_read(tmp_path: Path) -> None:
    more = (
        f'<Number kind="MRN">{MRN}</Number>',
        f'<Number kind="HOUSE">H-1</Number><Number kind="MRN">{MRN}</Number><No>7</No>',
    )
    paths = ("  mrn:", "  master_document: x:Report/x:Nowhere\n  control: x:Report/x:Goods/x:No\n  mrn:")
    message = read(tmp_path, more, mapping=(paths,))
    assert list(message.references.items()) == [("mrn", MRN), ("house_document_number", "H-1")]
    assert message.control == 7


def test_several_places_are_joined_and_an_unreadable_scan_has_no_image(tmp_path: Path) -> None:
    two = ("</Region>", "</Region><Region>Door.</Region><Region>Door.</Region>")
    assert read(tmp_path, two).record.place == "Lower left corner.; Door."
    unreadable = (
        ("ALARM", "BLANK"),
        ("<Address>https://xray.example/scans/17</Address>", ""),
        ("<Region>Lower left corner.</Region>", ""),
    )
    record = read(tmp_path, *unreadable).record
    assert (record.image, record.sha256, record.media_type) == ("", "", "")
    # If it has one, the image is complete.
    assert read(tmp_path, unreadable[0], unreadable[2]).record.media_type == "image/jpeg"


MISSING = [
    (("<Code>ALARM</Code>", ""), "result", CODE),
    (("<Code>ALARM</Code>", "<Code> </Code>"), "result", CODE),
    (("<Taken>2026-11-30T08:15:00Z</Taken>", ""), "taken_at", "x:Report/x:Header/x:Taken"),
    (("<Unit>FRA-XRAY-3</Unit>", ""), "device", "x:Report/x:Header/x:Unit"),
    ((' number="2026-000017"', ""), "message", "x:Report/x:Header/@number"),
    (("<Region>Lower left corner.</Region>", ""), "place", "x:Report/x:Verdict/x:Region"),
    (("<Address>https://xray.example/scans/17</Address>", ""), "image", "x:Report/x:Picture/x:Address"),
    (("<Hash>" + "5a" * 32 + "</Hash>", ""), "sha256", "x:Report/x:Picture/x:Hash"),
    (("MRN", "CONTAINER"), "mrn", "x:Report/x:Goods/x:Number[@kind='MRN']"),
    (("urn:example:xray", "urn:example:other"), "message", "x:Report/x:Header/@number"),
]


@pytest.mark.parametrize(("change", "field", "path"), MISSING)
def test_a_missing_element_is_named_with_file_and_path(
    tmp_path: Path, change: tuple[str, str], field: str, path: str
) -> None:
    error = refusal(tmp_path, change)
    assert (error.reason, error.path) == ("SCAN_ELEMENT_MISSING", path)
    assert f"17.xml has no text at {path}, which is to state {field}." in error.sentence


UNFIT: list[tuple[tuple[str, str], str, str]] = [
    (("08:15:00Z", "08:15:00"), "x:Report/x:Header/x:Taken", "no offset from UTC"),
    (("2026-11-30T08:15:00Z", "30 November"), "x:Report/x:Header/x:Taken", "no instant"),
    (("2026-11-30T08:15:00Z", "0001-01-01T00:00:00+23:59"), "x:Report/x:Header/x:Taken", "outside of the years 1 to 9999"),
    (("</Code>", "</Code><Code>CLEAR</Code>"), CODE, "the message has 2 texts there"),
    (("ALARM", "<Level>1</Level>"), CODE, "1 elements of its own"),
    (("2026-000017", "x" * 257), "x:Report/x:Header/@number", "more than 256 characters"),
    ((f">{MRN}", f">{MRN}</Number><Number kind='MRN'>26DE07329000002XR7"), "x:Report/x:Goods/x:Number[@kind='MRN']", "2 texts"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "path", "why"), UNFIT)
def test_an_element_that_states_something_else_is_refused(
    tmp_path: Path, change: tuple[str, str], path: str, why: str
) -> None:
    error = refusal(tmp_path, change)
    assert (error.reason, error.path) == ("SCAN_ELEMENT_UNFIT", path)
    assert why in error.sentence


def test_the_longest_identity_and_the_same_text_twice_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, ("2026-000017", "x" * 256))
    assert read(tmp_path, ("</Code>", "</Code><Code>ALARM</Code>"))


NUMBERS = [("0", False), ("1", True), ("99", True), ("100", False), ("-1", False), ("٣", False), ("1.0", False)]


@pytest.mark.parametrize(("number", "fits"), NUMBERS)
def test_a_control_has_a_number_from_1_to_99(tmp_path: Path, number: str, fits: bool) -> None:
    change, mapping = ("<Picture>", f"<No>{number}</No><Picture>"), (("  mrn:", "  control: x:Report/x:No\n  mrn:"),)
    if fits:
        assert read(tmp_path, change, mapping=mapping).control == int(number)
    else:
        assert "from 1 to 99" in refusal(tmp_path, change, mapping=mapping).sentence


def test_an_unknown_code_is_refused_with_those_that_the_mapping_has(tmp_path: Path) -> None:
    error = refusal(tmp_path, ("ALARM", "alarm"))
    assert (error.reason, error.path, error.value) == ("SCAN_CODE_UNKNOWN", CODE, "alarm")
    assert "it contains CLEAR, ALARM, BLANK." in error.sentence


BOMB = '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;">]><Report>&c;</Report>'
HARMFUL = [
    (BOMB, "declares a document type"),
    ('<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>', "declares a document type"),
    ('<!DOCTYPE r SYSTEM "http://localhost/r.dtd"><r/>', "declares a document type"),
    ("<r>&x;</r>", "this is not XML: undefined entity"),
    ('<?xml version="1.0" encoding="utf-7"?><r/>', "states the encoding 'utf-7'"),
    ('<?xml version="1.0" encoding="nothing"?><r/>', "states the encoding 'nothing'"),
    ('{"result": 1}', "line 1: this is not XML"),
    ("", "line 1: this is not XML: no element found"),
    (MESSAGE[:-20], "this is not XML"),
    ("<r>\x00</r>", "this is not XML"),
    ("<r>" * (DEPTH_MAX + 1) + "</r>" * (DEPTH_MAX + 1), f"nested deeper than {DEPTH_MAX}"),
    (MESSAGE + " " * (BYTES_MAX + 1 - len(MESSAGE)), f"more than {BYTES_MAX} bytes"),
]


@pytest.mark.parametrize(("text", "why"), HARMFUL)
def test_what_is_no_xml_or_could_harm_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(LuxorError) as caught:
        read_message(written(tmp_path / "17.xml", text), read_mapping(mapping_at(tmp_path)))
    assert caught.value.reason == "SCAN_MESSAGE_MALFORMED"
    assert "17.xml" in caught.value.sentence
    assert why in caught.value.sentence


def test_the_largest_and_deepest_message_is_read(tmp_path: Path) -> None:
    # One level of nesting is that of the root.
    deep = changed(MESSAGE, ("<Picture>", "<D>" * (DEPTH_MAX - 1) + "</D>" * (DEPTH_MAX - 1) + "<Picture>"))
    path = written(tmp_path / "17.xml", deep + " " * (BYTES_MAX - len(deep.encode())))
    assert read_message(path, read_mapping(mapping_at(tmp_path)))


def test_a_message_in_utf_16_is_read(tmp_path: Path) -> None:
    path = tmp_path / "17.xml"
    text = '<?xml version="1.0" encoding="UTF-16"?>' + changed(MESSAGE, ("analyst 12", "Łuk"))
    path.write_bytes(text.encode("utf-16"))
    assert read_message(path, read_mapping(mapping_at(tmp_path))).record.image_analyst == "Łuk"


def test_an_image_beside_the_message_is_hashed(tmp_path: Path) -> None:
    (tmp_path / "17.uff").write_bytes(b"image")
    named = ("5a" * 32, "17.uff")
    assert read(tmp_path, named, mapping=(HASHED,)).record.sha256 == hashlib.sha256(b"image").hexdigest()


@pytest.mark.parametrize(
    "name", ["../17.uff", "sub/17.uff", "/dev/zero", "none.uff", "..", "link.uff", "sub", "x" * 300]
)
def test_no_other_file_is_hashed(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "in"
    (inner / "sub").mkdir(parents=True)
    for path in (tmp_path / "17.uff", inner / "sub" / "17.uff"):
        path.write_bytes(b"image")
    (inner / "link.uff").symlink_to(tmp_path / "17.uff")
    error = refusal(inner, ("5a" * 32, name), mapping=(HASHED,))
    assert (error.reason, error.path, error.value) == ("SCAN_ELEMENT_UNFIT", "x:Report/x:Picture/x:Hash", cut(name))


def test_an_image_file_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "17.uff").write_bytes(b"image")
    named = ("5a" * 32, "17.uff")
    monkeypatch.setattr(messages, "IMAGE_BYTES_MAX", 5)
    assert read(tmp_path, named, mapping=(HASHED,))
    monkeypatch.setattr(messages, "IMAGE_BYTES_MAX", 4)
    assert "more than 4 bytes" in refusal(tmp_path, named, mapping=(HASHED,)).sentence


WRONG_MAPPINGS: list[tuple[tuple[str, str], str]] = [
    (("format: 1", "format: 2"), "mapping.yaml:1"),
    (("source:", "sauce:"), "sauce"),
    (('source: "Example of docs/clearance.md"', 'source: ""'), "source"),
    (("  result: x", "  results: x"), "results"),
    (("  result: x:Report/x:Verdict/x:Code\n", ""), "result"),
    (("CLEAR: conform", "CLEAR: clear"), "clear"),
    (("CLEAR: conform", "NO: conform"), "put it in quotes"),
    (("CLEAR: conform", "ALARM: conform"), "stands twice"),
    (("{CLEAR: conform, ALARM: suspicious, BLANK: unreadable}", "{}"), "results"),
    (("  place: x:Report/x:Verdict/x:Region\n", ""), "fields.place has no path"),
    (("x:Report/x:Verdict/x:Code", "y:Report"), "fields.result: 'y:Report' is no path"),
    (("x:Report/x:Verdict/x:Code", "//x:Code"), "fields.result: '//x:Code' is no path"),
    (("x:Report/x:Verdict/x:Code", '"x:Report["'), "fields.result: 'x:Report[' is no path"),
    (("x:Report/x:Verdict/x:Code", '"]"'), "fields.result: ']' is no path: write elements"),
    (("x:Report/x:Verdict/x:Code", "x:Report/@"), "fields.result: 'x:Report/@' is no path: an attribute has a name"),
    ((CODE, "x:Report/@y:code"), "fields.result: 'x:Report/@y:code' is no path: the prefix 'y' of its attribute"),
    ((CODE, "x:Report/@id/x:Code"), "fields.result: 'x:Report/@id/x:Code' is no path: an attribute has a name"),
    (("  sha256: x:Report/x:Picture/x:Hash\n", ""), "either sha256 or image_file"),
    (("  sha256: x", "  image_file: x:Report\n  sha256: x"), "either sha256 or image_file"),
    (("{value: image/jpeg}", "{value: image/jpeg, path: x}"), "path"),
    (("fields:  ", "fields: 1 #"), "not YAML"),
    (("\nfields", "\n# " + "x" * 64_000 + "\nfields"), "at most 64000 are read"),
]


@pytest.mark.parametrize(("change", "why"), WRONG_MAPPINGS)
def test_a_mapping_that_cannot_be_used_is_refused(tmp_path: Path, change: tuple[str, str], why: str) -> None:
    with pytest.raises(LuxorError) as caught:
        read_mapping(mapping_at(tmp_path, change))
    assert caught.value.reason == "SCAN_MAPPING_MALFORMED"
    assert "mapping.yaml" in caught.value.sentence
    assert why in caught.value.sentence


def test_a_mapping_names_goods(tmp_path: Path) -> None:
    kinds = (("mrn", "MRN"), ("house_document", "HOUSE"))
    lines = [f"  {name}: \"x:Report/x:Goods/x:Number[@kind='{kind}']\"\n" for name, kind in kinds]
    with pytest.raises(LuxorError, match="none of mrn, house_document, master_document has a path"):
        read_mapping(mapping_at(tmp_path, *((line, "") for line in lines)))


def test_a_directory_has_the_messages_whose_names_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "in"
    inner.mkdir()
    second, first = message_at(inner, name="b.XML"), message_at(inner, name="a.xml")
    message_at(inner, name="c.txt")
    (inner / "d.xml").mkdir()
    os.mkfifo(inner / "e.xml")
    assert messages_at([inner]) == [first, second]
    assert messages_at([inner, first]) == [first, second, first]
    monkeypatch.setattr(messages, "MESSAGES_MAX", 2)
    assert messages_at([inner])
    for paths, count in (([inner, first], "3"), ([inner / "d.xml"], "0")):
        with pytest.raises(LuxorError) as caught:
            messages_at(paths)
        assert (caught.value.reason, caught.value.value) == ("SCAN_MESSAGES_UNFIT", count)


def test_a_bad_message_stops_no_other(tmp_path: Path) -> None:
    bad = message_at(tmp_path, ("ALARM", "?"), name="bad.xml")
    absent = tmp_path / "absent.xml"
    found, results = read_messages([bad, message_at(tmp_path), absent], read_mapping(mapping_at(tmp_path)))
    assert [each.file for each in found] == [str(tmp_path / "17.xml")]
    refusals: list[tuple[Any, Any]] = [(each["outcome"], each["error"]["reason"]) for each in results]
    assert refusals == [("refused", "SCAN_CODE_UNKNOWN"), ("refused", "SCAN_MESSAGE_MALFORMED")]
