"""Golden conversations: commands to a few replicas, and exactly what they answer.

A file opens with a paragraph that says what it shows. Then come blocks: commands, a line `----`,
the output, an empty line. `pytest tests/datadriven --rewrite` writes the outputs anew; the
diff is what changed in the protocol.
"""

from __future__ import annotations

import random
import shlex
from collections.abc import Callable

import msgspec

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.messages import Append, AppendReply, Message
from coterie.core.protocols import make_replica
from coterie.core.records import Put, Record, Recovered, SaveHardState, StoreBatch, Truncate
from coterie.core.replica import Accepted, Effects, Lost, Refused, Replica
from coterie.core.types import (
    NO_EPOCH,
    NOBODY,
    Entry,
    EntryKind,
    Epoch,
    HardState,
    Member,
    Membership,
    Role,
    SnapshotMeta,
)

MAX_STEPS = 2000
HEARTBEAT = 100 * MILLISECOND


class Disk:
    """What one member has stored: durable entries and hard state, and batches under way."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.hard_state = HardState()
        self.batches: list[StoreBatch] = []

    def perform(self, batch: StoreBatch) -> None:
        for record in batch.records:
            if isinstance(record, Put):
                for entry in record.entries:
                    assert entry.index == len(self.entries) + 1, "entries are stored without gaps"
                    self.entries.append(entry)
            elif isinstance(record, Truncate):
                del self.entries[record.first - 1 :]
            else:
                self.hard_state = record.state

    def recovered(self) -> Recovered:
        runs: list[tuple[int, Epoch]] = []
        for entry in self.entries:
            if not runs or runs[-1][1] != entry.epoch:
                runs.append((entry.index, entry.epoch))
        return Recovered(
            hard_state=self.hard_state,
            base=SnapshotMeta(0, NO_EPOCH, Membership((), ())),
            last_index=len(self.entries),
            epochs=tuple(runs),
            memberships=tuple(entry for entry in self.entries if entry.kind is EntryKind.MEMBERSHIP),
        )

    def read(self, first: int, last: int, limit_bytes: int) -> list[Entry]:
        found: list[Entry] = []
        size = 0
        for entry in self.entries[first - 1 : last]:
            size += len(entry.payload)
            if found and size > limit_bytes:
                break
            found.append(entry)
        return found


class Reader:
    """A `LogReader` of a disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def entries(self, first: int, last: int, limit_bytes: int) -> list[Entry]:
        return self._disk.read(first, last, limit_bytes)


