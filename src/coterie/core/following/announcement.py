"""What this member is, as it tells others: role, leader, epoch, membership, and why they changed."""

from __future__ import annotations

from coterie.core.replica import RoleChange
from coterie.core.state import State
from coterie.core.types import Epoch, MemberId, Membership, Role

PASSIVE = frozenset({Role.FOLLOWER, Role.LEARNER})
"""Roles between which only the membership decides."""


class Announcement:
    """Tells each change once."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._last: RoleChange | None = None
        self._seen: tuple[Role, MemberId, Epoch, Membership] | None = None
        """What the last answer was made from: looked at after every batch of inputs, so it must be cheap."""

    @property
    def role(self) -> Role:
        """The role to show: for Raft's rules a learner is a follower."""
        state = self._state
        return Role.LEARNER if state.role is Role.FOLLOWER and state.is_learner else state.role

    @property
    def removed(self) -> bool:
        """See `Replica.removed`. A leader that left still has to hand over."""
        return self._state.role is not Role.LEADER and self._state.removed

    def change(self) -> RoleChange | None:
        """What is new since the last call; None if nothing is."""
        state, last = self._state, self._last
        seen = (state.role, state.leader, state.epoch, state.membership)
        if seen == self._seen and (state.is_member or (last is not None and last.removed)):
            return None
        self._seen = seen
        role = self.role
        removed = not state.is_member and self.removed
        reason = state.reason
        if last is not None:
            moved = last.role is not role or last.leader != state.leader or last.epoch != state.epoch
            if not moved and last.membership is state.membership and last.removed is removed:
                return None
            if last.leader == state.leader and last.epoch == state.epoch and {last.role, role} <= PASSIVE:
                moved = False
            if not moved:
                reason = state.membership_reason
            if removed and not last.removed:
                reason = f"this member was removed: the membership at {state.membership_index} is committed without it"
        self._last = RoleChange(role, state.leader, state.epoch, state.membership, reason, removed)
        return self._last
