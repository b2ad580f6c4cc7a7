"""The simulator's own data, read once: goods, places, names, traders and wording, with the tables that draws need."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.files.yaml_file import YamlFile

_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
_POSTCODES_PER_CITY = 60
_HOUSE_NUMBERS = 40
DEAR_CENTS = 9000.0
"""Goods with a higher median price are drawn for consignments over the limit only."""


@dataclass(frozen=True, slots=True)
class Good:
    """One kind of goods; prices in EUR cents, masses in grams, both of one piece."""

    code: str
    group: str
    price: float
    spread: float
    lightest: int
    heaviest: int
    origins: tuple[str, ...]
    share: float
    words: tuple[str, ...]
    dangerous: str
    open_share: float


@dataclass(frozen=True)
class Goods:
    """All goods as columns, those of a group side by side; prohibited ones stand last and outside of all groups."""

    goods: tuple[Good, ...]
    groups: tuple[str, ...]
    group_bounds: NDArray[np.int64]
    """Goods group_bounds[g] up to group_bounds[g + 1] are of group g; one more than groups."""
    group_of: NDArray[np.int64]
    price: NDArray[np.float64]
    spread: NDArray[np.float64]
    lightest: NDArray[np.int64]
    heaviest: NDArray[np.int64]
    variants: NDArray[np.int64]
    weight: NDArray[np.float64]
    """How often each is drawn for low value; 0 for dear and prohibited goods."""
    dear: NDArray[np.int64]
    middling: NDArray[np.int64]
    """Goods of 20 to 90 EUR, of which orders are split."""
    covers: NDArray[np.int64]
    prohibited: NDArray[np.int64]
    origin_allowed: NDArray[np.bool_]
    """[good, place]: whether the good is made there."""
    first_origin: NDArray[np.int64]

    def with_code(self, codes: list[str]) -> NDArray[np.int64]:
        """Return the goods that have one of the commodity codes. Raises KeyError where a code has no good."""
        by_code = {good.code: index for index, good in reversed(list(enumerate(self.goods)))}
        return np.array([by_code[code] for code in codes], dtype=np.int64)


@dataclass(frozen=True)
class Place:
    """A country with pools of what addresses and names there look like."""

    country: str
    phone: str
    vat_ppm: int
    gate: str
    office: str
    names: tuple[str, ...]
    lines: tuple[str, ...]
    """Street lines with house numbers."""
    towns: tuple[tuple[str, str], ...]
    """(postcode, city)."""


@dataclass(frozen=True)
class Catalogue:
    """Everything that data/ holds."""

    goods: Goods
    places: tuple[Place, ...]
    place_of: dict[str, int]
    traders: dict[str, Any]
    wording: dict[str, Any]
    watchlist: tuple[dict[str, Any], ...]


@cache
def catalogue() -> Catalogue:
    """Return the simulator's data; read once a process."""
    places = _places()
    place_of = {place.country: index for index, place in enumerate(places)}
    wording = _yaml("wording.yaml")
    return Catalogue(
        goods=_goods(place_of, wording),
        places=places,
        place_of=place_of,
        traders=_yaml("traders.yaml"),
        wording=wording,
        watchlist=tuple(_yaml("watchlist.yaml")["parties"]),
    )


def _yaml(*path: str) -> dict[str, Any]:
    content = files("libs.simulator").joinpath("data", *path).read_bytes()
    document = YamlFile("/".join(path), content).data
    assert isinstance(document, dict)
    return document


def _good(group: str, entry: dict[str, Any]) -> Good:
    return Good(
        code=entry["hs"],
        group=group,
        price=float(entry["price"]),
        spread=float(entry.get("spread", 0.35)),
        lightest=int(entry["grams"][0]),
        heaviest=int(entry["grams"][1]),
        origins=tuple(str(entry.get("from", "CN")).split()),
        share=float(entry.get("share", 10)),
        words=tuple(entry["words"]),
        dangerous=entry.get("un", ""),
        open_share=float(entry.get("open", 1.0)),
    )


