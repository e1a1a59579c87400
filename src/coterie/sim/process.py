"""One life of a member: the shipped engine over the shipped log store, and their ports into the world."""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from coterie.core.config import MILLISECOND
from coterie.core.messages import InstallSnapshot, Message, TimeoutNow
from coterie.core.records import StoreBatch
from coterie.core.types import Epoch, Mark, Member, MemberId, Nanos
from coterie.engine.engine import Identity
from coterie.engine.ports import Event
from coterie.engine.protocol import Response, View
from coterie.engine.snapshot_jobs import FlushJob, InstallJob, TakeJob
from coterie.engine.snapshots import NoState
from coterie.engine.work import Job, Lane, lacks_space
from coterie.machine.host import Host
from coterie.machine.interface import StateMachine
from coterie.machine.stores.interface import OrderedStore
from coterie.runtime.handshake import PeerIdentity, RefusalCode
from coterie.sim.admission import Admission
from coterie.sim.ambush import Moment
from coterie.sim.api.host import ApiHost
from coterie.sim.api.site import serve
from coterie.sim.api.wire import Calls
from coterie.sim.chance import stream
from coterie.sim.frail import Death
from coterie.sim.laws import Laws
from coterie.sim.machine import FrailStore, ObservedHost, observed, standing
from coterie.sim.network import Network, Sender
from coterie.sim.observed_engine import ObservedEngine
from coterie.sim.options import Options
from coterie.sim.schedule import Schedule
from coterie.sim.sectors import SECTOR_BYTES
from coterie.sim.shadow import ShadowLog, membership_of, slot_of
from coterie.sim.subject import Subject
from coterie.sim.terrain import Terrain
from coterie.sim.verdict import Figures, Violation
from coterie.sim.whims import MemberWhims, Quirk
from coterie.sim.witness import Witness
from coterie.storage.directory import DataDirectory
from coterie.storage.log_store import LogStore, Write
from coterie.storage.snapshots import SnapshotDirectory
from coterie.storage.zeros import Room

if TYPE_CHECKING:
    from coterie.sim.node import Node

STEP_DELAY: Final = 30_000
"""Mean time from an input's arrival to the step that takes it in, in nanoseconds: inputs gather in batches."""
RETRY_NO_SPACE: Final = 100 * MILLISECOND
FAREWELL_TIMEOUTS: Final = 5
"""Election timeouts for which a removed member's open stream stays."""
READ_BYTES: Final = 1 << 20


class Surroundings(Protocol):
    """What a node needs of the world."""

    options: Options
    schedule: Schedule
    network: Network
    laws: Laws
    subject: Subject
    figures: Figures
    witness: Witness
    terrain: Terrain | None
    """How far apart everybody is, if that is not drawn."""
    api_calls: Calls | None
    """Those of etcd's API, if there are callers."""

    def current(self, sender: Sender) -> bool:
        """Whether this life of the sender goes on."""
        ...

    def refused(self, member: MemberId, code: RefusalCode) -> None:
        """A member is not let in by another, and is told why."""
        ...

    def ask_claim(self, member: MemberId, claim: int) -> None:
        """The member's directory claims its id; later its node is told `claimed` or `unwanted`."""
        ...

    def reply(self, connection: int, response: Response) -> None:
        """Answer a client."""
        ...

    def greeted(self, connection: int) -> None:
        """A client said hello."""
        ...

    def publish(self, member: MemberId, life: int, view: View) -> None:
        """Tell the clients that said hello to this life of the member."""
        ...

    def whims_of(self, member: MemberId) -> MemberWhims:
        """What the member does now and then that it hardly ever does."""
        ...

    def moment(self, member: MemberId, moment: Moment) -> None:
        """The member has just done this; a fault may strike it for that."""
        ...

    def leased(self) -> list[tuple[MemberId, Epoch]]:
        """Who may answer reads alone now, and in which epoch."""
        ...

    def member_died(self, member: MemberId) -> None:
        """The process ended: its connections close."""
        ...


