"""A watch under way, for tests."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import grpc
from tests.clients.calls import Calls

from coterie.etcd.wire import kv, rpc

PATH = "/etcdserverpb.Watch/Watch"
TIMEOUT_S = 10.0


class Watching:
    """One stream; it begins with a watch of everything from a revision on, unless another first request is given."""

    def __init__(self, server: Calls, start: int = 0, first: rpc.WatchCreateRequest | None = None) -> None:
        self._requests: queue.SimpleQueue[rpc.WatchRequest | None] = queue.SimpleQueue()
        create = first or rpc.WatchCreateRequest(
            key=b"\0", range_end=b"\0", start_revision=start, prev_kv=True, progress_notify=False
        )
        self.send(rpc.WatchRequest(create_request=create))
        self.answers: Any = server.stream(PATH, iter(self._requests.get, None))
        self.created: rpc.WatchResponse = next(self.answers)

    def send(self, request: rpc.WatchRequest) -> None:
        self._requests.put(request)

    def half_close(self) -> None:
        self._requests.put(None)

    def close(self) -> None:
        self.answers.cancel()
        self._requests.put(None)

    def __iter__(self) -> Iterator[rpc.WatchResponse]:
        return self

    def __next__(self) -> rpc.WatchResponse:
        answer: rpc.WatchResponse = next(self.answers)
        return answer

    def events_until(self, revision: int) -> list[kv.Event]:
        """All events up to this revision: until the watch says that it has got so far."""
        events: list[kv.Event] = []
        if self.created.canceled:
            return events
        self.send(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))
        try:
            for answer in self:
                events += answer.events
                done = answer.header.revision >= revision and not answer.events and not answer.created
                if answer.canceled or done or (events and events[-1].kv.mod_revision >= revision):
                    break
        except grpc.RpcError as error:
            raise AssertionError(f"the watch ended: {error}") from error
        return events
