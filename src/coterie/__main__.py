"""`python -m coterie`: the command line, where the script `coterie` is not on the path."""

from __future__ import annotations

from coterie.cli import main

if __name__ == "__main__":
    main()
