"""Three engines in one process: the shipped node with a network, disks and clock that the test holds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import msgspec
from tests.protocol import protocol_under_test

from coterie.core.config import MILLISECOND
from coterie.core.messages import Message, decode, encode
from coterie.core.records import Compact, Put, Recovered, SaveHardState, StoreBatch, Truncate
from coterie.core.types import (
    NO_EPOCH,
    Entry,
    EntryKind,
    Epoch,
    HardState,
    Index,
    Mark,
    Member,
    MemberId,
    Membership,
    Nanos,
    Role,
    SnapshotMeta,
)
from coterie.engine.engine import Engine, EngineConfig, Identity
from coterie.engine.ports import Event
from coterie.engine.protocol import Request, Response, View
from coterie.engine.work import Job
from coterie.machine.interface import Batch, Rejected, StateMachine
from coterie.sim.disk import SimulatedFiles
from coterie.storage.snapshots import SnapshotDirectory

Packet = tuple[MemberId, MemberId, bytes]
MAX_STEPS = 20_000
CLUSTER_ID = 7


class Ledger(StateMachine):
    """Remembers every command in order; a command that begins with b"no" is refused; b"in 2" notes when 2 seconds of
    cluster time are over."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def apply(self, batch: Batch) -> Sequence[bytes | Rejected]:
        return [self._apply(command, batch.time) for command in batch.commands]

    def _apply(self, command: bytes, time: Nanos) -> bytes | Rejected:
        if command.startswith(b"no"):
            return Rejected("it begins with no")
        if command.startswith(b"in "):
            command = b"due %d" % (time + int(command[3:]) * 1000 * MILLISECOND)
        self.lines.append(command)
        return str(len(self.lines)).encode()

    def next_timer(self) -> Nanos | None:
        return min([int(line[4:]) for line in self.lines if line.startswith(b"due ")], default=None)

    def pass_time(self, index: Index, time: Nanos) -> None:
        assert self.next_timer() is not None
        for place, line in enumerate(self.lines):
            if line.startswith(b"due ") and int(line[4:]) <= time:
                self.lines[place] = b"over with %d" % index

    def query(self, question: bytes) -> bytes | Rejected:
        return b",".join(self.lines) if question != b"no" else Rejected("no such question")

    def snapshot(self) -> Iterator[bytes]:
        yield from self.lines

    def restore(self, chunks: Iterable[bytes]) -> None:
        self.lines = list(chunks)

    def digest(self) -> bytes:
        return b",".join(self.lines)

    def revision(self) -> int | None:
        return len(self.lines)


EMPTY = SnapshotMeta(0, NO_EPOCH, Membership((), ()))


class Disk:
    """What one member's log store holds: the entries after the base. A `LogReader`. Beside it, its snapshots."""

    def __init__(self, first: Entry | None) -> None:
        self.base = EMPTY
        self.log = [first] if first is not None else []
        self.hard_state = HardState()
        self.boot = 0
        self.files = SimulatedFiles()

    @property
    def last_index(self) -> Index:
        return self.base.index + len(self.log)

    def snapshots(self) -> SnapshotDirectory:
        return SnapshotDirectory(self.files, "data/snapshots", CLUSTER_ID)

    def perform(self, batch: StoreBatch) -> None:
        for record in batch.records:
            if isinstance(record, Put):
                place = record.entries[0].index - self.base.index - 1
                assert 0 <= place <= len(self.log)
                self.log[place : place + len(record.entries)] = record.entries
            elif isinstance(record, Truncate):
                del self.log[record.first - self.base.index - 1 :]
            elif isinstance(record, SaveHardState):
                self.hard_state = record.state
            elif isinstance(record, Compact):
                del self.log[: record.base.index - self.base.index]
                self.base = record.base
            else:
                self.log, self.base = [], record.base

    def entries(self, first: Index, last: Index, limit_bytes: int) -> Sequence[Entry]:
        found: list[Entry] = []
        size = 0
        assert first > self.base.index
        for entry in self.log[first - self.base.index - 1 : last - self.base.index]:
            size += len(entry.payload)
            if found and size > limit_bytes:
                break
            found.append(entry)
        return found

    def recovered(self) -> Recovered:
        runs: list[tuple[Index, Epoch]] = []
        for entry in self.log:
            if not runs or runs[-1][1] != entry.epoch:
                runs.append((entry.index, entry.epoch))
        return Recovered(
            hard_state=self.hard_state,
            base=self.base,
            last_index=self.last_index,
            epochs=tuple(runs),
            memberships=tuple(entry for entry in self.log if entry.kind is EntryKind.MEMBERSHIP),
            settings=tuple(entry for entry in self.log if entry.kind is EntryKind.SETTINGS),
        )


