"""Every golden conversation goes exactly as its file says."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.datadriven.conversation import Conversation

from coterie.core.protocols import PROTOCOLS

HERE = Path(__file__).parent
BOTH = "both"
"""The folder whose conversations go the same way in every protocol."""
RUNS = [
    (path.relative_to(HERE).as_posix(), protocol)
    for path in sorted(HERE.glob("*/*.txt"))
    for protocol in (PROTOCOLS if path.parent.name == BOTH else (path.parent.name,))
]


def replay(path: Path, protocol: str) -> str:
    """The file as it should read: its comments and commands, with the output that they give now."""
    conversation = Conversation(protocol, promises=path.parent.name == BOTH)
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
    assert len(RUNS) >= 8


@pytest.mark.parametrize(("name", "by"), RUNS)
def test_the_conversation_goes_as_written(name: str, by: str, request: pytest.FixtureRequest) -> None:
    path = HERE / name
    now = replay(path, by)
    if request.config.getoption("--rewrite", default=False) and by in (path.parent.name, PROTOCOLS[0]):
        path.write_text(now)
    assert path.read_text() == now
