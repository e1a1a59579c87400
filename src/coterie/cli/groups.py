"""A command that has commands of its own: `coterie member add`."""

from __future__ import annotations

import typer


def group(help: str, example: str) -> typer.Typer:
    """An empty one; `help` and `example` are what `--help` shows."""
    return typer.Typer(
        help=help,
        epilog=f"Example: {example}",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
