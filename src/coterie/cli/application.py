"""The application that holds the commands: each is loaded when it is called, so that the start is quick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import typer

import coterie
from coterie.cli.connection_options import CacertOption, CertOption, KeyOption, UserOption
from coterie.cli.groups import LazyGroup
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
    "restore",
    "bench",
    "certs",
    "node",
    "disk",
    "lab",
    "sim",
    "check",
    "torture",
)
"""Each is a module of this package with a function, or a `typer.Typer` named `app`, under the same name."""


class Commands(LazyGroup):
    """All commands."""

    package = "coterie.cli"
    names = COMMANDS
    modules: ClassVar[Mapping[str, str]] = {"range": "scan", "lab": "lab.application"}


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
    tls_cacert: CacertOption = None,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    as_user: UserOption = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Consensus for Python: run a cluster, and use it."""
    # `outcome.endpoints_of` and `connection_options` read these from the context.


def run() -> None:
    """Parse the command line and do it; ends the process with the command's exit code."""
    application()
