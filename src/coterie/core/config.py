"""Timing and limits of a replica, validated once."""

from __future__ import annotations

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.core.types import Nanos
from coterie.core.whims import NO_WHIMS, Whims

MILLISECOND: Nanos = 1_000_000
KIB = 1024
MIB = 1024 * 1024


class ReplicaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica needs to know besides its own disk. Times in nanoseconds, sizes in bytes."""

    election_timeout: Nanos = 1000 * MILLISECOND
    """A follower that hears nothing from a leader for a time drawn from [T, T + T/4) calls an election;
    a leader that its quorum has not confirmed for T, or whose disk hangs for T, gives up."""
    heartbeat_interval: Nanos = 100 * MILLISECOND
    commit_notice_delay: Nanos = 1 * MILLISECOND
    """How long a leader waits for a next `Append` to carry a new commit index before it sends one for
    that alone (at once if a member waits for the commit: see `Replica.propose`; up to four times as long while entries
    follow each other closely: see `leading.commit_notice`)."""
    max_uncommitted_bytes: int = 64 * MIB
    """A leader refuses proposals while this much is appended and not committed."""
    max_inflight_messages: int = 256
    """Appends sent to one follower and not yet answered."""
    max_inflight_bytes: int = 16 * MIB
    """Payload bytes sent to one follower and not yet answered."""
    max_append_bytes: int = 1 * MIB
    """Payload bytes in one `Append` (one entry may exceed it and then travels alone)."""
    max_committed_bytes: int = 256 * KIB
    """Payload bytes of committed entries handed out in one `Effects` ..."""
    max_committed_entries: int = 256
    """... and how many: they are applied before the next message is read, so a backlog of them keeps nobody waiting
    for longer than these take (about 10 ms)."""
    max_cached_bytes: int = 32 * MIB
    """Payload bytes of durable entries kept in memory; older ones are read from the log store."""
    max_pending_reads: int = 65536
    """Read requests waiting for an index."""
    max_snapshot_chunk_bytes: int = 256 * KIB
    """Bytes of a snapshot in one message: small enough that a heartbeat behind it is not late."""
    max_inflight_snapshot_chunks: int = 4
    """Chunks sent to one follower and not yet answered."""
    max_snapshot_bytes_per_s: int = 64 * MIB
    """Bytes of snapshots that a leader sends in a second, to all followers together: clients come first."""
    whims: Whims = NO_WHIMS
    """What chooses the unlikely where that is allowed: nothing, but in a simulated world."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, Whims):
                continue
            if type(value) is not int or value <= 0:
                raise ConfigurationError(f"{name} is {value!r}: it must be a whole number above 0")
        if self.heartbeat_interval * 2 > self.election_timeout:
            raise ConfigurationError(
                f"heartbeat_interval ({self.heartbeat_interval} ns) must be at most half of "
                f"election_timeout ({self.election_timeout} ns), or one lost heartbeat would start an election"
            )
