"""The divergence check: do all members that applied the same log hold the same state?

At the first entry at which cluster time has passed a multiple of `settings.divergence_check_ms`, the
same entry at every member, each tells the others the hash of its state. Members that applied the same
entries and differ have a machine that is not deterministic, memory or a disk that lies, or a bug of ours:
answers from them can't be trusted.

The odd one out, whose hash differs from that of a majority of the voters, stops. If there is no such
majority, nobody knows who is right: after some patience for the missing ones, everybody who sees the
difference stops. Nobody silently goes on. Pure.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.types import Index, MemberId, Membership, Nanos

MAX_INDEXES = 8
"""Comparisons that are remembered, own and others'."""
PATIENCE: Nanos = 5000 * MILLISECOND
"""How long a difference waits for the members that have not told their hash yet."""
NEVER: Nanos = 1 << 62


class Verdict(msgspec.Struct, frozen=True):
    """A difference was found, and judged."""

    index: Index
    odd: tuple[MemberId, ...]
    """Members whose hash is not the majority's; all of them, if there is no majority."""
    own_is_odd: bool
    """This member must stop."""
    majority: bool
    """Whether a majority of the voters agrees on a hash."""
    evidence: str


class DivergenceCheck:
    """What each member said of its state, by index."""

    def __init__(self, own: MemberId) -> None:
        self._own = own
        self._said: OrderedDict[Index, dict[MemberId, bytes]] = OrderedDict()
        self._differs_since: dict[Index, Nanos] = {}
        self._judged: set[Index] = set()
        self.waits: Nanos = NEVER
        """When a difference's patience ends; far away if there is none."""

    @staticmethod
    def due(before: Nanos, after: Nanos, period_ms: int) -> bool:
        """Whether the entry that took cluster time from `before` to `after` is one to compare at."""
        period = period_ms * MILLISECOND
        return period > 0 and before // period != after // period

    def tell(self, member: MemberId, index: Index, digest: bytes) -> None:
        """A member (or this one) said what its state is after `index`."""
        said = self._said.get(index)
        if said is None:
            if len(self._said) >= MAX_INDEXES:
                oldest = min(self._said)
                if index < oldest:
                    return
                self._forget(oldest)
            said = self._said[index] = {}
        said[member] = digest

    def _forget(self, index: Index) -> None:
        del self._said[index]
        self._differs_since.pop(index, None)
        self._judged.discard(index)

    def judge(self, now: Nanos, membership: Membership) -> Verdict | None:
        """A difference that can be judged now, once for each index. Only where this member's own word is in."""
        self.waits = NEVER
        for index in sorted(self._said):
            said = self._said[index]
            if index in self._judged or self._own not in said or len(set(said.values())) < 2:
                continue
            verdict = self._judge_index(now, index, said, membership)
            if verdict is not None:
                self._judged.add(index)
                return verdict
        return None

    def _judge_index(
        self, now: Nanos, index: Index, said: dict[MemberId, bytes], membership: Membership
    ) -> Verdict | None:
        voters = membership.voters
        votes: dict[bytes, int] = {}
        for voter in voters:
            if voter in said:
                votes[said[voter]] = votes.get(said[voter], 0) + 1
        need = len(voters) // 2 + 1
        winner = next((digest for digest, count in votes.items() if count >= need), None)
        evidence = ", ".join(f"{self._name(m, membership)} {digest.hex()[:16]}" for m, digest in sorted(said.items()))
        if winner is not None:
            odd = tuple(sorted(m for m, digest in said.items() if digest != winner))
            return Verdict(index, odd, said[self._own] != winner, True, evidence)
        since = self._differs_since.setdefault(index, now)
        missing = len(voters) - sum(votes.values())
        could_win = max(votes.values(), default=0) + missing >= need
        if could_win and now - since < PATIENCE:
            self.waits = min(self.waits, since + PATIENCE)
            return None
        return Verdict(index, tuple(sorted(said)), True, False, evidence)

    @staticmethod
    def _name(member: MemberId, membership: Membership) -> str:
        known = membership.member(member)
        return known.name if known is not None else f"{member:016x}"
