"""The follower's side of replication: log matching and its repair (Raft 5.3)."""

from __future__ import annotations

from coterie.core.following.stream import Stream
from coterie.core.messages import Append, AppendReply
from coterie.core.raft.state import RaftState
from coterie.core.types import NO_EPOCH, Entry, Epoch, Index, MemberId, Nanos


class Follower(Stream):
    """Takes a leader's `Append`s into the log and acknowledges what is durable."""

    _state: RaftState

    def handle_append(self, now: Nanos, sender: MemberId, m: Append) -> None:
        """An `Append` of the present epoch, from its leader."""
        state, log = self._state, self._state.log
        prev_index, prev_epoch, entries = m.prev_index, m.prev_epoch, m.entries
        if prev_index < log.base_index:
            # What is compacted here was committed, so it equals the leader's: look only past it.
            skip = log.base_index - prev_index
            if skip > len(entries):
                self._acknowledge(now, sender, m, log.base_index)
                return
            prev_index, prev_epoch, entries = log.base_index, log.base_epoch, entries[skip:]
        if log.epoch_at(prev_index) != prev_epoch:
            self._refuse(now, sender, m)
            return
        self.take(sender, entries)
        matched = prev_index + len(entries)
        # Only what this message vouches for: beyond it, our log may hold a deposed leader's
        # entries (figure 2, AppendEntries 5; catalogue L05). And never backwards (L06).
        state.commit = max(state.commit, min(m.commit, matched))
        self._remember_freshness(now, m)
        self._acknowledge(now, sender, m, matched)

    def take(self, source: MemberId, entries: tuple[Entry, ...]) -> None:
        """Skip what we have, truncate only at a real conflict, append the rest. `source`: who sent them.

        An `Append` that is old or came twice must not cut off what a later one brought and we
        acknowledged (catalogue L04).
        """
        state, log = self._state, self._state.log
        for position, entry in enumerate(entries):
            held = log.epoch_at(entry.index)
            if held == entry.epoch:
                continue
            if held is not None:
                if entry.index <= state.commit:
                    state.outbox.raise_alarm(
                        "State Machine Safety (Raft 5.4.3)",
                        f"{state.name(source)} sent entry {entry.index} of epoch {entry.epoch}, but this member "
                        f"knows {entry.index} as committed with epoch {held}",
                    )
                    return
                state.truncate(entry.index)
            state.append(entries[position:])
            return

    def _refuse(self, now: Nanos, sender: MemberId, m: Append) -> None:
        state = self._state
        hint_index, hint_epoch = state.log.last_at_most(m.prev_index, m.prev_epoch)
        hint = AppendReply(
            state.epoch, False, m.prev_index, hint_index, hint_epoch, m.round, now, state.repair is not None
        )
        state.outbox.post(sender, hint)

    def _accepted(self, index: Index, round_: int, now: Nanos) -> AppendReply:
        state = self._state
        return AppendReply(state.epoch, True, index, 0, NO_EPOCH, round_, now, state.repair is not None)

    @staticmethod
    def stale_reply(epoch: Epoch, now: Nanos, m: Append) -> AppendReply:
        """Tells a deposed leader of the newer epoch."""
        return AppendReply(epoch, False, m.prev_index, 0, NO_EPOCH, m.round, now)
