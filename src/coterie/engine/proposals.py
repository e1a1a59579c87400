"""Batches on their way to the log: gathered, proposed by a leader, forwarded by any other member."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from coterie.core.config import MILLISECOND
from coterie.core.messages import Command, Forward, ForwardRefused, Segment, encode_segments
from coterie.core.replica import Accepted, Outcome, Refusal, Refused, Replica
from coterie.core.types import NOBODY, Entry, Epoch, Index, MemberId, Nanos, Role, Token
from coterie.core.whims import NO_WHIMS, Whim, Whims
from coterie.engine.ports import Event, Ports
from coterie.engine.protocol import FailureCode, Happened
from coterie.engine.submissions import Pending, Submissions

NEVER: Nanos = 1 << 62
OVERLOAD_BACKOFF: Nanos = 50 * MILLISECOND
"""How long a member sends nothing to a leader that refused for want of room."""
MAX_PATIENCE_DOUBLINGS = 5
"""Entries under way beyond this number do not make the next one wait longer."""
OVERLAP = 2
"""Entries under way at once without waiting: while one is written, the next is gathered and sent."""
CROWD = 8
"""Commands in an entry from which on its clients are expected to come back together."""
GATHER_SHARE = 4
"""They are waited for at most this fraction (one in ...) of the time that the entry took ..."""
GATHER_MOST: Nanos = 4 * MILLISECOND
"""... or for so long, on a fast network ..."""
GATHER_TIMES = 3
"""... but no more than so many times what the entry took."""
MAX_RESEND_DOUBLINGS = 4
"""Commands that are forwarded again wait for their outcome twice as long each time, up to so many doublings."""
MAX_FORWARDED_COMMANDS = 65536
"""Commands that peers forwarded to this leader and that are not proposed yet."""


class ProposalLimits(Protocol):
    """The part of the engine's configuration that proposals look at."""

    @property
    def max_batch_bytes(self) -> int: ...
    @property
    def max_batch_commands(self) -> int: ...
    @property
    def batch_delay(self) -> Nanos: ...
    @property
    def resend_interval(self) -> Nanos: ...


class Member(Protocol):
    """Who this member is."""

    @property
    def member(self) -> MemberId: ...
    @property
    def boot(self) -> int: ...


