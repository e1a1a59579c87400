"""What all client commands have in common: where the cluster is, how outcomes are told, exit codes."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import Annotated, NoReturn, TypeVar

import msgspec
import typer

from coterie.cli.cluster_file import STATE_DIRECTORY, read_cluster
from coterie.cli.connection_options import credentials_of, tls_of
from coterie.client.blocking import Client, connect
from coterie.client.config import ClientConfig
from coterie.client.errors import Unavailable
from coterie.core.errors import ConfigurationError, CoterieError, Effect
from coterie.machine.kv.protocol import Item

T = TypeVar("T")

DEFAULT_ENDPOINT = "127.0.0.1:2379"
ENVIRONMENT = "COTERIE_ENDPOINTS"
DEFAULT_TIMEOUT_S = 10.0
TLS_OPTIONS = "--cacert, --cert and --key (or COTERIE_CACERT, COTERIE_CERT, COTERIE_KEY)"


class Exit(IntEnum):
    """How a command ends."""

    DONE = 0
    NOT_FOUND = 1
    """No such key, the comparison failed, or the history is not linearizable."""
    USAGE = 2
    DID_NOT_HAPPEN = 3
    UNKNOWN = 4
    """Nobody knows whether it happened."""


EndpointsOption = Annotated[
    str | None,
    typer.Option(
        "--endpoints",
        "-e",
        metavar="A,B,C",
        help=f"The members' client addresses; else ${ENVIRONMENT}, else the cluster of this directory.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds, over all attempts.")]


def endpoints_of(context: typer.Context, given: str | None) -> str:
    """The endpoints to use: after the command's name, before it, from the environment, of the local cluster."""
    before = context.find_root().params.get("endpoints")
    chosen = given or before or os.environ.get(ENVIRONMENT)
    if chosen:
        return str(chosen)
    try:
        cluster = read_cluster(STATE_DIRECTORY)
    except CoterieError:
        cluster = None
    return cluster.endpoints if cluster is not None and cluster.nodes else DEFAULT_ENDPOINT


def open_client(context: typer.Context, given: str | None) -> Client:
    """A client that says at once when nothing listens. Ends the process with USAGE if an endpoint is malformed, or a
    password missing."""
    endpoints = endpoints_of(context, given)
    try:
        config = ClientConfig(
            name=f"coterie-cli/{os.getpid()}", give_up_unreachable=True, credentials=credentials_of(context)
        )
        return connect(endpoints, config, tls=tls_of(context, endpoints))
    except ConfigurationError as error:
        fail_usage(str(error))


def ask(context: typer.Context, given: str | None, question: Callable[[Client], T], *, write: bool, as_json: bool) -> T:
    """Make one call; on failure print why and what to do, and end with the code that fits."""
    with open_client(context, given) as client:
        try:
            return question(client)
        except CoterieError as error:
            fail(error, write=write, as_json=as_json)
        except ValueError as error:
            fail_usage(str(error))


def fail(error: CoterieError, *, write: bool, as_json: bool) -> NoReturn:
    """Tell a failure: whether it took effect, the reason, what to do."""
    effect = error.effect if write else Effect.NO
    advice = error.advice
    if isinstance(error, Unavailable) and "connection refused" in str(error).lower():
        advice = "is the cluster up? `coterie up --detach` starts one here; --endpoints names another"
    elif isinstance(error, Unavailable) and ("TLS" in str(error) or "certificate" in str(error)):
        advice = f"see {TLS_OPTIONS}; docs/tls.md says what is checked, and the member's log why it refused"
    if as_json and write:
        print_json({"applied": effect.value, "revision": None, "reason": str(error), "advice": advice})
    elif as_json:
        print_json({"error": str(error), "advice": advice})
    said = {
        Effect.YES: "it took effect, but ",
        Effect.NO: "it did not happen: " if write else "",
        Effect.UNKNOWN: "unknown whether it happened: ",
    }[effect]
    print(f"coterie: {said}{error}", file=sys.stderr)
    if advice:
        print(f"What to do: {advice}.", file=sys.stderr)
    codes = {Effect.YES: Exit.DONE, Effect.NO: Exit.DID_NOT_HAPPEN, Effect.UNKNOWN: Exit.UNKNOWN}
    raise typer.Exit(codes[effect])


def fail_usage(message: str) -> NoReturn:
    """The command line itself is wrong."""
    print(f"coterie: {message}", file=sys.stderr)
    raise typer.Exit(Exit.USAGE)


def print_json(value: object) -> None:
    """One object on one line."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def as_text(data: bytes) -> tuple[str, str]:
    """(text, encoding): as UTF-8 if it is, else as base64."""
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(data).decode("ascii"), "base64"


def item_json(item: Item, age_ms: float | None) -> dict[str, object]:
    """An item as `get --json` and `range --json` print it."""
    key, key_encoding = as_text(item.key)
    value, encoding = as_text(item.value)
    fields: dict[str, object] = {
        "key": key,
        "value": value,
        "encoding": encoding,
        "create": item.create,
        "mod": item.mod,
        "version": item.version,
        "age_ms": age_ms,
    }
    if key_encoding != "utf-8":
        fields["key_encoding"] = key_encoding
    return fields


def write_raw(data: bytes) -> None:
    """Bytes to standard output, and a line's end."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data + b"\n")
    sys.stdout.buffer.flush()


def to_bytes(argument: str) -> bytes:
    """A command-line argument as the bytes that were typed, UTF-8 or not."""
    return os.fsencode(argument)
