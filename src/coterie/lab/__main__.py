"""`python -m coterie.lab docs/protocols.md`: draw the sequence diagrams of a page anew."""

from __future__ import annotations

import sys
from pathlib import Path

from coterie.lab.page import redraw


def main(arguments: list[str]) -> int:
    """Exit code: 0 done, 2 usage."""
    if not arguments or arguments[0].startswith("-"):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    for name in arguments:
        path = Path(name)
        page = path.read_text(encoding="utf-8")
        drawn = redraw(page)
        path.write_text(drawn, encoding="utf-8")
        sys.stdout.write(f"{name}: {'as it was' if drawn == page else 'drawn anew'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
