"""The interpreters that real clients' programs run in: made under .clients by `make clients`, apart from ours, for what
the clients need (an old protobuf, say) is not what we need."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import pytest
from tests.clients.servers import Server
from tests.runtime.cluster import ROOT

CLIENTS = ROOT / ".clients"
PYTHON = CLIENTS / "python" / "bin" / "python"
NODE_MODULES = CLIENTS / "node" / "node_modules"
PROGRAMS = Path(__file__).parent / "programs"
SCENARIO_S = 120.0
SIGNAL = "kill the leader"


class Program:
    """A script under programs/, with the interpreter and the package that it needs."""

    def __init__(self, file: str, package: str) -> None:
        self.file = file
        self._package = package

    def command(self, mode: str, endpoints: list[str]) -> list[str]:
        """The command line. Skips the test if the interpreter or the package is not installed."""
        node = self.file.endswith(".mjs")
        place = NODE_MODULES / self._package
        if not node:
            place = next(CLIENTS.glob(f"python/lib/python3*/site-packages/{self._package}"), CLIENTS / "none")
        if not place.exists():
            pytest.skip(f"the client {self._package} is not installed: run 'make clients' (it needs the network)")
        return ["node" if node else str(PYTHON), str(PROGRAMS / self.file), mode, ",".join(endpoints)]

    def scenario(self, server: Server) -> list[str]:
        """What it prints of its scenario."""
        with self._running("scenario", server.endpoints) as run:
            return run.end("")

    def failover(self, server: Server, scratch: Path) -> list[str]:
        """What it prints while the leader, the last of the endpoints it is given, is killed; that comes back after."""
        leader = server.leader()
        endpoints = [endpoint for node, endpoint in enumerate(server.endpoints) if node != leader]
        with self._running("failover", [*endpoints, server.endpoints[leader]]) as run:
            before = run.lines_until(SIGNAL)
            try:
                server.kill(leader)
                return before + run.end("killed\n")
            finally:
                server.start(leader, scratch)

    @contextmanager
    def _running(self, mode: str, endpoints: list[str]) -> Iterator[_Run]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("COTERIE_", "PYTHON"))}
        with TemporaryFile("w+") as complaints:
            process = subprocess.Popen(
                self.command(mode, endpoints),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                cwd=PROGRAMS,
                env=environment | {"PYTHONUNBUFFERED": "1", "CLIENTS": str(CLIENTS)},
            )
            try:
                yield _Run(process, complaints)
            finally:
                process.kill()
                process.communicate()


class _Run:
    """A program that runs."""

    def __init__(self, process: subprocess.Popen[str], complaints: IO[str]) -> None:
        self._process = process
        self._complaints = complaints

    def lines_until(self, last: str) -> list[str]:
        """What it prints up to this line."""
        lines: list[str] = []
        assert self._process.stdout is not None
        for line in self._process.stdout:
            lines.append(line.rstrip("\n"))
            if lines[-1] == last:
                return lines
        raise AssertionError("\n".join([f"it ended before {last!r}:", *lines, self._said()]))

    def end(self, stdin: str) -> list[str]:
        """What else it prints."""
        text, _ = self._process.communicate(stdin, timeout=SCENARIO_S)
        assert self._process.returncode == 0, f"{text}\n{self._said()}"
        return text.splitlines()

    def _said(self) -> str:
        self._complaints.seek(0)
        return self._complaints.read()


def difference(theirs: list[str], ours: list[str]) -> str:
    """The lines that are not the same."""
    pairs = [
        (number, one, other) for number, (one, other) in enumerate(zip(theirs, ours, strict=False)) if one != other
    ]
    told = [f"line {number}\n  etcd:    {one}\n  Coterie: {other}" for number, one, other in pairs]
    if len(theirs) != len(ours):
        told.append(f"etcd: {len(theirs)} lines, Coterie: {len(ours)}")
    return "\n".join(told)
