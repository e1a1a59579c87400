"""Processes that faults befall: started, killed, stopped, started again; who leads; whether all is whole.

What differs between systems (the command, the question after the state, a write) is in `coterie_members.py` and
`etcd_members.py`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import msgspec

from coterie.core.errors import CoterieError, Effect
from coterie.torture.administration import Administrator
from coterie.torture.errors import ClusterFailed
from coterie.torture.hosts import Host, wait_until

WHOLE_TIMEOUT_S = 60.0
AGREED_TIMEOUT_S = 20.0
STOPPED_TIMEOUT_S = 5.0
LOG_LINES = 5
_POLL_S = 0.0005


class View(msgspec.Struct, frozen=True):
    """What a member says of itself."""

    member: int
    leader: int
    """0: it knows none."""
    epoch: int
    """Raft's term, or the ballot's round."""
    commit: int
    applied: int


class WriteFailed(CoterieError):
    """The write was refused, or its outcome is unknown."""

    effect = Effect.UNKNOWN


class Writer(Protocol):
    """Writes through one member, and no other."""

    async def put(self, key: bytes, value: bytes) -> None:
        """Return when the write is acknowledged. Raises `WriteFailed`."""
        ...

    async def close(self) -> None:
        """Close the connection; writes under way fail."""
        ...


class Cluster(ABC):
    """Members, one process each, at most one on each host."""

    name: str

    def __init__(self) -> None:
        self.hosts: tuple[Host, ...] = ()
        self.scratch = Path()
        self.members: list[int] = []
        """The hosts that have a member, which does or should run."""
        self.initial: list[int] = []
        """Those that the cluster began with."""
        self.disks: Mapping[int, Path] = {}
        """File systems of hosts that have one of their own."""
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._directories: dict[int, str] = {}
        """Of a member that joined later."""
        self._joined = 0
        """Members that joined later."""

    def name_of(self, i: int) -> str:
        """The name of the member on host `i`."""
        return f"n{i + 1}"

    def data(self, i: int) -> Path:
        """Where the member on host `i` keeps its data."""
        return self.disks.get(i, self.scratch) / self._directories.get(i, f"{self.name}{i + 1}")

    @abstractmethod
    def command(self, i: int) -> list[str]:
        """What starts member `i`, for the first time and again. Raises `Missing`."""

    @abstractmethod
    def view(self, i: int) -> View | None:
        """What member `i` says of itself, or None if it does not answer within a second."""

    @abstractmethod
    async def writer(self, i: int) -> Writer:
        """A writer through member `i`; it need not be connected yet."""

    @abstractmethod
    def native_writer(self) -> Writer | None:
        """The system's own client with the endpoints of all members, if it is measured beside the probes."""

    @abstractmethod
    def read(self, first: bytes, end: bytes) -> dict[bytes, bytes]:
        """Every key in [first, end) and its value, linearizable."""

    @abstractmethod
    def administrator(self) -> AbstractContextManager[Administrator]:
        """Who changes the members."""

    def join(self, i: int, present: list[int]) -> None:
        """The next start on host `i` is that of a new member, with a data directory of its own; `present` are the hosts
        of the others. What runs there is ended: a member that was removed and has not ended yet."""
        self.discard(i)
        shutil.rmtree(self.data(i), ignore_errors=True)
        self._joined += 1
        self._directories[i] = f"{self.name}{i + 1}-{self._joined}"

    def start(self, scratch: Path, hosts: Sequence[Host], spare: int = 0) -> None:
        """Start a member on every host, but for the last `spare` ones, and wait until they are whole."""
        self.hosts, self.scratch = tuple(hosts), scratch
        self.initial = [*range(len(hosts) - spare)]
        self.members = [*self.initial]
        for i in self.members:
            self._processes[i] = self._launch(i)
        self.wait_whole()

    def _launch(self, i: int) -> subprocess.Popen[bytes]:
        """Start a member in a session of its own (Ctrl-C is for us), to end with this process if it is killed: to be
        exact, with the thread that calls this (`man 2 PR_SET_PDEATHSIG`), which must live as long as the member."""
        mortal = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("COTERIE_", "ETCD_"))}
        with self._log(i).open("ab") as log:
            return subprocess.Popen(
                [*self.hosts[i].enter, *mortal, *self.command(i)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.scratch,
                env=environment,
                start_new_session=True,
            )

    def _log(self, i: int) -> Path:
        return self.scratch / f"{self.name}{i + 1}.log"

    @property
    def pids(self) -> tuple[int, ...]:
        """Those of all processes that were started and are not discarded."""
        return tuple(process.pid for process in self._processes.values())

    def leader(self) -> int:
        """Who leads, as all members say. Raises `TimeoutError` if they do not come to agree."""
        found: list[int] = []

        def agreed() -> bool:
            views = {i: self.view(i) for i in self.members}
            said = {view.leader if view is not None else 0 for view in views.values()}
            found.extend(i for i, view in views.items() if view is not None and said == {view.member})
            return bool(found)

        wait_until(agreed, AGREED_TIMEOUT_S, f"{self.name}: all members agree on the leader")
        return found[0]

    def wait_whole(self) -> None:
        """Wait until every member answers, all name the same leader, and all have applied what was committed when
        they first did. Raises `TimeoutError`, and `ClusterFailed` if a process has ended."""
        target: int | None = None

        def whole() -> bool:
            nonlocal target
            for i in self.members:
                if self._processes[i].poll() is not None:
                    raise ClusterFailed(f"{self.name}: a member ended by itself:\n{self.last_words(i)}")
            views = [view for i in self.members if (view := self.view(i)) is not None]
            said = {view.leader for view in views}
            if len(views) < len(self.members) or len(said) > 1 or not said & {view.member for view in views}:
                return False
            if target is None:
                target = max(view.commit for view in views)
            return min(view.applied for view in views) >= target

        wait_until(whole, WHOLE_TIMEOUT_S, f"{self.name}: all members agree and are up to date")

    def last_words(self, i: int) -> str:
        """How it ended, if it has, and the end of its log."""
        code = self._processes[i].poll()
        lines = self._log(i).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([*lines[-LOG_LINES:], *([f"exit code {code}"] if code is not None else [])])

    def kill(self, i: int) -> None:
        """SIGKILL; does not wait."""
        self._processes[i].kill()

    def restart(self, i: int) -> None:
        """Start a member that was killed."""
        self._processes[i].wait()
        self._processes[i] = self._launch(i)

    def launch(self, i: int) -> None:
        """Start a member on a host that had none."""
        self._processes[i] = self._launch(i)

    def discard(self, i: int) -> None:
        """End the process on host `i`, if there is one."""
        if i in self._processes:
            self._processes[i].kill()
            self._processes[i].wait()

    def ended(self, i: int) -> bool:
        """Whether the process on host `i` has ended, or never began."""
        return i not in self._processes or self._processes[i].poll() is not None

    def pause(self, i: int) -> None:
        """SIGSTOP; returns when no thread of the member runs any more."""
        pid = self._processes[i].pid
        os.kill(pid, signal.SIGSTOP)
        deadline = time.monotonic() + STOPPED_TIMEOUT_S
        while not _stopped(pid):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}: a member runs on after SIGSTOP")
            time.sleep(_POLL_S)

    def resume(self, i: int) -> None:
        """SIGCONT."""
        os.kill(self._processes[i].pid, signal.SIGCONT)

    def stop(self) -> None:
        """End every member, also one that is stopped. The data are thrown away, so without ceremony."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes.clear()


def _stopped(pid: int) -> bool:
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            state = (task / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except OSError:
            continue  # the thread has ended
        if state != "T":
            return False
    return True
