"""What a conversation tells: everything, as it happens; or only what every protocol promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
from tests.datadriven.seat import Seat
from tests.datadriven.words import (
    entries_words,
    epoch_word,
    message_words,
    name,
    outcome_words,
    record_words,
    role_word,
    snapshot_word,
)

from coterie.core.messages import Message
from coterie.core.records import StoreBatch
from coterie.core.replica import Accepted as Taken
from coterie.core.replica import Alarm, MemberProgress, Outcome, ReadReady, Refused, Replica, RoleChange
from coterie.core.types import NOBODY, Entry, EntryKind, Role, SnapshotMeta


class Telling:
    """Everything, as it happens: messages, records, epochs."""

    hidden: frozenset[str] = frozenset()
    """Commands that have no place in such a conversation, or that choose what it does not show."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def message(self, sender: int, to: int, message: Message, *, lost: bool) -> None:
        self.say(("lost: " if lost else "") + message_words(sender, to, message))

    def stores(self, member: int, batch: StoreBatch) -> None:
        self.say(f"{name(member)} stores #{batch.mark}: {', '.join(record_words(record) for record in batch.records)}")

    def stored(self, member: int, mark: int) -> None:
        self.say(f"{name(member)} stored #{mark}")

    def reads_back(self, member: int, first: int, last: int) -> None:
        self.say(f"{name(member)} reads {first}..{last} back from its disk")

    def alarm(self, member: int, alarm: Alarm) -> None:
        self.say(f"{name(member)} ALARM {alarm.rule}: {alarm.evidence}")

    def role(self, member: int, change: RoleChange) -> None:
        place = f"{role_word(change.role)} in epoch {epoch_word(change.epoch)}, leader {name(change.leader)}"
        self.say(f"{name(member)} is {place}: {change.reason}")

    def outcome(self, member: int, outcome: Outcome) -> None:
        self.say(f"{name(member)} {outcome_words(outcome)}")

    def read(self, member: int, read: ReadReady) -> None:
        self.say(f"{name(member)} read #{read.token} at {read.index}")

    def commits(self, member: int, entries: Sequence[Entry]) -> None:
        self.say(f"{name(member)} commits {entries_words(list(entries))}")

    def has_snapshot(self, member: int, meta: SnapshotMeta, size: int) -> None:
        self.say(f"{name(member)} has snapshot {snapshot_word(meta)}: {size} bytes")

    def received(self, member: int, meta: SnapshotMeta) -> None:
        self.say(f"{name(member)} has snapshot {snapshot_word(meta)} whole")

    def restores(self, member: int, meta: SnapshotMeta) -> None:
        self.say(f"{name(member)} restores snapshot {snapshot_word(meta)}")

    def installs(self, member: int, meta: SnapshotMeta, machine: bytes) -> None:
        self.say(f"{name(member)} installs snapshot {snapshot_word(meta)}: {machine.decode()}")

    def wants_snapshot(self, member: int) -> None:
        self.say(f"{name(member)} wants a snapshot to send")

    def status(self, member: int, replica: Replica | None) -> None:
        if replica is None:
            self.say(f"{name(member)}: down")
            return
        self.say(
            f"{name(member)}: {role_word(replica.role)} epoch={epoch_word(replica.epoch)} "
            f"leader={name(replica.leader)} commit={replica.commit} last={replica.last_index}"
            f"{' repairing' if replica.repair is not None else ''}"
        )

    def progress(self, member: int, replica: Replica, known: Sequence[MemberProgress]) -> None:
        for p in known:
            offset = f" offset={p.snapshot_offset}" if p.mode == "snapshot" else ""
            text = "caught up" if p.caught_up else "not caught up"
            behind = replica.last_index - p.match
            self.say(f"{name(p.id)}: {p.mode} match={p.match}{offset}, {behind} behind, {text}")
        self.say(f"{name(member)} log begins with {replica.first_index}")

    def machine(self, member: int, seat: Seat) -> None:
        self.say(f"{name(member)} machine at {seat.applied.index}: {seat.machine.decode()}".rstrip())

    def done(self, seats: Mapping[int, Seat], *, quiet: bool) -> None:
        """A command is over."""


