"""All that may happen to a few proposers and acceptors of one decree, for the explorer.

The roles and their rules are the real ones; this adds a network and disks that do whatever they may.

*Network.* A message that was sent may arrive at any time, again and again, or never: messages are a set from which
nothing is taken, and that is loss, doubling and reordering. The exception is a promise that its proposer does not
listen to any more, which is forgotten; and a refusal is heard at once or never: late, it does no more than a proposer
does by itself, who may begin again at any time.

*Disks.* An acceptor's answer leaves when what it rests on is durable. That is one step, in which case a crash changes
nothing; or, with a slow disk, three: answers wait while more is answered, the disk syncs, or the acceptor crashes and
has what the last sync left.

*States* are tuples of numbers: of the set of what proposers asked, of each proposer, and of each acceptor with what it
sent. Behind each number is a value, met before or not; what can happen to it is found once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from coterie.core.errors import SafetyViolation
from coterie.core.multipaxos.synod import (
    RULES,
    Accept,
    Accepted,
    Acceptor,
    Learner,
    Nack,
    Prepare,
    Promise,
    Proposal,
    Proposer,
    Rules,
)
from coterie.core.quorum import Quorum, Threshold, majority
from coterie.core.types import NO_EPOCH, MemberId

Value: TypeAlias = str
Seen: TypeAlias = Acceptor[Value]
Number: TypeAlias = int
State: TypeAlias = tuple[Number, ...]
Moves: TypeAlias = tuple[tuple[str, Number, Number], ...]
"""Steps in words, what each makes of somebody, and of the set of what was asked."""

PROPOSERS = 2
VALUES = ("a", "b")
ALL = -1
"""Stands where a proposer would, for a message to all learners."""


class Ask(NamedTuple):
    """From a proposer to all acceptors."""

    proposer: int
    message: Prepare | Accept[Value]


class Answer(NamedTuple):
    """From an acceptor to a proposer, or to all learners."""

    to: int
    message: Promise[Value] | Accepted[Value]


class Seat(NamedTuple):
    """An acceptor, its disk, and what it said."""

    acceptor: Seen = Acceptor()
    durable: Seen = Acceptor()
    waiting: frozenset[Answer] = frozenset()
    sent: frozenset[Answer] = frozenset()


class Halted(NamedTuple):
    """A proposer that saw a contradiction."""

    evidence: str


def as_it_was(durable: Seen) -> Seen:
    """An acceptor after a restart: what its disk holds."""
    return durable


class Disk(NamedTuple):
    """How an acceptor remembers."""

    slow: bool = False
    early: tuple[type, ...] = ()
    """Answers that leave before they are durable: there should be none."""
    recover: Callable[[Seen], Seen] = as_it_was


QUICK = Disk()


class _Numbers:
    """Numbers for values, in the order in which they are met."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, Number] = {}
        self._values: list[Any] = []

    def of(self, value: Hashable) -> Number:
        number = self._numbers.setdefault(value, len(self._values))
        if number == len(self._values):
            self._values.append(value)
        return number

    def value(self, number: Number) -> Any:
        return self._values[number]


