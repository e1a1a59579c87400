"""One member of the simulated cluster: its disk, its clock, and the life of its process.

The process is the shipped engine over the shipped log store. Everything that it does to the world
goes through its ports or its files, and it may die in the middle: just before any such call.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final, Protocol

from coterie.core.config import MILLISECOND
from coterie.core.messages import Message
from coterie.core.records import StoreBatch
from coterie.core.types import Entry, Mark, Member, MemberId, Nanos, Role
from coterie.engine.engine import Engine, EngineConfig, Identity
from coterie.engine.ports import Event
from coterie.engine.protocol import PROTOCOL_VERSION, Hello, Request, Response, View, Welcome
from coterie.machine.interface import Batch, Rejected, StateMachine
from coterie.machine.kv.machine import KeyValue
from coterie.sim.chance import exponential, happens, stream
from coterie.sim.clock import Clock
from coterie.sim.disk import SimulatedFiles
from coterie.sim.frail import Death, FrailFiles
from coterie.sim.history import History
from coterie.sim.laws import Laws
from coterie.sim.network import Network
from coterie.sim.options import SECOND, Options
from coterie.sim.schedule import Schedule
from coterie.sim.sectors import SECTOR_BYTES
from coterie.sim.shadow import ShadowLog, slot_of
from coterie.sim.verdict import Figures, Violation
from coterie.storage.directory import DataDirectory
from coterie.storage.errors import LogDamaged
from coterie.storage.files import Files
from coterie.storage.first_entry import cluster_id
from coterie.storage.log_store import LogHeader, LogStore, Write
from coterie.storage.refusal import DirectoryRefused

DIRECTORY: Final = "data"
PROTOCOL: Final = "raft"
SEGMENT_BYTES: Final = (4096, 40_000, 1 << 26)
"""Sizes of log segments that a member may have."""
STEP_DELAY: Final = 30_000
"""Mean time from an input's arrival to the step that takes it in, in nanoseconds: inputs gather in batches."""
RETRY_NO_SPACE: Final = 100 * MILLISECOND
MAX_INBOX: Final = 20_000
"""Inputs that wait for a paused process; messages beyond that are lost, as in full socket buffers."""
READ_BYTES: Final = 1 << 20

Input = Callable[[Nanos], object]


class Surroundings(Protocol):
    """What a node needs of the world."""

    options: Options
    schedule: Schedule
    network: Network
    laws: Laws
    history: History
    figures: Figures

    def reply(self, connection: int, response: Response) -> None:
        """Answer a client."""
        ...

    def greeted(self, connection: int) -> None:
        """A client said hello."""
        ...

    def publish(self, member: MemberId, life: int, view: View) -> None:
        """Tell the clients that said hello to this life of the member."""
        ...

    def member_died(self, member: MemberId) -> None:
        """The process ended: its connections close."""
        ...


class ObservedMachine(StateMachine):
    """The key-value machine, with the judges looking over its shoulder."""

    def __init__(self, member: MemberId, laws: Laws, history: History) -> None:
        self._machine = KeyValue()
        self._member = member
        self._laws = laws
        self._history = history
        self.accusation: Violation | None = None
        """What a judge found: the host would take it for the machine's failure if it were raised in `apply`."""

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        """Apply, and show it to the judges."""
        replies = list(self._machine.apply(batch))
        try:
            self._laws.applied(self._member, batch, replies)
            self._history.applied(batch, replies)
        except Violation as violation:
            self.accusation = self.accusation or violation
        return replies

    def query(self, question: bytes) -> bytes | Rejected:
        """As the machine does."""
        return self._machine.query(question)

    def snapshot(self) -> Iterator[bytes]:
        """As the machine does."""
        return self._machine.snapshot()

    def restore(self, chunks: Iterable[bytes]) -> None:
        """As the machine does."""
        self._machine.restore(chunks)

    def digest(self) -> bytes:
        """As the machine does."""
        return self._machine.digest()

    def revision(self) -> int | None:
        """As the machine does."""
        return self._machine.revision()


