"""Calls of several steps, written down one after the other: a generator that yields what it waits for.

Nothing here waits in a thread or a task: a step's answer resumes the generator. When the caller gives up, `Cancelled`
is raised where the generator stands, and what it still yields then (to clean up) is carried out.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

import msgspec

from coterie.core.types import Nanos
from coterie.engine.protocol import Answer, Failure
from coterie.etcd.backend import Backend
from coterie.etcd.calls import Caller, Stream
from coterie.etcd.status import Code, Refusal, failed
from coterie.etcd.watching import Hub, Watcher
from coterie.etcd.wire import kv
from coterie.machine.kv.protocol import Command, KeepAlive, Question, Reply, encoder, reply_decoder


class Run(msgspec.Struct, frozen=True):
    """Run a command: gives the machine's `Reply`, or raises `Refusal`."""

    command: Command


class Ask(msgspec.Struct, frozen=True):
    """Ask a question, linearizably: gives the machine's `Reply`, or raises `Refusal`."""

    question: Question


class Deletion(msgspec.Struct, frozen=True):
    """Wait until the key has been deleted after this revision; gives None."""

    key: bytes
    revision: int


class Keep(msgspec.Struct, frozen=True):
    """Keep this lease alive from now on for as long as the call lasts: its whole life in seconds. Gives None."""

    lease: int
    ttl: int


Step: TypeAlias = Run | Ask | Deletion | Keep
Steps: TypeAlias = Generator[Step, Any, bytes]
"""Each step gives what its class says; what is returned is the answer to the call, header included."""
SECOND: Nanos = 1_000_000_000
_DELETIONS = 1
"""A watcher's filter: no puts."""


class Cancelled(Exception):
    """The caller has gone, or gave up."""


class Flow:
    """One such call on its way."""

    def __init__(self, backend: Backend, hub: Hub, stream: Stream, caller: Caller, steps: Steps) -> None:
        self._backend = backend
        self._hub = hub
        self._stream = stream
        self._caller = caller
        self._steps = steps
        self._watcher: Watcher | None = None
        self._cancelled = False
        self._told = False
        self.over = False
        self.lease = 0
        """Kept alive for as long as the call lasts, every `keep_every` nanoseconds."""
        self.keep_every: Nanos = 0
        self.kept_at: Nanos = 0

    def begin(self) -> Flow:
        """Go as far as the first wait."""
        self._go(None)
        return self

    def _go(self, reply: Reply | None, error: BaseException | None = None) -> None:
        if self._cancelled and not self._told:
            self._told = True
            error = Cancelled()
        try:
            step = self._steps.send(reply) if error is None else self._steps.throw(error)
        except StopIteration as end:
            self.over = True
            self._stream.respond(end.value)
        except Refusal as refusal:
            # The caller's own library would have made these calls, and etcd passes on what that one says.
            self.over = True
            self._stream.finish(Code.UNKNOWN, refusal.text)
        except Cancelled:
            self.over = True
            self._stream.finish(Code.CANCELLED, "context canceled")
        else:
            self._take(step)

    def _take(self, step: Step) -> None:
        if isinstance(step, Run):
            try:
                self._backend.submit(self._caller, encoder.encode(step.command), self._ran)
            except Refusal as refusal:
                self._go(None, refusal)
        elif isinstance(step, Ask):
            question = step.question
            self._backend.requests.fence(lambda answer: self._may_ask(answer, question))
        elif isinstance(step, Keep):
            self.lease, self.keep_every = step.lease, step.ttl * SECOND // 3
            self._go(None)
        else:
            self._watcher = Watcher(self, 0, step.key, b"", step.revision + 1, previous=False, filters=_DELETIONS)
            self._hub.add(self._watcher)

    def _ran(self, answer: Answer | Failure) -> None:
        if isinstance(answer, Failure):
            self._go(None, failed(answer))
        else:
            self._go(reply_decoder.decode(answer.body))

    def _may_ask(self, answer: Answer | Failure, question: Question) -> None:
        try:
            if isinstance(answer, Failure):
                raise failed(answer)
            found = self._backend.ask(question, self._backend.principal(self._caller))
        except Refusal as refusal:
            self._go(None, refusal)
        else:
            self._go(found)

    def keep(self) -> None:
        """Keep its lease alive, in its caller's name."""
        try:
            self._backend.submit(self._caller, encoder.encode(KeepAlive(self.lease)), _ignore)
        except Refusal:
            pass  # the caller is known no more: the next step says so

    # As the one who waits for a deletion

    def tell(self, watcher: Watcher, events: list[kv.Event], encoded: bytes, revision: int) -> bool:
        """See `Listener`: the key was deleted."""
        self._stop_watching()
        self._go(None)
        return True

    def compacted(self, watcher: Watcher, revision: int) -> None:
        """See `Listener`: whether it was deleted is no longer in the history; the next step looks again."""
        self._watcher = None
        self._go(None)

    def _stop_watching(self) -> None:
        if self._watcher is not None:
            self._hub.remove(self._watcher)
            self._watcher = None

    # From the caller

    def received(self, message: bytes) -> bool:
        """See `Handler`: there is one message only."""
        return True

    def ended(self) -> None:
        """See `Handler`."""

    def cancelled(self) -> None:
        """See `Handler`: who waits for an answer is told when it comes."""
        if self.over or self._cancelled:
            return
        self._cancelled = True
        if self._watcher is not None:
            self._stop_watching()
            self._go(None)

    def drained(self) -> None:
        """See `Handler`."""


class Flows:
    """Those on their way, and the leases that they keep alive."""

    def __init__(self, backend: Backend, hub: Hub) -> None:
        self._backend = backend
        self._hub = hub
        self._flows: dict[Flow, None] = {}

    def begin(self, stream: Stream, caller: Caller, steps: Steps) -> Flow:
        """A new one, as far as its first wait."""
        flow = Flow(self._backend, self._hub, stream, caller, steps)
        flow.begin()
        if not flow.over:
            self._flows[flow] = None
        return flow

    def wake(self, now: Nanos) -> Nanos | None:
        """Keep alive what is due; returns when to be woken next, None: there is nothing to keep."""
        due: list[Nanos] = []
        for flow in list(self._flows):
            if flow.over:
                del self._flows[flow]
            elif flow.lease:
                if not flow.kept_at or now >= flow.kept_at + flow.keep_every:
                    if flow.kept_at:
                        flow.keep()
                    flow.kept_at = now
                due.append(flow.kept_at + flow.keep_every)
        return min(due, default=None)


def _ignore(_: Answer | Failure) -> None:
    """Whether the lease still lives shows in what hangs on it."""
