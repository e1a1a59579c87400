"""The follower's side of replication: log matching and its repair (Raft 5.3)."""

from __future__ import annotations

from collections import deque

from coterie.core.messages import Append, AppendReply
from coterie.core.raft.state import State
from coterie.core.types import NO_EPOCH, Entry, Epoch, Index, MemberId, Nanos

MAX_FRESHNESS_POINTS = 64
"""Pairs of (commit, time) remembered for the age bound of stale reads."""


class Follower:
    """Takes a leader's `Append`s into the log and acknowledges what is durable."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._ack: tuple[MemberId, AppendReply] | None = None
        self._fresh: deque[tuple[Index, Nanos]] = deque(maxlen=MAX_FRESHNESS_POINTS)

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
        self._take(sender, entries)
        matched = prev_index + len(entries)
        # Only what this message vouches for: beyond it, our log may hold a deposed leader's
        # entries (figure 2, AppendEntries 5; catalogue L05). And never backwards (L06).
        state.commit = max(state.commit, min(m.commit, matched))
        if m.lag >= 0 and 0 < m.echo <= now:
            self._remember_freshness(m)
        self._acknowledge(now, sender, m, matched)

    def _take(self, sender: MemberId, entries: tuple[Entry, ...]) -> None:
        """Skip what we have, truncate only at a real conflict, append the rest.

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
                        f"leader {state.name(sender)} sent entry {entry.index} of epoch {entry.epoch}, but this member "
                        f"knows {entry.index} as committed with epoch {held}",
                    )
                    return
                state.truncate(entry.index)
            state.append(entries[position:])
            return

    def _refuse(self, now: Nanos, sender: MemberId, m: Append) -> None:
        state = self._state
        hint_index, hint_epoch = state.log.last_at_most(m.prev_index, m.prev_epoch)
        state.outbox.post(sender, AppendReply(state.epoch, False, m.prev_index, hint_index, hint_epoch, m.round, now))

    def _acknowledge(self, now: Nanos, sender: MemberId, m: Append, matched: Index) -> None:
        """Acknowledge what matches; one acknowledgement a drain, for the highest index.

        A heartbeat is answered at once, for as much as is durable: it says 'you lead', and must
        not wait for a slow disk. Entries are acknowledged only once they are durable.
        """
        state = self._state
        reply = AppendReply(state.epoch, True, matched, 0, NO_EPOCH, m.round, now)
        if not m.entries and matched > state.log.durable_index:
            reply = AppendReply(state.epoch, True, state.log.durable_index, 0, NO_EPOCH, m.round, now)
            state.outbox.post(sender, reply)
            return
        if self._ack is not None:
            to, earlier = self._ack
            if to == sender and earlier.epoch == reply.epoch:
                reply = AppendReply(
                    state.epoch, True, max(matched, earlier.index), 0, NO_EPOCH, max(m.round, earlier.round), now
                )
            else:
                self.release()
        self._ack = (sender, reply)

    def release(self) -> None:
        """Let the gathered acknowledgement go, durable entries at once, others when they are."""
        if self._ack is None:
            return
        to, reply = self._ack
        self._ack = None
        if reply.index <= self._state.log.durable_index:
            self._state.outbox.post(to, reply)
        else:
            self._state.outbox.promise(to, reply)

    def _remember_freshness(self, m: Append) -> None:
        """`m` left the leader after our clock showed `echo`, and `lag` before that a quorum confirmed it:
        so `commit` covers all that was acknowledged until echo - lag, on our own clock."""
        self._fresh.append((m.commit, m.echo - m.lag))

    def age_bound(self, now: Nanos, applied: Index) -> Nanos:
        """See `Replica.age_bound`."""
        best = -1
        for commit, covered in self._fresh:
            if commit <= applied:
                best = covered if best < 0 else max(best, covered)
        return -1 if best < 0 else max(0, now - best)

    @staticmethod
    def stale_reply(epoch: Epoch, now: Nanos, m: Append) -> AppendReply:
        """Tells a deposed leader of the newer epoch."""
        return AppendReply(epoch, False, m.prev_index, 0, NO_EPOCH, m.round, now)
