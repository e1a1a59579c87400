"""What a node may serve beside the native protocol: made by whoever makes the node, told of what happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

from coterie.core.types import MemberId, Nanos
from coterie.engine.admin_requests import AdminRequest
from coterie.engine.protocol import Answer, Failure, LogIn, NodeStatus, Request
from coterie.http2 import Event
from coterie.machine.interface import StateMachine
from coterie.machine.persistence import SnapshotView
from coterie.runtime.clients import NativeClient
from coterie.runtime.grpc.connection import GrpcConnection
from coterie.runtime.http1.connection import HttpReply, HttpRequest


class Ground(Protocol):
    """The node, as an API stands on it."""

    @property
    def machine(self) -> StateMachine: ...

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
        """Whether a snapshot is being installed: until then the machine must not be asked."""
        ...

    @property
    def time(self) -> Nanos:
        """Cluster time, as of what has been applied."""
        ...

    @property
    def database_bytes(self) -> int:
        """What the machine's store takes on disk; 0 in memory."""
        ...

    @property
    def database_bytes_in_use(self) -> int:
        """Those of them that hold something."""
        ...

    @property
    def disk_full(self) -> bool:
        """Whether this member's log lacks the space for what it was given."""
        ...

    @property
    def quota_bytes(self) -> int:
        """What they may become, by the settings in force."""
        ...

    @property
    def secure(self) -> bool:
        """Whether clients speak TLS."""
        ...

    def status(self) -> NodeStatus: ...

    def flush(self) -> None:
        """Have what the machine gathered in memory brought into its store, unless that is under way."""
        ...

    @property
    def directory(self) -> Path:
        """The member's data directory: for files that are wanted for a while."""
        ...

    def stored_state(self) -> Awaitable[SnapshotView]:
        """A view of a state in which everything is that has been applied by now; to be closed."""
        ...

    def take(self, client: object, requests: list[Request]) -> None:
        """Requests of a client within the process: its `deliver` gets the answers."""
        ...

    def administer(self, request: AdminRequest, token: str = "") -> Awaitable[Answer | Failure]:
        """Have the leader do what administrators ask for, whoever it is. `token`: of a user who may, if the leader
        wants to know."""
        ...


class Api(Protocol):
    """What is served."""

    @property
    def versions(self) -> Mapping[str, str]:
        """What `/version` is to say of it."""
        ...

    def events(self, connection: GrpcConnection, events: list[Event]) -> None:
        """See `GrpcSite`."""
        ...

    async def answer(self, request: HttpRequest) -> HttpReply | None:
        """The answer to an HTTP/1.1 request; None: it knows no such path."""
        ...

    @property
    def guarded(self) -> bool:
        """Whether clients of the native protocol must say who they are, at present."""
        ...

    def log_in(self, client: NativeClient, request: LogIn) -> None:
        """Find out whether a client of the native protocol is who it says; then call its `logged_in`."""
        ...

    def admit(self, client: NativeClient, requests: list[Request]) -> list[Request]:
        """While it is guarded: what the engine is to have of the requests, and as it is to have it; the others are
        answered."""
        ...

    def advance(self) -> None:
        """The engine has been flushed: the machine may have moved on. What is written now leaves with the rest."""
        ...

    def end(self) -> None:
        """The node has ended."""
        ...

    @property
    def idle(self) -> bool:
        """Whether no thread of its reads the machine's state any more: until then its store is not to be closed."""
        ...


MakeApi: TypeAlias = Callable[[Ground], Api]
