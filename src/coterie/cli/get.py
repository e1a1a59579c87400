"""`coterie get`."""

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
    item_json,
    print_json,
    to_bytes,
    write_raw,
)

StaleOption = Annotated[
    bool, typer.Option("--stale", help="From one member's own state, at once; --json says how old it can be.")
]


def get(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="The key.")],
    stale: StaleOption = False,
    as_json: JsonOption = False,
    endpoints: EndpointsOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
) -> None:
    """Read a key: its value alone. Linearizable, unless --stale. Exit code 1 if there is no such key.

    Example: coterie get greeting --json
    """
    name = to_bytes(key)
    reading = ask(
        context, endpoints, lambda c: c.read(name, stale=stale, timeout=timeout), write=False, as_json=as_json
    )
    if reading.items:
        if as_json:
            print_json(item_json(reading.items[0], reading.age_ms))
        else:
            write_raw(reading.items[0].value)
        return
    if as_json:
        missing = dict.fromkeys(("value", "encoding", "create", "mod", "version"))
        print_json({"key": as_text(name)[0], **missing, "age_ms": reading.age_ms})
    print(f"coterie: there is no key {key!r} (revision {reading.revision})", file=sys.stderr)
    raise typer.Exit(Exit.NOT_FOUND)
