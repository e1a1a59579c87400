"""One life of a member's etcd services: what `etcd.api` does on asyncio, done by the world's steps."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from coterie.core.types import MemberId, Nanos
from coterie.engine.admin_requests import AdminRequest
from coterie.engine.engine import Engine
from coterie.engine.protocol import Answer, Failure, NodeStatus, Request, Response
from coterie.etcd.backup.saving import SavedSnapshot
from coterie.etcd.calls import Caller, Handler
from coterie.etcd.services import SECOND, Services
from coterie.etcd.status import Code
from coterie.etcd.watching import LIMITS, WatchLimits
from coterie.machine.kv.machine import KeyValue
from coterie.machine.kv.protocol import HashReply
from coterie.sim.api.wire import Calls

DRAINED_SHARE: Final = 4
"""A stream that had this part of a stall unsent is told when most of it has been taken, as HTTP/2 tells it."""
QUOTA_BYTES: Final = 1 << 31


class Site(Protocol):
    """The member's process, as its API stands on it."""

    cluster: int
    member: MemberId
    engine: Engine
    calls: Calls

    def ask(self, request: Request) -> None:
        """Have the engine take a request with the next step; its answer comes to `ApiHost.deliver`."""
        ...

    def api_later(self, delay: Nanos, give: Callable[[Nanos], object]) -> None:
        """Give this to the process so much later, with a step of its own: the time is its clock's."""
        ...


