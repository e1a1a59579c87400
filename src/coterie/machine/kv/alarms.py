"""Alarms: what is wrong with a member, said to all; and what they refuse until it is mended.

The rules are etcd's (server/etcdserver/apply.go, `applierV3Capped` and `applierV3Corrupt`), but that CORRUPT refuses
reads as well: an answer from a cluster whose members differ is none. With it no lease ends, either; what is due ends
when the alarm is cleared. Anything about alarms goes on, and so does keeping leases alive.

In the store an alarm is a key, `ma`, member (8 bytes), kind (1), without a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from coterie.machine.interface import Rejected
from coterie.machine.kv.protocol import (
    AlarmKind,
    AlarmReply,
    Command,
    Compact,
    DeleteRange,
    Grant,
    Put,
    Revoke,
    SetAlarm,
    Txn,
)
from coterie.machine.kv.refusals import CORRUPT, NO_SPACE
from coterie.machine.stores.interface import Change, Reading, StoreFailed

ALARMS, ALARMS_END = b"ma", b"mb"
MAX_ALARMS = 4096
"""More than members there can be: whoever raises them without end is refused."""
MAX_MEMBER = (1 << 64) - 1

AlarmRecord: TypeAlias = tuple[int, int]
"""Member and kind."""


class Alarms:
    """The alarms that are on."""

    def __init__(self, records: Iterable[AlarmRecord] = (), *, stored: bool = False) -> None:
        """`stored`: changes are to be gathered for a store. Raises `ValueError` if there can be no such alarms."""
        self._on: set[tuple[int, AlarmKind]] = set()
        for member, kind in records:
            if not (0 <= member <= MAX_MEMBER and kind in (AlarmKind.NOSPACE, AlarmKind.CORRUPT)):
                raise ValueError(f"the snapshot has an alarm {kind} of member {member} that can't be")
            self._on.add((member, AlarmKind(kind)))
        self._changed: dict[tuple[int, AlarmKind], bool] | None = {} if stored else None
        self._look()

    def _look(self) -> None:
        kinds = {kind for _, kind in self._on}
        self.full = AlarmKind.NOSPACE in kinds
        """Whether what needs space is refused."""
        self.corrupt = AlarmKind.CORRUPT in kinds
        """Whether everything is."""

    @property
    def any(self) -> bool:
        """Whether any is on."""
        return bool(self._on)

    def set(self, command: SetAlarm, revision: int) -> AlarmReply | Rejected:
        """Raise or clear. The reply names what was cleared, or what was raised, though it was on already."""
        if not 0 <= command.member <= MAX_MEMBER:
            return Rejected(f"a member is an unsigned number of 64 bits, not {command.member}")
        if command.on:
            return self._raise(command, revision)
        gone = [
            (member, kind)
            for member, kind in self.records()
            if command.member in (0, member) and command.kind in (AlarmKind.NONE, kind)
        ]
        self._on.difference_update(gone)
        self._note(gone, False)
        return AlarmReply(revision, tuple(gone))

    def _raise(self, command: SetAlarm, revision: int) -> AlarmReply | Rejected:
        if command.kind is AlarmKind.NONE:
            return AlarmReply(revision, ())  # there is no such alarm, says etcd
        alarm = command.member, command.kind
        if alarm not in self._on and len(self._on) >= MAX_ALARMS:
            return Rejected(f"there are {len(self._on)} alarms, the limit is {MAX_ALARMS}: clear some")
        self._on.add(alarm)
        self._note([alarm], True)
        return AlarmReply(revision, (alarm,))

    def _note(self, alarms: Iterable[tuple[int, AlarmKind]], on: bool) -> None:
        self._look()
        if self._changed is not None:
            self._changed.update(dict.fromkeys(alarms, on))

    def of_kind(self, kind: AlarmKind) -> tuple[tuple[int, AlarmKind], ...]:
        """Those of this kind; NONE: all."""
        return tuple(alarm for alarm in self.records() if kind in (AlarmKind.NONE, alarm[1]))

    def refuse(self, command: Command, puts: bool = False) -> Rejected | None:
        """Why the command is refused as the alarms are; or None. `puts`: it is a transaction that may put something."""
        if self.corrupt and isinstance(command, _REFUSED):
            return CORRUPT
        return NO_SPACE if self.full and (puts or isinstance(command, Put | Grant)) else None

    # In and out

    def records(self) -> list[tuple[int, AlarmKind]]:
        """By member, then kind."""
        return sorted(self._on)

    def take_changes(self) -> list[Change]:
        """What changed since the last call, for the store."""
        assert self._changed is not None, "the alarms are in memory"
        changes, self._changed = self._changed, {}
        return [(_alarm_key(alarm), b"" if on else None) for alarm, on in changes.items()]

    def changes(self) -> Iterator[Change]:
        """All of it, for an empty store."""
        for alarm in self.records():
            yield _alarm_key(alarm), b""


_REFUSED = Put | DeleteRange | Txn | Compact | Grant | Revoke


def _alarm_key(alarm: tuple[int, AlarmKind]) -> bytes:
    return ALARMS + alarm[0].to_bytes(8, "big") + bytes([alarm[1]])


def stored_alarms(view: Reading) -> Iterator[AlarmRecord]:
    """The alarms in the store, by member and kind."""
    for key, _ in view.range(ALARMS, ALARMS_END):
        yield int.from_bytes(key[2:10], "big"), key[10]


def read_alarms(view: Reading) -> Alarms:
    """The alarms in the store. Raises `StoreFailed`."""
    try:
        return Alarms(stored_alarms(view), stored=True)
    except ValueError as error:
        raise StoreFailed(f"the machine's store is not readable: {error}") from error
