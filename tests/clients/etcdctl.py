"""Scenarios for `etcdctl`, step by step, on any server: what it prints, without what differs between clusters."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
from tests.clients.servers import Server, tool

TIMEOUT_S = 30.0


class Step(msgspec.Struct, frozen=True):
    """One command. `$NAME` in it is what an earlier step kept by that name."""

    words: str
    """Arguments, with blanks between; one that has blanks of its own is not needed here."""
    stdin: str = ""
    keep: tuple[tuple[str, str], ...] = ()
    """(name, pattern): kept for later steps is what the pattern's group finds in the output."""
    sorted: bool = False
    """Whether the lines come in any order."""
    ignore: str = ""
    """Pattern of what differs from run to run."""
    seconds: float = 0
    """Of a command that ends by itself only if something is wrong: it is interrupted then. 0: it ends."""
    runs: str = ""
    """What `lock` and `elect` run: a command line of its own, as one argument each word."""


class Output(msgspec.Struct, frozen=True):
    """What a step came to."""

    code: int
    text: str


class Session:
    """etcdctl against one server."""

    def __init__(self, server: Server, scratch: Path) -> None:
        self._server = server
        self._scratch = scratch / f"etcdctl-{server.name}"
        self._scratch.mkdir()
        self._kept: dict[str, str] = {}

    def run(self, step: Step) -> Output:
        """Run a step."""
        words = step.words.split()
        program = tool("etcdutl") if words[0] == "etcdutl" else tool("etcdctl")
        arguments = [self._filled(word) for word in words if word != "etcdutl"]
        if words[0] != "etcdutl" and not any(word.startswith("--endpoints") for word in arguments):
            arguments.insert(0, "--endpoints=" + ",".join(self._server.endpoints))
        if step.seconds:
            program, arguments = "timeout", ["--signal=INT", str(step.seconds), program, *arguments]
        done = subprocess.run(
            [program, *arguments, *step.runs.split()],
            input=self._filled(step.stdin),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            cwd=self._scratch,
            check=False,
        )
        text = done.stdout + "".join(line + "\n" for line in done.stderr.splitlines() if not line.startswith("{"))
        for name, pattern in step.keep:
            found = re.search(pattern, text)
            assert found, f"{step.words}: {pattern} is not in {text!r}"
            self._kept[name] = found[1]
        return Output(done.returncode, self._told(text, step))

    def _filled(self, text: str) -> str:
        endpoints = {f"$E{node}": endpoint for node, endpoint in enumerate(self._server.endpoints)}
        for name, value in (endpoints | {f"${name}": value for name, value in self._kept.items()}).items():
            text = text.replace(name, value)
        return text

    def _told(self, text: str, step: Step) -> str:
        for name, value in self._kept.items():
            text = text.replace(value, f"<{name}>")
        for node, endpoint in enumerate(self._server.endpoints):
            text = text.replace(endpoint, f"<endpoint {node}>")
        text = re.sub(r"127\.0\.0\.1:\d+", "<peer>", text)
        text = re.sub(r'"(ClusterID|MemberID|RaftTerm)" : \d+', r'"\1"', text)
        text = re.sub(r"took = [\d.µms]+", "took", text)
        text = re.sub(r"\b(cluster_id|member_id|raft_term|memberID)\"?:\s*\d+,?", "", text)
        text = re.sub(r"\b[0-9a-f]{13,16}\b", "<id>", text)
        if step.ignore:
            text = re.sub(step.ignore, "<...>", text)
        return "\n".join(sorted(text.splitlines())) if step.sorted else text


def differences(steps: Sequence[Step], sessions: Sequence[Session]) -> list[str]:
    """Where what the sessions print is not the same; all steps are run."""
    found: list[str] = []
    for number, step in enumerate(steps):
        first, *others = [session.run(step) for session in sessions]
        found += [
            f"step {number}: etcdctl {step.words}\n--- etcd ({first.code})\n{first.text}\n--- Coterie ({other.code})\n"
            f"{other.text}"
            for other in others
            if other != first
        ]
    return found
