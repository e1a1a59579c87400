"""A cluster in one process whose members serve the etcd API: callers and their streams are in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, TypeVar

from google.protobuf.message import Message
from tests.contract.engine.cluster import CLUSTER_ID, Cluster, Node

from coterie.core.config import MILLISECOND
from coterie.core.types import MemberId, Nanos
from coterie.engine.admin_requests import AdminRequest
from coterie.engine.config import EngineConfig
from coterie.engine.protocol import Answer, Failure, NodeStatus, Request
from coterie.etcd.backup.saving import SavedSnapshot
from coterie.etcd.calls import ANYBODY, Caller, Handler
from coterie.etcd.services import Services
from coterie.etcd.status import Code
from coterie.etcd.watching import LIMITS, WatchLimits
from coterie.etcd.wire import election, lock, rpc
from coterie.machine.kv.machine import KeyValue
from coterie.machine.kv.protocol import HashReply

R = TypeVar("R", bound=Message)
DRAINED_FROM, DRAINED_TO = 256 * 1024, 64 * 1024
"""As HTTP/2's: told when so many bytes were unsent, and so few are."""
PATIENCE_MS = 20_000


class Method(NamedTuple, Generic[R]):
    """One of the API's."""

    path: str
    response: type[R]


RANGE = Method("/etcdserverpb.KV/Range", rpc.RangeResponse)
PUT = Method("/etcdserverpb.KV/Put", rpc.PutResponse)
DELETE = Method("/etcdserverpb.KV/DeleteRange", rpc.DeleteRangeResponse)
TXN = Method("/etcdserverpb.KV/Txn", rpc.TxnResponse)
COMPACT = Method("/etcdserverpb.KV/Compact", rpc.CompactionResponse)
WATCH = Method("/etcdserverpb.Watch/Watch", rpc.WatchResponse)
GRANT = Method("/etcdserverpb.Lease/LeaseGrant", rpc.LeaseGrantResponse)
REVOKE = Method("/etcdserverpb.Lease/LeaseRevoke", rpc.LeaseRevokeResponse)
KEEP_ALIVE = Method("/etcdserverpb.Lease/LeaseKeepAlive", rpc.LeaseKeepAliveResponse)
TIME_TO_LIVE = Method("/etcdserverpb.Lease/LeaseTimeToLive", rpc.LeaseTimeToLiveResponse)
LEASES = Method("/etcdserverpb.Lease/LeaseLeases", rpc.LeaseLeasesResponse)
LOCK = Method("/v3lockpb.Lock/Lock", lock.LockResponse)
UNLOCK = Method("/v3lockpb.Lock/Unlock", lock.UnlockResponse)
CAMPAIGN = Method("/v3electionpb.Election/Campaign", election.CampaignResponse)
PROCLAIM = Method("/v3electionpb.Election/Proclaim", election.ProclaimResponse)
LEADER = Method("/v3electionpb.Election/Leader", election.LeaderResponse)
OBSERVE = Method("/v3electionpb.Election/Observe", election.LeaderResponse)
RESIGN = Method("/v3electionpb.Election/Resign", election.ResignResponse)


class Server:
    """One life of a member: its services, and the node that they stand on (`backend.Node`)."""

    def __init__(self, cluster: ServedCluster, node: Node) -> None:
        assert isinstance(node.machine, KeyValue)
        self._cluster = cluster
        self._node = node
        self._asked = False
        self.cluster = CLUSTER_ID
        self.member: MemberId = node.member
        self.database_bytes = self.database_bytes_in_use = 0
        self.quota_bytes = 1 << 30
        self.services = Services(self, node.machine, cluster.limits)
        self.calls: dict[Call[Any], None] = {}
        """Those that last."""
        self.deadline: Nanos = cluster.now

    @property
    def disk_full(self) -> bool:
        return self._node.engine.disk_full

    @property
    def term(self) -> int:
        return self._node.engine.replica.epoch.round

    @property
    def leader(self) -> MemberId:
        return self._node.engine.replica.leader

    @property
    def time(self) -> Nanos:
        return self._node.engine.host.time

    @property
    def restoring(self) -> bool:
        return self._node.engine.host.restoring

    def status(self) -> NodeStatus:
        return self._node.engine.status()

    def flush(self) -> None:
        self._node.engine.flush_store()

    def url(self, address: str) -> str:
        return f"http://{address}"

    def token(self) -> str:
        raise AssertionError("nobody authenticates here")

    def hash_password(self, password: str, then: Callable[[bytes], None]) -> None:
        raise AssertionError("nobody authenticates here")

    def check_password(self, password: str, hash: bytes, then: Callable[[bool], None]) -> None:
        raise AssertionError("nobody authenticates here")

    def administer(self, make: Callable[[int], AdminRequest], then: Callable[[Answer | Failure], None]) -> None:
        raise AssertionError("nobody administers here")

    def backup(self, then: Callable[[SavedSnapshot | str], None]) -> None:
        raise AssertionError("nobody makes backups here")

    def hash(self, revision: int, then: Callable[[HashReply | str], None]) -> None:
        raise AssertionError("nobody hashes here")

    def take(self, requests: list[Request]) -> None:
        self._asked = True
        for request in requests:
            self._node.engine.request(self._cluster.now, self.services, request)

    # See `cluster.Attendant`

    @property
    def busy(self) -> bool:
        return self.services.lagging

    def flushed(self) -> bool:
        self._asked = False
        self.services.advance()
        return self._asked

    def wake(self) -> None:
        self.deadline = self.services.wake(self._cluster.now)


