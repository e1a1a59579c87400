"""Administrators: they add, promote, remove and replace members, hand leadership over, and change settings and quorum
sizes, while everything else goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from coterie.core.types import MemberId, Membership
from coterie.engine.admin_requests import (
    ANYBODY,
    AddedMember,
    AdminChange,
    ChangeMembers,
    ChangeQuorums,
    ChangeSetting,
    MembersChanged,
    NewMember,
    TransferLeadership,
)
from coterie.engine.protocol import Answer, Failure
from coterie.sim.asking import Cluster, Question
from coterie.sim.chance import exponential, happens, stream
from coterie.sim.options import Options
from coterie.sim.verdict import Figures

MAX_MEMBERS: Final = 7
MAX_NODES: Final = 14
"""Nodes that there ever are in one run."""


class Site(Cluster, Protocol):
    """What administrators need besides: the machines."""

    figures: Figures

    def membership(self) -> Membership:
        """The newest committed one."""
        ...

    def set_up(self, added: AddedMember) -> None:
        """Start the node of a member that was added, with an empty directory."""
        ...

    def nodes_made(self) -> int:
        """How many there ever were."""
        ...

    def insist(self) -> None:
        """An administrator asks for a change whatever speaks against it."""
        ...

    def repairing(self) -> bool:
        """Whether some member's log is being repaired, or may be damaged."""
        ...

    def lost(self) -> MemberId:
        """The member whose disk is lost, has gone back in time, or is damaged; nobody: 0."""
        ...


