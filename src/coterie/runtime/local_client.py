"""Requests from within the node's own process: no socket, the same engine."""

from __future__ import annotations

import asyncio

import msgspec

from coterie.core.errors import Effect
from coterie.engine.admin_requests import AdminRequest
from coterie.engine.protocol import Answer, Failure, Query, ReadMode, Response, Submit
from coterie.runtime.errors import NodeStopped, RequestFailed
from coterie.runtime.node_loop import NodeLoop


class LocalClient:
    """The embedding program as a client: one future a request."""

    def __init__(self, shell: NodeLoop) -> None:
        self._shell = shell
        self._loop = asyncio.get_running_loop()
        self._next = 1
        self._waiting: dict[int, asyncio.Future[Answer]] = {}

    def submit(self, command: bytes) -> asyncio.Future[Answer]:
        """Run a command. The future may fail with `RequestFailed` or `NodeStopped`."""
        return self._send(Submit(self._next, 0, 0, 0, command))

    def query(self, question: bytes, mode: ReadMode, at_least: int) -> asyncio.Future[Answer]:
        """Ask a question. The future may fail with `RequestFailed` or `NodeStopped`."""
        return self._send(Query(self._next, mode, at_least, question))

    async def administer(self, request: AdminRequest) -> Answer | Failure:
        """Ask for what administrators ask for; a failure is an answer like another. Raises `NodeStopped`."""
        try:
            return await self._send(msgspec.structs.replace(request, id=self._next))
        except RequestFailed as failed:
            return failed.failure

    def _send(self, request: Submit | Query | AdminRequest) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting[self._next] = future
        self._next += 1
        self._shell.take(self, [request])
        return future

    def deliver(self, response: Response) -> None:
        """The engine answers."""
        if isinstance(response, Answer | Failure):
            future = self._waiting.pop(response.id, None)
            if future is None or future.done():
                return
            if isinstance(response, Answer):
                future.set_result(response)
            else:
                future.set_exception(RequestFailed(response))

    def end(self) -> None:
        """The node has ended: nothing more will be answered."""
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(NodeStopped("the node ended before it answered", effect=Effect.UNKNOWN))
