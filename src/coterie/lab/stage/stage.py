"""A cluster on a stage: members of the shipped code in chosen sites, and a script instead of misfortunes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from coterie.core.protocols import DEFAULT_PROTOCOL
from coterie.core.settings import Settings
from coterie.core.types import NOBODY, MemberId, Nanos
from coterie.engine.admin_requests import AdminRequest, TransferLeadership
from coterie.engine.config import EngineConfig
from coterie.engine.protocol import Answer, Failure, Request, Response
from coterie.lab.stage.calls import Call
from coterie.lab.stage.cost import FREE, Cost
from coterie.lab.stage.geography import Geography, Ground, Storm
from coterie.lab.stage.meter import Meter
from coterie.lab.stage.scene import Scene
from coterie.lab.stage.toll import Toll
from coterie.lab.stage.unjudged import Unjudged
from coterie.sim.asking import Question
from coterie.sim.chance import stream
from coterie.sim.options import choose
from coterie.sim.world import World


class Stage(World, Scene):
    """The simulated world with a geography and no faults of its own. The laws of both protocols are checked at every
    step, as always: `Violation` is raised where one is broken.

    Members are numbered from 1 in the order of `members`, which says each one's site; clients from 1, too. Cuts are
    between sites, and cut clients off as well.
    """

    def __init__(
        self,
        geography: Geography,
        members: Sequence[int],
        *,
        seed: int,
        protocol: str = DEFAULT_PROTOCOL,
        config: EngineConfig | None = None,
        settings: Settings | None = None,
        noticed: bool = False,
        disks_ms: Mapping[MemberId, float] | None = None,
        drift_ppm: int = 0,
        loss_permille: int = 0,
        cost: Cost = FREE,
    ) -> None:
        """`noticed`: peers see that a process has ended. `drift_ppm`: clocks are so many millionths fast or slow.
        `loss_permille`: of a thousand messages between members, so many are lost. `cost`: what messages take of a
        member's processor."""
        self.ground = Ground(geography, stream(seed, "ground"), noticed=noticed, disks_ms=disks_ms or {})
        self.ground.members.update(enumerate(members, 1))
        self.meter: Meter = Meter() if cost == FREE else Toll(cost, self.pause)
        self.calls: list[Call] = []
        config = config if config is not None else EngineConfig()
        drawn = choose(seed, nodes=len(members), protocol=protocol)
        options = msgspec.structs.replace(
            drawn,
            clients=0,
            faults=("clock",) if drift_ppm else (),
            election_timeout=config.replica.election_timeout,
            heartbeat_interval=config.replica.heartbeat_interval,
            loss_permille=loss_permille,
            duplicate_permille=0,
            reorder_permille=0,
            hold_permille=0,
            settings=settings if settings is not None else Settings(),
            drift_ppm=drift_ppm,
            core_only=False,
            whims=(),
        )
        self._cut_sites: set[tuple[int, int]] = set()
        super().__init__(options, Unjudged(), self.meter, terrain=self.ground, config=config)
        # Two clocks, one fast and one slow, differ by twice as much: beyond the bound leases promise nothing.
        self.laws.judges_leases = 2 * drift_ppm <= options.settings.clock_drift_permille * 1000
        self.faults.stop()
        for node in self.nodes.values():
            node.start()

    # -- who leads -------------------------------------------------------------------------------

    def wait_for_leader(self) -> MemberId:
        """Let time pass until a member leads and has committed in its epoch; that member."""
        self.wait(self.is_led, "a member leads, and has committed an entry of its epoch")
        return self.leader()

    def is_led(self) -> bool:
        """Whether a member leads, and has committed an entry of its epoch."""
        leader = self.leader()
        reign = self.meter.reign(leader) if leader != NOBODY else None
        return reign is not None and self.nodes[leader].living.replica.commit >= reign.last

    def lead(self, member: MemberId) -> None:
        """Make this member the leader, as an administrator does, and wait until it leads."""
        while self.wait_for_leader() != member:
            self.ask(lambda: self.transfer_to(member))
            self.run_for(self.options.election_timeout)

    # -- what is done to it ----------------------------------------------------------------------

    def cut(self, pairs: Collection[tuple[int, int]]) -> None:
        """From now on nothing passes between these sites, either way."""
        for one, other in pairs:
            for pair in ((one, other), (other, one)):
                if pair not in self._cut_sites:
                    self._cut_sites.add(pair)
                    self.network.cut(self._links(pair))

    def storm(self, until: Nanos, mean: Nanos) -> None:
        """Before the true time `until`, each message between members takes longer: exponentially, with this mean."""
        self.ground.storm = Storm(until=until, mean=mean, clock=lambda: self.schedule.now)

    def mend(self) -> None:
        """End every cut."""
        for pair in sorted(self._cut_sites):
            self.network.mend(self._links(pair))
        self._cut_sites.clear()

    def _links(self, pair: tuple[int, int]) -> list[tuple[MemberId, MemberId]]:
        where = self.ground.members
        return [(a, b) for a in where for b in where if a != b and (where[a], where[b]) == pair]

    def crash(self, member: MemberId) -> None:
        """Its process ends, and its machine loses power: what was not synced is lost. It stays down until `restart`."""
        self.nodes[member].crash(power=True)
        self.nodes[member].gone = True

    def restart(self, member: MemberId) -> None:
        """Its process begins again on what its disk holds."""
        self.nodes[member].gone = False
        self.nodes[member].start()

    def pause(self, member: MemberId, duration: Nanos) -> None:
        """It takes no step for so long (SIGSTOP, a collector's pause)."""
        self.nodes[member].pause(duration)

    # -- administrators --------------------------------------------------------------------------

    def ask(self, make: Callable[[], AdminRequest]) -> Answer | Failure | None:
        """Ask whoever leads, until the outcome is certain; None: nobody answered in twenty election timeouts."""
        told: list[Answer | Failure | None] = []
        timeout = self.options.election_timeout
        Question(self, self._rng, timeout * 3, timeout * 20, lambda again: make(), told.append)
        self.wait(lambda: bool(told), "an administrator's request has an outcome", timeout * 30)
        return told[0]

    def transfer_to(self, member: MemberId) -> AdminRequest:
        """The request by which a member is made the leader."""
        return TransferLeadership(1, f"n{member}")

    # -- cuts, as clients feel them ----------------------------------------------------------------

    def _severed(self, connection: int) -> bool:
        found = self._connections.get(connection)
        if found is None or found.client not in self.ground.clients:
            return False
        return (self.ground.clients[found.client], self.ground.members[found.member]) in self._cut_sites

    def request(self, connection: int, request: Request) -> None:
        """See `clients.Wire`."""
        if not self._severed(connection):
            super().request(connection, request)

    def reply(self, connection: int, response: Response) -> None:
        """See `process.Surroundings`."""
        if isinstance(self.meter, Toll) and (found := self._connections.get(connection)) is not None:
            self.meter.replied(found.member)
        if not self._severed(connection):
            super().reply(connection, response)
