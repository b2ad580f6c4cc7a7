"""Revenue: the law over columns, a whole assessment from message to message, one quote; beside the scalar oracle.

law_rate_lps counts lines of goods (items), not charges, of batches of 500 consignments bound for the European Union in
August 2026; what customs_batches counts as one consignment has one to three lines here. All on one core.
"""

import random
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from libs.columns import Ints, Strings, Table
from libs.customs.identifiers.mrn_columns import make_mrns
from libs.customs.time import MICROS_PER_DAY, day_of_date
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment as ConsignmentMessage
from luxor.revenue.v1 import revenue_pb2 as pb
from services.revenue.api.quotes import landed_costs, references_of
from services.revenue.law.assess.assessment import assess
from services.revenue.law.assess.securities import EVERYONE
from services.revenue.law.batch.filings import filings_of
from services.revenue.law.text.assessment_columns import answer_of
from services.revenue.store.law_files import load_program
from tests.bench import figures
from tests.revenue.law.batches import filings, message_of
from tests.revenue.law.oracle import Consignment, Item, Scalar

DAY = date(2026, 8, 3)
BATCH = 500
STATES = ("DE", "FR", "NL", "IT", "ES", "PL", "SE", "RO", "IE", "AT")
CODES = ("620630", "610910", "851713", "950300", "640299", "330300", "420222", "711719", "392690", "940540")


def parcels(count: int, seed: int) -> list[Consignment]:
    """Make parcels as e-commerce has them: one to three lines, one in twelve over the limit, seven in ten under IOSS."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        dear = rng.random() < 1 / 12
        items = [
            Item(
                rng.randint(8_000, 40_000) if dear else rng.randint(200, 4_000),
                rng.choice(("EUR", "EUR", "USD", "CNY")),
                rng.choice(CODES),
            )
            for _ in range(rng.choice((1, 1, 2, 2, 3)))
        ]
        freight = (rng.randint(100, 900), "EUR") if rng.random() < 0.5 else None
        schemes = [("ioss", "IM2760000014")] if rng.random() < 0.7 else []
        made.append(Consignment(rng.choice(STATES), DAY, items, freight=freight, schemes=schemes))
    return made


def request_bytes(batch: list[Consignment]) -> bytes:
    """Write a batch as clearance sends it."""
    table = Table.from_messages([message_of(each) for each in batch], ConsignmentColumns, ConsignmentMessage)
    count = len(batch)
    known = table.with_columns(
        {
            "mrn": Strings.of([make_mrns(["DE"], [3], day_of_date(DAY), place)[0] for place in range(count)]),
            "version": Ints.constant(1, count),
            "filer": Strings.constant("shop", count),
            "accepted_at": Ints.constant(day_of_date(DAY) * MICROS_PER_DAY, count),
        }
    )
    message = pb.AssessConsignmentsRequest(purpose=pb.PURPOSE_CLEARANCE, consignments=known.encode(ConsignmentColumns))
    return message.SerializeToString()


def whole(program: Any, payload: bytes) -> bytes:
    """From the bytes of a request to the bytes of its answer, as the service does it but for the log."""
    table = Table.decode(pb.AssessConsignmentsRequest.FromString(payload).consignments)
    done = assess(program, filings_of(table))
    answer = answer_of(done, table.strings("declarant_identifier"), table.strings("filer"), EVERYONE)
    response = pb.AssessConsignmentsResponse()
    answer.write(response.assessments)
    return response.SerializeToString()


def quote(program: Any, payload: bytes) -> bytes:
    """One quote from bytes to bytes."""
    request = pb.QuoteConsignmentsRequest.FromString(payload)
    table = Table.from_messages(request.consignments, ConsignmentColumns, ConsignmentMessage)
    done = assess(program, filings_of(table, Ints.constant(request.as_of.seconds * 1_000_000, table.rows)))
    quotes = list(landed_costs(done))
    return pb.QuoteConsignmentsResponse(quotes=quotes, references=references_of(done, quotes)).SerializeToString()


def main() -> None:
    """Measure and print."""
    options = figures.options(__doc__ or "", runs=7)
    figures.machine()
    repeats = 3 if options.quick else 40
    program = load_program()
    batches = [filings(parcels(BATCH, seed)) for seed in range(2 if options.quick else 8)]
    lines = sum(batch.items for batch in batches) * repeats

    def law() -> None:
        for _ in range(repeats):
            for batch in batches:
                assess(program, batch)

    seconds = figures.measure(law, options.runs)
    rate = [lines / each for each in seconds]
    charges = sum(len(assess(program, batch).lines.row) for batch in batches) * repeats
    print(f"law: {BATCH} consignments, {lines / len(batches) / repeats:.0f} lines of goods and "
          f"{charges / len(batches) / repeats:.0f} charges a batch, {min(seconds) / repeats / len(batches) * 1e6:.0f} µs")  # fmt: skip
    figures.figure("law_rate_lps", rate, "lines/s", target=1_500_000, charges_per_s=round(charges / min(seconds)))

    payloads = [request_bytes(parcels(BATCH, seed)) for seed in range(len(batches))]

    def messages() -> None:
        for _ in range(repeats):
            for payload in payloads:
                whole(program, payload)

    seconds = figures.measure(messages, options.runs)
    figures.figure("revenue_assess_rate_lps", [lines / each for each in seconds], "lines/s", target=200_000)

    scalar, alone = Scalar(program), parcels(BATCH, 0)
    slow = figures.measure(lambda: [scalar.assess(each) for each in alone], 1 if options.quick else 3)
    fast = figures.measure(lambda: assess(program, batches[0]), options.runs)
    figures.figure("revenue_vs_scalar", [min(slow) / each for each in fast], "times")

    single = pb.QuoteConsignmentsRequest(consignments=[message_of(parcels(1, 5)[0])])
    single.as_of.FromSeconds(day_of_date(DAY) * 86_400)
    payload = single.SerializeToString()
    taken = []
    for _ in range(50 if options.quick else 2_000):
        started = time.perf_counter()
        quote(program, payload)
        taken.append((time.perf_counter() - started) * 1e3)
    taken.sort()
    p99 = taken[int(len(taken) * 0.99) - 1]
    print(
        f"one quote: p50 {taken[len(taken) // 2]:.2f} ms, p99 {p99:.2f} ms, worst {taken[-1]:.2f} ms, without the network"
    )
    figures.figure("quote_p99_ms", [p99], "ms", target=10)


if __name__ == "__main__":
    main()
