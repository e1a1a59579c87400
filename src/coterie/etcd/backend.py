"""What every service stands on: the engine's answers, the machine, headers; and how most calls go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from coterie.core.types import MemberId, Nanos
from coterie.engine.admin_requests import AdminRequest
from coterie.engine.protocol import MAX_REQUEST_BYTES, Answer, Failure, NodeStatus, ReadMode, Request
from coterie.etcd.access import Access, Principal
from coterie.etcd.backup.saving import SavedSnapshot
from coterie.etcd.calls import Caller, Stream
from coterie.etcd.header import Headers
from coterie.etcd.requests import Requests
from coterie.etcd.status import Refusal, failed, refused
from coterie.machine.host import RESTORING
from coterie.machine.interface import Rejected
from coterie.machine.kv.auth.protocol import TouchToken
from coterie.machine.kv.machine import KeyValue
from coterie.machine.kv.protocol import AlarmKind, HashReply, Question, Reply, SetAlarm, encoder, reply_decoder

NOTHING = b""


class Node(Protocol):
    """The member that serves."""

    @property
    def cluster(self) -> int: ...

    @property
    def member(self) -> MemberId: ...

    @property
    def term(self) -> int:
        """The round of the present epoch."""
        ...

    @property
    def leader(self) -> MemberId:
        """`NOBODY` if none is known."""
        ...

    @property
    def restoring(self) -> bool:
        """Whether a snapshot is being installed: until then the machine's state must not be read."""
        ...

    @property
    def database_bytes(self) -> int:
        """What the machine's data take on disk ..."""
        ...

    @property
    def database_bytes_in_use(self) -> int:
        """... and how much of that holds something."""
        ...

    @property
    def disk_full(self) -> bool:
        """Whether the member's log lacks the space for what it was given."""
        ...

    @property
    def quota_bytes(self) -> int:
        """What that may become."""
        ...

    @property
    def time(self) -> Nanos:
        """Cluster time, as of what has been applied."""
        ...

    def token(self) -> str:
        """A new one that nobody can guess."""
        ...

    def hash_password(self, password: str, then: Callable[[bytes], None]) -> None:
        """Have it hashed, which takes long."""
        ...

    def check_password(self, password: str, hash: bytes, then: Callable[[bool], None]) -> None:
        """Have it compared with a hash, which takes long."""
        ...

    def status(self) -> NodeStatus: ...

    def flush(self) -> None:
        """Have what the machine gathered in memory brought into its store, unless that is under way."""
        ...

    def url(self, address: str) -> str:
        """How clients are told of a member's address."""
        ...

    def administer(self, make: Callable[[int], AdminRequest], then: Callable[[Answer | Failure], None]) -> None:
        """Have the leader, whoever it is, do what administrators ask for; `make` gets the request's id."""
        ...

    def backup(self, then: Callable[[SavedSnapshot | str], None]) -> None:
        """Have all that this member has applied written as a snapshot file; or say why that cannot be."""
        ...

    def hash(self, revision: int, then: Callable[[HashReply | str], None]) -> None:
        """Have the items hashed up to a revision (0: all that has been applied); or say why that cannot be."""
        ...

    def take(self, requests: list[Request]) -> None:
        """Requests for the engine, in order; their answers come to `Services.deliver`."""
        ...


