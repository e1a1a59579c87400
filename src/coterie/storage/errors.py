"""What can be wrong with a data directory or a log: each says what to do next."""

from __future__ import annotations

from coterie.core.errors import CoterieError


class StorageError(CoterieError):
    """Base of this floor's errors."""


class LogDamaged(StorageError):
    """Bytes that were durable are not what was written. Nothing was changed or cut off."""

    def __init__(self, segment: str, offset: int, what: str, *, repairable: bool = True) -> None:
        """`repairable`: the disk may have done this; False: what the disk holds checks, and yet it makes no sense."""
        super().__init__(
            f"log segment {segment} is damaged at byte {offset}: {what}",
            advice=(
                "Do not delete or edit the file: entries that this member acknowledged are in it. Check the disk, and "
                "start this member again: it says whether the others can repair it."
            ),
        )
        self.segment = segment
        self.offset = offset
        self.repairable = repairable


class PromisesLost(StorageError):
    """The log is damaged, and what this member promised or acknowledged may be among what is lost: nobody may go on
    under its id, not even with the others' help. Nothing was changed or cut off."""

    def __init__(self, damage: LogDamaged, why: str) -> None:
        super().__init__(
            f"{damage}; and the others cannot repair it: {why}",
            advice=(
                "Keep a copy of the data directory, and check the disk. Then give the member a new id, if others are "
                "left that elect and commit: `coterie member remove NAME`, `coterie member add NAME --peer HOST:PORT`, "
                "and start it with an empty data directory, as the second command says."
            ),
        )
        self.damage = damage


class WrongLog(StorageError):
    """The log belongs to another cluster, member, protocol or format version."""

    advice = "Check the data directory in this member's configuration: it names somebody else's data."


class NoLog(StorageError):
    """There is no log to open: none was made, or a crash came before its making was finished."""

    advice = (
        "If this member has never started, start it as a new one: its log is made then. If it has, its log was "
        "removed: do not make a new one under its id; remove the member and add a new one in its place."
    )


class SnapshotDamaged(StorageError, ValueError):
    """A snapshot's file is not what was written: it is never used, not even in part."""

    def __init__(self, name: str, offset: int, what: str, *, readable: bool = True) -> None:
        """`readable`: False: the disk did not give it, and may do so another time."""
        super().__init__(
            f"snapshot {name} is damaged at byte {offset}: {what}",
            advice=(
                "Do not edit it. Another one takes its place: the next that this member takes, or one that the leader "
                "sends. If this member cannot start without it, remove the member and add a new one in its place. "
                "Check the disk."
            ),
        )
        self.name = name
        self.offset = offset
        self.readable = readable


class WrongSnapshot(StorageError, ValueError):
    """A snapshot of another cluster, or in a format of another version."""

    advice = "Check the data directory: a file of another member's was put into it. Take it out, and keep it elsewhere."
