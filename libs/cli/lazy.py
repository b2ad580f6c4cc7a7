"""Groups of commands, each in a module of its own that is imported when it is called, so that `--help` is quick."""

import importlib
import keyword
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import click

FORMER_COMMANDS: Final = {
    "open": "open-items",
    **{f"model-{verb}": f"models {verb}" for verb in ("show", "propose", "challenge", "activate", "retire")},
}
"""Commands of version 0.2 by their names there."""
FORMER_OPTIONS: Final = {"--seen": "--if-version", "--mark": "--heartbeat", "--paper": "--document"}
"""Options of version 0.2 by their names there."""


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

            former = FORMER_COMMANDS.get(name, "")
            is_current = former.split(" ")[0] in self.modules
            near = [former] if is_current else difflib.get_close_matches(name, self.modules, n=1)
            ctx.fail(f"There is no command {name}." + (f" Did you mean {near[0]}?" if near else ""))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an option that is refused by a former name is named as it is now."""
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            current = FORMER_OPTIONS.get(error.option_name)
            if current is None:
                raise
            message = f"There is no option {error.option_name}: since version 0.3 it is {current}."
            raise click.NoSuchOption(error.option_name, message, ctx=error.ctx) from None
