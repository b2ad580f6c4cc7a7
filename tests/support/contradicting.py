"""Filings that state contradictions with parts of other parties, as ingestion announces them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from libs.columns import Column, Ints, Ragged, Strings, Table, schema_of
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.ingestion.v1.parts_pb2 import PARTY_ROLE_PAYMENT_PROVIDER, PARTY_ROLE_PLATFORM

_SCHEMA: Final = schema_of(ConsignmentColumns).children["contradictions"]


class Differing(NamedTuple):
    """An element of which a part states another value."""

    path: str = "payment.payer"
    consignment_value: str = "Bob Example"
    stated_by: str = "shop"
    part_value: str = "Ada Example"
    part_filer: str = "bank"
    part_role: int = PARTY_ROLE_PAYMENT_PROVIDER
    first_version: int = 1
    last_version: int = 0
    """0 stands for the version of the filing."""


PAYER: Final = Differing()
BUYER: Final = Differing("buyer.name", "Ada Example", "bank", "Eve Example", "bazaar", PARTY_ROLE_PLATFORM)
"""The filer stated nothing: two parts contradict each other."""


def contradicting(table: Table, *stated: Sequence[Differing], count: int = 0, unchanged_since: int = 0) -> Table:
    """Return filings that state contradictions, each those of its place; `count` of all of them, with those that are not named.

    `unchanged_since`: they differ from this version on in their contradictions alone.
    """
    versions = table.ints("version").tolist()
    lines = [
        each if each.last_version else each._replace(last_version=int(version or 0))
        for some, version in zip(stated, versions, strict=True)
        for each in some
    ]
    texts = ("path", "consignment_value", "stated_by", "part_value", "part_filer")
    columns: dict[str, Column] = {name: Strings.of([getattr(each, name) for each in lines]) for name in texts}
    numbers = ("part_role", "first_version", "last_version")
    columns |= {name: Ints.of([getattr(each, name) for each in lines]) for name in numbers}
    rows = Ragged.of_lengths([len(some) for some in stated], Table(_SCHEMA, len(lines), columns))
    added: dict[str, Column] = {
        "contradictions": rows,
        "contradiction_count": Ints.of([count or len(some) for some in stated]),
    }
    if unchanged_since:
        added["unchanged_since"] = Ints.of([unchanged_since] * table.rows)
    return table.with_columns(added)
