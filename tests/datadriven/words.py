"""How conversations put members, entries, records and messages into words."""

from __future__ import annotations

import msgspec

from coterie.core import messages
from coterie.core.messages import (
    Accept,
    Append,
    AppendReply,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
    Prepare,
    PreVoteReply,
    Promise,
    Pull,
    Suffix,
)
from coterie.core.records import Compact, Put, Record, Reset, SaveHardState, Truncate
from coterie.core.replica import Accepted, Lost, Outcome, Refused, Transferred
from coterie.core.settings import NAMES, Settings
from coterie.core.types import NOBODY, Entry, EntryKind, Epoch, HardState, Membership, Role, SnapshotMeta

CLOCK_READINGS = frozenset({"stamp", "echo", "lag"})
"""Fields that are left out: every message would differ by them. The command `age` shows what they do."""


def name(member: int) -> str:
    return f"n{member}" if member else "none"


def number(word: str) -> int:
    return int(word.removeprefix("n"))


def epoch_word(epoch: Epoch) -> str:
    """`3`, or of a ballot `3.n1`: round and proposer."""
    return f"{epoch.round}.n{epoch.node}" if epoch.node else str(epoch.round)


def epoch_of(word: str) -> Epoch:
    """The epoch that `epoch_word` writes so."""
    round, _, node = word.partition(".")
    return Epoch(int(round), number(node) if node else NOBODY)


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
    """`n1 n2 n3` are voters; `n1 n2 <- n1 n3`: joint, the old ones behind the arrow; `+ n4`: learners. Quorum sizes
    that are not majorities stand behind the voters that count by them."""
    text = names(membership.voters) + size_words(membership.phase_1, membership.phase_2)
    if membership.outgoing:
        sizes = size_words(membership.outgoing_phase_1, membership.outgoing_phase_2)
        text += f" <- {names(membership.outgoing)}{sizes}"
    return text + (f" + {names(membership.learners)}" if membership.learners else "")


def size_words(phase_1: int, phase_2: int) -> str:
    return (f" phase-1={phase_1}" if phase_1 else "") + (f" phase-2={phase_2}" if phase_2 else "")


def settings_words(settings: Settings) -> str:
    """What differs from the defaults."""
    default = Settings()
    changed = [field for field in NAMES if getattr(settings, field) != getattr(default, field)]
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
    return f"epoch {epoch_word(record.state.epoch)}{vote_words(record.state, ' ')}{debt_words(record.state)}"


def debt_words(state: HardState) -> str:
    """What is owed to a repair; nothing if the log is whole."""
    owed = state.repair
    return "" if owed is None else f", to be repaired up to {owed.until}@{epoch_word(owed.epoch)}"


def hint_words(reply: AppendReply | messages.Accepted | InstallSnapshotReply) -> str:
    """Whether the answer counts for nothing."""
    return ", being repaired" if reply.repairing else ""


def vote_words(state: HardState, sign: str) -> str:
    """Whom the vote went to; nothing for a ballot, which names its proposer itself."""
    return "" if state.epoch.node else f" vote{sign}{name(state.vote)}"


def runs_words(runs: tuple[tuple[int, Epoch], ...], last: int) -> str:
    """Runs of epochs up to the index `last`, as `3..5@1.n1 6@2.n2`."""
    ends = [first - 1 for first, _ in runs[1:]] + [last]
    return " ".join(
        f"{first}@{epoch_word(epoch)}" if first == end else f"{first}..{end}@{epoch_word(epoch)}"
        for (first, epoch), end in zip(runs, ends, strict=True)
    )


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
        return f"{head} epoch={epoch_word(message.epoch)} {answer} round={message.round}{hint_words(message)}"
    if isinstance(message, Prepare):
        held = f" holds {runs_words(message.held, message.held_last)}" if message.held else ""
        asked = " transfer" if message.transfer else ""
        return f"{head} epoch={epoch_word(message.epoch)} first={message.first}{held}{asked}"
    if isinstance(message, Promise):
        told = f" [{entries_words(message.entries)}]" if message.entries else ""
        return (
            f"{head} epoch={epoch_word(message.epoch)} first={message.first} through={message.through} "
            f"last={message.last} commit={message.commit}{told}"
        )
    if isinstance(message, Accept):
        return (
            f"{head} epoch={epoch_word(message.epoch)} prev={message.prev_index} commit={message.commit} "
            f"round={message.round}" + (f" [{entries_words(message.entries)}]" if message.entries else "")
        )
    if isinstance(message, messages.Accepted):
        answer = f"accepted={message.index}" if message.accepted else f"gap={message.index} vouched={message.vouched}"
        return f"{head} epoch={epoch_word(message.epoch)} {answer} round={message.round}{hint_words(message)}"
    if isinstance(message, InstallSnapshot):
        piece = f"bytes {message.offset}..{message.offset + len(message.data)}" if message.data else "how much is there"
        return (
            f"{head} epoch={epoch_word(message.epoch)} snapshot={snapshot_word(message.meta)} {piece} "
            f"of {message.size} round={message.round}"
        )
    if isinstance(message, InstallSnapshotReply):
        state = "installed" if message.installed else f"holds {message.offset}"
        answer = f"snapshot={message.index} {state} round={message.round}{hint_words(message)}"
        return f"{head} epoch={epoch_word(message.epoch)} {answer}"
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