class Process:
    """One life of a member: engine, log store, and the ports between them and the world."""

    def __init__(self, node: Node, life: int) -> None:
        self._node = node
        self._world = node.world
        self.life = life
        boot, self.store_of_log = node.open_store()
        recovered = self.store_of_log.recovered
        self._world.laws.started(node.id, life, shadow_of(self.store_of_log))
        self.machine = ObservedMachine(node.id, self._world.laws, self._world.history)
        now = node.now()
        self.engine = Engine(
            identity=Identity(
                cluster=node.header.cluster, member=node.id, name=node.member.name, boot=boot, version="simulated"
            ),
            config=node.config,
            protocol=PROTOCOL,
            recovered=recovered,
            reader=self.store_of_log,
            machine=self.machine,
            ports=self,
            rng=stream(self._world.options.seed, f"engine {node.id} {life}"),
            now=now,
        )
        self._queue: list[StoreBatch] = []
        self._writing = False
        self._write: tuple[Write, Mark] | None = None

    # -- ports: each call may be the last ------------------------------------------------------

    def send(self, to: MemberId, message: Message) -> None:
        """See `Ports.send`."""
        self._node.frailty.step()
        self._world.laws.sent(self._node.id, to, message)
        self._world.network.send(self._node.id, to, message)

    def store(self, batch: StoreBatch) -> None:
        """See `Ports.store`."""
        self._node.frailty.step()
        self._world.laws.store(self._node.id, batch)
        self._queue.append(batch)
        if not self._writing:
            self._writing = True
            self._node.later(exponential(self._node.rng, STEP_DELAY), "write", self._begin_write)

    def reply(self, client: object, response: Response) -> None:
        """See `Ports.reply`."""
        self._node.frailty.step()
        assert isinstance(client, int)
        self._world.reply(client, response)

    def publish(self, view: View) -> None:
        """See `Ports.publish`."""
        self._node.frailty.step()
        self._world.publish(self._node.id, self.life, view)

    def event(self, event: Event) -> None:
        """See `Ports.event`."""

    # -- the disk: one write at a time, as the sync thread does it ------------------------------

    def _begin_write(self) -> None:
        batches, self._queue = self._queue, []
        self._write = (self.store_of_log.prepare(batches), batches[-1].mark)
        self._node.later(self._node.sync_latency(), "synced", self.finish_write)

    def finish_write(self) -> None:
        """The write under way, if there is one, comes to its end."""
        if self._write is None:
            return
        prepared, mark = self._write
        if self._node.dies_in_write and prepared.size > SECTOR_BYTES:
            self._node.frailty.arm(2)
        try:
            prepared.perform()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise Death from error  # what the runtime does: nobody knows what is on the disk now
            self._node.take(lambda now: self.engine.store_failed(now, mark))
            self._node.later(RETRY_NO_SPACE, "write again", self.finish_write)
            return
        self._write = None
        self._world.laws.stored(self._node.id, mark)
        self._node.take(lambda now: self.engine.stored(now, mark))
        self._writing = bool(self._queue)
        if self._writing:
            self._begin_write()

    def die_writing(self) -> None:
        """Do what the disk gets done of the write under way before the process ends."""
        if self._write is not None:
            with suppress(Death, OSError):
                self._write[0].perform()


def shadow_of(store: LogStore) -> ShadowLog:
    """What a log store found, entry by entry."""
    log = ShadowLog()
    recovered = store.recovered
    log.hard_state = recovered.hard_state
    log.base, log.base_epoch = recovered.base.index, recovered.base.epoch
    while log.last_index < recovered.last_index:
        for entry in store.entries(log.last_index + 1, recovered.last_index, READ_BYTES):
            log.put(entry.index, slot_of(entry))
    return log


