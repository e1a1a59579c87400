"""The whole cluster, its clients and their misfortunes in one thread: one seed, one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Final

import msgspec

from coterie.core.config import ReplicaConfig
from coterie.core.errors import SafetyViolation
from coterie.core.messages import Message
from coterie.core.types import NO_EPOCH, NOBODY, Entry, EntryKind, Epoch, Member, MemberId, Membership, Nanos, Role
from coterie.engine.admin_requests import AddedMember, ClaimMember
from coterie.engine.engine import EngineConfig
from coterie.engine.protocol import (
    Answer,
    Failure,
    FailureCode,
    Request,
    Response,
    View,
    encoder,
    request_decoder,
    response_decoder,
)
from coterie.runtime.handshake import RefusalCode
from coterie.sim.ambush import Moment
from coterie.sim.api.cast import callers
from coterie.sim.api.judge import ApiHistory, ApiSubject, names_value
from coterie.sim.api.wire import Calls, TellHost
from coterie.sim.asking import Question
from coterie.sim.chance import exponential, stream
from coterie.sim.clients import Client, Closed, RawClient, Receive
from coterie.sim.configurations import decides
from coterie.sim.core_client import CoreClient
from coterie.sim.ending import Ending
from coterie.sim.faults import Faults, Victim
from coterie.sim.judges import judge
from coterie.sim.laws import Laws
from coterie.sim.network import Network, Sender
from coterie.sim.node import Node
from coterie.sim.operator import Operator
from coterie.sim.options import ETCD, NATIVE, Options
from coterie.sim.schedule import Schedule
from coterie.sim.subject import Subject
from coterie.sim.terrain import Terrain
from coterie.sim.verdict import Result, Violation
from coterie.sim.whims import MemberWhims
from coterie.sim.witness import Witness
from coterie.sim.workload import KeyValueSubject
from coterie.storage.first_entry import cluster_id, first_entry

OPERATORS: Final = 2
"""Administrators that do not know of each other."""
CLIENT_DELAY: Final = 300_000
"""Mean delay between a client and a member, in nanoseconds."""


class Connection(msgspec.Struct):
    """A client's connection to one life of one member."""

    client: int
    member: MemberId
    life: int
    """Number of the member's process; 0 if nobody listened."""
    receive: Receive
    closed: Closed
    to_member: Nanos = 0
    """Arrival of the newest request: a connection keeps the order."""
    to_client: Nanos = 0
    is_open: bool = True
    greeted: bool = False
    """It said hello, so it is told who leads."""


