"""What to inspect with a budget: mostly what scores highest, and a share that explores, so that the model keeps learning.

Draws are hashes of a seed, a purpose and the MRN: whoever holds the seed can repeat a draw and prove it, and neither the
order of a batch nor who else is in it changes one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
import numpy as np

from services.risk.learning.features.sample import Floats, Numbers, Truths

#: Why a consignment was taken; 0 for not at all.
NOT_TAKEN: Final = 0
TARGETED: Final = 1
RANDOM: Final = 2
UNCERTAIN: Final = 3
REASONS: Final = ("not taken", "targeted", "random", "uncertain")

PPM: Final = 1_000_000
Ppm = Annotated[int, msgspec.Meta(ge=0, le=PPM)]


class Exploration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much of an inspection budget explores; set in the profile. Shares in parts per million."""

    share_ppm: Ppm = 100_000
    """Share of the budget that explores."""
    random_ppm: Ppm = 500_000
    """Share of the exploration that is drawn at random; the rest goes to what the model is least sure of."""


@dataclass(frozen=True)
class Selection:
    """What was selected of a batch or a day; arrays have one entry a row."""

    reasons: Numbers
    """NOT_TAKEN, TARGETED, RANDOM or UNCERTAIN."""
    draws: Floats
    """The draw of each row for the random part, 0 to 1; the lowest were taken."""
    chances: Floats
    """With what chance each row was to be taken, 0 to 1: 1 for the targeted, else by the draws (see `services.risk.inspections.inclusion`)."""

    @property
    def taken(self) -> Truths:
        """Whether each row is to be inspected."""
        taken: Truths = self.reasons != NOT_TAKEN
        return taken


def draw(seed: str, purpose: str, mrns: Sequence[str]) -> Floats:
    """A number in [0, 1) for each MRN: the first 53 bits of SHA-256 over seed, purpose and MRN, divided by 2^53.

    The three are parted by a unit separator (U+001F), which none of them may hold.
    """
    if "\x1f" in seed or "\x1f" in purpose:
        raise ValueError("a seed and a purpose hold no unit separator (U+001F); take it out")
    head = hashlib.sha256(f"{seed}\x1f{purpose}\x1f".encode())
    bits = np.empty(len(mrns), np.uint64)
    for place, mrn in enumerate(mrns):
        each = head.copy()
        each.update(mrn.encode())
        bits[place] = int.from_bytes(each.digest()[:8], "big") >> 11
    drawn: Floats = bits / 2.0**53
    return drawn


def weighted(draws: Floats, weights: Floats) -> Floats:
    """Draws whose lowest k are a sample in which a row's chance grows with its weight (Efraimidis and Spirakis 2006).

    Each becomes an exponential waiting time, -ln(1 - draw) / weight; a row of weight 0 never comes.
    """
    waits = -np.log1p(-draws)
    times: Floats = np.divide(waits, weights, out=np.full(len(draws), np.inf), where=weights > 0)
    return times


def parts_of(budget: int, exploration: Exploration, draws: tuple[float, float] = (0.5, 0.5)) -> tuple[int, int, int]:
    """Split a budget into targeted, random and uncertain; they add up to it.

    What does not come out whole is decided by two draws, so that small budgets explore their share in the long run: of
    3 a day and 10 %, one on three days of ten.
    """
    explored = _rounded(budget * exploration.share_ppm, draws[0])
    at_random = _rounded(explored * exploration.random_ppm, draws[1])
    return budget - explored, at_random, explored - at_random


def _rounded(share_ppm: int, fraction: float) -> int:
    whole, rest = divmod(share_ppm, PPM)
    return whole + (fraction * PPM < rest)


