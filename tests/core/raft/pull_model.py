"""Three members of the shipped Raft, and every order of events around a pull, for the explorer.

*Members* are the shipped replicas, with disks that are quick. One of them may crash, with all that it said durable, or
in the middle of the batch that a chunk led to.

*Messages* of pulls arrive at any time, again and again, or never: they are a set from which nothing is taken, but for
what its receiver would ignore for ever. Those of replication come again, too, or are lost; but of what one member
sends another, only the newest is kept. An election is one step: a member's timer runs out, one other answers it, and it
is refused, begins to pull, or leads. So only the orders that matter here are many.

*Time* stands still. Nobody sticks to a leader (6.2): this is the worst case, for safety does not rest on it.

*States* are tuples of numbers. Behind each is a member, or a set of messages, met before or not; what can happen to it
is found once.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Hashable, Iterator
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import msgspec
from tests.core.one_member import THREE
from tests.core.raft.pull_rules import SHIPPED, Rules
from tests.datadriven.disk import Disk, Reader
from tests.datadriven.words import message_words, name

from coterie.core.config import ReplicaConfig
from coterie.core.messages import (
    Append,
    AppendReply,
    Message,
    PreVote,
    PreVoteReply,
    Pull,
    RequestVote,
    Suffix,
    VoteReply,
)
from coterie.core.quorum import majority
from coterie.core.raft.replica import Raft
from coterie.core.types import NO_EPOCH, NOBODY, Entry, EntryKind, Epoch, HardState, MemberId
from coterie.sim.seats import constants_of

VOTING = (PreVote, PreVoteReply, RequestVote, VoteReply)
FRAIL: MemberId = 2
"""Who crashes."""
Sent: TypeAlias = tuple[MemberId, MemberId, Message]
Number: TypeAlias = int


class Dice(random.Random):
    """All draws are alike."""

    def randrange(self, *_: Any) -> int:
        return 0

    def __deepcopy__(self, memo: object) -> Dice:
        return self


class Start(NamedTuple):
    """A member's disk in the beginning: the epochs of its entries from index 2 on, and its own."""

    entries: tuple[int, ...]
    epoch: int


class Seat:
    """A member and its disk."""

    def __init__(self, own: MemberId, disk: Disk, rules: Rules) -> None:
        self.own = own
        self.disk = disk
        self.rules = rules
        self.replica = self._started()
        self.alarm = ""
        self.sent: list[Sent] = []
        self.drain()

    def _started(self) -> Raft:
        replica = Raft(
            own=self.own,
            config=ReplicaConfig(),
            recovered=self.disk.recovered(),
            reader=Reader(self.disk),
            snapshots=None,
            applied=0,
            rng=Dice(),
            now=0,
        )
        replica._election.__class__ = self.rules.election
        replica._election._puller.__class__ = self.rules.puller
        return replica

    def restart(self) -> None:
        self.replica = self._started()
        self.drain()

    def drain(self, crash_after: int | None = None) -> None:
        """Do what the replica wants, until it wants nothing; `crash_after`: so many records, and no more."""
        while True:
            effects = self.replica.drain(0)
            if effects.alarm is not None:
                self.alarm = effects.alarm.evidence
                return
            self.sent += [(self.own, to, message) for to, message in effects.send]
            if effects.store is not None:
                self.disk.batches.append(effects.store)
                if crash_after is not None:
                    self.disk.perform_part(crash_after)
                    self.disk.batches = []
                    self.restart()
                    return
                mark = self.disk.perform(1)
                self.replica.stored(0, mark)
            self.sent += [(self.own, to, message) for _, to, message in effects.send_after]
            if effects.store is None and not effects.more:
                return

    def log(self) -> tuple[Epoch, ...]:
        return tuple(entry.epoch for entry in self.disk.entries)


IRRELEVANT = frozenset(
    {
        *("reason", "membership_reason", "_announcement", "_settled", "_fresh"),
        *("last_mark", "stored_mark", "mark"),
        *("_timeout", "_attempts", "_heard_at", "_insists", "_votes", "_refusals", "_no_help"),
    }
)
"""Words for people; numbers of batches, all of which are stored; what an election leaves behind, which is over when its
step is."""


