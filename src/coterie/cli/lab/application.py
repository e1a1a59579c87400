"""The group of the lab's commands."""

from __future__ import annotations

from typing import Final

import typer

from coterie.cli.groups import LazyGroup

ABOUT: Final = "Theorems as experiments, protocols compared, advice for a network; all on the code that ships."


class Experiments(LazyGroup):
    """All commands of the lab."""

    package = "coterie.cli.lab"
    names = ("models", "cap", "pacelc", "flp", "compare", "advise", "measure", "claims", "sequence")


app = typer.Typer(
    cls=Experiments,
    help=ABOUT,
    epilog="Example: coterie lab cap --html cap.html",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(help=ABOUT)
def lab() -> None:
    """The commands are those of `Experiments`."""
