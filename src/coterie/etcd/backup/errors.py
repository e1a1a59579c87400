"""What is wrong with a snapshot file."""

from __future__ import annotations

from coterie.core.errors import CoterieError


class BadSnapshot(CoterieError):
    """The file is no etcd snapshot, or it is damaged. `offset` is where in the file it shows, in bytes."""

    advice = "Take another snapshot file, or save this one again: nothing was read from it."

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"not a sound etcd snapshot: at byte {offset}: {reason}")
        self.offset = offset
        self.reason = reason
