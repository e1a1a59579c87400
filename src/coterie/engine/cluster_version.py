"""The cluster version: which formats and behaviours may be used. It stands in the settings, in the log.

Each member tells the leader what its program supports: when it learns of a leader, and with each word
of the divergence check. The leader raises the version to what *every* member supports, by a settings
entry, and only then: what an old program can't read must never be written while one runs. So a new
release is rolled in member by member, and takes effect as a whole. Pure.
"""

from __future__ import annotations

from coterie.core.types import MemberId, Membership


class Supports:
    """What each member's program supports, as far as this member was told."""

    def __init__(self, own: MemberId, version: int) -> None:
        """`version`: the newest that this program supports."""
        self.own_version = version
        self._told: dict[MemberId, int] = {own: version}

    def tell(self, member: MemberId, version: int) -> None:
        """A member said what it supports; the newest word counts, for programs may be taken back, too."""
        self._told[member] = version

    def next_version(self, present: int, membership: Membership) -> int | None:
        """The version to raise the cluster to, or None: it stays. Members that left count for nothing."""
        versions: list[int] = []
        for member in membership.members:
            version = self._told.get(member.id)
            if version is None:
                return None
            versions.append(version)
        lowest = min(versions, default=present)
        return lowest if lowest > present else None
