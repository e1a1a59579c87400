"""`coterie check`: verdicts, exit codes, drawings, and what it says of a file that is no history."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]
GOOD = [("a", "write", 1, None), ("b", "read", None, 1)]
STALE = [("a", "write", 1, None), ("a", "write", 2, None), ("b", "read", None, 1)]


def lines(calls: Sequence[tuple[str, str, object, object]]) -> str:
    made = []
    for process, f, value, result in calls:
        made.append({"process": process, "type": "invoke", "f": f, "value": value})
        made.append({"process": process, "type": "ok", "f": f, "value": result})
    return "".join(json.dumps(line) + "\n" for line in made)


def check(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200"}
    command = [sys.executable, "-m", "coterie", "check", *arguments]
    return subprocess.run(
        command, env=environment, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_linearizable_history_ends_with_0() -> None:
    done = check("-", "--json", stdin=lines(GOOD))
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found.pop("seconds") >= 0
    assert found == {
        "verdict": "linearizable", "model": "register", "operations": 2, "strongest": "linearizable",
        "holds": ["linearizable", "sequential", "causal", "pram", "writes-follow-reads", "monotonic-reads",
                  "monotonic-writes", "read-your-writes"],
        "fails": [], "undecided": [], "counterexample": [], "reason": "", "counterexamples": {},
    }  # fmt: skip


def test_one_that_is_not_ends_with_1_and_shows_what_is_wrong(tmp_path: Path) -> None:
    file, svg, page = tmp_path / "h.jsonl", tmp_path / "h.svg", tmp_path / "h.html"
    file.write_text(lines(STALE))
    done = check(str(file), "--json", "--draw", str(svg))
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert (found["verdict"], found["strongest"], found["fails"]) == (
        "not-linearizable",
        "sequential",
        ["linearizable"],
    )
    assert [(o["line"], o["f"], o["culprit"]) for o in found["counterexample"]] == [
        (1, "write", False), (3, "write", False), (5, "read", True),
    ]  # fmt: skip
    assert ET.fromstring(svg.read_text()).tag.endswith("svg")
    shown = check(str(file), "--draw", str(page))
    assert shown.returncode == 1
    assert "NOT linearizable" in shown.stdout
    assert "read(): 1  (line 5)" in shown.stdout
    assert "<svg" in page.read_text()


def test_too_little_time_is_unknown_and_ends_with_4(tmp_path: Path) -> None:
    calls = [(f"p{number}", "enqueue", number, None) for number in range(11)]
    begins = [json.dumps({"process": p, "type": "invoke", "f": f, "value": v}) for p, f, v, _ in calls]
    ends = [json.dumps({"process": p, "type": "ok", "f": f}) for p, f, _, _ in calls]
    takes = lines([("q", "dequeue", None, 10), ("q", "dequeue", None, 10)])
    done = check("-", "--json", "--timeout", "0.001", stdin="\n".join([*begins, *ends, takes]))
    assert done.returncode == 4
    assert json.loads(done.stdout)["verdict"] == "unknown"


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("nowhere.jsonl",), "", "nowhere.jsonl: it cannot be read: No such file"),
        ((".",), "", "it cannot be read: Is a directory"),
        (("-",), lines(GOOD)[:-20], "line 4: Input data was truncated"),
        (("-",), "{:process 0, :type :invoke, :f :jump}", "line 1: field 'f' is 'jump'; allowed are acquire, add"),
        (("-", "--model", "queue"), lines(GOOD), "line 1: field 'f' is 'write'; a queue allows dequeue, enqueue"),
        (("-", "--model", "stack"), lines(GOOD), "--model 'stack': it must be one of auto, register"),
        (("-", "--draw", "x.png"), lines(GOOD), "--draw x.png: the name must end with .svg or .html"),
    ],
)
def test_what_cannot_be_judged_ends_with_2_and_says_why(arguments: tuple[str, ...], stdin: str, said: str) -> None:
    done = check(*arguments, stdin=stdin)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