def _goods(place_of: dict[str, int], wording: dict[str, Any]) -> Goods:
    documents = [_yaml("goods", name) for name in ("adorn.yaml", "home.yaml", "leisure.yaml", "tech.yaml", "wear.yaml")]
    grouped = {group: entries for document in documents for group, entries in document.items()}
    groups = tuple(sorted(grouped))
    ordinary = [_good(group, entry) for group in groups for entry in grouped[group]]
    goods = [*ordinary, *(_good("prohibited", entry) for entry in wording["prohibited"])]
    indices = np.arange(len(goods))
    prohibited = indices[len(ordinary) :]
    price = np.array([good.price for good in goods])
    low = (price <= DEAR_CENTS) & (indices < len(ordinary))
    allowed = np.zeros((len(goods), len(place_of)), dtype=np.bool_)
    for index, good in enumerate(goods):
        allowed[index, [place_of[origin] for origin in good.origins if origin in place_of]] = True
    sizes = [len(grouped[group]) for group in groups]
    codes = [good.code for good in ordinary]
    return Goods(
        goods=tuple(goods),
        groups=groups,
        group_bounds=np.cumsum([0, *sizes]),
        group_of=np.concatenate([np.repeat(np.arange(len(groups)), sizes), np.full(len(prohibited), -1)]),
        price=price,
        spread=np.array([good.spread for good in goods]),
        lightest=np.array([good.lightest for good in goods]),
        heaviest=np.array([good.heaviest for good in goods]),
        variants=np.array([len(good.words) for good in goods]),
        weight=np.where(low, [good.share for good in goods], 0.0),
        dear=indices[(price > DEAR_CENTS) & (indices < len(ordinary))],
        middling=indices[low & (price >= 2000)],
        covers=np.array([codes.index(code) for code in wording["covers"]]),
        prohibited=prohibited,
        origin_allowed=allowed,
        first_origin=np.array([next(place_of[o] for o in good.origins if o in place_of) for good in goods]),
    )


def _places() -> tuple[Place, ...]:
    names = _yaml("names.yaml")
    return tuple(_place(country, entry, names[entry["names"]]) for country, entry in _yaml("places.yaml").items())


def _place(country: str, entry: dict[str, Any], names: dict[str, Any]) -> Place:
    # The pools are the same for every seed: only the draws from them differ.
    rng = np.random.Generator(np.random.PCG64([int.from_bytes(country.encode()), 7]))
    last_first = names.get("order") == "last"
    number_first = entry.get("number") == "first"
    people = [
        f"{last} {first}" if last_first else f"{first} {last}" for first in names["first"] for last in names["last"]
    ]
    numbers = rng.integers(1, 180, size=(len(entry["streets"]), _HOUSE_NUMBERS)).tolist()
    lines = [
        f"{number} {street}" if number_first else f"{street} {number}"
        for street, row in zip(entry["streets"], numbers, strict=True)
        for number in row
    ]
    towns = [
        (_postcode(pattern, rng), city)
        for city, pattern in entry["cities"].items()
        for _ in range(_POSTCODES_PER_CITY if pattern else 1)
    ]
    return Place(
        country=country,
        phone=entry["phone"],
        vat_ppm=int(entry.get("vat_ppm", 0)),
        gate=entry["gate"],
        office=entry["office"],
        names=tuple(people),
        lines=tuple(lines),
        towns=tuple(towns),
    )


def _postcode(pattern: str, rng: np.random.Generator) -> str:
    draws = rng.integers(0, 1 << 30, size=len(pattern)).tolist()
    swapped = {"#": lambda draw: str(draw % 10), "?": lambda draw: _LETTERS[draw % len(_LETTERS)]}
    return "".join(swapped[sign](draw) if sign in swapped else sign for sign, draw in zip(pattern, draws, strict=True))
