"""Drafts of law as commands take them: values by PATH=VALUE, files by NAME=FILE."""

from collections.abc import Sequence
from pathlib import Path

import click


def changes_of(values: Sequence[str]) -> list[tuple[str, str]]:
    """Return places and values of PATH=VALUE; an empty value takes the place out."""
    found = []
    for text in values:
        path, there, value = text.partition("=")
        if not there or ":" not in path:
            raise click.UsageError(
                f"--set {text}: write PATH=VALUE, such as eu/rulebook.yaml:charges[flat_duty].rates[1].rate=5.00 EUR per tariff_line"
            )
        found.append((path.strip(), value.strip()))
    return found


def files_of(files: Sequence[str]) -> dict[str, str]:
    """Return texts by the name of the law file, of NAME=FILE, or of FILE alone, which is named by its directory and itself."""
    found: dict[str, str] = {}
    wrong: list[str] = []
    for text in files:
        name, there, file = text.partition("=")
        path = Path(file if there else text)
        if not there:
            path = path.resolve()
            name = f"{path.parent.name}/{path.name}"
        if name in found:
            wrong.append(f"{name} is given twice; give it once, or name one otherwise with NAME=FILE.")
            continue
        try:
            found[name] = path.read_text(encoding="utf-8")
        except OSError as error:
            wrong.append(f"{path} cannot be read: {error.strerror}.")
        except UnicodeDecodeError:
            wrong.append(f"{path} is no text in UTF-8.")
    if wrong:
        raise click.UsageError("\n".join(wrong))
    return found
