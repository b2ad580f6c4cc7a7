"""Risk: 200 rules on a batch of 500, the same by the CEL library, and whole assessments. `make bench-risk`.

The rules are twelve kinds of condition with other constants each, as analysts write them: goods of a chapter or a heading,
words and patterns in descriptions, countries, natures, amounts, and columns of history, on simulated traffic. Every run
takes another batch, and computed columns are computed in it; what a rule remembers of texts it has seen is as it would
be after a day of traffic of the same goods. A whole assessment holds rules, history, goods controls, the screening of all
parties (against the UN's list and OFAC's where ../shared/data/names is there) and selection; the store's commits are in
the time by the clock, and not in this process's CPU time, which holds the caller's part.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import figures
import msgspec
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from libs.columns import Ints, Strings, Table  # noqa: E402
from libs.simulator.simulator import Simulator  # noqa: E402
from libs.store.database import Database  # noqa: E402
from libs.store.embedded.server import EmbeddedPostgres  # noqa: E402
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns  # noqa: E402
from luxor.consignment.v1.consignment_pb2 import Consignment  # noqa: E402
from luxor.risk.v1 import risk_pb2 as pb  # noqa: E402
from luxor.risk.v1.risk_pb2_grpc import RiskServiceStub  # noqa: E402
from services.risk.__main__ import assemble  # noqa: E402
from services.risk.conditions.cel.vocabulary import TableSource  # noqa: E402
from services.risk.conditions.expressions import judge  # noqa: E402
from services.risk.config import PROFILES  # noqa: E402
from services.risk.elements.computed import Facts  # noqa: E402
from services.risk.elements.history_record import record_of  # noqa: E402
from services.risk.history import Hasher, History  # noqa: E402
from services.risk.history.columns import HistoryColumns as Columns  # noqa: E402
from services.risk.rules.rule_set import Rule, RuleSet, load_rule_set  # noqa: E402
from services.risk.rules.scoring import assess  # noqa: E402
from tests.risk.screening.support import ALT_FILE, NAMES, SDN_FILE, UN_FILE  # noqa: E402
from tests.support.databases import enterable_directory  # noqa: E402
from tests.support.services import running  # noqa: E402

BATCH = 500
RULES = 200
HASHER = Hasher(b"a key for measuring, not a secret")
COUNTRIES = "DE FR ES IT NL PL BE RO CZ SE PT GR AT HU IE DK FI BG SK HR".split()  # noqa: SIM905
CHAPTERS = "61 62 63 64 65 71 73 82 84 85 39 42 48 49 33 90 91 94 95 96".split()  # noqa: SIM905
WORDS = "cotton polyester phone cable watch dress shoes toy lamp bag ring kitchen screen strap glass set led pump mat cup".split()  # noqa: SIM905
#: Kind of condition, and whether it judges items. {n} counts from 0 to 19; {c}, {h} and {w} are a country, a chapter
#: and a word.
KINDS = (
    ("item.chapter == '{h}' && item.price_eur_cents_per_kg < {n} * 37 + 100", True),
    ("item.commodity_code.startsWith('{h}{n:02}') && item.price_permille < 50 + {n}", True),
    ("item.description.hasWord(['{w}', 'sample {n}']) && item.pieces > {n}", True),
    ("item.origin_country == 'CN' && item.piece_mass_mg * 2 > 500000 + {n}000 && item.chapter in ['{h}', '99']", True),
    ("item.description.contains('{w}') && !(item.chapter in ['{h}', '85'])", True),
    ("item.description.matches('(?i)\\\\b{w}.*[0-9]{{2}}') || item.price_minor == {n}", True),
    ("consignment.destination == '{c}' && consignment.value_eur_cents > 5000 + {n}00", False),
    ("consignment.items.exists(i, i.chapter == '{h}' && i.price_minor < {n} + 50)", False),
    ("consignment.nature == Nature.NATURE_GIFT && consignment.seller_count_30d > {n} + 1", False),
    ("consignment.consignor_name.startsWith('{w}') || consignment.consignee_address_city.endsWith('{w}')", False),
    (
        "(consignment.dispatch_country == 'CN' ? 3 : 5) * size(consignment.items) > {n} + 12 && consignment.destination != '{c}'",
        False,
    ),
    (
        "consignment.consignee_low_count_24h >= 2 && consignment.consignee_low_value_eur_cents_24h > 9000 + {n}000",
        False,
    ),
)


def two_hundred() -> RuleSet:
    """The rules that are measured, in the frame of the first profile."""
    base = load_rule_set(PROFILES / "first_light.yaml")
    rules: list[Rule] = []
    for number, (text, on_items) in itertools.islice(itertools.product(range(20), KINDS), RULES):
        text = text.format(n=number, c=COUNTRIES[number], h=CHAPTERS[number], w=WORDS[number])
        condition = base.conditions.compile(text, on_items)
        written = replace_text(base.rules[0], f"BENCH_{len(rules)}", text, on_items)
        rules.append(replace(base.rules[0], text=written, condition=condition, countries=frozenset()))
    return replace(base, rules=tuple(rules))


def replace_text(rule: Rule, name: str, condition: str, on_items: bool) -> Any:
    subject = "item" if on_items else "consignment"
    return msgspec.structs.replace(rule.text, id=name, condition=condition, subject=subject, weight=1, lane="none")


def batches(count: int) -> Iterator[Table]:
    """Simulated batches as ingestion tells them."""
    simulated = Simulator(11, "everyday", start=date(2026, 11, 25)).manifest(count * BATCH)
    for number in range(count):
        rows = list(itertools.islice(simulated, BATCH))
        table = Table.from_messages([row.message for row in rows], ConsignmentColumns, Consignment)
        yield table.with_columns(
            {
                "mrn": Strings.of([f"26DE{number * BATCH + row:012d}R1" for row in range(BATCH)]),
                "version": Ints.of([1] * BATCH),
                "accepted_at": Ints.of([row.filed_at for row in rows]),
                "filer": Strings.of([row.filer for row in rows]),
            }
        )


def known(rules: RuleSet, tables: list[Table]) -> list[Columns]:
    """What history knows of each batch once it followed those before it."""
    history = History(HASHER.mark)
    columns = []
    for number, table in enumerate(tables):
        facts = Facts(table, rules.rates)
        now = 20_782 * 86_400_000_000 + number * 10**6
        record = record_of(table, facts, HASHER, now, counted=np.ones(table.rows, bool), thresholds={"DE": 15_000})
        columns.append(history.read(record))
        place = {"partition": np.arange(BATCH) & 63, "major": np.full(BATCH, number), "minor": np.arange(BATCH)}
        history.apply(record.at(place))
    return columns


def facts_of(rules: RuleSet, table: Table, columns: Columns | None) -> Facts:
    """The computed elements of a batch, history among them, none of them computed yet."""
    facts = Facts(table, rules.rates)
    facts.history = columns
    return facts


def some_of(rules: RuleSet, table: Table, columns: Columns, rows: int) -> tuple[Table, Facts]:
    """The first rows of a batch."""
    some = table.take(np.arange(rows))
    items = np.arange(some.child("items").rows)
    consignments = {name: column.take(np.arange(rows)) for name, column in columns.consignments.items()}
    return some, facts_of(rules, some, Columns(consignments, {k: v.take(items) for k, v in columns.items.items()}))


def fresh(table: Table) -> Table:
    """The same batch as it comes over the wire: nothing of it is decoded or remembered."""
    return Table.decode(table.encode(ConsignmentColumns))


def rules_alone(rules: RuleSet, tables: list[Table], runs: int, columns: list[Columns] | None = None) -> list[float]:
    """Seconds of the rules on a batch, computed elements and findings included; columns are decoded before."""
    past: list[Columns | None] = [None] * len(tables) if columns is None else [*columns]
    for table, each in zip(tables, past, strict=True):
        assess(rules, table, facts=facts_of(rules, table, each))
    seconds = []
    for run in range(runs):
        table, each = tables[run % len(tables)], past[run % len(tables)]
        started = time.perf_counter()
        assess(rules, table, facts=facts_of(rules, table, each))
        seconds.append(time.perf_counter() - started)
    return seconds


def by_library(rules: RuleSet, table: Table, columns: Columns, rows: int) -> float:
    """Seconds that the library's own evaluation takes for a batch, from `rows` of its rows; variables are bound before."""
    vocabulary = rules.conditions.vocabulary
    some, facts = some_of(rules, table, columns, rows)
    messages: list[Any] = vocabulary.messages(TableSource(some, facts.computed))
    seconds = 0.0
    for message in messages:
        alone = vocabulary.bind(message)
        with_items = [vocabulary.bind(message, item) for item in message.items]
        for rule in rules.rules:
            evaluate = rule.condition.parsed.eval
            for variables in with_items if rule.condition.on_items else (alone,):
                started = time.perf_counter()
                evaluate(variables)
                seconds += time.perf_counter() - started
    return seconds * table.rows / rows


