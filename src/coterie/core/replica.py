"""The contract between a replica and whoever drives it, on one page.

A replica decides; its driver acts. Both protocols (Raft, Multi-Paxos) stand behind this interface.

1.  *Start.* Make a replica from what the disk holds: hard state, log, membership, and the index
    that the machine has applied. It gets a `random.Random` (draws integers only) and the time.
2.  *Inputs.* Call `receive`, `wake`, `propose`, `read`, `stored`, `store_failed`,
    `connection_closed`, as things happen; each with `now` (monotonic nanoseconds) read *after*
    the input arrived: a process that slept between the two must not use the older time.
    Inputs never raise for what a peer sends; nothing happens in the world until step 3.
3.  *Drain.* After a batch of inputs call `drain(now)` once and do what the `Effects` say:

    a. `alarm`: stop the node at once, keep the disk as it is, show the text. Do nothing else.
    b. `send`: these messages may leave at once.
    c. `store`: append the records in order, make them durable together, then call `stored(mark)`.
       Batches are numbered 1, 2, 3, ...; `stored(n)` covers every batch up to n. A batch that
       fails for want of space is tried again with the same bytes and never withdrawn (call
       `store_failed(mark)` so that the replica knows). Any other failure ends the process:
       after a failed fsync nobody knows what is on the disk (fsyncgate; ATC'20).
    d. `send_after`: each (mark, to, message) may leave only once `mark` is durable: votes,
       acknowledgements, and everything said in an epoch of one's own before it is on disk.
       Messages to one peer leave in the order given.
    e. `committed`: apply these entries in order, exactly once. Bounded; `more` says that a
       further `drain` will hand out further ones: call it soon, but let other inputs come in between. A member
       that applies for longer than an election timeout without a break answers nobody meanwhile: nobody can be
       elected with its vote, and if it leads it is deposed.
    f. `reads`: (token, index): the read may be answered once the machine has applied `index`.
    g. `outcomes`: what became of proposals and reads.
    h. `role`: leader, epoch or membership changed, and why: for people and for clients.
    i. `deadline`: call `wake` then, if no other input has led to a drain before.

    j. `chunks`: append each to the partial file of the snapshot that it belongs to (one at a time is
       under way; offset 0 begins a new file), and call `snapshot_kept` when that is done. When all `size`
       bytes are there, make the file durable, check it, and call `snapshot_received`, or
       `snapshot_failed`: always one of them, once.
    k. `install`: the log was reset to this snapshot, durably: replace the machine's state by it before
       anything else is applied. `committed`, in the same `Effects` or a later one, goes on with the entry
       after it. After a crash in between, the driver finds a log that begins after what the machine has
       applied, and finishes the installation before it makes a replica.
    l. `snapshot_wanted`: a follower needs a snapshot, and there is none that can be read: take one, unless
       one is being taken. Said again while it is so.

4.  *Snapshots.* The driver decides when to take one. Once it is durable, as a whole, under its final
    name, it calls `snapshot_taken`; the replica then compacts the log (a `Compact` record), keeping
    what followers need. It reads chunks for slow followers back through its `SnapshotReader`.
    At the start it calls `snapshot_taken` for the newest on disk, before the first drain. The log may not
    lead there, if the process ended after the snapshot was durable and before the log was: it is then reset
    to it (a `Reset` record), and if the machine has not applied as much, `install` follows.
5.  *Membership, settings, transfer.* `change_membership` and `change_settings` append an entry, or refuse
    with the reason in words; both are `Accepted` like a proposal. A membership takes effect when it is
    appended (4.1), settings when their entry is committed (see the mechanism that uses them).
    `transfer_leadership` ends in `Transferred` or `Refused`; meanwhile proposals are refused with NOT_NOW.
    A member that was removed, by a committed entry, learns it by `RoleChange.removed`, and may end. Its
    driver should keep the connections of members that left for a while: the leader goes on sending to them.

6.  *Losing messages is allowed, always*: the replica repeats what matters. So is reordering and
    duplication. Losing a store batch that `stored` was called for is not: it breaks safety.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol, TypeAlias

import msgspec

from coterie.core.messages import Message
from coterie.core.records import StoreBatch
from coterie.core.settings import Settings
from coterie.core.types import (
    Entry,
    Epoch,
    Index,
    Mark,
    MemberId,
    Membership,
    MembershipChange,
    Nanos,
    Repair,
    Role,
    SnapshotMeta,
    Token,
)


class Refusal(IntEnum):
    """Why a proposal or a read was not taken. None of it happened."""

    NO_LEADER = 1
    """No leader is known; try again after an election timeout, or another member."""
    NOT_LEADER = 2
    """Another member leads."""
    OVERLOADED = 3
    """Too much is uncommitted (`max_uncommitted_bytes`) or pending; try again later, with less."""
    NO_SPACE = 4
    """This member's disk is full."""
    NOT_VOTER = 5
    """This member is not part of the group (removed, or not yet added)."""
    UNSAFE = 6
    """A change that could make two quorums that do not meet, or none: `detail` says which rule."""
    NOT_NOW = 7
    """Another change, or a transfer, is under way, or who is to be promoted is too far behind: later."""
    INVALID = 8
    """A change that makes no sense (a name twice, an unknown member): `detail` says why."""
    TRANSFER_FAILED = 9
    """The chosen member did not take over in time; leadership stays here."""


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """The proposal stands in this member's log at (index, epoch). It is not committed yet: it is when `committed` hands
    out an entry at that index with the same content; one with other content says that it never will be. The epoch of
    what is committed may be a later one: a new Multi-Paxos leader proposes again what an earlier ballot left."""

    token: Token
    index: Index
    epoch: Epoch
    payload: bytes = b""
    """The entry's, where the replica made it (a membership, settings); empty for a proposal."""


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The proposal or read was not taken; `leader` is the leader if known, else 0."""

    token: Token
    reason: Refusal
    leader: MemberId
    detail: str = ""
    """In words, where the reason alone does not say enough."""


class Lost(msgspec.Struct, frozen=True, gc=False):
    """A read will get no answer (leadership was lost on the way). Reads have no effect: ask again."""

    token: Token
    leader: MemberId


class Transferred(msgspec.Struct, frozen=True, gc=False):
    """The transfer of leadership succeeded: `leader` leads a newer epoch."""

    token: Token
    leader: MemberId


Outcome: TypeAlias = Accepted | Refused | Lost | Transferred


class ReadReady(msgspec.Struct, frozen=True, gc=False):
    """The read may be answered once `index` is applied."""

    token: Token
    index: Index


class RoleChange(msgspec.Struct, frozen=True):
    """Leader, epoch, role or membership as they now are, and the cause in words."""

    role: Role
    leader: MemberId
    epoch: Epoch
    membership: Membership
    reason: str
    removed: bool = False
    """See `Replica.removed`."""


class Alarm(msgspec.Struct, frozen=True):
    """A safety rule was seen broken: which, the evidence, and what to do."""

    rule: str
    evidence: str
    advice: str


class SnapshotChunk(msgspec.Struct, frozen=True):
    """Bytes of a snapshot that a leader sends: to be appended at `offset` of its partial file."""

    meta: SnapshotMeta
    size: int
    """Bytes of the whole."""
    offset: int
    data: bytes


class MemberProgress(msgspec.Struct, frozen=True):
    """What a leader knows of another member."""

    id: MemberId
    match: Index
    """Durably equal to the leader's log up to here."""
    heard_at: Nanos
    """When it last answered."""
    mode: str
    """`probe`, `replicate` or `snapshot`; `repair`: its log was damaged, and it counts for nothing yet."""
    snapshot_offset: int = 0
    caught_up: bool = False
    """Near enough to be promoted: see `leading/catch_up.py` for the bounds."""


