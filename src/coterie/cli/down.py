"""`coterie down`: stop the cluster that `coterie up` started."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coterie.cli.local_cluster import stop_cluster
from coterie.cli.up import DEFAULT_DIRECTORY, fail
from coterie.core.errors import CoterieError


def down(data: Annotated[Path, typer.Option(help="The cluster's directory.")] = DEFAULT_DIRECTORY) -> None:
    """Stop every node: each finishes what is under way; one that has not stopped after 15 s is killed. Data stay."""
    try:
        result = stop_cluster(data)
    except CoterieError as error:
        fail(error)
    if all(became == "was not running" for became in result.values()):
        print(f"Nothing is up in {data}.")
        return
    for name, became in result.items():
        print(f"{name} {became}")