class Attendant(Protocol):
    """What stands on a member's engine in the same process, as a shell has it."""

    deadline: Nanos
    """When it wants to be woken."""

    @property
    def busy(self) -> bool:
        """Whether it has more to do at once, after whatever else has come."""
        ...

    def flushed(self) -> bool:
        """The engine was flushed; returns whether it has been given something since."""
        ...

    def wake(self) -> None:
        """The deadline has come."""
        ...


class Node:
    """One member: its engine, and the ports that its engine speaks to."""

    def __init__(self, cluster: Cluster, member: MemberId, disk: Disk, name: str = "") -> None:
        name = name or f"n{member}"
        disk.boot += 1
        self.member = member
        self.disk = disk
        self.batches: list[StoreBatch] = []
        self.hangs = False
        self.quick = False
        """Its disk is so quick that the driver waits for it."""
        self.events: list[Event] = []
        self.views: list[View] = []
        self.departed: list[Member] = []
        self.jobs: list[Job] = []
        self.disk_problem: OSError | None = None
        """What every job fails with."""
        self.machine = cluster.make_machine()
        self.attendant: Attendant | None = None
        self._cluster = cluster
        self.engine = Engine(
            identity=Identity(cluster=CLUSTER_ID, member=member, name=name, boot=disk.boot),
            config=cluster.config,
            protocol=cluster.protocol,
            recovered=disk.recovered(),
            reader=disk,
            machine=self.machine,
            ports=self,
            rng=random.Random(100 * member + disk.boot),
            now=cluster.now,
            snapshots=disk.snapshots(),
        )
        self.deadline = self.engine.flush(cluster.now)

    @property
    def ledger(self) -> Ledger:
        """The machine of a cluster that was given no other."""
        assert isinstance(self.machine, Ledger)
        return self.machine

    def send(self, to: MemberId, message: Message) -> None:
        self._cluster.packets.append((self.member, to, encode(message)))

    def store(self, batch: StoreBatch) -> None:
        self.batches.append(batch)

    def leave(self) -> Mark | None:
        return self.write() if self.quick and self.batches else None

    def write(self) -> Mark:
        """What was stored becomes durable; the newest mark."""
        for batch in self.batches:
            self.disk.perform(batch)
        mark = self.batches[-1].mark
        self.batches = []
        return mark

    def reply(self, client: object, *responses: Response) -> None:
        deliver = getattr(client, "deliver", None)
        if deliver is not None:
            deliver(*responses)
            return
        for response in responses:
            self._cluster.answers.setdefault((client, getattr(response, "id", 0)), []).append(response)

    def removed(self, member: Member) -> None:
        self.departed.append(member)

    def work(self, job: Job) -> None:
        self.jobs.append(job)

    def perform(self, job: Job, now: Nanos) -> None:
        """As the runtime's threads do."""
        problem: Exception | None = None
        try:
            if self.disk_problem is not None:
                raise self.disk_problem
            job.perform()
        except (OSError, ValueError) as error:
            problem = error
        self.engine.worked(now, job, problem)

    @property
    def wakes_at(self) -> Nanos:
        """When somebody in it wants to be woken."""
        return self.deadline if self.attendant is None else min(self.deadline, self.attendant.deadline)

    def wake(self, now: Nanos) -> None:
        if self.deadline <= now:
            self.engine.wake(now)
        if self.attendant is not None and self.attendant.deadline <= now:
            self.attendant.wake()

    def heard(self, kind: str) -> list[str]:
        """Texts of the events of this kind."""
        return [event.text for event in self.events if event.kind == kind]

    def publish(self, view: View) -> None:
        self.views.append(view)

    def event(self, event: Event) -> None:
        self.events.append(event)


