"""What administrators ask for in peace, at a run's end: each thing is done soon, and then every member knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from coterie.core.types import MemberId
from coterie.engine.admin_requests import (
    AdminChange,
    ChangeMembers,
    ChangeQuorums,
    ChangeSetting,
    NewMember,
    TransferLeadership,
)
from coterie.engine.protocol import Answer, Failure
from coterie.sim.asking import Question
from coterie.sim.chance import stream
from coterie.sim.verdict import Violation

if TYPE_CHECKING:
    from coterie.sim.world import World

ASKED_TIMEOUTS: Final = 12
"""How many election timeouts an administrator goes on asking for one thing."""
LATE: Final = "late"
"""The name of a member that is added at the very end."""
QUOTA: Final = 2_000_000_000
"""Bytes: the setting that is changed. No cluster here comes near it."""


class Administration:
    """Everything that can be asked for, one after the other (3.10; 4; "Flexible Paxos"). Who joins here never starts;
    nothing waits for a learner."""

    def __init__(self, world: World, core: list[MemberId]) -> None:
        """`core`: members that are well, and among themselves enough."""
        self._world = world
        self._core = core
        self._target = ""
        self._sizes: tuple[int, ...] = ()

    def ask(self) -> None:
        """Ask for it all. Raises `Violation` where something is not to be had."""
        self._ask_for("a setting", ChangeSetting(1, "quota_bytes", str(QUOTA)))
        self._ask_for("a learner", ChangeMembers(1, add=(NewMember(LATE, f"{LATE}:1", f"{LATE}:2"),)))
        self._ask_for("its removal", ChangeMembers(1, remove=(LATE,)))
        self._count_by(0)  # for sizes that were chosen for fewer voters may not do for more
        membership = self._world.membership()
        ready = tuple(m.name for m in membership.members if m.id in {*membership.learners} & {*self._core})
        if ready:
            self._ask_for(f"the promotion of {ready}", ChangeMembers(1, promote=ready))
        self._count_by(len(self._world.membership().voters) // 2 + 1)
        self._hand_over()

    def _count_by(self, size: int) -> None:
        """Elect and commit by so many, or by a majority, if the core has one."""
        voters = self._world.membership().voters
        if 2 * sum(voter in self._core for voter in voters) > len(voters):
            self._sizes = (size, size)
            self._ask_for(f"quorums of {size}", ChangeQuorums(1, size, size))

    def _hand_over(self) -> None:
        world = self._world
        membership, leader = world.membership(), world.leader()
        heirs = {*membership.voters} & {*self._core} - {leader}
        others = [m.name for m in membership.members if m.id in heirs]
        if others:
            self._target = stream(world.options.seed, "hand over").choice(others)
            self._ask_for(f"{self._target} for {leader} as its leader", TransferLeadership(1, self._target))

    def check(self) -> None:
        """All that was promised holds, and each of the core knows it."""
        world = self._world
        membership, leader = world.membership(), world.leader()
        heir = membership.member(leader)
        if self._target and (heir is None or heir.name != self._target):
            raise Violation("administered", f"{self._target} was to lead, and was said to; it is {heir}")
        for member in self._core:
            living = world.nodes[member].living
            quota, known = living.host.settings.quota_bytes, living.replica.membership
            learners = [learner for learner in known.learners if learner in self._core]
            late = [m.name for m in known.members if m.name == LATE]
            if quota != QUOTA:
                raise Violation("administered", f"{member} knows a quota of {quota}, where {QUOTA} was set")
            if learners or late:
                raise Violation("administered", f"{member} has learners {learners} that were promoted, or {late}")
            if self._sizes and self._sizes != (known.phase_1, known.phase_2):
                raise Violation("administered", f"{member} counts by {known}, where quorums are to be {self._sizes}")

    def _ask_for(self, what: str, request: ChangeSetting | ChangeMembers | ChangeQuorums | TransferLeadership) -> None:
        world, timeout = self._world, self._world.options.election_timeout
        rng, answers = stream(world.options.seed, f"administrator {what}"), list[Answer | Failure | None]()

        def make(again: bool) -> AdminChange:
            return msgspec.structs.replace(request, again=again) if isinstance(request, ChangeMembers) else request

        Question(world, rng, 3 * timeout, ASKED_TIMEOUTS * timeout, make, answers.append)
        deadline = world.schedule.now + (ASKED_TIMEOUTS + 4) * timeout
        while not answers and world.schedule.now < deadline:
            world.run_until(world.schedule.now + world.options.election_timeout // 20)
        if not (answers and isinstance(answers[0], Answer)):
            raise Violation("administered", f"{what} was asked for in peace, and is not to be had: {answers}")
