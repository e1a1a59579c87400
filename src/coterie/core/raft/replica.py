"""Raft behind the `Replica` interface: what its own messages mean."""

from __future__ import annotations

import random

from coterie.core.config import ReplicaConfig
from coterie.core.messages import Accept, Append, Message, PreVote, PreVoteReply, Pull, RequestVote, Suffix, VoteReply
from coterie.core.participant import Participant
from coterie.core.raft.election import RaftElection
from coterie.core.raft.follower import Follower
from coterie.core.raft.leader import RaftLeadership
from coterie.core.raft.state import RaftState
from coterie.core.records import Recovered
from coterie.core.replica import LogReader, SnapshotReader
from coterie.core.types import Index, MemberId, Nanos


class Raft(Participant):
    """One Raft member. See `core.replica` for the contract."""

    _state: RaftState
    _election: RaftElection
    _stream: Follower

    def __init__(
        self,
        *,
        own: MemberId,
        config: ReplicaConfig,
        recovered: Recovered,
        reader: LogReader,
        snapshots: SnapshotReader | None,
        applied: Index,
        rng: random.Random,
        now: Nanos,
    ) -> None:
        state = RaftState(own, config, recovered, reader, rng, applied)
        stream = Follower(state)
        super().__init__(state, RaftElection(state, stream, now), stream, snapshots, None)

    def _receive(self, now: Nanos, sender: MemberId, message: Message) -> bool:
        if isinstance(message, Append):
            if self._from_leader(now, sender, message):
                self._stream.handle_append(now, sender, message)
        elif isinstance(message, PreVote):
            self._election.handle_pre_vote(now, sender, message)
            if self._leadership is not None:
                self._leadership.roster.stranger(now, sender)
        elif isinstance(message, PreVoteReply):
            self._election.handle_pre_vote_reply(now, sender, message)
        elif isinstance(message, Pull):
            self._election.handle_pull(now, sender, message)
        elif isinstance(message, Suffix):
            self._election.handle_suffix(now, sender, message)
        elif isinstance(message, RequestVote):
            self._election.handle_request_vote(now, sender, message)
        elif isinstance(message, VoteReply):
            if self._election.handle_vote_reply(now, sender, message):
                self._lead(now)
        else:
            return False
        return True

    def _stale(self, now: Nanos, sender: MemberId, m: Append | Accept) -> None:
        assert isinstance(m, Append)
        self._state.outbox.post(sender, Follower.stale_reply(self._state.epoch, now, m))

    def _new_leadership(self, now: Nanos) -> RaftLeadership:
        return RaftLeadership(self._state, self._snapshots, now, self._election.campaign_began)
