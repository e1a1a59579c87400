"""What operators ask of a leader: another membership (dissertation 4), other settings. Or why they cannot have it."""

from __future__ import annotations

import msgspec

from coterie.core import quorum
from coterie.core.leading.leadership import Leadership
from coterie.core.leading.membership import Rejection, leave, plan
from coterie.core.replica import Accepted, Refusal, Refused
from coterie.core.settings import Settings
from coterie.core.state import State
from coterie.core.types import Entry, Membership, MembershipChange, Nanos, Token

_settings_encoder = msgspec.msgpack.Encoder()


class Changes:
    """Judges what is asked, and has it appended."""

    def __init__(self, state: State) -> None:
        self._state = state

    def membership(self, now: Nanos, token: Token, change: MembershipChange, leadership: Leadership) -> None:
        """See `Replica.change_membership`."""
        rejection = self._not_now(leadership)
        if rejection is None and leadership.change_under_way:
            # Two changes at once are two memberships whose quorums need not meet (4.3; catalogue M02).
            rejection = Rejection(Refusal.NOT_NOW, "another change of the membership is under way")
        if rejection is not None:
            self._refuse(token, rejection)
            return
        # Votes are for a term, which anybody may seek: quorums that elect must meet, or it has two leaders (5.2).
        planned = plan(self._state.membership, change, electors_meet=self._state.electors_meet)
        if isinstance(planned, Rejection):
            self._refuse(token, planned)
            return
        if not change.force:
            rejection = self._behind(now, change, leadership) or self._silent(now, planned, leadership)
        if rejection is not None:
            self._refuse(token, rejection)
            return
        self._accept(token, leadership.append_membership(now, planned))

    def settings(self, now: Nanos, token: Token, settings: Settings, leadership: Leadership) -> None:
        """See `Replica.change_settings`."""
        state = self._state
        rejection = self._not_now(leadership)
        index, newest = state.newest_settings
        if rejection is None and index > state.commit:
            # They come all at once, made from the newest committed ones: a second change would undo the first.
            rejection = Rejection(Refusal.NOT_NOW, "another change of the settings is under way")
        if rejection is None and settings.version < newest.version:
            text = f"the cluster version is {newest.version}, and never goes back to {settings.version}"
            rejection = Rejection(Refusal.INVALID, text)
        if rejection is not None:
            self._refuse(token, rejection)
            return
        settings = msgspec.structs.replace(settings, serial=newest.serial + 1)
        self._accept(token, leadership.append_settings(now, _settings_encoder.encode(settings)))

    def _accept(self, token: Token, entry: Entry) -> None:
        self._state.outbox.outcomes.append(Accepted(token, entry.index, entry.epoch, entry.payload))

    def _refuse(self, token: Token, rejection: Rejection) -> None:
        state = self._state
        state.outbox.outcomes.append(Refused(token, rejection.reason, state.own, rejection.detail))

    def _not_now(self, leadership: Leadership) -> Rejection | None:
        """Why nothing can be changed at this moment."""
        if leadership.handing_over:
            return Rejection(Refusal.NOT_NOW, "leadership is being handed over")
        if self._state.no_space:
            return Rejection(Refusal.NO_SPACE, "the leader's disk is full")
        if not leadership.has_committed:
            # Until then it does not know which membership, or which settings, an earlier leader has committed:
            # one that it makes from older ones could have quorums that do not meet those (raft-dev 2015; M01).
            return Rejection(Refusal.NOT_NOW, "the leader has only just been elected: it has committed nothing yet")
        return None

    def _behind(self, now: Nanos, change: MembershipChange, leadership: Leadership) -> Rejection | None:
        """Who is to be promoted must have the log, or the group stops until it has (4.2.1; catalogue M10, M14)."""
        state = self._state
        for member in change.promote:
            progress = leadership.progress.get(member)
            if progress is None:
                name = next(added.name for added in change.add if added.id == member)
                text = f"{name} is new: add it as a learner first, and promote it when it has caught up"
                return Rejection(Refusal.NOT_NOW, text)
            shortfall = leadership.roster.catch_up.shortfall(now, member, progress, state.log.last_index)
            if shortfall:
                return Rejection(Refusal.NOT_NOW, f"{state.name(member)} has not caught up: {shortfall}")
        return None

    def _silent(self, now: Nanos, planned: Membership, leadership: Leadership) -> Rejection | None:
        """The new voters must be able to decide, or the group stops at this change.

        That they can commit the joint configuration, and elect once it is left. The old ones may be too few to elect:
        so they were before, and this may be the change that is to help."""
        if not planned.outgoing:
            return None
        answering = leadership.roster.answering(now)
        elects, commits = quorum.phase_1(leave(planned)), quorum.phase_2(planned)
        if elects.reached(answering) and commits.reached(answering):
            return None
        silent = [m.name for m in planned.members if m.id in planned.voters and m.id not in answering]
        text = f"too few voters would be left that answer: {', '.join(silent) or 'some of the present ones'} would not"
        return Rejection(Refusal.UNSAFE, text)
