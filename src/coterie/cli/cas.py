"""`coterie cas`."""

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
    as_text,
    ask,
    print_json,
    to_bytes,
)


def cas(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="The key.")],
    old: Annotated[str, typer.Argument(help="The value that it must have.")],
    new: Annotated[str, typer.Argument(help="The value that it then gets.")],
    as_json: JsonOption = False,
    endpoints: EndpointsOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
) -> None:
    """Compare and set: change a key only if its value is OLD. Exit code 1 if it is not.

    Example: coterie cas greeting hello goodbye
    """
    reply = ask(
        context,
        endpoints,
        lambda c: c.cas(to_bytes(key), to_bytes(old), to_bytes(new), timeout=timeout),
        write=True,
        as_json=as_json,
    )
    if as_json:
        print_json({"applied": "yes" if reply.succeeded else "no", "revision": reply.revision})
    elif reply.succeeded:
        print(f"ok, revision {reply.revision}")
    if not reply.succeeded:
        found = f"its value is {as_text(reply.current.value)[0]!r}" if reply.current else "there is no such key"
        print(f"coterie: nothing was changed: {found}. Read it, and try again with that value.", file=sys.stderr)
        raise typer.Exit(Exit.NOT_FOUND)
