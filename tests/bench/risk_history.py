"""Risk's history: CPU microseconds a consignment to hash, read and apply at batch 500, and what it weighs.

Each batch is one run of a figure.
"""

import itertools
import os
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from threading import Thread

import figures
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from libs.columns import Ints, Strings, Table  # noqa: E402
from libs.simulator.simulator import Simulator  # noqa: E402
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns  # noqa: E402
from luxor.consignment.v1.consignment_pb2 import Consignment  # noqa: E402
from services.risk.elements.computed import Facts  # noqa: E402
from services.risk.elements.history_record import record_of  # noqa: E402
from services.risk.history import Bounds, Hasher, History, Record, Snapshot, restore  # noqa: E402
from services.risk.rules.rule_set import load_rule_set  # noqa: E402

BATCH = 500
PROFILE = ROOT / "services" / "risk" / "profiles" / "first_light.yaml"
MICROS_PER_DAY = 86_400_000_000
HASHER = Hasher(b"a key for measuring, not a secret")
#: With room for all that comes, so that no batch is measured in which a part doubles.
ROOMY = Bounds(keys=1 << 22, events=1 << 22, rows=1 << 16, pairs=1 << 15)
THRESHOLDS = {"DE": 15_000, "FR": 15_000, "GB": 15_500, "AU": 59_000, "US": 80_000}


def tables(count: int) -> list[tuple[Table, Facts]]:
    """Simulated batches as risk gets them, with the facts that other parts compute anyway."""
    rates = load_rule_set(PROFILE).rates
    simulated = Simulator(11, "everyday", start=date(2026, 11, 25)).manifest(count * BATCH)
    made = []
    for number in range(count):
        rows = list(itertools.islice(simulated, BATCH))
        table = Table.from_messages([row.message for row in rows], ConsignmentColumns, Consignment)
        table = table.with_columns(
            {
                "mrn": Strings.of([f"26DE{number * BATCH + row:012d}R1" for row in range(BATCH)]),
                "version": Ints.of([1] * BATCH),
                "accepted_at": Ints.of([row.filed_at for row in rows]),
                "filer": Strings.of([row.filer for row in rows]),
            }
        )
        facts = Facts(table, rates)
        assert len(facts.value_eur_cents) == len(facts.destination) == BATCH
        assert len(facts.price_eur_cents_per_kg) == facts.items.rows
        made.append((table, facts))
    return made


def hashed(batches: list[tuple[Table, Facts]], seconds: list[float]) -> list[Record]:
    """The records of the batches, the time of each."""
    records = []
    for number, (table, facts) in enumerate(batches):
        counted = np.ones(BATCH, bool)
        started = time.thread_time()
        record = record_of(
            table, facts, HASHER, 20_782 * MICROS_PER_DAY + number * 10**6, counted=counted, thresholds=THRESHOLDS
        )
        seconds.append(time.thread_time() - started)
        place = {"partition": np.zeros(BATCH, np.int64), "major": np.full(BATCH, number), "minor": np.arange(BATCH)}
        records.append(record.at(place))
    return records


