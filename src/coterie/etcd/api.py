"""The etcd v3 API as a node serves it: the services, on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from coterie.core.errors import ConfigurationError, CoterieError
from coterie.core.types import MemberId, Nanos
from coterie.engine.admin_requests import AdminRequest
from coterie.engine.protocol import Answer, Failure, LogIn, NodeStatus, Request
from coterie.etcd.backup.machine_state import CLUSTER_VERSION, hash_view, origin_of, save_view
from coterie.etcd.backup.saving import SavedSnapshot
from coterie.etcd.backup.temporary import scratch_in
from coterie.etcd.gateway import Gateway
from coterie.etcd.grpc_site import GrpcCalls
from coterie.etcd.maintenance import API_VERSION
from coterie.etcd.passwords import hashed, matches
from coterie.etcd.services import Services
from coterie.machine.kv.machine import KeyValue
from coterie.machine.kv.protocol import HashReply
from coterie.machine.persistence import SnapshotView
from coterie.runtime.api import Ground
from coterie.runtime.clients import NativeClient
from coterie.runtime.http1.connection import HttpReply, HttpRequest

SECOND = 1_000_000_000
MAX_LONG = 2
"""Passwords, hashes and snapshots that are worked on at the same time: each takes a processor."""
T = TypeVar("T")


class EtcdApi:
    """One member's."""

    def __init__(self, ground: Ground) -> None:
        """Raises `ConfigurationError` if the node runs another machine."""
        if not isinstance(ground.machine, KeyValue):
            raise ConfigurationError("the etcd API needs the key-value machine, coterie.machine.kv:KeyValue")
        self._machine = ground.machine
        self._loop = asyncio.get_running_loop()
        self._under_way: set[asyncio.Task[None]] = set()
        self.services = Services(_Member(self, ground), ground.machine)
        self._calls = GrpcCalls(self.services, self._flush)
        self._gateway = Gateway(self.services, self._flush)
        self._revision = -1
        self._again = False
        self._ended = False
        self._long = asyncio.Semaphore(MAX_LONG)
        self._threads: set[asyncio.Future[Any]] = set()
        """Work in threads that has not ended."""
        self._timer = self._loop.call_later(0, self._wake)
        self.events = self._calls.events
        self.deliver = self.services.deliver
        self.admit = self.services.native.admit

    @property
    def versions(self) -> Mapping[str, str]:
        """See `Api`."""
        return {"etcdserver": API_VERSION, "etcdcluster": CLUSTER_VERSION}

    async def answer(self, request: HttpRequest) -> HttpReply | None:
        """See `Api`."""
        return await self._gateway.answer(request)

    @property
    def guarded(self) -> bool:
        """See `Api`."""
        return self._machine.auth.enabled

    def log_in(self, client: NativeClient, request: LogIn) -> None:
        """See `Api`."""
        self.services.native.log_in(client, request)
        self._flush()

    def advance(self) -> None:
        """See `Api`."""
        services = self.services
        revision = services.backend.machine.revision()
        if revision != self._revision:
            self._revision = revision
            services.advance()
            self._catch_up_soon()
        elif services.backend.requests.queued or services.lagging:  # who waited for a restoration to end is behind, too
            self._flush()

    def _flush(self) -> None:
        """Calls have been taken, or their answers."""
        self.services.flush()
        self._catch_up_soon()

    def _catch_up_soon(self) -> None:
        if self.services.lagging and not self._again:
            self._again = True
            self._loop.call_soon(self._catch_up)

    def _catch_up(self) -> None:
        """One more slice for the watchers who are behind, after whatever else has come."""
        self._again = False
        if not self._ended:
            self.services.advance()
            self._catch_up_soon()

    def end(self) -> None:
        """See `Api`."""
        self._ended = True
        self._timer.cancel()
        for task in self._under_way:
            task.cancel()

    @property
    def idle(self) -> bool:
        """See `Api`."""
        return not self._threads

    def _wake(self) -> None:
        now = time.monotonic_ns()
        due = self.services.wake(now)
        self._timer = self._loop.call_later(max(0, due - now) / SECOND, self._wake)

    def backup(self, ground: Ground, then: Callable[[SavedSnapshot | str], None]) -> None:
        """See `Node`."""

        def save(view: SnapshotView) -> SavedSnapshot:
            return save_view(view, origin_of(status, view.meta, ground.secure), scratch_in(ground.directory))

        status = ground.status()
        self._keep(self._read_state(ground, save, "the snapshot could not be made", then, SavedSnapshot.close))

    def hash(self, ground: Ground, revision: int, then: Callable[[HashReply | str], None]) -> None:
        """See `Node`."""

        def read(view: SnapshotView) -> HashReply:
            return hash_view(view, revision)

        self._keep(self._read_state(ground, read, "the hash could not be made", then, _forget))

    async def _read_state(
        self,
        ground: Ground,
        read: Callable[[SnapshotView], T],
        problem: str,
        then: Callable[[T | str], None],
        discard: Callable[[T], None],
    ) -> None:
        """Read all that has been applied by now, in a thread, while the member goes on. `discard`: what was read when
        nobody waits for it any more."""
        try:
            async with self._long:
                view = await ground.stored_state()

                def work() -> T:
                    # Closed where it is read: a wait that is cancelled must not close it beneath the reader.
                    with contextlib.closing(view):
                        return read(view)

                found: T | str = await self._in_thread(work, discard)
        except (OSError, ValueError, CoterieError) as error:
            found = f"{problem}: {error}"
        then(found)
        self.services.flush()

    async def _in_thread(self, work: Callable[[], T], discard: Callable[[T], None]) -> T:
        """It goes on though nobody waits for it any more; `idle` knows."""
        future = self._loop.run_in_executor(None, work)
        self._threads.add(future)
        future.add_done_callback(self._threads.discard)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(lambda done: None if done.exception() else discard(done.result()))
            raise

    def later(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do something long in a thread."""

        async def do() -> None:
            async with self._long:
                done = await self._in_thread(work, _forget)
            then(done)
            self.services.flush()

        self._keep(do())

    def _keep(self, work: Coroutine[None, None, None]) -> None:
        """Have it done; it is cancelled when the node ends."""
        task = self._loop.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def administer(
        self, ground: Ground, make: Callable[[int], AdminRequest], then: Callable[[Answer | Failure], None]
    ) -> None:
        """See `Node`."""

        async def ask() -> None:
            answer = await ground.administer(make(0), await self._vouched(ground))
            if not self._ended:
                then(answer)
                self.services.flush()

        self._keep(ask())

    async def _vouched(self, ground: Ground) -> str:
        """A token of root's, for what this member asks of another that leads: whoever asked this one may do that."""
        if not self.guarded or ground.leader == ground.member:
            return ""
        given: asyncio.Future[str] = self._loop.create_future()
        self.services.native.vouch(lambda token: None if given.done() else given.set_result(token))
        self._flush()
        return await given


def _forget(_: object) -> None:
    """It holds nothing that is to be let go of."""


class _Member:
    """The node, as the services see it."""

    def __init__(self, api: EtcdApi, ground: Ground) -> None:
        self._api = api
        self._ground = ground
        self.cluster = ground.cluster
        self.member: MemberId = ground.member

    @property
    def term(self) -> int:
        return self._ground.term

    @property
    def leader(self) -> MemberId:
        return self._ground.leader

    @property
    def restoring(self) -> bool:
        return self._ground.restoring

    @property
    def database_bytes(self) -> int:
        return self._ground.database_bytes

    @property
    def database_bytes_in_use(self) -> int:
        return self._ground.database_bytes_in_use

    @property
    def disk_full(self) -> bool:
        return self._ground.disk_full

    @property
    def quota_bytes(self) -> int:
        return self._ground.quota_bytes

    def status(self) -> NodeStatus:
        return self._ground.status()

    def flush(self) -> None:
        self._ground.flush()

    def url(self, address: str) -> str:
        return f"{'https' if self._ground.secure else 'http'}://{address}"

    @property
    def time(self) -> Nanos:
        return self._ground.time

    def token(self) -> str:
        return secrets.token_urlsafe(24)

    def hash_password(self, password: str, then: Callable[[bytes], None]) -> None:
        self._api.later(lambda: hashed(password), then)

    def check_password(self, password: str, hash: bytes, then: Callable[[bool], None]) -> None:
        self._api.later(lambda: matches(password, hash), then)

    def hash(self, revision: int, then: Callable[[HashReply | str], None]) -> None:
        self._api.hash(self._ground, revision, then)

    def backup(self, then: Callable[[SavedSnapshot | str], None]) -> None:
        self._api.backup(self._ground, then)

    def administer(self, make: Callable[[int], AdminRequest], then: Callable[[Answer | Failure], None]) -> None:
        self._api.administer(self._ground, make, then)

    def take(self, requests: list[Request]) -> None:
        self._ground.take(self._api, requests)