def select(
    mrns: Sequence[str],
    log_odds: Floats,
    doubt: Floats,
    budget: int,
    exploration: Exploration,
    *,
    seed: str,
    period: str,
    open_rows: Truths | None = None,
) -> Selection:
    """Select at most `budget` rows: the highest log-odds, then random ones of the rest, then the most doubtful of the rest.

    `doubt` is a weight of 0 or more (see `doubt_of`): uncertain ones are drawn by it, not only the most doubtful, since
    one kind of doubt would take all. `period` names the day or batch that the budget is for; `open_rows` are those that
    may be taken (all where not given). Equal log-odds are ordered by a draw.
    """
    rows = len(mrns)
    may = np.ones(rows, np.bool_) if open_rows is None else open_rows
    rounding = draw(seed, f"rounding {period}", ("explored", "random"))
    targeted, at_random, doubtful = parts_of(
        min(max(budget, 0), int(may.sum())), exploration, (rounding[0], rounding[1])
    )
    random_draws = draw(seed, "random", mrns)
    reasons = np.zeros(rows, np.int64)
    _take(reasons, TARGETED, targeted, may, -log_odds, draw(seed, "tie", mrns))
    chances = _chances(may & (reasons == NOT_TAKEN), reasons == TARGETED, doubt, at_random, doubtful)
    _take(reasons, RANDOM, at_random, may, random_draws, random_draws)
    times = weighted(draw(seed, "uncertain", mrns), doubt)
    _take(reasons, UNCERTAIN, doubtful, may, times, random_draws)
    return Selection(reasons, random_draws, chances)


def _chances(rest: Truths, targeted: Truths, doubt: Floats, at_random: int, doubtful: int) -> Floats:
    """A row's chance under both draws, taken as independent; that of the doubtful draw to first order."""
    left = max(int(rest.sum()), 1)
    by_doubt = np.minimum(1.0, doubtful * doubt / max(float(doubt[rest].sum()), 1e-300))
    either = 1 - (1 - min(1.0, at_random / left)) * (1 - by_doubt)
    chances: Floats = np.where(targeted, 1.0, np.where(rest, either, 0.0))
    return chances


def _take(reasons: Numbers, reason: int, count: int, may: Truths, order: Floats, ties: Floats) -> None:
    left = np.flatnonzero(may & (reasons == NOT_TAKEN))
    if count and len(left):
        reasons[left[np.lexsort((ties[left], order[left]))[:count]]] = reason


def doubt_of(log_odds: Floats, spread: Floats, budget: int, inspected: Sequence[Floats] = ()) -> Floats:
    """How much inspecting each row would teach, as a weight of 0 or more.

    Two kinds of doubt are added, each scaled so that its weights sum to 1 over the rows:

    - near the cut: the chance that the row lies on the other side of the cut between what is taken and what is not,
      by the spread of the ensemble (a normal distribution's tail);
    - unfamiliar: one over one plus the outcomes known of the row's group (its route, say), the least known group
      counting. Many rows of a group of which nobody has inspected any draw more than many of a well-known one, which
      is how a new kind of fraud is met.

    `inspected` has, per kind of group, the outcomes known of each row's group.
    """
    if len(log_odds) == 0:
        return np.zeros(0)
    place = min(max(budget, 1), len(log_odds)) - 1
    cut = -np.partition(-log_odds, place)[place]
    near = _tail(np.abs(log_odds - cut) / np.maximum(spread, 1e-6))
    doubt: Floats = near / max(float(near.sum()), 1e-12)
    if inspected:
        strange = np.max([1 / (1 + known) for known in inspected], axis=0)
        doubt = doubt + strange / max(float(strange.sum()), 1e-12)
    return doubt


def _tail(deviations: Floats) -> Floats:
    """Upper tail of the standard normal distribution from 0 up, to 1 % (Winitzki's approximation of erf)."""
    squared = deviations * deviations / 2
    a = 0.147
    inner = squared * (4 / np.pi + a * squared) / (1 + a * squared)
    tail: Floats = (1 - np.sqrt(-np.expm1(-inner))) / 2
    return tail
