"""One member of the simulated cluster: its disk, its clock, and what can be done to it.

Everything that its process does to the world goes through its ports or its files, and it may die in
the middle: just before any such call.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Final

from coterie.core.config import MILLISECOND
from coterie.core.messages import Message
from coterie.core.types import Entry, Member, MemberId, Nanos, Role
from coterie.engine.engine import Engine, EngineConfig
from coterie.engine.protocol import PROTOCOL_VERSION, Hello, Request, Welcome
from coterie.engine.work import Lane
from coterie.machine.stores.memory import MemoryStore
from coterie.sim.chance import exponential, happens, stream
from coterie.sim.clock import Clock
from coterie.sim.disk import SimulatedFiles
from coterie.sim.frail import Death, FrailFiles
from coterie.sim.options import SECOND
from coterie.sim.process import PROTOCOL, STEP_DELAY, Process, Surroundings
from coterie.sim.verdict import Violation
from coterie.storage.directory import DataDirectory
from coterie.storage.errors import LogDamaged
from coterie.storage.files import Files
from coterie.storage.first_entry import cluster_id
from coterie.storage.log_store import LogHeader, LogStore
from coterie.storage.refusal import DirectoryRefused

DIRECTORY: Final = "data"
SEGMENT_BYTES: Final = (4096, 40_000, 1 << 26)
"""Sizes of log segments that a member may have."""
FLUSH_PERMILLE: Final = 10
"""Steps in a thousand at which a member with a store begins to write it, due or not."""
MAX_INBOX: Final = 20_000
"""Inputs that wait for a paused process; messages beyond that are lost, as in full socket buffers."""

Input = Callable[[Nanos], object]


class Node:
    """A member: what outlives its process, and what can be done to it (`faults.Victim`)."""

    def __init__(self, member: Member, first: Sequence[Entry], config: EngineConfig, world: Surroundings) -> None:
        """`first`: what its log begins with."""
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
        habits = stream(options.seed, f"habits {member.id}")
        self._habits = habits
        self.store = MemoryStore() if options.has("snapshot") and habits.getrandbits(1) else None
        """Where its machine keeps its state; None: in memory."""
        self._job_mean = habits.choice((1, 20, 200)) * MILLISECOND
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
        self.header = LogHeader(cluster_id(first[0]), member.id, PROTOCOL)
        self._segment_bytes = self.rng.choice(SEGMENT_BYTES)
        directory = self._open_directory(self._disk)
        LogStore.create(self._disk, directory.log_directory, self.header, first, segment_bytes=self._segment_bytes)
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

    def open_store(self) -> tuple[DataDirectory, LogStore]:
        """Its data directory, and the log there, recovered."""
        directory = self._open_directory(self.frailty)
        store = LogStore.open(self.frailty, directory.log_directory, self.header, segment_bytes=self._segment_bytes)
        return directory, store

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
        if self.store is not None:
            self.store.crash(self._habits.randrange(self.store.unsynced + 1) if power else 0)
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

    def job_latency(self, lane: Lane) -> Nanos:
        """How long a job waits and takes; meanwhile the node goes on."""
        hurried = not self.world.network.faulty
        return 50_000 + exponential(self._habits, MILLISECOND if hurried else self._job_mean)

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
        if self.store is not None and happens(self._habits, FLUSH_PERMILLE):
            engine.flush_store(now)
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
