"""A small model of commodity codes as a file, and calls that make it active."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np

from luxor.risk.v1 import models_pb2 as pb
from services.risk.codes.code_model_file import read_code_model, write_code_model
from services.risk.codes.training import TrainingTexts, train

GOODS: Final = {
    "330410": "lipstick red matte",
    "330420": "mascara black",
    "330510": "shampoo anti dandruff",
    "392690": "phone case clear",
    "620463": "trousers wide leg",
    "640411": "running trainers",
}
QUANTILES: Final = tuple(place / 1_000 for place in range(1, 100))
"""Percentiles of right codes: the fifth is 0.005."""


@cache
def file(name: str = "declarations") -> bytes:
    """Return a model file; models of other names have another digest."""
    return file_of(list(GOODS.values()), list(GOODS), name)


def file_of(descriptions: Sequence[str], codes: Sequence[str], name: str) -> bytes:
    """Return a model file that is trained on some descriptions with their HS6 codes."""
    weights = train(TrainingTexts(descriptions, codes, np.ones(len(codes))))
    facts: dict[str, float] = {"declarations": len(codes), "references": 0, "top1": 0.5, "top5": 1.0, "sharpness": 20.0}
    return write_code_model(weights, **facts, name=name, quantiles=QUANTILES)


@cache
def version(name: str = "declarations") -> str:
    """Return the version of a model."""
    return read_code_model(file(name), "file").version


async def activate(ann: Any, bob: Any, name: str = "declarations", content: bytes = b"") -> str:
    """Have one analyst propose a model and another one activate it; return its version."""
    propose = pb.ProposeModelRequest(request_id=f"propose {name}", content=content or file(name))
    proposed = await ann.ProposeModel(propose, timeout=10)
    activation = pb.ActivateModelRequest(request_id=f"activate {name}", version=proposed.model.version)
    await bob.ActivateModel(activation, timeout=10)
    return str(proposed.model.version)
