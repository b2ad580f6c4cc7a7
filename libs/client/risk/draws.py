"""Proof of the draws of selection: what risk published of a day's seed, the seed, and the stored answer must agree.

The draw is repeated here with nothing but a hash function, as any auditor could: BLAKE2b of the MRN with the seed as key, 63
bytes; each draw is seven of them, the lowest first, and the upper 53 of its 56 bits as a part of 1 lie below the chance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from libs.client.client import Client
from libs.client.risk.assessments import assessments
from libs.customs.identifiers.mrn import MrnError, parse
from libs.customs.time import day_text, parse_day, start_of
from luxor.risk.v1.risk_pb2 import DrawSeed

#: The draws in the order of their bytes: cause and lane.
DRAWS: Final = (
    ("MINIMUM", "RED"), ("MINIMUM", "YELLOW"), ("MINIMUM", "BLUE"),
    ("EXPECTED", "RED"), ("EXPECTED", "YELLOW"), ("EXPECTED", "BLUE"),
    ("MODEL", "RED"), ("MODEL", "YELLOW"), ("UNCERTAINTY", "RED"),
)  # fmt: skip
_BYTES: Final = 7
PAGE: Final = 500


def commitment(seed: bytes) -> str:
    """What is published of a seed before it is used."""
    return hashlib.sha256(b"luxor selection seed" + seed).hexdigest()


def draws_of(seed: bytes, mrn: str) -> dict[tuple[str, str], float]:
    """Every draw of a consignment, as a part of 1 by cause and lane."""
    content = hashlib.blake2b(mrn.encode(), key=seed, digest_size=_BYTES * len(DRAWS)).digest()
    numbers = (int.from_bytes(content[_BYTES * place : _BYTES * (place + 1)], "little") for place in range(len(DRAWS)))
    return {each: (number >> 3) / 2**53 for each, number in zip(DRAWS, numbers, strict=True)}


async def seeds(client: Client) -> list[DrawSeed]:
    """Return all published seeds, the latest day first."""
    found: list[DrawSeed] = []
    token = ""
    while True:
        page = await client.draw_seeds(page_size=PAGE, page_token=token)
        found += page.seeds
        token = page.next_page_token
        if not token:
            return found


def plain_seed(seed: DrawSeed) -> dict[str, Any]:
    """Return a seed as plain values; the seed itself in hexadecimal digits, if it is published."""
    values: dict[str, Any] = {
        "day": seed.day,
        "commitment": seed.commitment,
        "made_at": seed.made_at.ToJsonString(),
        "made_before_its_day": _before_its_day(seed),
        "published_from": seed.published_from_day,
    }
    return values | ({"seed": seed.seed.hex()} if seed.seed else {})


async def verified(client: Client, mrn: str) -> list[dict[str, Any]]:
    """For each answer that was given at clearance what can be proved of its draw; see `proof`."""
    answers = [each for each in await assessments(client, mrn) if each["purpose"] == "PURPOSE_CLEARANCE"]
    published_seeds = {each.commitment: each for each in await seeds(client)} if answers else {}
    return [proof(mrn, each, published_seeds) for each in answers]


def proof(mrn: str, answer: Mapping[str, Any], published_seeds: Mapping[str, DrawSeed]) -> dict[str, Any]:
    """Return what the published seeds, by commitment, prove of an answer (as `assessments` returns it).

    `verdict` is PROVED: the draw is below the chance that the answer tells; REFUTED: it is not, or the seed is not the one
    that was published for the day; NOT_DRAWN: something else chose the lane, and `draws` tells what the draws were;
    NOTHING_DRAWN: the office drew nothing; SEED_NOT_PUBLISHED: the seed is still secret; SEED_UNKNOWN: no such seed is kept.
    """
    cause = answer.get("selection_cause", "SELECTION_CAUSE_UNSPECIFIED").removeprefix("SELECTION_CAUSE_")
    lane = answer["lane"].removeprefix("LANE_")
    result: dict[str, Any] = {"version": answer["version"], "lane": lane, "cause": cause}
    published = answer.get("seed_commitment", "")
    if not published:
        return result | {"verdict": "SEED_UNKNOWN" if (cause, lane) in DRAWS else "NOTHING_DRAWN"}
    seed = published_seeds.get(published)
    result["commitment"] = published
    if seed is None:
        return result | {"verdict": "SEED_UNKNOWN"}
    result |= {"day": seed.day, "made_before_its_day": _before_its_day(seed)}
    if not seed.seed:
        return result | {"verdict": "SEED_NOT_PUBLISHED", "published_from": seed.published_from_day}
    if commitment(seed.seed) != published:
        return result | {"verdict": "REFUTED", "why": "the seed is not the one that was published"}
    accepted = _accepted(mrn)
    if accepted is not None and day_text(accepted) != seed.day:
        return result | {
            "verdict": "REFUTED",
            "why": f"the seed is not that of {day_text(accepted)}, the day in the MRN",
        }
    draws = draws_of(seed.seed, mrn)
    if (cause, lane) not in draws:
        return result | {
            "verdict": "NOT_DRAWN",
            "draws": {f"{draw_cause} {into}": share for (draw_cause, into), share in draws.items()},
        }
    share, chance_ppm = draws[cause, lane], answer["chance_ppm"]
    result |= {"draw": share, "chance_ppm": chance_ppm}
    if share < chance_ppm / 1_000_000:
        return result | {"verdict": "PROVED"}
    return result | {"verdict": "REFUTED", "why": "the draw is not below the chance"}


def decided(results: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all that was drawn is proved."""
    return bool(results) and all(each["verdict"] in ("PROVED", "NOT_DRAWN", "NOTHING_DRAWN") for each in results)


def _before_its_day(seed: DrawSeed) -> bool:
    return seed.made_at.ToMicroseconds() < start_of(parse_day(seed.day))


def _accepted(mrn: str) -> int | None:
    try:
        return parse(mrn).day
    except MrnError:
        return None
