"""How conversations put members, entries, records and messages into words."""

from __future__ import annotations

import msgspec

from coterie.core.messages import (
    Append,
    AppendReply,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
    PreVoteReply,
    Pull,
    Suffix,
)
from coterie.core.records import Compact, Put, Record, Reset, SaveHardState, Truncate
from coterie.core.replica import Accepted, Lost, Outcome, Refused, Transferred
from coterie.core.settings import Settings
from coterie.core.types import Entry, EntryKind, Epoch, Membership, Role, SnapshotMeta

CLOCK_READINGS = frozenset({"stamp", "echo", "lag"})
"""Fields that are left out: every message would differ by them. The command `age` shows what they do."""


def name(member: int) -> str:
    return f"n{member}" if member else "none"


def number(word: str) -> int:
    return int(word.removeprefix("n"))


def epoch_word(epoch: Epoch) -> str:
    return f"{epoch.round}.n{epoch.node}" if epoch.node else str(epoch.round)


def role_word(role: Role) -> str:
    return role.name.lower().replace("_", "-")


def entry_word(entry: Entry) -> str:
    place = f"{entry.index}@{epoch_word(entry.epoch)}"
    if entry.kind is EntryKind.MEMBERSHIP and entry.index > 1:
        return f"{place}:({membership_words(msgspec.msgpack.decode(entry.payload, type=Membership))})"
    if entry.kind is EntryKind.SETTINGS:
        return f"{place}:({settings_words(msgspec.msgpack.decode(entry.payload, type=Settings))})"
    if entry.kind is not EntryKind.COMMANDS:
        return f"{place}:{entry.kind.name.lower()}"
    text = entry.payload.decode()
    return f"{place}:{text}" if text else place


def names(ids: tuple[int, ...]) -> str:
    return " ".join(name(i) for i in ids)


def membership_words(membership: Membership) -> str:
    """`n1 n2 n3` are voters; `n1 n2 <- n1 n3`: joint, the old ones behind the arrow; `+ n4`: learners."""
    text = names(membership.voters)
    if membership.outgoing:
        text += f" <- {names(membership.outgoing)}"
    return text + (f" + {names(membership.learners)}" if membership.learners else "")


def settings_words(settings: Settings) -> str:
    """What differs from the defaults."""
    default = Settings()
    changed = [field for field in Settings.__struct_fields__ if getattr(settings, field) != getattr(default, field)]
    return " ".join(f"{field}={getattr(settings, field)}" for field in changed) or "default settings"


def entries_words(entries: tuple[Entry, ...] | list[Entry]) -> str:
    return " ".join(entry_word(entry) for entry in entries)


def snapshot_word(meta: SnapshotMeta) -> str:
    return f"{meta.index}@{epoch_word(meta.epoch)}"


def record_words(record: Record) -> str:
    if isinstance(record, Put):
        return f"put {entries_words(record.entries)}"
    if isinstance(record, Truncate):
        return f"truncate from {record.first}"
    if isinstance(record, Compact):
        return f"compact to {snapshot_word(record.base)}"
    if isinstance(record, Reset):
        return f"reset to {snapshot_word(record.base)}"
    assert isinstance(record, SaveHardState)
    return f"epoch {epoch_word(record.state.epoch)} vote {name(record.state.vote)}"


def message_words(sender: int, to: int, message: Message) -> str:
    head = f"{name(sender)} -> {name(to)} {type(message).__name__}"
    if isinstance(message, Append):
        return (
            f"{head} epoch={epoch_word(message.epoch)} prev={message.prev_index}@{epoch_word(message.prev_epoch)} "
            f"commit={message.commit} round={message.round}"
            + (f" [{entries_words(message.entries)}]" if message.entries else "")
        )
    if isinstance(message, AppendReply):
        answer = f"accepted={message.index}"
        if not message.accepted:
            answer = f"refused={message.index} hint={message.hint_index}@{epoch_word(message.hint_epoch)}"
        return f"{head} epoch={epoch_word(message.epoch)} {answer} round={message.round}"
    if isinstance(message, InstallSnapshot):
        piece = f"bytes {message.offset}..{message.offset + len(message.data)}" if message.data else "how much is there"
        return (
            f"{head} epoch={epoch_word(message.epoch)} snapshot={snapshot_word(message.meta)} {piece} "
            f"of {message.size} round={message.round}"
        )
    if isinstance(message, InstallSnapshotReply):
        state = "installed" if message.installed else f"holds {message.offset}"
        return f"{head} epoch={epoch_word(message.epoch)} snapshot={message.index} {state} round={message.round}"
    if isinstance(message, PreVoteReply):
        answer = "granted" if message.granted else "refused"
        if message.behind:
            answer += f" for the log alone, which ends with {message.last_index}@{epoch_word(message.last_epoch)} here"
        return f"{head} epoch={epoch_word(message.epoch)} asked={epoch_word(message.asked)} {answer}"
    if isinstance(message, Pull | Suffix):
        place = f"request={message.request} prev={message.prev_index}@{epoch_word(message.prev_epoch)}"
        if isinstance(message, Suffix):
            place += f" last={message.last_index}@{epoch_word(message.last_epoch)}"
            place += f" [{entries_words(message.entries)}]" if message.entries else " none"
        return f"{head} epoch={epoch_word(message.epoch)} {place}"
    fields = [head]
    for field in message.__struct_fields__:
        value = getattr(message, field)
        if field == "granted":
            fields.append("granted" if value else "refused")
        elif isinstance(value, Epoch):
            fields.append(f"{field}={epoch_word(value)}")
        elif isinstance(value, tuple):
            fields.append(f"[{entries_words(value)}]")
        elif field not in CLOCK_READINGS and value is not False:
            fields.append(field if value is True else f"{field}={value}")
    return " ".join(fields)


def outcome_words(outcome: Outcome) -> str:
    if isinstance(outcome, Accepted):
        return f"accepted #{outcome.token} at {outcome.index}@{epoch_word(outcome.epoch)}"
    if isinstance(outcome, Refused):
        detail = f": {outcome.detail}" if outcome.detail else ""
        return f"refused #{outcome.token}: {outcome.reason.name.lower()}, leader {name(outcome.leader)}{detail}"
    if isinstance(outcome, Transferred):
        return f"transferred #{outcome.token} to {name(outcome.leader)}"
    assert isinstance(outcome, Lost)
    return f"lost read #{outcome.token}"
