"""A real client of gRPC, grpcio: every kind of call, and every way in which a call ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest
from tests.runtime.conftest import until
from tests.runtime.grpc.desk import COUNT, Desk, at_desk

from coterie.http2 import Limits

MIB = 1024 * 1024


def with_channel(work: Callable[[Desk, grpc.aio.Channel], Awaitable[None]], limits: Limits | None = None) -> None:
    async def at(desk: Desk) -> None:
        async with grpc.aio.insecure_channel(
            desk.address, options=(("grpc.max_receive_message_length", -1),)
        ) as channel:
            await work(desk, channel)

    at_desk(at, limits)


async def failure(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value


async def stream_of(*messages: bytes) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


@pytest.mark.parametrize("size", [0, 1, 272, 16_379, 16_380, 65_535, 70_000, MIB, 2 * MIB])
def test_a_unary_call_of_any_size_is_answered(size: int) -> None:
    async def work(desk: Desk, channel: grpc.aio.Channel) -> None:
        message = os.urandom(size)
        assert await channel.unary_unary("/test/Echo")(message) == message

    with_channel(work)


def test_many_calls_at_a_time_share_a_connection() -> None:
    async def work(desk: Desk, channel: grpc.aio.Channel) -> None:
        messages = [os.urandom(1 + n * 97) for n in range(500)]
        echo = channel.unary_unary("/test/Echo")
        assert await asyncio.gather(*(echo(message) for message in messages)) == messages
        assert desk.port.connections == 1

    with_channel(work)


def test_a_streaming_answer_arrives_whole_and_in_order() -> None:
    async def work(desk: Desk, channel: grpc.aio.Channel) -> None:
        message = os.urandom(100_000)
        got = [answer async for answer in channel.unary_stream("/test/Many")(message)]
        assert got == [message] * COUNT

    with_channel(work)


def test_a_streaming_request_arrives_whole_and_in_order() -> None:
    async def work(desk: Desk, channel: grpc.aio.Channel) -> None:
        messages = [os.urandom(size) for size in (0, 1, 100_000, 5, 500_000, 65_535, 0, 70_000)]
        assert await channel.stream_unary("/test/Join")(stream_of(*messages)) == b"".join(messages)

    with_channel(work)


def test_both_sides_stream_at_the_same_time() -> None:
    async def work(desk: Desk, channel: grpc.aio.Channel) -> None:
        call = channel.stream_stream("/test/Echo")()
        for n in range(200):
            message = bytes((n,)) * (n * 100)
            await call.write(message)
            assert await call.read() == message
        await call.done_writing()
        assert await call.read() == grpc.aio.EOF
        assert await call.code() == grpc.StatusCode.OK

    with_channel(work)


def test_a_status_arrives_with_its_text_and_trailers() -> None:
    async def work(desk: Desk, channel: grpc.aio.Channel) -> None:
        error = await failure(channel.unary_unary("/test/Fail")(b""))
        assert error.code() == grpc.StatusCode.ABORTED
        assert error.details() == "50% of naïve\ncalls"
        assert dict(error.trailing_metadata()) == {"reason": "none", "blob-bin": b"\x00\xff"}

    with_channel(work)


def test_metadata_arrive() -> None:
    async def work(desk: Desk, channel: grpc.aio.Channel) -> None:
        metadata = (("token", "abc.def"), ("blob-bin", b"\x00\xff"), ("token", "second"))
        lines = (await channel.unary_unary("/test/Metadata")(b"", metadata=metadata)).split(b"\n")
        assert [line for line in lines if line.startswith(b"token")] == [b"token=abc.def", b"token=second"]
        assert b"blob-bin=AP8" in lines
        assert b"content-type=application/grpc" in lines

    with_channel(work)


def test_a_call_ends_at_its_deadline() -> None:
    async def work(desk: Desk, channel: grpc.aio.Channel) -> None:
        error = await failure(channel.unary_unary("/test/Silent")(b"", timeout=0.2))
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: desk.site.cancelled)
        assert not desk.site.open

    with_channel(work)


def test_a_call_that_the_client_cancels_is_cancelled() -> None:
    async def work(desk: Desk, channel: grpc.aio.Channel) -> None:
        call = channel.unary_unary("/test/Silent")(b"")
        await until(lambda: desk.site.open)
        call.cancel()
        await until(lambda: desk.site.cancelled == ["the client reset the stream"])
        assert await channel.unary_unary("/test/Echo")(b"still here") == b"still here"

    with_channel(work)


def test_calls_of_a_client_that_goes_away_are_cancelled_once() -> None:
    async def at(desk: Desk) -> None:
        channel = grpc.aio.insecure_channel(desk.address)
        calls = [channel.unary_unary("/test/Silent")(b"") for _ in range(3)]
        await until(lambda: len(desk.site.open) == 3)
        await channel.close()
        await until(lambda: len(desk.site.cancelled) == 3)
        await asyncio.gather(*calls, return_exceptions=True)
        assert not desk.site.open

    at_desk(at)


@pytest.mark.parametrize("size", [10, 100_000])
def test_messages_are_compressed_both_ways(size: int) -> None:
    async def work(desk: Desk, channel: grpc.aio.Channel) -> None:
        message = b"again and " * size
        got = await channel.unary_unary("/test/Echo")(message, compression=grpc.Compression.Gzip)
        assert got == message

    with_channel(work)


def test_an_encoding_that_is_not_spoken_is_refused_with_those_that_are() -> None:
    async def work(desk: Desk, channel: grpc.aio.Channel) -> None:
        error = await failure(channel.unary_unary("/test/Echo")(b"m" * 1000, compression=grpc.Compression.Deflate))
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED
        assert error.details() == 'grpc: Decompressor is not installed for grpc-encoding "deflate"'

    with_channel(work)


def test_a_message_one_byte_too_large_is_refused_in_the_words_of_grpc_go() -> None:
    async def work(desk: Desk, channel: grpc.aio.Channel) -> None:
        error = await failure(channel.unary_unary("/test/Echo")(bytes(2 * MIB + 1)))
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.details() == "grpc: received message larger than max (2097153 vs. 2097152)"

    with_channel(work)


def test_a_message_that_is_too_large_when_decompressed_is_refused() -> None:
    async def work(desk: Desk, channel: grpc.aio.Channel) -> None:
        bomb = channel.unary_unary("/test/Echo")(bytes(2 * MIB + 1), compression=grpc.Compression.Gzip)
        error = await failure(bomb)
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED

    with_channel(work)


def test_one_stream_more_than_allowed_waits_its_turn() -> None:
    async def work(desk: Desk, channel: grpc.aio.Channel) -> None:
        calls = [channel.unary_unary("/test/Silent")(b"") for _ in range(4)]
        await until(lambda: len(desk.site.open) == 4)
        late = channel.unary_unary("/test/Echo")(b"late", wait_for_ready=True)
        calls[0].cancel()
        assert await late == b"late"

    with_channel(work, Limits(max_streams=4))


def test_large_messages_take_turns_below_the_limit() -> None:
    async def work(desk: Desk, channel: grpc.aio.Channel) -> None:
        messages = [os.urandom(MIB) for _ in range(24)]
        echo = channel.unary_unary("/test/Echo")
        assert await asyncio.gather(*(echo(message) for message in messages)) == messages

    with_channel(work, Limits(max_received_bytes=5 * MIB))


def test_a_client_is_told_to_go_and_its_last_call_is_answered() -> None:
    async def work(desk: Desk, channel: grpc.aio.Channel) -> None:
        call = channel.stream_stream("/test/Echo")()
        await call.write(b"before")
        assert await call.read() == b"before"
        desk.port.drain()
        await call.write(b"after")
        assert await call.read() == b"after"
        assert desk.port.connections == 1
        await call.done_writing()
        assert await call.code() == grpc.StatusCode.OK
        await until(lambda: desk.port.connections == 0)

    with_channel(work)


def test_calls_under_way_are_ended_when_the_port_closes() -> None:
    async def work(desk: Desk, channel: grpc.aio.Channel) -> None:
        call = channel.unary_unary("/test/Silent")(b"")
        await until(lambda: desk.site.open)
        desk.port.close(at_once=False)
        error = await failure(call)
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        assert error.details() == "etcdserver: server stopped"
        assert len(desk.site.cancelled) == 1

    with_channel(work)
