"""Where a process's services stand in the world: its engine's steps, its clock, its calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from coterie.core.types import Nanos
from coterie.engine.engine import Engine
from coterie.engine.protocol import Request
from coterie.machine.kv.machine import KeyValue
from coterie.sim.api.host import ApiHost, drawn_limits
from coterie.sim.api.wire import Calls
from coterie.sim.chance import stream

if TYPE_CHECKING:
    from coterie.sim.node import Node
    from coterie.sim.process import Process


class ProcessSite:
    """One process (`host.Site`)."""

    def __init__(self, node: Node, process: Process, calls: Calls) -> None:
        self._node = node
        self._process = process
        self.calls = calls
        self.cluster = node.directory.header.cluster
        self.member = node.id
        self.engine: Engine = process.engine
        self.client: object = None
        """Whom the engine answers."""

    def ask(self, request: Request) -> None:
        """See `Site`."""
        self._node.take(lambda now: self.engine.request(now, self.client, request))

    def api_later(self, delay: Nanos, give: Callable[[Nanos], object]) -> None:
        """See `Site`."""
        node = self._node
        when = node.hardware.clock.when(node.now() + delay)
        # A process that stands still takes nothing in, its own timers included.
        node.later(max(1, when - node.world.schedule.now), "api wakes", lambda: node.take(give))


def serve(node: Node, process: Process) -> ApiHost | None:
    """The services of this process, if the world has callers for them."""
    calls = node.world.api_calls
    if calls is None:
        return None
    machine = process.machine.plain
    assert isinstance(machine, KeyValue)
    site = ProcessSite(node, process, calls)
    site.client = host = ApiHost(site, machine, drawn_limits(stream(node.world.options.seed, "watch limits")))
    return host
