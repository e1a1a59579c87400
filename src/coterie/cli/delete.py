"""`coterie delete`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from coterie.cli.outcome import (
    DEFAULT_TIMEOUT_S,
    EndpointsOption,
    Exit,
    JsonOption,
    TimeoutOption,
    ask,
    print_json,
    to_bytes,
)


def delete(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="The key.")],
    as_json: JsonOption = False,
    endpoints: EndpointsOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
) -> None:
    """Delete a key. Exit code 1 if there is no such key.

    Example: coterie delete greeting
    """
    reply = ask(context, endpoints, lambda c: c.delete(to_bytes(key), timeout=timeout), write=True, as_json=as_json)
    if as_json:
        print_json({"applied": "yes" if reply.deleted else "no", "revision": reply.revision})
    elif reply.deleted:
        print(f"deleted, revision {reply.revision}")
    if not reply.deleted:
        print(f"coterie: nothing was deleted: there is no key {key!r} (revision {reply.revision})", file=sys.stderr)
        raise typer.Exit(Exit.NOT_FOUND)
