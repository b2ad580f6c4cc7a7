"""Consignments from CSV and JSON Lines: what goes in comes out, and each kind of bad row is told exactly."""

import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any, BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.client.errors import LuxorError
from libs.client.filing import files, formats
from libs.client.filing.columns import columns, decimal_text, join, shifted, split
from libs.client.filing.files import Read
from libs.client.row_errors import ElementError, RowError
from libs.simulator import Simulator, to_json_line
from luxor.consignment.v1.consignment_pb2 import (
    MESSAGE_FUNCTION_AMEND,
    MESSAGE_FUNCTION_INVALIDATE,
    MESSAGE_FUNCTION_NEW,
    Consignment,
)
from tests.support.declarations import table_of


def simulated(count: int, seed: int = 3) -> list[Consignment]:
    return [each.message for each in Simulator(seed, "everyday").manifest(count)]


def from_csv(text: str) -> list[Read | RowError]:
    return list(files.read_csv(io.BytesIO(text.encode())))


def from_jsonl(*lines: str) -> list[Read | RowError]:
    return list(files.read_jsonl(io.BytesIO("\n".join(lines).encode())))


def messages(found: list[Read | RowError]) -> list[Consignment]:
    bad = [each for each in found if isinstance(each, RowError)]
    assert not bad, bad[:3]
    return [each.message for each in found if isinstance(each, Read)]


def table(rows: list[dict[str, str]]) -> str:
    """A CSV of rows that are right but for what a row says."""
    base = {
        "local_reference": "A-1",
        "item_description": "Cotton blouse",
        "item_commodity_code": "620630",
        "item_price_currency": "EUR",
        "item_price": "19.99",
    }
    return table_of(rows, base)


def problem(row: dict[str, str]) -> RowError:
    """The problem of a row that stands between two good ones, which go through."""
    found = from_csv(table([{"local_reference": "A-1"}, {"local_reference": "A-2"} | row, {"local_reference": "A-3"}]))
    assert len(found) == 3
    assert isinstance(found[0], Read)
    assert isinstance(found[2], Read)
    assert isinstance(found[1], RowError)
    assert found[1].line == 3
    assert found[1].reference == "A-2"
    assert found[1].sentence
    assert found[1].hint
    assert "?" not in found[1].sentence + found[1].hint, "a fact of the sentence is missing"
    return found[1]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_simulated_traffic_survives_csv_and_json_lines_unchanged(seed: int) -> None:
    traffic = simulated(700, seed)
    lines = io.BytesIO()
    assert files.write_jsonl(lines, traffic) == 700
    lines.seek(0)
    assert messages(list(files.read_jsonl(lines))) == traffic
    text = io.StringIO()
    assert files.write_csv(text, traffic) == 700
    assert messages(from_csv(text.getvalue())) == traffic


def test_the_simulators_own_manifest_is_read() -> None:
    traffic = simulated(50)
    assert messages(from_jsonl(*(to_json_line(each).decode().strip() for each in traffic))) == traffic


def test_every_scalar_of_the_contract_has_a_column_that_reads_what_it_writes() -> None:
    for name, column in columns().items():
        cell = _cell(column.meaning, name)
        row = {name: cell} | ({column.currency: "EUR"} if column.currency else {})
        if name == "local_reference":
            continue
        [found] = from_csv(table([row]))
        assert isinstance(found, Read), (name, found)
        message: Any = found.message.items[0] if name.startswith("item_") else found.message
        assert column.write(message) == cell, name


def _cell(meaning: str, name: str) -> str:
    if meaning.startswith("decimal"):
        return "12.34"
    if meaning.startswith("time"):
        return "2026-07-01T08:30:00Z"
    if meaning.startswith("whole"):
        return "7"
    if meaning.startswith("true"):
        return "true"
    if meaning.startswith("entries"):
        return "a;b"
    if "currency" in name or meaning.startswith("ISO"):
        return "EUR"
    return meaning.removesuffix("; a list").split(" or ")[0] if " or " in meaning else "text"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(alphabet="ab;\\ é", max_size=6).map(str.strip), min_size=1, max_size=4))
def test_lists_in_a_cell_come_back_whatever_characters_they_have(entries: list[str]) -> None:
    assert split(join(entries)) == entries


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 2, 3, 4, 6]))
def test_decimal_numbers_are_exact(value: int, places: int) -> None:
    assert shifted(decimal_text(value, places), places, "x", "x") == value


def test_amounts_have_the_decimal_places_of_their_currency() -> None:
    for currency, text, minor in [
        ("EUR", "19.99", 1999),
        ("JPY", "1500", 1500),
        ("KWD", "1.250", 1250),
        ("EUR", "5", 500),
    ]:
        [found] = from_csv(table([{"item_price_currency": currency, "item_price": text}]))
        assert isinstance(found, Read)
        assert found.message.items[0].price.minor == minor


