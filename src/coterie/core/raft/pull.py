"""A member that reaches a quorum, and lacks nothing but entries, fetches them, and then asks for votes again.

In a partial partition the only member that reaches a quorum may have a shorter log (OmniPaxos 2.2, constrained
election). Plain Raft never elects anybody then: those with longer logs reach too few, and refuse the one that
reaches enough (Raft 5.4.1). So the refusal says that it is for the log alone, and a member for which grants and such
refusals make a quorum takes the newer suffix from a refuser. It goes the way of a leader's `Append`, but nobody's
leadership stands behind it, so these rules do; `docs/decisions/0011-raft-partial-partitions.md` shows that they are
enough:

*The epoch first.* Before it takes anything, the epoch of the one who pulls is as high as the source's, durably. Else
its log could be newer than its epoch, and a leader of an epoch between the two would write entries that are older
than those before them: no comparison of logs could be relied on (Raft 5.4.1 compares last entries only). Its vote stays
if its epoch does: to forget it would be to vote twice (Raft 5.2).

*The entry before is checked* (log matching, Raft 5.3), or what follows would stand after other entries.

*Only a newer log cuts.* The source's last (epoch, index) is compared with one's own at the moment when a chunk is
taken, not when it was asked for. Otherwise a late chunk would erase what was acknowledged to a leader since then.

*What was acknowledged in the present epoch stays.* A log that is newer than ours may still contradict what the present
epoch's leader sent: ours ends with older entries that this leader has, too, and the source's with those of a leader in
between. So entries are cut off only for a source whose last one is of the present epoch, for then its log is the
beginning of that leader's; or in an epoch that the pull itself began, in which nothing was acknowledged. A quorum
misses a leader, so nobody is disturbed by it. Otherwise a leader's idea of what this member holds would be wrong, and
it could never be repaired; and a crash, after which leader and questions are forgotten, would let a late chunk in.

*A leader ends it.* Once one is heard, or a vote is given, or the epoch changes, what still comes is dropped.

*Taking is not acknowledging.* Nobody counts a pulled entry as a copy, before a leader's `Append` vouches for it.
"""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from coterie.core.messages import Pull, Suffix
from coterie.core.raft.follower import Follower
from coterie.core.raft.state import RaftState
from coterie.core.types import NO_EPOCH, Entry, Epoch, Index, Mark, MemberId, Nanos


class UnderWay(msgspec.Struct):
    """One pull: from whom, and the question that waits for an answer."""

    source: MemberId
    request: int
    prev: Index
    """Up to here the logs are equal, as far as is known: what follows is asked for."""
    asked_at: Nanos
    mark: Mark
    """The question leaves when this is durable."""


class Outcome(Enum):
    """What came of an answer."""

    NOTHING = auto()
    MOVED = auto()
    """It brought something: so the attempt has more time."""
    COMPLETE = auto()
    """Our log is as new as the source's now."""
    FAILED = auto()
    """The source cannot help: its log begins after what we need."""


