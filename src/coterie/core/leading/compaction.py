"""How much of the log stays behind a snapshot (Raft 7; dissertation 5.1.3: the leader keeps what followers need)."""

from __future__ import annotations

from collections.abc import Iterable

from coterie.core.config import MIB
from coterie.core.log import Log
from coterie.core.settings import Settings
from coterie.core.types import Index

FOLLOWER_ENTRIES = 1024
"""Of a follower that lives, the log waits for at least so many entries, however few `snapshot_keep_entries` are."""
FOLLOWER_FACTOR = 4
"""And otherwise for this many times `snapshot_keep_entries`."""
KEPT_SHARE = 4
"""What is kept unasked weighs at most one part in so many of `snapshot_log_bytes`: a log whose tail alone reached
that limit would be snapshotted without end."""
FOLLOWER_SHARE = 2
"""And what is kept for followers that live, one part in so many."""


TRANSFER_FACTOR = 4
"""While a snapshot is on its way to a follower, and until it has caught up from there, the log waits for it with what
weighs at most this many times `snapshot_log_bytes` ..."""
TRANSFER_BYTES = 64 * MIB
"""... or this ..."""
TRANSFER_SHARE = 2
"""... or this many times the snapshot, whichever is most: else, under load, it would need the next snapshot as
soon as it has this one, without end (hashicorp/raft #697). A large one takes long to write, to send and to install."""


def compaction_index(
    log: Log, settings: Settings, snapshot: Index, needs: Iterable[Index], sending: Iterable[tuple[Index, int]] = ()
) -> Index:
    """Up to where to forget entries, given a snapshot at `snapshot`. Not above it; at or below the log's base
    if nothing is to be forgotten.

    `needs`: for each follower that lives, the index after which it needs entries. One that is too far behind
    holds nothing back: a snapshot is cheaper for it, and the log would grow with its distance. `sending`: the same for
    those that are being sent a snapshot, or catch up from one, with its bytes.
    """
    keep = settings.snapshot_keep_entries
    index = max(snapshot - keep, log.first_within(snapshot, settings.snapshot_log_bytes // KEPT_SHARE) - 1)
    entries = max(FOLLOWER_ENTRIES, FOLLOWER_FACTOR * keep)
    lowest = max(
        snapshot - entries,
        log.first_within(snapshot, settings.snapshot_log_bytes // FOLLOWER_SHARE) - 1,
    )
    held = [need for need in needs if need >= lowest]
    for end, size in sending:
        weight = max(settings.snapshot_log_bytes * TRANSFER_FACTOR, TRANSFER_BYTES, size * TRANSFER_SHARE)
        if end >= log.first_within(snapshot, weight) - 1:
            held.append(end)
    return min(index, snapshot, *held)
