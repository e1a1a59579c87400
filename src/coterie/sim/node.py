"""One member of the simulated cluster: its directory, its processes one after the other, and what can be done to it.

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
from coterie.engine.config import EngineConfig
from coterie.engine.engine import Engine
from coterie.engine.protocol import PROTOCOL_VERSION, Hello, Request, Welcome
from coterie.engine.snapshots import NoState
from coterie.sim.admission import Papers
from coterie.sim.ambush import Moment
from coterie.sim.api.wire import TellHost
from coterie.sim.chance import happens, stream
from coterie.sim.frail import Death
from coterie.sim.hardware import Hardware
from coterie.sim.member_directory import MemberDirectory
from coterie.sim.network import Sender
from coterie.sim.process import STEP_DELAY, Process, Surroundings
from coterie.sim.verdict import Violation
from coterie.sim.whims import Quirk
from coterie.storage.errors import PromisesLost, SnapshotDamaged
from coterie.storage.log_store import LogHeader
from coterie.storage.refusal import DirectoryRefused

FLUSH_PERMILLE: Final = 10
"""Steps in a thousand at which a member with a store begins to write it, due or not."""
CRASHED_STARTS_PERMILLE: Final = 100
"""Starts in a thousand in which the process may die, with crashes."""
MAX_INBOX: Final = 20_000
"""Inputs that wait for a paused process; messages beyond that are lost, as in full socket buffers."""

Input = Callable[[Nanos], object]


def _unreadable(error: BaseException | None) -> bool:
    """Whether all this came of a read that failed."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error is not None and error.errno == errno.EIO


