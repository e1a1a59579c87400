"""A member behind the `Replica` interface, the same in both protocols: passes each input to its mechanism, gathers the
effects. What a message of the protocol's own means is the protocol's (`raft/replica.py`, `multipaxos/replica.py`)."""

from __future__ import annotations

from abc import abstractmethod

from coterie.core.following.announcement import Announcement
from coterie.core.following.election import Election
from coterie.core.following.loans import Loans
from coterie.core.following.relay import Relay
from coterie.core.following.snapshot_receiver import SnapshotReceiver
from coterie.core.following.stream import Stream
from coterie.core.leading.changes import Changes
from coterie.core.leading.compaction import compaction_index
from coterie.core.leading.leadership import Leadership
from coterie.core.leading.transfer import Transfers
from coterie.core.messages import (
    Accept,
    Accepted,
    Append,
    AppendReply,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
    ReadIndex,
    ReadIndexReply,
    TimeoutNow,
)
from coterie.core.repair import is_deaf_to
from coterie.core.replica import (
    Effects,
    Lost,
    ReadReady,
    Refusal,
    Refused,
    SnapshotReader,
)
from coterie.core.settings import Settings
from coterie.core.snapshot_transfer import Snapshot
from coterie.core.state import State
from coterie.core.types import (
    NO_EPOCH,
    NOBODY,
    Mark,
    MemberId,
    MembershipChange,
    Nanos,
    Role,
    SnapshotMeta,
    Token,
)
from coterie.core.view import MemberView
from coterie.core.whims import Whim

_ACKNOWLEDGEMENTS = (AppendReply, Accepted)


