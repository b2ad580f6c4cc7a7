"""Commodity codes from descriptions: five-fold cross-validation over parcel_text/descriptions.csv, and the time of a description in batches of 500.

Near duplicates are in one fold (services.risk.codes.near_duplicates). References are the included terms and parcel_text/brands.csv; neither is
judged. Of the file's 397 codes, 208 occur once: no declaration of the other folds has them, so `repeated` states the share among the others.
What bounds the figures: `declared` is the share of descriptions whose code another fold's declarations have, `present` the same with the references,
and `agreement` how often two near duplicates have the same code. Data: ../shared/data. It takes about 3 minutes.
"""

from __future__ import annotations

import csv
import itertools
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import figures

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from services.risk.codes.cross_validation import FOLDS, cross_validate  # noqa: E402
from services.risk.codes.near_duplicates import folds_of, groups_of, word_set  # noqa: E402
from services.risk.codes.ngrams import features_of  # noqa: E402
from services.risk.codes.suggestions import suggest  # noqa: E402
from services.risk.codes.text_files import Pair, reference_terms, texts_of  # noqa: E402
from services.risk.codes.training import train  # noqa: E402

DATA = ROOT.parent / "shared" / "data" / "parcel_text"
BATCH = 500


def descriptions() -> list[Pair]:
    """Return the descriptions with their HS6 codes, without three rows that have a word instead of a code; the last cell of a row is its code."""
    with (DATA / "descriptions.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [(", ".join(row[:-1]), row[-1].strip()[:6]) for row in list(csv.reader(file))[1:]]
    return [(text, code) for text, code in rows if code.isdigit()]


def brands() -> list[Pair]:
    """Return the descriptions of branded goods with their HS6 codes."""
    with (DATA / "brands.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [(row["GDSDESC"], row["CMDTYCODE"]) for row in csv.DictReader(file)]
    return [(text, code[:6]) for text, code in rows if len(code) >= 6]


def ceilings(declared: list[Pair], referred: list[Pair]) -> dict[str, float]:
    """Return what bounds the figures, as shares: codes that training has, and near duplicates with the same code."""
    folds = folds_of(groups_of([text for text, _ in declared]), FOLDS, 0).tolist()
    training = [
        {code for (_, code), fold in zip(declared, folds, strict=True) if fold != judged} for judged in range(FOLDS)
    ]
    has_code = [code in training[fold] for (_, code), fold in zip(declared, folds, strict=True)]
    referred_codes = {code for _, code in referred}
    present = [has or code in referred_codes for has, (_, code) in zip(has_code, declared, strict=True)]
    groups: dict[frozenset[str], list[str]] = {}
    for text, code in declared:
        if words := word_set(text):
            groups.setdefault(words, []).append(code)
    pairs = [one == other for codes in groups.values() for one, other in itertools.combinations(codes, 2)]
    counted = {"declared": has_code, "present": present, "agreement": pairs}
    return {name: round(sum(each) / len(each), 4) for name, each in counted.items() if each}


def main() -> None:
    """Judge and measure."""
    given = figures.options(__doc__ or "", runs=20)
    figures.machine({"batch": str(BATCH), "threads": os.environ["OMP_NUM_THREADS"]})
    if not DATA.is_dir():
        for name in ("codes_top1", "codes_top5", "codes_us"):
            figures.not_measured(name, f"{DATA} is absent")
        return
    started = time.monotonic()
    declared, referred = descriptions(), [*reference_terms(), *brands()]
    if given.quick:
        declared, referred = declared[::4], referred[::20]
    texts = texts_of(declared, referred)
    found = [cross_validate(texts, seed) for seed in range(1 if given.quick else 2)]
    repeated = round(sum(each.top1_repeated for each in found) / len(found), 4)
    figures.figure(
        "codes_top1",
        [each.top1 for each in found],
        "share",
        target=0.42,
        repeated=repeated,
        **ceilings(declared, referred),
    )
    figures.figure("codes_top5", [each.top5 for each in found], "share", target=0.65)
    model = train(texts)
    batch = [text for text, _ in declared[:BATCH]]
    seconds = figures.measure(lambda: suggest(model, found[0].sharpness, features_of(batch)), given.runs)
    figures.figure(
        "codes_us", [each * 1e6 / len(batch) for each in seconds], "us", target=50,
        codes=len(model.codes), weights=len(model.weights),
    )  # fmt: skip
    print(f"took {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
