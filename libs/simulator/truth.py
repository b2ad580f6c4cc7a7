"""The truth about simulated consignments: labels, who is behind them, what honest values were. Never in a manifest."""

from collections.abc import Iterator
from pathlib import Path

import msgspec


class TrueItem(msgspec.Struct, frozen=True, kw_only=True):
    """What an item really is, and what an inspection of it would find."""

    number: int
    violation: bool
    """Whether an inspection of this item would find a violation."""
    commodity_code: str
    description: str
    price_minor: int
    """Honest price of the whole line, minor units of the consignment's currency."""


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """The truth about one consignment with labels; a consignment without a truth is honest in everything."""

    local_reference: str
    labels: tuple[str, ...]
    """What is wrong, in the order of scenario.LABELS; a scenario's new fraud last."""
    violation: bool
    """Whether an inspection would find a violation in any item."""
    offender: str
    """Who is behind it: a seller, an operator of throw-away sellers, or the id of a listed party."""
    currency: str
    nature: str
    """Honest nature of the transaction, as named in luxor.consignment.v1.Nature."""
    items: tuple[TrueItem, ...]
    split_order: str = ""
    """Parts of one split order have the same value here."""
    listed_party: str = ""
    """Id of the listed party in data/watchlist.yaml."""


_DECODER = msgspec.json.Decoder(Truth)


def truth_path(manifest: Path) -> Path:
    """Return where the truth of a manifest is written: beside it, with `.truth.jsonl` added to its name."""
    return manifest.with_name(manifest.name + ".truth.jsonl")


def read_truth(path: Path) -> Iterator[Truth]:
    """Yield the truths of a file, one a line. Raises ValueError, naming the line, where one cannot be read."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield _DECODER.decode(line)
            except msgspec.MsgspecError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
