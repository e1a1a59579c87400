"""`coterie range`."""

from __future__ import annotations

from typing import Annotated

import typer

from coterie.cli.get import StaleOption
from coterie.cli.outcome import (
    DEFAULT_TIMEOUT_S,
    EndpointsOption,
    JsonOption,
    TimeoutOption,
    ask,
    item_json,
    print_json,
    to_bytes,
    write_raw,
)


def scan(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="A", help="The first key.")],
    end: Annotated[str, typer.Argument(metavar="B", help="The end, itself not included.")],
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 0,
    stale: StaleOption = False,
    as_json: JsonOption = False,
    endpoints: EndpointsOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
) -> None:
    """Read the keys from A up to, but without, B: key, tab, value, in the order of keys.

    Example: coterie range a z --json
    """
    reading = ask(
        context,
        endpoints,
        lambda c: c.range(to_bytes(first), to_bytes(end), limit=limit, stale=stale, timeout=timeout),
        write=False,
        as_json=as_json,
    )
    if as_json:
        items = [item_json(item, reading.age_ms) for item in reading.items]
        print_json({"items": items, "revision": reading.revision})
        return
    for item in reading.items:
        write_raw(item.key + b"\t" + item.value)
