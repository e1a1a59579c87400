"""Who belonged to the group up to the applied index, and so who was removed: those are told, and refused."""

from __future__ import annotations

import msgspec

from coterie.core.records import Recovered
from coterie.core.types import Index, Member, MemberId, Membership


def memberships_up_to(recovered: Recovered, applied: Index) -> list[Membership]:
    """The memberships that the log knows of up to `applied`, oldest first; all of them are committed."""
    known = [recovered.base.membership]
    known += [
        msgspec.msgpack.decode(entry.payload, type=Membership)
        for entry in recovered.memberships
        if entry.index <= applied
    ]
    return known


class History:
    """The applied membership and what was learned on the way to it."""

    def __init__(self, own: MemberId, known: list[Membership]) -> None:
        """`known`: see `memberships_up_to`."""
        self._own = own
        self.membership = known[-1]
        """The newest applied one."""
        self.own_member: Member | None = None
        """This member as it was last seen in a membership."""
        for membership in known:
            self.own_member = membership.member(own) or self.own_member

    def applied(self, membership: Membership) -> list[Member]:
        """A membership is committed; the members that it no longer has."""
        before, self.membership = self.membership, membership
        self.own_member = membership.member(self._own) or self.own_member
        return [member for member in before.members if membership.member(member.id) is None]

    @property
    def expelled(self) -> bool:
        """This member belonged to the group and no longer does. (One that joins replays memberships that do
        not have it yet: that is no removal.)"""
        return self.own_member is not None and self.membership.member(self._own) is None
