"""Reads from a lease: no round, but a bound on the drift of clocks (dissertation 6.4.1). Off, unless settings say so.

A leader may answer a read by itself while nobody else can have been elected. It knows that from a promise:

*The voter's side.* A voter that heard a leader at h, by its own clock, elects nobody before h + lease: it neither
votes, nor grants a pre-vote, nor campaigns, whatever it hears meanwhile: not the closed-connection hint, not a newer
epoch. It does not remember h over a restart, so it then behaves as if it had heard one at its start. What
breaks without: the voter helps another to power, which commits, while the old leader still answers.

*The leader's side.* A round began at s, by the leader's clock, and a phase-2 quorum answered it. Each of those voters
heard it after s, and holds its promise for the lease by its own clock. That clock may run faster than the leader's,
by the drift bound at most: while it advances by `lease`, the leader's advances by at least lease / (1 + drift). Until
s + lease / (1 + drift) on the leader's clock, then, none of them has helped to elect another; and whoever elects needs
one of them (quorums meet). The time counts from s, when the round *began*: when the answer arrives says nothing about
when the voter heard.

*Who has promised?* Only a voter that has the setting in its log knows of it. So the leader counts an answer only of
those who hold the newest settings durably. And a voter keeps to the promise while any settings from the newest
committed on have it: an uncommitted 'off' may still be undone, and the leader that undoes it uses the lease at once.
A committed 'off' is in the log of every later leader, and every earlier leader's lease ran out before the one was
elected that committed it.

*Fences.* No lease while leadership is handed over, nor, once a TimeoutNow has left, ever again in that epoch: the
vote that it asks for does not respect the promise (openraft #1748). None in a joint configuration, and a new one is
earned after each change of membership.

The clock must be monotonic and count the time in which the process, or the machine, slept; a virtual machine whose
clock stands still while it is paused breaks the drift bound.
"""

from __future__ import annotations

from collections.abc import Mapping

from coterie.core.config import MILLISECOND
from coterie.core.leading.confirmation import Confirmation
from coterie.core.leading.progress import Progress
from coterie.core.settings import Settings
from coterie.core.state import State
from coterie.core.types import Index, MemberId, Nanos


def usable(settings: Settings) -> Nanos:
    """How long, by the leader's clock, after the start of a round it may answer alone."""
    return settings.lease_ms * MILLISECOND * 1000 // (1000 + settings.clock_drift_permille)


class Lease:
    """What a leader may rely on."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._since: Nanos | None = None
        """Start of the newest confirmed round; None: no lease has been earned."""
        self._settings_index: Index = 0
        """The settings that those who confirmed it hold."""
        self.fenced = False
        """Leadership is being handed over."""
        self.spent = False
        """A TimeoutNow was sent in this epoch."""

    def confirmed(self, confirmation: Confirmation, progress: Mapping[MemberId, Progress]) -> None:
        """A further round was confirmed: it earns a lease if those who answered it have promised one."""
        state = self._state
        index, settings = state.newest_settings
        if not settings.lease_reads:
            return
        answered = {member: p.acked_round for member, p in progress.items() if p.match >= index}
        answered[state.own] = confirmation.round
        if state.phase_2.agreed(answered) >= confirmation.confirmed_round:
            self._since, self._settings_index = confirmation.confirmed_at, index

    def renounce(self) -> None:
        """The membership changed: what was earned with the old voters is worth nothing."""
        self._since = None

    def holds(self, now: Nanos) -> bool:
        """Whether at `now` no other leader can have committed anything.

        `now` is the time at which the answer is handed out, not that of the question: a process that slept between
        the two must not answer by a lease that ran out meanwhile (catalogue Q09).
        """
        if self._since is None or self.fenced or self.spent:
            return False
        state = self._state
        index, settings = state.newest_settings
        if not settings.lease_reads or index > state.commit or index != self._settings_index:
            return False
        if state.membership.outgoing:
            return False
        return self._since <= now < self._since + usable(settings)


class Promise:
    """What a voter owes to the leader that it heard."""

    def __init__(self, state: State, now: Nanos) -> None:
        self._state = state
        # Before a restart it may have promised anything up to that moment.
        self._heard_at: Nanos = now

    def heard(self, now: Nanos) -> None:
        """A message of a leader arrived. Nothing takes this back: neither a newer epoch nor a closed connection."""
        self._heard_at = now

    @property
    def until(self) -> Nanos | None:
        """Until then, by this member's clock, it helps nobody to power; None if no lease is promised."""
        lease = self._state.promised_lease
        return self._heard_at + lease if lease else None

    def binds(self, now: Nanos) -> bool:
        """Whether it may help nobody to power now."""
        until = self.until
        return until is not None and now < until
