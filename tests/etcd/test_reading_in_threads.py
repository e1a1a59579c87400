"""What is read in threads: nobody takes it from under its reader, and there is not too much of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.runtime.cluster import free_ports
from tests.runtime.conftest import until

import coterie
from coterie.etcd.api import EtcdApi
from coterie.etcd.calls import ANYBODY
from coterie.etcd.maintenance import MAX_SNAPSHOTS
from coterie.etcd.status import Code
from coterie.machine.kv.machine import KeyValue
from coterie.machine.kv.protocol import Put, Txn, encoder
from coterie.runtime.api import Ground

SNAPSHOT = "/etcdserverpb.Maintenance/Snapshot"
KEYS = 25_600


class Ear:
    """A caller that takes all it is told."""

    unsent = 0

    def __init__(self) -> None:
        self.bytes = 0
        self.status: tuple[Code, str] | None = None

    def respond(self, message: bytes) -> None:
        self.send(message)

    def send(self, message: bytes) -> None:
        self.bytes += len(message)

    def finish(self, code: Code = Code.OK, text: str = "") -> None:
        self.status = (code, text)

    def release(self) -> None:
        raise AssertionError("nothing is held")


class Running:
    """A node of one member in this loop, with its API in reach."""

    def __init__(self, directory: Path) -> None:
        peer, client = (f"127.0.0.1:{port}" for port in free_ports(2))
        config = coterie.NodeConfiguration(
            name="n1",
            data=str(directory / "n1"),
            peer=peer,
            client=client,
            initial_members=(("n1", peer),),
            election_timeout_ms=200,
            heartbeat_interval_ms=50,
        )
        self.apis: list[EtcdApi] = []
        self.problems: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.problems.append(context))
        self.node = coterie.Node(config, machine=KeyValue(), api=self._make)

    def _make(self, ground: Ground) -> EtcdApi:
        self.apis.append(EtcdApi(ground))
        return self.apis[-1]

    async def fill(self) -> None:
        for first in range(0, KEYS, 128):
            puts = tuple(Put(b"k%06d" % number, b"v" * 64) for number in range(first, first + 128))
            await self.node.submit(encoder.encode(Txn((), puts)))

    def snapshot(self) -> tuple[Ear, Any]:
        (api,) = self.apis
        ear = Ear()
        handler = api.services.open(ear, SNAPSHOT, ANYBODY)
        if handler is not None:
            handler.received(b"")
        return ear, handler


def test_a_node_that_stops_leaves_its_store_open_for_a_snapshot_that_is_being_written(tmp_path: Path) -> None:
    async def work() -> None:
        running = Running(tmp_path)
        async with running.node:
            await running.fill()
            running.snapshot()
            (api,) = running.apis
            await until(lambda: not api.idle)
        await until(lambda: api.idle)
        assert running.problems == [], "the state was taken from under its reader"

    asyncio.run(work())


def test_a_caller_that_leaves_does_not_take_the_state_from_under_its_reader(tmp_path: Path) -> None:
    async def work() -> None:
        running = Running(tmp_path)
        async with running.node:
            await running.fill()
            ear, handler = running.snapshot()
            (api,) = running.apis
            await until(lambda: not api.idle)
            handler.cancelled()
            await until(lambda: api.idle)
            again, _ = running.snapshot()
            await until(lambda: again.status is not None)
            assert (again.status, ear.bytes) == ((Code.OK, ""), 0)
            assert again.bytes > KEYS * 64
        assert running.problems == []

    asyncio.run(work())


def test_one_snapshot_more_than_may_be_at_a_time_is_refused_until_one_is_over(tmp_path: Path) -> None:
    async def work() -> None:
        running = Running(tmp_path)
        async with running.node:
            await running.node.submit(encoder.encode(Put(b"k", b"v")))
            opened = [running.snapshot() for _ in range(MAX_SNAPSHOTS)]
            refused, handler = running.snapshot()
            assert handler is None
            assert refused.status == (Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests")
            await until(lambda: all(ear.status == (Code.OK, "") for ear, _ in opened))
            last, _ = running.snapshot()
            await until(lambda: last.status == (Code.OK, ""))
        assert running.problems == []

    asyncio.run(work())
