"""Snapshots from whoever has one, for a member that nobody leads and that lacks what is compacted away.

A leader sends its followers what they need. But the only member that could be elected may need it first: a proposer
of Multi-Paxos hears of accepted slots in phase 1, and there it cannot hear of those that an acceptor has compacted;
it is lent a snapshot instead. All that a snapshot holds was chosen, so any member may send one, in no epoch at all
(`NO_EPOCH`), and who has no leader may install it; what it has accepted beyond stays, as with any other. Raft needs
none of this: there, who lacks what others have compacted away is not elected.
"""

from __future__ import annotations

from coterie.core.leading.progress import Mode, Progress
from coterie.core.leading.snapshot_sender import SnapshotSender
from coterie.core.messages import InstallSnapshotReply
from coterie.core.replica import SnapshotReader
from coterie.core.state import State
from coterie.core.types import NOBODY, MemberId, Nanos

MAX_BORROWERS = 8
"""Members that are lent a snapshot at a time; others have to ask again."""


class Loans:
    """What one member lends."""

    def __init__(self, state: State, reader: SnapshotReader | None) -> None:
        self._state = state
        self._sender = SnapshotSender(state, reader, lent=True)
        self._borrowers: dict[MemberId, Progress] = {}

    def ask(self, now: Nanos, member: MemberId) -> None:
        """The member needs what is compacted away here."""
        borrower = self._borrowers.get(member)
        if borrower is None:
            if len(self._borrowers) >= MAX_BORROWERS:
                return
            borrower = self._borrowers[member] = Progress(self._state.config, self._state.log.base_index, now)
        borrower.heard_at = now
        if borrower.mode is not Mode.SNAPSHOT:
            self._sender.begin(member, borrower)

    def takes_from(self, lender: MemberId) -> bool:
        """Whether what this member lends is welcome: only a member's, and while there is no leader."""
        return self._state.leader == NOBODY and self._state.membership.member(lender) is not None

    def answered(self, now: Nanos, member: MemberId, m: InstallSnapshotReply) -> None:
        """How much of it the member holds, or that it needs no more."""
        borrower = self._borrowers.get(member)
        if borrower is None:
            return
        borrower.heard_at = now
        if m.installed:
            self._give_up(member)
        else:
            self._sender.answered(now, member, m.index, m.offset)

    def send(self, now: Nanos) -> None:
        """Send what is due. To none that is silent; and not at all once there is a leader, who does this better."""
        if not self._borrowers:
            return
        timeout = self._state.config.election_timeout
        for member, borrower in list(self._borrowers.items()):
            if self._state.leader != NOBODY or now - borrower.heard_at > timeout:
                self._give_up(member)
        self._sender.send(now, self._borrowers, 0)

    def _give_up(self, member: MemberId) -> None:
        del self._borrowers[member]
        self._sender.end(member)

    def take_wanted(self) -> bool:
        """Whether somebody needs a snapshot and there is none that will do: once."""
        wanted, self._sender.wanted = self._sender.wanted, False
        return wanted

    def deadline(self, now: Nanos) -> Nanos | None:
        """When to look again without any input."""
        return self._sender.deadline(now, self._borrowers) if self._borrowers else None
