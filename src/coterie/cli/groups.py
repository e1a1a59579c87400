"""Commands that have commands of their own: `coterie member add`; and how each is loaded only when it is called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup

from coterie.cli.connection_options import add_options


def group(help: str, example: str) -> typer.Typer:
    """An empty one; `help` and `example` are what `--help` shows."""
    return typer.Typer(
        help=help,
        epilog=f"Example: {example}",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )


class LazyGroup(TyperGroup):
    """Finds a command's module when it is asked for, so that the start is quick. A module has a function, or a
    `typer.Typer` named `app`, under the command's name.

    The types are `Any` because they are click's, which some versions of typer bring under another name.
    """

    package: ClassVar[str]
    """Where the modules are."""
    names: ClassVar[tuple[str, ...]]
    """The commands, in the order in which `--help` lists them."""
    modules: ClassVar[Mapping[str, str]] = {}
    """Where a module's name differs from its command's."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.names)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.names:
            return None
        name = self.modules.get(cmd_name, cmd_name)
        module = importlib.import_module(f"{self.package}.{name}")
        found: Any = getattr(module, "app", None)
        if not isinstance(found, typer.Typer):
            found = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
            found.command(name=cmd_name)(getattr(module, name))
        command = typer.main.get_command(found)
        command.name = cmd_name
        add_options(command)
        return command
