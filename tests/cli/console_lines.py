"""What a command prints, by lines."""

import io
from typing import Any

from rich.console import Console


def lines_of(show: Any, width: int = 120) -> list[str]:
    out = io.StringIO()
    show(Console(file=out, width=width, highlight=False))
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]
