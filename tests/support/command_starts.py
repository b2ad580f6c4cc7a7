"""Starts every command of `luxor` once in a process of its own: python -m tests.support.command_starts DIRECTORY [command that is not run ...]

Prints a line of JSON for each: its words, the modules after its help and after its start with the required arguments, the seconds of CPU time that
the start took beside that of Python and click, and what it wrote. Each command runs in a fork of a process that has imported none of their work.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from libs.cli.main import luxor


def leaves(
    command: click.Command, words: Sequence[str], parent: click.Context | None = None
) -> Iterator[tuple[list[str], click.Command]]:
    """Return every command that does something, with its words."""
    context = click.Context(command, info_name=words[-1] if words else "luxor", parent=parent)
    if not isinstance(command, click.Group):
        yield list(words), command
        return
    if command.invoke_without_command and words:
        yield list(words), command
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from leaves(found, [*words, name], context)


def value_for(kind: click.ParamType, directory: Path) -> str:
    """Return a value that a required parameter takes."""
    if isinstance(kind, click.Choice):
        return str(kind.choices[0])
    if isinstance(kind, click.Path | click.File):
        file = directory / "file.csv"
        file.write_text("mrn\nX\n", encoding="utf-8")
        return str(file)
    numeric = isinstance(kind, click.types.IntParamType | click.types.FloatParamType)
    return "1" if numeric else "X"


def arguments_of(words: Sequence[str], command: click.Command, directory: Path) -> list[str]:
    """Return the words of a command with what it requires."""
    arguments = list(words)
    for each in command.params:
        if isinstance(each, click.Argument) and each.required:
            arguments += [value_for(each.type, directory)] * max(1, each.nargs)
        elif isinstance(each, click.Option) and each.required:
            arguments += [each.opts[0], value_for(each.type, directory)]
    if any(each.name == "data_dir" for each in command.params):
        arguments += ["--data-dir", str(directory / "none")]
    return arguments


def started(arguments: Sequence[str]) -> dict[str, Any]:
    """Run a command in a fork; return its modules, its seconds of CPU time and what it wrote."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        said = sys.stdout = sys.stderr = io.StringIO()
        before = _cpu_seconds()
        try:
            luxor(list(arguments), standalone_mode=False)
        except BaseException as error:  # what a command ends with is not looked at here
            print(error, file=said)
        told = {"modules": sorted(sys.modules), "cpu_seconds": _cpu_seconds() - before, "said": said.getvalue()[:1000]}
        with os.fdopen(writing, "w", encoding="utf-8") as pipe:
            json.dump(told, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        text = pipe.read()
    os.waitpid(process, 0)
    found: dict[str, Any] = json.loads(text)
    return found


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Start them all."""
    directory, unrun = Path(sys.argv[1]), sys.argv[2:]
    for words, command in leaves(luxor, []):
        helped = started([*words, "--help"])
        told = helped if words[0] in unrun else started(arguments_of(words, command, directory))
        print(json.dumps({"words": words, "help_modules": helped["modules"], **told}))


if __name__ == "__main__":
    main()
