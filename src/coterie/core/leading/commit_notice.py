"""When followers are told of a commit by itself: no entry came by that would have carried it."""

from __future__ import annotations

from coterie.core.types import Nanos

LONGEST_PATIENCE = 4
"""Times the usual delay that a notice waits at most: the next entry is waited for where entries come twice as often."""


class CommitNotice:
    """A new commit index leaves with the next entry, or alone after a while.

    While entries follow each other closely, the next is waited for longer: a notice just before it would only cost each
    follower a message, and the leader the processors that its followers then apply on.
    """

    __slots__ = ("_appended_at", "_delay", "_interval", "due")

    def __init__(self, delay: Nanos) -> None:
        self._delay = delay
        self._appended_at: Nanos | None = None
        self._interval: Nanos | None = None
        """Between the two newest entries."""
        self.due: Nanos | None = None
        """When followers are to be told, if they are not told before."""

    def appended(self, now: Nanos) -> None:
        """An entry was appended."""
        if self._appended_at is not None:
            self._interval = now - self._appended_at
        self._appended_at = now

    def wait(self, now: Nanos) -> None:
        """Something is committed, or was missed: tell it after a while, if not before."""
        patience = self._delay
        if self._interval is not None and self._interval <= LONGEST_PATIENCE * self._delay // 2:
            patience = max(patience, 2 * self._interval)
        self._by(now + patience)

    def hurry(self, now: Nanos) -> None:
        """Somebody waits to hear of it."""
        self._by(now)

    def _by(self, due: Nanos) -> None:
        if self.due is None or due < self.due:
            self.due = due

    def take(self, now: Nanos) -> bool:
        """Whether it is due; then it is taken as told."""
        if self.due is None or now < self.due:
            return False
        self.due = None
        return True
