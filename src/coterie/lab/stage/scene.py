"""What every stage offers to an experiment, whatever runs on it: sites, clients, time, cuts, crashes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Final

from coterie.core.config import MILLISECOND
from coterie.core.types import MemberId, Nanos
from coterie.engine.protocol import Request
from coterie.lab.errors import LabError
from coterie.lab.stage.calls import Call, Outcome
from coterie.lab.stage.geography import Ground
from coterie.lab.stage.meter import Traffic
from coterie.lab.stage.visitors import Visitor
from coterie.sim.clients import Closed, Receive
from coterie.sim.schedule import Schedule

TICK: Final = MILLISECOND // 4
"""How often a condition that is waited for is looked at."""
LIMIT: Final = 60_000 * MILLISECOND
"""How long what is waited for may take, unless it is told otherwise."""


class Scene(ABC):
    """Members and clients in sites. Members are numbered from 1, clients, too."""

    schedule: Schedule
    ground: Ground
    meter: Traffic
    calls: list[Call]
    """Every call of every client, in the order in which they began."""

    # -- clients ---------------------------------------------------------------------------------

    def client(self, site: int) -> Visitor:
        """One more client, in this site."""
        number = len(self.ground.clients) + 1
        self.ground.clients[number] = site
        return Visitor(number, self, self.calls)

    def nearest(self, site: int, among: Collection[MemberId] | None = None) -> MemberId:
        """The member (of these) that a client of the site reaches first; of several, the one with the lowest number."""
        members = self.ground.members
        chosen = members if among is None else among
        return min(chosen, key=lambda member: (self.ground.geography.between_ms(site, members[member]), member))

    # -- time ------------------------------------------------------------------------------------

    @property
    def now(self) -> Nanos:
        """True time since the stage was set."""
        return self.schedule.now

    @abstractmethod
    def run_until(self, when: Nanos) -> None:
        """Let events happen until this time."""

    def run_for(self, duration: Nanos) -> None:
        """Let so much time pass."""
        self.run_until(self.schedule.now + duration)

    def wait(self, condition: Callable[[], bool], what: str, limit: Nanos = LIMIT) -> Nanos:
        """Let time pass until the condition holds; returns how long that took. Raises `LabError` at the limit."""
        began = self.schedule.now
        while not condition():
            if self.schedule.now - began > limit:
                raise LabError(f"{limit // MILLISECOND} ms were not enough for this: {what}")
            self.run_until(self.schedule.now + TICK)
        return self.schedule.now - began

    def finish(self, call: Call, limit: Nanos = LIMIT) -> Call:
        """Let time pass until the call is over; the call. Raises `LabError` at the limit."""
        self.wait(lambda: call.over, f"a {call.f} of client {call.client}, at member {call.at}, is over", limit)
        return call

    def undisturbed_ms(self, call: Call, rest: Nanos) -> float:
        """How long a call took that nothing disturbs, in milliseconds; then let `rest` pass. Raises `LabError` if it
        was not answered."""
        if self.finish(call).outcome is not Outcome.OK:
            raise LabError(f"a call without any fault failed: {call.reason}")
        self.run_for(rest)
        return call.latency / MILLISECOND

    @abstractmethod
    def wait_for_leader(self) -> MemberId:
        """Let time pass until a member leads and can serve; that member. At once, and nobody, where none leads."""

    @abstractmethod
    def lead(self, member: MemberId) -> None:
        """Make this member the leader and wait until it leads; where none leads, nothing."""

    @abstractmethod
    def leader(self) -> MemberId:
        """Who leads at present: of several the newest; or nobody."""

    # -- what is done to it ----------------------------------------------------------------------

    @abstractmethod
    def cut(self, pairs: Collection[tuple[int, int]]) -> None:
        """From now on nothing passes between these sites, either way; clients are cut off as well."""

    def split(self, *groups: Collection[int]) -> None:
        """A partition: nothing passes between sites of different groups."""
        self.cut([(a, b) for i, group in enumerate(groups) for other in groups[:i] for a in group for b in other])

    @abstractmethod
    def mend(self) -> None:
        """End every cut."""

    @abstractmethod
    def crash(self, member: MemberId) -> None:
        """Its process ends, and its machine loses power: what was not synced is lost. It stays down until `restart`."""

    @abstractmethod
    def restart(self, member: MemberId) -> None:
        """Its process begins again on what its disk holds."""

    @abstractmethod
    def pause(self, member: MemberId, duration: Nanos) -> None:
        """It takes no step for so long (SIGSTOP, a collector's pause)."""

    # -- see `visitors.Lines` --------------------------------------------------------------------

    @abstractmethod
    def connect(self, client: int, member: MemberId, receive: Receive, closed: Closed) -> int:
        """Open a connection; its number."""

    @abstractmethod
    def request(self, connection: int, request: Request) -> None:
        """Send on one."""

    @abstractmethod
    def close(self, connection: int) -> None:
        """Close one."""