@pytest.mark.parametrize(
    ("row", "reason", "element"),
    [
        ({"item_price": "19,99"}, "AMOUNT_MALFORMED", "item_price"),
        ({"item_price": "1e3"}, "AMOUNT_MALFORMED", "item_price"),
        ({"item_price": "NaN"}, "AMOUNT_MALFORMED", "item_price"),
        ({"item_price": "--5"}, "AMOUNT_MALFORMED", "item_price"),
        ({"item_price": "19.999"}, "AMOUNT_TOO_FINE", "item_price"),
        ({"item_price_currency": "JPY", "item_price": "19.5"}, "AMOUNT_TOO_FINE", "item_price"),
        ({"item_price": "9" * 30}, "NUMBER_TOO_WIDE", "item_price"),
        ({"gross_mass_kg": "1.0000005"}, "AMOUNT_TOO_FINE", "gross_mass_kg"),
        ({"item_quantity": "two"}, "AMOUNT_MALFORMED", "item_quantity"),
        ({"item_number": "1.5"}, "NUMBER_MALFORMED", "item_number"),
        ({"item_number": "99999999999"}, "NUMBER_TOO_WIDE", "item_number"),
        ({"order_time": "2026-07-01 08:30"}, "TIME_MALFORMED", "order_time"),
        ({"order_time": "yesterday"}, "TIME_MALFORMED", "order_time"),
        ({"order_time": "9999-99-99T00:00:00Z"}, "TIME_MALFORMED", "order_time"),
        ({"prices_include_tax": "perhaps"}, "TRUTH_MALFORMED", "prices_include_tax"),
        ({"nature": "PRESENT"}, "CHOICE_MISNAMED", "nature"),
        ({"transport_mode": "ROCKET"}, "CHOICE_MISNAMED", "transport_mode"),
    ],
)
def test_a_bad_cell_is_told_with_line_element_and_reason(row: dict[str, str], reason: str, element: str) -> None:
    found = problem(row)
    assert (found.reason, found.element) == (reason, element)


def test_lists_of_unequal_length_are_told() -> None:
    found = problem({"fiscal_references_scheme": "IOSS;GST_LVG", "fiscal_references_number": "IM2760000014"})
    assert found.reason == "LISTS_UNEQUAL"


def test_a_row_with_too_few_cells_is_told_and_its_neighbours_go_through() -> None:
    lines = table([{"local_reference": "A-1"}, {"local_reference": "A-2"}, {"local_reference": "A-3"}]).splitlines()
    lines[2] = "A-2,blouse"
    found = from_csv("\n".join(lines))
    assert [type(each) for each in found] == [Read, RowError, Read]
    assert isinstance(found[1], RowError)
    assert found[1].reason == "ROW_WIDTH_WRONG"


def test_rows_of_one_consignment_may_repeat_or_leave_out_what_concerns_the_whole_but_not_contradict() -> None:
    rows = [{"destination_country": "DE"}, {"destination_country": ""}, {"destination_country": "DE"}]
    [found] = from_csv(table(rows))
    assert isinstance(found, Read)
    assert len(found.message.items) == 3
    assert found.item_lines == [2, 3, 4]
    [bad] = from_csv(table([{"destination_country": "DE"}, {"destination_country": "FR"}]))
    assert isinstance(bad, RowError)
    assert (bad.reason, bad.line, bad.element) == ("CONSIGNMENT_CONTRADICTED", 3, "destination_country")


def test_a_thousandth_item_is_refused_so_that_no_consignment_fills_the_memory() -> None:
    [found] = from_csv(table([{}] * 1000))
    assert isinstance(found, RowError)
    assert (found.reason, found.line) == ("LIST_TOO_LONG", 1001)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("local_reference,item_descripton,item_commodity_code,item_price,item_price_currency", "COLUMN_UNKNOWN"),
        ("local_reference,item_description,item_commodity_code,item_price", "COLUMN_MISSING"),
        (
            "local_reference,local_reference,item_description,item_commodity_code,item_price,item_price_currency",
            "COLUMN_REPEATED",
        ),
        (
            "local_reference,item_description,item_commodity_code,item_price,item_price_currency,freight",
            "COLUMN_MISSING",
        ),
        ("", "FILE_EMPTY"),
        ('"a', "ROW_MALFORMED"),
    ],
)
def test_a_header_that_cannot_be_used_refuses_the_file(header: str, reason: str) -> None:
    with pytest.raises(LuxorError) as refused:
        from_csv(header)
    assert refused.value.reason == reason
    assert refused.value.hint