def likeness(value: Any, seen: dict[int, int]) -> Hashable:
    """All that a value is made of, as something to compare."""
    if value is None or isinstance(value, (bool, int, str, bytes, type)):
        return value
    if isinstance(value, (Dice, ReplicaConfig)):
        return None
    if id(value) in seen:
        return ("again", seen[id(value)])
    if isinstance(value, (set, frozenset)):
        return frozenset(likeness(each, seen) for each in value)
    if isinstance(value, dict):
        return tuple((likeness(key, seen), likeness(each, seen)) for key, each in sorted(value.items()))
    if isinstance(value, msgspec.Struct):
        parts = [(field, getattr(value, field)) for field in value.__struct_fields__ if field not in IRRELEVANT]
        return (type(value), *(likeness(each, seen) for _, each in parts))
    if hasattr(value, "__iter__") and not hasattr(value, "__dict__"):
        return tuple(likeness(each, seen) for each in value)
    seen[id(value)] = len(seen)
    slots = [slot for kind in type(value).__mro__ for slot in getattr(kind, "__slots__", ())]
    parts = [
        (key, getattr(value, key)) for key in sorted({*getattr(value, "__dict__", {}), *slots}) if hasattr(value, key)
    ]
    return (
        type(value),
        *((key, likeness(each, seen)) for key, each in parts if key not in IRRELEVANT and not callable(each)),
    )


class State(NamedTuple):
    """Numbers of the members and of the set of messages; what is committed, and how many crashes are left."""

    seats: tuple[Number, ...]
    messages: frozenset[Number]
    chosen: tuple[Epoch, ...]
    crashes: int