class Cluster:
    """Members 1, 2, ...; nothing moves but by `settle` and `run`."""

    def __init__(
        self, size: int = 3, config: EngineConfig | None = None, machine: Callable[[], StateMachine] = Ledger
    ) -> None:
        """`machine`: makes each process's."""
        self.config = config if config is not None else EngineConfig()
        self.make_machine = machine
        self.protocol = protocol_under_test()
        self.now: Nanos = 0
        self.packets: list[Packet] = []
        self.answers: dict[tuple[object, int], list[Response]] = {}
        self.tamper: Callable[[list[Packet]], list[Packet]] = lambda packets: packets
        """What the network makes of the packets that are on their way."""
        members = tuple(Member(i, f"n{i}", f"n{i}:2380", f"n{i}:2379") for i in range(1, size + 1))
        membership = Membership(members, tuple(m.id for m in members))
        first = Entry(1, NO_EPOCH, EntryKind.MEMBERSHIP, 0, msgspec.msgpack.encode(membership))
        self.nodes: dict[MemberId, Node] = {}
        self.disks = {m.id: Disk(first) for m in members}
        for m in members:
            self.restart(m.id)

    def crash(self, member: MemberId) -> None:
        """The process dies: what its disk had not finished is lost."""
        self.nodes.pop(member, None)

    def restart(self, member: MemberId) -> Node:
        node = self.nodes[member] = Node(self, member, self.disks[member])
        return node

    def join(self, member: MemberId, name: str) -> Node:
        """A process with an empty disk starts under this id."""
        self.disks[member] = Disk(None)
        node = self.nodes[member] = Node(self, member, self.disks[member], name)
        return node

    def cut(self, *members: MemberId) -> None:
        """No packet from or to these members arrives, until `heal`."""
        self.tamper = lambda packets: [p for p in packets if p[0] not in members and p[1] not in members]

    def heal(self) -> None:
        self.tamper = lambda packets: packets

    def request(self, member: MemberId, client: object, request: Request) -> None:
        """A client's request, and a flush."""
        self.nodes[member].engine.request(self.now, client, request)
        self.flush(member)

    def flush(self, member: MemberId) -> None:
        node = self.nodes[member]
        node.deadline = node.engine.flush(self.now)
        while node.attendant is not None and node.attendant.flushed():
            node.deadline = node.engine.flush(self.now)

    def step(self) -> bool:
        """Packets on their way arrive, disks finish. Returns whether anything happened."""
        packets, self.packets = self.tamper(self.packets), []
        touched = set()
        for sender, to, data in packets:
            if to in self.nodes:
                self.nodes[to].engine.receive(self.now, sender, decode(data))
                touched.add(to)
        for member, node in self.nodes.items():
            if node.batches and not node.hangs:
                node.engine.stored(self.now, node.write())
                touched.add(member)
            jobs, node.jobs = node.jobs, []
            for job in jobs:
                node.perform(job, self.now)
                touched.add(member)
            if node.attendant is not None and node.attendant.busy:
                touched.add(member)
        for member in sorted(touched):
            self.flush(member)
        return bool(touched)

    def settle(self) -> None:
        """Until nothing is left to do, at the present time."""
        for _ in range(MAX_STEPS):
            if not self.step():
                return
        raise AssertionError(f"still busy after {MAX_STEPS} steps")

    def run(self, milliseconds: int, until: Callable[[], bool] | None = None) -> None:
        """Time passes, and everything works; stops early when `until` holds."""
        end = self.now + milliseconds * MILLISECOND
        for _ in range(MAX_STEPS):
            self.settle()
            if until is not None and until():
                return
            at, member = min(((node.wakes_at, i) for i, node in self.nodes.items()), default=(end + 1, 0))
            if at > end:
                self.now = end
                return
            self.now = max(self.now, at)
            self.nodes[member].wake(self.now)
            self.flush(member)
        raise AssertionError(f"still busy after {MAX_STEPS} steps")

    def leaders(self) -> list[MemberId]:
        return [i for i, node in self.nodes.items() if node.engine.replica.role is Role.LEADER]

    def elect(self) -> tuple[MemberId, list[MemberId]]:
        """Run until one leads and all know. Returns the leader, and the others."""
        self.run(10_000, until=lambda: len({n.engine.replica.leader for n in self.nodes.values()} - {0}) == 1)
        self.run(300)
        (leader,) = self.leaders()
        return leader, [i for i in self.nodes if i != leader]

    def only_answer(self, client: object, id: int) -> Response:
        """The answer to a request: there must be one, and no second."""
        (answer,) = self.answers[client, id]
        return answer
