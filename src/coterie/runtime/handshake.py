"""How a stream between two members opens: magic, one frame each way, and whom to refuse.

The dialler sends `PEER_MAGIC` and a `PeerHello` (or an `Introduction`, at first start); the other
answers with `PeerWelcome`, `Introduction` or `PeerRefused`. After a welcome, messages travel from the
dialler to the other only; each frame's body is a group id (4 bytes, unsigned, big-endian; 0 for now)
and the message. Each member dials every other, so a pair has two streams.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import TypeAlias

import msgspec

from coterie.core.errors import CoterieError
from coterie.core.types import MemberId
from coterie.engine.first_start import Introduction
from coterie.runtime.frames import pack_length
from coterie.runtime.register import Register
from coterie.runtime.tls.names import Certified

PEER_MAGIC = b"\x00coterie-member\x01"
"""No HTTP client sends a zero byte first."""
MAJOR = 1
"""Members of different major versions do not understand each other."""
MINOR = 0
"""A higher minor version only adds what a lower one may ignore."""
MAX_HANDSHAKE_BYTES = 64 * 1024
"""Body of a handshake's frame."""
MAX_PEER_FRAME_BYTES = 8 * 1024 * 1024
"""Body of a frame that carries a message between members."""
GROUP = 0
"""The only group, for now."""
GROUP_BYTES = 4
_pack_group = struct.Struct(">I").pack
GROUP_PREFIX = _pack_group(GROUP)


class PeerHello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The dialler says who it is and whom it wants."""

    major: int
    minor: int
    cluster: int
    member: MemberId
    name: str
    boot: int
    process: int
    """64 random bits of this process: two that run with one boot are copies of one disk."""
    protocol: str
    target: MemberId
    claim: int = 0
    """64 random bits of a data directory that joined; 0: a first member's."""
    address: str = ""
    """Where members reach the dialler: one that has just joined, or is behind, does not know from its log."""
    starts: tuple[int, ...] = ()
    """`process` of each of the directory's last starts, this one last: its history, which no other copy shares."""


