"""Every message between replicas, one struct per type.

A message is a MessagePack array whose first element is the type's tag; `encode` and `decode` are
the only codec. The transport bounds the length before it allocates; `decode` checks every type.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from coterie.core.types import NO_EPOCH, Entry, Epoch, Index, MemberId, Nanos, SnapshotMeta, Token


class PreVote(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """'Would you vote for me in this epoch?' Promises nothing, changes nothing (dissertation 9.6)."""

    epoch: Epoch
    """The epoch that the sender would campaign in: one above its own."""
    last_index: Index
    last_epoch: Epoch


class PreVoteReply(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Answers a `PreVote`: granted with the asked epoch, refused with the voter's own."""

    epoch: Epoch
    asked: Epoch
    """The epoch of the `PreVote` that this answers, so that a late answer counts for nothing."""
    granted: bool
    behind: bool = False
    """A refusal for the log alone: the sender misses a leader, too, and would grant it but for the asker's log (and an
    epoch that has passed)."""
    last_index: Index = 0
    """If `behind`: of the sender's last entry."""
    last_epoch: Epoch = NO_EPOCH


class RequestVote(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """'Vote for me' (Raft 5.2). Leaves only when the candidate's own epoch is durable."""

    epoch: Epoch
    last_index: Index
    last_epoch: Epoch
    transfer: bool = False
    """True when the leader itself asked for this election: stickiness does not apply (3.10)."""


class VoteReply(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Answers a `RequestVote`. A grant leaves only when the vote is durable."""

    epoch: Epoch
    granted: bool


class Append(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Raft's AppendEntries (5.3): entries, heartbeat, commit index and read round in one."""

    epoch: Epoch
    prev_index: Index
    prev_epoch: Epoch
    entries: tuple[Entry, ...]
    commit: Index
    round: int
    """Number of the leader's latest confirmation round (read index 6.4, check quorum 6.2)."""
    echo: Nanos
    """The newest `stamp` that the leader has from this follower; 0 if none."""
    lag: Nanos
    """How long before sending this the leader was last confirmed by a quorum: `commit` covers all
    that was acknowledged until then. Negative: not confirmed yet in this epoch."""


class AppendReply(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Answers an `Append`; an acceptance leaves only when the entries are durable."""

    epoch: Epoch
    accepted: bool
    index: Index
    """Accepted: the follower's log equals the leader's, durably, up to here. Refused: the
    `prev_index` that did not match."""
    hint_index: Index
    """Refused: the highest index at which the logs may still agree, so that whole terms are skipped."""
    hint_epoch: Epoch
    """Refused: the epoch of the follower's entry at `hint_index`."""
    round: int
    """The round of the `Append` that this answers."""
    stamp: Nanos
    """The follower's monotonic clock at sending; comes back as `echo`."""
    repairing: bool = False
    """The follower's log was damaged: this tells where it stands, and counts for nothing (`core/repair.py`)."""


class ReadIndex(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """A member asks the leader for an index that a linearizable read must wait for (6.4)."""

    epoch: Epoch
    token: Token


class ReadIndexReply(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Answers a `ReadIndex`: the index to wait for, or 0 if the receiver could not say."""

    epoch: Epoch
    token: Token
    index: Index


class Command(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """One command on its way to the machine, with the session that makes it exactly-once (6.3).

    `session` 0 means none. `seq` counts the session's commands from 1; `floor` says that the client
    has seen the reply to every `seq` below it.
    """

    session: int
    seq: int
    floor: int
    body: bytes


class SessionOpen(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Open a session that lives `ttl` nanoseconds of cluster time beyond its last command. Its id is
    made from where this stands in the log."""

    ttl: Nanos


class SessionClose(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Forget a session and its replies."""

    session: int


class SessionKeep(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Extend a session's life; `floor` as in `Command`."""

    session: int
    floor: int


AnyCommand: TypeAlias = Command | SessionOpen | SessionClose | SessionKeep


class Segment(msgspec.Struct, frozen=True, array_like=True):
    """Commands that one member took from its clients, numbered (origin, boot, first), first + 1, ...

    The payload of a COMMANDS entry is a MessagePack array of segments. The machine applies each
    number at most once and in order, whoever forwards it and however often.
    """

    origin: MemberId
    boot: int
    first: int
    commands: tuple[AnyCommand, ...]


class Forward(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """A member passes its clients' commands to the leader."""

    segment: Segment


class ForwardRefused(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """The receiver did not take the segment: nothing of this copy will happen."""

    first: int
    count: int
    boot: int
    reason: int
    """A `Refusal`'s number (see `core.replica`)."""
    leader: MemberId


class InstallSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """One chunk of a snapshot (Raft 7), for a follower that needs what the leader's log no longer holds."""

    epoch: Epoch
    meta: SnapshotMeta
    size: int
    """Bytes of the whole snapshot."""
    offset: int
    data: bytes
    round: int
    """As in `Append`: an answer says 'you lead'."""


class InstallSnapshotReply(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """Answers an `InstallSnapshot`: how much of that snapshot the follower holds, in order, from its beginning.

    `offset` equal to the size, with `installed`: the log was reset to it, durably."""

    epoch: Epoch
    index: Index
    """Of the snapshot."""
    offset: int
    installed: bool
    round: int
    stamp: Nanos
    repairing: bool = False
    """As in `AppendReply`."""


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """The leader asks its successor to campaign at once (3.10)."""

    epoch: Epoch


class StateDigest(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """The engine's: the sender's state after applying `index` has this hash (divergence check)."""

    index: Index
    digest: bytes
    supports: int
    """Newest cluster version that the sender's program knows."""


class Canvass(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """'Would you promise me a ballot of this round?' Multi-Paxos's question before a prepare: whoever a quorum answers
    is connected to a quorum that misses a leader (OmniPaxos, 5.1). Promises nothing, changes nothing."""

    round: int
    commit: Index
    """The sender's: what it needs begins after it."""


class CanvassReply(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """Answers a `Canvass`."""

    epoch: Epoch
    """The highest ballot that the sender has promised."""
    asked: int
    """The round of the `Canvass` that this answers, so that a late answer counts for nothing."""
    granted: bool


class Prepare(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """Phase 1a ("Paxos Made Simple" 2.2) for every slot from `first` on at once (2.5; PMMC 2). Leaves only when the
    proposer's own ballot is durable."""

    epoch: Epoch
    """The ballot."""
    first: Index
    """Slots before it are known to be chosen, or were told already."""
    held: tuple[tuple[Index, Epoch], ...]
    """What the proposer itself holds from `first` on, as runs of ballots (first slot of the run, ballot), up to
    `held_last`: what it holds of the same or a higher ballot need not be sent."""
    held_last: Index
    transfer: bool = False
    """True when the leader itself asked for it: stickiness does not apply."""


class Promise(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """Phase 1b: 'I accept nothing of a lower ballot any more; this is what I have accepted'. Leaves only when the
    promise is durable. Bounded: what comes after `through` is asked for with another `Prepare`."""

    epoch: Epoch
    """The ballot promised."""
    first: Index
    """As in the `Prepare` that this answers."""
    entries: tuple[Entry, ...]
    """Accepted in a higher ballot than the proposer holds, each with the ballot it was accepted in."""
    through: Index
    """Of the slots from `first` to here, `entries` are all there is to tell."""
    last: Index
    """The last slot in which the sender has accepted anything."""
    commit: Index
    """Slots up to here are chosen, and what the sender holds there is what was chosen."""


class Accept(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """Phase 2a for the slots after `prev_index`; heartbeat, commit index and read round in one. Entries of older
    ballots are chosen: they come first, to a member that lacks them."""

    epoch: Epoch
    """The ballot."""
    prev_index: Index
    entries: tuple[Entry, ...]
    commit: Index
    round: int
    """As in `Append`."""
    echo: Nanos
    lag: Nanos


class Accepted(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """Phase 2b; leaves only when what it says is durable."""

    epoch: Epoch
    """The ballot."""
    accepted: bool
    """False: the `Accept` leaves a gap after what this member vouches for."""
    index: Index
    """Accepted: each slot up to here is accepted in this ballot, or known to be chosen. A gap: the `prev_index` of
    the `Accept`."""
    vouched: Index
    """A gap: up to where this member vouches for its slots."""
    round: int
    stamp: Nanos
    repairing: bool = False
    """As in `AppendReply`."""


class Nack(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """Answers a `Prepare` or an `Accept` of a lower ballot than one that was promised ("Paxos Made Simple" 2.2)."""

    epoch: Epoch
    """The ballot promised."""


class Pull(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """Raft's, in a partial partition: 'send me what your log has after this entry'. From a member that reaches a quorum
    and was refused for its log alone (`raft/pull.py`). Leaves only when the epoch is durable."""

    epoch: Epoch
    """The asker's: no lower than that of whom it asks, as far as it knows."""
    request: int
    """Number of the question; asked again, it keeps it."""
    prev_index: Index
    prev_epoch: Epoch
    """Of the asker's own entry at `prev_index`."""


class Suffix(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """Answers a `Pull` with entries, bounded by `max_append_bytes`. They are nobody's word but the sender's log: they
    say nothing of what is committed, and taking them acknowledges nothing."""

    epoch: Epoch
    """That of the `Pull`; or the sender's own, if it is higher: then there is nothing but that."""
    request: int
    prev_index: Index
    """As in the `Pull`, if the sender holds that entry. If not, there are no entries, and this is the highest position
    at which the logs may still agree; or, above what was asked, the one after which the sender's log begins."""
    prev_epoch: Epoch
    entries: tuple[Entry, ...]
    last_index: Index
    """Of the sender's last entry when this was sent."""
    last_epoch: Epoch


Acknowledgement: TypeAlias = AppendReply | Accepted

Message: TypeAlias = (
    PreVote
    | PreVoteReply
    | RequestVote
    | VoteReply
    | Append
    | AppendReply
    | ReadIndex
    | ReadIndexReply
    | Forward
    | ForwardRefused
    | InstallSnapshot
    | InstallSnapshotReply
    | TimeoutNow
    | StateDigest
    | Canvass
    | CanvassReply
    | Prepare
    | Promise
    | Accept
    | Accepted
    | Nack
    | Pull
    | Suffix
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)
_segments_decoder: msgspec.msgpack.Decoder[list[Segment]] = msgspec.msgpack.Decoder(list[Segment])


def encode(message: Message) -> bytes:
    """The message's bytes, without any frame around them."""
    return _encoder.encode(message)


def decode(data: bytes | memoryview) -> Message:
    """The message in `data`. Raises `msgspec.DecodeError` if it is not one, wholly and exactly."""
    try:
        return _decoder.decode(data)
    except RecursionError:
        raise msgspec.DecodeError("nested too deeply") from None


def encode_segments(segments: list[Segment]) -> bytes:
    """The payload of a COMMANDS entry."""
    return _encoder.encode(segments)


def decode_segments(payload: bytes) -> list[Segment]:
    """The segments in a COMMANDS entry's payload. Raises `msgspec.DecodeError`."""
    try:
        return _segments_decoder.decode(payload)
    except RecursionError:
        raise msgspec.DecodeError("nested too deeply") from None