class Conversation:
    """Replicas n1, n2, ... with their disks; messages travel only when a command says so."""

    def __init__(self, protocol: str = "raft") -> None:
        self.protocol = protocol
        self.now = 0
        self.config = ReplicaConfig()
        self.replicas: dict[int, Replica] = {}
        self.disks: dict[int, Disk] = {}
        self.deadlines: dict[int, int] = {}
        self.held: dict[int, list[tuple[int, int, Message]]] = {}
        self.messages: list[tuple[int, int, Message]] = []
        self.cut: set[tuple[int, int]] = set()
        self.boots: dict[int, int] = {}
        self.lines: list[str] = []
        self.token = 0

    # -- commands ----------------------------------------------------------------------------

    def run(self, command: str) -> list[str]:
        """Run one command and return its output."""
        self.lines = []
        name, *arguments = shlex.split(command)
        options = dict(word.split("=", 1) for word in arguments if "=" in word)
        words = [word for word in arguments if "=" not in word]
        method: Callable[[list[str], dict[str, str]], None] = getattr(self, f"do_{name.replace('-', '_')}")
        method(words, options)
        return self.lines or ["ok"]

    def do_cluster(self, words: list[str], options: dict[str, str]) -> None:
        """cluster N [learners=n4] [uncommitted=BYTES] [inflight=N] [append=BYTES]: N members, as first started."""
        count = int(words[0])
        learners = tuple(self.member(word) for word in options.get("learners", "").split(",") if word)
        ids = tuple(range(1, count + 1))
        members = tuple(Member(i, f"n{i}", f"n{i}:2380", f"n{i}:2379") for i in ids)
        voters = tuple(i for i in ids if i not in learners)
        membership = Membership(members, voters, learners=learners)
        first = Entry(1, NO_EPOCH, EntryKind.MEMBERSHIP, 0, msgspec.msgpack.encode(membership))
        limits = {
            "uncommitted": "max_uncommitted_bytes",
            "inflight": "max_inflight_messages",
            "append": "max_append_bytes",
        }
        changes = {limits[name]: int(value) for name, value in options.items() if name in limits}
        self.config = ReplicaConfig(**changes)
        for i in ids:
            self.disks[i] = Disk([first])
            self.start(i)

    def do_log(self, words: list[str], options: dict[str, str]) -> None:
        """log n1 1 1 2 ... [epoch=5]: the member starts from a disk that holds entries of these epochs, from
        index 2 on, and this epoch. With neither: print what its disk holds."""
        member = self.member(words[0])
        disk = self.disks[member]
        if len(words) > 1 or "epoch" in options:
            del disk.entries[1:]
            for word in words[1:]:
                index = len(disk.entries) + 1
                disk.entries.append(
                    Entry(index, Epoch(int(word), 0), EntryKind.COMMANDS, 0, f"{index}@{word}".encode())
                )
            epoch = int(options.get("epoch", max([int(epoch) for epoch in words[1:]], default=0)))
            disk.hard_state = HardState(Epoch(epoch, 0), NOBODY)
            self.start(member)
        else:
            self.say(f"n{member} disk: epoch={disk.hard_state.epoch.round} vote={self.name(disk.hard_state.vote)}")
            self.say(f"  {' '.join(self.entry(entry) for entry in disk.entries)}")

    def do_campaign(self, words: list[str], options: dict[str, str]) -> None:
        """campaign n1: its election timer runs out, and nobody else's."""
        member = self.member(words[0])
        self.now = max(self.now, self.deadlines[member])
        self.wake(member)

    def do_wait(self, words: list[str], options: dict[str, str]) -> None:
        """wait 100ms [n1 n2]: time passes; timers of the named members (all, if none is named) run."""
        until = self.now + int(words[0].removesuffix("ms")) * MILLISECOND
        awake = [self.member(word) for word in words[1:]] or sorted(self.replicas)
        for _ in range(MAX_STEPS):
            due = [(self.deadlines[i], i) for i in awake if i in self.replicas and self.deadlines[i] <= until]
            if not due:
                break
            at, member = min(due)
            self.now = max(self.now, at)
            self.wake(member)
        self.now = until

    def do_deliver(self, words: list[str], options: dict[str, str]) -> None:
        """deliver [from=n1] [to=n2] [type=Append] [times=2]: messages in flight now, in order."""
        chosen = [message for message in self.messages if self.matches(message, options)]
        self.messages = [message for message in self.messages if message not in chosen]
        for sender, to, message in chosen:
            for _ in range(int(options.get("times", "1"))):
                self.deliver(sender, to, message)

    def do_drop(self, words: list[str], options: dict[str, str]) -> None:
        """drop [from=n1] [to=n2] [type=Append]: messages in flight are lost."""
        for message in [message for message in self.messages if self.matches(message, options)]:
            self.messages.remove(message)
            self.say(f"lost: {self.describe(*message)}")

    def do_sync(self, words: list[str], options: dict[str, str]) -> None:
        """sync n1: its disk finishes all that is under way."""
        for word in words:
            self.sync(self.member(word))

    def do_stabilize(self, words: list[str], options: dict[str, str]) -> None:
        """stabilize [quiet]: disks work and messages travel until nothing is left to do."""
        before = len(self.lines)
        for _ in range(MAX_STEPS):
            busy = False
            for member in sorted(self.replicas):
                busy = self.sync(member) or busy
            messages, self.messages = self.messages, []
            for sender, to, message in messages:
                self.deliver(sender, to, message)
            if not busy and not messages:
                break
        if "quiet" in words:
            del self.lines[before:]

    def do_propose(self, words: list[str], options: dict[str, str]) -> None:
        """propose n1 x: a client's command."""
        member = self.member(words[0])
        self.token += 1
        self.replicas[member].propose(self.now, self.token, " ".join(words[1:]).encode())
        self.drain(member)

    def do_read(self, words: list[str], options: dict[str, str]) -> None:
        """read n1: a client's linearizable read."""
        member = self.member(words[0])
        self.token += 1
        self.replicas[member].read(self.now, self.token)
        self.drain(member)

    def do_cut(self, words: list[str], options: dict[str, str]) -> None:
        """cut n1 n2 [n3 ...]: no message passes between the first and the others."""
        first = self.member(words[0])
        for word in words[1:]:
            self.cut |= {(first, self.member(word)), (self.member(word), first)}

    def do_heal(self, words: list[str], options: dict[str, str]) -> None:
        """heal: every message passes again."""
        self.cut.clear()

    def do_close(self, words: list[str], options: dict[str, str]) -> None:
        """close n2 n1 [refused]: n2's connection to n1 closes; a new one is refused."""
        member = self.member(words[0])
        self.replicas[member].connection_closed(self.now, self.member(words[1]), "refused" in words)
        self.drain(member)

    def do_crash(self, words: list[str], options: dict[str, str]) -> None:
        """crash n1: the process dies; what its disk had not finished, and its messages, are lost."""
        member = self.member(words[0])
        del self.replicas[member]
        self.disks[member].batches.clear()
        self.held[member] = []
        if "messages" in words:
            self.messages = [message for message in self.messages if message[0] != member]

    def do_restart(self, words: list[str], options: dict[str, str]) -> None:
        """restart n1: from what its disk holds."""
        self.start(self.member(words[0]))

    def do_no_space(self, words: list[str], options: dict[str, str]) -> None:
        """no-space n1: its disk is full; the batch under way will be tried again."""
        member = self.member(words[0])
        self.replicas[member].store_failed(self.now, self.disks[member].batches[0].mark)
        self.drain(member)

    def do_status(self, words: list[str], options: dict[str, str]) -> None:
        """status: role, epoch, leader, commit and log of every member."""
        for member, replica in sorted(self.replicas.items()):
            role = replica.role.name.lower().replace("_", "-")
            self.say(
                f"n{member}: {role} epoch={replica.epoch.round} leader={self.name(replica.leader)} "
                f"commit={replica.commit} last={replica.last_index}"
            )

    # -- the world ---------------------------------------------------------------------------

    def start(self, member: int) -> None:
        self.boots[member] = self.boots.get(member, 0) + 1
        disk = self.disks[member]
        self.replicas[member] = make_replica(
            self.protocol,
            own=member,
            config=self.config,
            recovered=disk.recovered(),
            reader=Reader(disk),
            applied=0,
            rng=random.Random(member),
            now=self.now,
        )
        self.held[member] = []
        self.marks = getattr(self, "marks", {})
        self.marks[member] = 0
        lines = self.lines
        self.lines = []
        self.drain(member)
        self.lines = lines

    def wake(self, member: int) -> None:
        self.replicas[member].wake(self.now)
        self.drain(member)

    def sync(self, member: int) -> bool:
        disk = self.disks[member]
        if not disk.batches or member not in self.replicas:
            return False
        mark = disk.batches[-1].mark
        for batch in disk.batches:
            disk.perform(batch)
        disk.batches.clear()
        self.say(f"n{member} stored #{mark}")
        self.marks[member] = mark
        self.replicas[member].stored(self.now, mark)
        self.drain(member)
        return True

    def deliver(self, sender: int, to: int, message: Message) -> None:
        if to not in self.replicas or (sender, to) in self.cut:
            self.say(f"lost: {self.describe(sender, to, message)}")
            return
        self.say(self.describe(sender, to, message))
        self.replicas[to].receive(self.now, sender, message)
        self.drain(to)

    def drain(self, member: int) -> None:
        more = True
        while more and member in self.replicas:
            effects = self.replicas[member].drain(self.now)
            self.perform(member, effects)
            more = effects.more

    def perform(self, member: int, effects: Effects) -> None:
        if effects.alarm is not None:
            self.say(f"n{member} ALARM {effects.alarm.rule}: {effects.alarm.evidence}")
            del self.replicas[member]
            return
        if effects.role is not None:
            role = effects.role.role.name.lower().replace("_", "-")
            self.say(
                f"n{member} is {role} in epoch {effects.role.epoch.round}, leader {self.name(effects.role.leader)}: "
                f"{effects.role.reason}"
            )
        for outcome in effects.outcomes:
            if isinstance(outcome, Accepted):
                self.say(f"n{member} accepted #{outcome.token} at {outcome.index}@{outcome.epoch.round}")
            elif isinstance(outcome, Refused):
                reason = outcome.reason.name.lower()
                self.say(f"n{member} refused #{outcome.token}: {reason}, leader {self.name(outcome.leader)}")
            else:
                assert isinstance(outcome, Lost)
                self.say(f"n{member} lost read #{outcome.token}")
        if effects.store is not None:
            records = ", ".join(self.record(record) for record in effects.store.records)
            self.say(f"n{member} stores #{effects.store.mark}: {records}")
            self.disks[member].batches.append(effects.store)
        self.messages.extend((member, to, message) for to, message in effects.send)
        held = self.held[member]
        held.extend((mark, to, message) for mark, to, message in effects.send_after)
        while held and held[0][0] <= self.marks[member]:
            _, to, message = held.pop(0)
            self.messages.append((member, to, message))
        if effects.committed:
            self.say(f"n{member} commits {' '.join(self.entry(entry) for entry in effects.committed)}")
        for read in effects.reads:
            self.say(f"n{member} read #{read.token} at {read.index}")
        self.deadlines[member] = effects.deadline

    # -- words -------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        self.lines.append(line)

    @staticmethod
    def member(word: str) -> int:
        return int(word.removeprefix("n"))

    @staticmethod
    def name(member: int) -> str:
        return f"n{member}" if member else "none"

    def matches(self, message: tuple[int, int, Message], options: dict[str, str]) -> bool:
        sender, to, body = message
        return (
            options.get("from", f"n{sender}") == f"n{sender}"
            and options.get("to", f"n{to}") == f"n{to}"
            and options.get("type", type(body).__name__) == type(body).__name__
        )

    @staticmethod
    def entry(entry: Entry) -> str:
        if entry.kind is EntryKind.COMMANDS:
            text = entry.payload.decode()
            text = text if text == f"{entry.index}@{entry.epoch.round}" else f"{entry.index}@{entry.epoch.round}:{text}"
            return text if len(text) <= 24 else f"{text[:20]}...({len(entry.payload)} bytes)"
        return f"{entry.index}@{entry.epoch.round}:{entry.kind.name.lower()}"

    def record(self, record: Record) -> str:
        if isinstance(record, Put):
            return f"put {' '.join(self.entry(entry) for entry in record.entries)}"
        if isinstance(record, Truncate):
            return f"truncate from {record.first}"
        assert isinstance(record, SaveHardState)
        return f"epoch {record.state.epoch.round} vote {self.name(record.state.vote)}"

    def describe(self, sender: int, to: int, message: Message) -> str:
        head = f"n{sender} -> n{to} {type(message).__name__}"
        if isinstance(message, Append):
            entries = f" [{' '.join(self.entry(entry) for entry in message.entries)}]" if message.entries else ""
            return (
                f"{head} epoch={message.epoch.round} prev={message.prev_index}@{message.prev_epoch.round} "
                f"commit={message.commit} round={message.round}{entries}"
            )
        if isinstance(message, AppendReply):
            if message.accepted:
                return f"{head} epoch={message.epoch.round} accepted={message.index} round={message.round}"
            return (
                f"{head} epoch={message.epoch.round} refused={message.index} "
                f"hint={message.hint_index}@{message.hint_epoch.round} round={message.round}"
            )
        fields = []
        for name in message.__struct_fields__:
            value = getattr(message, name)
            if isinstance(value, Epoch):
                fields.append(f"{name}={value.round}")
            elif isinstance(value, Role):
                fields.append(f"{name}={value.name.lower()}")
            elif value is not False:
                fields.append(name if value is True else f"{name}={value}")
        return f"{head} {' '.join(fields)}"
