"""gRPC calls at a node: what a connection is told, and that nothing of a call stays when it is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
from tests.runtime.conftest import run, until
from tests.runtime.test_node import configurations

import coterie
from coterie.etcd.api import EtcdApi
from coterie.etcd.lease import MAX_UNANSWERED
from coterie.etcd.wire import lock, rpc
from coterie.http2.limits import STREAM_WINDOW_BYTES
from coterie.runtime.api import Ground


def test_a_call_that_is_over_is_forgotten_whoever_ended_it_and_the_connection_with_it(tmp_path: Path) -> None:
    made: list[EtcdApi] = []

    def make(ground: Ground) -> EtcdApi:
        made.append(EtcdApi(ground))
        return made[-1]

    async def keep(lease: int) -> AsyncIterator[bytes]:
        yield rpc.LeaseKeepAliveRequest(ID=lease).SerializeToString()

    async def work() -> None:
        (config,) = configurations(tmp_path, 1)
        async with coterie.Node(config, api=make), grpc.aio.insecure_channel(config.client) as channel:
            calls = made[0]._calls

            async def ask(path: str, message: bytes) -> bytes:
                answer: bytes = await channel.unary_unary(path)(message, wait_for_ready=True)
                return answer

            granted = rpc.LeaseGrantResponse.FromString(
                await ask("/etcdserverpb.Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=60).SerializeToString())
            )
            request = lock.LockRequest(name=b"L", lease=granted.ID).SerializeToString()
            await ask("/v3lockpb.Lock/Lock", request)
            assert not calls._handlers, "the lock was free"

            other = lock.LockRequest(name=b"L").SerializeToString()
            waiting = channel.unary_unary("/v3lockpb.Lock/Lock")(other)
            await until(lambda: calls._handlers)
            await ask("/v3lockpb.Lock/Unlock", lock.UnlockRequest(key=b"L/%x" % granted.ID).SerializeToString())
            await waiting
            assert not calls._handlers, "the services ended the call"

            answers = [
                rpc.LeaseKeepAliveResponse.FromString(answer).TTL
                async for answer in channel.stream_stream("/etcdserverpb.Lease/LeaseKeepAlive")(keep(granted.ID))
            ]
            assert answers == [60]
            assert not calls._handlers, "the caller closed its half, and the services the other"

            quitter = channel.unary_unary("/v3lockpb.Lock/Lock")(other)
            await until(lambda: calls._handlers)
            quitter.cancel()
            await until(lambda: not calls._handlers)

    run(work)


def test_all_leases_of_a_client_are_kept_alive_on_one_stream_at_once(tmp_path: Path) -> None:
    """More than are taken at a time, and more bytes than a stream's window: the caller is held up, and goes on."""
    count = MAX_UNANSWERED * 8
    request = rpc.LeaseKeepAliveRequest(ID=(1 << 62) + 1).SerializeToString()
    assert count * len(request) > STREAM_WINDOW_BYTES

    async def all_at_once() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield request

    async def work() -> None:
        (config,) = configurations(tmp_path, 1)
        async with coterie.Node(config, api=EtcdApi), grpc.aio.insecure_channel(config.client) as channel:
            put = channel.unary_unary("/etcdserverpb.KV/Put")
            await put(rpc.PutRequest(key=b"a").SerializeToString(), wait_for_ready=True)
            stream = channel.stream_stream("/etcdserverpb.Lease/LeaseKeepAlive")(all_at_once())
            answers = [rpc.LeaseKeepAliveResponse.FromString(answer) async for answer in stream]
            assert [(answer.ID, answer.TTL) for answer in answers] == [((1 << 62) + 1, 0)] * count

    run(work)
