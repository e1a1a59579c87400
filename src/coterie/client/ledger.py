"""The requests under way: how many there may be, and when each runs out of time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from coterie.client.config import ClientConfig
from coterie.client.errors import ClientClosed, InvalidRequest, Overloaded
from coterie.client.requests import NEVER, Kind, OnDone, Outcome, Request
from coterie.core.types import Nanos
from coterie.engine.protocol import MAX_REQUEST_BYTES

_NAMES = {Kind.COMMAND: "command", Kind.QUERY: "question", Kind.CHANGE: "change"}
_MIN_STALE_DEADLINES = 1024
"""Answered requests' deadlines that are kept, at least, before the heap is rebuilt."""


def _nobody(outcome: Outcome) -> None:
    """The core's own requests are answered to the core."""


class Ledger:
    """Every request that has no outcome yet."""

    def __init__(self, config: ClientConfig) -> None:
        self._max_requests = config.max_requests
        self._max_bytes = config.max_request_bytes_total
        self.live: dict[int, Request] = {}
        self._bytes = 0
        self._last = 0
        self.closed = False
        """The client takes no more requests."""
        self._deadlines: list[tuple[Nanos, int]] = []
        """Heap of (deadline, request). What is answered stays in it until it surfaces, or until it is
        rebuilt: removing each at once would cost more than all the rest of a request's book-keeping."""

    def admit(self, kind: Kind, payload: bytes, on_done: OnDone, deadline: Nanos) -> Request:
        """Take a caller's request. Raises `ClientClosed`, `InvalidRequest` or `Overloaded`."""
        if self.closed:
            raise ClientClosed("the client was closed")
        size = len(payload)
        live = self.live
        if size > MAX_REQUEST_BYTES:
            raise InvalidRequest(f"the {_NAMES[kind]} has {size} bytes, the limit is {MAX_REQUEST_BYTES}")
        if len(live) >= self._max_requests:
            raise Overloaded(f"this client has {len(live)} requests under way, its limit (max_requests)")
        if self._bytes + size > self._max_bytes:
            raise Overloaded(
                f"this client has {self._bytes} bytes of requests under way: {size} more would exceed its limit "
                f"of {self._max_bytes} (max_request_bytes_total)"
            )
        self._bytes += size
        self._last = id = self._last + 1
        request = live[id] = Request(id, kind, payload, on_done, deadline)
        deadlines = self._deadlines
        heapq.heappush(deadlines, (deadline, id))
        if len(deadlines) > 2 * len(live) + _MIN_STALE_DEADLINES:
            deadlines[:] = [entry for entry in deadlines if entry[1] in live]
            heapq.heapify(deadlines)
        return request

    def next_id(self) -> int:
        """An id that no request and no attempt of this client has had."""
        self._last += 1
        return self._last

    def open(self, kind: Kind) -> Request:
        """A request of the core's own: no deadline, no limit."""
        self._last += 1
        request = self.live[self._last] = Request(self._last, kind, b"", _nobody, NEVER)
        return request

    def forget(self, request: Request) -> None:
        """It has its outcome, or nobody wants it any more."""
        del self.live[request.id]
        self._bytes -= len(request.payload)

    def expired(self, now: Nanos) -> Iterator[Request]:
        """Requests whose time has run out; the caller forgets each."""
        deadlines = self._deadlines
        while deadlines and (deadlines[0][0] <= now or deadlines[0][1] not in self.live):
            request = self.live.get(heapq.heappop(deadlines)[1])
            if request is not None:
                yield request

    def deadline(self) -> Nanos:
        """Not later than when the next request's time runs out; `NEVER` if none has a deadline."""
        return self._deadlines[0][0] if self._deadlines else NEVER
