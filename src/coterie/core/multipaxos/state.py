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

*Memberships and settings* are made from those before them, one at a time. Behind what a newer ballot has accepted here
may stand one of an older ballot, made from what was never chosen: it was not chosen either, it does not follow on what
precedes it in the log, and it counts for nothing (`serial`). What breaks without: a proposer that holds one proposes it
again, and its quorums need not meet those that are in force.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from coterie.core.config import ReplicaConfig
from coterie.core.errors import ConfigurationError
from coterie.core.leading.membership import describe
from coterie.core.records import Recovered, SaveHardState
from coterie.core.replica import LogReader
from coterie.core.settings import Settings
from coterie.core.state import State, membership_of, settings_of
from coterie.core.types import (
    NOBODY,
    Entry,
    EntryKind,
    Epoch,
    HardState,
    Index,
    MemberId,
    Membership,
    Role,
    SnapshotMeta,
)


class PaxosState(State):
    """One member's Multi-Paxos state. `epoch` is the highest ballot that it has promised."""

    electors_meet = False  # A ballot is its owner's alone, so no two are elected in one ("Flexible Paxos", section 3).
    _vouched: Index = 0

    def __init__(
        self,
        own: MemberId,
        config: ReplicaConfig,
        recovered: Recovered,
        reader: LogReader,
        rng: random.Random,
        applied: Index,
    ) -> None:
        super().__init__(own, config, recovered, reader, rng, applied)
        self._accepted_memberships = self._memberships.copy()
        """All that stand in the log, whether they follow on each other or not."""
        self._accepted_settings = self._settings.copy()
        self._heed()

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
        self.save_hard_state()

    def save_hard_state(self) -> None:
        """See `State.save_hard_state`. There is no vote: a ballot names its owner."""
        self.outbox.record(SaveHardState(HardState(self.epoch, NOBODY, self.repair)))

    def put(self, entries: Sequence[Entry]) -> None:
        """Accept: write these slots, given in ascending order, whatever lower ballot they hold something of."""
        begin = 0
        for end in range(1, len(entries) + 1):
            if end == len(entries) or entries[end].index != entries[end - 1].index + 1:
                self._put_run(tuple(entries[begin:end]))
                begin = end

    def append(self, entries: tuple[Entry, ...]) -> None:
        """See `State.append`."""
        self._put_run(entries)

    def _put_run(self, entries: tuple[Entry, ...]) -> None:
        """Consecutive slots. A membership takes effect at once, as in Raft; one that is overwritten is undone."""
        first, last = entries[0].index, entries[-1].index
        try:
            settings = [(e.index, settings_of(e)) for e in entries if e.kind is EntryKind.SETTINGS]
            memberships = [(e.index, membership_of(e)) for e in entries if e.kind is EntryKind.MEMBERSHIP]
        except (msgspec.DecodeError, ConfigurationError) as error:
            self.outbox.raise_alarm("Every member understands every entry", f"one of {first} to {last}: {error}")
            return
        self.log.put(entries)
        changed = self._accepted_settings.replace(first, last, settings)
        if self._accepted_memberships.replace(first, last, memberships) or changed:
            self._heed()

    def _heed(self) -> None:
        """Memberships and settings changed: those are in force that follow on each other."""
        self.note_belonging()
        before = self.membership
        self._memberships.follow(self._accepted_memberships, follows)
        self._settings.follow(self._accepted_settings, follows)
        if self.membership is not before:
            self.membership_reason = describe(before, self.membership)
            self._refresh_quorums()

    def compact(self, index: Index) -> None:
        """See `State.compact`."""
        super().compact(index)
        self._accepted_memberships.compact(index)
        self._accepted_settings.compact(index)

    def accepted_memberships(self) -> list[tuple[Index, Membership]]:
        """Those that stand in slots not yet chosen, in force or not, with their slots."""
        return [(index, value) for index, value in self._accepted_memberships.newest_first() if index > self.commit]

    def at(self, index: Index) -> tuple[Membership, Settings]:
        """The membership and the settings in force at an index."""
        return self._memberships.at(index), self._settings.at(index)

    def reset(self, meta: SnapshotMeta) -> None:
        """The log begins after a snapshot of what was chosen. What was accepted after it stays: a quorum may have
        accepted it, and a new leader that asks us must hear of it (what breaks without: a chosen value is lost)."""
        if meta.index >= self.log.last_index:
            super().reset(meta)
            self._accepted_memberships.reset(meta.index, self.membership)
            self._accepted_settings.reset(meta.index, meta.settings)
            return
        self.note_belonging()
        self.log.rebase(meta)
        self.commit = max(self.commit, meta.index)
        self._accepted_memberships.rebase(meta.index, meta.membership)
        self._accepted_settings.rebase(meta.index, meta.settings)
        self._heed()


def follows(before: Membership | Settings, after: Membership | Settings) -> bool:
    """Whether the one was made from the other. (They are changed one at a time, each from a chosen one: so the number
    tells.) The first membership is made from none."""
    if isinstance(before, Membership) and not before.members:
        return True
    return after.serial == before.serial + 1