class Process:
    """One life of a member: engine, log store, and the ports between them and the world."""

    def __init__(self, node: Node, life: int) -> None:
        self._node = node
        self._world = node.world
        self.life = life
        laws = self._world.laws
        directory, self.store_of_log = node.directory.open(joins=False)
        self.sender = Sender(_identity(node, directory), life, node.copied_at)
        self.door = Admission(self.sender.identity, node.papers)
        found = self._tell_judges()
        self.machine = observed(node.id, self._world.subject, laws)
        self._lanes: dict[Lane, list[Job]] = {lane: [] for lane in Lane}
        now = node.now()
        try:
            self.engine = self._make_engine(directory.boot, now, directory.snapshot_directory)
        except NoState as lost:
            self.store_of_log = node.directory.begin_log_anew(self.store_of_log, lost)
            found = self._tell_judges()
            self.engine = self._make_engine(directory.boot, now, directory.snapshot_directory)
        self._check_membership(found)
        self._resumed()
        self.engine.watch(node.id, laws)
        self._queue: list[StoreBatch] = []
        self._writing = False
        self._write: tuple[Write, Mark] | None = None
        self._room: Room | None = None
        """Zeros that are made beside the write under way."""
        self.api = serve(node, self)
        """The services of etcd's API, if there are callers."""

    def _check_membership(self, found: ShadowLog) -> None:
        """What is in force is what the log says, unless it gave way to a newer snapshot."""
        replica = self.engine.replica
        if replica.first_index == found.base + 1 and replica.membership != found.membership:
            raise Violation(
                "membership-kept",
                f"{self._node.id} starts with {replica.membership}; its log says {found.membership}",
            )

    def _tell_judges(self) -> ShadowLog:
        """What the log holds that this life begins with."""
        laws, member = self._world.laws, self._node.id
        found = shadow_of(self.store_of_log)
        if self._node.directory.judged_anew():
            laws.begun_anew(member, found)
            self._world.figures.repairs += 1
        laws.started(member, self.life, found)
        return found

    def _make_engine(self, boot: int, now: Nanos, snapshots: str) -> ObservedEngine:
        node = self._node
        life = self.life
        return ObservedEngine(
            identity=Identity(
                cluster=node.directory.header.cluster,
                member=node.id,
                name=node.member.name,
                boot=boot,
                version="simulated",
            ),
            config=node.config,
            protocol=self._world.options.protocol,
            recovered=self.store_of_log.recovered,
            reader=self.store_of_log,
            machine=self.machine,
            ports=self,
            rng=stream(self._world.options.seed, f"engine {node.id} {life}"),
            now=now,
            store=FrailStore(node.hardware.store, node.frailty) if node.hardware.store is not None else None,
            snapshots=SnapshotDirectory(node.frailty, snapshots, node.directory.header.cluster),
            log_bytes=self.store_of_log.bytes,
            make_host=self._make_host,
        )

    def _resumed(self) -> None:
        """The machine has a state that it was given."""
        host = self.engine.host
        self._world.laws.machines.resumed(self._node.id, standing(host), host.digest())

    def _make_host(self, machine: StateMachine, store: OrderedStore | None) -> Host:
        return ObservedHost(machine, store=store, member=self._node.id, laws=self._world.laws)

    # -- ports: each call may be the last ------------------------------------------------------

    def send(self, to: MemberId, message: Message) -> None:
        """See `Ports.send`."""
        self._node.frailty.step()
        self._world.laws.sent(self._node.id, to, message, self.engine.replica.membership)
        if isinstance(message, InstallSnapshot):
            self._sends_snapshot(message)
        elif isinstance(message, TimeoutNow):
            self._world.moment(self._node.id, Moment.HANDOVER)
        self._world.network.send(self.sender, to, message)

    def _sends_snapshot(self, message: InstallSnapshot) -> None:
        if message.offset + len(message.data) < message.size:
            self._world.moment(self._node.id, Moment.CHUNK)
        elif message.size > message.offset:
            self._world.figures.snapshots_sent += 1

    def store(self, batch: StoreBatch) -> None:
        """See `Ports.store`."""
        self._node.frailty.step()
        replica = self.engine.replica
        self._world.laws.store(self._node.id, batch, replica.role, replica.commit)
        self._world.witness.wrote(self._world.schedule.now, self._node.id, batch)
        self._queue.append(batch)
        if not self._writing:
            self._writing = True
            self._node.later(self._node.hardware.delay(self._node.rng, STEP_DELAY), "write", self._begin_write)

    def leave(self) -> Mark | None:
        """See `Ports.leave`."""
        if not self._queue or self._write is not None or not self._node.whims.takes(Quirk.WRITTEN_AT_ONCE):
            return None
        self._node.frailty.step()
        replica = self.engine.replica
        # What leaves now leaves with what the member knows now.
        self._world.laws.observe(self._node.id, replica.epoch, replica.commit, replica.role)
        self._prepare(len(self._queue))
        return self._written()

    def reply(self, client: object, *responses: Response) -> None:
        """See `Ports.reply`."""
        for response in responses:
            self._node.frailty.step()
            if isinstance(client, ApiHost):
                client.deliver(response)
            else:
                assert isinstance(client, int)
                self._world.reply(client, response)

    def publish(self, view: View) -> None:
        """See `Ports.publish`."""
        self._node.frailty.step()
        self._world.publish(self._node.id, self.life, view)
        self.door.members(self.engine.replica.membership.members)

    def event(self, event: Event) -> None:
        """See `Ports.event`."""
        figures = self._world.figures
        if event.kind == "snapshot-taken":
            figures.snapshots_taken += 1
        elif event.kind == "snapshot-installed":
            figures.snapshots_installed += 1
            self._resumed()

    def work(self, job: Job) -> None:
        """See `Ports.work`."""
        self._node.frailty.step()
        self._note_state(job)
        waiting = self._lanes[job.lane]
        waiting.append(job)
        if len(waiting) == 1:
            self._begin_job(job.lane)

    def _note_state(self, job: Job) -> None:
        """What is about to be kept is a state that the judges know: whoever begins with it, must have just that."""
        host = self.engine.host
        index = job.meta.index if isinstance(job, TakeJob) else job.flush.index if isinstance(job, FlushJob) else 0
        if index == host.applied:
            self._world.laws.machines.state(self._node.id, index, host.digest())

    def removed(self, member: Member) -> None:
        """See `Ports.removed`."""
        self._node.frailty.step()
        self._world.laws.removed(member.id, self._node.id, self.engine.replica.commit)
        if member.id == self._node.id:
            self._node.retire()
            return
        self.door.remove(member)
        farewell = self._world.options.election_timeout * FAREWELL_TIMEOUTS
        self._node.later(farewell, "farewell", lambda: self.door.end(member.id))

    def receive(self, sender: Sender, message: Message) -> None:
        """A member's message arrives. What a life that is over sent while it was honest, is late, and no more."""
        if not sender.honest or self._world.current(sender):
            code = self.door.lets_in(sender)
            if code is not None:
                self._world.refused(sender.member, code)
                return
        if isinstance(message, InstallSnapshot):
            self._world.moment(self._node.id, Moment.RECEIVING)
        self._node.take(lambda now: self.engine.receive(now, sender.member, message))

    # -- jobs: one at a time in each lane, as the runtime's threads do them ----------------------

    def _begin_job(self, lane: Lane) -> None:
        self._node.later(self._node.hardware.job_latency(lane), f"work {lane.value}", lambda: self._perform(lane))

    def _perform(self, lane: Lane) -> None:
        waiting = self._lanes[lane]
        job = waiting[0]
        problem: Exception | None = None
        if self._node.dies_in_write:
            self._node.frailty.arm(self._node.rng.choice((1, 2, 2, 3, 4, 6)))
        try:
            job.perform()
        except Exception as error:
            if isinstance(error, OSError) and not lacks_space(error):
                raise Death from error  # as for the log: nobody knows what is on the disk now
            if isinstance(job, InstallJob) and self._node.disk_is_sound and isinstance(error, LookupError | ValueError):
                raise Violation("snapshot-held", f"{self._node.id} cannot install {job.meta}: {error}") from error
            problem = error
        self._node.take(lambda now: self.engine.worked(now, job, problem))
        del waiting[0]
        if waiting:
            self._begin_job(lane)

    # -- the disk: one write at a time, as the sync thread does it ------------------------------

    def _begin_write(self) -> None:
        if self._write is not None:
            return  # one was to be done at once, and found no space
        if not self._queue:
            self._writing = False
            return
        self._prepare(1 if self._node.whims.takes(Quirk.WRITTEN_APART) else len(self._queue))
        self._node.later(self._node.hardware.sync_latency(), "synced", self.finish_write)

    def _prepare(self, count: int) -> None:
        batches, self._queue = self._queue[:count], self._queue[count:]
        self._write = (self.store_of_log.prepare(batches), batches[-1].mark)

    def finish_write(self) -> None:
        """The write under way, if there is one, comes to its end."""
        mark = self._written()
        if mark is None:
            return
        self._node.take(lambda now: self.engine.stored(now, mark))
        self._writing = bool(self._queue)
        if self._writing:
            self._begin_write()

    def _written(self) -> Mark | None:
        """Perform the write under way; its mark. None if there is none, or no space: then it is tried again."""
        if self._write is None:
            return None
        prepared, mark = self._write
        if prepared.grows:
            self._make_room()  # the zeros would wipe it out if they came after
        if self._node.dies_in_write and prepared.size > SECTOR_BYTES:
            self._node.frailty.arm(2)
        try:
            prepared.perform()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise Death from error  # what the runtime does: nobody knows what is on the disk now
            self._node.take(lambda now: self.engine.store_failed(now, mark))
            self._node.later(RETRY_NO_SPACE, "write again", self.finish_write)
            return None
        self._write = None
        self._world.witness.stored(self._world.schedule.now, self._node.id, mark)
        self._world.laws.stored(self._node.id, mark)
        self._make_room()
        self._room = self.store_of_log.more_room()
        try:
            self.store_of_log.trim()
        except OSError as error:
            raise Death from error
        return mark

    def _make_room(self) -> None:
        """The zeros that were begun to be made before the write under way come to their end."""
        room, self._room = self._room, None
        if room is not None:
            try:
                room.perform()
            except OSError as error:
                raise Death from error
            room.finish()

    def note_end(self) -> None:
        """The process ends: what it leaves must lead to this state again. (One that is just being replaced, or the
        middle of an entry, is none.)"""
        host = self.engine.host
        assert isinstance(host, ObservedHost)
        if host.whole and not host.restoring:
            self._world.laws.machines.ended(self._node.id, host.applied, host.digest())

    def die_writing(self) -> None:
        """Do what the disk gets done of the write under way before the process ends."""
        if self._write is not None:
            with suppress(Death, OSError):
                self._write[0].perform()


def _identity(node: Node, directory: DataDirectory) -> PeerIdentity:
    return PeerIdentity(
        cluster=node.directory.header.cluster,
        member=node.id,
        name=node.member.name,
        boot=directory.boot,
        process=directory.starts[-1],
        protocol=node.world.options.protocol,
        claim=directory.claim,
        starts=directory.starts,
    )


def shadow_of(store: LogStore) -> ShadowLog:
    """What a log store found, entry by entry."""
    log = ShadowLog()
    recovered = store.recovered
    log.hard_state = recovered.hard_state
    log.base, log.base_epoch = recovered.base.index, recovered.base.epoch
    log.memberships = [(recovered.base.index, recovered.base.membership)]
    while log.last_index < recovered.last_index:
        for entry in store.entries(log.last_index + 1, recovered.last_index, READ_BYTES):
            log.put(entry.index, slot_of(entry), membership_of(entry))
    return log
