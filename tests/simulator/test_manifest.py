"""Manifests: what is written can be read again, the truth stands beside and never inside, arrivals cover every flight."""

import json
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToJson

from libs.simulator import (
    LABELS,
    Simulator,
    arrivals,
    arrivals_path,
    read_arrivals,
    read_manifest,
    read_truth,
    to_json_line,
    truth_path,
    write_manifest,
)
from luxor.consignment.v1 import consignment_pb2 as pb


def test_a_manifest_reads_back_as_it_was_generated(tmp_path: Path) -> None:
    simulator = Simulator(7, "everyday")
    written = write_manifest(tmp_path / "day.jsonl", simulator.manifest(1500))
    assert written.consignments == 1500
    expected = [c.message for c in simulator.manifest(1500)]
    assert list(read_manifest(tmp_path / "day.jsonl")) == expected


def test_lines_say_what_protobufs_own_json_says() -> None:
    messages = [c.message for c in Simulator(7, "new_fraud_60").day(40, volume=300)]
    odd = pb.Consignment(split=False, amended_version=0, nature=99)  # type: ignore[arg-type]
    odd.direct_shipment_time.FromNanoseconds(1_700_000_000_123_456_789)
    odd.export_time.FromMilliseconds(1_700_000_000_120)
    odd.items.add(gift=True, quantity_milli=0, description='Quotation " mark, \u2028 and ü')
    for message in [*messages, odd]:
        expected = json.loads(MessageToJson(message, preserving_proto_field_name=True))
        assert json.loads(to_json_line(message)) == expected


def test_the_truth_stands_beside_the_manifest_and_never_in_it(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    written = write_manifest(path, Simulator(7, "everyday").manifest(4000))
    text = path.read_text(encoding="utf-8")
    assert not [word for word in (*LABELS, "truth", "offender", "violation") if word in text]
    truths = list(read_truth(truth_path(path)))
    assert len(truths) == written.labelled > 200
    assert truths == [c.truth for c in Simulator(7, "everyday").manifest(4000) if c.truth]
    assert written.truth_path == f"{path}.truth.jsonl"


def test_arrivals_cover_every_consignment_once(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    consignments = list(Simulator(7, "everyday").manifest(4000))
    written = write_manifest(path, iter(consignments))
    assert list(written.arrivals) == arrivals(consignments) == read_arrivals(arrivals_path(path))
    assert sum(arrival.consignments for arrival in written.arrivals) == 4000
    assert {a.master_document for a in written.arrivals} == {c.message.master_document.number for c in consignments}
    times = [arrival.arrival_time for arrival in written.arrivals]
    assert times == sorted(times)
    assert all(len(arrival.office) == 8 and len(arrival.place) == 5 for arrival in written.arrivals)


def test_progress_adds_up_to_what_was_written(tmp_path: Path) -> None:
    steps: list[int] = []
    write_manifest(tmp_path / "day.jsonl", Simulator(7, "everyday").manifest(2345), progress=steps.append)
    assert sum(steps) == 2345
    assert steps == [1000, 1000, 345]


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text('{"local_reference":"A"}\n{"nonsense":1}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"broken\.jsonl, line 2"):
        list(read_manifest(path))
    truth = tmp_path / "broken.truth.jsonl"
    truth.write_text("{}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"broken\.truth\.jsonl, line 1"):
        list(read_truth(truth))