class Call(Generic[R]):
    """One call, and both of its ends: `calls.Stream` for the services, the rest for the caller."""

    def __init__(self, cluster: ServedCluster, server: Server, response: type[R]) -> None:
        self._cluster = cluster
        self._server = server
        self._response = response
        self._unread: list[bytes] = []
        self.handler: Handler | None = None
        self.reads = True
        """Whether the caller takes what comes."""
        self.most_unsent = 0
        self.held = self.released = 0
        """Messages that the services were not done with at once, and those of them that they are by now."""
        self.answers: list[R] = []
        self.status: tuple[Code, str] | None = None

    # The services' end

    @property
    def unsent(self) -> int:
        return sum(map(len, self._unread))

    def respond(self, message: bytes) -> None:
        self.send(message)
        self.finish()

    def send(self, message: bytes) -> None:
        if self.status is None:
            self._unread.append(message)
            self.most_unsent = max(self.most_unsent, self.unsent)
            if self.reads:
                self._take()

    def finish(self, code: Code = Code.OK, text: str = "") -> None:
        if self.status is None:
            self.status = (code, text)
            self._server.calls.pop(self, None)

    def release(self) -> None:
        self.released += 1

    # The caller's end

    def _take(self) -> None:
        self.answers += [self._response.FromString(message) for message in self._unread]
        self._unread.clear()

    def read(self) -> None:
        """Take all that waits; the services are told as HTTP/2 would tell them."""
        before = self.unsent
        self._take()
        if before >= DRAINED_FROM and self.handler is not None and self.status is None:
            self.handler.drained()
        self._flush()

    def say(self, *messages: Message | bytes) -> None:
        """More messages."""
        assert self.handler is not None
        for message in messages:
            data = message if isinstance(message, bytes) else message.SerializeToString()
            self.held += not self.handler.received(data)
        self._flush()

    def half_close(self) -> None:
        assert self.handler is not None
        self.handler.ended()
        self._flush()

    def cancel(self) -> None:
        """Give up."""
        if self.status is None:
            self.status = (Code.CANCELLED, "the caller gave up")
            self._server.calls.pop(self, None)
            if self.handler is not None:
                self.handler.cancelled()
            self._flush()

    def lose(self) -> None:
        """The server's process is gone."""
        if self.status is None:
            self.status = (Code.UNAVAILABLE, "the connection closed")

    def _flush(self) -> None:
        self._cluster.flush_services(self._server)

    def over(self) -> bool:
        return self.status is not None

    @property
    def answer(self) -> R:
        """The one answer of a call that has succeeded."""
        assert self.status == (Code.OK, ""), self.status
        (answer,) = self.answers
        return answer