class Proposals:
    """Segments to be proposed or forwarded, and entries proposed and not yet applied."""

    def __init__(
        self,
        identity: Member,
        limits: ProposalLimits,
        replica: Replica,
        submissions: Submissions,
        ports: Ports,
        new_token: Callable[[], Token],
        whims: Whims = NO_WHIMS,
    ) -> None:
        self._whims = whims
        self._own = identity.member
        self._boot = identity.boot
        self._limits = limits
        self._replica = replica
        self._submissions = submissions
        self._ports = ports
        self._new_token = new_token
        self._leader: MemberId = NOBODY
        self._epoch: Epoch | None = None
        self._outgoing: list[Pending] = []
        self._incoming: list[Segment] = []
        self._incoming_commands = 0
        self._refusals: list[tuple[MemberId, ForwardRefused]] = []
        self._proposed: dict[Token, list[Segment]] = {}
        self._in_flight: dict[Index, tuple[Nanos, int]] = {}
        """Entries proposed and not applied: when, and how many commands."""
        self._free_since: Nanos = 0
        self._expected = 0
        self._gather: Nanos = 0
        self._waits_since: Nanos | None = None
        self._resend_at: Nanos = NEVER
        self.overloaded_until: Nanos = 0
        """Until then the leader is known to take no more commands from here."""

    # -- from peers --------------------------------------------------------------------------

    def forwarded(self, sender: MemberId, m: Forward) -> None:
        """A peer's commands, for us to propose."""
        segment = m.segment
        if segment.origin != sender or not segment.commands or segment.first < 1:
            text = f"member {sender:016x} forwarded a segment of {segment.origin:016x}, or an empty one: dropped"
            self._ports.event(Event("bad-forward", text))
        elif self._replica.role is not Role.LEADER:
            reason = Refusal.NOT_LEADER if self._replica.leader != NOBODY else Refusal.NO_LEADER
            self._refuse(segment, reason)
        elif self._incoming_commands + len(segment.commands) > MAX_FORWARDED_COMMANDS:
            self._refuse(segment, Refusal.OVERLOADED)
        else:
            self._incoming.append(segment)
            self._incoming_commands += len(segment.commands)

    def _refuse(self, segment: Segment, reason: Refusal) -> None:
        refused = ForwardRefused(segment.first, len(segment.commands), segment.boot, int(reason), self._replica.leader)
        self._refusals.append((segment.origin, refused))

    def forward_refused(self, now: Nanos, sender: MemberId, m: ForwardRefused) -> None:
        """A leader did not take a segment of ours: send it again, later. Another copy may be in a log,
        so nothing is known yet of what will happen."""
        pending = self._submissions.find(m.first)
        if m.boot != self._boot or pending is None or self._leader == self._own:
            return
        self._again_at(pending, now + OVERLOAD_BACKOFF)
        if m.reason in (Refusal.OVERLOADED, Refusal.NO_SPACE):
            self.overloaded_until = now + OVERLOAD_BACKOFF

    # -- from the replica --------------------------------------------------------------------

    def leader_changed(self, now: Nanos, leader: MemberId, epoch: Epoch) -> None:
        """Another leader, or another epoch: what has no outcome yet goes there, in order. The machine
        drops what an earlier leader got through."""
        if (leader, epoch) == (self._leader, self._epoch):
            return
        self._leader, self._epoch = leader, epoch
        self._in_flight.clear()
        self.overloaded_until = 0
        if leader != self._own:
            for segment in self._incoming:
                self._refuse(segment, Refusal.NOT_LEADER)
            self._incoming, self._incoming_commands = [], 0
        if leader != NOBODY:
            self._outgoing = list(self._submissions.unresolved())
            self._resend_at = NEVER
            for pending in self._outgoing:
                pending.sendings, pending.resend_at = 0, NEVER

    def accepted(self, now: Nanos, outcome: Accepted) -> bool:
        """An entry of ours stands in the log. Returns False if the outcome is not about a proposal."""
        segments = self._proposed.pop(outcome.token, None)
        if segments is None:
            return False
        commands = 0
        for segment in segments:
            commands += len(segment.commands)
            if segment.origin == self._own:
                pending = self._submissions.find(segment.first)
                if pending is not None:
                    pending.sent_before = True
        self._in_flight[outcome.index] = now, commands
        return True

    def refused(self, now: Nanos, outcome: Outcome) -> bool:
        """The replica did not take a batch. Returns False if the outcome is not about a proposal."""
        segments = self._proposed.pop(outcome.token, None)
        if segments is None or not isinstance(outcome, Refused):
            return False
        for segment in segments:
            if segment.origin != self._own or segment.boot != self._boot:
                self._refuse(segment, outcome.reason)
                continue
            pending = self._submissions.find(segment.first)
            if pending is None:
                continue
            if outcome.reason in (Refusal.OVERLOADED, Refusal.NO_SPACE) and not pending.sent_before:
                self._fail_for_room(pending, outcome.reason)
            else:
                self._again_at(pending, now + OVERLOAD_BACKOFF)
        return True

    def _fail_for_room(self, pending: Pending, reason: Refusal) -> None:
        if reason is Refusal.NO_SPACE:
            text = "the leader's disk is full: free space on it; the command has not taken effect"
            self._submissions.fail(pending, FailureCode.NO_SPACE, Happened.NO, text)
        else:
            text = "too much is waiting to be committed: try again later, with less at a time; nothing has happened"
            self._submissions.fail(pending, FailureCode.OVERLOADED, Happened.NO, text)

    def applied(self, now: Nanos, entry: Entry) -> None:
        """An entry was applied."""
        proposed = self._in_flight.pop(entry.index, None)
        if proposed is not None:
            at, commands = proposed
            self._free_since = now
            took = now - at
            gather = max(took // GATHER_SHARE, min(GATHER_TIMES * took, GATHER_MOST))
            self._gather = gather if commands >= CROWD else 0
            self._expected = commands + self._submissions.queued + self._incoming_commands

    # -- sending -----------------------------------------------------------------------------

    @property
    def owes_refusals(self) -> bool:
        """Whether peers wait to be told that their commands were not taken."""
        return bool(self._refusals)

    @property
    def waiting(self) -> bool:
        """Whether commands wait for the entry under way to be committed."""
        return bool(self._submissions.queued or self._incoming or self._outgoing)

    def dispatch(self, now: Nanos, tick: bool) -> None:
        """Propose or forward what is due. `tick`: if there is nothing, propose an empty entry, so that
        the log carries time."""
        for to, refusal in self._refusals:
            self._ports.send(to, refusal)
        self._refusals = []
        if now >= self._resend_at:
            self._resend(now)
        if self._leader == self._own:
            self._propose(now, tick)
        elif self._leader == NOBODY:
            self._outgoing.extend(self._submissions.form(now, self._limits))
        else:
            self._forward(now)

    def _again_at(self, pending: Pending, when: Nanos) -> None:
        pending.resend_at = when
        self._resend_at = min(self._resend_at, when)

    def _resend(self, now: Nanos) -> None:
        """Send what waits for too long once more; each time it is given twice as long: where the leader is slow, not
        gone, copies of all that waits would only make it slower."""
        waiting = list(self._submissions.unresolved())
        if self._leader != NOBODY:
            self._outgoing = [pending for pending in waiting if pending.resend_at <= now]
        self._resend_at = min((pending.resend_at for pending in waiting if pending.resend_at > now), default=NEVER)

    def _forward(self, now: Nanos) -> None:
        self._outgoing.extend(self._submissions.form(now, self._limits))
        if not self._outgoing:
            return
        for pending in self._outgoing:
            if self._submissions.find(pending.segment.first) is pending:
                pending.sent_before = True
                patience = self._limits.resend_interval << min(pending.sendings, MAX_RESEND_DOUBLINGS)
                pending.sendings += 1
                self._again_at(pending, now + patience)
                self._ports.send(self._leader, Forward(pending.segment))
                if self._whims.takes(Whim.FORWARDED_TWICE):
                    self._ports.send(self._leader, Forward(pending.segment))
        self._outgoing = []

    def _propose(self, now: Nanos, tick: bool) -> None:
        if not self.waiting:
            self._waits_since = None
            if tick and not self._in_flight and not self._proposed:
                self._propose_segments(now, [])
            return
        if self._waits_since is None:
            self._waits_since = now
        if self._submissions.queued_bytes < self._limits.max_batch_bytes and now < self._next_proposal():
            return
        self._waits_since = None
        self._outgoing.extend(self._submissions.form(now, self._limits))
        segments = self._incoming
        for pending in self._outgoing:
            if self._submissions.find(pending.segment.first) is pending:
                segments.append(pending.segment)
        self._incoming, self._incoming_commands, self._outgoing = [], 0, []
        batch: list[Segment] = []
        size = count = 0
        for segment in segments:
            bytes_here = segment_bytes(segment)
            count_here = len(segment.commands)
            if batch and (
                size + bytes_here > self._limits.max_batch_bytes
                or count + count_here > self._limits.max_batch_commands
                or self._whims.takes(Whim.PROPOSED_APART)
            ):
                self._propose_segments(now, batch)
                batch, size, count = [], 0, 0
            batch.append(segment)
            size += bytes_here
            count += count_here
        if batch:
            self._propose_segments(now, batch)

    def _next_proposal(self) -> Nanos:
        """When what waits is proposed, if no more joins it. The cost of consensus is per entry, and so is
        every member's disk write, so commands are let gather, but not for long.

        While entries are under way, each doubles the patience: one alone on a fast network, a few in
        a pipeline on a slow one. When none is, a command goes at once; but after an entry of
        many commands, whose clients have just been answered, the next waits briefly for them
        to come back: otherwise two crowds take turns, each with half of the commands and a whole
        entry's cost.
        """
        assert self._waits_since is not None
        under_way = len(self._in_flight) + len(self._proposed)
        if under_way >= OVERLAP:
            return self._waits_since + (self._limits.batch_delay << min(under_way - OVERLAP, MAX_PATIENCE_DOUBLINGS))
        if self._submissions.queued + self._incoming_commands >= self._expected:
            return self._waits_since
        return self._free_since + self._gather

    def _propose_segments(self, now: Nanos, segments: list[Segment]) -> None:
        token = self._new_token()
        self._proposed[token] = segments
        prompt = False
        for segment in segments:
            prompt = prompt or segment.origin != self._own
        self._replica.propose(now, token, encode_segments(segments), prompt=prompt)

    def deadline(self) -> Nanos:
        """When `dispatch` has something to do without any input."""
        deadline = self._resend_at
        if self._waits_since is not None and self._leader == self._own:
            deadline = min(deadline, self._next_proposal())
        return deadline


def segment_bytes(segment: Segment) -> int:
    """Bytes of the commands in a segment."""
    return sum([len(command.body) for command in segment.commands if type(command) is Command])
