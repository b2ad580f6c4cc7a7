"""Train a code model, or suggest codes by a model file: python -m services.risk.codes learn|suggest.

`luxor learn codes` and `luxor codes suggest` start it. Writes one JSON document to standard output. Errors are on standard error, with exit code 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from services.risk.codes.code_model_file import CodeModelRefused, read_code_model, write_code_model
from services.risk.codes.ngrams import features_of
from services.risk.codes.suggestions import suggest, warning_of
from services.risk.codes.text_files import TextFileRefused, read_pairs, reference_terms, texts_of


def main(arguments: Sequence[str]) -> int:
    """Run one of the two and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.risk.codes", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    learning = actions.add_parser("learn")
    learning.add_argument("--declarations", type=Path, required=True, action="append")
    learning.add_argument("--references", type=Path, default=[], action="append")
    learning.add_argument("--description", default="description")
    learning.add_argument("--code", default="commodity_code")
    learning.add_argument("--name", default="declarations")
    learning.add_argument("--out", type=Path, required=True)
    suggesting = actions.add_parser("suggest")
    suggesting.add_argument("--model", type=Path, required=True)
    suggesting.add_argument("--declared", default="")
    suggesting.add_argument("descriptions", nargs="+")
    options = parser.parse_args(arguments)
    try:
        result = learn(options) if options.action == "learn" else suggest_by_file(options)
    except (CodeModelRefused, TextFileRefused) as error:
        print(error, file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"training needs {error.name}, which is not installed: install luxor[learning]", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}; check its name and your rights to it", file=sys.stderr)
        return 1
    print(msgspec.json.encode(result).decode())
    return 0


def learn(options: argparse.Namespace) -> dict[str, object]:
    """Train, judge by cross-validation, write the model file, and return what was measured."""
    from services.risk.codes.cross_validation import cross_validate
    from services.risk.codes.training import train

    declared = [read_pairs(path, options.description, options.code) for path in options.declarations]
    referred = [read_pairs(path, options.description, options.code) for path in options.references]
    declarations = [pair for pairs, _ in declared for pair in pairs]
    references = [*reference_terms(), *(pair for pairs, _ in referred for pair in pairs)]
    texts = texts_of(declarations, references)
    accuracy = cross_validate(texts)
    try:
        content = write_code_model(
            train(texts),
            name=options.name,
            declarations=len(declarations),
            references=len(references),
            top1=accuracy.top1,
            top5=accuracy.top5,
            sharpness=accuracy.sharpness,
            quantiles=accuracy.quantiles,
        )
    except msgspec.ValidationError as error:
        raise TextFileRefused(f"the name of the model is refused: {error}") from None
    model = read_code_model(content, options.out.name)
    partial = options.out.with_name(f"{options.out.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(options.out)
    return {
        "version": model.version,
        "file": str(options.out),
        "codes": len(model.weights.codes),
        "declarations": len(declarations),
        "references": len(references),
        "left_out": sum(count for _, count in (*declared, *referred)),
        "top1": accuracy.top1,
        "top5": accuracy.top5,
        "top1_repeated": accuracy.top1_repeated,
    }


def suggest_by_file(options: argparse.Namespace) -> dict[str, object]:
    """Return the suggestions of a model file for some descriptions."""
    model = read_code_model(options.model.read_bytes(), options.model.name)
    declared = options.declared.replace(".", "")
    if declared and not (declared.isascii() and declared.isdigit() and len(declared) in (2, 4, 6, 8, 10)):
        raise TextFileRefused(f"the declared code is {options.declared!r}; give 2, 4, 6, 8 or 10 digits")
    features = features_of(options.descriptions)
    found = suggest(model.weights, model.content.sharpness, features, [declared] * features.rows)
    return {
        "model": model.version,
        "descriptions": [
            {
                "description": description,
                "suggestions": [
                    {"code": model.weights.codes[place], "probability": round(chance, 4)}
                    for place, chance in zip(found.places[row].tolist(), found.probabilities[row].tolist(), strict=True)
                    if chance > 0
                ],
                "declared": _or_none(chance := float(found.declared[row])),
                "warning": warning_of(declared, chance, bool(found.probabilities[row].any()), model.unlikely_below),
            }
            for row, description in enumerate(options.descriptions)
        ],
    }


def _or_none(probability: float) -> float | None:
    return round(probability, 4) if probability == probability else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
