"""Where real members run and real clients ask: hosts that can be cut off, and a process of clients on each."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Final

import msgspec

import coterie
from coterie.lab.cap.caller import Question, Told
from coterie.lab.errors import LabError
from coterie.torture.hosts import Host
from coterie.torture.namespaces import NoNamespaces, network
from coterie.torture.network import Joint, Namespaces, Relayed
from coterie.torture.relays import Wires

ANSWER_S: Final = 30.0
"""Longer than any question's own time."""


class Seat:
    """The clients on one host."""

    def __init__(self, host: Host) -> None:
        source = str(Path(coterie.__file__).parents[1])
        self._process = subprocess.Popen(
            [*host.enter, sys.executable, "-m", "coterie.lab.cap.caller", host.client],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": source},
        )
        self._count = 0
        self._waiting: dict[int, Future[Told]] = {}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input: IO[bytes] = self._process.stdin
        self._output: IO[bytes] = self._process.stdout
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def ask(
        self, client: str, f: str, key: str, *, value: str = "", mode: str = "", at_least: int = 0, session: bool = True
    ) -> Future[Told]:
        """Ask; the answer comes when it comes. Raises `LabError` if the process has ended."""
        self._count += 1
        question = Question(self._count, client, f, key, value, mode, at_least, session)
        future: Future[Told] = Future()
        self._waiting[question.id] = future
        try:
            self._input.write(msgspec.json.encode(question) + b"\n")
            self._input.flush()
        except OSError as error:
            raise LabError(f"the process of the clients has ended: {error}") from error
        return future

    def _listen(self) -> None:
        for line in self._output:
            told = msgspec.json.decode(line, type=Told)
            self._waiting.pop(told.id).set_result(told)
        for future in self._waiting.values():
            future.set_exception(LabError("the process of the clients ended before it had answered"))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        self._output.close()
        with suppress(BrokenPipeError):  # what was written and not taken
            self._input.close()


class Share:
    """Some hosts of many, in a row, as a cluster's own. See `Joint`."""

    def __init__(self, whole: Joint, first: int, count: int) -> None:
        self._whole = whole
        self._first = first
        self.kind = whole.kind
        self.hosts = whole.hosts[first : first + count]
        self.relays: dict[int, str] = {}
        self.lacks = whole.lacks

    def cut(self, i: int) -> None:
        self._whole.cut(self._first + i)

    def mend(self, i: int) -> None:
        self._whole.mend(self._first + i)

    def impair(self, i: int, *, delay_ms: int, loss_percent: int) -> None:
        self._whole.impair(self._first + i, delay_ms=delay_ms, loss_percent=loss_percent)


@contextmanager
def parted_hosts(clusters: int, count: int, *, namespaces: bool = True) -> Iterator[tuple[list[Joint], str]]:
    """For each cluster so many hosts that can be cut off: network namespaces, or where there are none relays between
    members on this machine; and why not, then. In the main thread only."""
    reason = "" if namespaces else "relays were asked for"
    with ExitStack() as stack:
        if namespaces:
            try:
                whole = Namespaces(stack.enter_context(network(clusters * count)))
            except NoNamespaces as error:
                reason = str(error)
            else:
                yield [Share(whole, number * count, count) for number in range(clusters)], ""
                return
        joints: list[Joint] = []
        for _ in range(clusters):
            wires = Wires()
            stack.callback(wires.close)
            joints.append(Relayed(wires, count))
        yield joints, reason
