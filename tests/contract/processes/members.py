"""Administrators and joining nodes, for tests: commands as one types them, processes as the commands start them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.runtime.cluster import ROOT, until

QUICK = ("--election-timeout-ms", "500", "--heartbeat-interval-ms", "50")


class Ended:
    """A command that has ended."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr
        assert "Traceback" not in self.err, self.err

    @property
    def json(self) -> Any:
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)

    def succeeded(self) -> Ended:
        assert self.code == 0, self.err
        return self


def environment() -> dict[str, str]:
    found = {key: value for key, value in os.environ.items() if not key.startswith("COTERIE_")}
    return found | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "COLUMNS": "200"}


def coterie(home: Path, endpoints: str, *arguments: str) -> Ended:
    """Run one command against the cluster at these endpoints."""
    return here(home, *arguments, "--endpoints", endpoints)


def here(home: Path, *arguments: str) -> Ended:
    """Run one command in the directory `home`."""
    command = [sys.executable, "-m", "coterie", *arguments]
    return Ended(
        subprocess.run(command, cwd=home, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    )


def members(home: Path, endpoints: str) -> dict[str, dict[str, Any]]:
    """What `member list --json` says, by name."""
    listed = coterie(home, endpoints, "member", "list", "--json").succeeded().json
    return {member["name"]: member for member in listed["members"]}


class Joined:
    """A node started by the command that `member add` printed."""

    def __init__(self, home: Path, command: str, flags: Sequence[str] = QUICK) -> None:
        words = shlex.split(command)
        assert words[:2] == ["coterie", "node"]
        self.options = dict(zip(words[2::2], words[3::2], strict=True))
        self.data = home / self.options["--data"]
        self.log = home / f"{self.options['--name']}.joined.log"
        self._home = home
        self._command = [sys.executable, "-m", "coterie", *words[1:], *flags]
        self.process: subprocess.Popen[str] | None = None

    def start(self, *more: str) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [*self._command, *more],
                cwd=self._home,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
            )

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def ended(self, seconds: float = 30.0) -> int:
        """Wait until it has ended by itself; its exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def lines(self) -> str:
        return self.log.read_text(encoding="utf-8")


@contextmanager
def joined(home: Path, command: str, flags: Sequence[str] = QUICK) -> Iterator[Joined]:
    """A node started by a printed command; killed in the end."""
    node = Joined(home, command, flags)
    try:
        node.start()
        yield node
    finally:
        node.kill()


def caught_up(home: Path, endpoints: str, name: str) -> None:
    """Wait until the leader says so."""
    until(lambda: members(home, endpoints)[name]["caught_up"], 60)