class Numbers:
    """Numbers for values, in the order in which they are met."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, Number] = {}
        self._values: list[Any] = []

    def of(self, key: Hashable, value: Any) -> Number:
        number = self._numbers.setdefault(key, len(self._values))
        if number == len(self._values):
            self._values.append(value)
        return number

    def value(self, number: Number) -> Any:
        return self._values[number]


class Group:
    """Members 1, 2, 3."""

    def __init__(
        self,
        starts: tuple[Start, ...],
        *,
        rules: Rules = SHIPPED,
        rounds: int,
        requests: int = 2,
        crashes: int = 0,
        length: int = 4,
    ) -> None:
        """`rounds`: the highest epoch; `requests`: questions a pulling member asks in one life; `crashes`: of n2, so
        many in all; `length`: of logs."""
        self.rounds, self.requests, self.length = rounds, requests, length
        self._seats, self._messages = Numbers(), Numbers()
        numbers = []
        for own, start in enumerate(starts, 1):
            first = Entry(1, NO_EPOCH, EntryKind.MEMBERSHIP, 0, msgspec.msgpack.encode(THREE))
            epochs = [Epoch(each, 0) for each in start.entries]
            disk = Disk((first, *(Entry(i, e, EntryKind.COMMANDS, 0, b"") for i, e in enumerate(epochs, 2))))
            disk.hard_state = HardState(Epoch(start.epoch, 0), NOBODY)
            numbers.append(self._number(Seat(own, disk, rules)))
        self.initial = State(tuple(numbers), frozenset(), (NO_EPOCH,), crashes)
        self._constant = cache(self._find_constant)
        self._call = cache(self._find_call)
        self._delivered = cache(self._find_delivered)
        self._restarted = cache(self._find_restarted)
        self._proposed = cache(self._find_proposed)
        self._alive = cache(self._find_alive)
        self._heeded = cache(self._find_heeded)
        self._link = cache(self._find_link)

    def _number(self, seat: Seat) -> Number:
        seat.sent = []
        disk = (tuple(seat.disk.entries), seat.disk.hard_state)
        return self._seats.of((disk, seat.alarm, likeness(seat.replica, {})), seat)

    def seat(self, number: Number) -> Seat:
        """The member behind a number: not to be changed."""
        found: Seat = self._seats.value(number)
        return found

    def _copy(self, number: Number) -> Seat:
        return copy.deepcopy(self.seat(number), dict(self._constant(number)))

    def _find_constant(self, number: Number) -> dict[int, object]:
        return constants_of(self.seat(number))

    def _sent(self, seat: Seat) -> frozenset[Number]:
        newest = {(to, type(m)) if isinstance(m, Append | AppendReply) else m: (own, to, m) for own, to, m in seat.sent}
        return frozenset(self._messages.of(x, x) for x in newest.values() if not isinstance(x[2], VOTING))

    # -- steps ---------------------------------------------------------------------------------

    def successors(self, state: State) -> Iterator[tuple[object, State]]:
        """Every step that is possible."""
        for c, candidate in enumerate(state.seats):
            for v, voter in enumerate(state.seats):
                if c != v and (found := self._call(candidate, voter)) is not None:
                    words, after_c, after_v, sent = found
                    yield words, self._after(state, {c: after_c, v: after_v}, sent)
            if (proposed := self._proposed(candidate)) is not None:
                yield f"{name(c + 1)} appends an entry", self._after(state, {c: proposed[0]}, proposed[1])
            if state.crashes and c == FRAIL - 1:
                again = self._restarted(candidate)
                yield f"{name(c + 1)} crashes and starts again", self._after(state, {c: again}, frozenset(), crashed=1)
        for message in state.messages:
            to = self._messages.value(message)[1] - 1
            for words, after, sent, crashed in self._delivered(state.seats[to], message):
                if crashed <= state.crashes and (not crashed or to == FRAIL - 1):
                    yield words, self._after(state, {to: after}, sent, crashed=crashed)

    def _after(self, state: State, seats: dict[int, Number], sent: frozenset[Number], *, crashed: int = 0) -> State:
        numbers = tuple(seats.get(i, number) for i, number in enumerate(state.seats))
        left = state.crashes - crashed
        chosen = state.chosen
        for number in seats.values():
            seat = self.seat(number)
            log, commit = seat.log(), seat.replica.commit
            if commit > len(chosen):
                chosen = (*chosen, *log[len(chosen) : commit])
        return State(numbers, self._alive(numbers, state.messages, sent, left), chosen, left)

    def _find_alive(
        self, numbers: tuple[Number, ...], messages: frozenset[Number], sent: frozenset[Number], crashes: int
    ) -> frozenset[Number]:
        """Without those that their receivers will ignore from now on, and without older ones of replication."""
        newer = {self._link(m) for m in sent} - {None}
        alive = {m for m in messages if self._link(m) not in newer} | sent
        kept = set()
        for number in alive:
            sender, to, m = self._messages.value(number)
            if self._heeded(numbers[(sender if isinstance(m, Pull) else to) - 1], number, crashes > 0):
                kept.add(number)
        return frozenset(kept)

    def _find_link(self, message: Number) -> Hashable:
        sender, to, m = self._messages.value(message)
        return (sender, to, type(m)) if isinstance(m, Append | AppendReply) else None

    def _find_heeded(self, number: Number, message: Number, may_crash: bool) -> bool:
        """Whether a message may still have an effect: `number` is its receiver; of a question, who asked it."""
        replica, m = self.seat(number).replica, self._messages.value(message)[2]
        if isinstance(m, AppendReply):
            return bool(m.epoch == replica.epoch and replica._leadership is not None)
        if isinstance(m, Append):
            return bool(m.epoch >= replica.epoch)
        puller = replica._election._puller
        if isinstance(m, Pull):
            return puller.source is not None and bool(m.request == puller._request)
        # One that crashes begins to count anew, and may come to wait for the same number again.
        over = puller._request if puller.source is None else puller._request - 1
        return bool(m.epoch >= replica.epoch) and (may_crash or bool(m.request > over))

    def _find_call(self, candidate: Number, voter: Number) -> tuple[str, Number, Number, frozenset[Number]] | None:
        """The candidate's timer runs out, and the voter alone hears it."""
        one = self.seat(candidate)
        if one.replica._leadership is not None or one.alarm:
            return None
        one, two = self._copy(candidate), self._copy(voter)
        if one.replica._election._pre_campaign(0):
            return None
        one.drain()
        for _ in range(10):
            for here, there in ((one, two), (two, one)):
                votes = [m for _, to, m in here.sent if to == there.own and isinstance(m, VOTING)]
                here.sent = [x for x in here.sent if not isinstance(x[2], VOTING)]
                for m in votes:
                    there.replica.receive(0, here.own, m)
                    there.drain()
        if one.replica.epoch.round > self.rounds or one.replica._election._puller._request > self.requests:
            return None
        if one.replica._leadership is not None:
            what = f"wins epoch {one.replica.epoch}"
        elif one.replica._election._puller.source is not None:
            what = "is refused for its log, and pulls"
        elif one.replica.epoch > self.seat(candidate).replica.epoch:
            what = f"takes up epoch {one.replica.epoch}"
        else:
            return None
        words = f"{name(one.own)} calls an election, {name(two.own)} answers, and {name(one.own)} {what}"
        sent = self._sent(one) | self._sent(two)
        return words, self._number(one), self._number(two), sent

    def _find_delivered(self, number: Number, message: Number) -> list[tuple[str, Number, frozenset[Number], int]]:
        sender, to, m = self._messages.value(message)
        words = message_words(sender, to, m)
        found = []
        for crash_after in (None, 1):
            if crash_after is not None and not isinstance(m, Suffix):
                continue
            seat = self._copy(number)
            if seat.alarm:
                return []
            seat.replica.receive(0, sender, m)
            seat.drain(crash_after)
            if len(seat.disk.entries) > self.length or seat.replica._election._puller._request > self.requests:
                continue
            if seat.replica.epoch.round > self.rounds:
                continue
            sent = self._sent(seat)
            note = words if crash_after is None else f"{words}, which crashes after the first record and starts again"
            found.append((note, self._number(seat), sent, 0 if crash_after is None else 1))
        return found

    def _find_restarted(self, number: Number) -> Number:
        seat = self._copy(number)
        seat.restart()
        return self._number(seat)

    def _find_proposed(self, number: Number) -> tuple[Number, frozenset[Number]] | None:
        seat = self._copy(number)
        if seat.replica._leadership is None or seat.replica.last_index >= self.length:
            return None
        seat.replica.propose(0, 1, b"")
        seat.drain()
        sent = self._sent(seat)
        return self._number(seat), sent

    # -- what holds ----------------------------------------------------------------------------

    def committed_stays(self, state: State) -> str | None:
        """Each committed entry is on the disks of a majority, from then on for ever."""
        logs = [self.seat(number).log() for number in state.seats]
        for index, epoch in enumerate(state.chosen, 1):
            holders = [i for i, log in enumerate(logs, 1) if len(log) >= index and log[index - 1] == epoch]
            if len(holders) < majority(len(logs)):
                return f"entry {index} of epoch {epoch} was committed, and only {[name(i) for i in holders]} holds it"
        for number in state.seats:
            if self.seat(number).alarm:
                return f"alarm: {self.seat(number).alarm}"
        return None

    def epochs_keep_up(self, state: State) -> str | None:
        """No log has an entry that is newer than its member's epoch, and epochs never fall along a log."""
        for i, number in enumerate(state.seats, 1):
            log, epoch = self.seat(number).log(), self.seat(number).disk.hard_state.epoch
            if any(each > epoch for each in log) or list(log) != sorted(log):
                return f"{name(i)} is in epoch {epoch}, and its entries are of {[str(each) for each in log]}"
        return None

    def acknowledged_stays(self, state: State) -> str | None:
        """What a leader believes of a member that is still in its epoch is true."""
        for leader in map(self.seat, state.seats):
            for known in leader.replica.progress(0):
                member = self.seat(state.seats[known.id - 1])
                same = member.log()[: known.match] == leader.log()[: known.match]
                if member.replica.epoch == leader.replica.epoch and not same:
                    return f"{name(known.id)} acknowledged {known.match} entries to {name(leader.own)}, and lost some"
        return None

    def laws(self, state: State) -> str | None:
        """All three."""
        return self.committed_stays(state) or self.epochs_keep_up(state) or self.acknowledged_stays(state)
