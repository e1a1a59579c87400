"""A meter that charges members for the messages that they handle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from coterie.core.messages import Message
from coterie.core.replica import Replica
from coterie.core.types import MemberId, Nanos
from coterie.engine.protocol import Request
from coterie.lab.stage.cost import Cost
from coterie.lab.stage.meter import Meter


class Toll(Meter):
    """After each step a member is busy for what its messages cost, and takes no other meanwhile.

    What a step sends leaves at its beginning: throughput is right, and a latency is short by one step's cost.
    """

    def __init__(self, cost: Cost, pause: Callable[[MemberId, Nanos], None]) -> None:
        """`pause`: makes a member take no step for so long."""
        super().__init__()
        self._cost = cost
        self._pause = pause
        self._received: Counter[MemberId] = Counter()
        self._sent: Counter[MemberId] = Counter()

    def sent(self, at: Nanos, number: int, source: MemberId, to: MemberId, message: Message) -> None:
        """See `Witness`."""
        super().sent(at, number, source, to, message)
        self._sent[source] += 1

    def _came(self, source: MemberId, to: MemberId) -> None:
        super()._came(source, to)
        self._received[to] += 1

    def asked(self, at: Nanos, client: int, member: MemberId, request: Request) -> None:
        """See `Witness`."""
        self._received[member] += 1

    def replied(self, member: MemberId) -> None:
        """A member answers a client."""
        self._sent[member] += 1

    def stepped(self, at: Nanos, member: MemberId, replica: Replica) -> None:
        """See `Witness`."""
        super().stepped(at, member, replica)
        self._pause(member, self._cost.of(self._received.pop(member, 0), self._sent.pop(member, 0)))

    def ended(self, at: Nanos, member: MemberId) -> None:
        """See `Witness`."""
        super().ended(at, member)
        self._received.pop(member, None)
        self._sent.pop(member, None)
