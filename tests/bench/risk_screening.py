"""Risk: parties screened against the UN's list and OFAC's, right ones found, wrong ones hit, time a name. `make bench-risk`.

Needs the public lists and queries (../shared/data/names). Time is that of whole batches of a thousand names that match
nobody, each name once a batch, nothing remembered from one batch to the next. A plain scan with rapidfuzz stands beside.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import figures
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from rapidfuzz import fuzz, process  # noqa: E402

from services.risk.screening.lists.party_list import EntryKind, ListVersion, PartyList  # noqa: E402
from services.risk.screening.matching.index import Index, build  # noqa: E402
from services.risk.screening.matching.list_changes import Screener  # noqa: E402
from services.risk.screening.matching.scores import THRESHOLD, screen  # noqa: E402
from services.risk.screening.names.tokens import normalise  # noqa: E402
from tests.risk.screening.queries import Query, no_match, put_together, un_queries  # noqa: E402
from tests.risk.screening.support import NAMES, again, ofac, un  # noqa: E402
from tests.risk.screening.typos import mistyped  # noqa: E402

BATCH = 1000
HALVES = {"first_half": slice(0, None, 2), "second_half": slice(1, None, 2)}


def first_right(index: Index, queries: list[Query]) -> np.ndarray:
    """For each query: whether its own entry is first."""
    hits = screen(index, [each.name for each in queries], 700)
    top: dict[int, str] = {}
    for name, entry in zip(hits.name.tolist(), hits.entry.tolist(), strict=True):
        top.setdefault(name, index.entries[entry].id)
    return np.array([top.get(row) in each.own for row, each in enumerate(queries)])


def hit(index: Index, names: list[str]) -> np.ndarray:
    """For each name: whether it hits at the default threshold."""
    made = np.zeros(len(names), bool)
    made[screen(index, names).name] = True
    return made


def found(index: Index, kind: EntryKind, seed: int, slips: int) -> float:
    """The share of entries of a kind that are hit by their primary name with slips of the pen."""
    rows = [row for row, each in enumerate(index.entries) if each.kind == kind]
    hits = screen(index, mistyped([index.entries[row].names[0].text for row in rows], seed, slips))
    own = set(zip(hits.name.tolist(), hits.entry.tolist(), strict=True))
    return float(np.mean([(number, row) in own for number, row in enumerate(rows)]))


def by_halves(values: np.ndarray) -> dict[str, float]:
    return {half: round(float(values[part].mean()), 5) for half, part in HALVES.items()}


def timed(work: Callable[[int], object], runs: int) -> list[float]:
    """Seconds of processor time of each run, so that what else the machine does counts less; each run has its number."""
    seconds = []
    for run in range(runs):
        started = time.process_time()
        work(run)
        seconds.append(time.process_time() - started)
    return seconds


def changed(treasury: PartyList, run: int) -> PartyList:
    """OFAC's list with a hundred entries gone and as many changed: a big day."""
    entries = list(treasury.entries)
    del entries[run * 150 : run * 150 + 100]
    for place in range(4000, 4100):
        old = entries[place]
        entries[place] = type(old)(old.id, old.kind, old.names[:1], old.countries, (f"run {run}",))
    return PartyList(ListVersion(treasury.version.source, None, f"{run:064x}", len(entries)), tuple(entries))


def main() -> None:
    how = figures.options(__doc__ or "", runs=40)
    if not NAMES.exists():
        figures.machine()
        for name in ("screening_first", "screening_recall", "screening_false", "screening_us"):
            figures.not_measured(name, "the public lists and queries (../shared/data/names) are not here")
        return
    united_nations, treasury = un(), ofac()
    index = build([(each.version, each.entries) for each in (united_nations, treasury)])
    figures.machine(
        {
            "lists": ", ".join(version.id for version in index.versions),
            "names": str(len(index.names)),
            "threshold": str(THRESHOLD),
        }
    )
    queries, nobody = un_queries(), no_match()
    first = first_right(build([(united_nations.version, united_nations.entries)]), queries)
    absent = sum(not each.own for each in queries)
    figures.figure(
        "screening_first", [first.mean()], "share", target=0.995, **by_halves(first), absent_from_list=absent
    )
    recall = hit(index, [each.name for each in queries])
    figures.figure("screening_recall", [recall.mean()], "share", target=0.99, **by_halves(recall))
    false = hit(index, nobody)
    figures.figure("screening_false", [false.mean()], "share", target=0.001, **by_halves(false), hits=int(false.sum()))
    seeds = range(1, 2 if how.quick else 6)
    anew = [hit(index, put_together(1000 if how.quick else 5000, seed)).mean() for seed in seeds]
    figures.figure("screening_false_put_together", anew, "share")
    for slips in (1, 2):
        shares = [found(index, EntryKind.PERSON, seed, slips) for seed in seeds]
        figures.figure(f"screening_recall_{slips}_slips", shares, "share")
    batches = [nobody[start : start + BATCH] for start in range(0, len(nobody), BATCH)]
    screen(index, batches[0])
    seconds = timed(lambda run: screen(index, batches[run % len(batches)]), how.runs)
    figures.figure("screening_us", [each * 1e6 / BATCH for each in seconds], "us per name", target=10)
    listed = [
        " ".join(sorted(line.split())) for line in normalise([index.name_text(row) for row in range(len(index.names))])
    ]
    some = [" ".join(sorted(line.split())) for line in normalise(nobody[:: 3000 if how.quick else 100])]
    scan = timed(
        lambda _: [process.extractOne(name, listed, scorer=fuzz.ratio) for name in some], 1 if how.quick else 5
    )
    figures.figure("screening_plain_scan_us", [each * 1e6 / len(some) for each in scan], "us per name")
    screener = Screener([united_nations, treasury])
    runs = 1 if how.quick else 8
    takes = timed(lambda run: screener.take(changed(treasury, run + 1)), runs)
    figures.figure("screening_delta_ms", [each * 1e3 for each in takes], "ms")
    whole = timed(lambda _: build([(each.version, each.entries) for each in (united_nations, treasury)]), min(runs, 4))
    figures.figure("screening_build_ms", [each * 1e3 for each in whole], "ms")
    delta = screener.take(changed(treasury, runs + 1))
    former = nobody + put_together(0 if how.quick else 30_000, 9)
    seconds = timed(lambda _: again(screener.index, delta).screen(former), min(how.runs, 8))
    figures.figure(
        "screening_again_us",
        [each * 1e6 / len(former) for each in seconds],
        "us per name",
        coming=len(delta.added_or_changed),
    )


if __name__ == "__main__":
    main()
