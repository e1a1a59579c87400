"""Any valid conversation with the `h2` library, in any cut of its bytes; and any bytes at all."""

from __future__ import annotations

import gc
import re
from itertools import pairwise
from typing import Any

import h2.settings
import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.http2.fuzz_world import Client, Server, Wires
from tests.http2.talk import FIELDS, SECOND, packed

from coterie.http2 import PREFACE, Connection, ErrorCode, Limits
from coterie.http2.errors import ConnectionFault
from coterie.http2.frames import FRAME_HEAD, frame
from coterie.http2.header_blocks import BlockDecoder
from coterie.http2.messages import Assembly

SIZES = st.one_of(st.integers(0, 300), st.sampled_from([16_379, 16_384, 65_530, 65_531, 70_000, 200_000]))
NUMBER = st.integers(0, 1 << 16)
CUTS = st.sampled_from([1, 3, 9, 10, 100, 1000, 16_384, 1 << 20])


def pattern(size: int, seed: int) -> bytes:
    return bytes(((seed + n) & 0xFF) for n in range(min(size, 251))) * (size // 251 + 1) if size else b""


class Conversation(RuleBasedStateMachine):
    """Both ends do whatever they may, in any order."""

    @initialize(pause=st.booleans())
    def meet(self, pause: bool) -> None:
        self.client = Client()
        self.client.generous = not pause
        self.server = Server(Limits(settings_timeout=3600 * SECOND))  # its wires may hold anything back
        self.wires = Wires(self.client, self.server)

    def pick(self, among: list[int], number: int) -> int | None:
        return among[number % len(among)] if among else None

    @rule(token=st.text("abcdefgh", max_size=8), timeout=st.integers(10**5, 10**7), deadline=st.booleans())
    def opens(self, token: str, timeout: int, deadline: bool) -> None:
        extra = [("grpc-timeout", f"{timeout}S")] if deadline else []
        self.client.open([("token", token), *extra])

    @rule(which=NUMBER, size=SIZES, count=st.integers(1, 3))
    def says(self, which: int, size: int, count: int) -> None:
        number = self.pick([n for n in self.client.waiting if self.client.is_open(n)], which)
        for _ in range(count if number is not None else 0):
            self.client.say(number or 0, pattern(size, which)[:size])

    @rule(which=NUMBER)
    def ends(self, which: int) -> None:
        number = self.pick([n for n in self.client.waiting if self.client.is_open(n)], which)
        if number is not None:
            self.client.end(number)

    @rule(which=NUMBER)
    def gives_up(self, which: int) -> None:
        number = self.pick(list(self.client.waiting), which)
        if number is not None:
            self.client.reset(number)

    @rule(size=CUTS)
    def pushes(self, size: int) -> None:
        self.client.push(max(100, size))

    @rule(value=st.sampled_from([0, 1, 1000, 65_535, 1 << 20]))
    def sets_its_window(self, value: int) -> None:
        self.client.set(h2.settings.SettingCodes.INITIAL_WINDOW_SIZE, value)

    @rule(value=st.sampled_from([16_384, 20_000, 1 << 20]))
    def sets_its_largest_frame(self, value: int) -> None:
        self.client.set(h2.settings.SettingCodes.MAX_FRAME_SIZE, value)

    @rule(value=st.sampled_from([0, 100, 4096, 65_536]))
    def sets_its_table(self, value: int) -> None:
        self.client.set(h2.settings.SettingCodes.HEADER_TABLE_SIZE, value)

    @rule()
    def pings(self) -> None:
        self.client.http.ping(b"12345678")

    @rule()
    def acknowledges(self) -> None:
        self.client.acknowledge()

    @rule(size=CUTS)
    def carries_up(self, size: int) -> None:
        self.wires.up(size)

    @rule(size=CUTS)
    def carries_down(self, size: int) -> None:
        self.wires.down(size)

    @precondition(lambda self: self.server.open())
    @rule(which=NUMBER, size=SIZES)
    def answers(self, which: int, size: int) -> None:
        number = self.pick(self.server.open(), which)
        assert number is not None
        if not self.server.said[number]:
            self.server.respond(number, pattern(size, which)[:size])

    @precondition(lambda self: self.server.open())
    @rule(which=NUMBER, size=SIZES)
    def sends(self, which: int, size: int) -> None:
        number = self.pick(self.server.open(), which)
        assert number is not None
        self.server.send(number, pattern(size, which)[:size])

    @precondition(lambda self: self.server.open())
    @rule(which=NUMBER, status=st.integers(0, 16))
    def finishes(self, which: int, status: int) -> None:
        number = self.pick(self.server.open(), which)
        assert number is not None
        self.server.finish(number, status)

    @precondition(lambda self: self.server.open())
    @rule(which=NUMBER)
    def reads(self, which: int) -> None:
        number = self.pick(self.server.open(), which)
        assert number is not None
        self.server.read(number)

    @rule(seconds=st.integers(0, 5))
    def waits(self, seconds: int) -> None:
        self.server.now += seconds * SECOND // 10
        self.server.hear(self.server.http.wake(self.server.now))

    def teardown(self) -> None:
        if not hasattr(self, "wires"):
            return
        client, server = self.client, self.server
        self.wires.settle()
        client.set(h2.settings.SettingCodes.INITIAL_WINDOW_SIZE, 1 << 24)
        self.wires.settle()
        assert not server.http.closed, server.http.reason
        assert not client.goaway
        for number, heard in server.calls.items():
            sent = client.sent[number]
            assert heard.messages == sent[: len(heard.messages)]
            if heard.ended:
                assert heard.messages == sent
            if heard.cancelled:
                continue
            if number in server.finished:
                continue
            assert heard.messages == sent
        for number, status in server.finished.items():
            answer = client.answers[number]
            if answer.ended:
                assert client.status[number] == str(status)
                assert answer.messages == server.said[number]
            else:
                assert answer.messages == server.said[number][: len(answer.messages)]
        for number in server.open():
            server.finish(number, 0)
        for number in list(client.waiting):
            client.end(number)
        self.wires.settle()
        assert server.http.streams == 0
        assert server.http._credit.held == server.http._credit._grants == 0
        assert server.http._sender.unsent == 0
        assert not server.http._sender.able
        assert not server.http._sender.stuck
        assert not server.http._streams.slow


TestConversation = pytest.mark.slow(Conversation.TestCase)
TestConversation.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def conversation() -> bytes:
    """A client's side of a conversation with everything in it."""
    client = Client()
    for n in range(6):
        number = client.open([("token", f"t{n % 2}"), ("grpc-timeout", f"{n + 10}S")])
        for size in (0, 5, 300, 20_000)[: n + 1]:
            client.say(number, pattern(size, n)[:size])
        if n != 3:
            client.end(number)
        client.push(7000 if n % 2 else 1 << 20)
    client.http.ping(b"12345678")
    client.http.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1000})
    client.reset(7)
    client.http.increment_flow_control_window(1000)
    return client.http.data_to_send()


