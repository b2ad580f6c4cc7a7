"""The checks of filings that an administration may change: what it writes in YAML, read and checked when the service starts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Final

import msgspec

from libs.customs.descriptions import vague
from libs.customs.descriptions.vague import VagueTerms
from libs.files.yaml_file import YamlError, YamlFile

INCLUDED: Final = Path(__file__).parent / "filing_checks.yaml"
TERMS_MAX: Final = 20_000
_Term = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    vague_terms: Annotated[tuple[_Term, ...], msgspec.Meta(max_length=TERMS_MAX)]


@dataclass(frozen=True, slots=True)
class CheckRules:
    """The checks of filings beside the forms of elements."""

    vague_terms: VagueTerms
    """The terms of which a description must not consist alone."""


@cache
def included() -> CheckRules:
    """Return the checks that are included in this release."""
    return read(INCLUDED)


def read(path: Path) -> CheckRules:
    """Read and check a file. Raises YamlError."""
    file = YamlFile(path)
    data = file.convert(_File)
    for place, term in enumerate(data.vague_terms):
        if not vague.has_word(term):
            where = f"$.vague_terms[{place}]"
            message = f"the term {term!r} has no word: numbers, sizes of one letter and article numbers need no term"
            raise YamlError(file.name, file.position(where)[0], where, message)
    return CheckRules(vague.included(data.vague_terms))