class Node:
    """A member: what outlives its process, and what can be done to it (`faults.Victim`)."""

    def __init__(self, member: Member, first: Entry, config: EngineConfig, world: Surroundings) -> None:
        self.id = member.id
        self.member = member
        self.config = config
        self.world = world
        options = world.options
        self.rng = stream(options.seed, f"node {member.id}")
        drift = self.rng.randrange(-100_000, 100_001) if options.has("clock") else self.rng.randrange(-50, 51)
        self._clock = Clock(self.rng.randrange(1, 10**6) * SECOND, drift)
        self._disk = SimulatedFiles()
        self.frailty = FrailFiles(self._disk)
        self.life = 0
        self._process: Process | None = None
        self._inbox: list[Input] = []
        self._stepping = False
        self._paused_until: Nanos = 0
        self._wake_at: Nanos = 0
        self._sync_mean = self.rng.choice((200_000, 1_000_000, 5_000_000))
        self._slow_until: Nanos = 0
        self._slow_latency: Nanos = 0
        self._spikes = options.has("slow-disk")
        self._buried = False
        self._rots = False
        self.dies_in_write = False
        self.damaged = False
        """Its log was found damaged: it refuses to start, for ever."""
        self.header = LogHeader(cluster_id(first), member.id, PROTOCOL)
        self._segment_bytes = self.rng.choice(SEGMENT_BYTES)
        directory = self._open_directory(self._disk)
        LogStore.create(self._disk, directory.log_directory, self.header, (first,), segment_bytes=self._segment_bytes)
        directory.mark_started(self.header.cluster)
        directory.close()

    # -- its state, for the world ---------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether its process lives."""
        return self._process is not None

    @property
    def engine(self) -> Engine | None:
        """The living process's engine."""
        return self._process.engine if self._process is not None else None

    @property
    def living(self) -> Engine:
        """The engine of a member that is known to be up."""
        assert self._process is not None
        return self._process.engine

    @property
    def role(self) -> Role:
        """Its role; FOLLOWER while it is down."""
        return self._process.engine.replica.role if self._process is not None else Role.FOLLOWER

    def now(self) -> Nanos:
        """Its own clock."""
        return self._clock.read(self.world.schedule.now)

    # -- life and death -------------------------------------------------------------------------

    def _open_directory(self, files: Files) -> DataDirectory:
        return DataDirectory.open(files, DIRECTORY, self.member.name, PROTOCOL, mint=lambda: self.id)

    def open_store(self) -> tuple[int, LogStore]:
        """The number of this boot, and the log on its disk, recovered."""
        directory = self._open_directory(self.frailty)
        store = LogStore.open(self.frailty, directory.log_directory, self.header, segment_bytes=self._segment_bytes)
        return directory.boot, store

    def start(self) -> None:
        """Start the process on what the disk holds."""
        if self._process is not None or self._buried:
            return
        self.life += 1
        try:
            self._process = Process(self, self.life)
        except Death:
            self._end(power=happens(self.rng, 750))
            return
        except LogDamaged as damage:
            if not self._rots:
                raise Violation("torn-start", f"{self.id} refuses to start on a sound disk: {damage}") from damage
            self.damaged = self._buried = True
            self._end(power=False)
            return
        except (OSError, DirectoryRefused) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(cause, OSError) or cause.errno not in (errno.ENOSPC, errno.EIO):
                raise
            self._end(power=False)
            return
        self._wake_at = 0
        self._schedule_step()

    def crash(self, *, power: bool) -> None:
        """End the process now; in the middle of a write, if one is under way."""
        if self._process is not None:
            self.frailty.arm(self.rng.choice((1, 2, 2, 2, 3, 4)))
            self._process.die_writing()
            self._end(power=power)

    def crash_in_write(self) -> None:
        """See `faults.Victim`."""
        self.dies_in_write = True

    def crash_after(self, calls: int) -> None:
        """End the process just before it makes this many more calls of its ports and files."""
        self.frailty.arm(calls)

    def _end(self, *, power: bool) -> None:
        """The process is gone, and with it all that it knew; the disk keeps what was synced."""
        self._process = None
        self._inbox.clear()
        self._stepping = False
        self._paused_until = 0
        self.frailty.disarm()
        self.dies_in_write = False
        self._disk.crash(self.rng, power=power)
        self.world.figures.crashes += 1
        self.world.member_died(self.id)
        scale = self.rng.choice((30, 100, 300, 1000, 2500))
        delay = self.rng.randrange(10, scale * 2) * MILLISECOND
        self.world.schedule.after(delay, "start", self.start)

    def bury(self) -> None:
        """End the process for ever."""
        self._buried = True
        self.crash(power=False)

    def recover(self) -> None:
        """End everything that ails it, and start it if it is down."""
        self.frailty.disarm()
        self.dies_in_write = False
        self._empty_disk()
        self._disk.errors.failing_syncs = 0
        self._paused_until = min(self._paused_until, self.world.schedule.now)
        self._slow_until = 0
        self._spikes = False
        self.start()
        if self._process is not None:
            self.later(STEP_DELAY, "synced", self._process.finish_write)
            self._stepping = False  # a step may be waiting for the end of a pause that is over now
            self._schedule_step()

    # -- faults -----------------------------------------------------------------------------------

    def pause(self, duration: Nanos) -> None:
        """No step before then; the disk goes on with what it was given."""
        self._paused_until = max(self._paused_until, self.world.schedule.now + duration)

    def slow_disk(self, until: Nanos, latency: Nanos) -> None:
        """See `faults.Victim`."""
        self._slow_until, self._slow_latency = until, latency

    def fill_disk(self, until: Nanos) -> None:
        """See `faults.Victim`. Some file systems need space even to overwrite."""
        self._disk.errors.full = True
        self.frailty.full = happens(self.rng, 500)
        self.world.schedule.at(until, "space", self._empty_disk)

    def _empty_disk(self) -> None:
        self.frailty.full = self._disk.errors.full = False

    def fail_sync(self) -> None:
        """See `faults.Victim`."""
        self._disk.errors.failing_syncs = 1
        self._disk.errors.reads_old = happens(self.rng, 300)

    def rot(self) -> None:
        """See `faults.Victim`."""
        self._rots = True
        self.crash(power=True)
        # One bit of what the log holds, not of the zeros that it was extended by.
        durable = self._disk.durable_files()
        path = self.rng.choice([p for p in durable.paths() if p.startswith(f"{DIRECTORY}/log/")])
        used = len(self._disk.image(path).rstrip(b"\0"))
        if used:
            self._disk.flip_bit(path, self.rng.randrange(used * 8))

    def sync_latency(self) -> Nanos:
        """How long the next write takes, sync included."""
        if self.world.schedule.now < self._slow_until:
            return self._slow_latency
        latency = 50_000 + exponential(self.rng, self._sync_mean)
        return latency * 30 if self._spikes and happens(self.rng, 20) else latency

    # -- inputs -----------------------------------------------------------------------------------

    def receive(self, source: MemberId, message: Message) -> None:
        """A member's message arrives."""
        if (process := self._process) is not None:
            self.take(lambda now: process.engine.receive(now, source, message))

    def peer_closed(self, peer: MemberId, refused: bool) -> None:
        """The connection to a peer closed."""
        if (process := self._process) is not None:
            self.take(lambda now: process.engine.connection_closed(now, peer, refused))

    def request(self, life: int, connection: int, request: Request) -> None:
        """A client's request arrives at the process that it was sent to."""
        if (process := self._process) is None or process.life != life:
            return
        if isinstance(request, Hello):
            self.take(lambda now: self._greet(process, connection))
        else:
            self.take(lambda now: process.engine.request(now, connection, request))

    def _greet(self, process: Process, connection: int) -> None:
        """What the port for clients does with the first frame of a connection."""
        self.world.greeted(connection)
        machine = "coterie.machine.kv:KeyValue"
        welcome = Welcome(PROTOCOL_VERSION, self.header.cluster, self.id, self.member.name, machine)
        self.world.reply(connection, welcome)
        self.world.reply(connection, process.engine.view())

    def take(self, give: Input) -> None:
        """Keep an input for the next step."""
        if len(self._inbox) < MAX_INBOX:
            self._inbox.append(give)
        self._schedule_step()

    # -- steps ------------------------------------------------------------------------------------

    def later(self, delay: Nanos, label: str, action: Callable[[], None]) -> None:
        """Run this after a while, if the same process is still alive; it may die in it."""
        life = self.life

        def run() -> None:
            if self._process is None or self.life != life:
                return
            try:
                action()
            except Death:
                self._end(power=happens(self.rng, 750))

        self.world.schedule.after(delay, f"{label} {self.id}", run)

    def _schedule_step(self) -> None:
        if not self._stepping:
            self._stepping = True
            wait = max(0, self._paused_until - self.world.schedule.now)
            self.later(wait + exponential(self.rng, STEP_DELAY), "step", self._step)

    def _step(self) -> None:
        """Give the inputs that have gathered, flush once, look at what came of it."""
        self._stepping = False
        if self._paused_until > self.world.schedule.now:
            self._schedule_step()
            return
        assert self._process is not None
        engine, now = self._process.engine, self.now()
        inputs, self._inbox = self._inbox, []
        for give in inputs:
            give(now)
        deadline = engine.flush(now)
        replica = engine.replica
        self.world.laws.observe(self.id, replica.epoch, replica.commit, replica.role)
        if self._process.machine.accusation is not None:
            raise self._process.machine.accusation
        self._schedule_wake(deadline, now)

    def _schedule_wake(self, deadline: Nanos, now: Nanos) -> None:
        if deadline <= now:
            self.take_wake()
            return
        when = self._clock.when(deadline)
        if self._wake_at <= self.world.schedule.now or when < self._wake_at:
            self._wake_at = when
            self.later(when - self.world.schedule.now, "wake", self.take_wake)

    def take_wake(self) -> None:
        """A deadline has come, or may have: to be woken too early does no harm."""
        if (process := self._process) is not None:
            self.take(process.engine.wake)