class Backend:
    """Shared by all services of a member."""

    def __init__(self, node: Node, machine: KeyValue) -> None:
        self.node = node
        self.machine = machine
        self.headers = Headers(node)
        self.requests = Requests(node.take)
        self._full = False
        self._raising = False
        self.access = Access(machine)

    @property
    def revision(self) -> int:
        """Of the machine, at present."""
        return self.machine.revision()

    def submit(self, caller: Caller, command: bytes, then: Callable[[Answer | Failure], None]) -> None:
        """Run a command for the caller. Raises `Refusal`: it is too large, or nobody knows the caller."""
        if len(command) > MAX_REQUEST_BYTES:
            raise refused("request is too large")
        if self.access.auth.enabled:
            command = self.access.command(self.principal(caller), command)
        self.requests.submit(command, then)

    def look_at_space(self) -> None:
        """Now and then: whether the quota is reached. What was compacted is freed by flushes, and where puts are
        refused nothing else would bring one about."""
        if self.machine.sweep_left:
            self.node.flush()
        self._look()

    def _look(self) -> None:
        self._full = self.node.database_bytes_in_use >= self.node.quota_bytes

    def need_space(self) -> None:
        """Before what makes the data grow. Raises `Refusal`: there is no room, and the members are told so."""
        if self._full:
            self._look()  # or who cleared the alarm as soon as there was space would have it raised again
        if not self._full:
            return
        if not self._raising:
            self._raising = True
            alarm = encoder.encode(SetAlarm(self.node.member, AlarmKind.NOSPACE, True))
            self.requests.submit(self.access.command(self.access.own(), alarm), self._raised)
        raise refused("mvcc: database space exceeded")

    def need_state(self) -> None:
        """Before a read of the present state. Raises `Refusal`: it is being replaced by a snapshot's."""
        if self.node.restoring:
            raise refused(RESTORING.reason)

    def _raised(self, _: Answer | Failure) -> None:
        self._raising = False

    def principal(self, caller: Caller) -> Principal | None:
        """Who calls; None: auth is off. Raises `Refusal`: nobody knows. A token that is used lives on."""
        time = self.node.time
        principal = self.access.principal(caller, time)
        if principal is not None and caller.token and self.access.auth.wants_touch(caller.token, time):
            self.requests.submit(encoder.encode(TouchToken(caller.token)), _ignore)
        return principal

    def administrator(self, caller: Caller) -> None:
        """Raises `Refusal` unless the caller may change members and maintain."""
        if self.access.auth.enabled:
            self.access.must_administer(self.principal(caller))

    def run(self, stream: Stream, caller: Caller, command: bytes, respond: Callable[[Reply], bytes]) -> None:
        """Run a command and answer the call with what `respond` makes of the machine's reply, a header before it.
        Raises `Refusal` if it is too large."""

        def then(answer: Answer | Failure) -> None:
            if isinstance(answer, Failure):
                self.refuse(stream, failed(answer))
                return
            reply = reply_decoder.decode(answer.body)
            try:
                stream.respond(self.headers.field(reply.revision) + respond(reply))
            except Refusal as refusal:
                self.refuse(stream, refusal)

        self.submit(caller, command, then)

    def read(self, stream: Stream, mode: ReadMode, respond: Callable[[], bytes]) -> None:
        """Answer the call with what `respond` finds in a state that is as fresh as this. Either may raise `Refusal`."""
        if mode is ReadMode.STALE:
            self.need_state()
            stream.respond(respond())
            return

        def then(answer: Answer | Failure) -> None:
            if isinstance(answer, Failure):
                self.refuse(stream, failed(answer))
                return
            try:
                stream.respond(respond())
            except Refusal as refusal:
                self.refuse(stream, refusal)

        self.requests.fence(then)

    def question(self, stream: Stream, caller: Caller, question: Question, respond: Callable[[Reply], bytes]) -> None:
        """Ask for the caller, linearizably, and answer with what `respond` makes of the reply, a header before it.
        Raises `Refusal`."""
        principal = self.principal(caller)

        def found() -> bytes:
            reply = self.ask(question, principal)
            return self.headers.field(reply.revision) + respond(reply)

        self.read(stream, ReadMode.LINEARIZABLE, found)

    def ask(self, question: Question, principal: Principal | None) -> Reply:
        """Ask the machine about its present state, in somebody's name. Raises `Refusal`."""
        self.need_state()
        body = self.machine.query(self.access.question(principal, encoder.encode(question)))
        if isinstance(body, Rejected):
            raise refused(body.reason)
        return reply_decoder.decode(body)

    def refuse(self, stream: Stream, refusal: Refusal) -> None:
        """End the call."""
        stream.finish(refusal.code, refusal.text)


def _ignore(_: Answer | Failure) -> None:
    """Whether the token lived on shows when it is used again."""
