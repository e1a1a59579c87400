"""The world that a conversation's commands act upon: members, their disks and clocks, messages in flight."""

from __future__ import annotations

import random

from tests.datadriven.disk import Reader
from tests.datadriven.seat import Seat
from tests.datadriven.telling import Promises, Telling
from tests.datadriven.words import epoch_word, name, number

from coterie.core.config import ReplicaConfig
from coterie.core.messages import Message
from coterie.core.protocols import make_replica
from coterie.core.replica import Effects
from coterie.core.types import NO_EPOCH, Epoch, Membership, Role, SnapshotMeta

MAX_STEPS = 10_000


class World:
    """Members n1, n2, ... of one protocol and the messages between them. Nothing moves by itself."""

    def __init__(self, protocol: str, *, promises: bool = False) -> None:
        """`promises`: tell only what every protocol promises."""
        self.protocol = protocol
        self.now = 0
        self.config = ReplicaConfig()
        self.seats: dict[int, Seat] = {}
        self.messages: list[tuple[int, int, Message]] = []
        self.cut: set[tuple[int, int]] = set()
        self.lines: list[str] = []
        self.muted = 0
        self.token = 0
        self.teller = (Promises if promises else Telling)(self.say)

    def say(self, line: str) -> None:
        if not self.muted:
            self.lines.append(line)

    def clock(self, member: int) -> int:
        seat = self.seats[member]
        return self.now * (1000 + seat.drift) // 1000 + seat.ahead

    def start(self, member: int) -> None:
        seat = self.seats[member]
        seat.held, seat.stored_mark, seat.cluster_time = [], 0, 0
        seat.disk.batches, seat.disk.hangs, seat.disk.part = [], False, None
        seat.restore((SnapshotMeta(0, NO_EPOCH, Membership((), ()), seat.disk.base.settings), b""))
        newest = seat.disk.newest()
        if newest is not None:
            seat.restore(newest)
            self.teller.restores(member, newest[0])
        seat.disk.say = lambda first, last: self.teller.reads_back(member, first, last)
        seat.replica = make_replica(
            self.protocol,
            own=member,
            config=self.config,
            recovered=seat.disk.recovered(),
            reader=Reader(seat.disk),
            snapshots=Reader(seat.disk),
            applied=seat.applied.index,
            rng=random.Random(member),
            now=self.clock(member),
        )
        if newest is not None:
            seat.replica.snapshot_taken(self.clock(member), newest[0], len(newest[1]))
        self.muted += newest is None
        self.drain(member)
        self.muted -= newest is None

    def leader(self) -> int:
        """Who leads, in the newest epoch if several think so."""
        running = [(i, seat.replica) for i, seat in self.seats.items() if seat.replica is not None]
        leading = [(replica.epoch, i) for i, replica in running if replica.role is Role.LEADER]
        assert leading, "nobody leads"
        return max(leading)[1]

    def next_due(self, words: list[str]) -> tuple[int, int] | None:
        """(time, member) of the first timer to run, of the members named or of all."""
        awake = [number(word) for word in words] or list(self.seats)
        seats = [(i, self.seats[i]) for i in awake]
        due = [(seat.due, i) for i, seat in seats if seat.replica is not None and not seat.asleep]
        return min(due, default=None)

    def wake(self, member: int) -> None:
        self.seats[member].running.wake(self.clock(member))
        self.drain(member)

    def settle(self, *, telling: bool) -> None:
        for _ in range(MAX_STEPS):
            busy = False
            for member in self.seats:
                busy = self.sync(member, telling=telling) or busy
            arriving = [message for message in self.messages if not self.seats[message[1]].asleep]
            self.messages = [message for message in self.messages if self.seats[message[1]].asleep]
            for message in arriving:
                self.deliver(*message, telling=telling)
            if not (busy or arriving):
                return
        raise AssertionError(f"still busy after {MAX_STEPS} steps")

    def sync(self, member: int, *, telling: bool = True, batches: int = 0) -> bool:
        seat = self.seats[member]
        if seat.replica is None or seat.asleep or seat.disk.hangs:
            return False
        busy = False
        if seat.disk.batches:
            busy = True
            seat.stored_mark = seat.disk.perform(batches or len(seat.disk.batches))
            if telling:
                self.teller.stored(member, seat.stored_mark)
            seat.replica.stored(self.clock(member), seat.stored_mark)
            self.drain(member, telling=telling)
        if seat.disk.whole:
            busy = True
            meta = seat.disk.keep_part()
            if telling:
                self.teller.received(member, meta)
            seat.running.snapshot_received(self.clock(member), meta)
            self.drain(member, telling=telling)
        return busy

    def matches(self, message: tuple[int, int, Message], options: dict[str, str]) -> bool:
        sender, to, body = message
        words = {"from": name(sender), "to": name(to), "type": type(body).__name__}
        for option, wanted in options.items():
            value = words[option] if option in words else getattr(body, option, None)
            if wanted != (epoch_word(value) if isinstance(value, Epoch) else str(value)):
                return False
        return True

    def deliver(self, sender: int, to: int, message: Message, *, telling: bool = True) -> None:
        seat = self.seats[to]
        lost = seat.replica is None or (sender, to) in self.cut
        if telling:
            self.teller.message(sender, to, message, lost=lost)
        if not lost:
            seat.running.receive(self.clock(to), sender, message)
            self.drain(to, telling=telling)

    def drain(self, member: int, *, telling: bool = True) -> None:
        seat = self.seats[member]
        more = True
        while more and seat.replica is not None:
            effects = seat.replica.drain(self.clock(member))
            self.perform(member, seat, effects, telling)
            more = effects.more or bool(effects.chunks)

    def perform(self, member: int, seat: Seat, effects: Effects, telling: bool) -> None:
        if effects.alarm is not None:
            self.teller.alarm(member, effects.alarm)
            seat.replica = None
            return
        if effects.role is not None:
            self.teller.role(member, effects.role)
        for outcome in effects.outcomes:
            self.teller.outcome(member, outcome)
        if effects.store is not None:
            if telling:
                self.teller.stores(member, effects.store)
            seat.disk.batches.append(effects.store)
        self.messages.extend((member, to, message) for to, message in effects.send)
        seat.held.extend(effects.send_after)
        while seat.held and seat.held[0][0] <= seat.stored_mark:
            _, to, message = seat.held.pop(0)
            self.messages.append((member, to, message))
        for chunk in effects.chunks:
            seat.disk.take(chunk)
            seat.running.snapshot_kept(self.clock(member), chunk.meta, chunk.offset + len(chunk.data))
        if effects.install is not None:
            assert effects.install.index > seat.applied.index, "a snapshot never takes back what is applied"
            seat.restore(seat.disk.snapshots[effects.install.index])
            self.teller.installs(member, effects.install, seat.machine)
        if effects.snapshot_wanted and telling:
            self.teller.wants_snapshot(member)
        for entry in effects.committed:
            seat.apply(entry)
        if effects.committed:
            self.teller.commits(member, effects.committed)
        for read in effects.reads:
            self.teller.read(member, read)
        seat.deadline = effects.deadline
