"""The laws of Raft: one vote an epoch, logs that match, a leader that has all that was committed."""

from __future__ import annotations

from collections.abc import Iterable

from coterie.core.messages import Append, AppendReply, InstallSnapshotReply, Message, PreVote, RequestVote, VoteReply
from coterie.core.records import Put, Record, SaveHardState
from coterie.core.types import (
    NO_EPOCH,
    NOBODY,
    Entry,
    Epoch,
    HardState,
    Index,
    MemberId,
    Membership,
    Role,
    SnapshotMeta,
)
from coterie.sim.configurations import commits, counting, elects
from coterie.sim.laws import Laws
from coterie.sim.shadow import ShadowLog, Slot
from coterie.sim.statute import MemberLaws
from coterie.sim.verdict import Figures, Violation


class RaftLaws(Laws):
    """The judge of a cluster that runs Raft."""

    electors_meet = True
    tells_candidates = False

    def __init__(self, members: Iterable[MemberId], figures: Figures) -> None:
        super().__init__(members, figures)
        self._votes: dict[tuple[Epoch, MemberId], MemberId] = {}
        self._stored_votes: set[tuple[MemberId, Epoch, MemberId]] = set()
        """Each voter's votes that were ever on its disk."""
        self._reach: dict[tuple[MemberId, Index], Epoch] = {}
        """The highest epoch with which each index was ever durable at each member."""
        self._entries: dict[tuple[Index, Epoch], tuple[Slot, Epoch | None]] = {}

    # -- the disk ------------------------------------------------------------------------------

    def _found(self, member: MemberId, laws: MemberLaws) -> None:
        log = laws.durable
        self._stored_votes.add((member, log.hard_state.epoch, log.hard_state.vote))
        for index, slot in enumerate(log.slots, log.base + 1):
            self._reaches(member, index, slot.epoch)

    def holds_as(self, member: MemberId, log: ShadowLog) -> Index:
        """By log matching: the last position at which the two have the same epoch."""
        own = self._members[member].written
        last = min(own.last_index, log.last_index)
        while last > max(own.base, log.base) and own.epoch_at(last) != log.epoch_at(last):
            last -= 1
        return last

    def _forgot(self, member: MemberId) -> None:
        for key in [key for key in self._reach if key[0] == member]:
            del self._reach[key]

    def _reaches(self, member: MemberId, index: Index, epoch: Epoch) -> None:
        self._reach[member, index] = max(epoch, self._reach.get((member, index), NO_EPOCH))

    def _begins(self, laws: MemberLaws, entry: Entry, slot: Slot) -> bool:
        return entry.epoch == laws.written.hard_state.epoch

    def _write(self, member: MemberId, laws: MemberLaws, index: Index, slot: Slot, changed: Membership | None) -> None:
        log = laws.written
        before = log.epoch_at(index - 1)
        known = self._entries.setdefault((index, slot.epoch), (slot, before))
        if known != (slot, before):
            raise Violation(
                "log-matching",
                f"{member} writes entry {index} of epoch {slot.epoch} as {slot.digest.hex()} after an entry of "
                f"epoch {before}; elsewhere it is {known[0].digest.hex()} after one of {known[1]}",
            )
        if NO_EPOCH < log.hard_state.epoch < slot.epoch:
            raise Violation(
                "epoch-first", f"{member} writes entry {index} of {slot.epoch}, and is itself in {log.hard_state.epoch}"
            )
        if index != log.last_index + 1:
            raise Violation("log-matching", f"{member}: entry {index} does not follow {log.last_index}")
        log.put(index, slot, changed)

    def _truncate(self, member: MemberId, laws: MemberLaws, first: Index) -> None:
        log = laws.written
        for index in range(first, min(log.last_index, self._top) + 1):
            if log.slot(index) == self._chosen.get(index):
                raise Violation("chosen-truncated", f"{member} drops committed entry {index} (truncates from {first})")

    def _hard_state(self, member: MemberId, laws: MemberLaws, state: HardState) -> None:
        old = laws.written.hard_state
        if state.epoch == old.epoch and old.vote not in (NOBODY, state.vote):
            raise Violation("one-vote", f"{member} voted for {old.vote} in {old.epoch} and now for {state.vote}")

    def _compact(self, member: MemberId, laws: MemberLaws, base: SnapshotMeta, commit: Index) -> None:
        held = laws.written.epoch_at(base.index)
        if base.index > commit or held != base.epoch:
            raise Violation(
                "log-forgets-applied",
                f"{member} forgets entries up to {base.index} of {base.epoch}; its log has {held} there, and {commit} "
                "is committed",
            )

    def _reset(self, member: MemberId, laws: MemberLaws, base: SnapshotMeta) -> None:
        chosen = self._chosen.get(base.index)
        if chosen is None or chosen.epoch != base.epoch:
            raise Violation(
                "snapshot-chosen", f"{member} resets its log to {base.index} of {base.epoch}; chosen is {chosen}"
            )

    def _kept(self, member: MemberId, laws: MemberLaws, record: Record) -> None:
        if isinstance(record, SaveHardState):
            self._stored_votes.add((member, record.state.epoch, record.state.vote))
        elif isinstance(record, Put):
            for entry in record.entries:
                self._reaches(member, entry.index, entry.epoch)

    # -- messages ------------------------------------------------------------------------------

    def _said(self, member: MemberId, laws: MemberLaws, to: MemberId, message: Message) -> None:
        match message:
            case Append():
                self._lead(member, laws, message.epoch)
                laws.role, laws.epoch = Role.LEADER, max(laws.epoch, message.epoch)
                self._commit(member, laws, max(laws.commit, message.commit))
            case AppendReply(accepted=True):
                self._acknowledge(member, laws, message)
            case InstallSnapshotReply(installed=True):
                self._acknowledge_snapshot(member, laws.durable, message.index)
            case PreVote():
                self.configurations.check_candidate(member, laws.campaigns_by())
            case VoteReply(granted=True):
                if not self._bound(member, laws, message.epoch, to):
                    raise Violation(
                        "vote-durable",
                        f"{member} grants its vote of {message.epoch} to {to}; its disk has {laws.durable.hard_state}",
                    )
                self._vote(member, message.epoch, to)
            case RequestVote():
                self.configurations.check_candidate(member, laws.campaigns_by())
                if not self._bound(member, laws, message.epoch, member):
                    raise Violation(
                        "candidacy-durable",
                        f"{member} asks for votes in {message.epoch}; its disk has {laws.durable.hard_state}",
                    )
                self._vote(member, message.epoch, member)
            case _:
                pass

    def _bound(self, member: MemberId, laws: MemberLaws, epoch: Epoch, candidate: MemberId) -> bool:
        """Whether the disk keeps this member from voting otherwise in the epoch: by the vote, or by a later
        epoch (two hard states of one batch may be written as the last alone)."""
        return (member, epoch, candidate) in self._stored_votes or laws.durable.hard_state.epoch > epoch

    def _vote(self, member: MemberId, epoch: Epoch, candidate: MemberId) -> None:
        earlier = self._votes.setdefault((epoch, member), candidate)
        if earlier != candidate:
            raise Violation("one-vote", f"{member} voted for {earlier} in {epoch} and now for {candidate}")

    def _acknowledge(self, member: MemberId, laws: MemberLaws, message: AppendReply) -> None:
        """Its disk must once have held the leader's entry at that index. If the log was truncated since
        by a newer leader, what the leader's own entry was is no longer known here."""
        index = message.index
        if index <= laws.durable.base:
            return
        held = self._reach.get((member, index))
        written = laws.written.slot(index)
        wanted = written.epoch if written is not None and laws.written.hard_state.epoch == message.epoch else None
        if held is None or (wanted is not None and held < wanted):
            raise Violation(
                "ack-durable",
                f"{member} acknowledges {index} in {message.epoch}; its disk ends at {laws.durable.last_index} "
                f"and held {index} with epoch {held}, not {wanted}",
            )

    def _acknowledge_snapshot(self, member: MemberId, durable: ShadowLog, index: Index) -> None:
        """Its log begins there, or it had all of that already."""
        if index > durable.base and (member, index) not in self._reach:
            raise Violation(
                "ack-durable",
                f"{member} acknowledges the snapshot at {index}; its disk has {durable.base} to {durable.last_index}",
            )

    # -- leaders -------------------------------------------------------------------------------

    def _elected(self, member: MemberId, laws: MemberLaws, epoch: Epoch) -> None:
        if (member, epoch, member) not in self._stored_votes:
            raise Violation("candidacy-durable", f"{member} leads {epoch}; its disk has only {laws.durable.hard_state}")
        self._check_votes(member, laws, epoch)
        self._complete(member, laws, epoch, self._top)

    def _took_over(self, member: MemberId, laws: MemberLaws, epoch: Epoch) -> None:
        """Nothing: a leader's log is what it was when it asked for votes."""

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

    def _complete(self, member: MemberId, laws: MemberLaws, epoch: Epoch, first: Index) -> None:
        """By log matching, holding the last committed entry means holding all before it."""
        if self._top > laws.written.base and laws.written.slot(self._top) != self._chosen[self._top]:
            raise Violation(
                "leader-completeness",
                f"{member} leads {epoch} without the committed entry {self._top} of "
                f"{self._chosen[self._top].epoch}: it has {laws.written.slot(self._top)}",
            )

    # -- commit --------------------------------------------------------------------------------

    def _same(self, one: Slot, other: Slot) -> bool:
        return one == other

    def _check_quorum(self, member: MemberId, committer: MemberLaws, first: Index, commit: Index) -> None:
        """By log matching, who holds the last of them holds all."""
        slot = self._chosen[commit]
        if committer.role is Role.LEADER and slot.epoch != committer.epoch:
            raise Violation(
                "commit-own-epoch",
                f"{member}, which leads {committer.epoch}, commits {commit} of {slot.epoch} by counting its copies",
            )
        if committer.role is Role.LEADER and committer.durable.slot(commit) != slot:
            self._figures.early_commits += 1
        holders = [
            m
            for m, laws in self._members.items()
            if any(log.covers(commit, slot) for log in (laws.durable, *laws.forgot))
        ]
        if not any(commits(membership, holders) for membership in committer.in_force):
            raise Violation(
                "commit-quorum",
                f"{member} commits {commit} of {slot.epoch}; it is on the disks of {holders} only; in force were "
                f"{[counting(m) for m in committer.in_force]}",
            )