class Operator:
    """One administrator, with one wish at a time."""

    def __init__(self, options: Options, site: Site, number: int) -> None:
        self._options = options
        self._site = site
        self._rng = stream(options.seed, f"operator {number}")
        self._on = True
        self._question: Question | None = None
        self._names = options.nodes + 100 * number
        self._vacant: list[str] = []
        self.settled = True
        """What was asked for has happened, or never will."""
        self._wishes: list[Callable[[], None]] = []
        if options.has("membership"):
            self._wishes += [self._add, self._promote, self._promote, self._remove, self._replace]
        if options.has("transfer"):
            self._wishes += [self._transfer, self._transfer]
        if options.has("snapshot") or options.has("lease"):
            self._wishes += [self._set]
        if options.has("quorums"):
            self._wishes += [self._resize, self._resize]
        self._interval = options.election_timeout * self._rng.choice((1, 2, 4))
        if self._wishes:
            self._schedule()

    @property
    def idle(self) -> bool:
        """Nothing is under way, and nothing that was asked for may happen yet."""
        return self.settled and (self._question is None or self._question.over)

    def stop(self) -> None:
        """No more wishes; what is under way is left to itself."""
        self._on = False
        if self._question is not None:
            self._question.abandon()

    def _schedule(self) -> None:
        self._site.schedule.after(exponential(self._rng, self._interval), "operator", self._act)

    def _act(self) -> None:
        if self._on:
            self._schedule()
            # No change while a member counts for nothing: without it the others may be too few for what comes.
            if (self._question is None or self._question.over) and not self._site.repairing():
                self._rng.choice(self._wishes)()

    def _ask(self, make: Callable[[bool], AdminChange], told: Told) -> None:
        timeout = self._options.election_timeout * 3
        patience = self._options.election_timeout * self._rng.choice((4, 20))

        def done(outcome: Answer | Failure | None) -> None:
            assert self._question is not None
            # Who gives up with an attempt that has no outcome knows nothing from then on.
            self.settled = self.settled and not self._question.uncertain
            if isinstance(outcome, Answer):
                told(outcome.body)

        self._question = Question(self._site, self._rng, timeout, patience, make, done)

    # -- wishes ----------------------------------------------------------------------------------

    def _change(
        self,
        *,
        add: tuple[NewMember, ...] = (),
        promote: tuple[str, ...] = (),
        remove: tuple[str, ...] = (),
        force: bool = False,
    ) -> None:
        if force:
            self._site.insist()

        def told(body: bytes) -> None:
            changed = msgspec.msgpack.decode(body, type=MembersChanged)
            for member in changed.added:
                self._site.set_up(member)

        self._ask(lambda again: ChangeMembers(1, add, promote, remove, force, again), told)

    def _new(self) -> NewMember:
        """A new name, or that of a member which was removed because it was lost: another directory, on its machine."""
        taken = [m.name for m in self._site.membership().members]
        if self._vacant and self._vacant[-1] not in taken and self._rng.getrandbits(1):
            return _named(self._vacant.pop())
        self._names += 1
        return _named(f"n{self._names}")

    def _add(self) -> None:
        room = min(MAX_MEMBERS - len(self._site.membership().members), MAX_NODES - self._site.nodes_made())
        if room > 0:
            self._change(add=tuple(self._new() for _ in range(min(room, self._rng.choice((1, 1, 1, 2))))))

    def _promote(self) -> None:
        if self._site.lost():
            return
        membership = self._site.membership()
        learners = [m.name for m in membership.members if m.id in membership.learners]
        if learners:
            count = self._rng.randrange(1, len(learners) + 1)
            self._change(promote=tuple(self._rng.sample(learners, count)), force=happens(self._rng, 200))

    def _remove(self) -> None:
        """Who is lost first; and while somebody is, nobody else: that is what administrators know to do."""
        membership = self._site.membership()
        lost = membership.member(self._site.lost())
        if lost is not None:
            self._vacant.append(lost.name)
            self._change(remove=(lost.name,))
        elif not self._site.lost():
            voters = len(membership.voters)
            most = max(0, voters - 2) if self._rng.randrange(4) else max(0, voters - 1)
            leavers = self._rng.sample(membership.members, min(self._rng.choice((1, 1, 2)), len(membership.members)))
            if leavers and sum(m.id in membership.voters for m in leavers) <= most:
                self._change(remove=tuple(m.name for m in leavers))

    def _replace(self) -> None:
        """Learners for voters, in one change."""
        membership = self._site.membership()
        if self._site.lost():
            return
        learners = [m.name for m in membership.members if m.id in membership.learners]
        voters = [m.name for m in membership.members if m.id in membership.voters]
        if learners and voters:
            count = self._rng.randrange(1, min(len(learners), len(voters)) + 1)
            promoted = tuple(self._rng.sample(learners, count))
            self._change(promote=promoted, remove=tuple(self._rng.sample(voters, count)))

    def _resize(self) -> None:
        """Few to commit, most often, sometimes few to elect, and sometimes what would not do. Not while somebody is
        lost: more might then have to elect than there are."""
        if self._site.lost():
            return
        voters = len(self._site.membership().voters)
        chosen, other = self._rng.randrange(voters + 1), self._rng.randrange(voters + 2)
        sizes = self._rng.choice(((None, chosen), (None, chosen), (chosen, None), (0, 0), (other, chosen)))
        self._ask(lambda again: ChangeQuorums(1, *sizes), lambda body: None)

    def _transfer(self) -> None:
        membership = self._site.membership()
        names = [m.name for m in membership.members]
        to = self._rng.choice((*names, ANYBODY))

        def told(body: bytes) -> None:
            self._site.figures.transfers += 1

        self._ask(lambda again: TransferLeadership(1, to), told)

    def _set(self) -> None:
        choices = []
        if self._options.has("snapshot"):
            choices += [
                ("snapshot_log_bytes", ("400", "2000", "8000")),
                ("snapshot_log_ratio", ("0", "1")),
                ("snapshot_keep_entries", ("0", "2", "10")),
                ("divergence_check_ms", ("0", "50", "300")),
            ]
        if self._options.has("lease"):
            timeout = self._options.election_timeout // 1_000_000
            choices += [
                ("lease_reads", ("true", "true", "false")),
                ("lease_ms", (str(timeout // 2), str(timeout), str(timeout * 2))),
            ]
        name, values = self._rng.choice(choices)
        value = self._rng.choice(values)
        self._ask(lambda again: ChangeSetting(1, name, value), lambda body: None)


Told = Callable[[bytes], None]


def _named(name: str) -> NewMember:
    return NewMember(name, f"{name}:1", f"{name}:2")
