"""How messages, writes and memberships are told on a drawing: in each protocol's words, short enough for an arrow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from coterie.core.messages import (
    Accept,
    Accepted,
    Append,
    AppendReply,
    Canvass,
    CanvassReply,
    Forward,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
    Nack,
    Prepare,
    PreVote,
    PreVoteReply,
    Promise,
    Pull,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    Suffix,
    VoteReply,
    decode_segments,
)
from coterie.core.records import Put, Record, SaveHardState, Truncate
from coterie.core.replica import RoleChange
from coterie.core.state import membership_of
from coterie.core.types import Entry, EntryKind, Epoch, Index, MemberId, Membership, Role
from coterie.engine.protocol import Answer, Failure, Query, Submit
from coterie.machine.kv import protocol as kv

ANSWERS = (
    PreVoteReply,
    VoteReply,
    AppendReply,
    CanvassReply,
    Promise,
    Accepted,
    Nack,
    ReadIndexReply,
    InstallSnapshotReply,
    Suffix,
)
"""Messages that answer another one: drawn with a broken line."""


def name(member: MemberId) -> str:
    """Members of a scenario have ids 1, 2, ... and these names."""
    return f"n{member}"


def ballot(epoch: Epoch) -> str:
    """A term as `2`, a ballot as `2.n1`."""
    return f"{epoch.round}.{name(epoch.node)}" if epoch.node else str(epoch.round)


def reign(epoch: Epoch) -> str:
    """The epoch with the protocol's word for it: a ballot names its owner, a term does not."""
    return f"ballot {ballot(epoch)}" if epoch.node else f"term {epoch.round}"


def membership_words(membership: Membership) -> str:
    """`n1 n2 n3`; while joint, the new voters and the old: `n1 n2 n4 and n1 n2 n3`; learners behind a plus."""
    text = _names(membership.voters)
    if membership.outgoing:
        text = f"{text} and {_names(membership.outgoing)}"
    return text + (f" + {_names(membership.learners)}" if membership.learners else "")


def _names(members: Iterable[MemberId]) -> str:
    return " ".join(name(member) for member in members)


def entry_words(entry: Entry) -> str:
    """`3:x=1`, `2:no-op`, `4:joint`."""
    if entry.kind is EntryKind.COMMANDS:
        return f"{entry.index}:{_commands_words(entry.payload)}"
    if entry.kind is EntryKind.MEMBERSHIP:
        return f"{entry.index}:{'joint' if membership_of(entry).outgoing else 'members'}"
    return f"{entry.index}:{'no-op' if entry.kind is EntryKind.NOOP else 'settings'}"


def _commands_words(payload: bytes) -> str:
    """A scenario's command is text; of an engine's batch, how many commands are in it."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        count = sum(len(segment.commands) for segment in decode_segments(payload))
        return f"{count} command{'s' if count != 1 else ''}"


def entries_words(entries: Sequence[Entry]) -> str:
    """One entry after the other."""
    return " ".join(entry_words(entry) for entry in entries)


def held_words(entries: Iterable[Entry]) -> str:
    """Entries with the epoch that each was written in: `3@1:x=1`, `3@1.n1:x=1`."""
    return " ".join(entry_words(entry).replace(":", f"@{ballot(entry.epoch)}:", 1) for entry in entries)


def message_words(message: Message) -> str:
    """What stands on the message's arrow."""
    return _raft(message) or _paxos(message) or _shared(message)


def _granted(granted: bool) -> str:
    return "yes" if granted else "no"


def _position(index: Index, epoch: Epoch) -> str:
    """An entry by index and epoch: `3@2` is the third, of term 2."""
    return f"{index}@{ballot(epoch)}"


def _raft(message: Message) -> str:
    if isinstance(message, PreVote):
        return f"PreVote term {message.epoch.round}, log {_position(message.last_index, message.last_epoch)}"
    if isinstance(message, PreVoteReply):
        return f"PreVote: {_granted(message.granted)}"
    if isinstance(message, RequestVote):
        return f"RequestVote term {message.epoch.round}, log {_position(message.last_index, message.last_epoch)}"
    if isinstance(message, VoteReply):
        return f"Vote term {message.epoch.round}: {_granted(message.granted)}"
    if isinstance(message, Append):
        what = entries_words(message.entries) or "empty"
        return (
            f"AppendEntries {what}, after {_position(message.prev_index, message.prev_epoch)}, commit {message.commit}"
        )
    if isinstance(message, AppendReply) and message.accepted:
        return f"matches to {message.index}"
    if isinstance(message, Pull):
        return f"Pull term {message.epoch.round}, after {_position(message.prev_index, message.prev_epoch)}"
    if isinstance(message, Suffix):
        last = _position(message.last_index, message.last_epoch)
        what = entries_words(message.entries) or "nothing"
        return f"Suffix {what}, after {_position(message.prev_index, message.prev_epoch)}, last {last}"
    if isinstance(message, AppendReply):
        return f"no match at {message.index}, perhaps at {message.hint_index}"
    return ""


