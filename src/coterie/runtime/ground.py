"""The node as an API stands on it: see `Ground`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

from coterie.core.types import NOBODY, MemberId, Nanos
from coterie.engine.admin_requests import AdminRequest
from coterie.engine.engine import Engine
from coterie.engine.protocol import Answer, Failure, FailureCode, Happened, NodeStatus, Request
from coterie.machine.interface import StateMachine
from coterie.machine.persistence import SnapshotView
from coterie.runtime.joining import ASK_TIMEOUT_S, PROBLEMS, ask_member
from coterie.runtime.local_client import LocalClient
from coterie.runtime.node_loop import NodeLoop
from coterie.runtime.tls.reloading import TlsSide


class NodeGround:
    """Implements `Ground`."""

    def __init__(
        self, engine: Engine, shell: NodeLoop, local: LocalClient, tls: TlsSide | None, directory: Path
    ) -> None:
        """`tls`: how members' client ports are dialled; None: in plain text."""
        self._engine = engine
        self._shell = shell
        self._local = local
        self._tls = tls
        self.directory = directory
        self.machine: StateMachine = engine.host.machine
        self.cluster = engine.identity.cluster
        self.member: MemberId = engine.identity.member
        self.secure = tls is not None

    @property
    def term(self) -> int:
        """See `Ground`."""
        return self._engine.replica.epoch.round

    @property
    def leader(self) -> MemberId:
        """See `Ground`."""
        return self._engine.replica.leader

    @property
    def restoring(self) -> bool:
        """See `Ground`."""
        return self._engine.host.restoring

    @property
    def time(self) -> Nanos:
        """See `Ground`."""
        return self._engine.host.time

    @property
    def database_bytes(self) -> int:
        """See `Ground`."""
        return self._engine.host.store_bytes

    @property
    def database_bytes_in_use(self) -> int:
        """See `Ground`."""
        return self._engine.host.store_bytes_in_use

    @property
    def disk_full(self) -> bool:
        """See `Ground`."""
        return self._engine.disk_full

    @property
    def quota_bytes(self) -> int:
        """See `Ground`."""
        return self._engine.host.settings.quota_bytes

    def status(self) -> NodeStatus:
        """See `Ground`."""
        return self._engine.status()

    def flush(self) -> None:
        """See `Ground`."""
        self._shell.begin_flush()

    def take(self, client: object, requests: list[Request]) -> None:
        """See `Ground`."""
        self._shell.take(client, requests)

    def stored_state(self) -> Awaitable[SnapshotView]:
        """See `Ground`."""
        return self._shell.stored_state()

    async def administer(self, request: AdminRequest, token: str = "") -> Answer | Failure:
        """See `Ground`: asked of this member's engine first, and if it does not lead, of the one that does."""
        answer = await self._local.administer(request)
        if isinstance(answer, Answer) or answer.code is not FailureCode.NOT_LEADER or answer.leader == NOBODY:
            return answer
        members = self._engine.replica.membership.members
        address = next((member.client for member in members if member.id == answer.leader), "")
        if not address:
            return answer
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                told = await ask_member(address, request, self._engine.identity.name, self._tls, token)
        except PROBLEMS as error:
            text = f"the leader at {address} did not answer: {str(error) or 'no answer in time'}"
            return Failure(0, FailureCode.TIMEOUT, Happened.UNKNOWN, text)
        return told.response
