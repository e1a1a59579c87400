"""Leader election: randomised timeouts (Raft 5.2), pre-vote (9.6), leader stickiness (6.2, 4.2.3)."""

from __future__ import annotations

from coterie.core.config import MILLISECOND
from coterie.core.messages import PreVote, PreVoteReply, RequestVote, TimeoutNow, VoteReply
from coterie.core.raft.lease import Promise
from coterie.core.raft.state import State
from coterie.core.types import NOBODY, Epoch, Mark, MemberId, Nanos, Role

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


class Election:
    """Timeouts and votes of one member that does not lead."""

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
        (4.2.3; catalogue R18). A promised lease binds whatever was heard since (`raft/lease.py`).
        """
        state = self._state
        if state.role is Role.LEADER or self._promise.binds(now):
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

    def wake(self, now: Nanos) -> bool:
        """The timer may have run out. Returns True when a campaign was won at once (a single voter)."""
        state = self._state
        if now < self.deadline:
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
        asked = Epoch(state.epoch.round + 1, 0)
        for member in state.electors:
            state.outbox.post(member, PreVote(asked, state.log.last_index, state.log.last_epoch))
        if state.phase_1.reached(self._votes):
            return self._campaign(now)
        return False

    def _campaign(self, now: Nanos, *, transfer: bool = False) -> bool:
        """Start an election in an epoch of one's own (Raft 5.2); `transfer`: the leader itself asked for it.

        Neither the request nor the own vote counts before that epoch is durable: a candidate that
        won, sent entries, crashed and forgot could win the same epoch again, with another log
        (catalogue R24). Pre-votes are not votes (R20): the count begins anew.
        """
        state = self._state
        state.enter_epoch(Epoch(state.epoch.round + 1, 0), vote=state.own)
        state.role = Role.CANDIDATE
        self.campaign_began = now
        self._votes = set()
        self._wait_for_outcome(now)
        request = RequestVote(state.epoch, state.log.last_index, state.log.last_epoch, transfer)
        for member in state.electors:
            state.outbox.promise(member, request)
        self._own_vote_mark = state.outbox.pending_mark
        return False

    def stored(self, mark: Mark) -> bool:
        """Batches up to `mark` are durable. Returns True when the own vote wins the election."""
        if self._own_vote_mark is None or mark < self._own_vote_mark:
            return False
        self._own_vote_mark = None
        self._votes.add(self._state.own)
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

    def handle_pre_vote(self, now: Nanos, sender: MemberId, m: PreVote) -> None:
        """Grant if we would vote so: a newer epoch, a log as good as ours, no leader that lives.

        A refusal says our epoch, so that a member that fell behind catches up (catalogue R15).
        """
        state = self._state
        granted = (
            m.epoch > state.epoch and state.newer_log(m.last_epoch, m.last_index) and not self._leader_is_alive(now)
        )
        if granted and state.role is Role.PRE_CANDIDATE and self._yields_to(sender, m):
            self.follow(now, NOBODY, f"{state.name(sender)} calls an election, too, and goes first")
            self._wait_whole(now)
        state.outbox.post(sender, PreVoteReply(state.epoch, m.epoch, granted))

    def _yields_to(self, sender: MemberId, m: PreVote) -> bool:
        """Of two that call an election at once, the one with the better log, then the higher id, goes first.

        Otherwise each would vote for itself, and both would have to wait for another try. It is a courtesy
        that safety does not rest on: no vote is given or taken back.
        """
        log = self._state.log
        return (m.last_epoch, m.last_index, sender) > (log.last_epoch, log.last_index, self._state.own)

    def handle_pre_vote_reply(self, now: Nanos, sender: MemberId, m: PreVoteReply) -> None:
        """Count grants of the pre-vote under way; then campaign."""
        state = self._state
        if m.epoch > state.epoch:
            self.newer_epoch_seen(now, sender, m.epoch)
            return
        if state.role is not Role.PRE_CANDIDATE or not m.granted or m.asked.round != state.epoch.round + 1:
            return
        self._votes.add(sender)
        if state.phase_1.reached(self._votes):
            self._campaign(now)

    def handle_request_vote(self, now: Nanos, sender: MemberId, m: RequestVote) -> None:
        """Vote once in an epoch, first come first served, for a log as good as ours (Raft 5.2, 5.4.1).

        Learners vote when asked, too: the asker may know of their promotion before they do (K3).
        """
        state = self._state
        if m.epoch < state.epoch or (self._leader_is_alive(now) and not m.transfer):
            state.outbox.post(sender, VoteReply(state.epoch, False))
            return
        if m.epoch > state.epoch:
            self.step_down(now, m.epoch, f"{state.name(sender)} campaigns in a newer epoch")
        if state.vote not in (NOBODY, sender) or not state.newer_log(m.last_epoch, m.last_index):
            state.outbox.post(sender, VoteReply(state.epoch, False))
            return
        if state.vote == NOBODY:
            state.vote = sender
            state.save_hard_state()
        self._wait_whole(now)
        state.outbox.promise(sender, VoteReply(state.epoch, True))

    def handle_vote_reply(self, now: Nanos, sender: MemberId, m: VoteReply) -> bool:
        """Count votes of the present campaign, each member once. Returns True when it is won."""
        state = self._state
        if m.epoch > state.epoch:
            self.newer_epoch_seen(now, sender, m.epoch)
            return False
        # A vote of an older epoch is no vote in this one (catalogue R07).
        if state.role is not Role.CANDIDATE or m.epoch != state.epoch or not m.granted:
            return False
        self._votes.add(sender)
        return state.phase_1.reached(self._votes)
