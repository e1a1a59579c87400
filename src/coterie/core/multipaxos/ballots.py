"""Who tries to lead, and in which ballot: apart from consensus proper, which any number of proposers leave safe (2.4).

Whoever misses a leader *canvasses* first. Who hears a leader says no, so nobody disturbs a leader that works; a quorum
that says yes is one that the asker is connected with, and that is all it takes: unlike Raft's, a proposer may be behind
with its log, for phase 1 brings it what it lacks. So in each of the partial partitions of OmniPaxos (section 2) the
member that reaches a quorum comes to lead, whichever it is: quorum loss (the old leader hears no quorum any more and
gives up, Raft 6.2), constrained election, chained (nobody whom the leader reaches helps another to power).

Then it takes a ballot above all that it has heard of, makes it durable, and prepares.
"""

from __future__ import annotations

from coterie.core.errors import SafetyViolation
from coterie.core.following.election import Election
from coterie.core.following.loans import Loans
from coterie.core.messages import Canvass, CanvassReply, Nack, Prepare, Promise
from coterie.core.multipaxos.acceptor import Acceptor
from coterie.core.multipaxos.preparation import Preparation, Recovered, Reports, Unreadable
from coterie.core.multipaxos.state import PaxosState
from coterie.core.multipaxos.synod import may_promise, next_ballot
from coterie.core.types import NOBODY, Epoch, Mark, MemberId, Nanos, Role


class Ballots(Election):
    """Candidacies of one member, and its answers to those of others."""

    _state: PaxosState

    def __init__(self, state: PaxosState, acceptor: Acceptor, loans: Loans, now: Nanos) -> None:
        super().__init__(state, now)
        self._acceptor = acceptor
        self._loans = loans
        self._reports = Reports(state)
        self._preparation: Preparation | None = None

    # -- canvass -----------------------------------------------------------------------------

    def _canvass(self, round_: int) -> None:
        self._preparation = None
        for member in self._state.electors:
            self._state.outbox.affirm(member, Canvass(round_, self._state.commit))

    def handle_canvass(self, now: Nanos, sender: MemberId, m: Canvass) -> None:
        """Yes, if we miss a leader, and can tell the asker all that it needs; if we miss one and cannot, we lend it a
        snapshot, if it is a member, and it asks again.

        To canvass oneself is no reason for a no: of two that prepare at once, one has the higher ballot.
        """
        state = self._state
        granted = m.round > state.epoch.round and not self._leader_is_alive(now)
        if granted and m.commit < state.log.base_index:
            self._lend(now, sender)
            granted = False
        say = state.outbox.affirm if granted else state.outbox.post
        say(sender, CanvassReply(state.epoch, m.round, granted))

    def _lend(self, now: Nanos, member: MemberId) -> None:
        """What the member needs in order to lead is compacted away here: a snapshot, if it is one of the group."""
        if self._state.membership.member(member) is not None:
            self._loans.ask(now, member)

    def handle_canvass_reply(self, now: Nanos, sender: MemberId, m: CanvassReply) -> None:
        """Count those that say yes; then prepare."""
        self._canvassed(now, sender, m.epoch, Epoch(m.asked, NOBODY), m.granted)

    # -- prepare -----------------------------------------------------------------------------

    def _campaign(self, now: Nanos, *, transfer: bool = False) -> bool:
        """Phase 1a, in a ballot of one's own (2.2). The own promise counts when it is durable, like any other."""
        state = self._state
        state.enter_epoch(next_ballot(state.epoch, state.own))
        state.role = Role.CANDIDATE
        self.campaign_began = now
        self._votes = set()
        self._wait_for_outcome(now)
        self._preparation = Preparation(now, state, self._reports, transfer)
        self._preparation.ask(now)
        self._own_vote_mark = state.outbox.pending_mark
        return False

    def handle_prepare(self, now: Nanos, sender: MemberId, m: Prepare) -> None:
        """Phase 1b: promise, unless a higher ballot was promised, or a leader is heard (stickiness, as in Raft).

        Learners promise when asked, too: the asker may know of their promotion before they do.

        Who is asked for what its log does not have any more cannot tell all that it accepted, and so does not promise;
        but it goes on from that ballot. Else, being the furthest, and alone able to complete phase 1 perhaps, it would
        always canvass for a round that the others have passed.
        """
        state = self._state
        if m.epoch.node != sender:
            return  # A ballot belongs to one member, or two could use it (2.2).
        # A promised lease binds in a ballot, too, that we have heard of already, by a refused canvass perhaps.
        alive = self._promise.binds(now) or (m.epoch > state.epoch and self._leader_is_alive(now))
        if (alive and not m.transfer) or not may_promise(state.epoch, m.epoch):
            state.outbox.post(sender, Nack(state.epoch))
            return
        if m.epoch > state.epoch:
            self.step_down(now, m.epoch, f"{state.name(sender)} prepares a higher ballot")
        if m.first <= state.log.base_index:
            # Others may have helped it here, so that it does not canvass any more: it would ask for ever.
            self._lend(now, sender)
            state.outbox.post(sender, Nack(state.epoch))
            return
        self._wait_whole(now)
        self._acceptor.promise(sender, m)

    def handle_promise(self, now: Nanos, sender: MemberId, m: Promise) -> bool:
        """A promise for our ballot. Returns True when phase 1 is complete."""
        preparation = self._preparation
        if self._state.role is not Role.CANDIDATE or m.epoch != self._state.epoch or preparation is None:
            return False  # A promise that comes late is for a ballot that is over.
        try:
            whole = preparation.take(sender, m)
        except Unreadable as error:
            self._state.outbox.raise_alarm("Every member understands every entry", str(error))
            return False
        except SafetyViolation as error:
            self._state.outbox.raise_alarm("One value a slot and ballot (Paxos Made Simple 2.2)", str(error))
            return False
        self._since = now  # It gets on: so the attempt has more time.
        if not whole:
            return False
        preparation.ask(now)
        return self._won()

    def stored(self, mark: Mark) -> bool:
        """See `Election.stored`."""
        won = super().stored(mark)
        if self._preparation is not None and self._state.own in self._votes:
            self._preparation.whole.add(self._state.own)
            return self._won()
        return won

    def _won(self) -> bool:
        preparation = self._preparation
        return self._state.role is Role.CANDIDATE and preparation is not None and preparation.complete

    def take_recovered(self) -> Recovered:
        """What the ballot's leader goes on with. Once, when phase 1 is complete."""
        preparation = self._preparation
        assert preparation is not None
        recovered = preparation.recover()
        self._preparation = None
        self._reports.clear()
        return recovered

    def follow(self, now: Nanos, leader: MemberId, reason: str) -> None:
        """See `Election.follow`."""
        super().follow(now, leader, reason)
        self._preparation = None
        if leader != NOBODY:
            self._reports.clear()

    # -- time --------------------------------------------------------------------------------

    @property
    def deadline(self) -> Nanos:
        """See `Election.deadline`; and when to ask again for promises."""
        deadline = super().deadline
        if self._preparation is not None:
            return min(deadline, self._preparation.deadline())
        return deadline

    def wake(self, now: Nanos) -> bool:
        """See `Election.wake`."""
        if self._preparation is not None and now < super().deadline:
            self._preparation.ask(now)
            return False
        return super().wake(now)