def changes(text: str, function: int, kind: str = "csv") -> list[Consignment]:
    return messages(list(formats.read(io.BytesIO(text.encode()), kind, function)))


def test_rows_that_amend_are_whole_consignments_and_replace_the_first_version_unless_they_name_another() -> None:
    text = table(
        [{}, {"local_reference": "A-2", "amended_version": "3"}, {"local_reference": "A-3", "function": "NEW"}]
    )
    found = changes(text, MESSAGE_FUNCTION_AMEND)
    assert [(each.function, each.amended_version) for each in found] == [
        (MESSAGE_FUNCTION_AMEND, 1), (MESSAGE_FUNCTION_AMEND, 3), (MESSAGE_FUNCTION_NEW, 0),
    ]  # fmt: skip
    for each in found:
        each.ClearField("function")
        each.ClearField("amended_version")
    plain = [each for each in from_csv(text) if isinstance(each, Read)]
    for read in plain:
        read.message.ClearField("function")
        read.message.ClearField("amended_version")
    assert found == [read.message for read in plain]


def test_rows_that_invalidate_need_a_reference_alone_and_send_nothing_else() -> None:
    expected = [
        Consignment(local_reference="A-1", function=MESSAGE_FUNCTION_INVALIDATE, amended_version=1),
        Consignment(local_reference="A-2", function=MESSAGE_FUNCTION_INVALIDATE, amended_version=2),
    ]
    expected[1].return_document.number = "AWB-5"
    bare = "local_reference,amended_version,return_document_number\nA-1,,\nA-2,2,AWB-5\n"
    whole = table([{}, {"local_reference": "A-2", "amended_version": "2", "return_document_number": "AWB-5"}])
    lines = '{"local_reference": "A-1"}\n{"local_reference": "A-2", "amended_version": 2, "return_document": {"number": "AWB-5"}}'
    for text, kind in ((bare, "csv"), (whole, "csv"), (lines, "jsonl")):
        assert changes(text, MESSAGE_FUNCTION_INVALIDATE, kind) == expected
    # By MRN, each row is a consignment of its own.
    by_mrn = "local_reference,amended_mrn\n,26DE07329000001XR8\n,22ITZXBZYUTJFLJXK6\n"
    found = changes(by_mrn, MESSAGE_FUNCTION_INVALIDATE)
    assert [each.amended_mrn for each in found] == ["26DE07329000001XR8", "22ITZXBZYUTJFLJXK6"]
    with pytest.raises(LuxorError, match="item_description"):
        changes(bare, MESSAGE_FUNCTION_AMEND)


def test_a_misspelt_column_is_told_with_the_one_that_was_meant() -> None:
    with pytest.raises(LuxorError, match="Did you mean item_description"):
        from_csv("local_reference,item_descripton,item_commodity_code,item_price,item_price_currency")


def test_bytes_that_are_no_utf8_are_told_with_their_line() -> None:
    good = table([{"local_reference": "A-1"}, {"local_reference": "A-2"}]).encode()
    found = list(files.read_csv(io.BytesIO(good.replace(b"A-2", b"A-\xff"))))
    assert isinstance(found[0], Read)
    assert isinstance(found[1], RowError)
    assert (found[1].reason, found[1].line) == ("ENCODING_WRONG", 3)


def test_a_byte_order_mark_of_spreadsheets_is_passed_over() -> None:
    [found] = files.read_csv(io.BytesIO(b"\xef\xbb\xbf" + table([{}]).encode()))
    assert isinstance(found, Read)


@pytest.mark.parametrize(
    ("line", "reason", "element"),
    [
        ('{"local_reference": "A", "colour": "red"}', "FIELD_UNKNOWN", "colour"),
        ('{"items": [{"price": {"amount": 5}}]}', "FIELD_UNKNOWN", "items[0].price.amount"),
        ('{"items": [{}, {"price": {"minor": "5.5"}}]}', "NUMBER_MALFORMED", "items[1].price.minor"),
        ('{"items": {"price": {}}}', "KIND_WRONG", "items"),
        ('{"local_reference": 5}', "KIND_WRONG", "local_reference"),
        ('{"gross_mass_mg": 1.5}', "KIND_WRONG", "gross_mass_mg"),
        ('{"gross_mass_mg": true}', "KIND_WRONG", "gross_mass_mg"),
        ('{"gross_mass_mg": 9223372036854775808}', "NUMBER_TOO_WIDE", "gross_mass_mg"),
        ('{"nature": "PRESENT"}', "CHOICE_MISNAMED", "nature"),
        ('{"order": {"time": "2026-07-01"}}', "TIME_MALFORMED", "order.time"),
        ('{"order": "x"}', "KIND_WRONG", "order"),
        ('{"prices_include_tax": "yes"}', "KIND_WRONG", "prices_include_tax"),
        ("{", "JSON_MALFORMED", ""),
        ("[]", "JSON_MALFORMED", ""),
    ],
)
def test_a_bad_line_of_json_is_told_with_its_path(line: str, reason: str, element: str) -> None:
    found = from_jsonl('{"local_reference": "good"}', "", line)
    assert isinstance(found[0], Read)
    bad = found[1]
    assert isinstance(bad, RowError)
    assert (bad.line, bad.reason, bad.element) == (3, reason, element)
    assert "?" not in bad.sentence + bad.hint


