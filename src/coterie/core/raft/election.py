"""Raft's elections: votes (5.2) for a log that is as good as one's own (5.4.1), after a pre-vote (9.6); and what a
member does that is refused for its log alone (`pull.py`)."""

from __future__ import annotations

from coterie.core.following.election import Election
from coterie.core.messages import PreVote, PreVoteReply, Pull, RequestVote, Suffix, VoteReply
from coterie.core.raft.follower import Follower
from coterie.core.raft.pull import Outcome, Puller
from coterie.core.raft.state import RaftState
from coterie.core.types import NO_EPOCH, NOBODY, Epoch, Index, MemberId, Nanos, Role


class RaftElection(Election):
    """Votes asked for and given by one member."""

    _state: RaftState

    def __init__(self, state: RaftState, stream: Follower, now: Nanos) -> None:
        super().__init__(state, now)
        self._puller = Puller(state, stream)
        self._refusals: dict[MemberId, tuple[Epoch, Index]] = {}
        """Who refused the pre-vote under way for our log alone, and how its own ends."""
        self._no_help: set[MemberId] = set()
        """Sources whose logs begin after what we need, since a leader was last heard."""
        self._insists = False
        """Whether we yield to nobody any more, until a leader is heard."""

    def _canvass(self, round_: int) -> None:
        """Pre-vote (9.6)."""
        self._stop_pulling()
        log = self._state.log
        for member in self._state.electors:
            self._state.outbox.affirm(member, PreVote(Epoch(round_, 0), log.last_index, log.last_epoch))

    def _campaign(self, now: Nanos, *, transfer: bool = False) -> bool:
        """Start an election in an epoch of one's own (Raft 5.2); `transfer`: the leader itself asked for it.

        Neither the request nor the own vote counts before that epoch is durable: a candidate that
        won, sent entries, crashed and forgot could win the same epoch again, with another log
        (catalogue R24). Pre-votes are not votes (R20): the count begins anew.
        """
        state = self._state
        self._stop_pulling()
        state.enter_epoch(Epoch(state.epoch.round + 1, 0), vote=state.own)
        state.role = Role.CANDIDATE
        self.campaign_began = now
        self._votes = set()
        self._wait_for_outcome(now)
        request = RequestVote(state.epoch, state.log.last_index, state.log.last_epoch, transfer)
        for member in state.electors:
            state.outbox.promise(member, request)
        self._own_vote_mark = state.outbox.pending_mark
        return False

    def handle_pre_vote(self, now: Nanos, sender: MemberId, m: PreVote) -> None:
        """Grant if we would vote so: a newer epoch, a log as good as ours, no leader that lives.

        A refusal says our epoch, so that a member that fell behind catches up (catalogue R15); and whether it is for
        the log alone, so that one that reaches a quorum can do something about it.
        """
        state, log = self._state, self._state.log
        if state.newer_log(m.last_epoch, m.last_index):
            granted = m.epoch > state.epoch and not self._leader_is_alive(now)
            if granted and state.role is Role.PRE_CANDIDATE and self._yields_to(sender, m):
                self.follow(now, NOBODY, f"{state.name(sender)} calls an election, too, and goes first")
                self._wait_whole(now)
                self._insists = True
            say = state.outbox.affirm if granted else state.outbox.post
            say(sender, PreVoteReply(state.epoch, m.epoch, granted))
            return
        behind = not self._leader_is_alive(now)
        last = (log.last_index, log.last_epoch) if behind else (0, NO_EPOCH)
        state.outbox.post(sender, PreVoteReply(state.epoch, m.epoch, False, behind, *last))

    def _yields_to(self, sender: MemberId, m: PreVote) -> bool:
        """Of two that call an election at once, the one with the better log, then the higher id, goes first.

        Otherwise each would vote for itself, and both would have to wait for another try. It is a courtesy
        that safety does not rest on: no vote is given or taken back.

        Whoever has yielded once, and then heard of no leader, does not do so again, nor does one that has pulled: in
        a partial partition it may be the only one that reaches a quorum, and others ask it again and again.
        """
        log = self._state.log
        if self._insists:
            return False
        return (m.last_epoch, m.last_index, sender) > (log.last_epoch, log.last_index, self._state.own)

    def handle_pre_vote_reply(self, now: Nanos, sender: MemberId, m: PreVoteReply) -> None:
        """Count grants of the pre-vote under way; then campaign. Or, if only our log is in the way, see to that."""
        state = self._state
        current = state.role is Role.PRE_CANDIDATE and m.asked.round == state.epoch.round + 1
        self._canvassed(now, sender, m.epoch, m.asked, m.granted)
        if not current:
            return
        if state.role is Role.PRE_CANDIDATE:
            if m.behind:
                self._refusals[sender] = (m.last_epoch, m.last_index)
            self._pull(now)
        elif m.behind and m.epoch == state.epoch:
            # It was refused for the epoch, too. That is raised now (by `_canvassed`): ask again at once.
            self._ask_again(now)

    # -- a log that is behind (`pull.py`) ------------------------------------------------------

    def _pull(self, now: Nanos) -> None:
        """Begin to pull, if that would be enough to win: with fewer than a quorum of grants and of refusals for the
        log alone, the best log would not help."""
        if self._puller.source is not None:
            return
        granted, refused = self._votes, self._refusals
        for source in sorted(refused, key=lambda member: (refused[member], member), reverse=True):
            convinced = {member for member, last in refused.items() if last <= refused[source]}
            if source not in self._no_help and self._state.phase_1.reached(granted | convinced):
                self._insists = True
                self._puller.begin(now, source)
                # It is given up if nothing comes for a whole timeout, whatever the attempts before were like.
                self._wait(now, self._state.config.election_timeout)
                return

    def _stop_pulling(self) -> None:
        self._puller.end()
        self._refusals.clear()

    def _ask_again(self, now: Nanos) -> None:
        """A pre-vote now: by the timer, so that all that may speak against it is heeded (`wake`)."""
        self._timeout = now - self._since

    def handle_pull(self, now: Nanos, sender: MemberId, m: Pull) -> None:
        """Give of our log, unless a leader is heard: then the asker's votes would be refused in any case."""
        if not self._leader_is_alive(now):
            self._puller.answer(sender, m)

    def handle_suffix(self, now: Nanos, sender: MemberId, m: Suffix) -> None:
        """Take what was pulled, if it is of the present epoch and answers what was asked last."""
        state = self._state
        if m.epoch > state.epoch and sender == self._puller.source:
            self.newer_epoch_seen(now, sender, m.epoch)
            self._ask_again(now)
        if m.epoch != state.epoch:
            return
        outcome = self._puller.handle_suffix(now, sender, m)
        if outcome is Outcome.MOVED:
            self._since = now
        elif outcome is Outcome.COMPLETE:
            state.reason = f"{state.name(sender)} had the entries that were lacking, up to {state.log.last_index}"
            self._ask_again(now)
        elif outcome is Outcome.FAILED:
            self._no_help.add(sender)
            self._pull(now)

    def follow(self, now: Nanos, leader: MemberId, reason: str) -> None:
        """See `Election.follow`. A pull is over: what still comes of it must not meet what a leader sends."""
        super().follow(now, leader, reason)
        self._stop_pulling()
        if leader != NOBODY:
            self._no_help.clear()
            self._puller.heard_leader()
            self._insists = False

    @property
    def deadline(self) -> Nanos:
        """See `Election.deadline`; and when to ask again for entries."""
        deadline = super().deadline
        return min(deadline, self._puller.deadline(deadline))

    def wake(self, now: Nanos) -> bool:
        """See `Election.wake`."""
        if not self._due(now):
            self._puller.repeat(now)
            return False
        self._stop_pulling()
        return super().wake(now)

    # -- votes -------------------------------------------------------------------------------

    def handle_request_vote(self, now: Nanos, sender: MemberId, m: RequestVote) -> None:
        """Vote once in an epoch, first come first served, for a log as good as ours (Raft 5.2, 5.4.1).

        Learners vote when asked, too: the asker may know of their promotion before they do (K3).
        """
        state = self._state
        if m.epoch < state.epoch or (self._leader_is_alive(now) and not m.transfer):
            state.outbox.post(sender, VoteReply(state.epoch, False))
            return
        if m.epoch > state.epoch:
            self.step_down(now, m.epoch, f"{state.name(sender)} campaigns in a newer epoch")
        if state.vote not in (NOBODY, sender) or not state.newer_log(m.last_epoch, m.last_index):
            state.outbox.post(sender, VoteReply(state.epoch, False))
            return
        if state.vote == NOBODY:
            state.vote = sender
            state.save_hard_state()
        self._wait_whole(now)
        state.outbox.promise(sender, VoteReply(state.epoch, True))

    def handle_vote_reply(self, now: Nanos, sender: MemberId, m: VoteReply) -> bool:
        """Count votes of the present campaign, each member once. Returns True when it is won."""
        state = self._state
        if m.epoch > state.epoch:
            self.newer_epoch_seen(now, sender, m.epoch)
            return False
        # A vote of an older epoch is no vote in this one (catalogue R07).
        if state.role is not Role.CANDIDATE or m.epoch != state.epoch or not m.granted:
            return False
        self._votes.add(sender)
        return self._won()
