"""What a replica asks its log to remember: the records of a store batch."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from coterie.core.types import Entry, Epoch, HardState, Index, Mark, SnapshotMeta


class Put(msgspec.Struct, frozen=True):
    """Write entries with consecutive indexes.

    Raft appends: the first index is one past the log's end (a `Truncate` came before it if not).
    Multi-Paxos may also begin at or below the end: each slot up to there is overwritten, with a higher epoch than it
    had, and the slots that the entries do not cover, those after the last of them too, keep what they hold. A crash may
    leave the first few of the entries written, and the rest not.
    """

    entries: tuple[Entry, ...]


class Truncate(msgspec.Struct, frozen=True):
    """Forget every entry with an index of `first` or higher (Raft 5.3; never in Multi-Paxos)."""

    first: Index


class SaveHardState(msgspec.Struct, frozen=True):
    """Remember the epoch and the vote."""

    state: HardState


class Compact(msgspec.Struct, frozen=True):
    """The entries up to `base.index` may be forgotten: a durable snapshot, or the machine's own store, holds what
    they did. `base` is the state of the log there. Later entries stay as they are.

    In Raft the log still holds the entry at `base.index`, of epoch `base.epoch`. In Multi-Paxos the log reaches as far,
    but may hold something else there: what this member accepted, while the snapshot has what was chosen."""

    base: SnapshotMeta


class Reset(msgspec.Struct, frozen=True):
    """Forget every entry; the log begins just after `base`, whose snapshot is durable: the commit point of an
    installation (Raft 7). Hard state stays."""

    base: SnapshotMeta


Record: TypeAlias = Put | Truncate | SaveHardState | Compact | Reset


class StoreBatch(msgspec.Struct, frozen=True):
    """Records to append in this order and make durable together; then call `stored(mark)`."""

    mark: Mark
    records: tuple[Record, ...]


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """What a log store found on disk: all that a replica needs in order to start again."""

    hard_state: HardState
    base: SnapshotMeta
    """The log begins just after this: index 0, `NO_EPOCH` and an empty membership if never compacted."""
    last_index: Index
    """`base.index` if the log holds no entry."""
    epochs: tuple[tuple[Index, Epoch], ...]
    """Runs of equal epochs: (first index of the run, epoch), ascending, covering base.index+1..last."""
    memberships: tuple[Entry, ...]
    """Every MEMBERSHIP entry in the log, in order."""
    settings: tuple[Entry, ...] = ()
    """Every SETTINGS entry in the log, in order."""
