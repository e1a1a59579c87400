"""How a run ends: everything heals, or only a quorum does; then all must be well, and all must be true."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from coterie.core.config import MILLISECOND
from coterie.core.types import Epoch, MemberId, Membership, Role
from coterie.sim.administration import Administration
from coterie.sim.api.rest import let_leases_end
from coterie.sim.backlog import time_to_copy
from coterie.sim.chance import stream
from coterie.sim.configurations import commits, decides, elects
from coterie.sim.verdict import Violation

if TYPE_CHECKING:
    from coterie.sim.world import World

BOUND_TIMEOUTS: Final = 20
"""After healing, everything must be well within so many election timeouts, and on top ..."""
BACKLOG: Final = 4000 * MILLISECOND
"""... in this time; or in what it takes at least to copy what members lack, where that is more (`time_to_copy`)."""
CALM_TIMEOUTS: Final = 3
"""How long the leader must then stay the same, and again while another member does not hear it."""


class Ending:
    """The last part of a run."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self._survivors: list[MemberId] = []
        """Who is not dead for ever."""

    def heal(self) -> None:
        """End all faults; bring back everyone, or a quorum for good while the others are dead for ever."""
        # Where all that is left takes the same time, only the members' own dice keep two from doing the same.
        steady = stream(self._world.options.seed, "steady").getrandbits(1) > 0
        self._world.faults.stop()
        for operator in self._world.operators:
            operator.stop()
        self._world.network.heal(steady=steady)
        leader = self._world.leader()
        for node in self._world.nodes.values():
            node.recover(steady=steady)
        memberships = [membership for membership in self._world.laws.memberships() if membership.voters]
        sound = [node.id for node in self._world.nodes.values() if node.sound and not node.gone]
        self._survivors = sound
        if self._world.options.core_only:
            order = self._rng.sample(sound, len(sound))
            if stream(self._world.options.seed, "hardest core").getrandbits(1):
                order = self._by_weakness(order, leader)
            sizes = range(1, len(order) + 1)
            enough = (order[:size] for size in sizes if all(decides(m, order[:size]) for m in memberships))
            self._survivors = sorted(next(enough, order))
        # They count for nothing until the others have repaired them, or let them in, which is looked for, too. Who was
        # made a voter by force may not have heard yet that it was let in, and nothing is decided without it.
        voters = {voter for membership in memberships for voter in (*membership.voters, *membership.outgoing)}
        nodes = self._world.nodes.values()
        coming = [n.id for n in nodes if (n.repairing or (n.joining and n.id in voters)) and not n.lost]
        self._survivors = sorted({*self._survivors, *coming})
        nuisances = self._nuisances(memberships)
        for node in self._world.nodes.values():
            if node.id not in self._survivors and node.id not in nuisances:
                node.bury()
        for client in self._world.clients:
            client.stay_within(self.core())

    def _by_weakness(self, members: list[MemberId], leader: MemberId) -> list[MemberId]:
        """Those that know least first, the leader last: a group of them can do as much as any, and it is hardest."""
        laws = self._world.laws
        return sorted(members, key=lambda member: (member == leader, laws.log_of(member).last_index))

    def _nuisances(self, memberships: list[Membership]) -> list[MemberId]:
        """In half of the worlds those outside of the core are not dead: each is cut off from all but one of the core,
        with whom it is no quorum. They may not disturb it (6.2; 4.2.3; catalogue R17, R18)."""
        rng = stream(self._world.options.seed, "nuisances")
        if rng.getrandbits(1):
            return []
        found = []
        for node in self._world.nodes.values():
            door = rng.choice(self._survivors)
            pair = [node.id, door]
            enough = any(elects(membership, pair) or commits(membership, pair) for membership in memberships)
            if node.id in self._survivors or node.gone or not node.sound or enough:
                continue
            found.append(node.id)
            others = [other for other in self._world.nodes if other not in pair]
            self._world.network.cut([(node.id, other) for other in others] + [(other, node.id) for other in others])
        return found

    def core(self) -> list[MemberId]:
        """The survivors that belong to the group."""
        return [m for m in self._survivors if self._world.membership().member(m)]

    def wait_until_well(self) -> None:
        """Liveness: within the bound every client has written and read, and the core agrees."""
        self._expect_well("after healing")
        # What administrators asked for last, a transfer perhaps, comes to its end.
        self._world.run_until(self._world.schedule.now + CALM_TIMEOUTS * self._world.options.election_timeout)
        self._expect_well("after healing")
        self._stay_calm()
        self._keep_leader()
        self._take_over()
        if let_leases_end(self._world):
            self._expect_well("after the leases' end")
        self._administer()

    def _expect_well(self, when: str) -> None:
        copying = time_to_copy(self._world, self.core())
        bound = BOUND_TIMEOUTS * self._world.options.election_timeout + max(BACKLOG, copying)
        deadline = self._world.schedule.now + bound
        while (trouble := self._trouble(self.core())) is not None:
            if self._world.schedule.now > deadline:
                lost = self._world.laws.lost(self._survivors)
                if lost is not None:
                    raise Violation("unrecoverable", f"nobody could do it: {lost}. {when}: {trouble}")
                raise Violation("liveness", f"{bound // MILLISECOND} ms {when}, and the disks have all: {trouble}")
            self._world.run_until(self._world.schedule.now + 50 * MILLISECOND)

    def _take_over(self) -> None:
        """The leader dies while nobody writes: reads must go on under the next one (6.4; catalogue L23)."""
        node = self._world.nodes[self._world.leader()]
        node.crash(power=True)
        node.recover()
        for client in self._world.clients:
            client.read_again()
        self._expect_well("after the leader's death")

    def _administer(self) -> None:
        administration = Administration(self._world, self.core())
        administration.ask()
        self._expect_well("after administrators had their will")
        administration.check()

    def _stay_calm(self) -> None:
        if (lost := self._lost_leader()) is not None:
            raise Violation("liveness", f"{lost} in peace, and lost it")

    def _lost_leader(self) -> str | None:
        """Who does not lead any more after a while; None if all is as it was."""
        leader, epoch = self._world.leader(), self._newest_epoch()
        self._world.run_until(self._world.schedule.now + CALM_TIMEOUTS * self._world.options.election_timeout)
        if self._world.leader() == leader and self._newest_epoch() == epoch:
            return None
        return f"{leader} led {epoch}"

    def _keep_leader(self) -> None:
        """A member that the leader can do without hears it no more, and all the others: they may not help it to power
        (6.2; 4.2.3; catalogue R18)."""
        world = self._world
        leader, core = world.leader(), self.core()
        membership = world.nodes[leader].living.replica.membership
        others = [m for m in core if m != leader and commits(membership, [n for n in core if n != m])]
        if not others:
            return
        deaf = stream(world.options.seed, "deaf").choice(others)
        pairs = [(leader, deaf), (deaf, leader)]
        world.network.cut(pairs)
        if (lost := self._lost_leader()) is not None:
            raise Violation("leader-kept", f"{lost}, a quorum heard it, {deaf} did not, and now it leads no more")
        world.network.mend(pairs)
        self._expect_well(f"after {deaf} hears {leader} again")

    def _newest_epoch(self) -> Epoch:
        return max(self._world.nodes[m].living.replica.epoch for m in self.core())

    def _trouble(self, core: list[MemberId]) -> str | None:
        """What is not yet well, in words."""
        dead = [m for m in core if self._world.nodes[m].engine is None]
        if dead:
            return f"{dead} are not up"
        nodes = self._world.nodes
        led = [m for m in core if nodes[m].role is Role.LEADER]
        if len(led) != 1:
            epochs = [(m, nodes[m].living.replica.epoch.round, nodes[m].role.name) for m in core]
            return f"leaders: {led} in {epochs}"
        repairing = [m for m in core if nodes[m].repairing]
        if repairing:
            return f"{repairing} are not repaired"
        states = [(m, nodes[m].living.host.applied, nodes[m].living.replica.commit) for m in core]
        waiting = [c.describe() for c in self._world.clients if not c.satisfied]
        if waiting:
            return f"clients {waiting} not done; leader {led}; (member, applied, commit): {states}"
        if len({applied for _, applied, _ in states}) != 1:
            return f"replicas have not applied the same: {states}"
        if self._world.nodes[led[0]].living.replica.membership.outgoing:
            return f"{led} does not leave the joint configuration"
        return None

    def check(self) -> None:
        core = self.core()
        digests = {m: self._world.nodes[m].living.host.digest() for m in core}
        if len(set(digests.values())) != 1:
            raise Violation("same-state", f"digests differ at the end: {[(m, d.hex()) for m, d in digests.items()]}")
        judge = self._world.subject.judge
        for member in core:
            host = self._world.nodes[member].living.host
            if host.applied < judge.applied_index:
                raise Violation("acknowledged-stays", f"{member} has not applied all that was applied before")
            judge.check_replica(member, host)
        judge.check()
