"""`coterie node`: run one member in this process."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import signal
import sys
from typing import Annotated, Any

import typer

from coterie.core.errors import ConfigurationError, CoterieError
from coterie.core.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from coterie.runtime.api import MakeApi
from coterie.runtime.configuration import DEFAULT_MACHINE, KEYS, NodeConfiguration, configure
from coterie.runtime.errors import DirectoryCopied, StartFailed
from coterie.runtime.event_loop import new_event_loop
from coterie.runtime.log_lines import log_to
from coterie.runtime.node import Node
from coterie.runtime.sync_thread import SWITCH_INTERVAL_S

EXIT_STOPPED = 0
EXIT_USAGE = 2
EXIT_NOT_STARTED = 3
EXIT_FAILED = 70

GC_THRESHOLD = 10_000
"""Objects between collections of the young generation: requests in flight are no garbage yet, and a collection looks at
each of them. So many take milliseconds."""

_HELP = {
    "name": "The member's name.",
    "data": "The data directory, of this member alone.",
    "protocol": f"{' or '.join(PROTOCOLS)}; else the data directory's, the joined cluster's, or {DEFAULT_PROTOCOL}.",
    "peer": "Where other members reach this one, host:port.",
    "client": "Where clients reach this member, host:port.",
    "peer_listen": "Where to listen for members, if not at --peer.",
    "client_listen": "Where to listen for clients, if not at --client.",
    "join": "Client addresses of a running cluster, with commas between: join it as the member added by this name.",
    "initial_members": "Every first member, name=host:port,... with peer addresses.",
    "machine": "The state machine, package.module:Class.",
    "client_cert": "The certificate (PEM) that clients are shown; with --client-key. See docs/tls.md.",
    "client_key": "Its private key.",
    "client_ca": "Clients must show a certificate of this CA.",
    "peer_cert": "The certificate that members are shown, with this member's name; with --peer-key and --peer-ca.",
    "peer_key": "Its private key.",
    "peer_ca": "Members must show a certificate of this CA, with their own name.",
    "tls_min_version": "1.3 or 1.2.",
    "log_level": "debug, info, warning or error.",
}


def node(config: str | None = None, **flags: str | None) -> None:
    """Run one member of a cluster until SIGTERM or SIGINT. Every key of docs/configuration.md is a flag too."""
    try:
        configuration = configure(file=config, flags=flags)
    except CoterieError as error:
        raise _failure(error, EXIT_USAGE) from None
    log_to(level=logging.getLevelNamesMapping()[configuration.log_level.upper()])
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        code = runner.run(_serve(configuration))
    raise typer.Exit(code)


def _signature() -> inspect.Signature:
    """`node`'s parameters as the command line sees them: --config, and one flag a key."""
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(
            "config",
            kind,
            default=None,
            annotation=Annotated[str | None, typer.Option(help="A TOML file.", metavar="FILE")],
        )
    ]
    for key in KEYS:
        option = typer.Option(help=_HELP.get(key, "See docs/configuration.md."), metavar="VALUE")
        parameters.append(inspect.Parameter(key, kind, default=None, annotation=Annotated[str | None, option]))
    return inspect.Signature(parameters, return_annotation=None)


def _declare(function: Any) -> None:
    signature = _signature()
    function.__signature__ = signature
    function.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}


_declare(node)


def _failure(error: CoterieError, code: int) -> typer.Exit:
    """One line that says what is wrong and what to do."""
    advice = f" ({error.advice})" if error.advice else ""
    print(f"coterie: {error}{advice}".replace("\n", " "), file=sys.stderr)
    return typer.Exit(code)


def _api(configuration: NodeConfiguration) -> MakeApi | None:
    """The etcd v3 API, if the node runs the machine that it needs."""
    if configuration.machine != DEFAULT_MACHINE:
        return None
    from coterie.etcd.api import EtcdApi

    return EtcdApi


async def _serve(configuration: NodeConfiguration) -> int:
    """Start, run until a signal, stop. Returns the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    member = Node(configuration, api=_api(configuration))
    stopped = asyncio.ensure_future(stop.wait())
    starting = asyncio.ensure_future(member.start())
    await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait([starting])
        return EXIT_STOPPED
    problem = starting.exception()
    if isinstance(problem, CoterieError):
        stopped.cancel()
        raise _failure(problem, EXIT_USAGE if isinstance(problem, ConfigurationError) else EXIT_NOT_STARTED)
    starting.result()
    ended = asyncio.ensure_future(member.wait_ended())
    await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if ended.done() and (problem := ended.exception()) is not None:
        if isinstance(problem, DirectoryCopied | StartFailed):
            raise _failure(problem, EXIT_NOT_STARTED)
        return EXIT_FAILED
    await member.stop()
    await asyncio.wait([ended])
    if member.removed:
        print(f"coterie: {member.removed}", file=sys.stderr)
    return EXIT_STOPPED if ended.exception() is None else EXIT_FAILED
