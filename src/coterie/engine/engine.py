"""The whole node, synchronous: replica, log, machine, sessions. No asyncio, no clock, no I/O.

The shell (asyncio runtime or simulated world) calls the inputs as things happen and then `flush`
once for the batch; see `docs/contract.md`. What `flush` raises ends the node.
"""

from __future__ import annotations

import random

import msgspec

from coterie.core.config import MIB, MILLISECOND, ReplicaConfig
from coterie.core.messages import Message
from coterie.core.records import Recovered
from coterie.core.replica import LogReader
from coterie.core.types import Mark, MemberId, Nanos
from coterie.engine.ports import Ports
from coterie.engine.protocol import NodeStatus, Request, View
from coterie.machine.interface import StateMachine


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the engine; the replica's own are in `replica`."""

    replica: ReplicaConfig = ReplicaConfig()
    request_timeout: Nanos = 5000 * MILLISECOND
    """A request that has no outcome by then fails with TIMEOUT, effect unknown."""
    max_batch_bytes: int = 1 * MIB
    """Command bytes in one log entry (one command may exceed it and then travels alone)."""
    max_batch_commands: int = 8192
    max_pending_requests: int = 65536
    """Requests taken and not yet answered; one more is refused with OVERLOADED."""
    max_sessions: int = 65536
    max_session_replies: int = 4096
    """Unacknowledged replies kept for one session; one command more is refused."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who this node is: from its data directory."""

    cluster: int
    """64 bits, made from the first entry of the log."""
    member: MemberId
    name: str
    boot: int
    """How often this data directory was started; durable before the node speaks."""
    version: str = "0"
    pid: int = 0


class Engine:
    """One node. Every input takes `now`, monotonic nanoseconds read after the input arrived."""

    def __init__(
        self,
        *,
        identity: Identity,
        config: EngineConfig,
        protocol: str,
        recovered: Recovered,
        reader: LogReader,
        machine: StateMachine,
        ports: Ports,
        rng: random.Random,
        now: Nanos,
    ) -> None: ...

    def receive(self, now: Nanos, sender: MemberId, message: Message) -> None:
        """A peer's message."""

    def request(self, now: Nanos, client: object, request: Request) -> None:
        """A client's request; `client` is a hashable handle that `Ports.reply` gets back."""

    def client_gone(self, client: object) -> None:
        """The client's connection closed: its answers have nowhere to go."""

    def stored(self, now: Nanos, mark: Mark) -> None:
        """Store batches up to `mark` are durable."""

    def store_failed(self, now: Nanos, mark: Mark) -> None:
        """No space for the batch; the shell keeps trying."""

    def connection_closed(self, now: Nanos, peer: MemberId, refused: bool) -> None:
        """See `Replica.connection_closed`."""

    def wake(self, now: Nanos) -> None:
        """The deadline that `flush` returned has come."""

    def stop(self, now: Nanos) -> None:
        """Take no more requests (they fail with STOPPING); what is under way goes on."""

    @property
    def idle(self) -> bool:
        """No request is under way: after `stop`, the node may end."""

    def flush(self, now: Nanos) -> Nanos:
        """Do what the inputs since the last flush led to, through the ports; returns the deadline.

        Raises `SafetyViolation` when a safety rule was seen broken: stop, keep the evidence.
        """

    def view(self) -> View:
        """The leader and members, for clients that have just connected."""

    def status(self, now: Nanos) -> NodeStatus:
        """What this node says of itself."""
