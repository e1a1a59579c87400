"""The leader's side, the same in both protocols: replication in windows, commit by a phase-2 quorum, check-quorum
(Raft 6.2), read index (6.4), change of membership (4.3); what followers need that is compacted away goes through
`SnapshotSender`. What a leader begins with, what it may count, and its message are each protocol's own
(`raft/leader.py`, `multipaxos/leader.py`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence

from coterie.core.leading import membership as rules
from coterie.core.leading.commit_notice import CommitNotice
from coterie.core.leading.confirmation import Confirmation
from coterie.core.leading.lease import Lease
from coterie.core.leading.progress import Mode, Progress
from coterie.core.leading.reads import ReadQueue
from coterie.core.leading.roster import Roster
from coterie.core.leading.snapshot_sender import SnapshotSender
from coterie.core.messages import Acknowledgement, InstallSnapshotReply, Message, TimeoutNow
from coterie.core.replica import Accepted, MemberProgress, Refusal, Refused, SnapshotReader
from coterie.core.state import State
from coterie.core.types import NOBODY, Entry, EntryKind, Index, MemberId, Membership, Nanos, Token
from coterie.core.whims import Whim

OLD_APPENDS = 2
"""Messages with entries that must be read from the store, to one follower, in one `send_all`: other inputs come between
this and the next. Each answer leads to one, so the messages under way double with each round trip, up to the window."""


class Leadership(ABC):
    """All that a member holds because it leads in one epoch; dropped when it no longer does."""

    def __init__(self, state: State, reader: SnapshotReader | None, now: Nanos, campaign_began: Nanos) -> None:
        config = state.config
        self._state = state
        self.confirmation = Confirmation(state.own, campaign_began, now, config.heartbeat_interval)
        self.reads = ReadQueue(config.max_pending_reads)
        self.roster = Roster(state, now)
        self.progress = self.roster.progress
        self.snapshots = SnapshotSender(state, reader)
        self.lease = Lease(state)
        self.handing_over = False
        """A successor is to take over: no proposals are taken."""
        self.retires_at: Nanos | None = None
        """When this leader, which has left the group, gives up whether or not there is a successor."""
        self.uncommitted_bytes = 0
        self._uncommitted: deque[tuple[Index, int]] = deque()
        self._elected_at: Nanos = now
        self._next_heartbeat: Nanos = now
        self._next_probe: Nanos = now
        """When those whose log is not known may be asked again."""
        self._notice = CommitNotice(config.commit_notice_delay)
        self._prompt_index: Index = 0
        self._first_own_index = state.log.last_index + 1
        self._changing: Index = state.membership_index
        """Where the newest membership stands whose commit is still to be acted upon; 0: none."""

    # -- each protocol's own -----------------------------------------------------------------

    @abstractmethod
    def _may_commit(self, index: Index) -> bool:
        """Whether what a phase-2 quorum holds up to `index` is thereby decided."""

    @abstractmethod
    def _message(self, prev: Index, entries: tuple[Entry, ...], echo: Nanos, lag: Nanos) -> Message:
        """Entries for a follower, or none, after `prev`; with the commit index and the newest round."""

    @abstractmethod
    def _refused(self, progress: Progress, m: Acknowledgement) -> bool:
        """The follower could not take what was sent: go back. Returns whether that is news."""

    # -- proposals ---------------------------------------------------------------------------

    def _append(self, now: Nanos, kind: EntryKind, payload: bytes) -> Entry:
        state = self._state
        entry = Entry(state.log.last_index + 1, state.epoch, kind, self.confirmation.take_time(now), payload)
        state.append((entry,))
        self._notice.appended(now)
        self.uncommitted_bytes += len(payload)
        self._uncommitted.append((entry.index, len(payload)))
        return entry

    def propose(self, now: Nanos, token: Token, payload: bytes, prompt: bool) -> None:
        """Append an entry, unless too much is uncommitted, the disk is full or another is to lead."""
        state = self._state
        if self.handing_over:
            detail = "leadership is being handed over"
            state.outbox.outcomes.append(Refused(token, Refusal.NOT_NOW, state.own, detail))
            return
        if state.no_space:
            state.outbox.outcomes.append(Refused(token, Refusal.NO_SPACE, state.own))
            return
        limit = state.config.max_uncommitted_bytes
        full = self.uncommitted_bytes > 0 and self.uncommitted_bytes + len(payload) > limit
        if full or state.config.whims.takes(Whim.NO_ROOM):
            state.outbox.outcomes.append(Refused(token, Refusal.OVERLOADED, state.own))
            return
        entry = self._append(now, EntryKind.COMMANDS, payload)
        if prompt:
            self._prompt_index = entry.index
        state.outbox.outcomes.append(Accepted(token, entry.index, entry.epoch))

    def append_settings(self, now: Nanos, payload: bytes) -> Entry:
        """Append a SETTINGS entry."""
        return self._append(now, EntryKind.SETTINGS, payload)

    # -- membership --------------------------------------------------------------------------

    def append_membership(self, now: Nanos, membership: Membership) -> Entry:
        """Append a MEMBERSHIP entry, which takes effect at once (4.1): who is new is sent to, who left is told."""
        entry = self._append(now, EntryKind.MEMBERSHIP, rules.encode(self._state.membership, membership))
        self._changing = entry.index
        self.lease.renounce()
        self.roster.renew(now)
        return entry

    def _membership_committed(self, now: Nanos) -> None:
        """The newest membership is committed. A joint one is left by itself, also one that an earlier leader began
        (4.3); a leader that is not in the new one, which it committed without counting itself, gives up (4.2.2)."""
        state = self._state
        self._changing = 0
        if state.membership.outgoing:
            self.append_membership(now, rules.leave(state.membership))
        elif state.own not in state.membership.voters:
            self.handing_over = self.lease.fenced = True
            self.retires_at = now + state.config.election_timeout

    @property
    def change_under_way(self) -> bool:
        """Whether a membership change is neither committed nor undone, or joint."""
        state = self._state
        return state.membership_index > state.commit or bool(state.membership.outgoing)

    # -- commit ------------------------------------------------------------------------------

    @property
    def has_committed(self) -> bool:
        """Whether an entry of this epoch is committed: only then is the commit index known."""
        return self._state.commit >= self._first_own_index

    def _commit_what_is_agreed(self, now: Nanos) -> None:
        """Commit what a phase-2 quorum holds durably, as far as the protocol lets it count.

        The leader's own copy counts like any other: when it is durable, and only if it is a voter (10.2.1; 4.2.2).
        """
        state = self._state
        matches = {member: p.match for member, p in self.progress.items() if p.counts}
        matches[state.own] = state.log.durable_index
        index = state.phase_2.agreed(matches)
        if index <= state.commit or not self._may_commit(index):
            return
        had_committed = self.has_committed
        state.commit = index
        while self._uncommitted and self._uncommitted[0][0] <= index:
            self.uncommitted_bytes -= self._uncommitted.popleft()[1]
        prompt = not had_committed or 0 < self._prompt_index <= index
        if 0 < self._prompt_index <= index:
            self._prompt_index = 0
        changed = 0 < self._changing <= index
        if prompt or changed:
            self._notice.hurry(now)
        else:
            self._notice.wait(now)
        if changed:
            self._membership_committed(now)

    def stored(self, now: Nanos) -> None:
        """More of the own log is durable."""
        if self._state.log.durable_index > self._state.commit:
            self._commit_what_is_agreed(now)

    # -- replies -----------------------------------------------------------------------------

    def handle_reply(self, now: Nanos, sender: MemberId, m: Acknowledgement) -> bool:
        """A follower's answer of this epoch. Returns whether there is something to send, commit or answer."""
        state = self._state
        progress = self.progress.get(sender)
        if m.round > self.confirmation.round:
            return False
        if progress is None:
            return self._departed_answered(now, sender, m)
        if m.accepted and m.index > state.log.last_index:
            state.outbox.raise_alarm(
                "Nobody acknowledges what was never sent",
                f"{state.name(sender)} acknowledged entry {m.index} of epoch {m.epoch}, but this leader's log "
                f"ends at {state.log.last_index}",
            )
            return True
        commit = state.commit
        confirmed = self._heard(now, progress, m)
        if m.accepted:
            if progress.accepted(m.index):
                if progress.match > commit:  # else nobody agrees on more than before
                    self._commit_what_is_agreed(now)
                if progress.sent_commit < commit and self._notice.due is None:
                    # It missed the notice, for its log was not known to reach so far.
                    self._notice.wait(now)
            if progress.mode is Mode.SNAPSHOT and progress.match >= state.log.base_index:
                self._end_snapshot(sender, progress)
            return confirmed or state.commit > commit or progress.next <= state.log.last_index or self.handing_over
        if progress.mode is not Mode.SNAPSHOT and progress.next <= state.log.base_index:
            # What was sent is lost, and compacted away since. (An empty Append begins no earlier than the log.)
            progress.become_probe()
            return True
        return self._refused(progress, m) or confirmed

    def _departed_answered(self, now: Nanos, sender: MemberId, m: Acknowledgement) -> bool:
        """Somebody who left counts for nothing, and is sent the log until it knows. False: we send it nothing."""
        departure = self.roster.departures.members.get(sender)
        if departure is None or (m.accepted and m.index > self._state.log.last_index):
            return False
        progress = departure.progress
        progress.heard_at, progress.stamp = now, m.stamp
        if m.accepted:
            progress.accepted(m.index)
        else:
            self._refused(progress, m)
        self.roster.departures.answered(sender, m, self.confirmation.round)
        return True

    def handle_install_reply(self, now: Nanos, sender: MemberId, m: InstallSnapshotReply) -> None:
        """How much of a snapshot a follower holds; or that its log, durably, is no shorter than it.

        Installed, it counts as a copy of all that the snapshot covers: those entries were committed, so any
        leader's log holds them.
        """
        state = self._state
        progress = self.roster.everyone(now).get(sender)
        if progress is None or m.round > self.confirmation.round:
            return
        if m.installed and m.index > state.log.last_index:
            state.outbox.raise_alarm(
                "Leader Completeness (Raft 5.4.3)",
                f"{state.name(sender)} installed a snapshot at {m.index}, but the log of the leader of epoch "
                f"{state.epoch} ends at {state.log.last_index}",
            )
            return
        self._heard(now, progress, m)
        if not m.installed:
            self.snapshots.answered(now, sender, m.index, m.offset)
            return
        if progress.accepted(m.index) and sender in self.progress:
            self._commit_what_is_agreed(now)
        if progress.mode is Mode.SNAPSHOT:
            self._end_snapshot(sender, progress)

    def _heard(self, now: Nanos, progress: Progress, m: Acknowledgement | InstallSnapshotReply) -> bool:
        """A follower answered: it takes part in that round. Returns whether reads can be answered by it."""
        if progress.weigh(m.repairing):
            self._commit_what_is_agreed(now)
        progress.heard_at = now
        # The newest answer's, not the highest: after a reboot the follower's clock begins anew.
        progress.stamp = m.stamp
        if m.round <= progress.acked_round or not progress.counts:
            return False
        progress.acked_round = m.round
        return self._confirm() and bool(self.reads.asked)

    def _end_snapshot(self, member: MemberId, progress: Progress) -> None:
        """The follower goes on with entries after `match` (or with a newer snapshot, if they are gone)."""
        self.snapshots.end(member)
        progress.become_replicate()

    def connection_closed(self, peer: MemberId) -> None:
        """What was on its way to the peer is lost: find out where it stands."""
        progress = self.progress.get(peer)
        if progress is None:
            return
        if progress.mode is Mode.SNAPSHOT:
            self.snapshots.interrupted(peer)
        else:
            progress.become_probe()

    def snapshot_taken(self, now: Nanos, size: int) -> tuple[Sequence[Index], Sequence[tuple[Index, int]]]:
        """A snapshot of `size` bytes is there: whoever waits for one gets it now, before the log moves past it.
        Returns after which entries followers go on (see `compaction_index`)."""
        timeout = self._state.config.election_timeout
        for member, progress in self.progress.items():
            waits = progress.mode is not Mode.SNAPSHOT and progress.next <= self._state.log.base_index
            if size and waits and now - progress.heard_at <= timeout:
                progress.become_probe()
                self.snapshots.begin(member, progress)
        return self.snapshots.needs(now, self.progress), self.snapshots.ends(now, self.progress)

    def known(self, now: Nanos) -> tuple[MemberProgress, ...]:
        """See `Replica.progress`."""
        return self.roster.known(now, self.snapshots.offset)

    # -- reads -------------------------------------------------------------------------------

    def _confirm(self) -> bool:
        if not self.confirmation.update(self.progress, self._state.phase_2):
            return False
        self.lease.confirmed(self.confirmation, self.progress)
        return True

    def answered_reads(self, now: Nanos) -> Sequence[tuple[MemberId, Token, Index]]:
        """Reads that may be answered now, each with the index that it must wait for: those of a confirmed round, and
        with a lease all that wait."""
        reads, index = self.reads, self.reads.index
        if not (reads.asked or reads.waiting):
            return ()
        answered = [(read.member, read.token, index) for read in reads.answered(self.confirmation.confirmed_round)]
        if reads.waiting and self.leased(now):
            commit = self._state.commit
            answered.extend((read.member, read.token, commit) for read in reads.take_waiting())
        return answered

    def leased(self, now: Nanos) -> bool:
        """Whether reads need no round. Only when an entry of this epoch is committed is the commit index as new
        as what earlier leaders committed (catalogue Q02)."""
        return self.has_committed and self.lease.holds(now)

    # -- time and sending --------------------------------------------------------------------

    def age_bound(self, now: Nanos, applied: Index) -> Nanos:
        """See `Replica.age_bound`."""
        if not self.has_committed or applied < self._state.commit:
            return -1
        return max(0, now - self.confirmation.confirmed_at)

    def resignation(self, now: Nanos) -> str | None:
        """Why this leader should give up, if it should: it can't commit, so another must try.

        Without it, a leader that hears nobody, or whose disk hangs while it still sends heartbeats,
        would hold the epoch for ever (6.2; catalogue R17).
        """
        timeout = self._state.config.election_timeout
        if self.retires_at is not None and now >= self.retires_at:
            return "it is no longer a voter of the group"
        if now - self._answered_at > timeout:
            silent = (now - self._answered_at) // 1_000_000
            return f"no quorum has answered for {silent} ms"
        if self._state.disk_is_stuck(now, timeout) and not self._state.all_disks_wait:
            return f"its disk has not finished a write for over {timeout // 1_000_000} ms"
        if now >= self._next_heartbeat and self._state.config.whims.takes(Whim.LEADER_RESIGNS):
            return "a whim"
        return None

    @property
    def _answered_at(self) -> Nanos:
        """When a quorum last answered: its votes count as answers at the time when they were complete,
        however long the campaign took."""
        return max(self.confirmation.confirmed_at, self._elected_at)

    def send_all(self, now: Nanos) -> None:
        """Send what is due to every follower: new entries, read rounds, heartbeats, commit notices."""
        confirmation, whims = self.confirmation, self._state.config.whims
        heartbeat = now >= self._next_heartbeat
        if heartbeat and whims.takes(Whim.HEARTBEAT_SKIPPED):
            heartbeat = False
            self._next_heartbeat = now + self._state.config.heartbeat_interval
        ask = self.reads.ready_to_ask and self.has_committed and not self.lease.holds(now)
        if heartbeat or ask:
            confirmation.begin(now)
            self._next_heartbeat = now + self._state.config.heartbeat_interval
            if ask:
                # Only when an entry of this epoch is committed is `commit` as new as what earlier
                # leaders committed (6.4, step 1; catalogue Q02).
                self.reads.ask(confirmation.round, self._state.commit)
            self._confirm()
        # By a clock of its own: where reads begin rounds all the time, no heartbeat is ever due.
        probe = now >= self._next_probe
        if probe:
            self._next_probe = now + self._state.config.heartbeat_interval
            self.roster.catch_up.observe(now, self.progress, self._state.log.last_index)
        notice = self._notice.take(now)
        all_told = True
        last = self._state.log.last_index
        everyone = self.roster.everyone(now)
        for member, progress in everyone.items():
            if probe and progress.mode is Mode.REPLICATE and whims.takes(Whim.PROBED_AGAIN):
                progress.become_probe()
            if probe and progress.mode is Mode.PROBE:
                progress.probing = False
            sent = progress.next <= last and self._send_entries(now, member, progress)
            if not sent and (heartbeat or ask or (notice and progress.sent_commit < self._state.commit)):
                self._send(now, member, progress, ())
            all_told = all_told and progress.sent_commit >= self._state.commit
        if all_told:
            # Entries carried it. Left in place, the notice would come due just when the next commit is new.
            self._notice.due = None
        if self.snapshots.active:
            self.snapshots.send(now, everyone, confirmation.round)

    def _send_entries(self, now: Nanos, member: MemberId, progress: Progress) -> bool:
        """Send entries as far as the window allows. A follower that is silent gets none: reading old
        entries from the disk for one that is dead would slow those that live. Of old ones no more than
        `OLD_APPENDS` are sent at a time, and again for each answer: to read a whole window delays everybody."""
        state = self._state
        sent = False
        old = 0
        if progress.mode is Mode.PROBE and now - progress.heard_at > state.config.election_timeout:
            return False
        while progress.next <= state.log.last_index and progress.open:
            if progress.next <= state.log.base_index:
                # Never from the first entry that is left: a log with a gap matches nothing (catalogue L15).
                self.snapshots.begin(member, progress)
                return sent
            if not state.log.remembers(progress.next):
                old += 1
                if old > OLD_APPENDS:
                    break
            entries = state.log.entries(progress.next, state.log.last_index, state.config.max_append_bytes)
            self._send(now, member, progress, entries)
            progress.sent(entries[-1].index, sum([len(entry.payload) for entry in entries]))
            sent = True
        return sent

    def _send(self, now: Nanos, member: MemberId, progress: Progress, entries: tuple[Entry, ...]) -> None:
        """Send one message that begins at `next`.

        An empty one, too: a follower that lost what was sent before refuses it, so that every
        heartbeat finds lost messages.
        """
        state = self._state
        prev = max(progress.next - 1, state.log.base_index)
        lag = max(0, now - self.confirmation.confirmed_at) if self.has_committed else -1
        state.outbox.post(member, self._message(prev, entries, progress.stamp, lag))
        # A follower commits only what the message vouches for (L05): more it was not told.
        progress.sent_commit = min(state.commit, prev + len(entries))

    def call_successor(self, now: Nanos) -> None:
        """Before giving up by itself: let whoever is most advanced campaign at once, if it answers. While our disk
        hangs the others hear our heartbeats, so without it they would wait a whole timeout more (hashicorp/raft's
        #503). As with any transfer there is no lease any more: this leadership ends with this call.
        """
        successor = self.roster.best_voter(now)
        timeout = self._state.config.election_timeout
        if successor != NOBODY and now - self._answered_at <= timeout:
            self._state.outbox.post(successor, TimeoutNow(self._state.epoch))

    def deadline(self, now: Nanos) -> Nanos:
        """When to look again without any input."""
        timeout = self._state.config.election_timeout
        deadline = min(self._next_heartbeat, self._answered_at + timeout + 1)
        if self.retires_at is not None:
            deadline = min(deadline, self.retires_at)
        if self._notice.due is not None:
            deadline = min(deadline, self._notice.due)
        since = self._state.outbox.unsynced_since
        if since is not None and not self._state.all_disks_wait:
            deadline = min(deadline, since + timeout + 1)
        if self.snapshots.active:
            chunk = self.snapshots.deadline(now, self.roster.everyone(now))
            if chunk is not None:
                deadline = min(deadline, chunk)
        return deadline