class Effects(msgspec.Struct):
    """All that a replica wants done, drained once per batch of inputs. See the module's text."""

    deadline: Nanos
    store: StoreBatch | None = None
    send: list[tuple[MemberId, Message]] = []
    send_after: list[tuple[Mark, MemberId, Message]] = []
    committed: Sequence[Entry] = ()
    more: bool = False
    reads: list[ReadReady] = []
    outcomes: list[Outcome] = []
    role: RoleChange | None = None
    alarm: Alarm | None = None
    chunks: list[SnapshotChunk] = []
    install: SnapshotMeta | None = None
    snapshot_wanted: bool = False


class SnapshotReader(Protocol):
    """Reads back a snapshot that `snapshot_taken` (or `snapshot_received`) told of."""

    def chunk(self, index: Index, offset: int, limit_bytes: int) -> bytes:
        """Up to `limit_bytes` bytes at `offset` of the snapshot at `index`. Raises `LookupError` if it is gone."""
        ...


class LogReader(Protocol):
    """Reads back what was stored. Synchronous: recent entries come from memory, not from here."""

    def entries(self, first: Index, last: Index, limit_bytes: int) -> Sequence[Entry]:
        """Durable entries from `first` up to at most `last`, in order; stops before payloads exceed
        `limit_bytes`, but returns at least one. Raises if `first` is not in the log, or is being overwritten."""
        ...


