"""The etcd v3 API as a node serves it: the services, on asyncio."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import TypeVar

from coterie.core.errors import ConfigurationError
from coterie.core.types import MemberId, Nanos
from coterie.engine.admin_requests import AdminRequest
from coterie.engine.protocol import Answer, Failure, NodeStatus, Request
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
from coterie.runtime.api import Ground
from coterie.runtime.http1.connection import HttpReply, HttpRequest

SECOND = 1_000_000_000
MAX_LONG = 2
"""Passwords that are looked at at the same time."""
T = TypeVar("T")


class EtcdApi:
    """One member's."""

    def __init__(self, ground: Ground) -> None:
        """Raises `ConfigurationError` if the node runs another machine."""
        if not isinstance(ground.machine, KeyValue):
            raise ConfigurationError("the etcd API needs the key-value machine, coterie.machine.kv:KeyValue")
        self._loop = asyncio.get_running_loop()
        self._under_way: set[asyncio.Task[None]] = set()
        self._services = Services(_Member(self, ground), ground.machine)
        self._calls = GrpcCalls(self._services, self._flush)
        self._gateway = Gateway(self._services, self._flush)
        self._revision = -1
        self._again = False
        self._ended = False
        self._long = asyncio.Semaphore(MAX_LONG)
        self._timer = self._loop.call_later(0, self._wake)
        self.events = self._calls.events
        self.deliver = self._services.deliver

    @property
    def versions(self) -> Mapping[str, str]:
        """See `Api`."""
        return {"etcdserver": API_VERSION, "etcdcluster": CLUSTER_VERSION}

    async def answer(self, request: HttpRequest) -> HttpReply | None:
        """See `Api`."""
        return await self._gateway.answer(request)

    def advance(self) -> None:
        """See `Api`."""
        revision = self._services.backend.revision
        if revision != self._revision:
            self._revision = revision
            self._services.advance()
            self._catch_up_soon()
        else:
            self._flush()

    def _flush(self) -> None:
        """Calls have been taken, or their answers."""
        self._services.flush()
        self._catch_up_soon()

    def _catch_up_soon(self) -> None:
        if self._services.lagging and not self._again:
            self._again = True
            self._loop.call_soon(self._catch_up)

    def _catch_up(self) -> None:
        """One more slice for the watchers who are behind, after whatever else has come."""
        self._again = False
        if not self._ended:
            self._services.advance()
            self._catch_up_soon()

    def end(self) -> None:
        """See `Api`."""
        self._ended = True
        self._timer.cancel()
        for task in self._under_way:
            task.cancel()

    def _wake(self) -> None:
        now = time.monotonic_ns()
        due = self._services.wake(now)
        self._timer = self._loop.call_later(max(0, due - now) / SECOND, self._wake)

    def backup(self, ground: Ground, then: Callable[[SavedSnapshot | str], None]) -> None:
        """See `Node`."""

        async def make() -> None:
            try:
                saved: SavedSnapshot | str = await self._saved(ground)
            except (OSError, ValueError) as error:
                saved = f"the snapshot could not be made: {error}"
            then(saved)
            self._services.flush()

        self._keep(make())

    def hash(self, ground: Ground, revision: int, then: Callable[[HashReply | str], None]) -> None:
        """See `Node`."""

        async def make() -> None:
            try:
                view = await ground.stored_state()
                try:
                    async with self._long:
                        reply: HashReply | str = await asyncio.to_thread(hash_view, view, revision)
                finally:
                    view.close()
            except (OSError, ValueError) as error:
                reply = f"the hash could not be made: {error}"
            then(reply)
            self._services.flush()

        self._keep(make())

    async def _saved(self, ground: Ground) -> SavedSnapshot:
        """The file, written in a thread while the member goes on."""
        view = await ground.stored_state()
        try:
            status = ground.status()
            origin = origin_of(status, view.meta, ground.secure)
            return await asyncio.to_thread(save_view, view, origin, scratch_in(ground.directory))
        finally:
            view.close()

    def later(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do something long in a thread; few at a time, for it takes a processor."""

        async def do() -> None:
            async with self._long:
                done = await asyncio.to_thread(work)
            then(done)
            self._services.flush()

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
            answer = await ground.administer(make(0))
            if not self._ended:
                then(answer)
                self._services.flush()

        self._keep(ask())


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
    def quota_bytes(self) -> int:
        return self._ground.quota_bytes

    def status(self) -> NodeStatus:
        return self._ground.status()

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
