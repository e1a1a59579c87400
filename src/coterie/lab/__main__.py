"""`python -m coterie.lab docs/protocols.md docs/lab/pictures`: draw anew what the documents show.

A page gets its sequence diagrams anew, a folder all pictures of the lab, `FOLDER/NAME.svg` is that one alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from coterie.core.errors import ConfigurationError, CoterieError
from coterie.lab.page import redraw
from coterie.lab.pictures import NAMES, pictures


def main(arguments: list[str]) -> int:
    """Exit code: 0 done, 2 usage, 3 it could not be drawn."""
    if not arguments or arguments[0].startswith("-"):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    try:
        wanted: dict[Path, list[str]] = {}
        for path in map(Path, arguments):
            if path.is_dir():
                wanted[path] = list(NAMES)
            elif path.suffix == ".svg":
                wanted.setdefault(path.parent, []).append(path.stem)
            else:
                _write(path, redraw(path.read_text(encoding="utf-8")))
        for folder, names in wanted.items():
            for name, text in pictures(names):
                _write(folder / f"{name}.svg", text)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (CoterieError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


def _write(path: Path, text: str) -> None:
    same = path.exists() and path.read_text(encoding="utf-8") == text
    path.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{path}: {'as it was' if same else 'drawn anew'}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
