"""A consensus protocol as Fischer, Lynch and Paterson model one: processes, a buffer of messages, no clock (section 2).

A *configuration* is the state of every process and what is in the buffer. An *event* (p, m) gives one message to its
receiver, which changes its state and sends messages, and draws no lots: the configuration after it is determined. The
buffer loses nothing and doubles nothing, and gives what it holds in any order. A process decides once.

The protocol is the single decree of the code that ships (`core/multipaxos/synod.py`), with its rules: every process is
acceptor and learner, some propose. A refusal is what makes a proposer try again, in a higher ballot; so it needs no
clock. What a process says to itself it hears in the same step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias

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
Number: TypeAlias = int
"""Of a process's state, or of a letter, met before or not: equal ones have one number."""


class Start(NamedTuple):
    """In the buffer at the beginning, for each proposer: 'propose your input'."""


Body: TypeAlias = Start | Prepare | Accept[Value] | Promise[Value] | Accepted[Value] | Nack


class Letter(NamedTuple):
    """A message on its way; with its receiver, an event."""

    sender: MemberId
    to: MemberId
    body: Body


class Process(NamedTuple):
    """The state of one process."""

    proposer: Proposer[Value] | None
    acceptor: Acceptor[Value] = Acceptor()
    learner: Learner[Value] = Learner()
    problem: str = ""
    """A contradiction that it saw: the protocol is wrong."""


class Configuration(NamedTuple):
    """All processes, and the buffer, as numbers of a `System`."""

    processes: tuple[Number, ...]
    letters: tuple[Number, ...]
    """Oldest first, unless the configuration is canonical."""


def anybody(process: MemberId) -> bool:
    """Every proposer tries again when it is refused."""
    return True


