"""What others may look at of a member, the same in both protocols."""

from __future__ import annotations

from coterie.core.following.announcement import Announcement
from coterie.core.following.stream import Stream
from coterie.core.leading.leadership import Leadership
from coterie.core.replica import MemberProgress, Replica
from coterie.core.settings import Settings
from coterie.core.state import State
from coterie.core.types import Epoch, Index, MemberId, Membership, Nanos, Repair, Role, SnapshotMeta


class MemberView(Replica):
    """The part of a member that changes nothing."""

    _state: State
    _stream: Stream
    _announcement: Announcement
    _leadership: Leadership | None

    @property
    def settings(self) -> Settings:
        """See `Replica.settings`."""
        return self._state.settings

    @property
    def removed(self) -> bool:
        """See `Replica.removed`."""
        return self._announcement.removed

    @property
    def first_index(self) -> Index:
        """See `Replica.first_index`."""
        return self._state.log.base_index + 1

    def leads_to(self, meta: SnapshotMeta) -> bool:
        """See `Replica.leads_to`. Records reach the disk in order: if the last entry did in the epoch in which it was
        applied, all that had been written before it did, too."""
        return self._state.log.epoch_at(meta.index) == meta.epoch

    def progress(self, now: Nanos) -> tuple[MemberProgress, ...]:
        """See `Replica.progress`."""
        return self._leadership.known(now) if self._leadership is not None else ()

    @property
    def repair(self) -> Repair | None:
        """See `Replica.repair`."""
        return self._state.repair

    @property
    def role(self) -> Role:
        """See `Replica.role`."""
        return self._announcement.role

    @property
    def leader(self) -> MemberId:
        """See `Replica.leader`."""
        return self._state.leader

    @property
    def epoch(self) -> Epoch:
        """See `Replica.epoch`."""
        return self._state.epoch

    @property
    def commit(self) -> Index:
        """Highest index known to be committed."""
        return self._state.commit

    @property
    def last_index(self) -> Index:
        """End of this member's log, durable or not."""
        return self._state.log.last_index

    @property
    def membership(self) -> Membership:
        """The newest membership in the log."""
        return self._state.membership

    @property
    def uncommitted_bytes(self) -> int:
        """See `Replica.uncommitted_bytes`."""
        return self._leadership.uncommitted_bytes if self._leadership is not None else 0

    def age_bound(self, now: Nanos, applied: Index) -> Nanos:
        """See `Replica.age_bound`."""
        if self._leadership is None:
            return self._stream.age_bound(now, applied)
        return self._leadership.age_bound(now, applied)

    def leased(self, now: Nanos) -> bool:
        """See `Replica.leased`."""
        return self._leadership is not None and self._leadership.leased(now)

    def confirmed_elapsed(self) -> Nanos:
        """See `Replica.confirmed_elapsed`."""
        return self._leadership.confirmation.credit if self._leadership is not None else 0
