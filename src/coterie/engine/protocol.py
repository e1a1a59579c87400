"""What clients and nodes say to each other: requests, answers, and the codec.

Frames on the wire: 4 bytes length (unsigned, big-endian, of what follows), then one MessagePack
array whose first element is the type's tag. A connection opens with `CLIENT_MAGIC` from the client,
then `Hello`, answered by `Welcome`; after that any number of requests may be in flight, and
answers come in any order. A `View` may come at any time.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import msgspec

from coterie.core.types import NOBODY, MemberId, Nanos
from coterie.engine.admin_requests import AdminRequest

PROTOCOL_VERSION = 1
CLIENT_MAGIC = b"\x00coterie-client\x01"
"""No HTTP client sends a zero byte first."""
MAX_FRAME_BYTES = 8 * 1024 * 1024
MAX_REQUEST_BYTES = 1536 * 1024
"""Largest command or question (1.5 MiB, etcd's default)."""


class ReadMode(IntEnum):
    """How fresh a query's answer must be."""

    LINEARIZABLE = 0
    SESSION = 1
    """From any member's state that has reached the revision `at_least`."""
    STALE = 2
    """From this member's state as it is; the answer says how old it can be."""


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first frame of a client."""

    version: int
    name: str
    """For logs and people."""


class LogIn(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """Who the client is, right behind its `Hello`: what comes after it waits until the member has made sure. If it is
    not so, every request is refused with `NOT_LOGGED_IN`. Where the machine knows no users, or need not know who asks,
    it changes nothing."""

    user: str
    password: str
    token: str = ""
    """Instead of both: one that a member was given for a user."""

    def __repr__(self) -> str:
        return f"LogIn({self.user!r})"


class Submit(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Run a command. With a session (not 0) it takes effect at most once, however often it is sent."""

    id: int
    session: int
    seq: int
    floor: int
    """Every reply to a `seq` below this has been seen by the client; the session may forget it."""
    command: bytes


class Query(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Ask the machine a question."""

    id: int
    mode: ReadMode
    at_least: int
    """A revision; the answer waits until the state has reached it. 0: no wait."""
    question: bytes


class Fence(msgspec.Struct, frozen=True, array_like=True, tag=16, gc=False):
    """Ask nothing: the answer, with an empty body, says that a query of this freshness could be answered now. For who
    sits in the node's process and reads the machine then, or wants to know that a state has been reached."""

    id: int
    mode: ReadMode
    at_least: int = 0
    """As in `Query`."""


class OpenSession(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Ask for a session; the `Answer`'s body is MessagePack of its id. It lives `ttl` of cluster time
    beyond its last command."""

    id: int
    ttl: Nanos


class CloseSession(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """End a session and forget its replies."""

    id: int
    session: int


class KeepAlive(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Extend a session's life without a command."""

    id: int
    session: int
    floor: int


class AskStatus(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Ask this member what it is; the `Answer`'s body is a `NodeStatus`. Never waits for others."""

    id: int


Request: TypeAlias = (
    Hello | LogIn | Submit | Query | Fence | OpenSession | CloseSession | KeepAlive | AskStatus | AdminRequest
)


class FailureCode(IntEnum):
    """Why a request failed. Whether it took effect is said beside it, not by the code."""

    INVALID = 1
    """Not a valid request: the message says which field and which limit."""
    REJECTED = 2
    """The machine said no; the message is its reason."""
    NO_LEADER = 3
    OVERLOADED = 4
    NO_SPACE = 5
    TIMEOUT = 6
    SESSION_EXPIRED = 7
    """The session is not (or no longer) known. A request that was never sent before has not happened."""
    SESSIONS_FULL = 8
    LEADER_LOST = 9
    """The leader was lost while the request was on its way."""
    STOPPING = 10
    """This member is shutting down; another will answer."""
    NOT_MEMBER = 11
    """This member is not, or no longer, part of the group."""
    REPLY_FORGOTTEN = 12
    """The command took effect earlier, and its reply was acknowledged and dropped."""
    NOT_LEADER = 13
    """Only the leader can do this; `leader` says who that is."""
    NOT_NOW = 14
    """Another change or a transfer is under way, a member is too far behind, or the successor did not take over:
    the message says which. Later it may be done."""
    UNSAFE = 15
    """A change that could leave the cluster without a quorum, or with two: the message says which rule."""
    NOT_LOGGED_IN = 16
    """The cluster wants to know who asks, and the client did not say so, or nobody is called that and knows that
    password."""


class Happened(IntEnum):
    """Whether the operation took effect."""

    NO = 0
    YES = 1
    UNKNOWN = 2


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Answers `Hello`."""

    version: int
    cluster: int
    member: MemberId
    name: str
    machine: str
    """Name of the machine's type, e.g. `coterie.machine.kv:KeyValue`."""


class View(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The leader and the members as this member knows them; sent after `Welcome` and on every change."""

    leader: MemberId
    members: tuple[tuple[MemberId, str, str], ...]
    """(id, name, client address)."""


class Answer(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """The request succeeded."""

    id: int
    revision: int
    """The machine's revision after the command, or that the query was answered at."""
    age: Nanos
    """Stale reads: everything acknowledged this long ago is included; -1 not known; 0 otherwise."""
    body: bytes


class Failure(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The request failed."""

    id: int
    code: FailureCode
    happened: Happened
    message: str
    leader: MemberId = NOBODY
    """NOT_LEADER: who leads, if it is known."""


Response: TypeAlias = Welcome | View | Answer | Failure


class MemberStatus(msgspec.Struct, frozen=True):
    """A member as listed in the membership."""

    id: MemberId
    name: str
    peer: str
    client: str
    voter: bool


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What one node says of itself."""

    cluster: int
    protocol: str
    member: MemberId
    name: str
    version: str
    pid: int
    boot: int
    role: str
    leader: MemberId
    epoch_round: int
    epoch_node: MemberId
    commit: int
    applied: int
    last_index: int
    revision: int
    machine: str
    members: tuple[MemberStatus, ...]
    last_elections: tuple[str, ...]
    """The last changes of leader, newest last, each with its cause."""
    repairing_until: int | None = None
    """The log was damaged, and ended so: until a leader has given that back, this member neither votes nor counts."""


encoder = msgspec.msgpack.Encoder()
request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
response_decoder: msgspec.msgpack.Decoder[Response] = msgspec.msgpack.Decoder(Response)
