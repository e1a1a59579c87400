"""Which members to be connected to, and which connection a request should take.

Any member takes any request, so all of this is about speed and about finding one that serves: go
straight to the leader when it is known and connected, else stay with one member for as long as it
serves, else try the others in turn.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from coterie.client.config import ClientConfig
from coterie.client.connection import Connection, Phase
from coterie.client.endpoints import Endpoint, EndpointBook, Place
from coterie.client.requests import NEVER, Request
from coterie.core.types import NOBODY, MemberId, Nanos
from coterie.engine.protocol import PROTOCOL_VERSION, View, Welcome


class Routes:
    """The connections of one client."""

    def __init__(self, endpoints: Iterable[Endpoint], config: ClientConfig, rng: random.Random) -> None:
        self._config = config
        self.book = EndpointBook(endpoints, config, rng)
        self.connections: dict[int, Connection] = {}
        self._last_connection = 0
        self.leader: MemberId = NOBODY
        self._leader_told_at: Nanos = 0
        self._cluster = 0
        self.best: Connection | None = None
        """For commands and linearizable reads: the leader's if possible; None if no member serves."""
        self.near: Connection | None = None
        """For what any member can answer alone."""
        self.want_another = False
        """The members we are connected to refuse or do not answer: dial one more."""

    def ready(self, now: Nanos, connection: Connection, welcome: Welcome) -> str:
        """The member has answered the greeting; returns why it can't be used, or "" if it can."""
        if welcome.version != PROTOCOL_VERSION:
            return f"speaks client protocol {welcome.version}, this client speaks {PROTOCOL_VERSION}"
        if self._cluster and welcome.cluster and welcome.cluster != self._cluster:
            return (
                f"belongs to cluster {welcome.cluster:016x}, this client talks to {self._cluster:016x}; "
                "correct the endpoints, or connect anew if the cluster was made anew"
            )
        self._cluster = self._cluster or welcome.cluster
        connection.phase = Phase.READY
        connection.quiet_since = now
        connection.member = connection.place.member = welcome.member
        connection.place.failures = 0
        connection.place.reason = ""
        self.want_another = False
        return ""

    def drop(self, now: Nanos, connection: Connection, reason: str) -> None:
        """The connection is gone."""
        del self.connections[connection.id]
        self.book.failed(now, connection.place, reason)
        if connection.member == self.leader:
            self.leader = NOBODY

    def told(self, now: Nanos, view: View) -> None:
        """A member's view of leader and members: the newest heard is believed; it is only a hint."""
        if view.leader != NOBODY or self.leader == NOBODY:
            self.leader = view.leader
            self._leader_told_at = now
        if self._config.follow_members:
            self.book.learn(view.members)

    def led_by(self, now: Nanos, leader: MemberId) -> None:
        """A member that was asked for what only the leader does says who leads."""
        if leader != NOBODY:
            self.leader = leader
            self._leader_told_at = now
        self.rank()

    def rank(self) -> None:
        """Choose `best` and `near` anew, after anything about a connection has changed."""
        usable = [c for c in self.connections.values() if c.usable]
        self.near = min(usable, key=_preference, default=None)
        self.best = self.near
        if self.leader != NOBODY:
            for connection in usable:
                if connection.member == self.leader and connection.demoted <= self._leader_told_at:
                    self.best = connection

    def other(self, request: Request) -> Connection | None:
        """The best usable connection that has not refused the request and does not owe it an answer."""
        best = self.best
        usable = [c for c in self.connections.values() if c.usable]
        usable.sort(key=lambda c: (c is not best, c.demoted, c.id))
        owing = [connection for connection, _ in request.attempts]
        for connection in usable:
            if connection not in owing and connection.endpoint not in request.tried:
                return connection
        return None

    def dial(self, now: Nanos) -> list[Connection]:
        """Connections to begin now, while there is work."""
        begun: list[Connection] = []
        if self.best is None or self.want_another:
            dialling = [c.since for c in self.connections.values() if c.phase is not Phase.READY]
            if not dialling or max(dialling) + self._config.dial_stagger <= now:
                place = self.book.next(now)
                if place is not None:
                    begun.append(self._begin(now, place))
                elif self.best is not None:
                    self.want_another = False
        if self.leader != NOBODY and self._config.follow_members:
            place = self.book.of(self.leader)
            if place is not None and not place.connection and place.retry_at <= now:
                begun.append(self._begin(now, place))
        return begun

    def useless(self) -> Connection | None:
        """A connection to be given up, for nobody serves, every address is taken, and its member has refused again and
        again: it may have left the group without being told, and its address may lead to another by now."""
        wanted = self.best is None or self.want_another or self.best.useless_since > 0
        if not wanted or self.book.retry_at() is not None:
            return None
        for connection in self.connections.values():
            since = connection.useless_since
            if since and connection.demoted - since >= self._config.silent_timeout and connection.expendable:
                return connection
        return None

    def deadline(self) -> Nanos:
        """When `dial`, or a look at the connections, is next due, while there is work."""
        due: list[Nanos] = []
        begun: Nanos = NEVER
        for connection in self.connections.values():
            if connection.phase is not Phase.READY:
                due.append(connection.since + self._config.connect_timeout)
                begun = max(begun, connection.since)
            elif connection.check_at:
                due.append(connection.check_at)
        if self.best is None or self.want_another:
            retry_at = self.book.retry_at()
            if retry_at is not None:
                due.append(max(retry_at, begun + self._config.dial_stagger if begun else NEVER))
        return min((when for when in due if when != NEVER), default=NEVER)

    def _begin(self, now: Nanos, place: Place) -> Connection:
        self._last_connection += 1
        place.connection = self._last_connection
        connection = Connection(self._last_connection, place, now)
        self.connections[connection.id] = connection
        return connection


def _preference(connection: Connection) -> tuple[Nanos, int]:
    return connection.demoted, connection.id