def drawn_limits(rng: random.Random) -> WatchLimits:
    """How much is done at a time: little, mostly, so that whoever watches is often behind."""
    return WatchLimits(
        slice_revisions=rng.choice((1, 2, 7, 512)),
        slice_bytes=rng.choice((1, 300, 1 << 20)),
        slice_watchers=rng.choice((1, 2, 1024)),
        news_revisions=rng.choice((1, 3, 16 * 1024)),
        news_bytes=rng.choice((1, 500, 1 << 23)),
        stall_bytes=rng.choice((60, 1000, LIMITS.stall_bytes)),
        progress_interval=rng.choice((SECOND // 4, SECOND)),
    )


class HostStream:
    """The services' end of one call (`etcd.calls.Stream`)."""

    def __init__(self, calls: Calls, number: int, window: int, stall_bytes: int) -> None:
        self._calls = calls
        self._number = number
        self._window = window
        """Bytes that may leave yet."""
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._status: tuple[Code, str] | None = None
        self._high = max(1, stall_bytes // DRAINED_SHARE)
        self._full = False
        self.handler: Handler | None = None
        self.over = False
        """The services have ended it, or its caller has gone."""

    @property
    def unsent(self) -> int:
        """See `Stream`."""
        return self._waiting_bytes

    def respond(self, message: bytes) -> None:
        """See `Stream`."""
        self.send(message)
        self.finish()

    def send(self, message: bytes) -> None:
        """See `Stream`."""
        if not self.over:
            self._waiting.append(message)
            self._waiting_bytes += len(message)
            self._pump()
            self._full = self._full or self._waiting_bytes >= self._high

    def finish(self, code: Code = Code.OK, text: str = "") -> None:
        """See `Stream`."""
        if not self.over:
            self.over = True
            self._status = (code, text)
            self._pump()

    def release(self) -> None:
        """See `Stream`: this way has no window for what comes."""

    def _pump(self) -> None:
        while self._waiting and self._window > 0:
            message = self._waiting.popleft()
            self._waiting_bytes -= len(message)
            self._window -= len(message)
            self._calls.answer(self._number, message)
        if not self._waiting and self._status is not None:
            self._calls.end(self._number, *self._status)
            self._status = None

    def credited(self, size: int) -> None:
        """The caller has taken so many bytes."""
        self._window += size
        self._pump()
        if self._full and self._waiting_bytes * 2 <= self._high:
            self._full = False
            if self.handler is not None and not self.over:
                self.handler.drained()

    @property
    def done(self) -> bool:
        """Nothing of it is left."""
        return self.over and not self._waiting


class ApiHost:
    """The services of one process, and the node that they stand on (`etcd.backend.Node`)."""

    def __init__(self, site: Site, machine: KeyValue, limits: WatchLimits) -> None:
        self._site = site
        self.cluster = site.cluster
        self.member = site.member
        self.database_bytes = self.database_bytes_in_use = 0
        self.quota_bytes = QUOTA_BYTES
        self._stall_bytes = limits.stall_bytes
        self._revision = -1
        self._again = False
        self._streams: dict[int, HostStream] = {}
        self.services = Services(self, machine, limits)
        site.api_later(0, self._wake)

    # -- see `Node` ------------------------------------------------------------------------------

    @property
    def disk_full(self) -> bool:
        """See `Node`."""
        return self._site.engine.disk_full

    @property
    def term(self) -> int:
        """See `Node`."""
        return self._site.engine.replica.epoch.round

    @property
    def leader(self) -> MemberId:
        """See `Node`."""
        return self._site.engine.replica.leader

    @property
    def restoring(self) -> bool:
        """See `Node`."""
        return self._site.engine.host.restoring

    @property
    def time(self) -> Nanos:
        """See `Node`."""
        return self._site.engine.host.time

    def status(self) -> NodeStatus:
        """See `Node`."""
        return self._site.engine.status()

    def flush(self) -> None:
        """See `Node`."""
        self._site.engine.flush_store()

    def url(self, address: str) -> str:
        """See `Node`."""
        return f"http://{address}"

    def take(self, requests: list[Request]) -> None:
        """See `Node`."""
        for request in requests:
            self._site.ask(request)

    def token(self) -> str:
        """See `Node`."""
        raise AssertionError("no simulated caller authenticates")

    def hash_password(self, password: str, then: Callable[[bytes], None]) -> None:
        """See `Node`."""
        raise AssertionError("no simulated caller authenticates")

    def check_password(self, password: str, hash: bytes, then: Callable[[bool], None]) -> None:
        """See `Node`."""
        raise AssertionError("no simulated caller authenticates")

    def administer(self, make: Callable[[int], AdminRequest], then: Callable[[Answer | Failure], None]) -> None:
        """See `Node`."""
        raise AssertionError("no simulated caller administers by this API")

    def backup(self, then: Callable[[SavedSnapshot | str], None]) -> None:
        """See `Node`."""
        raise AssertionError("no simulated caller asks for a backup")

    def hash(self, revision: int, then: Callable[[HashReply | str], None]) -> None:
        """See `Node`."""
        raise AssertionError("no simulated caller asks for a hash")

    # -- calls, as they arrive -------------------------------------------------------------------

    def begin(self, number: int, path: str, message: bytes | None, caller: Caller, window: int) -> None:
        """A call begins: with its one message, or as a stream."""
        stream = self._streams[number] = HostStream(self._site.calls, number, window, self._stall_bytes)
        if message is None:
            stream.handler = self.services.open(stream, path, caller)
        else:
            stream.handler = self.services.call(stream, path, caller, message)
        self._forget_done()

    def received(self, number: int, message: bytes) -> None:
        """One more message."""
        if (handler := self._living(number)) is not None:
            handler.received(message)

    def half_closed(self, number: int) -> None:
        """The caller sends no more."""
        if (handler := self._living(number)) is not None:
            handler.ended()

    def cancelled(self, number: int) -> None:
        """The caller has gone."""
        handler = self._living(number)
        stream = self._streams.pop(number, None)
        if stream is not None:
            stream.over = True
        if handler is not None:
            handler.cancelled()

    def credited(self, number: int, size: int) -> None:
        """The caller has read."""
        if (stream := self._streams.get(number)) is not None:
            stream.credited(size)

    def _living(self, number: int) -> Handler | None:
        stream = self._streams.get(number)
        return stream.handler if stream is not None and not stream.over else None

    def _forget_done(self) -> None:
        for number in [number for number, stream in self._streams.items() if stream.done]:
            del self._streams[number]

    # -- what happens (`etcd.api.EtcdApi`) -------------------------------------------------------

    def deliver(self, *responses: Response) -> None:
        """The engine answers."""
        self.services.deliver(*responses)

    def advance(self) -> None:
        """The engine has been flushed: the machine may have moved on."""
        revision = self.services.backend.revision
        if revision != self._revision:
            self._revision = revision
            self.services.advance()
        else:
            self.services.flush()
        self._catch_up_soon()

    def _catch_up_soon(self) -> None:
        if self.services.lagging and not self._again:
            self._again = True
            self._site.api_later(0, self._catch_up)

    def _catch_up(self, now: Nanos) -> None:
        """One more slice for the watchers who are behind, after whatever else has come."""
        self._again = False
        self.services.advance()

    def _wake(self, now: Nanos) -> None:
        due = self.services.wake(now)
        self._site.api_later(max(0, due - now), self._wake)
