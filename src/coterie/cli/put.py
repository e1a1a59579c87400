"""`coterie put`."""

from __future__ import annotations

from typing import Annotated

import typer

from coterie.cli.outcome import DEFAULT_TIMEOUT_S, EndpointsOption, JsonOption, TimeoutOption, ask, print_json, to_bytes


def put(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="The key.")],
    value: Annotated[str, typer.Argument(help="Its new value.")],
    as_json: JsonOption = False,
    endpoints: EndpointsOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
) -> None:
    """Set a key. It takes effect at most once, however often it must be sent.

    Example: coterie put greeting hello
    """
    reply = ask(
        context,
        endpoints,
        lambda c: c.put(to_bytes(key), to_bytes(value), timeout=timeout),
        write=True,
        as_json=as_json,
    )
    if as_json:
        print_json({"applied": "yes", "revision": reply.revision})
    else:
        print(f"ok, revision {reply.revision}")
