"""The commands of the documentation: each exists and has the options that the page names."""

import re
from pathlib import Path

import click

from libs.cli.main import luxor

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "libs/server/catalogue.yaml", *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPET = re.compile(r"[`(](luxor [^`()]+)|^\s+(?:\.venv/bin/)?(luxor [a-z].*)$|^(luxor [a-z].*)$", re.MULTILINE)
NO_COMMANDS = {"luxor selection seed"}
"""Text that only begins like a command: the domain of the hash of a seed."""


def unknown(snippet: str) -> list[str]:
    """Return which parts of a command do not exist."""
    words = re.split(r"[#|;>]", snippet)[0].split()[1:]
    command: click.Command = luxor
    context = click.Context(luxor)
    while words and isinstance(command, click.Group) and words[0].strip(",.").islower() and words[0][0].isalpha():
        found = command.get_command(context, words[0].strip(",."))
        if found is None:
            return [words[0]]
        command, context = found, click.Context(found, parent=context)
        words = words[1:]
    options = {name for each in command.get_params(context) for name in (*each.opts, *each.secondary_opts)}
    return (
        []
        if isinstance(command, click.Group)
        else sorted(set(re.findall(r"--[a-z][a-z0-9-]*", " ".join(words))) - options)
    )


def test_each_documented_command_exists_with_its_options() -> None:
    wrong = {}
    for page in PAGES:
        for snippet in {"".join(each) for each in SNIPPET.findall(page.read_text())} - NO_COMMANDS:
            if parts := unknown(snippet):
                wrong[page.relative_to(ROOT).as_posix(), snippet] = parts
    assert wrong == {}


def test_a_command_that_does_not_exist_is_found() -> None:
    assert unknown("luxor control order MRN --authority x --form scan # --that") == ["--authority"]
    assert unknown("luxor transit begin MRN") == ["begin"]
