"""`coterie transfer`."""

from __future__ import annotations

from typing import Annotated

import typer

from coterie.cli.outcome import DEFAULT_TIMEOUT_S, EndpointsOption, JsonOption, TimeoutOption, ask, print_json


def transfer(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The member that is to lead.")],
    as_json: JsonOption = False,
    endpoints: EndpointsOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT_S,
) -> None:
    """Make a voter the leader. If it does not take over in time, leadership stays where it is.

    Example: coterie transfer n2
    """
    leader = ask(context, endpoints, lambda c: c.transfer(name, timeout=timeout), write=True, as_json=as_json)
    if as_json:
        print_json({"applied": "yes", "leader": leader})
    else:
        print(f"{leader} leads.")
