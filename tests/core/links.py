"""Members of one group in virtual time, and links between them that can be cut one by one.

Every message takes the same time, every sync, too; timers run when they are due. The seed draws the election timeouts.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable

import msgspec
from tests.datadriven.disk import EMPTY, Disk, Reader

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.messages import Message, PreVoteReply
from coterie.core.protocols import make_replica
from coterie.core.replica import Replica
from coterie.core.types import NO_EPOCH, Entry, EntryKind, Index, Mark, Member, MemberId, Membership, Nanos, Role

SYNC: Nanos = MILLISECOND


def plain_raft(message: Message) -> Message:
    """What a member hears in Raft as it is in the paper: a refusal does not say that it is for the log alone."""
    return msgspec.structs.replace(message, behind=False) if isinstance(message, PreVoteReply) else message


def unchanged(message: Message) -> Message:
    """What was sent."""
    return message


class Group:
    """Members 1, 2, ... `N`, all alive, on disks that work."""

    def __init__(
        self,
        protocol: str,
        size: int,
        seed: int,
        *,
        delay: Nanos = MILLISECOND,
        hears: Callable[[Message], Message] = unchanged,
        config: ReplicaConfig | None = None,
    ) -> None:
        self.config = config or ReplicaConfig()
        self.now: Nanos = 0
        self.rng = random.Random(seed)
        self.ids = tuple(range(1, size + 1))
        self.cut: set[tuple[MemberId, MemberId]] = set()
        self.committed: dict[Index, Entry] = {}
        self.commit_times: list[tuple[Nanos, Nanos]] = []
        """When a command was proposed, and when the first member knew that it is committed."""
        self._delay = delay
        self._hears = hears
        self._events: list[tuple[Nanos, int, Callable[[], None]]] = []
        self._order = 0
        self._token = 0
        members = tuple(Member(i, f"n{i}", f"n{i}:1", f"n{i}:2") for i in self.ids)
        first = Entry(1, NO_EPOCH, EntryKind.MEMBERSHIP, 0, msgspec.msgpack.encode(Membership(members, self.ids)))
        self.disks = {i: Disk((first,), EMPTY) for i in self.ids}
        self.replicas: dict[MemberId, Replica] = {}
        self._held: dict[MemberId, list[tuple[Mark, MemberId, Message]]] = {i: [] for i in self.ids}
        self._deadlines: dict[MemberId, Nanos] = {}
        for i, disk in self.disks.items():
            self.replicas[i] = make_replica(
                protocol,
                own=i,
                config=self.config,
                recovered=disk.recovered(),
                reader=Reader(disk),
                applied=0,
                rng=random.Random(self.rng.random()),
                now=0,
            )
        for i in self.ids:
            self._drain(i)

    # -- what a test does ----------------------------------------------------------------------

    def run(self, duration: Nanos) -> None:
        """Let so much time pass."""
        until = self.now + duration
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = until

    def run_until(self, condition: Callable[[], bool], limit: Nanos) -> bool:
        """Let time pass until it holds, or for so long. Whether it came to hold."""
        until = self.now + limit
        while not condition():
            if not self._events or self._events[0][0] > until:
                self.now = until
                return False
            self.now, _, event = heapq.heappop(self._events)
            event()
        return True

    def leaders(self) -> list[MemberId]:
        """Who thinks that it leads."""
        return [i for i in self.ids if self.replicas[i].role is Role.LEADER]

    def propose(self) -> None:
        """A command of a few bytes, to whoever thinks that it leads."""
        for leader in self.leaders():
            self._token += 1
            self.replicas[leader].propose(self.now, self._token, b"%d" % self.now)
            self._drain(leader)

    def keep_proposing(self, interval: Nanos) -> None:
        """From now on, again and again."""
        self.propose()
        self._after(interval, lambda: self.keep_proposing(interval))

    def link_only(self, pairs: Iterable[tuple[MemberId, MemberId]]) -> None:
        """From now on messages pass between these pairs, in both directions, and no others. What is under way is lost
        on links that are cut."""
        linked = {frozenset(pair) for pair in pairs}
        self.cut = {(a, b) for a in self.ids for b in self.ids if a != b and frozenset((a, b)) not in linked}

    # -- the world -----------------------------------------------------------------------------

    def _after(self, delay: Nanos, event: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (self.now + delay, self._order, event))

    def _wake(self, member: MemberId, due: Nanos) -> None:
        if self._deadlines[member] == due:
            self.replicas[member].wake(self.now)
            self._drain(member)

    def _deliver(self, sender: MemberId, to: MemberId, message: Message) -> None:
        if (sender, to) not in self.cut:
            self.replicas[to].receive(self.now, sender, self._hears(message))
            self._drain(to)

    def _stored(self, member: MemberId, mark: Mark) -> None:
        if self.disks[member].batches and self.disks[member].batches[0].mark <= mark:
            self.disks[member].perform(1)
            self.replicas[member].stored(self.now, mark)
            ready = [held for held in self._held[member] if held[0] <= mark]
            self._held[member] = [held for held in self._held[member] if held[0] > mark]
            for _, to, message in ready:
                self._send(member, to, message)
            self._drain(member)

    def _send(self, sender: MemberId, to: MemberId, message: Message) -> None:
        self._after(self._delay, lambda: self._deliver(sender, to, message))

    def _drain(self, member: MemberId) -> None:
        while True:
            effects = self.replicas[member].drain(self.now)
            assert effects.alarm is None, effects.alarm
            for to, message in effects.send:
                self._send(member, to, message)
            self._held[member] += effects.send_after
            store = effects.store
            if store is not None:
                self.disks[member].batches.append(store)
                self._after(SYNC, lambda member=member, mark=store.mark: self._stored(member, mark))  # type: ignore[misc]
            for entry in effects.committed:
                self._note(entry)
            if not effects.more:
                break
        self._deadlines[member] = effects.deadline
        due = effects.deadline
        self._after(max(0, due - self.now), lambda: self._wake(member, due))

    def _note(self, entry: Entry) -> None:
        known = self.committed.setdefault(entry.index, entry)
        assert (known.kind, known.payload) == (entry.kind, entry.payload), f"two entries chosen at {entry.index}"
        if known is entry and entry.kind is EntryKind.COMMANDS:
            self.commit_times.append((int(entry.payload), self.now))
