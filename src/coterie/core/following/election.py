"""When to call an election, and when not to let one happen: the same in both protocols.

Randomised timeouts (Raft 5.2), the question beforehand whether an election could be won (pre-vote, 9.6), leader
stickiness (6.2, 4.2.3), the hint that a leader's process is gone. What is asked, and how an epoch is won, is each
protocol's own (`raft/election.py`, `multipaxos/ballots.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from coterie.core.config import MILLISECOND
from coterie.core.leading.lease import Promise
from coterie.core.messages import TimeoutNow
from coterie.core.state import State
from coterie.core.types import NOBODY, Epoch, Mark, MemberId, Nanos, Role
from coterie.core.whims import Whim

HINT_ATTEMPTS = 6
"""Elections with a short timeout after the leader's process was seen to be gone. The timeout doubles
with each, so that a network of any latency gets a whole one before the ordinary timeout is back."""
HINT_DELAY: Nanos = 15 * MILLISECOND
"""Range of the first delay after that hint; two members rarely draw the same."""
SPREAD = 4
"""Election timeouts are drawn from [T, T + T/4). Raft takes [T, 2T) to keep two members from calling an election at
once; here one of two that do yields to the other (`_yields_to`), so a range so wide would only cost time."""
OVERSLEPT_HEARTBEATS = 2
"""A timer that fires this many heartbeat intervals late says that this process slept: its sockets
may hold what the leader sent meanwhile, so it reads them before it calls an election."""


class Election(ABC):
    """Timeouts and candidacies of one member that does not lead."""

    def __init__(self, state: State, now: Nanos) -> None:
        self._state = state
        self.campaign_began: Nanos = now
        self._heard_at: Nanos | None = None
        self._promise = Promise(state, now)
        self._since: Nanos = now
        self._timeout: Nanos = 0
        self._votes: set[MemberId] = set()
        self._own_vote_mark: Mark | None = None
        self._hints_left = 0
        self._attempts = 0
        """Elections called since a leader was last heard."""
        self._draw_timeout()

    # -- time --------------------------------------------------------------------------------

    def _draw_timeout(self) -> None:
        """A fresh timeout from [T, T + T/4): equal ones would split the vote again and again (Raft 5.2; R13)."""
        base = self._state.config.election_timeout
        self._timeout = base + self._state.rng.randrange(max(1, base // SPREAD))
        if self._state.config.whims.takes(Whim.SHORTEST_TIMEOUT):
            self._timeout = base

    def _wait(self, now: Nanos, delay: Nanos) -> None:
        """The next election is called between one and two `delay`s from now, or after a whole timeout."""
        self._since = now
        if delay < self._state.config.election_timeout:
            self._timeout = delay + self._state.rng.randrange(max(1, delay))
        else:
            self._draw_timeout()

    def _next_hint(self) -> Nanos:
        """How long to wait for whoever is being elected, while the leader's process is known to be gone."""
        self._hints_left -= 1
        return HINT_DELAY << (HINT_ATTEMPTS - 1 - self._hints_left)

    def _wait_for_outcome(self, now: Nanos) -> None:
        """An election of ours begins. Nobody leads, so another attempt comes soon, but each waits twice as
        long as the one before: a network of any latency gets the time that it needs at last."""
        if self._hints_left > 0:
            self._wait(now, self._next_hint())
            return
        whole = self._state.config.election_timeout
        self._wait(now, (whole // SPREAD) << min(self._attempts, SPREAD))
        self._attempts += 1

    def _wait_whole(self, now: Nanos) -> None:
        """A leader, or another candidate, has a whole timeout to be heard."""
        self._wait(now, self._next_hint() if self._hints_left > 0 else self._state.config.election_timeout)

    @property
    def deadline(self) -> Nanos:
        """When this member calls an election if it hears nothing from a leader."""
        return self._since + self._timeout

    def heard_leader(self, now: Nanos) -> None:
        """A message of the present epoch's leader arrived. A short timeout (see `wake`) was for once."""
        self._heard_at = self._since = now
        self._promise.heard(now)
        if self._timeout < self._state.config.election_timeout:
            self._draw_timeout()

    def _leader_is_alive(self, now: Nanos) -> bool:
        """Whether this member sticks to its leader: it heard from it within the least timeout.

        Otherwise a member that was cut off, or removed, could depose a leader that works
        (4.2.3; catalogue R18). A promised lease binds whatever was heard since (`leading/lease.py`).
        """
        state = self._state
        if state.role is Role.LEADER or self._promise.binds(now):
            return True
        if state.config.whims.takes(Whim.STICKS_TO_LEADER):
            return True
        if state.leader == NOBODY or self._heard_at is None:
            return False
        return now - self._heard_at < state.config.election_timeout

    def leader_gone(self, now: Nanos) -> None:
        """The leader's process is gone (its connection closed, and a new one is refused): its lease on
        our patience is over, and a pre-vote, which promises nothing, may begin almost at once. Unless a lease was
        promised: that the connection closed says little about a process (a firewall does as much), and nothing
        about what it still answers."""
        if self._promise.binds(now):
            return
        self._state.reason = "the leader's process is gone"
        self._heard_at = None
        self._state.leader = NOBODY
        self._hints_left = HINT_ATTEMPTS
        self._since = now
        self._timeout = self._state.rng.randrange(HINT_DELAY)

    # -- becoming --------------------------------------------------------------------------------

    def follow(self, now: Nanos, leader: MemberId, reason: str) -> None:
        """Be a follower in the present epoch, of `leader` if known."""
        state = self._state
        state.role = Role.FOLLOWER
        state.leader = leader
        state.reason = reason
        self._votes = set()
        self._own_vote_mark = None
        if leader != NOBODY:
            self._hints_left = self._attempts = 0
            self._heard_at = now
            self._promise.heard(now)
            self._since = now
            self._draw_timeout()

    def step_down(self, now: Nanos, epoch: Epoch, reason: str) -> None:
        """A newer epoch was seen: follow in it. The election timer runs on, unless we led: a candidate
        that keeps losing must not keep the others from trying (catalogue R14)."""
        led = self._state.role is Role.LEADER
        if epoch > self._state.epoch:
            self._state.enter_epoch(epoch)
        self.follow(now, NOBODY, reason)
        if led:
            self._since = now
            self._draw_timeout()

    def newer_epoch_seen(self, now: Nanos, sender: MemberId, epoch: Epoch) -> None:
        """An answer came from a newer epoch. One of a stranger, such as a member that was removed and does not know it,
        deposes no leader (M11); if it is we who are behind, a member or the next leader will tell."""
        state = self._state
        if state.role is Role.LEADER and state.membership.member(sender) is None:
            return
        self.step_down(now, epoch, f"{state.name(sender)} is in a newer epoch")

    def _due(self, now: Nanos) -> bool:
        """Whether the timer has run out."""
        if self._state.config.whims.takes(Whim.EARLY_ELECTION):
            self._timeout = min(self._timeout, now - self._since)
        return now >= self._since + self._timeout

    def wake(self, now: Nanos) -> bool:
        """The timer may have run out. Returns True when a campaign was won at once (a single voter)."""
        state = self._state
        if not self._due(now):
            return False
        if not state.may_campaign:
            self._wait_whole(now)
            return False
        if self._promise.binds(now):
            # To campaign is to vote for oneself: it has to wait like any other vote (after a restart above all).
            self._since = now
            until = self._promise.until or now
            self._timeout = until - now + state.rng.randrange(state.config.heartbeat_interval)
            return False
        if now - self.deadline > OVERSLEPT_HEARTBEATS * state.config.heartbeat_interval:
            self._since = now
            self._timeout = state.config.heartbeat_interval + state.rng.randrange(state.config.heartbeat_interval)
            return False
        if state.no_space or state.disk_is_stuck(now, state.config.election_timeout // 2):
            # It could not store its own vote: an epoch that nobody can win helps nobody.
            self._wait_whole(now)
            return False
        return self._pre_campaign(now)

    def _pre_campaign(self, now: Nanos) -> bool:
        """Ask whether an election could be won, before disturbing anybody with a new epoch (9.6)."""
        state = self._state
        if state.role is Role.FOLLOWER:
            silent = (now - self._since) // MILLISECOND
            hint = "the leader's process is gone" if self._hints_left > 0 else f"no leader heard for {silent} ms"
            state.reason = hint
        state.role = Role.PRE_CANDIDATE
        state.leader = NOBODY
        self._votes = {state.own}
        self._own_vote_mark = None
        self._wait_for_outcome(now)
        self._canvass(state.epoch.round + 1)
        if state.phase_1.reached(self._votes):
            return self._campaign(now)
        return False

    @abstractmethod
    def _canvass(self, round_: int) -> None:
        """Ask the electors whether they would help to power in an epoch of this round: promises nothing, changes
        nothing."""

    @abstractmethod
    def _campaign(self, now: Nanos, *, transfer: bool = False) -> bool:
        """Start an election in an epoch of one's own; `transfer`: the leader itself asked for it. True: it is won."""

    def stored(self, mark: Mark) -> bool:
        """Batches up to `mark` are durable. Returns True when the own vote, or promise, wins the election."""
        if self._own_vote_mark is None or mark < self._own_vote_mark:
            return False
        self._own_vote_mark = None
        self._votes.add(self._state.own)
        return self._won()

    def _won(self) -> bool:
        """Whether those who have granted so far are enough."""
        return self._state.phase_1.reached(self._votes)

    # -- messages ----------------------------------------------------------------------------

    def handle_timeout_now(self, now: Nanos, sender: MemberId, m: TimeoutNow) -> None:
        """The leader hands over to us: campaign at once, without a pre-vote (3.10).

        Only at the word of the present epoch's leader: it has renounced its lease, and nobody else can.
        """
        state = self._state
        if m.epoch != state.epoch or sender != state.leader or state.role is not Role.FOLLOWER:
            return
        if state.own not in state.membership.voters or state.no_space:
            return
        state.reason = f"{state.name(sender)} hands over"
        state.leader = NOBODY
        self._campaign(now, transfer=True)

    def _canvassed(self, now: Nanos, sender: MemberId, reply_epoch: Epoch, asked: Epoch, granted: bool) -> None:
        """Count grants of the canvass under way; then campaign."""
        state = self._state
        if reply_epoch > state.epoch:
            self.newer_epoch_seen(now, sender, reply_epoch)
            return
        if state.role is not Role.PRE_CANDIDATE or not granted or asked.round != state.epoch.round + 1:
            return
        self._votes.add(sender)
        if state.phase_1.reached(self._votes):
            self._campaign(now)
