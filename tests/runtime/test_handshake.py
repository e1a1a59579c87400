"""Who is let in, who is refused and with which words: over real sockets, seen from both sides."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.runtime.conftest import run, until

from coterie.core.messages import Message, PreVote
from coterie.core.types import Epoch, Member, MemberId
from coterie.runtime.addresses import AddressError, bound_address, listen, split_address
from coterie.runtime.boots import BootsFile
from coterie.runtime.first_start import ask, not_started
from coterie.runtime.frames import FrameSplitter
from coterie.runtime.handshake import (
    MAX_HANDSHAKE_BYTES,
    PEER_MAGIC,
    Boots,
    HandshakeRefused,
    PeerIdentity,
    PeerRefused,
    PeerWelcome,
    RefusalCode,
    check_hello,
    check_welcome,
    frame_handshake,
)
from coterie.runtime.log_lines import Lines
from coterie.runtime.peer_link import LinkLimits
from coterie.runtime.peer_port import PeerPort
from coterie.runtime.register import Register, RegisterFile
from coterie.runtime.transport import Transport
from coterie.sim.disk import DiskErrors, SimulatedFiles
from coterie.storage.disk import DiskFiles

A = PeerIdentity(cluster=7, member=1, name="a", boot=3, process=11, protocol="raft")
B = PeerIdentity(cluster=7, member=2, name="b", boot=5, process=22, protocol="raft")
VOTE = PreVote(Epoch(4, 0), 3, Epoch(2, 0))
QUICK = LinkLimits(first_delay_s=0.01, max_delay_s=0.05)


class Inbox:
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.got: list[tuple[MemberId, Message]] = []

    def receive_from(self, sender: MemberId, messages: list[Message]) -> None:
        self.got += [(sender, message) for message in messages]


class Side:
    """One member: port, transport, inbox, and the closings that it was told of."""

    def __init__(
        self,
        own: PeerIdentity,
        limits: LinkLimits = QUICK,
        on_copied: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self.own = own
        self.closed: list[tuple[MemberId, bool]] = []
        self.inbox = Inbox()
        self.port = PeerPort(Lines(own.name), not_started)
        self.transport = Transport(
            own=own,
            limits=limits,
            lines=Lines(own.name),
            rng=random.Random(1),
            on_closed=lambda peer, refused: self.closed.append((peer, refused)),
            on_copied=on_copied,
            farewell_s=0.0,
        )
        self.address = ""
        self.server: asyncio.Server | None = None

    async def serve(self, at: str = "127.0.0.1:0") -> None:
        (listener,) = listen(at, "test")
        self.address = bound_address(listener)
        self.server = await asyncio.get_running_loop().create_server(self.port.protocol, sock=listener)
        self.port.open(self.own, self.inbox, Boots())

    def end(self) -> None:
        if self.server is not None:
            self.server.close()
        self.port.close()
        self.transport.close()

    def connected(self, to: MemberId) -> bool:
        link = self.transport.link(to)
        return link is not None and link.connected


def hello_with(**changes: object) -> PeerIdentity:
    return msgspec.structs.replace(A, **changes)


@pytest.mark.parametrize(
    ("hello", "code", "words"),
    [
        (hello_with(cluster=8).hello(2), RefusalCode.OTHER_CLUSTER, "belongs to cluster 0000000000000008"),
        (hello_with(protocol="multipaxos").hello(2), RefusalCode.OTHER_PROTOCOL, "runs multipaxos, b runs raft"),
        (A.hello(9), RefusalCode.OTHER_MEMBER, "wants the member with id 0000000000000009"),
        (hello_with(member=2).hello(2), RefusalCode.OWN_ID, "has the id of b itself"),
        (msgspec.structs.replace(A.hello(2), major=2), RefusalCode.OTHER_VERSION, "speaks version 2.0"),
    ],
)
def test_who_must_not_come_in_is_refused_with_the_reason(hello: object, code: RefusalCode, words: str) -> None:
    with pytest.raises(HandshakeRefused, match=words) as caught:
        check_hello(B, hello, Boots())  # type: ignore[arg-type]  # the table holds hellos
    assert caught.value.code is code


def test_a_member_that_is_not_known_yet_is_let_in() -> None:
    check_hello(B, hello_with(member=12345, name="new").hello(2), Boots())


def test_a_newer_minor_version_is_let_in() -> None:
    check_hello(B, msgspec.structs.replace(A.hello(2), minor=9), Boots())


def test_a_boot_that_went_back_is_a_restored_disk() -> None:
    boots = Boots()
    check_hello(B, A.hello(2), boots)
    check_hello(B, hello_with(boot=4, process=12).hello(2), boots)
    with pytest.raises(HandshakeRefused, match=r"boot 3, after boot 4 .* old copy.*Remove the member") as caught:
        check_hello(B, A.hello(2), boots)
    assert caught.value.code is RefusalCode.OLD_BOOT


def test_two_processes_with_one_boot_are_copies() -> None:
    boots = Boots()
    check_hello(B, A.hello(2), boots)
    check_hello(B, A.hello(2), boots)
    with pytest.raises(HandshakeRefused, match="two processes ran as a"):
        check_hello(B, hello_with(process=99).hello(2), boots)


def test_an_old_copy_is_known_by_its_history_however_often_it_is_started() -> None:
    """Each start raises its counter, so by the counter alone it would be let in before long."""
    boots = Boots()
    check_hello(B, hello_with(boot=5, process=15, starts=(11, 12, 13, 14, 15)).hello(2), boots)
    own = [11, 12]
    for boot in range(3, 60):
        own.append(1000 + boot)
        with pytest.raises(HandshakeRefused) as caught:
            check_hello(B, hello_with(boot=boot, process=own[-1], starts=tuple(own)).hello(2), boots)
        assert caught.value.code is RefusalCode.OLD_BOOT
        assert "Stop it and every copy. Remove the member from the cluster, then add it again" in str(caught.value)
    assert boots.seen == {1: (5, 15)}


def test_a_member_that_was_started_often_unseen_is_let_in() -> None:
    boots = Boots()
    check_hello(B, hello_with(boot=5, process=15, starts=(14, 15)).hello(2), boots)
    check_hello(B, hello_with(boot=8, process=18, starts=(14, 15, 16, 17, 18)).hello(2), boots)
    check_hello(B, hello_with(boot=90, process=100, starts=(99, 100)).hello(2), boots)
    check_hello(B, hello_with(boot=91, process=101).hello(2), boots)
    assert boots.seen == {1: (91, 101)}


def test_a_copy_of_a_directory_in_use_is_kept_out_and_its_start_is_not_noted() -> None:
    boots = Boots()
    check_hello(B, hello_with(boot=5, process=15, starts=(14, 15)).hello(2), boots)
    copy = hello_with(boot=6, process=99, starts=(14, 15, 99)).hello(2)
    with pytest.raises(HandshakeRefused, match=r"another process of a .* is still connected") as caught:
        check_hello(B, copy, boots, connected=15)
    assert caught.value.code is RefusalCode.STILL_CONNECTED
    check_hello(B, hello_with(boot=5, process=15, starts=(14, 15)).hello(2), boots, connected=15)
    assert boots.seen == {1: (5, 15)}


def test_two_that_run_with_one_identity_do_not_both_come_in() -> None:
    """The second is a start more than the first, so its counter is good; but the first has not hung up."""

    async def work() -> None:
        told: list[str] = []
        b = Side(B)
        await b.serve()
        first = Side(hello_with(process=11, starts=(10, 11)))
        first.transport.members([(2, "b", b.address)])
        await until(lambda: first.connected(2))
        copy = Side(hello_with(boot=4, process=99, starts=(10, 11, 99)), on_copied=told.append)
        copy.transport.members([(2, "b", b.address)])
        old = Side(hello_with(boot=2, process=98, starts=(98,)), on_copied=told.append)
        old.transport.members([(2, "b", b.address)])
        await until(lambda: told)
        assert "comes with boot 2, after boot 3 was seen" in told[0]
        assert first.connected(2)
        assert not copy.connected(2)
        old.end()
        first.end()
        await until(lambda: copy.connected(2))
        assert all("boot 2" in reason for reason in told)
        for side in (b, copy):
            side.end()

    run(work)


def test_boots_outlive_the_node_that_saw_them(tmp_path: Path, lines: Callable[[], list[str]]) -> None:
    def load() -> Boots:
        file = BootsFile(DiskFiles(), str(tmp_path), Lines("b"))
        files.append(file)
        return file.load()

    def see(identity: PeerIdentity) -> None:
        check_hello(B, identity.hello(2), load())
        files[-1].close()

    files: list[BootsFile] = []
    for _ in range(2):
        see(hello_with(boot=4, process=12))
    with pytest.raises(HandshakeRefused, match="boot 3, after boot 4"):
        see(A)
    good = (tmp_path / "boots").read_bytes()
    for damage in (b"not json", good[:-1], good.replace(b"4", b"5", 1)):
        (tmp_path / "boots").write_bytes(damage)
        assert load().seen == {}
    assert len([line for line in lines() if line.startswith("boots-unreadable")]) == 3
    see(A)
    with pytest.raises(HandshakeRefused, match="two processes"):
        see(hello_with(process=12))
    (tmp_path / "boots").write_bytes(b'{"0000000000000001":[7,8]}')
    assert load().seen == {1: (7, 8)}, "as older versions wrote it"


def test_what_was_seen_is_durable_when_the_file_is_closed() -> None:
    files = SimulatedFiles()
    files.make_directory("data")
    files.sync_all()
    for boot in (4, 5, 6):
        file = BootsFile(files, "data", Lines("b"))
        boots = file.load()
        boots.note(1, boot, 12)
        boots.note(2, boot, 13)
        file.close()
        file.close()
        files.crash(random.Random(boot), power=True)
        assert BootsFile(files, "data", Lines("b")).load().seen == {1: (boot, 12), 2: (boot, 13)}


def test_a_disk_that_cannot_keep_boots_costs_a_line_and_nothing_else(lines: Callable[[], list[str]]) -> None:
    errors = DiskErrors(full=True)
    files = SimulatedFiles(errors=errors)
    files.make_directory("data")
    file = BootsFile(files, "data", Lines("b"))
    boots = file.load()
    boots.note(1, 4, 12)
    file.close()
    assert [line for line in lines() if line.startswith("boots-unwritten")]
    assert boots.seen == {1: (4, 12)}


def test_the_dialler_checks_the_answer_too() -> None:
    check_welcome(2, B.welcome())
    with pytest.raises(HandshakeRefused, match="where 0000000000000003 was wanted"):
        check_welcome(3, B.welcome())
    with pytest.raises(HandshakeRefused, match="version 2"):
        check_welcome(2, PeerWelcome(2, 0, 2, "b", 1))


def test_messages_arrive_in_order_from_the_right_sender() -> None:
    async def work() -> None:
        a, b = Side(A), Side(B)
        await a.serve()
        await b.serve()
        a.transport.members([(1, "a", a.address), (2, "b", b.address)])
        await until(lambda: a.connected(2))
        for index in range(1000):
            a.transport.send(2, msgspec.structs.replace(VOTE, last_index=index))
        a.transport.send(3, VOTE)
        a.transport.flush()
        await until(lambda: len(b.inbox.got) == 1000)
        assert [message.last_index for _, message in b.inbox.got if isinstance(message, PreVote)] == list(range(1000))
        assert {sender for sender, _ in b.inbox.got} == {1}
        a.end()
        b.end()

    run(work)


def test_a_refusal_is_logged_on_both_sides(lines: Callable[[], list[str]]) -> None:
    async def work() -> None:
        a, b = Side(hello_with(cluster=8)), Side(B)
        await b.serve()
        a.transport.members([(2, "b", b.address)])
        await until(lambda: any(line.startswith("peer-refused-us node=a") for line in lines()))
        assert any(line.startswith("peer-refused node=b") and "belongs to cluster" in line for line in lines())
        assert not a.connected(2)
        a.end()
        b.end()

    run(work)


def test_a_dead_peer_is_told_of_at_once_and_found_again(lines: Callable[[], list[str]]) -> None:
    async def work() -> None:
        a, b = Side(A), Side(B)
        await b.serve()
        a.transport.members([(2, "b", b.address)])
        await until(lambda: a.connected(2))
        b.end()
        await until(lambda: (2, True) in a.closed, seconds=1)
        assert a.closed[0] == (2, False)
        a.transport.send(2, VOTE)
        a.transport.flush()
        again = Side(msgspec.structs.replace(B, boot=6))
        await again.serve(b.address)
        await until(lambda: a.connected(2))
        a.transport.send(2, VOTE)
        a.transport.flush()
        await until(lambda: again.inbox.got)
        assert again.inbox.got == [(1, VOTE)]
        assert a.closed == [(2, False), (2, True)]
        a.end()
        again.end()

    run(work)


def test_a_peer_that_comes_back_and_calls_is_dialled_at_once(lines: Callable[[], list[str]]) -> None:
    async def work() -> None:
        patient = LinkLimits(first_delay_s=3600.0, max_delay_s=3600.0)
        (listener,) = listen("127.0.0.1:0", "test")
        address = bound_address(listener)
        listener.close()
        a, b = Side(A, patient), Side(B)
        await a.serve()
        a.port.open(A, a.inbox, Boots(), acquaintance=a.transport)
        a.transport.members([(2, "b", address)])
        await until(lambda: any(line.startswith("peer-unreachable node=a") for line in lines()))
        await b.serve(address)
        b.transport.members([(1, "a", a.address)])
        await until(lambda: b.connected(1))
        await until(lambda: a.connected(2))
        a.end()
        b.end()

    run(work)


def test_a_closed_stream_to_a_living_peer_is_no_refusal() -> None:
    async def work() -> None:
        a, b = Side(A), Side(B)
        await b.serve()
        a.transport.members([(2, "b", b.address)])
        await until(lambda: a.connected(2))
        b.port.close()
        b.port.open(B, b.inbox, Boots())
        await until(lambda: a.closed)
        await until(lambda: a.connected(2))
        assert a.closed == [(2, False)]
        a.end()
        b.end()

    run(work)


def test_a_member_that_moves_is_dialled_at_its_new_address() -> None:
    async def work() -> None:
        a, b, moved = Side(A), Side(B), Side(B)
        await b.serve()
        await moved.serve()
        a.transport.members([(2, "b", b.address)])
        await until(lambda: a.connected(2))
        a.transport.members([(2, "b", moved.address)])
        await until(lambda: a.connected(2))
        a.transport.send(2, VOTE)
        a.transport.flush()
        await until(lambda: moved.inbox.got)
        assert not b.inbox.got
        a.transport.members([])
        await until(lambda: a.transport.link(2) is None)
        a.end()
        b.end()
        moved.end()

    run(work)


def test_a_second_stream_of_a_member_replaces_the_first() -> None:
    async def work() -> None:
        b = Side(B)
        await b.serve()
        streams = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection(*split_address(b.address))
            writer.write(PEER_MAGIC + frame_handshake(A.hello(2)))
            assert await reader.read(1000)
            streams.append((reader, writer))
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await streams[0][0].readexactly(1)
        assert b.port.connections == 1
        streams[0][1].close()
        streams[1][1].close()
        b.end()

    run(work)


def test_a_member_that_has_not_started_says_so() -> None:
    async def work() -> None:
        b = Side(B)
        await b.serve()
        b.port.close()
        answer = await ask(b.address, A.hello(2))
        assert isinstance(answer, PeerRefused)
        assert answer.code == RefusalCode.NOT_STARTED
        b.end()

    run(work)


def test_a_slow_peer_is_bounded_and_slows_nobody() -> None:
    async def work() -> None:
        limits = LinkLimits(max_queue_bytes=1_000_000)
        a, fast = Side(A, limits), Side(B)
        await fast.serve()
        (listener,) = listen("127.0.0.1:0", "a peer that never reads")
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        a.transport.members([(2, "b", fast.address), (3, "slow", bound_address(listener))])
        listener.setblocking(True)
        stuck, _ = await asyncio.to_thread(listener.accept)
        stuck.setblocking(True)
        stuck.sendall(frame_handshake(PeerWelcome(1, 0, 3, "slow", 1)))
        await until(lambda: a.connected(2) and a.connected(3))
        link = a.transport.link(3)
        assert link is not None
        big = msgspec.structs.replace(VOTE, last_index=1)
        for _ in range(400):
            link.put(bytes(50_000))
            a.transport.send(2, big)
            link.flush()
            a.transport.flush()
            await asyncio.sleep(0)
        assert link.dropped > 0
        assert link.queued_bytes <= 1_000_000
        await until(lambda: len(fast.inbox.got) == 400)
        stuck.close()
        listener.close()
        a.end()
        fast.end()

    run(work)


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00coterie-client\x01",
        PEER_MAGIC + b"\x00\x00\x00\x00",
        PEER_MAGIC + b"\xff\xff\xff\xff",
        PEER_MAGIC + (MAX_HANDSHAKE_BYTES + 1).to_bytes(4, "big"),
        PEER_MAGIC + b"\x00\x00\x00\x01\xc1",
        PEER_MAGIC + b"\x00\x00\x00\x02\x91\x01",
        PEER_MAGIC + frame_handshake(B.welcome()),
        PEER_MAGIC + frame_handshake(A.hello(2)) + b"\x00\x00\x00\x05\x00\x00\x00\x00\xc1",
        PEER_MAGIC + frame_handshake(A.hello(2)) + b"\x00\x00\x00\x05\x00\x00\x00\x01\x90",
    ],
)
def test_a_malformed_stream_is_closed_with_a_line_and_the_port_lives(
    noise: bytes, lines: Callable[[], list[str]]
) -> None:
    async def work() -> None:
        b = Side(B)
        await b.serve()
        reader, writer = await asyncio.open_connection(*split_address(b.address))
        writer.write(noise)
        try:
            while await reader.read(4096):
                pass
        except ConnectionResetError:
            pass
        writer.close()
        assert any(line.startswith("peer-malformed node=b") for line in lines())
        assert isinstance(await ask(b.address, A.hello(2)), PeerWelcome)
        b.end()

    run(work)


def test_messages_after_the_handshake_that_are_none_close_the_stream(lines: Callable[[], list[str]]) -> None:
    async def work() -> None:
        rng = random.Random(5)
        b = Side(B)
        await b.serve()
        for attempt in range(60):
            reader, writer = await asyncio.open_connection(*split_address(b.address))
            writer.write(PEER_MAGIC + frame_handshake(A.hello(2)))
            splitter = FrameSplitter(MAX_HANDSHAKE_BYTES)
            while not splitter.feed(await reader.read(4096)):
                pass
            body = bytes(4) + rng.randbytes(rng.randint(1, 40))
            writer.write(len(body).to_bytes(4, "big") + body if attempt % 2 else rng.randbytes(60))
            writer.write_eof()
            try:
                while await reader.read(4096):
                    pass
            except ConnectionResetError:
                pass
            writer.close()
        await until(lambda: b.port.connections == 0)
        assert not b.inbox.got
        b.end()

    run(work)


@pytest.mark.parametrize("address", ["", "host", "host:", ":1", "host:99999", "a:b:1", "host:-1", "host:٣"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(AddressError, match="host:port"):
        split_address(address)


def test_addresses_are_split_with_and_without_brackets() -> None:
    assert split_address("h:1") == ("h", 1)
    assert split_address("[::1]:65535") == ("::1", 65535)


def test_a_port_that_is_taken_is_one_clear_error() -> None:
    (first,) = listen("127.0.0.1:0", "test")
    with pytest.raises(AddressError, match="another process listens there already"):
        listen(bound_address(first), "for clients")
    first.close()


def test_a_removed_member_is_refused_for_ever_and_told_what_to_do() -> None:
    files = SimulatedFiles()
    files.make_directory("data")
    register = RegisterFile(files, "data", Lines("b")).load()
    register.remove(Member(1, "a", "a:1", ""))
    again = RegisterFile(files, "data", Lines("b")).load()
    for known in (register, again):
        with pytest.raises(HandshakeRefused, match="was removed from the cluster") as caught:
            check_hello(B, A.hello(2), Boots(), known)
        assert caught.value.code is RefusalCode.REMOVED
    check_hello(B, hello_with(member=3).hello(2), Boots(), again)


def test_another_directory_under_a_claimed_id_is_refused() -> None:
    register = Register()
    register.members([Member(1, "a", "a:1", "", claim=77)])
    check_hello(B, hello_with(claim=77).hello(2), Boots(), register)
    for claim in (0, 78):
        with pytest.raises(HandshakeRefused, match="another data directory") as caught:
            check_hello(B, hello_with(claim=claim).hello(2), Boots(), register)
        assert caught.value.code is RefusalCode.OTHER_CLAIM
    register.members([Member(1, "a", "a:1", "")])
    check_hello(B, hello_with(claim=78).hello(2), Boots(), register)  # this node may be the one who is behind


def test_a_removed_member_hears_of_it_when_it_dials() -> None:
    async def work() -> None:
        b = Side(B)
        await b.serve()
        register = Register()
        register.remove(Member(1, "a", "a:1", ""))
        b.port.open(B, b.inbox, Boots(), register)
        told: list[str] = []
        transport = Transport(
            own=A,
            limits=QUICK,
            lines=Lines("a"),
            rng=random.Random(1),
            on_closed=lambda peer, refused: None,
            on_expelled=told.append,
        )
        transport.members([(2, "b", b.address)])
        await until(lambda: told)
        assert "was removed" in told[0]
        transport.close()
        b.end()

    run(work)


def test_a_member_that_this_one_does_not_know_yet_is_answered_where_it_says() -> None:
    async def work() -> None:
        a, b = Side(A), Side(B)
        await b.serve()
        (listener,) = listen("127.0.0.1:0", "test")
        address = bound_address(listener)
        a.server = await asyncio.get_running_loop().create_server(a.port.protocol, sock=listener)
        own = hello_with(address=address)
        a.port.open(own, a.inbox, Boots())
        b.port.open(B, b.inbox, Boots(), None, b.transport)
        a.transport = Transport(
            own=own, limits=QUICK, lines=Lines("a"), rng=random.Random(1), on_closed=lambda peer, refused: None
        )
        a.transport.members([(2, "b", b.address)])
        await until(lambda: b.connected(1))
        b.transport.members([])
        b.transport.send(1, VOTE)
        b.transport.flush()
        await until(lambda: a.inbox.got)
        a.transport.close()
        await until(lambda: b.transport.link(1) is None)
        a.end()
        b.end()

    run(work)
