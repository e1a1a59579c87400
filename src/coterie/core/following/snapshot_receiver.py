"""The follower's side of snapshots, and what a durable snapshot means for the log (Raft 7)."""

from __future__ import annotations

import msgspec

from coterie.core.messages import InstallSnapshot, InstallSnapshotReply
from coterie.core.replica import SnapshotChunk
from coterie.core.snapshot_transfer import Snapshot
from coterie.core.state import State
from coterie.core.types import NO_EPOCH, NOBODY, Epoch, Mark, MemberId, Nanos, Role, SnapshotMeta

MAX_BACKOFF_DOUBLINGS = 6
"""A follower that cannot keep what it is sent waits for an election timeout before it takes any more, then for
twice as long, up to so many doublings."""


class Incoming(msgspec.Struct):
    """The snapshot under way: whose, and how many bytes of it came, in order from the beginning."""

    sender: MemberId
    epoch: Epoch
    snapshot: Snapshot
    round: int
    since: Nanos
    """When the newest bytes came."""
    came: int = 0
    """Handed out to the driver."""
    kept: int = 0
    """Written by the driver. Only this is acknowledged: so the leader's window bounds what waits for a slow disk."""

    @property
    def complete(self) -> bool:
        """All bytes were handed out; the driver makes them durable and checks them."""
        return self.came == self.snapshot.size

    def reply(self, now: Nanos, state: State, *, installed: bool = False) -> InstallSnapshotReply:
        """Tells the leader how far it is."""
        held = self.snapshot.size if installed else self.kept
        index, repairing = self.snapshot.meta.index, state.repair is not None
        return InstallSnapshotReply(self.epoch, index, held, installed, self.round, now, repairing)


