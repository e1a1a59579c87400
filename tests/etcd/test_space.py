"""Space that compaction freed is found again, though nobody writes."""

from __future__ import annotations

from pathlib import Path

import grpc
from google.protobuf.message import Message
from tests.runtime.conftest import run, until
from tests.runtime.test_node import configurations

import coterie
from coterie.etcd.api import EtcdApi
from coterie.etcd.wire import rpc
from coterie.runtime.api import Ground

VALUE = b"v" * 100_000
PUTS = 40


def test_what_was_compacted_is_freed_within_seconds_though_nothing_is_written(tmp_path: Path) -> None:
    grounds: list[Ground] = []

    def make(ground: Ground) -> EtcdApi:
        grounds.append(ground)
        return EtcdApi(ground)

    async def work() -> None:
        (config,) = configurations(tmp_path, 1)
        async with coterie.Node(config, api=make), grpc.aio.insecure_channel(config.client) as channel:

            async def ask(method: str, request: Message) -> bytes:
                path = f"/etcdserverpb.{method}"
                answer: bytes = await channel.unary_unary(path)(request.SerializeToString(), wait_for_ready=True)
                return answer

            for _ in range(PUTS):
                await ask("KV/Put", rpc.PutRequest(key=b"k", value=VALUE))
            grounds[0].flush()
            await until(lambda: grounds[0].database_bytes_in_use > PUTS * len(VALUE))
            deleted = rpc.DeleteRangeResponse.FromString(await ask("KV/DeleteRange", rpc.DeleteRangeRequest(key=b"k")))
            await ask("KV/Compact", rpc.CompactionRequest(revision=deleted.header.revision))
            await until(lambda: grounds[0].database_bytes_in_use < 2 * len(VALUE))
            status = rpc.StatusResponse.FromString(await ask("Maintenance/Status", rpc.StatusRequest()))
            assert status.dbSizeInUse < 2 * len(VALUE)

    run(work)
