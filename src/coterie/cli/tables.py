"""Tables for people: as wide as the terminal, and never cut off where there is none."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

WIDTH_OF_A_PIPE = 132


def table_console() -> Console:
    """Where a table is printed."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_OF_A_PIPE)


def plain_table(title: str | None = None) -> Table:
    """A table of our look, without columns."""
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
