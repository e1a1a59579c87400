"""`SyncNode`: a node for programs without an event loop. It runs in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

from coterie.core.errors import Effect
from coterie.engine.protocol import NodeStatus, ReadMode
from coterie.machine.interface import StateMachine
from coterie.runtime.configuration import NodeConfiguration
from coterie.runtime.errors import NodeStopped
from coterie.runtime.event_loop import new_event_loop
from coterie.runtime.node import Node

T = TypeVar("T")


class SyncNode:
    """As `Node`, with methods that wait. May be used from many threads; the machine runs in the node's own.

    ::

        with coterie.SyncNode(config, machine=Bank()) as node:
            reply = node.submit(b"...")
    """

    def __init__(self, config: NodeConfiguration, *, machine: StateMachine | None = None) -> None:
        """See `Node`."""
        self.config = config
        self._machine = machine
        self._node: Node | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> SyncNode:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """As `Node.start`. May be called once."""
        if self._thread is not None:
            raise NodeStopped("a node is started once", effect=Effect.NO, advice="make a new one")
        loop = self._loop = new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(loop,), name="coterie-node", daemon=True)
        self._thread.start()
        try:
            self._call(self._begin())
        except BaseException:
            self._end_thread()
            raise

    async def _begin(self) -> None:
        self._node = Node(self.config, machine=self._machine)
        await self._node.start()

    def stop(self) -> None:
        """As `Node.stop`; does nothing if it is not running."""
        if self._loop is None or self._loop.is_closed():
            return
        if self._node is not None:
            self._call(self._node.stop())
        self._end_thread()

    def submit(self, command: bytes, *, timeout: float | None = None) -> bytes:
        """As `Node.submit`; `timeout` in seconds: then `TimeoutError`, effect unknown."""
        return self._call(self._running().submit(command), timeout)

    def query(
        self,
        question: bytes,
        *,
        mode: ReadMode = ReadMode.LINEARIZABLE,
        at_least: int = 0,
        timeout: float | None = None,
    ) -> bytes:
        """As `Node.query`; `timeout` in seconds."""
        return self._call(self._running().query(question, mode=mode, at_least=at_least), timeout)

    def status(self) -> NodeStatus:
        """As `Node.status`."""
        return self._call(self._status(self._running()))

    async def _status(self, node: Node) -> NodeStatus:
        return node.status()

    def _running(self) -> Node:
        if self._node is None or self._loop is None or self._loop.is_closed():
            raise NodeStopped("the node is not running", effect=Effect.NO, advice="start it, or ask another member")
        return self._node

    def _call(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    def _end_thread(self) -> None:
        assert self._loop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
