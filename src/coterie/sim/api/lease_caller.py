"""A caller of the Lease service: leases with keys on them, kept alive for a while, then revoked or left to end."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Final

from coterie.core.types import Nanos
from coterie.etcd.wire import rpc
from coterie.sim.api.caller import PUT, ApiCaller, Method, Refused
from coterie.sim.api.model import SECOND
from coterie.sim.api.wire import Call
from coterie.sim.chance import happens
from coterie.sim.verdict import Violation

GRANT: Final = Method("/etcdserverpb.Lease/LeaseGrant", rpc.LeaseGrantResponse)
REVOKE: Final = Method("/etcdserverpb.Lease/LeaseRevoke", rpc.LeaseRevokeResponse)
KEEP_ALIVE: Final = Method("/etcdserverpb.Lease/LeaseKeepAlive", rpc.LeaseKeepAliveResponse)
TIME_TO_LIVE: Final = Method("/etcdserverpb.Lease/LeaseTimeToLive", rpc.LeaseTimeToLiveResponse)
MAX_LEASES: Final = 4
"""That one caller minds at a time."""
TTLS_S: Final = (2, 2, 3, 4, 0, -7)
"""Short, and what is raised to the least there is."""
LONGEST_S: Final = 4
IDS: Final = (0, 0, 0, 0, -5, 7, 1 << 40, -(1 << 63))
"""The member's choice, mostly; or one that other callers choose, too."""
KEYS: Final = 3
KEEPS: Final = (0, 0, 1, 3, 8)
"""How often a lease is kept alive before it is left alone."""


class _Minded:
    """A lease that a caller minds."""

    def __init__(self, id: int, ttl: int) -> None:
        self.id = id
        self.ttl = ttl
        self.keeps = 0
        """How often it is still to be kept alive."""
        self.keep_at: Nanos = 0


class LeaseCaller(ApiCaller):
    """It grants, attaches, keeps alive, asks, revokes, and forgets."""

    _minded: tuple[_Minded, ...] = ()
    _stream: Call | None = None

    def do(self) -> None:
        """See `ApiCaller`."""
        draw = self.rng.randrange(100)
        if len(self._minded) < MAX_LEASES and draw < 20 and not self.waits_here:
            self._grant()
            return
        if not self._minded:
            return
        lease = self.rng.choice(self._minded)
        if draw < 45:
            self._attach(lease)
        elif draw < 60:
            self._look(lease)
        elif draw < 64 and not lease.keeps:
            self._revoke(lease)

    def tend(self) -> None:
        """See `ApiCaller`: keep alive what is due."""
        if self.goal:
            return
        for lease in self._minded:
            if lease.keeps and self.now >= lease.keep_at:
                lease.keeps -= 1
                lease.keep_at = self.now + lease.ttl * SECOND // self.rng.choice((2, 3, 20))
                self._keep(lease.id)
        if self._stream is not None and happens(self.rng, 10):
            self._calls.cut(self._stream)

    def wind_up(self) -> None:
        """See `ApiCaller`."""
        self.forget()

    def forget(self) -> None:
        """See `ApiCaller`."""
        self._minded = ()
        if self._stream is not None:
            self._calls.cut(self._stream)

    # -- one call --------------------------------------------------------------------------------

    def _grant(self) -> None:
        sent = self.now
        request = rpc.LeaseGrantRequest(TTL=self.rng.choice(TTLS_S), ID=self.rng.choice(IDS))

        def done(answer: rpc.LeaseGrantResponse | Refused) -> None:
            if isinstance(answer, Refused):
                return
            if request.ID not in (0, answer.ID):
                raise Violation("lease-told", f"{request} was granted as {answer.ID}")
            self.judge.leases.promised(answer.ID, answer.TTL, sent, self.now)
            if not self.goal:
                lease = _Minded(answer.ID, answer.TTL)
                lease.keeps = self.rng.choice(KEEPS)
                self._minded = (*self._minded, lease)
                # A keep-alive may come to another member before the grant does.
                self.move()
                if happens(self.rng, 500):
                    self._keep(lease.id)

        self.ask(GRANT, request, done)

    def _attach(self, lease: _Minded) -> None:
        value, key = self.value(), b"l%d" % self.rng.randrange(KEYS)
        op = self.begin("put", key, value)

        def done(answer: rpc.PutResponse | Refused) -> None:
            if isinstance(answer, Refused):
                self.judge.fail(op, self.now, answer.happened)
                if answer.says("lease not found"):
                    self.judge.leases.denied(lease.id, op.start, self.now)
                    self._drop(lease)
            else:
                self.judge.wrote(op, self.now, answer.header.revision, True)

        self.ask(PUT, rpc.PutRequest(key=key, value=value, lease=lease.id), done)

    def _look(self, lease: _Minded) -> None:
        self.ask(
            TIME_TO_LIVE, rpc.LeaseTimeToLiveRequest(ID=lease.id, keys=True), partial(self._looked, lease, self.now)
        )

    def _looked(self, lease: _Minded, sent: Nanos, answer: rpc.LeaseTimeToLiveResponse | Refused) -> None:
        if isinstance(answer, Refused):
            return
        if answer.TTL == -1:
            self.judge.leases.denied(lease.id, sent, self.now)
            self._drop(lease)
        else:
            self.judge.leases.promised(lease.id, answer.TTL, sent, self.now)
            if answer.grantedTTL < answer.TTL:
                raise Violation("lease-told", f"{answer} has more left than it was granted")

    def _revoke(self, lease: _Minded) -> None:
        sent = self.now
        self._drop(lease)
        self.judge.leases.revoking(lease.id)

        def done(answer: rpc.LeaseRevokeResponse | Refused) -> None:
            if isinstance(answer, Refused) and answer.says("lease not found"):
                self.judge.leases.denied(lease.id, sent, self.now)

        self.ask(REVOKE, rpc.LeaseRevokeRequest(ID=lease.id), done)

    def _drop(self, lease: _Minded) -> None:
        self._minded = tuple(each for each in self._minded if each is not lease)

    # -- the stream of keep-alives -----------------------------------------------------------------

    def _keep(self, id: int) -> None:
        if self._stream is None:
            self._open()
        assert self._stream is not None
        self._waiting.append((id, self.now))
        self._calls.say(self._stream, rpc.LeaseKeepAliveRequest(ID=id).SerializeToString())

    def _open(self) -> None:
        waiting: deque[tuple[int, Nanos]] = deque()
        self._waiting = waiting

        def told(answer: rpc.LeaseKeepAliveResponse, size: int) -> None:
            id, sent = waiting.popleft()
            if id != answer.ID:
                raise Violation("lease-told", f"a keep-alive of {id} is answered for {answer.ID}")
            if answer.TTL:
                self.judge.leases.promised(id, answer.TTL, sent, self.now)
            else:
                self.judge.leases.denied(id, sent, self.now)
                self._minded = tuple(each for each in self._minded if each.id != id)

        def ended(refused: Refused) -> None:
            self._stream = None

        self._stream = self.stream(KEEP_ALIVE, told, ended)