class Model:
    """Bounded by `rounds`, the highest of each proposer."""

    def __init__(
        self,
        *,
        acceptors: int = 3,
        rounds: tuple[int, int] = (2, 2),
        rules: Rules = RULES,
        phase_1: Quorum | None = None,
        phase_2: Quorum | None = None,
        disk: Disk = QUICK,
    ) -> None:
        self.members: tuple[MemberId, ...] = tuple(range(1, acceptors + 1))
        most = Threshold(self.members, majority(acceptors))
        self.phase_1 = most if phase_1 is None else phase_1
        self.phase_2 = most if phase_2 is None else phase_2
        self.rounds, self.rules, self.disk = rounds, rules, disk
        self._asked, self._proposers, self._seats = _Numbers(), _Numbers(), _Numbers()
        self.initial: State = (
            self._asked.of(frozenset()),
            *(self._proposers.of(Proposer(node, own)) for node, own in enumerate(VALUES, 1)),
            *[self._seats.of(Seat())] * acceptors,
        )
        self._attempts = cache(self._find_attempts)
        self._hearings = cache(self._find_hearings)
        self._visits = cache(self._find_visits)
        self._accidents = cache(self._find_accidents)
        self._listened = cache(self._find_listened)
        self._renamed = cache(self._find_renamed)
        self._places = cache(self._find_places)
        self._votes = cache(self._find_votes)
        self._disagreement = cache(self._find_disagreement)
        self._mislearned = cache(self._find_mislearned)

    # ------------------------------------------------------------------------------------- steps

    def successors(self, state: State) -> Iterator[tuple[str, State]]:
        """All that can happen next."""
        asked, proposers, seats = state[0], state[1 : 1 + PROPOSERS], state[1 + PROPOSERS :]
        for p, proposer in enumerate(proposers):
            moves = list(self._attempts(p, proposer, asked))
            for a, seat in enumerate(seats):
                moves += self._hearings(p, proposer, a, seat, asked)
            for step, after, asks in moves:
                now = (*proposers[:p], after, *proposers[p + 1 :])
                yield step, (asks, *now, *(self._listened(seat, now) for seat in seats))
        for a, seat in enumerate(seats):
            for step, after in (*self._visits(a, seat, asked), *self._accidents(a, seat)):
                kept = self._listened(after, proposers)
                if kept != seat:
                    yield step, (asked, *proposers, *seats[:a], kept, *seats[a + 1 :])

    def _find_attempts(self, p: int, number: Number, asked: Number) -> Moves:
        """A proposer begins, for the first time or again."""
        proposer = self._proposers.value(number)
        if isinstance(proposer, Halted):
            return ()
        after, prepare = proposer.begin(rules=self.rules)
        return self._said(p, after, prepare, asked, f"p{p + 1} prepares ballot {prepare.ballot}")

    def _find_hearings(self, p: int, number: Number, a: int, seat_number: Number, asked: Number) -> Moves:
        """A proposer hears an acceptor: a promise that was sent, or a refusal of what it asks now."""
        proposer, seat = self._proposers.value(number), self._seats.value(seat_number)
        if isinstance(proposer, Halted) or proposer.ballot == NO_EPOCH:
            return ()
        moves: Moves = ()
        who, acceptor = f"p{p + 1}", f"n{a + 1}"
        for message in sorted((x.message for x in seat.sent if x.to == p), key=str):
            step = f"{who} gets the promise of {acceptor}, {_told(message)}"
            try:
                after, accept = proposer.on_promise(self.members[a], message, self.phase_1, self.rules)
            except SafetyViolation as alarm:
                moves += ((f"{step}, and halts", self._proposers.of(Halted(str(alarm))), asked),)
                continue
            if accept is not None:
                step += f", and asks to accept {accept.proposal}"
            moves += self._said(p, after, accept, asked, step)
        asks = Prepare(proposer.ballot) if proposer.proposal is None else Accept(proposer.proposal)
        _, nack = self._answered(seat.acceptor, asks)
        if isinstance(nack, Nack):
            after, prepare = proposer.on_nack(nack, self.rules)
            step = f"{acceptor} refuses ballot {nack.ballot}, for it promised {nack.promised}: {who} prepares"
            moves += self._said(p, after, prepare, asked, f"{step} ballot {after.ballot}")
        return moves

    def _said(
        self, p: int, after: Proposer[Value], message: Prepare | Accept[Value] | None, asked: Number, step: str
    ) -> Moves:
        if after.ballot.round > self.rounds[p]:
            return ()
        number = asked if message is None else self._asked.of(self._asked.value(asked) | {Ask(p, message)})
        return ((step, self._proposers.of(after), number),)

    def _answered(
        self, acceptor: Seen, message: Prepare | Accept[Value]
    ) -> tuple[Seen, Promise[Value] | Accepted[Value] | Nack]:
        if isinstance(message, Prepare):
            return acceptor.on_prepare(message, self.rules)
        return acceptor.on_accept(message, self.rules)

    def _find_visits(self, a: int, number: Number, asked: Number) -> tuple[tuple[str, Number], ...]:
        """An acceptor gets something that a proposer asked, and does not refuse it."""
        seat, who = self._seats.value(number), f"n{a + 1}"
        found = []
        for ask in sorted(self._asked.value(asked), key=str):
            acceptor, message = self._answered(seat.acceptor, ask.message)
            if isinstance(message, Nack):
                continue
            answer = Answer(ask.proposer if isinstance(message, Promise) else ALL, message)
            if not self.disk.slow:
                after = Seat(acceptor, acceptor, seat.waiting, seat.sent | {answer})
            elif isinstance(message, self.disk.early):
                after = Seat(acceptor, seat.durable, seat.waiting, seat.sent | {answer})
            else:
                after = Seat(acceptor, seat.durable, seat.waiting | {answer}, seat.sent)
            if isinstance(message, Promise):
                step = f"{who} promises ballot {message.ballot} to p{ask.proposer + 1}, {_told(message)}"
            else:
                step = f"{who} accepts {message.proposal}"
            found.append((step, self._seats.of(after)))
        return tuple(found)

    def _find_accidents(self, a: int, number: Number) -> tuple[tuple[str, Number], ...]:
        """An acceptor's disk syncs, or it crashes and starts again."""
        seat, who = self._seats.value(number), f"n{a + 1}"
        synced = Seat(seat.acceptor, seat.acceptor, frozenset(), seat.sent | seat.waiting)
        back = self.disk.recover(seat.durable)
        restarted = Seat(back, back, frozenset(), seat.sent)
        accepted = "nothing" if back.accepted is None else str(back.accepted)
        remembers = f"promised {back.promised}, accepted {accepted}"
        steps = ((f"{who} syncs its disk", synced), (f"{who} crashes and restarts: {remembers}", restarted))
        return tuple((step, self._seats.of(after)) for step, after in steps if after != seat)

    def _find_listened(self, number: Number, proposers: tuple[Number, ...]) -> Number:
        """An acceptor without the promises that nobody listens to."""
        seat = self._seats.value(number)
        roles = [self._proposers.value(proposer) for proposer in proposers]

        def alive(answer: Answer) -> bool:
            if not isinstance(answer.message, Promise):
                return True
            role = roles[answer.to]
            return isinstance(role, Proposer) and role.ballot == answer.message.ballot and role.proposal is None

        waiting, sent = (frozenset(filter(alive, answers)) for answers in (seat.waiting, seat.sent))
        return self._seats.of(Seat(seat.acceptor, seat.durable, waiting, sent))

    # ---------------------------------------------------------------------------------- symmetry

    def canonical(self, state: State) -> State:
        """One of the states that differ only in which acceptor is which."""
        asked, proposers, seats = state[0], state[1 : 1 + PROPOSERS], state[1 + PROPOSERS :]
        places = [place for place in map(self._places, proposers) if place]
        if not places:
            return (asked, *proposers, *sorted(seats))
        keys = [(seat, *(place[a] for place in places)) for a, seat in enumerate(seats)]
        order = tuple(sorted(range(len(seats)), key=keys.__getitem__))
        return (asked, *(self._renamed(p, order) for p in proposers), *[seats[a] for a in order])

    def _find_places(self, number: Number) -> tuple[int, ...]:
        """The places of the acceptors among those whose promises a proposer counted; nothing if it counted none."""
        role = self._proposers.value(number)
        if isinstance(role, Halted) or not role.promises:
            return ()
        counted = [member for member, _ in role.promises]
        return tuple(counted.index(member) if member in counted else -1 for member in self.members)

    def _find_renamed(self, number: Number, order: tuple[int, ...]) -> Number:
        role = self._proposers.value(number)
        if isinstance(role, Halted) or not role.promises:
            return number
        names = {self.members[old]: self.members[new] for new, old in enumerate(order)}
        promises = tuple((names[member], report) for member, report in role.promises)
        return self._proposers.of(Proposer(role.node, role.own, role.ballot, promises, role.proposal))

    # ---------------------------------------------------------------------------------- what holds

    def agreement(self, state: State) -> str | None:
        """No two values are chosen (2.1)."""
        return self._disagreement(tuple(map(self._votes, state[1 + PROPOSERS :])))

    def laws(self, state: State) -> str | None:
        """Agreement; only what was proposed is chosen; only what is chosen is learned; nobody sees a contradiction."""
        return self.agreement(state) or self.validity(state) or self.alarm(state)

    def validity(self, state: State) -> str | None:
        """Only a proposed value is chosen, and a learner learns nothing else, whatever it hears (2.1)."""
        return self._mislearned(tuple(map(self._votes, state[1 + PROPOSERS :])))

    def alarm(self, state: State) -> str | None:
        """No proposer sees that a rule was broken."""
        for p, number in enumerate(state[1 : 1 + PROPOSERS], 1):
            role = self._proposers.value(number)
            if isinstance(role, Halted):
                return f"p{p} halts: {role.evidence}"
        return None

    def indecision(self, state: State) -> str | None:
        """Nothing is chosen. Where this fails, something is: a system in which nothing happens keeps every law."""
        chosen = self._chosen(tuple(map(self._votes, state[1 + PROPOSERS :])))
        return ", and ".join(f"chosen: {how}" for how in chosen.values()) or None

    def _find_votes(self, number: Number) -> frozenset[Accepted[Value]]:
        return frozenset(x.message for x in self._seats.value(number).sent if isinstance(x.message, Accepted))

    def _chosen(self, votes: tuple[frozenset[Accepted[Value]], ...]) -> dict[Value, str]:
        """The values that are chosen, and how: a phase-2 quorum said that it accepted one proposal."""
        chosen = {}
        every = {(x.proposal.ballot, x.proposal.value) for own in votes for x in own}
        for ballot, value in sorted(every, reverse=True):
            accepted = Accepted(Proposal(ballot, value))
            who = [member for member, own in zip(self.members, votes, strict=True) if accepted in own]
            if self.phase_2.reached(who):
                chosen[value] = f"{value!r} in ballot {ballot} by {', '.join(f'n{member}' for member in who)}"
        return chosen

    def _find_disagreement(self, votes: tuple[frozenset[Accepted[Value]], ...]) -> str | None:
        chosen = self._chosen(votes)
        return None if len(chosen) < 2 else f"two values are chosen: {', and '.join(sorted(chosen.values()))}"

    def _find_mislearned(self, votes: tuple[frozenset[Accepted[Value]], ...]) -> str | None:
        """Try every learner that hears any of the acceptances, in any order, any number of times."""
        chosen = self._chosen(votes)
        if not chosen.keys() <= set(VALUES):
            return f"what nobody proposed is chosen: {chosen}"
        heard = [(member, x) for member, own in zip(self.members, votes, strict=True) for x in own]
        found: set[Learner[Value]] = {Learner()}
        fresh = list(found)
        while fresh:
            learner = fresh.pop()
            for member, accepted in heard:
                after = learner.on_accepted(member, accepted, self.phase_2, self.rules)
                if after.chosen is not None and after.chosen.value not in chosen:
                    return f"a learner learns {after.chosen}, which is not chosen"
                if after not in found:
                    found.add(after)
                    fresh.append(after)
        return None


def _told(promise: Promise[Value]) -> str:
    return "with nothing accepted" if promise.accepted is None else f"with {promise.accepted}"
