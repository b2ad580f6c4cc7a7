"""Texts for training from CSV files: a description and a code in each row; and the included reference terms."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from services.risk.codes.ngrams import normal_form
from services.risk.codes.training import TrainingTexts

BYTES_MAX: Final = 100_000_000
REFERENCE_WEIGHT: Final = 0.3
"""What a reference text counts. In cross-validation over parcel texts, 0.3 was better than 0.15 and than 1."""
DECLARATIONS_MIN: Final = 50
REFERENCE_TERMS: Final = Path(__file__).with_name("reference_terms.txt")
_CODE: Final = re.compile(r"[0-9]{6}([0-9]{2}){0,2}")

Pair = tuple[str, str]


class TextFileRefused(ValueError):
    """A file of texts that is not used; the message says where, why, and what to do."""


def read_pairs(path: Path, description: str, code: str) -> tuple[list[Pair], int]:
    """Return the descriptions with their HS6 codes, and how many rows were left out.

    A row is left out without a word in its description, or without a code of 6, 8 or 10 digits. Raises TextFileRefused, OSError.
    """
    data = path.read_bytes()
    if len(data) > BYTES_MAX:
        raise TextFileRefused(f"{path.name}: it has {len(data)} bytes, more than {BYTES_MAX}; give fewer rows")
    try:
        rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        for column in (description, code):
            if column not in (rows.fieldnames or ()):
                raise TextFileRefused(
                    f"{path.name}, line 1: there is no column {column!r}; name the columns with --description and --code"
                )
        read = [((row[description] or "").strip(), (row[code] or "").strip().replace(".", "")) for row in rows]
    except UnicodeDecodeError as error:
        raise TextFileRefused(f"{path.name}, byte {error.start}: it is not UTF-8; save it as UTF-8") from None
    except csv.Error as error:
        raise TextFileRefused(
            f"{path.name}, line {rows.line_num + 1}: {error}; correct the quotes of this line"
        ) from None
    pairs = [(text, found[:6]) for text, found in read if _CODE.fullmatch(found) and normal_form(text)]
    return pairs, len(read) - len(pairs)


def reference_terms() -> list[Pair]:
    """Return the included reference terms: words for goods that parcels contain, each with an HS6 code."""
    lines = (line.partition(":") for line in REFERENCE_TERMS.read_text().splitlines() if not line.startswith("#"))
    return [(term.strip(), code) for code, _, terms in lines for term in terms.split(",")]


def texts_of(declarations: Iterable[Pair], references: Iterable[Pair]) -> TrainingTexts:
    """Return the texts for training. Raises TextFileRefused where there are too few declarations or a single code."""
    declared, referred = list(declarations), list(references)
    if len(declared) < DECLARATIONS_MIN or len({code for _, code in declared}) < 2:
        raise TextFileRefused(
            f"there are {len(declared)} declarations with a description and a code; at least {DECLARATIONS_MIN}, of two codes, are needed"
        )
    pairs = declared + referred
    weights = np.repeat([1.0, REFERENCE_WEIGHT], [len(declared), len(referred)])
    return TrainingTexts([text for text, _ in pairs], [code for _, code in pairs], weights)
