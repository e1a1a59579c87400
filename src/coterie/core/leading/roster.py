"""Whom a leader sends to: the members, and those that left and may not know it yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from coterie.core.leading.catch_up import CatchUp
from coterie.core.leading.departures import Departures
from coterie.core.leading.progress import Progress
from coterie.core.replica import MemberProgress
from coterie.core.state import State
from coterie.core.types import NOBODY, MemberId, Nanos


class Roster:
    """One leadership's followers, kept in step with the membership."""

    def __init__(self, state: State, now: Nanos) -> None:
        self._state = state
        self.progress = {member: Progress(state.config, state.log.last_index + 1, now) for member in state.others}
        self.catch_up = CatchUp(state.config)
        self.departures = Departures(state)

    def renew(self, now: Nanos) -> None:
        """The membership changed: whoever is new is sent to, whoever left is told so."""
        state = self._state
        for member in state.others:
            if member not in self.progress:
                self.departures.members.pop(member, None)
                self.progress[member] = Progress(state.config, state.log.last_index + 1, now)
        for member in [member for member in self.progress if member not in state.others]:
            self.departures.add(now, member, self.progress.pop(member))
            self.catch_up.forget(member)

    def best_voter(self, now: Nanos) -> MemberId:
        """The most advanced other voter, one that answers before one that does not; 0 if there is none."""
        timeout = self._state.config.election_timeout
        return max(
            (member for member, p in self.progress.items() if p.counts and member in self._state.membership.voters),
            key=lambda m: (now - self.progress[m].heard_at <= timeout, self.progress[m].match),
            default=NOBODY,
        )

    def answering(self, now: Nanos) -> set[MemberId]:
        """Members that were heard within an election timeout and whose word counts, and this one."""
        timeout = self._state.config.election_timeout
        heard = {member for member, p in self.progress.items() if p.counts and now - p.heard_at <= timeout}
        return heard | {self._state.own}

    def stranger(self, now: Nanos, sender: MemberId) -> None:
        """Somebody who is no member wants to lead: it was removed, and does not know it yet."""
        state = self._state
        if state.membership.member(sender) is None and sender not in self.departures.members:
            self.departures.add(now, sender, Progress(state.config, state.log.last_index + 1, now))

    def everyone(self, now: Nanos) -> Mapping[MemberId, Progress]:
        """All that something is sent to."""
        departed = self.departures.members
        if not departed:
            return self.progress
        self.departures.expire(now)
        return self.progress | {member: departure.progress for member, departure in departed.items()}

    def known(self, now: Nanos, snapshot_offset: Callable[[MemberId], int]) -> tuple[MemberProgress, ...]:
        """See `Replica.progress`."""
        last = self._state.log.last_index
        return tuple(
            MemberProgress(
                id=member,
                match=p.match,
                heard_at=p.heard_at,
                mode=p.mode.name.lower() if p.counts else "repair",
                snapshot_offset=snapshot_offset(member),
                caught_up=not self.catch_up.shortfall(now, member, p, last),
            )
            for member, p in self.progress.items()
        )
