"""Groups of commands, each in a module of its own that is imported when it is called, so that `--help` is quick."""

import importlib
import keyword
from collections.abc import Mapping
from typing import Any, ClassVar

import click


class LazyGroup(click.Group):
    """Imports a command when it is wanted."""

    modules: ClassVar[Mapping[str, tuple[str, str]]]
    """Commands in the order of the help: module under libs.cli.commands and short help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in their order."""
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module."""
        if cmd_name not in self.modules:
            return None
        module: Any = importlib.import_module(f"libs.cli.commands.{self.modules[cmd_name][0]}")
        name = cmd_name.replace("-", "_")
        found: click.Command = getattr(module, f"{name}_" if keyword.iskeyword(name) else name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.modules.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, and name what a misspelt one may have meant."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self.modules:
            import difflib

            near = difflib.get_close_matches(name, self.modules, n=1)
            ctx.fail(f"There is no command {name}." + (f" Did you mean {near[0]}?" if near else ""))
        return super().resolve_command(ctx, args)
