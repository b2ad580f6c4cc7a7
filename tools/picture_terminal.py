"""Draws what a terminal shows as SVG, without fonts or anything else from the network."""

import io
from typing import Any, Final

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from libs.cli.views.consignment import render

COLUMNS: Final = 120
THEME: Final = TerminalTheme(
    (13, 17, 23),
    (201, 209, 217),
    [(72, 79, 88), (255, 123, 114), (63, 185, 80), (210, 153, 34), (88, 166, 255), (188, 140, 255), (57, 197, 207), (177, 186, 196)],
    [(110, 118, 129), (255, 161, 152), (86, 211, 100), (227, 179, 65), (121, 192, 255), (210, 168, 255), (86, 212, 221), (240, 246, 252)],
)  # fmt: skip
FORMAT: Final = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="Output of luxor show">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px;
 line-height: {line_height}px; white-space: pre; }}
.{unique_id}-title {{ font: bold 18px system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def draw_consignment(shown: dict[str, Any]) -> str:
    """Return what `luxor show` prints for a consignment, from its output as JSON."""
    console = Console(
        record=True, file=io.StringIO(), width=COLUMNS, force_terminal=True, color_system="truecolor", _environ={}
    )
    console.print(f"[bold]$[/] luxor show {shown['filing']['local_reference']}", highlight=False)
    console.print(render(shown))
    return console.export_svg(title="luxor show", theme=THEME, code_format=FORMAT, unique_id="luxor")
