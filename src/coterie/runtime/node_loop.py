"""The shell around one engine: inputs from sockets, disk and clock go in; one flush a loop turn brings
everything out. All of a loop turn's inputs share one flush, and so one write to disk and to each peer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from coterie.core.errors import CoterieError, SafetyViolation
from coterie.core.messages import Message
from coterie.core.records import StoreBatch
from coterie.core.types import NOBODY, Index, Mark, Member, MemberId, Nanos
from coterie.engine.engine import Engine
from coterie.engine.ports import Event
from coterie.engine.protocol import LogIn, Request, Response, View, Welcome
from coterie.engine.work import Job
from coterie.machine.persistence import SnapshotView
from coterie.runtime.api import Api
from coterie.runtime.client_port import ClientPort
from coterie.runtime.clients import NativeClient
from coterie.runtime.door import Door
from coterie.runtime.log_lines import Lines
from coterie.runtime.peer_port import PeerPort
from coterie.runtime.register import Register
from coterie.runtime.sync_thread import SyncThread
from coterie.runtime.transport import FAREWELL_S, Transport
from coterie.runtime.work_threads import WorkThreads

_now = time.monotonic_ns
NANOS_PER_MILLISECOND = 1_000_000
LONGEST_TIMER_MS = 3_600_000


class NodeLoop:
    """Implements the engine's `Ports`, and every input's way into the engine.

    Whatever the engine raises ends the node (`on_failure`): nothing is sent, stored or answered after it.
    """

    def __init__(
        self,
        *,
        lines: Lines,
        on_failure: Callable[[BaseException], None],
        on_removed: Callable[[str], None],
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        """`on_removed(reason)`: this member was removed from the group, and may end."""
        self._lines = lines
        self._on_failure = on_failure
        self._on_removed = on_removed
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._engine: Engine | None = None
        self._transport: Transport | None = None
        self._sync: SyncThread | None = None
        self._clients: ClientPort | None = None
        self._peers: PeerPort | None = None
        self._register = Register()
        self._work: WorkThreads | None = None
        self._welcome: Welcome | None = None
        self._door: Door | None = None
        self.api: Api | None = None
        """What is served beside the native protocol."""
        self._views: list[tuple[Index, asyncio.Future[SnapshotView]]] = []
        self._flush_due = False
        self._stored_here = False
        """A write was waited for within this very flush: what that let go is to leave."""
        self._members_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: Nanos = 0
        self._deadline: Nanos = 0
        self._alive = False
        self._quiet: asyncio.Future[None] | None = None
        self._handed_over: asyncio.Future[None] | None = None
        self.leaders_seen = 0
        """How often a leader came."""
        self._leader: MemberId = NOBODY

    def begin(
        self,
        *,
        engine: Engine,
        transport: Transport,
        sync: SyncThread,
        work: WorkThreads,
        clients: ClientPort,
        peers: PeerPort,
        register: Register,
        welcome: Welcome,
    ) -> None:
        """The engine is made: from now on inputs are taken."""
        self._engine = engine
        self._work = work
        self._peers = peers
        self._register = register
        self._transport = transport
        self._sync = sync
        self._clients = clients
        self._welcome = welcome
        self._door = Door(engine.host.machine)
        self._alive = True
        self._members_due = True
        self._schedule_flush()

    def end(self) -> None:
        """No input reaches the engine any more."""
        self._alive = False
        self._tell_quiet()
        self._tell_handed_over()
        for _, future in self._views:
            future.cancel()
        self._views.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def engine(self) -> Engine:
        """The engine, once it is made."""
        assert self._engine is not None
        return self._engine

    async def quiet(self) -> None:
        """Wait until no request is under way, every input has been flushed, and nothing is on its way to the store."""
        while self._alive and (self._flush_due or self.engine.behind or self.engine.flushing or not self.engine.idle):
            if self._quiet is None:
                self._quiet = self._loop.create_future()
            await self._quiet

    async def hand_over(self) -> None:
        """If this member leads, let another take over; wait until one has, or nobody can. Whoever calls it bounds
        the wait."""
        if not self._alive or not self.engine.hand_over(_now()):
            return
        self._handed_over = self._loop.create_future()
        self._schedule_flush()
        await self._handed_over

    def _look_handed_over(self) -> None:
        """Nobody leads from here any more, or nobody can be reached to take over."""
        assert self._transport is not None
        if not (self.engine.leads and self._transport.connected):
            self._tell_handed_over()

    def _tell_handed_over(self) -> None:
        if self._handed_over is not None and not self._handed_over.done():
            self._handed_over.set_result(None)
        self._handed_over = None

    def stored_state(self) -> asyncio.Future[SnapshotView]:
        """A view of a state in which everything is that has been applied by now; to be closed."""
        future: asyncio.Future[SnapshotView] = self._loop.create_future()
        self._views.append((self.engine.host.applied, future))
        self._schedule_flush()
        return future

    def _give_views(self) -> None:
        """Those that wait for a view get it when the store has what they want; else the store is flushed."""
        engine = self.engine
        host = engine.host
        if engine.flushing or host.restoring:
            return
        for wanted in list(self._views):
            index, future = wanted
            if not host.durable or host.persisted >= index:
                self._views.remove(wanted)
                if future.cancelled():
                    continue
                try:
                    future.set_result(host.snapshot_view())
                except CoterieError as error:  # whoever asked is told; the node is as well as it was
                    future.set_exception(error)
        if self._views and engine.flush_store():
            self._schedule_flush()

    async def flush_store(self) -> None:
        """Bring what the machine gathered in memory into its store. Whoever calls it bounds the wait."""
        if self.begin_flush():
            await self.quiet()

    def begin_flush(self) -> bool:
        """Begin to bring what the machine gathered in memory into its store; returns whether there was something."""
        if not self._alive or not self.engine.flush_store():
            return False
        self._schedule_flush()
        return True

    # Inputs. Each reads the clock after the input has arrived.

    def receive_from(self, sender: MemberId, messages: list[Message]) -> None:
        """Messages of another member."""
        if not self._alive:
            return
        now = _now()
        needed = False
        assert self._engine is not None
        try:
            receive = self._engine.receive
            for message in messages:
                needed = receive(now, sender, message) or needed
        except Exception as error:
            self._fail(error)
            return
        if needed and not self._flush_due:
            # At once, not at the turn's end: hardly ever has another member something to say in the same turn.
            self._flush()

    def requests_from(self, client: NativeClient, requests: list[Request]) -> None:
        """Requests of one client, as they came by the network."""
        if self._door is None:
            return
        admitted = self._door.admit(client, requests, self.api)
        if admitted:
            self.take(client, admitted)
        if admitted is not requests:
            self._schedule_flush()

    def log_in(self, client: NativeClient, request: LogIn) -> None:
        """See `ClientInput`."""
        if self._door is not None:
            self._door.log_in(client, request, self.api)

    def take(self, client: object, requests: list[Request]) -> None:
        """Requests of somebody in this process."""
        if not self._alive:
            return
        now = _now()
        try:
            self.engine.request(now, client, *requests)
        except Exception as error:
            self._fail(error)
            return
        self._schedule_flush()

    def stored(self, mark: Mark) -> None:
        """Store batches up to `mark` are durable."""
        if not self._alive:
            return
        try:
            needed = self.engine.stored(_now(), mark)
            self._write_out()
        except Exception as error:
            self._fail(error)
            return
        if needed:
            self._schedule_flush()

    def store_failed(self, mark: Mark) -> None:
        """A store batch found no space."""
        self._input(lambda engine, now: engine.store_failed(now, mark))

    def connection_closed(self, peer: MemberId, refused: bool) -> None:
        """The stream to a member closed."""
        self._input(lambda engine, now: engine.connection_closed(now, peer, refused))

    def worked(self, job: Job, problem: Exception | None) -> None:
        """A job of the engine's is done, or failed."""
        self._input(lambda engine, now: engine.worked(now, job, problem))

    def expelled(self, reason: str) -> None:
        """Another member says that this one was removed."""
        if self._alive and not self.engine.leads:
            self._on_removed(reason)

    def stop_requests(self) -> None:
        """Take no more requests."""
        self._input(lambda engine, now: engine.stop(now))

    def welcome(self) -> tuple[Welcome, View]:
        """What to tell a client that has just connected."""
        assert self._welcome is not None
        return self._welcome, self.engine.view()

    def _input(self, what: Callable[[Engine, Nanos], None]) -> None:
        if not self._alive:
            return
        try:
            what(self.engine, _now())
        except Exception as error:
            self._fail(error)
            return
        self._schedule_flush()

    # Ports: called by the engine from within `flush`.

    def send(self, to: MemberId, message: Message) -> None:
        """See `Ports.send`."""
        assert self._transport is not None
        self._transport.send(to, message)

    def store(self, batch: StoreBatch) -> None:
        """See `Ports.store`."""
        assert self._sync is not None
        self._sync.store(batch)

    def leave(self) -> Mark | None:
        """See `Ports.leave`. A write that the disk does not begin at once is left for the end of the flush: begun
        sooner, the kernel's worker and this thread only take turns (4 % fewer puts at 64 in flight)."""
        assert self._transport is not None
        assert self._sync is not None
        prompt = self._sync.prompt
        if not (prompt or self._stored_here):
            return None
        self._transport.flush()
        mark = self._sync.begin() if prompt else None
        self._stored_here = mark is not None
        return mark

    def reply(self, client: Any, *responses: Response) -> None:
        """See `Ports.reply`."""
        client.deliver(*responses)

    def publish(self, view: View) -> None:
        """See `Ports.publish`."""
        assert self._clients is not None
        if view.leader not in (NOBODY, self._leader):
            self.leaders_seen += 1
        self._leader = view.leader
        assert self._sync is not None
        self._sync.may_wait = view.leader != self.engine.identity.member
        self._clients.publish(view)
        self._members_due = True

    def work(self, job: Job) -> None:
        """See `Ports.work`."""
        assert self._work is not None
        self._work.submit(job)

    def removed(self, member: Member) -> None:
        """See `Ports.removed`."""
        if member.id == self.engine.identity.member:
            text = f"{member.name} (id {member.id:016x}) was removed from the cluster"
            self._loop.call_soon(self._on_removed, text)
            return
        self._register.remove(member)
        self._members_due = True
        if self._peers is not None:
            # Its new streams are refused from now on. An open one stays for a while: it may be the leader, that
            # left and hands over; and mostly it learns from the log that it was removed, and ends by itself.
            self._loop.call_later(FAREWELL_S, self._peers.end, member.id)

    def event(self, event: Event) -> None:
        """See `Ports.event`."""
        self._lines.info(event.kind, text=event.text, **event.fields)
        if self._on_event is not None:
            self._on_event(event)

    # The one flush of a loop turn, and the one timer.

    def _schedule_flush(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if not self._alive:
            return
        assert self._sync is not None
        assert self._engine is not None
        engine = self._engine
        try:
            deadline = engine.flush(_now())
            self._write_out()
            # What may leave before the disk is done has left. A quick disk may be done at once.
            while (mark := self._sync.begin()) is not None:
                needed = engine.stored(_now(), mark)
                if needed:
                    deadline = engine.flush(_now())
                self._write_out()
        except Exception as error:
            self._fail(error)
            return
        if engine.behind:
            # What has come meanwhile goes first, other members' messages above all.
            self._loop.call_soon(self._go_on)
        else:
            self._arm(deadline)
        if self._views:
            self._give_views()
        if self._quiet is not None and engine.idle and not (engine.flushing or engine.behind):
            self._tell_quiet()
        if self._handed_over is not None:
            self._look_handed_over()

    def _go_on(self) -> None:
        """Apply more, and look at what is due: no timer is set meanwhile."""
        self._input(lambda engine, now: engine.wake(now))

    def _write_out(self) -> None:
        """Hand to the sockets what is queued for them."""
        assert self._transport is not None
        assert self._clients is not None
        if self._members_due:
            self._follow_membership()
        if self.api is not None:
            self.api.advance()
        self._transport.flush()
        self._clients.flush()

    def _tell_quiet(self) -> None:
        if self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)
        self._quiet = None

    def _follow_membership(self) -> None:
        assert self._transport is not None
        self._members_due = False
        members = self.engine.replica.membership.members
        self._register.members(members)
        self._transport.members([(m.id, m.name, m.peer) for m in members])

    def _arm(self, deadline: Nanos) -> None:
        """Have the timer fire at `deadline` or before: one that fires early is set again, which costs less
        than a new timer at each flush (deadlines mostly move away)."""
        self._deadline = deadline
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        # Rounded up: event loops count in milliseconds, and one that rings early rings twice.
        millis = (deadline - _now() + NANOS_PER_MILLISECOND - 1) // NANOS_PER_MILLISECOND
        delay = min(max(millis, 1), LONGEST_TIMER_MS) / 1000
        self._timer = self._loop.call_later(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if _now() < self._deadline:
            self._arm(self._deadline)
        else:
            self._input(lambda engine, now: engine.wake(now))

    def _fail(self, error: Exception) -> None:
        self.end()
        if isinstance(error, SafetyViolation):
            self._lines.error("safety-violation", problem=error, advice=error.advice)
        else:
            advice = {"advice": error.advice} if isinstance(error, CoterieError) and error.advice else {}
            self._lines.error("engine-failed", problem=f"{type(error).__name__}: {error}", **advice)
        self._on_failure(error)
