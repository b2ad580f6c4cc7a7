"""Metrics: one registry, names of one form, served over HTTP."""

import secrets
import urllib.request

import pytest

from libs import telemetry
from libs.telemetry.setup import setup as set_up_telemetry


def test_metrics_are_served_with_buckets_in_seconds() -> None:
    name = f"luxor_test_{secrets.token_hex(4)}_seconds"
    telemetry.histogram(name, "A test", ("method",)).labels("Echo").observe(0.3)
    handle = set_up_telemetry("risk", {})
    port = handle.serve_metrics("127.0.0.1", 0)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    handle.close()
    assert f'{name}_bucket{{le="0.25",method="Echo"}} 0.0' in text
    assert f'{name}_bucket{{le="0.5",method="Echo"}} 1.0' in text
    assert "process_resident_memory_bytes" in text


def test_asking_twice_returns_the_same_metric_and_another_kind_is_refused() -> None:
    name = f"luxor_test_{secrets.token_hex(4)}"
    first = telemetry.gauge(name, "A test")
    assert telemetry.gauge(name, "A test") is first
    with pytest.raises(ValueError, match="declared twice"):
        telemetry.counter(name, "A test")
    with pytest.raises(ValueError, match="declared twice"):
        telemetry.gauge(name, "A test", ("label",))


def test_a_name_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="must begin with luxor_"):
        telemetry.counter("calls", "A test")
