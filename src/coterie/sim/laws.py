"""The laws of consensus, checked after every step of the simulated world.

What is checked is what members *did*: the records that they stored, the messages that they sent,
what reached their disks, what they applied. Each law has a name, which a violation carries.
Everything here is incremental: a step costs as much as it changes.
"""

from __future__ import annotations

from collections.abc import Iterable

from coterie.core.messages import Append, AppendReply, InstallSnapshotReply, Message, PreVote, RequestVote, VoteReply
from coterie.core.records import Compact, Put, Reset, SaveHardState, StoreBatch, Truncate
from coterie.core.types import NO_EPOCH, NOBODY, Epoch, Index, MemberId, Membership, Role
from coterie.machine.interface import Batch, Rejected
from coterie.sim.applied import AppliedLaws
from coterie.sim.configurations import ConfigurationLaws, commits, counting, elects
from coterie.sim.shadow import ShadowLog, Slot, membership_of, slot_of
from coterie.sim.statute import LAWS, MemberLaws
from coterie.sim.verdict import Figures, Violation

__all__ = ["LAWS", "Laws"]


class Laws:
    """The judge. Every method raises `Violation` where a law is broken."""

    def __init__(self, members: Iterable[MemberId], figures: Figures) -> None:
        self._members = {m: MemberLaws() for m in members}
        self._figures = figures
        self.configurations = ConfigurationLaws()
        self._applied = AppliedLaws()
        self.unjudged: set[MemberId] = set()
        """Members whose machines lie, as a test wants it: what they apply is not judged here."""
        self.leaders: dict[Epoch, tuple[MemberId, int]] = {}
        """Who led each epoch, and in which of its lives."""
        self._votes: dict[tuple[Epoch, MemberId], MemberId] = {}
        self._entries: dict[tuple[Index, Epoch], tuple[Slot, Epoch | None]] = {}
        self._chosen: dict[Index, Slot] = {}
        self._top: Index = 0

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
        laws.pending.clear()
        laws.role = Role.FOLLOWER

    def started(self, member: MemberId, boot: int, found: ShadowLog) -> None:
        """The member's process begins its life number `boot` with what was found on its disk."""
        laws = self._members[member]
        self._applied.started(member)
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
        self._note_durable(laws, 1)
        laws.boot, laws.epoch = boot, found.hard_state.epoch
        laws.commit = 0
        laws.role = Role.FOLLOWER
        laws.in_force = [found.membership]

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
                leads = role is Role.LEADER
                self.configurations.appended(member, laws.written, record, leads, commit)
                for entry in record.entries:
                    self._write(member, laws.written, entry.index, slot_of(entry), membership_of(entry))
            else:
                if isinstance(record, Truncate):
                    self._truncate(member, laws.written, record.first)
                elif isinstance(record, SaveHardState):
                    self._hard_state(member, laws, record)
                elif isinstance(record, Compact):
                    self._compact(member, laws.written, record, commit)
                else:
                    self._reset(member, laws, record)
                laws.written.apply(record)
            if laws.in_force[-1:] != [laws.written.membership]:
                laws.in_force.append(laws.written.membership)

    def _compact(self, member: MemberId, log: ShadowLog, record: Compact, commit: Index) -> None:
        index = record.base.index
        self._figures.compactions += 1
        if index > commit or log.epoch_at(index) != record.base.epoch:
            raise Violation(
                "log-forgets-applied",
                f"{member} forgets entries up to {index} of {record.base.epoch}; its log has {log.epoch_at(index)} "
                f"there, and {commit} is committed",
            )

    def _reset(self, member: MemberId, laws: MemberLaws, record: Reset) -> None:
        index, chosen = record.base.index, self._chosen.get(record.base.index)
        if chosen is None or chosen.epoch != record.base.epoch:
            raise Violation(
                "snapshot-chosen", f"{member} resets its log to {index} of {record.base.epoch}; chosen is {chosen}"
            )
        if index <= laws.commit:
            raise Violation(
                "snapshot-newer", f"{member} resets its log to {index}, though it had committed {laws.commit}"
            )

    def _write(self, member: MemberId, log: ShadowLog, index: Index, slot: Slot, membership: Membership | None) -> None:
        before = log.epoch_at(index - 1)
        known = self._entries.setdefault((index, slot.epoch), (slot, before))
        if known != (slot, before):
            raise Violation(
                "log-matching",
                f"{member} writes entry {index} of epoch {slot.epoch} as {slot.digest.hex()} after an entry of "
                f"epoch {before}; elsewhere it is {known[0].digest.hex()} after one of {known[1]}",
            )
        try:
            log.put(index, slot, membership)
        except ValueError as error:
            raise Violation("log-matching", f"{member}: {error}") from error

    def _truncate(self, member: MemberId, log: ShadowLog, first: Index) -> None:
        for index in range(first, min(log.last_index, self._top) + 1):
            if log.slot(index) == self._chosen.get(index):
                raise Violation("chosen-truncated", f"{member} drops committed entry {index} (truncates from {first})")

    def _hard_state(self, member: MemberId, laws: MemberLaws, record: SaveHardState) -> None:
        old, new = laws.written.hard_state, record.state
        if new.epoch < old.epoch:
            raise Violation("epoch-monotonic", f"{member} goes from {old.epoch} back to {new.epoch}")
        if new.epoch == old.epoch and old.vote not in (NOBODY, new.vote):
            raise Violation("one-vote", f"{member} voted for {old.vote} in {old.epoch} and now for {new.vote}")

    def stored(self, member: MemberId, mark: int) -> None:
        """The member's disk holds every batch up to `mark`."""
        laws = self._members[member]
        while laws.pending and laws.pending[0].mark <= mark:
            batch = laws.pending.pop(0)
            before = laws.durable.last_index + 1
            for record in batch.records:
                if isinstance(record, Truncate):
                    before = min(before, record.first)
                elif isinstance(record, Reset):
                    before = record.base.index + 1
                laws.durable.apply(record)
                self._note_durable(laws, before)

    def _note_durable(self, laws: MemberLaws, first: Index) -> None:
        state = laws.durable.hard_state
        laws.stored_votes.add((state.epoch, state.vote))
        for index in range(max(first, laws.durable.base + 1), laws.durable.last_index + 1):
            slot = laws.durable.slots[index - laws.durable.base - 1]
            laws.durable_reach[index] = max(slot.epoch, laws.durable_reach.get(index, NO_EPOCH))

    # -- messages ------------------------------------------------------------------------------

    def sent(self, member: MemberId, to: MemberId, message: Message, appended: Membership | None = None) -> None:
        """The member lets a message leave. `appended`: the newest membership in its log: messages leave before what is
        appended is handed to the disk, and commit by it, when a joint configuration is left."""
        laws = self._members[member]
        if laws.exiled:
            return
        if appended is not None and laws.in_force[-1:] != [appended]:
            laws.in_force.append(appended)
        match message:
            case Append():
                self._lead(member, laws, message.epoch)
                laws.role, laws.epoch = Role.LEADER, max(laws.epoch, message.epoch)
                self._commit(member, laws, max(laws.commit, message.commit))
            case AppendReply(accepted=True):
                self._acknowledge(member, laws, message)
            case InstallSnapshotReply(installed=True):
                self._acknowledge_snapshot(member, laws, message.index)
            case PreVote():
                self.configurations.check_candidate(member, laws.campaigns_by())
            case VoteReply(granted=True):
                if not laws.bound(message.epoch, to):
                    raise Violation(
                        "vote-durable",
                        f"{member} grants its vote of {message.epoch} to {to}; its disk has {laws.durable.hard_state}",
                    )
                self._vote(member, message.epoch, to)
            case RequestVote():
                self.configurations.check_candidate(member, laws.campaigns_by())
                if not laws.bound(message.epoch, member):
                    raise Violation(
                        "candidacy-durable",
                        f"{member} asks for votes in {message.epoch}; its disk has {laws.durable.hard_state}",
                    )
                self._vote(member, message.epoch, member)
            case _:
                pass

    def _vote(self, member: MemberId, epoch: Epoch, candidate: MemberId) -> None:
        earlier = self._votes.setdefault((epoch, member), candidate)
        if earlier != candidate:
            raise Violation("one-vote", f"{member} voted for {earlier} in {epoch} and now for {candidate}")

    def _lead(self, member: MemberId, laws: MemberLaws, epoch: Epoch) -> None:
        leader = self.leaders.get(epoch)
        if leader is None:
            self.leaders[epoch] = (member, laws.boot)
            self._figures.elections += 1
            if (epoch, member) not in laws.stored_votes:
                raise Violation(
                    "candidacy-durable", f"{member} leads {epoch}; its disk has only {laws.durable.hard_state}"
                )
            self._check_votes(member, laws, epoch)
            self._complete(member, laws, epoch)
        elif leader != (member, laws.boot):
            raise Violation(
                "one-leader",
                f"{member} (life {laws.boot}) leads {epoch}, which {leader[0]} (life {leader[1]}) led before",
            )

    def _check_votes(self, member: MemberId, laws: MemberLaws, epoch: Epoch) -> None:
        """A grant leaves before it is counted, so whoever voted is known."""
        voted = {voter for (when, voter), choice in self._votes.items() if when == epoch and choice == member}
        voted.add(member)
        if not any(elects(membership, voted) for membership in laws.in_force):
            raise Violation(
                "vote-quorum",
                f"{member} leads {epoch} with the votes of {sorted(voted)}; in force were "
                f"{[counting(m) for m in laws.in_force]}",
            )

    def _complete(self, member: MemberId, laws: MemberLaws, epoch: Epoch) -> None:
        """By log matching, holding the last committed entry means holding all before it."""
        if self._top > laws.written.base and laws.written.slot(self._top) != self._chosen[self._top]:
            raise Violation(
                "leader-completeness",
                f"{member} leads {epoch} without the committed entry {self._top} of "
                f"{self._chosen[self._top].epoch}: it has {laws.written.slot(self._top)}",
            )

    def _acknowledge(self, member: MemberId, laws: MemberLaws, message: AppendReply) -> None:
        """Its disk must once have held the leader's entry at that index. If the log was truncated since
        by a newer leader, what the leader's own entry was is no longer known here."""
        index = message.index
        if index <= laws.durable.base:
            return
        held = laws.durable_reach.get(index)
        written = laws.written.slot(index)
        wanted = written.epoch if written is not None and laws.written.hard_state.epoch == message.epoch else None
        if held is None or (wanted is not None and held < wanted):
            raise Violation(
                "ack-durable",
                f"{member} acknowledges {index} in {message.epoch}; its disk ends at {laws.durable.last_index} "
                f"and held {index} with epoch {held}, not {wanted}",
            )

    @staticmethod
    def _acknowledge_snapshot(member: MemberId, laws: MemberLaws, index: Index) -> None:
        """Its log begins there, or it had all of that already."""
        if index > laws.durable.base and index not in laws.durable_reach:
            raise Violation(
                "ack-durable",
                f"{member} acknowledges the snapshot at {index}; its disk has {laws.durable.base} to "
                f"{laws.durable.last_index}",
            )

    # -- state ---------------------------------------------------------------------------------

    def observe(self, member: MemberId, epoch: Epoch, commit: Index, role: Role) -> None:
        """What the member says of itself after a step."""
        laws = self._members[member]
        if laws.exiled:
            return
        if epoch < laws.epoch:
            raise Violation("epoch-monotonic", f"{member} goes from {laws.epoch} back to {epoch}")
        if role is Role.LEADER and (laws.role is not Role.LEADER or epoch != laws.epoch):
            self._lead(member, laws, epoch)
        laws.epoch, laws.role = epoch, role
        if commit != laws.commit:
            self._commit(member, laws, commit)
        laws.in_force = [laws.written.membership]
        applied = self._applied.index_of(member)
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
            if self._chosen.setdefault(index, slot) != slot:
                raise Violation(
                    "chosen-stays",
                    f"{member} commits entry {index} of {slot.epoch} in {laws.epoch}; that of "
                    f"{self._chosen[index].epoch} was committed before",
                )
        if commit > self._top:
            if commit > log.base:
                self._check_quorum(member, laws, commit, log.slots[commit - log.base - 1])
            self._top = self._figures.entries = commit
            self._check_leaders(laws)
        laws.commit = commit
        for index, membership in log.memberships:
            if index <= commit:
                self.configurations.committed(index, membership)

    def _check_quorum(self, member: MemberId, committer: MemberLaws, index: Index, slot: Slot) -> None:
        if committer.role is Role.LEADER and committer.durable.slot(index) != slot:
            self._figures.early_commits += 1
        holders = [m for m, laws in self._members.items() if laws.durable.covers(index, slot)]
        if not any(commits(membership, holders) for membership in committer.in_force):
            raise Violation(
                "commit-quorum",
                f"{member} commits {index} of {slot.epoch}; it is on the disks of {holders} only; in force were "
                f"{[counting(m) for m in committer.in_force]}",
            )

    def _check_leaders(self, committer: MemberLaws) -> None:
        """A leader of a later epoch may have been elected before this entry was seen to be committed."""
        for member, laws in self._members.items():
            if laws.role is Role.LEADER and laws.epoch > committer.epoch and committer.role is Role.LEADER:
                self._complete(member, laws, laws.epoch)

    # -- the machine ---------------------------------------------------------------------------

    def resumed(self, member: MemberId, index: Index, digest: bytes) -> None:
        """See `AppliedLaws.resumed`."""
        if member not in self.unjudged:
            self._applied.resumed(member, index, digest)

    def state(self, member: MemberId, index: Index, digest: bytes) -> None:
        """See `AppliedLaws.state`."""
        if member not in self.unjudged:
            self._applied.state(member, index, digest)

    def applied(self, member: MemberId, batch: Batch, replies: list[bytes | Rejected]) -> None:
        """See `AppliedLaws.applied`."""
        self._applied.applied(member, batch, replies)

    def removed(self, member: MemberId, teller: MemberId) -> None:
        """`teller` treats `member` as removed."""
        if not self._members[teller].exiled:
            self.configurations.check_removed(member, teller)
