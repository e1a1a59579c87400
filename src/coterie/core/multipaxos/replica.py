"""Multi-Paxos behind the `Replica` interface: what its own messages mean."""

from __future__ import annotations

import random

from coterie.core.config import ReplicaConfig
from coterie.core.following.loans import Loans
from coterie.core.messages import Accept, Append, Canvass, CanvassReply, Message, Nack, Prepare, Promise
from coterie.core.multipaxos.acceptor import Acceptor
from coterie.core.multipaxos.ballots import Ballots
from coterie.core.multipaxos.leader import PaxosLeadership
from coterie.core.multipaxos.state import PaxosState
from coterie.core.participant import Participant
from coterie.core.records import Recovered
from coterie.core.replica import LogReader, SnapshotReader
from coterie.core.types import Index, MemberId, Nanos


class MultiPaxos(Participant):
    """One Multi-Paxos member: proposer, acceptor and learner in one. See `core.replica` for the contract."""

    _state: PaxosState
    _election: Ballots
    _stream: Acceptor

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
        state = PaxosState(own, config, recovered, reader, rng, applied)
        acceptor, loans = Acceptor(state), Loans(state, snapshots)
        super().__init__(state, Ballots(state, acceptor, loans, now), acceptor, snapshots, loans)

    def _receive(self, now: Nanos, sender: MemberId, message: Message) -> bool:
        if isinstance(message, Accept):
            if message.epoch.node == sender and self._from_leader(now, sender, message):
                self._stream.handle_accept(now, sender, message)
        elif isinstance(message, Canvass):
            self._election.handle_canvass(now, sender, message)
            if self._leadership is not None:
                self._leadership.roster.stranger(now, sender)
        elif isinstance(message, CanvassReply):
            self._election.handle_canvass_reply(now, sender, message)
        elif isinstance(message, Prepare):
            self._election.handle_prepare(now, sender, message)
        elif isinstance(message, Promise):
            if self._election.handle_promise(now, sender, message):
                self._lead(now)
        elif isinstance(message, Nack):
            if message.epoch > self._state.epoch:
                self._election.newer_epoch_seen(now, sender, message.epoch)
        else:
            return False
        return True

    def _stale(self, now: Nanos, sender: MemberId, m: Append | Accept) -> None:
        self._state.outbox.post(sender, Nack(self._state.epoch))

    def _new_leadership(self, now: Nanos) -> PaxosLeadership:
        recovered = self._election.take_recovered()
        return PaxosLeadership(self._state, self._snapshots, now, self._election.campaign_began, recovered)
