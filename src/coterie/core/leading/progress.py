"""What a leader knows of one follower, and how much it may send it (10.2.1; etcd's probe, replicate, snapshot)."""

from __future__ import annotations

from collections import deque
from enum import IntEnum

from coterie.core.config import ReplicaConfig
from coterie.core.types import Index, Nanos


class Mode(IntEnum):
    """How a follower is fed."""

    PROBE = 0
    """Where the logs agree is not known: one message at a time."""
    REPLICATE = 1
    """The logs agree up to `match`: a window of messages, sent without waiting."""
    SNAPSHOT = 2
    """It needs entries that are compacted away: it is sent a snapshot, and no entries meanwhile."""


class Progress:
    """One follower, as its leader sees it.

    `match`: durably equal up to here, never goes back. `next`: the next index to send, always
    above `match`. `counts`: False while its log, which was damaged, is being repaired: then its answers only tell where
    it stands (`core/repair.py`). `acked_round`: newest confirmation round that it answered. `stamp`: its newest
    clock reading, to be echoed. `heard_at`: when it last answered.
    """

    __slots__ = (
        "_config",
        "_inflight",
        "_inflight_bytes",
        "acked_round",
        "counts",
        "heard_at",
        "match",
        "mode",
        "next",
        "probing",
        "sent_commit",
        "stamp",
    )

    def __init__(self, config: ReplicaConfig, next_index: Index, now: Nanos) -> None:
        self._config = config
        self.match: Index = 0
        self.next: Index = next_index
        self.mode = Mode.PROBE
        self.probing = False
        self.counts = True
        self.acked_round = 0
        self.stamp: Nanos = 0
        self.heard_at: Nanos = now
        self.sent_commit: Index = 0
        self._inflight: deque[tuple[Index, int]] = deque()
        self._inflight_bytes = 0

    @property
    def open(self) -> bool:
        """Whether another message with entries may be sent now."""
        if self.mode is Mode.PROBE:
            return not self.probing
        if self.mode is Mode.SNAPSHOT:
            return False
        return (
            len(self._inflight) < self._config.max_inflight_messages
            and self._inflight_bytes < self._config.max_inflight_bytes
        )

    def sent(self, last: Index, size: int) -> None:
        """Entries up to `last`, `size` bytes of payload, were sent."""
        if self.mode is Mode.PROBE:
            self.probing = True
            return
        self.next = last + 1
        self._inflight.append((last, size))
        self._inflight_bytes += size

    def accepted(self, index: Index) -> bool:
        """The follower is equal up to `index`. Returns whether that is news.

        A late or repeated answer never takes `match` back (catalogue L07).
        """
        inflight = self._inflight
        while inflight and inflight[0][0] <= index:
            self._inflight_bytes -= inflight.popleft()[1]
        if self.mode is Mode.PROBE and index >= self.next - 1:
            self.mode = Mode.REPLICATE
            self.probing = False
        self.next = max(self.next, index + 1)
        if index <= self.match:
            return False
        self.match = index
        return True

    def refused(self, index: Index, retry_from: Index) -> bool:
        """Its log does not hold our entry at `index`: go back, never to what it has acknowledged.

        Returns False for an answer that is out of date. `next` stays above `match` (catalogue L11).
        """
        if self.mode is Mode.SNAPSHOT or index <= self.match or index >= self.next:
            return False
        self.mode = Mode.PROBE
        self.become_probe()
        self.next = max(self.match + 1, min(retry_from, index))
        return True

    def rewind(self, prev: Index, vouched: Index) -> bool:
        """It took nothing after `prev`, for it vouches only up to `vouched` (Multi-Paxos): go back to there, below
        `match` too, for what it vouched for is forgotten when its process ends (what it holds is not). Returns False
        for an answer that is out of date."""
        if self.mode is Mode.SNAPSHOT or not vouched < prev < self.next:
            return False
        if prev < self.next - 1 and (self.mode is Mode.PROBE or prev < self.match < self.next):
            return False
        self._enter(Mode.PROBE)
        self.next = vouched + 1
        return True

    def weigh(self, repairing: bool) -> bool:
        """Its log was damaged, and is being repaired; or not. Then it has lost what it acknowledged before, and what it
        still holds has to be found out. Returns whether it counts from now on, and did not before."""
        if self.counts is not repairing:
            return False
        self.counts = not repairing
        if repairing:
            self.match = 0
            if self.mode is Mode.REPLICATE:
                self._enter(Mode.PROBE)
        return self.counts

    def become_probe(self) -> None:
        """Forget what was sent and not answered: find out again where the logs agree."""
        if self.mode is Mode.REPLICATE:
            self.next = self.match + 1
        self._enter(Mode.PROBE)

    def become_snapshot(self) -> None:
        """A snapshot is sent; `next` stays at what is compacted away until the follower is past it."""
        self._enter(Mode.SNAPSHOT)

    def become_replicate(self) -> None:
        """The logs agree up to `match`, as an installed snapshot shows."""
        self.next = self.match + 1
        self._enter(Mode.REPLICATE)

    def _enter(self, mode: Mode) -> None:
        self.mode = mode
        self.probing = False
        self._inflight.clear()
        self._inflight_bytes = 0
