"""The machine that a member runs on: disk, store, clock, and what goes wrong with them."""

from __future__ import annotations

import random
from typing import Final

from coterie.core.config import MILLISECOND
from coterie.core.types import MemberId, Nanos
from coterie.engine.work import Lane
from coterie.machine.stores.memory import MemoryStore
from coterie.sim import decay
from coterie.sim.chance import exponential, happens, stream
from coterie.sim.clock import Clock
from coterie.sim.disk import SimulatedFiles
from coterie.sim.frail import FrailFiles
from coterie.sim.options import SECOND, Options
from coterie.sim.schedule import Schedule
from coterie.sim.terrain import Terrain
from coterie.storage.zeros import ZERO_CHUNK_BYTES

DIRECTORY: Final = "data"
LOG: Final = f"{DIRECTORY}/log"
SEGMENT_BYTES: Final = (4096, 40_000, 1 << 26)
"""Sizes of log segments that a member may have."""
LEAST_SYNC: Final = 50_000
LONG_JOB: Final = 20
LONG_JOBS_PERMILLE: Final = 50
"""Jobs in a thousand that take `LONG_JOB` times as long: a large state, or others that use the disk."""
LONGEST_JOB: Final = 2 * SECOND
"""One that is under way when the world heals must not take up the time in which all has to be well."""


