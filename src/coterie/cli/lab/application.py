"""The group of the lab's commands: each is loaded when it is called."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Final

import typer
from typer.core import TyperGroup

COMMANDS: Final = ("models", "cap", "pacelc", "flp", "compare", "advise", "measure", "claims", "sequence")
"""Each is a module of this package with a function under the same name."""


class Experiments(TyperGroup):
    """Finds an experiment's module when it is asked for (types as in `coterie.cli.application.Commands`)."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for name in COMMANDS if _exists(name)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS or not _exists(cmd_name):
            return None
        function = getattr(importlib.import_module(f"coterie.cli.lab.{cmd_name}"), cmd_name)
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
        alone.command(name=cmd_name)(function)
        command = typer.main.get_command(alone)
        command.name = cmd_name
        return command


def _exists(command: str) -> bool:
    return importlib.util.find_spec(f"coterie.cli.lab.{command}") is not None


app = typer.Typer(
    cls=Experiments,
    help="Theorems as experiments, protocols compared, advice for a network; all on the code that ships.",
    epilog="Example: coterie lab cap --html cap.html",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def lab() -> None:
    """Theorems as experiments, protocols compared, advice for a network; all on the code that ships."""
    # The commands are `Experiments`'.