class Puller:
    """Pulls one suffix at a time. Whoever calls `handle_suffix` has seen that the epoch is the present one."""

    def __init__(self, state: RaftState, stream: Follower) -> None:
        self._state = state
        self._stream = stream
        self._request = 0
        self._under_way: UnderWay | None = None
        self._began: Epoch = NO_EPOCH
        """The epoch that a pull of ours began, if no leader was heard since: nothing was acknowledged in it."""

    @property
    def source(self) -> MemberId | None:
        """Whom we pull from; None if no pull is under way."""
        return None if self._under_way is None else self._under_way.source

    def begin(self, now: Nanos, source: MemberId) -> None:
        """Ask `source` for what its log has after our last entry."""
        self._ask(now, source, self._state.log.last_index)

    def end(self) -> None:
        """Whatever still comes is dropped."""
        self._under_way = None

    def heard_leader(self) -> None:
        """What it sends will be acknowledged."""
        self._began = NO_EPOCH

    def _ask(self, now: Nanos, source: MemberId, prev: Index) -> None:
        self._request += 1
        self._under_way = UnderWay(source, self._request, prev, now, 0)
        self._send(now, self._under_way)

    def _send(self, now: Nanos, pull: UnderWay) -> None:
        state = self._state
        prev_epoch = state.log.epoch_at(pull.prev)
        if prev_epoch is None:  # It was compacted meanwhile, or the log was reset.
            pull.prev, prev_epoch = state.log.base_index, state.log.base_epoch
        pull.asked_at, pull.mark = now, state.outbox.pending_mark
        # The epoch is durable before anything of it is taken; and the chunk before, so that no more than one waits in
        # memory for a slow disk.
        state.outbox.promise(pull.source, Pull(state.epoch, pull.request, pull.prev, prev_epoch))

    def repeat(self, now: Nanos) -> None:
        """Ask again if the question, or its answer, seems to be lost."""
        pull = self._under_way
        if pull is None or now < self.deadline(pull.asked_at):
            return
        if pull.mark > self._state.outbox.stored_mark:
            pull.asked_at = now  # It has not left yet.
            return
        self._send(now, pull)

    def deadline(self, otherwise: Nanos) -> Nanos:
        """When to ask again; `otherwise`, if no pull is under way."""
        pull = self._under_way
        return otherwise if pull is None else pull.asked_at + self._state.config.heartbeat_interval

    # -- messages ----------------------------------------------------------------------------

    def handle_suffix(self, now: Nanos, sender: MemberId, m: Suffix) -> Outcome:
        """Take a chunk, if it answers the question under way, and ask for what comes next."""
        pull, log = self._under_way, self._state.log
        if pull is None or (sender, m.request) != (pull.source, pull.request):
            return Outcome.NOTHING
        if not self._is_newer(m):
            self.end()
            return Outcome.COMPLETE
        before = pull.prev
        if log.epoch_at(m.prev_index) == m.prev_epoch:
            if not self._may_take(m):
                state = self._state
                state.enter_epoch(Epoch(state.epoch.round + 1, 0))
                self._began = state.epoch
                self._ask(now, sender, before)  # What was asked in the epoch before may be older than it looks.
                return Outcome.NOTHING
            self._stream.take(sender, m.entries)
            after = m.prev_index + len(m.entries)
        else:
            after, _ = log.last_at_most(m.prev_index, m.prev_epoch)
        if not self._is_newer(m):
            self.end()
            return Outcome.COMPLETE
        if after == before:
            self.end()
            return Outcome.FAILED
        self._ask(now, sender, after)
        return Outcome.MOVED if m.entries or after < before else Outcome.NOTHING

    def _is_newer(self, m: Suffix) -> bool:
        """Whether the source's log was newer, when it sent this, than ours is now.

        If not, then where it differs from ours it may contradict what was acknowledged and committed since: nothing of
        it may be taken, nor is that needed.
        """
        log = self._state.log
        return (m.last_epoch, m.last_index) > (log.last_epoch, log.last_index)

    def _may_take(self, m: Suffix) -> bool:
        """Whether the entries contradict nothing that was acknowledged in the present epoch."""
        if self._state.epoch in (m.last_epoch, self._began):
            return True
        return all(self._state.log.epoch_at(entry.index) in (None, entry.epoch) for entry in m.entries)

    def answer(self, sender: MemberId, m: Pull) -> None:
        """Send what our log has after the entry asked for, or where it may agree with the asker's."""
        state, log = self._state, self._state.log
        prev, prev_epoch = m.prev_index, m.prev_epoch
        entries: tuple[Entry, ...] = ()
        if prev < log.base_index:
            prev, prev_epoch = log.base_index, log.base_epoch
        elif log.epoch_at(prev) != prev_epoch:
            prev, prev_epoch = log.last_at_most(prev, prev_epoch)
        elif m.epoch >= state.epoch:  # Else the asker must first be told of the newer epoch.
            entries = log.entries(prev + 1, log.last_index, state.config.max_append_bytes)
        epoch = max(m.epoch, state.epoch)
        state.outbox.post(sender, Suffix(epoch, m.request, prev, prev_epoch, entries, log.last_index, log.last_epoch))