class PeerWelcome(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The other agrees. Messages may follow."""

    major: int
    minor: int
    member: MemberId
    name: str
    boot: int


class RefusalCode(IntEnum):
    """Why a member is not let in."""

    OTHER_VERSION = 1
    OTHER_CLUSTER = 2
    OTHER_PROTOCOL = 3
    OTHER_MEMBER = 4
    """The dialler wanted somebody else."""
    OLD_BOOT = 5
    """A restored or running copy of a member's disk."""
    CONFLICT = 6
    """First start: see the message."""
    NOT_STARTED = 7
    """The other waits for its own first start, or has not opened its disk yet: try again."""
    OWN_ID = 8
    """The dialler has the id of the one it dials."""
    REMOVED = 9
    """The dialler was removed from the group, for certain and for ever."""
    OTHER_CLAIM = 10
    """Another data directory has joined with the dialler's id."""
    STILL_CONNECTED = 11
    """An earlier process with the dialler's id has not hung up: try again. It ended just now, or one is a copy."""
    OTHER_NAME = 12
    """The dialler's certificate is not for the name that it says, or the id that it says is another member's."""


class PeerRefused(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The other refuses, says why, and closes."""

    code: int
    message: str


HandshakeFrame: TypeAlias = PeerHello | PeerWelcome | PeerRefused | Introduction
_decoder: msgspec.msgpack.Decoder[HandshakeFrame] = msgspec.msgpack.Decoder(HandshakeFrame)
_encoder = msgspec.msgpack.Encoder()


def decode_handshake(body: bytes) -> HandshakeFrame:
    """Raises `msgspec.DecodeError` if it is not one."""
    return _decoder.decode(body)


def frame_handshake(frame: HandshakeFrame) -> bytes:
    """The whole frame, length and all."""
    body = _encoder.encode(frame)
    return pack_length(len(body)) + body


class HandshakeRefused(CoterieError):
    """A member is not let in; `code` says which rule."""

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class PeerIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Who this node is towards other members."""

    cluster: int
    member: MemberId
    name: str
    boot: int
    process: int
    protocol: str
    claim: int = 0
    address: str = ""
    starts: tuple[int, ...] = ()

    def hello(self, target: MemberId) -> PeerHello:
        """What to open a stream to `target` with."""
        return PeerHello(
            MAJOR,
            MINOR,
            self.cluster,
            self.member,
            self.name,
            self.boot,
            self.process,
            self.protocol,
            target,
            self.claim,
            self.address,
            self.starts,
        )

    def welcome(self) -> PeerWelcome:
        """What to answer a `PeerHello` that is let in."""
        return PeerWelcome(MAJOR, MINOR, self.member, self.name, self.boot)


Seen: TypeAlias = dict[MemberId, tuple[int, int]]
"""Member -> (boot, process)."""
MAX_REMEMBERED_MEMBERS = 1024
"""Members whose boot is remembered; the one seen first is forgotten for one more."""


def _copied(what: str) -> HandshakeRefused:
    return HandshakeRefused(
        RefusalCode.OLD_BOOT,
        f"{what}: its data directory is an old copy, or there is a copy of it, and the one has forgotten what the "
        "other promised. Stop it and every copy. Remove the member from the cluster, then add it again and start it "
        "with an empty directory",
    )


class Boots:
    """The highest boot seen of each member, and the process that it was seen from."""

    def __init__(self, seen: Seen | None = None, on_change: Callable[[Seen], None] | None = None) -> None:
        """`seen`: what is known from before. `on_change` gets all that is known when something was learned."""
        self._seen: Seen = dict(seen or {})
        self._on_change = on_change

    @property
    def seen(self) -> Seen:
        """What was seen of each member."""
        return dict(self._seen)

    def check(self, name: str, member: MemberId, boot: int, process: int, starts: Sequence[int] = ()) -> None:
        """Look at this start of a member. Raises `HandshakeRefused` if its disk is a copy: then what it promised since
        the copy was made is forgotten in it.

        It is one if a later boot was seen, or another process with the same boot; or if its history, `starts`, has
        another process at the boot that was seen: an old copy that was started so often that its counter caught up.
        """
        seen = self._seen.get(member)
        if seen is not None:
            who = f"{name} (id {member:016x})"
            if boot < seen[0]:
                raise _copied(f"{who} comes with boot {boot}, after boot {seen[0]} was seen")
            at = len(starts) - 1 - (boot - seen[0])
            if (boot == seen[0] and process != seen[1]) or (at >= 0 and starts[at] != seen[1]):
                raise _copied(f"two processes ran as {who} with boot {seen[0]}")

    def note(self, member: MemberId, boot: int, process: int) -> None:
        """This start, which was checked, is let in."""
        seen = self._seen.get(member)
        if seen == (boot, process):
            return
        if seen is None and len(self._seen) >= MAX_REMEMBERED_MEMBERS:
            del self._seen[next(iter(self._seen))]
        self._seen[member] = (boot, process)
        if self._on_change is not None:
            self._on_change(self._seen)


def check_hello(
    own: PeerIdentity,
    hello: PeerHello,
    boots: Boots,
    register: Register | None = None,
    connected: int | None = None,
) -> None:
    """Raises `HandshakeRefused` if the dialler must not be let in; if it is, its start is noted.

    `connected`: the process whose stream, in this member's name, is open. While one is, no other is let in: it may
    be a copy of a directory that is in use, with a boot counter as good as the true one's. The stream of a process
    that has ended closes at once, that of a host that is gone after some seconds (`peer_link.tune_socket`).

    A member that is not in the membership as this node knows it *is* let in: the one who refuses may be
    the one who is behind (dissertation 4.1).
    """
    who = f"{hello.name} (id {hello.member:016x})"
    if hello.major != MAJOR:
        raise HandshakeRefused(
            RefusalCode.OTHER_VERSION,
            f"{who} speaks version {hello.major}.{hello.minor} of the members' protocol, {own.name} version "
            f"{MAJOR}.{MINOR}: run the same major version of Coterie on all members",
        )
    if hello.cluster != own.cluster:
        raise HandshakeRefused(
            RefusalCode.OTHER_CLUSTER,
            f"{who} belongs to cluster {hello.cluster:016x}, {own.name} to cluster {own.cluster:016x}: check the "
            "addresses and data directories in both configurations",
        )
    if hello.protocol != own.protocol:
        raise HandshakeRefused(
            RefusalCode.OTHER_PROTOCOL,
            f"{who} runs {hello.protocol}, {own.name} runs {own.protocol}: all members must run the same protocol",
        )
    if hello.target != own.member:
        raise HandshakeRefused(
            RefusalCode.OTHER_MEMBER,
            f"{who} wants the member with id {hello.target:016x}, but here is {own.name} with id {own.member:016x}: "
            "an address is wrong, or the member's data directory was replaced (then remove it and add it again)",
        )
    if hello.member == own.member:
        raise HandshakeRefused(
            RefusalCode.OWN_ID,
            f"{who} has the id of {own.name} itself: one runs on a copy of the other's data directory. Stop the copy",
        )
    if register is not None:
        _check_register(who, hello, register)
    boots.check(hello.name, hello.member, hello.boot, hello.process, hello.starts)
    if connected not in (None, hello.process):
        raise HandshakeRefused(
            RefusalCode.STILL_CONNECTED,
            f"another process of {who} is still connected. If it runs, one of the two has a copy of the other's data "
            "directory: stop the copy. If it has ended, wait",
        )
    boots.note(hello.member, hello.boot, hello.process)


def _check_register(who: str, hello: PeerHello, register: Register) -> None:
    """What is known for certain of the dialler's id."""
    if register.was_removed(hello.member):
        raise HandshakeRefused(
            RefusalCode.REMOVED,
            f"{who} was removed from the cluster and does not come back under this id: to have it again, "
            f"`coterie member add {hello.name} ...` and start it with an empty data directory",
        )
    claim = register.claim_of(hello.member)
    if claim and hello.claim != claim:
        raise HandshakeRefused(
            RefusalCode.OTHER_CLAIM,
            f"{who} comes with another data directory than the one that joined with this id: that one was wiped, or "
            "this is another node under its name. Remove the member from the cluster, then add it again",
        )


def check_certificate(question: PeerHello | Introduction, shown: Certified | None, known: str) -> None:
    """Raises `HandshakeRefused` if the one who asks has no right to the name it says. `shown`: its certificate, which
    OpenSSL has verified; `known`: what the log calls the member whose id it says, "" if nothing.

    What breaks without: whoever has one member's key speaks for all of them, and a vote is then worth nothing.
    """
    name = question.name if isinstance(question, PeerHello) else question.member.name
    if shown is None or not shown.may_be(name):
        raise HandshakeRefused(
            RefusalCode.OTHER_NAME,
            f"a member says that it is {name}, but its certificate is for {shown or 'nobody'}: give it one whose DNS "
            f"names (subjectAltName) have {name!r}",
        )
    if known not in ("", name):
        raise HandshakeRefused(
            RefusalCode.OTHER_NAME,
            f"{name} comes with the id of {known}: start it with its own data directory, or under the name that it was "
            "added with",
        )


def check_welcome(target: MemberId, welcome: PeerWelcome) -> None:
    """Raises `HandshakeRefused` if the one who answered is not whom the dialler wanted."""
    if welcome.major != MAJOR:
        raise HandshakeRefused(
            RefusalCode.OTHER_VERSION,
            f"{welcome.name} answered in version {welcome.major}.{welcome.minor} of the members' protocol, "
            f"not {MAJOR}.x",
        )
    if welcome.member != target:
        raise HandshakeRefused(
            RefusalCode.OTHER_MEMBER,
            f"{welcome.name} answered with id {welcome.member:016x} where {target:016x} was wanted",
        )
