"""The receiving end of a leader's stream of entries: acknowledgements, and how old this member's state may be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque

from coterie.core import repair
from coterie.core.messages import Accept, Accepted, Append, AppendReply
from coterie.core.state import State
from coterie.core.types import Index, MemberId, Nanos

MAX_FRESHNESS_POINTS = 64
"""Pairs of (commit, time) remembered for the age bound of stale reads."""


class Stream(ABC):
    """Acknowledges what of a leader's stream is durable here; each protocol says what it takes into the log."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.ack: tuple[MemberId, AppendReply | Accepted] | None = None
        """Gathered, to be released."""
        self._fresh: deque[tuple[Index, Nanos]] = deque(maxlen=MAX_FRESHNESS_POINTS)

    @abstractmethod
    def _accepted(self, index: Index, round_: int, now: Nanos) -> AppendReply | Accepted:
        """'I hold durably what you have, up to `index`'; while the log is being repaired, no more than a hint."""

    def _acknowledge(self, now: Nanos, sender: MemberId, m: Append | Accept, matched: Index) -> None:
        """Acknowledge what matches; one acknowledgement a drain, for the highest index.

        A heartbeat is answered at once, for as much as is durable: it says 'you lead', and must
        not wait for a slow disk, once the epoch is on it. Entries are acknowledged only once they are durable.
        """
        state = self._state
        if state.repair is not None and repair.complete(state.repair, m, matched):
            state.repaired()
        if not m.entries and matched > state.log.durable_index:
            state.outbox.affirm(sender, self._accepted(state.log.durable_index, m.round, now))
            return
        reply = self._accepted(matched, m.round, now)
        if self.ack is not None:
            to, earlier = self.ack
            if to == sender and earlier.epoch == reply.epoch:
                reply = self._accepted(max(matched, earlier.index), max(m.round, earlier.round), now)
            else:
                self.release()
        self.ack = (sender, reply)

    def release(self) -> None:
        """Let the gathered acknowledgement go, durable entries at once, others when they are."""
        if self.ack is None:
            return
        to, reply = self.ack
        self.ack = None
        if reply.index <= self._state.log.durable_index:
            self._state.outbox.affirm(to, reply)
        else:
            self._state.outbox.promise(to, reply)

    def _remember_freshness(self, now: Nanos, m: Append | Accept) -> None:
        """`m` left the leader after our clock showed `echo`, and `lag` before that a quorum confirmed it:
        so `commit` covers all that was acknowledged until echo - lag, on our own clock."""
        if m.lag >= 0 and 0 < m.echo <= now:
            self._fresh.append((m.commit, m.echo - m.lag))

    def age_bound(self, now: Nanos, applied: Index) -> Nanos:
        """See `Replica.age_bound`."""
        best = -1
        for commit, covered in self._fresh:
            if commit <= applied:
                best = covered if best < 0 else max(best, covered)
        return -1 if best < 0 else max(0, now - best)
