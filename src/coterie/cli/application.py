"""The application that holds the commands: each is loaded when it is called, so that the start is quick."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import coterie
from coterie.cli.outcome import EndpointsOption

COMMANDS = (
    "up",
    "down",
    "status",
    "put",
    "get",
    "range",
    "delete",
    "cas",
    "member",
    "transfer",
    "settings",
    "bench",
    "node",
    "disk",
    "lab",
    "sim",
    "check",
    "torture",
)
"""Each is a module of this package with a function, or a `typer.Typer` named `app`, under the same name."""
MODULES = {"range": "scan", "lab": "lab.application"}
"""Where the module's name differs from the command's."""


class Commands(TyperGroup):
    """Finds a command's module when it is asked for.

    The types are `Any` because they are click's, which some versions of typer bring under another name.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for name in COMMANDS if _exists(name)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS or not _exists(cmd_name):
            return None
        module = importlib.import_module(_module(cmd_name))
        found: Any = getattr(module, "app", None)
        if not isinstance(found, typer.Typer):
            function = getattr(module, _module(cmd_name).rpartition(".")[2])
            found = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
            found.command(name=cmd_name)(function)
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


def _module(command: str) -> str:
    return f"coterie.cli.{MODULES.get(command, command)}"


def _exists(command: str) -> bool:
    return importlib.util.find_spec(_module(command)) is not None


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"coterie {coterie.__version__}")
        raise typer.Exit


application = typer.Typer(
    cls=Commands,
    name="coterie",
    help="Consensus for Python: run a cluster, and use it.",
    epilog="Try: coterie up --detach; coterie put greeting hello; coterie get greeting; coterie status",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@application.callback()
def common(
    endpoints: EndpointsOption = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Consensus for Python: run a cluster, and use it."""
    # `outcome.endpoints_of` reads `endpoints` from the context.


def run() -> None:
    """Parse the command line and do it; ends the process with the command's exit code."""
    application()
