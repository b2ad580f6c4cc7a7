"""Every variable: a wrong value stops the service at its start; the page of all of them is current."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from libs.server.config.server_config import PORTS, REGISTRY, ConfigError, Setting, given_kind, names_of
from libs.server.config.variables import FOREIGN, unit_of, unknown_variables, variables
from libs.server.process.launch import launch
from libs.telemetry import get_logger
from libs.telemetry.limits import RateLimiter
from tools import configuration

ROOT = Path(__file__).resolve().parents[3]

WRONG_TEXT = {
    "HOST": ["http://localhost", "one two", "127.0.0.1:7401"],
    "HEALTH_HOST": ["*"],
    "METRICS_HOST": ["0.0.0.0/0"],
    "DATA_DIR": [__file__],
    "TLS_DIR": [__file__],
    "TLS_HOSTS": ["good.example,http://bad"],
    "DEPLOYMENT": ["Luxor", "a/b", "x" * 256],
    "DATABASE_URL": ["mysql://db/x", "postgresql://db:port/x", "db"],
    "DATABASE_URL_FILE": ["/nowhere/url", os.devnull],
    "DATABASE_CA": ["/nowhere/ca.crt"],
    "POSTGRES_BIN": ["/nowhere"],
    "INGESTION_TARGET": ["localhost", "https://ingestion:7401", "dns:///a b:1"],
    "RISK_TARGET": ["risk:port"],
    "REVENUE_TARGET": [":7403"],
    "CLEARANCE_TARGET": ["dns://clearance:7404"],
    "STATISTICS_TARGET": ["statistics:74050000"],
    "PROFILE": ["/nowhere/profile.yaml"],
    "SECRET_FILE": ["/nowhere", __file__],
    "SECRET_REPLACES": ["0123", "0123456789ABCDEF"],
    "LISTS": ["/nowhere", str(Path(__file__).parent)],
    "CONTROLS": ["/nowhere", str(Path(__file__).parent)],
    "RULEBOOKS": ["/nowhere"],
    "RATES": [__file__],
    "NOTICE_TEXTS": ["/nowhere", str(Path(__file__).parent)],
    "PRE_LOADING": ["/nowhere", __file__],
    "GOODS_CONTROLS": ["/nowhere", __file__],
    "PRESENTATION": ["/nowhere", __file__],
    "TRANSIT": ["/nowhere", __file__],
    "FILING_CHECKS": ["/nowhere", __file__],
    "DUE_DAYS": ["vendor", "vendor 31", "border 16", "vendor 1; vendor 2"],
    "WHAT_IF_BANDS": ["22 15", "JPY 1000", "22.5", "22; QQQ 10"],
}
"""Wrong values of the variables whose type is text, path or list."""

WRONG_FOREIGN = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": ["ftp://collector:4317", "http://a b"],
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ["collector:port"],
    "OTEL_EXPORTER_OTLP_INSECURE": ["yes", "1"],
    "OTEL_EXPORTER_OTLP_CERTIFICATE": ["/nowhere/ca.crt"],
    "OTEL_EXPORTER_OTLP_HEADERS": ["token"],
    "OTEL_EXPORTER_OTLP_TIMEOUT": ["soon", "-1"],
}


class Said:
    """Stands for the writer of the log, and keeps what it was given."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> bool:
        self.lines.append(line)
        return True

    def flush(self, seconds_max: float = 0.0) -> None:
        """Nothing waits."""


def wrong_values(meta: Setting, kind: Any) -> list[str]:
    """Give values that must be refused."""
    if kind is bool:
        return ["maybe"]
    if kind is int or kind is float:
        beyond = [] if meta.low is None else [str(int(meta.low) - 1)]
        beyond += [] if meta.high is None else [str(int(meta.high) + 1)]
        return ["many", *beyond, *(["nan", "inf"] if kind is float else ["1.5"])]
    if meta.choices:
        return ["nonsense"]
    return WRONG_TEXT[meta.variable]


def cases() -> Iterator[Any]:
    configuration.load()
    import typing

    for cls in REGISTRY:
        if not cls.__module__.startswith(("libs.", "services.")):
            continue
        hints = typing.get_type_hints(cls)
        service = cls.service_name or "ingestion"
        for item in fields(cls):  # type: ignore[arg-type]  # subclasses are dataclasses
            meta = item.metadata.get("setting")
            if isinstance(meta, Setting):
                for name in names_of(service, meta):
                    for value in wrong_values(meta, given_kind(hints[item.name])):
                        yield pytest.param(service, name, value, id=f"{name}={value[:20]}")
    for name, values in WRONG_FOREIGN.items():
        for value in values:
            yield pytest.param("risk", name, value, id=f"{name}={value[:20]}")


