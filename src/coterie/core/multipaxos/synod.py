"""One decree: how a group agrees on one value, for ever ("Paxos Made Simple", section 2; here, bare numbers).

*The problem* (2.1). Processes propose values. Only a proposed value may be chosen; only one value is chosen; nobody
learns a value that is not chosen. Messages may be lost, doubled, late and out of order, but not forged; processes may
stop and start again.

*Choosing* (2.2). A proposal is a ballot and a value. It is chosen once a quorum of acceptors has accepted it. An
acceptor may accept several proposals, or a value could not be chosen when a proposer stops half way; so all that are
chosen must have the same value. The paper comes to the algorithm by making one demand stronger step by step:

    P1   An acceptor must accept the first proposal that it gets.
    P2   If v is chosen, every chosen proposal of a higher ballot has the value v.
    P2a  ... every one that an acceptor accepts ...    (what is chosen was accepted)
    P2b  ... every one that a proposer issues ...      (what is accepted was issued)
    P2c  Who issues (n, v) has a quorum of which either nobody accepted anything below n,
         or v is the value of the highest proposal below n that any of them accepted.

Each of P2a, P2b and P2c implies the one before it. P2c speaks of what acceptors did *and will do* below n, so a
proposer first makes them promise to do no more there (phase 1) and only then asks them to accept (phase 2):

    P1a  An acceptor accepts ballot n exactly if it has not promised a higher one.

*Why it holds.* Let (m, v) be chosen, n be a higher ballot, and all that was issued between them have the value v. The
quorum that promised n meets the one that accepted m, so one acceptor did both, and accepted m first: after its promise,
P1a forbids it. So its promise reported m, or a ballot between m and n. The highest that n's quorum reported is then one
of these, has the value v, and gives it to n by P2c. So it goes on, ballot by ballot, for all that are above m.
Only a phase-1 and a phase-2 quorum need to meet ("Flexible Paxos", section 3).

The rules below are functions, and the roles have no other logic than to apply them. The Multi-Paxos replica applies
the same functions to every slot of the log. A role is a value: a transition gives the role's next state and what it
says. There is no clock: the caller decides when to try again, and how long apart, for two proposers that outrun each
other for ever choose nothing (2.4).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from reprlib import Repr
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from coterie.core.errors import SafetyViolation
from coterie.core.quorum import Quorum
from coterie.core.types import NO_EPOCH, Epoch, MemberId

V = TypeVar("V")

_brief = Repr()
_brief.maxother = _brief.maxstring = 200
"""Characters of a value that evidence shows."""

_KEEP_THE_EVIDENCE = "Stop the group and keep the data directory of every member: their logs tell what was broken."


class Proposal(msgspec.Struct, Generic[V], frozen=True, array_like=True):
    """A value and the ballot in which it is proposed (2.2)."""

    ballot: Epoch
    value: V

    def __str__(self) -> str:
        """For people and for evidence."""
        return f"{_brief.repr(self.value)} in ballot {self.ballot}"


# ------------------------------------------------------------------------------------------ rules


def next_ballot(highest: Epoch, node: MemberId) -> Epoch:
    """A ballot above `highest`, of which `node` must be the only owner.

    Different proposals have different ballots (2.2): members never share one, because it names its owner, and one
    member never uses it twice, because it keeps the highest on disk (2.5). What breaks without: two values are
    accepted in one ballot, and 'the highest proposal' of P2c means two things.
    """
    return Epoch(highest.round + 1, node)


def may_promise(promised: Epoch, ballot: Epoch) -> bool:
    """Whether an acceptor that promised `promised` answers the prepare of `ballot` (2.2, phase 1b).

    To promise is to accept nothing below from now on. A prepare that comes again is answered again: the answer may
    have been lost. What breaks without: the acceptor forgets its promise and lets a lower ballot through, which the
    higher one's proposer was told cannot happen.
    """
    return ballot >= promised


def may_accept(promised: Epoch, ballot: Epoch) -> bool:
    """Whether an acceptor that promised `promised` accepts a proposal of `ballot` (P1a; 2.2, phase 2b).

    What breaks without: a lower ballot is chosen behind the back of the proposer that asked, heard of nothing, and
    chose its own value.
    """
    return ballot >= promised


def to_report(accepted: Proposal[V] | None) -> Proposal[V] | None:
    """What a promise tells: the highest proposal that the acceptor has accepted, if any (2.2, phase 1b).

    It may have accepted others, but each in a lower ballot: the last is the highest. What breaks without: a value
    that may be chosen is replaced by another one.
    """
    return accepted


def value_to_propose(reports: Iterable[Proposal[V] | None], own: V) -> V:
    """The value to propose after a quorum reported what it accepted: that of the highest ballot, else `own` (P2c).

    Not that of most reports, nor of the latest to arrive: an older ballot may be told by many, and was not chosen.
    What breaks without: a second value is chosen. Raises `SafetyViolation` if two reports contradict each other.
    """
    highest: Proposal[V] | None = None
    by_ballot: dict[Epoch, Proposal[V]] = {}
    for report in reports:
        if report is None:
            continue
        refuse_contradiction(by_ballot.setdefault(report.ballot, report), report)
        if highest is None or report.ballot > highest.ballot:
            highest = report
    return own if highest is None else highest.value


def may_count(counted: Collection[MemberId], acceptor: MemberId) -> bool:
    """Whether an acceptor's answer counts: once, however often it comes.

    A quorum is made of acceptors, not of messages. What breaks without: one acceptor alone is a quorum.
    """
    return acceptor not in counted


def refuse_contradiction(one: Proposal[V], other: Proposal[V]) -> None:
    """Raise `SafetyViolation` if the two have one ballot and different values, which no rule above allows.

    Either the rules were broken, or a disk gave back what it was never given. Whatever is proposed next may be wrong.
    """
    if one.ballot == other.ballot and one.value != other.value:
        raise SafetyViolation(f"one ballot has two values: {one}, and {other}", advice=_KEEP_THE_EVIDENCE)


class Rules(NamedTuple):
    """What the roles go by. Tests replace one rule at a time, and watch two values be chosen."""

    next_ballot: Callable[[Epoch, MemberId], Epoch] = next_ballot
    may_promise: Callable[[Epoch, Epoch], bool] = may_promise
    may_accept: Callable[[Epoch, Epoch], bool] = may_accept
    to_report: Callable[[Proposal[Any] | None], Proposal[Any] | None] = to_report
    value_to_propose: Callable[[Iterable[Proposal[Any] | None], Any], Any] = value_to_propose
    may_count: Callable[[Collection[MemberId], MemberId], bool] = may_count


RULES = Rules()
"""The rules of the paper."""


# --------------------------------------------------------------------------------------- messages


class Prepare(msgspec.Struct, frozen=True, array_like=True):
    """Phase 1a, to all acceptors: 'Promise me this ballot, and tell what you accepted.'"""

    ballot: Epoch


class Promise(msgspec.Struct, Generic[V], frozen=True, array_like=True):
    """Phase 1b: 'I accept nothing below this ballot any more; this is the highest that I accepted.'"""

    ballot: Epoch
    accepted: Proposal[V] | None


class Accept(msgspec.Struct, Generic[V], frozen=True, array_like=True):
    """Phase 2a, to all acceptors: 'Accept this proposal.'"""

    proposal: Proposal[V]


class Accepted(msgspec.Struct, Generic[V], frozen=True, array_like=True):
    """Phase 2b, to all learners: 'I accepted this proposal.'"""

    proposal: Proposal[V]


class Nack(msgspec.Struct, frozen=True, array_like=True):
    """'Not in this ballot: I promised a higher one.' Safety does not need it; it saves the proposer a wait (2.2)."""

    ballot: Epoch
    promised: Epoch


# ------------------------------------------------------------------------------------------ roles


class Acceptor(msgspec.Struct, Generic[V], frozen=True, array_like=True):
    """Who remembers. All of its state is durable before an answer that rests on it leaves (2.5).

    What breaks without: after a restart it promises, reports or accepts as if it had never answered.
    """

    promised: Epoch = NO_EPOCH
    accepted: Proposal[V] | None = None

    def on_prepare(self, prepare: Prepare, rules: Rules = RULES) -> tuple[Acceptor[V], Promise[V] | Nack]:
        """Phase 1b: promise, and report."""
        if not rules.may_promise(self.promised, prepare.ballot):
            return self, Nack(prepare.ballot, self.promised)
        return Acceptor(prepare.ballot, self.accepted), Promise(prepare.ballot, rules.to_report(self.accepted))

    def on_accept(self, accept: Accept[V], rules: Rules = RULES) -> tuple[Acceptor[V], Accepted[V] | Nack]:
        """Phase 2b: accept. That is a promise too, or a ballot in between could be accepted afterwards, and
        what was accepted last would not be the highest."""
        proposal = accept.proposal
        if not rules.may_accept(self.promised, proposal.ballot):
            return self, Nack(proposal.ballot, self.promised)
        return Acceptor(proposal.ballot, proposal), Accepted(proposal)


class Proposer(msgspec.Struct, Generic[V], frozen=True, array_like=True):
    """Who asks: one attempt, and what is left of it when the next begins.

    Its ballot must be durable before the `Prepare` leaves (see `next_ballot`); the rest may be lost at any time.
    """

    node: MemberId
    own: V
    """The value that it would like to see chosen."""
    ballot: Epoch = NO_EPOCH
    """Of the latest attempt; `NO_EPOCH` before the first."""
    promises: tuple[tuple[MemberId, Proposal[V] | None], ...] = ()
    """Phase 1: who promised, and what it reported, in order of arrival."""
    proposal: Proposal[V] | None = None
    """Phase 2: what it asks to accept. It never changes in a ballot: later promises come too late."""

    def begin(self, above: Epoch = NO_EPOCH, rules: Rules = RULES) -> tuple[Proposer[V], Prepare]:
        """Phase 1a: a new attempt, in a ballot higher than its own so far and than `above`."""
        ballot = rules.next_ballot(max(self.ballot, above), self.node)
        return Proposer(self.node, self.own, ballot), Prepare(ballot)

    def on_promise(
        self, acceptor: MemberId, promise: Promise[V], phase_1: Quorum, rules: Rules = RULES
    ) -> tuple[Proposer[V], Accept[V] | None]:
        """Count a promise; with a quorum of them, phase 2a: ask to accept. Raises `SafetyViolation`."""
        if promise.ballot != self.ballot or self.proposal is not None:
            return self, None
        counted = [member for member, _ in self.promises]
        if not rules.may_count(counted, acceptor):
            return self, None
        promises = (*self.promises, (acceptor, promise.accepted))
        if not phase_1.reached([*counted, acceptor]):
            return Proposer(self.node, self.own, self.ballot, promises), None
        value = rules.value_to_propose([report for _, report in promises], self.own)
        proposal = Proposal(self.ballot, value)
        return Proposer(self.node, self.own, self.ballot, (), proposal), Accept(proposal)

    def on_nack(self, nack: Nack, rules: Rules = RULES) -> tuple[Proposer[V], Prepare | None]:
        """Give this ballot up for one above what was promised to somebody else. A nack of an older attempt is void."""
        if nack.ballot != self.ballot:
            return self, None
        return self.begin(nack.promised, rules)


class Learner(msgspec.Struct, Generic[V], frozen=True, array_like=True):
    """Who finds out (2.3). It counts in the highest ballot that it heard of; if it misses a choice there, a proposer's
    next ballot comes to the same value."""

    counting: Proposal[V] | None = None
    acceptors: tuple[MemberId, ...] = ()
    """Who accepted `counting`."""
    chosen: Proposal[V] | None = None

    def on_accepted(
        self, acceptor: MemberId, accepted: Accepted[V], phase_2: Quorum, rules: Rules = RULES
    ) -> Learner[V]:
        """Count an acceptance; a quorum of one proposal has chosen it. Raises `SafetyViolation`."""
        proposal = accepted.proposal
        counting, acceptors = self.counting, self.acceptors
        if counting is None or proposal.ballot > counting.ballot:
            counting, acceptors = proposal, ()
        refuse_contradiction(counting, proposal)
        if proposal.ballot < counting.ballot or not rules.may_count(acceptors, acceptor):
            return self
        acceptors = (*acceptors, acceptor)
        if not phase_2.reached(acceptors):
            return Learner(counting, acceptors, self.chosen)
        if self.chosen is not None and self.chosen.value != proposal.value:
            raise SafetyViolation(f"two values are chosen: {self.chosen}, and {proposal}", advice=_KEEP_THE_EVIDENCE)
        return Learner(counting, acceptors, self.chosen or proposal)