class Replica(ABC):
    """One member's protocol state. See the module's text for the order of calls."""

    @property
    @abstractmethod
    def settled(self) -> bool:
        """Whether the inputs since the last drain led to nothing, so that the next may be skipped (its
        deadline stands: what was to be looked at then will be)."""

    @abstractmethod
    def receive(self, now: Nanos, sender: MemberId, message: Message) -> None:
        """A peer's message arrived. (`Forward`s are the engine's, never given here.)"""

    @abstractmethod
    def wake(self, now: Nanos) -> None:
        """The time of `Effects.deadline` has come (a call too early or too late does no harm)."""

    @abstractmethod
    def propose(self, now: Nanos, token: Token, payload: bytes, *, prompt: bool = False) -> None:
        """Append a COMMANDS entry. The outcome is `Accepted` or `Refused`, in the next drain: with NOT_NOW while
        leadership is being handed over (nothing happened: send it again, to whoever leads then).

        `prompt`: another member waits for the commit, so tell it without delay."""

    @abstractmethod
    def read(self, now: Nanos, token: Token) -> None:
        """Ask for an index that makes a read linearizable (6.4). One token may stand for many reads
        that arrived before this call. Ends in `ReadReady`, `Refused` or `Lost`."""

    @abstractmethod
    def stored(self, now: Nanos, mark: Mark) -> None:
        """Every store batch up to `mark` is durable."""

    @abstractmethod
    def store_failed(self, now: Nanos, mark: Mark) -> None:
        """The batch found no space; the driver keeps trying it. Nothing is lost, nothing is acknowledged."""

    @abstractmethod
    def connection_closed(self, now: Nanos, peer: MemberId, refused: bool) -> None:
        """The connection to `peer` closed; `refused`: and connecting again was refused at once, as it
        is when its process is gone. A hint, nothing more."""

    @abstractmethod
    def change_membership(self, now: Nanos, token: Token, change: MembershipChange) -> None:
        """Change who belongs to the group, or how many are a quorum. `Accepted` at the first entry of the change, or
        `Refused` with the reason in `detail`. Through a joint configuration, left automatically (4.3)."""

    @abstractmethod
    def change_settings(self, now: Nanos, token: Token, settings: Settings) -> None:
        """Replace the settings. `Accepted` or `Refused`."""

    @abstractmethod
    def transfer_leadership(self, now: Nanos, token: Token, to: MemberId) -> None:
        """Hand leadership to `to` (3.10); to the most advanced voter if it is 0. `Transferred` or `Refused`."""

    @abstractmethod
    def snapshot_taken(self, now: Nanos, meta: SnapshotMeta, size: int) -> None:
        """A snapshot of `size` bytes of the state at `meta.index` is durable; the log may be compacted. Called at
        the start, too, for the newest one on disk. Size 0: not a file that could be sent, but the machine's own
        store, durable up to there. An older one than the log's base is ignored.

        Raises `ValueError` if it is not one of what is committed: its epoch, membership or settings are not those
        at that index, or the index is above the commit index."""

    @abstractmethod
    def snapshot_kept(self, now: Nanos, meta: SnapshotMeta, offset: int) -> None:
        """The bytes that came in `chunks` are written up to `offset`: more may come. Until then the leader sends
        no more than its window, so what waits for the disk is bounded by that."""

    @abstractmethod
    def snapshot_received(self, now: Nanos, meta: SnapshotMeta) -> None:
        """All bytes of the snapshot that came in `chunks` are durable and check. Raises `ValueError` if it is
        not the one under way."""

    @abstractmethod
    def snapshot_failed(self, now: Nanos, meta: SnapshotMeta, reason: str) -> None:
        """The snapshot that came in `chunks` could not be kept: damaged on its way, no space. It is asked for anew."""

    @abstractmethod
    def drain(self, now: Nanos) -> Effects:
        """What is to be done after the inputs since the last drain."""

    @property
    @abstractmethod
    def role(self) -> Role: ...

    @property
    @abstractmethod
    def leader(self) -> MemberId:
        """The leader of the present epoch if known, else 0."""

    @property
    @abstractmethod
    def epoch(self) -> Epoch: ...

    @property
    @abstractmethod
    def commit(self) -> Index: ...

    @property
    @abstractmethod
    def last_index(self) -> Index: ...

    @property
    @abstractmethod
    def membership(self) -> Membership: ...

    @property
    @abstractmethod
    def removed(self) -> bool:
        """Whether this member belonged to the group and is known, by a committed entry, to have left it: it has
        nothing more to do here, and may end. A `RoleChange` says so when it is first known."""

    @property
    @abstractmethod
    def repair(self) -> Repair | None:
        """What this member owes, if its log was damaged: until a leader has given it that back, it neither votes nor
        counts (`core/repair.py`)."""

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """The newest committed settings."""

    @property
    @abstractmethod
    def first_index(self) -> Index:
        """Of the first entry that the log still holds (one past the base if it holds none)."""

    @abstractmethod
    def leads_to(self, meta: SnapshotMeta) -> bool:
        """Whether the log, as it was found, holds what this member applied up to the state at `meta`. It need not: what
        is committed may be applied before it is on the own disk, which may hold something else in its place."""

    @abstractmethod
    def progress(self, now: Nanos) -> tuple[MemberProgress, ...]:
        """What a leader knows of the other members; empty if this member does not lead."""

    @property
    @abstractmethod
    def uncommitted_bytes(self) -> int:
        """Payload bytes appended in this member's leadership and not yet committed."""

    @abstractmethod
    def age_bound(self, now: Nanos, applied: Index) -> Nanos:
        """State applied up to `applied` includes everything that any client saw acknowledged this many
        nanoseconds ago; -1 if no bound is known."""

    @abstractmethod
    def leased(self, now: Nanos) -> bool:
        """Whether this member leads and may answer reads alone now: nobody else can have committed anything."""

    @abstractmethod
    def confirmed_elapsed(self) -> Nanos:
        """Nanoseconds of cluster time that a quorum has confirmed and the log does not carry yet; 0 if not leader. (An
        entry carries all time up to its own: see `Confirmation.take_time`.)"""
