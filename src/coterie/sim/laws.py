"""The laws of consensus, checked after every step of the simulated world.

What is checked is what members *did*: the records that they stored, the messages that they sent,
what reached their disks, what they applied. Each law has a name, which a violation carries.
Everything here is incremental: a step costs as much as it changes.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from coterie.core.messages import Append, AppendReply, Message, RequestVote, VoteReply
from coterie.core.records import Put, SaveHardState, StoreBatch, Truncate
from coterie.core.types import NO_EPOCH, NOBODY, Epoch, Index, MemberId, Role
from coterie.machine.interface import Batch, Rejected
from coterie.sim.shadow import ShadowLog, Slot, slot_of
from coterie.sim.verdict import Figures, Violation

LAWS: Final = {
    "one-leader": "at most one member leads an epoch, once (Raft, Election Safety)",
    "one-vote": "a member votes for one candidate an epoch, restarts included (5.2)",
    "log-matching": "entries of one index and epoch are equal, and so are their predecessors (5.3)",
    "leader-completeness": "who leads an epoch holds all that was committed in earlier ones (5.4)",
    "chosen-stays": "no two members ever commit different entries at one index (State Machine Safety)",
    "chosen-truncated": "no member drops an entry that it holds and that was committed",
    "commit-quorum": "an entry is committed only when it is on the disks of a quorum",
    "commit-in-log": "a member commits only what its log holds",
    "commit-monotonic": "a member's commit index never goes back",
    "epoch-monotonic": "a member's epoch never goes back, restarts included",
    "vote-durable": "a vote leaves only when it is on disk (5.2)",
    "candidacy-durable": "a candidate asks for votes only when its own epoch is on disk (5.2)",
    "ack-durable": "an acknowledgement leaves only when the entries are on disk (5.3)",
    "log-kept": "what a disk was said to hold is there after a restart",
    "torn-start": "a member starts on what a crash leaves of a sound disk",
    "log-invented": "what is there after a restart was once given to the disk, in this order",
    "same-applied": "replicas apply the same commands and get the same replies at the same index",
    "applied-once": "a command takes effect at most once",
    "applied-committed": "a member applies only what is committed",
}


class MemberLaws:
    """What the laws know of one member."""

    def __init__(self) -> None:
        self.written = ShadowLog()
        """All that it was told to store, durable or not."""
        self.durable = ShadowLog()
        """What its disk holds for certain."""
        self.pending: list[StoreBatch] = []
        """Batches in `written` and not in `durable`."""
        self.stored_votes: set[tuple[Epoch, MemberId]] = set()
        self.durable_reach: dict[Index, Epoch] = {}
        """The highest epoch with which each index was ever durable here."""
        self.boot = 0
        self.epoch = NO_EPOCH
        self.commit: Index = 0
        self.role = Role.FOLLOWER
        self.applied: Index = 0
        self.chain = b""


class Laws:
    """The judge. Every method raises `Violation` where a law is broken."""

    def __init__(self, members: tuple[MemberId, ...], figures: Figures) -> None:
        self._members = {m: MemberLaws() for m in members}
        self._quorum = len(members) // 2 + 1
        self._figures = figures
        self.leaders: dict[Epoch, tuple[MemberId, int]] = {}
        """Who led each epoch, and in which of its lives."""
        self._votes: dict[tuple[Epoch, MemberId], MemberId] = {}
        self._entries: dict[tuple[Index, Epoch], tuple[Slot, Epoch | None]] = {}
        self._chosen: dict[Index, Slot] = {}
        self._top: Index = 0
        self._chains: dict[tuple[Index, int], bytes] = {}
        self._bodies: dict[bytes, tuple[Index, int]] = {}

    @property
    def chosen(self) -> Index:
        """The highest index known to be committed."""
        return self._top

    def log_of(self, member: MemberId) -> ShadowLog:
        """What the member was told to store."""
        return self._members[member].written

    # -- lives ---------------------------------------------------------------------------------

    def started(self, member: MemberId, boot: int, found: ShadowLog) -> None:
        """The member's process begins its life number `boot` with what was found on its disk."""
        laws = self._members[member]
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
        laws.commit = laws.applied = 0
        laws.role = Role.FOLLOWER
        laws.chain = b""

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

    def store(self, member: MemberId, batch: StoreBatch) -> None:
        """The member hands a batch to its disk."""
        laws = self._members[member]
        laws.pending.append(batch)
        for record in batch.records:
            if isinstance(record, Put):
                for entry in record.entries:
                    self._write(member, laws.written, entry.index, slot_of(entry))
            else:
                if isinstance(record, Truncate):
                    self._truncate(member, laws.written, record.first)
                elif isinstance(record, SaveHardState):
                    self._hard_state(member, laws, record)
                laws.written.apply(record)

    def _write(self, member: MemberId, log: ShadowLog, index: Index, slot: Slot) -> None:
        before = log.epoch_at(index - 1)
        known = self._entries.setdefault((index, slot.epoch), (slot, before))
        if known != (slot, before):
            raise Violation(
                "log-matching",
                f"{member} writes entry {index} of epoch {slot.epoch} as {slot.digest.hex()} after an entry of "
                f"epoch {before}; elsewhere it is {known[0].digest.hex()} after one of {known[1]}",
            )
        try:
            log.put(index, slot)
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
                laws.durable.apply(record)
                self._note_durable(laws, before)

    def _note_durable(self, laws: MemberLaws, first: Index) -> None:
        state = laws.durable.hard_state
        laws.stored_votes.add((state.epoch, state.vote))
        for index in range(max(first, laws.durable.base + 1), laws.durable.last_index + 1):
            slot = laws.durable.slots[index - laws.durable.base - 1]
            laws.durable_reach[index] = max(slot.epoch, laws.durable_reach.get(index, NO_EPOCH))

    # -- messages ------------------------------------------------------------------------------

    def sent(self, member: MemberId, to: MemberId, message: Message) -> None:
        """The member lets a message leave."""
        laws = self._members[member]
        match message:
            case Append():
                self._lead(member, laws, message.epoch)
            case AppendReply(accepted=True):
                self._acknowledge(member, laws, message)
            case VoteReply(granted=True):
                if not self._bound(laws, message.epoch, to):
                    raise Violation(
                        "vote-durable",
                        f"{member} grants its vote of {message.epoch} to {to}; its disk has {laws.durable.hard_state}",
                    )
                self._vote(member, message.epoch, to)
            case RequestVote():
                if not self._bound(laws, message.epoch, member):
                    raise Violation(
                        "candidacy-durable",
                        f"{member} asks for votes in {message.epoch}; its disk has {laws.durable.hard_state}",
                    )
                self._vote(member, message.epoch, member)
            case _:
                pass

    @staticmethod
    def _bound(laws: MemberLaws, epoch: Epoch, candidate: MemberId) -> bool:
        """Whether the disk keeps this member from voting otherwise in the epoch: by the vote, or by a later
        epoch (two hard states of one batch may be written as the last alone)."""
        return (epoch, candidate) in laws.stored_votes or laws.durable.hard_state.epoch > epoch

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
            self._complete(member, laws, epoch)
        elif leader != (member, laws.boot):
            raise Violation(
                "one-leader",
                f"{member} (life {laws.boot}) leads {epoch}, which {leader[0]} (life {leader[1]}) led before",
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

    # -- state ---------------------------------------------------------------------------------

    def observe(self, member: MemberId, epoch: Epoch, commit: Index, role: Role) -> None:
        """What the member says of itself after a step."""
        laws = self._members[member]
        if epoch < laws.epoch:
            raise Violation("epoch-monotonic", f"{member} goes from {laws.epoch} back to {epoch}")
        if role is Role.LEADER and (laws.role is not Role.LEADER or epoch != laws.epoch):
            self._lead(member, laws, epoch)
        laws.epoch, laws.role = epoch, role
        if commit != laws.commit:
            self._commit(member, laws, commit)
        if laws.applied > commit:
            raise Violation("applied-committed", f"{member} applied {laws.applied}, its commit index is {commit}")

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
        if commit > log.base:
            self._check_quorum(member, commit, log.slots[commit - log.base - 1])
        if commit > self._top:
            self._top = self._figures.entries = commit
            self._check_leaders(laws)
        laws.commit = commit

    def _check_quorum(self, member: MemberId, index: Index, slot: Slot) -> None:
        if self._members[member].role is Role.LEADER and self._members[member].durable.slot(index) != slot:
            self._figures.early_commits += 1
        holders = [m for m, laws in self._members.items() if laws.durable.slot(index) == slot]
        if len(holders) < self._quorum:
            raise Violation(
                "commit-quorum",
                f"{member} commits {index} of {slot.epoch}; it is on the disks of {holders} only, "
                f"{self._quorum} make a quorum",
            )

    def _check_leaders(self, committer: MemberLaws) -> None:
        """A leader of a later epoch may have been elected before this entry was seen to be committed."""
        for member, laws in self._members.items():
            if laws.role is Role.LEADER and laws.epoch > committer.epoch and committer.role is Role.LEADER:
                self._complete(member, laws, laws.epoch)

    # -- the machine ---------------------------------------------------------------------------

    def applied(self, member: MemberId, batch: Batch, replies: list[bytes | Rejected]) -> None:
        """The member's machine applied a batch and replied."""
        laws = self._members[member]
        if batch.index < laws.applied:
            raise Violation("same-applied", f"{member} applies {batch.index} after {laws.applied}")
        laws.applied = batch.index
        digest = blake2b(laws.chain, digest_size=16)
        digest.update(b"%d %d" % (batch.index, batch.time))
        for ordinal, body, reply in zip(batch.ordinals, batch.commands, replies, strict=True):
            digest.update(b"%d %d " % (ordinal, len(body)))
            digest.update(body)
            digest.update(reply.reason.encode() if isinstance(reply, Rejected) else reply)
            first = self._bodies.setdefault(body, (batch.index, ordinal))
            if first != (batch.index, ordinal):
                raise Violation(
                    "applied-once",
                    f"{member} applies at {(batch.index, ordinal)} what was applied at {first}: {body!r}",
                )
        laws.chain = digest.digest()
        if self._chains.setdefault((batch.index, batch.ordinals[0]), laws.chain) != laws.chain:
            raise Violation("same-applied", f"{member} differs from another replica after applying {batch.index}")
