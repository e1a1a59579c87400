"""A whole node answers gRPC on its clients' port, and says farewell when it stops."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from tests.runtime.cluster import free_ports
from tests.runtime.conftest import run

import coterie


def test_a_node_answers_calls_until_it_stops(tmp_path: Path) -> None:
    async def work() -> None:
        peer, client = (f"127.0.0.1:{port}" for port in free_ports(2))
        config = coterie.NodeConfiguration(name="n1", data=str(tmp_path / "n1"), peer=peer, client=client)
        async with grpc.aio.insecure_channel(client) as channel:
            async with coterie.Node(config):
                for path in ("/nobody.Nothing/At", "/nobody.Nothing/All"):
                    with pytest.raises(grpc.aio.AioRpcError) as raised:
                        await channel.unary_unary(path)(b"", wait_for_ready=True)
                    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
                    assert raised.value.details() == "unknown service nobody.Nothing"
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await channel.unary_unary("/nobody.Nothing/At")(b"")
            assert raised.value.code() == grpc.StatusCode.UNAVAILABLE

    run(work)