def _paxos(message: Message) -> str:
    if isinstance(message, Canvass):
        return f"Canvass round {message.round}"
    if isinstance(message, CanvassReply):
        return f"Canvass: {_granted(message.granted)}"
    if isinstance(message, Prepare):
        return f"Prepare({ballot(message.epoch)}) from slot {message.first}"
    if isinstance(message, Promise):
        told = f"accepted {held_words(message.entries)}" if message.entries else "nothing to tell"
        return f"Promise({ballot(message.epoch)}), {told}"
    if isinstance(message, Accept):
        after = f"after {message.prev_index}, commit {message.commit}"
        return f"Accept({ballot(message.epoch)}) {entries_words(message.entries) or 'empty'}, {after}"
    if isinstance(message, Accepted):
        if message.accepted:
            return f"Accepted({ballot(message.epoch)}) to {message.index}"
        return f"Gap: vouches to {message.vouched} only"
    if isinstance(message, Nack):
        return f"Nack, promised {ballot(message.epoch)}"
    return ""


def _shared(message: Message) -> str:
    if isinstance(message, ReadIndex):
        return "ReadIndex"
    if isinstance(message, ReadIndexReply):
        return f"read at {message.index}" if message.index else "cannot say"
    if isinstance(message, InstallSnapshot):
        end = message.offset + len(message.data)
        return f"InstallSnapshot to {message.meta.index}, bytes {message.offset} to {end} of {message.size}"
    if isinstance(message, InstallSnapshotReply):
        return f"snapshot {message.index}: {'installed' if message.installed else f'has {message.offset} bytes'}"
    if isinstance(message, Forward):
        return f"Forward {len(message.segment.commands)} of {name(message.segment.origin)}"
    return type(message).__name__


def write_words(records: Sequence[Record]) -> str:
    """What a write to the disk keeps: `term 2, vote n1`, `ballot 2.n1`, `truncate from 3`, `3:x=1`."""
    return ", ".join(_record_words(record) for record in records)


def _record_words(record: Record) -> str:
    if isinstance(record, SaveHardState):
        vote = f", vote {name(record.state.vote)}" if record.state.vote else ""
        return f"{reign(record.state.epoch)}{vote}"
    if isinstance(record, Put):
        return entries_words(record.entries)
    if isinstance(record, Truncate):
        return f"truncate from {record.first}"
    return type(record).__name__


def role_words(change: RoleChange) -> str:
    """What a member has become."""
    if change.role is Role.LEADER:
        return f"leads {reign(change.epoch)}"
    if change.removed:
        return "is removed"
    if change.role is Role.PRE_CANDIDATE:
        return "misses a leader"
    if change.role is Role.CANDIDATE:
        return f"candidate, {reign(change.epoch)}"
    if change.leader:
        return f"follows {name(change.leader)}"
    return "follows nobody" + (f", {reign(change.epoch)}" if change.epoch.round else "")


def request_words(request: Submit | Query) -> str:
    """What a client asks the key-value machine; of another machine's requests, how long they are."""
    payload = request.command if isinstance(request, Submit) else request.question
    try:
        asked = (
            kv.command_decoder.decode(payload) if isinstance(request, Submit) else kv.question_decoder.decode(payload)
        )
    except msgspec.DecodeError:
        return f"{'command' if isinstance(request, Submit) else 'question'} of {len(payload)} bytes"
    if isinstance(asked, kv.Put):
        return f"put {_text(asked.key)}={_text(asked.value)}"
    if isinstance(asked, kv.Range):
        assert isinstance(request, Query)
        return f"get {_text(asked.key)}, {request.mode.name.lower()}"
    if isinstance(asked, kv.Txn):
        puts = (f"{_text(put.key)}={_text(put.value)}" for put in asked.then if isinstance(put, kv.Put))
        return f"if unchanged, put {' '.join(puts)}"
    return type(asked).__name__


def answer_words(answer: Answer) -> str:
    """What a client is told."""
    try:
        reply = kv.reply_decoder.decode(answer.body)
    except msgspec.DecodeError:
        return f"done, revision {answer.revision}"
    if isinstance(reply, kv.RangeReply):
        return f"{' '.join(_text(item.value) for item in reply.items) or 'not set'}, revision {answer.revision}"
    if isinstance(reply, kv.TxnReply) and not reply.succeeded:
        return f"it has changed, revision {answer.revision}"
    return f"done, revision {answer.revision}"


def failure_words(failure: Failure) -> str:
    """What a client is told that gets no answer."""
    return f"{failure.code.name.lower()}, happened: {failure.happened.name.lower()}"


def _text(data: bytes) -> str:
    """The simulated clients fill their values up with dots."""
    return data.decode("utf-8", "backslashreplace").rstrip(".")