@given(st.binary(max_size=200))
def test_any_bytes_get_an_answer(content: bytes) -> None:
    for each in files.read_jsonl(io.BytesIO(content)):
        assert isinstance(each, (Read, RowError))
    for each in files.read_csv(io.BytesIO(table([{}]).encode() + content)):
        assert isinstance(each, (Read, RowError))


def test_what_ingestion_says_of_an_element_is_told_in_the_files_own_terms() -> None:
    [found] = from_csv(table([{"consignee_address_country": "XX"}, {}]))
    assert isinstance(found, Read)
    path = "consignments[7].items[1].price.minor"
    told = found.row_error("X", path, "5", f"The element {path} is 5.", "h")
    assert (told.line, told.element, told.sentence) == (3, "item_price", "The element item_price is 5.")
    told = found.row_error("X", "consignments[7].consignee.address.country", "XX", "s", "h")
    assert (told.line, told.element) == (2, "consignee_address_country")
    [line] = from_jsonl('{"local_reference": "A", "items": [{}]}')
    assert isinstance(line, Read)
    assert line.row_error("X", "consignments[0].items[0].price.minor", "5", "s", "h").element == "items[0].price.minor"


def test_the_template_is_a_file_that_can_be_filed() -> None:
    [found] = from_csv(files.template())
    assert isinstance(found, Read)
    assert len(found.message.items) == 2
    assert set(files.REQUIRED) <= set(files.TEMPLATE) <= set(columns())


class Endless:
    """A file of any number of lines that exist only while they are read."""

    def __init__(self, header: bytes, rows: int, make: Any) -> None:
        self._lines = self._all(header, rows, make)

    def _all(self, header: bytes, rows: int, make: Any) -> Iterator[bytes]:
        if header:
            yield header
        for row in range(rows):
            yield make(row)

    def readline(self, size: int = -1) -> bytes:
        return next(self._lines, b"")


def _peak(file: Any, kind: str) -> int:
    tracemalloc.start()
    for _ in formats.read(file, kind):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("kind", ["csv", "jsonl", "h7"])
def test_twenty_times_as_many_rows_need_no_more_memory(kind: str) -> None:
    lines = table([{}]).splitlines()
    body = json.dumps({"local_reference": "REF-%d", "items": [{"commodity_code": "620630"}]})

    def csv_row(row: int) -> bytes:
        return f"{lines[1].replace('A-1', f'REF-{row}')}\n".encode()

    def json_row(row: int) -> bytes:
        return (body.replace("%d", str(row)) + "\n").encode()

    def h7_row(row: int) -> bytes:
        return f"REF-{row},Cotton blouse,620630,EUR,19.99,left out\n".encode()

    numbers = b"12 09,18 05,18 09 056,14 14 012,14 14 014,12 12 001\n"
    make, header = {
        "csv": (csv_row, f"{lines[0]}\n".encode()), "jsonl": (json_row, b""), "h7": (h7_row, numbers)
    }[kind]  # fmt: skip
    _peak(Endless(header, 100, make), kind)  # what is made once and kept
    few, many = _peak(Endless(header, 1_000, make), kind), _peak(Endless(header, 20_000, make), kind)
    assert many < few + 100_000, (few, many)


def test_a_line_without_end_is_refused_and_does_not_fill_the_memory() -> None:
    content: BinaryIO = io.BytesIO(
        b'{"local_reference": "' + b"x" * (files.LINE_BYTES_MAX + 10) + b'"}\n{"local_reference": "A"}\n'
    )
    bad, good = files.read_jsonl(content)
    assert isinstance(bad, RowError)
    assert bad.reason == "LINE_TOO_LONG"
    assert isinstance(good, Read)


def test_a_fault_whose_reason_is_not_in_the_catalogue_cannot_be_made() -> None:
    with pytest.raises(Exception, match="NOT_THERE"):
        ElementError("NOT_THERE", "x")
