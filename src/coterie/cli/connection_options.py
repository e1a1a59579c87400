"""How a client command connects: `--cacert`, `--cert` and `--key` (or their variables, or the local cluster's), and who
it says it is: `--user`."""

from __future__ import annotations

import functools
import os
import sys
from typing import Annotated, Any

import typer

from coterie.cli.cluster_file import STATE_DIRECTORY, client_tls, local_cluster
from coterie.client.config import Credentials
from coterie.client.tls import TlsConfig
from coterie.core.errors import ConfigurationError

OPTIONS = {
    "cacert": "The CA that the members' certificates must be of (PEM): speak TLS",
    "cert": "A certificate to show to members that ask for one (PEM)",
    "key": "Its private key",
}
"""What each is for, by its name without dashes."""
_PREFIX = "tls_"
"""Of the parameters' names: `key` is what `coterie put` calls its first argument."""
_USER = "as_user"
PASSWORD_VARIABLE = "COTERIE_PASSWORD"
_META = "coterie."


def variable(name: str) -> str:
    """The environment variable of an option."""
    return f"COTERIE_{name.upper()}"


def help_of(name: str) -> str:
    """What `--help` says of an option."""
    return f"{OPTIONS[name]}; else ${variable(name)}, else the cluster's of this directory."


CacertOption = Annotated[str | None, typer.Option("--cacert", metavar="FILE", help=help_of("cacert"))]
CertOption = Annotated[str | None, typer.Option("--cert", metavar="FILE", help=help_of("cert"))]
KeyOption = Annotated[str | None, typer.Option("--key", metavar="FILE", help=help_of("key"))]
UserOption = Annotated[
    str | None,
    typer.Option(
        "--user",
        metavar="NAME[:PASSWORD]",
        help=f"Who asks, where auth is on; else ${variable('user')}. The password may be in ${PASSWORD_VARIABLE}.",
    ),
]


def add_options(command: Any) -> None:
    """Give the options to a command, or to those of a group, wherever `--endpoints` is understood.

    The types are `Any` for the reason that `groups` gives."""
    for inner in getattr(command, "commands", {}).values():
        add_options(inner)
    if any(parameter.name == "endpoints" for parameter in command.params):
        command.params.extend(_options())


@functools.cache
def _options() -> tuple[Any, ...]:
    """The options, as typer makes them of a command that has nothing else; a command's function does not see them."""

    def template(
        tls_cacert: CacertOption = None,
        tls_cert: CertOption = None,
        tls_key: KeyOption = None,
        as_user: UserOption = None,
    ) -> None:
        raise AssertionError("never called")

    application = typer.Typer(add_completion=False)
    application.command()(template)
    options = tuple(
        each for each in typer.main.get_command(application).params if each.name.startswith((_PREFIX, _USER))
    )
    for option in options:
        option.expose_value = False
        option.callback = _remember
    return options


def _remember(context: Any, parameter: Any, value: str | None) -> str | None:
    if value is not None:
        context.meta[_META + parameter.name] = value
    return value


def tls_of(context: typer.Context, endpoints: str) -> TlsConfig | None:
    """How to speak with the members at these endpoints; None: in plain text. Raises `ConfigurationError`."""
    given = {name: _given(context, _PREFIX + name, variable(name)) for name in OPTIONS}
    if any(given.values()):
        return TlsConfig(ca=given["cacert"], cert=given["cert"], key=given["key"])
    local = local_cluster(endpoints)
    return client_tls(STATE_DIRECTORY, local) if local is not None else None


def credentials_of(context: typer.Context) -> Credentials | None:
    """Who asks; None: that was not said. Asks for the password where somebody can be asked. Raises
    `ConfigurationError`."""
    name, colon, password = _given(context, _USER, variable("user")).partition(":")
    if not name and not colon:
        return None
    if not colon:
        known = os.environ.get(PASSWORD_VARIABLE)
        if known is None and not sys.stdin.isatty():
            raise ConfigurationError(f"--user {name}: no password; say NAME:PASSWORD, or set {PASSWORD_VARIABLE}")
        password = known if known is not None else str(typer.prompt("Password", hide_input=True, err=True))
    return Credentials(name, password)


def _given(context: typer.Context, parameter: str, variable: str) -> str:
    """An option after the command's name, before it, or from the environment."""
    before = context.find_root().params
    return str(context.meta.get(_META + parameter) or before.get(parameter) or os.environ.get(variable) or "")