def agree(rules: RuleSet, table: Table, columns: Columns, rows: int) -> None:
    """Both say the same, or the comparison means nothing."""
    some, facts = some_of(rules, table, columns, rows)
    source = TableSource(some, facts.computed)
    messages: list[Any] = rules.conditions.vocabulary.messages(source)
    batch = rules.conditions.batch(source)
    for rule in rules.rules:
        answers = [
            rules.conditions.vocabulary.evaluate(rule.condition.parsed, message, item).value() is True
            for message in messages
            for item in (message.items if rule.condition.on_items else (None,))
        ]
        if judge(rule.condition, batch).applies.tolist() != answers:
            raise AssertionError(f"compiled and library differ on {rule.text.condition}")


def lists(directory: Path) -> str:
    """Write lists.yaml that names the public lists, where they are there, and the shipped one; tells which."""
    shipped = PROFILES / "lists" / "stop_list.yaml"
    text = f"format: 1\nlists:\n  - {{name: STOP, kind: own, files: [{shipped}]}}\n"
    if NAMES.exists():
        text += f"  - {{name: UN, kind: un, files: [{UN_FILE}]}}\n"
        text += f"  - {{name: OFAC, kind: ofac, files: [{SDN_FILE}, {ALT_FILE}], published: 2021-11-01}}\n"
    (directory / "lists.yaml").write_text(text)
    return "STOP, UN, OFAC" if NAMES.exists() else "STOP alone (../shared/data/names is not here)"


