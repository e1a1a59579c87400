"""The rules that a pull keeps to, and what breaks without one or another of them."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from coterie.core.following.election import Election
from coterie.core.messages import PreVote, PreVoteReply, Pull, Suffix
from coterie.core.raft.election import RaftElection
from coterie.core.raft.pull import Puller
from coterie.core.types import Epoch, MemberId, Nanos, Role


class Impatient(RaftElection):
    """Sticks to nobody but itself, and yields to nobody."""

    def _leader_is_alive(self, now: Nanos) -> bool:
        return self._state.role is Role.LEADER

    def _yields_to(self, sender: MemberId, m: PreVote) -> bool:
        return False


class Forgetful(Impatient):
    """Goes on with a pull when a leader was heard."""

    def follow(self, now: Nanos, leader: MemberId, reason: str) -> None:
        Election.follow(self, now, leader, reason)


class Old(Impatient):
    """Pulls without taking up the refuser's epoch."""

    def newer_epoch_seen(self, now: Nanos, sender: MemberId, epoch: Epoch) -> None:
        """Not heeded."""

    def handle_pre_vote_reply(self, now: Nanos, sender: MemberId, m: PreVoteReply) -> None:
        super().handle_pre_vote_reply(now, sender, msgspec.structs.replace(m, epoch=self._state.epoch))

    def handle_pull(self, now: Nanos, sender: MemberId, m: Pull) -> None:
        before = len(self._state.outbox.send)
        super().handle_pull(now, sender, msgspec.structs.replace(m, epoch=max(m.epoch, self._state.epoch)))
        sent = self._state.outbox.send
        sent[before:] = [(to, msgspec.structs.replace(x, epoch=m.epoch)) for to, x in sent[before:]]


class Hasty(Puller):
    """Cuts off entries in whatever epoch it is."""

    def _may_take(self, m: Suffix) -> bool:
        return True


class Greedy(Hasty):
    """And takes from a log that is older, too."""

    def _is_newer(self, m: Suffix) -> bool:
        return True


class Rules(NamedTuple):
    """What the members keep to."""

    election: type[RaftElection] = Impatient
    puller: type[Puller] = Puller


SHIPPED = Rules()
