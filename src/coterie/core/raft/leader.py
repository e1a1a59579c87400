"""What only Raft's leader does: it counts entries of its own term (5.4.2) and finds where logs agree (5.3)."""

from __future__ import annotations

from coterie.core.leading.leadership import Leadership
from coterie.core.leading.progress import Progress
from coterie.core.messages import Acknowledgement, Append, AppendReply
from coterie.core.raft.state import RaftState
from coterie.core.replica import SnapshotReader
from coterie.core.types import Entry, EntryKind, Index, Nanos


class RaftLeadership(Leadership):
    """Leads in one term."""

    def __init__(self, state: RaftState, reader: SnapshotReader | None, now: Nanos, campaign_began: Nanos) -> None:
        super().__init__(state, reader, now, campaign_began)
        # A leader may count copies of older entries only through one of its own (5.4.2), and knows
        # the commit index only when that one is committed: so it appends one at once (8; L23).
        self._append(now, EntryKind.NOOP, b"")
        self._commit_what_is_agreed(now)

    def _may_commit(self, index: Index) -> bool:
        """Only if the entry there is of this epoch (Raft 5.4.2, figure 8).

        An entry of an older epoch, though on a majority, may still be overwritten by a leader that
        has never seen it; it is committed together with the first one of ours.
        """
        return self._state.log.epoch_at(index) == self._state.epoch

    def _message(self, prev: Index, entries: tuple[Entry, ...], echo: Nanos, lag: Nanos) -> Append:
        state = self._state
        prev_epoch = state.log.epoch_at(prev)
        # An epoch made up for an entry that is compacted away could match a log that lacks it (catalogue L14).
        assert prev_epoch is not None
        return Append(state.epoch, prev, prev_epoch, entries, state.commit, self.confirmation.round, echo, lag)

    def _refused(self, progress: Progress, m: Acknowledgement) -> bool:
        assert isinstance(m, AppendReply)
        agree, _ = self._state.log.last_at_most(m.hint_index, m.hint_epoch)
        # Where the logs may agree at most lies before what this log still holds: only a snapshot helps.
        return progress.refused(m.index, min(agree, m.hint_index) + 1)
