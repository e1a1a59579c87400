"""Every golden conversation goes exactly as its file says."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.datadriven.conversation import Conversation

HERE = Path(__file__).parent
FILES = sorted(path.relative_to(HERE).as_posix() for path in HERE.glob("*/*.txt"))


def replay(path: Path) -> str:
    """The file as it should read: its comments and commands, with the output that they give now."""
    conversation = Conversation(path.parent.name)
    result: list[str] = []
    output: list[str] = []
    skipping = False
    for line in path.read_text().splitlines():
        if skipping:
            skipping = bool(line)
            if not skipping:
                result.append("")
            continue
        result.append(line)
        if line == "----":
            result.extend(output or ["ok"])
            output = []
            skipping = True
        elif line and not line.startswith("#"):
            output.extend(conversation.run(line))
    assert not output, "the last block has no line ----"
    return "\n".join(result).rstrip("\n") + "\n"


def test_there_are_conversations_to_check() -> None:
    assert len(FILES) >= 8


@pytest.mark.parametrize("name", FILES)
def test_the_conversation_goes_as_written(name: str, request: pytest.FixtureRequest) -> None:
    path = HERE / name
    now = replay(path)
    if request.config.getoption("--rewrite", default=False):
        path.write_text(now)
    assert path.read_text() == now