class ServedCluster(Cluster):
    """A `Cluster` of the key-value machine with the API on each member."""

    def __init__(self, size: int = 3, config: EngineConfig | None = None, *, limits: WatchLimits = LIMITS) -> None:
        self.limits = limits
        self.servers: dict[MemberId, Server] = {}
        super().__init__(size, config, KeyValue)

    def restart(self, member: MemberId) -> Node:
        node = super().restart(member)
        node.attendant = self.servers[member] = Server(self, node)
        return node

    def crash(self, member: MemberId) -> None:
        super().crash(member)
        for call in list(self.servers.pop(member).calls):
            call.lose()

    def machine(self, member: MemberId) -> KeyValue:
        machine = self.nodes[member].machine
        assert isinstance(machine, KeyValue)
        return machine

    def flush_services(self, server: Server) -> None:
        server.services.flush()
        if self.servers.get(server.member) is server:
            self.flush(server.member)

    # Calls

    def call(
        self, member: MemberId, method: Method[R], request: Message | bytes | None = None, caller: Caller = ANYBODY
    ) -> Call[R]:
        """Begin a call: with its one message, or as a stream."""
        server = self.servers[member]
        made = Call(self, server, method.response)
        server.calls[made] = None
        if request is None:
            made.handler = server.services.open(made, method.path, caller)
        else:
            message = request if isinstance(request, bytes) else request.SerializeToString()
            made.handler = server.services.call(made, method.path, caller, message)
        if made.over():
            server.calls.pop(made, None)
        self.flush_services(server)
        return made

    def wait(self, *calls: Call[Any], milliseconds: int = PATIENCE_MS) -> None:
        """Until all of them are over."""
        self.until(lambda: all(call.over() for call in calls), milliseconds)

    def until(self, condition: Callable[[], bool], milliseconds: int = PATIENCE_MS) -> None:
        """Until this holds; fails if it does not in time."""
        self.run(milliseconds, until=condition)
        assert condition(), f"not so after {milliseconds} ms"

    def ask(self, member: MemberId, method: Method[R], request: Message) -> R:
        """The answer to a call with one message, which must succeed."""
        call = self.call(member, method, request)
        self.wait(call)
        return call.answer

    def refusal(self, member: MemberId, method: Method[R], request: Message | bytes) -> tuple[Code, str]:
        """The status of a call that must fail."""
        call = self.call(member, method, request)
        self.wait(call)
        assert call.status is not None
        assert call.status[0] is not Code.OK, call.answers
        return call.status

    # What tests ask for most

    def put(self, member: MemberId, key: bytes, value: bytes = b"x", **options: Any) -> int:
        """The revision of the put."""
        return self.ask(member, PUT, rpc.PutRequest(key=key, value=value, **options)).header.revision

    def delete(self, member: MemberId, key: bytes, end: bytes = b"") -> int:
        """The revision of the deletion."""
        return self.ask(member, DELETE, rpc.DeleteRangeRequest(key=key, range_end=end)).header.revision

    def get(self, member: MemberId, key: bytes, end: bytes = b"", **options: Any) -> dict[bytes, bytes]:
        """Keys and values."""
        found = self.ask(member, RANGE, rpc.RangeRequest(key=key, range_end=end, **options))
        return {item.key: item.value for item in found.kvs}

    def grant(self, member: MemberId, ttl: int, id: int = 0) -> int:
        """The id of the lease."""
        granted = self.ask(member, GRANT, rpc.LeaseGrantRequest(TTL=ttl, ID=id))
        return granted.ID

    def time_to_live(self, member: MemberId, lease: int) -> int:
        """Seconds that the lease has left; -1: there is none."""
        return self.ask(member, TIME_TO_LIVE, rpc.LeaseTimeToLiveRequest(ID=lease)).TTL

    def compact(self, member: MemberId, revision: int) -> None:
        self.ask(member, COMPACT, rpc.CompactionRequest(revision=revision))

    def watch(self, member: MemberId, key: bytes = b"", end: bytes = b"", **options: Any) -> Watches:
        """A stream with one watch."""
        watches = Watches(self.call(member, WATCH))
        watches.create(key, end, **options)
        return watches


class Event(NamedTuple):
    """What a watcher was told."""

    revision: int
    key: bytes
    value: bytes | None
    """None: deleted."""


class Watches:
    """A stream of watches."""

    def __init__(self, call: Call[rpc.WatchResponse]) -> None:
        self.call = call

    def create(self, key: bytes, end: bytes = b"", **options: Any) -> None:
        request = rpc.WatchCreateRequest(key=key, range_end=end, **options)
        self.call.say(rpc.WatchRequest(create_request=request))

    def cancel(self, id: int) -> None:
        self.call.say(rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest(watch_id=id)))

    def ask_progress(self) -> None:
        self.call.say(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))

    @property
    def answers(self) -> list[rpc.WatchResponse]:
        return self.call.answers

    def events(self, id: int = 0) -> list[Event]:
        """Everything that this watch was told."""
        return events_of(answer for answer in self.answers if answer.watch_id == id)

    def bookmarks(self) -> list[tuple[int, int]]:
        """Of each answer that only says how far everything has been told: its place among the answers, its revision."""
        return [
            (place, answer.header.revision)
            for place, answer in enumerate(self.answers)
            if not (answer.events or answer.created or answer.canceled)
        ]


def events_of(answers: Iterable[rpc.WatchResponse]) -> list[Event]:
    """The events of these answers, in their order."""
    return [
        Event(event.kv.mod_revision, event.kv.key, None if event.type else event.kv.value)
        for answer in answers
        for event in answer.events
    ]


def elected(
    size: int = 3, config: EngineConfig | None = None, limits: WatchLimits = LIMITS
) -> tuple[ServedCluster, MemberId, list[MemberId]]:
    """A cluster with a leader; its leader and the others."""
    cluster = ServedCluster(size, config, limits=limits)
    leader, others = cluster.elect()
    return cluster, leader, others


def seconds(count: float) -> int:
    """In milliseconds."""
    return round(count * 1000)


SECOND: Nanos = 1000 * MILLISECOND
