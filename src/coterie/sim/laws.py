"""The laws of consensus that both protocols must keep, checked after every step of the simulated world.

What is checked is what members *did*: the records that they stored, the messages that they sent,
what reached their disks, what they applied. Each law has a name, which a violation carries.
Everything here is incremental: a step costs as much as it changes. What only one protocol must keep
is in `raft_laws.py` and `paxos_laws.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from coterie.core.messages import (
    Accepted,
    AppendReply,
    InstallSnapshotReply,
    Message,
)
from coterie.core.records import Compact, Put, Record, Reset, SaveHardState, StoreBatch, Truncate
from coterie.core.types import (
    NO_EPOCH,
    Entry,
    Epoch,
    HardState,
    Index,
    MemberId,
    Membership,
    Role,
    SnapshotMeta,
)
from coterie.sim.applied import AppliedLaws
from coterie.sim.configurations import ConfigurationLaws, counting, decides
from coterie.sim.repair_laws import check_begun_anew, check_whole, counts
from coterie.sim.shadow import ShadowLog, Slot, membership_of, slot_of
from coterie.sim.statute import MemberLaws
from coterie.sim.verdict import Figures, Violation


class Laws(ABC):
    """The judge. Every method raises `Violation` where a law is broken."""

    electors_meet: ClassVar[bool]
    """Whether any two quorums that elect must meet: see `quorum.flaw`."""
    tells_candidates: ClassVar[bool]
    """Whether a candidate is told, entry by entry, what it lacks before it leads."""

    def __init__(self, members: Iterable[MemberId], figures: Figures) -> None:
        self._members = {m: MemberLaws() for m in members}
        self._figures = figures
        self.configurations = ConfigurationLaws(electors_meet=self.electors_meet)
        self.machines = AppliedLaws()
        """What members apply."""
        self.leaders: dict[Epoch, tuple[MemberId, int]] = {}
        """Who led each epoch, and in which of its lives."""
        self.judges_leases = True
        """False where a test wants to know what clients see of two leases at a time."""
        self._newest = NO_EPOCH
        """The last of them."""
        self._chosen: dict[Index, Slot] = {}
        self._top: Index = 0

    # -- each protocol's own -------------------------------------------------------------------

    @abstractmethod
    def _same(self, one: Slot, other: Slot) -> bool:
        """Whether it is the same choice that two members committed at one index."""

    @abstractmethod
    def _found(self, member: MemberId, laws: MemberLaws) -> None:
        """`laws.durable` is what the member's process starts on."""

    @abstractmethod
    def holds_as(self, member: MemberId, log: ShadowLog) -> Index:
        """Up to which entry a leader with this log need not send the member anything, at most."""

    @abstractmethod
    def _forgot(self, member: MemberId) -> None:
        """The member's disk holds no more what it held."""

    @abstractmethod
    def _begins(self, laws: MemberLaws, entry: Entry, slot: Slot) -> bool:
        """Whether a leader that writes this entry begins something with it, and does not carry on another's."""

    @abstractmethod
    def _write(self, member: MemberId, laws: MemberLaws, index: Index, slot: Slot, changed: Membership | None) -> None:
        """The member writes an entry. Puts it into `laws.written`, if it may be there."""

    @abstractmethod
    def _truncate(self, member: MemberId, laws: MemberLaws, first: Index) -> None:
        """The member is about to drop the entries from `first` on."""

    @abstractmethod
    def _hard_state(self, member: MemberId, laws: MemberLaws, state: HardState) -> None:
        """The member is about to write another hard state, of no lower epoch."""

    @abstractmethod
    def _compact(self, member: MemberId, laws: MemberLaws, base: SnapshotMeta, commit: Index) -> None:
        """The member is about to forget the entries up to there."""

    @abstractmethod
    def _reset(self, member: MemberId, laws: MemberLaws, base: SnapshotMeta) -> None:
        """The member is about to replace its log by a snapshot of what is committed."""

    @abstractmethod
    def _kept(self, member: MemberId, laws: MemberLaws, record: Record) -> None:
        """The record has reached the member's disk, and is in `laws.durable`."""

    @abstractmethod
    def _said(self, member: MemberId, laws: MemberLaws, to: MemberId, message: Message) -> None:
        """The member lets a message leave."""

    @abstractmethod
    def _elected(self, member: MemberId, laws: MemberLaws, epoch: Epoch) -> None:
        """The member is about to lead the epoch, as the first."""

    @abstractmethod
    def _took_over(self, member: MemberId, laws: MemberLaws, epoch: Epoch) -> None:
        """The step is over in which the member began to lead; all that it wrote then is known."""

    @abstractmethod
    def _complete(self, member: MemberId, laws: MemberLaws, epoch: Epoch, first: Index) -> None:
        """The member, which leads the epoch, must have what was chosen from `first` on."""

    @abstractmethod
    def _check_quorum(self, member: MemberId, committer: MemberLaws, first: Index, commit: Index) -> None:
        """The member commits the entries from `first` to `commit`, which nobody has committed before."""

    # -- what is known -------------------------------------------------------------------------

    @property
    def chosen(self) -> Index:
        """The highest index known to be committed."""
        return self._top

    def log_of(self, member: MemberId) -> ShadowLog:
        """What the member was told to store."""
        return self._members[member].written

    def memberships(self) -> list[Membership]:
        """All that are in force at some member, or may be again."""
        found = [self.configurations.chosen]
        for laws in self._members.values():
            if not laws.exiled:
                for log in (laws.written, laws.durable):
                    found += [membership for _, membership in log.memberships if membership not in found]
        return found

    def owes_repair(self, member: MemberId) -> bool:
        """Whether, by what is on its disk, the member's log was damaged and is not whole again."""
        return self._members[member].durable.hard_state.repair is not None

    def lost(self, core: Iterable[MemberId]) -> str | None:
        """Why no group of these members alone can have all that was chosen, whatever it does: then a group that does
        not work is no failure of liveness. None if their disks hold it."""
        disks = [(member, self._members[member].durable) for member in core]
        for membership in self.memberships():
            if membership.voters and not decides(membership, [member for member, _ in disks]):
                return f"{[member for member, _ in disks]} are no quorum of {counting(membership)}"
        for index, chosen in self._chosen.items():
            held = [(disk.base >= index, disk.slot(index)) for _, disk in disks]
            if not any(covered or (slot is not None and self._same(slot, chosen)) for covered, slot in held):
                return f"entry {index} was chosen, and is on no disk of {[member for member, _ in disks]}"
        return None

    # -- lives ---------------------------------------------------------------------------------

    def join(self, member: MemberId) -> None:
        """A member with an empty disk."""
        self._members[member] = MemberLaws()

    def exile(self, member: MemberId) -> None:
        """The member's disk is lost, or has gone back in time. What it held before may still be counted, for
        whoever votes from now on without it, meets those who hold the same."""
        laws = self._members[member]
        laws.exiled = True
        laws.written = ShadowLog()
        self.machines.lost(member)
        laws.pending.clear()
        laws.role = Role.FOLLOWER

    def begun_anew(self, member: MemberId, found: ShadowLog) -> None:
        """The member's log was damaged: its process is about to start on an empty one, which others are to repair."""
        laws = self._members[member]
        if laws.exiled:
            return
        was = laws.durable
        check_begun_anew(member, was, found.hard_state)
        laws.forgot.append(was)
        laws.written, laws.durable = found.copy(), found.copy()
        laws.pending.clear()
        self._forgot(member)

    def started(self, member: MemberId, boot: int, found: ShadowLog) -> None:
        """The member's process begins its life number `boot` with what was found on its disk."""
        laws = self._members[member]
        self.machines.started(member)
        if laws.exiled:
            return
        was = laws.durable
        if found.hard_state.epoch < was.hard_state.epoch:
            raise Violation(
                "epoch-monotonic",
                f"{member} had epoch {was.hard_state.epoch} on disk and starts with {found.hard_state.epoch}",
            )
        if laws.boot:
            self._check_recovery(member, laws, found)
        laws.written, laws.durable = found.copy(), found.copy()
        laws.pending.clear()
        laws.boot, laws.epoch = boot, found.hard_state.epoch
        laws.commit = 0
        laws.role = Role.FOLLOWER
        laws.in_force = [found.membership]
        self._found(member, laws)

    def _check_recovery(self, member: MemberId, laws: MemberLaws, found: ShadowLog) -> None:
        """The disk must hold the durable log followed by a prefix of what was being written."""
        state = laws.durable.copy()
        if state.same(found):
            return
        for batch in laws.pending:
            for record in batch.records:
                for _ in state.steps(record):
                    if state.same(found):
                        return
        was = laws.durable
        lost = [i for i in range(was.base + 1, was.last_index + 1) if found.slot(i) != was.slot(i)]
        truncating = any(isinstance(r, Truncate) for b in laws.pending for r in b.records)
        check = "log-kept" if (lost and not truncating) or found.hard_state != was.hard_state else "log-invented"
        raise Violation(
            check,
            f"{member} had {was.hard_state} and entries up to {was.last_index} on disk and "
            f"{len(laws.pending)} batches on the way; after the restart it has {found.hard_state} "
            f"and entries up to {found.last_index}; first difference at {lost[0] if lost else 'the end'}",
        )

    # -- the disk ------------------------------------------------------------------------------

    def store(self, member: MemberId, batch: StoreBatch, role: Role = Role.FOLLOWER, commit: Index = 0) -> None:
        """The member, in this role and with this commit index, hands a batch to its disk."""
        laws = self._members[member]
        if laws.exiled:
            return
        laws.pending.append(batch)
        for record in batch.records:
            if isinstance(record, Put):
                for entry in record.entries:
                    self._put(member, laws, entry, role, commit)
            else:
                self._check_record(member, laws, record, commit)
                laws.written.apply(record)
            if laws.in_force[-1:] != [laws.written.membership]:
                laws.in_force.append(laws.written.membership)

    def _put(self, member: MemberId, laws: MemberLaws, entry: Entry, role: Role, commit: Index) -> None:
        slot, changed = slot_of(entry), membership_of(entry)
        if changed is not None:
            leads = role is Role.LEADER and self._begins(laws, entry, slot)
            self.configurations.appended(member, laws.written, entry, changed, leads, commit)
        self._write(member, laws, entry.index, slot, changed)

    def _check_record(
        self, member: MemberId, laws: MemberLaws, record: Truncate | SaveHardState | Compact | Reset, commit: Index
    ) -> None:
        match record:
            case Truncate(first):
                self._truncate(member, laws, first)
            case SaveHardState(state):
                old = laws.written.hard_state
                if state.epoch < old.epoch:
                    raise Violation("epoch-monotonic", f"{member} goes from {old.epoch} back to {state.epoch}")
                if old.repair is not None and state.repair is None:
                    check_whole(member, laws, old.repair, self._chosen, self._same)
                self._hard_state(member, laws, state)
            case Compact(base):
                self._figures.compactions += 1
                self._compact(member, laws, base, commit)
            case Reset(base):
                self._reset(member, laws, base)
                if base.index <= laws.commit:
                    raise Violation(
                        "snapshot-newer",
                        f"{member} resets its log to {base.index}, though it had committed {laws.commit}",
                    )

    def stored(self, member: MemberId, mark: int) -> None:
        """The member's disk holds every batch up to `mark`."""
        laws = self._members[member]
        while laws.pending and laws.pending[0].mark <= mark:
            batch = laws.pending.pop(0)
            for record in batch.records:
                laws.durable.apply(record)
                self._kept(member, laws, record)
            if laws.durable.hard_state.repair is None:
                laws.forgot.clear()

    # -- messages ------------------------------------------------------------------------------

    def sent(self, member: MemberId, to: MemberId, message: Message, appended: Membership | None = None) -> None:
        """The member lets a message leave. `appended`: the newest membership in its log: messages leave before what is
        appended is handed to the disk, and commit by it, when a joint configuration is left."""
        laws = self._members[member]
        if laws.exiled:
            return
        if appended is not None and laws.in_force[-1:] != [appended]:
            laws.in_force.append(appended)
        if laws.durable.hard_state.repair is not None and counts(message):
            raise Violation("damaged-silent", f"{member} owes {laws.durable.hard_state.repair} and says {message}")
        match message:
            case AppendReply(epoch=epoch, accepted=True) | Accepted(epoch=epoch, accepted=True):
                self.configurations.answered[member] = epoch
            case InstallSnapshotReply(epoch=epoch, installed=True):
                self.configurations.answered[member] = epoch
        self._said(member, laws, to, message)

    def _lead(self, member: MemberId, laws: MemberLaws, epoch: Epoch) -> None:
        leader = self.leaders.get(epoch)
        if leader is None:
            self.leaders[epoch] = (member, laws.boot)
            self._newest = max(self._newest, epoch)
            self._figures.elections += 1
            self._elected(member, laws, epoch)
        elif leader != (member, laws.boot):
            raise Violation(
                "one-leader",
                f"{member} (life {laws.boot}) leads {epoch}, which {leader[0]} (life {leader[1]}) led before",
            )

    def leased(self, leader: MemberId, epoch: Epoch, holders: Iterable[tuple[MemberId, Epoch]]) -> None:
        """The member leads the epoch, and these, in theirs, may answer reads alone by their own clocks."""
        for holder, since in holders:
            if self.judges_leases and (since < self._newest or since < epoch):
                raise Violation(
                    "one-lease",
                    f"{holder} has a lease in {since}; {leader} leads {epoch}, and {self._newest} was led already",
                )

    def read(self, member: MemberId, index: Index, known: Index) -> None:
        """The member may answer a linearizable read from its state after `index`; when the read was asked for, all up
        to `known` was committed."""
        laws = self._members[member]
        if index < known and self.judges_leases and not laws.exiled:
            raise Violation(
                "read-current",
                f"{member}, in {laws.epoch}, reads from the state after {index}; {known} was committed when it asked",
            )

    # -- state ---------------------------------------------------------------------------------

    def observe(self, member: MemberId, epoch: Epoch, commit: Index, role: Role) -> None:
        """What the member says of itself after a step."""
        laws = self._members[member]
        if laws.exiled:
            return
        if epoch < laws.epoch:
            raise Violation("epoch-monotonic", f"{member} goes from {laws.epoch} back to {epoch}")
        begins = role is Role.LEADER and (laws.role is not Role.LEADER or epoch != laws.epoch)
        if begins:
            self._lead(member, laws, epoch)
        laws.epoch, laws.role = epoch, role
        if commit != laws.commit:
            self._commit(member, laws, commit)
        if begins:
            self._took_over(member, laws, epoch)
        laws.in_force = [laws.written.membership]
        applied = self.machines.index_of(member)
        if applied > commit:
            raise Violation("applied-committed", f"{member} applied {applied}, its commit index is {commit}")

    def _commit(self, member: MemberId, laws: MemberLaws, commit: Index) -> None:
        if commit < laws.commit:
            raise Violation("commit-monotonic", f"{member} goes from {laws.commit} back to {commit}")
        log = laws.written
        if commit > log.last_index:
            raise Violation("commit-in-log", f"{member} commits {commit}, its log ends at {log.last_index}")
        for index in range(max(laws.commit, log.base) + 1, commit + 1):
            slot = log.slots[index - log.base - 1]
            known = self._chosen.setdefault(index, slot)
            if not self._same(known, slot):
                raise Violation(
                    "chosen-stays",
                    f"{member} commits entry {index} of {slot.epoch} ({slot.digest.hex()}) in {laws.epoch}; that of "
                    f"{known.epoch} ({known.digest.hex()}) was committed before",
                )
        if commit > self._top:
            first = max(self._top, log.base) + 1
            if first <= commit:
                self._check_quorum(member, laws, first, commit)
            self._top = self._figures.entries = commit
            self._check_leaders(laws, first)
        laws.commit = commit
        for index, membership in log.memberships:
            if index <= commit:
                self.configurations.committed(index, membership)

    def _check_leaders(self, committer: MemberLaws, first: Index) -> None:
        """A leader of a later epoch may have been elected before these entries were seen to be committed."""
        for member, laws in self._members.items():
            if laws.role is Role.LEADER and laws.epoch > committer.epoch and committer.role is Role.LEADER:
                self._complete(member, laws, laws.epoch, first)

    def removed(self, member: MemberId, teller: MemberId, commit: Index = 0) -> None:
        """`teller`, whose commit index this is, treats `member` as removed. It may have committed that in this very
        step, and have had nobody to tell; beyond what it was told to store, that is not for here to judge."""
        laws = self._members[teller]
        if not laws.exiled:
            self._commit(teller, laws, max(laws.commit, min(commit, laws.written.last_index)))
            self.configurations.check_removed(member, teller)