@pytest.mark.parametrize(("service", "name", "value"), list(cases()))
def test_a_wrong_value_of_any_variable_stops_the_service_at_start_with_its_name_why_and_an_example(
    service: str, name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Said()
    monkeypatch.setattr(get_logger(), "writer", said)
    monkeypatch.setattr(get_logger(), "limiter", RateLimiter())
    assemble = importlib.import_module(f"services.{service}.__main__").assemble
    # Were the value taken, this port would stop the start all the same, and under another name.
    environ = {"LUXOR_DATA_DIR": str(tmp_path), f"LUXOR_{service.upper()}_PORT": "0", name: value}
    assert launch(service, assemble, environ=environ) == 2
    (told,) = [line for line in map(json.loads, said.lines) if line["reason"] == "NOT_STARTED"]
    assert told["why"].startswith(f"{name} ")
    assert f"Example: {name}=" in told["why"]
    assert len(told["why"]) > len(name) + 20


def test_every_variable_has_wrong_values_above() -> None:
    tried = {case.values[1] for case in cases()}
    known = {row.names[-1].replace("<SERVICE>", "INGESTION") for row in configuration.rows()}
    assert known <= tried | {row.names[0].replace("<SERVICE>", "INGESTION") for row in configuration.rows()}
    assert {each.name for each in FOREIGN} == set(WRONG_FOREIGN)
    assert len(tried) > 60


def start(service: str, tmp_path: Path, **variables: str) -> subprocess.Popen[str]:
    """Start a service as an operator does."""
    keep = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    given = {"LUXOR_DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), **variables}
    return subprocess.Popen(
        [sys.executable, "-m", f"services.{service}"], env=keep | given, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("service", "variable", "value", "why"),
    [
        ("ingestion", "LUXOR_INGESTION_PORT", "x", "must be a whole number, not 'x'. Example: LUXOR_INGESTION_PORT=7401"),
        ("risk", "LUXOR_RISK_PROFILE", "/nowhere.yaml", "names no file: /nowhere.yaml"),
        ("statistics", "LUXOR_LOG_LEVEL", "loud", "must be one of debug, info, warning, error"),
        ("ingestion", "LUXOR_INGESTION_DATABASE_URL", "postgresql://luxor:hunter2@db:x/y", "is no URL of PostgreSQL"),
        ("risk", "OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://collector", "must be http:// or https:// with host and port"),
    ],
)  # fmt: skip
def test_a_process_with_a_wrong_value_ends_with_code_2_and_one_line(
    service: str, variable: str, value: str, why: str, tmp_path: Path
) -> None:
    process = start(service, tmp_path, **{variable: value})
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2, said
    (line,) = [json.loads(each) for each in said.splitlines()]
    assert (line["reason"], line["service"] in {service, ""}) == ("NOT_STARTED", True)
    assert line["why"].startswith(f"{variable} {why}")
    assert "hunter2" not in said


def test_secrets_appear_in_no_line_of_a_log(tmp_path: Path) -> None:
    process = start(
        "statistics",
        tmp_path,
        LUXOR_STATISTICS_PORT="0",
        LUXOR_STATISTICS_DATABASE_URL="postgresql://luxor:hunter2@127.0.0.1:1/x?application_name=hunter3&password=hunter4",
        LUXOR_STATISTICS_DATABSE_URL="postgresql://luxor:hunter5@127.0.0.1:1/x",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=hunter6",
    )
    said: list[dict[str, Any]] = []
    assert process.stderr is not None
    for line in process.stderr:
        assert "hunter" not in line
        said.append(json.loads(line))
        if said[-1]["reason"] == "NOT_READY":
            break
    process.send_signal(signal.SIGTERM)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 0, rest
    assert "hunter" not in rest
    started = next(line for line in said if line["reason"] == "STARTED")
    assert started["config"]["database_url"] == "postgresql://luxor:***@127.0.0.1:1/x?***"
    unknown = next(line for line in said if line["reason"] == "VARIABLE_UNKNOWN")
    assert unknown["variable"] == "LUXOR_STATISTICS_DATABSE_URL"
    assert unknown["hint"] == "nobody reads it; did you mean LUXOR_STATISTICS_DATABASE_URL?"


@pytest.mark.parametrize(
    ("service", "variable", "meant"),
    [
        ("risk", "LUXOR_RISK_PROFLE", "LUXOR_RISK_PROFILE"),
        ("ingestion", "LUXOR_RISK_PROFLE", None),
        ("clearance", "LUXOR_CLEARANCE_ASESS_SECONDS", "LUXOR_CLEARANCE_ASSESS_SECONDS"),
        ("revenue", "LUXOR_TRACE_RATE", "LUXOR_TRACE_RATIO"),
        ("statistics", "LUXOR_WHATEVER", ""),
        ("statistics", "LUXOR_POSTGRES_BIN", None),
        ("statistics", "LUXOR_RISK_TARGET", None),
        ("clearance", "LUXOR_RISK_TARGT", "LUXOR_RISK_TARGET"),
        ("clearance", "LUXOR_REVENUE_TARGETS", "LUXOR_REVENUE_TARGET"),
        ("clearance", "LUXOR_RISK_PORT", None),
        ("clearance", "LUXOR_RISK_PROT", None),
        ("clearance", "LUXOR_REVENUE_RATES", None),
        ("clearance", "LUXOR_INGESTION_DATABASE_URL", None),
    ],
)
def test_an_unknown_variable_is_told_to_whom_it_concerns_with_the_name_that_was_meant(
    service: str, variable: str, meant: str | None
) -> None:
    configuration.load()
    expected = {} if meant is None else {variable: meant}
    assert unknown_variables(service, {variable: "x"}) == expected


def test_every_variable_of_opentelemetrys_that_we_set_or_write_about_is_on_the_page() -> None:
    known = {each.name for each in FOREIGN}
    named: dict[str, str] = {}
    for part in ("docs", "deploy", "tests/fault", "tests/telemetry"):
        for path in (ROOT / part).rglob("*"):
            if path.is_file() and path.suffix in {".md", ".yaml", ".tpl", ".json", ".py"}:
                text = path.read_text("utf-8")
                named |= {name: str(path) for name in re.findall(r"\bOTEL_[A-Z_]+[A-Z]\b", text)}
                # "`OTEL_EXPORTER_OTLP_INSECURE`, `…_HEADERS`" names both.
                named |= {f"OTEL_EXPORTER_OTLP{end}": str(path) for end in re.findall(r"`…(_[A-Z_]+)`", text)}
    named.pop("OTEL_EXPORTER_OTLP", None)
    assert len(named) >= len(known) - 1
    assert set(named) <= known, {name: where for name, where in named.items() if name not in known}


def test_the_page_of_variables_is_current() -> None:
    assert configuration.PAGE.read_text("utf-8") == configuration.page(), "run: python -m tools.configuration --write"


def test_every_row_of_the_page_is_complete_and_every_duration_and_size_has_a_unit() -> None:
    rows = configuration.rows()
    assert {row.service for row in rows} == {"every", *PORTS} - {"statistics"}
    for row in rows:
        assert row.meaning.endswith("."), row
        assert row.example, row
        assert row.type in {"int", "float", "bool", "str", "Path", "tuple[str, ...]"}, row
        if row.type in {"int", "float"} and row.names[0].startswith("LUXOR"):
            assert row.bounds, row
        if any(word in row.names[0] for word in ("SECONDS", "MILLIS", "BYTES", "DAYS")):
            assert row.unit, row
    assert str(ROOT) not in configuration.page()
    assert unit_of("LONG_POLL_SECONDS_MAX") == "seconds"
    assert [row.names for row in variables() if not row.default and row.type in {"int", "float"}] == []


def test_a_missing_value_without_a_default_is_told_with_an_example() -> None:
    from dataclasses import dataclass

    from libs.server.config.server_config import Settings, setting

    @dataclass(frozen=True, kw_only=True, repr=False)
    class Own(Settings, service="statistics"):
        door: str = setting("DOOR", example="front")
        """Which door."""

    REGISTRY.remove(Own)
    with pytest.raises(
        ConfigError, match=r"LUXOR_STATISTICS_DOOR is not set and has no default\. Example: .*DOOR=front"
    ):
        Own.from_environ("statistics", {})