class Participant(MemberView):
    """One member, of whichever protocol. See `core.replica` for the contract."""

    def __init__(
        self, state: State, election: Election, stream: Stream, snapshots: SnapshotReader | None, loans: Loans | None
    ) -> None:
        self._state = state
        self._election = election
        self._stream = stream
        self._receiver = SnapshotReceiver(state)
        self._snapshots = snapshots
        self._loans = loans
        self._leadership: Leadership | None = None
        self._changes = Changes(state)
        self._transfers = Transfers(state)
        self._relay = Relay(state)
        self._announcement = Announcement(state)
        self._settled = False

    # -- each protocol's own -----------------------------------------------------------------

    @abstractmethod
    def _receive(self, now: Nanos, sender: MemberId, message: Message) -> bool:
        """A message that only this protocol has. Returns whether it was one."""

    @abstractmethod
    def _stale(self, now: Nanos, sender: MemberId, m: Append | Accept) -> None:
        """A leader of an older epoch sends entries: tell it (Raft 5.1; catalogue L18)."""

    @abstractmethod
    def _new_leadership(self, now: Nanos) -> Leadership:
        """The election is won: what a leader of the present epoch begins with."""

    # -- inputs ------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """See `Replica.settled`."""
        return self._settled

    def receive(self, now: Nanos, sender: MemberId, message: Message) -> None:
        """See `Replica.receive`."""
        if isinstance(message, _ACKNOWLEDGEMENTS):
            # By far the most frequent: many only repeat what a quorum has said already.
            if self._on_acknowledgement(now, sender, message):
                self._settled = False
                self._drop_lost_leadership()
            return
        self._settled = False
        if is_deaf_to(self._state.repair, message):
            return
        if not self._receive(now, sender, message):
            self._receive_shared(now, sender, message)
        self._drop_lost_leadership()

    def _receive_shared(self, now: Nanos, sender: MemberId, message: Message) -> None:
        if isinstance(message, ReadIndex):
            if self._leadership is None or not self._leadership.reads.add(sender, message.token):
                self._state.outbox.post(sender, ReadIndexReply(self._state.epoch, message.token, 0))
        elif isinstance(message, ReadIndexReply):
            self._relay.answered(message)
        elif isinstance(message, TimeoutNow):
            self._election.handle_timeout_now(now, sender, message)
        elif isinstance(message, InstallSnapshot):
            self._on_install_snapshot(now, sender, message)
        elif isinstance(message, InstallSnapshotReply):
            self._on_install_snapshot_reply(now, sender, message)

    def wake(self, now: Nanos) -> None:
        """See `Replica.wake`."""
        self._settled = False
        leadership = self._leadership
        if leadership is None:
            if self._election.wake(now):
                self._lead(now)
            self._relay.repeat(now)
            return
        resignation = leadership.resignation(now)
        if resignation is not None:
            leadership.call_successor(now)
            self._election.step_down(now, self._state.epoch, f"gave up leadership: {resignation}")
            self._drop_lost_leadership()

    def propose(self, now: Nanos, token: Token, payload: bytes, *, prompt: bool = False) -> None:
        """See `Replica.propose`."""
        self._settled = False
        if self._leadership is None:
            self._state.refuse(token)
        else:
            self._leadership.propose(now, token, payload, prompt)

    def read(self, now: Nanos, token: Token) -> None:
        """See `Replica.read`."""
        self._settled = False
        state = self._state
        if self._leadership is not None:
            if not self._leadership.reads.add(NOBODY, token):
                state.outbox.outcomes.append(Refused(token, Refusal.OVERLOADED, state.own))
        elif state.leader == NOBODY:
            state.refuse(token)
        else:
            self._relay.ask(now, token)

    def stored(self, now: Nanos, mark: Mark) -> None:
        """See `Replica.stored`."""
        state = self._state
        state.no_space = False
        state.outbox.stored(mark)
        state.log.stored(mark)
        if self._leadership is not None:
            commit = state.commit
            self._leadership.stored(now)
            self._settled = self._settled and state.commit == commit
            return
        if self._receiver.installing:
            self._settled = False
        if self._election.stored(mark):
            self._settled = False
            self._lead(now)

    def store_failed(self, now: Nanos, mark: Mark) -> None:
        """See `Replica.store_failed`."""
        self._settled = False
        self._state.no_space = True

    def connection_closed(self, now: Nanos, peer: MemberId, refused: bool) -> None:
        """See `Replica.connection_closed`."""
        self._settled = False
        if self._leadership is not None:
            self._leadership.connection_closed(peer)
        elif refused and peer == self._state.leader and self._state.is_voter:
            self._election.leader_gone(now)

    # -- messages that depend on the epoch ---------------------------------------------------

    def _on_install_snapshot(self, now: Nanos, sender: MemberId, m: InstallSnapshot) -> None:
        lent = m.epoch == NO_EPOCH
        if self._loans is not None and self._loans.takes_from(sender) if lent else self._from_leader(now, sender, m):
            self._receiver.handle_chunk(now, sender, m)

    def _from_leader(self, now: Nanos, sender: MemberId, m: Append | Accept | InstallSnapshot) -> bool:
        """What only a leader says: follow it, if its epoch is no older than ours."""
        state = self._state
        if m.epoch < state.epoch:
            if isinstance(m, InstallSnapshot):
                state.outbox.post(sender, SnapshotReceiver.stale_reply(state.epoch, now, m))
            else:
                self._stale(now, sender, m)
            return False
        if m.epoch == state.epoch and (state.role is Role.LEADER or state.leader not in (NOBODY, sender)):
            state.outbox.raise_alarm(
                "Election Safety (Raft 5.2)",
                f"{state.name(sender)} sends entries as leader of epoch {m.epoch}, but "
                f"{state.name(state.leader)} leads it",
            )
            return False
        if m.epoch > state.epoch:
            self._election.step_down(now, m.epoch, f"{state.name(sender)} leads a newer epoch")
            self._drop_lost_leadership()
        if state.role is not Role.FOLLOWER or state.leader != sender:
            self._election.follow(now, sender, f"{state.name(sender)} won the election")
        self._election.heard_leader(now)
        return True

    def _on_acknowledgement(self, now: Nanos, sender: MemberId, m: AppendReply | Accepted) -> bool:
        """Returns whether there is something to do now."""
        state = self._state
        if m.epoch > state.epoch:
            self._election.newer_epoch_seen(now, sender, m.epoch)
            return True
        if m.epoch == state.epoch and self._leadership is not None:
            return self._leadership.handle_reply(now, sender, m)
        return False

    def _on_install_snapshot_reply(self, now: Nanos, sender: MemberId, m: InstallSnapshotReply) -> None:
        state = self._state
        if m.epoch == NO_EPOCH:
            if self._loans is not None:
                self._loans.answered(now, sender, m)
        elif m.epoch > state.epoch:
            self._election.newer_epoch_seen(now, sender, m.epoch)
        elif m.epoch == state.epoch and self._leadership is not None:
            self._leadership.handle_install_reply(now, sender, m)

    # -- changes of role ---------------------------------------------------------------------

    def _asked(self, token: Token) -> Leadership | None:
        """What only a leader can do was asked of this member: refused if it leads not."""
        self._settled = False
        if self._leadership is None:
            self._state.refuse(token)
        return self._leadership

    def _lead(self, now: Nanos) -> None:
        """The election is won: lead in the present epoch."""
        state = self._state
        state.role = Role.LEADER
        state.leader = state.own
        state.reason = f"won the election: {state.reason}"
        self._leadership = self._new_leadership(now)

    def _drop_lost_leadership(self) -> None:
        """After a step-down, let go what only a leader holds: reads get no answer from here."""
        if self._leadership is None or self._state.role is Role.LEADER:
            return
        state = self._state
        for member, token in self._leadership.reads.abandon():
            if member == NOBODY:
                state.outbox.outcomes.append(Lost(token, state.leader))
            else:
                state.outbox.post(member, ReadIndexReply(state.epoch, token, 0))
        self._leadership = None

    # -- operators, snapshots ----------------------------------------------------------------

    def change_membership(self, now: Nanos, token: Token, change: MembershipChange) -> None:
        """See `Replica.change_membership`."""
        leadership = self._asked(token)
        if leadership is not None:
            self._changes.membership(now, token, change, leadership)

    def change_settings(self, now: Nanos, token: Token, settings: Settings) -> None:
        """See `Replica.change_settings`."""
        leadership = self._asked(token)
        if leadership is not None:
            self._changes.settings(now, token, settings, leadership)

    def transfer_leadership(self, now: Nanos, token: Token, to: MemberId) -> None:
        """See `Replica.transfer_leadership`."""
        leadership = self._asked(token)
        if leadership is not None:
            self._transfers.request(now, token, to, leadership)

    def snapshot_taken(self, now: Nanos, meta: SnapshotMeta, size: int) -> None:
        """See `Replica.snapshot_taken`."""
        self._settled = False
        state = self._state
        if not self._receiver.taken(Snapshot(meta, size)):
            return
        needs, sending = self._leadership.snapshot_taken(now, size) if self._leadership is not None else ((), ())
        forgotten = compaction_index(state.log, state.settings, meta.index, needs, sending)
        if state.config.whims.takes(Whim.KEPT_NOTHING):
            forgotten = meta.index
        index = min(state.handed_out, forgotten)
        if index > state.log.base_index:
            state.compact(index)

    def snapshot_kept(self, now: Nanos, meta: SnapshotMeta, offset: int) -> None:
        """See `Replica.snapshot_kept`."""
        self._settled = False
        self._receiver.kept(now, meta, offset)

    def snapshot_received(self, now: Nanos, meta: SnapshotMeta) -> None:
        """See `Replica.snapshot_received`."""
        self._settled = False
        self._receiver.received(now, meta)

    def snapshot_failed(self, now: Nanos, meta: SnapshotMeta, reason: str) -> None:
        """See `Replica.snapshot_failed`."""
        self._settled = False
        self._receiver.failed(now, meta)

    # -- drain -------------------------------------------------------------------------------

    def drain(self, now: Nanos) -> Effects:
        """See `Replica.drain`."""
        state, outbox = self._state, self._state.outbox
        leadership = self._leadership
        self._settled = True
        if outbox.alarm is not None:
            return Effects(deadline=now, alarm=outbox.alarm)
        if leadership is not None:
            reads = leadership.reads
            if reads.asked or reads.waiting:
                self._answer_reads(now, leadership)  # first: the round of those that came meanwhile may begin now
            leadership.send_all(now)
            if reads.asked or reads.waiting:
                self._answer_reads(now, leadership)  # a single voter's round is over at once
            if leadership.handing_over:
                self._transfers.advance(now, leadership)
        if self._transfers.current is not None:
            self._transfers.settle(now, leadership)
        if self._loans is not None:
            self._loans.send(now)
        if self._stream.ack is not None:
            self._stream.release()
        if self._relay.reads.pending:
            self._relay.settle()
        store = outbox.close_batch(now)
        if store is not None:
            state.log.batch_closed(store.mark)
        install = None
        installing = self._receiver.installing
        if installing:
            install = self._receiver.to_install()
            installing = self._receiver.installing
        effects = Effects(
            deadline=self._deadline(now),
            store=store,
            send=outbox.send,
            send_after=outbox.send_after,
            committed=() if installing else state.next_committed(),
            more=state.handed_out < state.commit and not installing,
            reads=outbox.reads,
            outcomes=outbox.outcomes,
            role=self._announcement.change(),
            install=install,
        )
        if self._receiver.chunks:
            effects.chunks, self._receiver.chunks = self._receiver.chunks, []
        if leadership is not None and leadership.snapshots.wanted:
            effects.snapshot_wanted, leadership.snapshots.wanted = True, False
        elif self._loans is not None:
            effects.snapshot_wanted = self._loans.take_wanted()
        outbox.send, outbox.send_after, outbox.reads, outbox.outcomes = [], [], [], []
        return effects

    def _answer_reads(self, now: Nanos, leadership: Leadership) -> None:
        state = self._state
        for member, token, index in leadership.answered_reads(now):
            if member == NOBODY:
                state.outbox.reads.append(ReadReady(token, index))
            else:
                state.outbox.post(member, ReadIndexReply(state.epoch, token, index))

    def _deadline(self, now: Nanos) -> Nanos:
        if self._leadership is not None:
            deadline = self._leadership.deadline(now)
        else:
            deadline = min(self._election.deadline, self._relay.deadline())
            lending = self._loans.deadline(now) if self._loans is not None else None
            deadline = deadline if lending is None else min(deadline, lending)
        transfer = self._transfers.current
        if transfer is not None:
            deadline = min(deadline, self._transfers.deadline(transfer, self._leadership is not None))
        return deadline
