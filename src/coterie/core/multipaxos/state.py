"""What one member knows as acceptor and as learner of every slot ("Paxos Made Simple", section 3; PMMC 2 and 3).

The group runs one instance of Paxos for each slot of the log, and all of them share their ballots: a promise covers
every slot at once. So an acceptor's whole state is one promised ballot (`State.epoch`) and a log, whose entry in a
slot carries the ballot it was accepted in. A slot may be overwritten by a higher ballot. Nothing accepted is ever cut
off: it may be what was chosen.

*There is no log matching here.* In Raft the leader's commit index vouches for a whole prefix, if one entry matches.
Here a slot may hold what an older ballot asked for and nobody chose. So a member *vouches*, in the present ballot, only
for slots that it accepted in this ballot or knows to be chosen; the ballot's commit index makes no others chosen
(`vouched`). A leader's entries are taken in order, so these slots are a prefix, and so is what a member has accepted: a
log without gaps.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from coterie.core.errors import ConfigurationError
from coterie.core.records import SaveHardState
from coterie.core.state import State, membership_of, settings_of
from coterie.core.types import Entry, EntryKind, Epoch, HardState, Index, Role, SnapshotMeta


class PaxosState(State):
    """One member's Multi-Paxos state. `epoch` is the highest ballot that it has promised."""

    electors_meet = False  # A ballot is its owner's alone, so no two are elected in one ("Flexible Paxos", section 3).
    _vouched: Index = 0

    @property
    def vouched(self) -> Index:
        """Each slot up to here is accepted in the present ballot, or known to be chosen. Forgotten when the process
        ends, or the ballot does: then only what is committed is left."""
        if self.role is Role.LEADER:
            return self.log.last_index
        return max(self._vouched, self.commit)

    def vouch(self, index: Index) -> None:
        """All slots up to `index` were accepted here in the present ballot, or its leader told that they are chosen."""
        self._vouched = max(self._vouched, index)

    def holds(self, meta: SnapshotMeta) -> bool:
        """See `State.holds`. What lies in a slot says nothing, only for which slots this member vouches."""
        return meta.index <= self.vouched

    def enter_epoch(self, epoch: Epoch) -> None:
        """Promise a ballot: nothing of a lower one is accepted from now on (P1a). It is durable before anything is
        said that rests on it ("Paxos Made Simple" 2.5): else a restarted acceptor would accept what it renounced."""
        self.epoch = epoch
        self._vouched = self.commit
        self.outbox.record(SaveHardState(HardState(epoch)))

    def put(self, entries: Sequence[Entry]) -> None:
        """Accept: write these slots, given in ascending order, whatever lower ballot they hold something of."""
        begin = 0
        for end in range(1, len(entries) + 1):
            if end == len(entries) or entries[end].index != entries[end - 1].index + 1:
                self._put_run(tuple(entries[begin:end]))
                begin = end

    def _put_run(self, entries: tuple[Entry, ...]) -> None:
        """Consecutive slots. A membership takes effect at once, as in Raft; one that is overwritten is undone."""
        first, last = entries[0].index, entries[-1].index
        if first > self.log.last_index:
            self.append(entries)
            return
        try:
            settings = [(e.index, settings_of(e)) for e in entries if e.kind is EntryKind.SETTINGS]
            memberships = [(e.index, membership_of(e)) for e in entries if e.kind is EntryKind.MEMBERSHIP]
        except (msgspec.DecodeError, ConfigurationError) as error:
            self.outbox.raise_alarm("Every member understands every entry", f"one of {first} to {last}: {error}")
            return
        self.log.put(entries)
        self.note_belonging()
        self._settings.replace(first, last, settings)
        if self._memberships.replace(first, last, memberships):
            self.membership_reason = "a newer ballot decided on the membership"
            self._refresh_quorums()

    def reset(self, meta: SnapshotMeta) -> None:
        """The log begins after a snapshot of what was chosen. What was accepted after it stays: a quorum may have
        accepted it, and a new leader that asks us must hear of it (what breaks without: a chosen value is lost)."""
        if meta.index >= self.log.last_index:
            super().reset(meta)
            return
        self.note_belonging()
        self.log.rebase(meta)
        self._memberships.rebase(meta.index, meta.membership)
        self._settings.rebase(meta.index, meta.settings)
        self.commit = max(self.commit, meta.index)
        self._refresh_quorums()
