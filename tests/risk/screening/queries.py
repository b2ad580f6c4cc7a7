"""The public queries and which entry each is of; and names put together anew, which no choice was made on."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from random import Random
from xml.etree import ElementTree

import numpy as np
from rapidfuzz.distance import OSA
from rapidfuzz.process import cdist

from services.risk.screening.lists.party_list import country_of
from services.risk.screening.names.tokens import normalise
from tests.risk.screening.support import NAMES, UN_FILE

#: A query whose name is further from every primary name of the list than this has no entry there (any more).
SLIPS_MAX = 4
_PARTS = ("FIRST_NAME", "SECOND_NAME", "THIRD_NAME", "FOURTH_NAME")


@dataclass(frozen=True, slots=True)
class Query:
    name: str
    own: frozenset[str]
    """Ids of the entries that it is of: more than one where the list has the same person twice, none where it has none."""


def rows_of(file: str) -> list[dict[str, str]]:
    with (NAMES / file).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def no_match() -> list[str]:
    return [row["full_name"] for row in rows_of("queries_no_match.csv")]


def put_together(count: int, seed: int) -> list[str]:
    """First and last names of different queries that match nobody, of the same alphabet: names of nobody in that file."""
    rows = rows_of("queries_no_match.csv")
    groups: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(alphabet(row["full_name"]), []).append(row)
    random, known, made = Random(seed), {row["full_name"] for row in rows}, []
    while len(made) < count:
        group = groups[alphabet(random.choice(rows)["full_name"])]
        one, other = random.choice(group), random.choice(group)
        name = f"{one['first_name']} {other['last_name']}"
        if name not in known:
            made.append(name)
    return made


def alphabet(name: str) -> str:
    """A rough name of the letters that a name begins with."""
    code = ord(name[0])
    return "latin" if code < 0x250 else hex(code >> 7) if code < 0x2E80 else "hangul" if code >= 0xAC00 else "han"


def un_queries() -> list[Query]:
    """The queries derived from the UN's list, each with its own entry.

    The file names no entry, so it is the one whose primary name (in any rotation) is nearest letter by letter, and of
    equally near ones those that agree in year of birth and nationality.
    """
    ids, forms, owner, details = [], [], [], []
    for person in ElementTree.parse(UN_FILE).getroot().iter("INDIVIDUAL"):
        parts = [text for tag in _PARTS if (text := person.findtext(tag))]
        for turn in range(len(parts)):
            forms.append(" ".join(parts[turn:] + parts[:turn]))
            owner.append(len(ids))
        dates = [each.text or "" for date in person.iter("INDIVIDUAL_DATE_OF_BIRTH") for each in date]
        nations = [country_of(each.text or "") for each in person.findall("NATIONALITY/VALUE")]
        ids.append(person.findtext("DATAID") or "")
        details.append(({date[:4] for date in dates}, set(nations)))
    listed = together(forms)
    made = []
    for row in rows_of("queries_un_with_typos.csv"):
        name = row["full_name"]
        ways = together([name, " ".join(reversed(name.split(",")))])
        far = cdist(ways, listed, scorer=OSA.distance).min(axis=0)
        nearest = np.full(len(ids), 99)
        np.minimum.at(nearest, owner, far)
        agree = np.array(
            [
                (row["date_of_birth"][:4] in years) + (row["nationality"].upper() in nations)
                for years, nations in details
            ]
        )
        rank = nearest * 3 - agree
        own = [ids[place] for place in np.flatnonzero(rank == rank.min())] if nearest.min() <= SLIPS_MAX else []
        made.append(Query(name, frozenset(own)))
    return made


def together(names: list[str]) -> list[str]:
    return [line.replace(" ", "") for line in normalise(names)]