class Hardware:
    """Outlives every process on it. `frailty`: the files, as a process sees them."""

    def __init__(self, options: Options, schedule: Schedule, member: MemberId, terrain: Terrain | None = None) -> None:
        self._schedule = schedule
        self._member = member
        self._terrain = terrain
        rng = self._rng = stream(options.seed, f"node {member}")
        self._drift = options.drift_ppm if options.has("clock") else 50
        drift = rng.randrange(-self._drift, self._drift + 1)
        self.clock = Clock(rng.randrange(1, 10**6) * SECOND, drift)
        self._torn_sectors = options.has("torn-sector")
        self.disk = SimulatedFiles(torn_sectors=self._torn_sectors)
        self.frailty = FrailFiles(self.disk)
        self.frailty.past_cache = bool(stream(options.seed, f"past the cache {member}").getrandbits(1))
        habits = self._habits = stream(options.seed, f"habits {member}")
        self.store = MemoryStore() if options.has("snapshot") and habits.getrandbits(1) else None
        """Where the machine keeps its state; None: in memory."""
        self._job_mean = habits.choice((1, 20, 200)) * MILLISECOND
        self._sync_mean = rng.choice((200_000, 1_000_000, 5_000_000))
        self.segment_bytes = rng.choice(SEGMENT_BYTES)
        self.zero_bytes = habits.choice((2000, ZERO_CHUNK_BYTES))
        """A log segment is lengthened by so many zeros at a time."""
        self._slow_until: Nanos = 0
        self._slow_latency: Nanos = 0
        self._spikes = options.has("slow-disk")
        self._backup: tuple[SimulatedFiles, MemoryStore | None] | None = None
        self._hurried = False
        self._steady = False

    def now(self) -> Nanos:
        """What its clock shows."""
        return self.clock.read(self._schedule.now)

    # -- how long things take -------------------------------------------------------------------

    def slow_disk(self, until: Nanos, latency: Nanos) -> None:
        """Every sync takes `latency` until then."""
        self._slow_until, self._slow_latency = until, latency

    def sync_latency(self) -> Nanos:
        """How long the next write takes, sync included."""
        if self._schedule.now < self._slow_until:
            return self._slow_latency
        if self._terrain is not None:
            return self._terrain.sync(self._member)
        if self._steady:
            return MILLISECOND
        latency = LEAST_SYNC + exponential(self._rng, self._sync_mean)
        return latency * 30 if self._spikes and happens(self._rng, 20) else latency

    @property
    def usual_sync(self) -> Nanos:
        """How long a write takes on average where nothing ails the disk."""
        return MILLISECOND if self._steady else LEAST_SYNC + self._sync_mean

    def delay(self, rng: random.Random, mean: Nanos) -> Nanos:
        """How long the process takes for something small."""
        return mean if self._steady else exponential(rng, mean)

    def job_latency(self, lane: Lane) -> Nanos:
        """How long a job waits and takes; meanwhile the node goes on."""
        if self._hurried:
            return 50_000 + exponential(self._habits, MILLISECOND)
        latency = 50_000 + exponential(self._habits, self._job_mean)
        return min(latency * LONG_JOB, LONGEST_JOB) if happens(self._habits, LONG_JOBS_PERMILLE) else latency

    # -- what goes wrong ------------------------------------------------------------------------

    def crash(self, *, power: bool) -> None:
        """The process is gone; the disk keeps what was synced, and the store a prefix of its batches."""
        self.frailty.disarm()
        self.disk.crash(self._rng, power=power)
        if self.store is not None:
            self.store.crash(self._habits.randrange(self.store.unsynced + 1) if power else 0)

    def fill_disk(self, until: Nanos) -> None:
        """No space until then. Some file systems need space even to overwrite."""
        self.disk.errors.full = True
        self.frailty.full = happens(self._rng, 500)
        self._schedule.at(until, "space", self._empty_disk)

    def _empty_disk(self) -> None:
        self.frailty.full = self.disk.errors.full = False

    def fail_sync(self) -> None:
        """The next sync fails, and its pages never reach the disk."""
        self.disk.errors.failing_syncs = 1
        self.disk.errors.reads_old = happens(self._rng, 300)

    def fail_reads(self, count: int) -> None:
        """The next reads fail: what is there cannot be read, for now."""
        self.disk.errors.failing_reads = count

    def change_clock_rate(self, rng: random.Random) -> None:
        """The clock goes on faster or slower, within what it may."""
        self.clock.change_rate(self._schedule.now, rng.randrange(-self._drift, self._drift + 1))

    def stop_clock(self, duration: Nanos, *, catches_up: bool) -> None:
        """The clock stands still for so long."""
        now = self._schedule.now
        self.clock.stand_still(now, now + duration, catches_up=catches_up)

    def rot(self) -> None:
        """One bit of what the log holds turns; or of a snapshot."""
        snapshots = [path for path in self.disk.durable_files().paths() if path.endswith(".snap")]
        if snapshots and happens(self._habits, 300):
            decay.flip_in(self.disk, self._habits.choice(snapshots), self._rng)
        else:
            decay.flip(self.disk, LOG, self._rng)

    def misdirect(self) -> None:
        """A write of the log went to another place of it."""
        decay.misdirect(self.disk, LOG, self._rng)

    def lose_name(self) -> None:
        """A segment of the log has lost its name."""
        decay.lose_name(self.disk, LOG, self._rng)

    def back_up(self) -> None:
        """Somebody copies the disk as it is now."""
        store: MemoryStore | None = None
        if self.store is not None:
            store = MemoryStore()
            store.write(list(self.store.view().range(b"", b"\xff")))
            store.sync()
        self._backup = self.disk.durable_files(), store

    def restore(self) -> None:
        """Somebody puts the copy in the place of the disk."""
        assert self._backup is not None
        self.disk, self.store = self._backup
        self.frailty.put_in(self.disk)

    def wipe(self) -> None:
        """Somebody puts an empty disk in."""
        self.disk = SimulatedFiles(torn_sectors=self._torn_sectors)
        self.store = MemoryStore() if self.store is not None else None
        self.frailty.put_in(self.disk)

    def recover(self, *, steady: bool) -> None:
        """End everything that ails it. `steady`: each thing takes as long as it takes elsewhere."""
        self._steady = steady
        self.clock.go_on(self._schedule.now)
        self.frailty.disarm()
        self._empty_disk()
        self.disk.errors.failing_syncs = self.disk.errors.failing_reads = 0
        self._slow_until = 0
        self._spikes = False
        self._hurried = True
