"""Nodes as real processes, for tests."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from tests.protocol import protocol_under_test

from coterie.engine.protocol import (
    CLIENT_MAGIC,
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    Answer,
    AskStatus,
    Failure,
    Hello,
    NodeStatus,
    Request,
    Response,
    Submit,
    View,
    Welcome,
    encoder,
    response_decoder,
)
from coterie.machine.kv.protocol import Put, PutReply, reply_decoder
from coterie.machine.kv.protocol import encoder as machine_encoder
from coterie.runtime.addresses import split_address
from coterie.runtime.frames import FrameSplitter, pack_length

ROOT = Path(__file__).parents[2]
PROGRAM = "from coterie.cli.node import node; import typer; typer.run(node)"
FAST = ("--election-timeout-ms", "300", "--heartbeat-interval-ms", "50")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port_block(count: int) -> int:
    """The first of so many ports in a row that nobody listens on now.

    They lie below those that the kernel gives to outgoing connections (from 32768 on): else, while a
    member is down, somebody's connection could get its port, and even connect to itself there.
    """
    while True:
        first = secrets.randbelow(32768 - count - 12000) + 12000
        if all(_free(port) for port in range(first, first + count)):
            return first


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; see `free_port_block`."""
    first = free_port_block(count)
    return list(range(first, first + count))


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until the condition holds; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still not so after {seconds} s"
        time.sleep(0.02)


class Caller:
    """A client made of a bare blocking socket."""

    def __init__(self, address: str, timeout: float = 5.0) -> None:
        self.socket = socket.create_connection(split_address(address), timeout)
        self.splitter = FrameSplitter(MAX_FRAME_BYTES)
        self.inbox: list[Response] = []
        self.next = 1
        try:
            self.socket.sendall(CLIENT_MAGIC)
            self.send(Hello(PROTOCOL_VERSION, "test"))
            welcome = self.receive()
            assert isinstance(welcome, Welcome)
        except BaseException:
            self.socket.close()
            raise
        self.welcome = welcome

    def send(self, request: Request) -> None:
        body = encoder.encode(request)
        self.socket.sendall(pack_length(len(body)) + body)

    def receive(self) -> Response:
        while not self.inbox:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionResetError("closed")
            self.inbox += [response_decoder.decode(body) for body in self.splitter.feed(data)]
        return self.inbox.pop(0)

    def answer(self, request: Request) -> Answer | Failure:
        self.send(request)
        while isinstance(response := self.receive(), View | Welcome):
            pass
        return response

    def put(self, key: bytes, value: bytes) -> Answer | Failure:
        self.next += 1
        return self.answer(Submit(self.next, 0, 0, 0, machine_encoder.encode(Put(key, value))))

    def status(self) -> NodeStatus:
        answer = self.answer(AskStatus(1))
        assert isinstance(answer, Answer)
        return msgspec.msgpack.decode(answer.body, type=NodeStatus)

    def close(self) -> None:
        self.socket.close()


class Process:
    """One `coterie node`."""

    def __init__(
        self, name: str, data: Path, peer: int, client: int, members: str, flags: Sequence[str] = FAST
    ) -> None:
        self.name = name
        self.data = data
        self.peer = f"127.0.0.1:{peer}"
        self.client = f"127.0.0.1:{client}"
        self.arguments = ["--name", name, "--data", str(data), "--peer", self.peer, "--client", self.client]
        self.arguments += ["--protocol", protocol_under_test(), "--initial-members", members, *flags]
        self.process: subprocess.Popen[str] | None = None
        self.log = data.with_suffix(".log")
        self.environment = {"PYTHONPATH": str(ROOT / "src")}
        """Beside the test's own; whoever runs another copy of the package, says where it is."""

    def start(self, *more: str) -> None:
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *self.arguments, *more],
                stderr=log,
                stdin=subprocess.DEVNULL,
                text=True,
                cwd=ROOT,
                env={**os.environ, **self.environment},
            )

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, seconds: float = 20.0) -> int:
        assert self.process is not None
        return self.process.wait(seconds)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def lines(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def status(self) -> NodeStatus | None:
        try:
            caller = Caller(self.client, timeout=1.0)
            try:
                return caller.status()
            finally:
                caller.close()
        except OSError:
            return None


@contextmanager
def processes(directory: Path, count: int, flags: Sequence[str] = FAST) -> Iterator[list[Process]]:
    """Processes of one cluster, not started yet; killed at the end."""
    ports = free_ports(2 * count)
    members = ",".join(f"n{i + 1}=127.0.0.1:{ports[i]}" for i in range(count))
    nodes = [
        Process(f"n{i + 1}", directory / f"n{i + 1}", ports[i], ports[count + i], members, flags) for i in range(count)
    ]
    try:
        yield nodes
    finally:
        for each in nodes:
            each.kill()


def leader_of(nodes: Sequence[Process]) -> Process | None:
    """The process that leads, if one says so and a majority agrees."""
    said = [status.leader for each in nodes if (status := each.status()) is not None and status.leader]
    for each in nodes:
        status = each.status()
        if status is not None and status.role == "leader" and said.count(status.member) * 2 > len(nodes):
            return each
    return None


def put(node: Process, key: bytes, value: bytes) -> PutReply:
    """Put through one member; fails the test if it has no success."""
    caller = Caller(node.client)
    answer = caller.put(key, value)
    caller.close()
    assert isinstance(answer, Answer), answer
    reply = reply_decoder.decode(answer.body)
    assert isinstance(reply, PutReply)
    return reply
