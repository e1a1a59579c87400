"""Raft's elections: votes (5.2) for a log that is as good as one's own (5.4.1), after a pre-vote (9.6)."""

from __future__ import annotations

from coterie.core.following.election import Election
from coterie.core.messages import PreVote, PreVoteReply, RequestVote, VoteReply
from coterie.core.raft.state import RaftState
from coterie.core.types import NOBODY, Epoch, MemberId, Nanos, Role


class RaftElection(Election):
    """Votes asked for and given by one member."""

    _state: RaftState

    def _canvass(self, round_: int) -> None:
        """Pre-vote (9.6)."""
        log = self._state.log
        for member in self._state.electors:
            self._state.outbox.post(member, PreVote(Epoch(round_, 0), log.last_index, log.last_epoch))

    def _campaign(self, now: Nanos, *, transfer: bool = False) -> bool:
        """Start an election in an epoch of one's own (Raft 5.2); `transfer`: the leader itself asked for it.

        Neither the request nor the own vote counts before that epoch is durable: a candidate that
        won, sent entries, crashed and forgot could win the same epoch again, with another log
        (catalogue R24). Pre-votes are not votes (R20): the count begins anew.
        """
        state = self._state
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

        A refusal says our epoch, so that a member that fell behind catches up (catalogue R15).
        """
        state = self._state
        granted = (
            m.epoch > state.epoch and state.newer_log(m.last_epoch, m.last_index) and not self._leader_is_alive(now)
        )
        if granted and state.role is Role.PRE_CANDIDATE and self._yields_to(sender, m):
            self.follow(now, NOBODY, f"{state.name(sender)} calls an election, too, and goes first")
            self._wait_whole(now)
        state.outbox.post(sender, PreVoteReply(state.epoch, m.epoch, granted))

    def _yields_to(self, sender: MemberId, m: PreVote) -> bool:
        """Of two that call an election at once, the one with the better log, then the higher id, goes first.

        Otherwise each would vote for itself, and both would have to wait for another try. It is a courtesy
        that safety does not rest on: no vote is given or taken back.
        """
        log = self._state.log
        return (m.last_epoch, m.last_index, sender) > (log.last_epoch, log.last_index, self._state.own)

    def handle_pre_vote_reply(self, now: Nanos, sender: MemberId, m: PreVoteReply) -> None:
        """Count grants of the pre-vote under way; then campaign."""
        self._canvassed(now, sender, m.epoch, m.asked, m.granted)

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
