"""What the engine needs from whoever runs it: the asyncio runtime, or the simulated world."""

from __future__ import annotations

from typing import Protocol

import msgspec

from coterie.core.messages import Message
from coterie.core.records import StoreBatch
from coterie.core.types import Mark, Member, MemberId
from coterie.engine.protocol import Response, View
from coterie.engine.work import Job


class Event(msgspec.Struct, frozen=True):
    """Something worth telling people: logs, metrics, dashboard and tests all read these."""

    kind: str
    """For example `role`, `overloaded`, `session-expired`, `alarm`."""
    text: str
    fields: dict[str, int | str] = {}


class Ports(Protocol):
    """Called by the engine, only from within `Engine.flush` (and `send` from within `Engine.stored`; `removed` and
    `event` from within `Engine.worked`). None may block, but `leave` for a quick disk; none may call back."""

    def send(self, to: MemberId, message: Message) -> None:
        """Pass a message to a peer, or drop it if there is no connection or its queue is full."""
        ...

    def store(self, batch: StoreBatch) -> None:
        """Begin to make the batch durable, after all earlier ones; later call `Engine.stored(mark)`."""
        ...

    def leave(self) -> Mark | None:
        """Before long work: a driver may let what was sent leave, and the disk begin with what was stored; one that
        would wait for the disk in this very turn may do so now. Returns the mark that is durable, for `Engine.stored`,
        and is then called again, to let that leave which waited for it; or None: the rest comes at the turn's end, or
        when a write that was begun is done."""
        ...

    def reply(self, client: object, *responses: Response) -> None:
        """Answer a client, in this order; dropped if it has gone. `client` is the handle given to `Engine.request`."""
        ...

    def publish(self, view: View) -> None:
        """Leader or members changed: tell every connected client."""
        ...

    def work(self, job: Job) -> None:
        """Have the job performed outside the loop, then call `Engine.worked`. See `engine.work`."""
        ...

    def removed(self, member: Member) -> None:
        """A member has left the group for certain: end its streams, refuse it from now on. If it is this one:
        say so, and end when what is under way is done."""
        ...

    def event(self, event: Event) -> None: ...
