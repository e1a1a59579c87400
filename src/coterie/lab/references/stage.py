"""A cluster of a reference on a stage: see `lab.stage.stage.Stage`, whose ground, clients and cuts it has."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import msgspec

from coterie.core.config import MILLISECOND
from coterie.core.types import NOBODY, MemberId, Nanos
from coterie.engine.protocol import Request, Response, encoder, request_decoder, response_decoder
from coterie.lab.errors import LabError
from coterie.lab.references.member import Member
from coterie.lab.references.replica import Reference
from coterie.lab.stage.calls import Call
from coterie.lab.stage.cost import FREE, Cost
from coterie.lab.stage.geography import Geography, Ground
from coterie.lab.stage.meter import Traffic
from coterie.lab.stage.scene import Scene
from coterie.sim.chance import happens, stream
from coterie.sim.clients import Closed, Receive
from coterie.sim.schedule import Schedule
from coterie.sim.world import Connection

_encode = msgspec.msgpack.Encoder().encode


class ReferenceStage(Scene):
    """Members of a reference in chosen sites. Nothing happens by chance but jitter, and loss if there is some."""

    def __init__(
        self,
        geography: Geography,
        members: Sequence[int],
        *,
        seed: int,
        reference: Reference,
        disks_ms: Mapping[MemberId, float] | None = None,
        skews_ms: Mapping[MemberId, float] | None = None,
        loss_permille: int = 0,
        cost: Cost = FREE,
    ) -> None:
        """`skews_ms`: how far members' wall clocks are ahead. The rest as in `Stage`."""
        self.ground = Ground(geography, stream(seed, "ground"), noticed=False, disks_ms=disks_ms or {})
        self.ground.members.update(enumerate(members, 1))
        self.reference = reference
        self.schedule = Schedule()
        self.meter = Traffic()
        self.calls: list[Call] = []
        self.reigns: list[tuple[Nanos, MemberId, int]] = []
        """When a member began to lead, which, and the number of its period."""
        self._loss_permille = loss_permille
        self._loss = stream(seed, "loss")
        self._cut_sites: set[tuple[int, int]] = set()
        self._newest: dict[tuple[MemberId, MemberId], Nanos] = {}
        self._connections: dict[int, Connection] = {}
        self._made = 0
        numbers = tuple(self.ground.members)
        skews = skews_ms or {}
        self.nodes = {
            number: Member(
                number,
                numbers,
                reference,
                self,
                stream(seed, f"life {number}"),
                skew=int(skews.get(number, 0.0) * MILLISECOND),
                cost=cost,
            )
            for number in numbers
        }
        for node in self.nodes.values():
            node.start()

    # -- time and who leads ----------------------------------------------------------------------

    def run_until(self, when: Nanos) -> None:
        """See `Scene`."""
        # Often nothing happens for long, and the next event is not to come before its time.
        self.schedule.at(when, "until", lambda: None)
        self.schedule.run_until(when)

    def leader(self) -> MemberId:
        """See `Scene`."""
        led = [(node.replica.reign, node.own) for node in self.nodes.values() if node.replica is not None]
        reign, member = max(led, default=(0, NOBODY))
        return member if reign else NOBODY

    def wait_for_leader(self) -> MemberId:
        """See `Scene`."""
        if self.reference.led:
            self.wait(lambda: self.leader() != NOBODY, "a member leads")
        return self.leader()

    def lead(self, member: MemberId) -> None:
        """See `Scene`. Nobody can be made the leader of a reference but by a crash of those before it."""
        if self.reference.led and self.wait_for_leader() != member:
            raise LabError(f"{self.reference.name}: member {self.leader()} leads, not {member}")

    def stepped(self, member: MemberId) -> None:
        """See `member.Surroundings`."""
        replica = self.nodes[member].replica
        reign = replica.reign if replica is not None else 0
        if reign and (member, reign) not in [(who, number) for _, who, number in self.reigns[-len(self.nodes) :]]:
            self.reigns.append((self.schedule.now, member, reign))

    # -- between members -------------------------------------------------------------------------

    def send(self, source: MemberId, target: MemberId, message: msgspec.Struct) -> None:
        """See `member.Surroundings`."""
        data = _encode(message)
        self.schedule.record(data)
        self.meter.count(type(message).__name__, len(data))
        if self._apart(source, target) or (self._loss_permille and happens(self._loss, self._loss_permille)):
            return
        pair = (source, target)
        arrival = self.schedule.now + self.ground.message(source, target, len(data))
        arrival = self._newest[pair] = max(arrival, self._newest.get(pair, 0))  # A connection keeps the order.

        def arrive() -> None:
            if not self._apart(source, target):
                self.nodes[target].receive(source, self.reference.messages.decode(data))

        self.schedule.at(arrival, "arrive", arrive)

    def _apart(self, source: MemberId, target: MemberId) -> bool:
        return (self.ground.members[source], self.ground.members[target]) in self._cut_sites

    # -- between clients and members -------------------------------------------------------------

    def connect(self, client: int, member: MemberId, receive: Receive, closed: Closed) -> int:
        """See `Scene`."""
        self._made += 1
        number, node = self._made, self.nodes[member]
        connection = Connection(client, member, node.boot if node.up else 0, receive, closed)
        self._connections[number] = connection
        if not connection.life:
            delay = self.ground.request(client, member)
            self.schedule.after(delay, "refused", partial(self._closed, number, connection))
        return number

    def _closed(self, number: int, connection: Connection) -> None:
        if self._connections.pop(number, None) is not None:
            connection.closed(number)

    def close(self, connection: int) -> None:
        """See `Scene`."""
        self._connections.pop(connection, None)

    def _severed(self, connection: Connection) -> bool:
        clients, members = self.ground.clients, self.ground.members
        return (clients[connection.client], members[connection.member]) in self._cut_sites

    def request(self, connection: int, request: Request) -> None:
        """See `Scene`."""
        found = self._connections.get(connection)
        if found is None or self._severed(found):
            return
        data = encoder.encode(request)
        self.schedule.record(data)
        arrival = max(found.to_member, self.schedule.now + self.ground.request(found.client, found.member))
        found.to_member = arrival

        def arrive() -> None:
            node = self.nodes[found.member]
            if node.up and node.boot == found.life:
                node.request(connection, request_decoder.decode(data))

        self.schedule.at(arrival, "request", arrive)

    def reply(self, connection: int, response: Response) -> None:
        """See `member.Surroundings`."""
        found = self._connections.get(connection)
        if found is None or self._severed(found):
            return
        data = encoder.encode(response)
        self.schedule.record(data)
        arrival = max(found.to_client, self.schedule.now + self.ground.request(found.client, found.member))
        found.to_client = arrival

        def arrive() -> None:
            if connection in self._connections:
                found.receive(connection, response_decoder.decode(data))

        self.schedule.at(arrival, "response", arrive)

    # -- what is done to it ----------------------------------------------------------------------

    def cut(self, pairs: Collection[tuple[int, int]]) -> None:
        """See `Scene`."""
        self._cut_sites.update(pair for one, other in pairs for pair in ((one, other), (other, one)))

    def mend(self) -> None:
        """See `Scene`."""
        self._cut_sites.clear()

    def crash(self, member: MemberId) -> None:
        """See `Scene`."""
        self.nodes[member].crash()
        for number, connection in list(self._connections.items()):
            if connection.member == member and connection.life:
                delay = self.ground.request(connection.client, member)
                self.schedule.after(delay, "closed", partial(self._closed, number, connection))

    def restart(self, member: MemberId) -> None:
        """See `Scene`."""
        self.nodes[member].start()

    def pause(self, member: MemberId, duration: Nanos) -> None:
        """See `Scene`."""
        self.nodes[member].pause(duration)
