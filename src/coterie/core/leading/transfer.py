"""Handing leadership over (dissertation 3.10).

The leader takes no more proposals (it refuses them with NOT_NOW: they are to be sent again, to whoever leads then),
waits until its successor holds all of its log, and sends it `TimeoutNow`. That one campaigns at once, without a
pre-vote, and its request says that the leader wants it so: stickiness does not apply. If nothing comes of it within
an election timeout, the leader goes on.

Reads during it: a round proves what it always proved, because nobody who voted for another answers it. A lease would
prove nothing, because the successor's voters do not respect it: so it is fenced before `TimeoutNow` leaves, and stays
so in this epoch, for that message may arrive at any later time.
"""

from __future__ import annotations

from coterie.core.config import MILLISECOND
from coterie.core.leading.leadership import Leadership
from coterie.core.messages import TimeoutNow
from coterie.core.replica import Refusal, Refused, Transferred
from coterie.core.state import State
from coterie.core.types import NOBODY, Epoch, MemberId, Nanos, Token

NO_TOKEN: Token = 0
"""Of a transfer that nobody asked for: by a leader that has left the group."""


class Transfer:
    """One transfer under way."""

    __slots__ = ("deadline", "epoch", "next_send", "sent", "to", "token")

    def __init__(self, token: Token, to: MemberId, epoch: Epoch, deadline: Nanos) -> None:
        self.token = token
        self.to = to
        self.epoch = epoch
        self.deadline = deadline
        self.next_send: Nanos = 0
        self.sent = False


class Transfers:
    """Transfers by one member, one at a time."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.current: Transfer | None = None

    def request(self, now: Nanos, token: Token, to: MemberId, leadership: Leadership) -> None:
        """Somebody wants `to` to lead; whoever is most advanced, if it is 0."""
        state = self._state
        problem = self._problem(now, to, leadership)
        if problem is not None:
            reason, detail = problem
            state.outbox.outcomes.append(Refused(token, reason, state.own, detail))
            return
        self._begin(now, token, to or leadership.roster.best_voter(now), leadership)

    def _retire(self, now: Nanos, leadership: Leadership) -> None:
        """This leader has left the group, and that is committed: hand over to whoever is most advanced (4.2.2)."""
        self._begin(now, NO_TOKEN, leadership.roster.best_voter(now), leadership)

    def _begin(self, now: Nanos, token: Token, to: MemberId, leadership: Leadership) -> None:
        leadership.handing_over = leadership.lease.fenced = True
        self.current = Transfer(token, to, self._state.epoch, now + self._state.config.election_timeout)

    def _problem(self, now: Nanos, to: MemberId, leadership: Leadership) -> tuple[Refusal, str] | None:
        state = self._state
        if leadership.handing_over:
            return Refusal.NOT_NOW, "leadership is being handed over already"
        if to == NOBODY:
            if leadership.roster.best_voter(now) == NOBODY:
                return Refusal.INVALID, "there is no other voter"
            return self._hopeless(now, leadership)
        name = state.name(to)
        if to == state.own:
            return Refusal.INVALID, f"{name} leads already"
        progress = leadership.progress.get(to)
        if progress is None:
            return Refusal.INVALID, f"there is no {name}"
        if to not in state.membership.voters:
            return Refusal.INVALID, f"{name} is no voter: only a voter can lead"
        silent = now - progress.heard_at
        if silent > state.config.election_timeout:
            return Refusal.TRANSFER_FAILED, f"{name} has not answered for {silent // MILLISECOND} ms"
        if not progress.counts:
            return Refusal.TRANSFER_FAILED, f"{name}'s log was damaged, and is being repaired"
        return self._hopeless(now, leadership)

    def _hopeless(self, now: Nanos, leadership: Leadership) -> tuple[Refusal, str] | None:
        """Fewer may suffice to commit than to elect: the successor would depose this leader, and nobody could lead."""
        if self._state.phase_1.reached(leadership.roster.answering(now)):
            return None
        return Refusal.TRANSFER_FAILED, "too few voters answer to elect anybody; leadership stays here"

    def advance(self, now: Nanos, leadership: Leadership) -> None:
        """Send TimeoutNow once the successor has all of the log; again with each heartbeat, should it be lost."""
        if self.current is None and leadership.retires_at is not None:
            self._retire(now, leadership)
        state, transfer = self._state, self.current
        if transfer is None or now < transfer.next_send:
            return
        if transfer.sent:
            transfer.next_send = now + state.config.heartbeat_interval
        progress = leadership.progress.get(transfer.to)
        if progress is None or not progress.counts or progress.match < state.log.last_index:
            return
        leadership.lease.spent = True
        state.outbox.post(transfer.to, TimeoutNow(state.epoch))
        transfer.sent = True
        transfer.next_send = now + state.config.heartbeat_interval

    def settle(self, now: Nanos, leadership: Leadership | None) -> None:
        """See whether the transfer has come to an end, and say so."""
        state, transfer = self._state, self.current
        if transfer is None:
            return
        if state.epoch > transfer.epoch and state.leader == transfer.to:
            self._end(transfer, "")
        elif state.epoch > transfer.epoch and state.leader != NOBODY:
            self._end(transfer, f"{state.name(state.leader)} was elected instead")
        elif now >= transfer.deadline:
            name = state.name(transfer.to)
            if leadership is None:
                self._end(transfer, f"{name} did not take over in time, and this member leads no longer")
                return
            text = f"{name} did not take over in time" if transfer.sent else f"{name} did not catch up in time"
            self._end(transfer, f"{text}; leadership stays here")
            leadership.handing_over = leadership.retires_at is not None
            leadership.lease.fenced = leadership.handing_over
        elif leadership is not None and leadership.progress.get(transfer.to) is None:
            self._end(transfer, "the chosen member left the group")
            leadership.handing_over = leadership.lease.fenced = leadership.retires_at is not None

    def _end(self, transfer: Transfer, failure: str) -> None:
        state = self._state
        self.current = None
        if transfer.token == NO_TOKEN:
            return
        if failure:
            state.outbox.outcomes.append(
                Refused(transfer.token, Refusal.TRANSFER_FAILED, state.leader, failure),
            )
        else:
            state.outbox.outcomes.append(Transferred(transfer.token, transfer.to))

    @staticmethod
    def deadline(transfer: Transfer, leads: bool) -> Nanos:
        """When to look at it again without any input."""
        return min(transfer.deadline, transfer.next_send) if transfer.sent and leads else transfer.deadline