class Promises(Telling):
    """What every protocol promises, told when the command is over: who leads, what became of proposals and reads, what
    machines have applied. No message, epoch or index: those are each protocol's own, and so is the order of events
    within a command."""

    hidden = frozenset({"disk", "age", "time", "log", "type", "epoch"})

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(say)
        self._leading: set[int] = set()
        """Who led when the last command was over."""
        self._removed: list[int] = []
        self._outcomes: list[tuple[int, str]] = []
        """(token, what to say)."""
        self._reads: list[tuple[int, ReadReady]] = []
        """Those that their members have not applied enough for."""
        self._snapshots: list[str] = []
        self._applied: dict[int, list[str]] = {}

    def message(self, sender: int, to: int, message: Message, *, lost: bool) -> None:
        pass

    def stores(self, member: int, batch: StoreBatch) -> None:
        pass

    def stored(self, member: int, mark: int) -> None:
        pass

    def reads_back(self, member: int, first: int, last: int) -> None:
        pass

    def received(self, member: int, meta: SnapshotMeta) -> None:
        pass

    def alarm(self, member: int, alarm: Alarm) -> None:
        raise AssertionError(f"{name(member)} ALARM {alarm.rule}: {alarm.evidence}")

    def role(self, member: int, change: RoleChange) -> None:
        if change.removed:
            self._removed.append(member)

    def outcome(self, member: int, outcome: Outcome) -> None:
        text = outcome_words(outcome)
        if isinstance(outcome, Taken):
            text = f"accepted #{outcome.token}"
        elif isinstance(outcome, Refused):
            text = outcome_words(msgspec.structs.replace(outcome, detail=""))
        self._outcomes.append((outcome.token, f"{name(member)} {text}"))

    def read(self, member: int, read: ReadReady) -> None:
        self._reads.append((member, read))

    def commits(self, member: int, entries: Sequence[Entry]) -> None:
        told = [entry.payload.decode() for entry in entries if entry.kind is EntryKind.COMMANDS]
        self._applied.setdefault(member, []).extend(told)

    def has_snapshot(self, member: int, meta: SnapshotMeta, size: int) -> None:
        self._snapshots.append(f"{name(member)} has a snapshot of {size} bytes")

    def restores(self, member: int, meta: SnapshotMeta) -> None:
        self._snapshots.append(f"{name(member)} restores its snapshot")

    def installs(self, member: int, meta: SnapshotMeta, machine: bytes) -> None:
        self._applied.pop(member, None)
        self._snapshots.append(f"{name(member)} installs a snapshot: {machine.decode()}")

    def wants_snapshot(self, member: int) -> None:
        text = f"{name(member)} wants a snapshot to send"
        if text not in self._snapshots:
            self._snapshots.append(text)

    def status(self, member: int, replica: Replica | None) -> None:
        if replica is None:
            text = "down"
        elif replica.role is Role.LEADER:
            text = "leads"
        else:
            text = f"follows {name(replica.leader)}" if replica.leader != NOBODY else "knows no leader"
            text = f"learner, {text}" if replica.role is Role.LEARNER else text
            text = f"{text}, and is being repaired" if replica.repair is not None else text
        self.say(f"{name(member)}: {text}")

    def progress(self, member: int, replica: Replica, known: Sequence[MemberProgress]) -> None:
        for p in known:
            self.say(f"{name(p.id)}: {'caught up' if p.caught_up else 'not caught up'}")

    def machine(self, member: int, seat: Seat) -> None:
        self.say(f"{name(member)} machine: {seat.machine.decode()}".rstrip())

    def done(self, seats: Mapping[int, Seat], *, quiet: bool) -> None:
        leading = {i for i, seat in seats.items() if seat.replica is not None and seat.replica.role is Role.LEADER}
        lines = [f"{name(i)} leads no longer" for i in sorted(self._leading - leading) if seats[i].replica is not None]
        lines += [f"{name(i)} leads" for i in sorted(leading - self._leading)]
        lines += [text for _, text in sorted(self._outcomes)]
        lines += self._snapshots
        together: dict[str, list[int]] = {}
        for member, told in sorted(self._applied.items()):
            if told:
                together.setdefault(" ".join(told), []).append(member)
        lines += [f"{' '.join(map(name, who))} applied {told}" for told, who in together.items()]
        answered = [(i, read) for i, read in self._reads if seats[i].applied.index >= read.index]
        for member, read in sorted(answered, key=lambda found: found[1].token):
            lines.append(f"{name(member)} read #{read.token}: {seats[member].machine.decode()}".rstrip())
        lines += [f"{name(i)} is removed" for i in sorted(set(self._removed))]
        self._leading = leading
        self._reads = [found for found in self._reads if found not in answered]
        self._removed, self._outcomes, self._snapshots, self._applied = [], [], [], {}
        if not quiet:
            for line in lines:
                self.say(line)