WHOLE = conversation()


def told(chunks: list[bytes], limits: Limits | None = None) -> tuple[Any, ...]:
    server = Server(limits)
    for chunk in chunks:
        server.receive(chunk)
    calls = {n: (h.messages, h.ended, h.cancelled) for n, h in server.calls.items()}
    if len(chunks) == 1:  # Of a call that was opened and reset in one read nothing is told.
        calls.setdefault(7, (calls.get(7, ([], False, True))))
    return calls, server.http.closed, server.http.reason, server.http.take_output()


@given(st.lists(st.integers(0, len(WHOLE)), max_size=20))
@settings(deadline=None)
def test_any_cut_of_the_bytes_gives_the_same(cuts: list[int]) -> None:
    places = sorted({0, len(WHOLE), *cuts})
    chunks = [WHOLE[a:b] for a, b in pairwise(places)]
    calls, closed, reason, output = told(chunks)
    once = told([WHOLE])
    assert not closed, reason
    assert output == once[3]
    del calls[7], once[0][7]
    assert calls == once[0]


def test_every_byte_alone_gives_the_same() -> None:
    calls, closed, reason, output = told([WHOLE[n : n + 1] for n in range(len(WHOLE))])
    assert not closed, reason
    assert output == told([WHOLE])[3]
    assert calls[1] == ([b""], True, False)


MUTATION = st.tuples(st.sampled_from(["flip", "drop", "double", "insert"]), NUMBER, st.binary(min_size=1, max_size=20))


def mutated(data: bytes, mutations: list[tuple[str, int, bytes]]) -> bytes:
    for what, place, noise in mutations:
        at = 24 + place % (len(data) - 24)
        if what == "flip":
            data = data[:at] + bytes((data[at] ^ (noise[0] or 1),)) + data[at + 1 :]
        elif what == "drop":
            data = data[:at] + data[at + len(noise) :]
        elif what == "double":
            data = data[:at] + data[at : at + 100] + data[at:]
        else:
            data = data[:at] + noise + data[at:]
    return data


SMALL = Limits(max_message_bytes=4096, max_received_bytes=140_000, max_header_list_bytes=1000, patience_burst=300)


def holds_little(http: Connection, most: int) -> None:
    """Nothing that a client can make grow is large."""
    receiver, streams = http._receiver, http._streams
    assert len(receiver._rest) <= 16_384 + 9
    assert len(receiver._block or b"") <= 4 * http._limits.max_header_list_bytes
    assert http._credit.held <= http._limits.max_received_bytes + 16_384
    assert len(streams.live) + len(streams.slow) + len(streams._left) <= most
    assert len(http._sender.out) <= most


