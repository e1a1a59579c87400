"""What the documents tell a reader to type or to open exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
TEXT = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
COMMANDS = sorted(
    {
        match[1]
        for text in [*TEXT.values(), (ROOT / "Makefile").read_text(encoding="utf-8")]
        for match in re.finditer(r"(?:`|bin/|^\s*|COTERIE\) )(?:coterie )?coterie ([a-z]+)\b", text, re.MULTILINE)
    }
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_documents_and_their_commands_are_found() -> None:
    assert ROOT / "README.md" in DOCUMENTS
    assert {"up", "down", "put", "get", "status", "bench"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_a_document_names_exists(command: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "coterie", command, "--help"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, f"coterie {command}: {run.stderr}"


def test_a_make_target_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {word for text in TEXT.values() for word in re.findall(r"(?:`|^)make ([a-z]+)\b", text, re.MULTILINE)}
    assert named
    assert named <= targets


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_a_link_to_a_file_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXT[path]):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{name_of(path)} links to {target}"


def test_a_script_that_a_document_tells_to_run_exists() -> None:
    names = re.compile(r"(?<!tests/)\b((?:bench|examples)/\w+\.py)\b")
    scripts = {script for text in TEXT.values() for script in names.findall(text)}
    assert "bench/compare.py" in scripts
    for script in scripts:
        assert (ROOT / script).is_file(), script
