"""The processes of a local cluster: starting, recognising, asking and stopping them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from coterie.cli.cluster_file import LocalNode, log_file, node_file

STOP_TIMEOUT_S = 15.0
"""A node waits `stop_timeout_ms` (10 s) for requests under way; after this it is killed."""
POLL_S = 0.02
LAST_LOG_LINES = 8


def start_node(directory: Path, name: str) -> subprocess.Popen[bytes]:
    """Start a node in a session of its own, so that Ctrl-C reaches it only through us.

    `COTERIE_*` variables would be told to every node alike (a name, a data directory) and are left out.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COTERIE_")}
    command = [sys.executable, "-m", "coterie", "node", "--config", str(node_file(directory, name))]
    with log_file(directory, name).open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def runs(directory: Path, node: LocalNode) -> bool:
    """The node's process lives, and is that node: pids are used again."""
    if not node.pid:
        return False
    arguments = _command_line(node.pid)
    return "node" in arguments and str(node_file(directory, node.name)) in arguments


def _command_line(pid: int) -> list[str]:
    """A process's arguments; empty if there is no such process (or only its exit code is left of it)."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return []
    listed = subprocess.run(["ps", "-p", str(pid), "-o", "args="], capture_output=True, text=True, check=False)
    return listed.stdout.split()


def stop_nodes(directory: Path, nodes: Sequence[LocalNode], timeout: float = STOP_TIMEOUT_S) -> dict[str, str]:
    """Ask the nodes to stop, wait, kill those that have not stopped after `timeout` seconds.

    Returns what became of each, by name: `stopped`, `killed` or `was not running`.
    """
    result = {node.name: "was not running" for node in nodes}
    waiting = [node for node in nodes if runs(directory, node)]
    for node in waiting:
        _signal(node.pid, signal.SIGTERM)
        result[node.name] = "stopped"
    waiting = _wait_ended(directory, waiting, timeout)
    for node in waiting:
        _signal(node.pid, signal.SIGKILL)
        result[node.name] = "killed"
    _wait_ended(directory, waiting, timeout)
    return result


def _wait_ended(directory: Path, nodes: list[LocalNode], timeout: float) -> list[LocalNode]:
    """Wait until the nodes' processes have ended; those that live after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while (nodes := [node for node in nodes if runs(directory, node)]) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return nodes


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it ended by itself in the meantime


def last_log_lines(directory: Path, name: str) -> str:
    """The end of a node's log, for people."""
    try:
        with log_file(directory, name).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 8192))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"  {line}" for line in lines[-LAST_LOG_LINES:])
