"""Every order of events of three members of a shipped core, within bounds: what the random world samples, complete.

*Events.* A timer runs out, a command is proposed, a message arrives, a batch reaches the disk, a member crashes (its
oldest batch written in any part) and starts again, a leader sends again what may be lost. Each kind has a bound.

*Network.* A message that was sent may arrive at any time, again and again, or never: messages are a set from which
nothing is taken, and that is loss, doubling, reordering and delay.

*Time* stands still, and no member sticks to its leader: safety rests on neither.

*States* are numbers: of the members, and of the messages. Behind each is one met before or not; what an event makes of
a member is found once. States in which members that call no election have changed places are one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import cache
from itertools import permutations
from typing import Final, TypeAlias

import msgspec

from coterie.core.messages import (
    Accept,
    Accepted,
    Append,
    AppendReply,
    Canvass,
    CanvassReply,
    Message,
    Prepare,
    PreVote,
    PreVoteReply,
    Promise,
    Pull,
    RequestVote,
    VoteReply,
)
from coterie.core.protocols import DEFAULT_PROTOCOL, LOG_MATCHING
from coterie.core.types import Entry, Epoch, MemberId, Role
from coterie.sim.explorer import DEFAULT_LIMIT_STATES, Exploration, explore
from coterie.sim.seats import MEMBERS, Renaming, Seat, Sent, message_key, name_of

Number: TypeAlias = int
ASKS_FOR_POWER: Final = (PreVote, RequestVote, Canvass, Prepare, Pull)
"""Before such a message arrives, its receiver forgets its leader."""
ITSELF: Final[Renaming] = {}


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How much may happen, in all."""

    protocol: str = DEFAULT_PROTOCOL
    candidates: int = 1
    """So many members, the first, call elections."""
    elections: int = 1
    """Timers that run out."""
    proposals: int = 1
    crashes: int = 0
    resends: int = 0
    """Times that a leader sends again what it has sent to one member."""
    slow_disks: bool = True
    """What is to be written may wait while other things happen; else it is on the disk at once."""
    depth: int = 0
    """Events at most; 0: as many as there are."""


class State:
    """One state. Equal ones are alike: their members may have changed places."""

    __slots__ = ("_key", "chosen", "events", "leaders", "left", "messages", "seats")

    def __init__(
        self,
        seats: tuple[Number, ...],
        messages: frozenset[Number],
        left: tuple[int, ...],
        chosen: tuple[bytes, ...],
        leaders: frozenset[tuple[Epoch, MemberId]],
        events: int,
        key: Hashable,
    ) -> None:
        self.seats = seats
        self.messages = messages
        self.left = left
        """Of elections, proposals, crashes and resends."""
        self.chosen = chosen
        """What was committed, by index."""
        self.leaders = leaders
        """Who ever led which epoch."""
        self.events = events
        self._key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