class System:
    """Processes 1 to n with their inputs. Numbers are this system's own: never compare those of two systems."""

    def __init__(
        self,
        inputs: Sequence[Value | None],
        *,
        rounds: int | None = None,
        quorum: int | None = None,
        rules: Rules = RULES,
        may_try: Callable[[MemberId], bool] = anybody,
    ) -> None:
        """`inputs`: what each proposes; None: it only accepts. `rounds`: nobody begins a ballot above this round, so
        that there is an end of configurations. `quorum`: other than a majority, for protocols that are wrong.
        `may_try`: who begins a ballot (what a failure detector says)."""
        self.inputs = tuple(inputs)
        self.members: Final[tuple[MemberId, ...]] = tuple(range(1, len(inputs) + 1))
        self._quorum: Quorum = Threshold(self.members, quorum or majority(len(inputs)))
        self._rounds, self._rules, self._may_try = rounds, rules, may_try
        self._numbers: dict[Hashable, Number] = {}
        self._values: list[Any] = []
        self._step = cache(self._find_step)
        self._void = cache(self._find_void)
        self._decision = cache(self._find_decision)
        starts = [Letter(p, p, Start()) for p, own in zip(self.members, inputs, strict=True) if own is not None]
        self.initial = Configuration(
            tuple(
                self.number(Process(None if own is None else Proposer(p, own)))
                for p, own in zip(self.members, inputs, strict=True)
            ),
            tuple(map(self.number, starts)),
        )

    # -- numbers ---------------------------------------------------------------------------------

    def number(self, value: Process | Letter) -> Number:
        """Its number; a new one if it was never met."""
        # A process and a letter are never equal: their fields differ in number.
        found = self._numbers.setdefault(value, len(self._values))
        if found == len(self._values):
            self._values.append(value)
        return found

    def letter(self, number: Number) -> Letter:
        """The letter of a number."""
        found: Letter = self._values[number]
        return found

    def process(self, number: Number) -> Process:
        """The process state of a number."""
        found: Process = self._values[number]
        return found

    # -- steps -----------------------------------------------------------------------------------

    def apply(self, configuration: Configuration, event: Number) -> Configuration:
        """The configuration after an event: a letter of the buffer arrives. What is sent then is the newest in it."""
        processes, letters = configuration
        place = self.letter(event).to - 1
        after, sent = self._step(processes[place], event)
        at = letters.index(event)
        return Configuration(
            (*processes[:place], after, *processes[place + 1 :]), (*letters[:at], *letters[at + 1 :], *sent)
        )

    def run(self, configuration: Configuration, schedule: Sequence[Number]) -> Configuration:
        """The configuration after a whole schedule."""
        for event in schedule:
            configuration = self.apply(configuration, event)
        return configuration

    def events(self, configuration: Configuration) -> Iterator[Number]:
        """Every event that is possible, each once."""
        return iter(dict.fromkeys(configuration.letters))

    def _find_step(self, number: Number, event: Number) -> tuple[Number, tuple[Number, ...]]:
        process, letter = self.process(number), self.letter(event)
        own, sent = letter.to, []
        heard: deque[tuple[MemberId, Body]] = deque([(letter.sender, letter.body)])
        while heard and not process.problem:
            sender, body = heard.popleft()
            try:
                process, says = self._hear(process, sender, body)
            except SafetyViolation as alarm:
                process, says = process._replace(problem=str(alarm)), []
            for to, what in says:
                if to == own:
                    heard.append((own, what))
                else:
                    sent.append(self.number(Letter(own, to, what)))
        return self.number(process), tuple(sent)

    def _hear(self, process: Process, sender: MemberId, body: Body) -> tuple[Process, list[tuple[MemberId, Body]]]:
        proposer, acceptor, learner, _ = process
        match body:
            case Prepare():
                acceptor, answer = acceptor.on_prepare(body, self._rules)
                return process._replace(acceptor=acceptor), [(sender, answer)]
            case Accept():
                acceptor, reply = acceptor.on_accept(body, self._rules)
                return process._replace(acceptor=acceptor), [(sender, reply)]
            case Accepted():
                if learner.chosen is not None and learner.chosen.value == body.proposal.value:
                    return process, []  # It has decided, and counts no more.
                learner = learner.on_accepted(sender, body, self._quorum, self._rules)
                return process._replace(learner=learner), []
        assert proposer is not None, "only proposers are answered"
        asks: Prepare | Accept[Value] | None = None
        if isinstance(body, Promise):
            after, asks = proposer.on_promise(sender, body, self._quorum, self._rules)
        elif isinstance(body, Nack):
            after, asks = proposer.on_nack(body, self._rules)
        else:
            after, asks = proposer.begin(rules=self._rules)
        if isinstance(asks, Prepare) and not self._begins(process, after):
            return process, []
        says: list[tuple[MemberId, Body]] = [(each, asks) for each in self.members] if asks is not None else []
        return process._replace(proposer=after), says

    def _begins(self, process: Process, after: Proposer[Value]) -> bool:
        """Whether a proposer makes one more attempt: who has learned what is chosen has nothing to ask."""
        if process.learner.chosen is not None or not self._may_try(after.node):
            return False
        return self._rounds is None or after.ballot.round <= self._rounds

    # -- what is seen of a configuration -----------------------------------------------------------

    def decided(self, configuration: Configuration) -> frozenset[Value]:
        """The values that processes have decided."""
        return frozenset(v for v in map(self._decision, configuration.processes) if v is not None)

    def _find_decision(self, number: Number) -> Value | None:
        chosen = self.process(number).learner.chosen
        return None if chosen is None else chosen.value

    def chosen(self, configuration: Configuration) -> Value | None:
        """The value of a proposal that a quorum has accepted as its last, decided or not; None: of none."""
        accepted: dict[Proposal[Value], list[MemberId]] = {}
        for member, number in zip(self.members, configuration.processes, strict=True):
            if (proposal := self.process(number).acceptor.accepted) is not None:
                accepted.setdefault(proposal, []).append(member)
        return next((p.value for p, members in accepted.items() if self._quorum.reached(members)), None)

    def highest(self, configuration: Configuration) -> int:
        """The highest round that a proposer has begun."""
        proposers = (self.process(number).proposer for number in configuration.processes)
        return max((p.ballot.round for p in proposers if p is not None), default=0)

    def wrong(self, configuration: Configuration) -> str | None:
        """What is wrong, in words: two values are decided, or one that nobody proposed, or a process saw as much."""
        values = self.decided(configuration)
        if len(values) > 1:
            return f"agreement: {' and '.join(sorted(values))} are decided"
        if not values <= set(self.inputs):
            return f"validity: {', '.join(sorted(values))} is decided, and nobody proposed it"
        return next((f"alarm: {p.problem}" for p in map(self.process, configuration.processes) if p.problem), None)

    def canonical(self, configuration: Configuration) -> Configuration:
        """One configuration for all that differ in the order of the buffer, or in letters that change nothing any
        more, whenever they arrive."""
        processes, letters = configuration
        alive = [x for x in letters if not self._is_void(processes, x)]
        return Configuration(processes, tuple(sorted(alive)))

    def _is_void(self, processes: tuple[Number, ...], number: Number) -> bool:
        letter = self.letter(number)
        receiver = processes[letter.to - 1]
        sender = processes[letter.sender - 1] if isinstance(letter.body, Prepare | Accept) else receiver
        return self._void(receiver, sender, number)

    def _find_void(self, receiver: Number, sender: Number, number: Number) -> bool:
        """Ballots, promises and what is counted only grow: what a process ignores now it ignores for ever."""
        process, body = self.process(receiver), self.letter(number).body
        if isinstance(body, Prepare | Accept):
            ballot = body.ballot if isinstance(body, Prepare) else body.proposal.ballot
            asking = self.process(sender).proposer
            # A refusal is heard by a proposer only if it still asks in that ballot.
            return process.acceptor.promised > ballot and asking is not None and asking.ballot > ballot
        if isinstance(body, Promise):
            proposer = process.proposer
            return proposer is not None and (proposer.ballot != body.ballot or proposer.proposal is not None)
        if isinstance(body, Nack):
            return process.proposer is not None and process.proposer.ballot != body.ballot
        if isinstance(body, Accepted):
            counting = process.learner.counting
            chosen = process.learner.chosen
            late = counting is not None and counting.ballot > body.proposal.ballot
            return late or (chosen is not None and chosen.value == body.proposal.value)
        return False


def begun(process: Process) -> bool:
    """Whether a process has made an attempt, or never will."""
    return process.proposer is None or process.proposer.ballot != NO_EPOCH
