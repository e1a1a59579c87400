"""Linearizable reads without a log write: the read index (6.4), batched."""

from __future__ import annotations

from typing import NamedTuple

from coterie.core.types import NOBODY, Index, MemberId, Nanos, Token


class Read(NamedTuple):
    """A read that waits for an index: asked by this member itself (`member` 0), or by a peer."""

    member: MemberId
    token: Token


class ReadQueue:
    """A leader's reads: waiting for a round, or in the round under way. One round serves all that
    came before it began; what comes meanwhile waits for the next."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.waiting: list[Read] = []
        self.asked: list[Read] = []
        self.round = 0
        self.index: Index = 0

    def add(self, member: MemberId, token: Token) -> bool:
        """Queue a read; False if too many wait."""
        if len(self.waiting) >= self._limit:
            return False
        self.waiting.append(Read(member, token))
        return True

    @property
    def ready_to_ask(self) -> bool:
        """Whether a round should begin for the reads that wait."""
        return bool(self.waiting) and not self.asked

    def ask(self, round_number: int, commit: Index) -> None:
        """The waiting reads go with this round.

        The index is taken before the round begins, and acknowledgements of older rounds do not
        count: an answer that was already under way proves nothing about now (catalogue Q05).
        """
        self.asked, self.waiting = self.waiting, []
        self.round, self.index = round_number, commit

    def answered(self, confirmed_round: int) -> list[Read]:
        """The reads that the confirmed round allows to be answered."""
        if not self.asked or confirmed_round < self.round:
            return []
        reads, self.asked = self.asked, []
        return reads

    def take_waiting(self) -> list[Read]:
        """The reads that wait for a round: a lease answers them."""
        reads, self.waiting = self.waiting, []
        return reads

    def abandon(self) -> list[Read]:
        """Leadership is lost: nobody here can answer them."""
        reads = self.asked + self.waiting
        self.asked, self.waiting = [], []
        return reads


class RemoteReads:
    """A follower's reads, on their way to the leader and back. Asked again when no answer comes: a
    read has no effect, and whichever answer arrives first was valid after the read began."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.leader: MemberId = NOBODY
        self.pending: dict[Token, Nanos] = {}

    def add(self, leader: MemberId, token: Token, now: Nanos) -> bool:
        """Note a read sent to `leader`; False if too many are under way."""
        if len(self.pending) >= self._limit:
            return False
        self.leader = leader
        self.pending[token] = now
        return True

    def take(self, token: Token) -> bool:
        """An answer came: whether it is awaited."""
        return self.pending.pop(token, None) is not None

    def due(self, now: Nanos, interval: Nanos) -> list[Token]:
        """Reads asked at least `interval` ago; they count as asked now."""
        tokens = [token for token, asked in self.pending.items() if now - asked >= interval]
        for token in tokens:
            self.pending[token] = now
        return tokens

    def next_due(self, interval: Nanos) -> Nanos:
        """When the next read is to be asked again (only while some are pending)."""
        return min(self.pending.values()) + interval

    def abandon(self) -> list[Token]:
        """The leader changed: no answer will come."""
        tokens = list(self.pending)
        self.pending.clear()
        return tokens
