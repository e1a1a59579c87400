"""One connection to a member: its greeting, what is in flight on it, bytes in and out."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from coterie.client.config import ClientConfig
from coterie.client.endpoints import Endpoint, Place
from coterie.client.frames import FrameBuffer
from coterie.core.types import NOBODY, MemberId, Nanos

if TYPE_CHECKING:
    from coterie.client.requests import Request


class Phase(IntEnum):
    """How far a connection has come."""

    DIALLING = 0
    GREETING = 1
    """`Hello` was sent; `Welcome` is awaited."""
    READY = 2


class Connection:
    """The state of one connection; the core decides, this remembers."""

    __slots__ = (
        "check_at",
        "demoted",
        "frames",
        "id",
        "member",
        "out",
        "outstanding",
        "overdue",
        "owing",
        "phase",
        "place",
        "quiet_since",
        "since",
        "suspect",
        "useless_since",
    )

    def __init__(self, connection: int, place: Place, now: Nanos) -> None:
        self.id = connection
        self.place = place
        self.phase = Phase.DIALLING
        self.since = now
        """When dialling began."""
        self.member: MemberId = NOBODY
        self.frames = FrameBuffer()
        self.out: list[bytes] = []
        self.outstanding: dict[int, Request] = {}
        """Sent here, no answer yet, in the order of sending."""
        self.overdue: dict[int, Request] = {}
        """The same, for longer than an attempt may take; an answer still counts."""
        self.check_at: Nanos = 0
        """When to look for overdue requests; 0 while none is outstanding."""
        self.quiet_since: Nanos = now
        """When it was last heard, or began to owe an answer."""
        self.owing = False
        """It was sent something, and has not been heard since: also when nobody waits for the answer any more."""
        self.suspect = False
        """It owes answers and has said nothing for some time (`quiet_timeout`): nothing new is sent here."""
        self.demoted: Nanos = 0
        """When it last refused to serve: others come first."""
        self.useless_since: Nanos = 0
        """When it first refused to serve, since it last did serve; 0 if it did not refuse since."""

    @property
    def endpoint(self) -> Endpoint:
        return self.place.endpoint

    @property
    def usable(self) -> bool:
        """New requests may be sent here."""
        return self.phase is Phase.READY and not self.suspect

    def take(self, attempt: int) -> Request | None:
        """The request of this attempt, no longer outstanding here; None if there is none."""
        found = self.outstanding.pop(attempt, None)
        return self.overdue.pop(attempt, None) if found is None and self.overdue else found

    def owes_from(self, now: Nanos, check_at: Nanos) -> None:
        """It gets a request while it has none that is not overdue."""
        if not self.owing:
            self.owing = True
            self.quiet_since = now
        if not self.check_at or check_at < self.check_at:
            self.check_at = check_at

    def heard(self, now: Nanos) -> None:
        """It has said something."""
        self.quiet_since = now
        self.owing = False

    def refuses(self, now: Nanos) -> None:
        """It said that it cannot serve."""
        self.demoted = now
        self.useless_since = self.useless_since or now

    @property
    def expendable(self) -> bool:
        """Nothing is under way here whose outcome would be unknown for ever if the connection closed."""
        return all(r.repeatable for requests in (self.overdue, self.outstanding) for r in requests.values())

    def late(self, limit: Nanos) -> list[Request]:
        """Requests sent at or before `limit`; from now on they are overdue."""
        found: list[Request] = []
        attempts: list[int] = []
        for attempt, request in self.outstanding.items():
            if request.sent_at > limit:
                break
            attempts.append(attempt)
            found.append(request)
        for attempt in attempts:
            self.overdue[attempt] = self.outstanding.pop(attempt)
        return found

    def next_check(self, config: ClientConfig) -> Nanos:
        """When something here can next become late, or the silence too long; 0: never."""
        due: list[Nanos] = []
        for request in self.outstanding.values():
            quiet = max(request.sent_at, self.quiet_since) + config.quiet_timeout
            due.append(min(request.sent_at + config.attempt_timeout, quiet))
            break
        if self.overdue or self.suspect:
            due.append(self.quiet_since + (config.silent_timeout if self.suspect else config.quiet_timeout))
        return min(due, default=0)
