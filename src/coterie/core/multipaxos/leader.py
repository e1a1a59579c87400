"""The leader of a ballot: phase 2a, in a pipeline ("Paxos Made Simple" 3; PMMC 2 and 4, the commander)."""

from __future__ import annotations

from coterie.core.leading.leadership import Leadership
from coterie.core.leading.progress import Progress
from coterie.core.messages import Accept, Accepted, Acknowledgement
from coterie.core.multipaxos.preparation import Recovered
from coterie.core.multipaxos.state import PaxosState
from coterie.core.replica import SnapshotReader
from coterie.core.types import Entry, EntryKind, Index, Nanos


class PaxosLeadership(Leadership):
    """Leads in one ballot: phase 1 is complete for every slot that it will ever propose in."""

    _state: PaxosState

    def __init__(
        self,
        state: PaxosState,
        reader: SnapshotReader | None,
        now: Nanos,
        campaign_began: Nanos,
        recovered: Recovered,
    ) -> None:
        state.put(recovered.entries)
        state.commit = max(state.commit, recovered.chosen)
        start = state.commit
        super().__init__(state, reader, now, campaign_began)
        for progress in self.progress.values():
            # What comes after the chosen slots is decided anew in this ballot. Who lacks some of those says so.
            progress.next = start + 1
        # All that an earlier leader can have committed is committed once this is: so it marks from when on reads may
        # be answered and the membership be changed, as a new leader's first entry does in Raft.
        self._append(now, EntryKind.NOOP, b"")
        self._commit_what_is_agreed(now)

    def _may_commit(self, index: Index) -> bool:
        """Always: a member counts for a slot only if it accepted it in this ballot, or knows it to be chosen."""
        return True

    def _message(self, prev: Index, entries: tuple[Entry, ...], echo: Nanos, lag: Nanos) -> Accept:
        return Accept(self._state.epoch, prev, entries, self._state.commit, self.confirmation.round, echo, lag)

    def _refused(self, progress: Progress, m: Acknowledgement) -> bool:
        assert isinstance(m, Accepted)
        return progress.rewind(m.index, m.vouched)
