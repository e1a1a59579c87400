"""What every mechanism of one member shares, in either protocol: epoch, role, log, membership, settings."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from coterie.core import quorum
from coterie.core.config import MILLISECOND, ReplicaConfig
from coterie.core.errors import ConfigurationError, SafetyViolation
from coterie.core.leading.membership import describe
from coterie.core.log import Log
from coterie.core.outbox import Outbox
from coterie.core.records import Recovered
from coterie.core.replica import LogReader, Refusal, Refused
from coterie.core.settings import Settings
from coterie.core.snapshot_transfer import Snapshot
from coterie.core.timeline import Timeline
from coterie.core.types import (
    NOBODY,
    Entry,
    EntryKind,
    Epoch,
    Index,
    MemberId,
    Membership,
    Nanos,
    Repair,
    Role,
    SnapshotMeta,
    Token,
)

_membership_decoder = msgspec.msgpack.Decoder(Membership)
_settings_decoder = msgspec.msgpack.Decoder(Settings)


def membership_of(entry: Entry) -> Membership:
    """What a MEMBERSHIP entry says. Raises `msgspec.DecodeError` or `ConfigurationError`."""
    return _membership_decoder.decode(entry.payload)


def settings_of(entry: Entry) -> Settings:
    """What a SETTINGS entry says. Raises `msgspec.DecodeError` or `ConfigurationError`."""
    return _settings_decoder.decode(entry.payload)


class State(ABC):
    """One member's state. Mechanisms change it through the methods here; each protocol adds its own."""

    electors_meet: ClassVar[bool]
    """Whether any two quorums that elect must meet: see `quorum.flaw`."""

    def __init__(
        self,
        own: MemberId,
        config: ReplicaConfig,
        recovered: Recovered,
        reader: LogReader,
        rng: random.Random,
        applied: Index,
    ) -> None:
        self.own = own
        self.config = config
        self.rng = rng
        self.outbox = Outbox()
        self.log = Log(recovered, reader, self.outbox, config.max_cached_bytes)
        self.epoch: Epoch = recovered.hard_state.epoch
        """The present one: Raft's term, or the highest ballot that this member has promised. Never goes back."""
        self.role: Role = Role.FOLLOWER
        self.leader: MemberId = NOBODY
        self.reason = "started"
        self.commit: Index = max(applied, recovered.base.index)
        """Highest index known to be committed. Not persisted: the leader tells it again (Raft, figure 2)."""
        self.handed_out: Index = applied
        """Committed entries up to here were handed out, or are in a snapshot that the machine gets instead."""
        self.repair: Repair | None = recovered.hard_state.repair
        """What this member owes, if its log was damaged: until then it is silent (`core/repair.py`)."""
        self.no_space = False
        self.snapshot: Snapshot | None = None
        """The newest durable one, to be sent to followers; None if there is none, or it is gone."""
        if applied < recovered.base.index:
            # Applied on top of it, the log's entries would leave a gap in the state (catalogue N09).
            raise SafetyViolation(
                f"the log begins after entry {recovered.base.index}, but the machine holds only what entries up to "
                f"{applied} did: restore it from the snapshot at {recovered.base.index} (or a newer one) first"
            )
        base = recovered.base
        self._memberships = Timeline(base.index, base.membership)
        for entry in recovered.memberships:
            self._memberships.append(entry.index, membership_of(entry))
        self._settings = Timeline(base.index, base.settings)
        for entry in recovered.settings:
            self._settings.append(entry.index, settings_of(entry))
        self.membership_reason = "started"
        """What the newest change of the membership was, for people."""
        self._belonged = False
        if self.membership.members and self.commit == 0:
            # The first entry is the membership that all initial members fixed before they
            # started: it is the same for all, so it is committed from the beginning.
            self.commit = min(1, self.log.last_index)
        self._refresh_quorums()

    @property
    def membership(self) -> Membership:
        """The newest membership in the log, committed or not (4.1)."""
        return self._memberships.newest

    @property
    def settings(self) -> Settings:
        """The newest committed settings."""
        if self._settings.newest_index <= self.commit:
            return self._settings.newest
        return self._settings.at(self.commit)

    def meta_at(self, index: Index) -> SnapshotMeta:
        """What a snapshot of the state at `index` needs to say of the log: the membership, joint or not, and
        the settings in force there (catalogue N03). Raises `LookupError` if the log does not reach there."""
        epoch = self.log.epoch_at(index)
        if epoch is None:
            raise LookupError(f"the log does not hold entry {index}")
        return SnapshotMeta(index, epoch, self._memberships.at(index), self._settings.at(index))

    @property
    def membership_index(self) -> Index:
        """Where the newest membership stands in the log."""
        return self._memberships.newest_index

    @property
    def others(self) -> tuple[MemberId, ...]:
        """All members but this one."""
        return self._others

    @property
    def electors(self) -> tuple[MemberId, ...]:
        """The others whose votes count."""
        membership = self.membership
        return tuple(i for i in self._others if i in membership.voters or i in membership.outgoing)

    @property
    def removed(self) -> bool:
        """Whether this member belonged to the group, and the removal is committed: until then it may still be
        undone, and a member that ends too early may be missing (catalogue M12)."""
        if self.is_member or self.membership_index > self.commit or not self.membership.members:
            return False
        self.note_belonging()
        return self._belonged

    @property
    def may_campaign(self) -> bool:
        """Whether this member may try to lead: a voter, or one that was until an uncommitted membership.

        That one may be needed: it may be the only living member with the entry that removes it, so that no other can
        be elected and none but it can commit the entry (4.2.2, figure 4.6; catalogue M12). It does not count itself.
        Learners, members not yet added, and those whose removal is committed never campaign (4.2.1; M09). Nor does one
        whose log is being repaired.
        """
        if self.repair is not None:
            return False
        for index, membership in self._memberships.newest_first():
            if self.own in membership.voters or self.own in membership.outgoing:
                return True
            if index <= self.commit:
                return False
        return False

    @property
    def newest_settings(self) -> tuple[Index, Settings]:
        """The newest settings in the log, committed or not, and where they stand."""
        return self._settings.newest_index, self._settings.newest

    @property
    def promised_lease(self) -> Nanos:
        """How long a leader that was heard is promised that we elect no other; 0 if no lease reads are on.

        From the newest committed settings on, any that has them on counts: what is uncommitted may be undone,
        or be in use already (see `leading/lease.py`).
        """
        longest = 0
        for index, settings in self._settings.newest_first():
            if settings.lease_reads:
                longest = max(longest, settings.lease_ms * MILLISECOND)
            if index <= self.commit:
                break
        return longest

    def _refresh_quorums(self) -> None:
        membership = self.membership
        self.phase_1 = quorum.phase_1(membership)
        self.phase_2 = quorum.phase_2(membership)
        self._others = membership.others(self.own)
        self.is_voter = self.own in membership.voters or self.own in membership.outgoing
        """Whether this member's vote and copy count."""
        self.is_learner = self.own in membership.learners
        self.is_member = membership.member(self.own) is not None

    def note_belonging(self) -> None:
        """Remember whether a committed membership has had this member: to be called before the log forgets it. (One
        that was added by an entry that was undone has not been removed, and one that has just joined is not yet.)"""
        self._belonged = self._belonged or any(
            index <= self.commit and membership.member(self.own) is not None
            for index, membership in self._memberships.newest_first()
        )

    def name(self, member: MemberId) -> str:
        """The member's name, for people, also of one that has left; its id if it is not known."""
        for _, membership in self._memberships.newest_first():
            known = membership.member(member)
            if known is not None:
                return known.name
        return f"member {member:016x}"

    def refuse(self, token: Token) -> None:
        """What only a leader can do was asked of this member, which leads not: nothing was done."""
        if not self.is_member:
            reason = Refusal.NOT_VOTER
        else:
            reason = Refusal.NO_LEADER if self.leader == NOBODY else Refusal.NOT_LEADER
        self.outbox.outcomes.append(Refused(token, reason, self.leader))

    def append(self, entries: tuple[Entry, ...]) -> None:
        """Append to the log; a membership takes effect at once, before it is committed (4.1).

        At commit it would be too late: while one half of the members counts by the old one and the other by
        the new, each may find a quorum (catalogue M06).
        """
        self.log.append(entries)
        for entry in entries:
            if entry.kind is not EntryKind.COMMANDS and entry.kind is not EntryKind.NOOP:
                self.take_up(entry)

    def take_up(self, entry: Entry) -> None:
        """Heed an entry that is the replica's own business."""
        try:
            if entry.kind is EntryKind.SETTINGS:
                self._settings.append(entry.index, settings_of(entry))
                return
            membership = membership_of(entry)
        except (msgspec.DecodeError, ConfigurationError) as error:
            self.outbox.raise_alarm(
                "Every member understands every entry",
                f"entry {entry.index} of epoch {entry.epoch} ({entry.kind.name}) cannot be read here: {error}",
            )
            return
        self.note_belonging()
        self.membership_reason = describe(self.membership, membership)
        self._memberships.append(entry.index, membership)
        self._refresh_quorums()

    def compact(self, index: Index) -> None:
        """Forget committed entries up to `index`; what is in force there stays known."""
        self.note_belonging()
        self.log.compact(self.meta_at(index))
        self._memberships.compact(index)
        self._settings.compact(index)

    def reset(self, meta: SnapshotMeta) -> None:
        """Replace the whole log by a snapshot of what is committed (Raft 7). Epoch and vote stay."""
        self.note_belonging()
        self.log.reset(meta)
        # The same object if nothing changed: a new one would be told of as a change.
        membership = self.membership if meta.membership == self.membership else meta.membership
        self._memberships.reset(meta.index, membership)
        self._settings.reset(meta.index, meta.settings)
        self.commit = max(self.commit, meta.index)
        self._refresh_quorums()

    def next_committed(self) -> Sequence[Entry]:
        """Committed entries that were not handed out yet, in order, bounded."""
        if self.handed_out >= self.commit:
            return ()
        last = min(self.commit, self.handed_out + self.config.max_committed_entries)
        entries = self.log.entries(self.handed_out + 1, last, self.config.max_committed_bytes)
        if not entries:
            # Who knows that an entry is committed holds it (Raft 5.3): it was told by a leader whom its log matches.
            raise SafetyViolation(
                f"entry {self.handed_out + 1} is committed, but the log ends at {self.log.last_index}"
            )
        self.handed_out = entries[-1].index
        return entries

    @abstractmethod
    def holds(self, meta: SnapshotMeta) -> bool:
        """Whether this log is sure to hold what a snapshot of committed entries, sent by the present leader, does:
        then it is not needed here."""

    @abstractmethod
    def enter_epoch(self, epoch: Epoch) -> None:
        """Move to a newer epoch, and have that written; what depends on it must be sent with `Outbox.promise`."""

    @abstractmethod
    def save_hard_state(self) -> None:
        """Have it written; what depends on it must be sent with `Outbox.promise`."""

    def repaired(self) -> None:
        """The log is whole again. Whatever rests on that leaves only when it is durable, behind what was given back:
        by `Outbox.promise` or `affirm`."""
        self.repair = None
        self.save_hard_state()

    @property
    def all_disks_wait(self) -> bool:
        """Whether no quorum has what this leader's disk lacks, either. Then most likely all are full: nobody could be
        elected by members who can't write down their votes, and without this leader there would be no reads."""
        return self.log.last_index > self.log.durable_index >= self.commit

    def disk_is_stuck(self, now: Nanos, limit: Nanos) -> bool:
        """Whether some store batch has waited for longer than `limit`."""
        since = self.outbox.unsynced_since
        return since is not None and now - since > limit
