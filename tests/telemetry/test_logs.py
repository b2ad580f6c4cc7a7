"""Logs: one JSON line an event, limited by reason, without personal data."""

import io
import json
import logging
from typing import Any

import pytest

from libs import telemetry
from libs.server.config.server_config import ConfigError
from libs.telemetry import logs, trace
from libs.telemetry.logs import Log, RateLimiter
from libs.telemetry.setup import setup as set_up_telemetry


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_with_time_level_service_trace_reason_and_fields() -> None:
    stream = io.StringIO()
    log = Log(stream)
    log.service = "risk"
    with telemetry.span("batch", parent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"):
        log.warning("FEED_LAG", seconds=1.5, text="two\nlines", where={"a": 1})
    (line,) = lines(stream)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "service": "risk",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "reason": "FEED_LAG",
        "seconds": 1.5,
        "text": "two\nlines",
        "where": {"a": 1},
    }


def test_a_reason_that_repeats_is_limited_and_says_what_was_left_out() -> None:
    clock, stream = Clock(), io.StringIO()
    log = Log(stream, RateLimiter(lines=3, interval_seconds=10, clock=clock))
    for _ in range(100):
        log.info("SAME")
    log.info("OTHER")
    clock.now = 10
    log.info("SAME")
    told = lines(stream)
    assert [line["reason"] for line in told] == ["SAME", "SAME", "SAME", "OTHER", "SAME"]
    assert told[-1]["left_out"] == 97
    assert "left_out" not in told[0]


def test_what_was_left_out_to_the_end_is_told_at_the_flush() -> None:
    stream = io.StringIO()
    log = Log(stream, RateLimiter(lines=1, interval_seconds=10, clock=Clock()))
    for _ in range(5):
        log.info("SAME")
    log.flush()
    assert lines(stream)[-1]["left_out"] == 4
    log.flush()
    assert len(lines(stream)) == 2


def test_fields_that_would_hold_a_person_s_data_are_masked() -> None:
    stream = io.StringIO()
    Log(stream).info("X", consignee_name="Erika", address="Here 1", email="e@x", caller="filer/acme", api_key="k")
    (line,) = lines(stream)
    assert [line[key] for key in ("consignee_name", "address", "email", "api_key")] == ["***"] * 4
    assert line["caller"] == "filer/acme"


@pytest.mark.parametrize(
    "field",
    [
        "names",
        "consignee_names",
        "addresses",
        "cities",
        "emails",
        "api_keys",
        "passports",
        "tokens",
        "filer",
        "carriers",
        "Name",
    ],
)
def test_lists_and_mappings_are_masked_by_the_name_of_their_field_plural_or_not(field: str) -> None:
    stream = io.StringIO()
    log = Log(stream)
    log.info("ONE", **{field: ["Erika", ("Erika",), {"first": "Erika"}]})
    log.info("TWO", **{field: {"first": "Erika"}})
    log.info("THREE", found=[{field: "Erika"}, {"deeper": {field: ["Erika"]}}])
    assert "Erika" not in stream.getvalue()
    told = lines(stream)
    assert told[0][field] == told[1][field] == "***"
    assert told[2]["found"] == [{field: "***"}, {"deeper": {field: "***"}}]


def test_what_only_looks_like_a_person_s_field_is_told() -> None:
    stream = io.StringIO()
    Log(stream).info("X", services=["risk"], kinds=["duty"], states={"held": 3}, monkeys=2, renamed="x", capacity=4)
    (line,) = lines(stream)
    assert [line[each] for each in ("services", "kinds", "states", "monkeys", "renamed", "capacity")] == [
        ["risk"], ["duty"], {"held": 3}, 2, "x", 4,
    ]  # fmt: skip


def test_an_exception_is_told_without_the_values_in_its_message() -> None:
    stream = io.StringIO()
    try:
        raise ValueError("duplicate key (name)=(Erika M.) of 'Erika M.' in \"ingestion.batch\"\nDETAIL: Erika")
    except ValueError as error:
        Log(stream).error("FAILED", error)
    (line,) = lines(stream)
    assert "Erika" not in json.dumps(line)
    assert line["error_type"] == "ValueError"
    assert '"ingestion.batch"' in line["error_message"]
    assert line["error_frames"][-1].startswith("test_logs.py:")


def test_long_texts_are_cut() -> None:
    stream = io.StringIO()
    Log(stream).info("X", text="y" * 10_000)
    assert len(lines(stream)[0]["text"]) == logs.TEXT_CHARACTERS_MAX + 1


def test_lines_of_libraries_become_events(capsys: pytest.CaptureFixture[str]) -> None:
    # What tests before left out would be told beside it.
    telemetry.get_logger().flush()
    capsys.readouterr()
    set_up_telemetry("revenue", {})
    logging.getLogger("some.library").warning("value 'Erika M.' is odd")
    logging.getLogger("some.library").info("chatter")
    (line,) = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    assert (line["reason"], line["service"], line["text"]) == ("LIBRARY.some.library", "revenue", "value '…' is odd")


def test_a_level_below_the_one_that_is_set_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_telemetry("revenue", {"LUXOR_LOG_LEVEL": "error"})
    telemetry.get_logger().warning("QUIET")
    telemetry.get_logger().error("LOUD")
    set_up_telemetry("revenue", {})
    err = capsys.readouterr().err
    assert "QUIET" not in err
    assert "LOUD" in err


def test_a_wrong_level_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="LUXOR_LOG_LEVEL must be one of debug, info, warning, error, not 'loud'"):
        set_up_telemetry("revenue", {"LUXOR_LOG_LEVEL": "loud"})


def test_outside_of_a_trace_the_trace_id_is_empty() -> None:
    assert trace.trace_id() == ""
