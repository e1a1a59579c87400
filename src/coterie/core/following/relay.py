"""A follower's reads: asked of the leader, asked again when no answer comes, ended when the leader changes (6.4)."""

from __future__ import annotations

from coterie.core.leading.reads import RemoteReads
from coterie.core.messages import ReadIndex, ReadIndexReply
from coterie.core.replica import Lost, ReadReady, Refusal, Refused
from coterie.core.state import State
from coterie.core.types import NOBODY, Nanos, Token

NEVER: Nanos = 1 << 62
REPEAT_HEARTBEATS = 2
"""Heartbeat intervals after which a read without an answer is asked again."""


class Relay:
    """Passes reads to the leader, and its answers back."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.reads = RemoteReads(state.config.max_pending_reads)
        self._interval = REPEAT_HEARTBEATS * state.config.heartbeat_interval

    def ask(self, now: Nanos, token: Token) -> None:
        """Ask the leader, who must be known, for an index."""
        state = self._state
        if self.reads.add(state.leader, token, now):
            state.outbox.post(state.leader, ReadIndex(state.epoch, token))
        else:
            state.outbox.outcomes.append(Refused(token, Refusal.OVERLOADED, state.leader))

    def answered(self, m: ReadIndexReply) -> None:
        """The leader's answer; one that is not awaited any more counts for nothing."""
        if not self.reads.take(m.token):
            return
        if m.index > 0:
            self._state.outbox.reads.append(ReadReady(m.token, m.index))
        else:
            self._state.outbox.outcomes.append(Lost(m.token, self._state.leader))

    def repeat(self, now: Nanos) -> None:
        """Ask again for those that have waited long."""
        state = self._state
        for token in self.reads.due(now, self._interval):
            if state.leader != NOBODY:
                state.outbox.post(state.leader, ReadIndex(state.epoch, token))

    def settle(self) -> None:
        """If the leader is no longer the one that was asked, no answer will come."""
        state = self._state
        if self.reads.pending and state.leader != self.reads.leader:
            state.outbox.outcomes.extend(Lost(token, state.leader) for token in self.reads.abandon())

    def deadline(self) -> Nanos:
        """When to ask again; far away if nothing is asked."""
        return self.reads.next_due(self._interval) if self.reads.pending else NEVER
