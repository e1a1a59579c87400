"""How the members of a tortured cluster are joined: by network namespaces, or by relays; and what each can do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

from coterie.torture.errors import Missing
from coterie.torture.hosts import Host, free_port_block, local_hosts
from coterie.torture.namespaces import Network, NoNamespaces, network
from coterie.torture.relays import Wires

NETWORK_FAULTS = ("cut", "slow", "loss")


class Joint(Protocol):
    """The hosts of a cluster, and what can be done to their cables."""

    kind: str
    """In words, for the report."""
    hosts: tuple[Host, ...]
    relays: dict[int, str]
    """Where members listen for each other, if it is not where the others send to."""
    lacks: dict[str, str]
    """Kinds of faults that it cannot make, and why."""

    def cut(self, i: int) -> None:
        """Nothing passes between host `i` and the other members."""
        ...

    def mend(self, i: int) -> None:
        """All passes, at once, and nothing is lost."""
        ...

    def impair(self, i: int, *, delay_ms: int, loss_percent: int) -> None:
        """What host `i` sends and gets is late, or lost."""
        ...


class Namespaces:
    """Hosts in network namespaces. See `Joint`."""

    kind = "network namespaces"

    def __init__(self, made: Network) -> None:
        self._made = made
        self.hosts = made.hosts
        self.relays: dict[int, str] = {}
        reason = made.impairs()
        self.lacks = {"slow": reason, "loss": reason} if reason else {}

    def cut(self, i: int) -> None:
        self._made.cut(i)

    def mend(self, i: int) -> None:
        self._made.heal(i)
        if not self.lacks:
            self._made.impair(i)

    def impair(self, i: int, *, delay_ms: int, loss_percent: int) -> None:
        self._made.impair(i, delay_ms=delay_ms, loss_percent=loss_percent)


class Relayed:
    """Members of Coterie on this machine, with a relay before each. See `Joint`."""

    kind = "relays"

    def __init__(self, wires: Wires, count: int) -> None:
        self._wires = wires
        self.hosts = local_hosts(count)
        self.lacks: dict[str, str] = {}
        first = free_port_block(count)
        self.relays = {i: f"127.0.0.1:{first + i}" for i in range(count)}
        for i, host in enumerate(self.hosts):
            wires.relay(self._name(i), host.peer, self.relays[i])

    def _name(self, i: int) -> str:
        return f"n{i + 1}"

    def cut(self, i: int) -> None:
        self._wires.cut(self._name(i), [self._name(k) for k in range(len(self.hosts)) if k != i])

    def mend(self, i: int) -> None:
        self._wires.mend(self._name(i), [self._name(k) for k in range(len(self.hosts)) if k != i])
        self._wires.impair(self._name(i))

    def impair(self, i: int, *, delay_ms: int, loss_percent: int) -> None:
        self._wires.impair(self._name(i), delay_ms=delay_ms, loss_percent=loss_percent)


class Unjoined:
    """Members on this machine, with nothing between them. See `Joint`."""

    kind = "one machine"

    def __init__(self, count: int, reason: str) -> None:
        self.hosts = local_hosts(count)
        self.relays: dict[int, str] = {}
        self.lacks = dict.fromkeys(NETWORK_FAULTS, reason)

    def cut(self, i: int) -> None:
        raise Missing(self.lacks["cut"])

    def mend(self, i: int) -> None:
        return

    def impair(self, i: int, *, delay_ms: int, loss_percent: int) -> None:
        raise Missing(self.lacks["slow"])


@contextmanager
def joint(count: int, *, relays: bool) -> Iterator[Joint]:
    """Namespaces where the machine allows them and they can make every fault; else relays, if the members are of a kind
    that relays understand; else what is left."""
    with ExitStack() as stack:
        try:
            with ExitStack() as tried:
                made = Namespaces(tried.enter_context(network(count)))
                if not made.lacks or not relays:
                    stack.push(tried.pop_all())
                    yield made
                    return
        except NoNamespaces as error:
            reason = str(error)
            if not relays:
                yield Unjoined(count, reason)
                return
        wires = Wires()
        stack.callback(wires.close)
        yield Relayed(wires, count)
