"""What only Raft keeps beside the state that both protocols have: the vote, and a log that a newer leader cuts back."""

from __future__ import annotations

import random

from coterie.core.config import ReplicaConfig
from coterie.core.records import Recovered, SaveHardState
from coterie.core.replica import LogReader
from coterie.core.state import State
from coterie.core.types import NOBODY, Epoch, HardState, Index, MemberId, SnapshotMeta


class RaftState(State):
    """One member's Raft state (Raft, figure 2)."""

    electors_meet = True  # One vote a term is all that keeps a term from having two leaders (5.2).

    def __init__(
        self,
        own: MemberId,
        config: ReplicaConfig,
        recovered: Recovered,
        reader: LogReader,
        rng: random.Random,
        applied: Index,
    ) -> None:
        super().__init__(own, config, recovered, reader, rng, applied)
        self.vote: MemberId = recovered.hard_state.vote

    def holds(self, meta: SnapshotMeta) -> bool:
        """See `State.holds`: an entry with the snapshot's index and epoch shows that all before it is equal, too
        (log matching)."""
        return self.log.epoch_at(meta.index) == meta.epoch

    def truncate(self, first: Index) -> None:
        """Forget entries that a newer leader contradicts, and the memberships and settings among them."""
        self.log.truncate(first)
        self._settings.truncate(first)
        if self._memberships.truncate(first):
            self.membership_reason = "a change of the membership was undone before it was committed"
            self._refresh_quorums()

    def enter_epoch(self, epoch: Epoch, vote: MemberId = NOBODY) -> None:
        """Move to a newer epoch. The vote of an older one does not carry over (Raft 5.1; catalogue
        R05); epoch and vote are one record, so no crash can come between them (R23)."""
        self.epoch = epoch
        self.vote = vote
        self.save_hard_state()

    def save_hard_state(self) -> None:
        """See `State.save_hard_state`."""
        self.outbox.record(SaveHardState(HardState(self.epoch, self.vote, self.repair)))

    def newer_log(self, last_epoch: Epoch, last_index: Index) -> bool:
        """Whether a log that ends so is at least as up-to-date as ours: epoch first, then length.

        Without this rule, or with length alone, a leader could lack committed entries (Raft 5.4.1).
        """
        return (last_epoch, last_index) >= (self.log.last_epoch, self.log.last_index)
