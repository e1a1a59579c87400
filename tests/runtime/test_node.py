"""`Node` and `SyncNode` in this process: requests, errors with their effect, start, stop, and the bank example."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from examples.bank import Bank, balance, deposit, open_account, read_balance, read_receipt, transfer
from tests.protocol import protocol_under_test
from tests.runtime.cluster import ROOT, free_ports
from tests.runtime.conftest import run, until

import coterie
from coterie.core.errors import ConfigurationError, CoterieError, Effect
from coterie.engine.protocol import FailureCode

pytestmark = pytest.mark.usefixtures("protocol")


def configurations(directory: Path, count: int) -> list[coterie.NodeConfiguration]:
    ports = free_ports(2 * count)
    members = tuple((f"n{i + 1}", f"127.0.0.1:{ports[i]}") for i in range(count))
    return [
        coterie.NodeConfiguration(
            name=name,
            data=str(directory / name),
            protocol=protocol_under_test(),
            peer=peer,
            client=f"127.0.0.1:{ports[count + i]}",
            initial_members=members,
            election_timeout_ms=200,
            heartbeat_interval_ms=50,
            request_timeout_ms=3000,
        )
        for i, (name, peer) in enumerate(members)
    ]


@pytest.mark.any_protocol
def test_a_member_that_joined_once_starts_without_waiting_for_who_it_joined_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coterie.runtime.joining.LOOK_TIMEOUT_S", 3600.0)
    asked: list[asyncio.BaseTransport] = []

    class Silent(asyncio.Protocol):
        """As a member is that is stopped, or has not started itself."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            asked.append(transport)

    async def work() -> None:
        (config,) = configurations(tmp_path, 1)
        async with coterie.Node(config, machine=Bank()):
            pass
        server = await asyncio.get_running_loop().create_server(Silent, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        again = msgspec.structs.replace(config, initial_members=(), join=f"{host}:{port}")
        async with coterie.Node(again, machine=Bank()) as node:
            await until(lambda: asked)
            await node.submit(open_account("alice"))
            assert not any(connection.is_closing() for connection in asked), "the answer is still waited for"
        server.close()
        await until(lambda: all(connection.is_closing() for connection in asked))

    run(work)


def test_a_command_given_to_any_member_is_seen_by_all(tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncExitStack() as stack:
            nodes = [coterie.Node(each, machine=Bank()) for each in configurations(tmp_path, 3)]
            await asyncio.gather(*[stack.enter_async_context(node) for node in nodes])
            await nodes[1].submit(open_account("alice"))
            await asyncio.gather(*[nodes[n % 3].submit(deposit("alice", 1)) for n in range(300)])
            for node in nodes:
                assert read_balance(await node.query(balance("alice"))) == 300
            stale = await nodes[2].query(balance("alice"), mode=coterie.ReadMode.STALE)
            assert read_balance(stale) == 300
            leaders = {node.status().leader for node in nodes}
            assert len(leaders) == 1
            assert leaders < {node.status().member for node in nodes}
        assert not any(node.running for node in nodes)

    run(work)


def test_a_node_that_starts_again_has_everything(tmp_path: Path) -> None:
    async def work() -> None:
        (config,) = configurations(tmp_path, 1)
        async with coterie.Node(config, machine=Bank()) as node:
            await node.submit(open_account("alice"))
            await node.submit(deposit("alice", 7))
            boot = node.status().boot
        async with coterie.Node(config, machine=Bank()) as node:
            assert read_balance(await node.query(balance("alice"))) == 7
            assert node.status().boot == boot + 1

    run(work)


def test_failures_say_whether_the_command_took_effect(tmp_path: Path) -> None:
    async def work() -> None:
        (config,) = configurations(tmp_path, 1)
        node = coterie.Node(config, machine=Bank())
        with pytest.raises(coterie.NodeStopped) as early:
            await node.submit(b"x")
        assert early.value.effect is Effect.NO
        await node.start()
        with pytest.raises(coterie.RequestFailed, match="no account") as rejected:
            await node.submit(deposit("nobody", 1))
        assert (rejected.value.code, rejected.value.effect) == (FailureCode.REJECTED, Effect.NO)
        with pytest.raises(coterie.RequestFailed) as large:
            await node.submit(bytes(2_000_000))
        assert (large.value.code, large.value.effect) == (FailureCode.INVALID, Effect.NO)
        with pytest.raises(coterie.RequestFailed, match="no account"):
            await node.query(balance("nobody"))
        await node.stop()
        await node.stop()
        with pytest.raises(coterie.NodeStopped):
            await node.submit(deposit("nobody", 1))
        await node.wait_ended()

    run(work)


def test_without_a_quorum_a_command_ends_as_unknown_or_no_in_time(tmp_path: Path) -> None:
    async def work() -> None:
        configs = configurations(tmp_path, 3)
        nodes = [coterie.Node(each, machine=Bank()) for each in configs]
        await asyncio.gather(*[node.start() for node in nodes])
        await nodes[0].submit(open_account("alice"))
        await asyncio.gather(nodes[1].stop(), nodes[2].stop())
        with pytest.raises(coterie.RequestFailed) as failed:
            await nodes[0].submit(deposit("alice", 1))
        assert failed.value.effect in (Effect.UNKNOWN, Effect.NO)
        await nodes[0].stop()

    run(work)


class Breaking(Bank):
    """A machine that breaks its contract on one command."""

    def apply(self, batch: coterie.Batch) -> list[bytes | coterie.Rejected]:
        if b"break" in batch.commands:
            raise RuntimeError("a bug in the machine")
        return [b"" for _ in batch.commands]


@pytest.mark.any_protocol
def test_a_machine_that_raises_ends_its_node_and_nothing_else(tmp_path: Path, lines: Callable[[], list[str]]) -> None:
    async def work() -> None:
        (config,) = configurations(tmp_path, 1)
        node = coterie.Node(config, machine=Breaking())
        await node.start()
        await node.submit(b"fine")
        with pytest.raises(coterie.NodeStopped) as stopped:
            await node.submit(b"break")
        assert stopped.value.effect is Effect.UNKNOWN
        with pytest.raises(CoterieError, match="a bug in the machine"):
            await node.wait_ended()
        assert not node.running
        assert any(line.startswith("engine-failed") and "a bug in the machine" in line for line in lines())
        await node.stop()

    run(work)


@pytest.mark.any_protocol
def test_a_start_that_fails_leaves_ports_and_directory_free(tmp_path: Path) -> None:
    async def work() -> None:
        (config,) = configurations(tmp_path, 1)
        async with coterie.Node(config, machine=Bank()):
            other = coterie.Node(config, machine=Bank())
            with pytest.raises(CoterieError, match="cannot listen"):
                await other.start()
            assert not other.running
        with pytest.raises(ConfigurationError, match="no module"):
            await coterie.Node(
                coterie.configure(environment={}, flags={**flags(config), "machine": "no.such:One"})
            ).start()
        async with coterie.Node(config, machine=Bank()) as node:
            await node.submit(open_account("alice"))

    run(work)


def flags(config: coterie.NodeConfiguration) -> dict[str, object]:
    return {"name": config.name, "data": config.data, "peer": config.peer, "client": config.client}


@pytest.mark.any_protocol
def test_a_start_can_be_given_up(tmp_path: Path) -> None:
    async def work() -> None:
        first, second = configurations(tmp_path, 2)
        waiting = coterie.Node(first, machine=Bank())
        start = asyncio.ensure_future(waiting.start())
        await until(lambda: (tmp_path / "n1").exists())
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        async with AsyncExitStack() as stack:
            nodes = [coterie.Node(each, machine=Bank()) for each in (first, second)]
            await asyncio.gather(*[stack.enter_async_context(node) for node in nodes])
            await nodes[0].submit(open_account("alice"))

    run(work)


def test_the_synchronous_twin_serves_threads(tmp_path: Path) -> None:
    (config,) = configurations(tmp_path, 1)
    with coterie.SyncNode(config, machine=Bank()) as node:
        node.submit(open_account("alice"))
        node.submit(open_account("bob"), timeout=5)
        node.submit(deposit("alice", 100))
        assert read_receipt(node.submit(transfer("alice", "bob", 30))).balance == 70
        assert read_balance(node.query(balance("bob"), timeout=5)) == 30
        assert node.status().role == "leader"
        with pytest.raises(coterie.RequestFailed):
            node.submit(transfer("alice", "bob", 300))
    with pytest.raises(coterie.NodeStopped):
        node.submit(deposit("alice", 1))
    node.stop()
    broken = coterie.SyncNode(config, machine=None)
    with coterie.SyncNode(config, machine=Bank()), pytest.raises(CoterieError, match="cannot listen"):
        broken.start()


@pytest.mark.any_protocol
def test_the_bank_example_runs_and_loses_no_money() -> None:
    done = subprocess.run(
        [sys.executable, "examples/bank.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "bob holds 6000 cents" in done.stdout
    assert "took effect: no" in done.stdout
    assert "all accounts hold 10000 cents" in done.stdout


@pytest.mark.any_protocol
def test_every_public_name_is_there() -> None:
    for name in dir(coterie):
        assert getattr(coterie, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = coterie.nothing
