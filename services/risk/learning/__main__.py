"""Train a model on a labelled file: python -m services.risk.learning --labelled FILE --out FILE. `luxor risk train` starts it.

Writes the model file, and on standard output one line of JSON: the version, where it was written and what was measured. What is
wrong with the file or its columns is told on standard error; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from services.risk.learning.features.consignments import ASSESSED, ASSESSED_SETTINGS, TRAFFIC_COLUMNS
from services.risk.learning.features.recipe import Recipe
from services.risk.learning.features.sample import NUMBER, WORD, ColumnsDoNotFit, ColumnType
from services.risk.learning.model.model_file import Window, read_model, write_model
from services.risk.learning.training.candidate import TrainingPlan, candidate
from services.risk.learning.training.inspected_samples import InspectedItems
from services.risk.learning.training.labelled_file import Labelled, LabelledFileRefused, Layout, read_labelled
from services.risk.learning.training.training import LearningAbsent, TooFewOutcomes

#: A labelled file is often of years, and all of it counts: nobody keeps adding the newest days to it.
FILE_SETTINGS: Final = msgspec.structs.replace(ASSESSED_SETTINGS, half_life_days=None)
LABEL: Final = "violation"
DAY: Final = "day"
YES: Final = ("1", "true", "yes")
NO: Final = ("0", "false", "no")


class CannotTrain(Exception):  # an answer
    """What is asked for cannot be trained; the text says why and what to do."""


def main(arguments: Sequence[str]) -> int:
    """Train, write, tell; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.risk.learning", description=__doc__)
    parser.add_argument("--labelled", type=Path, required=True, help="CSV with an outcome in each row")
    parser.add_argument("--layout", type=Path, help="YAML that says which of its columns are what")
    parser.add_argument("--out", type=Path, required=True, help="where the model file is written")
    parser.add_argument("--name", default="labelled", help="name of the model")
    parser.add_argument("--seed", type=int, default=0, help="seed of all that is drawn")
    how = parser.parse_args(arguments)
    try:
        told = train_file(how.labelled, how.layout, how.out, how.name, how.seed)
    except (CannotTrain, LabelledFileRefused, ColumnsDoNotFit, TooFewOutcomes, LearningAbsent) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}; check its name and your rights to it", file=sys.stderr)
        return 1
    print(msgspec.json.encode(told).decode())
    return 0


def train_file(labelled: Path, layout: Path | None, model_path: Path, name: str, seed: int) -> dict[str, object]:
    """Train on a labelled file and write the model file; gives what is told of it."""
    data = labelled.read_bytes()
    file_layout = layout_of(data) if layout is None else read_layout(layout)
    known = read_labelled(data, file_layout, labelled.name)
    recipe = recipe_of(known.sample.columns)
    plan = TrainingPlan(
        name=name,
        label=f"{file_layout.label} is {' or '.join(file_layout.violations)}",
        window=Window(
            first_day=int(known.days.min()),
            last_day=int(known.days.max()),
            outcomes=known.sample.rows,
            violations=int(known.violations.sum()),
            source=f"labelled file {labelled.name}",
        ),
        recipe=recipe,
        settings=FILE_SETTINGS,
        seed=seed,
    )
    try:
        content = candidate(plan, part_of(known))
    except msgspec.ValidationError as error:
        raise CannotTrain(str(error)) from None
    written = write_model(content)
    model = read_model(written, model_path.name)
    beside = model_path.with_name(f"{model_path.name}.{os.getpid()}")
    beside.write_bytes(written)
    beside.replace(model_path)
    return {
        "version": model.version,
        "file": str(model_path),
        "columns": sorted(content.columns),
        "metrics": content.metrics,
    }


def part_of(labelled: Labelled) -> InspectedItems:
    """The rows in the order of their days; near copies count as one consignment, which is where its first row is."""
    order = np.argsort(labelled.days, kind="stable")
    groups = labelled.groups[order]
    _, first, places = np.unique(groups, return_index=True, return_inverse=True)
    owners = np.argsort(np.argsort(first))[places]
    # A file does not tell by what chance its rows were inspected: they count alike.
    unknown = np.full(len(order), np.nan)
    return InspectedItems(
        labelled.sample.take(order), labelled.violations[order], unknown, owners, labelled.days[order], len(first)
    )


def recipe_of(columns: dict[str, ColumnType]) -> Recipe:
    """The features of risk's own recipe whose columns are all there. Raises CannotTrain where hardly any is."""
    features = tuple(
        feature
        for feature in ASSESSED.features
        if all(columns.get(name) == kind for name, kind in Recipe((feature,)).columns.items())
    )
    if not features:
        raise CannotTrain(
            f"none of the columns {', '.join(sorted(columns))} makes a feature that risk knows; name them as risk does "
            f"({', '.join(sorted(ASSESSED.columns))}), in the first line or in a layout"
        )
    return Recipe(features)


def layout_of(data: bytes) -> Layout:
    """The layout of a file whose first line has risk's own names, and `violation` and perhaps `day` beside them."""
    first = data.splitlines()[0].decode("utf-8-sig", "replace") if data else ""
    names = next(csv.reader(io.StringIO(first)), [])
    of = {kind: {name: name for name in names if TRAFFIC_COLUMNS.get(name) == kind} for kind in (NUMBER, WORD)}
    return Layout(
        label=LABEL,
        violations=YES,
        clean=NO,
        numbers=of[NUMBER],
        words=of[WORD],
        day=DAY if DAY in names else None,
    )


def read_layout(path: Path) -> Layout:
    """A layout from YAML. Raises CannotTrain, naming what is wrong."""
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=Layout)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CannotTrain(f"{path.name}: the layout is refused: {error}; see docs/risk/model.md") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