class Node:
    """A member: what outlives its process, and what can be done to it (`faults.Victim`)."""

    def __init__(
        self, member: Member, cluster: int, config: EngineConfig, world: Surroundings, first: Sequence[Entry]
    ) -> None:
        """`first`: what an initial member's log begins with; empty for one that joins."""
        self.id = member.id
        self._labels: dict[str, str] = {}
        """Of events, as the schedule has them."""
        self.member = member
        self.whims = world.whims_of(member.id)
        self.config = self.whims.limit(config)
        self.world = world
        self.hardware = Hardware(world.options, world.schedule, member.id, world.terrain)
        if self.whims.has(Quirk.TINY_SEGMENTS):
            self.hardware.segment_bytes = 1
        self.frailty = self.hardware.frailty
        self.papers = Papers()
        self.rng = stream(world.options.seed, f"life {member.id}")
        self._habits = stream(world.options.seed, f"flushes {member.id}")
        self._starts = stream(world.options.seed, f"starts {member.id}")
        self.life = 0
        self._process: Process | None = None
        self._inbox: list[Input] = []
        self._stepping = False
        self._paused_until: Nanos = 0
        self._wake_at: Nanos = 0
        self.gone = False
        """It will not start again."""
        self._was = Role.FOLLOWER
        """Its role after the newest step."""
        self.copied_at: int | None = None
        """See `Sender.copied_at`."""
        self._backup_boot = 0
        self._boot = 0
        self.dies_in_write = False
        self.damaged = False
        """Its disk was found damaged, so that it may have forgotten a promise: it refuses to start, for ever."""
        header = LogHeader(cluster, member.id, world.options.protocol)
        self.directory = MemberDirectory(member, header, self.hardware, stream(world.options.seed, f"mint {member.id}"))
        self._claimed = bool(first)
        if first:
            self.directory.make(first)
        else:
            self.directory.draw_claim()

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

    @property
    def sound(self) -> bool:
        """Its disk is neither damaged, nor another's, nor of another time; and it has joined."""
        return self.copied_at is None and not self.damaged and not self.ailing and self._claimed

    @property
    def joining(self) -> bool:
        """It was added, and has not heard yet that the others let it in."""
        return not self._claimed and not self.gone

    @property
    def ailing(self) -> bool:
        """Its log is being repaired, or may be damaged."""
        return self.directory.decayed or self.repairing

    @property
    def repairing(self) -> bool:
        """Its log was damaged, and is not whole again: it counts for nothing."""
        return self.directory.begun_anew or self.world.laws.owes_repair(self.id)

    @property
    def disk_is_sound(self) -> bool:
        """Nothing on it was ever damaged, and all of it could be read so far."""
        return not self.directory.spoiled and not self.hardware.disk.errors.failed_reads

    @property
    def lost(self) -> bool:
        """Its disk is of no use any more, and administrators know."""
        return self.copied_at is not None or self.damaged

    def now(self) -> Nanos:
        """Its own clock."""
        return self.hardware.now()

    # -- life and death -------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process on what the disk holds; of a member that joins, once the cluster knows its claim."""
        if self._process is not None or self.gone:
            return
        self.life += 1
        if self.life > 1 and self.world.options.has("crash") and self.world.network.faulty:
            self._crash_while_starting()
        failed_reads = self.hardware.disk.errors.failed_reads
        try:
            if not self._claimed:
                directory, store = self.directory.open(joins=True)
                store.close()
                directory.close()
                self.world.ask_claim(self.id, self.directory.claim)
                return
            self._process = Process(self, self.life)
            self._boot = self._process.sender.identity.boot
            self.directory.decayed = False
        except Death:
            self._end(power=happens(self.rng, 750))
            return
        except (NoState, SnapshotDamaged) as problem:
            if self.hardware.disk.errors.failed_reads == failed_reads:
                raise Violation("state-kept", f"{self.id} cannot start: {problem}") from problem
            self._end_unreadable()  # the next start may do better
            return
        except PromisesLost:
            self.damaged = self.gone = True
            self._end(power=False)
            return
        except ValueError as mismatch:
            if type(mismatch) is not ValueError:
                raise
            # The replica's own assertion (`core/following/snapshot_receiver.py`).
            raise Violation("snapshot-fits", f"{self.id} cannot start: {mismatch}") from mismatch
        except (OSError, DirectoryRefused) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(cause, OSError) or cause.errno not in (errno.ENOSPC, errno.EIO):
                raise Violation("torn-start", f"{self.id} refuses to start on a sound disk: {error}") from error
            self._end(power=False)
            return
        self._wake_at = 0
        self.world.witness.started(self.world.schedule.now, self.id)
        self._schedule_step()

    def _crash_while_starting(self) -> None:
        """One start in so many ends before it is done: what a start writes may be there by half, too."""
        if happens(self._starts, CRASHED_STARTS_PERMILLE):
            self.frailty.arm(self._starts.randrange(1, self._starts.choice((8, 30))))

    def claimed(self, claim: int) -> None:
        """The cluster knows the directory with this claim: it belongs to the member from now on."""
        if self.copied_at is not None and claim == self.directory.claim:
            raise Violation("wiped-claims", f"{self.id} lost its disk, and an empty one got its id")
        if not self._claimed:
            self._claimed = True
            self.start()

    def retire(self) -> None:
        """It was removed: the process ends, and never comes back."""
        self.gone = True
        self.world.schedule.after(1, f"retires {self.id}", lambda: self.crash(power=False))

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
        self.world.witness.ended(self.world.schedule.now, self.id)
        if self._process is not None:
            self._process.note_end()
        self._process = None
        self._was = Role.FOLLOWER
        self._inbox.clear()
        self._stepping = False
        self._paused_until = 0
        self.dies_in_write = False
        self.hardware.crash(power=power)
        self.world.figures.crashes += 1
        self.world.member_died(self.id)
        scale = self.rng.choice((30, 100, 300, 1000, 2500))
        delay = self.rng.randrange(10, scale * 2) * MILLISECOND
        self.world.schedule.after(delay, "start", self.start)

    def _end_unreadable(self) -> None:
        """It cannot read its own disk, and ends."""
        self.world.figures.read_errors += 1
        self._end(power=False)

    def bury(self) -> None:
        """End the process for ever."""
        self.gone = True
        self.crash(power=False)

    def recover(self, *, steady: bool = False) -> None:
        """End everything that ails it, and start it if it is down. `steady`: see `Hardware.recover`."""
        self.whims.on = False
        self.dies_in_write = False
        self.hardware.recover(steady=steady)
        self._paused_until = min(self._paused_until, self.world.schedule.now)
        self.start()
        if self._process is not None:
            self.later(STEP_DELAY, "synced", self._process.finish_write)
            self._stepping = False  # a step may be waiting for the end of a pause that is over now
            self._schedule_step()

    # -- faults (see `faults.Victim`) -------------------------------------------------------------

    def pause(self, duration: Nanos) -> None:
        """No step before then; the disk goes on with what it was given."""
        self._paused_until = max(self._paused_until, self.world.schedule.now + duration)

    def decay(self, how: Callable[[Hardware], None]) -> None:
        """See `faults.Victim`."""
        self.directory.decayed = self.directory.spoiled = True
        self.crash(power=True)
        how(self.hardware)

    def back_up(self) -> None:
        """See `faults.Victim`."""
        if self._process is not None and self.copied_at is None:
            self._backup_boot = self._boot
            self.hardware.back_up()

    @property
    def restorable(self) -> bool:
        """See `faults.Victim`. A copy of a disk that was not started since is as good as the disk: nobody can tell."""
        return 0 < self._backup_boot < self._boot and self.copied_at is None and not self.gone

    def restore(self) -> None:
        """See `faults.Victim`."""
        self._exile(self._backup_boot)
        self.hardware.restore()

    def wipe(self) -> None:
        """See `faults.Victim`. It comes back with its id and an empty directory, of which the cluster knows nothing."""
        self._exile(0)
        self.hardware.wipe()
        self.directory.draw_claim()
        self.directory.join(self.hardware.disk).close()
        self.world.ask_claim(self.id, self.directory.claim)

    def _exile(self, copied_at: int) -> None:
        self.crash(power=True)
        self.copied_at = copied_at
        self.world.laws.exile(self.id)

    # -- inputs -----------------------------------------------------------------------------------

    def receive(self, sender: Sender, message: Message) -> None:
        """A member's message arrives."""
        if self._process is not None:
            self._process.receive(sender, message)

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
        welcome = Welcome(PROTOCOL_VERSION, self.directory.header.cluster, self.id, self.member.name, machine)
        self.world.reply(connection, welcome)
        self.world.reply(connection, process.engine.view())

    def tell_api(self, life: int, tell: TellHost) -> None:
        """Something arrives at the services of the process that it was sent to."""
        if (process := self._process) is not None and process.life == life and (api := process.api) is not None:
            self.take(lambda now: tell(api))

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
            except Exception as error:
                if not _unreadable(error):
                    raise
                self._end_unreadable()  # what the runtime does

        text = self._labels.get(label)
        if text is None:
            text = self._labels[label] = f"{label} {self.id}"
        self.world.schedule.after(delay, text, run)

    def _schedule_step(self) -> None:
        if not self._stepping:
            self._stepping = True
            wait = max(0, self._paused_until - self.world.schedule.now)
            if self.whims.takes(Quirk.STEP_PUT_OFF):
                wait += self.config.replica.heartbeat_interval // 2
            self.later(wait + self.hardware.delay(self.rng, STEP_DELAY), "step", self._step)

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
        if self.whims.takes(Quirk.WOKEN_FOR_NOTHING):
            engine.wake(now)
        members = engine.replica.membership.members
        if members and self.whims.takes(Quirk.CLOSED_FOR_NOTHING):
            engine.connection_closed(now, self._habits.choice(members).id, False)
        if self.hardware.store is not None and happens(self._habits, FLUSH_PERMILLE):
            engine.flush_store()
        deadline = engine.flush(now)
        if self._process.api is not None:
            self._process.api.advance()
        replica = engine.replica
        led = self._was is Role.LEADER
        self._note_moment(replica.role, bool(replica.membership.outgoing))
        self.world.witness.stepped(self.world.schedule.now, self.id, replica)
        self.world.laws.observe(self.id, replica.epoch, replica.commit, replica.role)
        if self._was is Role.LEADER:
            self._check_leases(elected=not led, now=now)
        if self._process.machine.accusation is not None:
            raise self._process.machine.accusation
        self._schedule_wake(deadline, now)

    def _check_leases(self, *, elected: bool, now: Nanos) -> None:
        """When one is elected nobody else may have a lease, and it itself only while nobody is elected after it."""
        replica = self.living.replica
        if elected:
            holders = self.world.leased()
        else:
            holders = [(self.id, replica.epoch)] if self.copied_at is None and replica.leased(now) else []
        self.world.laws.leased(self.id, replica.epoch, holders)

    def _note_moment(self, role: Role, joint: bool) -> None:
        was, self._was = self._was, role
        if role is Role.LEADER and joint:
            self.world.moment(self.id, Moment.JOINT)
        elif role is not was and role is Role.LEADER:
            self.world.moment(self.id, Moment.ELECTED)
        elif role is not was and role is Role.CANDIDATE:
            self.world.moment(self.id, Moment.CANDIDATE)

    def _schedule_wake(self, deadline: Nanos, now: Nanos) -> None:
        if deadline <= now:
            self.take_wake()
            return
        when = self.hardware.clock.when(deadline)
        if self._wake_at <= self.world.schedule.now or when < self._wake_at:
            self._wake_at = when
            self.later(when - self.world.schedule.now, "wake", self.take_wake)

    def take_wake(self) -> None:
        """A deadline has come, or may have: to be woken too early does no harm."""
        if (process := self._process) is not None:
            self.take(process.engine.wake)
