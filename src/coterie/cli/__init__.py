"""The command line: one file per command. Exit codes are in `outcome`."""

from __future__ import annotations


def main() -> None:
    """The entry point of the `coterie` script."""
    from coterie.cli.application import run

    run()
