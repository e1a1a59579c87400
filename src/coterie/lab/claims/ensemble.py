"""Replicas alone, in virtual time: thousands of elections a minute, each on the protocol's code that ships.

No storage format, no engine, no clients: what a paper says of a protocol is tried on the protocol. Where the disk, the
sessions or the machine matter, experiments run on `lab.stage`.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Collection, Iterable
from itertools import count

import msgspec

from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.errors import SafetyViolation
from coterie.core.messages import Message
from coterie.core.settings import Settings
from coterie.core.types import NO_EPOCH, Entry, EntryKind, Index, Member, MemberId, Membership, Nanos, Role, Token
from coterie.lab.claims.seat import Maker, Seat
from coterie.lab.disk import Medium

SECOND: Nanos = 1000 * MILLISECOND


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long things take, in nanoseconds. What is drawn is drawn evenly."""

    one_way: Nanos = MILLISECOND
    jitter: Nanos = 0
    """What a message may take beyond `one_way`."""
    sync: Nanos = MILLISECOND
    sync_jitter: Nanos = 0
    """What a durable write may take beyond `sync`."""


def _same(to: MemberId, message: Message) -> Message:
    return message


class Ensemble:
    """Members 1, 2, ... of one group, on media that work, and links that can be cut one by one.

    Raises `SafetyViolation` where a replica sees a rule broken, or two entries are chosen for one slot.
    """

    def __init__(
        self,
        make: Maker,
        size: int,
        *,
        seed: int,
        timing: Timing,
        config: ReplicaConfig | None = None,
        phase_1: int = 0,
        phase_2: int = 0,
    ) -> None:
        """`phase_1`, `phase_2`: quorum sizes, 0 for a majority."""
        self.now: Nanos = 0
        self.config = config or ReplicaConfig()
        self.rng = random.Random(seed)
        self.ids = tuple(range(1, size + 1))
        self.cut: set[tuple[MemberId, MemberId]] = set()
        self.hears: Callable[[MemberId, Message], Message] = _same
        """What becomes of a message on its way to a member: it may become another that its sender could have sent."""
        self.sent: Callable[[MemberId, MemberId, Message], None] | None = None
        """Told of every message that leaves."""
        self.chosen: dict[Index, Entry] = {}
        self.committed_at: dict[Index, Nanos] = {}
        """When the first member knew that it is committed."""
        self.answers: dict[Token, Nanos] = {}
        """When each read was answered."""
        self.timing = timing
        """May be changed: what is under way arrives as it would have."""
        self._agenda: list[tuple[Nanos, int, Callable[[], None]]] = []
        self._order = count()
        self._token = 0
        members = tuple(Member(i, f"n{i}", f"n{i}:1", f"n{i}:2") for i in self.ids)
        membership = Membership(members, self.ids, phase_1=phase_1, phase_2=phase_2)
        first = [Entry(1, NO_EPOCH, EntryKind.MEMBERSHIP, 0, msgspec.msgpack.encode(membership))]
        self.seats = {i: Seat(i, make, Medium(first), self, random.Random(self.rng.getrandbits(64))) for i in self.ids}
        for seat in self.seats.values():
            seat.start()

    # -- time ------------------------------------------------------------------------------------

    def later(self, delay: Nanos, act: Callable[[], None]) -> None:
        """See `Around`. What is due at the same time happens in the order in which it was put there."""
        heapq.heappush(self._agenda, (self.now + delay, next(self._order), act))

    def run(self, duration: Nanos) -> None:
        """Let so much time pass."""
        self.run_until(lambda: False, duration)

    def run_until(self, condition: Callable[[], bool], limit: Nanos) -> bool:
        """Let time pass until the condition holds, or for so long. Whether it came to hold."""
        until = self.now + limit
        while not condition():
            if not self._agenda or self._agenda[0][0] > until:
                self.now = until
                return False
            self.now, _, act = heapq.heappop(self._agenda)
            act()
        return True

    def sync_time(self) -> Nanos:
        """See `Around`."""
        timing = self.timing
        return timing.sync + (self.rng.randrange(timing.sync_jitter) if timing.sync_jitter else 0)

    # -- messages --------------------------------------------------------------------------------

    def post(self, source: MemberId, to: MemberId, message: Message) -> None:
        """See `Around`."""
        if self.sent is not None:
            self.sent(source, to, message)
        timing = self.timing
        delay = timing.one_way + (self.rng.randrange(timing.jitter) if timing.jitter else 0)
        self.later(delay, lambda: self.arrive(source, to, message))

    def arrive(self, source: MemberId, to: MemberId, message: Message) -> None:
        """A message has come to where it was sent, unless the link is cut by now."""
        if (source, to) not in self.cut:
            self.seats[to].receive(source, self.hears(to, message))

    def link_only(self, pairs: Iterable[tuple[MemberId, MemberId]]) -> None:
        """From now on messages pass between these pairs, in both directions, and no others."""
        linked = {frozenset(pair) for pair in pairs}
        self.cut = {(a, b) for a in self.ids for b in self.ids if a != b and frozenset((a, b)) not in linked}

    # -- members ---------------------------------------------------------------------------------

    def alive(self) -> list[MemberId]:
        """Those whose processes run."""
        return [i for i in self.ids if self.seats[i].alive]

    def leaders(self) -> list[MemberId]:
        """Who thinks that it leads."""
        return [i for i in self.alive() if self.seats[i].replica.role is Role.LEADER]

    def crash(self, *members: MemberId) -> None:
        """Their processes die."""
        for member in members:
            self.seats[member].crash()

    def lead(self, member: MemberId) -> bool:
        """Let this member's timer run out now, and time pass until it has committed as leader. Whether it came to
        that within ten seconds: others may lead already, or know better."""
        self.seats[member].hasten()
        return self.run_until(lambda: self.serves(member), 10 * SECOND)

    def serves(self, member: MemberId) -> bool:
        """Whether it leads, and has committed an entry of its own epoch."""
        seat = self.seats[member]
        if not seat.alive or seat.replica.role is not Role.LEADER:
            return False
        entry = self.chosen.get(seat.replica.commit)
        return entry is not None and entry.epoch == seat.replica.epoch

    # -- clients ---------------------------------------------------------------------------------

    def propose(self, member: MemberId, payload: bytes) -> None:
        """A command for this member; nothing comes of it if it does not lead."""
        self._token += 1
        seat = self.seats[member]
        seat.replica.propose(seat.clock, self._token, payload)
        seat.drain()

    def set(self, member: MemberId, settings: Settings) -> None:
        """Other settings, asked of this member."""
        self._token += 1
        seat = self.seats[member]
        seat.replica.change_settings(seat.clock, self._token, settings)
        seat.drain()

    def read(self, member: MemberId) -> Token:
        """A linearizable read at this member. See `answers`; it has none if the member does not lead."""
        self._token += 1
        seat = self.seats[member]
        seat.replica.read(seat.clock, self._token)
        seat.drain()
        return self._token

    def answered(self, member: MemberId, token: Token, index: Index) -> None:
        """See `Around`."""
        self.answers[token] = self.now

    def committed(self, member: MemberId, entry: Entry) -> None:
        """See `Around`."""
        known = self.chosen.setdefault(entry.index, entry)
        if (known.kind, known.payload) != (entry.kind, entry.payload):
            raise SafetyViolation(f"two entries are chosen for slot {entry.index}: {known} and {entry}")
        if known is entry:
            self.committed_at[entry.index] = self.now

    def payloads(self) -> list[bytes]:
        """The commands that are committed, in order."""
        chosen = (self.chosen[index] for index in sorted(self.chosen))
        return [entry.payload for entry in chosen if entry.kind is EntryKind.COMMANDS]


def pairs_among(members: Collection[MemberId]) -> list[tuple[MemberId, MemberId]]:
    """Every two of these."""
    return [(a, b) for a in members for b in members if a < b]