@pytest.mark.slow
@given(st.lists(MUTATION, min_size=1, max_size=6), st.integers(1, 5000))
@settings(deadline=None, max_examples=200)
def test_no_mutation_of_a_conversation_raises_or_grows(mutations: list[tuple[str, int, bytes]], cut: int) -> None:
    data = mutated(WHOLE, mutations)
    server = Server(SMALL)
    for start in range(0, len(data), cut):
        server.receive(data[start : start + cut])
        holds_little(server.http, 2000)
    server.now += 3600 * SECOND
    for _ in range(4):
        server.hear(server.http.wake(server.now))
        server.now += 3600 * SECOND
    assert server.http.streams == 0 or all(h.messages for h in server.calls.values())
    server.hear(server.http.lost())
    assert all(h.cancelled or n in server.finished for n, h in server.calls.items())


FRAMES = st.lists(
    st.builds(
        lambda kind, flags, number, payload: frame(kind, flags, number, payload),
        st.integers(0, 10),
        st.integers(0, 255),
        st.sampled_from([0, 1, 2, 3, 5, 7, 9]),
        st.one_of(
            st.binary(max_size=40),
            st.builds(packed, st.binary(max_size=40)),
            st.just(hpack.Encoder().encode(FIELDS)),
            st.sampled_from([bytes(4), bytes(3) + b"\x01", bytes(8), bytes(5), bytes(6), b""]),
        ),
    ),
    max_size=60,
)


@given(FRAMES, st.booleans())
@settings(deadline=None, max_examples=400)
def test_no_frames_in_any_order_raise_or_grow(frames: list[bytes], answering: bool) -> None:
    server = Server(SMALL)
    server.receive(PREFACE + frame(4, 0, 0) + frame(4, 1, 0))
    for data in frames:
        server.receive(data)
        if answering:
            for number in server.open():
                server.finish(number, 0)
        holds_little(server.http, 2000)
    if server.http.closed:
        assert server.http.fault is not None
        assert not server.open()
    output = server.http.take_output()
    while output:  # Whole frames, each below the client's largest
        length = int.from_bytes(output[:3])
        assert length <= 16_384
        output = output[FRAME_HEAD.size + length :]


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_no_bytes_at_all_raise(data: bytes) -> None:
    for prefix in (b"", PREFACE, PREFACE + frame(4, 0, 0)):
        http = Connection(Limits(), 0)
        http.receive(prefix + data, 0)
        assert http.closed or http.deadline is not None
        http.take_output()


REPRESENTATIONS = st.one_of(
    st.integers(0x80, 0xFF).map(lambda n: bytes((n,))),
    st.builds(
        lambda f, n, v: bytes((f, len(n))) + n + bytes((len(v),)) + v,
        st.sampled_from([0, 0x10, 0x40]),
        st.binary(max_size=20),
        st.binary(max_size=20),
    ),
    st.builds(lambda f, v: bytes((f, 0x80 | len(v))) + v, st.integers(1, 0x7E), st.binary(max_size=10)),
    st.integers(0x20, 0x3E).map(lambda n: bytes((n,))),
    st.binary(max_size=10),
)


def longest_integer(block: bytes) -> bool:
    """Whether the block may hold an integer of more than four bytes after its prefix, which only the library takes."""
    return re.search(rb"[\x80-\xff]{4}", block) is not None


@given(st.lists(st.lists(REPRESENTATIONS, max_size=6).map(b"".join), min_size=1, max_size=6))
@settings(max_examples=1000)
def test_header_blocks_mean_what_the_library_says(blocks: list[bytes]) -> None:
    ours, library = BlockDecoder(1 << 16), hpack.Decoder()
    for block in blocks:
        try:
            expected = [(bytes(n), bytes(v)) for n, v in library.decode(block, raw=True)]
        except (hpack.HPACKError, IndexError):
            with pytest.raises(ConnectionFault) as raised:
                ours.decode(block)
            assert raised.value.code is ErrorCode.COMPRESSION_ERROR
            return
        if longest_integer(block):
            return
        fields, size = ours.decode(block)
        assert fields == expected
        assert size == sum(len(n) + len(v) + 32 for n, v in fields)


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(0, 2500), max_size=8))
def test_messages_are_put_together_from_any_pieces(messages: list[bytes], cuts: list[int]) -> None:
    data = b"".join(map(packed, messages))
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    assembly = Assembly(300, False)
    whole = [m for a, b in pairwise(places) for m in assembly.feed(data[a:b])]
    assert [message for message, _ in whole] == messages
    assert [size for _, size in whole] == [len(message) + 5 for message in messages]
    assert assembly.held == 0


def test_a_connection_that_is_over_leaves_nothing_for_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(20):
            told([WHOLE])
        assert len(gc.get_objects()) - before < 20_000
    finally:
        gc.enable()