def country(random: np.random.Generator, number: int, batches_a_day: int, people: int) -> Record:
    """A batch of a country's traffic by keys alone: consignees and addresses come seldom, platforms often."""
    keys = np.zeros((5, BATCH), np.uint64)
    # Some buy often: a Zipf-like spread over people, addresses, sellers.
    person = (people * random.random(BATCH) ** 2).astype(np.uint64)
    seller = (people / 20 * random.random(BATCH) ** 3).astype(np.uint64)
    for kind, drawn in enumerate(
        (person, person * np.uint64(7) // np.uint64(10), seller, seller % np.uint64(40), seller % np.uint64(30))
    ):
        mixed = (drawn + np.uint64(1 + kind * 10**10)) * np.uint64(0x9E3779B97F4A7C15)
        keys[kind] = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9) ^ (mixed >> np.uint64(17))
    value = random.integers(100, 30_000, BATCH)
    return Record(
        time=20_700 * MICROS_PER_DAY + number * MICROS_PER_DAY // batches_a_day,
        mark=1,
        keys=keys,
        counted=np.ones(BATCH, bool),
        valued=np.ones(BATCH, bool),
        value=value,
        low=value < 15_000,
        partition=np.zeros(BATCH, np.int64),
        major=np.full(BATCH, number),
        minor=np.arange(BATCH),
        owner=np.repeat(np.arange(BATCH), 2)[: BATCH * 5 // 4],
        goods=random.integers(0, 5_000, BATCH * 5 // 4) * 1_024,
        price=np.maximum(1, random.lognormal(7, 1, BATCH * 5 // 4)).astype(np.int64),
    )


def main() -> None:
    parser_runs = figures.options(__doc__, runs=3)
    figures.machine()
    batches = 8 if parser_runs.quick else 40
    seconds: list[float] = []
    made = tables(batches)
    hashed(made, [])
    records = hashed(made, seconds)
    # A table is decoded anew in service, so texts are compared anew each time; a Strings column remembers nothing.
    micros = 1e6 / BATCH
    figures.figure("history_hash_us", [each * micros for each in seconds], "us")
    reads, applies = measured(records, History(HASHER.mark))
    figures.figure("history_read_us", [each * micros for each in reads], "us")
    figures.figure("history_apply_us", [each * micros for each in applies], "us")
    many(200 if parser_runs.quick else 4_000, micros)


def measured(records: list[Record], history: History) -> tuple[list[float], list[float]]:
    """Seconds to read and to apply each record."""
    reads, applies = [], []
    for record in records:
        started = time.thread_time()
        history.read(record)
        middle = time.thread_time()
        history.apply(record)
        applies.append(time.thread_time() - middle)
        reads.append(middle - started)
    return reads, applies


def many(count: int, micros: float) -> None:
    """Thirty days of a small country: what a filled history costs, and what it weighs."""
    random = np.random.default_rng(5)
    history = History(1, ROOMY)
    people = count * BATCH // 4
    last: list[Record] = []
    for number in range(count):
        record = country(random, number, max(1, count // 30), people)
        if number >= count - 100:
            last.append(record)
        else:
            history.apply(record)
    reads, applies = measured(last, history)
    used = history.table.used
    facts = {"keys": used, "events": history.events.arrived - 1, "rows": sum(pool.used for pool in history.pools)}
    figures.figure("history_read_filled_us", [each * micros for each in reads], "us", **facts)
    figures.figure("history_apply_filled_us", [each * micros for each in applies], "us")
    figures.figure("history_mib", [history.nbytes / 2**20], "MiB", **facts)
    snapshot(history, last)


def snapshot(history: History, records: list[Record]) -> None:
    """A snapshot to a file while batches are applied: how long the loop's thread stands still, how long it all takes."""
    alone = []
    for number, record in enumerate(records):
        started = time.perf_counter()
        history.apply(record.at({"major": np.full(BATCH, 10**8 + number)}))
        alone.append(time.perf_counter() - started)
    figures.figure("history_apply_alone_ms", [each * 1_000 for each in alone], "ms")
    with tempfile.TemporaryFile() as file:
        began = time.perf_counter()
        begun = Snapshot(history, {}, {})
        stood = [time.perf_counter() - began]
        writer = Thread(target=begun.write, args=(file,))
        writer.start()
        for number in itertools.count():
            started = time.perf_counter()
            history.apply(records[number % len(records)].at({"major": np.full(BATCH, 10**9 + number)}))
            stood.append(time.perf_counter() - started)
            if not writer.is_alive():
                break
        writer.join()
        begun.release()
        begun.finish(file)
        middle = time.perf_counter()
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        restore(file, size, 1, ROOMY)
        ended = time.perf_counter()
    figures.figure("history_snapshot_mib", [size / 2**20], "MiB", write_s=middle - began, read_s=ended - middle)
    figures.figure("history_snapshot_stands_ms", [each * 1_000 for each in stood], "ms", batches=len(stood) - 1)


if __name__ == "__main__":
    main()