class SmallWorld:
    """Three members within bounds; gives the explorer its states."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._numbers: dict[Hashable, Number] = {}
        self._seats: dict[Number, Seat] = {}
        self._messages: dict[Number, Sent] = {}
        still = MEMBERS[bounds.candidates :]
        self.renamings: list[Renaming] = [
            {old: new for old, new in zip(still, order, strict=True) if old != new} for order in permutations(still)
        ]
        self._seat_twin = cache(self._find_seat_twin)
        self._message_twin = cache(self._find_message_twin)
        self._constants = cache(lambda number: self._seats[number].constants())
        self._after = cache(self._find_after)
        self._log: Callable[[Number], list[Entry]] = cache(lambda number: self._seats[number].log())
        self._conflict = cache(self._find_conflict)
        self._over = cache(self._find_over)
        self._receiver = cache(self._find_receiver)
        seats = [Seat(bounds.protocol, member) for member in MEMBERS]
        sent = frozenset(self._message(each) for seat in seats for each in seat.sent)
        left = (bounds.elections, bounds.proposals, bounds.crashes, bounds.resends)
        self.initial = self._state(tuple(map(self._seat, seats)), sent, left, (), frozenset(), 0)

    # -- numbers ---------------------------------------------------------------------------------

    def _number(self, key: Hashable) -> Number:
        return self._numbers.setdefault(key, len(self._numbers))

    def _seat(self, seat: Seat) -> Number:
        seat.sent = []
        number = self._number(seat.key(ITSELF))
        self._seats.setdefault(number, seat)
        return number

    def _message(self, sent: Sent) -> Number:
        number = self._number(message_key(sent, ITSELF))
        self._messages.setdefault(number, sent)
        return number

    def _find_seat_twin(self, number: Number, which: int) -> Number:
        return self._number(self._seats[number].key(self.renamings[which]))

    def _find_message_twin(self, number: Number, which: int) -> Number:
        return self._number(message_key(self._messages[number], self.renamings[which]))

    def _state(
        self,
        seats: tuple[Number, ...],
        messages: frozenset[Number],
        left: tuple[int, ...],
        chosen: tuple[bytes, ...],
        leaders: frozenset[tuple[Epoch, MemberId]],
        events: int,
    ) -> State:
        alike: list[tuple[tuple[Number, ...], list[Number]]] = []
        for which, renaming in enumerate(self.renamings):
            if not renaming:
                alike.append((seats, sorted(messages)))
                continue
            placed = dict(zip((renaming.get(m, m) for m in MEMBERS), seats, strict=True))
            twins = tuple(self._seat_twin(placed[m], which) for m in MEMBERS)
            alike.append((twins, sorted(self._message_twin(m, which) for m in messages)))
        first, second = min(alike)
        # Who may lead calls elections, and so is renamed never.
        key = (first, tuple(second), left, chosen, leaders, events if self.bounds.depth else 0)
        return State(seats, messages, left, chosen, leaders, events, key)

    def member(self, number: Number) -> Seat:
        """The member behind a number: not to be changed."""
        return self._seats[number]

    # -- steps -----------------------------------------------------------------------------------

    def successors(self, state: State) -> Iterator[tuple[object, State]]:
        """Every event that is possible."""
        if self.bounds.depth and state.events >= self.bounds.depth:
            return
        elections, proposals, crashes, resends = state.left
        for place, number in enumerate(state.seats):
            seat = self._seats[number]
            who, leads = name_of(seat.own), seat.replica.role is Role.LEADER
            if elections and place < self.bounds.candidates and not leads:
                yield f"{who}'s timer runs out", self._step(state, place, "time out", spends=0)
            if proposals and leads:
                payload = b"%d" % (self.bounds.proposals - proposals)
                yield f"{who} is asked for {payload.decode()!r}", self._step(state, place, "propose", payload, spends=1)
            if seat.batches:
                yield f"{who}'s disk has written a batch", self._step(state, place, "sync")
            if crashes:
                for records in range(len(seat.batches[0].records) + 1 if seat.batches else 1):
                    words = f"{who} crashes ({records} records of a batch written), and starts again"
                    yield words, self._step(state, place, "crash", records, spends=2)
            if resends and leads:
                for peer in MEMBERS:
                    if peer != seat.own:
                        words = f"{who} sends to {name_of(peer)} again"
                        yield words, self._step(state, place, "resend", peer, spends=3)
        for message in state.messages:
            sender, to, body = self._messages[message]
            place = MEMBERS.index(to)
            after = self._step(state, place, "hear", message)
            if after != state:
                yield f"{name_of(to)} hears {_words(body)} of {name_of(sender)}", after

    def _step(self, state: State, place: int, event: str, what: object = None, *, spends: int | None = None) -> State:
        number, sent = self._after(state.seats[place], event, what)
        seats = (*state.seats[:place], number, *state.seats[place + 1 :])
        messages = frozenset(m for m in state.messages | sent if not self._over(seats[self._receiver(m)], m))
        left = tuple(count - (kind == spends) for kind, count in enumerate(state.left))
        seat = self._seats[number]
        replica, chosen, leaders = seat.replica, state.chosen, state.leaders
        if replica.role is Role.LEADER:
            leaders |= {(replica.epoch, seat.own)}
        if replica.commit > len(chosen):
            log = self._log(number)
            chosen += tuple(entry.payload for entry in log[len(chosen) : replica.commit])
        return self._state(seats, messages, left, chosen, leaders, state.events + 1)

    def _find_receiver(self, message: Number) -> int:
        return MEMBERS.index(self._messages[message][1])

    def _find_over(self, number: Number, message: Number) -> bool:
        """Whether an answer will be ignored by its receiver for ever. The epoch on its disk does not go back; what a
        leader knows of a follower grows for as long as it leads, and it never leads in the same epoch again."""
        seat, body = self._seats[number], self._messages[message][2]
        durable = seat.platter.hard_state.epoch
        if isinstance(body, PreVoteReply | CanvassReply):
            asked = body.asked.round if isinstance(body, PreVoteReply) else body.asked
            return asked <= durable.round and body.epoch <= durable
        if not isinstance(body, AppendReply | Accepted | VoteReply | Promise):
            return False
        leads = seat.replica.role is Role.LEADER and body.epoch == seat.replica.epoch
        return body.epoch < durable or (leads and self._after(number, "hear", message) == (number, frozenset()))

    def _find_after(self, number: Number, event: str, what: object) -> tuple[Number, frozenset[Number]]:
        """What an event makes of a member, and what it sends then."""
        seat = self._seats[number].copy(self._constants(number))
        if seat.problem:
            return number, frozenset()
        if event == "hear":
            assert isinstance(what, int)
            sender, _, body = self._messages[what]
            if isinstance(body, ASKS_FOR_POWER):
                seat.forget_leader()
            seat.hear(sender, body)
        elif event == "time out":
            seat.forget_leader()
            seat.time_out()
        elif event == "propose":
            assert isinstance(what, bytes)
            seat.propose(what)
        elif event == "sync":
            seat.sync()
        elif event == "crash":
            assert isinstance(what, int)
            seat.crash(what)
        else:
            assert isinstance(what, int)
            seat.lose_connection(what)
        while seat.batches and not self.bounds.slow_disks:
            seat.sync()
        sent = frozenset(self._message(each) for each in seat.sent if each[1] in MEMBERS)
        return self._seat(seat), sent

    # -- laws ------------------------------------------------------------------------------------

    def wrong(self, state: State) -> str | None:
        """What is wrong in a state, in words."""
        for number in state.seats:
            seat, log = self._seats[number], self._log(number)
            if seat.problem:
                return seat.problem
            replica = seat.replica
            for index, (entry, payload) in enumerate(zip(log[: replica.commit], state.chosen, strict=False), 1):
                if entry.payload != payload:
                    return f"chosen-stays: {name_of(seat.own)} commits {entry.payload!r} at {index}; {payload!r} was"
            if replica.role is Role.LEADER:
                held = tuple(entry.payload for entry in log[: len(state.chosen)])
                newest = max(epoch for epoch, _ in state.leaders)
                if held != state.chosen and replica.epoch == newest:
                    return f"leader-completeness: {name_of(seat.own)} leads {replica.epoch} without what was chosen"
        epochs = [epoch for epoch, _ in state.leaders]
        if len(epochs) != len(set(epochs)):
            return f"one-leader: {sorted((str(epoch), name_of(m)) for epoch, m in state.leaders)}"
        return self._conflict(state.seats) or self._message_conflict(state.messages)

    def _find_conflict(self, numbers: tuple[Number, ...]) -> str | None:
        """Two logs that contradict each other: one value a ballot and slot; in Raft, and all before it (5.3)."""
        logs = [self._log(number) for number in numbers]
        for at, one in enumerate(logs):
            for other in logs[:at]:
                for index in range(min(len(one), len(other)), 0, -1):
                    mine, theirs = one[index - 1], other[index - 1]
                    if mine.epoch == theirs.epoch and mine.payload != theirs.payload:
                        return f"one-value: entry {index} of {mine.epoch} is {mine.payload!r} and {theirs.payload!r}"
                    if mine.epoch == theirs.epoch and self.bounds.protocol in LOG_MATCHING:
                        if one[:index] != other[:index]:
                            return f"log-matching: logs agree in {index} of {mine.epoch}, and not before"
                        break
        return None

    def _message_conflict(self, messages: frozenset[Number]) -> str | None:
        """Two votes of one member in one epoch; two values that a leader sent for one slot in one epoch."""
        votes: dict[tuple[MemberId, Epoch], MemberId] = {}
        values: dict[tuple[int, Epoch], bytes] = {}
        for number in messages:
            sender, to, body = self._messages[number]
            if isinstance(body, VoteReply) and body.granted and votes.setdefault((sender, body.epoch), to) != to:
                return f"one-vote: {name_of(sender)} votes twice in {body.epoch}"
            if isinstance(body, Append | Accept):
                for entry in body.entries:
                    if values.setdefault((entry.index, entry.epoch), entry.payload) != entry.payload:
                        return f"one-value: two values were sent for {entry.index} in {entry.epoch}"
        return None


def _words(message: Message) -> str:
    fields = [
        f"{name}={value}"
        for name in message.__struct_fields__
        if (value := getattr(message, name))
        and name in ("epoch", "index", "prev_index", "commit", "granted", "accepted")
    ]
    return f"{type(message).__name__}({', '.join(fields)})"


def explore_small_world(
    bounds: Bounds, *, limit: int = DEFAULT_LIMIT_STATES, watch: Callable[[int, int], None] | None = None
) -> Exploration[State]:
    """Visit every state within the bounds, until a law is broken. `watch`: see `explore`. Raises `TooManyStates`."""
    world = SmallWorld(bounds)
    return explore(world.initial, world.successors, world.wrong, limit=limit, watch=watch)
