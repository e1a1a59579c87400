"""What the services ask of the engine, and who waits for which answer. Synchronous: answers come by `deliver`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from coterie.engine.admin_requests import AdminRequest
from coterie.engine.protocol import Answer, Failure, Fence, ReadMode, Request, Response, Submit

Then: TypeAlias = Callable[[Answer | Failure], None]
"""What is to be done with the answer. It must not raise."""


class Requests:
    """One client of the engine, for all callers of this member."""

    def __init__(self, send: Callable[[list[Request]], None]) -> None:
        """`send`: takes requests on their way, in order."""
        self._send = send
        self._next = 1
        self._waiting: dict[int, Then] = {}
        self.queued: list[Request] = []
        """What was asked since the last flush."""
        self._fenced: list[Then] = []
        """Who waits for the fence that was not sent yet."""
        self.open_fence = 0
        """Its id; 0: there is none."""

    def __len__(self) -> int:
        """Requests without an answer."""
        return len(self._waiting)

    def submit(self, command: bytes, then: Then) -> None:
        """Run a command of the machine's, at most once: without an answer nobody knows whether it ran."""
        id = self._next
        self._next = id + 1
        self._waiting[id] = then
        self.queued.append(Submit(id, 0, 0, 0, command))

    def fence(self, then: Then) -> int:
        """The answer comes when a linearizable read may be done, and may be done then only. Returns the fence's id.

        Whoever asks before it is sent shares one: what a fence begins with is the commit index when the engine takes it
        (Raft 6.4, step 1), which is after all of them asked. There are no more of them than calls that may be open.
        """
        if self._fenced:
            self._fenced.append(then)
            return self.open_fence
        sharing = self._fenced = [then]

        def passed(answer: Answer | Failure) -> None:
            for each in sharing:
                each(answer)

        id = self._next
        self._next = id + 1
        self._waiting[id] = passed
        self.queued.append(Fence(id, ReadMode.LINEARIZABLE))
        self.open_fence = id
        return id

    def administer(self, make: Callable[[int], AdminRequest], then: Then) -> None:
        """Ask for what administrators ask for; `make` gets the request's id."""
        id = self._next
        self._next = id + 1
        self._waiting[id] = then
        self.queued.append(make(id))

    def flush(self) -> None:
        """Send what was asked since the last time, all at once."""
        if self.queued:
            out, self.queued = self.queued, []
            self._fenced, self.open_fence = [], 0
            self._send(out)

    def deliver(self, *responses: Response) -> None:
        """The engine answers."""
        for response in responses:
            if isinstance(response, Answer | Failure):
                then = self._waiting.pop(response.id, None)
                if then is not None:
                    then(response)