class World:
    """Builds the cluster that the options describe, and runs it."""

    def __init__(
        self,
        options: Options,
        subject: Subject | None = None,
        witness: Witness | None = None,
        *,
        terrain: Terrain | None = None,
        config: EngineConfig | None = None,
    ) -> None:
        """`subject`: what it is about; the key-value machine unless it is said. `witness`: who watches. `terrain`, and
        the members' `config`: where they are not to be drawn."""
        self.options = options
        self.terrain = terrain
        self.schedule = Schedule()
        self.subject = subject if subject is not None else self._own_subject()
        self.api_calls = Calls(self.schedule, self, stream(options.seed, "calls")) if options.api != NATIVE else None
        self.witness = witness if witness is not None else Witness()
        self._fired: Counter[str] = Counter()
        self.figures = self.subject.figures
        members = tuple(
            Member(number, f"n{number}", f"n{number}:1", f"n{number}:2") for number in range(1, options.nodes + 1)
        )
        self.laws: Laws = judge(options.protocol, [m.id for m in members], self.figures)
        self.network = Network(options, self.schedule, self._arrive, self.witness, terrain)
        self._rng = stream(options.seed, "world")
        self._connections: dict[int, Connection] = {}
        self._made = 0
        if config is None:
            config = self._drawn_config()
        first = [first_entry(members)]
        self._cluster = cluster_id(first[0])
        self._config = config
        if options.faults or terrain is not None:
            payload = msgspec.msgpack.encode(msgspec.structs.replace(options.settings, serial=1))
            first.append(Entry(2, NO_EPOCH, EntryKind.SETTINGS, 0, payload))
        self.nodes = {m.id: Node(m, self._cluster, config, self, first) for m in members}
        self._by_name = {node.member.name: node for node in self.nodes.values()}
        self.ending = Ending(self, self._rng)
        self._known = [*self.nodes]
        """Members that clients have heard of."""
        self.clients: list[Client] = []
        self.add_clients(range(options.clients if options.api != ETCD else 0), self._known)
        if self.api_calls is not None and isinstance(history := self.subject.judge, ApiHistory):
            self.laws.machines.unique = names_value
            self.clients += callers(options, self._known, self.api_calls, history)
        self._victims: list[Victim] = [*self.nodes.values()]
        self.faults = Faults(
            options,
            self.schedule,
            self.network,
            self._victims,
            self.leader,
            self.may_damage,
            self.clients,
            self.subject.judge,
        )
        self.operators = [Operator(options, self, number) for number in range(OPERATORS)]

    def _own_subject(self) -> Subject:
        return KeyValueSubject() if self.options.api == NATIVE else ApiSubject(lambda: self.schedule.now, self.options)

    def _drawn_config(self) -> EngineConfig:
        options = self.options
        return EngineConfig(
            replica=ReplicaConfig(
                election_timeout=options.election_timeout,
                heartbeat_interval=options.heartbeat_interval,
                max_append_bytes=self._rng.choice((1, 2_000, 1 << 20)),
                max_inflight_messages=self._rng.choice((1, 3, 256)),
                max_inflight_bytes=self._rng.choice((30_000, 1 << 24)),
                max_committed_bytes=(committed := self._rng.choice((2_000, 1 << 22))),
                max_committed_entries=3 if committed == 2_000 else 256,
                max_cached_bytes=self._rng.choice((1_000, 50_000, 1 << 25)),
                max_uncommitted_bytes=self._rng.choice((60_000, 1 << 26)),
                max_snapshot_chunk_bytes=options.chunk_bytes,
                max_snapshot_bytes_per_s=options.snapshot_rate,
            ),
            request_timeout=options.election_timeout * 10,
            max_batch_commands=self._rng.choice((2, 8192)),
        )

    def add_clients(self, numbers: Iterable[int], members: list[MemberId]) -> None:
        """More clients, with these numbers, that know these members; the list may grow."""
        for number in numbers:
            kind = CoreClient if number < 2 else RawClient
            self.clients.append(kind(number, self.options, members, self, self.subject))

    # -- running -------------------------------------------------------------------------------

    def run(self) -> Result:
        """The run's figures and trace. Raises `Violation` where a law is broken."""
        try:
            for node in self.nodes.values():
                node.start()
            self.run_until(self.options.duration)
            self.ending.heal()
            self.ending.wait_until_well()
            self.ending.check()
        except Violation as violation:
            raise Violation(violation.check, violation.detail, replay=self.options.replay()) from violation
        except SafetyViolation as alarm:
            raise Violation("alarm", str(alarm), replay=self.options.replay()) from alarm
        return self.result()

    def result(self) -> Result:
        """Figures and trace so far."""
        self.figures.messages = self.network.messages
        self.figures.events = self.schedule.events
        self.figures.membership_changes = self.laws.configurations.changes
        self.figures.quorum_changes = self.laws.configurations.resized
        self.figures.replays = self.laws.machines.replays
        return Result(
            seed=self.options.seed,
            figures=self.figures,
            trace=self.schedule.trace(),
            whims=dict(sorted(self._fired.items())),
            ended_at=self.schedule.now,
        )

    def run_until(self, when: Nanos) -> None:
        """Let events happen until this time."""
        self.schedule.run_until(when)

    def whims_of(self, member: MemberId) -> MemberWhims:
        """See `process.Surroundings`."""
        active = self.options.whims if self.options.has("whims") else ()
        return MemberWhims(stream(self.options.seed, f"whims {member}"), active, self._fired)

    def moment(self, member: MemberId, moment: Moment) -> None:
        """See `process.Surroundings`."""
        self.figures.ambushes += self.faults.moment(member, moment)

    def leader(self) -> MemberId:
        """The living member that leads the highest epoch, or nobody."""
        led = [
            (n.engine.replica.epoch, n.id)
            for n in self.nodes.values()
            if n.engine is not None and n.role is Role.LEADER
        ]
        return max(led)[1] if led else NOBODY

    # -- administrators, and what they need to know --------------------------------------------

    def membership(self) -> Membership:
        """See `operator.Site`."""
        return self.laws.configurations.chosen

    def life_of(self, member: MemberId) -> int:
        """See `api.wire.Members`."""
        return self.nodes[member].life if self.nodes[member].up else 0

    def tell_host(self, member: MemberId, life: int, tell: TellHost) -> None:
        """See `api.wire.Members`."""
        self.nodes[member].tell_api(life, tell)

    def serving(self) -> list[MemberId]:
        """See `asking.Cluster`."""
        return [node.id for node in self.nodes.values() if node.up]

    def nodes_made(self) -> int:
        """See `operator.Site`."""
        return len(self.nodes)

    def set_up(self, added: AddedMember) -> None:
        """See `operator.Site`."""
        if added.id in self.nodes:
            return
        member = Member(added.id, added.name, added.peer, added.client)
        node = self.nodes[added.id] = self._by_name[added.name] = Node(member, self._cluster, self._config, self, ())
        self.laws.join(added.id)
        self._known.append(added.id)
        self._victims.append(node)
        node.start()

    def ask_claim(self, member: MemberId, claim: int) -> None:
        """See `process.Surroundings`."""
        node, timeout = self.nodes[member], self.options.election_timeout

        def done(outcome: Answer | Failure | None) -> None:
            if isinstance(outcome, Answer):
                node.claimed(claim)
            elif outcome is None or outcome.code is not FailureCode.INVALID:
                self.schedule.after(timeout, "claim again", lambda: node.start() if not node.up else None)

        request = ClaimMember(1, member, claim, node.member.client)
        Question(self, self._rng, timeout * 3, timeout * 20, lambda again: request, done)

    def insist(self) -> None:
        """See `operator.Site`."""
        self.laws.configurations.forced = True

    def lost(self) -> MemberId:
        """See `operator.Site`."""
        members = [self.nodes[m.id] for m in self.membership().members if m.id in self.nodes]
        return next((node.id for node in members if node.lost), NOBODY)

    def repairing(self) -> bool:
        """See `operator.Site`."""
        return any(node.ailing for node in self.nodes.values() if not node.gone)

    def may_damage(self, member: MemberId) -> bool:
        """Whether the cluster can do without this member's disk, whatever becomes of the changes under way."""
        belongs = any(membership.member(member) for membership in self.laws.memberships())
        if not belongs or self.nodes[member].gone or not all(operator.idle for operator in self.operators):
            return False
        sound = [node.id for node in self.nodes.values() if node.sound and not node.gone]
        if member not in sound:
            return False
        others = [other for other in sound if other != member]
        return all(decides(membership, others) for membership in self.laws.memberships() if membership.voters)

    # -- between members -----------------------------------------------------------------------

    def _arrive(self, sender: Sender, target: MemberId, message: Message) -> None:
        if (node := self.nodes.get(target)) is not None:
            node.receive(sender, message)

    def current(self, sender: Sender) -> bool:
        """See `process.Surroundings`."""
        return self.nodes[sender.member].life == sender.life

    def refused(self, member: MemberId, code: RefusalCode) -> None:
        """See `process.Surroundings`. What `runtime` does when it is told so."""
        node = self.nodes[member]
        if code is RefusalCode.REMOVED and node.role is not Role.LEADER:
            node.retire()
        elif code is RefusalCode.OLD_BOOT:
            node.bury()

    def leased(self) -> list[tuple[MemberId, Epoch]]:
        """See `Surroundings`. A member whose disk is another's answers nobody."""
        living = [(node, node.engine.replica) for node in self.nodes.values() if node.engine and node.copied_at is None]
        return [(node.id, replica.epoch) for node, replica in living if replica.leased(node.now())]

    def member_died(self, member: MemberId) -> None:
        """Its connections close: clients notice, peers sometimes do at once."""
        for number, connection in list(self._connections.items()):
            if connection.member == member and connection.is_open:
                connection.is_open = False
                delay = self._far_from_client(connection)
                self.schedule.after(delay, "closed", partial(self._closed, number, connection))
        if self.api_calls is not None:
            self.api_calls.member_died(member)
        for other in self.nodes:
            if other != member and self._hears_of_end(other, member) and self.network.linked(member, other):
                refused = self.terrain is not None or self._rng.randrange(4) > 0
                delay = self._far(other, member)
                self.schedule.after(delay, "peer closed", partial(self.nodes[other].peer_closed, member, refused))

    def _hears_of_end(self, member: MemberId, ended: MemberId) -> bool:
        if self.terrain is not None:
            return self.terrain.hears_of_end(member, ended)
        return self._rng.getrandbits(1) == 1

    def _far(self, member: MemberId, other: MemberId) -> Nanos:
        if self.terrain is not None:
            return self.terrain.message(other, member, 0)
        return exponential(self._rng, self.options.delay_mean)

    def _far_from_client(self, connection: Connection) -> Nanos:
        if self.terrain is not None:
            return self.terrain.request(connection.client, connection.member)
        return exponential(self._rng, CLIENT_DELAY)

    # -- between clients and members: connections keep the order and lose nothing but their end ----

    def find(self, host: str) -> MemberId:
        """See `clients.Wire`. The name of a member that has left leads to some other one: somebody saw to that."""
        node = self._by_name.get(host)
        if node is not None and not self.laws.configurations.departed(node.id):
            return node.id
        serving = self.ending.core() or self.serving() or self._known
        return self._rng.choice(serving)

    def connect(self, client: int, member: MemberId, receive: Receive, closed: Closed) -> int:
        """See `clients.Wire`."""
        self._made += 1
        number = self._made
        life = self.nodes[member].life if self.nodes[member].engine is not None else 0
        connection = Connection(client, member, life, receive, closed, is_open=life > 0)
        self._connections[number] = connection
        if not connection.is_open:
            self.schedule.after(CLIENT_DELAY, "refused", lambda: self._closed(number, connection))
        return number

    def _closed(self, number: int, connection: Connection) -> None:
        if self._connections.pop(number, None) is not None:
            connection.closed(number)

    def close(self, connection: int) -> None:
        """See `clients.Wire`."""
        found = self._connections.pop(connection, None)
        if found is not None and found.is_open:
            found.is_open = False

    def request(self, connection: int, request: Request) -> None:
        """See `clients.Wire`."""
        found = self._connections.get(connection)
        if found is None or not found.is_open:
            return
        data = encoder.encode(request)
        self.schedule.record(data)
        node = self.nodes[found.member]
        arrival = max(found.to_member, self.schedule.now + self._far_from_client(found))
        found.to_member = arrival

        def arrive() -> None:
            self.witness.asked(self.schedule.now, found.client, found.member, request)
            node.request(found.life, connection, request_decoder.decode(data))

        self.schedule.at(arrival, "request", arrive)

    def greeted(self, connection: int) -> None:
        """The client said hello to the member."""
        if (found := self._connections.get(connection)) is not None:
            found.greeted = True

    def publish(self, member: MemberId, life: int, view: View) -> None:
        """A member tells its clients who leads."""
        for number, connection in list(self._connections.items()):
            if connection.greeted and (connection.member, connection.life) == (member, life):
                self.reply(number, view)

    def reply(self, connection: int, response: Response) -> None:
        """A member answers on a connection, if it is still there."""
        found = self._connections.get(connection)
        if found is None or not found.is_open:
            return
        data = encoder.encode(response)
        self.schedule.record(data)
        arrival = max(found.to_client, self.schedule.now + self._far_from_client(found))
        found.to_client = arrival

        def arrive() -> None:
            if connection in self._connections:
                self.witness.answered(self.schedule.now, found.member, found.client, response)
                found.receive(connection, response_decoder.decode(data))

        self.schedule.at(arrival, "response", arrive)


def simulate(options: Options, witness: Witness | None = None) -> Result:
    """One run, judged: the result says which law was broken, if any. `witness`: who watches."""
    world = World(options, witness=witness)
    try:
        return world.run()
    except Violation as violation:
        result = world.result()
        result.check, result.detail = violation.check, str(violation)
        return result