class SnapshotReceiver:
    """Takes chunks, hands them out, and resets the log once the whole is durable.

    `chunks`: to be handed out. One snapshot at a time is under way.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.chunks: list[SnapshotChunk] = []
        self._incoming: Incoming | None = None
        self._install: tuple[Mark, SnapshotMeta] | None = None
        self._failures = 0
        self._not_before: Nanos = 0

    # -- chunks ------------------------------------------------------------------------------

    def handle_chunk(self, now: Nanos, sender: MemberId, m: InstallSnapshot) -> None:
        """A chunk from the leader of the present epoch, or of a loan (`NO_EPOCH`); no bytes are the question how much
        is here. That this log holds the same is sure only of what the present leader sends: of another's it may hold
        what an older ballot left."""
        state = self._state
        if m.meta.index <= state.commit or (m.epoch != NO_EPOCH and state.holds(m.meta)):
            self._decline(now, sender, m)
            return
        incoming = self._incoming
        if incoming is None or incoming.sender != sender or incoming.snapshot != (m.meta, m.size):
            if incoming is not None and self._outlives(now, incoming, sender, m):
                repairing = state.repair is not None
                nothing = InstallSnapshotReply(m.epoch, m.meta.index, 0, False, m.round, now, repairing)
                state.outbox.affirm(sender, nothing)
                return
            # Another member's snapshot of the same state need not be the same bytes: begin anew.
            incoming = self._incoming = Incoming(sender, m.epoch, Snapshot(m.meta, m.size), m.round, now)
        incoming.epoch, incoming.round = m.epoch, m.round
        if now < self._not_before:
            return
        end = m.offset + len(m.data)
        if m.data and m.offset == incoming.came and end <= m.size:
            self.chunks.append(SnapshotChunk(m.meta, m.size, m.offset, m.data))
            incoming.came, incoming.since = end, now
            return  # It is acknowledged when the driver has written it: see `kept`.
        if incoming.came == incoming.kept:
            state.outbox.affirm(sender, incoming.reply(now, state))
        # Else it is answered by `kept`: to be told less now, the leader would send again what waits for a slow disk.

    def _outlives(self, now: Nanos, incoming: Incoming, sender: MemberId, m: InstallSnapshot) -> bool:
        """Whether what is under way stays, though a chunk of another snapshot came: it is being checked, the chunk
        is late (a leader goes on to newer ones only), or several lend one at a time."""
        if incoming.complete:
            return True
        if m.epoch == NO_EPOCH and incoming.sender != sender:
            return now - incoming.since < self._state.config.election_timeout
        return (incoming.sender, incoming.epoch) == (sender, m.epoch) and m.meta.index < incoming.snapshot.meta.index

    def _decline(self, now: Nanos, sender: MemberId, m: InstallSnapshot) -> None:
        """The log holds all that the snapshot does: keep it, and say so once that is durable.

        Up to the commit index, an older snapshot would take back what is applied, and what was acknowledged
        since (catalogue N01). Past it, if the log is sure to hold the same (`State.holds`), what follows stays, for
        it may be acknowledged (Raft 7: 'retain log entries following it'), and the snapshot says no more than that
        the prefix is committed.
        """
        state = self._state
        state.commit = max(state.commit, m.meta.index)
        repairing = state.repair is not None
        reply = InstallSnapshotReply(m.epoch, m.meta.index, m.size, True, m.round, now, repairing)
        if m.meta.index <= state.log.durable_index:
            state.outbox.affirm(sender, reply)
        else:
            state.outbox.promise(sender, reply)

    # -- the driver's answers ----------------------------------------------------------------

    def kept(self, now: Nanos, meta: SnapshotMeta, offset: int) -> None:
        """The bytes up to `offset` are written. (Of a snapshot that another one took the place of: no news.)"""
        state, incoming = self._state, self._incoming
        if incoming is None or incoming.snapshot.meta != meta or not incoming.kept < offset <= incoming.came:
            return
        incoming.kept = offset
        if self._awaits_answer(incoming):
            state.outbox.affirm(incoming.sender, incoming.reply(now, state))

    def received(self, now: Nanos, meta: SnapshotMeta) -> None:
        """All bytes are durable, and check. The log follows from it, unless it has come further meanwhile."""
        state, incoming = self._state, self._awaited(meta)
        self._incoming = None
        self._failures = 0
        if incoming.epoch == NO_EPOCH and state.role is Role.LEADER:
            return  # It has been elected meanwhile without: its log has, or decides anew, all that was chosen.
        if meta.index > state.commit and (incoming.epoch == NO_EPOCH or not state.holds(meta)):
            if state.role is Role.LEADER:
                state.outbox.raise_alarm(
                    "Leader Completeness (Raft 5.4.3)",
                    f"this member leads epoch {state.epoch} and commits up to {state.commit}, but an earlier leader's "
                    f"snapshot holds entry {meta.index} of epoch {meta.epoch}, which its log does not",
                )
                return
            self._reset(meta)
        state.commit = max(state.commit, meta.index)
        self._remember(incoming.snapshot)
        if self._awaits_answer(incoming):
            state.outbox.promise(incoming.sender, incoming.reply(now, state, installed=True))

    def failed(self, now: Nanos, meta: SnapshotMeta) -> None:
        """It could not be kept. Say that nothing is here, and take nothing for a while: it would fail again."""
        state, incoming = self._state, self._incoming
        if incoming is None or incoming.snapshot.meta != meta:
            return  # Another one took its place meanwhile.
        self._incoming = None
        self._not_before = now + (state.config.election_timeout << min(self._failures, MAX_BACKOFF_DOUBLINGS))
        self._failures += 1
        if self._awaits_answer(incoming):
            incoming.kept = 0
            state.outbox.affirm(incoming.sender, incoming.reply(now, state))

    def _awaits_answer(self, incoming: Incoming) -> bool:
        """Whether its sender still sends it: it leads, or lends it to a member that has no leader."""
        state = self._state
        if incoming.epoch == NO_EPOCH:
            return state.leader == NOBODY
        return incoming.epoch == state.epoch and incoming.sender == state.leader

    def _awaited(self, meta: SnapshotMeta) -> Incoming:
        incoming = self._incoming
        if incoming is None or incoming.snapshot.meta != meta:
            raise ValueError(f"no snapshot at {meta.index} was handed out, or it was answered already")
        return incoming

    def taken(self, snapshot: Snapshot) -> bool:
        """The driver has a snapshot of its own. Returns whether the log may be compacted under it.

        At the start it may be one that the log on disk does not lead to: the process ended after a received
        snapshot was durable and before the log was reset to it, or before entries that the machine had
        applied were on this disk. All that it holds was chosen, so the log gives way.
        """
        state, meta = self._state, snapshot.meta
        if meta.index < state.log.base_index:
            # The log does not go on where it ends: nobody can be brought up to date by it (catalogue N09).
            return False
        starting = state.outbox.last_mark == 0
        # What was chosen may stand in the log in another ballot than the machine met it in: accepted again since, or
        # because the log begins after a snapshot of another member's.
        same = (not starting or meta.index == state.log.base_index) and state.holds(meta)
        if state.log.epoch_at(meta.index) != meta.epoch and not same:
            if not starting or meta.index == state.log.base_index:
                raise ValueError(
                    f"a snapshot at {meta.index} of epoch {meta.epoch}, but the log has epoch "
                    f"{state.log.epoch_at(meta.index)} there"
                )
            self._reset(meta)
        elif meta.index > state.commit and not starting:
            raise ValueError(f"a snapshot at {meta.index}, but no more than {state.commit} is committed")
        elif meta != msgspec.structs.replace(state.meta_at(meta.index), epoch=meta.epoch):
            raise ValueError(f"a snapshot at {meta.index} whose membership or settings are not those in force there")
        state.commit = max(state.commit, meta.index)
        self._remember(snapshot)
        return True

    # -- the log -----------------------------------------------------------------------------

    def _reset(self, meta: SnapshotMeta) -> None:
        state = self._state
        state.reset(meta)
        if meta.index > state.handed_out:
            # Nothing after it may be applied before the machine has its state.
            state.handed_out = meta.index
            self._install = (state.outbox.pending_mark, meta)

    def _remember(self, snapshot: Snapshot) -> None:
        """Keep the newest snapshot that can be sent."""
        state = self._state
        if snapshot.size > 0 and (state.snapshot is None or snapshot.meta.index >= state.snapshot.meta.index):
            state.snapshot = snapshot

    @property
    def installing(self) -> bool:
        """Whether the machine waits for a snapshot that the log is being reset to."""
        return self._install is not None

    def to_install(self) -> SnapshotMeta | None:
        """The snapshot that the machine is to get now, once: the log's reset to it is durable.

        Earlier, a crash could leave a log that ends before what the machine holds, with entries past the
        reset that were never taken.
        """
        if self._install is None or self._install[0] > self._state.outbox.stored_mark:
            return None
        meta = self._install[1]
        self._install = None
        return meta

    @staticmethod
    def stale_reply(epoch: Epoch, now: Nanos, m: InstallSnapshot) -> InstallSnapshotReply:
        """Tells a deposed leader of the newer epoch."""
        return InstallSnapshotReply(epoch, m.meta.index, 0, False, m.round, now)