async def served(
    tables: list[Table], singles: int, url: str, directory: Path
) -> tuple[list[float], list[float], list[float]]:
    """Seconds of whole calls over gRPC, TLS and PostgreSQL, by the clock and of this process's CPU: batches of 500; then
    consignments alone, by the clock.
    """
    whole, cpu, alone = [], [], []
    async with running("risk", assemble, url, environ={"LUXOR_RISK_LISTS": str(directory)}) as risk:
        stub = RiskServiceStub(await risk.channel("service", "clearance"))
        for number, table in enumerate(tables):
            request = pb.AssessConsignmentsRequest(
                purpose=pb.PURPOSE_CLEARANCE, consignments=table.encode(ConsignmentColumns)
            )
            started, working = time.perf_counter(), time.process_time()
            await stub.AssessConsignments(request, timeout=20)
            if number >= len(tables) // 4:
                whole.append(time.perf_counter() - started)
                cpu.append(time.process_time() - working)
        for number in range(singles):
            row = tables[number % len(tables)].take(np.array([number % BATCH]))
            row = row.with_columns({"mrn": Strings.of([f"26FR{number:012d}R1"])})
            request = pb.AssessConsignmentsRequest(
                purpose=pb.PURPOSE_CLEARANCE, consignments=row.encode(ConsignmentColumns)
            )
            started = time.perf_counter()
            await stub.AssessConsignments(request, timeout=20)
            if number >= singles // 10:
                alone.append(time.perf_counter() - started)
    return whole, cpu, alone


async def durability(url: str) -> str:
    """PostgreSQL's settings that a durable commit depends on."""
    async with Database(url, name="risk") as database:
        return str(await database.durability())


def main() -> None:
    how = figures.options(__doc__ or "", runs=40)
    rules = two_hundred()
    tables = list(batches(2 if how.quick else 24))
    items = sum(table.child("items").rows for table in tables) / len(tables)
    directory = enterable_directory()
    server = EmbeddedPostgres(directory, databases=("risk",))
    server.start()
    try:
        url = server.url("risk")
        figures.machine(
            {
                "rules": str(len(rules.rules)),
                "items a batch": f"{items:.0f}",
                "PostgreSQL": asyncio.run(durability(url)),
                "lists": lists(directory),
            }
        )
        past = known(rules, tables)
        agree(rules, tables[0], past[0], 5 if how.quick else 40)
        ours = rules_alone(rules, tables, how.runs, past)
        figures.figure("rules_200x500_ms", [each * 1e3 for each in ours], "ms", target=4)
        rows = 5 if how.quick else 50
        sample = list(zip(tables, past, strict=True))[: 1 if how.quick else 5]
        ratios = [by_library(rules, *each, rows) / float(np.median(ours)) for each in sample]
        figures.figure("rules_vs_library", ratios, "times", target=50)
        profile = load_rule_set(PROFILES / "first_light.yaml")
        alone = rules_alone(profile, [fresh(table) for table in tables], how.runs)
        figures.figure("first_light_rules_us", [each * 1e6 / BATCH for each in alone], "us per consignment")
        whole, cpu, single = asyncio.run(served(tables, 20 if how.quick else 600, url, directory))
        figures.figure("assess_us", [each * 1e6 / BATCH for each in whole], "us per consignment", target=50)
        figures.figure("assess_cpu_us", [each * 1e6 / BATCH for each in cpu], "us per consignment", of="this process")
        p99 = float(np.percentile(single, 99)) * 1e3
        figures.figure("assess_single_p99_ms", [p99], "ms", target=15, calls=len(single))
    finally:
        server.destroy()


if __name__ == "__main__":
    main()
